"""A classifier of texts with few rows of the rare classes."""

from numbers import Integral

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logsumexp, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skimb._core.folds import left_out_folds
from skimb._core.validation import (
    checked_target,
    drop_weightless,
    refuse_multi_output,
    several_classes,
)
from skimb._core.warn import muted
from skimb.linear_model import LinearClassifier
from skimb.preprocessing import EmbeddingVectorizer
from skimb.preprocessing._texts import as_texts

_RISES = 2  # strengths without gain after which weaker ones are not tried


class TextClassifier(ClassifierMixin, BaseEstimator):
    r"""Linear models of words, of a frozen embedding and of both, averaged and put to scale on left-out rows.

    .. math:: z(x)=s\,\frac1M\sum_m z_m(x)+b,\qquad s\ge 0,

    with the scores of logistic regressions on tf-idf features, on embeddings and on their union. The strength of
    each and then s and b minimise the log-loss of rows that were left out. A few rare texts share few words, which
    embeddings bridge; where there are more, the words say what embeddings do not. An s above 1 gives back what
    strong penalties take from the scores.

    Parameters
    ----------
    vectorizer : transformer or None, default=None
        Makes features of words; ``None`` is ``TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))``.
    embedding : "wordllama", callable, transformer or None, default="wordllama"
        The model of an :class:`~skimb.preprocessing.EmbeddingVectorizer`, or a transformer of texts; ``None`` takes
        the words alone.
    Cs : int or array-like of float, default=7
        Inverse strengths that are compared, as those of ``LogisticRegressionCV``; an integer stands for so many
        between 0.3 and 10,000 in a geometric row. Weaker ones are not tried after two without gain.
    cv : int in [2, inf), default=4
        Folds, stratified; the only row of a class is never left out.
    max_iter : int in [1, inf), default=500
        Most iterations of each fit.
    random_state : int, RandomState or None, default=0
        Seed of the folds.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels; label indices for multi-label targets.
    estimators_ : dict of str to LinearClassifier
        The fitted models "words", "embedding" and "both".
    C_ : dict of str to float
        Their inverse strengths.
    slope_ : float
        The scale s.
    intercept_ : ndarray of shape (n_outputs,)
        The shifts b.
    vectorizer_, embedding_ : transformer or None
        Fitted on all texts.

    Raises
    ------
    ImportError
        If `embedding` is "wordllama" and the package is not installed (``pip install skimb[text]``).
    ValueError
        If all texts are blank, there is one class only, or `Cs` holds anything but positive numbers.
    TypeError
        If an entry is neither a string nor missing.

    Notes
    -----
    Missing texts count as empty ones. Words and their frequencies are those of all texts, without labels. The
    scale has a normal prior about 1 and the shifts about 0, both of variance 1: few rows move them little. Where no
    row can be left out, C is 10 and s is 1. Weights learned from left-out rows in place of equal ones followed the
    luck of ten rare texts, better on one set and worse on another; hence the average. Probabilities are those of
    the training population; ``predict`` takes the likeliest class, and rare ones ask for a threshold, as that of
    :class:`~skimb.model_selection.TunedThresholdClassifierCV`.

    References
    ----------
    Clemen 1989, doi:10.1016/0169-2070(89)90012-5 (equal weights); Platt 1999, Probabilistic outputs for support
    vector machines.

    Examples
    --------
    >>> from skimb.pipeline import TextClassifier
    >>> texts = ["win a prize now", "see you at lunch", "a free prize", "lunch tomorrow"] * 3
    >>> model = TextClassifier(embedding=None).fit(texts, ["spam", "ham"] * 6)
    >>> model.predict(["a prize", "lunch"]).tolist()
    ['spam', 'ham']
    """

    _parameter_constraints = {
        "vectorizer": [HasMethods(["fit", "transform"]), None],
        "embedding": [StrOptions({"wordllama"}), HasMethods(["fit", "transform"]), callable, None],
        "Cs": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        vectorizer=None,
        embedding="wordllama",
        Cs=7,
        cv=4,
        max_iter=500,
        random_state=0,
    ):
        self.vectorizer = vectorizer
        self.embedding = embedding
        self.Cs = Cs
        self.cv = cv
        self.max_iter = max_iter
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit to labelled texts.

        Parameters
        ----------
        X : iterable of str, or array or frame with one column
            Texts; None and NaN are empty ones.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels, or a 0/1 indicator matrix.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; 0 removes a row.

        Returns
        -------
        TextClassifier
            Itself.
        """
        strengths = self._strengths()
        texts = np.array([*as_texts(self, X), None], dtype=object)[:-1]
        labels, several = checked_target(y)
        check_consistent_length(texts, labels)
        texts, labels, weight = drop_weightless(texts, labels, sample_weight)
        if several:
            refuse_multi_output(type(self).__name__, labels)
            self.classes_, strata, target = np.arange(labels.shape[1]), None, labels.astype(float)
        else:
            self.classes_, strata = several_classes(self, labels)
            target = np.eye(len(self.classes_))[strata]
            target = target[:, 1:] if len(self.classes_) == 2 else target
        self._softmax, self._several = not several and len(self.classes_) > 2, several
        self.vectorizer_, self.embedding_ = self._vectorizers()
        for part in (self.vectorizer_, self.embedding_):
            if part is not None:
                part.fit(texts)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        folds = left_out_folds(strata, len(texts), self.cv, seed)
        found, scores = {}, []
        for name, rows in self._features(texts).items():
            C, left_out = self._strength(rows, labels, target, weight, folds, strengths)
            alpha = 1.0 / (C * len(texts))
            model = LinearClassifier(alpha=alpha, max_iter=self.max_iter)
            found[name] = (C, model.fit(rows, labels, weight))
            scores.append(left_out)
        self.C_ = {name: C for name, (C, _) in found.items()}
        self.estimators_ = {name: model for name, (_, model) in found.items()}
        self._scale(np.mean(scores, axis=0), target, weight, folds)
        return self

    def _strengths(self):
        if isinstance(self.Cs, Integral):
            return np.geomspace(0.3, 1e4, self.Cs)
        Cs = np.sort(np.asarray(self.Cs).ravel())
        if not len(Cs) or Cs.dtype.kind not in "iuf" or not np.isfinite(Cs).all() or Cs[0] <= 0:
            raise ValueError(f"Cs={self.Cs!r} must be a number of strengths or positive numbers.")
        return Cs

    def _vectorizers(self):
        words = self.vectorizer
        words = (
            TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
            if words is None
            else clone(words)
        )
        if self.embedding is None or hasattr(self.embedding, "transform"):
            return words, None if self.embedding is None else clone(self.embedding)
        return words, EmbeddingVectorizer(self.embedding)

    def _features(self, texts):
        """Rows of each member, by its name."""
        words = sparse.csr_matrix(self.vectorizer_.transform(texts))
        if self.embedding_ is None:
            return {"words": words}
        vectors = self.embedding_.transform(texts)
        if not sparse.issparse(vectors):
            vectors = np.asarray(vectors, dtype=float)
        both = sparse.hstack([words, sparse.csr_matrix(vectors)], format="csr")
        return {"words": words, "embedding": vectors, "both": both}

    def _strength(self, rows, labels, target, weight, folds, strengths):
        """Inverse strength of least loss in left-out rows, and their scores (n, n_outputs) with it."""
        if not folds:
            return 10.0, np.zeros(target.shape)
        held = np.concatenate([held for _, held in folds])
        models = [LinearClassifier(max_iter=self.max_iter, warm_start=True) for _ in folds]
        best, chosen, since = np.inf, None, 0
        for C in strengths:
            scores = np.zeros(target.shape)
            for model, (train, left) in zip(models, folds, strict=True):
                model.set_params(alpha=1.0 / (C * len(train)))
                with muted(ConvergenceWarning):  # the fit of all rows says the same
                    model.fit(rows[train], labels[train], None if weight is None else weight[train])
                scores[left] = model.decision_function(rows[left]).reshape(len(left), -1)
            part = None if weight is None else weight[held]
            loss = _log_loss(scores[held], target[held], part, self._softmax)[0]
            since += 1
            if loss < best:
                best, chosen, since = loss, (float(C), scores), 0
            if since == _RISES:
                break
        return chosen

    def _scale(self, scores, target, weight, folds):
        """Scale and shifts of least loss in left-out rows, with normal priors."""
        solution = start = np.r_[1.0, np.zeros(target.shape[1])]
        if folds:
            held = np.concatenate([held for _, held in folds])
            z, T = scores[held], target[held]
            weight = None if weight is None else weight[held]

            def objective(v):
                loss, grad = _log_loss(v[0] * z + v[1:], T, weight, self._softmax)
                far = (v - start) / len(T)
                return loss + 0.5 * far @ (v - start), np.r_[(z * grad).sum(), grad.sum(0)] + far

            bounds = [(0, None)] + [(None, None)] * (len(start) - 1)
            solution = minimize(objective, start, jac=True, bounds=bounds, method="L-BFGS-B").x
        self.slope_, self.intercept_ = float(solution[0]), solution[1:]

    def _scores(self, X):
        check_is_fitted(self)
        texts = as_texts(self, X)
        z = np.zeros((len(texts), len(self.intercept_)))
        for name, rows in self._features(texts).items():
            z += self.estimators_[name].decision_function(rows).reshape(z.shape)
        return self.slope_ * z / len(self.estimators_) + self.intercept_

    def decision_function(self, X):
        """Averaged scores.

        Parameters
        ----------
        X : iterable of str, or array or frame with one column
            Texts.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Log-odds of the second class for two classes, one score per class or label otherwise.
        """
        z = self._scores(X)
        return z if self._softmax or self._several else z[:, 0]

    def predict(self, X):
        """The likeliest classes.

        Parameters
        ----------
        X : iterable of str, or array or frame with one column
            Texts.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels, or a 0/1 indicator matrix.
        """
        z = self._scores(X)
        if self._several:
            return (z > 0).astype(int)
        return self.classes_[z.argmax(1) if self._softmax else (z[:, 0] > 0).astype(int)]

    def predict_proba(self, X):
        """Class probabilities in the population of the training rows.

        Parameters
        ----------
        X : iterable of str, or array or frame with one column
            Texts.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Probabilities.
        """
        z = self._scores(X)
        if self._softmax:
            return softmax(z, axis=1)
        p = expit(z)
        return p if self._several else np.c_[expit(-z), p]

    def predict_log_proba(self, X):
        """Logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : iterable of str, or array or frame with one column
            Texts.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Log probabilities.
        """
        z = self._scores(X)
        if self._softmax:
            return log_softmax(z, axis=1)
        p = -np.logaddexp(0, -z)
        return p if self._several else np.c_[-np.logaddexp(0, z), p]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.classifier_tags.multi_label = True
        return tags


def _log_loss(z, target, weight, exclusive):
    """Mean log-loss of scores (n, n_outputs) and its gradient in them; labels of a row add up."""
    if exclusive:
        losses = logsumexp(z, axis=1) - (z * target).sum(1)
        grad = softmax(z, axis=1) - target
    else:
        losses = (np.logaddexp(0, z) - z * target).sum(1)
        grad = expit(z) - target
    share = np.full(len(z), 1.0 / len(z)) if weight is None else weight / weight.sum()
    return float(share @ losses), grad * share[:, None]
