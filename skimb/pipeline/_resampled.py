"""A sampler and a classifier as one classifier, weights and probabilities included."""

from inspect import signature

import numpy as np
from imblearn.over_sampling import RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, _fit_context, clone
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skimb._core.given import through_pandas
from skimb._core.inner import fit_inner
from skimb._core.priors import class_shares, log_ratio, moved_probabilities, trained_shares
from skimb._core.validation import (
    drop_weightless,
    exclusive_target,
    indexable_rows,
    of_rows,
    routed_params,
    several_classes,
    take_names,
)


def _is_table(X):
    """Whether rows have features, unlike documents, and no further axes."""
    return hasattr(X, "columns") or sparse.issparse(X) or np.ndim(X[:1]) == 2


def _draws_blindly(sampler):
    """Whether a sampler of imbalanced-learn picks rows by their labels alone."""
    blind = isinstance(sampler, (RandomOverSampler, RandomUnderSampler))
    return blind and getattr(sampler, "shrinkage", None) is None


def _estimator_has(method):
    def check(self):
        owner = getattr(self, "estimator_", self.estimator)
        getattr(owner, method)
        return True

    return check


class ResampledClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    r"""Resample, fit, and answer in the population before resampling.

    The weights a sampler produced (its ``sample_weight_``) reach the classifier, which pipelines cannot do, and
    ``predict_proba`` is moved from the label distribution :math:`\pi'` of the resampled rows to that of the
    given ones, :math:`\pi`:

    .. math:: p_k(x)\propto q_k(x)\,\frac{\pi_k}{\pi'_k}.

    Parameters
    ----------
    sampler : sampler
        Any of imbalanced-learn's or of this package.
    estimator : classifier
        Any classifier.
    correct_prior : bool, default=True
        Whether ``predict_proba`` is corrected.

    Attributes
    ----------
    sampler_, estimator_ : sampler, classifier
        Both fitted.
    classes_ : ndarray of shape (n_classes,)
        Labels.
    prior_, trained_prior_ : ndarray of shape (n_classes,)
        Label distribution of the given and of the resampled rows, with weights and the classifier's class weights.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X, where the classifier tells them.

    Raises
    ------
    ValueError
        If weights are given and the sampler makes rows that have none or the classifier takes none, or a class
        is gone after sampling.

    Notes
    -----
    The correction is exact for random over- and under-sampling and for weights by class. SMOTE and its kin also
    change what rows of a class look like, coresets and cleaning keep chosen rows: there it is a better guess
    than none. ``predict`` and ``decision_function`` are those of the resampled model, in most cases the
    balanced decision. Weights of given rows follow them where the sampler tells which it kept
    (``sample_indices_``), or go into the sampler if its ``fit_resample`` takes ``sample_weight``.

    Examples
    --------
    >>> from imblearn.under_sampling import RandomUnderSampler
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.pipeline import ResampledClassifier
    >>> X, y = make_classification(4000, weights=[0.95], class_sep=0.5, random_state=0)
    >>> model = ResampledClassifier(RandomUnderSampler(random_state=0), LogisticRegression()).fit(X, y)
    >>> raw = model.estimator_.predict_proba(X)[:, 1].mean()
    >>> bool(raw > 0.2), bool(abs(model.predict_proba(X)[:, 1].mean() - y.mean()) < 0.02)
    (True, True)
    """

    _parameter_constraints = {
        "sampler": [HasMethods(["fit_resample"]), None],
        "estimator": [HasMethods(["fit", "predict"])],
        "correct_prior": ["boolean"],
    }

    def __init__(self, sampler, estimator, *, correct_prior=True):
        self.sampler = sampler
        self.estimator = estimator
        self.correct_prior = correct_prior

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, **params):
        """Resample and fit.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or n_samples documents
            Rows, as sampler and classifier take them; random over- and under-sampling takes any.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; 0 removes a row.
        **params : dict
            Metadata for the sampler and the classifier, with metadata routing enabled; what has one entry per row
            is resampled for the classifier.

        Returns
        -------
        ResampledClassifier
            Itself.
        """
        labels = exclusive_target(self, y)
        X = indexable_rows(X)
        check_consistent_length(X, labels)
        parts = ("sampler.fit_resample", "estimator.fit")
        to_sampler, to_estimator = routed_params(self, params, *parts)
        X, labels, sample_weight, to_sampler, to_estimator = drop_weightless(
            X, labels, sample_weight, to_sampler, to_estimator
        )
        self.classes_, _ = several_classes(self, labels)
        self.prior_ = class_shares(self.classes_, labels, sample_weight)
        if self.sampler is None:
            self.sampler_, X_new, y_new, weight = None, X, labels, sample_weight
            kept = np.arange(len(labels))
        else:
            X_new, y_new, weight, kept = self._resample(X, labels, sample_weight, to_sampler)
        y_new = np.asarray(y_new)
        lost = np.setdiff1d(self.classes_, y_new)
        if len(lost):
            raise ValueError(f"{self.sampler!r} left no row of the classes {lost.tolist()}.")
        fit_params = {
            name: self._follow(name, value, len(labels), kept)
            for name, value in to_estimator.items()
        }
        self.estimator_ = fit_inner(clone(self.estimator), X_new, y_new, weight, **fit_params)
        self.trained_prior_ = trained_shares(self.classes_, y_new, weight, self.estimator_)
        self._corrects = self.correct_prior
        take_names(self, self.estimator_)
        return self

    def _resample(self, X, labels, sample_weight, to_sampler):
        """Resampled rows and labels, their weights, and where they came from if the sampler tells."""
        self.sampler_ = clone(self.sampler)
        takes = "sample_weight" in signature(self.sampler_.fit_resample).parameters
        if sample_weight is not None and takes:
            to_sampler = {"sample_weight": sample_weight, **to_sampler}
        if _is_table(X) or not _draws_blindly(self.sampler_):
            draw = self.sampler_.fit_resample
            X_new, y_new, *more = through_pandas(self.sampler_, draw, X, labels, **to_sampler)
        else:  # imbalanced-learn's check wants a table, the draws need none
            rows = np.arange(len(labels))[:, None]
            _, y_new, *more = self.sampler_.fit_resample(rows, labels, **to_sampler)
            X_new = _safe_indexing(X, self.sampler_.sample_indices_)
        kept = getattr(self.sampler_, "sample_indices_", None)
        if kept is not None and len(kept) != len(y_new):
            kept = None
        weight = getattr(self.sampler_, "sample_weight_", more[0] if more else None)
        if weight is not None and np.all(weight == 1.0):  # drawn by weight: none is left to hand on
            return X_new, y_new, None, kept
        if weight is None and sample_weight is not None:
            if kept is None:
                raise ValueError(
                    f"{self.sampler!r} makes rows that have no sample_weight; use a sampler that keeps rows "
                    "of the data, for instance RandomOverSampler, or fit without weights."
                )
            weight = sample_weight[kept]
        return X_new, y_new, weight, kept

    def _follow(self, name, value, n, kept):
        """Metadata of the resampled rows."""
        if kept is not None:
            return of_rows(value, n, kept)
        if of_rows(value, n, slice(0)) is not value:
            raise ValueError(
                f"{self.sampler!r} makes rows that have no {name}; use a sampler that keeps rows of the data."
            )
        return value

    def predict(self, X):
        """Decisions of the resampled model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        check_is_fitted(self)
        return self.estimator_.predict(X)

    @available_if(_estimator_has("decision_function"))
    def decision_function(self, X):
        """Scores of the resampled model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Scores.
        """
        check_is_fitted(self)
        return self.estimator_.decision_function(X)

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X):
        """Probabilities in the population before resampling.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities.
        """
        check_is_fitted(self)
        proba = self.estimator_.predict_proba(X)
        if not self._corrects:
            return proba
        return moved_probabilities(proba, log_ratio(self.prior_, self.trained_prior_))

    def get_metadata_routing(self):
        """Where metadata go: to the sampler's ``fit_resample`` and the classifier's ``fit``.

        Returns
        -------
        MetadataRouter
            scikit-learn's description of it.
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        if self.sampler is not None:
            router.add(
                sampler=self.sampler,
                method_mapping=MethodMapping().add(caller="fit", callee="fit_resample"),
            )
        return router.add(
            estimator=self.estimator, method_mapping=MethodMapping().add(caller="fit", callee="fit")
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags
