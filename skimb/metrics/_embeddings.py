"""Measures of embeddings."""

import numpy as np
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.utils.validation import check_array


def utilization(queries, references, *, metric="sqeuclidean"):
    r"""Mean distance of queries to their nearest reference.

    .. math:: \frac1n\sum_i\min_jd(q_i,r_j)

    Less means that references cover the region of the queries better. With the embeddings of held-out rows as
    queries and those of training rows as references it says how much of the space training has explored; embeddings
    of mixtures may be added to the references.

    Parameters
    ----------
    queries : array-like of shape (n_queries, n_dimensions)
        Embeddings.
    references : array-like of shape (n_references, n_dimensions)
        Embeddings to cover them.
    metric : str, default="sqeuclidean"
        A distance of :func:`sklearn.metrics.pairwise_distances`.

    Returns
    -------
    float
        The mean, 0 or more.

    Raises
    ------
    ValueError
        If queries and references differ in their dimensions.

    Notes
    -----
    The measure is named in the paper on Metrix; its formula there was not at hand, this is our reading.

    References
    ----------
    Venkataramanan et al. 2022, arXiv:2106.04990.

    Examples
    --------
    >>> from skimb.metrics import utilization
    >>> utilization([[0.0], [3.0]], [[0.0], [1.0]])
    2.0
    """
    queries = check_array(queries, dtype=(np.float64, np.float32), input_name="queries")
    references = check_array(references, dtype=(np.float64, np.float32), input_name="references")
    if queries.shape[1] != references.shape[1]:
        raise ValueError(
            f"utilization: queries have {queries.shape[1]} dimensions and references {references.shape[1]}; embed "
            "both alike."
        )
    return float(pairwise_distances_argmin_min(queries, references, metric=metric)[1].mean())
