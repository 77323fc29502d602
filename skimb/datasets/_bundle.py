"""What every fetched or read set comes as: target codes, kinds of features, a checksum."""

from hashlib import sha256

import numpy as np
from scipy import sparse
from sklearn.utils import Bunch

from skimb.preprocessing._columns import Column, as_table, columns_of

_FLAGS = {"0": 0, "false": 0, "1": 1, "true": 1}


def target_of(values, rare, name):
    """Target of a set as numbers.

    Parameters
    ----------
    values : Series, data frame or ndarray
        Target as it came; several columns are labels that a row may have together.
    rare : object, collection of objects or None
        Labels that become 1; all others become 0.
    name : str
        Name of the set, for messages.

    Returns
    -------
    target : ndarray
        Codes, 0 and 1 in a matrix for several labels, or float64 responses.
    task : str
        "binary", "multiclass", "multilabel" or "regression".
    names : list of str or None
        Names of the classes in the order of their codes, or of the labels.

    Raises
    ------
    ValueError
        If there are no rows, a target is missing, there is one class only, or `rare` is no label.
    """
    if not len(values):
        raise ValueError(f"The set {name} has no rows.")
    if values.ndim == 2:
        return _flags(values, rare, name)
    column = Column(values, "target")
    labels, which = column.levels
    if lost := int((which < 0).sum()):
        raise ValueError(
            f"{lost} rows of the set {name} have no target; choose another column with target=."
        )
    if rare is None and not column.is_category and len(labels) > 2:
        return column.numbers(), "regression", None
    texts = [_text(label) for label in labels]
    if len(texts) < 2:
        raise ValueError(f"All rows of the set {name} have the target {texts[0]!r}; give target=.")
    if rare is not None:
        return _against_the_rest(texts, which, rare, name)
    counts = np.bincount(which)
    order = sorted(range(len(texts)), key=lambda k: (-counts[k], texts[k]))
    task = "binary" if len(texts) == 2 else "multiclass"
    return np.argsort(order)[which], task, [texts[k] for k in order]


def _against_the_rest(texts, which, rare, name):
    several = isinstance(rare, list | tuple | set | frozenset)
    wanted = {_text(label) for label in (rare if several else [rare])}
    is_rare = np.array([text in wanted for text in texts])
    if not wanted or wanted - set(texts):
        raise ValueError(
            f"rare={rare!r} must name labels of the set {name}; it has {sorted(texts)}."
        )
    if is_rare.all():
        raise ValueError(f"rare={rare!r} names every label of the set {name}; leave one out.")
    sides = [
        [text for text, one in zip(texts, is_rare, strict=True) if one == side] for side in (0, 1)
    ]
    names = [sides[0][0] if len(sides[0]) == 1 else "rest", " or ".join(sorted(sides[1]))]
    return is_rare[which].astype(np.int64), "binary", names


def _flags(values, rare, name):
    if rare is not None:
        raise ValueError(
            f"rare={rare!r} is for one target column, and {name} is read with several."
        )
    columns = columns_of(as_table(values))
    flags = np.empty(values.shape, np.int64)
    for j, column in enumerate(columns):
        labels, which = column.levels
        known = [_FLAGS.get(_text(label).lower(), -1) for label in labels] + [-1]
        flags[:, j] = np.array(known)[which]
        if (flags[:, j] < 0).any():
            raise ValueError(
                f"Column {column.name!r} of the set {name} holds more than 0 and 1; several targets must be labels "
                "that a row has or has not."
            )
    return flags, "multilabel", [column.name for column in columns]


def _text(label):
    return f"{label:.17g}" if isinstance(label, float) else str(label)


def bundle(data, target, *, name, task, target_names, description, checksum=None, **more):
    """A set as a Bunch.

    Parameters
    ----------
    data : data frame, ndarray or sparse matrix of shape (n, n_features)
        Features.
    target : ndarray of shape (n,) or (n, n_labels)
        What :func:`target_of` gives.
    name : str
        Name of the set.
    task : str
        What is to be predicted.
    target_names : list of str or None
        Names of classes or labels.
    description : str
        What is known about the set.
    checksum : str or None
        What the user expects; it is compared if it is given.
    **more
        Further entries; "found" replaces the checksum of the content.

    Returns
    -------
    Bunch
        The set.

    Raises
    ------
    ValueError
        If the checksum differs.
    """
    columns = None if sparse.issparse(data) else columns_of(as_table(data))
    found = more.pop("found", None) or _content(data, columns, target)
    if checksum is not None and found != checksum.lower():
        raise ValueError(
            f"The set {name} has the checksum {found} and not {checksum}: it has changed, or it is another "
            "version; compare it, then give the checksum that you trust."
        )
    share = _rare_share(target, task)
    names = [column.name for column in columns or []] or [f"x{j}" for j in range(data.shape[1])]
    kinds = [_kind(column) for column in columns or []] or ["number"] * len(names)
    return Bunch(
        data=data,
        target=target,
        target_names=target_names,
        feature_names=names,
        feature_kinds=dict(zip(names, kinds, strict=True)),
        task=task,
        rare_share=share,
        checksum=found,
        DESCR=f"{description.strip()}\n\n{_summary(name, data, task, target_names, share)}",
        **more,
    )


def _rare_share(target, task):
    if target.ndim == 2:
        return float(target.mean(0).min())
    if task.endswith("regression"):
        return None
    return (
        float(target.mean())
        if task.endswith("binary")
        else float(np.bincount(target).min() / len(target))
    )


def _summary(name, data, task, names, share):
    size = f"{name}: {data.shape[0]} rows, {data.shape[1]} features, task {task}."
    if share is None:
        return size
    if task.endswith("binary"):
        return f"{size} Target 1 is {names[1]!r}, {share:.4%} of the rows."
    return f"{size} {len(names)} classes or labels; the rarest has {share:.4%} of the rows."


def _kind(column):
    if not column.is_category:
        return "number"
    return "category" if str(column.values.dtype) in ("category", "bool", "boolean") else "text"


def _content(data, columns, target):
    """SHA-256 of names, values and targets, whatever types of a library hold them."""
    digest = sha256()
    if columns is None:
        rows = sparse.csr_array(data)
        rows.sum_duplicates()
        for part, kind in ((rows.indptr, "<i8"), (rows.indices, "<i8"), (rows.data, "<f8")):
            digest.update(np.ascontiguousarray(part, kind).tobytes())
    for column in columns or []:
        digest.update(f"{column.name}\0".encode())
        if column.is_category:
            labels, which = column.levels
            digest.update("\0".join(map(_text, labels)).encode())
            digest.update(which.astype("<i8").tobytes())
        else:
            numbers = column.numbers(finite=False)
            one_nan = np.where(np.isnan(numbers), np.nan, numbers)  # of many bit patterns
            digest.update(one_nan.astype("<f8").tobytes())
    digest.update(np.ascontiguousarray(target, "<f8").tobytes())
    return digest.hexdigest()
