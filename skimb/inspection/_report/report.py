"""One page that says what a classifier of a rare class is worth."""

import platform
from numbers import Real
from pathlib import Path

import numpy as np
import scipy
import sklearn
import torch
from sklearn.utils._param_validation import Interval, validate_params

import skimb
from skimb._core.html import Estimate, number
from skimb.inspection._report import deciding, page, pictures, sections, verdicts
from skimb.inspection._report.baselines import BASELINES, check_baselines
from skimb.inspection._report.evidence import gather
from skimb.inspection._report.measures import Measures
from skimb.inspection._report.parts import Section, Table
from skimb.inspection._report.verdicts import RULES


class Report:
    """What :func:`report` found: figures as data, and one page of HTML.

    Notebooks show it by itself; ``print`` gives the sentences alone.

    Parameters
    ----------
    title : str
        Heading.
    sections : list of Section
        Each with ``key``, ``title``, ``sentence``, ``tables`` (with ``header`` and ``rows``), ``values`` (the main
        figures by name) and ``picture``.
    verdicts : list of Verdict
        Each with ``code``, ``level`` ("stop", "warn" or "note"), ``text`` and ``numbers``, the gravest first.
    summary : str
        The first line.

    Examples
    --------
    >>> from skimb.inspection import Report
    >>> empty = Report("Nothing yet", [], [], "No rule fired.")
    >>> empty.to_html().startswith("<!DOCTYPE html>")
    True
    """

    def __init__(self, title, sections, verdicts, summary):
        self.title, self.sections, self.verdicts = title, sections, verdicts
        self.summary = summary

    def __getitem__(self, key):
        """The section of a key."""
        for section in self.sections:
            if section.key == key:
                return section
        raise KeyError(
            f"The report has the sections {[s.key for s in self.sections]}, not {key!r}."
        )

    def to_html(self):
        """The page.

        Returns
        -------
        str
            HTML without scripts, which loads nothing.
        """
        return page.page(self)

    def save(self, path):
        """Write the page into a file.

        Parameters
        ----------
        path : str or Path
            The file; an existing one is replaced.

        Returns
        -------
        Path
            The file.
        """
        path = Path(path)
        path.write_text(self.to_html(), encoding="utf-8")
        return path

    def to_dict(self):
        """All figures as dicts, lists, numbers and strings.

        Returns
        -------
        dict
            What ``json.dumps`` takes; what is not known is None, pictures are left out.
        """
        return {
            "title": self.title,
            "summary": self.summary,
            "verdicts": [_plain(vars(one)) for one in self.verdicts],
            "sections": [
                {
                    "key": one.key,
                    "title": one.title,
                    "sentence": one.sentence,
                    "tables": [_plain(vars(t)) for t in one.tables],
                    "values": _plain(one.values),
                }
                for one in self.sections
            ],
        }

    def _repr_html_(self):
        return page.fragment(self)

    def __repr__(self):
        codes = ", ".join(one.code for one in self.verdicts) or "no rule fired"
        return f"<Report {self.title!r}: {codes}>"

    def __str__(self):
        return page.text(self)


def _plain(value):
    """Values that JSON knows."""
    if isinstance(value, Estimate):
        return {name: _plain(one) for name, one in value._asdict().items()}
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


@validate_params(
    {
        "estimator": "no_validation",
        "X": "no_validation",
        "y": ["array-like", "sparse matrix"],
        "sample_weight": ["array-like", None],
        "pos_label": [Real, str, "boolean", None],
        "constraint": [dict, None],
        "budget": [Real, "array-like", None],
        "cost": ["array-like", None],
        "baselines": ["array-like", str, dict, None],
        "fit_data": [tuple, list, None],
        "cv": ["cv_object"],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "draw": ["boolean"],
        "title": [str, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=False,
)
def report(
    estimator,
    X,
    y,
    *,
    sample_weight=None,
    pos_label=None,
    constraint=None,
    budget=None,
    cost=None,
    baselines=BASELINES,
    fit_data=None,
    cv=5,
    confidence=0.95,
    draw=True,
    title=None,
    random_state=0,
):
    r"""Write one page on what a classifier of a rare class is worth, with intervals, rivals and verdicts.

    A fitted classifier is evaluated on rows that it must not have seen. One that is not fitted is cross-validated:
    clones of it are fitted, it stays as it is, and each row is judged by the one that did not see it.

    Parameters
    ----------
    estimator : classifier
        Any of scikit-learn's kind with `predict_proba` or `decision_function`.
    X : array-like of shape (n_samples, n_features)
        Rows, in any form that the classifier takes.
    y : array-like of shape (n_samples,)
        One class per row.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of rows in all figures and in fits to these rows; intervals count Kish's effective rows.
    pos_label : int, float, bool or str, default=None
        The class that the page is about; None takes the second of two, of more the rarest one. Ranking, thresholds,
        budgets, calibration and usefulness are those of this class against all others.
    constraint : dict, default=None
        What to promise of new rows, as in :class:`~skimb.model_selection.GuaranteedThresholdClassifier`; None says
        which recalls could be promised.
    budget : int, float or list, default=None
        Rows that can be reviewed, or their shares; None takes 1, 5 and 10 %.
    cost : array-like of shape (n_classes, n_classes), default=None
        Costs of true class by decided class, in the order of the sorted classes.
    baselines : sequence of {"logistic", "hist_gradient_boosting", "net"} or dict, default=all three
        Rivals that are fitted to the same rows: a logistic regression with balanced class weights, gradient
        boosting and a plain net, behind the classifier's own transformers where it is a pipeline, else behind
        simple ones. A dict takes any classifiers by name. A classifier with a special loss of skimb is also
        compared with itself under class-weighted cross-entropy. An empty sequence or None fits none.
    fit_data : tuple (X, y) or (X, y, sample_weight), default=None
        Of a fitted classifier, the rows that it was fitted to. None compares nothing, and cannot look for copies.
    cv : int, splitter or iterable, default=5
        Folds, stratified and shuffled, of the cross-validation; of a fitted classifier, parts of the rows between
        which thresholds are tuned and compared.
    confidence : float in (0, 1), default=0.95
        Of intervals and promises.
    draw : bool, default=True
        Whether pictures are drawn, which needs matplotlib.
    title : str, default=None
        Heading; None names the classifier.
    random_state : int, RandomState or None, default=0
        Of folds, draws and rivals.

    Returns
    -------
    Report
        The page, its figures and its verdicts.

    Raises
    ------
    ValueError
        If y has several labels, lacks the class or others, or holds strange classes; if scores are missing; if
        costs, budget, folds, baselines or fit_data make no sense.
    TypeError
        If `estimator` is no classifier.

    Notes
    -----
    **Verdicts.** A rule speaks where its condition holds, and never in praise.

    ======= ===== ============================================================================================
    code    level condition
    ======= ===== ============================================================================================
    SKI001  stop  fewer than 10 rows of the class (then no curve is drawn)
    SKI001  warn  fewer than 30, and recall is not known to within 0.15
    SKI002  warn  the asked promise, or a recall of 0.9, needs more rows
    SKI003  warn  the test of intercept 0 and slope 1 has p < 0.01, or observed over expected lies outside 0.8 to
                  1.25 and its interval excludes 1
    SKI004  stop  log-loss no better than that of the shares of the classes, or the interval of average precision
                  reaches down to the prevalence
    SKI005  note  a special loss does not beat class-weighted cross-entropy in average precision, p >= 0.05
    SKI006  warn  average precision below that of the best rival, p < 0.05
    SKI007  note  best thresholds without one fold at a time vary by more than 0.5 in log odds (standard deviation),
                  or recall at them by more than 0.15 over folds of at least 30 rows of the class and beyond chance
                  (chi-squared, p < 0.01)
    SKI008  note  it decides at 0.5, the class is rarer than 0.1, and a tuned threshold adds more than 0.05 to F1
    SKI009  warn  a sampler in the pipeline, and observed over expected excludes 1
    SKI010  warn  more than 1 % of the rows have a copy among those trained on, or ROC AUC is above 0.999
    SKI011  warn  at the costs' threshold the net benefit stays below that of deciding all rows alike
    ======= ===== ============================================================================================

    p-values of one level are adjusted by Holm's method.

    **Intervals** of rates are Clopper and Pearson's; those of average precision, ROC AUC and of differences are
    percentiles of 500 draws of rows, stratified by class and the same for all models. With cross-validation a
    difference is that over folds, with a t-test whose variance is corrected for shared training rows
    (Nadeau and Bengio 2003).

    **Thresholds** are tuned, for each part of the rows, on all other parts, for the classifier and its rivals
    alike. Promises are exact for a fitted classifier and approximate with cross-validation.

    **The page** holds no row of the data. Everything that comes from outside is escaped.

    References
    ----------
    Nadeau and Bengio 2003, doi:10.1023/A:1024068626366. Vickers and Elkin 2006, doi:10.1177/0272989X06295361.
    Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skimb.inspection import report
    >>> X, y = make_classification(2000, weights=[0.95], class_sep=1.5, random_state=0)
    >>> model = LogisticRegression().fit(X[:1000], y[:1000])
    >>> found = report(model, X[1000:], y[1000:], fit_data=(X[:1000], y[:1000]), baselines=["logistic"], draw=False)
    >>> found["data"].values["positives"]
    51
    >>> sorted({one.level for one in found.verdicts} - {"stop", "warn", "note"})
    []
    """
    check_baselines(baselines)
    e = gather(
        estimator, X, y, sample_weight=sample_weight, pos_label=pos_label, fit_data=fit_data, cv=cv,
        confidence=confidence, cost=cost, random_state=random_state,
    )  # fmt: skip
    m = Measures(e, baselines)
    parts = [
        sections.data(m),
        sections.ranking(m),
        sections.decisions(m),
        deciding.thresholds(m),
        deciding.promises(m, constraint),
        deciding.budgets(m, budget),
        sections.probabilities(m),
        deciding.usefulness(m),
        sections.comparison(m),
        _origin(m),
    ]
    parts = [one for one in parts if one is not None]
    by_key = {one.key: one for one in parts}
    found, tested = verdicts.judge(m, by_key, constraint)
    if draw and e.drawable:
        pictures.draw_all(m, by_key, budget if np.ndim(budget) == 0 else budget[0])
    name = type(estimator).__name__
    return Report(title or f"Report on {name}", parts, found, _summary(found, by_key, tested))


def _summary(found, by_key, tested):
    tests = f"{tested} p-value{'s' * (tested != 1)}" if tested else "no p-value"
    looked = f"{len(RULES)} rules and {tests} were looked at"
    if not found:
        return f"No rule fired; {verdicts.weakest(by_key)}. {looked}."
    counts = {level: sum(one.level == level for one in found) for level in ("stop", "warn", "note")}
    said = ", ".join(f"{n} {level}" for level, n in counts.items() if n)
    return f"{len(found)} rule{'s' * (len(found) > 1)} fired ({said}); {looked}."


def _origin(m):
    """How the page was made."""
    e = m.e
    n = number(len(e.code))
    if e.cross_validated:
        how = (
            f"Each of {n} rows was judged by a clone that was fitted to the {len(e.folds) - 1} other of "
            f"{len(e.folds)} folds."
        )
    else:
        how = f"The fitted classifier was evaluated on {n} rows, which it must not have seen."
        if e.training is not None:
            how += f" Rivals were fitted to {number(len(e.training.labels))} rows."
    versions = {
        "skimb": skimb.__version__, "scikit-learn": sklearn.__version__, "torch": torch.__version__,
        "numpy": np.__version__, "scipy": scipy.__version__, "Python": platform.python_version(),
    }  # fmt: skip
    values = {
        "estimator": repr(e.estimator),
        "versions": versions,
        "random_state": repr(e.random_state),
        "cross_validated": e.cross_validated,
    }
    rows = [*versions.items(), ("random_state", repr(e.random_state)), ("confidence", e.confidence)]
    return Section("origin", "How this was made", how, [Table(("part", "value"), rows)], values)
