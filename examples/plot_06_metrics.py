"""
Training for a metric, for grades and for costs
===============================================

Losses of the confusion kernel aim at a score of the decisions: F1, agreement of ordered grades, or what
errors cost. For each there is an honest rival: cross-entropy, whose probabilities are turned into decisions
afterwards.
"""

import os

import numpy as np
from sklearn.datasets import make_classification
from sklearn.metrics import cohen_kappa_score, f1_score
from sklearn.model_selection import TunedThresholdClassifierCV

from skimb.linear_model import LinearClassifier
from skimb.losses import (
    AnyLoss,
    CrossEntropy,
    ExpectedCost,
    Lovasz,
    Mixed,
    QuadraticWeightedKappa,
    Tversky,
)
from skimb.neural_network import MLPClassifier

FAST = bool(os.environ.get("SKIMB_FAST"))

# %%
# F1 of a rare class by a linear model. The rival tunes its threshold by cross-validation.

seeds = range(2 if FAST else 6)
found = {}
for seed in seeds:
    X, y = make_classification(
        3000, 12, n_informative=6, weights=[0.95], class_sep=0.9, random_state=seed
    )
    train, test = slice(0, 1500), slice(1500, 3000)
    models = {
        "cross-entropy": LinearClassifier(),
        "cross-entropy, tuned threshold": TunedThresholdClassifierCV(
            LinearClassifier(), scoring="f1"
        ),
        "AnyLoss F1": LinearClassifier(loss=AnyLoss("f1")),
        "Lovasz hinge": LinearClassifier(loss=Lovasz()),
        "focal Tversky": LinearClassifier(loss=Tversky()),
    }
    for name, model in models.items():
        score = f1_score(y[test], model.fit(X[train], y[train]).predict(X[test]))
        found.setdefault(name, []).append(score)
print("F1")
for name, scores in found.items():
    print(f"  {name:32s} {np.mean(scores):.3f} +- {np.std(scores):.3f}")

# %%
# Ordered grades: the quadratic weighted kappa counts the distance of an error.

found = {}
for seed in seeds:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(1500, 6))
    grade = np.digitize(X[:, 0] + 0.5 * X[:, 1] + 0.8 * rng.normal(size=1500), [-2.0, 0.8, 2.0])
    train, test = slice(0, 800), slice(800, 1500)
    kappa = Mixed(QuadraticWeightedKappa(), share=0.5)
    for name, loss in {"cross-entropy": CrossEntropy(), "kappa": kappa}.items():
        model = MLPClassifier(
            (16,),
            loss=loss,
            max_iter=20 if FAST else 100,
            learning_rate_init=0.01,
            random_state=seed,
        ).fit(X[train], grade[train])
        agreement = cohen_kappa_score(grade[test], model.predict(X[test]), weights="quadratic")
        found.setdefault(name, []).append(agreement)
print("quadratic weighted kappa")
for name, scores in found.items():
    print(f"  {name:32s} {np.mean(scores):.3f} +- {np.std(scores):.3f}")

# %%
# Costs that differ from row to row: a missed fraud costs its amount, a false alarm one unit. The rival
# decides by expected cost from its probabilities.

found = {}
for seed in seeds:
    X, y = make_classification(3000, 12, n_informative=6, weights=[0.95], random_state=seed)
    amount = np.random.default_rng(seed).lognormal(2.0, 1.0, len(y))
    cost = np.zeros((len(y), 2))
    cost[y == 0, 1] = 1.0
    cost[y == 1, 0] = amount[y == 1]
    train, test = slice(0, 1500), slice(1500, 3000)
    plain = MLPClassifier((16,), max_iter=20 if FAST else 80, random_state=seed).fit(
        X[train], y[train]
    )
    aimed = MLPClassifier(
        (16,), loss=Mixed(ExpectedCost(), share=0.1), max_iter=20 if FAST else 80, random_state=seed
    )
    aimed.fit(X[train], y[train], cost=cost[train])
    p = plain.predict_proba(X[test])[:, 1]
    decisions = {
        "cross-entropy at one half": plain.predict(X[test]),
        "cross-entropy, cheapest decision": (p * amount[test] > 1 - p).astype(int),
        "expected cost": aimed.predict(X[test]),
    }
    for name, decided in decisions.items():
        found.setdefault(name, []).append(cost[test][np.arange(1500), decided].mean())
print("mean cost of a row, the lower the better")
for name, scores in found.items():
    print(f"  {name:32s} {np.mean(scores):.3f} +- {np.std(scores):.3f}")

# %%
# The cheapest decision knows the amount of the row at hand when it decides; the trained decision knows
# costs in training only. Where amounts are known at prediction time, honest probabilities are the stronger
# tool.
