"""
A stream larger than memory
===========================

A parquet file is read in batches that are far smaller than the file. Rare digits arrive late. Ridge on random
features that keeps sums ends where a fit on all rows ends; stochastic gradient descent forgets what it saw first.
"""

import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split

from skimb.datasets import load_digits_long_tailed
from skimb.streaming import AnalyticClassifier

FAST = bool(os.environ.get("SKIMB_FAST"))
X, y = load_digits_long_tailed()
X, X_test, y, y_test = train_test_split(X / 16, y, test_size=0.4, stratify=y, random_state=0)

# %%
# The file: classes in order of their frequency, the common ones first. Copies of the rows with a little noise make
# it longer than a batch by far.

rng = np.random.default_rng(0)
copies = 3 if FAST else 40
order = np.argsort(y, kind="stable")
rows = np.repeat(order, copies)
noisy = X[rows] + 0.05 * rng.normal(size=(len(rows), X.shape[1]))
path = Path(tempfile.mkdtemp()) / "stream.parquet"
columns = {f"x{j}": noisy[:, j] for j in range(X.shape[1])}
pq.write_table(pa.table({**columns, "y": y[rows]}), path, row_group_size=500)
print(f"{len(rows)} rows, {path.stat().st_size / 1e6:.1f} MB in batches of 500 rows")


def batches():
    """Rows and labels, 500 at a time; only one batch is in memory."""
    for batch in pq.ParquetFile(path).iter_batches(500):
        table = np.column_stack([c.to_numpy() for c in batch.columns])
        yield table[:, :-1], table[:, -1].astype(int)


# %%
# Balanced accuracy on test rows of all classes after each batch.

models = {
    "sums, no class weights": AnalyticClassifier(0.1, random_state=0),
    "sums, balanced": AnalyticClassifier(0.1, balance_power=1.0, random_state=0),
    "gradient descent": SGDClassifier(loss="log_loss", random_state=0),
}
scores = {name: [] for name in models}
for chunk, labels in batches():
    for name, model in models.items():
        model.partial_fit(chunk, labels, classes=np.unique(y))
        scores[name].append(balanced_accuracy_score(y_test, model.predict(X_test)))

fig, ax = plt.subplots(figsize=(6, 4))
for name, values in scores.items():
    ax.plot(values, label=name)
    print(f"{name:24s} at the end {values[-1]:.3f}")
ax.set(xlabel="batch", ylabel="balanced accuracy on all classes")
ax.legend()
plt.show()

# %%
# The stream gives what all rows at once give, to rounding.

once = AnalyticClassifier(0.1, balance_power=1.0, random_state=0).fit(noisy, y[rows])
print(
    f"largest difference of a weight: {np.abs(once.coef_ - models['sums, balanced'].coef_).max():.1e}"
)

# %%
# Rows can be taken back: without the last class the model is the one that never saw it.

model = models["sums, balanced"]
last = y[rows] == y.max()
model.forget(noisy[last], y[rows][last])
without = AnalyticClassifier(0.1, balance_power=1.0, random_state=0).fit(
    noisy[~last], y[rows][~last]
)
known = np.searchsorted(model.classes_, without.classes_)
print(f"after forgetting: {np.abs(model.coef_[known] - without.coef_).max():.1e}")
