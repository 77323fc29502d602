"""
Sixty rows that stand for thousands
===================================

A coreset is a small weighted set of rows on which a loss is what it is on all rows. Here logistic regression with
balanced class weights is fitted to a few rows chosen in three ways, and judged on all of them.
"""

import os

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_sample_weight

from skimb.pipeline import ResampledClassifier
from skimb.under_sampling import AutoCoresetSampler

FAST = bool(os.environ.get("SKIMB_FAST"))
X, y = make_classification(
    2000 if FAST else 8000, 8, n_informative=5, weights=[0.94], class_sep=0.7, random_state=0
)
weight = compute_sample_weight("balanced", y)


def objective(model):
    """What logistic regression minimises, on all rows."""
    p = model.predict_proba(X)[np.arange(len(y)), y]
    return -(weight @ np.log(p)) + 0.5 * (model.coef_**2).sum()


full = LogisticRegression().fit(X, y, sample_weight=weight)
least = objective(full)

# %%
# ``ResampledClassifier`` hands the weights of the coreset to the classifier, which a pipeline cannot do.

sizes = [40, 120] if FAST else [40, 80, 160, 320]
fig, ax = plt.subplots(figsize=(6, 4))
for backend in ("uniform", "importance", "lp"):
    excess = []
    for n in sizes:
        found = [
            objective(
                ResampledClassifier(
                    AutoCoresetSampler(n, backend=backend, random_state=seed), LogisticRegression()
                )
                .fit(X, y)
                .estimator_
            )
            for seed in range(1 if FAST else 4)
        ]
        excess.append(np.median(found) / least - 1)
    ax.plot(sizes, excess, "o-", label=backend)
    print(
        f"{backend:12s} excess",
        " ".join(f"{n}: {e:.4f}" for n, e in zip(sizes, excess, strict=True)),
    )
ax.set(xscale="log", yscale="log", xlabel="rows kept", ylabel="excess of the objective on all rows")
ax.legend()
plt.show()

# %%
# The rows that were kept, and how much each stands for.

sampler = AutoCoresetSampler(60, random_state=0)
X_few, y_few = sampler.fit_resample(X, y)
order = np.argsort(-sampler.sample_weight_)[:5]
print("kept", np.bincount(y_few).tolist(), "rows by class of", np.bincount(y).tolist())
print("largest weights", sampler.sample_weight_[order].round().tolist())
