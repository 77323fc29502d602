"""The scheme that trains embeddings of views of rows by contrasts, within subclasses that it renews."""

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse

from skimb.engine.clusters import class_temperatures, split_classes, subclass_counts
from skimb.engine.data import Batch
from skimb.engine.schemes import RunningScheme
from skimb.functional.contrastive import contrastive_loss, subclass_contrastive_loss

CONTRASTS = ("subclass", "supervised", "balanced")
_BLOCK = 4096


class ContrastSettings(NamedTuple):
    """Parameters of the contrast, see `SubclassContrastiveClassifier`."""

    contrast: str
    temperature: float
    class_contrast: float
    min_subclass_size: int
    warmup_epochs: int
    recluster_every: int
    balanced_clusters: bool
    n_views: int


class Contrast(RunningScheme):
    """Puts views in the place of rows and a contrast in that of the loss.

    Parameters
    ----------
    settings : ContrastSettings
        What is contrasted.
    module : Encoder
        The net.
    data : TrainingData
        All rows.
    classes : ndarray of int, shape (n,)
        Their classes.
    names : list
        Names of the classes.
    views : Views
        Makes views.
    mixing : MetricMixing or None
        Adds mixtures.
    seed : int
        Seed of the clusters.
    """

    numbered = True
    autograd = True

    def __init__(self, settings, module, data, classes, names, views, mixing, seed):
        self.settings, self.module, self.data, self.names = settings, module, data, names
        self.views, self.mixing = views, mixing
        self.rng = np.random.default_rng(seed)
        self.classes = torch.from_numpy(classes)
        counts = np.bincount(classes, minlength=len(names))
        self.n_subclasses = subclass_counts(counts, settings.min_subclass_size)
        self.subclasses = self.classes.clone()
        self.temperatures = torch.full((len(names),), settings.temperature, dtype=torch.float64)
        self.splits = settings.contrast == "subclass" and (self.n_subclasses > 1).any()
        self.epoch = -1

    def batch(self, batch, step):
        if batch.epoch != self.epoch:
            self.epoch = batch.epoch
            late = self.epoch - self.settings.warmup_epochs
            if self.splits and late >= 0 and late % self.settings.recluster_every == 0:
                self.renew()
        X = batch.X
        X = X if torch.is_tensor(X) else X.dense(self.data.X.shape[1])
        n_views = self.settings.n_views

        def repeated(part):
            return None if part is None else torch.cat([part] * n_views)

        views = torch.cat([self.views(X) for _ in range(n_views)])
        rows, weight = repeated(batch.rows), repeated(batch.weight)
        target = batch.target.each(repeated)
        return Batch(views, target, weight, rows, batch.epoch, EmbeddingLoss(self, rows))

    def gradients(self, batch, step):
        value, d = step.evaluated(batch)
        backend, mixing = step.backend, self.mixing
        if mixing is None or not mixing.weight:
            backend.backward(d)
            return value
        classes = self.classes[batch.rows].to(d.device)
        rows = batch.rows.to(d.device)
        mixed = mixing.weight * mixing.loss(
            self.module, backend.X, backend.z, classes, rows, batch.weight
        )
        torch.autograd.backward([backend.z, mixed], [d, None])
        return value + mixed.detach()

    @property
    def by_subclass(self):
        """Whether subclasses are contrasted in this epoch."""
        settings = self.settings
        return settings.contrast == "subclass" and self.epoch >= settings.warmup_epochs

    @torch.no_grad()
    def renew(self):
        """Split classes anew by the present embeddings of their rows."""
        module, X = self.module, self.data.X
        was_training = module.training
        module.eval()
        device, parts = next(module.parameters()).device, []
        for start in range(0, len(self.data), _BLOCK):
            rows = X[start : start + _BLOCK]
            rows = torch.from_numpy(rows.toarray()) if sparse.issparse(rows) else rows
            parts.append(module(rows.to(device)).double().cpu())
        module.train(was_training)
        Z = torch.nn.functional.normalize(torch.cat(parts), dim=1).numpy()
        settings, classes = self.settings, self.classes.numpy()
        found = split_classes(
            Z, classes, self.n_subclasses, self.rng,
            balanced=settings.balanced_clusters, names=self.names,
        )  # fmt: skip
        self.subclasses.copy_(torch.from_numpy(found))
        temperatures = class_temperatures(Z, classes, self.n_subclasses, settings.temperature)
        self.temperatures.copy_(torch.from_numpy(temperatures))

    def state(self):
        return {"subclasses": self.subclasses, "temperatures": self.temperatures}


class EmbeddingLoss:
    """The contrast of the views in one batch, in the place of a loss of scores.

    Parameters
    ----------
    contrast : Contrast
        The scheme.
    rows : Tensor of int, shape (n,)
        Numbers of the rows that these are views of.
    """

    requires: frozenset = frozenset()
    attack = None

    def __init__(self, contrast, rows):
        self.contrast, self.rows = contrast, rows

    def loss_grad(self, z, target, weight=None, total=None):
        """Loss of embeddings (n, d) and its gradient."""
        scheme, rows = self.contrast, self.rows
        settings = scheme.settings
        classes = scheme.classes[rows].to(z.device)
        if not scheme.by_subclass:
            averaged = settings.contrast == "balanced"
            return contrastive_loss(
                z, classes, weight, temperature=settings.temperature, class_averaged=averaged
            )
        return subclass_contrastive_loss(
            z,
            classes,
            scheme.subclasses[rows].to(z.device),
            rows.to(z.device),
            weight,
            temperature=settings.temperature,
            class_temperature=scheme.temperatures[classes.cpu()].to(z),
            class_contrast=settings.class_contrast,
        )
