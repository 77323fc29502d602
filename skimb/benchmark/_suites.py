"""The suites: which sets, how they are split and learnt, and what is scored."""

from collections.abc import Callable
from dataclasses import dataclass

from skimb.benchmark._fits import (
    BLOCKS,
    learn_classes,
    learn_labels,
    learn_numbers,
    learn_stream,
)
from skimb.benchmark._methods import METHODS
from skimb.benchmark._metrics import (
    BINARY,
    LABELS,
    MULTICLASS,
    NUMBERS,
    ORDINAL,
    STREAMS,
    binary_scores,
    label_scores,
    multiclass_scores,
    number_scores,
    ordinal_scores,
    stream_scores,
)
from skimb.benchmark._sets import (
    LEAST_STREAM,
    classes_of,
    heeded,
    heeding,
    labels_of,
    numbers_of,
    plain,
    stream_of,
    streamed,
    streaming,
    unheeded,
)


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

_HEEDED = _flat("""
    60 % of the rows train, the same for all methods: the past where rows have times, else groups that are kept
    whole where they have groups.
""")

_ORDINAL = Suite(
    name="ordinal",
    title="Ordered classes",
    tasks=("ordinal",),
    metrics=ORDINAL,
    load=classes_of,
    split=heeding,
    way=heeded,
    learn=learn_classes,
    scores=ordinal_scores,
    words=_flat(f"""
        {_HEEDED} Splits are stratified by class. {_TABLES} Errors are differences of codes; macro MAE is the
        mean over classes of the mean absolute error of each. Decisions are those of `predict`; "rounded" takes
        the code nearest to a regressor's number, "median" the median of a classifier's probabilities.
    """),
)

_REGRESSION = Suite(
    name="regression",
    title="Numbers",
    tasks=("regression",),
    metrics=NUMBERS,
    load=numbers_of,
    split=heeding,
    way=heeded,
    learn=learn_numbers,
    scores=number_scores,
    words=_flat(f"""
        {_HEEDED} Categories and missing values reach CatBoost, LightGBM, XGBoost, HistGradientBoosting and TabM
        as they are, forests as codes; linear models and nets are behind median imputation, scaling and one-hot
        columns, and nets and BalancedRidge learn a scaled target. Errors are given as shares of those of a
        constant: the mean of the training targets for squared, their median for absolute errors. Balanced MAE
        is the mean over ten equal ranges of the target of the mean absolute error in each; rare targets lie
        outside the 5 % and 95 % points of the training targets.
    """),
)

_MULTILABEL = Suite(
    name="multilabel",
    title="Several labels",
    tasks=("multilabel",),
    metrics=LABELS,
    load=labels_of,
    split=heeding,
    way=heeded,
    learn=learn_labels,
    scores=label_scores,
    words=_flat(f"""
        {_HEEDED} Splits are stratified by the rarest label of each row. Labels that fewer than five rows have are
        left out. Columns are imputed by the median, scaled and one-hot, as codes for the forest. Macro AP and
        macro F1 are means over labels that some test row has; decisions are those of `predict`. The log loss is
        given as a share of that of a constant, the labels' shares among the training rows.
    """),
)

_TEXT = Suite(
    name="text",
    title="Texts",
    tasks=("text-binary", "text-multiclass", "text-ordinal"),
    metrics=MULTICLASS,
    load=classes_of,
    split=heeding,
    way=heeded,
    learn=learn_classes,
    scores=multiclass_scores,
    words=_flat(f"""
        {_HEEDED} Splits are stratified by class. All methods see TF-IDF weights of words and pairs of words
        that two training texts have. {_DECISIONS} {_RATIO}
    """),
)

_STREAMS = Suite(
    name="streams",
    title="Streams",
    tasks=("binary",),
    metrics=STREAMS,
    load=stream_of,
    split=streaming,
    way=streamed,
    learn=learn_stream,
    scores=stream_scores,
    words=_flat(f"""
        Tables of two classes with at least {LEAST_STREAM:,} rows, in the order of their times, shuffled where
        they have none, so that there is a drift only in sets with times. Methods learn the first tenth, or more
        until it has ten rare rows, then {BLOCKS} blocks, each predicted before it is learnt. Columns are
        imputed, scaled and one-hot as the first part says. "Refitted" methods keep all rows and fit anew after
        every ten blocks. Scores are over all blocks together; G-mean and balanced accuracy are those of the
        more probable class, the tuned G-mean has a threshold tuned on one half of these rows and scored on the
        other, then swapped. The log loss is given as a share of that of the classes' shares in the first part.
    """),
)

_ALL = (_BINARY, _MULTICLASS, _MULTILABEL, _ORDINAL, _REGRESSION, _TEXT, _STREAMS)
SUITES = {suite.name: suite for suite in _ALL}
