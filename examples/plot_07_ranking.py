"""
Losses of pairs: ranking the rare class
=======================================

One minus the area under the ROC curve is a mean over pairs of a positive and a negative row. Its surrogates
train on all pairs of a batch at the cost of a sort, or less.
"""

import os
import time

import numpy as np
import torch
from sklearn.datasets import make_classification
from sklearn.metrics import average_precision_score, roc_auc_score

from skimb import functional
from skimb.losses import (
    AUCMargin,
    CrossEntropy,
    MannWhitney,
    Mixed,
    PartialAUC,
    SupervisedContrastive,
)
from skimb.neural_network import MLPClassifier

FAST = bool(os.environ.get("SKIMB_FAST"))

losses = {
    "cross-entropy": (CrossEntropy(), None),
    "cross-entropy, class weights": (CrossEntropy(), "balanced"),
    "Mann-Whitney, logistic": (MannWhitney(), None),
    "Mann-Whitney, squared hinge": (MannWhitney("squared_hinge"), None),
    "AUC margin": (AUCMargin(), None),
    "partial AUC, FPR below 0.1": (PartialAUC(0.1), None),
    "supervised contrastive": (Mixed(SupervisedContrastive(0.2), share=0.5), None),
}
found = {}
for seed in range(1 if FAST else 4):
    X, y = make_classification(
        4000, 20, n_informative=8, weights=[0.975], class_sep=0.8, flip_y=0.005, random_state=seed
    )
    train, test = slice(0, 2000), slice(2000, 4000)
    for name, (loss, class_weight) in losses.items():
        model = MLPClassifier(
            (32,), loss=loss, class_weight=class_weight, max_iter=10 if FAST else 40,
            learning_rate_init=0.003, batch_size=500, random_state=seed, tol=0,
        ).fit(X[train], y[train])  # fmt: skip
        score = model.decision_function(X[test])
        p = model.predict_proba(X[test])[:, 1]
        found.setdefault(name, []).append(
            [
                roc_auc_score(y[test], score),
                average_precision_score(y[test], score),
                p.mean() / y[test].mean(),
            ]
        )
print(f"{'loss':30s} AUC              AP               mean risk / prevalence")
for name, values in found.items():
    m, s = np.mean(values, 0), np.std(values, 0)
    print(f"{name:30s} {m[0]:.3f} +- {s[0]:.3f}  {m[1]:.3f} +- {s[1]:.3f}  {m[2]:.2f}")

# %%
# Class-weighted cross-entropy is a hard baseline for ranking too. Pair losses fix the order and leave the
# level of the scores open; estimators set the output intercept afterwards so that the mean risk is right.

# %%
# The cost: all pairs of 20,000 rows, value and gradient.

n = 4000 if FAST else 20000
rng = np.random.default_rng(0)
y = torch.as_tensor((rng.random(n) < 0.05).astype(int))
for surrogate in ("squared", "squared_hinge", "hinge", "logistic"):
    z = torch.as_tensor(rng.normal(size=n)).requires_grad_()
    start = time.perf_counter()
    functional.mann_whitney(z, y, surrogate=surrogate).backward()
    print(f"{surrogate:14s} {1e3 * (time.perf_counter() - start):8.1f} ms")
