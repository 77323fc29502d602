"""Targets of regression over bins, in units of bins: bin b of K lies between b and b + 1."""

import torch


def histogram_targets(position, n_bins, *, kind, sigma):
    r"""Probabilities of bins that stand for target values.

    Parameters
    ----------
    position : Tensor of shape (...)
        Target values in units of bins, in [0, K].
    n_bins : int
        Number of bins K.
    kind : {"gauss", "two-hot", "one-hot"}
        A Gaussian cut at the ends of the support, a linear split between the two nearest centres, or the bin of the
        value.
    sigma : float
        Standard deviation of the Gaussian, in bins.

    Returns
    -------
    Tensor of shape (..., K)
        Probabilities, which sum to 1.
    """
    u = position.unsqueeze(-1)
    if kind == "gauss":
        edges = (torch.arange(n_bins + 1, dtype=u.dtype, device=u.device) - u) / sigma
        low, high = edges[..., :-1], edges[..., 1:]
        # above the value from the upper tails, which keep their digits
        above = low > 0
        first, last = torch.where(above, -high, low), torch.where(above, -low, high)
        mass = torch.special.ndtr(last) - torch.special.ndtr(first)
        return mass / mass.sum(-1, keepdim=True)
    if kind == "one-hot":
        at = u.floor().clamp(0, n_bins - 1).long()
        return torch.zeros(*position.shape, n_bins, dtype=u.dtype, device=u.device).scatter_(
            -1, at, 1.0
        )
    centres = torch.arange(n_bins, dtype=u.dtype, device=u.device) + 0.5
    return (1.0 - (u.clamp(0.5, n_bins - 0.5) - centres).abs()).clamp_min(0.0)
