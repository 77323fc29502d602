"""Losses for imbalanced classification, as searchable parameter objects."""

from skimb._core.priors import ClassPrior
from skimb.losses._base import BoundLoss, CoupledBound, Loss, RowBound, Target
from skimb.losses._density import density_weights
from skimb.losses._labels import LabelBound
from skimb.losses._softmax import SoftmaxBound
from skimb.losses.adversarial import AdversarialCompSum
from skimb.losses.aggregates import InterpolatedBag
from skimb.losses.confusion import AnyLoss, ScoreOriented, Tversky
from skimb.losses.contrastive import SupervisedContrastive
from skimb.losses.decisions import ExpectedCost, Lovasz, QuadraticWeightedKappa, SeparatedKappa
from skimb.losses.dice import Dice
from skimb.losses.histogram import HistogramGaussian
from skimb.losses.multilabel import (
    BinaryFocal,
    DistributionBalanced,
    Equalization,
    EqualizationV2,
    MultiFocal,
)
from skimb.losses.multilabel_batch import GradientHarmonized, TwoWay
from skimb.losses.pairs import AUCMargin, MannWhitney, PartialAUC
from skimb.losses.ranking import LambdaRank, RecallAtBudget, SmoothAveragePrecision
from skimb.losses.rebalanced import (
    BalancedSoftmax,
    ClassBalanced,
    ClassDependentTemperature,
    InfluenceBalanced,
    LabelAwareSmoothing,
    Seesaw,
    SoftmaxEqualization,
)
from skimb.losses.regression import BalancedMSE, ErrorFocusedRegression
from skimb.losses.reweighted import DynamicReweighting, ErrorFocused
from skimb.losses.robust import (
    LDR,
    AdaptiveLDR,
    GeneralizedCrossEntropy,
    MeanAbsoluteError,
    PolyFocal,
    SymmetricCrossEntropy,
    ZLoss,
)
from skimb.losses.sigmoid import Asymmetric
from skimb.losses.softmax import (
    LDAM,
    CompSum,
    Coverage,
    CrossEntropy,
    Focal,
    LogitAdjusted,
    Poly,
    VectorScaling,
)
from skimb.losses.spherical import SphericalSoftmax, TaylorSoftmax
from skimb.losses.unlabeled import NonNegativePU
from skimb.losses.wrappers import Deferred, Mixed

__all__ = [
    "LDAM",
    "LDR",
    "AUCMargin",
    "AdaptiveLDR",
    "AdversarialCompSum",
    "AnyLoss",
    "Asymmetric",
    "BalancedMSE",
    "BalancedSoftmax",
    "BinaryFocal",
    "BoundLoss",
    "ClassBalanced",
    "ClassDependentTemperature",
    "ClassPrior",
    "CompSum",
    "CoupledBound",
    "Coverage",
    "CrossEntropy",
    "Deferred",
    "Dice",
    "DistributionBalanced",
    "DynamicReweighting",
    "Equalization",
    "EqualizationV2",
    "ErrorFocused",
    "ErrorFocusedRegression",
    "ExpectedCost",
    "Focal",
    "GeneralizedCrossEntropy",
    "GradientHarmonized",
    "HistogramGaussian",
    "InfluenceBalanced",
    "InterpolatedBag",
    "LabelAwareSmoothing",
    "LabelBound",
    "LambdaRank",
    "LogitAdjusted",
    "Loss",
    "Lovasz",
    "MannWhitney",
    "MeanAbsoluteError",
    "Mixed",
    "MultiFocal",
    "NonNegativePU",
    "PartialAUC",
    "Poly",
    "PolyFocal",
    "QuadraticWeightedKappa",
    "RecallAtBudget",
    "RowBound",
    "ScoreOriented",
    "Seesaw",
    "SeparatedKappa",
    "SmoothAveragePrecision",
    "SoftmaxBound",
    "SoftmaxEqualization",
    "SphericalSoftmax",
    "SupervisedContrastive",
    "SymmetricCrossEntropy",
    "Target",
    "TaylorSoftmax",
    "Tversky",
    "TwoWay",
    "VectorScaling",
    "ZLoss",
    "all_losses",
    "density_weights",
]


def all_losses(task=None):
    """List the loss classes of this namespace; the export is the registration.

    Parameters
    ----------
    task : {"binary", "multiclass", "multilabel"}, default=None
        Keep only losses that accept this task.

    Returns
    -------
    list of type
        Subclasses of :class:`Loss`, in alphabetical order.

    Examples
    --------
    >>> from skimb.losses import all_losses
    >>> [cls.__name__ for cls in all_losses("multilabel")][:3]
    ['AUCMargin', 'AdaptiveLDR', 'AnyLoss']
    """
    found = [
        value
        for name, value in globals().items()
        if name in __all__
        and isinstance(value, type)
        and issubclass(value, Loss)
        and value is not Loss
    ]
    return sorted(
        (cls for cls in found if task is None or task in cls().tasks), key=lambda cls: cls.__name__
    )
