"""Scores of stored predictions."""

from typing import NamedTuple

import numpy as np
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    f1_score,
    log_loss,
    roc_auc_score,
)
from sklearn.model_selection import train_test_split

from skimb.metrics import (
    balanced_mean_absolute_error,
    geometric_mean_score,
    recall_at_budget,
)


class Metric(NamedTuple):
    """Column of the results, its name on the page, whether large is good, differences that do not matter."""

    key: str
    title: str
    largest: bool
    rope: float = 0.01


AP = Metric("ap", "AP", True)
RATIO = Metric("ratio", "log-loss ratio", False)
BALANCED = Metric("balanced_accuracy", "balanced accuracy", True)
BINARY = (
    AP,
    RATIO,
    Metric("auc", "AUC", True),
    Metric("brier_skill", "Brier skill", True),
    Metric("recall_at_1", "recall at 1 %", True),
    Metric("tuned_f1", "tuned F1", True),
    Metric("tuned_balanced_accuracy", "tuned balanced accuracy", True),
    Metric("tuned_gmean", "tuned G-mean", True),
    Metric("tuned_mcc", "tuned MCC", True),
    BALANCED,
)
MULTICLASS = (
    BALANCED,
    RATIO,
    Metric("adjusted_balanced_accuracy", "balanced accuracy of p/prior", True),
    Metric("macro_f1", "macro F1", True),
)


ORDINAL = (
    Metric("mae", "MAE", False),
    Metric("macro_mae", "macro MAE", False),
    Metric("kappa", "quadratic kappa", True),
    BALANCED,
)
NUMBERS = (
    Metric("rmse_ratio", "RMSE ratio", False),
    Metric("balanced_ratio", "balanced MAE ratio", False),
    Metric("mae_ratio", "MAE ratio", False),
    Metric("rare_ratio", "RMSE ratio of rare targets", False),
)
LABELS = (
    Metric("macro_ap", "macro AP", True),
    Metric("micro_f1", "micro F1", True),
    Metric("macro_f1", "macro F1", True),
    Metric("hamming", "Hamming loss", False, 0.001),
    RATIO,
)
STREAMS = (
    AP,
    Metric("gmean", "G-mean", True),
    RATIO,
    Metric("tuned_gmean", "tuned G-mean", True),
    BALANCED,
)


def normalized(proba):
    """Probabilities without sums that are off by rounding of 32 bits."""
    return proba / proba.sum(1, keepdims=True)


def binary_scores(found, split):
    """All scores of two classes; `risk` is the mean probability as a share of the prevalence."""
    y, proba, prior = found["target"], normalized(found["proba"]), found["prior"]
    p, constant = proba[:, 1], np.tile(prior, (len(y), 1))
    loss = log_loss(y, proba, labels=[0, 1])
    return {
        "ap": average_precision_score(y, p),
        "log_loss": loss,
        "ratio": loss / log_loss(y, constant, labels=[0, 1]),
        "auc": roc_auc_score(y, p),
        "brier_skill": 1.0 - np.mean((p - y) ** 2) / np.mean((prior[1] - y) ** 2),
        "risk": p.mean() / y.mean(),
        "recall_at_1": recall_at_budget(y, p, budget=0.01),
        "balanced_accuracy": balanced_accuracy_score(y, found["decided"]),
    } | {f"tuned_{name}": value for name, value in tuned_scores(y, p, split).items()}


def multiclass_scores(found, split):
    """Scores of several classes; priors are the shares among the training rows."""
    y, proba, prior = found["target"], normalized(found["proba"]), found["prior"]
    labels = np.arange(proba.shape[1])
    loss = log_loss(y, proba, labels=labels)
    constant = log_loss(y, np.tile(prior, (len(y), 1)), labels=labels)
    return {
        "balanced_accuracy": balanced_accuracy_score(y, found["decided"]),
        "log_loss": loss,
        "ratio": loss / constant,
        "adjusted_balanced_accuracy": balanced_accuracy_score(y, (proba / prior).argmax(1)),
        "macro_f1": f1_score(y, found["decided"], average="macro", zero_division=0),
    }


def ordinal_scores(found, split):
    """Scores of decisions between ordered classes."""
    y, decided = found["target"], found["decided"]
    off = np.abs(y - decided)
    return {
        "mae": off.mean(),
        "macro_mae": np.mean([off[y == k].mean() for k in np.unique(y)]),
        "kappa": cohen_kappa_score(y, decided, weights="quadratic"),
        "balanced_accuracy": balanced_accuracy_score(y, decided),
    }


def number_scores(found, split):
    """Errors as shares of those of a constant: the mean of the training targets, or their median."""
    y, predicted = found["target"], found["predicted"]
    mean, median, low, high = found["prior"]
    rare = (y < low) | (y > high)
    squared, absolute = (y - predicted) ** 2, np.abs(y - predicted)
    balanced = balanced_mean_absolute_error(y, predicted)
    constant = (y - mean) ** 2
    return {
        "rmse": np.sqrt(squared.mean()),
        "rmse_ratio": np.sqrt(squared.mean() / constant.mean()),
        "mae_ratio": absolute.mean() / np.abs(y - median).mean(),
        "balanced_ratio": balanced / balanced_mean_absolute_error(y, np.full(len(y), median)),
        "rare_ratio": np.sqrt(squared[rare].mean() / constant[rare].mean())
        if rare.any()
        else np.nan,
    }


def label_scores(found, split):
    """Scores of several labels; macro means are over labels that some test row has."""
    Y, P, decided, prior = (found[key] for key in ("target", "proba", "decided", "prior"))
    held = np.flatnonzero(Y.any(0))
    loss, constant = (_label_loss(Y, p) for p in (P, np.tile(prior, (len(Y), 1))))
    return {
        "macro_ap": np.mean([average_precision_score(Y[:, k], P[:, k]) for k in held]),
        "micro_f1": f1_score(Y, decided, average="micro", zero_division=0),
        "macro_f1": f1_score(Y[:, held], decided[:, held], average="macro", zero_division=0),
        "hamming": np.mean(decided != Y),
        "log_loss": loss,
        "ratio": loss / constant,
    }


def _label_loss(Y, P):
    P = np.clip(P, 1e-15, 1 - 1e-15)
    return -np.mean(np.where(Y == 1, np.log(P), np.log1p(-P)))


def stream_scores(found, split):
    """Scores over all blocks of a stream, each predicted before it was learnt."""
    scores = binary_scores(found, split)
    gmean = geometric_mean_score(found["target"], found["decided"])
    return scores | {"gmean": gmean}


def tuned_scores(y, score, seed):
    """Scores of decisions by thresholds tuned on one half of the rows and scored on the other, both ways.

    The halves are stratified and depend on the targets and the seed alone, so that they are the same for all
    methods.
    """
    halves = train_test_split(np.arange(len(y)), test_size=0.5, stratify=y, random_state=seed)
    found = [_transferred(y, score, *pair) for pair in (halves, halves[::-1])]
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def _transferred(y, score, tune, test):
    order = tune[np.argsort(-score[tune], kind="stable")]
    falling, hit = score[order], y[order]
    last = np.flatnonzero(np.r_[falling[1:] < falling[:-1], True])  # of each distinct score
    tp = np.cumsum(hit)[last]
    values = rates(tp, last + 1 - tp, hit.sum(), len(hit) - hit.sum())
    between = np.r_[(falling[last[:-1]] + falling[last[:-1] + 1]) / 2, -np.inf]
    scores = {}
    for name, value in values.items():
        chosen = score[test] >= between[value.argmax()]
        tp, fp = (chosen & (y[test] == 1)).sum(), (chosen & (y[test] == 0)).sum()
        scores[name] = rates(tp, fp, (y[test] == 1).sum(), (y[test] == 0).sum())[name]
    return scores


def rates(tp, fp, positives, negatives):
    """F1, balanced accuracy, G-mean and MCC from counts of rows above thresholds."""
    tp, fp = np.asarray(tp, float), np.asarray(fp, float)
    recall, passed = tp / positives, 1.0 - fp / negatives
    fn, tn = positives - tp, negatives - fp
    spread = np.sqrt((tp + fp) * (tn + fn) * positives * negatives)
    return {
        "f1": 2 * tp / (tp + fp + positives),
        "balanced_accuracy": (recall + passed) / 2,
        "gmean": np.sqrt(recall * passed),
        "mcc": np.where(spread > 0, (tp * tn - fp * fn) / np.maximum(spread, 1e-300), 0.0),
    }
