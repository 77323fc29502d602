"""
Made rows, mixed rows, and what becomes of probabilities
========================================================

SMOTE in the space of a PCA, and mixtures of rows during training, on a rare class of 6 %. Decisions move, and so do
probabilities, unless somebody moves them back.
"""

import os
import warnings

import numpy as np
from imblearn.over_sampling import SMOTE
from sklearn.datasets import make_classification, make_multilabel_classification
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    log_loss,
    recall_score,
)
from sklearn.model_selection import StratifiedShuffleSplit, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skimb.losses import LogitAdjusted
from skimb.neural_network import MLPClassifier
from skimb.over_sampling import MLROS, MLSMOTE, LatentSMOTE
from skimb.pipeline import ResampledClassifier
from skimb.training import BalancedMixup, Mixup, UniMix

FAST = bool(os.environ.get("SKIMB_FAST"))
warnings.simplefilter("ignore", ConvergenceWarning)
X, y = make_classification(
    3000, 12, n_informative=6, n_clusters_per_class=3, weights=[0.94], class_sep=0.8, random_state=0
)
print(f"{len(y)} rows, {100 * np.mean(y):.0f} % rare")


def compare(models):
    """Balanced accuracy, average precision and log-loss over splits."""
    splits = StratifiedShuffleSplit(1 if FAST else 5, test_size=0.4, random_state=0)
    rows = {name: [] for name in models}
    for train, test in splits.split(X, y):
        for name, model in models.items():
            p = model.fit(X[train], y[train]).predict_proba(X[test])[:, 1]
            decided = model.predict(X[test])
            scores = (
                balanced_accuracy_score(y[test], decided),
                average_precision_score(y[test], p),
                log_loss(y[test], p),
            )
            rows[name].append(scores)
    print(f"{'model':42s} balanced accuracy     AP   log-loss")
    for name, found in rows.items():
        a, b, c = np.mean(found, 0)
        print(f"{name:42s} {a:17.3f}  {b:.3f}   {c:.3f}")


# %%
# Made rows. ``ResampledClassifier`` with ``correct_prior=False`` shows what a plain pipeline answers.

logistic = LogisticRegression()


def around(sampler, correct=True):
    return make_pipeline(
        StandardScaler(), ResampledClassifier(sampler, logistic, correct_prior=correct)
    )


compare(
    {
        "logistic regression": make_pipeline(StandardScaler(), logistic),
        "SMOTE, as it comes": around(SMOTE(random_state=0), False),
        "SMOTE, prior corrected": around(SMOTE(random_state=0)),
        "SMOTE in 5 components, as it comes": around(LatentSMOTE(PCA(5), random_state=0), False),
        "SMOTE in 5 components, prior corrected": around(LatentSMOTE(PCA(5), random_state=0)),
    }
)

# %%
# Mixed rows. The net knows the label distribution of its mixtures and corrects by itself.


def net(**kw):
    return make_pipeline(
        StandardScaler(),
        MLPClassifier((16,), max_iter=5 if FAST else 60, random_state=0, **kw),
    )


compare(
    {
        "net": net(),
        "net, class weights": net(class_weight="balanced"),
        "net, logit adjustment": net(loss=LogitAdjusted()),
        "net, mixup": net(mix=Mixup()),
        "net, balanced mixup": net(mix=BalancedMixup(1.0)),
        "net, UniMix": net(mix=UniMix()),
        "net, UniMix and logit adjustment": net(mix=UniMix(), loss=LogitAdjusted()),
    }
)

# %%
# Read the log-loss first: SMOTE without correction costs most of what probabilities are worth, and average
# precision beside. Mixing shifts the decision less than class weights or logit adjustment do, and adds nothing
# to the latter.

# %%
# Rows with several labels, some of them rare: copies, or new rows between neighbours that share a rare label.

X, Y = make_multilabel_classification(2000, 15, n_classes=6, n_labels=2, random_state=2)
X, X_test, Y, Y_test = train_test_split(X, Y, random_state=0)
for name, sampler in (("as they are", None), ("MLROS", MLROS(0.5)), ("MLSMOTE", MLSMOTE())):
    rows, labels = (
        (X, Y) if sampler is None else sampler.set_params(random_state=0).fit_resample(X, Y)
    )
    labelled = MLPClassifier((32,), max_iter=5 if FAST else 60, random_state=0).fit(rows, labels)
    recalls = recall_score(Y_test, labelled.predict(X_test), average=None, zero_division=0)
    p = labelled.predict_proba(X_test).mean(0)
    rarest = int(Y.sum(0).argmin())
    print(
        f"{name:12s} {len(rows)} rows, recall of the rarest label {recalls[rarest]:.2f}", end=", "
    )
    print(f"mean probability {p[rarest]:.3f}, frequency {Y_test[:, rarest].mean():.3f}")
