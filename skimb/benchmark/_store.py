"""Predictions of test parts in a folder: one file per set, split and method."""

import json
import re
import zipfile
import zlib
from pathlib import Path

import numpy as np

from skimb._core.warn import warn_user

_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError),
    *(KeyError, TypeError, ValueError),  # of what stands in it
)


def slug(method):
    """A method's name in file names."""
    return re.sub("[^a-z0-9]+", "-", method.lower())


class Store:
    """``FOLDER/<set>/<split>_<slug>.npz``; None as folder keeps nothing.

    Splits that heed groups or times, and streams, have their way before the number: ``group0``. Arrays are
    `proba`, `decided`, `target`, `prior` and, of numeric targets, `predicted`; `meta` is JSON. A fit that failed
    has `meta` alone.
    """

    def __init__(self, folder):
        self.folder = None if folder is None else Path(folder)

    def path(self, name, split, method):
        """Where the predictions of a fit stand."""
        return self.folder / name / f"{split}_{slug(method)}.npz"

    def read(self, name, split, method):
        """The arrays and the meta of a fit, or None."""
        if self.folder is None:
            return None
        path = self.path(name, split, method)
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {key: file[key] for key in file.files}
            meta = json.loads(str(found["meta"]))
            writer = meta["method"]
        except _DAMAGED:
            warn_user(f"benchmark: {path} cannot be read; the fit is made again.")
            return None
        if slug(writer) == slug(method) and writer != method:
            raise ValueError(
                f"benchmark: {path} holds predictions of the method {writer!r}, and {method!r} would have the same "
                "file; rename one of them."
            )
        return found | {"meta": meta}

    def write(self, name, split, method, arrays, meta):
        """Keep a fit."""
        if self.folder is None:
            return
        path = self.path(name, split, method)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(file, **arrays, meta=json.dumps(meta))
        part.replace(path)
