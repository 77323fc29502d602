"""
Regression with rare target values
==================================

Most targets are near 5, the feature is the target with noise. Squared error learns to answer 5; balanced mean
squared error learns the target.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import Ridge

from skimb.linear_model import BalancedRidge
from skimb.losses import BalancedMSE
from skimb.metrics import balanced_mean_absolute_error, binned_absolute_errors
from skimb.pipeline import DensityWeightedRegressor

rng = np.random.default_rng(0)
y = rng.normal(5.0, 0.5, 1024)
X = (y - rng.normal(size=1024))[:, None]
y_test = np.linspace(2.0, 8.0, 400)  # every target equally frequent
X_test = (y_test - rng.normal(size=400))[:, None]

# %%
# Four lines.

models = {
    "ridge": Ridge(),
    "ridge, density weights": DensityWeightedRegressor(Ridge()),
    "balanced, batch Monte Carlo": BalancedRidge(),
    "balanced, Gaussian mixture": BalancedRidge(BalancedMSE("gai", n_components=1)),
}
fig, ax = plt.subplots(figsize=(6, 4))
ax.plot(X, y, ".", color="0.8", ms=3)
print(f"{'model':30s} slope   balanced MAE   MAE as in training")
for name, model in models.items():
    model.fit(X, y)
    line = model.predict(np.array([[0.0], [10.0]]))
    balanced = balanced_mean_absolute_error(y_test, model.predict(X_test))
    usual = np.abs(y - model.predict(X)).mean()
    print(f"{name:30s} {(line[1] - line[0]) / 10:5.2f}   {balanced:12.2f}   {usual:12.2f}")
    ax.plot([0, 10], line, label=name)
ax.plot([0, 10], [0, 10], "k:", lw=1)
ax.set(xlabel="feature", ylabel="target", xlim=(0, 10), ylim=(0, 10))
ax.legend()
plt.show()

# %%
# The error by range of the target shows who pays. Balanced models err alike everywhere, ridge only at the ends.

for name in ("ridge", "balanced, batch Monte Carlo"):
    table = binned_absolute_errors(y_test, models[name].predict(X_test), bins=6, y_train=y)
    print(f"{name:30s}", table.error.round(2), "training rows", table.train_count)
