"""What all fits of a search share: rows, splits, and what scores them."""

from typing import NamedTuple

from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_method_params


class Outcome(NamedTuple):
    """What one candidate gave on one split."""

    scores: dict | None
    train_scores: dict | None
    fit_time: float
    score_time: float
    error: str | None
    proba: object  # of the test rows (n, C), where wanted


class SearchRows(NamedTuple):
    """Rows of a search and how they are split and scored."""

    X: object
    y: object
    splits: list  # of (training rows, test rows)
    scorer: object  # one scorer, or several under their names
    score_params: dict  # for all rows
    classes: object  # labels of the whole target
    multilabel: bool
    train_scores: bool  # whether training rows are scored too

    def part(self, at):
        """Some rows and their targets."""
        return _safe_indexing(self.X, at), _safe_indexing(self.y, at)

    def params(self, params, at):
        """Parameters of some rows."""
        return _check_method_params(self.X, params=params, indices=at)
