"""Use what an extra of skimb promises; run it in an environment that has the wheel with that extra, or with none.

Usage: python .ci/check_extra.py EXTRA|none

Every extra of pyproject.toml has its jobs here: one for each module that it brings to skimb. With the extra a job
runs through; with none it raises an ImportError that names the extra.
"""

import os
import sys
import tempfile
import warnings
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent / "skimb"


def rare():
    """A two-class set of 200 rows."""
    from sklearn.datasets import make_classification

    return make_classification(200, 5, weights=[0.9], random_state=0)


def lightgbm():
    from skimb.boosting import LGBMImbalancedClassifier
    from skimb.losses import Focal

    model = LGBMImbalancedClassifier(Focal(), n_estimators=3, n_jobs=1)
    X, y = rare()
    assert model.fit(X, y).predict_proba(X).shape == (200, 2)


def xgboost():
    from skimb.boosting import XGBImbalancedClassifier
    from skimb.losses import Focal

    X, y = rare()
    model = XGBImbalancedClassifier(Focal(), n_estimators=3, n_jobs=1)
    assert model.fit(X, y).predict_proba(X).shape == (200, 2)


def triton():
    """A kernel on the CPU, in Triton's interpreter."""
    os.environ["TRITON_INTERPRET"] = "1"
    import torch

    from skimb.functional import _shapes, softmax
    from skimb.kernels import gpu

    if gpu.missing:
        raise ImportError(gpu.missing)
    z, y = torch.linspace(-2, 2, 12).reshape(4, 3), torch.tensor([0, 1, 2, 0])
    found = gpu.rows(z, y, shape=_shapes.Focal(2.0))
    torch.testing.assert_close(found, softmax.rows(z, y, shape=_shapes.Focal(2.0)))


def matplotlib():
    os.environ["MPLBACKEND"] = "agg"
    from skimb.inspection import ReviewBudgetDisplay

    display = ReviewBudgetDisplay.from_predictions([0, 0, 1, 0], [0.1, 0.3, 0.8, 0.2])
    assert display.figure_.axes


def pandas():
    from skimb.metrics import classification_table

    frame = classification_table([0, 0, 1, 0], [0, 1, 1, 0], as_frame=True)
    assert frame.loc[1, "recall"] == 1


def pyarrow():
    from skimb._core.optional import require
    from skimb.datasets import read_parquet_table

    arrow, parquet = (require(m, extra="data") for m in ("pyarrow", "pyarrow.parquet"))
    with tempfile.TemporaryDirectory() as folder:
        parquet.write_table(arrow.table({"x": [1.0, 2.0], "target": [0, 1]}), f"{folder}/a.parquet")
        assert read_parquet_table(f"{folder}/a.parquet").rare_share == 0.5


def dask():
    """A search over a cluster of one thread."""
    from sklearn.model_selection import GridSearchCV

    from skimb._core.optional import require
    from skimb.model_selection import batched_fits
    from skimb.neural_network import MLPClassifier

    try:
        with batched_fits(backend="dask"):
            raise AssertionError("there is no client yet")
    except ValueError as error:
        said = str(error)
    assert "make one first" in said, said
    X, y = rare()
    kw = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with (
        require("distributed", extra="dask").Client(**kw),
        batched_fits(backend="dask") as bundles,
    ):
        model = MLPClassifier((4,), max_iter=2, random_state=0)
        GridSearchCV(model, {"alpha": [0.0, 0.1]}, cv=2, refit=False).fit(X, y)
    assert bundles.sizes == [4]


def wordllama():
    """Words without a network."""
    from skimb.preprocessing import EmbeddingVectorizer

    vectors = EmbeddingVectorizer().fit_transform(
        ["a lost parcel", "my parcel is gone", "good night"]
    )
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def exported():
    """A net in ONNX, and its answers in onnxruntime; without the latter it cannot be checked."""
    from skimb.export import to_onnx
    from skimb.neural_network import MLPClassifier

    X, y = rare()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="to_onnx: the model was not checked")
        try:
            to_onnx(MLPClassifier((4,), max_iter=3).fit(X, y), X=X)
        except UserWarning as error:
            raise ImportError(str(error)) from None


def benchmark():
    """Two methods on a set of three hundred rows."""
    from skimb._core.optional import require
    from skimb.benchmark import report, run

    with tempfile.TemporaryDirectory() as folder:
        frame = require("pandas", extra="benchmark").DataFrame(rare()[0], columns=list("abcde"))
        frame = frame.assign(target=rare()[1])
        require("pyarrow", extra="benchmark")
        frame.loc[[*range(200), *range(200)]].to_parquet(f"{folder}/made.parquet")
        methods = ["logistic regression", "random forest"]
        found = run(folder, suites=["binary"], methods=methods, splits=1, progress=True)
    assert set(found["method"]) == set(methods)
    assert "made" in report(found)


def sphinx():
    """A page with a docstring, by the theme and the extensions that need no further settings."""
    import importlib
    import re

    from sphinx.application import Sphinx

    conf = (SOURCES.parent / "docs" / "conf.py").read_text()
    names = re.findall(r'^    "([\w.-]+)",', conf.split("extensions = [")[1].split("]")[0], re.M)
    for name in set(names) - {"generate_names", "sphinx-mathjax-offline"}:
        importlib.import_module(name)
    settings = {
        "extensions": ["sphinx.ext.autodoc", "numpydoc"],
        "html_theme": "pydata_sphinx_theme",
        "numpydoc_show_class_members": False,
    }
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "index.rst").write_text("Page\n====\n\n.. autoclass:: skimb.losses.Focal\n")
        out = Path(folder, "out")
        Sphinx(folder, None, out, out, "html", confoverrides=settings, status=None).build()
        assert "skimb.losses.Focal" in (out / "index.html").read_text()


JOBS = {
    "gbdt": {"lightgbm": lightgbm, "xgboost": xgboost},
    "triton": {"triton": triton},
    "plot": {"matplotlib": matplotlib},
    "data": {"pandas": pandas, "pyarrow": pyarrow},
    "dask": {"distributed": dask, "cloudpickle": dask},
    "text": {"wordllama": wordllama},
    "onnx": {"onnx": exported, "onnxruntime": exported},
    "benchmark": dict.fromkeys(("cloudpickle", "pandas", "pyarrow", "rich"), benchmark),
    "docs": {"sphinx": sphinx},
}
BY_THE_TESTS = (
    "test",
    "dev",
    "neighbours",
)  # `make test` and `make neighbours` install and use them
TOOLS = ("docs",)  # skimb itself imports nothing of them


def without_extras():
    """A net fits without extras, and what needs one says which; the modules whose absence was tried."""
    from skimb.losses import Focal
    from skimb.neural_network import MLPClassifier

    X, y = rare()
    assert MLPClassifier((4,), loss=Focal(), max_iter=3).fit(X, y).predict(X).shape == (200,)
    tried = []
    for extra in (e for e in JOBS if e not in TOOLS):
        for module, job in JOBS[extra].items():
            try:
                job()
            except ImportError as error:
                said = str(error)
            else:
                raise AssertionError(
                    f"{module} of the extra {extra} is used though it is not there"
                )
            assert f'pip install "skimb[{extra}]"' in said, f"{module}: {said}"
            assert "\n" not in said, said
            tried.append(module)
    return tried


def main(extra):
    """Print what was done; an AssertionError or ImportError says what is wrong."""
    import skimb

    home = Path(skimb.__file__).resolve().parent
    assert home != SOURCES, "this is the checkout, not an installation"
    warnings.simplefilter("ignore")  # few epochs on purpose
    if extra == "none":
        print(f"none: a net fits; named by their extras: {', '.join(without_extras())}")
        return
    for module, job in JOBS[extra].items():
        job()
        print(f"{extra}: {module} works")


if __name__ == "__main__":
    main(sys.argv[1])
