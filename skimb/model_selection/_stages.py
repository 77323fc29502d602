"""The training of a search's candidates, estimator by estimator and stage by stage."""

import time

import numpy as np


def train_all(search, kinds, rows, run, keep_proba, task):
    """Train all candidates into a run.

    Parameters
    ----------
    search : LossSearchCV
        The search.
    kinds : list of Kind
        Its estimators; candidates are numbered through all of them.
    rows : SearchRows
        Rows and splits.
    run : SearchRun
        Takes outcomes and the numbers of the candidates that were trained to the end.
    keep_proba : set of int
        Candidates whose probabilities of the test rows are wanted.
    task : dict
        What scikit-learn's callbacks are told.

    Returns
    -------
    CallbackContext or None
        scikit-learn's context, if somebody listens; it is still open.
    """
    stops = [[None] for _ in kinds]
    if search.halving is not None:
        stops = [[*kind.stops(search.halving, search.min_epochs), None] for kind in kinds]
    context = None
    if getattr(search, "_skl_callbacks", None):  # somebody listens; a stage is a subtask
        context = search._init_callback_context(max_subtasks=sum(map(len, stops)))
        context.call_on_fit_task_begin(**task)
    first = 0
    for kind, stages in zip(kinds, stops, strict=True):
        numbers = range(first, first + len(kind.settings))
        first = numbers.stop
        wanted = {k - numbers.start for k in keep_proba if k in numbers}
        advance = kind.training(rows, wanted, search)
        for until in stages:
            stage = None if context is None else context.subcontext(task_name="stage")
            if stage is not None:
                stage.call_on_fit_task_begin(**task)
            began = time.perf_counter()
            for one, new in zip(run.outcomes, advance(until), strict=True):
                one |= {numbers[k]: outcome for k, outcome in new.items()}
            if search.verbose > 0:
                seconds = time.perf_counter() - began
                name = "" if kind.name is None else f"{kind.name}: "
                size = f"{len(kind.kept)} candidates x {len(rows.splits)} folds"
                print(f"{name}{size}{kind.stage(until)}: {seconds:.1f} s")
            if until is not None:
                kind.halve([run.mean_score(numbers[k]) for k in kind.kept], search.halving)
            if stage is not None:
                stage.call_on_fit_task_end(**task)
        run.last += [numbers[k] for k in kind.kept]
    return context


def trained_columns(kinds, run):
    """Columns of ``cv_results_`` that say how far each candidate was trained, and whether to the end.

    Parameters
    ----------
    kinds : list of Kind
        The estimators of a search.
    run : SearchRun
        What came of their training.

    Returns
    -------
    dict of str to ndarray
        Columns by name.
    """
    found = {
        name: np.concatenate([getattr(kind, name) for kind in kinds])
        for name in ("n_epochs", "n_ensembles")
    }
    return found | {"finished": np.isin(np.arange(len(found["n_epochs"])), run.last)}
