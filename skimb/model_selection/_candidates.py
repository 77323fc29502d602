"""The settings a search over losses tries, and the parts they play."""

from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline

from skimb._core.inner import last_step
from skimb.boosting._base import BoostedClassifier
from skimb.boosting._objectives import SERVES as ROW_SERVES
from skimb.losses import CrossEntropy, Loss, Mixed, NonNegativePU, all_losses
from skimb.losses._base import unserved

PLAIN, WEIGHTED, SPECIAL = "cross-entropy", "weighted cross-entropy", "special"
OTHER = "other"  # a classifier that takes no loss of skimb


def prefix_of(estimator):
    """What stands before the classifier's parameter names."""
    return f"{estimator.steps[-1][0]}__" if isinstance(estimator, Pipeline) else ""


def takes_losses(estimator):
    """Whether a classifier, or the last step of a pipeline, takes losses of skimb."""
    constraints = getattr(last_step(estimator), "_parameter_constraints", {})
    return any(allowed is Loss for allowed in constraints.get("loss", []))


def losses_for(estimator, chosen, prior):
    """Those of the chosen losses that a classifier trains: a boosted one losses of single rows.

    Parameters
    ----------
    estimator : Pipeline or classifier
        What is searched over.
    chosen : list of Loss or None
        Losses; None stays None.
    prior : ClassPrior
        Of the training target.

    Returns
    -------
    list of Loss or None
        Losses.
    """
    if chosen is None:
        return None
    if not takes_losses(estimator):
        return []
    if not isinstance(last_step(estimator), BoostedClassifier):
        return chosen
    return [loss for loss in chosen if _of_rows(loss, prior)]


def _of_rows(loss, prior):
    try:
        return not unserved(loss.bind(prior), ROW_SERVES)
    except ValueError:
        return True  # it cannot be bound: its candidate fails, and says why


def settings(estimator, chosen, param_grid):
    """Parameter settings of a search over one estimator: baselines first, each setting once.

    Parameters
    ----------
    estimator : Pipeline or classifier
        What is searched over; one that takes no losses has the settings of its grid.
    chosen : list of Loss or None
        Losses; None if `param_grid` may set them.
    param_grid : dict or list of dict or None
        Other parameters, crossed with the losses.

    Returns
    -------
    list of dict
        Settings.
    """
    rest = list(ParameterGrid(param_grid)) if param_grid else [{}]
    if not takes_losses(estimator):
        return rest
    prefix = prefix_of(estimator)
    loss, weight = f"{prefix}loss", f"{prefix}class_weight"
    names_loss = any(k == loss or k.startswith(f"{loss}__") for r in rest for k in r)
    if names_loss and chosen is not None:
        raise ValueError(
            f"param_grid sets {loss!r} and losses= does too; give losses=None, or leave the loss out of "
            "param_grid."
        )
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
        found += [{loss: one, **r} for r in rest for one in chosen or []]
    usual = estimator.get_params().get(weight)
    return _once(found, weight, usual)


def chosen_losses(losses, task):
    """Losses to search over: a class stands for its grid, "all" for all losses of a kind of target.

    Parameters
    ----------
    losses : "all", list or None
        Losses or loss classes.
    task : {"binary", "multiclass", "multilabel"}
        Kind of target.

    Returns
    -------
    list of Loss or None
        Losses.
    """
    if losses is None:
        return None
    if isinstance(losses, str):
        losses = [
            cls for cls in all_losses(task) if cls not in (Mixed, NonNegativePU)
        ]  # cross-entropy without a loss, and targets of another meaning
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
    """Whether a setting is plain cross-entropy, weighted cross-entropy, something special or another classifier."""
    if not takes_losses(classifier):
        return OTHER
    loss = classifier.loss
    plain = loss is None or (type(loss) is CrossEntropy and repr(loss) == repr(CrossEntropy()))
    changes = ("sampler", "deferred_reweighting")
    if not plain or any(getattr(classifier, name, None) is not None for name in changes):
        return SPECIAL
    return PLAIN if getattr(classifier, "class_weight", None) is None else WEIGHTED


def loss_name(classifier):
    """Name of a setting's loss, for a wrapper with that of the loss inside; empty without a loss of skimb."""
    if not takes_losses(classifier):
        return ""
    if classifier.loss is None:
        return "CrossEntropy"
    inner = classifier.loss.get_params(deep=False).get("loss")
    name = type(classifier.loss).__name__
    return name if inner is None else f"{name}({type(inner).__name__})"


def is_baseline(roles, several):
    """Candidates that a special loss has to beat: weighted cross-entropy, of several estimators all others."""
    return roles != SPECIAL if several else roles == WEIGHTED
