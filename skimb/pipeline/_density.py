"""A regressor whose rare target values weigh more."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, _fit_context, clone
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
)

from skimb._core.compat import check_sample_weight
from skimb._core.inner import fit_inner
from skimb._core.validation import indexable_rows, one_column, routed_params, take_names
from skimb.losses import density_weights


class DensityWeightedRegressor(RegressorMixin, MetaEstimatorMixin, BaseEstimator):
    """Any regressor, with rows weighed by how rare their target value is.

    Parameters
    ----------
    estimator : regressor
        Its ``fit`` takes ``sample_weight``; of a pipeline the last step's.
    power : float in [0, inf), default=1.0
        Exponent of the inverse density; 0 no weights, 0.5 their square root.
    n_bins : int in [1, inf), default=100
        Bins of the density.
    smoothing : float in [0, inf), default=2.0
        Standard deviation, in bins, of the Gaussian that smooths it.

    Attributes
    ----------
    estimator_ : regressor
        The fitted regressor.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X, where the regressor tells them.

    Raises
    ------
    TypeError
        If the regressor takes no weights.

    Notes
    -----
    The weights are made from the training target in ``fit``, so they follow the folds of a search.

    References
    ----------
    Yang et al. 2021, arXiv:2102.09554.

    See Also
    --------
    skimb.losses.density_weights : The weights alone.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from skimb.pipeline import DensityWeightedRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = DensityWeightedRegressor(Ridge(0.1), power=0.5).fit(X, y)
    >>> bool(model.predict(X).std() > Ridge(0.1).fit(X, y).predict(X).std())
    True
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict"])],
        "power": [Interval(Real, 0, None, closed="left")],
        "n_bins": [Interval(Integral, 1, None, closed="left")],
        "smoothing": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, estimator, *, power=1.0, n_bins=100, smoothing=2.0):
        self.estimator = estimator
        self.power = power
        self.n_bins = n_bins
        self.smoothing = smoothing

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, **params):
        """Weigh the rows and fit.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or n_samples documents
            Rows, as the regressor takes them.
        y : array-like of shape (n_samples,)
            Target.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, times which the weights are taken.
        **params : dict
            Metadata for the regressor's ``fit``, with metadata routing enabled.

        Returns
        -------
        DensityWeightedRegressor
            Itself.
        """
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None.")
        y = check_array(one_column(y), ensure_2d=False, dtype=np.float64, input_name="y")
        X = indexable_rows(X)
        (given,) = routed_params(self, params, "estimator.fit")
        check_consistent_length(X, y)
        w = check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        kw = {"n_bins": self.n_bins, "smoothing": self.smoothing, "power": self.power}
        used = w > 0  # rows without weight must not stretch the histogram
        weight = np.zeros(len(y))
        weight[used] = w[used] * density_weights(y[used], sample_weight=w[used], **kw)
        self.estimator_ = fit_inner(clone(self.estimator), X, y, weight, **given)
        take_names(self, self.estimator_)
        return self

    def get_metadata_routing(self):
        """Where metadata go: to the regressor's ``fit``.

        Returns
        -------
        MetadataRouter
            scikit-learn's description of it.
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        router = MetadataRouter(owner=self).add_self_request(self)
        return router.add(estimator=self.estimator, method_mapping=mapping)

    def predict(self, X):
        """Predictions of the regressor.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Predictions.
        """
        check_is_fitted(self)
        return self.estimator_.predict(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags
