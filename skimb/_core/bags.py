"""Bags of rows of which the mean response is known."""

import numpy as np


def bag_means(bags, weight, *columns):
    """Weighted means over the rows of each bag, and the weight of each bag.

    Parameters
    ----------
    bags : ndarray of int, shape (n,)
        Bag of each row, numbers from 0 without gaps or with.
    weight : ndarray of shape (n,) or None
        Row weights.
    *columns : ndarray of shape (n,) or (n, k)
        What to average.

    Returns
    -------
    list of ndarray
        Means of each column and the weights, one entry per bag.
    """
    bags = np.unique(bags, return_inverse=True)[1]
    weight = np.ones(len(bags)) if weight is None else np.asarray(weight, float)
    mass = np.bincount(bags, weight)
    means = []
    for column in columns:
        flat = np.asarray(column, float).reshape(len(bags), -1)
        sums = np.stack([np.bincount(bags, weight * x) for x in flat.T], 1)
        means.append((sums / mass[:, None]).reshape(-1, *np.shape(column)[1:]))
    return [*means, mass]
