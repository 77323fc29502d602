"""Where boosting starts."""

import numpy as np
import torch
from scipy.optimize import minimize

_BOUND = 8.0  # largest starting score of losses whose best constant is infinite


def best_constant(bound, mass, columns):
    """Where boosting starts: the scores with the least mean loss among those equal for all rows.

    Losses without probabilities start from the log odds.

    Parameters
    ----------
    bound : BoundLoss
        The loss.
    mass : ndarray of shape (C,)
        Share of the training weight in each class.
    columns : int
        Score columns, 1 for one logit.

    Returns
    -------
    ndarray of shape (columns,)
        Starting scores.
    """
    y = np.arange(len(mass))
    logs = np.log(np.maximum(mass, 1e-12))
    start = logs - logs.mean() if columns > 1 else logs[1:] - logs[:1]
    if not bound.calibrated:  # the best constant may be infinite
        return np.clip(start, -_BOUND, _BOUND)

    def objective(z):
        scores = np.tile(z, (len(y), 1))
        scores = scores if columns > 1 else scores[:, 0]
        rows = bound.row_loss(torch.from_numpy(scores), torch.from_numpy(y)).numpy()
        grad, _ = bound.grad_hess(scores, y)
        slope = mass @ grad
        return float(mass @ rows), np.atleast_1d(slope)

    done = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(-2 * _BOUND, 2 * _BOUND)] * columns,
        options={"ftol": 1e-15, "gtol": 1e-12},
    )
    return done.x
