"""Boosted trees: rows as a library takes them, threads, validation sets, importances."""

from abc import abstractmethod
from numbers import Integral, Real

from joblib import cpu_count
from joblib.parallel import get_active_backend
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval

from skimb.boosting._base import BoostedClassifier
from skimb.boosting._columns import Columns, numbered_or_pandas


class TreeClassifier(BoostedClassifier):
    """What the classifiers of both libraries share."""

    _parameter_constraints: dict = {
        **BoostedClassifier._parameter_constraints,
        "max_depth": [Interval(Integral, 1, None, closed="left"), None],
        "colsample_bytree": [Interval(Real, 0, 1, closed="right")],
        "reg_lambda": [Interval(Real, 0, None, closed="left")],
        "reg_alpha": [Interval(Real, 0, None, closed="left")],
        "n_jobs": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Integral, None, -1, closed="right"),
            None,
        ],
        "params": [dict, None],
    }

    _missing_values = True  # the libraries take them

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, eval_set=None, eval_sample_weight=None):
        """Fit to labelled rows.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
            Rows. Columns of dtype ``category`` are categories to the library too; missing values are its
            own affair.
        y : array-like of shape (n_samples,)
            Labels of one kind: numbers, truth values or text.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; 0 removes a row.
        eval_set : list of tuple (X, y), default=None
            Rows that every round is scored on, see ``evals_result_``. With ``early_stopping`` they take
            the place of rows set aside; of several sets LightGBM heeds each, XGBoost the last.
        eval_sample_weight : list of array-like, default=None
            Weights of the rows of each set in `eval_set`.

        Returns
        -------
        BoostedClassifier
            Itself.
        """
        self._fitted_n_jobs = self.n_jobs
        self.evals_result_ = {}
        self._fit(X, y, sample_weight, eval_set, eval_sample_weight)
        self.feature_importances_ = self._importances()
        return self

    def _read(self, X, reset=False):
        X = numbered_or_pandas(X)
        if reset:
            self._columns = Columns.of(X)
        return self._columns.read(
            self, X, plain=self._takes_categories, allow_nan=self._missing_values, reset=reset
        )

    @property
    def _threads(self):
        """Threads as scikit-learn counts them: None is 1 outside a context of joblib."""
        n_jobs = self._fitted_n_jobs
        if n_jobs is None:
            n_jobs = get_active_backend()[1] or 1
        return n_jobs if n_jobs > 0 else max(1, cpu_count() + 1 + n_jobs)

    @abstractmethod
    def _importances(self):
        """Importance of each feature."""

    @staticmethod
    @abstractmethod
    def _takes_categories(categories):
        """Whether the library takes an index of categories as it is."""
