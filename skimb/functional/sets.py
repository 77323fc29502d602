"""Losses of sets of labels: slots matched to labels, and transport between them."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from skimb.functional import _closed_form as cf


def slots_of_labels(p, positive):
    """Class of each slot under the matching of labels to slots that has the largest sum of probabilities.

    Parameters
    ----------
    p : ndarray of shape (n, n_slots, L + 1)
        Probabilities of each slot; the last one is that of no label.
    positive : ndarray of bool, shape (n, L)
        Labels of each row.

    Returns
    -------
    ndarray of int, shape (n, n_slots)
        Numbers of labels, L for no label. Of more labels than slots the best are matched.
    """
    n, n_slots, width = p.shape
    code = np.full((n, n_slots), width - 1)
    rows, labels = np.nonzero(positive)
    ends = np.searchsorted(rows, np.arange(n + 1))
    for i in np.unique(rows):
        own = labels[ends[i] : ends[i + 1]]
        slots, at = linear_sum_assignment(p[i][:, own], maximize=True)
        code[i, slots] = own[at]
    return code


def matching_rows(z, positive, weight, empty_weight):
    """Mean loss (...) of matched slots and its gradient, of scores (..., n, n_slots, L + 1)."""
    log_p = torch.log_softmax(z, -1)
    p = log_p.exp()
    found = slots_of_labels(p.flatten(0, -3).cpu().numpy(), positive.flatten(0, -2).cpu().numpy())
    code = torch.from_numpy(found).to(z.device).view(z.shape[:-1])
    w = torch.ones_like(z[..., 0]).masked_fill_(code == z.shape[-1] - 1, empty_weight)
    if weight is not None:
        w = w * weight.unsqueeze(-1)
    total = w.sum((-1, -2), keepdim=True)
    w = w / torch.where(total > 0, total, torch.ones_like(total))
    loss = -(log_p.gather(-1, code.unsqueeze(-1)).squeeze(-1) * w).sum((-1, -2))
    grad = p.scatter_add(-1, code.unsqueeze(-1), torch.full_like(w, -1.0).unsqueeze(-1))
    return loss, grad * w.unsqueeze(-1)


def set_matching(logits, target, *, empty_weight=0.2, sample_weight=None):
    r"""Cross-entropy of slots that are matched to the labels of a row, whatever their order (OTSeq2Set).

    :math:`\sum_{im}w_{\tau_{im}}(-\log p_{im\tau_{im}})/\sum_{im}w_{\tau_{im}}`, where the matching :math:`\tau`
    of labels to slots has the largest sum of probabilities, and slots without a label are to say so.

    Parameters
    ----------
    logits : Tensor of shape (..., n, n_slots, L + 1)
        Scores of each slot; the last is that of no label.
    target : Tensor of shape (..., n, L)
        0/1 labels.
    empty_weight : float, default=0.2
        Weight of slots without a label; others have 1.
    sample_weight : Tensor of shape (..., n), default=None
        Weights of rows.

    Returns
    -------
    Tensor of shape (...)
        Mean loss.
    """
    positive = target > 0
    return cf.apply(lambda z: matching_rows(z, positive, sample_weight, empty_weight), logits)


def sinkhorn(cost, rows, columns, *, epsilon=0.1, n_iter=50):
    r"""Plan of transport with an entropic penalty, by Sinkhorn's iterations on logarithms (arXiv 1306.0895).

    The plan with the given sums that has the least :math:`\langle\Pi,C\rangle+\epsilon\sum\Pi\log\Pi`.

    Parameters
    ----------
    cost : Tensor of shape (..., m, k)
        Costs.
    rows : Tensor of shape (..., m)
        Sums of the rows.
    columns : Tensor of shape (..., k)
        Sums of the columns; 0 leaves a column out.
    epsilon : float, default=0.1
        Strength of the penalty, positive.
    n_iter : int, default=50
        Iterations.

    Returns
    -------
    Tensor of shape (..., m, k)
        The plan.
    """
    k = -cost / epsilon
    log_a, log_b = rows.log(), columns.log()
    g = torch.zeros_like(log_b).masked_fill_(columns == 0, -torch.inf)
    for _ in range(n_iter):
        f = log_a - torch.logsumexp(k + g.unsqueeze(-2), -1)
        g = log_b - torch.logsumexp(k + f.unsqueeze(-1), -2)
    return (k + f.unsqueeze(-1) + g.unsqueeze(-2)).exp()


def transport_rows(p, positive, embeddings, epsilon, n_iter):
    """Cost of transport of slots to labels, (n,), and its gradient in the probabilities of slots.

    Parameters
    ----------
    p : Tensor of shape (n, n_slots, L + 1)
        Probabilities of slots.
    positive : Tensor of bool, shape (n, L)
        Labels.
    embeddings : Tensor of shape (L, d)
        Rows of length 1, or 0.
    epsilon : float
        Strength of the entropic penalty.
    n_iter : int
        Iterations.
    """
    loss, grad = p.new_zeros(len(p)), torch.zeros_like(p)
    has = positive.any(1).nonzero().squeeze(1)
    if not len(has):
        return loss, grad
    counts = positive[has].sum(1)
    place = positive[has].to(p).topk(int(counts.max()), 1)  # labels first, then absent ones
    ends = embeddings[place.indices]  # (r, k, d)
    q = p[has, :, :-1] @ embeddings
    length = torch.linalg.vector_norm(q, dim=-1, keepdim=True).clamp_min(1e-12)
    cosine = (q / length) @ ends.transpose(1, 2)
    a = torch.full(q.shape[:2], 1.0 / q.shape[1], dtype=p.dtype, device=p.device)
    plan = sinkhorn(
        1.0 - cosine, a, place.values / counts.unsqueeze(1), epsilon=epsilon, n_iter=n_iter
    )
    loss[has] = (plan * (1.0 - cosine)).sum((1, 2))
    slope = ((plan * cosine).sum(2, keepdim=True) * q / length - plan @ ends) / length
    grad[has, :, :-1] = slope @ embeddings.T
    return loss, grad
