"""Z-loss: top-k accuracy against softmax and its spherical peers, and time as the number of classes grows.

    python tests/bench/claims/zloss.py --data FOLDER [--seeds 2]

Intents of customers (banking77, 77 classes) by a net on tf-idf components; then one step of the loss on 256 rows of random scores.
"""

import time

from claim import arguments, error, rows_of, show, table

import numpy as np  # isort: skip
import torch
from harness import interleaved, median
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import top_k_accuracy_score
from sklearn.model_selection import train_test_split

from skimb.losses import ClassPrior, CrossEntropy, SphericalSoftmax, TaylorSoftmax, ZLoss
from skimb.neural_network import MLPClassifier

LOSSES = {
    "cross-entropy": CrossEntropy(),
    "ZLoss": ZLoss(),
    "ZLoss, a = 5": ZLoss(a=5.0),
    "TaylorSoftmax": TaylorSoftmax(),
    "SphericalSoftmax": SphericalSoftmax(),
}
CLASSES = (100, 1000, 10_000)


def step(loss, z, y):
    """One value and gradient."""
    bound = loss.bind(ClassPrior(counts=np.ones(z.shape[1])))
    target = bound.encode(y, z)
    return lambda: bound.loss_grad(z, target)


def main():
    args = arguments(__doc__, seeds=2)
    frame, y = rows_of(args.data, "banking77")
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(frame["text"])
    X = TruncatedSVD(200, random_state=0).fit_transform(words).astype(np.float32)
    X /= X.std(0)
    found = {name: [] for name in LOSSES}
    for seed in range(args.seeds):
        A, B, a, b = train_test_split(X, y, train_size=0.4, stratify=y, random_state=seed)
        for name, loss in LOSSES.items():
            begun = time.process_time()
            net = MLPClassifier(
                (128,),
                loss=loss,
                max_iter=30,
                batch_size=128,
                tol=0.0,
                n_iter_no_change=100,
                random_state=seed,
            ).fit(A, a)
            seconds, scores = time.process_time() - begun, net.decision_function(B)
            found[name].append(
                [*(100 * top_k_accuracy_score(b, scores, k=k) for k in (1, 5, 10)), seconds]
            )
    show(
        __doc__,
        [
            ["better than softmax on top-k, better than the other spherical losses", "abstract"],
            [
                "40 times faster than softmax on a billion words: the step does not grow with the number of classes",
                "abstract",
            ],
        ],
        ["loss", "top 1", "top 5", "top 10", "seconds"],
        [[name, *(error(column) for column in np.transpose(each))] for name, each in found.items()],
    )
    times = {}
    for n in CLASSES:
        generator = torch.Generator().manual_seed(0)
        z, y = (
            torch.randn(256, n, generator=generator),
            torch.randint(0, n, (256,), generator=generator),
        )
        steps = {name: step(loss, z, y) for name, loss in LOSSES.items()}
        times[n] = {
            name: 1e3 * median(seconds)
            for name, seconds in interleaved(steps, 7, clock=time.perf_counter).items()
        }
    print("\nMilliseconds of value and gradient on 256 rows, all scores at hand:\n")
    print(
        table(
            ["loss", *(f"{n} classes" for n in CLASSES)],
            [[name, *(f"{times[n][name]:.2f}" for n in CLASSES)] for name in LOSSES],
        )
    )


if __name__ == "__main__":
    main()
