"""
Ensembles for rare classes
==========================

A checkerboard of two overlapping classes, one ten times as frequent. Members of these ensembles see all rare rows
and as many common ones, chosen at random or by what the ensemble knows already. Below, a net that grows unit by
unit and can be cut off anywhere.
"""

import os
import warnings

import matplotlib.pyplot as plt
import numpy as np
from imblearn.ensemble import BalancedBaggingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import average_precision_score, log_loss
from sklearn.tree import DecisionTreeClassifier

from skimb.ensemble import (
    BalanceCascadeClassifier,
    GradientBoostedMLPClassifier,
    PopulationBaggingClassifier,
    SelfPacedEnsembleClassifier,
)
from skimb.neural_network import MLPClassifier

FAST = bool(os.environ.get("SKIMB_FAST"))
warnings.simplefilter("ignore", ConvergenceWarning)


def checkerboard(seed, rare=300, common=3000):
    rng = np.random.default_rng(seed)
    fields = np.array([(i, j) for i in range(4) for j in range(4)])
    odd = fields.sum(1) % 2
    y = np.r_[np.zeros(common, int), np.ones(rare, int)]
    sides = [fields[odd == k][rng.integers(8, size=(y == k).sum())] for k in (0, 1)]
    return np.vstack(sides) + np.sqrt(0.1) * rng.normal(size=(len(y), 2)), y


X, y = checkerboard(0)
X_test, y_test = checkerboard(1)

# %%
# Deep trees profit from hardness, nets do not.

tree = DecisionTreeClassifier(max_depth=10, random_state=0)
net = MLPClassifier(
    (64,), learning_rate_init=0.01, max_iter=5 if FAST else 60, n_iter_no_change=60, random_state=0
)
models = {
    "one tree": tree,
    "random bags, 10 trees": BalancedBaggingClassifier(tree, 10, random_state=0),
    "self-paced, 10 trees": SelfPacedEnsembleClassifier(tree, 10, random_state=0),
    "cascade, 10 trees": BalanceCascadeClassifier(tree, 10, random_state=0),
    "one net": net,
    "random bags, 10 nets as one population": PopulationBaggingClassifier(net, 10, random_state=0),
    "self-paced, 10 nets": SelfPacedEnsembleClassifier(net, 10, random_state=0),
}
print(f"{'model':40s}   AP    log-loss")
for name, model in models.items():
    p = model.fit(X, y).predict_proba(X_test)[:, 1]
    print(f"{name:40s} {average_precision_score(y_test, p):.3f}   {log_loss(y_test, p):.3f}")

# %%
# Which common rows do members see? The first ones any, the last ones those at the borders.

model = models["self-paced, 10 trees"]
fig, axes = plt.subplots(1, 3, figsize=(12, 4), sharex=True, sharey=True)
for ax, member in zip(axes[:2], (0, 9), strict=True):
    rows = model.estimators_samples_[member]
    ax.scatter(*X[rows].T, c=y[rows], s=6, cmap="coolwarm")
    ax.set_title(f"member {member + 1}")
grid = np.stack(np.meshgrid(np.linspace(-1, 4, 80), np.linspace(-1, 4, 80)), -1).reshape(-1, 2)
axes[2].scatter(*grid.T, c=model.decision_function(grid), s=8, cmap="coolwarm")
axes[2].set_title("decision")
plt.show()

# %%
# A net that grows: every prefix is a model, and the whole is one ordinary net.

grown = GradientBoostedMLPClassifier(
    n_estimators=10 if FAST else 80, units_per_stage=2, class_weight="balanced", random_state=0
).fit(X, y)
curve = [average_precision_score(y_test, p[:, 1]) for p in grown.staged_predict_proba(X_test)]
fig, ax = plt.subplots(figsize=(6, 4))
ax.plot(2 * np.arange(1, len(curve) + 1), curve)
ax.set(xlabel="hidden units", ylabel="average precision")
plt.show()
one = grown.to_mlp()
print("one net of", one.coefs_[0].shape[1], "units; largest difference of a probability:")
print(f"{np.abs(one.predict_proba(X_test) - grown.predict_proba(X_test)).max():.0e}")
