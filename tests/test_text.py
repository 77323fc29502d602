"""Text: frozen embeddings, the classifier of few texts, and the hidden path that may not hurt its linear start."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import log_loss

from skimb.neural_network import MLPClassifier
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
    with pytest.raises(ImportError, match=r"pip install skimb\[text\]"):
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
