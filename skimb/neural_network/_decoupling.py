"""Decoupled training: a second stage that changes the output layer alone, on the features of a trained net."""

import copy

import numpy as np
import torch
from sklearn.utils import check_random_state

from skimb.nets import MLP
from skimb.nets.output import output_layer, output_linear

DECOUPLINGS = ("crt", "lws", "tau")


class DecoupledTraining:
    """Part of a neural classifier with the parameter `decoupling`; stands before its base among the parents."""

    # --- what cannot be decoupled --------------------------------------------------------------

    def _prepare(self, rows, *, new=True, incremental=False):
        if self.decoupling is not None and self._head.multilabel:
            self._refuse("balances exclusive classes, and multi-label y has none; use None")
        return super()._prepare(rows, new=new, incremental=incremental)

    def _scheme(self, bound, module, data, order, seed):
        if self.decoupling is not None:
            self._check_decoupling(bound, module)
        return super()._scheme(bound, module, data, order, seed)

    def _check_decoupling(self, bound, module):
        if self.decoupling != "crt" and self.n_outputs_ == 1:
            self._refuse(
                "scales the scores of single classes, and two classes share one score here, whose sign that does "
                "not change; use 'crt'"
            )
        if self.decoupling != "tau" and "adversary" in bound.requires:
            self._refuse(
                f"trains on features, in which {bound.name} cannot perturb rows; use 'tau'"
            )
        if self.decoupling == "lws" and "inputs" in bound.requires:
            self._refuse(
                f"learns factors of scores, and {bound.name} weighs rows by the output layer's inputs; use 'crt'"
            )
        if isinstance(module, MLP):
            if module.head != "linear":
                self._refuse(
                    f"trains a linear output layer, and head={module.head!r} has directions alone; use "
                    "head='linear'"
                )
            if module.linear_skip:
                self._refuse(
                    "needs an output layer that reads features alone; use linear_skip=False"
                )
            if self.decoupling == "crt" and len(module.widths) < 3:
                self._refuse(f"needs features, and hidden layers {module.widths[1:-1]} make none")
            return
        try:
            _, biases = output_layer(module, self.n_outputs_)
        except ValueError as error:
            raise ValueError(f"decoupling={self.decoupling!r}: {error}") from error
        if not biases:
            self._refuse("needs an output layer with bias=True")

    def _refuse(self, why):
        raise ValueError(f"decoupling={self.decoupling!r} of {type(self).__name__} {why}.")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label &= self.decoupling is None
        return tags

    # --- the second stage ----------------------------------------------------------------------

    def _finish(self, fit):
        super()._finish(fit)
        self.class_scale_ = self.head_loss_curve_ = None
        if self.decoupling is None or fit.net.interrupted:
            return
        weights, (bias,) = output_layer(self.net_.module_, self.n_outputs_)
        if self.decoupling == "tau":
            norms = sum(w.double().square().sum(1) for w in weights).sqrt()
            positive = torch.where(norms > 0, norms, torch.ones_like(norms))
            scale = norms[norms > 0].mean() / positive if norms.any() else positive
            self._head = copy.copy(self._head)
            self._head.rescaled = scale.to(bias), ((1.0 - scale) * bias.double()).to(bias)
        else:
            retrain = self._retrained_head if self.decoupling == "crt" else self._learned_scale
            stage, scale = retrain(fit.rows, weights, bias)
            head = copy.copy(stage._head)
            head.owner, head.warns = self._head.owner, self._head.warns
            self._show(head)
            self.head_loss_curve_ = stage.loss_curve_
            self._after_training(fit.data, fit.sample_weight)
        if scale is not None:
            self.class_scale_ = scale.double().numpy()

    def _retrained_head(self, rows, weights, bias):
        """Classifier retraining: a new output layer."""
        from skimb.neural_network._stages import HeadStage

        stage = self._stage(HeadStage, rows, self._features(rows.X, weights[0], bias))
        weights[0].copy_(torch.from_numpy(stage.coefs_[0].T))
        bias.copy_(torch.from_numpy(stage.intercepts_[0]))
        self._level = stage._level
        return stage, None

    def _learned_scale(self, rows, weights, bias):
        """Learnable weight scaling: one factor for each score."""
        from skimb.neural_network._stages import ScaleStage

        stage = self._stage(ScaleStage, rows, self._raw(rows.X).numpy())
        scale = stage.net_.module_.scale.detach()
        for part in [*(w.t() for w in weights), bias]:
            part.mul_(scale)
        self._level = self._level * scale.double().numpy()
        return stage, scale

    def _stage(self, kind, rows, Z):
        """An estimator of the second stage, fitted to rows of numbers in place of those of the net."""
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        stage = kind.like(self, seed)
        labels = self.classes_[rows.code]
        return stage._fit(Z, labels, rows.sample_weight, classes=self.classes_, cost=rows.cost)

    def _features(self, X, weight, bias):
        """Inputs of the output layer."""
        module = self.net_.module_
        if isinstance(module, MLP):
            return self._hidden_outputs(X)
        found = []
        hook = output_linear(module).register_forward_pre_hook(
            lambda part, given: found.append(given[0].detach().cpu())
        )
        try:
            scores = self._raw(X)
        finally:
            hook.remove()
        Z = torch.cat(found)
        if Z.shape != (len(scores), weight.shape[1]) or not torch.allclose(
            torch.addmm(bias, Z[:9], weight.t()), scores[:9], rtol=1e-3, atol=1e-4
        ):
            self._refuse("needs a module whose scores are the outputs of its last torch.nn.Linear")
        return Z.numpy()
