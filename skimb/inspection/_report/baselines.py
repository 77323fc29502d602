"""The honest rivals of a classifier, scored on the same rows."""

import time
import warnings

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)

from skimb._core.inner import last_step, unfitted, weight_params
from skimb.inspection._report.evidence import Scores
from skimb.losses import CrossEntropy
from skimb.model_selection._candidates import SPECIAL, prefix_of, role, takes_losses
from skimb.model_selection._fixed_threshold import ThresholdDecisions
from skimb.model_selection._held_out import held_out
from skimb.model_selection._responses import class_scores, response_of
from skimb.neural_network import MLPClassifier

_MOVES = (
    TunedThresholdClassifierCV,
    FixedThresholdClassifier,
    CalibratedClassifierCV,
    FrozenEstimator,
)
BASELINES = ("logistic", "hist_gradient_boosting", "net")
SAID = {
    "logistic": "logistic regression, balanced",
    "hist_gradient_boosting": "gradient boosting",
    "net": "plain net",
    "twin": "the same with weighted cross-entropy",
}
PREVALENCE = "prevalence alone"


def _heads(random_state):
    return {
        "logistic": LogisticRegression(class_weight="balanced", max_iter=1000),
        "hist_gradient_boosting": HistGradientBoostingClassifier(random_state=random_state),
        "net": MLPClassifier(random_state=random_state),
    }


def _before(estimator):
    """Steps of a pipeline before the classifier, without samplers; none where it is no pipeline."""
    if not isinstance(estimator, Pipeline):
        return []
    return [
        (name, clone(step) if hasattr(step, "fit") else step)
        for name, step in estimator.steps[:-1]
        if not hasattr(step, "fit_resample")
    ]


def _numbers(X, name):
    """What turns these rows into numbers for a baseline."""
    trees = name == "hist_gradient_boosting"
    if sparse.issparse(X):
        return FunctionTransformer(_dense, accept_sparse=True) if trees else MaxAbsScaler()
    scaled = "passthrough" if trees else make_pipeline(SimpleImputer(), StandardScaler())
    if not hasattr(X, "dtypes"):
        return scaled
    coded = (
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        if trees
        else OneHotEncoder(handle_unknown="ignore", max_categories=30)
    )
    return ColumnTransformer(
        [("numbers", scaled, make_column_selector(dtype_include="number"))],
        remainder=coded,
        sparse_threshold=0.0,
    )


def _dense(X):
    return X.toarray()


def core(estimator):
    """The classifier or pipeline inside wrappers that move its thresholds or probabilities only."""
    while True:
        inner = getattr(estimator, "best_estimator_", None)
        if inner is None and _only_moves(estimator):
            inner = getattr(estimator, "estimator", None)
        if inner is None:
            return estimator
        estimator = inner


def _only_moves(estimator):
    known = (ThresholdDecisions, *_MOVES)
    return isinstance(estimator, known) or type(estimator).__module__.startswith("skimb.posthoc")


def sampler_of(estimator):
    """Name of a sampler in a pipeline, or None."""
    steps = getattr(estimator, "steps", [])
    return next((name for name, step in steps if hasattr(step, "fit_resample")), None)


def special_loss(estimator):
    """The loss of an estimator that takes skimb's and has a special one, else None."""
    found = last_step(core(estimator))
    if not takes_losses(found) or role(found) != SPECIAL:
        return None
    return found.loss


def _twin(estimator):
    inner = core(estimator)
    prefix = prefix_of(inner)
    given = {f"{prefix}loss": CrossEntropy(), f"{prefix}class_weight": "balanced"}
    return unfitted(inner).set_params(**given)


def wanted(baselines, evidence):
    """Unfitted baselines by name.

    Parameters
    ----------
    baselines : sequence of str or dict or None
        Names, or classifiers by name.
    evidence : Evidence
        Whose training rows decide how columns become numbers.

    Returns
    -------
    dict
        Unfitted classifiers.
    """
    if evidence.training is None or baselines is None:
        return {}
    if isinstance(baselines, dict):
        found = {str(name): unfitted(model) for name, model in baselines.items()}
    else:
        heads = _heads(evidence.random_state)
        before = _before(core(evidence.estimator))
        found = {}
        for name in baselines:
            steps = before or [("numbers", _numbers(evidence.training.X, name))]
            found[SAID[name]] = Pipeline([*steps, ("classifier", heads[name])])
    if special_loss(evidence.estimator) is not None:
        found[SAID["twin"]] = _twin(evidence.estimator)
    return found


def check_baselines(baselines):
    """Refuse names that are not known."""
    if baselines is None or isinstance(baselines, dict):
        return
    if isinstance(baselines, str):
        raise ValueError(f"baselines={baselines!r} must be a sequence of names: ({baselines!r},).")
    unknown = [name for name in baselines if name not in BASELINES]
    if unknown:
        raise ValueError(
            f"baselines holds {unknown[0]!r}; known are {list(BASELINES)}, and a dict takes any "
            "classifiers by name."
        )


def rivals(baselines, evidence):
    """Score all baselines on the evaluated rows.

    Returns
    -------
    list of Scores
        Those that could be fitted.
    dict of str to str
        Why others could not.
    """
    found, failed = [], {}
    for name, model in wanted(baselines, evidence).items():
        try:
            found.append(_scored(name, model, evidence))
        except (ValueError, TypeError) as error:  # of this baseline, shown in its row
            failed[name] = str(error).splitlines()[0]
    return found, failed


def _scored(name, model, e):
    response = response_of(model, "auto")
    began = time.perf_counter()
    params = weight_params(model, e.training.weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if e.cross_validated:
            how = {"fit_params": params, "response": response, "classes": e.classes}
            _, found, rows = held_out(
                model, e.X, e.training.labels, e.splits, None, multilabel=False, **how
            )
            seconds = time.perf_counter() - began
            scores = np.empty_like(found)
            scores[rows] = found
        else:
            model.fit(e.training.X, e.training.labels, **params)
            seconds = time.perf_counter() - began
            scores = class_scores(model, e.X, response, e.classes, False)
    return Scores(name, scores, response == "predict_proba", None, seconds)


def prevalence_alone(e):
    """Answers that know the shares of the classes and nothing else."""
    shares = np.bincount(e.code, e.w, len(e.classes)) / e.w.sum()
    return Scores(PREVALENCE, np.tile(shares, (len(e.code), 1)), True, None, 0.0)
