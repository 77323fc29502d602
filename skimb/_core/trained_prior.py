"""The label distribution that the probabilities of a fitted classifier refer to, seen through others."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.multiclass import OneVsRestClassifier, _ConstantPredictor
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from skimb._core.priors import class_shares, own_class_weights, trained_shares
from skimb._core.stand_ins import RowRecorder

_SAME = 1.1  # members agree whose odds differ by less than this factor


class UnknownPrior(ValueError):
    """The label distribution that a classifier was trained on cannot be found out."""


class Rows(NamedTuple):
    """What a classifier was fitted to.

    Parameters
    ----------
    X : callable
        Gives the rows; called only where steps have to be repeated.
    labels : ndarray of shape (n,)
        Their labels.
    weight : ndarray of shape (n,) or None
        Their weights.
    classes : ndarray of shape (C,)
        Sorted class labels.
    """

    X: Callable
    labels: np.ndarray
    weight: np.ndarray | None
    classes: np.ndarray

    def coded(self):
        """The same with class numbers in place of labels, as ensembles hand them on."""
        code = np.searchsorted(self.classes, self.labels)
        return self._replace(labels=code, classes=np.arange(len(self.classes)))

    def shares(self):
        """Label distribution."""
        return class_shares(self.classes, self.labels, self.weight)


def seen_shares(estimator, rows):
    """Label distribution that a fitted classifier was trained on.

    Parameters
    ----------
    estimator : classifier
        Fitted; searches, pipelines with and without samplers, threshold classifiers, bagging, voting,
        stacking, one-vs-rest, calibration and balanced forests are looked into.
    rows : Rows
        What it was fitted to.

    Returns
    -------
    ndarray of shape (C,)
        Positive shares.

    Raises
    ------
    UnknownPrior
        If it cannot be known, or no single distribution says it.
    """
    if isinstance(estimator, FrozenEstimator):
        raise UnknownPrior(f"{estimator!r} was fitted elsewhere")
    for kind, look in _LOOKS:
        known = (
            type(estimator).__name__ in kind
            if isinstance(kind, set)
            else isinstance(estimator, kind)
        )
        if known:
            return look(estimator, rows)
    if getattr(estimator, "_undoes_class_weight", False):
        return rows.shares()
    if hasattr(estimator, "trained_prior_"):  # moves its probabilities itself, or was told not to
        moved = getattr(estimator, "correct_prior", True)
        return estimator.prior_ if moved else estimator.trained_prior_
    _check_inside(estimator)
    return trained_shares(rows.classes, rows.labels, rows.weight, estimator)


def _check_inside(estimator):
    """Refuse an unknown meta-estimator whose parts weigh classes or resample."""
    for name, part in estimator.get_params().items():
        if not hasattr(part, "fit") or isinstance(part, type):
            continue
        if hasattr(part, "fit_resample") or isinstance(part, FrozenEstimator):
            raise UnknownPrior(
                f"{name}={part!r} in {type(estimator).__name__} cannot be seen through"
            )
        own = part.get_params(deep=False) if hasattr(part, "get_params") else {}
        set_ = [k for k in _WEIGHING if own.get(k) is not None and own[k] is not False]
        if set_ and not getattr(part, "_undoes_class_weight", False):
            raise UnknownPrior(
                f"{name}__{set_[0]}={own[set_[0]]!r} in {type(estimator).__name__} cannot be seen through"
            )


def _of_search(search, rows):
    if not hasattr(search, "best_estimator_"):
        raise UnknownPrior(f"{type(search).__name__} was not refitted")
    return seen_shares(search.best_estimator_, rows)


def _of_threshold(classifier, rows):
    if isinstance(getattr(classifier, "cv", None), str):
        raise UnknownPrior(f"{classifier!r} was fitted elsewhere")
    return seen_shares(classifier.estimator_, rows)


def _of_pipeline(pipeline, rows):
    name, last = pipeline.steps[-1]
    samplers = [step for _, step in pipeline.steps if hasattr(step, "fit_resample")]
    if not samplers:
        return seen_shares(last, rows._replace(X=lambda: pipeline[:-1].transform(rows.X())))
    kept = getattr(samplers[0], "sample_indices_", None)
    if len(samplers) == 1 and kept is not None and len(pipeline.steps) == 2:
        weight = None if rows.weight is None else rows.weight[kept]
        few = Rows(lambda: _safe_indexing(rows.X(), kept), rows.labels[kept], weight, rows.classes)
        return seen_shares(last, few)
    # class counts do not hang on a sampler's random numbers: the steps are repeated without the classifier
    again = clone(pipeline)
    recorder = RowRecorder(last)
    again.steps[-1] = (name, recorder)
    again.fit(rows.X(), rows.labels)
    X, labels = recorder.rows_
    return seen_shares(last, Rows(lambda: X, np.asarray(labels), None, rows.classes))


def _of_bagging(bagging, rows):
    coded = rows.coded()
    first = bagging.estimators_[0]
    sampled = isinstance(first, Pipeline) and any(
        hasattr(step, "fit_resample") for _, step in first.steps
    )
    if not sampled:  # bags have the distribution of all rows on average
        return seen_shares(first, coded)
    found = []
    parts = (bagging.estimators_, bagging.estimators_samples_, bagging.estimators_features_)
    for member, at, features in zip(*parts, strict=True):
        bag = Rows(
            lambda at=at, features=features: _safe_indexing(rows.X(), at)[:, features],
            coded.labels[at],
            None,
            coded.classes,
        )
        found.append(seen_shares(member, bag))
    return np.mean(found, 0)


def _of_voting(voting, rows):
    found = np.array([seen_shares(member, rows.coded()) for member in voting.estimators_])
    odds = np.log(found) - np.log1p(-found)
    if np.ptp(odds, axis=0).max() > np.log(_SAME):
        raise UnknownPrior(
            f"The members of {type(voting).__name__} were trained on different label distributions "
            f"({found.round(3).tolist()})"
        )
    return found.mean(0)


def _of_stacking(stacking, rows):
    return seen_shares(stacking.final_estimator_, rows.coded())


def _of_one_vs_rest(model, rows):
    if len(rows.classes) == 2:
        return seen_shares(model.estimators_[0], rows.coded())
    for c, member in zip(rows.classes, model.estimators_, strict=True):
        if isinstance(member, _ConstantPredictor):
            continue
        binary = Rows(rows.X, (rows.labels == c).astype(int), rows.weight, np.arange(2))
        if not np.allclose(seen_shares(member, binary), binary.shares()):
            raise UnknownPrior(
                f"{type(model).__name__} weighs each class against the rest; one factor per class cannot undo that"
            )
    return rows.shares()


def _of_calibrated(model, rows):
    return rows.shares()  # the calibration sees the rows as they are


def _of_balanced_forest(forest, rows):
    found = []
    for sampler in forest.samplers_:
        at = sampler.sample_indices_
        weight = None if rows.weight is None else rows.weight[at]
        found.append(class_shares(rows.classes, rows.labels[at], weight))
    given = {"class_weight": forest.class_weight}
    factors = own_class_weights(rows.classes, rows.labels, rows.weight, forest, given)
    mass = np.mean(found, 0) * factors
    return mass / mass.sum()


_WEIGHING = (
    "class_weight", "class_weights", "auto_class_weights", "scale_pos_weight", "is_unbalance",
    "sampling_strategy", "priors", "class_prior",
)  # fmt: skip
_LOOKS = [
    (BaseSearchCV, _of_search),
    (Pipeline, _of_pipeline),
    (
        {
            "CostRuleClassifier",
            "FixedThresholdClassifier",
            "GuaranteedThresholdClassifier",
            "TunedThresholdClassifierCV",
            "LogitAdjuster",
            "WeightAligner",
        },
        _of_threshold,
    ),
    (BaggingClassifier, _of_bagging),
    (VotingClassifier, _of_voting),
    (StackingClassifier, _of_stacking),
    (OneVsRestClassifier, _of_one_vs_rest),
    (CalibratedClassifierCV, _of_calibrated),
    ({"BalancedRandomForestClassifier"}, _of_balanced_forest),
]
