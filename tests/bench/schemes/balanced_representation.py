"""What the parts of balanced representation learning are worth on tables and on embedded texts.

    python tests/bench/schemes/balanced_representation.py --data FOLDER [--seeds 3] [--only NAME ...]

FOLDER holds yeast_mc.parquet and banking77.parquet. Nothing is tuned: all nets have two hidden layers of 128 and 60
epochs of AdamW.
"""

import argparse
import warnings
from pathlib import Path

from rare_sets import Banking, compare, digits, yeast  # isort: skip, fixes threads

from harness import machine

from skimb.losses import LogitAdjusted
from skimb.neural_network import BalancedRepresentationClassifier as BRL

KW = {"hidden_layer_sizes": (128, 128), "max_iter": 60, "tol": 0.0}


def contestants(seed):
    kw = {**KW, "random_state": seed}
    bare = {**kw, "mix_ratio": 0.0, "skip_pairs": None, "class_weight": None}
    return {
        "cross-entropy": BRL(**bare),
        "logit adjustment": BRL(loss=LogitAdjusted(), **bare),
        "late class weights alone": BRL(**{**bare, "class_weight": "effective_per_class"}),
        "partial mixtures alone": BRL(**{**bare, "mix_ratio": 0.0625}),
        "second stream alone": BRL(**{**bare, "skip_pairs": "auto"}),
        "all three": BRL(**kw),
        "all three, a quarter of rows mixed": BRL(**{**kw, "mix_ratio": 0.25}),
        "second stream, logit adjustment": BRL(
            loss=LogitAdjusted(), **{**bare, "skip_pairs": "auto"}
        ),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=["digits", "yeast", "banking"])
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(machine(), "\n", flush=True)
    sets = {
        "digits": ("digits with a long tail", digits),
        "yeast": ("yeast_mc", lambda seed: yeast(args.data, seed)),
        "banking": (
            "banking77 with a long tail",
            lambda seed: Banking(args.data).long_tailed(seed),
        ),
    }
    for name, (title, make) in sets.items():
        if name in args.only:
            compare(title, make, contestants, args.seeds, "cross-entropy")


if __name__ == "__main__":
    main()
