"""Ratios of 1, 20 and 100 between classes: effectiveness, robustness, efficiency.

    python tests/bench/claims/imbalance_ratios.py --data FOLDER [--seeds 3]

Tables with many rows of both classes, thinned to 600 training rows of the common class and 600, 30 or 6 of the rare one; the test
part is as balanced as its draw, so that scores of different ratios compare. Robustness: the loss of balanced accuracy where a tenth of the
test cells is replaced by other rows' cells. Efficiency: seconds over plain cross-entropy.
"""

import time

from claim import arguments, numbers, rows_of, show

import numpy as np  # isort: skip
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from skimb.losses import LDAM, BalancedSoftmax, ClassBalanced, Focal, LogitAdjusted
from skimb.neural_network import MLPClassifier
from skimb.training import BalancedMixup


def net(**params):
    return MLPClassifier(
        (32,),
        learning_rate_init=3e-3,
        max_iter=60,
        batch_size=64,
        tol=0.0,
        n_iter_no_change=1000,
        **params,
    )


METHODS = {
    "cross-entropy": lambda: net(random_state=0),
    "class weights": lambda: net(class_weight="balanced", random_state=0),
    "focal": lambda: net(loss=Focal(), random_state=0),
    "class-balanced": lambda: net(loss=ClassBalanced(), random_state=0),
    "balanced softmax": lambda: net(loss=BalancedSoftmax(), random_state=0),
    "logit-adjusted": lambda: net(loss=LogitAdjusted(), random_state=0),
    "LDAM": lambda: net(loss=LDAM(), random_state=0),
    "over-sampling": lambda: make_pipeline(RandomOverSampler(random_state=0), net(random_state=0)),
    "SMOTE": lambda: make_pipeline(SMOTE(k_neighbors=3, random_state=0), net(random_state=0)),
    "balanced mixup": lambda: net(loss=LogitAdjusted(), mix=BalancedMixup(), random_state=0),
}
SETS = ("adult", "default_credit_card", "adb_skin", "anyloss_diabetes_100k", "eu_direct_lapse")
RATIOS = (1, 20, 100)


def main():
    args = arguments(__doc__, seeds=3)
    found = {(m, r): [] for m in METHODS for r in RATIOS}
    for name in SETS:
        frame, y = rows_of(args.data, name)
        y = (y == np.argmin(np.bincount(y))).astype(int)
        for seed in range(args.seeds):
            rng = np.random.default_rng(seed)
            common, rare = (rng.permutation(np.flatnonzero(y == k)) for k in (0, 1))
            half = min(len(rare), 1200) // 2
            test = np.r_[common[600:1200], rare[half : 2 * half]]
            for ratio in RATIOS:
                train = np.r_[common[:600], rare[: max(min(600, half) // ratio, 6)]]
                first = numbers().fit(frame.iloc[train])
                X, Z = first.transform(frame.iloc[train]), first.transform(frame.iloc[test])
                other = Z[rng.permutation(len(Z))]
                disturbed = np.where(rng.random(Z.shape) < 0.1, other, Z)
                base = None
                for method, make in METHODS.items():
                    begun = time.process_time()
                    model = make().fit(X, y[train])
                    seconds = time.process_time() - begun
                    base = base or seconds
                    clean = balanced_accuracy_score(y[test], model.predict(Z))
                    moved = balanced_accuracy_score(y[test], model.predict(disturbed))
                    auc = roc_auc_score(y[test], model.decision_function(Z))
                    found[method, ratio].append([clean, auc, clean - moved, seconds / base])
    rows = []
    for method in METHODS:
        means = [np.mean(found[method, r], 0) for r in RATIOS]
        rows.append(
            [
                method,
                *(f"{m[0]:.3f} / {m[1]:.3f}" for m in means),
                *(f"{m[2]:.3f}" for m in means),
                f"{np.mean([m[3] for m in means]):.2f}",
            ]
        )
    show(
        __doc__,
        [
            [
                "24 algorithms on 16 graphs compared for effectiveness, robustness and efficiency",
                "abstract",
            ]
        ],
        [
            "method",
            *(f"balanced accuracy / ROC AUC at {r}" for r in RATIOS),
            *(f"loss by disturbance at {r}" for r in RATIOS),
            "time",
        ],
        rows,
    )


if __name__ == "__main__":
    main()
