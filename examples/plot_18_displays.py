"""
Pictures of a rare class
========================

Which pictures answer what a team asks of a classifier of a rare class: how many cases must be looked at, where to
put the threshold, whether probabilities can be believed, what decisions are worth. All of them take any
scikit-learn classifier, fitted, cross-validated, or as a list of scores. The rows are scikit-learn's breast cancer
data with one malignant tumour in eleven, and its digits with a long tail.
"""

import os

import matplotlib.pyplot as plt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_validate, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skimb.datasets import load_breast_cancer_rare, load_digits_long_tailed
from skimb.inspection import (
    DecisionCurveDisplay,
    GainLiftDisplay,
    PerClassRecallDisplay,
    PrecisionRecallBandDisplay,
    RareReliabilityDisplay,
    ReviewBudgetDisplay,
    ScoreDistributionDisplay,
    SearchDisplay,
    ThresholdDisplay,
)
from skimb.model_selection import TunedThresholdClassifierCV
from skimb.posthoc import PriorCorrectedClassifier

FAST = os.environ.get("SKIMB_FAST") == "1"
X, y = load_breast_cancer_rare()
X = X[:, :4]  # radius, texture, perimeter, area: all of them would be too easy
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X_train, y_train)
print(f"{y_test.sum()} of {len(y_test)} test rows are malignant")

# %%
# How many cases must be looked at? With 18 malignant rows the intervals are wide, and the picture says so.

ReviewBudgetDisplay.from_estimator(model, X_test, y_test, budget=25, name="logistic regression")
plt.show()

# %%
# The same rows as precision and recall, and as gain.

fig, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
PrecisionRecallBandDisplay.from_estimator(model, X_test, y_test, ax=axes[0], name="logistic")
GainLiftDisplay.from_estimator(model, X_test, y_test, ax=axes[1], name="logistic")
plt.show()

# %%
# Where to put the threshold? Folds say how well it is known; costs and constraints stand in the same picture.

cv = cross_validate(
    model, X, y, cv=5, return_estimator=True, return_indices=True, scoring="average_precision"
)
ThresholdDisplay.from_cv_results(
    cv, X, y, metrics=["recall", "precision"], cost=[[0, 1], [10, 0]], constraint={"recall": 0.8}
)
plt.show()

# %%
# A tuned threshold, among the scores of both classes.

tuned = TunedThresholdClassifierCV(model, scoring="f1").fit(X_train, y_train)
ScoreDistributionDisplay.from_estimator(
    tuned, X_test, y_test, thresholds={"tuned": tuned.threshold_, "argmax": 0.5}
)
plt.show()

# %%
# Can probabilities be believed? Class weights make them too high; the correction moves them back.

weighted = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
weighted.fit(X_train, y_train)
corrected = PriorCorrectedClassifier(weighted).fit(X_train, y_train)
RareReliabilityDisplay.from_estimator(
    corrected, X_test, y_test, before=weighted, name="corrected", before_name="class weights"
)
plt.show()

# %%
# What are decisions worth, to who takes so many false alarms for a hit?

DecisionCurveDisplay.from_cv_results(cv, X, y, name="logistic regression")
plt.show()

# %%
# Digits with a long tail: recall falls with the training rows, and hollow points are hardly known.

X, y = load_digits_long_tailed()
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)
digits = LogisticRegression(max_iter=2000).fit(X_train, y_train)
PerClassRecallDisplay.from_estimator(digits, X_test, y_test, y_train=y_train)
plt.show()

# %%
# Is a setting better beyond noise? Differences over the same folds, with the interval that shared training rows
# call for.

folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=1 if FAST else 3, random_state=0)
settings = {
    "plain": {"class_weight": None},
    "balanced": {"class_weight": "balanced"},
    "C = 0.001": {"C": 0.001},
}
scores = {
    name: cross_validate(
        make_pipeline(StandardScaler(), LogisticRegression(**params)),
        X, y, cv=folds, scoring="balanced_accuracy",
    )["test_score"]
    for name, params in settings.items()
}  # fmt: skip
SearchDisplay.from_scores(
    scores, kind="difference", baseline="plain", metric="balanced accuracy", test_share=0.25
)
plt.show()
