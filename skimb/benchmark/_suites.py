"""The suites: which sets, how they are split and learnt, and what is scored."""

from collections.abc import Callable
from dataclasses import dataclass

from skimb.benchmark._fits import learn_classes
from skimb.benchmark._methods import METHODS
from skimb.benchmark._metrics import BINARY, MULTICLASS, binary_scores, multiclass_scores
from skimb.benchmark._sets import classes_of, plain, unheeded


@dataclass(frozen=True)
class Suite:
    """A family of sets with their methods and scores.

    Parameters
    ----------
    name : str
        Its name on the command line.
    title : str
        Its title on the page.
    tasks : tuple of str
        Tasks of the sets that belong to it.
    metrics : tuple
        Scores on the page; the first two are shown by set.
    load, split, way, learn, scores : callable
        From a file to rows, to a split (and how files of predictions name its way), to predictions, to scores.
    words : str
        What the page says about splits and scores.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    metrics: tuple
    load: Callable
    split: Callable
    way: Callable
    learn: Callable
    scores: Callable
    words: str

    @property
    def methods(self):
        """Its methods, by name."""
        return {name: m for name, m in METHODS.items() if self.name in m.suites}


def _flat(text):
    """Sentences on one line."""
    return " ".join(text.split())


_TABLES = _flat("""
    Categories and missing values reach CatBoost, LightGBM, XGBoost, HistGradientBoosting and TabM as they are;
    forests and ensembles of imbalanced-learn take categories as codes; "scaled", logistic regression and SMOTE
    are behind median imputation, scaling and one-hot columns, "encoded" behind a PiecewiseLinearEncoder and
    one-hot columns; plain nets take codes and medians. All of it is fitted on training rows.
""")
_PLAIN = _flat("""
    Splits are stratified by class, 60 % to train, the same for all methods; groups and times are not heeded.
""")
_RATIO = _flat("""
    The log loss is given as a share of that of a constant, the classes' shares among the training rows.
""")
_TUNED = _flat("""
    AP is average precision; the Brier skill is what is gained on the constant's Brier score. Mean risk is the
    mean probability of the rare class as a share of its share among test rows. Recall at 1 % is the share of
    rare rows among the 1 % of test rows with the highest scores. Scores called tuned take decisions by a
    threshold: it is tuned for that score on one stratified half of the test rows and scored on the other, then
    the halves are swapped and the two scores averaged, so that thresholds are tuned on labelled rows that
    neither the fit nor the score sees. Balanced accuracy without that word is that of `predict`.
""")
_DECISIONS = _flat("""
    Balanced accuracy is that of `predict`; that of p/prior is that of the class with the largest probability
    over its share among training rows, the decision for balanced accuracy that honest probabilities ask for.
""")

_BINARY = Suite(
    name="binary",
    title="Two classes",
    tasks=("binary",),
    metrics=BINARY,
    load=classes_of,
    split=plain,
    way=unheeded,
    learn=learn_classes,
    scores=binary_scores,
    words=" ".join([_PLAIN, _TABLES, _RATIO, _TUNED]),
)

_MULTICLASS = Suite(
    name="multiclass",
    title="Several classes",
    tasks=("multiclass", "ordinal"),
    metrics=MULTICLASS,
    load=classes_of,
    split=plain,
    way=unheeded,
    learn=learn_classes,
    scores=multiclass_scores,
    words=" ".join([_PLAIN, _TABLES, _DECISIONS, _RATIO]),
)

SUITES = {suite.name: suite for suite in (_BINARY, _MULTICLASS)}
