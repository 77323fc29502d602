"""Classes as concentrations of directions about their mean direction."""

from numbers import Real

import numpy as np
from scipy.special import gammaln, logsumexp
from sklearn.preprocessing import normalize
from sklearn.utils._param_validation import Interval, StrOptions

from skimb._core.given import lengths_of
from skimb.naive_bayes._bessel import log_iv
from skimb.naive_bayes._generative import GenerativeClassifier

_STEPS = 25
_MOST = 1.0 - 1e-6  # mean lengths beyond which a class is a point


def log_normaliser(concentration, d):
    r"""Logarithm of :math:`C_d(\kappa)=\kappa^{d/2-1}/\bigl((2\pi)^{d/2}I_{d/2-1}(\kappa)\bigr)`."""
    v = 0.5 * d - 1.0
    kappa = np.asarray(concentration, float)
    at = np.where(kappa > 0, kappa, 1.0)
    found = v * np.log(at) - 0.5 * d * np.log(2.0 * np.pi) - log_iv(v, at)
    even = gammaln(0.5 * d) - np.log(2.0) - 0.5 * d * np.log(np.pi)
    return np.where(kappa > 0, found, even)


def concentration(length, d):
    """Concentration whose mean direction has a mean length: Newton's method on a ratio of Bessel functions.

    Parameters
    ----------
    length : array-like, values in [0, 1)
        Lengths R of the mean of directions.
    d : int
        Features, at least 2.

    Returns
    -------
    ndarray
        Concentrations of largest likelihood.
    """
    R = np.minimum(np.asarray(length, float), _MOST)
    kappa = R * (d - R**2) / (1.0 - R**2)
    v, moving = 0.5 * d - 1.0, R > 0
    for _ in range(_STEPS):
        at = np.where(moving, kappa, 1.0)
        ratio = np.exp(log_iv(v + 1.0, at) - log_iv(v, at))
        slope = 1.0 - ratio**2 - (d - 1.0) / at * ratio
        step = np.where(moving, (ratio - R) / np.maximum(slope, 1e-300), 0.0)
        step = np.clip(step, -kappa, 0.5 * kappa)
        kappa = kappa - step
        if (np.abs(step) <= 1e-12 * kappa).all():
            break
    return kappa


class VonMisesFisherClassifier(GenerativeClassifier):
    r"""Classes as von Mises-Fisher distributions of directions, for rows of length one such as embeddings of texts.

    .. math:: s_k(x)=\log\pi_k+\log C_d(\kappa_k)+\kappa_k\mu_k^\top x,\qquad
        \mu_k=\frac{r_k}{\|r_k\|},\quad r_k=\sum_{i\in k}x_i.

    The concentration :math:`\kappa_k` is that of largest likelihood for the mean length :math:`R_k=\|r_k\|/n_k`,
    drawn towards that of all classes, :math:`(n_kR_k+sR)/(n_k+s)` with :math:`R=\sum_k\|r_k\|/\sum_kn_k`: the
    mean of one row has the length 1, and that of few is too long.

    Parameters
    ----------
    shrinkage : float in [0, inf), default=5.0
        Rows s that the common concentration counts for.
    shared_concentration : bool, default=False
        One concentration for all classes. Scores are then linear: cosines with mean directions, and log priors.
    priors : array-like of shape (n_classes,), "uniform" or None, default=None
        Class probabilities; None takes the frequencies. "uniform" makes ``predict`` the balanced decision.
    normalize : bool, default=True
        Whether rows are brought to length one; otherwise they must have it. A row of zeros says nothing.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    class_count_ : ndarray of shape (n_classes,)
        Weight of the rows of each class.
    class_prior_ : ndarray of shape (n_classes,)
        Class probabilities.
    mean_direction_ : ndarray of shape (n_classes, n_features)
        Mean directions.
    concentration_ : ndarray of shape (n_classes,)
        Concentrations; 0 is even on the sphere.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    ValueError
        If there is one feature, rows have other lengths with ``normalize=False``, or `priors` do not fit the
        classes.

    Notes
    -----
    Sums and counts are all that is kept, so that ``partial_fit`` gives what ``fit`` gives for all rows. Features of
    an embedding depend on each other, which the model denies: probabilities are overconfident, calibrate them.
    ``score_samples`` ranks rows by how little they resemble any class.

    The source gives the logarithm of Bessel functions (here :func:`log_iv`) and fits such distributions; classifier
    and shrinkage are ours.

    References
    ----------
    Plesner et al. 2024, arXiv:2409.08729.

    See Also
    --------
    skimb.naive_bayes.PooledGaussianNB : Means and common variances of features.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.naive_bayes import VonMisesFisherClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 50)) + 2 * np.repeat(np.eye(50)[:3], 20, axis=0)
    >>> model = VonMisesFisherClassifier().fit(X, np.repeat(["a", "b", "c"], 20))
    >>> model.predict(2 * np.eye(50)[:3]).tolist(), model.concentration_.round().tolist()
    (['a', 'b', 'c'], [20.0, 18.0, 18.0])
    """

    _parameter_constraints = {
        "shrinkage": [Interval(Real, 0, None, closed="left")],
        "shared_concentration": ["boolean"],
        "priors": ["array-like", StrOptions({"uniform"}), None],
        "normalize": ["boolean"],
    }

    def __init__(self, *, shrinkage=5.0, shared_concentration=False, priors=None, normalize=True):
        self.shrinkage = shrinkage
        self.shared_concentration = shared_concentration
        self.priors = priors
        self.normalize = normalize

    def score_samples(self, X):
        """Log density of rows under all classes together, each by its prior.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Log densities on the sphere; low for rows that resemble no class.
        """
        return logsumexp(self._scores(X), axis=1)

    def _checked_rows(self, X, *y, first=False):
        found = super()._checked_rows(X, *y, first=first)
        X = found[0] if y else found
        if X.shape[1] < 2:
            raise ValueError(
                "VonMisesFisherClassifier compares directions and needs two features, got n_features=1."
            )
        given = self.normalize if first else self._given["normalize"]
        if given:
            X = normalize(X)
        else:
            length = lengths_of(X)[:, 0]
            odd = np.flatnonzero(np.abs(length - 1.0) > 1e-5)
            if len(odd):
                raise ValueError(
                    f"normalize=False wants rows of length 1, and row {odd[0]} has {length[odd[0]]:.6g}; use "
                    "normalize=True."
                )
        return (X, found[1]) if y else X

    def _begin(self, n_classes, n_features):
        self._sums = np.zeros((n_classes, n_features))

    def _add(self, k, X, w):
        self._sums[k] += np.asarray(X.T @ w).ravel()

    def _update(self, shares):
        count, d = self.class_count_, self._sums.shape[1]
        length = np.linalg.norm(self._sums, axis=1)
        pooled = length.sum() / count.sum()
        s = self._given["shrinkage"]
        if self._given["shared_concentration"]:
            R = np.full(len(count), pooled)
        else:
            R = (length + s * pooled) / np.maximum(count + s, np.finfo(float).tiny)
        known = length > 1e-12 * np.maximum(count, 1e-300)
        self.mean_direction_ = self._sums / np.where(known, length, 1.0)[:, None]
        self.concentration_ = concentration(np.where(known, R, 0.0), d)

    def _joint(self, X):
        with np.errstate(divide="ignore"):
            constant = np.log(self.class_prior_) + log_normaliser(self.concentration_, X.shape[1])
        return np.asarray(X @ (self.concentration_[:, None] * self.mean_direction_).T) + constant
