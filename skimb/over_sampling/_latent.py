"""SMOTE in the space of a transformer."""

from numbers import Integral

import numpy as np
from imblearn.over_sampling import SMOTE
from imblearn.over_sampling.base import BaseOverSampler
from scipy import sparse
from sklearn.base import clone
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import _check_feature_names, check_array

from skimb._core.given import appended, of_type, refuse_unnumbered, through_pandas


class LatentSMOTE(BaseOverSampler):
    r"""SMOTE between the images of rows under a transformer, mapped back.

    .. math:: x_\mathrm{new}=g\bigl((1-u)f(x_i)+u\,f(x_j)\bigr)

    with the transformer f, its inverse g, :math:`u\sim U(0,1)` and a neighbour :math:`f(x_j)` of the same class.

    Parameters
    ----------
    transformer : transformer, default=None
        Has ``inverse_transform``: a PCA, an autoencoder. None leaves rows as they are, which is SMOTE itself and
        what a PCA with all components gives; fewer components draw new rows onto the main directions,
        ``whiten=True`` changes who is a neighbour.
    sampling_strategy : float, str, dict or callable, default="auto"
        How many rows of which class, as in imbalanced-learn.
    k_neighbors : int in [1, inf), default=5
        Neighbours to draw from.
    random_state : int, RandomState or None, default=None
        Seed.

    Attributes
    ----------
    transformer_ : transformer
        The fitted transformer.
    sampling_strategy_ : dict
        Rows added per class.
    n_features_in_ : int
        Features of X.

    Raises
    ------
    ValueError
        If a class has no more rows than neighbours are wanted, the inverse has another width, or a column of a
        frame holds no numbers.

    Notes
    -----
    Given rows stay as they are; only new ones pass through the inverse. Whole numbers are rounded. As after any
    oversampling probabilities refer to the new class frequencies: wrap the sampler in
    :class:`~skimb.pipeline.ResampledClassifier`, or set ``prior=`` of skimb's own classifiers. What SMOTE does to
    the shape of a class no such correction undoes.

    References
    ----------
    Dablain et al. 2021 (DeepSMOTE), arXiv:2105.02340; Chawla et al. 2002, arXiv:1106.1813.

    Examples
    --------
    >>> import numpy as np
    >>> from imblearn.over_sampling import SMOTE
    >>> from sklearn.datasets import make_classification
    >>> from skimb.over_sampling import LatentSMOTE
    >>> X, y = make_classification(300, weights=[0.9], random_state=0)
    >>> X_new, y_new = LatentSMOTE(random_state=0).fit_resample(X, y)
    >>> bool(np.allclose(X_new, SMOTE(random_state=0).fit_resample(X, y)[0]))
    True
    """

    _parameter_constraints = {
        **BaseOverSampler._parameter_constraints,
        "transformer": [HasMethods(["fit_transform", "inverse_transform"]), None],
        "k_neighbors": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self, transformer=None, *, sampling_strategy="auto", k_neighbors=5, random_state=None
    ):
        super().__init__(sampling_strategy=sampling_strategy)
        self.transformer = transformer
        self.k_neighbors = k_neighbors
        self.random_state = random_state

    def fit_resample(self, X, y):
        """Add rows of the rarer classes.

        Parameters
        ----------
        X : array-like, data frame or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.

        Returns
        -------
        X_resampled : like X
            The given rows, then the new ones.
        y_resampled : like y
            Their labels.
        """
        return through_pandas(self, self._grown, X, y)

    def _grown(self, X, y):
        if not hasattr(X, "iloc"):
            return super().fit_resample(X, y)
        refuse_unnumbered(self, X)
        rows = check_array(X, accept_sparse=["csr", "csc"], estimator=self, input_name="X")
        grown, labels = super().fit_resample(rows, y)
        _check_feature_names(self, X, reset=True)
        return appended(X, grown[X.shape[0] :]), labels

    def _fit_resample(self, X, y):
        if self.transformer is None:  # SMOTE of the rows: no matrix of all pairs of features
            self.transformer_ = FunctionTransformer(accept_sparse=True)
        else:
            self.transformer_ = clone(self.transformer)
        self._enough_rows(y)
        rng = check_random_state(self.random_state)
        if self.transformer is not None:  # the default draws nothing
            for name, value in sorted(self.transformer_.get_params().items()):
                if name.split("__")[-1] == "random_state" and value is None:
                    self.transformer_.set_params(**{name: rng.randint(np.iinfo(np.int32).max)})
        latent = self.transformer_.fit_transform(X)
        if latent.dtype.kind in "iub":  # SMOTE would cut fractions off
            latent = latent.astype(np.float64)
        totals = {k: int((y == k).sum()) + n for k, n in self.sampling_strategy_.items()}
        smote = SMOTE(sampling_strategy=totals, k_neighbors=self.k_neighbors, random_state=rng)
        grown, labels = smote.fit_resample(latent, y)
        made = grown[len(y) :]
        if made.shape[0] == 0:
            return X.copy(), y.copy()
        rows = self.transformer_.inverse_transform(made)
        if rows.shape != (made.shape[0], X.shape[1]):
            raise ValueError(
                f"The inverse of {self.transformer_!r} gives rows of shape {rows.shape}, X has {X.shape[1]} "
                f"features."
            )
        if sparse.issparse(X):
            return appended(X, of_type(sparse.csr_matrix(rows), X.dtype)), labels
        rows = rows.toarray() if sparse.issparse(rows) else np.asarray(rows)
        return appended(X, of_type(rows, X.dtype)), labels

    def _enough_rows(self, y):
        """Refuse classes without as many neighbours as are wanted."""
        for label, wanted in self.sampling_strategy_.items():
            n = int((y == label).sum())
            if wanted > 0 and n <= self.k_neighbors:
                k = self.k_neighbors
                raise ValueError(
                    f"Class {np.asarray(label).item()!r} has {n} rows, k_neighbors={k} needs {k + 1}; lower "
                    "k_neighbors, or copy rows with RandomOverSampler."
                )
