"""
Few rare rows: heads that learn from a handful
==============================================

Average precision of five linear heads against the number of rare training rows, and the steps that gradient
descent needs until rare rows are on their side, against how rare they are.
"""

import os
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB

from skimb.linear_model import NormalizedLogisticClassifier
from skimb.naive_bayes import PooledGaussianNB

FAST = bool(os.environ.get("SKIMB_FAST"))
warnings.simplefilter("ignore", ConvergenceWarning)
X, y = load_digits(return_X_y=True)
X, y = X / 16, (y == 1).astype(int)

# %%
# The digit 1 against all others, with few ones in training.

heads = {
    "pooled naive Bayes": PooledGaussianNB(var_smoothing=1e-3),
    "naive Bayes": GaussianNB(var_smoothing=1e-3),
    "shrunk discriminant analysis": LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    "logistic regression": LogisticRegression(),
    "normalised steps": NormalizedLogisticClassifier(max_iter=200),
}
sizes = [3, 20] if FAST else [2, 3, 5, 10, 20, 50, 90]
scores = {name: [] for name in heads}
for m in sizes:
    found = {name: [] for name in heads}
    for seed in range(2 if FAST else 15):
        parts = train_test_split(X, y, test_size=0.5, stratify=y, random_state=seed)
        X_train, X_test, y_train, y_test = parts
        kept = np.r_[np.flatnonzero(y_train == 0), np.flatnonzero(y_train == 1)[:m]]
        for name, head in heads.items():
            head.fit(X_train[kept], y_train[kept])
            p = (
                head.decision_function(X_test)
                if hasattr(head, "decision_function")
                else head.predict_proba(X_test)[:, 1]
            )
            found[name].append(average_precision_score(y_test, p))
    for name, values in found.items():
        scores[name].append(np.mean(values))
print("rare rows".ljust(30), *(f"{m:6d}" for m in sizes))
for name, values in scores.items():
    print(name.ljust(30), *(f"{v:6.3f}" for v in values))

# %%
# One rare row against n - 1 copies of a common one: steps until both are on their side.

counts = [10, 100, 1000]
steps = {
    f"{variant}, step {step:g}": [
        NormalizedLogisticClassifier(step, variant=variant, fit_intercept=False, max_iter=10**5)
        .fit(np.c_[np.r_[0.5, np.full(n - 1, -0.5)], -np.ones(n)], np.arange(n) == 0)
        .n_iter_[0]
        for n in counts
    ]
    for variant, step in (("nlr", 10.0), ("nlr", 1.0), ("lr", 100.0), ("lr", 10.0))
}
fig, axes = plt.subplots(1, 2, figsize=(10, 4))
for name, values in scores.items():
    axes[0].plot(sizes, values, "o-", label=name)
axes[0].set(xscale="log", xlabel="rare rows in training", ylabel="average precision")
for name, values in steps.items():
    axes[1].plot(counts, values, "o-", label=name)
axes[1].set(xscale="log", yscale="log", xlabel="rows per rare row", ylabel="steps")
for ax in axes:
    ax.legend()
plt.show()

# %%
# Normalised steps do not mind imbalance. In average precision that buys nothing.
