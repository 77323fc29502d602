"""How far a net may leave the linear model that it starts from: chosen on left-out rows."""

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.utils import check_random_state

from skimb._base.chain import START_C
from skimb._base.together import FitsTogether
from skimb._core.folds import left_out_folds
from skimb._core.warn import muted
from skimb.engine.callbacks import EpochLimit
from skimb.engine.grouping import MAX_MEMORY

FOLDS = 4
SCALES = np.linspace(0.2, 1.0, 5)
#: inverse strengths of the linear start that are compared
STRENGTHS = (1.0, 10.0, 100.0, 1000.0)
#: rows of the rarest class from which nothing is chosen
MANY = 1000


class ShrunkenHiddenPath:
    """Part of a classifier with the parameters `linear_skip` and `hidden_scale`; stands before its base."""

    _start = _last_epoch = _given_C = None

    def _prepare(self, rows, *, new=True, incremental=False):
        if new:
            self._start_C = self._given_C or START_C
            self._last_epoch = self.hidden_scale_ = None
            if self._hidden() and self._wants_skip(sparse.issparse(rows.X)):
                self.hidden_scale_ = self._scale_of(rows, incremental)
        return super()._prepare(rows, new=new, incremental=incremental)

    def _scale_of(self, rows, incremental):
        """The scale that was given, or the one that is chosen on left-out rows, with when to stop."""
        if self.hidden_scale != "auto":
            return float(self.hidden_scale)
        staged = self.early_stopping or self.deferred_reweighting is not None
        if incremental or staged or _rarest(rows.code) >= MANY:
            return 1.0
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        with muted(Warning):  # the fit of all rows says the same
            strata = self._head.strata(rows.code)
            folds = left_out_folds(strata, len(rows.code), FOLDS, seed)
            self._last_epoch, scale = self._chosen(rows, folds, seed)
        return scale

    def _chosen(self, rows, folds, seed):
        """Last epoch and scale of least loss in left-out rows; 0 where the gain is within its standard error."""
        if not folds or _of_one_class(rows.code, folds):
            return 1, 0.0
        starts = [_LeftOut(self, rows, folds, seed, C) for C in STRENGTHS]
        fits = max(starts, key=lambda start: start.before.mean())
        self._start_C = fits.C
        best, best_epoch, chosen, epoch = 0.0, 0, (1, 0.0), 0
        while epoch < self.max_iter and epoch - best_epoch <= self.n_iter_no_change:
            epoch = min(epoch + 1 + epoch // 10, self.max_iter)
            gains = fits.gains(None if self._full_batch() else epoch)
            at = int(gains.mean(0).argmax())
            if gains[:, at].mean() > best:
                best, best_epoch = gains[:, at].mean(), epoch
                error = gains[:, at].std(ddof=1) / len(folds) ** 0.5
                chosen = (epoch, float(SCALES[at])) if best > error else (1, 0.0)
            if self._full_batch():
                break
        return chosen

    def _start_linear(self, module, data, bound):
        super()._start_linear(module, data, bound)
        if self.hidden_scale_ != 1.0:
            self._start = [part.clone() for part in _linear_parts(module)]

    def _callbacks(self, *args):
        callbacks = super()._callbacks(*args)
        if self._last_epoch is not None and not self._full_batch():
            callbacks.append(("limit", EpochLimit(self._last_epoch)))
        return callbacks

    def _finish(self, fit):
        start, self._start, self._last_epoch = self._start, None, None
        if start is not None:
            module = fit.net.module_
            for part, before in zip(_linear_parts(module), start, strict=True):
                part.copy_(before + self.hidden_scale_ * (part - before))
            module.split(module.flat.detach())[0][-1].mul_(self.hidden_scale_)
        super()._finish(fit)


class _LeftOut:
    """Nets on the rows of each fold, compared on its left-out rows with the linear models that they start from."""

    def __init__(self, estimator, rows, folds, seed, C):
        own = {"hidden_scale": 1.0, "callbacks": None, "warm_start": False, "verbose": False}
        self.nets = [clone(estimator).set_params(**own, random_state=seed) for _ in folds]
        for net in self.nets:
            net._given_C = C
        self.rows, self.held, self.C = rows, [held for _, held in folds], C
        params = {"sample_weight": rows.sample_weight, "cost": rows.cost}
        bags = [train for train, _ in folds]
        self.fits = FitsTogether(self.nets, rows.X, rows.y, params, MAX_MEMORY, bags)
        self.starts = self._logits()
        self.before = np.array([self._score(k, z) for k, z in enumerate(self.starts)])

    def gains(self, until):
        """Gain in score (folds, scales) over the linear models after training up to an epoch, or to the end."""
        self.fits.run(until)
        pairs = enumerate(zip(self.starts, self._logits(), strict=True))
        scores = [[self._score(k, z0 + s * (z - z0)) for s in SCALES] for k, (z0, z) in pairs]
        return np.array(scores) - self.before[:, None]

    def _logits(self):
        for error in self.fits.errors.values():
            raise error
        found = []
        for k, held in enumerate(self.held):
            with self.fits.predicting(k) as net:
                found.append(net._logits(net._typed(self.rows.X[held])))
        return found

    def _score(self, k, logits):
        parts = (self.rows.code, self.rows.sample_weight, self.rows.cost)
        held = [None if part is None else part[self.held[k]] for part in parts]
        return self.nets[k]._head.score(logits, *held)


def _linear_parts(module):
    """Weights of the linear path and the intercepts of the outputs, as views."""
    return [
        module.table.detach()[:, module.widths[1] :],
        module.split(module.flat.detach())[1][-1],
    ]


def _of_one_class(code, folds):
    """Whether all left-out rows are of one class, whose loss falls with any score in its favour."""
    return code.ndim == 1 and len(np.unique(code[np.concatenate([held for _, held in folds])])) < 2


def _rarest(code):
    """Rows of the rarest class, or of the rarest side of a label."""
    if code.ndim == 2:
        positive = code.sum(0)
        return np.minimum(positive, len(code) - positive).min()
    counts = np.bincount(code)
    return counts[counts > 0].min()
