"""The Triton kernels as torch operators: launch, shapes for tracing, derivative.

Operators take contiguous tensors and return the loss with its gradient; the derivative of the loss
output is that gradient, and there is no second derivative.
"""

from contextlib import nullcontext

import torch
import triton

from skimb.functional import _targets
from skimb.functional._closed_form import once
from skimb.kernels.triton import confusion, elementwise, pairs, softmax


def _on(z):
    return torch.cuda.device(z.device) if z.is_cuda else nullcontext()


def _check(name, like, shapes, **tensors):
    """Refuse tensors that a kernel would read past their ends or on another device."""
    for argument, tensor in tensors.items():
        if tensor is None:
            continue
        if tensor.device != like.device or not tensor.is_contiguous():
            raise ValueError(f"{name}: {argument} must be contiguous and on {like.device}.")
        if tuple(tensor.shape) not in shapes:
            wanted = " or ".join(map(str, shapes))
            raise ValueError(
                f"{name}: {argument} must have shape {wanted}, got {tuple(tensor.shape)}."
            )


def _or(tensor, like):
    """A stand-in pointer for an argument that is not there."""
    return like if tensor is None else tensor


def _step(tensor, width):
    """Stride between members of a parameter (width,) or (members, width)."""
    return width if tensor is not None and tensor.ndim > 1 and tensor.shape[0] > 1 else 0


@torch.library.custom_op("skimb::softmax_rows", mutates_args=())
def softmax_rows(
    z: torch.Tensor,
    y: torch.Tensor,
    param: torch.Tensor,
    mult: torch.Tensor | None,
    bias: torch.Tensor | None,
    margin: torch.Tensor | None,
    scale: float,
    factor: float,
    shape: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses (..., n) and gradients (..., n, C); parameters (members,), others (C,) or (members, C)."""
    width, members = z.shape[-1], z.shape[:-2].numel()
    n = y.numel()
    _check("softmax_rows", z, [tuple(z.shape)], z=z)
    _check("softmax_rows", z, [tuple(z.shape[:-1])], y=y)
    _check("softmax_rows", z, [(1,), (members,)], param=param)
    _check("softmax_rows", z, [(width,), (members, width)], mult=mult, bias=bias, margin=margin)
    y = _targets.class_indices(y, z)
    loss = torch.empty(y.shape, dtype=torch.float32, device=z.device)
    grad = torch.empty_like(z)
    if n == 0:
        return loss, grad
    cfg = softmax.config(width)
    with _on(z):
        softmax.softmax_kernel[(triton.cdiv(n, cfg["BLOCK_N"]),)](
            z, y, loss, grad, param, _or(mult, z), _or(bias, z), _or(margin, z),
            n, max(1, n // max(1, z.shape[:-2].numel())), scale, factor,
            1 if param.numel() > 1 else 0,
            _step(mult, width), _step(bias, width), _step(margin, width),
            C=width, SHAPE=shape, HAS_MULT=mult is not None, HAS_BIAS=bias is not None,
            HAS_MARGIN=margin is not None, **cfg,
        )  # fmt: skip
    return loss, grad


@softmax_rows.register_fake
def _(z, y, param, mult, bias, margin, scale, factor, shape):
    return torch.empty(y.shape, dtype=torch.float32, device=z.device), torch.empty_like(z)


@torch.library.custom_op("skimb::margin_rows", mutates_args=())
def margin_rows(
    z: torch.Tensor,
    sign: torch.Tensor,
    param: torch.Tensor,
    mult: float,
    offset: float,
    m0: float,
    m1: float,
    factor: float,
    shape: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses and gradients of one logit per entry, signs alike; parameters (members,)."""
    n = z.numel()
    _check("margin_rows", z, [tuple(z.shape)], z=z, sign=sign)
    _check("margin_rows", z, [(1,), *([tuple(z.shape[:1])] if z.ndim > 1 else [])], param=param)
    loss = torch.empty(z.shape, dtype=torch.float32, device=z.device)
    grad = torch.empty_like(z)
    if n == 0:
        return loss, grad
    block = elementwise.BLOCK
    with _on(z):
        elementwise.margin_kernel[(triton.cdiv(n, block),)](
            z, sign, loss, grad, param, n, max(1, n // param.numel()),
            1 if param.numel() > 1 else 0, mult, offset, m0, m1, factor, SHAPE=shape, BLOCK=block,
        )  # fmt: skip
    return loss, grad


@margin_rows.register_fake
def _(z, sign, param, mult, offset, m0, m1, factor, shape):
    return torch.empty(z.shape, dtype=torch.float32, device=z.device), torch.empty_like(z)


@torch.library.custom_op("skimb::asymmetric", mutates_args=())
def asymmetric(
    z: torch.Tensor,
    target: torch.Tensor,
    positives: torch.Tensor | None,
    gamma_neg: float,
    gamma_pos: float,
    clip: float,
    factor: float,
    by_label: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses by label (n, L), or row sums (n,), and gradients (n, L).

    `target` is dense (n, L), positive above 0; or class indices (n,); or, with `positives` (column
    numbers, int64), the row pointers (n + 1,) of a CSR matrix of positives.
    """
    n, width = z.shape
    shape = (n, width) if by_label else (n,)
    loss = torch.empty(shape, dtype=torch.float32, device=z.device)
    grad = torch.empty_like(z)
    if z.numel() == 0:
        return loss.zero_(), grad
    kind = 2 if positives is not None else 0 if target.ndim == 2 else 1
    _check("asymmetric", z, [(n, width)], z=z)
    if kind == 0:
        _check("asymmetric", z, [(n, width)], target=target)
    elif kind == 1:
        target = _targets.class_indices(target, z).contiguous()
    else:
        positives = _column_numbers(target, positives, z)
    block_l = min(1024, triton.next_power_of_2(width))
    block_n = max(1, min(64, 1024 // block_l))
    with _on(z):
        elementwise.asymmetric_kernel[(triton.cdiv(n, block_n),)](
            z, target, loss, grad, n, gamma_neg, gamma_pos, clip, factor,
            L=width, BLOCK_N=block_n, BLOCK_L=block_l, CHUNKS=triton.cdiv(width, block_l),
            TARGET=kind, CLIP=clip > 0.0, BY_LABEL=by_label,
        )  # fmt: skip
        if positives is not None and positives.numel():
            lengths = target.diff()
            rows = torch.repeat_interleave(torch.arange(n, device=z.device), lengths)
            delta = torch.empty(positives.numel(), dtype=torch.float32, device=z.device)
            block = 256
            elementwise.mend_kernel[(triton.cdiv(len(rows), block),)](
                z, rows, positives, delta, grad, len(rows), gamma_neg, gamma_pos, clip, factor,
                L=width, BLOCK=block, CLIP=clip > 0.0,
            )  # fmt: skip
            if by_label:
                loss[rows, positives] += delta
            else:  # sums of segments, in order: no atomics
                loss += torch.segment_reduce(delta, "sum", lengths=lengths, initial=0.0)
    return loss, grad


def _column_numbers(pointers, positives, z):
    """Column numbers of a CSR matrix of positives, checked with its row pointers."""
    n, width = z.shape
    _check("asymmetric", z, [(n + 1,)], target=pointers)
    _check("asymmetric", z, [(positives.numel(),)], positives=positives)
    ends = torch.stack([pointers[0], pointers[-1], pointers.diff().amin()]).tolist()
    if ends[0] != 0 or ends[1] != positives.numel() or ends[2] < 0:
        raise ValueError(
            f"Row pointers must rise from 0 to the number of positives, {positives.numel()}; got "
            f"{ends[0]} to {ends[1]} with a least step of {ends[2]}."
        )
    if positives.numel():
        low, high = torch.aminmax(positives)
        if int(low) < 0 or int(high) >= width:
            _targets.refuse_classes(positives, width)
    return positives.long()


@asymmetric.register_fake
def _(z, target, positives, gamma_neg, gamma_pos, clip, factor, by_label):
    shape = z.shape if by_label else z.shape[:1]
    return torch.empty(shape, dtype=torch.float32, device=z.device), torch.empty_like(z)


@torch.library.custom_op("skimb::confusion_counts", mutates_args=())
def confusion_counts(
    z: torch.Tensor,
    sign: torch.Tensor,
    weight: torch.Tensor | None,
    sharpness: float,
    shift: float,
) -> torch.Tensor:
    """Soft true and false positives and both class weights (members, 4) of scores (members, n)."""
    members, n = z.shape
    _check("confusion_counts", z, [(members, n)], z=z, sign=sign, weight=weight)
    blocks = max(1, triton.cdiv(n, confusion.BLOCK))
    parts = torch.zeros(members, 4, blocks, dtype=torch.float32, device=z.device)
    if n and members:
        with _on(z):
            confusion.counts_kernel[(blocks, members)](
                z, sign, _or(weight, z), parts, n, blocks, sharpness, shift,
                WEIGHTED=weight is not None, BLOCK=confusion.BLOCK,
            )  # fmt: skip
    return parts.double().sum(-1)


@confusion_counts.register_fake
def _(z, sign, weight, sharpness, shift):
    return torch.empty(z.shape[0], 4, dtype=torch.float64, device=z.device)


@torch.library.custom_op("skimb::confusion_grad", mutates_args=())
def confusion_grad(
    z: torch.Tensor,
    sign: torch.Tensor,
    weight: torch.Tensor | None,
    slopes: torch.Tensor,
    sharpness: float,
    shift: float,
) -> torch.Tensor:
    """Gradient (members, n) from the derivatives (members, 2) of a metric in both sums."""
    members, n = z.shape
    _check("confusion_grad", z, [(members, n)], z=z, sign=sign, weight=weight)
    _check("confusion_grad", z, [(members, 2)], slopes=slopes.contiguous())
    grad = torch.empty_like(z)
    if n and members:
        with _on(z):
            confusion.counts_grad_kernel[(triton.cdiv(n, confusion.BLOCK), members)](
                z, sign, _or(weight, z), slopes.float().contiguous(), grad, n, sharpness, shift,
                WEIGHTED=weight is not None, BLOCK=confusion.BLOCK,
            )  # fmt: skip
    return grad


@confusion_grad.register_fake
def _(z, sign, weight, slopes, sharpness, shift):
    return torch.empty_like(z)


@torch.library.custom_op("skimb::pair_logistic", mutates_args=())
def pair_logistic(
    sp: torch.Tensor, sn: torch.Tensor, wp: torch.Tensor, wn: torch.Tensor, tau: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean logistic loss of pairs and its gradients in positive and negative scores, all 1-D."""
    _check("pair_logistic", sp, [(sp.numel(),)], sp=sp, wp=wp)
    _check("pair_logistic", sp, [(sn.numel(),)], sn=sn, wn=wn)
    rows = torch.zeros(sp.shape, dtype=torch.float32, device=sp.device)
    gp, gn = torch.zeros_like(sp), torch.zeros_like(sn)
    if sp.numel() and sn.numel():
        block = pairs.BLOCK
        with _on(sp):
            pairs.pair_kernel[(triton.cdiv(len(sp), block),)](
                sp,
                wp,
                sn,
                wn,
                rows,
                gp,
                len(sp),
                len(sn),
                1.0 / tau,
                1,
                BLOCK=block,
                STEP=pairs.STEP,
            )
            pairs.pair_kernel[(triton.cdiv(len(sn), block),)](
                sn,
                wn,
                sp,
                wp,
                rows,
                gn,
                len(sn),
                len(sp),
                1.0 / tau,
                -1,
                BLOCK=block,
                STEP=pairs.STEP,
            )
    return rows.sum(), gp, gn


@pair_logistic.register_fake
def _(sp, sn, wp, wn, tau):
    scalar = torch.empty((), dtype=torch.float32, device=sp.device)
    return scalar, torch.empty_like(sp), torch.empty_like(sn)


def _derivable(op, n_inputs):
    """Give an operator (loss, gradient) its derivative in the first input."""

    def keep(ctx, inputs, output):
        ctx.save_for_backward(output[1])
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)

    def backward(ctx, d_loss, _):
        once()
        (grad,) = ctx.saved_tensors
        if d_loss is None:
            return (None,) * n_inputs
        extra = grad.ndim - d_loss.ndim
        d = grad * d_loss.reshape(d_loss.shape + (1,) * extra).to(grad.dtype)
        return (d, *(None,) * (n_inputs - 1))

    op.register_autograd(backward, setup_context=keep)


_derivable(softmax_rows, 9)
_derivable(margin_rows, 9)
_derivable(asymmetric, 8)
