"""Local sets: one parquet file each, with the target, what belongs to rows, and what the set is."""

import json
import os
from hashlib import sha256
from pathlib import Path

import numpy as np
from sklearn.utils._param_validation import validate_params

from skimb._core.optional import require
from skimb.datasets._bundle import bundle, target_of

_LABEL, _META = "label_", "meta_"


@validate_params(
    {"path": [str, os.PathLike], "checksum": [str, None]}, prefer_skip_nested_validation=True
)
def read_parquet_table(path, *, checksum=None):
    """A set from one parquet file, with its target, its features and what belongs to its rows.

    The columns say what they are by their names: ``target``, or ``label_*`` with 0 and 1 for each label; ``meta_*``
    are no features, such as ``meta_split``, ``meta_group``, ``meta_time`` or ``meta_cost_fn``; ``text*`` are texts;
    all others are features. The entry ``skimb_meta`` of the file's key-value metadata may hold a JSON object with
    ``name``, ``task``, ``classes`` and further keys, such as ``licence``.

    Parameters
    ----------
    path : str or path
        The file.
    checksum : str, default=None
        SHA-256 that the file must have.

    Returns
    -------
    Bunch
        With the entries of :func:`fetch_openml_table`, of which differ:

        target : ndarray of int64 or float64, shape (n,) or (n, n_labels)
            Codes as they stand in the file, where the metadata name a task: 1 is the rare class of two. Without
            metadata they are made as :func:`fetch_openml_table` makes them.
        task : str
            As the metadata say, such as "binary", "ordinal" or "text-multilabel".
        meta : data frame of shape (n, n_meta)
            The columns ``meta_*``, without this prefix.
        checksum : str
            SHA-256 of the file.
        details : dict
            Further keys of the metadata.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no parquet file, has no target, lacks targets, or the checksum differs.
    ImportError
        If pandas or pyarrow is not installed.

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> import pyarrow as pa
    >>> import pyarrow.parquet as pq
    >>> from skimb.datasets import read_parquet_table
    >>> columns = {"amount": [1.0, 2.5, 9.0], "target": [0, 0, 1], "meta_split": ["train", "train", "test"]}
    >>> about = json.dumps({"name": "claims", "task": "binary", "classes": ["paid", "fraud"]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "claims.parquet"
    ...     pq.write_table(pa.table(columns).replace_schema_metadata({"skimb_meta": about}), path)
    ...     claims = read_parquet_table(path)
    >>> claims.data.columns.tolist(), claims.target.tolist(), claims.target_names
    (['amount'], [0, 0, 1], ['paid', 'fraud'])
    >>> claims.meta["split"].tolist(), round(claims.rare_share, 2)
    (['train', 'train', 'test'], 0.33)
    """
    require("pandas", extra="data")
    parquet = require("pyarrow.parquet", extra="data")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {str(path)!r}; give the path of one set's parquet file."
        )
    try:
        table = parquet.read_table(path)
    except (ValueError, OSError) as error:  # pyarrow's own errors are both
        raise ValueError(f"{str(path)!r} is no parquet file that can be read: {error}") from error
    about = _about(table.schema.metadata or {}, path)
    name = about.pop("name", path.stem)
    frame = table.to_pandas()
    labels = [c for c in frame if c.startswith(_LABEL)]
    if bool(labels) == ("target" in frame):
        raise ValueError(
            f"The set {name} must have a column 'target' or columns {_LABEL!r}*, and not both; its columns are "
            f"{list(frame)[:10]}."
        )
    target, task, names = _target(frame, labels, about, name)
    meta = [c for c in frame if c.startswith(_META)]
    return bundle(
        frame.drop(columns=[*meta, *(labels or ["target"])]),
        target,
        name=name,
        task=task,
        target_names=names,
        description="\n".join(f"{key}: {value}" for key, value in about.items()),
        checksum=checksum,
        found=sha256(path.read_bytes()).hexdigest(),
        meta=frame[meta].rename(columns=lambda c: c.removeprefix(_META)),
        details=about,
    )


def _about(metadata, path):
    """The JSON object of the file's metadata."""
    try:
        return dict(json.loads(metadata.get(b"skimb_meta", b"{}")))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The entry 'skimb_meta' in the metadata of {str(path)!r} must be a JSON object: {error}."
        ) from error


def _target(frame, labels, about, name):
    """Target, task and names: as the metadata say, or as the values are."""
    task, classes = about.pop("task", None), about.pop("classes", None)
    values = frame[labels] if labels else frame["target"]
    if labels or task is None:
        values = values.rename(columns=lambda c: c.removeprefix(_LABEL)) if labels else values
        target, kind, names = target_of(values, None, name)
        return target, task or kind, names
    if lost := int(values.isna().sum()):
        raise ValueError(f"{lost} rows of the set {name} have no target; drop them in the file.")
    if values.dtype.kind not in "iuf":
        raise ValueError(
            f"The target of the set {name} has the type {values.dtype}, and its metadata name the task {task!r}; "
            "write numbers, or leave the task out."
        )
    numbers = values.to_numpy(np.float64)
    if task.endswith("regression"):
        return numbers, task, None
    names = [str(c) for c in classes or range(int(numbers.max()) + 1)]
    if not np.isin(numbers, range(len(names))).all():
        raise ValueError(
            f"The codes of the set {name} lie between {numbers.min():g} and {numbers.max():g}, and its "
            f"metadata name {len(names)} classes; codes must be whole and count from 0."
        )
    return numbers.astype(np.int64), task, names
