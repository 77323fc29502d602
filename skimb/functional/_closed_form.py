"""One autograd node for every closed form: the forward computes value and gradient together."""

import torch

from skimb.functional import _targets


class _ClosedForm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, value_and_grad):
        low = logits.dtype in (torch.float16, torch.bfloat16)
        value, grad = value_and_grad(logits.float() if low else logits)
        if low:
            bound = torch.finfo(logits.dtype).max
            grad = grad.clamp(-bound, bound).to(logits.dtype)
        ctx.save_for_backward(grad)
        return value

    @staticmethod
    def backward(ctx, upstream):
        if torch.is_grad_enabled():  # create_graph=True: the saved gradient would be a constant
            raise RuntimeError(
                "The losses of skimb are differentiable once; a second derivative through them is "
                "not available. Use grad_hess(logits, target) of the bound loss."
            )
        (grad,) = ctx.saved_tensors
        extra = grad.ndim - upstream.ndim
        return grad * upstream.reshape(upstream.shape + (1,) * extra).to(grad.dtype), None


def apply(value_and_grad, logits):
    """Make ``value_and_grad(logits) -> (value, grad)`` differentiable once.

    Half-precision logits are computed in float32, and the value is returned in float32.
    """
    return _ClosedForm.apply(logits, value_and_grad)


def signs(target, like):
    """Turn 0/1 targets into -1/+1 in the dtype of the logits."""
    return _targets.binary(target, like).to(like.dtype).mul(2.0).sub_(1.0)


def is_margin(logits, target):
    """Whether `logits` holds one logit per target entry instead of one per class."""
    return logits.ndim == target.ndim


def through_pair(closed, z, target):
    """Run a closed form for two class scores on one logit per row, class 0 at zero."""
    value, grad = closed(torch.stack([torch.zeros_like(z), z], -1), target)
    return value, grad[..., 1]
