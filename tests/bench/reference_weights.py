"""Weights of single fits as fingerprints: one table per version, to compare two versions bit by bit.

    python tests/bench/reference_weights.py --write before.json      # in the one version
    python tests/bench/reference_weights.py --compare before.json    # in the other

Every line is a fit: a loss, a solver, hidden layers, a dtype, dense or CSR rows, and what goes with it. Equal
fingerprints are equal bits of all weights and of the loss curve. Fingerprints depend on the machine: make both
tables on the same one.
"""

import argparse
import hashlib
import json
import sys
import warnings

import numpy as np
import torch
from scipy import sparse
from sklearn.datasets import make_classification, make_multilabel_classification
from torch import nn

from skimb import losses
from skimb.linear_model import LinearClassifier
from skimb.neural_network import MLPClassifier, MLPRegressor, NeuralNetClassifier

SHARES = {"ExpectedCost": 0.1, "QuadraticWeightedKappa": 0.5, "SupervisedContrastive": 0.5}
SHARES["SeparatedKappa"] = 0.6667


def loss_of(name, **params):
    """A loss, mixed with cross-entropy in the share that earlier versions had built in."""
    loss = getattr(losses, name)(**params)
    if name in SHARES and hasattr(losses, "Mixed"):
        return losses.Mixed(loss, share=SHARES[name])
    return loss


def rows(kind, dtype):
    if kind == "labels":
        X, y = make_multilabel_classification(300, 8, n_classes=4, random_state=0)
    else:
        n_classes = 3 if kind == "three" else 2
        X, y = make_classification(
            500,
            8,
            n_informative=5,
            n_classes=n_classes,
            weights=[0.5, 0.3][: n_classes - 1],
            random_state=1,
        )
    return X.astype(dtype), y


def module(n_features, n_outputs):
    return nn.Sequential(nn.Linear(n_features, 8), nn.GELU(), nn.Linear(8, n_outputs))


def cases():
    """Name -> function that fits."""
    found = {}

    def add(name, make, kind="two", dtype="float64", is_sparse=False, **fit):
        def run():
            X, y = rows(kind, dtype)
            X = sparse.csr_matrix(np.where(np.abs(X) > 1, X, 0)) if is_sparse else X
            return make().fit(X, y, **fit)

        found[name] = run

    kw = {"max_iter": 6, "tol": 0, "random_state": 0, "batch_size": 64}
    for cls in losses.all_losses():
        name = cls.__name__
        if name in ("Mixed",):
            continue
        tasks = cls().tasks
        for task, kind in (("binary", "two"), ("multiclass", "three"), ("multilabel", "labels")):
            if task in tasks:
                add(
                    f"{name} {kind} adam (16,) f64",
                    lambda n=name: MLPClassifier((16,), loss=loss_of(n), **kw),
                    kind,
                )
    for solver in ("adam", "adamw", "sgd", "muon", "lbfgs"):
        for hidden in ((), (8,), (16, 8)):
            for dtype in ("float32", "float64"):
                for kind in ("two", "three"):
                    name = f"CrossEntropy {kind} {solver} {hidden} {dtype}"
                    if hidden:
                        add(
                            name,
                            lambda s=solver, h=hidden: MLPClassifier(h, solver=s, **kw),
                            kind,
                            dtype,
                        )
                    elif solver != "muon":  # which is for hidden layers
                        add(name, lambda s=solver: LinearClassifier(solver=s, **kw), kind, dtype)
    for activation in ("identity", "tanh", "logistic"):
        add(
            f"activation {activation}",
            lambda a=activation: MLPClassifier((8, 8), activation=a, **kw),
        )
    for solver in ("adam", "adamw", "sgd", "lbfgs"):
        for kind in ("two", "three"):
            add(
                f"csr {kind} {solver} (8,)",
                lambda s=solver: MLPClassifier((8,), solver=s, hidden_scale=1.0, **kw),
                kind,
                is_sparse=True,
            )
            add(
                f"csr {kind} {solver} linear",
                lambda s=solver: LinearClassifier(solver=s, **kw),
                kind,
                is_sparse=True,
            )
    for early in (False, True):
        add(
            f"weights, early stopping {early}",
            lambda e=early: MLPClassifier(
                (8,), class_weight="balanced", early_stopping=e, **{**kw, "max_iter": 12}
            ),
            sample_weight=np.linspace(0.5, 2.0, 500),
        )
    add(
        "deferred reweighting",
        lambda: MLPClassifier((8,), class_weight="balanced", deferred_reweighting=0.5, **kw),
    )
    add(
        "adaptive sgd",
        lambda: MLPClassifier(
            (8,), solver="sgd", learning_rate="adaptive", **{**kw, "max_iter": 40, "tol": 0.1}
        ),
    )
    add("cosine", lambda: MLPClassifier((8,), learning_rate="cosine", **kw))
    add(
        "adversary",
        lambda: MLPClassifier((8,), loss=losses.AdversarialCompSum(eps=0.1), **kw),
    )
    for solver in ("adam", "adamw", "sgd"):
        add(
            f"module {solver}",
            lambda s=solver: NeuralNetClassifier(module, solver=s, **kw),
            "three",
        )
    for loss in ("squared_error", "poisson"):
        add(
            f"regression {loss}", lambda n=loss: MLPRegressor(hidden_layer_sizes=(8,), loss=n, **kw)
        )
    add(
        "balanced regression",
        lambda: MLPRegressor(hidden_layer_sizes=(8,), loss=losses.BalancedMSE(), **kw),
    )
    return found


def fingerprint(model):
    """Hash of all weights and of the loss curve."""
    digest = hashlib.sha256()
    for tensor in model.net_.module_.state_dict().values():
        digest.update(tensor.detach().cpu().numpy().tobytes())
    digest.update(np.asarray(model.loss_curve_, float).tobytes())
    return digest.hexdigest()[:16]


def table():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    found = {}
    for name, run in cases().items():
        found[name] = fingerprint(run())
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", metavar="FILE")
    parser.add_argument("--compare", metavar="FILE")
    args = parser.parse_args()
    now = table()
    if args.write:
        with open(args.write, "w") as file:
            json.dump(now, file, indent=1)
    if args.compare:
        with open(args.compare) as file:
            before = json.load(file)
        both = [name for name in before if name in now]
        other = [name for name in both if before[name] != now[name]]
        print(f"{len(both) - len(other)} of {len(both)} fits have identical weights")
        for name in other:
            print(f"  {name}: {before[name]} -> {now[name]}")
        missing = sorted(set(before) ^ set(now))
        print(f"in one table only: {missing}" if missing else "the same fits in both tables")
        sys.exit(bool(other))


if __name__ == "__main__":
    main()
