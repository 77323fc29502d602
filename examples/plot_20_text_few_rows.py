"""
Texts with 25 rare rows: words, a frozen embedding, both
========================================================

A few rare texts share few words. An embedding that was learned elsewhere knows that "refund" and "money back" are
near, so a linear model of it needs fewer of them; with more rows the words themselves say more. ``TextClassifier``
fits linear models of words, of the embedding and of both, and averages them.

The messages are made up. The embedding lies in the wheel of wordllama (``pip install "skimb[text]"``), so nothing
is downloaded; without the package the script stops with that sentence.
"""

import os

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skimb.neural_network import MLPClassifier
from skimb.pipeline import TextClassifier
from skimb.preprocessing import EmbeddingVectorizer

FAST = os.environ.get("SKIMB_FAST") == "1"

# %%
# Customers write; one in forty is about to leave. Later messages say so in words that the first ones did not hold.

WHO = ["I", "we", "my family", "my husband and I"]
WHAT = ["the contract", "this subscription", "your service", "the plan", "our account", "my phone"]
LEAVING = ["will cancel", "want to end", "am going to terminate", "want to get out of"]
LEAVING_LATER = [
    "will quit",
    "would like to stop",
    "am done with",
    "no longer want",
    "wish to close",
]
STAYING = [
    "would like to see",
    "cannot find",
    "have a question on",
    "want to change",
    "am happy with",
    "just renewed",
    "need an invoice of",
    "wish to upgrade",
    "will pay for",
    "am going to keep",
]
WHY = ["please", "as soon as you can", "because we moved house", "thank you", "since last week", "", "",
       "as it costs too much", "now that I found a better offer", "after years as a customer"]  # fmt: skip


def messages(n, rare, seed, leaving):
    """Sentences of random parts, the rare ones first."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) < rare
    parts = [(WHO, leaving if k else STAYING, WHAT, WHY) for k in y]
    texts = [" ".join(rng.choice(part) for part in sentence) for sentence in parts]
    return texts, np.where(y, "leaves", "asks")


n = 300 if FAST else 1000
texts, y = messages(n, n // 40, 0, LEAVING)
new, truth = messages(3 * n, 3 * n // 40, 1, LEAVING + LEAVING_LATER)

# %%
# The same 25 rare messages for four models. Logistic regression has its penalty chosen by log loss in folds, as
# ``TextClassifier`` does.

tuned = GridSearchCV(
    LogisticRegression(max_iter=500),
    {"C": np.geomspace(0.3, 1e4, 7)},
    cv=4,
    scoring="neg_log_loss",
)
words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
models = {
    "logistic regression, words": make_pipeline(words, tuned),
    "logistic regression, embedding": make_pipeline(EmbeddingVectorizer(), tuned),
    "net on words": make_pipeline(words, MLPClassifier((32,), random_state=0)),
    "TextClassifier": TextClassifier(),
}
print(f"{'model':34s}{'AP':>8s}{'log-loss':>10s}{'mean risk / share':>20s}")
for name, model in models.items():
    p = model.fit(texts, y).predict_proba(new)
    rare = list(model.classes_).index("leaves")
    ap = average_precision_score(truth == "leaves", p[:, rare])
    risk = p[:, rare].mean() / (truth == "leaves").mean()
    print(f"{name:34s}{ap:8.3f}{log_loss(truth, p):10.4f}{risk:20.2f}")

# %%
# Words alone miss those who say it otherwise, the net on words with them. Left-out rows hold the wording of the
# training rows, so nothing tells ``TextClassifier`` that wording will change: where you know that, take the
# embedding alone. Strengths and scale that left-out rows chose:

text = models["TextClassifier"]
print({name: round(C, 1) for name, C in text.C_.items()}, round(text.slope_, 2))

# %%
# Left-out rows also say how much of the hidden path of the net to keep: with so few rare rows nothing, so that it
# is the linear model that it starts from.

print("hidden path kept:", models["net on words"][-1].hidden_scale_)
