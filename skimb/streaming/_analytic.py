"""Ridge classification of random features, exact over streams."""

from numbers import Integral, Real

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh
from scipy.optimize import brentq
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from skimb._core.validation import plain_labels, rows_with_weight
from skimb._core.warn import warn_user
from skimb.streaming._expansion import (
    KINDS,
    Expansion,
    augmented_moments,
    augmented_sums,
    require_room,
)

_CHUNK = 4096  # rows expanded at a time
_GONE = 1e-9  # weight of a class below which it was forgotten


class AnalyticClassifier(ClassifierMixin, BaseEstimator):
    r"""Ridge classifier on random features that learns from any stream what it would learn from all rows.

    .. math:: \min_W\ \sum_i w_{y_i}\|e_{y_i}-W^\top h(x_i)\|^2+\gamma\|W\|^2,\qquad w_y\propto n_y^{-\rho}

    with fixed random features :math:`h`. It keeps sums of :math:`hh^\top`, not rows: chunks of any size, in any
    order, with classes that appear at any time, give the same model; two models merge into that of both their
    rows, and rows can be forgotten.

    Parameters
    ----------
    gamma : float in (0, inf) or "gcv", default=1.0
        Ridge strength; "gcv" minimises generalised cross-validation, from the same sums, above 1e-5 times the
        mean variance sum of a feature.
    expansion : {"relu", "rbf"} or None, default="relu"
        Random ReLU units, random Fourier features of the Gaussian kernel, or the given features. Standardise
        first, with a scaler that stays the same over the stream.
    n_components : int in [1, inf), default=500
        Random features.
    balance_power : float in [0, inf), default=0.0
        Exponent :math:`\rho` of class weights: 0 none, 0.5 square root, 1 the same total weight for all classes.
        Above 0 the sums are kept per class, which takes n_classes times the memory.
    normalize_weights : bool, default=True
        Whether class weights keep the total weight, so that `gamma` means the same for every `balance_power`. If
        not, they sum to the number of classes.
    fit_intercept : bool, default=True
        Whether there is a free constant.
    solver : {"gram", "rls"}, default="gram"
        Sums and Cholesky, or recursive least squares, which updates the weights with each chunk but loses digits
        for small `gamma`; the latter neither balances, merges, forgets nor fits a free constant.
    random_state : int, RandomState or None, default=None
        Seed of the random features. Models that shall merge need the same integer.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen so far, sorted; grows with the stream.
    class_count_ : ndarray of shape (n_classes,)
        Weight of the rows seen of each class.
    coef_ : ndarray of shape (n_classes, width)
        Weights of the (random) features.
    intercept_ : ndarray of shape (n_classes,)
        Constants.
    gamma_ : float
        The strength used.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    ValueError
        If `solver="rls"` is asked for what it cannot do, rows are forgotten that were not learned, or the sums
        do not fit into memory.

    Notes
    -----
    Unlike other estimators with ``partial_fit``, new classes may come later. ``predict`` takes the largest score,
    the balanced decision if weights are balanced; ``predict_proba`` divides the weights out, clips scores to
    [0, 1] and normalises: least squares gives no better probabilities, use ``CalibratedClassifierCV`` where they
    matter. With few features and many classes scores mask each other: raise `n_components`. Memory is
    :math:`8\,d^2` bytes for d features, times n_classes if balanced. Deviations from the papers: random
    offsets and a free constant, without which ReLU features cannot place a boundary off the origin; class weights
    that keep the total, since theirs let the ridge grow when a class is tiny; sums instead of the recursion,
    which loses all digits for small `gamma`.

    References
    ----------
    Zhuang et al. 2024 (GACL), arXiv:2403.15706; Fang et al. 2024 (AIR), arXiv:2408.10349.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skimb.streaming import AnalyticClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> stream = AnalyticClassifier(random_state=0)
    >>> order = np.argsort(y, kind="stable")  # one class after the other
    >>> for rows in np.array_split(order, 20):
    ...     stream = stream.partial_fit(X[rows] / 16, y[rows])
    >>> at_once = AnalyticClassifier(random_state=0).fit(X / 16, y)
    >>> bool(np.abs(stream.coef_ - at_once.coef_).max() < 1e-9)
    True
    """

    _parameter_constraints = {
        "gamma": [Interval(Real, 0, None, closed="neither"), StrOptions({"gcv"})],
        "expansion": [StrOptions(set(KINDS)), None],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "balance_power": [Interval(Real, 0, None, closed="left")],
        "normalize_weights": ["boolean"],
        "fit_intercept": ["boolean"],
        "solver": [StrOptions({"gram", "rls"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        gamma=1.0,
        *,
        expansion="relu",
        n_components=500,
        balance_power=0.0,
        normalize_weights=True,
        fit_intercept=True,
        solver="gram",
        random_state=None,
    ):
        self.gamma = gamma
        self.expansion = expansion
        self.n_components = n_components
        self.balance_power = balance_power
        self.normalize_weights = normalize_weights
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.random_state = random_state

    # --- learning ----------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Forget everything and learn these rows.

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
        AnalyticClassifier
            Itself.
        """
        X, y, weight = self._checked(X, y, sample_weight, first=True)
        self._start(np.unique(y))
        self._learn(X, y, weight)
        self._solve()
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Learn a chunk; its labels may be new. Parameters are those of the first chunk.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like, default=None
            Classes to list before they are seen; never needed.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        AnalyticClassifier
            Itself.
        """
        first = not hasattr(self, "class_count_")
        X, y, weight = self._checked(X, y, sample_weight, first)
        seen = np.unique(y)
        known = seen if first else self.classes_
        for new in (seen, [] if classes is None else classes):
            plain_labels([*known.tolist(), *np.asarray(new).tolist()], "the stream")
        if first:
            self._start(seen)
        if classes is not None:
            self._declared = np.union1d(self._declared, classes)
            seen = np.union1d(seen, classes)
        self._extend(seen)
        self._learn(X, y, weight)
        return self

    def merge(self, other):
        """Take over what another model learned: the result is that of both their rows.

        Parameters
        ----------
        other : AnalyticClassifier
            A fitted model with the same random features; it stays as it is.

        Returns
        -------
        AnalyticClassifier
            Itself.

        Raises
        ------
        ValueError
            If the random features, `fit_intercept` or the kind of balance differ.
        """
        for model in (self, other):
            check_is_fitted(model)
            model._need_sums("merge")
        if not self._expansion.same_as(other._expansion):
            raise ValueError(
                "The random features of both models differ; give them the same integer random_state, expansion and "
                "n_components, and rows of the same features."
            )
        if len(self._moments[0]) != len(other._moments[0]) or self._per_class != other._per_class:
            raise ValueError(
                f"{self!r} and {other!r} keep other sums; give them the same fit_intercept, and balance_power "
                "0 or above 0 in both."
            )
        self._extend(other.classes_)
        self._declared = np.union1d(self._declared, other._declared)
        at = np.searchsorted(self.classes_, other.classes_)
        if self._per_class:
            for k, moments in zip(at, other._moments, strict=True):
                self._moments[k] = self._moments[k] + moments
        else:
            self._moments = [self._moments[0] + other._moments[0]]
        self._sums[at] += other._sums
        self.class_count_[at] += other.class_count_
        self._solution = None
        return self

    def forget(self, X, y, sample_weight=None):
        """Undo the learning of rows: the model becomes that of the remaining ones.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows learned before.
        y : array-like of shape (n_samples,)
            Their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Their weights then.

        Returns
        -------
        AnalyticClassifier
            Itself; classes without rows are gone.

        Raises
        ------
        ValueError
            If a class never had as much weight.
        """
        check_is_fitted(self)
        self._need_sums("forget")
        X, y, weight = self._checked(X, y, sample_weight, first=False)
        unseen = np.setdiff1d(y, self.classes_)
        if len(unseen):
            raise ValueError(
                f"The classes {unseen.tolist()} were never learned, so they cannot be forgotten."
            )
        leaving = np.bincount(np.searchsorted(self.classes_, y), weight, len(self.classes_))
        left = self.class_count_ - leaving
        short = left < -_GONE * np.maximum(self.class_count_, 1.0)
        if short.any():
            k = int(np.flatnonzero(short)[0])
            raise ValueError(
                f"Rows of class {self.classes_[k]!r} with weight {leaving[k]:g} cannot be forgotten, only "
                f"{self.class_count_[k]:g} was learned."
            )
        self._learn(X, y, weight, sign=-1.0)
        gone = left <= _GONE * np.maximum(leaving, 1.0)
        self.class_count_ = np.where(gone, 0.0, left)
        kept = ~gone | np.isin(self.classes_, self._declared)
        if self._per_class:
            for k in np.flatnonzero(gone):
                self._moments[k] = np.zeros_like(self._moments[k])
            self._moments = [m for m, keep in zip(self._moments, kept, strict=True) if keep]
        self._sums[gone] = 0.0
        self._sums, self.class_count_ = self._sums[kept], self.class_count_[kept]
        self.classes_ = self.classes_[kept]
        return self

    # --- predicting --------------------------------------------------------------------------

    def decision_function(self, X):
        """Least-squares scores of the classes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or, for two classes, (n_samples,)
            Scores; for two the second's minus the first's.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict(self, X):
        """The class of the largest score.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        best = self._scores(X).argmax(1)
        return self.classes_[best]

    def predict_proba(self, X):
        """Scores clipped to [0, 1], freed from class weights and normalised.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Rough probabilities.
        """
        scores = self._scores(X)
        best = scores.argmax(1)
        proba = scores.clip(0.0, 1.0)
        proba[np.arange(len(proba)), best] = np.maximum(proba.max(1), np.finfo(float).tiny)
        weight = self._class_weights()
        proba = np.where(weight > 0, proba / np.where(weight > 0, weight, 1.0), 0.0)
        total = proba.sum(1, keepdims=True)
        return np.where(total > 0, proba / np.where(total > 0, total, 1.0), 1.0 / proba.shape[1])

    @property
    def coef_(self):
        return self._solved()[0]

    @property
    def intercept_(self):
        return self._solved()[1]

    @property
    def gamma_(self):
        return self._solved()[2]

    def _scores(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        coef, intercept, _ = self._solved()
        chunks = [
            np.asarray(self._expansion(X[rows]) @ coef.T)
            for rows in gen_batches(X.shape[0], _CHUNK)
        ]
        return np.concatenate(chunks) + intercept

    # --- sums --------------------------------------------------------------------------------

    def _checked(self, X, y, sample_weight, first):
        X, y = validate_data(
            self, X, plain_labels(y), accept_sparse="csr", dtype=np.float64, reset=first
        )
        check_classification_targets(y)
        return rows_with_weight(X, y, sample_weight)

    def _need_sums(self, what):
        if self._given["solver"] == "rls":
            raise ValueError(f"solver='rls' keeps no sums and cannot {what}; use solver='gram'.")

    def _start(self, classes):
        if self.solver == "rls":
            wrong = {
                "balance_power=0": self.balance_power > 0,
                "a number for gamma": self.gamma == "gcv",
                "fit_intercept=False": self.fit_intercept,
            }
            wrong = [cure for cure, is_so in wrong.items() if is_so]
            if wrong:
                raise ValueError(f"solver='rls' needs {', '.join(wrong)}; or use solver='gram'.")
        rng = check_random_state(self.random_state)
        # what is fitted, and what later chunks go on with, whatever is set in between
        names = ("gamma", "balance_power", "normalize_weights", "fit_intercept", "solver")
        self._given = {name: getattr(self, name) for name in names}
        self._expansion = Expansion(self.expansion, self.n_features_in_, self.n_components, rng)
        self._per_class = self.balance_power > 0
        size = self._expansion.width + self.fit_intercept
        require_room(len(classes) if self._per_class else 1, size)
        self.classes_ = classes
        self._declared = classes[:0]
        self.class_count_ = np.zeros(len(classes))
        self._sums = np.zeros((len(classes), size))
        self._moments = [np.zeros((size, size)) for _ in (classes if self._per_class else [0])]
        if self.solver == "rls":
            self._moments = []
            self._inverse, self._weights = np.eye(size) / self.gamma, np.zeros((size, len(classes)))
        self._solution = None

    def _extend(self, labels):
        """Make room for labels."""
        classes = np.union1d(self.classes_, labels)
        if len(classes) == len(self.classes_):
            return
        at = np.searchsorted(classes, self.classes_)

        def spread(rows):
            wider = np.zeros((len(classes), *rows.shape[1:]))
            wider[at] = rows
            return wider

        if self._per_class:
            old = dict(zip(at.tolist(), self._moments, strict=True))
            size = self._sums.shape[1]
            require_room(len(classes), size)
            self._moments = [old.get(k, np.zeros((size, size))) for k in range(len(classes))]
        if self._given["solver"] == "rls":
            self._weights = spread(self._weights.T).T
        self._sums, self.class_count_ = spread(self._sums), spread(self.class_count_)
        self.classes_ = classes

    def _learn(self, X, y, weight, sign=1.0):
        every_code = np.searchsorted(self.classes_, y)
        constant = self._given["fit_intercept"]
        for rows in gen_batches(X.shape[0], _CHUNK):
            H, code, w = self._expansion(X[rows]), every_code[rows], weight[rows]
            if self._given["solver"] == "rls":
                self._recur(H, code, w)
                continue
            if not self._per_class:
                self._moments[0] += sign * augmented_moments(H, w, constant)
            for k in np.unique(code):
                own = code == k
                if self._per_class:
                    self._moments[k] += sign * augmented_moments(H[own], w[own], constant)
                self._sums[k] += sign * augmented_sums(H[own], w[own], constant)
        self.class_count_ += sign * np.bincount(every_code, weight, len(self.classes_))
        self._solution = None

    def _recur(self, H, code, weight):
        """Recursive least squares with a chunk."""
        H = H.toarray() if hasattr(H, "toarray") else H
        root = np.sqrt(weight)[:, None]
        H, Y = H * root, np.eye(len(self.classes_))[code] * root
        gain = self._inverse @ H.T
        inner = np.eye(len(H)) + H @ gain
        R = self._inverse - gain @ np.linalg.solve(inner, gain.T)
        self._inverse = 0.5 * (R + R.T)
        self._weights = self._weights + self._inverse @ (H.T @ (Y - H @ self._weights))
        if not np.isfinite(self._weights).all():
            raise ValueError(
                "Recursive least squares lost all digits; raise gamma or use solver='gram'."
            )

    # --- solving -----------------------------------------------------------------------------

    def _class_weights(self):
        """Weight of each class, 0 where it has no rows."""
        n = self.class_count_
        w = np.power(n, -float(self._given["balance_power"]), out=np.zeros_like(n), where=n > 0)
        if not n.any():
            return w
        if self._given["normalize_weights"]:
            return w * n.sum() / (w @ n)
        return w * np.count_nonzero(n) / w.sum()

    def _solved(self):
        if self._solution is None:
            self._solve()
        return self._solution

    def _solve(self):
        width, given = self._expansion.width, self._given["gamma"]
        if self._given["solver"] == "rls":
            self._solution = self._weights.T, np.zeros(len(self.classes_)), float(given)
            return
        w = self._class_weights()
        A = (
            sum(wk * m for wk, m in zip(w, self._moments, strict=True))
            if self._per_class
            else self._moments[0].copy()
        )
        C = self._sums.T * w
        gamma = self._best_gamma(A, C, w) if given == "gcv" else float(given)
        A[np.arange(width), np.arange(width)] += gamma
        try:
            W = cho_solve(cho_factor(A, lower=True), C)
        except np.linalg.LinAlgError:
            jitter = 1e-10 * np.trace(A) / len(A)
            warn_user(
                f"The sums are not positive definite at gamma={gamma:g}; {jitter:g} was added to their "
                "diagonal. Raise gamma.",
                RuntimeWarning,
            )
            A[np.arange(len(A)), np.arange(len(A))] += jitter
            W = cho_solve(cho_factor(A, lower=True), C)
        intercept = W[width] if self._given["fit_intercept"] else np.zeros(len(self.classes_))
        self._solution = W[:width].T, intercept, gamma

    def _best_gamma(self, A, C, w):
        """Least generalised cross-validation error, from eigenvalues of the sums."""
        width = self._expansion.width
        mass = w * self.class_count_  # squared targets by class: they are one-hot
        n, free = mass.sum(), 0
        G, C, total = A[:width, :width], C[:width], mass.sum()
        if self._given["fit_intercept"]:  # the constant is fitted freely: centre
            free, mean = 1, A[width, :width] / n
            G, C = G - n * np.outer(mean, mean), C - np.outer(mean, mass)
            total = total - (mass**2).sum() / n
        values, vectors = eigh(G)
        values = np.maximum(values, 0.0)
        power = ((vectors.T @ C) ** 2).sum(1)

        def parts(log_gamma):
            """Shrunk eigenvalues, squared residuals and what is left of the rows."""
            d = values + np.exp(log_gamma)
            rss = total - (power * (2.0 / d - values / d**2)).sum()
            left = n - free - (values / d).sum()
            return d, max(rss, 1e-300), max(left, 1e-9 * n)

        def error(log_gamma):
            _, rss, left = parts(log_gamma)
            return np.log(rss) - 2.0 * np.log(left)

        def slope(log_gamma):
            d, rss, left = parts(log_gamma)
            down = (2.0 * power * np.exp(log_gamma) / d**3).sum() / rss
            return down - 2.0 * (values / d**2).sum() / left

        scale = np.log(max(values.mean(), 1e-12))
        grid = scale + np.linspace(-11.5, 10.0, 44)
        best = grid[int(np.argmin([error(g) for g in grid]))]
        low, high = best - 0.5, best + 0.5
        if best > grid[0] and slope(low) < 0 < slope(high):
            best = brentq(slope, low, high, xtol=1e-14, rtol=1e-14)
        return float(np.exp(best))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
