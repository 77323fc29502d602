"""What an ensemble answers whose members have scores of their own: means over them, and shrinkage."""

import numpy as np
from scipy.special import expit, log_softmax, logit, softmax

_TINY = np.finfo(float).tiny
_PRECISION = 1e-3  # of the share of evidence


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

    Probabilities are shrunk as far as the rows themselves ask for: a net goes on getting better at telling classes
    apart when it has begun to be too sure, which one number mends in the end.

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
    return -evidence_to_keep(posteriors(head, raw).mean(0), head, code, weight)[1]


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


def ranking(head, raw, code, weight=None):
    """Members in the order in which a greedy choice takes them, each the one that helps the mean most.

    Where means are not what is scored, members stand in the order of their own scores.

    Parameters
    ----------
    head : Head or NumericHead
        The bound loss.
    raw : Tensor of shape (members, n, n_outputs)
        Raw outputs.
    code : ndarray of shape (n,) or (n, n_columns)
        Targets.
    weight : ndarray of shape (n,), default=None
        Weights of rows.

    Returns
    -------
    list of int
        Numbers of the members.
    """
    if head.numeric and "batch" not in head.bound.requires:
        values = predictions(head, raw)

        def row_losses(mean):
            return np.square(mean - code).reshape(len(code), -1).sum(1)

    elif not head.numeric and head.gives_probabilities:
        p = posteriors(head, raw)
        one = not head.multilabel
        values = p[:, np.arange(len(code)), code] if one else np.where(code > 0, p, 1.0 - p)

        def row_losses(mean):
            return -np.log(mean.clip(_TINY)).reshape(len(code), -1).sum(1)

    else:
        one = numeric_score if head.numeric else score
        return np.argsort([-one(head, z[None], code, weight) for z in raw], kind="stable").tolist()
    chosen, left, total = [], list(range(len(raw))), 0.0
    while left:
        means = [(total + values[k]) / (len(chosen) + 1) for k in left]
        best = left[int(np.argmin([np.average(row_losses(m), weights=weight) for m in means]))]
        chosen.append(best)
        left.remove(best)
        total = total + values[best]
    return chosen


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


def evidence_to_keep(p, head, code, weight=None):
    """The share of the evidence whose probabilities have the least log loss on held-out rows.

    Rows are weighed such that they stand for the population that the probabilities refer to.

    Parameters
    ----------
    p : ndarray of shape (n, n_classes) or (n, n_labels)
        Probabilities of the rows.
    head : Head
        Whose label distributions count.
    code : ndarray of shape (n,) or (n, n_labels)
        Class numbers, or 0/1 labels.
    weight : ndarray of shape (n,), default=None
        Weights of rows.

    Returns
    -------
    float in [0, 1]
        The share.
    float
        Log loss with it.
    float
        Log loss with all evidence.
    float
        Log loss of the label distribution.
    """
    prior = head.wanted
    base = np.log(prior.clip(1e-300))
    if head.multilabel:
        base = base[:, 1] - base[:, 0]
        sign = 1.0 - 2.0 * code
        against = sign * (logit(p.clip(1e-300, 1.0 - 1e-16)) - base)
        start = sign * base
    else:
        # evidence for each other class against the true one
        evidence = np.log(p.clip(1e-300)) - base
        others = np.arange(p.shape[1]) != code[:, None]
        against = (evidence - np.take_along_axis(evidence, code[:, None], 1))[others]
        start = (base - base[code][:, None])[others]
        against, start = (a.reshape(len(code), -1) for a in (against, start))
    share = _shares(head, code, weight)
    single = head.multilabel or against.shape[1] == 1

    def loss(kept):
        """Log loss, its slope and its curvature: it is convex."""
        z = start + kept * against
        if single:
            q = expit(z)
            losses, slope, bend = np.logaddexp(0.0, z), q * against, q * (1.0 - q) * against**2
            losses, slope, bend = (v.sum(1) for v in (losses, slope, bend))
        else:
            top = z.max(1, keepdims=True).clip(0.0)
            q = np.exp(z - top)
            total = np.exp(-top[:, 0]) + q.sum(1)
            q /= total[:, None]
            losses, slope = np.log(total) + top[:, 0], (q * against).sum(1)
            bend = (q * against**2).sum(1) - slope**2
        return float(share @ losses), float(share @ slope), float(share @ bend)

    whole, slope, bend = loss(1.0)
    none = loss(0.0)[0]
    kept, least = 1.0, whole
    if (
        slope > 0.0
    ):  # the least value lies below 1: Newton's steps, halved intervals where they lead out
        low, high, move = 0.0, 1.0, 1.0
        while abs(move) > _PRECISION and high - low > _PRECISION:
            target = kept - slope / bend if bend > 0.0 else -1.0
            target = target if low < target < high else (low + high) / 2.0
            move, kept = target - kept, target
            least, slope, bend = loss(kept)
            low, high = (low, kept) if slope > 0.0 else (kept, high)
        points = (whole, 1.0), (least, kept), (none, 0.0)
        least, kept = min(points, key=lambda point: point[0])
    return kept, least, whole, none


def _shares(head, code, weight):
    """Weights of rows, of sum 1, with which they stand for the population that probabilities refer to."""
    if not head.multilabel and not np.allclose(head.wanted, head.natural):
        moved = (head.wanted / head.natural.clip(1e-300))[code]
        weight = moved if weight is None else moved * weight
    return np.full(len(code), 1.0 / len(code)) if weight is None else weight / weight.sum()


def credible_evidence(p, head, code, kept, weight=None):
    r"""The share of the evidence that is left when its gain may be noise.

    With g the mean gain in log loss of held-out rows over the label distribution and s its standard error, the
    likelihood of no gain at all is :math:`e^{-g^2/2s^2}` times that of the gain found. So much of the evidence is
    left out: a third at 1.5 standard errors, a hundredth at three.

    Parameters
    ----------
    p : ndarray of shape (n, n_classes) or (n, n_labels)
        Probabilities of held-out rows.
    head : Head
        Whose label distributions count.
    code : ndarray of shape (n,) or (n, n_labels)
        Class numbers, or 0/1 labels.
    kept : float in [0, 1]
        Share of the evidence with the least log loss on these rows.
    weight : ndarray of shape (n,), default=None
        Weights of rows.

    Returns
    -------
    float in [0, 1]
        The share.
    float
        Log loss with it.
    float
        Standard error of the gain.
    """
    share = _shares(head, code, weight)

    def losses(kept):
        q = shrunk(p, head.wanted, kept)
        if head.multilabel:
            return -np.log(np.where(code > 0, q, 1.0 - q).clip(_TINY)).sum(1)
        return -np.log(q[np.arange(len(code)), code].clip(_TINY))

    gains = losses(0.0) - losses(kept)
    gain = share @ gains
    variance = np.square(share) @ np.square(gains - gain)
    if variance > 0.0:
        kept *= -np.expm1(-(gain**2) / (2.0 * variance))
    return float(kept), float(share @ losses(kept)), float(np.sqrt(variance))
