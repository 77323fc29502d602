"""Products of nets whose columns share a first layer: each with its own weights, mixed by members, and back."""

import torch


def product(a, b, out, bias=None, relu=False, mask=None):
    """Batched product into a tensor that may have gaps, with what follows a layer's.

    Parameters
    ----------
    a : Tensor of shape (nets, m, k)
        Left matrices.
    b : Tensor of shape (nets, k, n)
        Right matrices.
    out : Tensor of shape (nets, m, n)
        Receives the products; its type may be longer than theirs.
    bias : Tensor of shape (nets, n), default=None
        Added to each row.
    relu : bool, default=False
        Whether negative numbers become 0.
    mask : Tensor like `out`, default=None
        Where it is not above 0, neither are the products.

    Returns
    -------
    Tensor
        `out`.
    """
    if out.is_contiguous() and out.dtype == a.dtype:
        torch.bmm(a, b, out=out)
    else:
        out.copy_(torch.bmm(a, b))
    if bias is not None:
        out.add_(bias.unsqueeze(1))
    if relu:
        out.relu_()
    if mask is not None:
        torch.ops.aten.threshold_backward.grad_input(out, mask, 0, grad_input=out)
    return out


def _each_column(x):
    return x.reshape(-1, *x.shape[2:])


def mixed_columns(P, R, E, W, bias=None, relu=False):
    """Sums over columns of their products with their own weights, with the scales of each member.

    With E_f the embedded column f, its product P_f = E_f W_f is made once for all members, whose sums are
    R_k1 P_1 + R_k2 P_2 + ...

    Parameters
    ----------
    P : Tensor of shape (nets, columns, n, h)
        Receives the products; columns may have gaps between them.
    R : Tensor of shape (nets, members, columns)
        Scales.
    E : list of Tensor of shape (nets, columns of a kind, n, e)
        Embedded columns of each kind, in the order of those of `P`.
    W : list of Tensor of shape (nets, columns of a kind, e, h)
        Their weights.
    bias : Tensor of shape (nets, 1, h), default=None
        Added to the sums of each member.
    relu : bool, default=False
        Whether negative sums become 0.

    Returns
    -------
    Tensor of shape (nets, members, n, h)
        The sums.
    """
    at = 0
    for own, weights in zip(E, W, strict=True):
        found = torch.bmm(_each_column(own), _each_column(weights))
        P[:, at : at + own.shape[1]] = found.view(*own.shape[:3], -1)
        at += own.shape[1]
    found = torch.bmm(R, P.flatten(2)).view(*R.shape[:2], *P.shape[2:])
    if bias is not None:
        found.add_(bias.unsqueeze(2))
    return found.relu_() if relu else found


def mixed_columns_grads(d, P, R, E, W, gR, gW, dE):
    """Gradients behind :func:`mixed_columns`, written into given tensors.

    Parameters
    ----------
    d : Tensor of shape (nets, members, n, h)
        Gradient in the sums.
    P, R, E, W
        As there.
    gR : Tensor like `R`, or None
        Receives the gradient in the scales.
    gW : list of Tensor like those of `W`
        Receive those in the weights.
    dE : list of (Tensor like those of `E`, or None)
        Receive those in the embedded columns.

    Returns
    -------
    Tensor
        `d`.
    """
    wide = d.flatten(2)
    if gR is not None:
        gR.copy_(torch.bmm(wide, P.flatten(2).transpose(1, 2)))
    dP = torch.bmm(R.transpose(1, 2), wide).view(P.shape)
    at = 0
    for own, weights, grad, down in zip(E, W, gW, dE, strict=True):
        part = _each_column(dP[:, at : at + own.shape[1]])
        grad.copy_(torch.bmm(_each_column(own).transpose(1, 2), part).view(grad.shape))
        if down is not None:
            found = torch.bmm(part, _each_column(weights).transpose(1, 2))
            down.copy_(found.view(down.shape))
        at += own.shape[1]
    return d
