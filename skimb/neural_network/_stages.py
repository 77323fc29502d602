"""The second stages of decoupled training: estimators on the features or on the scores of a trained net."""

import torch
from torch import nn

from skimb._base.estimator import AUTO_BATCH
from skimb.engine.sampling import ClassPowerSampler
from skimb.neural_network._custom import NeuralNetClassifier
from skimb.neural_network._mlp import MLPClassifier

#: what the second stage has none of
_NOT_AGAIN = {
    "decoupling": None,
    "class_weight": None,
    "sampler": ClassPowerSampler(),
    "mix": None,
    "scheme": None,
    "deferred_reweighting": None,
    "early_stopping": False,
    "warm_start": False,
    "callbacks": None,
    "verbose": False,
    "device": "cpu",
    "mixed_precision": False,
}


class Stage:
    """Part of an estimator that trains on drawn batches in which all classes are equally frequent."""

    @classmethod
    def like(cls, first, seed):
        """A second stage with the parameters that it shares with the estimator of the first."""
        names = set(cls._get_param_names()) & set(first._get_param_names()) - {"module"}
        params = {name: getattr(first, name) for name in names} | _NOT_AGAIN
        return cls(**{**params, "random_state": seed, **cls.own(first)})

    def _new_head(self):
        head = super()._new_head()
        head.warns = False  # the first stage has warned
        return head

    def _tell(self, net, step, patience, incremental):
        """Nothing: whether training ended in time was told of the first stage."""


class HeadStage(Stage, MLPClassifier):
    """A linear model of the features."""

    @classmethod
    def own(cls, first):
        """Parameters that differ from those of the first stage."""
        found = {"hidden_layer_sizes": (), "normalization": None}
        if first.solver == "muon":  # which is for hidden layers
            found["solver"] = "adamw"
        if first.solver == "lbfgs":  # which sees all rows at once
            found |= {"sampler": None, "class_weight": "balanced"}
        if not isinstance(first, MLPClassifier) and first.solver != "adamw":
            found["alpha"] = first.alpha * AUTO_BATCH  # the units differ
        return found


class ScaleStage(Stage, NeuralNetClassifier):
    """One factor for each score."""

    @classmethod
    def own(cls, first):
        """Parameters that differ from those of the first stage."""
        found = {"module": Scales, "alpha": 0.0}
        if first.solver in {"muon", "lbfgs"}:
            found["solver"] = "adamw"
        if first.learning_rate not in {"constant", "cosine", "linear"}:
            found["learning_rate"] = "constant"
        return found


class Scales(nn.Module):
    """Factors of scores, at first 1.

    Parameters
    ----------
    n_outputs : int
        Scores per row.
    """

    def __init__(self, n_outputs):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(n_outputs))

    def forward(self, Z):
        """Scaled scores."""
        return Z * self.scale
