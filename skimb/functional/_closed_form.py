"""One autograd node for every closed form: the forward computes value and gradient together."""

import torch


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
        once()
        (grad,) = ctx.saved_tensors
        extra = grad.ndim - upstream.ndim
        return grad * upstream.reshape(upstream.shape + (1,) * extra).to(grad.dtype), None


def once():
    """Refuse a second derivative, which the constant gradient of a closed form would make zero."""
    if torch.is_grad_enabled():  # create_graph=True
        raise RuntimeError(
            "The losses of skimb are differentiable once; a second derivative through them is "
            "not available. Use grad_hess(logits, target) of the bound loss."
        )


def apply(value_and_grad, logits):
    """Make ``value_and_grad(logits) -> (value, grad)`` differentiable once.

    Half-precision logits are computed in float32, and the value is returned in float32. Everything else
    that the closed form reads is a constant and may not require a gradient.
    """
    if torch.compiler.is_compiling():  # a closed form calls kernels, which no compiler can read
        return _untraced(value_and_grad, logits)
    return _apply(value_and_grad, logits)


def _apply(value_and_grad, logits):
    untransformed()
    code = value_and_grad.__code__
    for name, cell in zip(code.co_freevars, value_and_grad.__closure__ or (), strict=True):
        constant(name, cell.cell_contents)
    return _ClosedForm.apply(logits, value_and_grad)


_untraced = torch._disable_dynamo(_apply)


def untransformed():
    """Refuse to run inside a transform of torch.func, which no closed form can be traced by."""
    if torch._C._are_functorch_transforms_active():
        raise RuntimeError(
            "The losses of skimb give value and gradient in closed form and do not run inside "
            "torch.func transforms (grad, vmap, jacrev). Call them outside, with backward(), or "
            "loss_grad of the bound loss; a leading axis of the logits serves as vmap."
        )


def constant(name, value):
    """Refuse tensors that require a gradient where a loss has none to give."""
    if torch.is_tensor(value):
        if value.requires_grad:
            raise ValueError(
                f"{name} requires a gradient, but the losses are differentiable in the logits only; "
                "detach it before the call."
            )
    elif isinstance(value, dict):
        for key, part in value.items():
            constant(key, part)
    elif isinstance(value, tuple):
        for field, part in zip(getattr(value, "_fields", (name,) * len(value)), value, strict=True):
            constant(field, part)


def poison(logits, *axes):
    """0 for logits that are all finite along axes, else NaN: losses that compare or sort lose it."""
    return (logits * 0.0).sum(axes)


def signs(target, like):
    """Turn 0/1 targets into -1/+1 in the dtype of the logits."""
    return target.to(like.dtype).mul(2.0).sub_(1.0)


def is_margin(logits, target):
    """Whether `logits` holds one logit per target entry instead of one per class."""
    return logits.ndim == target.ndim


def through_pair(closed, z, target):
    """Run a closed form for two class scores on one logit per row, class 0 at zero."""
    value, grad = closed(torch.stack([torch.zeros_like(z), z], -1), target)
    return value, grad[..., 1]
