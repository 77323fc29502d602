"""Probabilities moved from the label distribution of training to that of the population."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, _fit_context, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.metadata_routing import (
    MethodMapping,
    _raise_for_params,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.validation import _check_method_params, check_is_fitted

from skimb._core.compat import check_sample_weight
from skimb._core.inner import as_given, router_of, weight_params
from skimb._core.priors import log_ratio, moved_probabilities
from skimb._core.stand_ins import FitRecorder
from skimb._core.trained_prior import Rows, UnknownPrior, seen_shares
from skimb._core.validation import exclusive_target, several_classes, take_names
from skimb.posthoc._shares import given_shares, population_shares

_ODDS = (
    2.0  # mean probabilities whose odds are further than this factor from the prior's contradict it
)
_NOISE = 4.0  # standard errors of a mean probability that are no contradiction


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
        Label distribution that the classifier was trained on. None finds it out (see Notes); a frozen
        estimator needs it.

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
        If y has several labels, a distribution does not fit the classes, or what the classifier was trained
        on cannot be found out or is contradicted by its probabilities.

    Notes
    -----
    Exact if training changed nothing but the label distribution: class weights, random over- and
    under-sampling. Samplers that make or choose rows (SMOTE, Tomek links) also change the distribution
    within classes, which no factor per class can undo; few boosted or strongly regularised trees keep all
    probabilities near the middle and come out too low for the rare class. ``predict`` decides for the most
    probable class after the correction.

    Where `trained_prior` is None, the rows that reach the classifier count, with their weights and its own
    parameters for classes: ``class_weight``, ``scale_pos_weight``, ``is_unbalance``, ``priors``. It is looked for
    in pipelines within pipelines, searches, threshold classifiers, bagging, voting, stacking, one-vs-rest,
    calibration and balanced forests; other meta-estimators whose parts weigh classes or resample are refused. In
    any case the probabilities of the training rows, weighted to the distribution found, must have it as
    their mean, up to noise and a factor of two in the odds; and the correction must not move their mean away
    from the population, as it would where weights had no effect (fully grown trees).

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
    def fit(self, X, y, sample_weight=None, **params):
        """Fit the classifier and find both label distributions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of rows, in the fit (of a pipeline: in its last step) and in the population's
            distribution.
        **params : dict
            Metadata for the classifier's fit, with metadata routing enabled.

        Returns
        -------
        PriorCorrectedClassifier
            Itself.
        """
        labels = exclusive_target(self, y)
        self.classes_, _ = several_classes(self, labels)
        if sample_weight is not None:
            sample_weight = check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        population = population_shares(self.classes_, labels, sample_weight)
        given = given_shares(self.classes_, "prior", self.prior)
        self.prior_ = population if given is None else given
        self.trained_prior_ = given_shares(self.classes_, "trained_prior", self.trained_prior)
        fit_params = self._routed(X, params) | weight_params(self.estimator, sample_weight)
        model, last, rows = self._fitted(X, as_given(y, labels), labels, sample_weight, fit_params)
        self.estimator_ = model
        known = set(np.asarray(model.classes_).tolist())
        if known != set(self.classes_.tolist()):
            raise ValueError(
                f"{self.estimator!r} knows the classes {sorted(known)}, y holds {self.classes_.tolist()}."
            )
        self._columns = np.argsort(model.classes_)
        if self.trained_prior_ is None:
            try:
                self.trained_prior_ = seen_shares(last, rows)
            except UnknownPrior as unknown:
                raise ValueError(
                    f"{unknown}; give the label distribution that it was trained on as trained_prior=."
                ) from unknown
            self._check_believed(X, labels, sample_weight, population)
        self.log_offset_ = log_ratio(self.prior_, self.trained_prior_)
        take_names(self, self.estimator_)
        return self

    def _routed(self, X, params):
        """Parameters of the classifier's fit."""
        if not params:
            return {}
        if not _routing_enabled():
            _raise_for_params(params, self, "fit")
        routed = process_routing(self, "fit", **_check_method_params(X, params=params))
        return dict(routed.estimator.fit)

    def _fitted(self, X, y, labels, weight, fit_params):
        """The fitted estimator, the classifier at the end of its pipelines, and what reached that."""
        model = clone(self.estimator)
        holder, last = None, model
        while isinstance(last, Pipeline):
            holder, last = last, last.steps[-1][1]
        if holder is None or self.trained_prior_ is not None:
            model.fit(X, y, **fit_params)
            return model, model, Rows(lambda: X, labels, weight, self.classes_)
        name = holder.steps[-1][0]
        recorder = FitRecorder(last)
        holder.steps[-1] = (name, recorder)
        model.fit(X, y, **fit_params)
        holder.steps[-1] = (name, last)
        rows, seen = recorder.rows_
        reached = Rows(
            lambda: rows, np.asarray(seen), recorder.params_.get("sample_weight"), self.classes_
        )
        return model, last, reached

    def _check_believed(self, X, labels, weight, population):
        """Refuse a training prior that the mean probabilities of the training rows contradict.

        Rows are weighted so that the classes have the shares of the believed prior: the means of a
        classifier that was trained on it are then that prior.
        """
        trained = self.trained_prior_
        weight = np.ones(len(labels)) if weight is None else weight
        code = np.searchsorted(self.classes_, labels)
        share = weight * (trained / population)[code]
        share = share / share.sum()
        proba = self.estimator_.predict_proba(X)[:, self._columns]
        mean = share @ proba
        corrected = weight @ moved_probabilities(proba, log_ratio(population, trained))
        after = np.abs(_log_odds(corrected / weight.sum()) - _log_odds(population))
        before = np.abs(_log_odds(weight @ proba / weight.sum()) - _log_odds(population))
        spread = np.sqrt((share**2).sum() * trained * (1.0 - trained))
        off = np.abs(_log_odds(mean) - _log_odds(trained))
        wrong = (off > np.log(_ODDS)) & (np.abs(mean - trained) > _NOISE * spread)
        worse = (after > np.log(_ODDS)) & (after > before)
        if wrong.any() or worse.any():
            shown = (corrected / weight.sum()).round(4).tolist()
            raise ValueError(
                f"{self.estimator!r} seems to be trained on the shares {trained.round(4).tolist()} "
                f"of {self.classes_.tolist()}, but its probabilities of the training rows have the means "
                f"{mean.round(4).tolist()} under it, and {shown} after the correction: something weighs classes "
                "that cannot be seen, weights had no effect, or the probabilities are not calibrated. Give the "
                "distribution that it was trained on as trained_prior=, or calibrate it (CalibratedClassifierCV)."
            )

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
        proba = self.estimator_.predict_proba(X)[:, self._columns]
        return moved_probabilities(proba, self.log_offset_)

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

    def get_metadata_routing(self):
        """Where metadata go: to the classifier's ``fit``.

        Returns
        -------
        MetadataRouter
            scikit-learn's description of it.
        """
        return router_of(self, self.estimator).add(
            estimator=self.estimator, method_mapping=MethodMapping().add(caller="fit", callee="fit")
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags


def _log_odds(p):
    """Logarithms of odds, of 0 and 1 those next to them."""
    p = np.clip(p, 1e-12, 1.0 - 1e-12)
    return np.log(p) - np.log1p(-p)
