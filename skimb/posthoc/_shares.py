"""Label distributions of rows and from parameters, as the meta-estimators of this package read them."""

import numpy as np

from skimb._core.priors import class_shares


def population_shares(classes, labels, weight):
    """Label distribution (C,) of the given rows; a class whose rows all have weight 0 is refused."""
    lost = []
    if weight is not None:
        lost = [c for c in classes.tolist() if not (weight[labels == c] > 0).any()]
    if lost:
        raise ValueError(f"All rows of the classes {lost} have a sample_weight of 0.")
    return class_shares(classes, labels, weight)


def given_shares(classes, name, value):
    """A label distribution (C,) from an array or a mapping of labels, or None."""
    if value is None:
        return None
    if isinstance(value, dict):
        missing = [c for c in classes.tolist() if c not in value]
        if missing:
            raise ValueError(f"{name}={value!r} lacks the classes {missing}.")
        value = [value[c] for c in classes.tolist()]
    array = np.array(value, float)
    proper = array.shape == (len(classes),) and np.isfinite(array).all()
    if not proper or (array <= 0).any() or abs(array.sum() - 1.0) > 1e-6:
        raise ValueError(
            f"{name}={value!r} must hold one positive number per class of {classes.tolist()}, together 1."
        )
    return array
