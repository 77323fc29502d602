"""Training of chains on all rows at once by scipy's L-BFGS-B on the closed-form gradient."""

import numpy as np
import torch
from scipy.optimize import minimize

from skimb.engine.chain_nets import NetChain, infer
from skimb.engine.step import evaluate, squeeze_outputs
from skimb.losses._base import check_served

#: what one run over all rows offers to losses
SERVES = frozenset({"batch", "every class", "inputs"})


class FullBatch:
    """Minimise mean loss plus L2 over the parameters of an MLP.

    Parameters
    ----------
    module : MLP
        The net, one member.
    loss : BoundLoss
        Gives ``loss_grad``.
    l2 : float
        Penalty ``l2 / 2`` times the squared norm of all weight matrices.
    tol : float
        Largest gradient component at which to stop.
    max_fun : int
        Most function evaluations.
    warm_loss : BoundLoss, default=None
        A loss to minimise first; the output intercept is then shifted to where `loss` is least. Metric
        losses have flat regions and local minima that this start avoids.
    ftol : float, default=2.2e-9
        Relative decrease of the objective at which to stop.
    """

    #: whether the iterations of a solver are the epochs
    drives_epochs = True
    optimizer = scheme = None

    def __init__(
        self, module, loss, *, l2=0.0, tol=1e-4, max_fun=15000, warm_loss=None, ftol=2.2e-9
    ):
        self.module, self.loss = module, loss
        self.l2, self.tol, self.max_fun = l2, tol, max_fun
        self.warm_loss = warm_loss
        self.ftol = ftol
        self.result = None

    def tensors(self):
        """Nothing is carried from one run to the next."""
        return []

    def settle(self):
        """Nothing is put off."""
        return None

    def run(self, data, max_iter, iteration_ends):
        """Minimise; `iteration_ends(loss, more)`, if given, is called after every iteration."""
        if self.warm_loss is not None:
            warm = _Objective(self.module, self.warm_loss, data, self.l2)
            result = self._minimise(warm, max_iter, None)
            warm.store(result.x)
            self._shift(data)
        objective = _Objective(self.module, self.loss, data, self.l2)
        self.result = self._minimise(objective, max_iter, iteration_ends)
        objective.store(self.result.x)

    def _minimise(self, objective, max_iter, iteration_ends):
        if iteration_ends is not None:
            done = [0]

            def callback(x):
                done[0] += 1
                objective.best = x.copy()
                objective.store(x)
                iteration_ends(objective.last, done[0] < max_iter)
        else:
            callback = None
        options = {
            "maxiter": max_iter,
            "maxfun": self.max_fun,
            "gtol": self.tol,
            "maxls": 50,
            "ftol": self.ftol,
        }
        start = objective.best = objective.start()
        try:
            return minimize(
                objective, start, jac=True, method="L-BFGS-B", options=options, callback=callback
            )
        except KeyboardInterrupt:  # keep the last whole iteration, not a trial point
            objective.store(objective.best)
            raise

    def _shift(self, data):
        """Move the output intercept of a one-logit net to the least value of the loss."""
        z = squeeze_outputs(infer(self.module, data.X), data.target.code)
        if z.ndim != 1:
            return
        levels = torch.sort(z).values

        def best(positions):
            """Position among the sorted scores whose level, moved to zero, gives the least loss."""
            values = [
                self.loss.loss_grad(z - levels[i], data.target, data.weight)[0] for i in positions
            ]
            return positions[int(torch.stack(values).argmin())]

        n = len(levels)
        step = max(1, n // 16)
        at = best(range(0, n, step))
        while step > 1:
            step = max(1, step // 4)
            at = best(range(max(0, at - 3 * step), min(n, at + 3 * step + 1), step))
            if step < n // 2000:
                break
        if (
            self.loss.loss_grad(z - levels[at], data.target, data.weight)[0]
            < (self.loss.loss_grad(z, data.target, data.weight)[0])
        ):
            with torch.no_grad():
                self.module.split(self.module.flat)[1][-1].sub_(levels[at])


class _WholeTable:
    """The product of all CSR rows with a module's table, and the gradient of the table."""

    def __init__(self, table):
        self.table, self.grad = table.detach().numpy(), None

    def forward(self, X):
        self.X = X
        if self.table.shape[1] == 1:  # matrix-vector kernels beat thin matrices by far
            return torch.from_numpy((X @ self.table[:, 0])[:, None])
        return torch.from_numpy(X @ self.table)

    def backward(self, d):
        d = d.numpy()
        if self.table.shape[1] == 1:
            self.grad = (self.X.T @ d[:, 0])[:, None]
        else:
            self.grad = np.asarray(self.X.T @ d)


class _Objective:
    """Mean loss with L2 and its gradient as functions of one float64 vector."""

    def __init__(self, module, loss, data, l2):
        self.module, self.loss, self.data, self.l2 = module, loss, data, l2
        self.table = _WholeTable(module.table) if module.sparse else None
        self.chain = NetChain(module, len(data), self.table)
        check_served(loss, self.chain.serves, self.chain.consumer, self.chain.cure)
        self.n_weights = module.n_weights
        self.last = float("nan")

    def start(self):
        """Current parameters as a float64 vector: table first, then the flat part."""
        parts = [self.module.flat.detach().view(-1)]
        if self.module.sparse:
            parts.insert(0, self.module.table.detach().view(-1))
        return torch.cat(parts).double().cpu().numpy()

    @torch.no_grad()
    def store(self, x):
        """Write a vector into the parameters."""
        x = torch.from_numpy(x)
        if self.module.sparse:
            n = self.module.table.numel()
            self.module.table.view(-1).copy_(x[:n])
            x = x[n:]
        self.module.flat.view(-1).copy_(x)

    @torch.no_grad()
    def __call__(self, x):
        self.store(x)
        data, module, chain = self.data, self.module, self.chain
        z = chain.forward(data.X)
        target = data.target
        scores = squeeze_outputs(z, target.code)
        loss, d = evaluate(self.loss, scores, target, data.weight, None, chain)
        chain.backward(d.view(z.shape))
        grads = [] if self.table is None else [self.table.grad.astype(np.float64).ravel()]
        flat = module.flat.grad.view(-1).double().cpu().numpy().copy()
        value = float(loss)
        if self.l2:
            w = x.copy()
            w[len(w) - len(flat) + self.n_weights :] = 0.0
            value += 0.5 * self.l2 * float(w @ w)
            grad = np.concatenate([*grads, flat]) + self.l2 * w
        else:
            grad = np.concatenate([*grads, flat])
        self.last = value
        return value, grad
