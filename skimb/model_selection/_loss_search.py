"""Which loss or estimator, with which parameters and threshold, for my metric?"""

import time
from numbers import Integral

import numpy as np
from sklearn.base import _fit_context, clone
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection import check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import _safe_indexing, estimator_html_repr, indexable
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metadata_routing import _routing_enabled
from sklearn.utils.validation import _check_method_params

from skimb._core.compat import with_callbacks
from skimb._core.html import ShownAsHTML
from skimb._core.validation import several_classes
from skimb._core.warn import warn_user
from skimb.engine.grouping import MAX_MEMORY
from skimb.model_selection._advice import WEIGHTED_RIVAL, advise, advise_estimators
from skimb.model_selection._average import WeightedAverage
from skimb.model_selection._candidates import SPECIAL, is_baseline
from skimb.model_selection._decisions import check_positive_of
from skimb.model_selection._fixed_threshold import FixedThresholdClassifier
from skimb.model_selection._greedy import select
from skimb.model_selection._kinds import kinds_of
from skimb.model_selection._loss_report import (
    draw,
    finished,
    fold_scores,
    frame,
    labels,
    ranks,
    shown,
    standing,
)
from skimb.model_selection._responses import target_of
from skimb.model_selection._rows import SearchRows
from skimb.model_selection._search_run import SearchRun
from skimb.model_selection._several import SeveralEstimators, fit_params_of
from skimb.model_selection._stages import train_all, trained_columns


class LossSearchCV(ShownAsHTML, SeveralEstimators, BaseSearchCV):
    r"""Search over losses and their parameters, all members of a fold trained as populations.

    Candidates are the losses, each with the parameters worth searching, crossed with `param_grid`; plain
    and class-weighted cross-entropy are always among them. The steps of a pipeline before the classifier
    are fitted once per fold and setting of theirs; all classifiers of a fold are prepared, trained and scored
    together. ``advice_`` says whether any special loss beat class-weighted cross-entropy (at a tuned
    threshold, if the metric counts decisions) beyond noise.

    A list of pairs (name, classifier) searches over several estimators of any kind, on the same folds and
    in one table.

    Parameters
    ----------
    estimator : NeuralClassifier, Pipeline or list of (str, classifier)
        One of skimb's neural or linear classifiers, ``TabMClassifier`` among them, or a scikit-learn or
        imbalanced-learn pipeline that ends in one. In a list, also any other classifier of scikit-learn's kind
        with ``predict_proba``.
    param_grid : dict or list of dict, default=None
        Other parameters to cross with the losses, named as for ``GridSearchCV``. May set the loss
        itself, with ``losses=None``. For a list of estimators a dict of such grids by their names.
    losses : "all" or list or None, default="all"
        ``"all"`` takes every loss for the kind of target with its ``grid()``; in a list, a class stands for
        its grid and an object for itself. Adversarial losses cannot be trained in populations and take much of
        the time of ``"all"``. Of several estimators those that take no loss of skimb have the settings of their
        grid only, boosted ones losses of single rows.
    scoring : str, callable, list, tuple or dict, default=None
        As in ``GridSearchCV``; None is the classifier's accuracy, which says little about rare classes.
    refit : bool, str or callable, default=True
        As in ``GridSearchCV``.
    cv : int, splitter or iterable, default=None
        As in ``GridSearchCV``.
    threshold : bool, default=False
        Whether candidates are scored at decision thresholds (see Notes), which `refit` then fixes. The refit
        metric must count decisions: F-scores, Jaccard, precision, recall, balanced accuracy, accuracy,
        Matthews, kappa, geometric mean.
    ensemble : int, default=0
        Picks of a greedy ensemble of candidates, 0 for none. `refit` then fits the picked members, in place
        of the best one.
    halving : int, default=None
        Factor of successive halving over epochs: all candidates are trained for few epochs, one in
        `halving` goes on, and of the plain and of the class-weighted cross-entropy settings no smaller a share.
        Members continue where they stopped. ``TabMClassifier`` begins anew: it trains one ensemble for few
        epochs, then for twice as many, and so on, and all of its `validation_folds` to the end at last. Of several
        estimators those that have epochs are halved, each by itself; the others are trained once.
    min_epochs : int, default=None
        Epochs before the first selection; None divides the largest ``max_iter`` evenly, as `halving`
        says, and takes the patience (``n_iter_no_change``) of ``TabMClassifier``.
    nested : int or splitter, default=None
        Outer folds for an honest estimate: the whole search is repeated in each and scored on the rest
        (``nested_scores_``).
    n_jobs : int, default=None
        Folds at a time, in threads; under joblib's dask backend on the cluster's workers. Of several
        estimators those that are not neural have as many fits at a time, by joblib's own backend; so has
        ``TabMClassifier`` with ``validation_folds`` above 1.
    verbose : int, default=0
        Above 0, prints a line when all folds of a stage or an estimator are done; above 1 also joblib's own
        progress of estimators that are not neural.
    error_score : "raise" or float, default=nan
        Score of a fit that fails.
    return_train_score : bool, default=False
        As in ``GridSearchCV``.
    max_memory : int, default=2**30
        Bytes that the state of one population may take; a fixed function of shapes splits it.

    Attributes
    ----------
    cv_results_ : dict of arrays
        As in ``GridSearchCV``; also ``role``, of several estimators ``estimator`` (the name; ``params`` are in
        the words of its grid), with `threshold` ``threshold`` (from the predictions of all folds),
        ``std_threshold`` (over folds) and ``mean_untuned_score``, with `halving` ``n_epochs`` (of the
        last training at most, 0 for estimators that are not neural), ``n_ensembles`` (that
        ``TabMClassifier`` trained, 0 for others) and ``finished`` (others rank last).
    best_estimator_ : estimator
        Fitted on all rows: the estimator, with `threshold` in a ``FixedThresholdClassifier``.
    best_params_, best_index_, best_score_, scorer_, n_splits_, refit_time_, multimetric_ : object
        As in ``GridSearchCV``.
    best_name_ : str
        Of several estimators, the name of the best one, whose setting is ``best_params_``.
    threshold_ : float or ndarray
        With `threshold`, the rule of ``best_estimator_`` (see ``FixedThresholdClassifier``).
    thresholds_ : ndarray
        With `threshold`, the rules of the best candidate by fold, whose spread says how well it is known.
    ensemble_ : list of (float, dict) or (float, str, dict)
        With `ensemble`, weights and settings of the members, of several estimators with the name between.
    ensemble_score_ : float
        Mean score of the ensemble on the predictions it was picked on: optimistic; `nested` is not.
    nested_scores_ : ndarray
        With `nested`, scores of the outer folds.
    nested_params_, nested_names_ : list
        With `nested`, the best setting of each outer fold and, of several estimators, its name.
    advice_ : str
        Whether a special loss is worth it and, of several estimators, which is best and by how much.
    comparison_ : Comparison
        The paired test behind it: difference, error, p.
    estimator_comparison_ : Comparison
        Of several estimators, the best one's best setting against that of the next one; None for one.

    Notes
    -----
    *Thresholds*: for each fold, the rule that maximises the metric on the out-of-fold predictions of all other
    folds is applied to it, so that scores stay honest; the final rule comes from the predictions of all
    folds. All unique scores are tried; for more than two classes and metrics that are no means over
    labels by coordinate ascent.

    *Paired test*: t-test over folds with the variance corrected for shared training rows (Nadeau and Bengio),
    one-sided, multiplied by the number of special candidates (Bonferroni), since the best of many is
    compared with one.

    *Several estimators*: neural ones are trained as populations, each fit of another one is a task of joblib.
    A special loss then has to beat the best candidate without one, whatever its estimator; the lead of the
    best estimator over the next is tested alike, with p multiplied by the number of candidates that are not
    the next one's. An ensemble takes members of all kinds and averages their probabilities as they are.
    ``fit`` takes ``sample_weight`` for all, and parameters of one estimator as ``name__parameter``; what an
    estimator cannot take as a table (text, missing values) is its own failure.

    *Ensembles of nets*: the nets of all fits of ``TabMClassifier(validation_folds=1)`` are trained as populations.
    With more folds a population holds the folds of one fit.

    *Scores*: average precision, ROC AUC, log loss, Brier, and the metrics of decisions are computed for all
    members at once and equal scikit-learn's to 1e-12; folds on which one is not defined, and all other
    scorers, go through scikit-learn member by member.

    References
    ----------
    Nadeau and Bengio 2003, doi:10.1023/A:1024068626366. Caruana et al. 2004, doi:10.1145/1015330.1015432.
    Jamieson and Talwalkar 2016, arXiv:1502.07943.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.losses import Focal, LogitAdjusted
    >>> from skimb.model_selection import LossSearchCV
    >>> from skimb.neural_network import MLPClassifier
    >>> X, y = make_classification(400, 6, weights=[0.9], random_state=0)
    >>> model = MLPClassifier((8,), max_iter=5, random_state=0)
    >>> search = LossSearchCV(
    ...     model,
    ...     {"learning_rate_init": [0.003, 0.01]},
    ...     losses=[Focal, LogitAdjusted()],
    ...     scoring="average_precision",
    ...     cv=3,
    ... ).fit(X, y)
    >>> len(search.cv_results_["params"])  # (4 focal + 1 logit adjusted + 2 baselines) x 2 rates
    14
    >>> "cross-entropy" in search.advice_
    True

    Nets beside other classifiers:

    >>> from sklearn.ensemble import RandomForestClassifier
    >>> wide = LossSearchCV(
    ...     [("nets", model), ("forest", RandomForestClassifier(20, random_state=0))],
    ...     {"forest": {"max_depth": [2, None]}},
    ...     losses=[Focal(1.0)],
    ...     scoring="average_precision",
    ...     cv=3,
    ...     ensemble=4,
    ... ).fit(X, y)
    >>> wide.cv_results_["estimator"].tolist()
    ['nets', 'nets', 'nets', 'forest', 'forest']
    >>> wide.predict_proba(X).shape
    (400, 2)
    """

    _parameter_constraints = {
        **BaseSearchCV._parameter_constraints,
        "estimator": [HasMethods(["fit"]), list],
        "param_grid": [dict, list, None],
        "losses": [StrOptions({"all"}), list, tuple, None],
        "threshold": ["boolean"],
        "ensemble": [Interval(Integral, 0, None, closed="left")],
        "halving": [Interval(Integral, 2, None, closed="left"), None],
        "min_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "nested": ["cv_object"],
        "max_memory": [Interval(Integral, 1, None, closed="left")],
    }
    _parameter_constraints.pop("pre_dispatch")

    def __init__(
        self,
        estimator,
        param_grid=None,
        *,
        losses="all",
        scoring=None,
        refit=True,
        cv=None,
        threshold=False,
        ensemble=0,
        halving=None,
        min_epochs=None,
        nested=None,
        n_jobs=None,
        verbose=0,
        error_score=np.nan,
        return_train_score=False,
        max_memory=MAX_MEMORY,
    ):
        self.estimator = estimator
        self.param_grid = param_grid
        self.losses = losses
        self.scoring = scoring
        self.refit = refit
        self.cv = cv
        self.threshold = threshold
        self.ensemble = ensemble
        self.halving = halving
        self.min_epochs = min_epochs
        self.nested = nested
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.error_score = error_score
        self.return_train_score = return_train_score
        self.max_memory = max_memory

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, **params):
        """Search.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels.
        **params : dict
            Parameters of the estimator's fit (of several estimators: ``name__parameter``), the scorer and the
            splitter, as in ``GridSearchCV``:
            before scikit-learn 1.7, scores are weighted by `sample_weight` only under metadata routing.

        Returns
        -------
        LossSearchCV
            Itself.
        """
        scorer, metric = self._get_scorers()
        if isinstance(scorer, _MultimetricScorer):  # a failure is the candidate's own
            scorer = _MultimetricScorer(scorers=scorer._scorers, raise_exc=True)
        if callable(self.scoring) and isinstance(self.refit, str):
            metric = self.refit  # a callable that gives several scores
        y, found, self._multilabel = target_of(self, y)
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        if self._multilabel:
            self._classes = np.arange(found.shape[1])
        else:
            self._classes, _ = several_classes(self, found)
            several = isinstance(scorer, _MultimetricScorer)
            for one in scorer._scorers.values() if several else [scorer]:
                check_positive_of(one, self._classes)
        splitter = check_cv(self.cv, y, classifier=True)
        splits = list(splitter.split(X, y, **routed.splitter.split))
        self.n_splits_ = len(splits)
        score_params = routed.scorer.score
        rows = SearchRows(
            X, y, splits, scorer, score_params, self._classes, self._multilabel, self.return_train_score
        )  # fmt: skip
        kinds = kinds_of(self, fit_params_of(self, routed), y, self._task())
        candidates = [(kind, k) for kind in kinds for k in range(len(kind.settings))]
        self._roles = np.array([kind.roles[k] for kind, k in candidates])
        self._names = [kind.losses[k] for kind, k in candidates]
        run = SearchRun(self._one(scorer, metric), self._classes, self._multilabel, metric)
        self._check_decisions(run, metric)
        run.take_rows(y, [test for _, test in splits], score_params.get("sample_weight"))
        tuned = self._with_thresholds(run, len(candidates))
        keep_proba = set(range(len(candidates))) if self.ensemble else tuned
        task = {"estimator": self, "X": X, "y": y}
        task["metadata"] = {k: v for k, v in params.items() if k == "sample_weight"} or None
        context = train_all(self, kinds, rows, run, keep_proba, task)
        self._check_errors(run.outcomes)
        run.tune(tuned)
        more = {"role": self._roles}
        if self._several:
            more["estimator"] = np.array([kind.name for kind, _ in candidates], object)
        if self.halving is not None:
            more |= trained_columns(kinds, run)
        results = self._results([kind.settings[k] for kind, k in candidates], run, more)
        self._choose(results, run)
        self._advise(results, splits, run)
        members = self._pick_members(run, candidates) if self.ensemble else None
        self.cv_results_ = results
        self.scorer_ = scorer._scorers if isinstance(scorer, _MultimetricScorer) else scorer
        if self.refit:
            self._refit(X, y, params, run, candidates, members)
        if self.nested is not None:
            self._nest(X, y, params, routed.splitter.split)
        if context is not None:
            context.call_on_fit_task_end(**task)
        return self

    def _task(self):
        if self._multilabel:
            return "multilabel"
        return "binary" if len(self._classes) == 2 else "multiclass"

    @staticmethod
    def _one(scorer, metric):
        """The scorer that candidates are chosen by, None where a callable gives several scores."""
        return scorer._scorers.get(metric) if isinstance(scorer, _MultimetricScorer) else scorer

    def _check_errors(self, outcomes):
        errors = [o.error for one in outcomes for o in one.values() if o.error is not None]
        if not errors:
            return
        total = sum(len(one) for one in outcomes)
        if self.error_score == "raise" or len(errors) == total:
            raise ValueError(
                f"{len(errors)} of {total} fits of LossSearchCV failed. The first:\n{errors[0]}"
            )
        warn_user(
            f"{len(errors)} of {total} fits of LossSearchCV failed and are scored {self.error_score}. The first:\n"
            f"{errors[0]}",
            FitFailedWarning,
        )

    # --- thresholds ----------------------------------------------------------------------------

    def _check_decisions(self, run, metric):
        if self.ensemble and run.bulk is None:
            raise ValueError(
                f"ensemble={self.ensemble} picks members by a metric that is computed for many at once "
                "(average precision, ROC AUC, log loss, Brier, metrics of decisions), got "
                f"scoring={self.scoring!r}, refit={metric!r}. With labels other than 0 and 1 a scorer of two "
                "classes needs its pos_label."
            )
        if not self.threshold:
            return
        if not run.of_decisions:
            raise ValueError(
                "threshold=True tunes metrics of decisions that are known by their counts (f1, fbeta_score, "
                f"balanced_accuracy, geometric_mean_score ...), got scoring={self.scoring!r}, "
                f"refit={metric!r} on classes {list(self._classes)}. Rankings and probabilities need no "
                "threshold; code two classes as 0 and 1 or give pos_label."
            )
        if self.n_splits_ < 2:
            raise ValueError(
                "threshold=True takes each fold's threshold from the others; cv gives one fold only."
            )

    def _with_thresholds(self, run, n):
        """Candidates whose predictions are kept: all, or the baselines that the advice needs."""
        if not run.of_decisions or self.n_splits_ < 2:
            return set()
        return set(range(n)) if self.threshold else set(np.flatnonzero(self._baselines()))

    def _baselines(self):
        """Candidates that a special loss has to beat, as a mask."""
        return is_baseline(self._roles, self._several)

    # --- results -------------------------------------------------------------------------------

    def _results(self, wanted, run, more):
        """`cv_results_`, laid out by scikit-learn."""
        outcomes, tuned = run.outcomes, run.tuned
        scored = [o.scores for one in outcomes for o in one.values() if o.scores is not None]
        names = list(scored[0])  # some fit went well, all of them give the same scores
        self.multimetric_ = names != ["score"]
        if self.multimetric_ and callable(self.scoring):
            self._check_refit_for_multimetric(dict.fromkeys(names))
        out = []
        for k in range(len(wanted)):
            for j, one in enumerate(outcomes):
                o = one[k]
                scores = (
                    dict.fromkeys(names, self.error_score) if o.scores is None else dict(o.scores)
                )
                if self.threshold and k in tuned.scores:
                    scores[run.name_in(scores)] = tuned.scores[k][j]
                part = {"fit_time": o.fit_time, "score_time": o.score_time}
                part["test_scores"] = scores if self.multimetric_ else scores["score"]
                if self.return_train_score:
                    train = o.train_scores or dict.fromkeys(names, self.error_score)
                    part["train_scores"] = train if self.multimetric_ else train["score"]
                out.append(part)
        if self.threshold:
            more |= tuned.columns(len(wanted))
            more["mean_untuned_score"] = [run.mean_score(k) for k in range(len(wanted))]
        results = self._format_results(wanted, len(outcomes), out, more)
        if self.halving is not None:
            results |= {f"rank_test_{name}": ranks(results, name) for name in names}
        return results

    def _choose(self, results, run):
        """Best index among the candidates that were trained to the end."""
        refit_metric = self.refit if self.multimetric_ else run.metric
        self._metric = refit_metric if isinstance(refit_metric, str) else "score"
        self._shown = self.scoring if isinstance(self.scoring, str) else self._metric
        if not self.refit and self.multimetric_:
            return
        if callable(self.refit):
            self.best_index_ = self._select_best_index(self.refit, refit_metric, results)
        else:
            self.best_index_ = int(standing(results, self._metric)[0])
            self.best_score_ = results[f"mean_test_{self._metric}"][self.best_index_]
        self.best_params_ = results["params"][self.best_index_]
        if self._several:
            self.best_name_ = results["estimator"][self.best_index_]

    def _advise(self, results, splits, run):
        """Compare the best special loss with the best baseline, and the estimators with each other."""
        self.advice_, self.comparison_ = "", None
        if f"mean_test_{self._metric}" not in results:
            return
        splits_of = fold_scores(results, self._metric)
        ended = finished(results) & np.isfinite(splits_of).all(1)
        share = float(np.mean([len(test) / len(train) for train, test in splits]))
        told = []
        if self._several:
            text, self.estimator_comparison_ = advise_estimators(
                self._shown, results["estimator"], labels(results), splits_of, ended, share
            )
            told.append(text)
        special = np.flatnonzero(ended & (self._roles == SPECIAL))
        baseline = np.flatnonzero(ended & self._baselines())
        rival = "the best candidate without a special loss" if self._several else WEIGHTED_RIVAL
        if len(special) and len(baseline):
            base_scores = {k: run.tuned.scores.get(k, splits_of[k]) for k in baseline}
            base = max(baseline, key=lambda k: base_scores[k].mean())
            best = special[splits_of[special].mean(1).argmax()]
            text, self.comparison_ = advise(
                self._shown,
                (labels(results)[best], splits_of[best]),
                (labels(results)[base], base_scores[base]),
                int((self._roles == SPECIAL).sum()),
                share,
                base in run.tuned.scores,
                rival,
            )
            told.append(text)
        elif not self._several:
            told.append(
                "Nothing to compare: no special loss, or no class-weighted cross-entropy, was trained "
                "without an error."
            )
        self.advice_ = " ".join(told)

    # --- members, refit, outer folds -----------------------------------------------------------

    def _pick_members(self, run, candidates):
        """Weights and numbers of the ensemble's members."""
        able = [k for k in run.last if run.probas(k) is not None]
        if not able:
            raise ValueError(
                f"ensemble={self.ensemble} finds no candidate that was trained without an error in all "
                f"{self.n_splits_} folds."
            )
        probas = [np.stack(parts) for parts in zip(*(run.probas(k) for k in able), strict=True)]
        picks, self.ensemble_score_ = select(probas, run.bulk_scores, self.ensemble)
        members, counts = np.unique([able[i] for i in picks], return_counts=True)
        shares = counts / len(picks)
        if self.threshold:
            parts = [[w * p for p in run.probas(k)] for k, w in zip(members, shares, strict=True)]
            run.mean_rule = run.tuned.rule([sum(fold) for fold in zip(*parts, strict=True)])
        found = [(float(shares[i]), members[i]) for i in np.argsort(-counts, kind="stable")]
        self.ensemble_ = []
        for w, number in found:
            kind, k = candidates[number]
            name = () if kind.name is None else (kind.name,)
            self.ensemble_.append((w, *name, kind.settings[k]))
        return found

    def _refit(self, X, y, params, run, candidates, members):
        began = time.perf_counter()
        if self.ensemble:
            model, fit_params = self._average(params, candidates, members)
        else:
            kind, k = candidates[self.best_index_]
            model, fit_params = kind.with_setting(k), kind.fit_params
        if self.threshold:
            best = self.best_index_
            if best not in run.tuned.pooled:
                raise ValueError(
                    f"No threshold could be tuned for {self.best_params_}: it was not trained without an "
                    f"error in all {self.n_splits_} folds."
                )
            self.threshold_ = run.mean_rule if self.ensemble else run.tuned.pooled[best]
            self.thresholds_ = run.tuned.rules[best]
            run.warn(f"scoring={self._shown!r}", best)
            model = FixedThresholdClassifier(
                model, self.threshold_, pos_label=run.positive, response_method="predict_proba"
            )
        self.best_estimator_ = model.fit(X, y, **fit_params)
        self.refit_time_ = time.perf_counter() - began
        if hasattr(self.best_estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.best_estimator_.feature_names_in_

    def _average(self, params, candidates, members):
        """The unfitted ensemble and parameters of its fit."""
        chosen = [candidates[number] for _, number in members]
        estimators = [kind.with_setting(k) for kind, k in chosen]
        weights = [w for w, _ in members]
        if not self._several:
            return WeightedAverage(estimators, weights), chosen[0][0].fit_params
        names = [kind.name for kind, _ in chosen]
        model = WeightedAverage(estimators, weights, names, n_jobs=self.n_jobs)
        if _routing_enabled():
            taken = model.get_metadata_routing().consumes("fit", params.keys())
            return model, {name: params[name] for name in taken}
        return model, {
            f"{kind.name}__{key}": value
            for kind, _ in chosen
            for key, value in kind.fit_params.items()
        }

    def _nest(self, X, y, params, split_params):
        outer = check_cv(self.nested, y, classifier=True)
        scores, chosen, names = [], [], []
        for train, test in outer.split(X, y, **split_params):
            inner = clone(self).set_params(nested=None, refit=self.refit or True)
            part = _check_method_params(X, params=params, indices=train)
            inner.fit(_safe_indexing(X, train), _safe_indexing(y, train), **part)
            scores.append(inner.score(_safe_indexing(X, test), _safe_indexing(y, test)))
            chosen.append(inner.best_params_)
            names.append(getattr(inner, "best_name_", None))
        self.nested_scores_, self.nested_params_ = np.array(scores), chosen
        if self._several:
            self.nested_names_ = names

    # --- reports -------------------------------------------------------------------------------

    def results_frame(self):
        """Candidates as a table, best first.

        Returns
        -------
        pandas.DataFrame
            Of several estimators its name; loss, role, other parameters, mean and standard deviation over folds,
            the difference to the best class-weighted cross-entropy (of several estimators to the best candidate
            without a special loss) with its standard error, and the threshold where one was tuned.
        """
        return frame(self.cv_results_, self._metric, self._names)

    def plot(self, ax=None):
        """Draw the best setting of each loss with its spread over folds, and both baselines.

        Parameters
        ----------
        ax : matplotlib axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        matplotlib axes
            The drawing.
        """
        xlabel = f"{self._shown}, mean and standard deviation of {self.n_splits_} folds"
        return draw(self.results_frame(), xlabel, ax)

    def _html(self):
        """Advice and best candidates; scikit-learn's diagram before `fit`."""
        fitted = f"mean_test_{getattr(self, '_metric', None)}" in getattr(self, "cv_results_", {})
        return shown(self) if fitted else estimator_html_repr(self)
