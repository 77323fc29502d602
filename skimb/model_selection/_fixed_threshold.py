"""A classifier with fixed decision thresholds."""

from numbers import Real

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    _fit_context,
    is_classifier,
)
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _estimator_has, check_is_fitted

from skimb._core.inner import unfitted, weight_params
from skimb._core.validation import take_names
from skimb.model_selection._decisions import check_positive, ordered, warn_if_common
from skimb.model_selection._responses import class_scores, response_of, target_of
from skimb.model_selection._thresholds import decide


class ThresholdDecisions(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Base of classifiers that decide by thresholds.

    `fit` sets ``estimator_``, ``classes_``, ``_order`` (labels in the order of codes), ``_multilabel``,
    ``_response`` (the method that gives scores) and ``_rule``.
    """

    _parameter_constraints = {
        "estimator": [
            HasMethods(["fit", "predict_proba"]),
            HasMethods(["fit", "decision_function"]),
        ],
        "response_method": [StrOptions({"auto", "predict_proba", "decision_function"})],
        "pos_label": [Real, str, "boolean", None],
    }

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X):
        """Probabilities of the classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Probabilities.
        """
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    @available_if(_estimator_has("predict_log_proba"))
    def predict_log_proba(self, X):
        """Logarithms of the classifier's probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Logarithms of probabilities.
        """
        check_is_fitted(self)
        return self.estimator_.predict_log_proba(X)

    @available_if(_estimator_has("decision_function"))
    def decision_function(self, X):
        """Scores of the classifier; the thresholds do not move them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,), (n_samples, n_classes) or (n_samples, n_labels)
            Scores.
        """
        check_is_fitted(self)
        return self.estimator_.decision_function(X)

    def predict(self, X):
        """Decide by the thresholds.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels, or a 0/1 indicator matrix.
        """
        check_is_fitted(self)
        scores = class_scores(self.estimator_, X, self._response, self._order, self._multilabel)
        codes = decide(scores, self._rule, self._multilabel, self._additive)
        return codes if self._multilabel else self._order[codes]

    @property
    def _additive(self):
        return self._response == "decision_function"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags = inner.input_tags
        if inner.classifier_tags is not None:
            tags.classifier_tags.multi_label = inner.classifier_tags.multi_label
            tags.classifier_tags.multi_class = inner.classifier_tags.multi_class
        return tags


class FixedThresholdClassifier(ThresholdDecisions):
    r"""A classifier whose scores are turned into decisions by given thresholds.

    Two classes: the positive one where its probability is at least :math:`t`. More classes:
    :math:`\arg\max_k p_k/t_k` (for two classes and :math:`(1-t,t)` the same rule). Labels: each one where its
    probability is at least :math:`t_k`. With scores of ``decision_function`` in place of probabilities, more
    classes take :math:`\arg\max_k s_k-t_k`.

    Parameters
    ----------
    estimator : estimator
        A classifier with `predict_proba` or `decision_function`.
    threshold : float or array-like of shape (n_classes,) or (n_labels,), default=None
        Thresholds; positive for probabilities of more than two classes. A number is for two classes or for all
        labels. None (or "auto") decides for the largest score; for two classes and for labels from
        one half, or from 0 with `decision_function`.
    pos_label : int, float, bool or str, default=None
        The one of two classes whose score is compared with a number; None takes the second.
    response_method : {"auto", "predict_proba", "decision_function"}, default="auto"
        Where scores come from; "auto" takes probabilities where there are some.

    Attributes
    ----------
    estimator_ : estimator
        The fitted classifier.
    classes_ : ndarray of shape (n_classes,)
        Class labels.

    Raises
    ------
    ValueError
        If thresholds or `pos_label` do not fit the classes, or the classifier has no such response.

    Notes
    -----
    scikit-learn has a class of this name for two classes; this one also takes more classes and multi-label
    targets. A threshold that is set after `fit` takes effect with the next one.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.model_selection import FixedThresholdClassifier
    >>> X, y = make_classification(300, weights=[0.9], random_state=0)
    >>> model = FixedThresholdClassifier(LogisticRegression(), threshold=0.1).fit(X, y)
    >>> bool(model.predict(X).mean() > model.estimator_.predict(X).mean())
    True
    """

    _parameter_constraints = {
        **ThresholdDecisions._parameter_constraints,
        "threshold": [
            Interval(Real, None, None, closed="neither"),
            "array-like",
            StrOptions({"auto"}),
            None,
        ],
    }

    def __init__(self, estimator, threshold=None, *, pos_label=None, response_method="auto"):
        self.estimator = estimator
        self.threshold = threshold
        self.pos_label = pos_label
        self.response_method = response_method

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, **params):
        """Fit the classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like or sparse matrix of shape (n_samples,) or (n_samples, n_labels)
            Labels.
        **params : dict
            Parameters of the classifier's fit; ``sample_weight`` goes to the last step of a pipeline.

        Returns
        -------
        FixedThresholdClassifier
            Itself.
        """
        if not is_classifier(self.estimator):
            raise ValueError(f"estimator={self.estimator!r} is no classifier.")
        y, labels, multilabel = target_of(self, y)
        weights = weight_params(self.estimator, params.pop("sample_weight", None))
        if _routing_enabled():
            params = process_routing(self, "fit", **params).estimator.fit
        response = response_of(self.estimator, self.response_method)
        self.estimator_ = unfitted(self.estimator).fit(X, y, **params, **weights)
        take_names(self, self.estimator_)
        self._response, self._multilabel = response, multilabel
        if multilabel:
            self.classes_ = np.arange(labels.shape[1])
        else:
            self.classes_ = np.sort(self.estimator_.classes_)
        check_positive("pos_label", self.pos_label, self.classes_, multilabel)
        self._order = ordered(self.classes_, self.pos_label)
        self._rule = self._checked_rule()
        scalar = np.ndim(self._rule) == 0 and not multilabel and not self._automatic
        if self.pos_label is None and scalar:
            code = np.searchsorted(self.classes_, labels)
            warn_if_common(f"threshold={self.threshold!r}", self._order, code)
        return self

    @property
    def _automatic(self):
        return self.threshold is None or (
            isinstance(self.threshold, str) and self.threshold == "auto"
        )

    def _checked_rule(self):
        n = len(self.classes_)
        one = self._multilabel or n == 2
        if self._automatic:
            if self._additive:
                return 0.0 if one else np.zeros(n)
            return 0.5 if one else np.full(n, 1.0 / n)
        rule = np.array(self.threshold, float)
        if rule.ndim == 0 and one:
            return float(rule)
        positive = self._multilabel or self._additive or (rule > 0).all()
        if rule.shape != (n,) or not np.isfinite(rule).all() or not positive:
            sign = "" if self._multilabel or self._additive else "positive "
            raise ValueError(
                f"threshold={self.threshold!r} must hold {n} {sign}numbers, one for each of "
                f"{list(self.classes_)}."
            )
        return rule

    def get_metadata_routing(self):
        """Where metadata go: to the classifier's ``fit``.

        Returns
        -------
        MetadataRouter
            scikit-learn's description of it.
        """
        return MetadataRouter(owner=self).add(
            estimator=self.estimator, method_mapping=MethodMapping().add(caller="fit", callee="fit")
        )
