"""Piecewise linear embeddings of columns by look-ups, for many nets at once, and their gradients."""

import torch

from skimb.functional._places import add_rows


def refuse_bins(bins, height):
    """Raise for bins outside of the tables."""
    raise IndexError(
        f"bins between {int(bins.min())} and {int(bins.max())} do not fit tables of {height} rows."
    )


def places(bins, height):
    """Numbers (nets, n, columns) as places (nets * columns * n,) in tables of `height` rows, column by column."""
    bins = bins.transpose(1, 2)
    if len(bins) > 1:
        offset = torch.arange(len(bins), device=bins.device) * height
        bins = bins + offset.view(-1, 1, 1)
    return bins.reshape(-1).long()


def sums(d, at, shape):
    """Sums of rows of gradients (n, width) by place, of the shape (nets, ..., width) of tables."""
    total = d.new_zeros(shape).view(-1, shape[-1])
    return add_rows(total, at, d).view(shape)


def piecewise_rows(V, w, b, starts, spans, bins, fractions):
    """Embedded columns.

    In bin j, which starts at s and spans r, a value is x = s + r t with a fraction t, and its embedding is
    ``(s w + b + V_1 + ... + V_{j-1}) + t (r w + V_j)``. Bin 0 stands for a missing value, and V_0 enters no other.

    Parameters
    ----------
    V : Tensor of shape (nets, columns, m, e)
        Steps of each bin.
    w, b : Tensor of shape (nets, columns, e)
        Lines.
    starts, spans : Tensor of shape (nets, columns, m)
        Where bins start and how far they reach.
    bins : Tensor of int, shape (nets, n, columns)
        Bins of the rows, m higher for each further column.
    fractions : Tensor of shape (nets, n, columns)
        How far they have come in their bins.

    Returns
    -------
    Tensor of shape (nets, columns, n, e)
        The embeddings.
    """
    e = V.shape[-1]
    table = V.new_empty(*V.shape[:-1], 2 * e)
    start, rise = table[..., :e], table[..., e:]
    torch.mul(starts.unsqueeze(-1), w.unsqueeze(2), out=start).add_(b.unsqueeze(2))
    start[:, :, 2:].add_(V[:, :, 1:-1].cumsum(2))
    torch.addcmul(V, spans.unsqueeze(-1), w.unsqueeze(2), out=rise)
    at = places(bins, V[0, ..., 0].numel())
    rows = table.view(-1, 2 * e).index_select(0, at)
    t = fractions.transpose(1, 2).reshape(-1, 1)
    return torch.addcmul(rows[:, :e], t, rows[:, e:]).view(*V.shape[:2], -1, e)


def piecewise_grads(d, starts, spans, bins, fractions, gV, gw, gb):
    """Gradients behind :func:`piecewise_rows`, written into given tensors.

    Parameters
    ----------
    d : Tensor of shape (nets, columns, n, e)
        Gradient in the embeddings.
    starts, spans : Tensor of shape (nets, columns, m)
        Where bins start and how far they reach.
    bins : Tensor of int, shape (nets, n, columns)
        Bins of the rows.
    fractions : Tensor of shape (nets, n, columns)
        How far they have come in their bins.
    gV : Tensor of shape (nets, columns, m, e)
        Receives the gradient in the steps.
    gw, gb : Tensor of shape (nets, columns, e)
        Receive those in the lines.

    Returns
    -------
    Tensor
        `gV`.
    """
    e = d.shape[-1]
    d = d.reshape(-1, e)
    t = fractions.transpose(1, 2).reshape(-1, 1)
    both = torch.cat([d, d * t], 1)
    found = sums(both, places(bins, gV[0, ..., 0].numel()), (*gV.shape[:-1], 2 * e))
    start, rise = found[..., :e], found[..., e:]
    gb.copy_(start.sum(2))
    gw.copy_((start * starts.unsqueeze(-1)).add_(rise * spans.unsqueeze(-1)).sum(2))
    above = start.flip(2).cumsum(2).flip(2)
    gV.copy_(rise)
    gV[:, :, 1:-1].add_(above[:, :, 2:])
    return gV
