"""Nets between the one that fine-tuning began with and the one it ended with."""

import copy
from numbers import Real

import numpy as np
import torch
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, _fit_context
from sklearn.metrics import check_scoring
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skimb._base.between import move_towards
from skimb._base.classifier import NeuralClassifier
from skimb._core.validation import take_names

ALPHAS = np.linspace(0.0, 1.0, 11)
_BLOCK = 4096


class InterpolatedClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    r"""Fine-tune a fitted net and predict with weights between its start and its end (WiSE-FT).

    .. math:: \theta_\alpha=(1-\alpha)\,\theta_0+\alpha\,\theta_1

    with all weights :math:`\theta_0` of the fitted net and those, :math:`\theta_1`, to which training on new rows
    leads from there. The net between both keeps most of what the start knew and takes most of what the new rows
    teach. With label smoothing or mixtures of rows in `fine_tuning` it is BANG.

    Parameters
    ----------
    estimator : estimator
        A fitted ``MLPClassifier``, ``LinearClassifier``, ``NeuralNetClassifier`` or ``RobustMLPClassifier``,
        alone or at the end of a pipeline, whose other steps stay as they are. Wrap it in a ``FrozenEstimator``
        where this object is cloned, as searches do: a clone of the net itself is not fitted.
    alpha : float in [0, 1] or "auto", default=0.5
        Share of the end. "auto" takes the best of 0, 0.1, ..., 1 on validation rows given to `fit`.
    fine_tuning : dict, default=None
        Parameters of the net for the new rows, as
        ``{"max_iter": 20, "learning_rate_init": 1e-4, "loss": CrossEntropy(label_smoothing=0.1)}``.
    scoring : str, callable or None, default=None
        What "auto" compares; ``None`` is accuracy.

    Attributes
    ----------
    start_, end_, estimator_ : estimator
        The net as it was given, the fine-tuned one, and the one between both.
    alpha_ : float
        Share of the end.
    scores_ : ndarray of shape (11,) or None
        Scores of the shares that "auto" compared.
    classes_ : ndarray of shape (n_classes,)
        Class labels.

    Raises
    ------
    TypeError
        If the estimator is no such net.
    ValueError
        If it is not fitted, the new rows hold other classes, or "auto" has no validation rows.

    Notes
    -----
    Only nets on one path of training may be averaged: two nets that started apart have their hidden units in
    different orders, and the weights between them mean nothing. Of a linear model the mean of the weights is the
    mean of the scores. Fine-tuning goes on by ``warm_start``: layers and classes stay. Counts, priors and class
    weights behind ``predict_proba`` are those of the new rows. Running statistics of batch normalisation are
    taken anew from the new rows. ``partial_fit`` of `estimator_` goes on from :math:`\theta_\alpha`. What it was
    worth in our runs is in the guide.

    References
    ----------
    Wortsman et al. 2022, arXiv:2109.01903 (WiSE-FT). Lin et al. 2024 (BANG): fine-tuning with label smoothing or
    mixup before averaging, after reviews of the paper.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.neural_network import MLPClassifier
    >>> from skimb.posthoc import InterpolatedClassifier
    >>> X, y = make_classification(600, class_sep=2.0, random_state=0)
    >>> old, new = slice(0, 600, 2), slice(1, 600, 2)
    >>> net = MLPClassifier((16,), max_iter=100, tol=0, random_state=0).fit(X[old], y[old])
    >>> model = InterpolatedClassifier(net, fine_tuning={"max_iter": 10}).fit(X[new] + 0.5, y[new])
    >>> [m.score(X[old], y[old]) > 0.8 for m in model.path([0.0, 0.5, 1.0])]
    [True, True, True]
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict"])],
        "alpha": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"})],
        "fine_tuning": [dict, None],
        "scoring": [str, callable, None],
    }

    def __init__(self, estimator, *, alpha=0.5, fine_tuning=None, scoring=None):
        self.estimator = estimator
        self.alpha = alpha
        self.fine_tuning = fine_tuning
        self.scoring = scoring

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, X_valid=None, y_valid=None):
        """Fine-tune a copy of the net and put its weights between start and end.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New rows.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.
        X_valid, y_valid : array-like, default=None
            Rows and labels for ``alpha="auto"``: of the new kind and of every kind that shall not be forgotten.

        Returns
        -------
        InterpolatedClassifier
            Itself.
        """
        start = copy.deepcopy(_inside(self.estimator))
        steps = start[:-1] if isinstance(start, Pipeline) and len(start.steps) > 1 else None
        net = _net_of(start)
        if not isinstance(net, NeuralClassifier):
            raise TypeError(
                "InterpolatedClassifier fine-tunes skimb's nets, alone or at the end of a pipeline; got "
                f"{type(net).__name__}."
            )
        if not hasattr(net, "net_"):
            raise ValueError(
                f"InterpolatedClassifier begins with a fitted net, and this {type(net).__name__} is not "
                "fitted; fit it before, and wrap it in a FrozenEstimator where it is cloned."
            )
        if self.alpha == "auto" and (X_valid is None or y_valid is None):
            raise ValueError("alpha='auto' compares on validation rows; give X_valid and y_valid.")
        end = copy.deepcopy(start)
        rows = X if steps is None else steps.transform(X)
        tuned = _net_of(end)
        before = tuned.get_params(deep=False)
        tuned.set_params(**{"warm_start": True, **(self.fine_tuning or {})})
        tuned.fit(rows, y, sample_weight=sample_weight)
        tuned.set_params(warm_start=before["warm_start"])
        self.start_, self.end_ = start, end
        self._statistics = _statistics_rows(tuned, rows)
        self.classes_ = tuned.classes_
        self.scores_ = None
        self.alpha_ = self.alpha
        if self.alpha == "auto":
            scorer = check_scoring(tuned, scoring=self.scoring)
            self.scores_ = np.array([scorer(m, X_valid, y_valid) for m in self.path(ALPHAS)])
            self.alpha_ = float(ALPHAS[self.scores_.argmax()])
        (self.estimator_,) = self.path([self.alpha_])
        take_names(self, self.estimator_)
        return self

    def path(self, alphas):
        """Fitted models for several shares of the end.

        Parameters
        ----------
        alphas : array-like of float
            Shares in [0, 1].

        Returns
        -------
        list of estimator
            One for each share.
        """
        check_is_fitted(self)
        found = []
        for alpha in alphas:
            if not 0.0 <= alpha <= 1.0:
                raise ValueError(f"path: alphas={list(alphas)!r} must lie between 0 and 1.")
            model = copy.deepcopy(self.start_ if alpha == 0.0 else self.end_)
            if 0.0 < alpha < 1.0:
                net = _net_of(model)
                move_towards(net, _net_of(self.start_), float(alpha))
                _renew_statistics(net, self._statistics)
            found.append(model)
        return found

    def corrections(self, X, y):
        """How often the mean is right where both ends are wrong, and the reverse.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels, of exclusive classes.

        Returns
        -------
        dict
            ``"corrected"``: share of rows that both ends get wrong and the mean right; ``"spoilt"``: share that
            both get right and the mean wrong; ``"start"``, ``"end"``, ``"between"``: accuracies.
        """
        check_is_fitted(self)
        y = np.asarray(y)
        right = [np.asarray(m.predict(X)) == y for m in (self.start_, self.end_, self.estimator_)]
        if right[0].ndim > 1:
            raise ValueError("corrections counts exclusive classes; multi-label y has several.")
        start, end, mean = right
        return {
            "corrected": float(np.mean(~start & ~end & mean)),
            "spoilt": float(np.mean(start & end & ~mean)),
            "start": float(start.mean()),
            "end": float(end.mean()),
            "between": float(mean.mean()),
        }

    def predict(self, X):
        """Classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        check_is_fitted(self)
        return self.estimator_.predict(X)

    def predict_proba(self, X):
        """Class probabilities among rows like the new ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities.
        """
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    def decision_function(self, X):
        """Scores whose argmax, or sign, is ``predict``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Scores.
        """
        check_is_fitted(self)
        return self.estimator_.decision_function(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags


def _inside(estimator):
    """What a FrozenEstimator holds, or the estimator itself."""
    return estimator.estimator if type(estimator).__name__ == "FrozenEstimator" else estimator


def _net_of(model):
    """The last step of pipelines."""
    while isinstance(model, Pipeline):
        model = model.steps[-1][1]
    return _inside(model)


def _normalisations(net):
    """Parts of a net's module that keep running statistics."""
    norm = torch.nn.modules.batchnorm._BatchNorm
    modules = net.net_.module_.modules()
    return [part for part in modules if isinstance(part, norm) and part.track_running_stats]


def _statistics_rows(net, rows):
    """Rows to take running statistics from, or None where none are kept."""
    if not _normalisations(net):
        return None
    rows = rows if sparse.issparse(rows) else np.asarray(rows)
    return rows.astype(net._dtype)


@torch.no_grad()
def _renew_statistics(net, rows):
    """Take the running statistics of batch normalisation anew from rows."""
    if rows is None:
        return
    module, norms = net.net_.module_, _normalisations(net)
    training, momenta = module.training, [part.momentum for part in norms]
    module.eval()
    for part in norms:
        part.reset_running_stats()
        part.momentum = None  # a plain mean over blocks
        part.train()
    for s in range(0, rows.shape[0], _BLOCK):
        block = rows[s : s + _BLOCK]
        block = block.toarray() if sparse.issparse(block) else np.array(block)
        if len(block) > 1:
            module(torch.from_numpy(block))
    for part, momentum in zip(norms, momenta, strict=True):
        part.momentum = momentum
    module.train(training)
