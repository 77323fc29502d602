"""Mann-Whitney loss against a contrastive loss on text retrieval.

    python tests/bench/claims/retrieval.py --data FOLDER [--seeds 2]

Questions of customers (banking77): a question is relevant to another one of the same intent. Half of the intents train a linear
map of tf-idf components, the other half is searched. In each batch both losses see the same scores of all questions.
"""

import time

from claim import arguments, error, rows_of, show

import numpy as np  # isort: skip
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from skimb.functional import mann_whitney, supervised_contrastive


def trained(X, y, loss, seed, epochs=30, batch=256):
    """A linear map to 64 numbers of length 1, and the seconds of its training."""
    generator = torch.Generator().manual_seed(seed)
    weight = (
        torch.randn(X.shape[1], 64, generator=generator).div_(X.shape[1] ** 0.5).requires_grad_()
    )
    adam = torch.optim.Adam([weight], lr=1e-2)
    begun = time.process_time()
    for _ in range(epochs):
        for index in torch.randperm(len(X), generator=generator).split(batch):
            z = torch.nn.functional.normalize(X[index] @ weight, dim=1)
            value = loss(z, y[index])
            adam.zero_grad()
            value.backward()
            adam.step()
    return weight.detach(), time.process_time() - begun


def pairs(z, y):
    """Scores of all pairs of rows of a batch, and whether they are alike."""
    above = torch.triu_indices(len(z), len(z), 1)
    return (z @ z.T)[above[0], above[1]], (y[above[0]] == y[above[1]]).long()


LOSSES = {
    "contrastive": lambda z, y: supervised_contrastive(z, y, temperature=0.1),
    "Mann-Whitney": lambda z, y: mann_whitney(*pairs(z, y), tau=0.1),
}


def measured(X, y, weight):
    """ROC AUC of relevance over all pairs, reciprocal rank, recall at 10, Brier score behind a logistic fit, average precision."""
    z = torch.nn.functional.normalize(X @ weight, dim=1)
    scores = (z @ z.T).numpy()
    same = (y[:, None] == y[None]).numpy()
    np.fill_diagonal(scores, -np.inf)
    order = np.argsort(-scores, axis=1)[:, :-1]
    hits = np.take_along_axis(same, order, 1)
    above = np.triu_indices(len(y), 1)
    s, t = scores[above], same[above]
    half = np.random.default_rng(0).random(len(s)) < 0.5
    scale = LogisticRegression().fit(s[half, None], t[half])
    p = scale.predict_proba(s[~half, None])[:, 1]
    first = (1 / (1 + hits.argmax(1))).mean()
    recall = (hits[:, :10].sum(1) / np.minimum(same.sum(1) - 1, 10)).mean()
    return (
        roc_auc_score(t, s),
        first,
        recall,
        100 * brier_score_loss(t[~half], p),
        average_precision_score(t, s),
    )


def main():
    args = arguments(__doc__, seeds=2)
    frame, y = rows_of(args.data, "banking77")
    X = TruncatedSVD(300, random_state=0).fit_transform(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(frame["text"])
    )
    X, y = torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y)
    found = {name: [] for name in ("no training", *LOSSES)}
    for seed in range(args.seeds):
        seen = torch.zeros(77, dtype=torch.bool)
        seen[torch.randperm(77, generator=torch.Generator().manual_seed(seed))[:38]] = True
        train, test = seen[y], torch.nonzero(~seen[y])[:, 0][::4]
        for name in found:
            weight, seconds = torch.eye(X.shape[1]), 0.0
            if name in LOSSES:
                weight, seconds = trained(X[train], y[train], LOSSES[name], seed)
            found[name].append([*measured(X[test], y[test], weight), seconds])
    show(
        __doc__,
        [
            [
                "ROC AUC and retrieval metrics above contrastive training, better calibrated",
                "abstract",
            ]
        ],
        [
            "loss",
            "ROC AUC of pairs",
            "reciprocal rank",
            "recall at 10",
            "Brier score x 100, calibrated by logistic fit",
            "average precision of pairs",
            "seconds",
        ],
        [[name, *(error(column) for column in np.transpose(each))] for name, each in found.items()],
    )


if __name__ == "__main__":
    main()
