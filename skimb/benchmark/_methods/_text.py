"""Classifiers of texts by their words."""

from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import make_pipeline

from skimb.benchmark._methods._method import Method


def words():
    """Weights of words and pairs of words."""
    return TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)


def logistic(**kw):
    """Logistic regression."""

    def make(X, seed):
        return make_pipeline(words(), LogisticRegression(C=10.0, max_iter=1000, **kw))

    return make


def bayes(X, seed):
    """Naive Bayes of the complements of classes."""
    return make_pipeline(words(), ComplementNB())


def linear(loss=None):
    """Our linear model."""

    def make(X, seed):
        from skimb import losses
        from skimb.linear_model import LinearClassifier

        chosen = None if loss is None else getattr(losses, loss)()
        return make_pipeline(words(), LinearClassifier(loss=chosen, random_state=seed))

    return make


def net(X, seed):
    """Our perceptron on sparse words."""
    from skimb.neural_network import MLPClassifier

    return make_pipeline(words(), MLPClassifier(early_stopping=True, random_state=seed))


def directions(X, seed):
    """Directions of texts in few dimensions."""
    from skimb.naive_bayes import VonMisesFisherClassifier

    reduced = TruncatedSVD(100, random_state=seed)
    return make_pipeline(words(), reduced, VonMisesFisherClassifier())


_TEXT = ("text",)
TEXT = (
    Method("words, logistic regression", logistic(), suites=_TEXT),
    Method("words, logistic regression, weighted", logistic(class_weight="balanced"), suites=_TEXT),
    Method("words, complement naive Bayes", bayes, suites=_TEXT),
    Method("words, LinearClassifier", linear(), ("skimb",), _TEXT),
    Method("words, LinearClassifier, logit-adjusted", linear("LogitAdjusted"), ("skimb",), _TEXT),
    Method("words, MLPClassifier", net, ("skimb",), _TEXT),
    Method("words, VonMisesFisherClassifier", directions, ("skimb",), _TEXT),
)
