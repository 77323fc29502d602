"""
The same losses under boosted trees
===================================

Any loss with losses of single rows is an objective of LightGBM and XGBoost: gradient and Hessian come from
the same closed forms as for nets. The estimators start from the best constant, apply weights, and give
probabilities of the training population.
"""

import os

import numpy as np
from sklearn.datasets import make_classification
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score

from skimb.boosting import LGBMImbalancedClassifier
from skimb.losses import BalancedSoftmax, ClassBalanced, CompSum, CrossEntropy, Focal, Poly

FAST = bool(os.environ.get("SKIMB_FAST"))

models = {
    "cross-entropy": (CrossEntropy(), None),
    "cross-entropy, class weights": (CrossEntropy(), "balanced"),
    "focal": (Focal(1.0), None),
    "class-balanced": (ClassBalanced("auto"), None),
    "balanced softmax": (BalancedSoftmax(), None),
    "comp-sum, tau 1.5": (CompSum(1.5), None),
    "Poly-1": (Poly(1.0), None),
}
found = {}
for seed in range(1 if FAST else 4):
    X, y = make_classification(
        6000, 20, n_informative=10, weights=[0.97], class_sep=0.9, random_state=seed
    )
    train, test = slice(0, 3000), slice(3000, 6000)
    for name, (loss, class_weight) in models.items():
        model = LGBMImbalancedClassifier(
            loss, class_weight=class_weight, n_estimators=20 if FAST else 300, learning_rate=0.05,
            num_leaves=15, early_stopping=True, validation_fraction=0.2, n_iter_no_change=20,
            random_state=seed, n_jobs=1,
        ).fit(X[train], y[train])  # fmt: skip
        p = model.predict_proba(X[test])[:, 1]
        found.setdefault(name, []).append(
            [
                average_precision_score(y[test], p),
                brier_score_loss(y[test], p),
                f1_score(y[test], model.predict(X[test])),
                p.mean() / y[test].mean(),
            ]
        )
print(f"{'loss':30s} AP               Brier    F1 of predict   mean risk / prevalence")
for name, values in found.items():
    m, s = np.mean(values, 0), np.std(values, 0)
    print(f"{name:30s} {m[0]:.3f} +- {s[0]:.3f}  {m[1]:.4f}   {m[2]:.3f}           {m[3]:.2f}")

# %%
# Balanced softmax is cross-entropy with another starting point, so the trees, and with them ranking and
# probabilities, are the same; its ``predict`` decides for balance. Weights change the trees. Undoing them
# is exact for a model that is calibrated on the weighted problem; trees that are too sure of it leave the
# mean risk too low, so calibrate such models before their probabilities are used.
