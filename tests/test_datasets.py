"""Fetched and read sets: targets, checksums, and what is said when something is wrong; without a network."""

import contextlib
import io
import json
import re
import tarfile
from gzip import BadGzipFile
from json import JSONDecodeError
from urllib.error import HTTPError, URLError

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from imblearn.datasets import _zenodo
from scipy import sparse
from sklearn.utils import Bunch

import skimb.datasets._fetch as fetching
from skimb.datasets import (
    fetch_imbalanced_learn,
    fetch_openml_table,
    fetch_table,
    read_parquet_table,
)

FRAME = pd.DataFrame(
    {
        "amount": [1.0, np.nan, 3.0, 4.0, 5.0, 6.0],
        "kind": pd.Categorical(["a", "b", None, "a", "a", "b"]),
        "note": ["x", "y", "z", None, "", "w"],
    }
)


class OpenML:
    """Stands for scikit-learn's fetch_openml, and remembers what it was asked."""

    def __init__(self, target, data=FRAME, error=None):
        self.target, self.data, self.error, self.asked = target, data, error, []

    def __call__(self, **asked):
        self.asked.append(asked)
        if self.error is not None:
            raise self.error
        return Bunch(data=self.data, target=self.target, DESCR="About it.")


@pytest.fixture
def openml(monkeypatch):
    def stand_in(target, **more):
        source = OpenML(target, **more)
        monkeypatch.setattr(fetching, "fetch_openml", source)
        return source

    return stand_in


# --- OpenML ------------------------------------------------------------------------------------------


def test_the_rarer_of_two_classes_is_one(openml):
    source = openml(pd.Series(pd.Categorical(["no", "yes", "no", "no", "yes", "no"])))
    found = fetch_openml_table("bank", version=2, data_home="place", cache=False)
    np.testing.assert_array_equal(found.target, [0, 1, 0, 0, 1, 0])
    assert (found.target_names, found.task, found.target.dtype) == (
        ["no", "yes"],
        "binary",
        np.int64,
    )
    assert found.rare_share == pytest.approx(1 / 3)
    assert found.feature_names == ["amount", "kind", "note"]
    assert found.feature_kinds == {"amount": "number", "kind": "category", "note": "text"}
    assert found.data is FRAME
    assert "About it." in found.DESCR
    assert "Target 1 is 'yes', 33.3333% of the rows." in found.DESCR
    assert source.asked == [
        {
            "name": "bank",
            "version": 2,
            "target_column": "default-target",
            "data_home": "place",
            "cache": False,
            "as_frame": True,
            "parser": "auto",
        }
    ]


@pytest.mark.parametrize(
    ("rare", "codes", "names"),
    [
        (None, [0, 1, 2, 0, 1, 0], ["b", "a", "c"]),
        ("c", [0, 0, 1, 0, 0, 0], ["rest", "c"]),
        (["c", "a"], [0, 1, 1, 0, 1, 0], ["b", "a or c"]),
    ],
)
def test_codes_of_several_classes(openml, rare, codes, names):
    openml(pd.Series(["b", "a", "c", "b", "a", "b"]))
    found = fetch_openml_table(1, rare=rare)
    np.testing.assert_array_equal(found.target, codes)
    assert found.target_names == names
    assert found.task == ("multiclass" if rare is None else "binary")
    assert found.rare_share == pytest.approx(
        min(np.bincount(codes)) / 6 if rare is None else sum(codes) / 6
    )


def test_the_label_that_is_asked_for_is_one_though_it_is_frequent(openml):
    openml(pd.Series([1.0, 1.0, 2.0, 1.0, 1.0, 1.0]))
    found = fetch_openml_table(1, rare=1)
    np.testing.assert_array_equal(found.target, [1, 1, 0, 1, 1, 1])
    assert found.target_names == ["2", "1"]


def test_numbers_are_responses(openml):
    openml(pd.Series([0.5, 1.0, 2.0, 0.5, 3.0, 9.0]))
    found = fetch_openml_table(1)
    np.testing.assert_array_equal(found.target, [0.5, 1, 2, 0.5, 3, 9])
    assert (found.task, found.target_names, found.rare_share) == ("regression", None, None)


def test_several_targets_are_labels(openml):
    flags = pd.DataFrame({"p": ["TRUE", "FALSE"] * 3, "q": ["FALSE"] * 5 + ["TRUE"]})
    source = openml(flags)
    found = fetch_openml_table(1, target=["p", "q"])
    assert source.asked[0]["target_column"] == ["p", "q"]
    np.testing.assert_array_equal(found.target, [[1, 0], [0, 0]] * 2 + [[1, 0], [0, 1]])
    assert (found.task, found.target_names) == ("multilabel", ["p", "q"])
    assert found.rare_share == pytest.approx(1 / 6)
    openml(flags.assign(q="maybe"))
    with pytest.raises(
        ValueError, match=r"Column 'q' of the set 1 of OpenML holds more than 0 and 1"
    ):
        fetch_openml_table(1, target=["p", "q"])
    with pytest.raises(ValueError, match="is for one target column"):
        fetch_openml_table(1, target=["p", "q"], rare="p")


def test_arrays_and_sparse_rows(openml):
    target = np.array(["a", "b", "a"], dtype=object)
    openml(target, data=np.eye(3))
    assert fetch_openml_table(1, as_frame=False).feature_names == ["x0", "x1", "x2"]
    rows = sparse.csr_matrix([[0, 2.0], [1, 0], [0, 0]])
    openml(target, data=rows)
    found = fetch_openml_table(1, as_frame=False)
    assert found.feature_kinds == {"x0": "number", "x1": "number"}
    openml(target, data=rows.tocoo().tocsc())
    assert fetch_openml_table(1, as_frame=False).checksum == found.checksum
    openml(target, data=rows * 2)
    assert fetch_openml_table(1, as_frame=False).checksum != found.checksum


def test_the_checksum_is_of_the_content(openml):
    target = pd.Series(["no", "yes", "no", "no", "yes", "no"])
    openml(target)
    pinned = fetch_openml_table(1).checksum
    assert re.fullmatch("[0-9a-f]{64}", pinned)
    other_types = FRAME.astype({"amount": "Float64", "kind": object, "note": "string"})
    for data in (FRAME.copy(), other_types, FRAME.assign(kind=FRAME["kind"].astype("string"))):
        openml(target.astype("category"), data=data)
        assert fetch_openml_table(1, checksum=pinned.upper()).checksum == pinned
    changes = (
        FRAME.assign(amount=FRAME["amount"] + 1e-9),
        FRAME.assign(note=FRAME["note"].fillna("")),
        FRAME.rename(columns={"note": "notes"}),
        FRAME[["kind", "amount", "note"]],
    )
    for data in changes:
        openml(target, data=data)
        with pytest.raises(
            ValueError, match=rf"has the checksum [0-9a-f]{{64}} and not {pinned}: it has"
        ):
            fetch_openml_table(1, checksum=pinned)
    openml(target)
    assert fetch_openml_table(1, rare="no").checksum != pinned


def test_infinite_values_pass(openml):
    openml(pd.Series(["no", "yes"] * 3), data=FRAME.assign(amount=np.inf))
    assert np.isinf(fetch_openml_table(1).data["amount"]).all()


@pytest.mark.parametrize(
    "error",
    [
        URLError("Name or service not known"),
        HTTPError("https://www.openml.org", 503, "Service Unavailable", {}, None),
        TimeoutError("timed out"),
        ConnectionResetError("reset by peer"),
    ],
)
def test_without_a_network(openml, error):
    openml(None, error=error)
    reason = re.escape(str(getattr(error, "reason", error)))
    message = rf"The set 'adult' \(1590 of OpenML\) could not be fetched: www.openml.org did not answer \({reason}\); .*data_home=.*read_parquet_table"
    with pytest.raises(ConnectionError, match=message) as caught:
        fetch_table("adult")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("No active dataset nil found."), "No active dataset nil found."),
        (KeyError("Could not find target_column='y'"), "Could not find target_column='y'"),
    ],
)
def test_what_openml_does_not_know(openml, error, said):
    openml(None, error=error)
    with pytest.raises(
        ValueError, match=rf"The set 'nil' \(version 3\) could not be read: {said}$"
    ):
        fetch_openml_table("nil", version=3, target="y")


@pytest.mark.parametrize(
    "error",
    [
        JSONDecodeError("Expecting value", "<html>", 0),
        BadGzipFile("Not a gzipped file"),
        EOFError("Compressed file ended"),
        TypeError("list indices must be integers"),
    ],
)
def test_what_is_no_answer_of_openml(openml, error):
    openml(None, error=error)
    name = type(error).__name__
    with pytest.raises(ValueError, match=rf"came from www.openml.org is no set \({name}: .* proxy"):
        fetch_openml_table(31)


@pytest.mark.parametrize(
    ("target", "given", "message"),
    [
        (
            ["a", "b", None],
            {},
            "1 rows of the set 1 of OpenML have no target; choose another column",
        ),
        ([], {}, "The set 1 of OpenML has no rows"),
        (["a", "a", "a"], {}, "All rows of the set 1 of OpenML have the target 'a'; give target="),
        (
            ["a", "b", "a"],
            {"rare": "q"},
            r"rare='q' must name labels of the set 1 of OpenML; it has \['a', 'b'\]",
        ),
        (["a", "b", "a"], {"rare": ["a", "b"]}, "names every label"),
        (["a", "b", "a"], {"rare": []}, "must name labels"),
        (["a", "b", "a"], {"version": 2}, "version=2 belongs to a name; the number 1 says all"),
        (None, {}, "names no target; give target="),
    ],
)
def test_refusals(openml, target, given, message):
    openml(None if target is None else pd.Series(target), data=FRAME[:3])
    with pytest.raises(ValueError, match=message):
        fetch_openml_table(1, **given)


def test_a_name_needs_its_version():
    with pytest.raises(
        ValueError, match=r"fetch_openml_table\('adult'\) needs version=: OpenML holds"
    ):
        fetch_openml_table("adult")


# --- sets known by name ------------------------------------------------------------------------------


def test_known_tables_are_asked_by_number(openml, monkeypatch):
    small = fetching._KNOWN["diabetes_hospitals"]._replace(shape=(6, 5))
    monkeypatch.setitem(fetching._KNOWN, "diabetes_hospitals", small)
    answer = FRAME.assign(readmitted=1, readmit_binary=1)
    source = openml(pd.Series([0, 1, 0, 0, 0, 1]), data=answer)
    found = fetch_table("diabetes_hospitals", data_home="place")
    assert source.asked[0]["data_id"] == 43874
    assert source.asked[0]["data_home"] == "place"
    assert found.feature_names == ["amount", "kind", "note"]
    assert found.target.tolist() == [0, 1, 0, 0, 0, 1]
    openml(pd.Series([0, 1, 0, 0, 0, 1]))
    with pytest.raises(ValueError, match="has 6 rows and 3 features where 6 and 5 are documented"):
        fetch_table("diabetes_hospitals")
    with pytest.raises(ValueError, match=r"must be a str among .*'german_credit'.*Got 'iris'"):
        fetch_table("iris")


def test_known_tables_stand_in_the_docstring():
    rows = re.findall(r'^ +"(\w+)" +(\d+) +([\d,]*) ', fetch_table.__doc__, re.MULTILINE)
    known = fetching._KNOWN.items()
    assert rows == [
        (name, str(k.data_id), f"{k.shape[0]:,}" if k.shape else "") for name, k in known
    ]


# --- imbalanced-learn --------------------------------------------------------------------------------


@pytest.fixture
def zenodo(monkeypatch):
    """An archive in the place of Zenodo's; a list of the addresses that were opened."""
    opened = []
    file = io.BytesIO()
    np.savez(file, data=np.arange(8.0).reshape(4, 2), label=np.array([-1, 1, -1, -1]))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        entry = tarfile.TarInfo("x1data.npz")
        entry.size = file.tell()
        file.seek(0)
        tar.addfile(entry, file)

    def urlopen(url):
        opened.append(url)
        return io.BytesIO(archive.getvalue())

    monkeypatch.setattr(_zenodo, "urlopen", urlopen)
    return opened


def test_imbalanced_learn_is_fetched_once(zenodo, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"The set 'ecoli' is not in .*zenodo; give data_home="
    ):
        fetch_imbalanced_learn("ecoli", data_home=tmp_path, download_if_missing=False)
    assert zenodo == []
    found = fetch_imbalanced_learn("ecoli", data_home=tmp_path)
    assert zenodo == [_zenodo.URL]
    np.testing.assert_array_equal(found.target, [0, 1, 0, 0])
    np.testing.assert_array_equal(found.data, np.arange(8.0).reshape(4, 2))
    assert (found.target_names, found.rare_share) == (["majority", "minority"], 0.25)
    again = fetch_imbalanced_learn("ecoli", data_home=tmp_path, checksum=found.checksum)
    assert again.checksum == found.checksum
    assert len(zenodo) == 1
    with pytest.raises(ValueError, match="and not 00: it has changed"):
        fetch_imbalanced_learn("ecoli", data_home=tmp_path, checksum="00")


def test_imbalanced_learn_names_are_its_own():
    assert sorted(fetching._BENCHMARK) == sorted(_zenodo.MAP_NAME_ID)
    with pytest.raises(ValueError, match=r"must be a str among .*'abalone_19'.*Got 'abalone_20'"):
        fetch_imbalanced_learn("abalone_20")


def test_imbalanced_learn_without_a_network_or_with_a_damaged_file(monkeypatch, tmp_path):
    def unreachable(url):
        raise URLError("no route")

    monkeypatch.setattr(_zenodo, "urlopen", unreachable)
    with pytest.raises(
        ConnectionError, match=r"'ecoli' could not .*: zenodo.org did not answer \(no route\)"
    ):
        fetch_imbalanced_learn("ecoli", data_home=tmp_path)
    monkeypatch.setattr(_zenodo, "urlopen", lambda url: io.BytesIO(b"<html>"))
    damaged = r"'ecoli' could not be read from .*zenodo: the file is damaged; delete the folder"
    with pytest.raises(ValueError, match=damaged):
        fetch_imbalanced_learn("ecoli", data_home=tmp_path)
    file, whole = tmp_path / "zenodo" / "x1data.npz", io.BytesIO()
    label = np.where(np.arange(40) < 5, 1, -1)
    np.savez_compressed(whole, data=np.random.default_rng(0).random((40, 3)), label=label)
    whole = whole.getvalue()
    for place in range(0, len(whole), 97):  # of each part of the archive
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(ValueError):
            fetch_imbalanced_learn("ecoli", data_home=tmp_path)
    for broken in (b"", whole[:300] + b"zzzz" + whole[304:]):
        file.write_bytes(broken)
        with pytest.raises(ValueError, match=damaged):
            fetch_imbalanced_learn("ecoli", data_home=tmp_path)
    for label in (-np.ones(40), np.ones(3)):
        np.savez(file, data=np.ones((40, 3)), label=label)
        with pytest.raises(ValueError, match=damaged):
            fetch_imbalanced_learn("ecoli", data_home=tmp_path)


# --- files -------------------------------------------------------------------------------------------


def written(folder, columns, about=None):
    table = pa.table(columns)
    if about is not None:
        table = table.replace_schema_metadata({"skimb_meta": json.dumps(about)})
    pq.write_table(table, folder / "set.parquet")
    return folder / "set.parquet"


def test_a_two_class_file(tmp_path):
    columns = {
        "amount": [1.0, None, 3.0],
        "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
        "text": ["some words", "more", "none"],
        "target": [0, 1, 0],
        "meta_split": ["train", "train", "test"],
    }
    about = {
        "name": "claims",
        "task": "text-binary",
        "classes": ["paid", "fraud"],
        "licence": "CC0",
    }
    path = written(tmp_path, columns, about)
    found = read_parquet_table(path)
    assert found.feature_kinds == {"amount": "number", "kind": "category", "text": "text"}
    assert found.data.columns.tolist() == ["amount", "kind", "text"]
    np.testing.assert_array_equal(found.target, [0, 1, 0])
    assert (found.task, found.target_names) == ("text-binary", ["paid", "fraud"])
    assert found.meta.to_dict("list") == {"split": ["train", "train", "test"]}
    assert found.details == {"licence": "CC0"}
    assert "licence: CC0" in found.DESCR
    assert "claims: 3 rows, 3 features" in found.DESCR
    assert read_parquet_table(str(path), checksum=found.checksum).rare_share == found.rare_share
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(ValueError, match="is no parquet file that can be read"):
        read_parquet_table(path)


@pytest.mark.parametrize(
    ("columns", "about", "task", "target", "names", "share"),
    [
        ({"target": [2, 0, 0, 1]}, {"task": "ordinal", "classes": ["s", "m", "l"]}, "ordinal", [2, 0, 0, 1], ["s", "m", "l"], 1 / 4),
        ({"target": [0, 1, 1, 0]}, {"task": "multiclass"}, "multiclass", [0, 1, 1, 0], ["0", "1"], 1 / 2),
        ({"target": [0.5, 1.5, 2.5, 3.5]}, {"task": "regression"}, "regression", [0.5, 1.5, 2.5, 3.5], None, None),
        ({"label_p": [0, 1, 1, 1], "label_q": [0, 0, 0, 1]}, {"task": "multilabel"}, "multilabel", [[0, 0], [1, 0], [1, 0], [1, 1]], ["p", "q"], 1 / 4),
        ({"target": ["b", "a", "b", "b"]}, None, "binary", [0, 1, 0, 0], ["b", "a"], 1 / 4),
        ({"target": [1.5, 2.5, 0.1, 4.0]}, None, "regression", [1.5, 2.5, 0.1, 4.0], None, None),
    ],
)  # fmt: skip
def test_tasks_of_files(tmp_path, columns, about, task, target, names, share):
    found = read_parquet_table(written(tmp_path, {"x": [1, 2, 3, 4], **columns}, about))
    assert (found.task, found.target_names) == (task, names)
    np.testing.assert_array_equal(found.target, target)
    assert found.rare_share == pytest.approx(share)
    assert found.feature_names == ["x"]


@pytest.mark.parametrize(
    ("columns", "about", "message"),
    [
        ({"y": [0, 1]}, None, r"must have a column 'target' or columns 'label_'\*, and not both; its columns are \['y'\]"),
        ({"x": [0, 1], "target": [0, 1], "label_a": [0, 1]}, None, "and not both"),
        ({"x": [0, 1], "target": [0, None]}, {"task": "binary"}, "1 rows of the set set have no target"),
        ({"x": [0, 1], "target": [1, 2]}, {"task": "binary", "classes": ["a", "b"]}, "lie between 1 and 2, and its metadata name 2 classes"),
        ({"x": [0, 1], "target": [0.0, 0.5]}, {"task": "binary"}, "lie between 0 and 0.5, and its metadata name 1 classes"),
        ({"x": [0, 1], "target": ["a", "b"]}, {"task": "binary"}, "has the type .*, and its metadata name the task 'binary'; write numbers"),
        ({"x": [0, 1], "target": [0, 0]}, {"task": "binary"}, r"of two classes by its metadata, and has the classes \['0'\]"),
        ({"x": [0, 1], "target": [0, 1]}, {"task": "binry"}, "name the task 'binry'; it must be one of binary, multiclass"),
        ({"x": [0, 1], "target": [0, 1]}, {"task": 1}, "name the task 1; it must be one of"),
        ({"x": [0, 1], "target": [0.0, np.inf]}, {"task": "regression"}, "has infinite targets; write finite numbers"),
        ({"x": [0, 1], "target": [0, 1]}, ["binary"], "The entry 'skimb_meta' in the metadata of .* must be a JSON object"),
    ],
)  # fmt: skip
def test_files_that_are_refused(tmp_path, columns, about, message):
    with pytest.raises(ValueError, match=message):
        read_parquet_table(written(tmp_path, columns, about))


def test_no_file_and_another_checksum(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file '.*nil.parquet'; give the path"):
        read_parquet_table(tmp_path / "nil.parquet")
    path = written(tmp_path, {"x": [1, 2], "target": [0, 1]})
    with pytest.raises(ValueError, match=r"The set set has the checksum \w+ and not 00"):
        read_parquet_table(path, checksum="00")
