"""Critical-difference diagram: mean ranks on a line, bars over methods that do not differ significantly."""

import numpy as np

from skimb._core.optional import require
from skimb.inspection._display import BLUE, GREY, VERMILLION


def groups(ranks, difference):
    """Largest runs of sorted ranks that span no more than a difference, as pairs of places; none of one method."""
    found = []
    for first in range(len(ranks)):
        last = int(np.searchsorted(ranks, ranks[first] + difference, side="right")) - 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def diagram(names, ranks, difference, ours=(), title=""):
    """The diagram as a figure.

    Parameters
    ----------
    names : sequence of str
        Methods.
    ranks : array-like of shape (n_methods,)
        Their mean ranks.
    difference : float
        The critical difference.
    ours : collection of str, default=()
        Methods that are drawn in bold.
    title : str, default=""
        Title.

    Returns
    -------
    matplotlib.figure.Figure
        The figure; it belongs to no window.
    """
    figure = require("matplotlib.figure", extra="plot").Figure
    order = np.argsort(ranks, kind="stable")
    names, ranks = [names[i] for i in order], np.asarray(ranks, float)[order]
    k, bars = len(names), groups(ranks, difference)
    made = figure(figsize=(8.0, 1.2 + 0.2 * k + 0.12 * len(bars)), layout="constrained")
    ax = made.add_subplot()
    half = -(-k // 2)
    low, high = np.floor(ranks[0]), np.ceil(ranks[-1])
    margin = 0.9 * (high - low)
    ax.set_xlim(low - margin, high + margin)
    top = 2.0 + 0.6 * len(bars)
    ax.set_ylim(-(top + half), 2.2)
    ax.axis("off")
    ax.plot([low, high], [0, 0], color="black", linewidth=1)
    for mark in np.arange(low, high + 1):
        ax.plot([mark, mark], [0, 0.3], color="black", linewidth=1)
        ax.text(mark, 0.45, f"{mark:g}", ha="center", va="bottom", fontsize=8)
    ax.plot([low, low + difference], [1.6, 1.6], color=VERMILLION, linewidth=2)
    ax.text(low + difference, 1.6, f" critical difference {difference:.2f}", va="center", fontsize=8)  # fmt: skip
    for level, (first, last) in enumerate(bars):
        y = -0.6 - 0.6 * level
        ax.plot(ranks[[first, last]], [y, y], color=GREY, linewidth=3, solid_capstyle="butt")
    for i, (name, rank) in enumerate(zip(names, ranks, strict=True)):
        left = i < half
        y = -(top + (i if left else k - 1 - i))
        edge = low - 0.05 * margin if left else high + 0.05 * margin
        colour = BLUE if name in ours else "black"
        ax.plot([rank, rank, edge], [0, y, y], color=colour, linewidth=0.8)
        words = f"{name} {rank:.2f} " if left else f" {rank:.2f} {name}"
        look = {"color": colour, "weight": "bold" if name in ours else "normal", "fontsize": 8}
        ax.text(edge, y, words, ha="right" if left else "left", va="center", **look)
    if title:
        ax.set_title(title, fontsize=10)
    return made
