"""Columns of a data frame as the methods want them; all of it is fitted on training rows."""

from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from skimb.preprocessing import PiecewiseLinearEncoder


def numeric(X):
    """Names of numeric columns."""
    return X.select_dtypes("number").columns.tolist()


def categorical(X):
    """Names of columns of categories."""
    return X.select_dtypes("category").columns.tolist()


def scaled(number_steps=None):
    """One-hot columns, and numbers imputed by the median and scaled, or by other steps."""
    steps = number_steps or [
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
    ]
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False, max_categories=50)
    parts = [("numbers", make_pipeline(*steps), numeric), ("codes", one_hot, categorical)]
    return ColumnTransformer(parts)


def encoded():
    """One-hot columns, and numbers as piecewise linear codes."""
    return scaled([PiecewiseLinearEncoder()])


def codes(impute=True):
    """Categories as numbers; with medians for missing numbers."""
    how = {"handle_unknown": "use_encoded_value", "unknown_value": -1, "encoded_missing_value": -1}
    coded = ColumnTransformer(
        [("codes", OrdinalEncoder(**how), categorical)], remainder="passthrough"
    )
    if not impute:
        return coded
    return make_pipeline(coded, SimpleImputer(strategy="median", keep_empty_features=True))


def as_text(X):
    """Categories as texts, missing ones as a text of their own."""
    X = X.copy()
    for name in categorical(X):
        X[name] = X[name].astype(str).where(X[name].notna(), "missing").astype(object)
    return X


class Common(TransformerMixin, BaseEstimator):
    """Keeps the 254 most frequent categories of a column, for libraries that take no more."""

    def fit(self, X, y=None):
        """Count the categories."""
        self.kept_ = {c: X[c].value_counts().index[:254].tolist() for c in categorical(X)}
        return self

    def transform(self, X):
        """Rarer categories become missing."""
        X = X.copy()
        for name, kept in self.kept_.items():
            X[name] = X[name].cat.set_categories(kept)
        return X


class Imputed(TransformerMixin, BaseEstimator):
    """Numbers without holes: medians in their place; categories as texts."""

    def fit(self, X, y=None):
        """Learn the medians."""
        self.medians_ = X[numeric(X)].median().fillna(0.0)
        return self

    def transform(self, X):
        """Fill the holes."""
        return as_text(X).fillna(self.medians_)
