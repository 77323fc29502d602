"""Bags with balanced classes, and nets trained on them as one population."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, _fit_context, clone
from sklearn.utils import check_random_state, get_tags
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from skimb._base.classifier import NeuralClassifier
from skimb._base.head import Head, warn_of_common_positive
from skimb._base.together import FitsTogether
from skimb._core.priors import class_shares
from skimb._core.validation import drop_weightless, exclusive_target
from skimb.engine.grouping import MAX_MEMORY
from skimb.losses import CrossEntropy
from skimb.neural_network import MLPClassifier


class PopulationBaggingClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    r"""Bagging of nets over bags with balanced classes, all nets trained as one population.

    Each bag draws rows with replacement, class k with share :math:`\propto n_k^q`: 0 is balanced, 1 as in the
    data. Its size is the largest for which no class is drawn from more often than it has rows.

    Parameters
    ----------
    estimator : estimator, default=None
        A neural classifier of skimb; None is an ``MLPClassifier``. Its ``prior`` must be None.
    n_estimators : int in [1, inf), default=10
        Nets.
    power : float in [0, 1], default=0.0
        Exponent q of the class sizes.
    max_memory : int in [1, inf), default=2**30
        Bytes that the state of nets trained together may take.
    random_state : int, RandomState or None, default=None
        Seed of bags and nets.

    Attributes
    ----------
    estimators_ : list of classifiers
        The nets.
    estimators_samples_ : list of ndarray
        Rows of each bag, among those of positive weight.
    classes_ : ndarray of shape (n_classes,)
        Labels.
    prior_ : ndarray of shape (n_classes,)
        Class frequencies that ``predict_proba`` refers to.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    ValueError
        If the base estimator is no neural classifier, or there is one class only.

    Notes
    -----
    The nets' raw scores are averaged, which pools odds: ``predict`` is the decision of the loss at the mean, the
    balanced one at power 0, and ``predict_proba`` the probability it stands for, moved to the class frequencies of
    `fit`, which is exact for the random draws of a bag. Sample weights weigh rows within bags, not the draws.

    References
    ----------
    Breiman 1996, doi:10.1007/BF00058655; balanced bags: Wallace et al. 2011, doi:10.1109/ICDM.2011.33.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.ensemble import PopulationBaggingClassifier
    >>> from skimb.neural_network import MLPClassifier
    >>> X, y = make_classification(2000, weights=[0.95], random_state=0)
    >>> nets = PopulationBaggingClassifier(MLPClassifier((16,), max_iter=20), random_state=0).fit(X, y)
    >>> len(nets.estimators_), bool(abs(nets.predict_proba(X)[:, 1].mean() - y.mean()) < 0.02)
    (10, True)
    """

    _parameter_constraints = {
        "estimator": [BaseEstimator, None],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "power": [Interval(Real, 0, 1, closed="both")],
        "max_memory": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        n_estimators=10,
        *,
        power=0.0,
        max_memory=MAX_MEMORY,
        random_state=None,
    ):
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.power = power
        self.max_memory = max_memory
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Draw the bags and train the nets.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; 0 removes a row.

        Returns
        -------
        PopulationBaggingClassifier
            Itself.
        """
        base = MLPClassifier() if self.estimator is None else self.estimator
        if not isinstance(base, NeuralClassifier):
            raise ValueError(
                f"estimator={base!r} is no neural classifier of skimb; use scikit-learn's BaggingClassifier for it."
            )
        if getattr(base, "decoupling", None) is not None:
            raise ValueError(
                f"decoupling={base.decoupling!r} of the base estimator must be None: bags have balanced classes "
                "already, and output layers on scales of their own have no mean."
            )
        if base.prior is not None:
            raise ValueError(
                f"prior={base.prior!r} of the base estimator must be None: it is set to the class frequencies "
                f"of fit."
            )
        head = Head(type(self).__name__)
        labels = exclusive_target(self, head.plain(y))
        X, labels = validate_data(
            self, X, labels, accept_sparse="csr", dtype=(np.float64, np.float32)
        )
        X, labels, sample_weight = drop_weightless(X, labels, sample_weight)
        code = head.read(labels)
        self.classes_ = head.classes
        self.prior_ = class_shares(self.classes_, labels, sample_weight)
        rng = check_random_state(self.random_state)
        bags = self._bags(code, rng)
        if self.power < 1.0:  # else the nets see the class sizes themselves
            loss = CrossEntropy() if base.loss is None else base.loss
            warn_of_common_positive(loss, self.classes_, np.bincount(code))
        nets = [clone(base) for _ in bags]
        for net in nets:
            net.set_params(prior=self.prior_, random_state=rng.randint(np.iinfo(np.int32).max))
            net._validate_params()
        params = {"sample_weight": sample_weight}
        together = FitsTogether(nets, X, labels, params, self.max_memory, bags)
        together.run()
        together.finish()
        for error in together.errors.values():
            raise error
        self.estimators_, self.estimators_samples_ = nets, bags
        self._head = nets[0]._head  # its loss decides at the mean
        return self

    def _bags(self, code, rng):
        rows = [np.flatnonzero(code == k) for k in range(len(self.classes_))]
        count = np.array([len(r) for r in rows], float)
        share = count**self.power / (count**self.power).sum()
        sizes = np.maximum(np.rint(share * (count / share).min()).astype(int), 1)
        return [
            np.concatenate([rng.choice(r, n) for r, n in zip(rows, sizes, strict=True)])
            for _ in range(self.n_estimators)
        ]

    def _logits(self, X):
        """Mean raw scores of the nets."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
        return sum(net._logits(X).double() for net in self.estimators_) / len(self.estimators_)

    def decision_function(self, X):
        """Scores of the nets' mean.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Scores as one net gives them.
        """
        logits = self._logits(X)
        return self._head.decision(logits)

    def predict(self, X):
        """The decision of the mean score.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        scores = self.decision_function(X)
        return self._head.labels(scores)

    def predict_proba(self, X):
        """Probabilities of the nets' mean, in the class frequencies of `fit`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities.
        """
        logits = self._logits(X)
        return self._head.posterior(logits)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        base = MLPClassifier() if self.estimator is None else self.estimator
        tags.input_tags.sparse = get_tags(base).input_tags.sparse
        return tags
