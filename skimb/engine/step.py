"""One training step of one net: the scheme's batch, scores, loss, gradient, update."""

import torch

from skimb.losses._base import check_served


def squeeze_outputs(z, code, members=None):
    """One output per row loses its axis when targets have none; scores may have an axis for members."""
    axes = code.ndim + 1 + (members is not None)
    return z.squeeze(-1) if z.ndim == axes and z.shape[-1] == 1 else z


def evaluate(loss, z, target, weight, total, backend):
    """Loss and gradient of a batch in the scores of a backend."""
    inputs = None
    if "inputs" in loss.requires:
        if backend.inputs is None:
            raise ValueError(
                f"{loss.name} weighs rows by the norm of the output layer's inputs: let the "
                "module return the pair (scores, inputs of the output layer)."
            )
        inputs = backend.inputs.detach().abs().sum(-1)
    if backend.members is not None:
        return mean_of_members(loss, z, target, weight, total, backend.members, inputs=inputs)
    if inputs is not None:
        target = target.with_inputs(inputs)
    return loss.loss_grad(z, target, weight, total)


def mean_of_members(loss, z, target, weight, total, members, *, nets=False, inputs=None):
    """Mean over the members of an ensemble of each one's loss, and its gradient in the scores.

    Parameters
    ----------
    loss : BoundLoss
        The loss; that of several nets, if `nets`, has parameters for each member of each.
    z : Tensor of shape (members, n, ...), or (nets, members, n, ...)
        Scores.
    target, weight : Target and Tensor, or None
        Targets and weights of rows (n, ...), or (nets, n, ...).
    total : float
        Rows of the batch.
    members : int
        Members of an ensemble.
    nets : bool, default=False
        Whether there is an axis for several ensembles.
    inputs : Tensor of shape (members, n), default=None
        Norms of the inputs of the output layer.

    Returns
    -------
    Tensor of shape () or (nets,)
        Mean loss.
    Tensor like z
        Its gradient.
    """
    if loss.task == "regression":  # has no axis for members
        each = [loss.loss_grad(own, target, weight, total) for own in z]
        values, grads = (torch.stack(parts) for parts in zip(*each, strict=True))
        return values.mean(), grads / members

    def repeated(part):
        if part is None:
            return None
        if nets:
            return part.repeat_interleave(members, 0)
        return part.expand(members, *part.shape).contiguous()

    own = target.each(repeated)
    own = own if inputs is None else own.with_inputs(inputs)
    scores = z.flatten(0, 1) if nets else z
    values, grads = loss.loss_grad(scores, own, repeated(weight), total)
    return values.view(-1, members).mean(1).view(z.shape[:nets]), (grads / members).view(z.shape)


def observe(loss, scores, target, weight, members=None):
    """Let a loss remember a batch; the members of an ensemble share one memory."""
    if members is not None and loss.task != "regression":
        target = target.each(lambda part: part.expand(members, *part.shape))
        weight = None if weight is None else weight.expand(members, *weight.shape)
    loss.observe(scores, target, weight)


class Step:
    """What trains one net on mini-batches, called as ``step(batch) -> loss``.

    Parameters
    ----------
    backend : Backend
        Gives scores and gradients.
    loss : BoundLoss
        The loss; schedules replace the one in force, `loss`, by epochs.
    optimizer : LeanOptimizer
        The update.
    scheme : RunningScheme, default=None
        Changes batches or adds gradients.

    Raises
    ------
    ValueError
        If the loss requires what backend and scheme do not serve, or the scheme what the backend does not.
    """

    #: whether the iterations of a solver are the epochs
    drives_epochs = False

    def __init__(self, backend, loss, optimizer, scheme=None):
        self.backend, self.loss, self.optimizer = backend, loss, optimizer
        self.scheme = scheme
        #: called when gradients are there and parameters not yet updated, or None
        self.notify = None
        served = backend.serves if scheme is None else backend.serves | scheme.serves
        check_served(loss, served, backend.consumer, backend.cure)

    def __call__(self, batch):
        scheme = self.scheme
        if scheme is None:
            value = self.gradients(batch)
        else:
            batch = scheme.batch(batch, self)
            value = scheme.gradients(batch, self)
        if self.notify is not None:
            self.notify()
        self.optimizer.step()
        if "memory" in self.loss.requires:
            observe(self.loss, self.scores, batch.target, batch.weight, self.backend.members)
        if scheme is not None:
            scheme.after_update(batch, self)
        return value

    def gradients(self, batch):
        """Fill the gradients of the loss of a batch; returns the loss."""
        value, d = self.evaluated(batch)
        self.backend.backward(d)
        return value

    def evaluated(self, batch, own=None):
        """Loss of a batch, and its gradient in the outputs of the backend, of which it may see the `own` first."""
        if self.backend.numbered:
            self.backend.rows = batch.rows
        z = self.backend.forward(batch.X)
        self.outputs, target = z, batch.target
        seen = z if own is None else z[..., :own]
        self.scores = squeeze_outputs(seen, target.code, self.backend.members)
        loss = self.loss if batch.loss is None else batch.loss
        total = float(target.code.shape[0])
        value, d = evaluate(loss, self.scores, target, batch.weight, total, self.backend)
        if own is None:
            return value, d.view(z.shape)
        whole = torch.zeros_like(z)
        whole[..., :own] = d.view(seen.shape)
        return value, whole

    def tensors(self):
        """State tensors of optimiser and backend, in a fixed order, for saving."""
        return [*self.optimizer.tensors(), *self.backend.tensors()]

    def settle(self):
        """Finish updates that were put off; called before predictions."""
        self.backend.settle()
