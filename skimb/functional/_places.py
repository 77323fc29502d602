"""Sums by place that come out the same each time, on every device."""

import torch


def add_rows(total, at, rows):
    """Add rows (n, width) to the rows `at` of a tensor, which is returned.

    ``index_add_`` on CUDA adds in the order in which its threads come, and so rounds otherwise each time;
    ``index_put_`` sorts the places first.
    """
    if total.is_cuda:
        return total.index_put_((at,), rows, accumulate=True)
    return total.index_add_(0, at, rows)


def add_entries(total, at, values):
    """Add values (..., n) at places `at` of the last axis of a tensor (..., size), which is returned."""
    if not total.is_cuda:
        return total.scatter_add_(-1, at, values)
    size = total.shape[-1]
    first = torch.arange(total.numel() // size, device=at.device) * size
    flat = (at.reshape(-1, at.shape[-1]) + first[:, None]).view(-1)
    total.view(-1).index_put_((flat,), values.reshape(-1), accumulate=True)
    return total
