"""The geometry of a classifier's last layer: what neural collapse is, and what theory expects by class size."""

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.utils import Bunch, check_array, check_consistent_length, column_or_1d

THEORIES = ("simplex", "orthogonal", "seli")


def expected_geometry(counts, theory="seli", *, weight_decay=None, feature_decay=None, depth=1):
    r"""Geometry of class means and classifiers that theory expects of an unconstrained last layer.

    Features are free parameters there, with at least as many dimensions as classes. Three results:

    - "simplex", balanced classes: equal lengths, cosines :math:`-1/(K-1)`, for cross-entropy and squared error.
    - "orthogonal", squared error without intercepts: classes are orthogonal, and with penalties
      :math:`\lambda_w`, :math:`\lambda_h` on classifiers and features
      :math:`\|w_k\|^2 = \max(\sqrt{n_k\lambda_h/\lambda_w} - N\lambda_h, 0)`,
      :math:`\|\mu_k\|^2 = \lambda_w\|w_k\|^2/(n_k\lambda_h)`: frequent classes have longer classifiers and shorter
      features, and a class collapses to zero if :math:`n_k \le N^2\lambda_w\lambda_h`. Without penalties to put
      in, the limit of small ones: :math:`n_k^{1/4}` and :math:`n_k^{-1/4}`. `depth` linear layers over the
      features change the powers, and let a class collapse in a jump.
    - "seli", cross-entropy without intercepts and with vanishing penalty: logits interpolate the simplex labels.
      With :math:`(I - 11'/K)\,\mathrm{diag}(\sqrt n) = V L U'`, classifiers have the Gram matrix :math:`V L V'`
      and class means :math:`\mathrm{diag}(n)^{-1/2} U L U' \mathrm{diag}(n)^{-1/2}`.

    Parameters
    ----------
    counts : array-like of shape (n_classes,)
        Rows of each class, at least 1; two or more classes.
    theory : {"simplex", "orthogonal", "seli"}, default="seli"
        Which result.
    weight_decay, feature_decay : float in (0, inf), default=None
        :math:`\lambda_w` of each layer and :math:`\lambda_h`, for ``theory="orthogonal"``; both or none.
    depth : int in [1, inf), default=1
        Linear layers, for ``theory="orthogonal"`` with penalties.

    Returns
    -------
    Bunch
        ``weight_lengths`` and ``mean_lengths`` of shape (n_classes,), ``weight_gram`` and ``mean_gram`` of shape
        (n_classes, n_classes), and ``collapsed``, which classes are zero. Lengths without penalties are relative.

    Raises
    ------
    ValueError
        If counts or parameters are out of range or do not go together.

    Notes
    -----
    The penalty on features is one on the features of the last layer alone; with ordinary weight decay compare the
    slopes of lengths by class size, not the lengths. With several layers the global minimum is sought in one
    dimension for each class, since the stationary point with a length above zero may be a local minimum only.

    References
    ----------
    Papyan, Han and Donoho 2020, arXiv:2008.08186; Dang et al. 2023, arXiv:2301.00437 (orthogonal); Thrampoulidis
    et al. 2022, arXiv:2208.05512 (seli).

    Examples
    --------
    >>> from skimb.inspection import expected_geometry
    >>> found = expected_geometry([100, 50, 25, 10], "orthogonal", weight_decay=5e-4, feature_decay=5e-5)
    >>> (found.weight_lengths**2).round(3)
    array([3.153, 2.227, 1.572, 0.991])
    """
    n = column_or_1d(np.asarray(counts, float), warn=False)
    if len(n) < 2 or not np.isfinite(n).all() or (n < 1).any():
        raise ValueError(
            f"counts={counts!r} must hold 1 or more rows of each of two or more classes."
        )
    if theory not in THEORIES:
        raise ValueError(f"theory={theory!r} is unknown; use one of {list(THEORIES)}.")
    decays = weight_decay, feature_decay
    given = [decay for decay in decays if decay is not None]
    if given and (theory != "orthogonal" or len(given) < 2):
        raise ValueError(
            f"weight_decay={weight_decay!r} and feature_decay={feature_decay!r} go together, with "
            "theory='orthogonal'."
        )
    if any(decay <= 0 for decay in given) or depth < 1:
        raise ValueError(
            f"weight_decay={weight_decay!r}, feature_decay={feature_decay!r} and depth={depth!r} must be positive."
        )
    K = len(n)
    centre = np.eye(K) - 1.0 / K
    if theory == "simplex":
        W = M = centre
    elif theory == "seli":
        V, L, Ut = np.linalg.svd(centre * np.sqrt(n), full_matrices=False)
        W = (V * L) @ V.T
        M = (Ut.T * L) @ Ut / np.sqrt(n)[:, None] / np.sqrt(n)
    elif given:
        weights, means = _orthogonal(n, *given, depth)
        W, M = np.diag(weights), np.diag(means)
    else:
        W, M = np.diag(n**0.5), np.diag(n**-0.5)
    squares = W.diagonal().clip(0.0), M.diagonal().clip(0.0)
    return Bunch(
        weight_lengths=np.sqrt(squares[0]),
        mean_lengths=np.sqrt(squares[1]),
        weight_gram=W,
        mean_gram=M,
        collapsed=squares[0] == 0.0,
    )


def _orthogonal(n, weight_decay, feature_decay, depth):
    """Squared lengths of classifiers and class means, by the fitted value t in [0, 1] of each class."""
    weights = []
    for count in n:

        def bound(t, count=count):
            return (weight_decay**depth * count * feature_decay * t * t) ** (1.0 / (depth + 1))

        def risk(t, count=count, bound=bound):
            return count / (2.0 * n.sum()) * (t - 1.0) ** 2 + 0.5 * (depth + 1) * bound(t)

        grid = np.linspace(0.0, 1.0, 2001)
        best = int(np.argmin(risk(grid)))
        t = 0.0
        if best:
            ends = grid[best - 1], grid[min(best + 1, 2000)]
            t = minimize_scalar(risk, bounds=ends, method="bounded", options={"xatol": 1e-12}).x
            t = t if risk(t) < risk(0.0) else 0.0
        weights.append(bound(t) / weight_decay)
    weights = np.array(weights)
    return weights, weights * weight_decay / (n * feature_decay)


def neural_collapse(features, y, coef=None, intercept=None, *, theory="seli"):
    r"""Measures of neural collapse, as a whole and class by class.

    Of the features :math:`h_i`, the class means :math:`\mu_k`, their mean :math:`\mu` and the classifiers
    :math:`w_k` (the rows of `coef`):

    - NC1, variability: :math:`\mathrm{tr}(\Sigma_W \Sigma_B^+)/K` with the mean outer product of
      :math:`h_i - \mu_{y_i}` and of :math:`\mu_k - \mu`; 0 if all rows of a class have the same features.
    - NC2, a simplex: coefficients of variation of the lengths, and the mean distance of cosines from
      :math:`-1/(K-1)`.
    - NC3, duality: :math:`\|W/\|W\|_F - M/\|M\|_F\|_F` of classifiers and centred means; 0 if they agree.
    - NC4: share of rows for which the classifier and the nearest class mean agree.

    Class by class they tell where the trouble with rare classes lies: a high variability of rare classes lies in
    the features, short or crowded classifiers in the head, where a correction after training is enough.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Inputs of the output layer, of training rows.
    y : array-like of shape (n_samples,)
        Labels, of two or more classes.
    coef : array-like of shape (n_classes, n_features) or (1, n_features), default=None
        Classifiers, in the order of the sorted labels; one for two classes counts half for each.
    intercept : array-like of shape (n_classes,) or (1,), default=None
        Intercepts, for NC4.
    theory : {"simplex", "orthogonal", "seli"}, default="seli"
        What lengths and angles are held against, see :func:`expected_geometry`; "orthogonal" looks at class means
        that are not centred.

    Returns
    -------
    Bunch
        ``classes``, ``counts``; ``nc1`` and ``within_share`` (within-class share of the total variance);
        ``nc2_mean_lengths``, ``nc2_mean_cosines``, and of classifiers ``nc2_weight_lengths``,
        ``nc2_weight_cosines``; ``nc3``; ``nc4``; ``rare_cosine``, the mean cosine between the classifiers of the
        rarest third (1 if they have collapsed into one); class by class ``mean_lengths``, ``weight_lengths``,
        ``variability`` (:math:`\mathrm{tr}\,\Sigma_k / \|\mu_k - \mu\|^2`) and ``agreement`` (NC4); ``mean_slope``
        and ``weight_slope``, slopes of log lengths on log counts; ``expected``, what theory says;
        ``mean_distance`` and ``weight_distance`` between Gram matrices of norm 1 and those of theory. What needs
        classifiers is None without them.

    Raises
    ------
    ValueError
        If shapes do not match or there is one class only.

    Notes
    -----
    :math:`\mu` is the mean of class means, so that frequent classes do not pull it to themselves; the
    pseudo-inverse drops eigenvalues below 1e-6 of the largest. Measures describe; that smaller ones generalise
    better is not implied.

    References
    ----------
    Papyan, Han and Donoho 2020, arXiv:2008.08186; Fang et al. 2021, arXiv:2101.12699 (minority collapse).

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.inspection import neural_collapse
    >>> y = np.repeat([0, 1, 2], [6, 3, 1])
    >>> features = np.eye(3)[y]
    >>> found = neural_collapse(features, y, coef=np.eye(3) - 1 / 3)
    >>> round(found.nc1, 6), round(found.nc3, 6), found.nc4
    (0.0, 0.0, 1.0)
    """
    H = check_array(features, dtype=np.float64, input_name="features")
    y = column_or_1d(y, warn=False)
    check_consistent_length(H, y)
    classes, code, counts = np.unique(y, return_inverse=True, return_counts=True)
    K = len(classes)
    if K < 2:
        raise ValueError(f"neural_collapse compares classes; y has only {classes.tolist()}.")
    if theory not in THEORIES:
        raise ValueError(f"theory={theory!r} is unknown; use one of {list(THEORIES)}.")
    means = np.stack([H[code == k].mean(0) for k in range(K)])
    centred = means - means.mean(0)
    within = H - means[code]
    spread = np.bincount(code, (within**2).sum(1)) / counts
    seen = means if theory == "orthogonal" else centred
    expected = expected_geometry(counts, theory)
    found = Bunch(
        classes=classes,
        counts=counts,
        nc1=_variability(within, centred),
        within_share=_ratio((within**2).sum(), ((H - H.mean(0)) ** 2).sum()),
        variability=_ratio(spread, (centred**2).sum(1)),
        expected=expected,
    )
    found.update(_geometry("mean", seen, counts, expected.mean_gram, theory))
    if coef is None:
        names = ("nc2_weight_lengths", "nc2_weight_cosines", "weight_lengths", "weight_slope")
        names += ("weight_distance", "nc3", "nc4", "agreement", "rare_cosine")
        return Bunch(**found, **dict.fromkeys(names))
    W, b = _classifiers(coef, intercept, K, H.shape[1])
    found.update(_geometry("weight", W, counts, expected.weight_gram, theory))
    found.nc3 = float(np.linalg.norm(_unit(W) - _unit(seen)))
    nearest = ((H[:, None] - means) ** 2).sum(2) if H.size * K <= 1 << 24 else _distances(H, means)
    agrees = (H @ W.T + b).argmax(1) == nearest.argmin(1)
    found.nc4, found.agreement = float(agrees.mean()), np.bincount(code, agrees) / counts
    rarest = np.argsort(counts, kind="stable")[: max(2, K // 3)]
    found.rare_cosine = float(_cosines(W[rarest]).mean())
    return found


def _classifiers(coef, intercept, K, d):
    """Classifiers (K, d) and intercepts (K,)."""
    W = check_array(coef, dtype=np.float64, input_name="coef")
    b = np.zeros(len(W)) if intercept is None else np.asarray(intercept, float).reshape(-1)
    if K == 2 and len(W) == 1 and len(b) == 1:
        W, b = np.concatenate([-W, W]) / 2.0, np.array([-b[0], b[0]]) / 2.0
    if W.shape != (K, d) or b.shape != (K,):
        raise ValueError(
            f"coef of shape {np.shape(coef)} and intercept of shape {b.shape} do not fit {K} classes and {d} "
            "features; coef has a row for each class in y."
        )
    return W, b


def _geometry(name, vectors, counts, gram, theory):
    """Lengths and angles of the vectors of classes."""
    lengths = np.linalg.norm(vectors, axis=1)
    wanted = 0.0 if theory == "orthogonal" else -1.0 / (len(vectors) - 1)
    slope = np.nan
    if len(set(counts.tolist())) > 1 and (lengths > 0).all():
        slope = float(np.polyfit(np.log(counts), np.log(lengths), 1)[0])
    return {
        f"{name}_lengths": lengths,
        f"nc2_{name}_lengths": float(_ratio(lengths.std(), lengths.mean())),
        f"nc2_{name}_cosines": float(np.abs(_cosines(vectors) - wanted).mean()),
        f"{name}_slope": slope,
        f"{name}_distance": float(np.linalg.norm(_unit(vectors @ vectors.T) - _unit(gram))),
    }


def _variability(within, centred):
    """tr(S_W pinv(S_B)) / K through the class means, of which there are few."""
    _, s, Vt = np.linalg.svd(centred / np.sqrt(len(centred)), full_matrices=False)
    kept = s**2 > 1e-6 * (s**2).max()
    along = within @ Vt[kept].T / s[kept]
    return float((along**2).sum() / len(within) / len(centred))


def _cosines(vectors):
    """Cosines between different vectors."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-300)
    return (unit @ unit.T)[~np.eye(len(vectors), dtype=bool)]


def _distances(H, means):
    """Squared distances (n, K) of rows from class means, less what is the same for all."""
    return (means**2).sum(1) - 2.0 * H @ means.T


def _unit(matrix):
    return matrix / max(np.linalg.norm(matrix), 1e-300)


def _ratio(a, b):
    """a / b, 0 where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.equal(a, 0), 0.0, np.divide(a, b))[()]
