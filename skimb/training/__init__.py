"""What changes how nets are trained: mixtures of rows, samplers of batches, schemes, late class weights.

Objects of this module are passed to the neural estimators: mixers as ``mix=``, samplers as ``sampler=``, schemes as
``scheme=``, :class:`DeferredReweighting` and :class:`ScoreReporter` among ``callbacks=``.
"""

from skimb.engine.adversarial import AdversarialTraining
from skimb.engine.callbacks import DeferredReweighting
from skimb.engine.data import Batch
from skimb.engine.denoising import GroupwiseDenoising
from skimb.engine.metric_mixing import MetricMixup
from skimb.engine.mixing import BalancedMixup, Mixer, Mixup, PartialMixup, Remix, UniMix
from skimb.engine.pruning import DynamicPruning
from skimb.engine.reporting import ScoreReporter
from skimb.engine.sampling import ClassPowerSampler
from skimb.engine.scattering import Scattering
from skimb.engine.schemes import RunningScheme, Scheme

__all__ = [
    "AdversarialTraining",
    "BalancedMixup",
    "Batch",
    "ClassPowerSampler",
    "DeferredReweighting",
    "DynamicPruning",
    "GroupwiseDenoising",
    "MetricMixup",
    "Mixer",
    "Mixup",
    "PartialMixup",
    "Remix",
    "RunningScheme",
    "Scattering",
    "Scheme",
    "ScoreReporter",
    "UniMix",
]
