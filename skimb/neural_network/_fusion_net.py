"""Nets over blocks of columns, and training that follows how certain each block is."""

import torch
from torch import nn

from skimb.engine.schemes import RunningScheme
from skimb.engine.step import evaluate, squeeze_outputs
from skimb.nets.encoder import Encoder

_KEPT = 0.7  # of the running mean and variance of a row's probabilities, per epoch


class FusionNet(nn.Module):
    """An encoder for each block of columns, and one layer of scores over all their features.

    Parameters
    ----------
    columns : list of ndarray of int
        Columns of each block.
    n_outputs : int
        Scores per row.
    widths : list of int
        Units of the hidden layers of each encoder.
    activation : {"relu", "tanh", "logistic"}
        Their activation.
    """

    def __init__(self, columns, n_outputs, widths, activation):
        super().__init__()
        self.columns = [_slice(own) for own in columns]
        self.encoders = nn.ModuleList(Encoder(len(own), widths, activation) for own in columns)
        self.sizes = [encoder.n_outputs for encoder in self.encoders]
        self.scores = nn.Linear(sum(self.sizes), n_outputs)

    def features(self, X):
        """Features of each block."""
        pairs = zip(self.encoders, self.columns, strict=True)
        return [encoder(X[:, own]) for encoder, own in pairs]

    def shares(self, features):
        """Scores of each block by itself: the layer of scores where the other blocks are zero."""
        weights = self.scores.weight.split(self.sizes, 1)
        return [f @ w.T + self.scores.bias for f, w in zip(features, weights, strict=True)]

    def forward(self, X):
        """Scores, and the features of all blocks."""
        features = torch.cat(self.features(X), 1)
        return self.scores(features), features


def _slice(columns):
    """Columns that lie side by side as a slice, which copies nothing."""
    first, last = int(columns[0]), int(columns[-1])
    beside = last - first == len(columns) - 1 and (columns[1:] > columns[:-1]).all()
    return slice(first, last + 1) if beside else torch.from_numpy(columns).tolist()


def inverse_shares(uncertainty, floor=0.0):
    """Shares that are inverse to how uncertain blocks are, each taken for at least the share `floor` of all.

    Parameters
    ----------
    uncertainty : Tensor of shape (n_blocks,)
        Variances, or entropies, not negative.
    floor : float, default=0.0
        Least share of the sum of `uncertainty`.

    Returns
    -------
    Tensor of shape (n_blocks,)
        Shares, whose sum is 1.
    """
    share = uncertainty / uncertainty.sum().clamp_min(1e-30)
    inverse = 1.0 / share.clamp_min(max(floor, 1e-6))
    return inverse / inverse.sum()


def block_factors(certain, mass, temperature):
    """What the gradients of encoders are multiplied by: more for certain blocks that the scores lean on little."""
    return 1.0 + torch.softmax(temperature * certain * (1.0 - mass), 0)


class Reweighting(RunningScheme):
    """The losses of single blocks beside that of all, and gradients of encoders by certainty.

    Parameters
    ----------
    module : FusionNet
        What is trained.
    data : TrainingData
        All rows.
    settings : dict
        The estimator's parameters of the same names.
    bound : BoundLoss
        The loss.
    """

    autograd = True

    def __init__(self, module, data, settings, bound):
        self.settings = settings
        weight, n = module.scores.weight, len(module.sizes)
        self.separate = (
            bound.task == "multilabel" or len(weight) == 1
        )  # one logit and one decision each
        self.certain = weight.new_full((n,), 1.0 / n)
        self.numbered = settings["reweight"] == "variance"
        size = (n, len(data), weight.shape[0]) if self.numbered else (0,)
        self.mean, self.variance, self.seen = (
            weight.new_zeros(*shape) for shape in (size, size, size[:2])
        )

    def state(self):
        return {
            "certain": self.certain,
            "mean": self.mean,
            "variance": self.variance,
            "seen": self.seen,
        }

    def load_state(self, state):
        """Take back what `state` gave; probabilities of other rows are forgotten."""
        self.certain.copy_(state["certain"])
        if state["mean"].shape == self.mean.shape:
            super().load_state(state)

    def gradients(self, batch, step):
        backend, module, code = step.backend, step.backend.module, batch.target.code
        for flat in backend.parameters:
            flat.grad.zero_()
        X = batch.X if torch.is_tensor(batch.X) else backend.rows(batch.X)
        features = module.features(X)
        z = module.scores(torch.cat(features, 1))
        inputs = [
            torch.cat(features, 1),
            *features,
        ]  # of the layer of scores, which some losses read
        step.scores = squeeze_outputs(z.detach(), code)
        own = module.shares(features)
        total, total_loss, outputs, grads = float(len(code)), 0.0, [z], []
        for k, scores in enumerate([z, *own] if self.settings["block_weight"] else [z]):
            factor = self.settings["block_weight"] if k else 1.0
            flat = squeeze_outputs(scores.detach(), code)
            backend.inputs = inputs[k]
            value, d = evaluate(step.loss, flat, batch.target, batch.weight, total, backend)
            total_loss = total_loss + factor * value
            grads.append(factor * d.view(scores.shape))
            outputs += [scores] if k else []
        torch.autograd.backward(outputs, grads)
        if self.settings["reweight"] != "none":
            self.follow([s.detach() for s in own], batch)
            if batch.epoch >= self.settings["start"]:
                self.scale(module, own)
        return total_loss

    @torch.no_grad()
    def follow(self, own, batch):
        """Learn from the scores of blocks how certain each is."""
        scores = torch.stack(own)
        p = torch.sigmoid(scores) if self.separate else torch.softmax(scores, 2)
        if not self.numbered:
            entropy = torch.special.entr(p)
            if self.separate:
                entropy = entropy + torch.special.entr(1.0 - p)
            uncertain = entropy.sum(2).mean(1)
        else:
            rows = batch.rows.to(p.device)
            mean, first = self.mean[:, rows], (self.seen[:, rows] == 0).unsqueeze(-1)
            move = torch.where(first, 0.0, p - mean)
            self.mean[:, rows] = torch.where(first, p, mean + (1.0 - _KEPT) * move)
            spread = _KEPT * (self.variance[:, rows] + (1.0 - _KEPT) * move**2)
            self.variance[:, rows] = spread
            self.seen[:, rows] += 1.0
            if (self.seen[:, rows] < 2).any():
                return
            uncertain = spread.sum(2).mean(1)
        self.certain.copy_(inverse_shares(uncertain, self.settings["floor"]))

    @torch.no_grad()
    def scale(self, module, own):
        """Multiply the gradients of encoders."""
        size = torch.stack([(z - module.scores.bias).abs().mean() for z in own])
        mass = size / size.sum().clamp_min(1e-30)
        factors = block_factors(self.certain, mass, self.settings["temperature"])
        for encoder, factor in zip(module.encoders, factors, strict=True):
            for p in encoder.parameters():
                p.grad.mul_(factor)
