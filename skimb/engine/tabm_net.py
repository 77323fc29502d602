"""Ensembles of perceptrons on embedded columns whose members share weights: TabM, arXiv:2410.24210."""

from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from torch import nn

ENSEMBLES = ("mini", "full", "packed")
EMBEDDINGS = ("piecewise_linear", "periodic", None)


@dataclass(frozen=True)
class TabMShape:
    """What fixes the parameters of a `TabM`.

    Parameters
    ----------
    n_numbers : int
        Numeric columns.
    levels : tuple of int
        Codes of each column of categories, code 0 included.
    n_outputs : int
        Scores of each member.
    ensemble : {"mini", "full", "packed"}
        What the members share.
    embedding : {"piecewise_linear", "periodic", None}
        Embedding of the numeric columns.
    n_members, width, n_blocks : int
        Members, units of a hidden layer, hidden layers.
    d_embedding : int
        Numbers that a column becomes.
    n_bins : int
        Most bins of a column.
    n_frequencies : int
        Frequencies of periodic embeddings.
    frequency_scale : float
        Standard deviation from which they are drawn.
    """

    n_numbers: int
    levels: tuple
    n_outputs: int
    ensemble: str = "mini"
    embedding: str | None = "piecewise_linear"
    n_members: int = 8
    width: int = 64
    n_blocks: int = 2
    d_embedding: int = 16
    n_bins: int = 48
    n_frequencies: int = 48
    frequency_scale: float = 0.01

    @property
    def units(self):
        """Nets that share nothing: the members of a packed ensemble, otherwise one."""
        return self.n_members if self.ensemble == "packed" else 1

    @property
    def together(self):
        """Members of a unit."""
        return self.n_members // self.units

    @property
    def d_number(self):
        """Numbers that a numeric column becomes; without embedding itself and whether it is missing."""
        return 2 if self.embedding is None else self.d_embedding

    @property
    def d_in(self):
        """Inputs of the first layer."""
        return self.n_numbers * self.d_number + len(self.levels) * self.d_embedding

    def parameters(self):
        """Shapes of a unit's parameters by name: decayed ones first, then those that are not."""
        d, e, h, k = self.n_numbers, self.d_embedding, self.width, self.together
        decayed, free = {}, {}
        if d and self.embedding == "piecewise_linear":
            decayed["bins"] = (d, self.n_bins + 1, e)
            free |= {"slope": (d, e), "level": (d, e)}
        elif d and self.embedding == "periodic":
            decayed["frequency"] = (d, self.n_frequencies)
            decayed["waves"] = (d, 2 * self.n_frequencies, e)
            free |= {"level": (d, e), "absent": (d, e)}
        if self.levels:
            decayed["codes"] = (sum(self.levels), e)
        if self.ensemble != "packed":
            decayed["scale_0"] = (k, d + len(self.levels))
        if d:
            decayed["first"] = (d, self.d_number, h)
        if self.levels:
            decayed["first_codes"] = (len(self.levels), e, h)
        full = self.ensemble == "full"
        for i in range(self.n_blocks):
            if i:
                decayed[f"weight_{i}"] = (h, h)
            if i and full:
                decayed[f"scale_{i}"] = (k, h)
            if full:
                decayed[f"gain_{i}"] = (k, h)
            free[f"bias_{i}"] = (k if full else 1, h)
        decayed["head"] = (k, h, self.n_outputs)
        free["head_bias"] = (k, self.n_outputs)
        return decayed, free


class TabM(nn.Module):
    """k perceptrons on the same columns, which share what the kind of ensemble says.

    All parameters are one tensor ``flat`` of shape (units, n_parameters), in which those that weight decay
    shrinks come first. A *packed* ensemble has a unit for each member, the others have one unit.

    Parameters
    ----------
    shape : TabMShape
        Columns, members, layers.
    dtype : torch.dtype, default=torch.float32
        Floating type of the parameters.
    """

    def __init__(self, shape, dtype=torch.float32):
        super().__init__()
        self.shape = shape
        decayed, free = shape.parameters()
        self.shapes = decayed | free
        self.n_decayed = sum(map(prod, decayed.values()))
        n = self.n_decayed + sum(map(prod, free.values()))
        self.flat = nn.Parameter(torch.zeros(shape.units, n, dtype=dtype))
        if (
            "bins" in self.shapes
        ):  # where bins start and how far they reach; row 0 is a missing value
            edges = torch.zeros(shape.n_numbers, shape.n_bins + 1, dtype=dtype)
            self.register_buffer("starts", edges)
            self.register_buffer("spans", edges.clone())

    def split(self, flat):
        """Views (units, ...) by name of a tensor whose last axis is that of ``flat``."""
        views, o = {}, 0
        flat = flat.view(-1, flat.shape[-1])
        for name, shape in self.shapes.items():
            views[name] = flat[:, o : o + prod(shape)].view(-1, *shape)
            o += prod(shape)
        return views

    @torch.no_grad()
    def reset(self, random_state):
        """Draw the initial weights from a numpy RandomState."""
        for unit in self.flat:
            for name, view in self.split(unit).items():
                view.copy_(torch.from_numpy(_draw(self.shape, name, view.shape[1:], random_state)))
        return self

    @torch.no_grad()
    def kept(self, members):
        """An ensemble of some of the members, with copies of their parameters.

        Parameters
        ----------
        members : list of int
            Their numbers.

        Returns
        -------
        TabM
            Its members answer as they did.
        """
        few = TabM(replace(self.shape, n_members=len(members)), dtype=self.flat.dtype)
        if self.shape.units > 1:
            few.flat.copy_(self.flat[members])
        else:
            own = self.split(self.flat)
            for name, view in few.split(few.flat).items():
                whole = own[name]
                view.copy_(whole if whole.shape == view.shape else whole[:, members])
        for buffer, other in zip(few.buffers(), self.buffers(), strict=True):
            buffer.copy_(other)
        return few


def _draw(shape, name, size, rng):
    """Initial values of a parameter of one unit."""

    def uniform(fan_in, size=size):
        return rng.uniform(-(fan_in**-0.5), fan_in**-0.5, size)

    kind, _, number = name.partition("_")
    if name in ("bins", "absent"):
        return np.zeros(size)
    if name in ("slope", "level", "codes"):
        fan = 2 * shape.n_frequencies if shape.embedding == "periodic" and name == "level" else 0
        values = uniform(fan or shape.d_embedding)
        if name == "codes":  # what is missing or was never seen adds nothing
            values[np.cumsum((0, *shape.levels))[:-1]] = 0.0
        return values
    if name == "frequency":
        return _truncated_normal(rng, size) * shape.frequency_scale
    if name == "waves":
        return uniform(2 * shape.n_frequencies)
    if name == "scale_0":
        return rng.choice([-1.0, 1.0], size) if shape.embedding is None else rng.normal(size=size)
    if kind in ("scale", "gain"):
        return np.ones(size)
    if kind == "bias":  # members start from the same draw
        return np.broadcast_to(
            uniform(shape.width if int(number) else shape.d_in, size[1:]), size
        ).copy()
    return uniform(shape.d_in if kind == "first" else shape.width)


def _truncated_normal(rng, size):
    """Standard normal draws within three standard deviations."""
    values = rng.normal(size=size)
    while (out := np.abs(values) > 3.0).any():
        values[out] = rng.normal(size=out.sum())
    return values
