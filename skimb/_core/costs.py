"""Costs of decisions in the shapes in which users give them."""

import numpy as np
from sklearn.utils.validation import check_array

from skimb._core.validation import row_costs


def cost_matrix(cost, classes):
    """Costs (C, C) by true and decided class, the same for all rows; other shapes are refused."""
    matrix = check_array(cost, dtype=np.float64, input_name="cost")
    width = len(classes)
    if matrix.shape != (width, width):
        raise ValueError(
            f"cost must have shape ({width}, {width}), one row and one column per class of {classes.tolist()}, got "
            f"{matrix.shape}."
        )
    return matrix


def elkan(cost):
    """Probability from which deciding for class 1 is cheaper, by costs of true by decided class."""
    false_alarm, missed = cost[0, 1] - cost[0, 0], cost[1, 0] - cost[1, 1]
    return float(false_alarm / (false_alarm + missed))


def cost_tables(cost, n, n_classes):
    """Costs by true and decided class, of rows whose class is not known.

    Parameters
    ----------
    cost : array-like of shape (n_classes, n_classes), (n, n_classes, n_classes) or, for two classes, (n, 4)
        Costs, of all rows or of each; four columns are those of a false positive, a false negative, a true
        positive and a true negative.
    n : int
        Number of rows.
    n_classes : int
        Number of classes C.

    Returns
    -------
    ndarray of shape (1, C, C) or (n, C, C)
        Costs.

    Raises
    ------
    ValueError
        If the shape does not fit, or a cost is not finite.
    """
    c = check_array(cost, dtype=np.float64, allow_nd=True, ensure_2d=False, input_name="cost")
    square = (n_classes, n_classes)
    if c.shape == square:
        return c[None]
    if c.shape == (n, *square):
        return c
    if n_classes == 2 and c.shape == (n, 4):
        return c[:, [3, 0, 1, 2]].reshape(n, 2, 2)  # tn fp | fn tp
    four = f", ({n}, 4)" if n_classes == 2 else ""
    why = ""
    if c.shape == (n, n_classes):
        why = "; a column per class says what a decision costs in the true class, which is not known here"
    raise ValueError(
        f"cost of shape {c.shape} does not fit {n} rows and {n_classes} classes: give {square}, true class by "
        f"decided class,{four} or {(n, *square)}{why}."
    )


def decision_costs(cost, code, classes):
    """Costs of deciding for each class in each row, whose class is known.

    Parameters
    ----------
    cost : array-like of shape (C, C), (n, C, C), (n, C) or, for two classes, (n, 4)
        Costs as in `cost_tables`, or of each decision by row. A square of as many rows as classes is the former.
    code : ndarray of int, shape (n,)
        Class codes.
    classes : ndarray of shape (C,)
        Class labels.

    Returns
    -------
    ndarray of shape (n, C)
        Costs.

    Raises
    ------
    ValueError
        If the shape does not fit, or a cost is not finite.
    """
    n, width = len(code), len(classes)
    c = check_array(cost, dtype=np.float64, allow_nd=True, ensure_2d=False, input_name="cost")
    if c.shape in {(width, width), (n, width, width)}:
        return np.broadcast_to(c, (n, width, width))[np.arange(n), code]
    found = row_costs(c, code, classes) if c.ndim == 2 else None
    if found is None:
        four = f", ({n}, 4)" if width == 2 else ""
        raise ValueError(
            f"cost of shape {c.shape} does not fit {n} rows and the classes {classes.tolist()[:10]}: give "
            f"{(width, width)}, true class by decided class{four}, {(n, width)} or {(n, width, width)}."
        )
    return found
