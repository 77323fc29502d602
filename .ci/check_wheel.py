"""Use an installed skimb: nets, losses, trees, kernels and pickles; run it in an environment of the wheel alone.

Usage: python .ci/check_wheel.py [--without-kernels]
"""

import pickle
import sys
import warnings
from pathlib import Path

sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != Path.cwd()]

import numpy as np  # noqa: E402
from sklearn.datasets import make_classification  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

import skimb  # noqa: E402
from skimb.kernels import backends  # noqa: E402
from skimb.linear_model import LinearClassifier  # noqa: E402
from skimb.losses import AnyLoss, Focal  # noqa: E402
from skimb.neural_network import MLPClassifier, TabMClassifier  # noqa: E402

warnings.simplefilter("ignore")  # few epochs on purpose
SOURCES = Path(__file__).resolve().parent.parent / "skimb"


def main(without_kernels):
    """Fit and predict; an AssertionError says what is wrong with the installation."""
    home = Path(skimb.__file__).resolve().parent
    assert home != SOURCES, "this is the checkout, not an installation"
    assert (home / "py.typed").exists(), "type checkers are not told of the annotations"
    missing = backends()["cpu"]
    print(f"skimb {skimb.__version__} in {home}; C kernels: {missing or 'built'}")
    assert (missing is not None) == without_kernels, "C kernels are not as announced"
    X, y = make_classification(400, weights=[0.9], random_state=0)
    for model in (
        make_pipeline(StandardScaler(), LinearClassifier(loss=Focal())),
        MLPClassifier((8,), loss=AnyLoss("f1"), max_iter=5, random_state=0),
        TabMClassifier(n_members=2, width=8, validation_folds=2, max_iter=3, random_state=0),
    ):
        fitted = model.fit(X, y)
        proba = fitted.predict_proba(X)
        assert proba.shape == (400, 2)
        assert np.isfinite(proba).all()
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X), proba)
    print("fits, predicts and pickles")


if __name__ == "__main__":
    main("--without-kernels" in sys.argv[1:])
