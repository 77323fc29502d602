"""What the separated-kappa term adds, and does not.

    python tests/bench/claims/separated_kappa.py --data FOLDER [--seeds 3]

Tables whose commonest class is the background. Cross-entropy alone, with growing shares of the separated-kappa loss, and the rivals
that need no loss: class weights and a factor on the background's probability, tuned on a validation part.
"""

from claim import arguments, error, numbers, rows_of, show

import numpy as np  # isort: skip
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split

from skimb.losses import CrossEntropy, Mixed, SeparatedKappa
from skimb.metrics import separated_kappa_score
from skimb.neural_network import MLPClassifier


def net(loss, weight, seed):
    return MLPClassifier(
        (32,), loss=loss, class_weight=weight, learning_rate_init=3e-3, max_iter=60, batch_size=512, tol=0.0,
        n_iter_no_change=1000, random_state=seed,
    )  # fmt: skip


def of_common_classes(frame, y):
    """The rows of classes with at least ten of them, and their codes."""
    kept = np.bincount(y)[y] >= 10
    return frame[kept], np.unique(y[kept], return_inverse=True)[1]


def main():
    args = arguments(__doc__, seeds=3)
    models = {
        "cross-entropy": (CrossEntropy(), None),
        "cross-entropy, class weights": (CrossEntropy(), "balanced"),
        **{
            f"with separated kappa, share of cross-entropy {s}": (
                Mixed(SeparatedKappa(), share=s),
                None,
            )
            for s in (0.9, 0.5, 0.1)
        },
        "separated kappa alone": (SeparatedKappa(), None),
    }
    rows = []
    for name in ("yeast_mc", "shuttle_mc", "soup_sureness"):
        frame, y = of_common_classes(*rows_of(args.data, name))
        if len(y) > 6000:
            frame, _, y, _ = train_test_split(frame, y, train_size=6000, stratify=y, random_state=0)
            frame, y = of_common_classes(frame, y)
        found = {m: [] for m in (*models, "cross-entropy, tuned factor of the background")}
        for seed in range(args.seeds):
            A, B, a, b = train_test_split(frame, y, test_size=0.4, stratify=y, random_state=seed)
            first, background = numbers().fit(A), np.bincount(a).argmax()
            A, B = first.transform(A), first.transform(B)
            for model, (loss, weight) in models.items():
                told = net(loss, weight, seed).fit(A, a).predict(B)
                found[model].append(
                    [separated_kappa_score(b, told), balanced_accuracy_score(b, told)]
                )
            C, V, c, v = train_test_split(A, a, test_size=0.25, stratify=a, random_state=seed)
            p = net(CrossEntropy(), None, seed).fit(C, c).predict_proba(V)
            factors = np.geomspace(0.02, 2, 40)
            best = max(
                factors,
                key=lambda f: separated_kappa_score(v, scaled(p, f, background).argmax(1)),
            )
            told = scaled(
                net(CrossEntropy(), None, seed).fit(A, a).predict_proba(B), best, background
            ).argmax(1)
            found["cross-entropy, tuned factor of the background"].append(
                [separated_kappa_score(b, told), balanced_accuracy_score(b, told)]
            )
        rows += [
            [name, model, *(error(column) for column in np.transpose(each))]
            for model, each in found.items()
        ]
    show(
        __doc__,
        [
            [
                "SECOND: SeK 25.50 %, Landsat-SCD 60.26 %, best of its time (images; the effect of the loss alone is not given there)",
                "abstract",
            ]
        ],
        ["set", "training", "separated kappa", "balanced accuracy"],
        rows,
    )


def scaled(p, factor, background):
    return p * np.where(np.arange(p.shape[1]) == background, factor, 1.0)


if __name__ == "__main__":
    main()
