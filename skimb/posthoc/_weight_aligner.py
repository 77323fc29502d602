"""Weight vectors of classes brought to common norms after training."""

import copy

import numpy as np
from sklearn.utils._param_validation import StrOptions

from skimb._core.priors import class_shares
from skimb._core.warn import warn_user
from skimb.posthoc._output_weights import OutputWeights
from skimb.posthoc._rescored import RescoredClassifier, log_probabilities, margins


class WeightAligner(RescoredClassifier):
    r"""Decide by an output layer whose weight vectors were brought to common norms.

    .. math:: \hat y(x)=\arg\max_k\; s_k\,w_k^\top z(x)+b_k

    with the weights and intercepts of the output layer of a linear or neural classifier and its inputs
    :math:`z`. Each class by itself is :math:`\tau`-normalisation, kept on the scale of the layer,

    .. math:: s_k=\frac{\operatorname{mean}_j\lVert w_j\rVert^\tau}{\lVert w_k\rVert^\tau};

    groups of classes are weight aligning, which keeps the order of norms within a group:

    .. math:: s_k=\Bigl(\frac{m_0}{m_{g(k)}}\Bigr)^\tau,\qquad m_g=\operatorname{mean}_{j\in g}\lVert w_j\rVert.

    Parameters
    ----------
    estimator : estimator
        A linear classifier with ``coef_`` for each class, scikit-learn's ``MLPClassifier`` or a neural classifier
        of skimb, alone or at the end of a pipeline or within a search. A fitted one is taken as it is in a
        ``FrozenEstimator`` or with ``cv="prefit"``; any other is cloned and fitted.
    tau : float or "auto", default="auto"
        Strength; 0 leaves decisions as they are, 1 makes the norms (of groups: their means) equal. "auto" takes
        that of `taus` with the best score out of fold.
    groups : "head_tail", array-like of shape (n_classes,), dict or None, default=None
        Number of each class's group, in the order of the sorted labels or by label; group 0 is the one whose mean
        norm the others get: the classes known before of class-incremental learning. "head_tail" has the rarer half
        of the classes in group 1. None takes each class by itself.
    intercept : {"keep", "drop"}, default="keep"
        Whether the intercepts stay. Dropping them, as the authors do, needs inputs `z` with mean zero.
    taus : array-like of float, default=None
        What "auto" tries; None stands for 0, 0.1, ..., 2.
    scoring : str or callable, default="balanced_accuracy"
        Scorer of "auto"; among equals the strength nearest to 0 is taken.
    cv : int, splitter, iterable or "prefit", default=None
        As in :class:`LogitAdjuster`.

    Attributes
    ----------
    estimator_ : estimator
        The classifier as it was fitted; it gives the probabilities.
    aligned_ : estimator
        A copy of it with the scaled output layer.
    tau_ : float
        Strength.
    weight_norms_ : ndarray of shape (n_classes,)
        Norms of the weight vectors before, in the order of ``classes_``.
    scale_ : ndarray of shape (n_classes,)
        :math:`s_k`; for two groups that of the second is the :math:`\gamma` of weight aligning.
    groups_ : ndarray of shape (n_classes,) or None
        Group of each class.
    cv_results_, classes_, n_features_in_, feature_names_in_ : object
        As in :class:`LogitAdjuster`.

    Raises
    ------
    TypeError
        If the classifier has no output layer with a weight vector per class.
    ValueError
        If `groups` does not fit the classes, or `y` has several labels or one class.

    Notes
    -----
    Scaled scores are no logarithms of probabilities: ``predict_proba`` is that of the classifier as it was fitted.
    Two classes that share one score have one weight vector, which is that of both with opposite signs: nothing can
    be aligned, and a warning says so.

    The premise is that norms follow class counts. Those of small nets trained by Adam spread little, and those of
    new classes in class-incremental learning may be the shorter ones: look at ``scale_``.
    :class:`LogitAdjuster` is the stronger method on most data.

    References
    ----------
    Weight aligning: Zhao et al. 2020, arXiv:1911.07053. Normalisation: Kang et al. 2020, arXiv:1910.09217. The
    power of the mean norm, groups of any number and kept intercepts are ours.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.posthoc import WeightAligner
    >>> X, y = load_digits(return_X_y=True)
    >>> model = WeightAligner(LogisticRegression(C=0.01), tau=1.0).fit(X / 16, y)
    >>> norms = (model.aligned_.coef_**2).sum(1) ** 0.5
    >>> bool(norms.std() < 1e-12), bool(abs(norms[0] - model.weight_norms_.mean()) < 1e-12)
    (True, True)
    """

    _parameter_constraints = {
        **RescoredClassifier._parameter_constraints,
        "groups": [StrOptions({"head_tail"}), "array-like", dict, None],
        "intercept": [StrOptions({"keep", "drop"})],
    }

    def __init__(
        self,
        estimator,
        *,
        tau="auto",
        groups=None,
        intercept="keep",
        taus=None,
        scoring="balanced_accuracy",
        cv=None,
    ):
        self.estimator = estimator
        self.tau = tau
        self.groups = groups
        self.intercept = intercept
        self.taus = taus
        self.scoring = scoring
        self.cv = cv

    def _describe(self, labels, weight):
        self._drops = self.intercept == "drop"
        self.groups_ = self._read_groups(labels, weight)

    def _read_groups(self, labels, weight):
        """Group of each class, or None."""
        groups, known = self.groups, self.classes_.tolist()
        if groups is None:
            return None
        if isinstance(groups, str):
            order = np.argsort(class_shares(self.classes_, labels, weight), kind="stable")
            found = np.zeros(len(known), int)
            found[order[: len(known) // 2]] = 1
            return found
        if isinstance(groups, dict):
            missing = [c for c in known if c not in groups]
            if missing:
                raise ValueError(f"groups={groups!r} lacks the classes {missing}.")
            groups = [groups[c] for c in known]
        found = np.asarray(groups)
        if found.shape != (len(known),) or found.dtype.kind not in "iub" or (found < 0).any():
            raise ValueError(
                f"groups={self.groups!r} must hold the number of a group, from 0, for each class of {known}."
            )
        if (found != 0).all():
            raise ValueError(
                f"groups={self.groups!r} has no class in group 0, which sets the norm."
            )
        return found.astype(int)

    def _factors(self, norms, columns, tau):
        """Factors (n_vectors,) of weight vectors."""
        if len(norms) == 1 and len(columns) == 2:
            return np.ones(1)
        if self.groups_ is None:
            positive = np.where(norms > 0, norms, 1.0)  # no factor lengthens a vector of zeros
            return (positive**tau)[norms > 0].mean() / positive**tau if norms.any() else norms + 1.0
        own = self.groups_[columns]
        means = np.array(
            [norms[own == g].mean() if (own == g).any() else 0.0 for g in range(own.max() + 1)]
        )
        if means[0] == 0.0:  # a training fold without the classes of group 0
            return np.ones(len(norms))
        means[means == 0.0] = means[0]
        return (means[0] / means[own]) ** tau

    def _finish(self, model):
        self.aligned_ = copy.deepcopy(model)
        columns = self._check_classes(model)
        head = OutputWeights(self.aligned_)
        factors = self._factors(head.norms, columns, self.tau_)
        if len(factors) < len(columns):
            warn_user(
                f"{model!r} has one weight vector for both classes, so there is nothing to align; a "
                "LogitAdjuster changes its decisions."
            )
        head.scale(factors, 0.0 if self._drops else 1.0)
        self.weight_norms_, self.scale_ = np.empty((2, len(columns)))
        self.weight_norms_[columns], self.scale_[columns] = head.norms, factors

    def _scores(self, model, X):
        aligned, columns = copy.deepcopy(model), self._check_classes(model)
        head = OutputWeights(aligned)

        def scores(tau):
            head.scale(self._factors(head.norms, columns, tau), 0.0 if self._drops else 1.0)
            return _scores_of(aligned, X)

        return scores

    def _fitted_scores(self, X):
        return _scores_of(self.aligned_, X)


def _scores_of(model, X):
    read = margins if hasattr(model, "decision_function") else log_probabilities
    return read(model, X)
