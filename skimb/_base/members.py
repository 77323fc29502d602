"""What an ensemble answers whose members have scores of their own: means over them, and shrinkage."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit, softmax

_TINY = np.finfo(float).tiny


def posteriors(head, raw):
    """Honest probabilities of each member: the loss is inverted before anything is averaged.

    Parameters
    ----------
    head : Head
        Classes and the bound loss.
    raw : Tensor of shape (members, n, n_outputs)
        Raw outputs.

    Returns
    -------
    ndarray of shape (members, n, n_classes) or (members, n, n_labels)
        Probabilities; scores of a loss that gives none.
    """
    found = head.posterior(head.logits(raw.flatten(0, 1)))
    return found.reshape(*raw.shape[:2], -1)


def votes(head, raw):
    """Decisions of each member as probabilities in the population that the loss decides for.

    Parameters
    ----------
    head : Head
        Classes and the bound loss.
    raw : Tensor of shape (members, n, n_outputs)
        Raw outputs.

    Returns
    -------
    ndarray of shape (members, n), (members, n, n_classes) or (members, n, n_labels)
        Sigmoid or softmax of the decision scores.
    """
    scores = head.decision(head.logits(raw.flatten(0, 1)))
    one = scores.ndim == 1 or head.multilabel
    found = expit(scores) if one else softmax(scores, axis=-1)
    return found.reshape(*raw.shape[:2], *scores.shape[1:])


def decision_of(votes, multilabel):
    """Decision scores of mean votes: log odds, or logarithms of several classes."""
    p = np.clip(votes, _TINY, None)
    if votes.ndim > 1 and not multilabel:
        return np.log(p)
    return logit(np.clip(p, None, 1.0 - 1e-16))


def score(head, raw, code, weight=None, cost=None):
    """Negative log loss of the mean probabilities; without probabilities the members' mean score.

    Parameters
    ----------
    head : Head
        Classes and the bound loss.
    raw : Tensor of shape (members, n, n_outputs)
        Raw outputs.
    code : ndarray of shape (n,) or (n, n_labels)
        Class numbers, or 0/1 labels.
    weight : ndarray of shape (n,), default=None
        Weights of rows.
    cost : ndarray, default=None
        Costs of rows.

    Returns
    -------
    float
        Higher is better.
    """
    if not head.gives_probabilities:
        return float(np.mean([head.score(head.logits(z), code, weight, cost) for z in raw]))
    return -float(np.average(log_losses(posteriors(head, raw).mean(0), code), weights=weight))


def numeric_score(head, raw, code, weight=None):
    """Negative loss of the mean prediction; of a loss that couples rows the members' mean.

    Parameters
    ----------
    head : NumericHead
        The bound loss.
    raw : Tensor of shape (members, n, n_outputs)
        Raw outputs.
    code : ndarray of shape (n,) or (n, n_outputs)
        Targets.
    weight : ndarray of shape (n,), default=None
        Weights of rows.

    Returns
    -------
    float
        Higher is better.
    """
    if "batch" in head.bound.requires:
        return -float(np.mean([head.loss_of(z, code, weight) for z in raw]))
    mean = head.bound.inverse_link(raw.double()).mean(0)
    return -head.loss_of(head.bound.link(mean), code, weight)


def predictions(head, raw):
    """Predictions of each member of a regressor, (members, n) or (members, n, n_outputs)."""
    return np.stack([head.predictions(z) for z in raw.double()])


def log_losses(p, code):
    """Log loss of each row, summed over labels."""
    if code.ndim == 2:
        return -np.log(np.where(code > 0, p, 1.0 - p).clip(_TINY)).sum(1)
    return -np.log(p[np.arange(len(code)), code].clip(_TINY))


# --- shrinkage towards the label distribution ------------------------------------------------------


def shrunk(p, prior, kept):
    """Probabilities of which a share of the evidence is kept: the log odds against the label distribution.

    Parameters
    ----------
    p : ndarray of shape (..., n_classes) or (..., n_labels)
        Probabilities.
    prior : ndarray of shape (n_classes,) or (n_labels, 2)
        Label distribution that they refer to.
    kept : float in [0, 1]
        1 changes nothing, 0 gives the label distribution.

    Returns
    -------
    ndarray
        Probabilities.
    """
    if kept == 1.0:
        return p
    base = np.log(prior.clip(1e-300))
    if prior.ndim == 2:
        base = base[:, 1] - base[:, 0]
        return expit(base + kept * (logit(p.clip(1e-300, 1.0 - 1e-16)) - base))
    return np.exp(log_softmax(base + kept * (np.log(p.clip(1e-300)) - base), axis=-1))


def evidence_to_keep(p, prior, code, weight=None):
    """The share of the evidence whose probabilities have the least log loss on held-out rows.

    Parameters
    ----------
    p : ndarray of shape (n, n_classes) or (n, n_labels)
        Probabilities of the rows.
    prior : ndarray of shape (n_classes,) or (n_labels, 2)
        Label distribution that they refer to.
    code : ndarray of shape (n,) or (n, n_labels)
        Class numbers, or 0/1 labels.
    weight : ndarray of shape (n,), default=None
        Weights of rows.

    Returns
    -------
    float in [0, 1]
        The share.
    """

    def loss(kept):
        return float(np.average(log_losses(shrunk(p, prior, kept), code), weights=weight))

    found = float(minimize_scalar(loss, bounds=(0.0, 1.0), method="bounded").x)
    return min((1.0, found, 0.0), key=loss)
