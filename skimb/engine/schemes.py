"""Schemes: what training does beyond following the loss of a batch of rows.

A `Scheme` is a parameter object, as a loss is: estimators take it as ``scheme=`` and searches set its parameters.
``start`` makes a `RunningScheme` for one fit, which sees each batch with the numbers of its rows and the epoch. It
may put another batch in its place (mixtures, augmentations), add to the gradient (an adversary, a teacher), keep
named state that is saved with the estimator, and offer the weights to predict with.
"""

from abc import ABC, abstractmethod

from sklearn.base import BaseEstimator


class RunningScheme:
    """A scheme at work in one fit; every method may be left as it is."""

    #: what it offers to losses beyond the backend, see `skimb.losses._base.REQUIREMENTS`
    serves: frozenset = frozenset()
    #: whether batches must know the numbers of their rows
    numbered = False
    #: whether it needs a backend with autograd
    autograd = False

    def batch(self, batch, step):
        """The batch to train on in the place of a batch of rows.

        Parameters
        ----------
        batch : Batch
            Rows, targets, weights, numbers of the rows if `numbered`, and the epoch.
        step : Step
            Whose ``loss`` is the one in force and whose ``backend`` gives scores.

        Returns
        -------
        Batch
            The same one, or another; its ``loss`` replaces the loss in force.
        """
        return batch

    def gradients(self, batch, step):
        """Fill the gradients of a batch; returns its loss."""
        return step.gradients(batch)

    def after_update(self, batch, step):
        """Follow an update of the weights."""
        return None

    def state(self):
        """Named tensors to save with the estimator; training that goes on loads them."""
        return {}

    def load_state(self, state):
        """Take back what `state` gave."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])

    def weights(self):
        """Tensors like the module's state to predict with, or None for the trained ones."""
        return None


class Scheme(BaseEstimator, ABC):
    """Base of schemes: parameters, and how training under them starts.

    Examples
    --------
    A teacher whose weights are the running mean of the net's, which predict in its place:

    >>> import torch
    >>> from sklearn.datasets import make_classification
    >>> from skimb.neural_network import MLPClassifier
    >>> from skimb.training import RunningScheme, Scheme
    >>> class Running(RunningScheme):
    ...     def __init__(self, module, rate):
    ...         self.rate = rate
    ...         self.mean = {k: v.clone() for k, v in module.state_dict().items()}
    ...     def after_update(self, batch, step):
    ...         for k, v in step.backend.module.state_dict().items():
    ...             self.mean[k].lerp_(v, self.rate)
    ...     def state(self):
    ...         return self.mean
    ...     def weights(self):
    ...         return list(self.mean.values())
    >>> class MeanWeights(Scheme):
    ...     def __init__(self, rate=0.05):
    ...         self.rate = rate
    ...     def start(self, module, data, seed):
    ...         return Running(module, self.rate)
    >>> X, y = make_classification(200, random_state=0)
    >>> model = MLPClassifier((8,), scheme=MeanWeights(), max_iter=5, tol=0, random_state=0)
    >>> model.fit(X, y).n_iter_
    5
    """

    #: whether it differentiates the net, asks it about all rows or reads columns, which takes rows in one matrix
    of_matrices = False

    @abstractmethod
    def start(self, module, data, seed):
        """Begin a fit.

        Parameters
        ----------
        module : Module
            The net that will be trained.
        data : TrainingData
            All training rows, in the order of their numbers.
        seed : int
            Seed for whatever the scheme draws.

        Returns
        -------
        RunningScheme
            What acts in this fit.
        """


class Several(RunningScheme):
    """Schemes one after the other: batches pass through all, one of them may add to gradients.

    Parameters
    ----------
    parts : list of RunningScheme
        In the order in which they see a batch.
    """

    def __init__(self, parts):
        self.parts = parts
        self.serves = frozenset().union(*(part.serves for part in parts))
        self.numbered = any(part.numbered for part in parts)
        self.autograd = any(part.autograd for part in parts)
        own = [part for part in parts if type(part).gradients is not RunningScheme.gradients]
        if len(own) > 1:
            names = " and ".join(type(part).__name__ for part in own)
            raise ValueError(f"{names} both change the gradient of a batch; use one of them.")
        self.source = own[0] if own else RunningScheme()

    def batch(self, batch, step):
        for part in self.parts:
            batch = part.batch(batch, step)
        return batch

    def gradients(self, batch, step):
        return self.source.gradients(batch, step)

    def after_update(self, batch, step):
        for part in self.parts:
            part.after_update(batch, step)

    def state(self):
        return {
            f"{k}.{name}": tensor
            for k, part in enumerate(self.parts)
            for name, tensor in part.state().items()
        }

    def load_state(self, state):
        for k, part in enumerate(self.parts):
            head = f"{k}."
            part.load_state(
                {n.removeprefix(head): t for n, t in state.items() if n.startswith(head)}
            )

    def weights(self):
        found = [
            weights for weights in (part.weights() for part in self.parts) if weights is not None
        ]
        return found[-1] if found else None
