"""
Losses that read class counts
=============================

Ten classes of digits with a long tail. Weights, margins, temperatures and shifts of the logits all try to
make rare classes count. The table holds balanced accuracy (mean recall) and log-loss over three splits;
cross-entropy with class weights is the bar.
"""

import os

import numpy as np
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skimb.datasets import load_digits_long_tailed
from skimb.losses import (
    LDAM,
    BalancedSoftmax,
    ClassBalanced,
    ClassDependentTemperature,
    CrossEntropy,
    Deferred,
    Focal,
    Seesaw,
)
from skimb.neural_network import MLPClassifier

FAST = bool(os.environ.get("SKIMB_FAST"))
X, y = load_digits_long_tailed()
print("rows per class:", np.bincount(y).tolist())

# %%
# ``Deferred`` trains cross-entropy first and switches late; the other losses act from the start.

models = {
    "cross-entropy": (CrossEntropy(), None),
    "cross-entropy, class weights": (CrossEntropy(), "balanced"),
    "class-balanced": (ClassBalanced("auto"), None),
    "class-balanced, deferred": (Deferred(ClassBalanced(0.9999)), None),
    "balanced softmax": (BalancedSoftmax(), None),
    "class-dependent temperature": (ClassDependentTemperature(0.2), None),
    "seesaw": (Seesaw(), None),
    "LDAM": (LDAM(), None),
    "focal": (Focal(1.0), None),
}
splits = StratifiedShuffleSplit(1 if FAST else 3, test_size=0.4, random_state=0)
rows = {name: [] for name in models}
for train, test in splits.split(X, y):
    for name, (loss, class_weight) in models.items():
        net = MLPClassifier(
            (64,), loss=loss, class_weight=class_weight, max_iter=10 if FAST else 60, tol=0,
            learning_rate_init=0.003, random_state=0,
        )  # fmt: skip
        model = make_pipeline(StandardScaler(), net).fit(X[train], y[train])
        rows[name].append(
            [
                balanced_accuracy_score(y[test], model.predict(X[test])),
                log_loss(y[test], model.predict_proba(X[test]), labels=model.classes_),
            ]
        )

print(f"{'loss':30s} balanced accuracy   log-loss")
for name, found in rows.items():
    mean, spread = np.mean(found, 0), np.std(found, 0)
    print(f"{name:30s} {mean[0]:.3f} +- {spread[0]:.3f}     {mean[1]:.3f}")

# %%
# Read differences against the spread. Balanced softmax and class weights move the decision and keep an
# honest log-loss, because ``predict_proba`` undoes the move. Deferring weights to the last fifth of the
# epochs helps them. LDAM and seesaw have no closed form for probabilities: theirs are plain softmax scores.
