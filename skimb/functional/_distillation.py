"""What a teacher's scores say of a student's, and what a net shall no longer say: closed forms of two schemes."""

import math

import torch
from torch.nn import functional as F


def distillation(logits, teacher, temperature):
    r"""Cross-entropy of a student's softened probabilities against a teacher's.

    .. math:: -\sum_k \mathrm{softmax}(t/T)_k\,\log\mathrm{softmax}(z/T)_k

    Parameters
    ----------
    logits, teacher : Tensor of shape (n, C)
        Scores of the student and of the teacher.
    temperature : float
        The temperature T.

    Returns
    -------
    Tensor of shape (n,)
        The loss of each row.
    Tensor of shape (n, C)
        Its gradient in the student's scores.
    """
    told = torch.softmax(teacher / temperature, -1)
    log_said = torch.log_softmax(logits / temperature, -1)
    return -(told * log_said).sum(-1), (log_said.exp() - told) / temperature


def relation_divergence(inputs, prototypes, old_inputs, old_prototypes, temperature, weight=None):
    r"""Divergence of how old classes relate to the rows of a batch from how they did; differentiable.

    .. math::
        \frac1C\sum_k\sum_i a_{ki}\log\frac{a_{ki}}{b_{ki}},\qquad
        b_{k\cdot}=\mathrm{softmax}_i\bigl(\cos(p_k,x_i)/T\bigr)

    with a like b of the old net: distributions over rows, not over classes.

    Parameters
    ----------
    inputs, old_inputs : Tensor of shape (n, d)
        Features of the rows by the new and the old net.
    prototypes, old_prototypes : Tensor of shape (d, C)
        Prototypes of the old classes in both.
    temperature : float
        The temperature T.
    weight : Tensor of shape (n,), default=None
        How often each row counts.

    Returns
    -------
    Tensor of shape ()
        The mean over the classes.
    """

    def related(x, p):
        cosines = F.normalize(x, dim=1) @ F.normalize(p, dim=0)
        seen = cosines / temperature
        tiny = torch.finfo(seen.dtype).tiny
        seen = seen if weight is None else seen + weight.to(seen).clamp_min(tiny).log().unsqueeze(1)
        return torch.log_softmax(seen, 0)

    told, said = related(old_inputs, old_prototypes), related(inputs, prototypes)
    return (told.exp() * (told - said)).sum(0).mean()


def softened_divergence(logits, teacher, temperature):
    r"""Kullback-Leibler divergence of a student's softened probabilities from a teacher's, times T squared.

    .. math:: T^2\sum_k p_k\log\frac{p_k}{q_k},\qquad p=\mathrm{softmax}(t/T),\ q=\mathrm{softmax}(z/T)

    One column is the difference of the scores of two classes.

    Parameters
    ----------
    logits, teacher : Tensor of shape (n, C)
        Scores of the student and of the teacher.
    temperature : float
        The temperature T.

    Returns
    -------
    Tensor of shape (n,)
        The divergence of each row.
    Tensor of shape (n, C)
        Its gradient in the student's scores.
    """
    if logits.shape[1] == 1:
        two = (F.pad(z, (1, 0)) for z in (logits, teacher))
        rows, slope = softened_divergence(*two, temperature)
        return rows, slope[:, 1:]
    told, said = (torch.log_softmax(z / temperature, -1) for z in (teacher, logits))
    p = told.exp()
    return temperature**2 * (p * (told - said)).sum(-1), temperature * (said.exp() - p)


def logit_divergence(logits, teacher, temperature):
    r"""How far each score lies from a teacher's: the divergence of their softened difference from a half.

    .. math:: T^2\sum_k\mathrm{KL}\Bigl(\tfrac12\Big\|\sigma\bigl(\tfrac{z_k-t_k}T\bigr)\Bigr)

    Parameters
    ----------
    logits, teacher : Tensor of shape (n, C)
        Scores of the student and of the teacher.
    temperature : float
        The temperature T.

    Returns
    -------
    Tensor of shape (n,)
        The divergence of each row.
    Tensor of shape (n, C)
        Its gradient in the student's scores, within half the temperature.
    """
    d = (logits - teacher) / temperature
    rows = temperature**2 * (0.5 * (F.softplus(d) + F.softplus(-d)) - math.log(2.0)).sum(-1)
    return rows, temperature * (torch.sigmoid(d) - 0.5)


def negative_preference(loss, before, beta):
    r"""Negative preference optimisation of a row's loss l against its loss l_0 before.

    .. math:: \frac2\beta\,\log\bigl(1+e^{-\beta(l-l_0)}\bigr)

    Parameters
    ----------
    loss, before : Tensor of shape (n,)
        Losses now and before.
    beta : float
        Towards 0 the slope becomes that of gradient ascent, -1 everywhere.

    Returns
    -------
    Tensor of shape (n,)
        The value.
    Tensor of shape (n,)
        Its slope in the loss, between -2 and 0, and -1 where nothing has changed.
    """
    gain = beta * (loss - before)
    return (2.0 / beta) * F.softplus(-gain), -2.0 * torch.sigmoid(-gain)
