"""Post-hoc logit adjustment of any classifier."""

import numpy as np

from skimb.posthoc._rescored import RescoredClassifier, log_probabilities, margins
from skimb.posthoc._shares import given_shares, population_shares


class LogitAdjuster(RescoredClassifier):
    r"""Decide by logits from which the logarithms of class frequencies are subtracted.

    .. math:: \hat y(x)=\arg\max_k\; \log p_k(x)-\tau\log\pi_k

    with the probabilities :math:`p` of any classifier and the label distribution :math:`\pi` that they refer to.
    With :math:`\tau=1` and true probabilities this is the decision with the least balanced error, which divides
    them by the prior; nets that fit the training rows closely need larger :math:`\tau`.

    Parameters
    ----------
    estimator : estimator
        A classifier with `predict_proba`, or with `decision_function`, whose margins then take the place of
        :math:`\log p_k`. A fitted one is taken as it is in a ``FrozenEstimator`` or with ``cv="prefit"``; any
        other is cloned and fitted. Margins are on no scale of log-odds: choose `tau` for them by "auto".
    tau : float or "auto", default="auto"
        Strength; 0 leaves decisions as they are. "auto" takes that of `taus` with the best score out of fold.
    prior : array-like of shape (n_classes,) or dict, default=None
        Label distribution that the probabilities refer to; None takes that of `y` in `fit`.
    taus : array-like of float, default=None
        What "auto" tries; None stands for 0, 0.1, ..., 2.
    scoring : str or callable, default="balanced_accuracy"
        Scorer of "auto". Among strengths that score the same the one nearest to 0 is taken, so a metric that
        no decision changes (the AUC of two classes) gives 0.
    cv : int, splitter, iterable or "prefit", default=None
        Folds of "auto", as scikit-learn reads them; None is five. "prefit" says that `estimator` is fitted: then
        nothing is refitted and all rows given to `fit` are scored, which have to be rows that it has not seen.

    Attributes
    ----------
    estimator_ : estimator
        The fitted classifier.
    tau_ : float
        Strength.
    prior_ : ndarray of shape (n_classes,)
        Label distribution.
    offset_ : ndarray of shape (n_classes,)
        :math:`\tau\log\pi_k`.
    cv_results_ : dict or None
        ``tau``, ``mean_test_score`` and ``std_test_score`` of what "auto" tried.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X, where the classifier tells them.

    Raises
    ------
    ValueError
        If `y` has several labels or one class, `prior` does not fit the classes, or a fitted classifier knows
        other classes than `y`.

    Notes
    -----
    ``predict_proba`` answers the classifier's own probabilities, which are those of the population and stay
    honest: they are not divided by the prior, and their argmax is the decision for :math:`\tau=0`.
    ``decision_function`` gives the adjusted scores. Scorers that ask for probabilities see the former.

    Classes weighed in training (``class_weight``, resampling) are adjusted already; put a
    :class:`PriorCorrectedClassifier` around such a classifier first. skimb's own need none: their probabilities
    are those of the population under any loss. A class that a training fold lacks is never decided for there.

    References
    ----------
    Menon et al. 2021, arXiv:2007.07314.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.metrics import balanced_accuracy_score
    >>> from skimb.posthoc import LogitAdjuster
    >>> X, y = make_classification(2000, weights=[0.95], class_sep=0.5, random_state=0)
    >>> model = LogitAdjuster(LogisticRegression(), tau=1.0).fit(X, y)
    >>> found = [balanced_accuracy_score(y, m.predict(X)) for m in (model.estimator_, model)]
    >>> bool(found[1] > found[0] + 0.05)
    True
    """

    _parameter_constraints = {
        **RescoredClassifier._parameter_constraints,
        "prior": ["array-like", dict, None],
    }

    def __init__(
        self,
        estimator,
        *,
        tau="auto",
        prior=None,
        taus=None,
        scoring="balanced_accuracy",
        cv=None,
    ):
        self.estimator = estimator
        self.tau = tau
        self.prior = prior
        self.taus = taus
        self.scoring = scoring
        self.cv = cv

    def _describe(self, labels, weight):
        given = given_shares(self.classes_, "prior", self.prior)
        self.prior_ = population_shares(self.classes_, labels, weight) if given is None else given

    def _finish(self, model):
        self.offset_ = self.tau_ * np.log(self.prior_)

    def _scores(self, model, X):
        read = log_probabilities if hasattr(model, "predict_proba") else margins
        z, log_prior = read(model, X), np.log(self.prior_[self._check_classes(model)])
        return lambda tau: z - tau * log_prior
