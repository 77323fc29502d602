"""PRESTO against logistic regression and proportional odds in the six published settings.

    python tests/bench/claims/presto.py [--repetitions 10]

Simulations of the authors: 2,500 rows, 10 features, 4 stages, sparse differences between adjacent boundaries, three sets of intercepts
by two shares of differences that are not zero. Error of the rare probability on the training rows.
"""

from claim import arguments, show

import numpy as np  # isort: skip
from bench_methods import staged
from sklearn.linear_model import LogisticRegression

from skimb.linear_model import PrestoClassifier, PrestoClassifierCV

INTERCEPTS = ((0, 3, 5), (0, 3.5, 5.5), (0, 4, 6))


def main():
    args = arguments(__doc__, repetitions=10)
    rows = []
    for share in (1 / 2, 1 / 3):
        for alpha in INTERCEPTS:
            found, rarity = [], []
            for seed in range(args.repetitions):
                X, y, P = staged(seed, 2500, 10, alpha, share)
                rare = P[:, -1]
                models = {
                    "logistic": LogisticRegression(C=np.inf).fit(X, y == 3).predict_proba(X)[:, 1],
                    "odds": PrestoClassifier(1e3, penalize_first=False).fit(X, y).rare_proba(X),
                    "presto": PrestoClassifierCV().fit(X, y).rare_proba(X),
                }
                found.append([((p - rare) ** 2).mean() for p in models.values()])
                rarity.append(100 * rare.mean())
            logistic, odds, presto = np.transpose(found)
            rows.append([
                f"{share:.2f}", alpha, f"{np.mean(rarity):.2f}", f"{np.median(presto / logistic):.2f}", f"{np.median(presto / odds):.2f}",
                f"{np.mean(presto < logistic):.2f}", f"{np.mean(presto < odds):.2f}",
            ])  # fmt: skip
    show(
        __doc__,
        [["better than logistic regression and proportional odds in all settings", "abstract"]],
        [
            "share of differences",
            "intercepts",
            "rare, per cent",
            "median error over logistic",
            "over proportional odds",
            "won against logistic",
            "against odds",
        ],
        rows,
    )


if __name__ == "__main__":
    main()
