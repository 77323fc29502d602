"""
Thresholds, budgets and honest probabilities
============================================

Logistic regression with class weights finds the rare class and lies about its probability. Three remedies in one
go: the probabilities are moved back, the threshold is found by cost, and the scores say what a team that can
look at few cases will see.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split

from skimb.metrics import (
    calibration_table,
    classification_table,
    expected_calibration_error,
    partial_roc_auc_score,
    precision_at_budget,
    recall_at_budget,
    register_scorers,
)
from skimb.model_selection import TunedThresholdClassifierCV
from skimb.posthoc import PriorCorrectedClassifier

X, y = make_classification(
    12000, 10, n_informative=5, weights=[0.97], class_sep=0.8, flip_y=0.005, random_state=0
)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)

# %%
# Probabilities. Bins hold equal expected numbers of rare rows, and intervals hold with few of them.

weighted = LogisticRegression(class_weight="balanced").fit(X, y)
corrected = PriorCorrectedClassifier(weighted).fit(X, y)
fig, ax = plt.subplots(figsize=(5, 5))
for name, model in (("class weights", weighted), ("corrected", corrected)):
    p = model.predict_proba(X_test)[:, 1]
    table = calibration_table(y_test, p, n_bins=6)
    error = expected_calibration_error(y_test, p)
    print(
        f"{name:15s} calibration error {error:.4f}, bins within chance {int(table.inside.sum())} of "
        f"{len(table.inside)}"
    )
    bars = [table.observed - table.low, table.high - table.observed]
    ax.errorbar(table.predicted, table.observed, bars, fmt="o", label=name)
ax.plot([1e-3, 1], [1e-3, 1], "k:", lw=1)
ax.set(xscale="log", yscale="log", xlabel="predicted", ylabel="observed")
ax.legend()
plt.show()

# %%
# A review budget: of 6,000 cases a team can look at some.

p = corrected.predict_proba(X_test)[:, 1]
for budget in (30, 60, 180, 600):
    precision = precision_at_budget(y_test, p, budget=budget)
    recall = recall_at_budget(y_test, p, budget=budget)
    print(f"{budget:4d} cases: {precision:.2f} of them rare, {recall:.2f} of all rare ones found")
print(
    f"partial AUC up to a false-positive rate of 0.05: {partial_roc_auc_score(y_test, p, max_fpr=0.05):.3f}"
)

# %%
# A threshold by cost: a missed case costs 20, a false alarm 1. Recall has an interval, for rare rows are few.

tuned = TunedThresholdClassifierCV(corrected, cost=[[0, 1], [20, 0]]).fit(X, y)
table = classification_table(y_test, tuned.predict(X_test), tuned.predict_proba(X_test))
print(f"threshold {tuned.threshold_:.3f}; recall of the rare class {table.recall[1]:.2f}", end=" ")
print(
    f"({table.recall_low[1]:.2f} to {table.recall_high[1]:.2f}), precision {table.precision[1]:.2f}"
)

# %%
# The same scores steer searches, by name.

register_scorers()
search = GridSearchCV(
    LogisticRegression(max_iter=1000), {"C": [0.001, 0.01, 1.0]}, scoring="recall_at_5_percent"
).fit(X, y)
print(search.best_params_, f"{search.best_score_:.3f}")
