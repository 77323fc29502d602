"""
A search over losses in seconds
===============================

The same ``GridSearchCV`` twice: as it is, and inside ``batched_fits``, where the fits of a fold are trained as one
population of nets. The scores are those of single fits.
"""

import os
import time
import warnings

import numpy as np
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skimb.linear_model import LinearClassifier
from skimb.losses import AnyLoss, Asymmetric, CrossEntropy, Focal, LogitAdjusted
from skimb.model_selection import LossSearchCV, batched_fits
from skimb.neural_network import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)
FAST = bool(os.environ.get("SKIMB_FAST"))
X, y = make_classification(
    500 if FAST else 2000, 20, n_informative=8, weights=[0.95], class_sep=0.9, random_state=0
)

# %%
# Losses of different kinds, learning rates and class weights in one grid. An integer ``random_state`` makes members
# of a fold see the same rows in the same order.

net = MLPClassifier((32,), max_iter=5 if FAST else 15, batch_size=128, tol=0, random_state=0)
model = make_pipeline(StandardScaler(), net)
shared = {"mlpclassifier__learning_rate_init": [0.001, 0.003, 0.01]}
grid = [
    {
        "mlpclassifier__loss": [CrossEntropy(), LogitAdjusted(), Asymmetric()],
        "mlpclassifier__class_weight": [None, "balanced"],
        **shared,
    },
    {"mlpclassifier__loss": [Focal()], "mlpclassifier__loss__gamma": [0.5, 1, 2, 5], **shared},
]


def search():
    return GridSearchCV(model, grid, scoring="average_precision", cv=5).fit(X, y)


start = time.perf_counter()
alone = search()
seconds = time.perf_counter() - start
start = time.perf_counter()
with batched_fits() as batch:
    together = search()
shared_seconds = time.perf_counter() - start

difference = np.abs(
    together.cv_results_["mean_test_score"] - alone.cv_results_["mean_test_score"]
).max()
print(f"populations: {batch.sizes}")
print(f"alone {seconds:.1f} s, as populations {shared_seconds:.1f} s")
print(f"largest difference of a mean score: {difference:.1e}")
print(f"best: {together.best_params_}")

# %%
# Which loss for my metric?
# -------------------------
# ``LossSearchCV`` takes the losses themselves as candidates, always with plain and class-weighted cross-entropy
# beside them, fits the scaler once per fold and scores all members of a fold at once. Thresholds come from the
# predictions of the other folds, so every candidate is judged at its best decision without being flattered.

losses = [Focal, LogitAdjusted, Asymmetric(), AnyLoss("f1")]
start = time.perf_counter()
which = LossSearchCV(model, shared, losses=losses, scoring="f1", threshold=True, cv=5).fit(X, y)
print(
    f"{len(which.cv_results_['params'])} candidates x 5 folds in {time.perf_counter() - start:.1f} s"
)
print(which.advice_)
columns = ["loss", "role", "mean", "std", "mean_untuned_score", "threshold"]
print(
    which.results_frame()
    .groupby(["loss", "role"], sort=False)
    .head(1)[columns]
    .to_string(index=False)
)

# %%
# The refitted model decides at the threshold that all folds' predictions suggest; how far the folds' own thresholds
# lie apart says how well it is known.

print(f"threshold {which.threshold_:.2f}, by fold {np.round(which.thresholds_, 2).tolist()}")
which.plot()

# %%
# Nets, trees or something else?
# ------------------------------
# A list of pairs (name, classifier) searches over several estimators on the same folds. Those that take losses are
# crossed with them, nets are trained as populations, all others by themselves; the ensemble may take members of
# every kind. ``advice_`` says which kind is best and whether its lead is more than noise.

kinds = [
    ("nets", model),
    ("linear", make_pipeline(StandardScaler(), LinearClassifier())),
    ("trees", HistGradientBoostingClassifier(max_iter=10 if FAST else 100, random_state=0)),
]
grids = {"nets": shared, "trees": {"learning_rate": [0.03, 0.1]}}
wide = LossSearchCV(
    kinds, grids, losses=[Focal, LogitAdjusted], scoring="average_precision", cv=5, ensemble=8
).fit(X, y)
print(wide.advice_)
print(f"best: {wide.best_name_} {wide.best_params_}, {wide.best_score_:.3f}")
for weight, name, params in wide.ensemble_:
    print(f"{weight:.2f} of {name} {params}")
print(f"ensemble: {wide.ensemble_score_:.3f} on the predictions it was picked on")
