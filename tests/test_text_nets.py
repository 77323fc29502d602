"""Text through nets: a Hugging Face module, several emotions per text, tags of tokens."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from torch import nn

from skimb.losses import Asymmetric, Dice, Mixed
from skimb.multilabel import COMICClassifier
from skimb.neural_network import MLPClassifier, NeuralNetClassifier


class TinyBert(nn.Module):
    """A random BERT over numbers of tokens, 0 for padding, that come as floats."""

    def __init__(self, n_features, n_outputs, width=16):
        from transformers import BertConfig, BertModel

        super().__init__()
        config = BertConfig(
            vocab_size=32, hidden_size=width, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=2 * width, max_position_embeddings=n_features, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        self.encoder = BertModel(config, add_pooling_layer=False)
        self.output = nn.Linear(width, n_outputs)

    def forward(self, X):
        """Scores of the mean over tokens."""
        tokens = X.long()
        mask = (tokens > 0).long()
        states = self.encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
        weight = mask.unsqueeze(-1).to(states)
        return self.output((states * weight).sum(1) / weight.sum(1).clamp_min(1))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_hugging_face_module_is_trained_saved_and_answers_alike():
    pytest.importorskip("transformers")
    import pickle

    rng = np.random.default_rng(0)
    X = np.where(np.arange(12) < rng.integers(4, 12, (300, 1)), rng.integers(2, 32, (300, 12)), 0)
    y = np.where((X == 5).any(1) | (X == 6).any(1), "rare", "common")
    net = NeuralNetClassifier(
        TinyBert, module__width=16, max_iter=18, learning_rate_init=0.01, batch_size=50, class_weight="balanced",
        random_state=0,
    ).fit(X.astype(np.float32), y)  # fmt: skip
    p = net.predict_proba(X.astype(np.float32))
    assert net.score(X, y) > 0.95
    assert abs(p[:, 1].mean() - (y == "rare").mean()) < 0.05  # class weights are undone
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_allclose(again.predict_proba(X.astype(np.float32)), p, atol=1e-6)
    padded = np.c_[X, np.zeros((300, 0))].astype(np.float32)
    np.testing.assert_allclose(net.predict_proba(padded[:7]), p[:7], atol=1e-5)
    same = clone(net).fit(X.astype(np.float32), y)
    np.testing.assert_allclose(same.predict_proba(X.astype(np.float32)), p, atol=1e-6)


def emotions(n, seed):
    """Texts with several of five emotions, each with words of its own; the last one is rare."""
    rng = np.random.default_rng(seed)
    Y = (rng.random((n, 5)) < [0.4, 0.3, 0.3, 0.2, 0.06]).astype(int)
    own = [[f"emotion{k}_{j}" for j in range(6)] for k in range(5)]
    filler = [f"word{j}" for j in range(200)]
    texts = [
        " ".join([*rng.choice(filler, 8), *(rng.choice(own[k]) for k in np.flatnonzero(row))])
        for row in Y
    ]
    return texts, Y


def test_several_emotions_of_sparse_texts():
    (texts, Y), (new, truth) = emotions(500, 0), emotions(300, 1)
    vectorizer = TfidfVectorizer().fit(texts)
    X, Z = vectorizer.transform(texts), vectorizer.transform(new)
    net = MLPClassifier((16,), loss=Asymmetric(), max_iter=20, random_state=0).fit(X, Y)
    assert 0.0 <= net.hidden_scale_ <= 1.0
    assert f1_score(truth[:, 4], net.predict(Z)[:, 4]) > 0.6
    comic = COMICClassifier(max_iter=20, random_state=0).fit(X.toarray(), Y)
    p = comic.predict_proba(Z.toarray())
    assert p.shape == truth.shape
    plain = MLPClassifier((16,), max_iter=20, random_state=0).fit(X, Y)
    assert np.abs(plain.predict_proba(Z).mean(0) - Y.mean(0)).max() < 0.06


def tagged(n, seed):
    """Tokens with the one before as features; names, one in twenty, follow a title more often than not."""
    rng = np.random.default_rng(seed)
    tags, tokens, before = [], [], []
    for _ in range(n):
        last = tokens[-1] if tokens else "."
        name = rng.random() < (0.8 if last == "mr" else 0.02)
        token = (
            rng.choice([f"name{k}" for k in range(40)])
            if name
            else rng.choice(["mr", *(f"word{k}" for k in range(30))])
        )
        tags.append("B-person" if name else "O")
        tokens.append(token)
        before.append(last)
    rows = [[f"is {a}", f"ends {a[:4]}", f"after {b}"] for a, b in zip(tokens, before, strict=True)]
    return FeatureHasher(256, input_type="string").transform(rows), np.array(tags)


@pytest.mark.parametrize("loss", [Dice(), Mixed(Dice(), share=0.1)], ids=["Dice", "mixed"])
def test_tags_of_tokens_with_dice(loss):
    X, y = tagged(1500, 0)
    Z, truth = tagged(600, 1)
    target, expected = (a == "B-person" for a in (y, truth))
    net = MLPClassifier((16,), loss=loss, max_iter=15, random_state=0).fit(X, target)
    assert sparse.issparse(X)
    assert f1_score(expected, net.predict(Z)) > 0.9
