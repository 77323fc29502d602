"""Training of COMIC: labels that are found missing are recalled, branches teach the balanced one."""

import torch
import torch.nn.functional as F
from sklearn.base import clone

from skimb._core.priors import ClassPrior
from skimb.engine.data import Batch, row_batches
from skimb.engine.schemes import RunningScheme
from skimb.engine.step import squeeze_outputs
from skimb.losses import Target
from skimb.multilabel._comic_net import BALANCED, FREQUENT, RARE

_KEPT = 0.9  # of the running mean of probabilities, per batch


def recalled(p, absent, threshold, mean):
    """Which absent labels are taken for present: a probability above `threshold` and above the label's mean.

    Parameters
    ----------
    p : Tensor of shape (n, L)
        Probabilities.
    absent : Tensor of bool, shape (n, L)
        Labels that may be recalled.
    threshold : float
        Least probability.
    mean : Tensor of shape (L,)
        Mean probability of each label.

    Returns
    -------
    Tensor of bool, shape (n, L)
        The recalled ones.
    """
    return absent & (p > mean.clamp_min(threshold))


def teacher_shares(frequent, rare):
    """Shares of both teachers by their losses: the square of each over the sum of the squares."""
    a, b = frequent**2, rare**2
    share = torch.where(a + b > 0, a / (a + b).clamp_min(1e-30), torch.full_like(a, 0.5))
    return share, 1.0 - share


class Training(RunningScheme):
    """Losses of the branches, recalled labels, and the balance between branches.

    Parameters
    ----------
    module : COMICNet
        What is trained.
    data : TrainingData
        All rows; 0 in the code of labels stands for a missing one.
    settings : dict
        The estimator's parameters of the same names.
    prior : ClassPrior
        Label distribution that the loss was bound to.
    loss : MultiFocal
        The loss.
    seed : int
        Seed of the branches' own batches.
    """

    autograd = True

    def __init__(self, module, data, settings, prior, loss, seed):
        self.data, self.settings, self.prior = data, settings, prior
        self.loss = clone(loss).set_params(power=settings["correction_power"])
        self.branches = len(module.heads)
        weight = module.heads[0].weight
        outputs, width = weight.shape
        self.features = weight.new_zeros(self.branches, width)
        self.probabilities = weight.new_zeros(self.branches, outputs)
        self.counts = (data.target.code > 0).sum(0).double().cpu().numpy()
        self.recalled = torch.zeros(self.branches, outputs, dtype=torch.float64)
        self.epoch = torch.full((), -1, dtype=torch.int64)
        self.generator = torch.Generator().manual_seed(seed)
        if settings["sampling"] == "separate" and self.branches > 1:
            self.members, self.common = rows_by_label(data.target.code)

    def state(self):
        return {
            "features": self.features,
            "probabilities": self.probabilities,
            "recalled": self.recalled,
            "epoch": self.epoch,
        }

    # --- batches -------------------------------------------------------------------------------------

    def batches(self, batch):
        """The batch of each branch: one for all, or as it comes, by label, and by label against frequency."""
        if self.branches == 1 or self.settings["sampling"] == "common":
            return [batch] * self.branches
        rare = self.common.max() / self.common
        drawn = {BALANCED: torch.ones_like(rare), RARE: rare}
        return [
            self.drawn(drawn[k], batch) if k in drawn else batch for k in (BALANCED, FREQUENT, RARE)
        ]

    def drawn(self, chances, batch):
        """As many rows as a batch has: a label by its chance, then one of its rows."""
        labels = torch.multinomial(chances, len(batch), True, generator=self.generator)
        where = torch.rand(len(batch), generator=self.generator)
        rows = [self.members[k] for k in labels.tolist()]
        at = [rows_k[int(u * len(rows_k))] for rows_k, u in zip(rows, where.tolist(), strict=True)]
        index = torch.stack(at)
        data = self.data
        (X,) = row_batches(data.X, index, [len(index)])

        def taken(part):
            return part[index.to(part.device)]

        weight = None if data.weight is None else taken(data.weight)
        return Batch(X, data.target.each(taken), weight, index, batch.epoch)

    # --- gradients -----------------------------------------------------------------------------------

    def gradients(self, batch, step):
        if batch.epoch != int(self.epoch):  # counts of recalled labels are those of an epoch
            self.epoch.fill_(batch.epoch)
            self.recalled.zero_()
        backend, module = step.backend, step.backend.module
        parts = self.batches(batch)
        backend.forward(parts[BALANCED].X)
        X, features, scores = backend.X, [backend.inputs], [backend.z]
        for k in range(1, self.branches):
            own = X if parts[k] is parts[BALANCED] else self.rows(parts[k].X, backend)
            features.append(module.encode(own, k))
            scores.append(module.heads[k](features[k]))
        for k, f in enumerate(features):
            mean = mean_of_rows(f.detach(), parts[k].weight)
            self.features[k].mul_(self.settings["feature_momentum"]).add_(mean)
        pairs = zip(range(self.branches), scores, parts, strict=True)
        found = [self.labelled(k, z.detach(), part, step) for k, z, part in pairs]
        step.scores = squeeze_outputs(scores[BALANCED].detach(), batch.target.code)
        value = sum(v for v, _ in found)
        grads = [g for _, g in found]
        if self.branches > 1 and self.settings["balance"] != "average":
            extra, grad = self.taught(scores[BALANCED].detach(), X, parts[BALANCED], step)
            value = value + self.settings["balance_weight"] * extra
            grads[BALANCED] = grads[BALANCED] + self.settings["balance_weight"] * grad
        torch.autograd.backward(scores, grads)
        return value

    @staticmethod
    def rows(X, backend):
        return X if torch.is_tensor(X) else backend.rows(X)

    def labelled(self, k, z, part, step):
        """Loss of the labels of a branch, recalled ones among them, and its gradient in the scores."""
        code, settings = part.target.code, self.settings
        flat = squeeze_outputs(z, code)
        labels = step.loss.task == "multilabel"
        factor = 1.0
        if self.branches > 1 and settings["balance"] == "average":
            factor += settings["balance_weight"] / self.branches
        present = code > 0
        missing = code == 0 if labels else None
        sign = torch.where(present, 1.0, -1.0).to(flat) if labels else code
        total = float(len(code))
        weight = self.known(part.weight, missing)
        value, grad = step.loss.loss_grad(flat, Target(sign), weight, total)
        value, grad = factor * value, factor * grad
        if labels and settings["correction_weight"]:
            p = torch.sigmoid(flat)
            self.probabilities[k].lerp_(mean_of_rows(p, part.weight), 1.0 - _KEPT)
            if part.epoch >= settings["warmup"]:
                more, slope = self.corrected(k, flat, p, present, missing, part, total)
                value = value + settings["correction_weight"] * more
                grad = grad + settings["correction_weight"] * slope
        return value, grad.view(z.shape)

    def known(self, weight, missing):
        """Weights of labels: those of rows, without missing labels if these are ignored."""
        if missing is None or self.settings["unknown"] == "negative":
            return weight
        keep = (~missing).to(self.probabilities)
        return keep if weight is None else keep * weight.unsqueeze(-1)

    def corrected(self, k, z, p, present, missing, part, total):
        """Loss with recalled labels, per present label, and its gradient."""
        settings = self.settings
        absent = missing if settings["correct"] == "missing" else ~present
        again = recalled(p, absent, settings["correction_threshold"], self.probabilities[k])
        self.recalled[k] += again.sum(0).cpu()
        counts = self.counts + self.recalled[k].numpy()
        prior = ClassPrior(counts, self.prior.prior, self.prior.n_samples, multilabel=True)
        bound = self.loss.bind(prior)
        now = present | again
        sign = torch.where(now, 1.0, -1.0).to(z)
        weight = self.known(part.weight, missing & ~again)
        z = z - settings["correction_margin"] * present
        value, grad = bound.loss_grad(z, Target(sign), weight, total)
        rows = z.new_ones(len(z)) if part.weight is None else part.weight
        factor = rows.sum() / (rows * now.sum(1)).sum().clamp_min(1.0)
        return factor * value, factor * grad

    # --- the balance between branches ----------------------------------------------------------------

    @torch.no_grad()
    def taught(self, z, X, part, step):
        """How far the balanced branch is from both teachers, and the gradient in its scores."""
        module, code = step.backend.module, part.target.code
        labels = step.loss.task == "multilabel"
        sign = torch.where(code > 0, 1.0, -1.0).to(z) if labels else code
        target, total = Target(sign), float(len(code))
        known = self.known(part.weight, code == 0 if labels else None)
        teachers = [
            module.heads[k](module.encode(X, k), self.features[k], shift)
            for k, shift in ((FREQUENT, -1.0), (RARE, self.settings["tail_shift"]))
        ]
        losses = [
            step.loss.loss_grad(squeeze_outputs(t, code), target, known, total)[0] for t in teachers
        ]
        value, grad = 0.0, torch.zeros_like(z)
        for teacher, share in zip(teachers, teacher_shares(*losses), strict=True):
            if self.settings["balance"] == "distill":
                own, slope = distance(z, torch.sigmoid(teacher), part.weight, total)
            else:
                own, slope = agreement(
                    z, torch.softmax(teacher, 1), target, known, total, step.loss
                )
            value, grad = value + share * own, grad + share * slope
        return value, grad


def distance(z, p, weight, total):
    """Cross-entropy of labels against probabilities, summed over labels, and its gradient in the scores."""
    w = 1.0 / total if weight is None else weight.unsqueeze(-1) / total
    return ((F.softplus(z) - p * z) * w).sum(), (torch.sigmoid(z) - p) * w


def agreement(z, teacher, target, weight, total, loss):
    """Loss of the product of two softmaxes taken for scores, and its gradient in the scores of one."""
    p = torch.softmax(z, 1)
    value, d = loss.loss_grad(teacher * p, target, weight, total)
    d = d * teacher
    return value, p * (d - (d * p).sum(1, keepdim=True))


def mean_of_rows(values, weight):
    """Weighted mean over rows."""
    if weight is None:
        return values.mean(0)
    return weight @ values / weight.sum().clamp_min(1e-30)


def rows_by_label(code):
    """Rows of each label or class that has some, and how many these are."""
    if code.ndim == 1:
        masks = [code == value for value in code.unique()]
    else:
        masks = [column > 0 for column in code.T]
    members = [mask.nonzero().squeeze(1).cpu() for mask in masks if mask.any()]
    return members, torch.tensor([float(len(rows)) for rows in members])
