"""First layers of nets on columns that are looked up in tables: numbers in bins, categories by their codes."""

from typing import NamedTuple

import torch

from skimb.functional._columns import mixed_columns, mixed_columns_grads
from skimb.functional._piecewise import piecewise_grads, piecewise_rows, places, sums


class BinColumns(NamedTuple):
    """Numeric columns in bins, see :func:`skimb.functional._piecewise.piecewise_rows`.

    Parameters
    ----------
    steps : Tensor of shape (nets, columns, m, e)
        Steps of each bin.
    slope, level : Tensor of shape (nets, columns, e)
        Lines.
    weights : Tensor of shape (nets, columns, e, h)
        Of the first layer.
    starts, spans : Tensor of shape (nets, columns, m)
        Where bins start and how far they reach.
    bins : Tensor of int, shape (nets, n, columns)
        Bins of the rows, m higher for each further column.
    fractions : Tensor of shape (nets, n, columns)
        How far they have come in their bins.
    """

    steps: torch.Tensor
    slope: torch.Tensor
    level: torch.Tensor
    weights: torch.Tensor
    starts: torch.Tensor
    spans: torch.Tensor
    bins: torch.Tensor
    fractions: torch.Tensor


class CodeColumns(NamedTuple):
    """Columns of categories.

    Parameters
    ----------
    table : Tensor of shape (nets, height, e)
        Embeddings of all codes.
    weights : Tensor of shape (nets, columns, e, h)
        Of the first layer.
    codes : Tensor of int, shape (nets, n, columns)
        Rows of the table.
    """

    table: torch.Tensor
    weights: torch.Tensor
    codes: torch.Tensor


def code_rows(table, at, columns):
    """Embedded columns (nets, columns, n, e) from the `places` of their codes in the tables of nets."""
    rows = table.reshape(-1, table.shape[-1]).index_select(0, at)
    return rows.view(len(table), columns, -1, table.shape[-1])


def code_grads(d, at, gtable):
    """Gradient behind :func:`code_rows`, written into a given tensor."""
    gtable.copy_(sums(d.reshape(-1, d.shape[-1]), at, gtable.shape))


def _embedded(bins, codes):
    E = []
    if bins is not None:
        edges = bins.starts, bins.spans, bins.bins, bins.fractions
        E.append(piecewise_rows(bins.steps, bins.slope, bins.level, *edges))
    if codes is not None:
        at = places(codes.codes, codes.table.shape[1])
        E.append(code_rows(codes.table, at, codes.codes.shape[2]))
    return E, [kind.weights for kind in (bins, codes) if kind is not None]


def table_columns(P, R, bins, codes, bias=None, relu=False):
    """Sums over columns of their products with their own weights, with the scales of each member.

    It is :func:`skimb.functional._columns.mixed_columns` of the embedded columns.

    Parameters
    ----------
    P : Tensor of shape (nets, columns, n, h)
        Receives the products; columns may have gaps between them.
    R : Tensor of shape (nets, members, columns)
        Scales.
    bins : BinColumns or None
        The first columns.
    codes : CodeColumns or None
        Those behind them.
    bias : Tensor of shape (nets, 1, h), default=None
        Added to the sums of each member.
    relu : bool, default=False
        Whether negative sums become 0.

    Returns
    -------
    Tensor of shape (nets, members, n, h)
        The sums.
    """
    return mixed_columns(P, R, *_embedded(bins, codes), bias, relu)


def table_columns_grads(d, P, R, bins, codes, gR, gbins, gcodes):
    """Gradients behind :func:`table_columns`, written into given tensors.

    Parameters
    ----------
    d : Tensor of shape (nets, members, n, h)
        Gradient in the sums.
    P, R, bins, codes
        As there.
    gR : Tensor like `R`, or None
        Receives the gradient in the scales.
    gbins : tuple of Tensor, or None
        Receive those in steps, slope, level and weights.
    gcodes : tuple of Tensor, or None
        Receive those in table and weights.

    Returns
    -------
    Tensor
        `d`.
    """
    E, W = _embedded(bins, codes)
    dE = [torch.empty_like(own) for own in E]
    gW = [grads[-1] for grads in (gbins, gcodes) if grads is not None]
    mixed_columns_grads(d, P, R, E, W, gR, gW, dE)
    if bins is not None:
        edges = bins.starts, bins.spans, bins.bins, bins.fractions
        piecewise_grads(dE[0], *edges, *gbins[:3])
    if codes is not None:
        code_grads(dE[-1], places(codes.codes, codes.table.shape[1]), gcodes[0])
    return d
