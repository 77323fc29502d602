"""One ensemble of a TabM estimator: trained on one part of the rows, stopped by another."""

import copy

import numpy as np
import torch
from sklearn.metrics import check_scoring

from skimb._base import members
from skimb._base.estimator import NeuralBase
from skimb._core.inner import scorer_params
from skimb._core.stand_ins import Answers
from skimb.engine.mixing import BlockMixing
from skimb.engine.optim import Adam
from skimb.engine.runtime import products_type
from skimb.engine.step import Step
from skimb.engine.tabm import NetTabM, infer
from skimb.engine.tabm_net import TabM, TabMShape
from skimb.losses._base import check_served

# rows of a training part below which batches have so many rows; larger ones have the last
_BATCHES = ((6_400, 128), (32_000, 256), (108_000, 512), (np.inf, 1024))
# what counts as progress below a quarter of the log loss of a constant, as a share of that
LEAST_GAIN, GAIN_BELOW = 3e-3, 0.25
_SHAPE = ("ensemble", "embedding", "n_members", "width", "n_blocks", "d_embedding")


class TabMFold(NeuralBase):
    """An ensemble that is trained on encoded rows.

    Parameters
    ----------
    settings : dict
        Parameters of the estimator.
    columns : TabMRows
        How rows of a table become blocks.
    head : Head or NumericHead
        What has read the target.
    valid : Rows or None
        Validation rows.
    """

    def __init__(self, settings, columns, head, valid):
        vars(self).update(settings)
        self.columns, self.valid = columns, valid
        self._head = head
        self.early_stopping = valid is not None
        self.scheme, self.mix = settings.get("scheme"), settings.get("mix")
        self.warm_start, self.tol = False, 0.0
        self.learning_rate = "constant"

    def again(self, settings, valid):
        """The same ensemble with other settings, to be trained further; its shape stays."""
        other = copy.copy(self)
        vars(other).update({k: v for k, v in settings.items() if k not in _SHAPE})
        other.valid, other.early_stopping = valid, valid is not None
        return other

    # --- what the shared fit asks for --------------------------------------------------------

    def _new_head(self):
        return self._head

    def _split(self, whole, rng, incremental):
        valid, self.valid = self.valid, None
        return whole, valid

    def _choose_dtype(self, X, device):
        return "float32"

    def _typed(self, X):
        return X

    def _on_device(self, X, device):
        return X.to(device)

    def _auto_batch(self, n):
        return next(size for rows, size in _BATCHES if n < rows)

    def _new_module(self, data, bound, rng):
        columns = self.columns
        own = {name: getattr(self, name) for name in _SHAPE}
        self.shape = TabMShape(
            columns.n_numbers, columns.levels, self.n_outputs_, n_bins=columns.n_bins, **own
        )
        module = self._empty_module().reset(rng)
        if columns.binned and columns.n_numbers:
            with torch.no_grad():
                for own, values in zip(module.buffers(), columns.edges(), strict=True):
                    own.copy_(torch.from_numpy(values))
        return module

    def _empty_module(self):
        return TabM(self.shape)

    def _new_step(self, module, bound, data, order, scheme):
        # an adversary would need gradients in the rows
        check_served(bound, NetTabM.serves, NetTabM.consumer, NetTabM.cure)
        seed = order.generator.initial_seed()
        products = products_type(self.mixed_precision, module.flat.device)
        backend = NetTabM(module, self.dropout, seed, products)
        flat, n = module.flat.detach(), module.n_decayed
        optimizer = Adam(
            [module.flat],
            lr=self.learning_rate_init,
            decay=self.alpha,
            decayed=[(flat[:, :n], module.flat.grad[:, :n])],
            max_norm=self.clip_norm,
        )
        return Step(backend, bound, optimizer, scheme)

    def _schemes(self, bound, module, data, seed):
        scheme = self.scheme
        refused = scheme is not None and scheme.of_matrices
        parts = [] if refused else super()._schemes(bound, module, data, seed)
        if refused or any(part.autograd for part in parts):
            raise ValueError(
                f"scheme={scheme!r} differentiates the net, asks it about all rows or reads columns, which TabM "
                "does not allow; use MLPClassifier on encoded columns, or scheme=None."
            )
        if self.mix is None:
            return parts
        if self._head.multilabel:
            raise ValueError(
                f"mix={self.mix!r} mixes exclusive classes; multi-label y has none. Use mix=None."
            )
        consumer, cure = f"mix={self.mix!r}", "use a loss of single rows"
        check_served(bound, frozenset({"every class"}), consumer, cure)
        counts = self._head.seen.counts
        return [BlockMixing(self.mix, data, counts, seed, module.flat.detach()), *parts]

    def _raw(self, X, dtype=None):
        """Raw outputs (members, n, n_outputs) of blocks."""
        return infer(self.net_.module_, X, dtype).cpu()

    # --- validation --------------------------------------------------------------------------

    def _validation_score(self, valid):
        X, y, code, weight, cost = valid
        head = self._head
        if self.validation_scoring is not None:
            probe = self.stand_in(head)
            scorer = check_scoring(probe, scoring=self.validation_scoring)
            kw = scorer_params(scorer, weight)
            return lambda: scorer(probe, X, y, **kw)
        return lambda: self.score_of(self._leveled(self._raw(X), weight), code, weight, cost)

    def _validation_gain(self, valid):
        """Shares of the log loss of a constant, where the score is a log loss."""
        head = self._head
        exclusive = not (head.numeric or head.multilabel)
        if self.validation_scoring is not None or not (exclusive and head.gives_probabilities):
            return {}
        constant = head.constant_score(valid.code, valid.sample_weight)
        return {"gain": -LEAST_GAIN * constant, "gain_from": GAIN_BELOW * constant}

    def score_of(self, raw, code, weight, cost=None):
        """Validation score of raw outputs."""
        if self._head.numeric:
            return members.numeric_score(self._head, raw, code, weight)
        return members.score(self._head, raw, code, weight, cost)

    def stand_in(self, head):
        """Something for scorers that answers from the net as it is now."""
        if head.numeric:
            centre, spread = self.units

            def predicted(X):
                return centre + spread * members.predictions(head, self._raw(X)).mean(0)

            return Answers(predictions=predicted)

        def decision(X):
            mean = members.votes(head, self._raw(X)).mean(0)
            return members.decision_of(mean, head.multilabel)

        return Answers(
            head.classes,
            scores=decision,
            predictions=lambda X: head.labels(decision(X)),
            probabilities=lambda X: members.posteriors(head, self._raw(X)).mean(0),
        )

    # --- levels that shift-invariant losses leave free -------------------------------------------

    def _leveled(self, raw, weight):
        """Raw outputs with the level that a shift-invariant loss leaves free fitted to the same rows."""
        if not self._head.bound.shift_invariant:
            return raw
        return raw + torch.from_numpy(self._levels(raw, weight)).to(raw)[:, None]

    def _levels(self, raw, weight):
        """What to add to the outputs of each member, (members, n_outputs)."""
        head = self._head
        before = self._level
        return np.stack([np.atleast_1d(head.level(head.logits(z), weight, before)) for z in raw])

    def _after_training(self, data, sample_weight):
        if self._head.bound.shift_invariant:
            self._add_to_output(self._levels(self._raw(data.X), sample_weight))
        self._show(self._head)

    def _add_to_output(self, shift):
        module = self.net_.module_
        with torch.no_grad():
            bias = module.split(module.flat)["head_bias"]
            bias.add_(torch.from_numpy(np.asarray(shift)).to(bias).view(bias.shape))
        self._level = self._level + shift.mean(0)  # of several classes it is that of every member

    def _tell(self, net, step, patience, incremental):
        """Nothing: the estimator speaks for all its ensembles."""
        self.interrupted = net.interrupted
        scores = self.validation_scores_
        self.best_iteration = self.n_iter_ if not scores else int(np.argmax(scores)) + 1
        self.converged = patience.stopped

    # --- what stays ------------------------------------------------------------------------------

    def prune(self, n_members):
        """Keep the best members only."""
        kept = self.ranking[:n_members]
        self.net_.module_ = self.net_.module_.kept(kept)
        self.shape, self.ranking = self.net_.module_.shape, list(range(len(kept)))
