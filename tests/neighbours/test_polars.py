"""Frames and series of polars go in and come out wherever those of pandas do."""

import numpy as np
import pytest
from imblearn.over_sampling import SMOTE
from imblearn.under_sampling import RandomUnderSampler, TomekLinks
from sklearn.datasets import make_classification
from sklearn.pipeline import make_pipeline

from skimb.boosting import LGBMImbalancedClassifier
from skimb.linear_model import LinearClassifier
from skimb.neural_network import MLPClassifier, MLPRegressor, TabMClassifier
from skimb.over_sampling import MLROS, MLSMOTE, LatentSMOTE
from skimb.pipeline import ResampledClassifier
from skimb.preprocessing import SquashingScaler
from skimb.under_sampling import AutoCoresetSampler, InfluenceBalancedSampler

pl = pytest.importorskip("polars")
pytest.importorskip("pyarrow")  # from polars to pandas

X, code = make_classification(300, 4, n_redundant=0, weights=[0.8], random_state=0)
numbers = pl.DataFrame(X, schema=list("abcd"))
y = pl.Series("risk", np.array(["no", "yes"])[code])
raw = numbers.with_columns(
    s=pl.when(pl.col("a") > 0).then(pl.lit("hi")).otherwise(pl.lit("lo")),
    k=pl.Series(["u", None, "w"] * 100, dtype=pl.Categorical),
    t=pl.col("b") > 0,
)


@pytest.mark.parametrize("dtype", ["String", "Categorical", "Enum", "Boolean", "Int8"])
def test_labels_of_every_type(dtype):
    given = {
        "String": y,
        "Categorical": y.cast(pl.Categorical),
        "Enum": y.cast(pl.Enum(["yes", "no"])),
        "Boolean": pl.Series(code > 0),
        "Int8": pl.Series(code, dtype=pl.Int8),
    }[dtype]
    found = MLPClassifier((4,), max_iter=3, random_state=0).fit(numbers, given)
    wanted = np.unique(np.array(given.to_list()))
    assert found.classes_.tolist() == wanted.tolist()
    by_arrays = MLPClassifier((4,), max_iter=3, random_state=0).fit(X, code)
    np.testing.assert_array_equal(found.predict(numbers), wanted[by_arrays.predict(X)])
    assert found.feature_names_in_.tolist() == list("abcd")


def test_raw_frames_of_either_library_train_the_same_net():
    model = TabMClassifier(2, 8, max_iter=3, validation_folds=2, random_state=0)
    weight = pl.Series(np.where(X[:, 0] > 0, 2.0, 1.0))
    one = model.fit(raw, y, sample_weight=weight).predict_proba(raw)
    two = model.fit(raw.to_pandas(), y.to_numpy(), weight.to_numpy()).predict_proba(raw)
    np.testing.assert_allclose(one, two, atol=1e-12)
    columns = model.prune(1).to_mlp()[:-1].set_output(transform="polars")
    assert isinstance(columns.transform(raw), pl.DataFrame)
    with pytest.raises(ValueError, match="same order"):
        model.predict(raw[raw.columns[::-1]])


def test_a_number_of_a_frame_is_a_target():
    target = numbers["a"]  # read-only to numpy
    model = MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, random_state=0)
    one = model.fit(numbers, target).predict(numbers)
    np.testing.assert_array_equal(one, model.fit(X, X[:, 0].copy()).predict(X))


def test_pipelines_of_frames():
    pipe = make_pipeline(SquashingScaler(), MLPClassifier((4,), max_iter=3, random_state=0))
    pipe.set_output(transform="polars").fit(numbers, y)
    assert isinstance(pipe[:-1].transform(numbers), pl.DataFrame)
    assert pipe[-1].feature_names_in_.tolist() == list("abcd")


@pytest.mark.parametrize(
    "estimator", [MLPClassifier(), TabMClassifier(), LGBMImbalancedClassifier()]
)
def test_lazy_frames_are_refused(estimator):
    with pytest.raises(TypeError, match=r"lazy frame of polars; collect\(\) it first"):
        estimator.fit(numbers.lazy(), y)


@pytest.mark.parametrize(
    "sampler",
    [AutoCoresetSampler(40, max_iter=2, random_state=0), InfluenceBalancedSampler(random_state=0)],
)
def test_chosen_rows_stay_what_they_were(sampler):
    mixed = numbers.with_columns(e=pl.col("a").cast(pl.Float32), n=pl.col("a") * 10 // 1)
    found, labels = sampler.fit_resample(mixed, y)
    at = sampler.sample_indices_
    assert 0 < len(at) < 300
    assert found.equals(mixed[at])
    assert labels.equals(y[at])
    found, _ = sampler.fit_resample(mixed.to_pandas(), y.to_numpy())
    assert found.reset_index(drop=True).equals(mixed[at].to_pandas())


def test_made_rows_have_the_types_of_the_given_ones():
    mixed = numbers.with_columns(n=(pl.col("a") * 10).cast(pl.Int32))
    found, labels = LatentSMOTE(random_state=0).fit_resample(mixed, y)
    assert found.schema == mixed.schema
    assert found[:300].equals(mixed)
    assert labels.value_counts()["count"].unique().len() == 1
    assert labels.name == "risk"
    with pytest.raises(ValueError, match=r"columns \['s', 'k'\] hold no numbers"):
        LatentSMOTE().fit_resample(raw, y)
    Y = pl.DataFrame({"p": code, "q": 1 - code})
    copied, kept = MLROS(random_state=0).fit_resample(raw, Y)
    assert copied.schema == raw.schema
    assert kept.schema == Y.schema
    assert len(copied) == len(kept) > 300
    made, _ = MLSMOTE(random_state=0).fit_resample(numbers, Y)
    assert made.schema == numbers.schema


@pytest.mark.parametrize(
    "sampler",
    [SMOTE(random_state=0), RandomUnderSampler(random_state=0), TomekLinks(), AutoCoresetSampler(40, max_iter=2, random_state=0)],
    ids=lambda s: type(s).__name__,
)  # fmt: skip
def test_any_sampler_in_a_resampled_classifier(sampler):
    model = ResampledClassifier(sampler, LinearClassifier(random_state=0))
    one = model.fit(numbers, y).predict_proba(numbers)
    np.testing.assert_allclose(one, model.fit(X, code).predict_proba(X), atol=1e-6)


def test_weights_of_the_user_are_left_alone():
    weight = np.linspace(1.0, 2.0, 300)
    given = weight.copy()
    kept, _ = AutoCoresetSampler(40, max_iter=2, random_state=0).fit_resample(
        X, code, sample_weight=weight
    )
    np.testing.assert_array_equal(weight, given)
    series = pl.Series(given)  # read-only to numpy
    again, _ = AutoCoresetSampler(40, max_iter=2, random_state=0).fit_resample(
        X, code, sample_weight=series
    )
    np.testing.assert_array_equal(kept, again)


def test_boosters_know_categories():
    pytest.importorskip("lightgbm")
    model = LGBMImbalancedClassifier(n_estimators=3, random_state=0)
    with pytest.raises(
        ValueError, match=r"turn 's' .* into categories .*cast\(Categorical\) of polars"
    ):
        model.fit(raw, y)
    cast = raw.with_columns(pl.col("s").cast(pl.Categorical))
    one = model.fit(cast, y).predict_proba(cast)
    two = model.fit(cast.to_pandas(), y.to_numpy()).predict_proba(cast.to_pandas())
    np.testing.assert_array_equal(one, two)
