"""The parquet format of sets: columns that say by their names what they are, and metadata."""

import json
from pathlib import Path
from typing import NamedTuple

from skimb._core.optional import require

LABEL, META = "label_", "meta_"
TASKS = (
    "binary", "multiclass", "ordinal", "multilabel", "regression",
    "text-binary", "text-multiclass", "text-ordinal", "text-multilabel", "text-regression", "token",
)  # fmt: skip


class Parts(NamedTuple):
    """Features, the target or a frame of labels, and what else belongs to rows; names without prefixes."""

    data: object
    target: object
    meta: object


class TableFile:
    """The parquet file of a set.

    Parameters
    ----------
    path : str or path
        The file.
    extra : str
        The extra of skimb that brings pandas and pyarrow where this is used.

    Attributes
    ----------
    columns : tuple of str
        All names, with their prefixes.
    labels : list of str
        Those that are labels; empty where there is a target.
    about : dict
        The JSON object ``skimb_meta`` of the metadata; empty where there is none.
    name : str
        As the metadata say, else as the file is called.

    Raises
    ------
    ValueError
        If it is no parquet file, ``skimb_meta`` is no JSON object, or there is not either a target or labels.
    ImportError
        If pandas or pyarrow is not installed.
    """

    def __init__(self, path, *, extra):
        self.path, self._extra = Path(path), extra
        schema = self._call("read_schema")
        self.columns = tuple(schema.names)
        self.labels = [c for c in self.columns if c.startswith(LABEL)]
        self.about = self._about(schema.metadata or {})
        self.name = self.about.get("name", self.path.stem)
        if bool(self.labels) == ("target" in self.columns):
            raise ValueError(
                f"The set {self.name} must have a column 'target' or columns {LABEL!r}*, and not both; its columns "
                f"are {list(self.columns[:10])}."
            )

    def read(self, *, target_only=False):
        """The rows; with `target_only` without features and what else belongs to rows."""
        targets = self.labels or ["target"]
        frame = self._call("read_table", columns=targets if target_only else None).to_pandas()
        meta = [c for c in frame if c.startswith(META)]
        return Parts(
            frame.drop(columns=[*meta, *targets]),
            frame[targets].rename(columns=_after(LABEL)) if self.labels else frame["target"],
            frame[meta].rename(columns=_after(META)),
        )

    def _call(self, function, **arguments):
        require("pandas", extra=self._extra)
        parquet = require("pyarrow.parquet", extra=self._extra)
        try:
            return getattr(parquet, function)(self.path, **arguments)
        except (ValueError, OSError) as error:  # pyarrow's own errors are both
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"{str(self.path)!r} is no parquet file that can be read: {reason}"
            ) from error

    def _about(self, metadata):
        try:
            return dict(json.loads(metadata.get(b"skimb_meta", b"{}")))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"The entry 'skimb_meta' in the metadata of {str(self.path)!r} must be a JSON object: {error}."
            ) from error


def _after(prefix):
    return lambda name: name.removeprefix(prefix)
