"""The settings a search over losses tries, and the parts they play."""

from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline

from skimb.losses import CrossEntropy, Loss, Mixed, all_losses

PLAIN, WEIGHTED, SPECIAL = "cross-entropy", "weighted cross-entropy", "special"


def prefix_of(estimator):
    """What stands before the classifier's parameter names."""
    return f"{estimator.steps[-1][0]}__" if isinstance(estimator, Pipeline) else ""


def settings(estimator, losses, param_grid, task):
    """Parameter settings of a search: baselines first, each setting once.

    Parameters
    ----------
    estimator : Pipeline or NeuralClassifier
        What is searched over.
    losses : "all", list or None
        Losses or loss classes; classes stand for their grids.
    param_grid : dict or list of dict or None
        Other parameters, crossed with the losses.
    task : {"binary", "multiclass", "multilabel"}
        Kind of target.

    Returns
    -------
    list of dict
        Settings.
    """
    prefix = prefix_of(estimator)
    loss, weight = f"{prefix}loss", f"{prefix}class_weight"
    rest = list(ParameterGrid(param_grid)) if param_grid else [{}]
    names_loss = any(k == loss or k.startswith(f"{loss}__") for r in rest for k in r)
    if names_loss and losses is not None:
        raise ValueError(
            f"param_grid sets {loss!r} and losses={losses!r} does too; give losses=None, or leave the loss out of "
            "param_grid."
        )
    chosen = _chosen(losses, task)
    found = []
    for r in rest:
        others = {k: v for k, v in r.items() if k != loss and not k.startswith(f"{loss}__")}
        others.pop(weight, None)
        found.append({loss: CrossEntropy(), weight: None, **others})
        given = r.get(weight)
        found.append({loss: CrossEntropy(), weight: given or "balanced", **others})
    if names_loss:
        found += rest
    else:
        found += [{loss: one, **r} for r in rest for one in chosen]
    usual = estimator.get_params().get(weight)
    return _once(found, weight, usual)


def _chosen(losses, task):
    if losses is None:
        return []
    if isinstance(losses, str):
        losses = [
            cls for cls in all_losses(task) if cls is not Mixed
        ]  # without a loss, cross-entropy
    chosen = []
    for one in losses:
        if isinstance(one, type) and issubclass(one, Loss):
            points = [one(**params) for params in ParameterGrid(one.grid())]
            shares = one.mixed_shares
            chosen += [Mixed(p, share=s) for p in points for s in shares] if shares else points
        elif isinstance(one, Loss):
            chosen.append(one)
        else:
            raise TypeError(f"losses must hold losses or loss classes, got {one!r}.")
    return chosen


def _once(found, weight, usual):
    """Settings without repetitions; where none is set, `weight` has its `usual` value."""
    seen = {}
    for params in found:
        key = tuple(sorted((k, repr(v)) for k, v in ({weight: usual} | params).items()))
        seen.setdefault(key, params)
    return list(seen.values())


def role(classifier):
    """Whether a setting is plain cross-entropy, weighted cross-entropy or something special."""
    loss = classifier.loss
    plain = loss is None or (type(loss) is CrossEntropy and repr(loss) == repr(CrossEntropy()))
    untouched = classifier.sampler is None and classifier.deferred_reweighting is None
    if not plain or not untouched:
        return SPECIAL
    return PLAIN if classifier.class_weight is None else WEIGHTED


def loss_name(classifier):
    """Name of a setting's loss, for a wrapper with that of the loss inside."""
    if classifier.loss is None:
        return "CrossEntropy"
    inner = classifier.loss.get_params(deep=False).get("loss")
    name = type(classifier.loss).__name__
    return name if inner is None else f"{name}({type(inner).__name__})"
