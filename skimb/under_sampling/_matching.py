"""Made rows whose gradients or mean features are those of many."""

import numpy as np
import torch

_BATCH = 256  # rows of a class that are compared with the made ones
_STEP = 0.3  # of the linear model


def matched(
    real,
    weight,
    starts,
    fixed,
    rng,
    *,
    by_gradient,
    n_outer,
    n_inner,
    learning_rate,
    feature_width,
    clip,
):
    """Made rows of all classes, moved from where they start.

    Parameters
    ----------
    real : list of ndarray, each of shape (n_k, d)
        Rows of each class, standardised.
    weight : list of ndarray, each of shape (n_k,)
        Their weights.
    starts : list of ndarray, each of shape (b_k, d)
        Where made rows start.
    fixed : list of bool
        Classes whose made rows stay.
    rng : RandomState
        Draws.
    by_gradient : bool
        Whether gradients are matched, or mean features.
    n_outer, n_inner, learning_rate, feature_width, clip : int, int, float, int, bool
        As for `DistilledSampler`.

    Returns
    -------
    list of ndarray
        Made rows of each class.
    list of float
        Mean of what is lowered, for each feature map.
    """
    K, d = len(real), real[0].shape[1]
    S = [
        torch.tensor(start, requires_grad=not same)
        for start, same in zip(starts, fixed, strict=True)
    ]
    moving = [s for s in S if s.requires_grad]
    optimizer = torch.optim.Adam(moving, lr=learning_rate)
    box = [(torch.from_numpy(r.min(0)), torch.from_numpy(r.max(0))) for r in real]
    losses = []
    for _ in range(n_outer):
        features = _map(d, feature_width, rng)
        W = torch.zeros(features(S[0][:1]).shape[1], K, dtype=torch.float64)
        found = []
        for _ in range(n_inner if by_gradient else 1):
            loss = 0.0
            for k in range(K):
                if fixed[k]:
                    continue
                rows = _drawn(real[k], weight[k], rng)
                if by_gradient:
                    g = _gradient(features(rows), W, k)
                    loss = loss + _apart(g, _gradient(features(S[k]), W, k))
                else:
                    gap = features(rows).mean(0) - features(S[k]).mean(0)
                    loss = loss + (gap**2).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for k in range(K):
                    if clip and not fixed[k]:
                        S[k].copy_(torch.maximum(torch.minimum(S[k], box[k][1]), box[k][0]))
                W -= _STEP * sum(_gradient(features(S[k]), W, k) for k in range(K)) / K
            found.append(float(loss.detach()))
        losses.append(float(np.mean(found)))
    return [s.detach().numpy() for s in S], losses


def _map(d, width, rng):
    """Random ReLU features of a variance near 1 and a constant, or the columns and a constant."""
    if width == 0:
        return lambda X: torch.cat([X, X.new_ones(len(X), 1)], 1)
    A = torch.from_numpy(rng.normal(size=(d, width)) * np.sqrt(2.0 / d))
    b = torch.from_numpy(rng.normal(size=width))
    scale = 1.0 / np.sqrt(width)
    return lambda X: torch.cat([torch.relu(X @ A + b) * scale, X.new_ones(len(X), 1)], 1)


def _drawn(rows, weight, rng):
    """Some rows, drawn by weight."""
    n = len(rows)
    if n > _BATCH or np.ptp(weight):
        rows = rows[rng.choice(n, min(n, _BATCH), p=weight / weight.sum())]
    return torch.from_numpy(rows)


def _gradient(phi, W, k):
    """Gradient of the mean cross-entropy of rows of class k in the weights W, (h, K)."""
    p = torch.softmax(phi @ W, 1)
    own = torch.zeros_like(p)
    own[:, k] = 1.0
    return phi.T @ (p - own) / len(phi)


def _apart(g, made):
    """How far gradients lie apart."""
    cosine = torch.nn.functional.cosine_similarity(g, made, dim=0, eps=1e-12)
    return (1.0 - cosine).sum() + 0.1 * ((g - made) ** 2).sum()
