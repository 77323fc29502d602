"""Scores of many members at once, equal to scikit-learn's scorers up to rounding."""

import numpy as np

from skimb.model_selection import _counts

_SCORE = ("decision_function", "predict_proba")  # what scikit-learn's ranking scorers ask for


def _ranked(y, scores, weight):
    """Rows by falling score: cumulated positives and negatives, ends and starts of ties."""
    order = np.argsort(-scores, axis=-1, kind="stable")
    s = np.take_along_axis(scores, order, -1)
    w = np.ones(len(y)) if weight is None else weight
    positive = (w * y)[order]
    negative = (w * (1 - y))[order]
    tp, fp = positive.cumsum(-1), negative.cumsum(-1)
    n = s.shape[-1]
    last = np.ones(s.shape, bool)
    last[..., :-1] = s[..., 1:] != s[..., :-1]
    at = np.where(last, np.arange(n), n)
    end = np.minimum.accumulate(at[..., ::-1], -1)[..., ::-1]  # last row of the same score
    return positive, negative, tp, fp, end, last


def average_precision(y, scores, weight=None):
    """Average precision of scores (K, n) for a 0/1 target (n,)."""
    positive, _, tp, fp, end, _ = _ranked(y, scores, weight)
    tp_end, fp_end = (np.take_along_axis(a, end, -1) for a in (tp, fp))
    with np.errstate(divide="ignore", invalid="ignore"):  # rows of weight 0 before all others
        precision = np.where(tp_end > 0, tp_end / (tp_end + fp_end), 0.0)
    return (positive * precision).sum(-1) / tp[..., -1]


def roc_auc(y, scores, weight=None):
    """Area under the ROC curve of scores (K, n) for a 0/1 target (n,)."""
    _, negative, tp, _, end, last = _ranked(y, scores, weight)
    tp_end = np.take_along_axis(tp, end, -1)
    before = np.zeros_like(tp)  # positives of strictly higher score
    before[..., 1:] = np.maximum.accumulate(np.where(last, tp, 0.0), -1)[..., :-1]
    area = (negative * 0.5 * (before + tp_end)).sum(-1)
    return area / (tp[..., -1] * negative.sum(-1))


def log_loss(code, proba, weight=None):
    """Mean negative log probability of the true class; probabilities (K, n, C), codes (n,)."""
    eps = np.finfo(proba.dtype).eps
    p = np.take_along_axis(proba.clip(eps, 1 - eps), code[None, :, None], -1)[..., 0]
    return np.average(-np.log(p), axis=-1, weights=weight)


def brier(code, proba, weight=None):
    """Mean squared error of the second class's probability."""
    return np.average((proba[..., 1] - code) ** 2, axis=-1, weights=weight)


class BulkScore:
    """A metric over members.

    Parameters
    ----------
    response : {"scores", "proba", "decisions"}
        What it is computed from.
    function : callable
        For 'decisions' a function of counts per class, else of (y, values, weight).
    sign : int
        -1 for losses.
    multilabel : bool
        Whether y is a 0/1 matrix.
    """

    def __init__(self, response, function, sign, multilabel):
        self.response, self.function = response, function
        self.sign, self.multilabel = sign, multilabel

    def __call__(self, code, values, weight, n_classes):
        """Scores (K,) of members from their scores, probabilities or decided codes."""
        if self.response == "decisions":
            if self.multilabel:
                counts = _counts.label_counts(code, values, weight)
            else:
                counts = _counts.class_counts(code, values, weight, n_classes)
            return self.sign * self.function(*counts)
        if self.multilabel:  # the mean over labels
            found = [
                self.function(code[:, k], values[..., k], weight) for k in range(code.shape[1])
            ]
            return self.sign * np.mean(found, axis=0)
        return self.sign * self.function(code, values, weight)


def bulk_score(scorer, classes, multilabel):
    """The bulk form of one of scikit-learn's or imbalanced-learn's scorers, or None.

    Parameters
    ----------
    scorer : callable
        Made by ``make_scorer`` or taken by name.
    classes : ndarray
        Labels of the target.
    multilabel : bool
        Whether y is a 0/1 matrix.

    Returns
    -------
    BulkScore or None
        None where the scorer has to be called for each member.
    """
    function = getattr(scorer, "_score_func", None)
    if function is None or not function.__module__.startswith(("sklearn.", "imblearn.")):
        return None
    given = dict(scorer._kwargs)
    sign, response = scorer._sign, scorer._response_method
    # scikit-learn's scorers of two classes take 1 as the positive class unless told
    positive = given.pop("pos_label", 1)
    name = function.__name__
    two = not multilabel and len(classes) == 2
    two = two and (name == "roc_auc_score" or positive == classes[1])  # which takes the second
    if name in _RANKING and response == _SCORE and not given and (two or multilabel):
        return BulkScore("scores", _RANKING[name], sign, multilabel)
    if name == "log_loss" and response == "predict_proba" and not given and not multilabel:
        return BulkScore("proba", log_loss, sign, False)
    if name == "brier_score_loss" and response == "predict_proba" and not given and two:
        return BulkScore("proba", brier, sign, False)
    if response != "predict":
        return None
    metric = _decision_metric(name, given, two, multilabel)
    return None if metric is None else BulkScore("decisions", metric, sign, multilabel)


def _decision_metric(name, given, two, multilabel):
    if name in _AVERAGED:
        average = given.pop("average", "binary")
        ratio = _AVERAGED[name]
        if name == "fbeta_score":
            ratio = _counts.FRatio(given.pop("beta"))
        known = {"macro", "micro", "weighted"} | ({"binary"} if two else set())
        if given or average not in known:
            return None
        return _counts.Averaged(ratio, average, multilabel)
    return None if given or multilabel else _PLAIN.get(name)


_RANKING = {"average_precision_score": average_precision, "roc_auc_score": roc_auc}
_AVERAGED = {
    "f1_score": _counts.FRatio(),
    "fbeta_score": None,
    "jaccard_score": _counts.jaccard_ratio,
    "precision_score": _counts.precision_ratio,
    "recall_score": _counts.recall_ratio,
}
_PLAIN = {
    "accuracy_score": _counts.accuracy,
    "balanced_accuracy_score": _counts.balanced_accuracy,
    "geometric_mean_score": _counts.geometric_mean,
    "matthews_corrcoef": _counts.matthews,
    "cohen_kappa_score": _counts.kappa,
}
