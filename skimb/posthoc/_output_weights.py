"""The weights of the output layer of fitted linear and neural classifiers, as views that can be scaled in place."""

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline

from skimb._base.classifier import NeuralClassifier
from skimb.nets.output import output_layer


def innermost(model):
    """The fitted classifier in pipelines, searches and frozen estimators."""
    while True:
        if isinstance(model, FrozenEstimator):
            model = model.estimator
        elif isinstance(model, Pipeline):
            model = model.steps[-1][1]
        elif isinstance(model, BaseSearchCV):
            model = model.best_estimator_
        else:
            return model


class OutputWeights:
    """One weight vector and one intercept per class, or one for both of two classes.

    Parameters
    ----------
    model : classifier
        A fitted linear or neural classifier, alone or in a pipeline, a search or a frozen estimator. Its weights
        are changed by :meth:`scale`.

    Attributes
    ----------
    norms : ndarray of shape (n_vectors,)
        Euclidean norms of the weight vectors.

    Raises
    ------
    TypeError
        If it has no output layer of that kind.
    """

    def __init__(self, model):
        self.weights, self.intercepts = _views(innermost(model))
        self.kept = [w.copy() for w in self.weights], [b.copy() for b in self.intercepts]
        self.norms = np.sqrt(sum(np.square(w.astype(float)).sum(1) for w in self.weights))

    def scale(self, factors, intercept=1.0):
        """Multiply the vectors as they were by factors (n_vectors,), and all intercepts by a number."""
        for view, own in zip(self.weights, self.kept[0], strict=True):
            view[...] = own * factors[:, None]
        for view, own in zip(self.intercepts, self.kept[1], strict=True):
            view[...] = own * intercept


def _views(model):
    """Views (n_vectors, d) of weights and (n_vectors,) of intercepts that are the model's own."""
    if isinstance(model, NeuralClassifier) and hasattr(model, "net_"):
        parts = output_layer(model.net_.module_, model.n_outputs_)
        return tuple([part.numpy() for part in views] for views in parts)
    coef, several = vars(model).get("coef_"), vars(model).get("coefs_")
    if isinstance(coef, np.ndarray):
        rows = coef if coef.ndim == 2 else coef[None]
        one = len(rows) == 1 and len(model.classes_) == 2
        if one or len(rows) == len(model.classes_):
            intercept = vars(model).get("intercept_")
            given = isinstance(intercept, np.ndarray) and intercept.shape == (len(rows),)
            return [rows], [intercept] if given else []
    if isinstance(several, list):
        return [several[-1].T], [model.intercepts_[-1]]
    raise TypeError(
        f"{model!r} has no output layer with one weight vector per class; use a linear classifier with coef_ for "
        "each class against the rest, or a multi-layer perceptron."
    )
