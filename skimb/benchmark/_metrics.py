"""Scores of stored predictions."""

from typing import NamedTuple

import numpy as np
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    roc_auc_score,
)
from sklearn.model_selection import train_test_split

from skimb.metrics import recall_at_budget


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
