"""Tables and drawings of a search over losses."""

import numpy as np
from scipy.stats import rankdata

from skimb._core.html import card, escaped, table
from skimb._core.optional import require
from skimb.losses import CrossEntropy
from skimb.model_selection._candidates import OTHER, PLAIN, SPECIAL, WEIGHTED, is_baseline

_SHOWN = 5  # candidates that notebooks show
_EXTRA = ("threshold", "std_threshold", "mean_untuned_score", "n_epochs", "n_ensembles", "finished")


def label(params):
    """A setting in a few words."""
    return ", ".join(f"{name.rsplit('__', 1)[-1]}={value!r}" for name, value in params.items())


def labels(results):
    """Candidates in a few words, those of several estimators with its name."""
    said = [label(params) for params in results["params"]]
    if "estimator" not in results:
        return said
    plain = label({"loss": CrossEntropy(), "class_weight": None})
    said = [text.replace(plain, "plain cross-entropy") for text in said]
    return [
        f"{name} ({text})" if text else name
        for name, text in zip(results["estimator"], said, strict=True)
    ]


def fold_scores(results, name):
    """Scores of all candidates, shape (K, folds)."""
    n = sum(key.startswith("split") and key.endswith(f"_test_{name}") for key in results)
    return np.stack([results[f"split{j}_test_{name}"] for j in range(n)], axis=1)


def finished(results):
    """Candidates whose training was not cut short by halving, ours or scikit-learn's, as a mask."""
    if "iter" in results:
        return results["iter"] == np.max(results["iter"])
    return results.get("finished", np.ones(len(results["params"]), bool))


def _losses(results, name):
    """Mean scores with the sign changed, infinite where a fit failed."""
    return -np.nan_to_num(results[f"mean_test_{name}"], nan=-np.inf)


def standing(results, name):
    """The order of the candidates, best first; those that were dropped or failed come last."""
    return np.lexsort((_losses(results, name), ~finished(results)))


def ranks(results, name):
    """Ranks by mean score, 1 for the best, as scikit-learn gives them; what was dropped ranks last."""
    values, ended = _losses(results, name), finished(results)
    found = np.empty(len(values), np.int32)
    found[ended] = rankdata(values[ended], "min")
    found[~ended] = ended.sum() + rankdata(values[~ended], "min")
    return found


def best_baseline(results, name):
    """Number of the candidate that a special loss has to beat, or None."""
    order = standing(results, name)
    baseline = is_baseline(results["role"], "estimator" in results)
    return next(iter(order[baseline[order]].tolist()), None)


def frame(results, name, losses):
    """Candidates as a pandas table, best first; those that were dropped come last.

    Parameters
    ----------
    results : dict
        ``cv_results_``.
    name : str
        The metric.
    losses : list of str
        Name of each candidate's loss.

    Returns
    -------
    pandas.DataFrame
        One row per candidate.
    """
    pandas = require("pandas", extra="data")
    scores, roles = fold_scores(results, name), results["role"]
    means = results[f"mean_test_{name}"]
    several = "estimator" in results
    baseline = best_baseline(results, name)
    base = np.full(scores.shape[1], np.nan) if baseline is None else scores[baseline]
    rows = []
    for k in standing(results, name):
        params, d = results["params"][k], scores[k] - base
        row = {"estimator": results["estimator"][k]} if several else {}
        row |= {"loss": losses[k], "role": roles[k], "setting": label(params), "mean": means[k]}
        row["std"], row["difference"] = results[f"std_test_{name}"][k], d.mean()
        row["error"] = d.std(ddof=1) / np.sqrt(len(d)) if len(d) > 1 else np.nan
        for column in _EXTRA:
            if column in results:
                value = results[column][k]
                row[column] = value if np.ndim(value) == 0 else tuple(value.tolist())
        rows.append(row)
    return pandas.DataFrame(rows)


def draw(table, xlabel, ax):
    """Draw the best setting of each loss with its spread over folds, and both baselines.

    Losses all of whose settings were dropped are hollow.
    """
    pyplot = require("matplotlib.pyplot", extra="plot")
    several = "estimator" in table
    by = ["estimator", "role", "loss"] if several else ["role", "loss"]
    best = table.dropna(subset=["mean"]).groupby(by, sort=False).head(1)[::-1]
    if ax is None:
        ax = pyplot.subplots(figsize=(6, 1.0 + 0.25 * len(best)))[1]
    names = best["loss"].where(best["role"] != WEIGHTED, "CrossEntropy, weighted")
    names = names.where(best["role"] != PLAIN, "CrossEntropy, plain")
    if several:
        names = best["estimator"] + names.where(best["role"] == OTHER, ": " + names)
    colors = best["role"].map({PLAIN: "C7", WEIGHTED: "C1", SPECIAL: "C0", OTHER: "C2"})
    ax.hlines(names, best["mean"] - best["std"], best["mean"] + best["std"], colors=colors)
    whole = best["finished"] if "finished" in best else np.ones(len(best), bool)
    ax.scatter(
        best["mean"], names, facecolors=colors.where(whole, "white"), edgecolors=colors, zorder=3
    )
    line = best.loc[is_baseline(best["role"], several) & whole, "mean"].max()
    ax.axvline(line, color="C1", linewidth=0.8, linestyle="--")
    if not np.all(whole):
        xlabel += "\nhollow: dropped before its training ended"
    ax.set_xlabel(xlabel)
    return ax


def shown(search):
    """What notebooks show of a fitted search: the advice and its best candidates.

    Parameters
    ----------
    search : LossSearchCV
        Fitted.

    Returns
    -------
    str
        HTML.
    """
    results, name = search.cv_results_, search._metric
    order, said = standing(results, name), labels(results)
    tuned = "threshold" in results
    rows = [
        (
            said[k],
            results["role"][k],
            float(results[f"mean_test_{name}"][k]),
            float(results[f"std_test_{name}"][k]),
            *([_rule(results["threshold"][k])] if tuned else []),
        )
        for k in order
    ]
    header = ("candidate", "role", f"mean {search._shown}", "deviation over folds")
    parts = [f"<p>{escaped(search.advice_)}</p>"] if search.advice_ else []
    parts.append(table((*header, *(("threshold",) * tuned)), rows, most=_SHOWN, longest=120))
    what = f"<details><summary>The search</summary><code>{escaped(search)}</code></details>"
    return card(
        f"{type(search).__name__}: {len(rows)} candidates, {search.n_splits_} folds", *parts, what
    )


def _rule(threshold):
    return float(threshold) if np.ndim(threshold) == 0 else ", ".join(f"{t:.3g}" for t in threshold)
