"""Classifiers around another one that need its probabilities of rows that it was not fitted to."""

from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skimb._core.inner import fit_inner, unfitted
from skimb._core.splits import splits_of
from skimb._core.validation import (
    drop_weightless,
    exclusive_target,
    indexable_rows,
    of_rows,
    routed_params,
    several_classes,
    take_names,
)


class HeldOut(NamedTuple):
    """What classifiers answered for rows that they were not fitted to.

    Parameters
    ----------
    models : list of classifier
        One per fold.
    fold : ndarray of int, shape (m,)
        Whose answer each row has.
    proba : ndarray of shape (m, C)
        Probabilities.
    code : ndarray of int, shape (m,)
        Class numbers.
    weight : ndarray of shape (m,)
        Weights, ones where none were given.
    """

    models: list
    fold: np.ndarray
    proba: np.ndarray
    code: np.ndarray
    weight: np.ndarray


class HeldOutClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Base of classifiers that learn from held-out probabilities of another one.

    `_hold_out` sets ``estimator_``, ``classes_`` and the names of features, and returns a `HeldOut`.
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict_proba"])],
        "cv": ["cv_object", Interval(Real, 0, 1, closed="neither"), StrOptions({"prefit"})],
        "n_jobs": [None, Integral],
        "random_state": ["random_state"],
    }

    @property
    def _prefit(self):
        named = isinstance(self.cv, str) and self.cv == "prefit"
        return named or isinstance(self.estimator, FrozenEstimator)

    def _hold_out(self, X, y, sample_weight, groups, params):
        """Fit the classifier where it is not fitted, and let it answer for held-out rows."""
        labels = exclusive_target(self, y)
        X = indexable_rows(X)
        check_consistent_length(X, labels, groups)
        (given,) = routed_params(self, params, "estimator.fit")
        if self._prefit:
            unused = [*given, *(["groups"] * (groups is not None))]
            held = self._answers(*drop_weightless(X, labels, sample_weight), unused)
        else:
            held = self._cross_fitted(X, labels, sample_weight, given, groups)
        take_names(self, self.estimator_)
        return held

    def _answers(self, X, labels, weight, unused):
        if unused:
            raise ValueError(
                f"{self.estimator!r} is fitted already, so fit takes no {unused[0]}; leave it out."
            )
        check_is_fitted(self.estimator)
        self.estimator_ = self.estimator
        self.classes_ = np.sort(np.asarray(self.estimator_.classes_))
        foreign = np.setdiff1d(labels, self.classes_).tolist()
        if foreign:
            raise ValueError(
                f"y holds the labels {foreign[:10]}, which {self.estimator!r} was not fitted to; it knows "
                f"{self.classes_.tolist()}."
            )
        proba = class_probabilities(self.estimator_, X, self.classes_, source=True)
        code = np.searchsorted(self.classes_, labels)
        ones = np.ones(len(code)) if weight is None else weight
        return HeldOut([self.estimator_], np.zeros(len(code), int), proba, code, ones)

    def _cross_fitted(self, X, labels, weight, given, groups):
        n = np.arange(len(labels))
        splits = splits_of(
            self.cv, X, labels, labels, False, groups, False, self.random_state, {"groups": groups}
        )
        X, labels, weight, given, at = drop_weightless(X, labels, weight, given, {"row": n})
        kept = np.isin(n, at["row"])
        place = np.cumsum(kept) - 1
        splits = [[place[part[kept[part]]] for part in pair] for pair in splits]
        splits = [(train, test) for train, test in splits if len(test)]
        self.classes_, code = several_classes(self, labels)
        rows = np.concatenate([test for _, test in splits])
        if len(np.unique(rows)) < len(rows):
            raise ValueError(
                f"cv={self.cv!r} holds some rows out more than once; {type(self).__name__} takes splitters whose "
                "test parts do not overlap (StratifiedKFold)."
            )
        parts = Parallel(n_jobs=self.n_jobs)(
            delayed(_answer_of_fold)(
                self.estimator, X, labels, weight, given, train, test, j, self.classes_
            )
            for j, (train, test) in enumerate(splits)
        )
        models = [model for model, _ in parts]
        if len(models) == 1:
            self.estimator_ = models[0]
        else:
            self.estimator_ = fit_inner(unfitted(self.estimator), X, labels, weight, **given)
        fold = np.repeat(np.arange(len(splits)), [len(test) for _, test in splits])
        ones = np.ones(len(labels)) if weight is None else weight
        proba = np.concatenate([proba for _, proba in parts])
        return HeldOut(models, fold, proba, code[rows], ones[rows])

    def get_metadata_routing(self):
        """Where metadata go: to the classifier's ``fit``.

        Returns
        -------
        MetadataRouter
            scikit-learn's description of it.
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        router = MetadataRouter(owner=self).add_self_request(self)
        return router.add(estimator=self.estimator, method_mapping=mapping)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags


def _answer_of_fold(estimator, X, labels, weight, given, train, test, number, classes):
    """A classifier that is fitted to the training rows of a fold, and its probabilities of the others."""
    known = np.unique(labels[train])
    if len(known) < 2:
        raise ValueError(
            f"The training rows of fold {number} hold the class {known.tolist()} only; take fewer folds or a "
            "splitter that leaves rows of every class in each training part (StratifiedKFold)."
        )
    params = {name: of_rows(value, len(labels), train) for name, value in given.items()}
    weight = None if weight is None else weight[train]
    model = fit_inner(
        unfitted(estimator), _safe_indexing(X, train), labels[train], weight, **params
    )
    return model, class_probabilities(model, _safe_indexing(X, test), classes, source=True)


def class_probabilities(model, X, classes, *, source=False):
    """Probabilities (n, C) of the sorted `classes`; 0 for those that the model was not fitted to.

    Parameters
    ----------
    model : classifier
        Fitted.
    X : array-like
        Rows.
    classes : ndarray of shape (C,)
        Labels.
    source : bool, default=False
        Whether they shall be those of the population that it was fitted in, where it can move them to another.

    Returns
    -------
    ndarray
        Probabilities in float64.
    """
    moved = source and hasattr(model, "predict_source_proba")
    found = np.asarray((model.predict_source_proba if moved else model.predict_proba)(X), float)
    own = np.asarray(model.classes_)
    if found.ndim != 2 or found.shape[1] != len(own):
        raise ValueError(
            f"predict_proba of {model!r} has shape {found.shape} for the {len(own)} classes {own.tolist()[:10]}; "
            "it must give one column per class."
        )
    if not np.isfinite(found).all() or (found < 0).any() or (found.sum(1) - 1.0 > 1e-3).any():
        raise ValueError(
            f"predict_proba of {model!r} gives values that are no probabilities: between {found.min()} and "
            f"{found.max()}, with sums up to {found.sum(1).max()}."
        )
    foreign = np.setdiff1d(own, classes).tolist()
    if foreign:
        raise ValueError(
            f"{model!r} knows the classes {foreign}, which y does not hold: {classes.tolist()}."
        )
    proba = np.zeros((len(found), len(classes)))
    proba[:, np.searchsorted(classes, own)] = found
    return proba
