"""What meta-estimators give to the estimator inside them."""

import copy
from inspect import Parameter, signature

from sklearn.base import clone
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    _routing_enabled,
    get_routing_for_object,
)

from skimb._core.compat import accepts_sample_weight

_INSIDE = ("estimator", "regressor")  # what scikit-learn's estimators around another call it


def fit_inner(estimator, X, y, sample_weight=None, **params):
    """Fit an estimator; weights go to the last step of a pipeline, also of one inside a search.

    Parameters
    ----------
    estimator : estimator
        A clone that belongs to the caller: with metadata routing its steps are told what to request.
    X, y : array-like
        Rows and targets.
    sample_weight : ndarray of shape (n,), default=None
        Weights.
    **params : dict
        Further metadata of its ``fit``.

    Returns
    -------
    estimator
        The same, fitted.

    Raises
    ------
    TypeError
        If there are weights and the estimator takes none.
    ValueError
        If a sampler stands between the weights and the last step.
    """
    if sample_weight is None:
        return estimator.fit(X, y, **params)
    name = _weight_name(estimator)
    if _routing_enabled():
        name = "sample_weight"
        _request_weights(estimator)
    return estimator.fit(X, y, **{name: sample_weight}, **params)


def unfitted(estimator):
    """A clone, or a deep copy where a constructor changes its parameters: CatBoost's does with `cat_features`."""
    try:
        return clone(estimator)
    except RuntimeError:  # scikit-learn refuses to clone it
        return copy.deepcopy(estimator)


def last_step(estimator):
    """The estimator at the end of a pipeline, or the estimator itself."""
    while _steps(estimator):
        estimator = _steps(estimator)[-1][1]
    return estimator


def calibrated(estimator):
    """Whether the probabilities of a classifier are meant to be true: not those of some losses."""
    return bool(getattr(getattr(last_step(estimator), "loss", None), "calibrated", True))


def _steps(estimator):
    return getattr(estimator, "steps", None) if hasattr(estimator, "named_steps") else None


def _inside(estimator):
    """What an estimator hands unknown keywords of its ``fit`` to, or None."""
    taken = signature(estimator.fit).parameters
    if "sample_weight" in taken or not any(p.kind == Parameter.VAR_KEYWORD for p in taken.values()):
        return None
    return next((v for v in (getattr(estimator, a, None) for a in _INSIDE) if v is not None), None)


def _weight_name(estimator):
    """Keyword under which the ``fit`` of an estimator takes weights."""
    steps = _steps(estimator)
    if steps:
        for name, step in steps[:-1]:
            if hasattr(step, "fit_resample"):
                raise ValueError(
                    f"Weights do not get past the sampler {name!r} of {estimator!r}; put sampler and classifier "
                    "into a ResampledClassifier, or fit without weights."
                )
        name, final = steps[-1]
        if hasattr(final, "fit"):
            return f"{name}__{_weight_name(final)}"
    else:
        taken = signature(estimator.fit).parameters
        if "sample_weight" in taken:
            return "sample_weight"
        if any(p.kind == Parameter.VAR_KEYWORD for p in taken.values()):
            inner = _inside(estimator)
            return "sample_weight" if inner is None else _weight_name(inner)
    raise TypeError(
        f"{estimator!r} takes no sample_weight in fit, so the weights would be lost; use an estimator that "
        "takes them."
    )


def _request_weights(estimator):
    """Let weights go to the last step of pipelines and to no other, unless the user said otherwise."""
    steps = _steps(estimator)
    for _, step in (steps or [])[:-1]:
        _set_request(step, "fit", False)
    if steps:
        _request_weights(steps[-1][1])
        return
    _set_request(estimator, "fit", True)
    _set_request(estimator, "score", True)  # where a search is around it
    inner = _inside(estimator)
    if inner is not None:
        _request_weights(inner)


def _set_request(estimator, method, wanted):
    setter = getattr(estimator, f"set_{method}_request", None)
    if setter is None:
        return
    asked = getattr(estimator.get_metadata_routing(), method, None)
    requests = getattr(asked, "requests", {})
    if "sample_weight" in requests and requests["sample_weight"] is None:
        setter(sample_weight=wanted)


def as_given(y, labels):
    """The target as the user gave it, where it has the shape of its checked `labels`.

    Categories keep their order and labels their type; lists and columns become arrays, and nullable labels and
    numbers among objects, of which none is missing, those of the plain type.
    """
    if getattr(y, "shape", None) == labels.shape:
        dtype = getattr(y, "dtype", None)
        nullable = hasattr(dtype, "na_value") and not hasattr(dtype, "categories")
        return y.astype(labels.dtype) if nullable or str(dtype) == "object" else y
    return y.iloc[:, 0] if hasattr(y, "iloc") and labels.ndim == 1 else labels


def weight_params(estimator, sample_weight):
    """Parameters of an estimator's `fit` that carry the weights of rows to where they are used.

    Parameters
    ----------
    estimator : estimator
        In pipelines, also within searches, the last step takes the weights.
    sample_weight : array-like of shape (n_samples,) or None
        Weights.

    Returns
    -------
    dict
        Empty without weights, and with metadata routing where the estimator declines them.

    Raises
    ------
    ValueError
        If the estimator that would use the weights takes none.
    """
    if sample_weight is None:
        return {}
    if _routing_enabled():
        asked = _asked(estimator, "fit")
        return {} if asked is False else {"sample_weight": sample_weight}
    return {_weight_name(estimator): sample_weight}


def declines_weights(scorer):
    """Whether a scorer takes no weights, or was told with metadata routing not to."""
    if _routing_enabled() and _asked(scorer, "score") is not None:
        return _asked(scorer, "score") is False
    return not accepts_sample_weight(scorer)


def scorer_params(scorer, sample_weight):
    """Parameters of a call of a scorer: the weights of the rows, if there are any and it takes them."""
    taken = sample_weight is not None and not declines_weights(scorer)
    return {"sample_weight": sample_weight} if taken else {}


def _asked(part, method):
    """What a part requests of sample_weight: True, False, an alias, or None where it says nothing."""
    requests = getattr(get_routing_for_object(part), method, None)
    return getattr(requests, "requests", {}).get("sample_weight")


def router_of(meta, estimator):
    """A meta-estimator's router with its own requests.

    Weights that only the estimator inside asks for reach the meta-estimator without a second request.
    """
    own = meta._get_metadata_request()
    inside = get_routing_for_object(estimator)
    if own.fit.requests.get("sample_weight", True) is None and inside.consumes(
        "fit", ["sample_weight"]
    ):
        own.fit.add_request(param="sample_weight", alias=False)
    return MetadataRouter(owner=meta).add_self_request(own)
