"""Estimator-like objects that stand where an estimator is expected.

``Answers`` answers from what it holds, so that scorers can score predictions that exist already.
``RowRecorder`` and ``FitRecorder`` stand at the end of a pipeline and keep the rows that arrive there.
"""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _num_samples


def _holds(name):
    def check(self):
        if getattr(self, name) is None:
            raise AttributeError(f"This {type(self).__name__} holds no {name}.")
        return True

    return check


class Answers(ClassifierMixin, BaseEstimator):
    """A fitted estimator that answers from the arrays or functions it holds.

    Parameters
    ----------
    classes : array-like of shape (n_classes,), default=None
        Labels of a classifier; None makes it a regressor.
    predictions, probabilities, scores : array or callable, default=None
        What ``predict``, ``predict_proba`` and ``decision_function`` answer: an array for the rows that
        they will be asked about, or a function of the rows. Where None is held the method is missing.

    Raises
    ------
    ValueError
        If a method is asked about another number of rows than its array has.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.metrics import get_scorer
    >>> from skimb._core.stand_ins import Answers
    >>> decided = Answers(["no", "yes"], predictions=np.array(["no", "yes", "yes"]))
    >>> get_scorer("accuracy")(decided, np.zeros((3, 1)), ["no", "yes", "yes"])
    1.0
    >>> hasattr(decided, "predict_proba")
    False
    """

    def __init__(self, classes=None, *, predictions=None, probabilities=None, scores=None):
        self.classes = classes
        self.predictions = predictions
        self.probabilities = probabilities
        self.scores = scores
        if classes is not None:
            self.classes_ = np.asarray(classes)

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if self.classes is None:
            tags.estimator_type, tags.classifier_tags = "regressor", None
        return tags

    @available_if(_holds("predictions"))
    def predict(self, X):
        """Labels or values held for these rows."""
        return _answer(self.predictions, X)

    @available_if(_holds("probabilities"))
    def predict_proba(self, X):
        """Probabilities held for these rows."""
        return _answer(self.probabilities, X)

    @available_if(_holds("scores"))
    def decision_function(self, X):
        """Scores held for these rows."""
        return _answer(self.scores, X)


def _answer(held, X):
    if callable(held):
        return held(X)
    if len(held) != _num_samples(X):
        raise ValueError(f"The answers are for {len(held)} rows, got {_num_samples(X)}.")
    return held


class RowRecorder(ClassifierMixin, BaseEstimator):
    """Stands for a classifier at the end of a pipeline, fits nothing and keeps what it is given.

    Parameters
    ----------
    classifier : estimator
        Whose place this takes; metadata are routed here as they would be to it.

    Attributes
    ----------
    rows_ : tuple
        X and y as they arrived.
    params_ : dict
        Further parameters of `fit` that were not None.
    """

    def __init__(self, classifier):
        self.classifier = classifier

    def get_metadata_routing(self):
        """Requests of the classifier."""
        return self.classifier.get_metadata_routing()

    def fit(self, X, y, **params):
        """Keep the rows."""
        self.rows_ = X, y
        self.params_ = {name: value for name, value in params.items() if value is not None}
        return self

    def predict(self, X):
        """The rows as they arrive here."""
        return X


class FitRecorder(RowRecorder):
    """Stands before a classifier at the end of a pipeline: keeps what it is given and fits the classifier.

    Parameters
    ----------
    classifier : estimator
        Fitted in place.
    """

    def fit(self, X, y, **params):
        """Keep the rows and fit the classifier to them."""
        super().fit(X, y, **params)
        self.classifier.fit(X, y, **self.params_)
        return self
