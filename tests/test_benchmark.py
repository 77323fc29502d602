"""The benchmark: sets, splits, stored predictions, statistics, pages, the command line."""

import json
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import studentized_range
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import balanced_accuracy_score, f1_score, matthews_corrcoef
from sklearn.model_selection import ParameterGrid, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from skimb.benchmark import (
    SUITES,
    Method,
    _fits,
    critical_difference,
    mean_ranks,
    report,
    run,
    signed_rank_posterior,
    wins_ties_losses,
)
from skimb.benchmark._command import main
from skimb.benchmark._diagram import diagram, groups
from skimb.benchmark._methods import METHODS, _searches
from skimb.benchmark._methods._columns import codes
from skimb.benchmark._methods._libauc import AUCMarginNet
from skimb.benchmark._methods._regressors import Median, Rounded
from skimb.benchmark._metrics import rates, tuned_scores
from skimb.benchmark._page import _means
from skimb.benchmark._sets import _drawn, classes_of, plain, sources
from skimb.benchmark._store import slug
from skimb.model_selection._candidates import settings, takes_losses

CONSTANT = Method("constant", lambda X, seed: DummyClassifier(), suites=tuple(SUITES))
LOGISTIC = "logistic regression"


def write(folder, name, frame, **meta):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    if meta:
        table = table.replace_schema_metadata({b"skimb_meta": json.dumps(meta).encode()})
    pq.write_table(table, folder / f"{name}.parquet")


def features(n, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(n, 3)).astype(np.float32), columns=["a b", "c", "d"])
    frame["kind"] = pd.Categorical(rng.choice(["u", "v"], n))
    return frame


@pytest.fixture
def two_classes(tmp_path):
    folder = tmp_path / "sets"
    folder.mkdir()
    for name in ("first", "second"):
        frame = features(400, len(name))
        noise = np.random.default_rng(1).normal(size=400)
        frame["target"] = (frame["c"] + 0.5 * noise > 1.2).astype(np.int16)
        write(folder, name, frame, task="binary")
    return folder


# --- sets and splits -------------------------------------------------------------------------------


def test_large_sets_are_drawn_by_class_and_keep_their_rare_rows():
    y = np.r_[np.zeros(30_000, int), np.ones(35, int)]
    at = _drawn(y)
    assert len(at) == 12_000
    assert y[at].sum() == 30  # 14 by its share
    assert (np.diff(at) > 0).all()


def test_the_split_is_the_stratified_one_of_its_number(two_classes):
    rows = classes_of(sources(two_classes)["first"])
    train, test = plain(rows, 2)
    expected = train_test_split(np.arange(400), test_size=0.4, stratify=rows.y, random_state=2)
    np.testing.assert_array_equal(train, expected[0])
    np.testing.assert_array_equal(test, expected[1])
    assert list(rows.X) == ["x0", "x1", "x2", "x3"]


def test_small_sets_of_two_classes_are_left_out_and_small_classes_too(tmp_path):
    frame = features(320).assign(target=np.repeat([0, 1], [295, 25]))
    write(tmp_path, "few", frame)
    write(tmp_path, "three", frame.assign(target=np.repeat([0, 1, 2, 3], [160, 120, 36, 4])))
    found = sources(tmp_path)
    assert [found[name].task for name in ("few", "three")] == ["binary", "multiclass"]
    assert classes_of(found["few"]) is None
    np.testing.assert_array_equal(np.bincount(classes_of(found["three"]).y), [160, 120, 36])


def test_small_sets_are_no_fits_that_are_left(tmp_path):
    frame = features(320)
    write(tmp_path, "few", frame.assign(target=np.repeat([0, 1], [295, 25])))
    write(tmp_path, "many", frame.assign(target=np.repeat([0, 1], [200, 120])))
    done = run(tmp_path, methods=["random forest", "LightGBM"], splits=3, limit=0)
    assert done.attrs["left"] == 6


def test_what_is_no_set_says_so_in_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="is no folder"):
        run(tmp_path / "none")
    with pytest.raises(ValueError, match="has no parquet files"):
        run(tmp_path)
    write(tmp_path, "bare", features(30))
    with pytest.raises(
        ValueError, match=r"The set bare must have a column 'target' or columns 'label_'\*"
    ):
        run(tmp_path)
    write(tmp_path, "bare", features(30).assign(target=1), task="riddle")
    with pytest.raises(ValueError, match=r"task 'riddle'.*must be one of binary"):
        run(tmp_path)
    write(tmp_path, "bare", features(30).assign(target=1), task="multilabel")
    with pytest.raises(ValueError, match=r"has a column 'target' and the task 'multilabel'"):
        run(tmp_path)
    (tmp_path / "bare.parquet").write_bytes(b"words")
    with pytest.raises(ValueError, match=r"bare.parquet' is no parquet file"):
        run(tmp_path)
    write(tmp_path, "bare", features(30).assign(target=np.arange(30) % 3), task="binary")
    with pytest.raises(ValueError, match="of two classes by its task, but has 3 values"):
        run(tmp_path, methods=[LOGISTIC])
    holes = np.where(np.arange(30) < 3, np.nan, 1.0)
    write(tmp_path, "bare", features(30).assign(target=holes), task="binary")
    with pytest.raises(ValueError, match="has missing targets"):
        run(tmp_path, methods=[LOGISTIC])


def test_unknown_names_are_refused(two_classes):
    with pytest.raises(ValueError, match="suite 'binery' is unknown; take one of binary"):
        run(two_classes, suites=["binery"])
    with pytest.raises(ValueError, match="method 'forest' is unknown"):
        run(two_classes, methods=["forest"])
    with pytest.raises(ValueError, match="no sets named third"):
        run(two_classes, sets=["third"])
    with pytest.raises(ValueError, match="no sets for the suite 'multiclass'"):
        run(two_classes, suites=["multiclass"])
    with pytest.raises(ValueError, match=r"the suites text and of none that are run \(binary\)"):
        run(two_classes, methods=["words, logistic regression"])
    with pytest.raises(TypeError, match=r"methods='random forest' must be a sequence"):
        run(two_classes, methods="random forest")
    with pytest.raises(ValueError, match="splits=0 must be a whole number"):
        run(two_classes, splits=0)
    twins = [Method(name, lambda X, seed: DummyClassifier()) for name in ("C=1", "C 1")]
    with pytest.raises(ValueError, match=r"'C=1' and 'C 1' would have the same file"):
        run(two_classes, methods=twins)


def test_sets_that_are_too_small_are_named(two_classes):
    write(two_classes, "small", features(100).assign(target=np.arange(100) % 2), task="binary")
    with pytest.warns(UserWarning, match="the suite 'binary' leaves out small, which have too few"):
        frame = run(two_classes, methods=[CONSTANT, CONSTANT], splits=1)
    assert frame["set"].tolist() == ["first", "second"]


# --- runs ------------------------------------------------------------------------------------------


def test_results_and_predictions_are_kept_and_not_made_again(two_classes, tmp_path):
    calls = []

    def make(X, seed):
        calls.append(seed)
        return DummyClassifier()

    counted = Method("constant", make)
    where = {"results": tmp_path / "out.parquet", "predictions": tmp_path / "kept"}
    first = run(two_classes, methods=[counted], splits=1, limit=1e-9, **where)
    assert not len(first)
    assert first.attrs["left"] == 2
    first = run(two_classes, methods=[counted], splits=2, **where)
    assert calls == [0, 0, 1, 1]
    again = run(two_classes, methods=[counted], splits=2, **where)
    assert calls == [0, 0, 1, 1]
    pd.testing.assert_frame_equal(first, again)
    with np.load(tmp_path / "kept" / "first" / "1_constant.npz") as file:
        assert file["proba"].dtype == np.float64
        assert file["decided"].dtype == np.int32
        assert file["proba"].shape == (160, 2)
        np.testing.assert_allclose(file["proba"][0], file["prior"])
        meta = json.loads(str(file["meta"]))
    assert meta["set"], meta["split"] == ("first", 1)
    assert (meta["task"], meta["rows"], meta["features"]) == ("binary", 400, 4)
    where["results"].unlink()
    scored = run(two_classes, methods=[counted], splits=2, **where)  # from predictions alone
    assert calls == [0, 0, 1, 1]
    pd.testing.assert_frame_equal(first, scored[first.columns])
    lacking = Method("constant", make, needs=("no_such_package",))
    assert len(run(two_classes, methods=[lacking], splits=2, predictions=where["predictions"])) == 4
    run(two_classes, methods=["random forest"], splits=1, sets=["first"], **where)
    assert len(pd.read_parquet(where["results"])) == 5


def test_a_method_is_fitted_again_when_asked(two_classes, tmp_path):
    where = {"results": tmp_path / "out.parquet", "predictions": tmp_path / "kept"}
    run(two_classes, methods=[LOGISTIC], splits=1, **where)
    path = tmp_path / "kept" / "first" / "0_logistic-regression.npz"
    written = path.stat().st_mtime_ns
    run(two_classes, methods=[LOGISTIC], splits=1, again=[LOGISTIC], sets=["first"], **where)
    assert path.stat().st_mtime_ns > written
    assert len(pd.read_parquet(where["results"])) == 2


def test_a_failed_fit_is_a_row_and_ranks_last(two_classes, tmp_path):
    def broken(X, seed):
        raise RuntimeError("no luck\nat all")

    methods = [Method("broken", broken), CONSTANT]
    frame = run(two_classes, methods=methods, splits=1, predictions=tmp_path / "kept")
    errors = frame.set_index(["method", "set"])["error"]
    assert errors["broken", "first"] == "RuntimeError: no luck"
    assert errors["constant", "first"] == ""
    with np.load(tmp_path / "kept" / "first" / "0_broken.npz") as file:
        assert file.files == ["meta"]
    again = run(two_classes, methods=methods, splits=1, predictions=tmp_path / "kept")
    assert (again["error"] != "").sum() == 2
    page = report(frame)
    line = next(x for x in page.splitlines() if x.startswith("| broken"))
    assert line.startswith("| broken | 2.00 (2.00 to 2.00) | nan |")
    assert line.endswith("| 2 |")


def test_answers_without_scores_are_failed_fits(two_classes, tmp_path):
    """They end no run, and where all methods failed there is nothing to rank."""

    class Odd(DummyClassifier):
        def predict_proba(self, X):
            found = super().predict_proba(X)
            return {"nan": found * np.nan, "wide": np.c_[found, found], "short": found[1:]}[
                self.constant
            ]

    methods = [Method(kind, lambda X, seed, kind=kind: Odd(constant=kind)) for kind in ("nan", "wide", "short")]  # fmt: skip
    methods += [Method("no probabilities", lambda X, seed: make_pipeline(codes(), LinearSVC())), CONSTANT]  # fmt: skip
    frame = run(two_classes, methods=methods, sets=["first"], splits=1)
    assert "| nan |" in report(frame)  # of several failed methods
    errors = frame.set_index("method")["error"]
    assert errors["nan"] == "ValueError: predict_proba must give finite numbers"
    assert "shape (160, 2), gave (160, 4)" in errors["wide"]
    assert "shape (160, 2), gave (159, 2)" in errors["short"]
    assert "there is no 'proba'" in errors["no probabilities"]
    assert errors["constant"] == ""
    assert not len(_means(frame[frame["error"] != ""], SUITES["binary"].metrics[0]))

    kept = tmp_path / "kept"
    run(two_classes, methods=[CONSTANT], sets=["first"], splits=1, predictions=kept)
    path = kept / "first" / "0_constant.npz"
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **arrays | {"proba": arrays["proba"] * np.nan})
    frame = run(two_classes, methods=[CONSTANT], sets=["first"], splits=1, predictions=kept)
    assert frame["error"][0].startswith("no score: ValueError")


def test_a_stream_without_rare_rows_after_its_beginning_fails(tmp_path):
    frame = features(4200)
    frame["target"], frame["meta_time"] = (np.arange(4200) < 300).astype(int), np.arange(4200)
    write(tmp_path, "early", frame, task="binary")
    frame["target"] = (np.arange(4200) % 400 == 0).astype(int)
    write(tmp_path, "rarer", frame, task="binary")
    with pytest.warns(UserWarning, match="leaves out rarer"):
        frame = run(tmp_path, suites=["streams"], methods=[CONSTANT], splits=1)
    assert frame["set"].tolist() == ["early"]
    assert "fewer than two rows among those that are predicted" in frame["error"][0]


def test_damaged_files_are_made_again_or_named(two_classes, tmp_path):
    where = {"methods": [CONSTANT], "sets": ["first"], "splits": 1}
    whole = run(two_classes, **where, predictions=tmp_path)
    path = tmp_path / "first" / "0_constant.npz"
    with np.load(path) as file:
        arrays = dict(file)
    meta = json.loads(str(arrays["meta"])) | {
        "seconds": 1.0,
        "predict_seconds": 1.0,
    }  # always the same bytes
    np.savez_compressed(path, **arrays | {"meta": json.dumps(meta)})
    written = path.read_bytes()
    for place in range(30, len(written), 131):
        path.write_bytes(written[:place] + bytes([written[place] ^ 0xFF]) + written[place + 1 :])
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            again = run(two_classes, **where, predictions=tmp_path)
        said = [str(w.message) for w in said if w.category is UserWarning]
        assert all("cannot be read; the fit is made again" in words for words in said), said
        pd.testing.assert_series_equal(again["ap"], whole["ap"])
    other = Method("CONSTANT", lambda X, seed: DummyClassifier())
    path.write_bytes(written)
    with pytest.raises(ValueError, match="holds predictions of the method 'constant'"):
        run(two_classes, **where | {"methods": [other]}, predictions=tmp_path)
    results = tmp_path / "results.parquet"
    results.write_bytes(b"words")
    with pytest.raises(ValueError, match=r"results.parquet is no parquet file of results"):
        run(two_classes, **where, results=results)
    features(9).to_parquet(results)
    with pytest.raises(ValueError, match=r"holds no results, it lacks the columns suite, set"):
        run(two_classes, **where, results=results)


@pytest.mark.slow
def test_a_process_of_its_own_finds_the_same_and_its_memory(two_classes):
    frame = run(two_classes, methods=[LOGISTIC], sets=["first"], splits=1)
    apart = run(two_classes, methods=[LOGISTIC], sets=["first"], splits=1, memory=True)
    assert apart["memory"][0] > 0
    assert apart["ap"][0] == frame["ap"][0]


@pytest.mark.slow
def test_two_processes_find_what_one_does(two_classes):
    alone = run(two_classes, methods=[LOGISTIC, "random forest"], splits=2)
    both = run(two_classes, methods=[LOGISTIC, "random forest"], splits=2, n_jobs=2)
    key = ["set", "split", "method"]
    ap = [frame.sort_values(key)["ap"].to_numpy() for frame in (alone, both)]
    np.testing.assert_array_equal(*ap)


@pytest.mark.slow
def test_workers_of_dask_find_what_one_process_does(two_classes):
    distributed = pytest.importorskip("distributed")
    alone = run(two_classes, methods=[LOGISTIC], splits=1)
    how = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**how) as cluster:
        apart = run(two_classes, methods=[LOGISTIC], splits=1, dask=cluster.scheduler_address)
    np.testing.assert_array_equal(*(f.sort_values("set")["ap"].to_numpy() for f in (alone, apart)))


def test_batches_of_the_margin_net_are_half_rare():
    y = np.repeat([0, 1], [100, 12])
    net = AUCMarginNet(batch_size=64)
    net.classes_ = np.array([0, 1])
    rare, common = zip(*net._batches(y, np.random.default_rng(0)), strict=True)
    assert [len(r) for r in rare] == [len(c) for c in common] == [12] * 8
    assert all(y[r].all() and not y[c].any() for r, c in zip(rare, common, strict=True))
    assert len(np.unique(np.concatenate(common))) == 96


def test_old_rows_stay_and_get_new_scores_from_predictions(two_classes, tmp_path):
    where = {"results": tmp_path / "out.parquet", "predictions": tmp_path / "kept"}
    frame = run(two_classes, methods=[CONSTANT], splits=1, **where)
    frame.drop(columns=["suite", "auc"]).to_parquet(where["results"])
    pd.testing.assert_frame_equal(run(two_classes, methods=[CONSTANT], splits=1, **where), frame)


# --- scores ----------------------------------------------------------------------------------------


def test_scores_of_two_classes_by_hand():
    y = np.array([0, 0, 0, 1] * 4)
    p = np.where(y == 1, 0.7, 0.2)
    found = {
        "target": y,
        "proba": np.column_stack([1 - p, p]) * (1 + 1e-7),
        "prior": np.array([0.75, 0.25]),
        "decided": np.zeros(16, int),
    }
    scores = SUITES["binary"].scores(found, 0)
    assert scores["ap"] == scores["auc"] == scores["tuned_f1"] == scores["tuned_mcc"] == 1.0
    constant = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert scores["ratio"] == pytest.approx((-0.75 * np.log(0.8) - 0.25 * np.log(0.7)) / constant)
    assert scores["risk"] == pytest.approx((0.75 * 0.2 + 0.25 * 0.7) / 0.25)
    assert scores["brier_skill"] == pytest.approx(1 - (0.75 * 0.04 + 0.25 * 0.09) / 0.1875)
    assert scores["recall_at_1"] == pytest.approx(0.16 / 4)
    assert scores["balanced_accuracy"] == 0.5


def test_thresholds_are_tuned_on_one_half_and_scored_on_the_other():
    """Against every threshold in turn, counted anew."""
    rng = np.random.default_rng(3)
    y = (rng.random(60) < 0.3).astype(int)
    s = np.round(rng.normal(size=60) + y, 1)  # with ties
    functions = {"f1": f1_score, "balanced_accuracy": balanced_accuracy_score, "mcc": matthews_corrcoef}  # fmt: skip
    found = tuned_scores(y, s, 5)
    halves = train_test_split(np.arange(60), test_size=0.5, stratify=y, random_state=5)
    for name, function in functions.items():
        expected = []
        for a, b in (halves, halves[::-1]):
            values = np.unique(s[a])[::-1]
            cuts = np.r_[(values[:-1] + values[1:]) / 2, -np.inf]
            best = cuts[np.argmax([function(y[a], s[a] >= cut) for cut in cuts])]
            expected.append(function(y[b], s[b] >= best))
        assert found[name] == pytest.approx(np.mean(expected)), name
    assert found["gmean"] <= found["balanced_accuracy"] + 0.2
    assert rates(3, 8, 4, 16)["gmean"] == pytest.approx(np.sqrt(0.75 * 0.5))


def test_scores_of_several_classes_by_hand():
    found = {
        "target": np.array([0, 0, 0, 1, 1, 2]),
        "proba": np.array([[0.6, 0.3, 0.1]] * 3 + [[0.5, 0.4, 0.1]] * 2 + [[0.5, 0.2, 0.3]]),
        "prior": np.array([3, 2, 1]) / 6,
        "decided": np.zeros(6, int),
    }
    scores = SUITES["multiclass"].scores(found, 0)
    assert scores["balanced_accuracy"] == pytest.approx(1 / 3)
    assert scores["adjusted_balanced_accuracy"] == 1.0
    assert scores["macro_f1"] == pytest.approx((2 / 3) / 3)


# --- the other suites ------------------------------------------------------------------------------


def write_of_all_tasks(folder):
    """One small set per task; a signal in the second column."""
    frame = features(400)
    signal = frame["c"] + np.random.default_rng(1).normal(size=400) / 2
    code = np.digitize(signal, [-0.8, 0.3, 1.2])
    words = np.array(["bad poor", "plain", "good", "great fine"])[code]
    write(folder, "several", frame.assign(target=code), task="multiclass")
    write(folder, "ordered", frame.assign(target=code, meta_group=np.arange(400) // 5), task="ordinal")  # fmt: skip
    write(folder, "number", frame.assign(target=signal.astype(np.float32)))
    labels = {f"label_{k}": (signal > k / 2).astype(int) for k in range(3)}
    write(folder, "labels", frame.assign(**labels))
    write(folder, "texts", pd.DataFrame({"text": words, "target": code}))
    long = features(4100).assign(meta_time=np.arange(4100)[::-1])
    long["target"] = (long["c"] + (long["meta_time"] < 2000) * 0.5 > 1.5).astype(int)
    write(folder, "stream", long, task="binary")


CHEAP = {
    "multiclass": "random forest",
    "ordinal": "Ridge, rounded",
    "regression": "Ridge",
    "multilabel": "logistic regression, one by one",
    "text": "words, LinearClassifier",
    "streams": "AnalyticClassifier, online",
}


class Prior(DummyClassifier):
    """A constant that takes blocks and several labels."""

    def partial_fit(self, X, y, classes=None):
        return self if hasattr(self, "classes_") else self.fit(X, y)

    def predict_proba(self, X):
        found = super().predict_proba(X)
        return np.column_stack([p[:, 1] for p in found]) if isinstance(found, list) else found


def constant(X, seed):
    return Prior(strategy="prior")


def middle(X, seed):
    return DummyRegressor()


def test_every_suite_runs_and_beats_a_constant(tmp_path, monkeypatch):
    monkeypatch.setattr(_fits, "BLOCKS", 5)
    write_of_all_tasks(tmp_path)
    for name, cheap in CHEAP.items():
        suite = SUITES[name]
        make = middle if name == "regression" else constant
        frame = run(tmp_path, suites=[name], methods=[cheap, Method("constant", make, suites=(name,))], splits=1)  # fmt: skip
        assert (frame["error"] == "").all(), frame["error"].tolist()
        scores = frame.pivot(index="set", columns="method", values=[m.key for m in suite.metrics])
        assert scores.notna().all().all(), name
        for metric in suite.metrics:
            found = scores[metric.key]
            better = found[cheap] >= found["constant"] if metric.largest else found[cheap] <= found["constant"]  # fmt: skip
            assert better.all(), (name, metric, found)
        for ratio in ("ratio", "rmse_ratio"):
            if ratio in frame:
                assert frame.set_index("method")[ratio]["constant"].mean() == pytest.approx(1, abs=0.1), name  # fmt: skip
        page = report(frame)
        assert f"## {suite.title}: " in page
        assert "nan" not in page


def test_groups_are_kept_whole_and_the_past_trains(tmp_path):
    write_of_all_tasks(tmp_path)
    found = sources(tmp_path)
    suite = SUITES["ordinal"]
    rows = suite.load(found["ordered"])
    train, test = suite.split(rows, 0)
    assert suite.way(found["ordered"]) == "group"
    assert not set(rows.groups[train]) & set(rows.groups[test])
    assert len(train) + len(test) == 400
    assert len(test) == pytest.approx(160, abs=20)
    timed = rows._replace(times=np.arange(400)[::-1] // 10)
    train, test = suite.split(timed, 3)
    assert timed.times[train].max() < timed.times[test].min()
    assert len(test) == 160
    assert SUITES["multiclass"].way(found["ordered"]) == ""  # heeds neither


def test_columns_of_any_type_are_numbers_or_categories_of_texts(tmp_path):
    days = pd.to_datetime(["2020-01-03", None, "2020-01-01", "2020-01-02"])
    frame = pd.DataFrame(
        {
            "when": days,
            "long": days - days[2],
            "whole": pd.array([1, None, 3, 4], dtype="Int64"),
            "flag": pd.array([True, None, False, True], dtype="boolean"),
            "day": [day.date() for day in pd.to_datetime(["2020-01-03"] * 4)],
            "empty": [None] * 4,
            "target": [0.5, 1.5, 2.5, 3.5],
            "meta_time": [1.0, 2.0, np.nan, 4.0],
        }
    )
    write(tmp_path, "odd", frame)
    rows = SUITES["regression"].load(sources(tmp_path)["odd"])
    assert rows.X.shape == (4, 5)
    numbers = rows.X.drop(columns="x4").to_numpy(np.float64).T.tolist()
    wanted = [[2, np.nan, 0, 1], [2, np.nan, 0, 1], [1, np.nan, 3, 4], [1, np.nan, 0, 1]]
    np.testing.assert_array_equal(numbers, wanted)
    assert rows.X["x4"].cat.categories.tolist() == ["2020-01-03"]
    with pytest.raises(ValueError, match="meta_time is missing in some rows"):
        SUITES["regression"].split(rows, 0)


def test_a_stream_is_predicted_before_it_is_learnt(tmp_path):
    write_of_all_tasks(tmp_path)
    suite = SUITES["streams"]
    rows = suite.load(sources(tmp_path)["stream"])
    assert (np.diff(rows.times) > 0).all()
    first, rest = suite.split(rows, 0)
    np.testing.assert_array_equal(np.r_[first, rest], np.arange(4100))
    assert rows.y[first].sum() >= 10
    seen = []

    class Watched(Prior):
        def partial_fit(self, X, y, classes=None):
            seen.append(("learnt", X.index[0], len(X)))
            return super().partial_fit(X, y)

        def predict_proba(self, X):
            seen.append(("predicted", X.index[0], len(X)))
            return super().predict_proba(X)

    watched = Method("watched", lambda X, seed: Watched(), suites=("streams",))
    frame = run(tmp_path, suites=["streams"], methods=[watched], splits=1, predictions=tmp_path / "kept")  # fmt: skip
    assert frame["error"][0] == ""
    assert seen[0] == ("learnt", 0, len(first))
    what, places, sizes = zip(*seen[1:], strict=True)
    assert what == ("predicted", "learnt") * 50
    assert places[::2] == places[1::2]
    assert sum(sizes[::2]) == len(rest)
    with np.load(tmp_path / "kept" / "stream" / "stream0_watched.npz") as file:
        np.testing.assert_array_equal(file["target"], rows.y[rest])


def test_labels_are_stratified_by_their_rarest(tmp_path):
    Y = np.zeros((200, 3), int)
    Y[:100, 0], Y[50:90, 1], Y[60:70, 2] = 1, 1, 1
    write(tmp_path, "labels", features(200).assign(**{f"label_{k}": Y[:, k] for k in range(3)}))
    suite = SUITES["multilabel"]
    rows = suite.load(sources(tmp_path)["labels"])
    for split in range(3):
        train, test = suite.split(rows, split)
        assert rows.y[test, 2].sum() == 4
        assert rows.y[train, 1].sum() == 24


def test_scores_of_ordered_classes_numbers_and_labels_by_hand():
    found = {"target": np.array([0, 0, 0, 1, 2]), "decided": np.array([0, 0, 2, 1, 1])}
    scores = SUITES["ordinal"].scores(found, 0)
    assert scores["mae"] == pytest.approx(3 / 5)
    assert scores["macro_mae"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    found = {
        "target": np.array([0.0, 1.0, 2.0, 10.0]),
        "predicted": np.array([1.0, 1.0, 2.0, 6.0]),
        "prior": np.array([2.0, 1.0, 0.5, 5.0]),
    }
    scores = SUITES["regression"].scores(found, 0)
    assert scores["rmse"] == pytest.approx(np.sqrt(17 / 4))
    assert scores["rmse_ratio"] == pytest.approx(np.sqrt(17 / (4 + 1 + 0 + 64)))
    assert scores["mae_ratio"] == pytest.approx(5 / (1 + 0 + 1 + 9))
    assert scores["rare_ratio"] == pytest.approx(np.sqrt(17 / 68))
    found = {
        "target": np.array([[1, 0, 0], [0, 1, 0]]),
        "proba": np.array([[0.8, 0.1, 0.5], [0.4, 0.3, 0.5]]),
        "decided": np.array([[1, 0, 1], [0, 0, 1]]),
        "prior": np.array([0.5, 0.5, 0.5]),
    }
    scores = SUITES["multilabel"].scores(found, 0)
    assert scores["macro_ap"] == 1.0
    assert scores["hamming"] == pytest.approx(3 / 6)
    assert scores["micro_f1"] == pytest.approx(2 * 1 / (2 + 3))
    assert scores["macro_f1"] == pytest.approx(1 / 2)
    loss = -np.log([0.8, 0.9, 0.5, 0.6, 0.3, 0.5]).mean()
    assert scores["ratio"] == pytest.approx(loss / np.log(2))


def test_ordered_decisions():
    X = np.zeros((4, 1))
    y = np.array([0, 1, 3, 3])
    assert Rounded(DummyRegressor(strategy="constant", constant=7.0)).fit(X, y).predict(X)[0] == 3
    assert Rounded(DummyRegressor()).fit(X, y).predict(X)[0] == 2
    assert Median(DummyClassifier()).fit(X, y).predict(X)[0] == 1


def test_searches_try_equally_many_settings(two_classes, monkeypatch):
    X = classes_of(sources(two_classes)["first"]).X
    monkeypatch.setattr(_searches, "catboost", _searches.forest)  # only the grids are counted
    search = _searches.across_kinds(X, 0)
    counts = {
        name: len(settings(estimator, search.losses, search.param_grid.get(name)))
        for name, estimator in search.estimator
        if takes_losses(estimator)
    }
    others = {n: len(ParameterGrid(g)) for n, g in search.param_grid.items() if n not in counts}
    assert counts == {"tabm": 4, "linear": 8}
    assert sum(counts.values()) + sum(others.values()) == METHODS["LossSearchCV across kinds"].settings == 30  # fmt: skip
    for name in ("LightGBM, tuned", "XGBoost, tuned"):
        assert METHODS[name].make(X, 0).n_iter == METHODS[name].settings == 30


def test_files_of_predictions_do_not_clash():
    """Suites that split a set in other ways name their files otherwise; names of methods differ in their slugs."""
    assert len({slug(name) for name in METHODS}) == len(METHODS)
    learnt = {suite.name: suite.learn for suite in SUITES.values()}
    for method in METHODS.values():
        assert len({learnt[name] for name in method.suites}) == 1, method.name


# --- statistics ------------------------------------------------------------------------------------


def test_critical_difference_of_the_literature():
    """Demsar 2006, table 5: q = 2.343 for 3 methods, 3.164 for 10."""
    assert studentized_range.ppf(0.95, 10, np.inf) / np.sqrt(2) == pytest.approx(3.164, abs=1e-3)
    assert critical_difference(10, 1) == pytest.approx(3.164 * np.sqrt(110 / 6), abs=5e-3)
    assert critical_difference(3, 14) == pytest.approx(2.343 * np.sqrt(12 / 84), abs=1e-3)
    with pytest.raises(ValueError, match="two methods and a set"):
        critical_difference(1, 5)
    with pytest.raises(ValueError, match="'level' parameter"):
        critical_difference(3, 5, level=5)


def test_mean_ranks_share_ties_and_their_intervals_hold_them():
    ranks = mean_ranks([[1, 2, 2], [1, 2, np.inf], [3, 1, 2]], largest=False)
    np.testing.assert_allclose(ranks[:, 0], [5 / 3, (2.5 + 2 + 1) / 3, (2.5 + 3 + 2) / 3])
    assert (ranks[:, 1] <= ranks[:, 0]).all()
    assert (ranks[:, 0] <= ranks[:, 2]).all()
    assert ranks[0, 1] == 1.0
    assert ranks[0, 2] == 3.0
    with pytest.raises(ValueError, match="none may be missing"):
        mean_ranks([[1, np.nan]])
    with pytest.raises(ValueError, match="'level' parameter"):
        mean_ranks([[1, 2]], level=95)


def test_signed_ranks_in_extreme_cases():
    worse, equivalent, better = signed_rank_posterior(np.full(12, 0.05))
    assert better > 0.999
    assert worse + equivalent + better == pytest.approx(1.0)
    assert signed_rank_posterior(np.full(12, -0.05)).worse > 0.999
    assert signed_rank_posterior(np.full(12, 0.005)).equivalent > 0.999
    spread = np.linspace(0.05, 0.3, 8)
    both = signed_rank_posterior(np.r_[spread, -spread], n_samples=40_000)
    assert both.better == pytest.approx(both.worse, abs=0.02)
    assert both.better > 0.3
    assert signed_rank_posterior([np.inf] * 9).better > 0.99
    with pytest.raises(ValueError, match="one difference per set"):
        signed_rank_posterior([])


def test_a_posterior_by_hand():
    """One difference above the rope: w_1 ~ Beta(1, s), and better wins where w_1^2 + 2 w_0 w_1 > 1/2 (z_1 / 2 > r)."""
    found = signed_rank_posterior([1.0], rope=0.1, prior_strength=0.5, n_samples=100_000)
    # w_1 (2 - w_1) > 1/2 where w_1 > 1 - sqrt(1/2); with Beta(1, 1/2) its chance is (sqrt(1/2))^(1/2)
    assert found.better == pytest.approx(0.5**0.25, abs=0.005)
    assert found.worse == 0.0


def test_ties_are_within_the_rope():
    assert wins_ties_losses([0.02, 0.01, 0.0, -0.01, -0.3]) == (2, 1, 2)
    assert wins_ties_losses([0.02, 0.01, 0.0, -0.01, -0.3], rope=0.01) == (1, 3, 1)
    with pytest.raises(ValueError, match="none may be missing"):
        wins_ties_losses([0.1, np.nan])
    with pytest.raises(ValueError, match="'rope' parameter"):
        wins_ties_losses([0.1], rope=-0.1)


# --- pages and the command line --------------------------------------------------------------------


def test_the_page_names_what_is_missing_and_compares(two_classes):
    frame = run(two_classes, methods=[LOGISTIC, "LinearClassifier, encoded"], splits=1)
    frame.attrs["left"] = 7
    page = report(frame, command="make it")
    assert "The run has not ended: 7 fits are ahead." in page
    assert "`make it` repeats it." in page
    assert "### AP: against logistic regression" in page
    assert "Without results yet: TabMClassifier" in page
    part = frame[~((frame["method"] == LOGISTIC) & (frame["set"] == "second"))]
    part = pd.concat([part, part.assign(split=1)[part["method"] != LOGISTIC]])
    assert f"### With {LOGISTIC}: 1 sets" in report(part)
    with pytest.raises(ValueError, match="no results"):
        report(frame[:0])


def test_bars_join_methods_within_the_critical_difference():
    assert groups([1.0, 1.5, 2.4, 2.5, 5.0], 1.0) == [(0, 1), (1, 3)]
    assert groups([1.0, 3.0, 5.0], 1.0) == []
    assert groups([1.0, 1.2, 1.4], 1.0) == [(0, 2)]
    figure = diagram(["a", "b", "c"], [2.0, 1.0, 3.0], 1.0, {"b"}, "Ranks")
    words = [text.get_text().strip() for text in figure.axes[0].texts]
    assert {"b 1.00", "a 2.00", "3.00 c"} <= set(words)


def test_the_command_lists_runs_and_refuses(two_classes, tmp_path, capsys):
    main(["--list", "--data", str(two_classes)])
    shown = capsys.readouterr().out
    assert "binary: Two classes" in shown
    assert "sets: first, second" in shown
    assert "  CatBoost, tuned (if named, search" in shown
    out = tmp_path / "pages"
    words = ["--data", str(two_classes), "--methods", LOGISTIC, "--splits", "1"]
    main([*words, "--write", str(out)])
    page = (out / "study_binary.md").read_text()
    assert "`python -m skimb.benchmark --data FOLDER --suite binary --methods 'logistic regression' --splits 1`" in page  # fmt: skip
    assert "svg" not in page
    main([*words, "--write", str(out), "--methods", "random forest", "--pictures"])
    assert "](study_binary_ap.svg)" in (out / "study_binary.md").read_text()
    assert "random forest" in (out / "study_binary_ap.svg").read_text()
    main([*words, "--write", str(out / "one.md"), "--limit", "0"])
    assert not (out / "one.md").exists()
    with pytest.raises(SystemExit, match="suite 'x' is unknown"):
        main([*words, "--suite", "x", "--write", str(out)])
    with pytest.raises(SystemExit):
        main([])
    assert "--data FOLDER is needed" in capsys.readouterr().err


def test_every_method_of_the_registry_can_be_made(two_classes):
    X = classes_of(sources(two_classes)["first"]).X
    able = [m for m in METHODS.values() if m.missing() is None]
    assert len(able) > 50
    for method in able:
        learns = "partial_fit" if "streams" in method.suites else "fit"
        assert hasattr(method.make(X, 0), learns), method.name
