"""Reading raw tables: what counts as a category, which codes and numbers come out, what is refused."""

import copy
import datetime
import decimal
import pickle

import numpy as np
import pandas as pd
import pytest
from refusals import check_refusal
from scipy import sparse
from sklearn.base import BaseEstimator

from skimb.preprocessing._table import TableReader

nan = np.nan


def read(X, new=None, **kw):
    """Levels, numbers and codes of rows read by a reader fitted to X."""
    reader = TableReader(**kw).fit(X)
    table = reader.read(X if new is None else new)
    assert table.numbers.dtype == np.float64
    assert table.codes.dtype == np.int64
    assert table.numbers.shape == (len(table), len(reader.number_names_))
    assert table.codes.shape == (len(table), len(reader.category_names_))
    return reader.levels_, table.numbers, table.codes


def one(values, new=None, **kw):
    """Levels and codes, or numbers, of one column."""
    frame = [None if v is None else pd.DataFrame({"a": v}) for v in (values, new)]
    levels, numbers, codes = read(*frame, **kw)
    return (levels[0], codes[:, 0].tolist()) if levels else numbers[:, 0].tolist()


def refuses(call, *names):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    check_refusal(caught.value, names)


# --- pandas -------------------------------------------------------------------------------------------

NUMBERS = {
    "int64": (pd.Series([3, 1, 2]), [3, 1, 2]),
    "uint8": (pd.Series([3, 1, 2], dtype="uint8"), [3, 1, 2]),
    "float32": (pd.Series([0.5, nan, 2], dtype="float32"), [0.5, nan, 2]),
    "Int64": (pd.Series([3, None, 2], dtype="Int64"), [3, nan, 2]),
    "Float64": (pd.Series([0.5, None, 2], dtype="Float64"), [0.5, nan, 2]),
    "objects": (pd.Series([3, None, 2.5, nan, pd.NA], dtype=object), [3, nan, 2.5, nan, nan]),
    "decimals": (pd.Series([decimal.Decimal("0.5"), decimal.Decimal("NaN")]), [0.5, nan]),
    "sparse": (pd.Series(pd.arrays.SparseArray([0.0, 2, nan])), [0, 2, nan]),
    "all missing": (pd.Series([nan, nan]), [nan, nan]),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_of_pandas(kind):
    values, wanted = NUMBERS[kind]
    for features in ("from_dtype", None, []):
        np.testing.assert_array_equal(one(values, categorical_features=features), wanted)


LEVELS = {
    "objects": (
        pd.Series(["b", None, "a", nan, pd.NA, "b"], dtype=object),
        "ab",
        [2, 0, 1, 0, 0, 2],
    ),
    "string": (pd.Series(["b", None, "a"], dtype="string"), "ab", [2, 0, 1]),
    "inferred": (pd.Series(["b", None, "a"]), "ab", [2, 0, 1]),
    "category": (
        pd.Series(pd.Categorical(["b", None, "a"], list("zba"), ordered=True)),
        "ab",
        [2, 0, 1],
    ),
    "numbered category": (pd.Series([10, 2, None]).astype("category"), [2, 10], [2, 1, 0]),
    "bool": (pd.Series([True, False, True]), [False, True], [2, 1, 2]),
    "boolean": (pd.Series([True, None, False], dtype="boolean"), [False, True], [2, 0, 1]),
    "bools as objects": (
        pd.Series([True, None, np.False_], dtype=object),
        [False, True],
        [2, 0, 1],
    ),
    "one level": (pd.Series(["a", "a"]), "a", [1, 1]),
    "no level": (pd.Series([None, None], dtype="string"), [], [0, 0]),
    "objects of none": (pd.Series([None, None], dtype=object), [], [0, 0]),
}


@pytest.mark.parametrize("kind", LEVELS)
def test_categories_of_pandas(kind):
    values, levels, codes = LEVELS[kind]
    assert one(values) == (list(levels), codes)
    assert one(values, categorical_features=["a"]) == (list(levels), codes)
    assert one(values, values[::-1].copy()) == (list(levels), codes[::-1])


@pytest.mark.parametrize(
    ("kind", "values", "wanted"),
    [
        ("int64[pyarrow]", [3, None, 2], [3, nan, 2]),
        ("double[pyarrow]", [0.5, None, 2], [0.5, nan, 2]),
        ("string[pyarrow]", ["b", None, "a"], (["a", "b"], [2, 0, 1])),
        ("bool[pyarrow]", [True, None, False], ([False, True], [2, 0, 1])),
        ("dictionary", ["b", None, "a"], (["a", "b"], [2, 0, 1])),
        ("decimal", [decimal.Decimal("0.5"), None], [0.5, nan]),
    ],
)
def test_arrow_types_of_pandas(kind, values, wanted):
    pa = pytest.importorskip("pyarrow")
    if kind == "dictionary":
        kind = pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))
    elif kind == "decimal":
        kind = pd.ArrowDtype(pa.decimal128(5, 2))
    found = one(pd.Series(values, dtype=kind))
    if isinstance(wanted, tuple):
        assert found == wanted
    else:
        np.testing.assert_array_equal(found, wanted)


def test_levels_of_other_types_in_order():
    cut = pd.cut(pd.Series([5.0, 1, 9]), [0, 3, 6, 9])
    levels, codes = one(cut)
    assert codes == [2, 1, 3]
    assert levels == sorted(levels)
    assert one(pd.Series([b"y", b"x", None])) == ([b"x", b"y"], [2, 1, 0])
    assert one(pd.Series([(2, 1), (1, 5)])) == ([(1, 5), (2, 1)], [2, 1])


@pytest.mark.parametrize(
    ("fitted", "new", "codes"),
    [
        (pd.Series([1, 2, 3]), pd.Series([3.0, nan, 1.0, 9.0]), [3, 0, 1, 0]),
        (pd.Series([1.0, 2.0]), pd.Series([2, 1], dtype="Int64"), [2, 1]),
        (pd.Series([1, 2]), pd.Series([2, None, 1.0], dtype=object), [2, 0, 1]),
        (pd.Series([0, 1]), pd.Series([True, False]), [2, 1]),
        (pd.Series([0, 1, None], dtype="Int64"), pd.Series(pd.Categorical([1.0, 0.0])), [2, 1]),
        (pd.Series(list("ab")), pd.Series(pd.Categorical(list("bca"))), [2, 0, 1]),
        (
            pd.Series(list("ab"), dtype="category"),
            pd.Series(["b", None, "c"], dtype=object),
            [2, 0, 0],
        ),
        (pd.Series(list("ab"), dtype=object), pd.Series(["b", "a"], dtype="string"), [2, 1]),
        (pd.Series(list("ab")), pd.Series([None, nan], dtype=object), [0, 0]),
        (pd.Series(list("ab")), pd.Series([nan, nan]), [0, 0]),
        (pd.Series([None, None], dtype=object), pd.Series(["a", "b"]), [0, 0]),
        (pd.Series([None, None], dtype=object), pd.Series([1, 2]), [0, 0]),
    ],
)
def test_equal_values_of_other_types_are_the_same_level(fitted, new, codes):
    assert one(fitted, new, categorical_features=[0])[1] == codes


@pytest.mark.parametrize(
    "new",
    [
        pd.Series([True, False], dtype="boolean"),
        pd.Series([1.0, 0.0], dtype=object),
        pd.Series([1, 0]).astype("category"),
        pd.Series([1, 0], dtype="Float64"),
    ],
    ids=lambda s: str(s.dtype),
)
def test_numbers_of_other_types_stay_numbers(new):
    assert one(pd.Series([0.5, 2.5]), new) == [1, 0]
    assert one(pd.Series([0.5, 2.5]), pd.Series([None, None], dtype=object)) == pytest.approx(
        [nan, nan], nan_ok=True
    )


# --- which columns --------------------------------------------------------------------------------------


def mixed():
    return pd.DataFrame(
        {"n": [1.0, 2, 3], "s": ["b", "a", None], "k": [7, 8, 7], "b": [True, False, True]},
        index=[5, 5, 1],
    )


@pytest.mark.parametrize(
    ("given", "categories"),
    [
        ("from_dtype", ["s", "b"]),
        (["s"], ["s"]),
        (["k", "s"], ["s", "k"]),
        (np.array(["b", "s"], object), ["s", "b"]),
        ([1, 2], ["s", "k"]),
        ((2, 1), ["s", "k"]),
        ([False, True, False, True], ["s", "b"]),
        (np.array([False, True, True, False]), ["s", "k"]),
    ],
)
def test_which_columns_are_categories(given, categories):
    reader = TableReader(given)
    table = reader.fit_read(mixed())
    assert reader.category_names_ == categories
    assert reader.number_names_ == [c for c in "nskb" if c not in categories]
    assert [list("nskb")[j] for j in reader.category_features_] == categories
    assert reader.levels_[0] == ["a", "b"]
    assert table.codes[:, 0].tolist() == [2, 1, 0]
    assert table.numbers[:, 0].tolist() == [1, 2, 3]
    if "b" not in categories:
        assert table.numbers[:, -1].tolist() == [1, 0, 1]
    assert reader.missing_.tolist() == [False] * len(reader.number_names_)


@pytest.mark.parametrize(
    "given",
    [
        "auto",
        [False, True],
        [-1],
        [4],
        ["s", "zz"],
        [0.5],
        ["s", 1, None],
        [[1]],
        3,
        ["n"],  # leaves texts among the numbers
        [],
        None,
    ],
    ids=str,
)
def test_wrong_categories_are_refused(given):
    refuses(lambda: TableReader(given).fit(mixed()), "categorical_features")


def test_names_need_names():
    refuses(lambda: TableReader(["a"]).fit(np.eye(3)), "categorical_features")
    by_place = TableReader([0]).fit(mixed().set_axis(range(4), axis=1)[[1, 0, 2]])
    assert by_place.category_names_ == ["1"]
    assert not hasattr(by_place, "feature_names_in_")


def test_nothing_is_changed_or_kept():
    X = mixed()
    X["c"] = X["s"].astype("category")
    before = copy.deepcopy(X)
    reader = TableReader()
    table = reader.fit_read(X)
    reader.read(X)
    pd.testing.assert_frame_equal(X, before)
    table.numbers[:] = -1
    pd.testing.assert_frame_equal(X, before)
    assert set(map(type, vars(reader).values())) <= {str, list, np.ndarray, int}
    X = np.arange(30_000.0).reshape(-1, 3)
    reader.fit_read(X).numbers[:] = -1
    assert X[0, 1] == 1
    assert len(pickle.dumps(reader)) < 2000


def test_a_pickle_reads_the_same():
    X = mixed()
    reader = TableReader().fit(X)
    wanted = reader.read(X)
    reader.categorical_features = None
    for again in (reader, pickle.loads(pickle.dumps(reader)), copy.deepcopy(reader)):
        table = again.read(X)
        np.testing.assert_array_equal(table.numbers, wanted.numbers)
        np.testing.assert_array_equal(table.codes, wanted.codes)
    rows = wanted[np.array([2, 0])]
    assert len(rows) == 2
    assert rows.numbers[:, 0].tolist() == [3, 1]
    assert rows.codes[:, 0].tolist() == [0, 2]
    assert len(wanted[1:]) == 2


# --- names and numbers of features ---------------------------------------------------------------------


class Owner(BaseEstimator):
    pass


@pytest.mark.parametrize("owner", [None, Owner()], ids=["alone", "owner"])
def test_names_follow_scikit_learn(owner):
    X, reader = mixed(), TableReader()
    reader.fit(X, owner)
    for seen in [reader] if owner is None else [reader, owner]:
        assert seen.feature_names_in_.tolist() == list("nskb")
        assert seen.n_features_in_ == 4
    name = type(owner or reader).__name__
    for wrong, said in [
        (X[["s", "n", "k", "b"]], "must be in the same order"),
        (X[["n", "s", "k"]], "yet now missing:\n- b"),
        (X.assign(z=0), "unseen at fit time:\n- z"),
    ]:
        with pytest.raises(ValueError, match=said):
            reader.read(wrong, owner)
    with pytest.warns(UserWarning, match=f"valid feature names, but {name} was fitted with"):
        reader.read(X.to_numpy(object), owner)
    with (
        pytest.warns(UserWarning, match="feature names"),
        pytest.raises(ValueError, match=f"X has 3 features, but {name} is expecting 4"),
    ):
        reader.read(X.to_numpy(object)[:, :3], owner)
    reader.fit(X.to_numpy(object), owner)
    assert not hasattr(reader, "feature_names_in_")
    with pytest.warns(UserWarning, match=f"X has feature names, but {name} was fitted without"):
        reader.read(X, owner)


def test_equal_and_mixed_names_are_refused():
    X = mixed()
    refuses(lambda: TableReader().fit(X.set_axis(["a", "b", "a", "c"], axis=1)), "'a'")
    with pytest.raises(TypeError, match="Feature names are only supported"):
        TableReader().fit(X.set_axis(["a", 1, "b", 2], axis=1))


# --- arrays -------------------------------------------------------------------------------------------


def test_arrays_and_lists():
    for X in (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]], np.asfortranarray([[1.0, 2], [3, 4]])):
        assert read(X)[1].tolist() == [[1, 2], [3, 4]]
    assert read(np.array([[1, 2], [1, 4]]), categorical_features=[0])[2].tolist() == [[1], [1]]
    assert read(np.array([[nan, 2.0], [1, 4]]), categorical_features=[0])[2].tolist() == [[0], [1]]
    assert read(np.array([[True], [False]]))[0] == [[False, True]]
    assert read(np.array([["b"], ["a"]]))[2].tolist() == [[2], [1]]
    for X in ([[1, "b"], [2.5, "a"]], np.array([[1, "b"], [2.5, "a"]], object)):
        levels, numbers, codes = read(X)
        assert levels == [["a", "b"]]
        assert numbers.tolist() == [[1], [2.5]]
        assert codes.tolist() == [[2], [1]]
    assert np.isnan(read([[1, None], [2, 3]])[1][0, 1])
    assert TableReader().fit([[1, "b"]]).category_names_ == ["x1"]
    assert read(np.array([[1, 2]], np.float16))[1].tolist() == [[1, 2]]


# --- polars, pyarrow and others -------------------------------------------------------------------------


@pytest.fixture
def pl():
    return pytest.importorskip("polars")


def test_types_of_polars(pl):
    X = pl.DataFrame(
        {
            "i": [1, None, 3],
            "f": [0.5, nan, None],
            "s": ["b", None, "a"],
            "c": pl.Series(["b", "a", "a"], dtype=pl.Categorical),
            "e": pl.Series(["lo", "hi", None], dtype=pl.Enum(["lo", "mid", "hi"])),
            "b": [True, None, False],
            "n": [None, None, None],
            "d": pl.Series([decimal.Decimal("1.5"), None, decimal.Decimal("2")]),
        }
    )
    reader = TableReader()
    table = reader.fit_read(X)
    assert reader.feature_names_in_.tolist() == X.columns
    assert reader.category_names_ == ["s", "c", "e", "b", "n"]
    assert reader.levels_ == [["a", "b"], ["a", "b"], ["hi", "lo"], [False, True], []]
    assert table.codes.T.tolist() == [[2, 0, 1], [2, 1, 1], [2, 1, 0], [2, 0, 1], [0, 0, 0]]
    np.testing.assert_array_equal(table.numbers.T, [[1, nan, 3], [0.5, nan, nan], [1.5, nan, 2]])
    assert TableReader(["i"]).fit(X[["i", "f"]]).levels_ == [[1, 3]]
    with pytest.raises(ValueError, match="same order"):
        reader.read(X[X.columns[::-1]])
    refuses(
        lambda: TableReader().fit(pl.DataFrame({"t": [datetime.date(2020, 1, 1)]})), "Column 't'"
    )
    refuses(lambda: TableReader().fit(pl.DataFrame({"t": [[1, 2], [3]]})), "Column 't'")
    refuses(lambda: TableReader().fit(X.lazy()), "collect")
    refuses(lambda: TableReader().fit(X["i"]), "2D")
    refuses(lambda: TableReader().fit(X[:0]), "0 sample")
    refuses(lambda: TableReader().fit(pl.DataFrame({"a": [np.inf]})), "infinity")


def test_frames_of_either_library_read_alike(pl):
    X = mixed()
    P = pl.DataFrame(
        {name: X[name].astype(object).where(X[name].notna(), None).tolist() for name in X}
    )
    for fitted, new in [(X, P), (P, X)]:
        reader = TableReader().fit(fitted)
        np.testing.assert_array_equal(reader.read(new).codes, reader.read(fitted).codes)
        np.testing.assert_array_equal(reader.read(new).numbers, reader.read(fitted).numbers)


def test_tables_of_pyarrow():
    pa = pytest.importorskip("pyarrow")
    X = pa.table({"n": [1, None, 3], "s": pa.array(["b", None, "a"]).dictionary_encode()})
    reader = TableReader()
    table = reader.fit_read(X)
    assert reader.feature_names_in_.tolist() == ["n", "s"]
    np.testing.assert_array_equal(table.numbers[:, 0], [1, nan, 3])
    assert table.codes[:, 0].tolist() == [2, 0, 1]


def test_frames_that_hand_out_arrow_columns():
    pa = pytest.importorskip("pyarrow")

    class Stream:
        def __arrow_c_stream__(self, requested_schema=None):
            return pa.table({"n": [1, None], "s": ["b", "a"]}).__arrow_c_stream__(requested_schema)

    reader = TableReader()
    assert reader.fit_read(Stream()).codes.tolist() == [[2], [1]]
    assert reader.feature_names_in_.tolist() == ["n", "s"]
    assert reader.n_features_in_ == 2


# --- what is refused ------------------------------------------------------------------------------------

BAD = {
    "date": pd.to_datetime(["2020-01-01", None]),
    "period": pd.period_range("2020", periods=2, freq="M"),
    "duration": pd.to_timedelta([1, 2], unit="D"),
    "dates as objects": pd.Series([datetime.date(2020, 1, 1), None], dtype=object),
    "timestamps as objects": pd.Series([pd.Timestamp("2020"), pd.NaT], dtype=object),
    "numpy dates as objects": pd.Series([np.datetime64("2020-01-01", "ns"), 1], dtype=object),
    "complex": [1j, 2],
    "infinite": [1.0, np.inf],
    "too large": pd.Series([1, 10**400], dtype=object),
    "infinite objects": pd.Series([1, -np.inf], dtype=object),
    "mixed": pd.Series(["x", 3], dtype=object),
    "dict": pd.Series([{"foo": 1}, 2], dtype=object),
    "list": pd.Series([[1], "a"], dtype=object),
    "no order": pd.Series([frozenset("a"), object()], dtype=object),
    "no order of one type": pd.Series([object(), object()], dtype=object),
}


def test_lists_of_arrow_are_named():
    pa = pytest.importorskip("pyarrow")
    lists = pd.Series([[1], [2]], dtype=pd.ArrowDtype(pa.list_(pa.int64())))
    with pytest.raises(TypeError, match="Column 'bad' of X holds a list"):
        TableReader().fit(pd.DataFrame({"bad": lists}))


@pytest.mark.parametrize("kind", BAD)
def test_bad_columns_are_named(kind):
    X = pd.DataFrame({"a": [0, 1], "bad": BAD[kind]})
    refuses(lambda: TableReader().fit(X), "Column 'bad'")
    good = TableReader().fit(X.assign(bad=[0.0, 1.0]))
    refuses(lambda: good.read(X), "Column 'bad'")


def test_bad_arrays_are_refused():
    for X in (np.array(["2020-01-01"], "M8[D]")[:, None], np.array([[1j]]), np.array([[np.inf]])):
        refuses(lambda X=X: TableReader().fit(X), "Column 'x0'")
    with pytest.raises(TypeError, match=r"argument must be .* string.* number"):
        TableReader().fit(np.array([[1, {"foo": "bar"}]], object))


def test_texts_where_fit_saw_numbers_are_refused():
    numbers, texts = pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": ["1", "2"]})
    refuses(lambda: TableReader().fit(numbers).read(texts), "Column 'a'")
    refuses(lambda: TableReader(["a"]).fit(numbers).read(texts), "Column 'a'")
    refuses(lambda: TableReader().fit(texts).read(numbers), "Column 'a'")


def test_no_tables_are_refused():
    reader = TableReader()
    with pytest.raises(TypeError, match="Sparse data was passed"):
        reader.fit(sparse.csr_matrix(np.eye(3)))
    for X in (np.arange(3.0), np.zeros((2, 2, 2)), pd.Series([1, 2]), 3.0, "text", None):
        refuses(lambda X=X: reader.fit(X), "2D")
    refuses(lambda: reader.fit([[1, 2], [3]]), "X")
    with pytest.raises(ValueError, match=r"0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1"):
        reader.fit(np.empty((0, 3)))
    with pytest.raises(ValueError, match=r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1"):
        reader.fit(pd.DataFrame(index=range(3)))
