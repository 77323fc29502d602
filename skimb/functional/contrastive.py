r"""Contrasts between embeddings in closed form: supervised, class-averaged, and between subclasses."""

import torch

from skimb.functional import _closed_form as cf

#: temperature at which the contrast within subclasses has weight 1
BASE_TEMPERATURE = 0.07


def contrast(u, mates, open_, anchor, temperature):
    r"""Weighted mean over anchors of a contrast, and its gradient in the embeddings.

    :math:`\sum_i a_i\bigl[\log\sum_je^{u_i\cdot u_j/t_i+b_{ij}}-\sum_jq_{ij}u_i\cdot u_j/t_i\bigr]`, where
    :math:`q_i` are the mates' weights divided by their sum. Anchors without mates add nothing.

    Parameters
    ----------
    u : Tensor of shape (..., n, D)
        Embeddings.
    mates : Tensor of shape (..., n, n)
        Weights q of each row's mates, not negative.
    open_ : Tensor of shape (..., n, n)
        Logarithms b of the weights in the denominator; -inf leaves a row out.
    anchor : Tensor of shape (..., n)
        Weights of anchors; those with mates count, by their share in the sum of all.
    temperature : float or Tensor of shape (..., n)
        Temperature t of each anchor.

    Returns
    -------
    Tensor of shape (...)
        Value.
    Tensor of shape (..., n, D)
        Gradient in u.
    """
    t = torch.as_tensor(temperature, dtype=u.dtype, device=u.device).unsqueeze(-1)
    s = u @ u.transpose(-1, -2) / t
    total = mates.sum(-1, keepdim=True)
    share = mates / torch.where(total > 0, total, torch.ones_like(total))
    open_ = s + open_
    top = torch.logsumexp(open_, -1, keepdim=True)
    top = torch.where(top > -torch.inf, top, torch.zeros_like(top))
    rows = top.squeeze(-1) - (share * s).sum(-1)
    part = anchor * (total.squeeze(-1) > 0) / anchor.sum(-1, keepdim=True).clamp_min(1e-30)
    pull = (torch.exp(open_ - top) - share) * (part.unsqueeze(-1) / t)
    return (rows * part).sum(-1), (pull + pull.transpose(-1, -2)) @ u


def directions(features):
    """Embeddings divided by their lengths, and the lengths (..., n, 1)."""
    length = features.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return features / length, length


def through_directions(u, length, d_u):
    """The gradient in embeddings from the one in their directions."""
    return (d_u - u * (u * d_u).sum(-1, keepdim=True)) / length


def used_weights(weight, u):
    """Weights of mean 1 over the rows that have any; ones for None."""
    if weight is None:
        return torch.ones_like(u[..., 0])
    w = weight.to(u).expand_as(u[..., 0])
    used = (w > 0).to(u.dtype)
    return w * used.sum(-1, keepdim=True) / w.sum(-1, keepdim=True).clamp_min(1e-30)


def contrastive_loss(features, target, weight, *, temperature, class_averaged=False):
    """Loss (...) and gradient (..., n, D) of embeddings (..., n, D), normalised to length one here.

    With `class_averaged` each class counts alike in the denominator, whichever its weight in the batch.
    """
    n = features.shape[-2]
    if n == 0:
        return features.new_zeros(features.shape[:-2]), torch.zeros_like(features)
    u, length = directions(features)
    w = used_weights(weight, u)
    alone = torch.eye(n, dtype=torch.bool, device=u.device)
    same = target.unsqueeze(-1) == target.unsqueeze(-2)
    mates = (same & ~alone).to(u.dtype) * w.unsqueeze(-2)
    open_ = w.log().unsqueeze(-2).masked_fill(alone, -torch.inf)
    if class_averaged:
        mass = (same.to(u.dtype) * w.unsqueeze(-2)).sum(-1)
        open_ = open_ - mass.clamp_min(1e-30).log().unsqueeze(-2)
    value, d_u = contrast(u, mates, open_, w, temperature)
    return value, through_directions(u, length, d_u)


def subclass_contrastive_loss(
    features, target, subclass, row, weight, *, temperature, class_temperature, class_contrast
):
    """Loss (...) and gradient of the contrast within subclasses and between those of a class.

    See `subclass_contrastive`; `class_temperature` is one number per row.
    """
    n = features.shape[-2]
    if n == 0:
        return features.new_zeros(features.shape[:-2]), torch.zeros_like(features)
    u, length = directions(features)
    w = used_weights(weight, u)
    alone = torch.eye(n, dtype=torch.bool, device=u.device)

    def equal(numbers):
        return numbers.unsqueeze(-1) == numbers.unsqueeze(-2)

    group, view = equal(subclass), equal(row) & ~alone
    logs, weights = w.log().unsqueeze(-2), w.unsqueeze(-2)
    first, d_first = contrast(
        u, (group & ~alone) * weights, logs.masked_fill(alone, -torch.inf), w, temperature
    )
    mates = (equal(target) & ~group) | view
    opened = ~group | view
    second, d_second = contrast(
        u, mates * weights, logs.masked_fill(~opened, -torch.inf), w, class_temperature
    )
    scale = temperature / BASE_TEMPERATURE
    d_u = scale * d_first + class_contrast * d_second
    return scale * first + class_contrast * second, through_directions(u, length, d_u)


def supervised_contrastive(features, target, *, temperature=0.07, sample_weight=None):
    r"""Supervised contrastive loss (arXiv 2004.11362).

    :math:`\frac1n\sum_i\frac{-1}{|P(i)|}\sum_{p\in P(i)}\log\frac{e^{s_{ip}}}{\sum_{a\ne i}e^{s_{ia}}}` with
    :math:`s_{ia}=u_i\cdot u_a/T` and embeddings u of length one.

    Parameters
    ----------
    features : Tensor of shape (..., n, D)
        Embeddings; they are divided by their lengths.
    target : Tensor of shape (..., n)
        Class indices. Rows without a mate in the batch add nothing.
    temperature : float, default=0.07
        Temperature T, positive.
    sample_weight : Tensor of shape (..., n), default=None
        Row weights, of anchors and of their contrasts.

    Returns
    -------
    Tensor of shape (...)
        Loss.
    """
    return cf.apply(
        lambda z: contrastive_loss(z, target, sample_weight, temperature=temperature), features
    )


def balanced_contrastive(features, target, *, temperature=0.1, sample_weight=None):
    r"""Supervised contrastive loss in which each class counts alike among the contrasts (CVPR 2022).

    .. math:: \frac1n\sum_i\frac{-1}{|P(i)|}\sum_{p\in P(i)}
        \log\frac{e^{s_{ip}}}{\sum_k\frac1{|B_k|}\sum_{a\in B_k,a\ne i}e^{s_{ia}}}

    with the rows :math:`B_k` of class k in the batch: the class averaging of Zhu et al. 2022, arXiv:2207.09052,
    without the learned prototypes that stand for absent classes there.

    Parameters
    ----------
    features : Tensor of shape (..., n, D)
        Embeddings; they are divided by their lengths.
    target : Tensor of shape (..., n)
        Class indices. Rows without a mate in the batch add nothing.
    temperature : float, default=0.1
        Temperature, positive.
    sample_weight : Tensor of shape (..., n), default=None
        Row weights, of anchors and of their contrasts.

    Returns
    -------
    Tensor of shape (...)
        Loss.
    """

    def closed(z):
        return contrastive_loss(
            z, target, sample_weight, temperature=temperature, class_averaged=True
        )

    return cf.apply(closed, features)


def subclass_contrastive(
    features,
    target,
    subclass,
    row,
    *,
    temperature=0.1,
    class_temperature=None,
    class_contrast=0.25,
    sample_weight=None,
):
    r"""Contrast of rows within subclasses and of the subclasses of a class (arXiv 2306.15925).

    :math:`\frac{T}{0.07}L_1+\gamma L_2`. The first term is the supervised contrastive loss of the subclasses at
    temperature T. In the second one the mates of a row are those of other subclasses of its class and its own other
    views, and these stand against the rows of all other subclasses, at the temperature of the class.

    Parameters
    ----------
    features : Tensor of shape (..., n, D)
        Embeddings; they are divided by their lengths.
    target : Tensor of shape (..., n)
        Class indices.
    subclass : Tensor of shape (..., n)
        Numbers of subclasses, which lie within classes.
    row : Tensor of shape (..., n)
        Which views belong to one row: equal numbers.
    temperature : float, default=0.1
        Temperature T of the first term, positive.
    class_temperature : Tensor of shape (..., n), default=None
        Temperature of each row's class in the second term; None is T.
    class_contrast : float, default=0.25
        Weight :math:`\gamma` of the second term.
    sample_weight : Tensor of shape (..., n), default=None
        Row weights, of anchors and of their contrasts.

    Returns
    -------
    Tensor of shape (...)
        Loss.
    """
    own = temperature if class_temperature is None else class_temperature

    def closed(z):
        return subclass_contrastive_loss(
            z,
            target,
            subclass,
            row,
            sample_weight,
            temperature=temperature,
            class_temperature=own,
            class_contrast=class_contrast,
        )

    return cf.apply(closed, features)
