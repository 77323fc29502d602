"""Weights on their way to the estimator inside another."""

from inspect import Parameter, signature

from sklearn.utils.metadata_routing import _routing_enabled

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
    ValueError
        If there are weights and the estimator has no use for them.
    """
    if sample_weight is None:
        return estimator.fit(X, y, **params)
    name = _weight_name(estimator)
    if _routing_enabled():
        name = "sample_weight"
        _request_weights(estimator)
    return estimator.fit(X, y, **{name: sample_weight}, **params)


def last_step(estimator):
    """The estimator at the end of a pipeline, or the estimator itself."""
    while _steps(estimator):
        estimator = _steps(estimator)[-1][1]
    return estimator


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
    raise ValueError(
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
