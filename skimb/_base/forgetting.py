"""Forgetting of rows by nets: approximate, by further training."""

import copy
from numbers import Integral, Real

import numpy as np
import torch
from scipy import sparse
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from sklearn.utils.validation import check_is_fitted

from skimb._base.estimator import Rows, small_batch_settings
from skimb._base.head import HeadParams, TargetCounts
from skimb.engine.forgetting import METHODS, Forgetting, ForgottenEnough

_PLAIN = ("sampler", "mix", "scheme", "deferred_reweighting")


class Forgets:
    """Adds :meth:`forget` to a neural classifier; stands before `NeuralClassifier` among its bases."""

    _forgetting = None

    @validate_params(
        {
            "method": [StrOptions(set(METHODS))],
            "beta": [Interval(Real, 0, None, closed="neither")],
            "retain_weight": [Interval(Real, 0, None, closed="left")],
            "max_iter": [Interval(Integral, 1, None, closed="left")],
        },
        prefer_skip_nested_validation=True,
    )
    def forget(
        self,
        X,
        y,
        *,
        retain=None,
        method="npo",
        beta=0.1,
        retain_weight=1.0,
        max_iter=50,
        reference=None,
    ):
        r"""Train the net so that it no longer knows rows, approximately: negative preference optimisation.

        .. math:: \mathrm{mean}_{forget}\ \tfrac2\beta\log\bigl(1+e^{-\beta(l-l_0)}\bigr)
                  +c\ \mathrm{mean}_{retain}\ l

        with the loss l of a row and the one before, l_0.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to forget.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Their labels.
        retain : tuple (X, y), default=None
            Rows to keep, the remaining training rows or some of them; without them the net soon knows nothing.
        method : {"npo", "ascent", "retain"}, default="npo"
            Negative preference optimisation, gradient ascent on the rows to forget, or further training on the
            rows to keep alone.
        beta : float in (0, inf), default=0.1
            How soon a row that was forgotten is let go; towards 0 it becomes gradient ascent.
        retain_weight : float in [0, inf), default=1.0
            Weight c of the rows to keep.
        max_iter : int in [1, inf), default=50
            Most epochs.
        reference : tuple (X, y), default=None
            Rows that were never learned: training ends when the rows to forget have their mean loss.

        Returns
        -------
        estimator
            Itself; ``class_counts_`` and the population of ``predict_proba`` lose the rows.

        Raises
        ------
        ValueError
            If a class never had as many rows, the loss couples rows, the solver is 'lbfgs', or the training has a
            sampler, a mixer, a scheme or deferred weights.

        Notes
        -----
        This promises nothing: the weights are not those of a net that never saw the rows, and what an attacker
        may still read from them is not bounded. Models that must forget exactly are
        :class:`~skimb.streaming.AnalyticClassifier`, or a new fit. Sample weights of the forgotten rows count
        as 1. Trained alone, also within ``batched_fits``.

        References
        ----------
        Zhang et al. 2024 (NPO), arXiv:2404.05868.
        """
        check_is_fitted(self)
        self._check_forgets(method, retain)
        worker = copy.copy(self)  # has a net of its own
        leaving = worker._validate(X, y, new=False, incremental=True)
        rows = _joined(leaving, [worker._further(retain)] if retain is not None else [])
        head = worker._without(leaving)
        worker._forgetting = (head, len(leaving.code), method, beta, retain_weight)
        known = set(self.get_params(deep=False))
        worker.max_iter, worker.n_iter_no_change, worker.early_stopping = max_iter, np.inf, False
        worker.warm_start = True
        if reference is not None:
            losses = worker._compared(leaving, worker._further(reference))
            worker.callbacks = [*(self.callbacks or []), ("forgotten", ForgottenEnough(losses))]
        fit = worker._prepare(rows, new=False)
        with small_batch_settings(one_thread=fit.one_thread):
            fit.net.partial_fit(fit.data)
        worker._finish(fit)
        for name, value in vars(worker).items():
            if name not in known | {"_forgetting", "warm_start"}:
                setattr(self, name, value)
        return self

    def _check_forgets(self, method, retain):
        name = type(self).__name__
        if self._full_batch():
            raise ValueError(f"{name}.forget trains on batches; set another solver than 'lbfgs'.")
        for part in _PLAIN:
            if getattr(self, part, None) is not None:
                raise ValueError(
                    f"{name}.forget trains on plain rows; set {part}=None in place of "
                    f"{getattr(self, part)!r} before."
                )
        bound = self._head.bound
        if bound.requires or self._head.loss.scope != "row":
            raise ValueError(
                f"{name}.forget needs a loss of single rows, {bound.name} is none; fit with another loss."
            )
        if method == "retain" and retain is None:
            raise ValueError(
                f"{name}.forget(method='retain') trains on rows to keep; give retain=."
            )

    def _further(self, pair):
        X, y = pair
        return self._validate(X, y, new=False, incremental=True)

    def _without(self, leaving):
        """The head of the rows that remain."""
        head = self._head
        gone = TargetCounts.of(leaving.code, None, len(head.classes))
        short = gone.counts > head.seen.counts
        if short.any():
            k = int(np.flatnonzero(short)[0])
            raise ValueError(
                f"{int(gone.counts[k])} rows of class {head.classes[k]!r} cannot be forgotten, only "
                f"{int(head.seen.counts[k])} were learned."
            )
        seen = head.seen
        share = np.where(seen.counts > 0, 1.0 - gone.counts / np.maximum(seen.counts, 1), 1.0)
        mass = seen.mass * share
        total = seen.total * (1.0 - gone.rows / seen.rows) if seen.multilabel else mass.sum()
        if total <= 0:
            raise ValueError("All rows would be forgotten; fit a new estimator instead.")
        left = TargetCounts(
            seen.counts - gone.counts, mass, seen.rows - gone.rows, total, seen.multilabel
        )
        return head.with_counts(left, HeadParams.of(self))

    def _compared(self, leaving, reference):
        def losses():
            return [
                float(self._row_losses(self._head.bound, part.X, part.code).mean())
                for part in (leaving, reference)
            ]

        return losses

    def _row_losses(self, bound, X, code):
        logits = self._head.logits(self._raw(self._typed(X)))
        return bound.row_loss(logits, torch.from_numpy(np.ascontiguousarray(code)))

    def _show(self, head):
        super()._show(head if self._forgetting is None else self._forgetting[0])

    def _schemes(self, bound, module, data, seed):
        if self._forgetting is None:
            return super()._schemes(bound, module, data, seed)
        _, n, *how = self._forgetting
        X = data.X[:n] if sparse.issparse(data.X) else data.X[:n].detach().cpu().numpy()
        code = data.target.code[:n].cpu()
        code = code if code.dtype == torch.int64 else (code > 0).long()
        before = self._row_losses(bound, X, code.numpy())
        return [Forgetting(before, len(data), *how)]

    def _tell(self, net, step, patience, incremental):
        if self._forgetting is None or net.interrupted:
            super()._tell(net, step, patience, incremental)


def _joined(rows, others):
    """Rows and further rows, one after the other."""
    for other in others:
        both = [(rows.X, other.X), (rows.y, other.y), (rows.code, other.code)]
        X = sparse.vstack(both[0], format="csr") if sparse.issparse(rows.X) else None
        rows = Rows(
            np.concatenate(both[0]) if X is None else X,
            np.concatenate(both[1]),
            np.concatenate(both[2]),
            None,
            None,
        )
    return rows
