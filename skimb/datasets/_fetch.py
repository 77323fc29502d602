"""Sets from OpenML and from imbalanced-learn's benchmark, with checksums and one sentence for what goes wrong."""

import errno
import os
import zlib
from contextlib import contextmanager
from gzip import BadGzipFile
from http.client import HTTPException
from json import JSONDecodeError
from numbers import Integral
from tarfile import TarError
from typing import NamedTuple
from urllib.error import URLError
from zipfile import BadZipFile

import numpy as np
from imblearn.datasets import fetch_datasets
from sklearn.datasets import fetch_openml, get_data_home
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skimb._core.optional import require
from skimb.datasets._bundle import bundle, target_of


class _Known(NamedTuple):
    """A set of OpenML that documentation describes."""

    data_id: int
    about: str
    shape: tuple = ()  # rows and features as documented, before columns are dropped
    rare: str | None = None
    drop: tuple = ()


_KNOWN = {
    "adult": _Known(1590, "Income above 50,000 dollars a year", (48842, 14), ">50K"),
    "bank_marketing": _Known(1461, "Calls that sold a deposit", (45211, 16)),
    "blood_transfusion": _Known(1464, "Blood donors who gave again"),
    "credit_card_default": _Known(42477, "Credit card debts not paid back", (30000, 23)),
    "credit_card_fraud": _Known(1597, "Fraud among card payments"),
    "diabetes_hospitals": _Known(
        43874,
        "Readmission of diabetics within 30 days",
        (101766, 24),
        drop=("readmitted", "readmit_binary"),
    ),
    "german_credit": _Known(31, "Bad credit", rare="bad"),
    "pima_diabetes": _Known(
        37,
        "Diabetes among Pima women",
        rare="tested_positive",
    ),
}
# fmt: off
_BENCHMARK = {
    "abalone", "abalone_19", "arrhythmia", "car_eval_34", "car_eval_4", "coil_2000", "ecoli", "isolet",
    "letter_img", "libras_move", "mammography", "oil", "optical_digits", "ozone_level", "pen_digits",
    "protein_homo", "satimage", "scene", "sick_euthyroid", "solar_flare_m0", "spectrometer", "thyroid_sick",
    "us_crime", "webpage", "wine_quality", "yeast_me2", "yeast_ml8",
}
# fmt: on
_BROKEN = (BadGzipFile, EOFError, zlib.error)  # of files that were compressed
_PLACE = {"data_home": [str, os.PathLike, None], "checksum": [str, None]}


@contextmanager
def _reaching(name, host):
    """Turn what a network does into one sentence."""
    try:
        yield
    except (URLError, TimeoutError, ConnectionError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ConnectionError(
            f"The set {name} could not be fetched: {host} did not answer ({reason}); try again with a network, "
            "give data_home= a folder into which it was fetched before, or read a local file with "
            "read_parquet_table."
        ) from error


@validate_params(
    {
        "name_or_id": [str, Interval(Integral, 1, None, closed="left")],
        "version": [Interval(Integral, 1, None, closed="left"), None],
        "target": [str, list, None],
        "rare": "no_validation",
        "cache": ["boolean"],
        "as_frame": ["boolean"],
        **_PLACE,
    },
    prefer_skip_nested_validation=True,
)
def fetch_openml_table(
    name_or_id,
    *,
    version=None,
    target=None,
    rare=None,
    checksum=None,
    data_home=None,
    cache=True,
    as_frame=True,
):
    """A set of OpenML with its rare class as 1.

    The rows come through :func:`sklearn.datasets.fetch_openml`, which keeps what it has fetched and compares the
    MD5 sum that OpenML states. Here the target becomes numbers, and a checksum of the content can be pinned.

    Parameters
    ----------
    name_or_id : str or int
        Name, which needs `version`, or number of the set, which stands in its address.
    version : int, default=None
        Version of a name; OpenML holds different sets under one name.
    target : str or list of str, default=None
        Column to predict; ``None`` takes the one that OpenML names. Several columns are labels of a multi-label
        set, with 0 and 1 or false and true.
    rare : label or collection of labels, default=None
        What becomes 1; all other labels become 0. ``None`` takes the rarer of two classes.
    checksum : str, default=None
        SHA-256 that the content must have. It is that of an earlier result's `checksum`: names of the features,
        their values as texts or float64 and the codes of the target, so it does not depend on versions of pandas.
        It does depend on `target`, `rare` and `as_frame`.
    data_home : str or path, default=None
        Folder of fetched sets; ``None`` is scikit-learn's.
    cache : bool, default=True
        Whether to keep what was fetched.
    as_frame : bool, default=True
        Whether features come as a data frame. Sparse sets need False.

    Returns
    -------
    Bunch
        With the entries:

        data : data frame of shape (n, n_features), ndarray or sparse matrix
            Features.
        target : ndarray of int64 or float64, shape (n,) or (n, n_labels)
            1 for the rare class where there are two, or where `rare` is given; with more classes codes from the
            most to the least frequent; 0 and 1 per label; numbers with more than two values are responses.
        target_names : list of str or None
            Names in the order of the codes; of the labels; ``None`` for responses.
        task : {"binary", "multiclass", "multilabel", "regression"}
            What is to be predicted.
        rare_share : float in [0, 1] or None
            Share of rows with target 1, or of the rarest class or label; ``None`` for responses.
        feature_names : list of str
            Names of the features.
        feature_kinds : dict of str to {"number", "category", "text"}
            What each feature holds.
        checksum : str
            SHA-256 of the content.
        DESCR : str
            OpenML's description and a line on the target.

    Raises
    ------
    ConnectionError
        If OpenML does not answer and the set is not in `data_home`.
    ValueError
        If the set, its version, the target or a label is unknown, targets are missing, there is one class only, or
        the checksum differs.
    ImportError
        If pandas is not installed.

    See Also
    --------
    fetch_table : The same for sets that are known here.

    References
    ----------
    Vanschoren, van Rijn, Bischl and Torgo 2013, doi:10.1145/2641190.2641198.

    Examples
    --------
    >>> from skimb.datasets import fetch_openml_table
    >>> german = fetch_openml_table("credit-g", version=1, rare="bad")  # doctest: +SKIP
    >>> german.target_names, german.rare_share  # doctest: +SKIP
    (['good', 'bad'], 0.3)
    """
    if isinstance(name_or_id, str):
        if version is None:
            raise ValueError(
                f"fetch_openml_table({name_or_id!r}) needs version=: OpenML holds different sets under one name; "
                "give an int, or the number of the set instead of its name."
            )
        which = {"name": name_or_id, "version": int(version)}
        name = f"{name_or_id!r} (version {version})"
    else:
        if version is not None:
            raise ValueError(
                f"version={version!r} belongs to a name; the number {name_or_id} says all."
            )
        which = {"data_id": int(name_or_id)}
        name = f"{name_or_id} of OpenML"
    return _openml(which, name, target, rare, checksum, data_home, cache, as_frame)


def _openml(
    which, name, target, rare, checksum, data_home, cache, as_frame, *, about="", shape=(), drop=()
):
    require("pandas", extra="data")
    try:
        with _reaching(name, "www.openml.org"):
            raw = fetch_openml(
                **which,
                target_column="default-target" if target is None else target,
                data_home=data_home,
                cache=cache,
                as_frame=as_frame,
                parser="auto",
            )
    except (JSONDecodeError, UnicodeError, TypeError, *_BROKEN) as error:
        raise ValueError(
            f"The set {name} could not be read: what came from www.openml.org is no set ({type(error).__name__}: "
            f"{error}); something may stand between, such as a proxy, so try again from another network."
        ) from error
    except (ValueError, KeyError) as error:
        raise ValueError(f"The set {name} could not be read: {error.args[0]}") from error
    if raw.target is None:
        raise ValueError(f"The set {name} names no target; give target=, one of its columns.")
    if shape and raw.data.shape != shape:
        raise ValueError(
            f"The set {name} has {raw.data.shape[0]} rows and {raw.data.shape[1]} features where {shape[0]} and "
            f"{shape[1]} are documented; OpenML has changed it, so look at it with fetch_openml_table."
        )
    data = raw.data.drop(columns=list(drop)) if drop else raw.data
    codes, task, names = target_of(raw.target, rare, name)
    return bundle(
        data,
        codes,
        name=name,
        task=task,
        target_names=names,
        description=f"{about}\n\n{raw.DESCR or ''}",
        checksum=checksum,
    )


@validate_params(
    {"name": [StrOptions(set(_KNOWN))], "cache": ["boolean"], **_PLACE},
    prefer_skip_nested_validation=True,
)
def fetch_table(name, *, checksum=None, data_home=None, cache=True):
    """A public two-class table of OpenML by a plain name.

    Parameters
    ----------
    name : str
        Name of the set, one of those in the notes.
    checksum : str, default=None
        SHA-256 that the content must have, see :func:`fetch_openml_table`.
    data_home : str or path, default=None
        Folder of fetched sets; ``None`` is scikit-learn's.
    cache : bool, default=True
        Whether to keep what was fetched.

    Returns
    -------
    Bunch
        As :func:`fetch_openml_table` gives: a data frame `data`, `target` with 1 for the rare class, and what is
        known of both.

    Raises
    ------
    ConnectionError
        If OpenML does not answer and the set is not in `data_home`.
    ValueError
        If the name is unknown, rows and features are not as many as documented, or the checksum differs.
    ImportError
        If pandas is not installed.

    Notes
    -----
    Numbers of OpenML, rows and features are those of the named documentation.

    =====================  =======  =======  =========================================================
    Name                   OpenML   Rows     Rare class and where it is documented
    =====================  =======  =======  =========================================================
    "adult"                1590     48,842   Income above 50,000 dollars; fairlearn's ``fetch_adult``
    "bank_marketing"       1461     45,211   Calls that sold a deposit; fairlearn's ``fetch_bank_marketing``
    "blood_transfusion"    1464              Donors who gave again; scikit-learn, example of display objects
    "credit_card_default"  42477    30,000   Debts not paid back; fairlearn's ``fetch_credit_card``
    "credit_card_fraud"    1597              Fraud; scikit-learn, example of cost-sensitive learning
    "diabetes_hospitals"   43874    101,766  Readmission within 30 days; fairlearn's ``fetch_diabetes_hospital``,
                                             without the two columns that hold the answer
    "german_credit"        31                Bad credit; scikit-learn, example of cost-sensitive learning
    "pima_diabetes"        37                Positive test; scikit-learn, example of tuned thresholds
    =====================  =======  =======  =========================================================

    Examples
    --------
    >>> from skimb.datasets import fetch_table
    >>> adult = fetch_table("adult")  # doctest: +SKIP
    >>> adult.target_names  # doctest: +SKIP
    ['<=50K', '>50K']
    """
    known = _KNOWN[name]
    which = {"data_id": known.data_id}
    return _openml(
        which,
        f"{name!r} ({known.data_id} of OpenML)",
        None,
        known.rare,
        checksum,
        data_home,
        cache,
        True,
        about=f"{known.about}.",
        shape=known.shape,
        drop=known.drop,
    )


@validate_params(
    {"name": [StrOptions(_BENCHMARK)], "download_if_missing": ["boolean"], **_PLACE},
    prefer_skip_nested_validation=True,
)
def fetch_imbalanced_learn(name, *, checksum=None, data_home=None, download_if_missing=True):
    """One of the 27 two-class sets of imbalanced-learn's benchmark.

    The sets were put together by Ding and lie in one file at Zenodo, which
    :func:`imblearn.datasets.fetch_datasets` fetches and unpacks once.

    Parameters
    ----------
    name : str
        Name in imbalanced-learn's table, such as "ecoli", "abalone_19" or "mammography"; a wrong one is answered
        with all names.
    checksum : str, default=None
        SHA-256 that the content must have, see :func:`fetch_openml_table`.
    data_home : str or path, default=None
        Folder of fetched sets; ``None`` is scikit-learn's. The files lie in its folder ``zenodo``.
    download_if_missing : bool, default=True
        Whether to fetch the file when the set is not in `data_home`.

    Returns
    -------
    Bunch
        As :func:`fetch_openml_table` gives, with an ndarray of float64 as `data` and `target_names` "majority" and
        "minority".

    Raises
    ------
    ConnectionError
        If Zenodo does not answer and the set is not in `data_home`.
    FileNotFoundError
        If the set is not in `data_home` and must not be fetched.
    ValueError
        If the name is unknown, the file is damaged, or the checksum differs.

    References
    ----------
    Ding 2011, "Diversified Ensemble Classifiers for Highly Imbalanced Data Learning and their Application in
    Bioinformatics", dissertation, Georgia State University. Lemaître, Nogueira and Aridas 2017, JMLR 18(17),
    https://jmlr.org/papers/v18/16-365.html.

    Examples
    --------
    >>> from skimb.datasets import fetch_imbalanced_learn
    >>> ecoli = fetch_imbalanced_learn("ecoli")  # doctest: +SKIP
    >>> ecoli.data.shape  # doctest: +SKIP
    (336, 7)
    """
    home = get_data_home(None if data_home is None else os.fspath(data_home))
    folder = os.path.join(home, "zenodo")
    damaged = (
        f"The set {name!r} could not be read from {folder}: the file is damaged; delete the folder and fetch it "
        "again."
    )
    try:
        with _reaching(repr(name), "zenodo.org"):
            found = fetch_datasets(
                data_home=home, filter_data=(name,), download_if_missing=download_if_missing
            )[name]
        if len(found.data) != len(found.target) or set(found.target.tolist()) != {-1, 1}:
            raise ValueError("no label of -1 and 1 for each row")
    except ConnectionError:
        raise
    except (TarError, BadZipFile, NotImplementedError, KeyError, ValueError, *_BROKEN) as error:
        raise ValueError(damaged) from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # places in the file that cannot be
            raise ValueError(damaged) from error
        if download_if_missing:
            raise
        raise FileNotFoundError(
            f"The set {name!r} is not in {folder}; give data_home= the folder that holds it, or "
            "download_if_missing=True."
        ) from error
    return bundle(
        found.data,
        (np.asarray(found.target) == 1).astype(np.int64),
        name=repr(name),
        task="binary",
        target_names=["majority", "minority"],
        description="A set of imbalanced-learn's benchmark, record 61452 of Zenodo.",
        checksum=checksum,
    )
