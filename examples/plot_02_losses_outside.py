"""
The losses in plain skorch and in a bare torch loop
===================================================

A bound loss is a ``torch.nn.Module`` called as ``(logits, target, sample_weight=None)``. Nothing else of
skimb is needed around it.
"""

import numpy as np
import torch
from sklearn.datasets import make_classification
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from skorch import NeuralNetClassifier
from torch import nn

from skimb.losses import ClassPrior, CrossEntropy, LogitAdjusted

X, y = make_classification(3000, 12, n_informative=6, weights=[0.95], random_state=0)
X, y = X.astype(np.float32), y.astype(np.int64)
train, test = slice(0, 2000), slice(2000, 3000)

# %%
# Bind to the training part: the counts and the label distribution enter here and nowhere else.

prior = ClassPrior.of(y[train])
bound = LogitAdjusted(tau=1.0).bind(prior)


# %%
# As the criterion of a skorch net. skorch cannot know the link of a custom criterion, so its probabilities
# come from the loss: ``posterior`` gives the natural ones.


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 2))


net = NeuralNetClassifier(
    make_net(),
    criterion=bound,
    optimizer=torch.optim.Adam,
    lr=0.01,
    max_epochs=5,
    verbose=0,
    train_split=None,
)
net.fit(X[train], y[train])
logits = net.forward(torch.from_numpy(X[test]))
natural = bound.posterior(logits)[:, 1].numpy()
print(f"skorch: AP {average_precision_score(y[test], natural):.3f}")
print(f"mean probability {natural.mean():.3f}, prevalence {y[test].mean():.3f}")

# %%
# In a bare loop, next to plain cross-entropy. The adjusted loss decides for balance by its plain logits.

for loss in (CrossEntropy(), LogitAdjusted()):
    bound = loss.bind(prior)
    module = make_net()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    data = torch.from_numpy(X[train]), torch.from_numpy(y[train])
    for _ in range(100):
        optimizer.zero_grad()
        value = bound(module(data[0]), data[1])
        value.backward()
        optimizer.step()
    with torch.no_grad():
        decided = bound.decision(module(torch.from_numpy(X[test]))).argmax(1).numpy()
    print(f"{loss!r}: balanced accuracy {balanced_accuracy_score(y[test], decided):.3f}")
