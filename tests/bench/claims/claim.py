"""What the scripts of this folder share: threads, the folder of data, sets, and the table of a claim."""

import argparse
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import fix_threads, machine, table

fix_threads()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.compose import make_column_selector, make_column_transformer  # noqa: E402
from sklearn.impute import SimpleImputer  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: E402

__all__ = ["arguments", "error", "numbers", "rows_of", "show", "table"]

warnings.simplefilter("ignore")


def arguments(doc, **extra):
    """Command line: --data FOLDER, and an integer option for each further name with its default."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path)
    for name, default in extra.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def rows_of(folder, name):
    """Columns and class codes of a set of the folder."""
    frame = pd.read_parquet(Path(folder) / f"{name}.parquet")
    y = frame["target"].to_numpy(dtype=int)
    columns = [c for c in frame if c != "target" and not c.startswith("meta_")]
    return frame[columns], y


def numbers():
    """Columns of a table as scaled and one-hot numbers."""
    return make_column_transformer(
        (
            make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
            make_column_selector(dtype_include="number"),
        ),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
        sparse_threshold=0.0,
    )


def error(values):
    """Mean and standard error, as text."""
    values = np.asarray(values, dtype=float)
    spread = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return f"{values.mean():.3f} ± {spread:.3f}"


def show(doc, claims, header, rows):
    """Print a claim: title, what is published with its source level, the machine, our table."""
    print(f"## {doc.strip().splitlines()[0].rstrip('.')}\n\n{machine()}\n")
    print(table(["published", "source"], claims), "\n")
    print(table(header, rows))
