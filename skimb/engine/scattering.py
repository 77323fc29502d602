"""The scheme that scatters the embeddings of a batch over the sphere."""

from numbers import Real

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skimb.engine.schemes import RunningScheme, Scheme
from skimb.functional.scattering import KINDS, scattering_loss


class RunningScattering(RunningScheme):
    """Adds the scattering of the inputs of the output layer to the loss.

    Parameters
    ----------
    weight : float
        Weight in the loss.
    kind : str
        One of `KINDS`.
    class_balanced : bool
        Whether classes of a batch weigh alike.
    """

    autograd = True

    def __init__(self, weight, kind, class_balanced):
        self.weight, self.kind, self.class_balanced = weight, kind, class_balanced

    def gradients(self, batch, step):
        value, d = step.evaluated(batch)
        backend = step.backend
        inputs = backend.inputs
        if inputs is None or not inputs.requires_grad:
            raise ValueError(
                "Scattering acts on the inputs of the output layer: give the net a hidden layer, and let a module "
                "of your own return the pair (scores, inputs of the output layer)."
            )
        loss, grad = scattering_loss(inputs.detach(), self._shares(batch, inputs), kind=self.kind)
        torch.autograd.backward([backend.z, inputs], [d, self.weight * grad])
        return value + self.weight * loss

    def _shares(self, batch, like):
        """Weights of the rows, summing to 1."""
        code = batch.target.code
        weight = like.new_ones(len(code)) if batch.weight is None else batch.weight.to(like)
        if weight.ndim > 1:
            weight = weight.mean(-1)
        if self.class_balanced:
            if code.ndim > 1 or (code.is_floating_point() and not bool((code.abs() == 1.0).all())):
                raise ValueError(
                    "Scattering(class_balanced=True) needs exclusive classes; leave it out for several labels "
                    "and for numeric targets."
                )
            _, at = code.unique(return_inverse=True)
            mass = weight.new_zeros(int(at.max()) + 1).index_add_(0, at, weight)
            weight = torch.where(weight > 0, weight / mass[at], weight)
        return weight / weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)


class Scattering(Scheme):
    r"""Scatters embeddings over the sphere: adds :math:`\lambda(\|\bar z\|^2-1)` of the last hidden layer.

    :math:`\bar z` is the mean of a batch's embeddings, each scaled to length 1. The term reads no target; it
    stands beside the loss, so that ``MLPClassifier(loss=BalancedSoftmax(), scheme=Scattering())`` or
    ``MLPRegressor(loss=BalancedMSE(), scheme=Scattering())`` scatter representations and rebalance labels at
    once.

    Parameters
    ----------
    weight : float in [0, inf), default=0.1
        Weight :math:`\lambda` of the term.
    kind : {"mean", "uniformity"}, default="mean"
        The squared length of the mean, or the logarithm of the mean of :math:`e^{-2\|z_i-z_j\|^2}` over
        pairs.
    class_balanced : bool, default=False
        Whether the classes of a batch weigh alike in the term, so that a common class does not own the centre
        (ours).

    Raises
    ------
    ValueError
        If a parameter is out of range, the net has no hidden layer, or class_balanced meets several labels or
        numeric targets.

    Notes
    -----
    On the sphere the published term is the mean squared distance to the mean with its sign changed, and it is
    least as soon as the mean is zero: two opposite points suffice. "uniformity" asks for more. The paper
    scatters the output of a slowly moving copy of a graph encoder, which another copy learns to predict,
    before and beside the task; here the term alone is added to the net that is trained, a reading for tables.
    With "relu" embeddings have no negative entries and stay in one orthant; "tanh" lets them spread. Rows
    need to be dense. Training is by autograd and alone, outside populations.

    References
    ----------
    arXiv:2507.06535 (2025); Wang and Isola 2020, arXiv:2005.10242 (uniformity).

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.losses import BalancedSoftmax
    >>> from skimb.neural_network import MLPClassifier
    >>> from skimb.training import Scattering
    >>> X, y = make_classification(200, weights=[0.9], random_state=0)
    >>> model = MLPClassifier((8,), "tanh", loss=BalancedSoftmax(), scheme=Scattering(0.5), random_state=0)
    >>> model.set_params(max_iter=5, tol=0).fit(X, y).n_iter_
    5
    """

    of_matrices = True
    _parameter_constraints = {
        "weight": [Interval(Real, 0, None, closed="left")],
        "kind": [StrOptions(set(KINDS))],
        "class_balanced": ["boolean"],
    }

    def __init__(self, weight=0.1, kind="mean", class_balanced=False):
        self.weight = weight
        self.kind = kind
        self.class_balanced = class_balanced

    def start(self, module, data, seed):
        """Begin a fit.

        Parameters
        ----------
        module : Module
            The net that will be trained.
        data : TrainingData
            All training rows.
        seed : int
            Not used: nothing is drawn.

        Returns
        -------
        RunningScheme
            What acts in this fit.
        """
        self._validate_params()
        return RunningScattering(float(self.weight), self.kind, self.class_balanced)
