"""Pictures of a report, drawn by the displays of `skimb.inspection` on figures of their own."""

from io import BytesIO

import numpy as np

from skimb._core.optional import require
from skimb.inspection._decision_curve import DecisionCurveDisplay
from skimb.inspection._per_class import PerClassRecallDisplay
from skimb.inspection._precision_recall import PrecisionRecallBandDisplay
from skimb.inspection._reliability import RareReliabilityDisplay
from skimb.inspection._report.parts import Picture
from skimb.inspection._review_budget import ReviewBudgetDisplay
from skimb.inspection._threshold import ThresholdDisplay

_SIZE, _DPI = (5.6, 3.6), 110
_LONGEST = 20


def draw_all(m, by_key, budget=None):
    """Give sections their pictures.

    Parameters
    ----------
    m : Measures
        Figures.
    by_key : dict of str to Section
        Sections, changed in place.
    budget : int, float or None
        The budget to mark.
    """
    e = m.e
    name = _drawable(e.name)
    y = np.where(e.truth, name, f"not {name}")
    kw = {"sample_weight": e.weight, "pos_label": name, "name": "this classifier"}
    wide = {"confidence": e.confidence}
    jobs = {
        "ranking": lambda ax: _with_interval(
            PrecisionRecallBandDisplay.from_predictions(y, e.score(), ax=ax, **kw, **wide),
            m.ranking()[0],
        ),
        "budget": lambda ax: ReviewBudgetDisplay.from_predictions(
            y, e.score(), ax=ax, budget=budget, **kw, **wide
        ),
    }
    if e.binary:
        jobs["thresholds"] = lambda ax: ThresholdDisplay.from_predictions(
            y, e.score(), ax=ax, cost=m.cost, threshold=m.threshold, **kw
        )
    else:
        labels = np.array([_drawable(c) for c in e.classes])
        if len(set(labels.tolist())) < len(labels):  # cut to the same text
            labels = np.array([f"{k}: {label}" for k, label in enumerate(labels)])
        jobs["decisions"] = lambda ax: PerClassRecallDisplay.from_predictions(
            labels[e.code], labels[e.answers.code], ax=ax, sample_weight=e.weight,
            show_precision=False, **wide,
        )  # fmt: skip
    if e.answers.probabilities:
        jobs["probabilities"] = lambda ax: RareReliabilityDisplay.from_predictions(
            y, e.proba, ax=ax, **kw, **wide
        )
        jobs["usefulness"] = lambda ax: DecisionCurveDisplay.from_predictions(
            y, e.proba, ax=ax, **kw, **wide
        )
    for key, draw in jobs.items():
        section = by_key[key]
        height = max(_SIZE[1], 0.28 * len(e.classes) + 1.2) if key == "decisions" else _SIZE[1]
        section.picture = Picture(_drawn(draw, (_SIZE[0], min(height, 12.0))), section.sentence)


def _drawable(label):
    """A label as matplotlib writes it: short, and no formula."""
    text = str(label)
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return text.replace("$", r"\$")


def _with_interval(display, estimate):
    """Draw again with the interval of the text, which rests on other draws."""
    _, display.average_precision_low, display.average_precision_high = estimate
    display.ax_.clear()
    display.plot(ax=display.ax_)


def _drawn(draw, size):
    """A PNG, under matplotlib's own style whatever the user's is, without pyplot."""
    style = require("matplotlib.style", extra="plot")
    figure = require("matplotlib.figure", extra="plot")
    agg = require("matplotlib.backends.backend_agg", extra="plot")
    with style.context("default"):
        canvas = agg.FigureCanvasAgg(figure.Figure(size, dpi=_DPI, layout="constrained"))
        draw(canvas.figure.subplots())
        buffer = BytesIO()
        canvas.figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
