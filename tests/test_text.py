"""Text: frozen embeddings, the classifier of few texts, and the hidden path that may not hurt its linear start."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skimb._core.folds import left_out_folds
from skimb.neural_network import MLPClassifier
from skimb.pipeline import TextClassifier
from skimb.preprocessing import EmbeddingVectorizer


def documents(n, rare, seed):
    """Lists of made-up words with Zipf frequencies; those of the rare kind prefer some words."""
    rng = np.random.default_rng(seed)
    common = 1.0 / np.arange(1, 1001)
    special = common.copy()
    special[150:170] *= 6
    y = (np.arange(n) < rare).astype(int)
    words = np.array([f"word{i}" for i in range(1000)])
    texts = [
        " ".join(rng.choice(words, 40, p=p / p.sum()))
        for p in (special if r else common for r in y)
    ]
    return texts, y


def letters(texts):
    """Counts of a, b and c: an embedding that pickles by name."""
    return [[text.count(letter) for letter in "abc"] for text in texts]


# --- frozen embeddings ---------------------------------------------------------------------------


def test_embeddings_are_directions_in_the_order_of_the_texts():
    calls = []

    def model(texts):
        calls.append(texts)
        return letters(texts)

    texts = ["aab", "c", None, "ab" * 9, " ", np.nan, "", pd.NA, "bca"]
    found = EmbeddingVectorizer(model, batch_size=3).fit_transform(texts)
    expected = np.zeros((9, 3))
    expected[[0, 1, 3, 8]] = [[2, 1, 0], [0, 0, 1], [9, 9, 0], [1, 1, 1]]
    norms = np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected / np.where(norms > 0, norms, 1), rtol=1e-6)
    assert found.dtype == np.float32
    assert calls == [["text"], ["c", "aab", "bca"], ["ab" * 9]]  # of like lengths, none blank
    raw = EmbeddingVectorizer(letters, normalize=False).fit(texts)
    np.testing.assert_array_equal(raw.transform(texts), expected)
    assert raw.transform([]).shape == (0, 3)


@pytest.mark.parametrize(
    "make",
    [
        np.array,
        pd.Series,
        pl.Series,
        tuple,
        lambda t: np.array(t, object)[:, None],
        lambda t: pd.DataFrame({"t": t}),
        lambda t: pl.DataFrame({"t": t}),
        lambda t: pd.Series(t, dtype="string"),
    ],
)
def test_every_container_of_texts_is_read_alike(make):
    texts = ["ab", "c", "", "bb"]
    vectorizer = EmbeddingVectorizer(letters).fit(texts)
    np.testing.assert_array_equal(vectorizer.transform(make(texts)), vectorizer.transform(texts))


def test_an_iterator_is_read_once_and_all_lengths_become_one():
    texts = ["ab", "c", ""]
    found = EmbeddingVectorizer(letters).fit_transform(text for text in texts)
    np.testing.assert_array_equal(found, EmbeddingVectorizer(letters).fit_transform(texts))
    for size in (1e-30, 1e30):  # squares leave single precision
        sized = EmbeddingVectorizer(lambda texts, size=size: size * np.array(letters(texts)))
        np.testing.assert_allclose(sized.fit_transform(texts), found, rtol=1e-6)


def test_an_embedding_is_named_cloned_and_pickled():
    vectorizer = EmbeddingVectorizer(letters).fit(["a"])
    names = [f"embeddingvectorizer{k}" for k in range(3)]
    assert vectorizer.get_feature_names_out().tolist() == names
    assert vectorizer.set_output(transform="pandas").transform(["a"]).columns.tolist() == names
    again = pickle.loads(pickle.dumps(vectorizer.set_output(transform="default")))
    assert again.model_ is letters
    assert clone(vectorizer).model is letters
    again.set_params(normalize=False, model="wordllama")  # what was fitted stays fitted
    np.testing.assert_array_equal(again.transform(["aa"]), [[1, 0, 0]])


@pytest.mark.parametrize(
    ("model", "texts", "error", "message"),
    [
        (letters, "a text", ValueError, "takes several texts, got one string; put it in a list"),
        (letters, [["a", "b"]], TypeError, "takes strings, and None or NaN for missing ones, got .'a', 'b'. in row 0"),
        (letters, np.array([["a", "b"]]), ValueError, r"got shape \(1, 2\); select the column"),
        (letters, ["a", 3], TypeError, "got 3 in row 1; convert it to str"),
        (letters, ["a", b"b"], TypeError, "got b'b' in row 1"),
        (lambda texts: [1.0], ["a"], ValueError, "must give 1 rows of finite numbers"),
        (lambda texts: [["x"]], ["a"], ValueError, "must give 1 rows of finite numbers"),
        (lambda texts: [[1.0] * len(t) for t in texts], ["a", "bb"], ValueError, "got a list that makes no array"),
        (lambda texts: torch.ones(len(texts), 2, requires_grad=True), ["a"], ValueError, "got a Tensor that makes no"),
        (lambda texts: np.ones((len(texts), 0)), ["a"], ValueError, r"got an array of shape \(1, 0\)"),
        (lambda texts: np.full((len(texts), 2), 1e300), ["a"], ValueError, "not finite in single precision"),
        (letters, 7, TypeError, "takes a sequence or one column of texts, got an object of type int"),
        (letters, {"a": "b"}, TypeError, "got an object of type dict; put the texts in a list"),
        (letters, np.array("a"), TypeError, "got an object of type ndarray"),
        (lambda texts: np.full((len(texts), 2), np.nan), ["a"], ValueError, "must give 1 rows"),
        (lambda texts: np.ones((len(texts), len(texts[0]))), ["a"], ValueError, "gave 1 dimensions and 4 in fit"),
    ],
)  # fmt: skip
def test_bad_texts_and_bad_models_are_refused(model, texts, error, message):
    with pytest.raises(error, match=message):
        EmbeddingVectorizer(model).fit_transform(texts)


def test_without_wordllama_the_cure_is_named(monkeypatch):
    import sys

    from skimb.preprocessing import _texts

    monkeypatch.setitem(sys.modules, "wordllama", None)
    _texts._wordllama.cache_clear()
    with pytest.raises(ImportError, match=r"skimb\[text\]"):
        EmbeddingVectorizer().fit(["a"])


def test_wordllama_loads_without_network_and_leaves_logging_alone(monkeypatch):
    pytest.importorskip("wordllama")
    import logging
    import socket

    from skimb.preprocessing import _texts

    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    _texts._wordllama.cache_clear()
    before = logging.getLogger().handlers[:], logging.getLogger().level
    texts = ["You have won a free prize", "Claim your cash reward now", "See you at lunch", ""]
    found = EmbeddingVectorizer().fit_transform(texts)
    assert (logging.getLogger().handlers[:], logging.getLogger().level) == before
    assert found.shape == (4, 256)
    similar = found @ found.T
    assert similar[0, 1] > similar[0, 2] + 0.2
    assert not found[3].any()
    # a text does not depend on those beside it
    np.testing.assert_allclose(
        EmbeddingVectorizer().fit_transform(texts[2:3])[0], found[2], atol=1e-6
    )


# --- the classifier of few texts -----------------------------------------------------------------


@pytest.fixture(scope="module")
def sayings():
    """Texts whose kind shows in rare words that an embedding groups, and in the letter z."""
    rng = np.random.default_rng(0)
    n, rare = 240, 20
    y = np.where(np.arange(n) < rare, "complaint", np.where(np.arange(n) % 2, "praise", "question"))
    stems = {"complaint": "a", "praise": "b", "question": "c"}
    texts = [
        " ".join([stems[k] * rng.integers(2, 30), *rng.choice(["one", "two", "three", "four"], 4)])
        for k in y
    ]
    noisy = rng.permutation(n)[:40]
    for i in noisy:
        texts[i] = "one two"
    return np.array(texts, object), y


def test_the_union_beats_its_members_where_words_do_not_repeat(sayings):
    X, y = sayings
    target = y == "complaint"
    half = np.arange(len(y)) // 2 % 2 == 0
    losses = {}
    for embedding in (None, letters):
        model = TextClassifier(embedding=embedding).fit(X[half], target[half])
        p = model.predict_proba(X[~half])
        np.testing.assert_allclose(p.sum(1), 1)
        np.testing.assert_allclose(np.exp(model.predict_log_proba(X[~half])), p)
        losses[embedding] = log_loss(target[~half], p[:, 1])
        z = model.decision_function(X[~half])
        np.testing.assert_array_equal(model.predict(X[~half]), z > 0)
        assert abs(p[:, 1].mean() - target.mean()) < 0.03
    assert losses[letters] < 0.6 * losses[None]
    assert list(model.estimators_) == ["words", "embedding", "both"]
    members = {"words": model.vectorizer_.transform(X), "embedding": model.embedding_.transform(X)}
    members["both"] = sparse.hstack([members["words"], members["embedding"]]).tocsr()
    z = np.mean(
        [model.estimators_[k].decision_function(rows) for k, rows in members.items()], axis=0
    )
    expected = model.slope_ * z + model.intercept_
    np.testing.assert_allclose(model.decision_function(X), expected)


def test_strengths_and_scale_minimise_the_left_out_log_loss(sayings):
    X, y = sayings
    model = TextClassifier(embedding=letters, Cs=[0.01, 1.0, 100.0]).fit(X, y == "complaint")
    folds = left_out_folds(
        (y == "complaint").astype(int), len(y), 4, np.random.RandomState(0).randint(2**31 - 1)
    )
    rows = letters(X)
    rows = np.array(rows, np.float32) / np.maximum(
        np.linalg.norm(rows, axis=1, keepdims=True), 1e-9
    )
    losses = {}
    for C in (0.01, 1.0, 100.0):
        z = np.zeros(len(y))
        for train, held in folds:
            own = LogisticRegression(C=C, tol=1e-6).fit(rows[train], y[train] == "complaint")
            z[held] = own.decision_function(rows[held])
        losses[C] = log_loss(y == "complaint", 1 / (1 + np.exp(-z)))
    assert model.C_["embedding"] == min(losses, key=losses.get)
    weaker = TextClassifier(embedding=letters, Cs=[0.1]).fit(X, y == "complaint")
    assert weaker.slope_ > 1.2  # makes up for too strong a penalty


@pytest.mark.parametrize("kind", ["three", "several", "rare intents"])
def test_several_classes_labels_and_many_intents(sayings, kind):
    X, y = sayings
    if kind == "several":
        y = np.c_[y == "complaint", y == "praise"].astype(int)
    if kind == "rare intents":
        names = [f"intent {k}" for k in range(80)]
        y = np.repeat(names, 3)
        X = np.array(
            [f"{name} {'please' if i % 3 else ''}".replace(" ", "_", 1) for i, name in enumerate(y)]
        )
    model = TextClassifier(embedding=letters, Cs=[10.0, 1000.0]).fit(X, y)
    p = model.predict_proba(X)
    assert p.shape == (len(X), 2 if kind == "several" else len(np.unique(y)))
    if kind == "several":
        assert np.abs(p.mean(0) - y.mean(0)).max() < 0.05
        assert (model.predict(X) == y).mean() > 0.9
    else:
        np.testing.assert_allclose(p.sum(1), 1)
        np.testing.assert_array_equal(model.predict(X), model.classes_[p.argmax(1)])
        assert model.score(X, y) > 0.8


def test_a_weight_of_zero_removes_a_text_and_others_weigh(sayings):
    X, y = sayings
    weight = np.where(np.arange(len(y)) % 5 == 0, 0.0, 1.0)
    kw = {"embedding": letters, "Cs": [1.0, 100.0]}
    weighed = TextClassifier(**kw).fit(X, y, sample_weight=weight)
    fewer = TextClassifier(**kw).fit(X[weight > 0], y[weight > 0])
    np.testing.assert_allclose(weighed.predict_proba(X), fewer.predict_proba(X), rtol=1e-5)
    heavy = TextClassifier(**kw).fit(
        X, y == "praise", sample_weight=np.where(y == "praise", 5.0, 1.0)
    )
    share = 5 * (y == "praise").sum() / (5 * (y == "praise").sum() + (y != "praise").sum())
    weights = np.where(y == "praise", 5.0, 1.0)
    assert np.average(heavy.predict_proba(X)[:, 1], weights=weights) == pytest.approx(
        share, abs=0.02
    )


def test_an_embedding_may_be_sparse(sayings):
    texts, y = (part[::4] for part in sayings)
    counts = TfidfVectorizer(analyzer="char")
    found = TextClassifier(embedding=counts, Cs=[1.0]).fit(texts, y).predict_proba(texts)
    dense = make_pipeline(counts, FunctionTransformer(lambda X: X.toarray()))
    same = TextClassifier(embedding=dense, Cs=[1.0]).fit(texts, y).predict_proba(texts)
    np.testing.assert_allclose(found, same, atol=1e-4)


def test_what_was_fitted_is_pickled_and_stays(sayings):
    X, y = sayings
    model = TextClassifier(embedding=letters, Cs=[10.0]).fit(X, y)
    before = model.predict_proba(X)
    again = pickle.loads(pickle.dumps(model)).set_params(embedding=None, Cs=3, max_iter=1)
    np.testing.assert_array_equal(again.predict_proba(X), before)
    np.testing.assert_array_equal(clone(model).fit(X, y).predict_proba(X), before)
    frame = pd.DataFrame({"text": X})
    np.testing.assert_array_equal(model.predict_proba(frame), before)
    assert np.isfinite(model.predict_proba([None, "", "never seen"])).all()
    assert TextClassifier(embedding=None).fit(["a text", "another"], [0, 1]).C_ == {"words": 10.0}


@pytest.mark.parametrize(
    ("params", "X", "y", "error", "message"),
    [
        (
            {"Cs": [0.0, 1.0]},
            ["aa", "bb"],
            [0, 1],
            ValueError,
            "must be a number of strengths or positive",
        ),
        ({"Cs": ["a"]}, ["aa", "bb"], [0, 1], ValueError, "must be a number of strengths or positive"),
        ({}, ["aa", "bb"], [1, 1], ValueError, "one class"),
        ({}, ["aa", "bb"], [[1, 2], [0, 3]], ValueError, "TextClassifier: a y of shape .* must be a 0/1 indicator"),
        ({}, ["aa", 7], [0, 1], TypeError, "TextClassifier takes strings"),
        ({}, ["aa", "bb", "cc"], [0, 1], ValueError, "inconsistent numbers of samples"),
        ({}, ["", None], [0, 1], ValueError, "empty vocabulary"),
        ({"embedding": "bert"}, ["aa", "bb"], [0, 1], ValueError, "'embedding' parameter"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_is_refused(params, X, y, error, message):
    with pytest.raises(error, match=message):
        TextClassifier(**{"embedding": None, **params}).fit(X, y)


# --- the hidden path ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def few_texts():
    (texts, y), (new, truth) = documents(400, 25, 0), documents(1000, 60, 1)
    vectorizer = TfidfVectorizer(min_df=2).fit(texts)
    return vectorizer.transform(texts), y, vectorizer.transform(new), truth


def test_with_25_positives_the_net_does_not_fall_below_its_linear_start(few_texts):
    X, y, new, truth = few_texts
    losses = {}
    for scale in ("auto", 0.0, 1.0):
        net = MLPClassifier((32,), hidden_scale=scale, random_state=0).fit(X, y)
        losses[scale] = log_loss(truth, net.predict_proba(new))
        assert net.hidden_scale_ == (0.0 if scale == "auto" else scale)
    assert losses["auto"] < losses[0.0] + 0.005
    assert losses[1.0] > losses[0.0] + 0.03  # what the choice saves


def test_the_hidden_path_stays_where_left_out_rows_gain_by_it():
    rng = np.random.default_rng(0)
    X = sparse.csr_matrix(
        np.eye(4)[rng.integers(4, size=1200)] + np.eye(4)[rng.integers(4, size=1200)]
    )
    y = np.asarray((X.multiply(X)).sum(1)).ravel() > 2  # both draws alike: no linear matter
    kw = {"solver": "lbfgs", "random_state": 0}
    net = MLPClassifier((8,), **kw).fit(X, y)
    assert net.hidden_scale_ == 1.0
    assert net.score(X, y) == 1.0
    assert MLPClassifier((8,), hidden_scale=0.0, **kw).fit(X, y).score(X, y) < 0.8


@pytest.mark.parametrize("labels", ["two", "three", "several"])
def test_a_given_scale_is_a_straight_line_between_start_and_end(few_texts, labels):
    X, y, new, _ = few_texts
    y = {
        "two": y,
        "three": y + (np.arange(len(y)) % 2),
        "several": np.c_[y, np.arange(len(y)) % 2],
    }[labels]
    start, middle, end = (
        MLPClassifier(
            (4,), hidden_scale=s, max_iter=5, learning_rate_init=0.01, random_state=0
        ).fit(X, y)
        for s in (0.0, 0.3, 1.0)
    )
    z0, z, z1 = (net.decision_function(new) for net in (start, middle, end))
    assert np.abs(z1 - z0).max() > 0.05
    np.testing.assert_allclose(z, 0.7 * z0 + 0.3 * z1, rtol=1e-9, atol=1e-9)
    again = pickle.loads(pickle.dumps(middle)).set_params(hidden_scale=1.0)
    np.testing.assert_array_equal(again.decision_function(new), z)


def test_the_choice_is_made_in_a_fresh_fit_alone(few_texts):
    X, y, _, _ = few_texts
    kw = {"max_iter": 3, "random_state": 0}
    net = MLPClassifier((4,), warm_start=True, **kw).fit(X, y)
    assert net.hidden_scale_ == 0.0
    assert net.n_iter_ == 1
    assert net.fit(X, y).n_iter_ == 3  # goes on from there
    assert MLPClassifier((4,), early_stopping=True, **kw).fit(X, y).hidden_scale_ == 1.0
    assert MLPClassifier((4,), **kw).partial_fit(X, y, [0, 1]).hidden_scale_ == 1.0
    assert MLPClassifier((4,), **kw).fit(X.toarray(), y).hidden_scale_ is None
    again = clone(net).set_params(warm_start=False)
    np.testing.assert_array_equal(again.fit(X, y).skip_coef_, clone(again).fit(X, y).skip_coef_)


def test_classes_of_one_row_are_never_left_out(few_texts):
    X, _, _, _ = few_texts
    y = np.array(["a"] * 30 + ["b"] * 9 + ["c"])
    net = MLPClassifier((4,), max_iter=3, random_state=0).fit(X[:40], y)
    assert net.classes_.tolist() == ["a", "b", "c"]
    assert MLPClassifier((4,), random_state=0).fit(X[:2], [0, 1]).hidden_scale_ == 0.0
    # left-out rows of one class alone say nothing
    one = MLPClassifier((4,), random_state=0).fit(X, np.arange(X.shape[0]) == 7)
    assert (one.hidden_scale_, one.n_iter_) == (0.0, 1)
