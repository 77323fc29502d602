"""Probabilities moved to a population whose shares of the classes are read from unlabelled rows."""

from numbers import Integral, Real

import numpy as np
from scipy.special import logsumexp
from scipy.stats import chi2
from sklearn.base import _fit_context, clone
from sklearn.metrics import roc_auc_score
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _num_samples, check_is_fitted

from skimb._core.inner import fit_inner
from skimb._core.priors import log_ratio, moved_probabilities
from skimb._core.validation import indexable_rows
from skimb._core.warn import warn_user
from skimb.posthoc._held_out import HeldOutClassifier, class_probabilities
from skimb.posthoc._mixture import (
    FitOfMixture,
    Grid,
    likelihood_intervals,
    likely_shares,
    log_likelihood,
    moment_shares,
)
from skimb.posthoc._temperature import (
    BiasCorrectedTemperature,
    corrected,
    features,
    honesty,
    log_probabilities,
    weighted_mean,
)

_WIDE = 5.0  # ends of an interval whose ratio is above this tell nothing
_FEW = 10.0
_ODDS = np.array([0.25, 0.5, 0.75, 1.5, 2.0, 3.0, 5.0])  # factors that the alarm looks for


class PriorShiftAdapter(HeldOutClassifier):
    r"""Follow the shares of the classes into a population without labels.

    When the shares of the classes change from :math:`\pi` to :math:`\rho` and rows of each class stay what they
    were, probabilities :math:`q` of the old population become

    .. math:: p_k(x)\propto q_k(x)\,\frac{\rho_k}{\pi_k},\qquad
        \rho=\arg\max_\rho\sum_i\log\sum_k\rho_k\frac{q_k(x_i)}{\pi_k}

    over unlabelled rows :math:`x_i` of the new one. `fit` learns how to correct the classifier's probabilities on
    rows that it did not see, `adapt` reads :math:`\rho` from new rows. Nothing is refitted by `adapt`.

    Parameters
    ----------
    estimator : classifier
        Any classifier with `predict_proba`.
    method : {"em", "bbse"}, default="em"
        The maximum of the likelihood, or the shares that mix the mean probabilities of the classes to that of the
        rows. Each checks the other.
    calibration : {"bcts"} or classifier, default="bcts"
        "bcts" is bias-corrected temperature scaling, :math:`\mathrm{softmax}(a\log q+b)`, of held-out rows. A
        classifier is fitted to their log odds (two classes) or log probabilities. None trusts the probabilities
        as they are.
    cv : int, float in (0, 1), "prefit", splitter or iterable, default=5
        Which rows are held out: folds, a fraction, or all rows of `fit` for a fitted classifier ("prefit", or a
        ``FrozenEstimator``, which also survives ``clone``).
    confidence : float in (0, 1), default=0.95
        Of the intervals, and of the test where it decides whether probabilities are moved.
    n_bootstrap : int in [50, inf), default=200
        Draws of source and new rows behind intervals and tests.
    prior_strength : float in [0, inf), default=0.0
        Rows that the source shares count as beside the new ones; 1 keeps every class above 0.
    n_jobs : int, default=None
        Folds that are fitted at the same time.
    random_state : int, RandomState instance or None, default=None
        Of the draws.

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier.
    calibrator_ : callable, classifier or None
        What corrects its probabilities.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    source_prior_ : ndarray of shape (n_classes,)
        Mean corrected probabilities of the held-out rows: the shares of the classes there.
    calibration_pvalue_ : float
        Of the test whether corrected probabilities of held-out rows are honest.
    prior_ : ndarray of shape (n_classes,)
        Shares that `predict_proba` refers to.
    estimated_prior_ : ndarray of shape (n_classes,)
        Shares that the new rows show, whether probabilities were moved or not.
    prior_interval_ : ndarray of shape (n_classes, 2)
        Intervals of them.
    prior_std_ : ndarray of shape (n_classes,)
        Their standard errors.
    prior_ratio_ : ndarray of shape (n_classes,)
        New share over old one.
    shift_pvalue_ : float
        Of the test whether the shares are still those of the source.
    shift_fit_pvalue_ : float
        Of the test whether any shares explain the new rows.
    alarm_ : float
        Evidence against unchanged shares, the largest since the last `reset`: 20 is reached with probability at
        most 0.05 without a shift, however often one looks.
    n_adapted_ : float
        New rows that count.
    doubts_ : list of str
        What speaks against the answer.

    Raises
    ------
    ValueError
        If held-out rows lack a class, or the classifier gives no probabilities.

    Warns
    -----
    UserWarning
        In `fit`: held-out probabilities are not honest even when corrected, or hardly tell the classes apart. In
        `adapt`: the rows are too few, not a mixture of the classes, the two methods disagree, or a share is 0.

    Notes
    -----
    **Precondition.** Rows within each class must be distributed as before. A change within classes, of the
    features' distribution or by selecting rows by their scores, reads as a change of shares, and only part of it is
    visible: the fit and the agreement of both methods are tested. Repeated rows make intervals too short.

    **Intervals** hold the percentiles over draws of source rows, stratified, whose correction is fitted anew, and
    of new rows, and the interval of the likelihood. The latter alone ignores that the correction is known from few
    rare rows; it serves two classes with ``calibration=None``. The former alone is too short at a share of 0.

    **Tests.** With ``calibration=None`` the likelihood ratio; else the distance of the shares by their covariance
    without a shift: Fisher's information of the new rows, what draws of the source leave open, and the source
    shares themselves. Whether any mixture fits: Anderson and Darling's distance, against draws from it.

    **Folds.** With several, each new row is read by the model of a random one, so that source and new rows are
    compared by like models. Probabilities are those of ``estimator_``, which is fitted to all rows.

    **Deviations.** Two classes are solved by a root search instead of steps of EM, more by EM with SQUAREM. Log
    probabilities are merged to a width of 0.08 in draws and in `partial_adapt`.

    References
    ----------
    Saerens et al. 2002, doi:10.1162/089976602753284446 (EM). Lipton et al. 2018, arXiv:1802.03916 (BBSE).
    Alexandari et al. 2020, arXiv:1901.06852 (calibration first).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.posthoc import PriorShiftAdapter
    >>> def drawn(n, share, rng=np.random.default_rng(0)):
    ...     y = (rng.random(n) < share).astype(int)
    ...     return rng.normal(size=(n, 2)) + 2.0 * y[:, None], y
    >>> X, y = drawn(3000, 0.05)
    >>> model = PriorShiftAdapter(LogisticRegression(), random_state=0).fit(X, y)
    >>> new, truth = drawn(2000, 0.2)
    >>> before = model.predict_proba(new)[:, 1].mean()
    >>> after = model.adapt(new).predict_proba(new)[:, 1].mean()
    >>> bool(before < 0.15), bool(abs(after - truth.mean()) < 0.03), model.shift_pvalue_ < 0.01
    (True, True, True)
    """

    _parameter_constraints = {
        **HeldOutClassifier._parameter_constraints,
        "method": [StrOptions({"em", "bbse"})],
        "calibration": [StrOptions({"bcts"}), HasMethods(["fit", "predict_proba"]), None],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "n_bootstrap": [Interval(Integral, 50, None, closed="left")],
        "prior_strength": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        estimator,
        *,
        method="em",
        calibration="bcts",
        cv=5,
        confidence=0.95,
        n_bootstrap=200,
        prior_strength=0.0,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.method = method
        self.calibration = calibration
        self.cv = cv
        self.confidence = confidence
        self.n_bootstrap = n_bootstrap
        self.prior_strength = prior_strength
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, groups=None, **params):
        """Fit the classifier and learn from held-out rows how to correct its probabilities.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or n_samples documents
            Rows, as the classifier takes them.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of rows, in the classifier's fit and in the correction.
        groups : array-like of shape (n_samples,), default=None
            For the splitter.
        **params : dict
            Metadata for the classifier's fit, with metadata routing enabled.

        Returns
        -------
        PriorShiftAdapter
            Itself.
        """
        held = self._hold_out(X, y, sample_weight, groups, params)
        seen = np.bincount(held.code, minlength=len(self.classes_))
        if not seen.all():
            lost = self.classes_[seen == 0].tolist()
            raise ValueError(
                f"The held-out rows hold none of the classes {lost}, so {type(self).__name__} cannot tell what "
                "such rows look like; hold out more rows or take folds (cv=5)."
            )
        self._method, self._confidence = self.method, self.confidence
        self._strength = self.prior_strength
        self._rng = check_random_state(self.random_state)
        logs = log_probabilities(held.proba)
        mass = np.eye(len(self.classes_))[held.code] * held.weight[:, None]
        self.calibrator_ = self._corrector(logs, mass)
        q = corrected(self.calibrator_, logs)
        self.source_prior_ = weighted_mean(q, held.weight)
        self._n_source = held.weight.sum() ** 2 / np.square(held.weight).sum()
        self._source = Grid.of(logs, np.eye(len(self.classes_))[held.code])
        self._source_mass = Grid.of(logs, mass).count
        self._source_means = q.T @ mass / mass.sum(0)
        self._draws = [self._draw() for _ in range(self.n_bootstrap)]
        self._models = held.models
        self._spread_of_row, self._spread_of_source = self._null_spread()
        self._check_source(q, held.code, held.weight)
        return self.reset()

    def _corrector(self, logs, mass, start=None):
        """What corrects probabilities, fitted to rows (m, C) with the weight of each class."""
        if self.calibration is None:
            return None
        if isinstance(self.calibration, str):
            return BiasCorrectedTemperature.fit(logs, mass, start)
        rows, code = np.nonzero(mass)
        inner = clone(self.calibration)
        return fit_inner(inner, features(logs)[rows], code, mass[rows, code])

    def _draw(self):
        """Corrector, source shares and mean probabilities of the classes (C, C) of drawn source rows."""
        grid, mass = self._source, np.zeros_like(self._source_mass)
        for k, n in enumerate(grid.count.sum(0)):
            drawn = self._rng.multinomial(int(n), grid.count[:, k] / n)
            some = drawn > 0
            mass[some, k] = (drawn * self._source_mass[:, k])[some] / grid.count[some, k]
        used = mass.any(1)
        corrector = self._corrector(grid.logs[used], mass[used], self.calibrator_)
        q = corrected(corrector, grid.logs[used])
        prior = self.source_prior_ if corrector is None else weighted_mean(q, mass[used].sum(1))
        return corrector, prior, q.T @ mass[used] / mass[used].sum(0)

    def _null_spread(self):
        """Covariance of the shares without a shift: of one new row, and of what source rows leave open."""
        grid, mass, pi = self._source, self._source_mass, self.source_prior_
        weight = mass.sum(1)
        share = weight / weight.sum()
        q = corrected(self.calibrator_, grid.logs)
        if self._method == "em":
            contrast = (q / pi)[:, 1:] - (q / pi)[:, :1]
            of_row = np.linalg.pinv(contrast.T @ (share[:, None] * contrast))
        else:
            inverse = np.linalg.pinv(self._source_means)
            centred = q - share @ q
            of_row = (inverse @ (centred.T @ (share[:, None] * centred)) @ inverse.T)[1:, 1:]
        drawn = [
            self._both(corrected(corrector, grid.logs) / prior, weight, prior, means)[self._method]
            for corrector, prior, means in self._draws
        ]
        own = (np.diag(pi) - np.outer(pi, pi)) / self._n_source
        return of_row, (np.cov(np.transpose(drawn)) + own)[1:, 1:]

    def _check_source(self, q, code, weight):
        """Say where held-out rows contradict that corrected probabilities are honest and useful."""
        fitted = 0 if self.calibrator_ is None else 2
        found = [honesty(q[:, k], code == k, weight, fitted) for k in range(len(self.classes_))]
        pvalues, errors = np.array(found).T
        self.calibration_pvalue_ = float(min(1.0, len(found) * pvalues.min()))
        off = np.flatnonzero((len(found) * pvalues < 1e-3) & (errors > 0.1))
        names = self.classes_.tolist()
        if len(off):
            k = off[errors[off].argmax()]
            cure = "calibrate the classifier, or give a calibration= of more freedom"
            if self.calibrator_ is None:
                cure = "correct them with calibration='bcts'"
            warn_user(
                f"{type(self).__name__}: held-out probabilities of {names[k]!r} are wrong by {errors[k]:.0%} of "
                f"its rows (p = {self.calibration_pvalue_:.1g}), and so will be its share in new rows; {cure}."
            )
        areas = [roc_auc_score(code == k, q[:, k], sample_weight=weight) for k in range(len(names))]
        k = int(np.argmin(areas))
        if areas[k] < 0.6:
            warn_user(
                f"{type(self).__name__}: held-out probabilities hardly tell {names[k]!r} from the rest (ROC area "
                f"{areas[k]:.2f}), so new rows say little about its share; a better classifier is needed first."
            )

    def reset(self):
        """Forget all new rows and answer for the source population again.

        Returns
        -------
        PriorShiftAdapter
            Itself.
        """
        check_is_fitted(self)
        self.prior_ = self.source_prior_.copy()
        self._memory, self._squares, self.n_adapted_ = None, 0.0, 0.0
        first = 1 if len(self.classes_) == 2 else 0
        self._growth = np.zeros((len(self.classes_) - first, len(_ODDS)))
        self.alarm_, self._kinds, self.doubts_ = 1.0, set(), []
        return self

    def adapt(self, X, *, on_weak="keep", only_if_shift=False):
        """Read the shares of the classes from unlabelled rows, and move the probabilities there.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows of the new population; earlier ones are forgotten.
        on_weak : {"keep", "move"}, default="keep"
            What becomes of the probabilities where no shift is significant and the interval of a class is wider
            than a factor of five.
        only_if_shift : bool, default=False
            Whether probabilities are moved only where the shift is significant.

        Returns
        -------
        PriorShiftAdapter
            Itself.
        """
        check_is_fitted(self)
        logs = self._new_logs(X)
        self.reset()
        self._memory, self._squares = Grid.of(logs, np.ones(len(logs))), float(len(logs))
        self._watch(logs)
        return self._settle(logs, np.ones(len(logs)), on_weak, only_if_shift)

    def partial_adapt(self, X, *, decay=1.0, on_weak="keep", only_if_shift=False):
        """Go on with further rows of a stream.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Unlabelled rows; their order does not matter.
        decay : float in (0, 1], default=1.0
            Factor by which earlier rows count less.
        on_weak, only_if_shift : object
            As in `adapt`.

        Returns
        -------
        PriorShiftAdapter
            Itself; with `decay` 1 what `adapt` gives for all rows together, up to the merging of probabilities.
        """
        check_is_fitted(self)
        if not isinstance(decay, Real) or not 0 < decay <= 1:
            raise ValueError(f"decay={decay!r} must be in (0, 1].")
        logs = self._new_logs(X)
        if self._memory is None:
            self._memory = Grid.of(logs, np.ones(len(logs)))
        else:
            self._memory = self._memory.with_rows(logs, decay)
        self._squares = self._squares * decay**2 + len(logs)
        self._watch(logs)
        count = self._memory.count * (self._memory.count.sum() / self._squares)
        return self._settle(self._memory.logs, count, on_weak, only_if_shift)

    def _new_logs(self, X):
        """Log probabilities of new rows, each by the model of a random fold: as source rows had theirs."""
        X = indexable_rows(X)
        n, n_models = _num_samples(X), len(self._models)
        if n == 0:
            raise ValueError(f"{type(self).__name__} got new rows of 0 samples; give some.")
        proba, fold = np.empty((n, len(self.classes_))), self._rng.permutation(n) % n_models
        for j, model in enumerate(self._models):
            rows = np.flatnonzero(fold == j)
            if n_models == 1 or len(rows):
                part = X if n_models == 1 else _safe_indexing(X, rows)
                proba[rows] = class_probabilities(model, part, self.classes_, source=True)
        return log_probabilities(proba)

    def _watch(self, logs):
        """Multiply up the evidence against unchanged shares."""
        pi = self.source_prior_[-len(self._growth) :, None]
        q = corrected(self.calibrator_, logs)[:, -len(self._growth) :, None]
        rho = pi * _ODDS / (1.0 - pi + pi * _ODDS)
        self._growth += np.log(rho * q / pi + (1.0 - rho) * (1.0 - q) / (1.0 - pi)).sum(0)
        now = logsumexp(self._growth) - np.log(self._growth.size)
        self.alarm_ = max(self.alarm_, float(np.exp(min(now, 700.0))))

    def _settle(self, logs, count, on_weak, only_if_shift):
        """Shares, their intervals and tests, and the decision whether to move."""
        if on_weak not in ("keep", "move"):
            raise ValueError(f"on_weak={on_weak!r} must be 'keep' or 'move'.")
        pi = self.source_prior_
        u = corrected(self.calibrator_, logs) / pi
        both = self._both(u, count, pi, self._source_means)
        self.n_adapted_ = float(count.sum())
        self.estimated_prior_ = both[self._method]
        self.prior_ratio_ = self.estimated_prior_ / pi
        memory = self._memory.count * (count.sum() / self._memory.count.sum())
        drawn = self._drawn_shares(memory)
        tail = 50.0 * (1.0 - self._confidence)
        shares = drawn[self._method]
        self.prior_std_ = shares.std(0)
        likely = likelihood_intervals(u, count, pi, self._confidence)
        if self.calibrator_ is None and self._method == "em" and len(pi) == 2:
            slope = (u[:, 1] - u[:, 0]) / (u @ self.estimated_prior_)
            self.prior_std_ = np.full(2, 1.0 / np.sqrt(count @ slope**2))
            self.prior_interval_ = likely
        else:
            low, high = np.percentile(shares, [tail, 100.0 - tail], axis=0)
            self.prior_interval_ = np.column_stack(
                [np.minimum(low, likely[:, 0]), np.maximum(high, likely[:, 1])]
            )
        self._test_shift(u, count)
        self.shift_fit_pvalue_ = self._test_fit(memory)
        gap = both["em"] - both["bbse"]
        error = (drawn["em"] - drawn["bbse"]).std(0)
        doubts = self._doubts(np.abs(gap) > 3.0 * error + 1e-3)
        significant = self.shift_pvalue_ < 1.0 - self._confidence
        weak = "weak" in doubts and not significant
        if not significant:
            doubts.pop("share of 0", None)
        if not weak:
            doubts.pop("weak", None)
        moved = not (weak and on_weak == "keep") and (significant or not only_if_shift)
        self.prior_ = (self.estimated_prior_ if moved else pi).copy()
        self._tell(doubts, weak and on_weak == "keep")
        return self

    def _both(self, u, count, pi, means):
        """Shares by either method."""
        return {
            "em": likely_shares(u, count, pi, self._strength),
            "bbse": moment_shares(means, u * pi, count),
        }

    def _drawn_shares(self, memory):
        """Shares from drawn source rows and drawn new rows, (n_bootstrap, C) by either method."""
        n, share = max(1, round(memory.sum())), memory / memory.sum()
        found = {"em": [], "bbse": []}
        for corrector, prior, means in self._draws:
            count = self._rng.multinomial(n, share)
            some = count > 0
            u = corrected(corrector, self._memory.logs[some]) / prior
            for name, shares in self._both(u, count[some], prior, means).items():
                found[name].append(shares)
        return {name: np.array(shares) for name, shares in found.items()}

    def _test_shift(self, u, count):
        pi, rho = self.source_prior_, self.estimated_prior_
        if self.calibrator_ is None and self._method == "em":
            distance = 2.0 * log_likelihood(likely_shares(u, count, pi), u, count)
        else:
            spread = self._spread_of_row / count.sum() + self._spread_of_source
            off = (rho - pi)[1:]
            distance = off @ np.linalg.solve(spread, off)
        self.shift_pvalue_ = float(chi2.sf(distance, len(pi) - 1))

    def _test_fit(self, memory):
        """P-value of the distance between new rows and the nearest mixture of the classes."""
        grid, mass, rho, pi = (
            self._source,
            self._source_mass,
            self.estimated_prior_,
            self.source_prior_,
        )
        fit = FitOfMixture(grid, self._memory)
        observed = fit.distance(rho, mass, memory)
        n, u = max(1, round(memory.sum())), corrected(self.calibrator_, grid.logs) / pi
        mixed = mass @ (rho / mass.sum(0))
        larger = 0
        for _ in self._draws:
            count = self._rng.multinomial(n, mixed / mixed.sum())
            drawn = np.stack(
                [self._rng.multinomial(int(c.sum()), c / c.sum()) for c in grid.count.T], 1
            )
            drawn = drawn * np.divide(
                mass, grid.count, out=np.zeros_like(mass), where=grid.count > 0
            )
            some = count > 0
            shares = self._both(u[some], count[some], pi, self._source_means)[self._method]
            larger += fit.distance(shares, drawn, count, resampled=True) >= observed
        return float((1 + larger) / (1 + len(self._draws)))

    def _doubts(self, disagree):
        """What speaks against the estimate, by kind."""
        found, names, rho = {}, self.classes_.tolist(), self.estimated_prior_
        low, high = self.prior_interval_.T
        k = int(np.argmax(high / np.maximum(low, 1e-12)))
        if high[k] > _WIDE * low[k]:
            found["weak"] = (
                f"the {self.n_adapted_:.0f} new rows tell the share of {names[k]!r} only as "
                f"{low[k]:.2g} to {high[k]:.2g}"
            )
        k = int(rho.argmin())
        if rho[k] <= 0.1 / self.n_adapted_:
            found["share of 0"] = (
                f"the share of {names[k]!r} is estimated as 0, so it gets no probability; prior_strength=1 "
                "keeps it above 0"
            )
        elif rho[k] * self.n_adapted_ < _FEW:
            found["few"] = (
                f"only about {rho[k] * self.n_adapted_:.0f} of the {self.n_adapted_:.0f} new rows are of "
                f"{names[k]!r}"
            )
        if self.shift_fit_pvalue_ < 0.01:
            found["fit"] = (
                f"no shares of the classes explain the new rows (p = {self.shift_fit_pvalue_:.1g}): rows within "
                "classes have changed, or there is a new class, and the estimate may be wrong"
            )
        if disagree.any():
            k = int(np.argmax(disagree))
            found["methods"] = (
                f"the two estimates of the share of {names[k]!r} differ by more than three standard errors, so "
                "this is no pure change of shares"
            )
        return found

    def _tell(self, doubts, kept):
        end = "; probabilities are not moved (on_weak='move' moves them)"
        self.doubts_ = [text + end * (kept and kind == "weak") for kind, text in doubts.items()]
        known, self._kinds = self._kinds, set(doubts)
        for kind, text in zip(doubts, self.doubts_, strict=True):
            if kind not in known:
                warn_user(f"{type(self).__name__}: {text}.")

    def predict_source_proba(self, X):
        """Corrected probabilities in the source population, whatever `adapt` found.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities.
        """
        check_is_fitted(self)
        proba = class_probabilities(self.estimator_, X, self.classes_, source=True)
        return (
            proba
            if self.calibrator_ is None
            else corrected(self.calibrator_, log_probabilities(proba))
        )

    def predict_proba(self, X):
        """Probabilities in the population of ``prior_``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities.
        """
        proba = self.predict_source_proba(X)
        return moved_probabilities(proba, log_ratio(self.prior_, self.source_prior_))

    def predict(self, X):
        """The most probable class in the population of ``prior_``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(1)]
