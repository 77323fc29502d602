"""Clean and robust scores of neural classifiers under projected gradient ascent."""

from dataclasses import dataclass, field
from numbers import Integral

import numpy as np
import torch
from scipy import sparse
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import check_is_fitted, validate_data

from skimb._base.classifier import NeuralClassifier
from skimb._core.compat import check_sample_weight
from skimb._core.validation import feature_mask
from skimb.engine.adversarial import BALL_CONSTRAINTS, Ball, evaluating
from skimb.functional.adversarial import cross_entropy_slope

_BLOCK = 4096  # rows that are attacked at once


@dataclass(frozen=True, eq=False, slots=True)
class RobustScores:
    """What a classifier says of rows, and of their worst places within a ball.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Class labels.
    clean_margins, margins : ndarray of shape (n_samples,)
        Score of the true class less the highest other one, of the rows as they are and at the worst place found; a
        row is right if its margin is positive.
    rows : ndarray of shape (n_samples, n_features)
        The worst places, as the net saw them.
    code : ndarray of shape (n_samples,)
        Numbers of the true classes.
    weight : ndarray of shape (n_samples,)
        Weights of the rows.
    """

    classes: np.ndarray
    clean_margins: np.ndarray
    margins: np.ndarray
    rows: np.ndarray = field(repr=False)
    code: np.ndarray = field(repr=False)
    weight: np.ndarray = field(repr=False)

    def _recalls(self, margins):
        right = margins > 0
        found = np.full(len(self.classes), np.nan)
        for k in np.unique(self.code):
            of = self.code == k
            found[k] = np.average(right[of], weights=self.weight[of])
        return found

    @property
    def clean_accuracy(self):
        """Share of rows that are right."""
        return float(np.average(self.clean_margins > 0, weights=self.weight))

    @property
    def robust_accuracy(self):
        """Share of rows that are right wherever they were moved."""
        return float(np.average(self.margins > 0, weights=self.weight))

    @property
    def clean_recalls(self):
        """Share of right rows of each class; NaN where `y` had none."""
        return self._recalls(self.clean_margins)

    @property
    def robust_recalls(self):
        """Share of rows of each class that are right wherever they were moved."""
        return self._recalls(self.margins)

    @property
    def clean_balanced_accuracy(self):
        """Mean of `clean_recalls`."""
        return float(np.nanmean(self.clean_recalls))

    @property
    def robust_balanced_accuracy(self):
        """Mean of `robust_recalls`."""
        return float(np.nanmean(self.robust_recalls))

    def tail(self, share=0.3):
        """Mean robust recall of the weakest classes (at 0.3 the "RA-Tail-30" of DONE).

        Parameters
        ----------
        share : float in (0, 1], default=0.3
            Share of the classes; at least one is taken.

        Returns
        -------
        float
            Mean.
        """
        recalls = np.sort(self.robust_recalls[np.isfinite(self.robust_recalls)])
        return float(recalls[: max(1, round(share * len(recalls)))].mean())

    def weakest(self, n_rows=10):
        """Numbers of the rows with the least margins at their worst places, the weakest first.

        Parameters
        ----------
        n_rows : int, default=10
            How many.

        Returns
        -------
        ndarray of int
            Row numbers.
        """
        return np.argsort(self.margins, kind="stable")[:n_rows]


@validate_params(
    {
        **BALL_CONSTRAINTS,
        "n_restarts": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def robust_scores(
    estimator,
    X,
    y,
    *,
    eps,
    norm="inf",
    n_steps=20,
    n_restarts=1,
    fixed_features=None,
    clip=None,
    sample_weight=None,
    random_state=None,
):
    r"""Attack a fitted neural classifier and score what it still gets right.

    Each row is moved within :math:`\|x'-x\|\le\epsilon` by projected gradient ascent from random starts, once
    against the margin of the decision and, for more than two classes, once along the cross-entropy. A row is robust
    if it is right as it is and at every end. This bounds the accuracy under the best attack from above.

    Parameters
    ----------
    estimator : estimator
        A fitted ``MLPClassifier``, ``RobustMLPClassifier``, ``LinearClassifier`` or ``NeuralNetClassifier``, alone
        or at the end of a pipeline, whose other steps then make the rows that are attacked.
    X : array-like of shape (n_samples, n_features)
        Rows, dense where they reach the net.
    y : array-like of shape (n_samples,)
        Their labels, of exclusive classes.
    eps : float or array-like of shape (n_features,)
        Radius, in units of the features that reach the net; one number per feature gives each its own.
    norm : {"inf", "l2"}, default="inf"
        Norm of the ball, in units of `eps`.
    n_steps : int in [1, inf), default=20
        Steps of each ascent.
    n_restarts : int in [1, inf), default=1
        Ascents of each kind.
    fixed_features : array-like of str, int or bool, default=None
        Names, numbers or a mask of features that do not move, of those that reach the net.
    clip : {"range"}, pair (low, high) or None, default=None
        Box that moved rows stay in; "range" is that of these rows.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of rows in shares and means.
    random_state : int, RandomState or None, default=None
        Seed of the starts.

    Returns
    -------
    RobustScores
        Margins and places of rows, averages, scores per class, the weakest rows and classes.

    Raises
    ------
    TypeError
        If the estimator is no such classifier.
    ValueError
        If labels are unknown, rows are sparse where they reach the net, or a parameter does not fit the rows.

    Notes
    -----
    A net whose scores are very large can hide its gradients, so that an attack finds nothing; the margin has a
    gradient where cross-entropy has none. Text is attacked as it is embedded, which says nothing of
    exchanged words.

    References
    ----------
    Madry et al. 2018, arXiv:1706.06083. Sow et al. 2024, arXiv:2308.00311.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.inspection import robust_scores
    >>> from skimb.linear_model import LinearClassifier
    >>> X, y = make_classification(200, class_sep=1.5, random_state=0)
    >>> scores = robust_scores(LinearClassifier().fit(X, y), X, y, eps=0.1, random_state=0)
    >>> bool(scores.clean_accuracy >= scores.robust_accuracy >= 0.8)
    True
    >>> scores.weakest(3).shape
    (3,)
    """
    net, X = _reached(estimator, X)
    X = validate_data(net, X, accept_sparse=True, dtype=(np.float64, np.float32), reset=False)
    if sparse.issparse(X) or getattr(net.net_.module_, "sparse", False):
        raise ValueError(
            f"robust_scores: sparse rows reach {type(net).__name__}, and moving them would make them dense; fit it "
            "on dense rows."
        )
    code = _classes_of(net, y, len(X))
    weight = np.ones(len(X)) if sample_weight is None else sample_weight
    weight = check_sample_weight(weight, X, dtype=np.float64, ensure_non_negative=True)
    names = getattr(net, "feature_names_in_", None)
    fixed = feature_mask("robust_scores", fixed_features, X.shape[1], names)
    parameter = next(net.net_.module_.parameters())
    rows = torch.from_numpy(np.array(X)).to(parameter)
    ball = Ball.of("robust_scores", rows, eps, norm, n_steps, fixed, clip)
    seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
    generator = torch.Generator().manual_seed(seed)
    target = torch.from_numpy(code)
    parts = [
        _attacked(net, rows[s : s + _BLOCK], target[s : s + _BLOCK], ball, n_restarts, generator)
        for s in range(0, len(rows), _BLOCK)
    ]
    clean, margins, worst = (np.concatenate(side) for side in zip(*parts, strict=True))
    return RobustScores(net.classes_, clean, margins, worst, code, weight)


def _reached(estimator, X):
    """The net of an estimator, and the rows that reach it."""
    while isinstance(estimator, Pipeline):
        if len(estimator.steps) > 1:
            X = estimator[:-1].transform(X)
        estimator = estimator.steps[-1][1]
    if not isinstance(estimator, NeuralClassifier):
        raise TypeError(
            f"robust_scores follows gradients through MLPClassifier, RobustMLPClassifier, LinearClassifier or "
            f"NeuralNetClassifier, alone or at the end of a pipeline; got {type(estimator).__name__}."
        )
    check_is_fitted(estimator)
    return estimator, X


def _classes_of(net, y, n):
    """Class numbers of labels."""
    head = net._head
    if head.multilabel:
        raise ValueError(
            f"robust_scores scores exclusive classes; {type(net).__name__} was fitted on {len(head.classes)} "
            "labels."
        )
    code = head.encode(head.plain(y), partial=True)
    if len(code) != n:
        raise ValueError(f"robust_scores: X has {n} rows and y {len(code)} labels.")
    return code


def _margins(net, logits, target):
    """Score of the true class less the highest other one, as the decision sees them."""
    scores = net._head.bound.decision(logits)
    if scores.ndim == 1:
        return torch.where(target > 0, scores, -scores)
    own = scores.gather(-1, target[:, None]).squeeze(-1)
    return own - scores.scatter(-1, target[:, None], -torch.inf).amax(-1)


def _attacked(net, rows, target, ball, n_restarts, generator):
    """Margins of rows as they are and at their worst places, and these places."""

    def margins_of(x):
        return _margins(net, net._tensor_logits(x), target)

    def logits(x):
        return net._tensor_logits(x)

    with evaluating(net.net_.module_):
        with torch.no_grad():
            clean = margins_of(rows)
        worst, least = rows.clone(), clean.clone()
        ways = [(margins_of, lambda margin: -torch.ones_like(margin))]
        if logits(rows[:1]).ndim > 1:  # along one score both are the same way
            ways.append((logits, lambda z: cross_entropy_slope(z, target)))
        for _ in range(n_restarts):
            for scores, slope in ways:
                found = ball.worst(rows, scores, slope, generator)
                with torch.no_grad():
                    margin = margins_of(found)
                lower = margin < least
                least = torch.where(lower, margin, least)
                worst = torch.where(lower[:, None], found, worst)
    return clean.numpy(), least.numpy(), worst.numpy()


class _RobustScorer:
    """A scorer of rows at their worst places."""

    def __init__(self, name, params):
        self.name, self.params = name, params

    def __call__(self, estimator, X, y, sample_weight=None):
        scores = robust_scores(estimator, X, y, sample_weight=sample_weight, **self.params)
        return getattr(scores, self.name)

    def __repr__(self):
        return f"make_robust_scorer({self.name!r}, {self.params})"


_SCORED = ("robust_accuracy", "robust_balanced_accuracy")


def make_robust_scorer(scoring="robust_balanced_accuracy", *, random_state=0, **attack):
    """A scorer for searches that attacks the rows it scores.

    Parameters
    ----------
    scoring : {"robust_accuracy", "robust_balanced_accuracy"}, default="robust_balanced_accuracy"
        Property of :class:`RobustScores`.
    random_state : int or None, default=0
        Seed of the starts.
    **attack : dict
        ``eps`` and further parameters of :func:`robust_scores`.

    Returns
    -------
    callable
        ``scorer(estimator, X, y, sample_weight=None)``.

    Raises
    ------
    ValueError
        If `scoring` is neither, or `eps` is missing.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skimb.inspection import make_robust_scorer
    >>> from skimb.neural_network import RobustMLPClassifier
    >>> X, y = make_classification(200, random_state=0)
    >>> model = RobustMLPClassifier((8,), max_iter=3, tol=0, random_state=0)
    >>> search = GridSearchCV(model, {"eps": [0.0, 0.3]}, scoring=make_robust_scorer(eps=0.3), cv=2)
    >>> search.fit(X, y).cv_results_["mean_test_score"].shape
    (2,)
    """
    if scoring not in _SCORED:
        raise ValueError(f"make_robust_scorer: scoring={scoring!r} must be one of {list(_SCORED)}.")
    if "eps" not in attack:
        raise ValueError("make_robust_scorer: give the radius of the ball as eps=.")
    return _RobustScorer(scoring, {"random_state": random_state, **attack})
