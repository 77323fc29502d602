"""Sequential tests for a stream that leaves its reference."""

from numbers import Integral, Real

import numpy as np
from scipy.special import ndtri
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

_SIDES = {"both": (1.0, -1.0), "above": (1.0,), "below": (-1.0,)}


class SequentialDriftDetector(BaseEstimator):
    r"""Sequential probability ratio tests of a stream of scores against a reference.

    Every row moves the log likelihood ratio of a shifted against the reference distribution,

    .. math:: S_t=S_{t-1}+\pm\delta z_t-\psi(\pm\delta),

    where :math:`z` is the score in standard deviations of the reference and :math:`\psi(\delta)=\delta^2/2`, or an
    event 0 or 1 of reference rate :math:`p_0` and :math:`\psi(\delta)=\log(1-p_0+p_0e^\delta)`. With
    ``mode="cusum"`` the sum never falls below 0 and an alarm rises at :math:`S\ge\log(m/\alpha)`; with
    ``mode="sprt"`` an alarm rises at :math:`S\ge\log\frac{1-\beta}{\alpha/m}` and the test begins anew at
    :math:`S\le\log\frac{\beta}{1-\alpha/m}`; :math:`m` counts the columns times the sides that are tested.

    Any number that a model gives per row may be followed: errors, losses, scores of an outlier model, whether a
    rare class came; several columns are tested side by side, and one of them suffices for an alarm.

    Parameters
    ----------
    kind : {"gaussian", "bernoulli", "rank"}, default="gaussian"
        Shift of a mean in standard deviations; change of a rate of events, by the logarithm of its odds; or the
        first on normal scores of the ranks among the reference, whatever its distribution.
    delta : float in (0, inf), default=1.0
        Shift :math:`\delta` that the test is made for; smaller ones are found too, later. The doubling of a small
        rate is 0.7.
    alpha : float in (0, 1), default=0.001
        With "cusum" ``1 / alpha`` rows pass on average before a false alarm, or more; with "sprt" the probability
        that one run of the test ends in a false alarm is at most ``alpha / (1 - beta)``.
    beta : float in (0, 1), default=0.05
        Probability to overlook the shift in one run of the test ("sprt").
    mode : {"cusum", "sprt"}, default="cusum"
        Kind of test.
    side : {"both", "above", "below"}, default="both"
        Direction of shifts that count.
    n_reference : int in [2, inf), default=100
        Rows at the beginning of a stream that are the reference where ``fit`` was not called.

    Attributes
    ----------
    statistic_ : ndarray of shape (n_features, n_sides)
        Present sums, above first.
    threshold_ : tuple of float
        Lower and upper end; the lower one of "cusum" is 0.
    n_seen_ : int
        Rows that were tested.
    alarms_ : list of int
        Numbers of the tested rows, from 0, that raised an alarm.
    change_points_ : list of int
        For each alarm the row at which its shift is supposed to have begun: the first after the last zero of the
        sum that raised it.
    center_, scale_ : ndarray of shape (n_features,)
        Means and standard deviations of the reference, with ``kind="gaussian"``.
    rate_ : ndarray of shape (n_features,)
        Rates of the reference, :math:`(k+\frac12)/(n+1)`, with ``kind="bernoulli"``.
    n_features_in_, feature_names_in_ : int, ndarray
        Columns of the stream.

    Raises
    ------
    ValueError
        If a column of the reference has fewer than two values or is constant, if events are not 0 and 1, or
        ``alpha + beta >= 1``.

    Notes
    -----
    After an alarm the sums start from zero, against the same reference: a stream that stays shifted raises
    further alarms until ``fit`` is called on rows from its new state. The promises hold for a reference that is
    known; estimated from n rows its mean is wrong by :math:`1/\sqrt n` standard deviations, which `delta` must
    exceed well. Missing values are passed over. A row costs some ten microseconds. Deviations from the paper: no
    temporal memory gives the scores, any model may; the floor at 0 (Page), ranks and events, and thresholds
    divided among columns and sides.

    References
    ----------
    Bandyopadhyay et al. 2025, arXiv:2504.18599; Wald 1945, doi:10.1214/aoms/1177731118; Page 1954,
    doi:10.1093/biomet/41.1-2.100.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.streaming import SequentialDriftDetector
    >>> rng = np.random.default_rng(0)
    >>> reference, same, later = rng.random(20_000) < 0.01, rng.random(2000) < 0.01, rng.random(2000) < 0.03
    >>> detector = SequentialDriftDetector("bernoulli", side="above", alpha=1e-4).fit(reference.reshape(-1, 1))
    >>> detector.update(same), detector.update(later)
    (False, True)
    >>> bool(1900 < detector.change_points_[0] < detector.alarms_[0] < 2400)
    True
    """

    _parameter_constraints = {
        "kind": [StrOptions({"gaussian", "bernoulli", "rank"})],
        "delta": [Interval(Real, 0, None, closed="neither")],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "beta": [Interval(Real, 0, 1, closed="neither")],
        "mode": [StrOptions({"cusum", "sprt"})],
        "side": [StrOptions(set(_SIDES))],
        "n_reference": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(
        self,
        kind="gaussian",
        *,
        delta=1.0,
        alpha=0.001,
        beta=0.05,
        mode="cusum",
        side="both",
        n_reference=100,
    ):
        self.kind = kind
        self.delta = delta
        self.alpha = alpha
        self.beta = beta
        self.mode = mode
        self.side = side
        self.n_reference = n_reference

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Take rows as the reference and start the tests.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of a stream that is in order.
        y : object, default=None
            Ignored.

        Returns
        -------
        SequentialDriftDetector
            Itself.
        """
        self._begin(self._rows(X, reset=True))
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Follow further rows; the first `n_reference` ones are the reference if ``fit`` was not called.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in the order of the stream.
        y : object, default=None
            Ignored.

        Returns
        -------
        SequentialDriftDetector
            Itself.

        Notes
        -----
        Parameters are those of the reference; what is set later waits for the next ``fit``.
        """
        if hasattr(self, "_test"):
            self._follow(self._rows(X, reset=False))
            return self
        waiting = getattr(self, "_waiting", None)
        rows = self._rows(X, reset=waiting is None)
        self._waiting = rows if waiting is None else np.vstack([waiting, rows])
        n = self.n_reference
        if len(self._waiting) >= n:
            first, rest = self._waiting[:n], self._waiting[n:]
            self._begin(first)
            self._follow(rest)
        return self

    def update(self, x):
        """Follow a score, a row or several rows; tells whether an alarm rose.

        Parameters
        ----------
        x : float or array-like of shape (n_samples,), (n_features,) or (n_samples, n_features)
            One axis holds scores of a stream of one column, or one row of several columns.

        Returns
        -------
        bool
            Whether there was an alarm in these rows.
        """
        if np.ndim(x) < 2:
            x = np.reshape(x, (-1, getattr(self, "n_features_in_", 1)))
        before = len(getattr(self, "alarms_", ()))
        self.partial_fit(x)
        return len(getattr(self, "alarms_", ())) > before

    def reset(self):
        """Start the tests anew, against the same reference.

        Returns
        -------
        SequentialDriftDetector
            Itself.
        """
        check_is_fitted(self, "statistic_")
        self.statistic_ = np.zeros_like(self.statistic_)
        self._since = np.zeros(self.statistic_.shape, int)
        self._rang = False
        self.n_seen_, self.alarms_, self.change_points_ = 0, [], []
        return self

    # --- the reference -----------------------------------------------------------------------

    def _rows(self, X, reset):
        X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=reset)
        kind = self.kind if reset or not hasattr(self, "_test") else self._test["kind"]
        if kind == "bernoulli" and not np.isin(X[~np.isnan(X)], (0.0, 1.0)).all():
            raise ValueError(
                "SequentialDriftDetector(kind='bernoulli') follows events that are 0 or 1; use kind='gaussian' or "
                "'rank' for other scores."
            )
        return X

    def _begin(self, X):
        if self.alpha + self.beta >= 1:
            raise ValueError(
                f"SequentialDriftDetector: alpha={self.alpha} and beta={self.beta} must sum to less than 1."
            )
        known = (~np.isnan(X)).sum(0)
        if known.min() < 2:
            raise ValueError(
                "SequentialDriftDetector needs a reference of at least two values in each column; got a column "
                f"with {known.min()} (n_samples={len(X)})."
            )
        for name in ("center_", "scale_", "rate_", "_reference", "_waiting"):
            vars(self).pop(name, None)
        if self.kind == "bernoulli":
            self.rate_ = (np.nansum(X, 0) + 0.5) / (known + 1.0)
        else:
            self.center_, self.scale_ = np.nanmean(X, 0), np.nanstd(X, 0, ddof=1)
            if not self.scale_.all():
                raise ValueError(
                    f"SequentialDriftDetector: column {int(np.argmin(self.scale_))} of the reference is constant; "
                    "leave it out, or follow events with kind='bernoulli'."
                )
        if self.kind == "rank":
            self._reference = [np.sort(column[~np.isnan(column)]) for column in X.T]
            del self.center_, self.scale_
        signs = np.array(_SIDES[self.side])
        tilt = self.delta * signs
        if self.kind == "bernoulli":
            p = self.rate_[:, None]
            drift = np.logaddexp(np.log1p(-p), np.log(p) + tilt)
        else:
            drift = np.broadcast_to(0.5 * tilt**2, (X.shape[1], len(signs)))
        share = self.alpha / drift.size
        self.threshold_ = (
            (0.0, -np.log(share))
            if self.mode == "cusum"
            else (
                np.log(self.beta) - np.log1p(-share),
                np.log1p(-self.beta) - np.log(share),
            )
        )
        self._test = {"kind": self.kind, "tilt": tilt, "drift": drift}
        self.statistic_ = np.zeros(drift.shape)
        self.reset()

    # --- the tests ---------------------------------------------------------------------------

    def _increments(self, X):
        """What each row adds to each sum, (n, n_features, n_sides); nothing where a value is missing."""
        kind = self._test["kind"]
        if kind == "gaussian":
            z = (X - self.center_) / self.scale_
        elif kind == "bernoulli":
            z = X
        else:
            z = np.column_stack(
                [_normal_scores(c, r) for c, r in zip(X.T, self._reference, strict=True)]
            )
        steps = z[:, :, None] * self._test["tilt"] - self._test["drift"]
        return np.where(np.isnan(X)[:, :, None], 0.0, steps)

    def _follow(self, X):
        low, high = self.threshold_
        sums, since, t = self.statistic_.copy(), self._since.copy(), self.n_seen_
        for step in self._increments(X):
            if self._rang:
                sums[:], since[:], self._rang = 0.0, t, False
            sums += step
            t += 1
            ended = sums <= low
            if ended.any():
                sums[ended], since[ended] = 0.0, t
            if sums.max() >= high:
                self._rang = True
                self.alarms_ = [*self.alarms_, t - 1]
                self.change_points_ = [*self.change_points_, int(since.ravel()[sums.argmax()])]
        self.statistic_, self._since, self.n_seen_ = sums, since, t

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def _normal_scores(values, reference):
    """Normal scores of the ranks of values among sorted ones, ties at the middle."""
    ranks = sum(np.searchsorted(reference, values, side) for side in ("left", "right")) / 2.0
    return ndtri((ranks + 0.5) / (len(reference) + 1.0))
