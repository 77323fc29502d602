"""All training rows vote, by a power of their distance that has no end where a row is met."""

from numbers import Integral, Real

import numpy as np
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from skimb._core.given import lengths_of
from skimb._core.priors import class_prior
from skimb._core.validation import plain_labels, rows_with_weight

_CELLS = 2**22  # distances that are held at a time
_GRID = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0)
_JUDGES = 2000  # rows that judge an exponent
_NEAR = 1e-7  # distances of this share of a row's length are computed again


class SingularKernelClassifier(ClassifierMixin, BaseEstimator):
    r"""Votes of all training rows by a singular kernel of their distance, corrected for class priors.

    .. math:: p_k(x)\propto\frac{\pi_k}{\hat\pi_k}\sum_{i:y_i=k}w_i\,\|x-x_i\|^{-s}

    with the frequencies :math:`\hat\pi` of the training rows. A training row that is met takes all votes, so that
    the classifier interpolates. There is no bandwidth: rows in other units of length give the same answer.

    Parameters
    ----------
    exponent : float in (0, inf), "dim" or "cv", default="dim"
        The exponent s. Towards 0 all rows vote alike, towards infinity the nearest decides. "dim" estimates the
        dimension of the set that rows lie on, "cv" takes what gives rows left out the least log-loss, 0.5 to 32.
    priors : array-like of shape (n_classes,), "uniform" or None, default=None
        Class probabilities; None takes the frequencies. "uniform" makes ``predict`` the balanced decision.
    metric : {"euclidean", "sphere"}, default="euclidean"
        Distance of rows, or of rows brought to length one.
    n_neighbors : int in [1, inf) or None, default=None
        Nearest rows that vote, by weight and with all at the same distance; None is all.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    class_prior_ : ndarray of shape (n_classes,)
        Class probabilities.
    exponent_ : float
        The exponent in use.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    ValueError
        If `priors` do not fit the classes, or there are not enough different rows to choose an exponent by.

    Notes
    -----
    Infinitely wide and deep nets are, by their activation, the nearest neighbour, the majority vote, or such a
    kernel; the abstract says that some of the last are optimal. With the exponent equal to the dimension of the
    rows the rule is the Hilbert estimate. The dimension is that of the ratios of the distances to the two nearest
    different rows, :math:`n/\sum_i\log(r_{i2}/r_{i1})` (Facco et al.). Standardise features first.

    A prediction costs one distance to every training row. "cv" judges by at most 2000 rows, and a row is left out
    with all that coincide with it.

    References
    ----------
    Radhakrishnan et al. 2022, arXiv:2204.14126; Facco et al. 2017, doi:10.1038/s41598-017-11873-y.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skimb.neighbors import SingularKernelClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SingularKernelClassifier(exponent=4.0).fit(X[::2], y[::2])
    >>> model.score(X[::2], y[::2]), round(model.score(X[1::2], y[1::2]), 2)
    (1.0, 0.96)
    """

    _parameter_constraints = {
        "exponent": [Interval(Real, 0, None, closed="neither"), StrOptions({"dim", "cv"})],
        "priors": ["array-like", StrOptions({"uniform"}), None],
        "metric": [StrOptions({"euclidean", "sphere"})],
        "n_neighbors": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(self, exponent="dim", *, priors=None, metric="euclidean", n_neighbors=None):
        self.exponent = exponent
        self.priors = priors
        self.metric = metric
        self.n_neighbors = n_neighbors

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Keep the rows and find the exponent.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; an integer repeats a row.

        Returns
        -------
        SingularKernelClassifier
            Itself.
        """
        X, y = validate_data(self, X, plain_labels(y), accept_sparse="csr", dtype=np.float64)
        check_classification_targets(y)
        X, y, w = rows_with_weight(X, y, sample_weight)
        self._on_sphere, self._k = self.metric == "sphere", self.n_neighbors
        self.classes_, self._code = np.unique(y, return_inverse=True)
        self._rows, self._log_weight = self._placed(X), np.log(w)
        shares = np.bincount(self._code, w) / w.sum()
        self.class_prior_ = class_prior(self.priors, shares, self.classes_)
        with np.errstate(divide="ignore"):
            self._log_factor = np.log(self.class_prior_) - np.log(shares)
        if self.exponent == "dim":
            self.exponent_ = self._dimension()
        elif self.exponent == "cv":
            self.exponent_ = self._chosen()
        else:
            self.exponent_ = float(self.exponent)
        return self

    def _placed(self, X):
        return normalize(X) if self._on_sphere else X

    def _distances(self, X, at):
        """Distances of some rows to all training rows; small ones by differences, where products cancel."""
        rows, all_ = X[at], self._rows
        far = euclidean_distances(rows, all_)
        length = lengths_of(rows) + lengths_of(all_).T
        i, j = np.nonzero(far <= _NEAR * length)
        step = max(_CELLS // X.shape[1], 1)
        for start in range(0, len(i), step):
            a, b = i[start : start + step], j[start : start + step]
            far[a, b] = lengths_of(rows[a] - all_[b])[:, 0]
        return far

    def _blocks(self, n):
        return gen_batches(n, max(_CELLS // self._rows.shape[0], 1))

    def _dimension(self):
        """Dimension from the distances to the two nearest different rows."""
        mass = total = 0.0
        for at in self._blocks(self._rows.shape[0]):
            far, weight = self._distances(self._rows, at), np.exp(self._log_weight[at])
            far[far == 0] = np.inf
            first = far.min(1)
            far[far <= first[:, None] * (1.0 + 1e-9)] = np.inf
            second = far.min(1)
            told = np.isfinite(second)
            mass += weight[told].sum()
            total += weight[told] @ np.log(second[told] / first[told])
        if not mass:
            raise ValueError(
                "exponent='dim' needs at least 3 different rows, n_samples=1 has too few; give a number, for "
                "instance exponent=4.0."
            )
        return float(mass / total)

    def _chosen(self):
        """The exponent of least log-loss on rows that are left out with all that coincide with them."""
        n = self._rows.shape[0]
        judges = np.unique(np.linspace(0, n - 1, min(n, _JUDGES)).round().astype(int))
        loss, total = np.zeros(len(_GRID)), 0.0
        for at in self._blocks(len(judges)):
            own = judges[at]
            far = self._distances(self._rows, own)
            far[far == 0] = np.inf
            told = np.isfinite(far).any(1)
            weight = np.exp(self._log_weight[own])[told]
            total += weight.sum()
            for k, s in enumerate(_GRID):
                log_proba = self._voted(far[told], s)
                log_own = log_proba[np.arange(told.sum()), self._code[own][told]]
                loss[k] -= weight @ np.maximum(log_own, -36.0)
        if not total:
            raise ValueError(
                "exponent='cv' needs at least 2 different rows, n_samples=1 has too few; give a number, for "
                "instance exponent=4.0."
            )
        return float(_GRID[loss.argmin()])

    def _voted(self, far, exponent):
        """Log probabilities from distances to all training rows."""
        with np.errstate(divide="ignore"):
            log_far = np.log(far)
        met = np.isneginf(log_far)
        vote = self._log_weight - exponent * np.where(met, 0.0, log_far)
        vote = np.where(met.any(1, keepdims=True) & ~met, -np.inf, vote)
        if self._k is not None:
            vote = np.where(far > self._reach(far), -np.inf, vote)
        top = vote.max(1, keepdims=True)
        mass = np.exp(vote - top)
        sums = np.stack([mass[:, self._code == k].sum(1) for k in range(len(self.classes_))], 1)
        with np.errstate(divide="ignore"):
            scores = np.log(sums) + self._log_factor
        return scores - logsumexp(scores, axis=1, keepdims=True)

    def _reach(self, far):
        """Distance within which rows weigh as much as there are neighbours, (m, 1)."""
        order = np.argsort(far, axis=1)
        weight = np.exp(self._log_weight)[order].cumsum(1)
        last = np.minimum((weight < self._k * (1.0 - 1e-12)).sum(1), far.shape[1] - 1)
        return far[np.arange(len(far)), order[np.arange(len(far)), last]][:, None]

    def predict_log_proba(self, X):
        """Logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Log probabilities.
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        X = self._placed(X)
        found = [
            self._voted(self._distances(X, at), self.exponent_) for at in self._blocks(X.shape[0])
        ]
        return np.concatenate(found)

    def predict_proba(self, X):
        """Class probabilities.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities under `priors`.
        """
        return np.exp(self.predict_log_proba(X))

    def predict(self, X):
        """The most probable class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        best = self.predict_log_proba(X).argmax(1)
        return self.classes_[best]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
