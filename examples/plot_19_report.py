"""
A report for your colleagues
============================

One page about a classifier of a rare class: what so few cases allow to conclude, ranking, probabilities, thresholds
with costs, what can be promised of new rows, and honest rivals on the same rows. The rows are scikit-learn's breast
cancer data with one malignant tumour in eleven; a missed one costs twenty false alarms.
"""

import os
from pathlib import Path
from tempfile import mkdtemp

from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skimb.datasets import load_breast_cancer_rare
from skimb.inspection import report
from skimb.losses import Focal
from skimb.neural_network import MLPClassifier

FAST = bool(os.environ.get("SKIMB_FAST"))

X, y = load_breast_cancer_rare()
model = make_pipeline(
    StandardScaler(),
    MLPClassifier((16,), loss=Focal(), max_iter=30 if FAST else 200, random_state=0),
)

# %%
# The net is not fitted, so that it is cross-validated, and its rivals with it.

page = report(
    model,
    X,
    y,
    cost=[[0, 1], [20, 0]],
    constraint={"recall": 0.8},
    baselines=["logistic"] if FAST else ["logistic", "hist_gradient_boosting", "net"],
    cv=3 if FAST else 5,
    title="Rare malignant tumours",
)
print(page)

# %%
# The page is one file that loads nothing.

path = page.save(Path(mkdtemp()) / "report.html")
print(f"{path.stat().st_size / 1000:.0f} kB")

# %%
# Notebooks show it by itself.

page  # noqa: B018
