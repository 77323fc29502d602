"""Callbacks of skorch that users give: those that cannot act here are refused before training."""

import copy

from skorch.callbacks import (
    BatchScoring,
    EpochScoring,
    Freezer,
    InputShapeSetter,
    PassthroughScoring,
    PrintLog,
    Unfreezer,
)

_SCORING = (
    "scores the net itself, which knows class numbers in the place of labels; use early_stopping=True and "
    "validation_scoring=, whose scores history_ records as 'valid_score'"
)
_FREEZING = (
    "freezes parameters after the update was made for them; set requires_grad=False in the module that "
    "NeuralNetClassifier trains"
)
_REFUSED = {
    EpochScoring: _SCORING,
    BatchScoring: _SCORING,
    PassthroughScoring: _SCORING,
    Freezer: _FREEZING,
    Unfreezer: _FREEZING,
    InputShapeSetter: "sets a parameter of a module that is there already; let the module take n_features",
}
#: what skorch's own nets record and ours do not, or only with early stopping
_MAY_LACK = {"valid_loss", "valid_acc", "valid_score"}


def named(callbacks):
    """Pairs of a name and a callback from what the user gave.

    Parameters
    ----------
    callbacks : list of callbacks or of pairs, or None
        The parameter of an estimator.

    Returns
    -------
    list of (str, Callback)
        With names for those that have none.

    Raises
    ------
    TypeError
        If something is no callback.
    """
    given = enumerate(callbacks or [])
    found = [cb if isinstance(cb, tuple) else (f"user{i}", cb) for i, cb in given]
    for pair in found:
        if len(pair) != 2 or not hasattr(pair[1], "on_epoch_end"):
            raise TypeError(
                f"callbacks must list skorch callbacks or pairs (name, callback), got {pair[-1]!r}."
            )
    return found


def copies(callbacks):
    """Callbacks for one of several nets of a fit, each of which needs its own.

    Parameters
    ----------
    callbacks : list of callbacks or of pairs, or None
        The parameter of an estimator.

    Returns
    -------
    list or None
        Copies.

    Raises
    ------
    ValueError
        If a callback holds a trial of Optuna, whose copies would report to nobody.
    """
    for _, callback in named(callbacks):
        if type(callback).__module__.startswith("optuna"):
            raise ValueError(
                f"The callback {type(callback).__name__} reports of one net, and several are trained here; use "
                "skimb.training.ScoreReporter, whose function may report to the trial, or validation_folds=1."
            )
    return copy.deepcopy(callbacks)


def prints(callbacks):
    """Whether a callback prints only where the net is told to be verbose."""
    return int(any(isinstance(callback, PrintLog) for _, callback in named(callbacks)))


def check_callbacks(callbacks, recorded):
    """Refuse callbacks that could not act, or that watch what is not recorded.

    Parameters
    ----------
    callbacks : list of (str, Callback)
        The user's.
    recorded : set of str
        What the history of each epoch will hold.

    Raises
    ------
    ValueError
        In one sentence that names the callback and what to use instead.
    """
    for _, callback in callbacks:
        name = type(callback).__name__
        for kind, why in _REFUSED.items():
            if isinstance(callback, kind):
                raise ValueError(f"The callback {name} {why}.")
        monitor = getattr(callback, "monitor", None)
        if not isinstance(monitor, str):
            continue
        watched = monitor.removesuffix("_best")
        if watched in _MAY_LACK - recorded:
            raise ValueError(
                f"The callback {name} watches {monitor!r}, which is not recorded here; use "
                "monitor='train_loss', or 'valid_score' together with early_stopping=True."
            )
