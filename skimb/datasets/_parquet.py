"""Local sets: one parquet file each, with the target, what belongs to rows, and what the set is."""

import os
from hashlib import sha256
from pathlib import Path

import numpy as np
from sklearn.utils._param_validation import validate_params

from skimb.datasets._bundle import bundle, target_of
from skimb.datasets._table_file import TASKS, TableFile


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
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {str(path)!r}; give the path of one set's parquet file."
        )
    file = TableFile(path, extra="data")
    data, values, meta = file.read()
    about = {key: value for key, value in file.about.items() if key != "name"}
    target, task, names = _target(values, about, file.name)
    return bundle(
        data,
        target,
        name=file.name,
        task=task,
        target_names=names,
        description="\n".join(f"{key}: {value}" for key, value in about.items()),
        checksum=checksum,
        found=sha256(path.read_bytes()).hexdigest(),
        meta=meta,
        details=about,
    )


def _target(values, about, name):
    """Target, task and names: as the metadata say, or as the values are."""
    task, classes = about.pop("task", None), about.pop("classes", None)
    if task not in (None, *TASKS):
        raise ValueError(
            f"The metadata of the set {name} name the task {task!r}; it must be one of {', '.join(TASKS)}."
        )
    if values.ndim == 2 or task is None:
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
    if not len(numbers) or not np.isfinite(numbers).all():
        what = "has infinite targets" if len(numbers) else "has no rows"
        raise ValueError(f"The set {name} {what}; write finite numbers, one for each row.")
    if task.endswith("regression"):
        return numbers, task, None
    names = [str(c) for c in classes or range(int(numbers.max()) + 1)]
    if not np.isin(numbers, range(len(names))).all():
        raise ValueError(
            f"The codes of the set {name} lie between {numbers.min():g} and {numbers.max():g}, and its "
            f"metadata name {len(names)} classes; codes must be whole and count from 0."
        )
    if task.endswith("binary") and len(names) != 2:
        raise ValueError(
            f"The set {name} is of two classes by its metadata, and has the classes {names}; write codes 0 and 1."
        )
    return numbers.astype(np.int64), task, names
