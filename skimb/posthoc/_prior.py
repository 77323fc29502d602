"""Probabilities moved from the label distribution of training to that of the population."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, _fit_context, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted

from skimb._core.compat import check_sample_weight
from skimb._core.priors import class_shares, log_ratio, moved_probabilities, trained_shares
from skimb._core.validation import exclusive_target, several_classes, take_names


class PriorCorrectedClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    r"""Undo class weights or resampling in the probabilities of any classifier.

    .. math:: p_k(x) \propto q_k(x)\,\frac{\pi_k}{\pi'_k}

    with the probabilities :math:`q` of the classifier, the label distribution :math:`\pi'` that it was trained
    on (rows counted with class weights, after resampling) and the one of the population, :math:`\pi`. For
    logistic regression this is the shift of the intercept by King and Zeng.

    Parameters
    ----------
    estimator : estimator
        A classifier with `predict_proba`, or an imbalanced-learn pipeline with samplers that ends in one. In
        a ``FrozenEstimator`` a fitted one stays as it is.
    prior : array-like of shape (n_classes,) or dict, default=None
        Label distribution of the population; None takes that of `y` in `fit`, before any resampling.
    trained_prior : array-like of shape (n_classes,) or dict, default=None
        Label distribution that the classifier was trained on. None counts the rows that reach the
        classifier, with their weights and its ``class_weight`` parameter; a frozen estimator needs it.

    Attributes
    ----------
    estimator_ : estimator
        The fitted classifier.
    prior_, trained_prior_ : ndarray of shape (n_classes,)
        Both distributions.
    log_offset_ : ndarray of shape (n_classes,)
        :math:`\log\pi_k-\log\pi'_k`.
    classes_ : ndarray of shape (n_classes,)
        Class labels.

    Raises
    ------
    ValueError
        If y has several labels, or a distribution does not fit the classes.

    Notes
    -----
    Exact if training changed nothing but the label distribution: class weights, random over- and
    under-sampling. Samplers that make or choose rows (SMOTE, Tomek links) also change the distribution
    within classes, which no factor per class can undo. ``predict`` decides for the most probable class after
    the correction.

    skimb's own classifiers undo their class weights and samplers themselves; around them only what a
    pipeline did to the rows is corrected.

    References
    ----------
    King and Zeng 2001, doi:10.1093/oxfordjournals.pan.a004868. Saerens et al. 2002,
    doi:10.1162/089976602753284446.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.posthoc import PriorCorrectedClassifier
    >>> X, y = make_classification(2000, weights=[0.95], class_sep=0.3, random_state=0)
    >>> weighted = LogisticRegression(class_weight="balanced").fit(X, y)
    >>> corrected = PriorCorrectedClassifier(weighted).fit(X, y)
    >>> rates = [m.predict_proba(X)[:, 1].mean() for m in (weighted, corrected)]
    >>> bool(rates[0] > 2 * y.mean()), bool(abs(rates[1] - y.mean()) < 0.02)
    (True, True)
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict_proba"])],
        "prior": ["array-like", dict, None],
        "trained_prior": ["array-like", dict, None],
    }

    def __init__(self, estimator, *, prior=None, trained_prior=None):
        self.estimator = estimator
        self.prior = prior
        self.trained_prior = trained_prior

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Fit the classifier and find both label distributions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of rows, in the fit and in the population's distribution.

        Returns
        -------
        PriorCorrectedClassifier
            Itself.
        """
        labels = exclusive_target(self, y)
        self.classes_, _ = several_classes(self, labels)
        params = {}
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X, dtype=np.float64)
            params["sample_weight"] = sample_weight
        self.prior_ = self._given("prior", self.prior)
        if self.prior_ is None:
            self.prior_ = class_shares(self.classes_, labels, sample_weight)
        self.estimator_, seen = self._fitted(X, labels, params)
        self.trained_prior_ = self._given("trained_prior", self.trained_prior)
        if self.trained_prior_ is None:
            if seen is None:
                raise ValueError(
                    f"{self.estimator!r} was fitted elsewhere; give the label distribution that it was trained "
                    "on as trained_prior=."
                )
            self.trained_prior_ = trained_shares(self.classes_, *seen)
        self.log_offset_ = log_ratio(self.prior_, self.trained_prior_)
        take_names(self, self.estimator_)
        return self

    def _given(self, name, value):
        """A distribution from an array or a mapping of labels, or None."""
        if value is None:
            return None
        if isinstance(value, dict):
            missing = [c for c in self.classes_.tolist() if c not in value]
            if missing:
                raise ValueError(f"{name}={value!r} lacks the classes {missing}.")
            value = [value[c] for c in self.classes_.tolist()]
        array = np.asarray(value, float)
        proper = array.shape == (len(self.classes_),) and np.isfinite(array).all()
        if not proper or (array <= 0).any() or abs(array.sum() - 1.0) > 1e-6:
            raise ValueError(
                f"{name}={value!r} must hold one positive number per class of {self.classes_.tolist()}, "
                "together 1."
            )
        return array

    def _fitted(self, X, labels, params):
        """The fitted estimator, and labels and weights of the rows that reached the classifier."""
        model = clone(self.estimator)
        if not isinstance(model, Pipeline):
            frozen = type(model).__name__ == "FrozenEstimator"
            model.fit(X, labels, **params)
            return model, None if frozen else (labels, params.get("sample_weight"), model)
        name, final = model.steps[-1]
        spy = _Spy(final)
        model.steps[-1] = (name, spy)
        model.fit(X, labels, **{f"{name}__{k}": v for k, v in params.items()})
        model.steps[-1] = (name, spy.final)
        return model, (*spy.seen, spy.final)

    def predict_proba(self, X):
        """Probabilities in the population.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities.
        """
        check_is_fitted(self)
        return moved_probabilities(self.estimator_.predict_proba(X), self.log_offset_)

    def predict(self, X):
        """The most probable class in the population.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(1)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags


class _Spy(ClassifierMixin, BaseEstimator):
    """Stands at the end of a pipeline, fits the classifier there and keeps what it was given."""

    def __init__(self, final):
        self.final = final

    def fit(self, X, y, sample_weight=None):
        self.seen = np.asarray(y), sample_weight
        if sample_weight is None:
            self.final.fit(X, y)
        else:
            self.final.fit(X, y, sample_weight=sample_weight)
        return self
