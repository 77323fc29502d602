"""The margin loss of the area under the ROC curve with LibAUC's own loss and optimiser."""

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import make_pipeline

from skimb.benchmark._methods._columns import scaled
from skimb.benchmark._methods._method import Method


class AUCMarginNet(ClassifierMixin, BaseEstimator):
    """100 hidden units, 60 epochs of PESG; its rate falls to a tenth after half and three quarters."""

    def __init__(self, epochs=60, batch_size=64, random_state=None):
        self.epochs, self.batch_size, self.random_state = epochs, batch_size, random_state

    def fit(self, X, y):
        """Train on batches of which half are rare rows."""
        from libauc.losses import AUCMLoss
        from libauc.optimizers import PESG

        self.classes_ = np.unique(y)
        X, rng = (
            torch.as_tensor(np.asarray(X, np.float32)),
            np.random.default_rng(self.random_state),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            layers = torch.nn.Linear(X.shape[1], 100), torch.nn.ReLU(), torch.nn.Linear(100, 1)
            self.net_ = torch.nn.Sequential(*layers, torch.nn.Sigmoid())
            loss = AUCMLoss(version="v2", device="cpu")
            steps = PESG(self.net_.parameters(), loss_fn=loss, device="cpu", verbose=False)
            for epoch in range(self.epochs):
                if epoch in (self.epochs // 2, 3 * self.epochs // 4):
                    steps.update_regularizer(decay_factor=10)
                for rare, common in self._batches(y, rng):
                    target = torch.as_tensor(np.repeat([1.0, 0.0], [len(rare), len(common)]))
                    value = loss(self.net_(X[np.r_[rare, common]]), target.float()[:, None])
                    steps.zero_grad()
                    value.backward()
                    steps.step()
        return self

    def _batches(self, y, rng):
        """Rare and common rows of each batch; common ones once per epoch, rare ones as often as it takes."""
        rare, common = (rng.permutation(np.flatnonzero(y == c)) for c in self.classes_[::-1])
        half = min(self.batch_size // 2, len(rare))
        for start in range(0, len(common) - half + 1, half):
            yield (
                np.take(rare, np.arange(start, start + half), mode="wrap"),
                common[start : start + half],
            )

    def predict_proba(self, X):
        """Scores of the net; the loss promises no probabilities."""
        with torch.no_grad():
            p = self.net_(torch.as_tensor(np.asarray(X, np.float32))).numpy().astype(float)
        return np.hstack([1 - p, p])

    def predict(self, X):
        """Classes by scores above a half."""
        return self.classes_[(self.predict_proba(X)[:, 1] > 0.5).astype(int)]


def margin_net(X, seed):
    """The net behind scaled columns."""
    return make_pipeline(scaled(), AUCMarginNet(random_state=seed))


LIBAUC = (Method("LibAUC, AUC margin", margin_net, ("libauc",), ("binary",)),)
