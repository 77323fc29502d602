"""The work of a search on one split: rows prepared once, members trained together and scored in bulk."""

import copy
import time
from contextlib import nullcontext
from traceback import format_exception

import numpy as np
from sklearn.base import clone
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.pipeline import Pipeline
from sklearn.utils._metadata_requests import _routing_enabled

from skimb._base.classifier import NeuralClassifier
from skimb._base.together import FitsTogether
from skimb._core.stand_ins import RowRecorder
from skimb.model_selection._bulk import bulk_score
from skimb.model_selection._rows import Outcome

_NUMBERS = 1 << 24  # scores held at once


class Candidate:
    """One parameter setting: what comes before the classifier, and the classifier itself.

    Parameters
    ----------
    estimator : Pipeline or NeuralClassifier
        What is searched over.
    params : dict
        The setting.
    """

    def __init__(self, estimator, params):
        self.before, own = {}, params
        final = estimator
        if isinstance(estimator, Pipeline):
            name, final = estimator.steps[-1]
            final = params.get(name, final)
            inside = f"{name}__"
            own = {k.removeprefix(inside): v for k, v in params.items() if k.startswith(inside)}
            rest = {k: v for k, v in params.items() if not k.startswith(inside)}
            self.before = {k: v for k, v in rest.items() if k != name}
        self.error = None
        try:
            self.classifier = clone(final).set_params(**clone(own, safe=False))
            if not isinstance(self.classifier, NeuralClassifier):
                raise TypeError(
                    "LossSearchCV trains skimb's neural and linear classifiers as populations, got "
                    f"{self.classifier!r}; list other classifiers by name: LossSearchCV([(name, classifier)])."
                )
            self.classifier._validate_params()
        except Exception as error:  # belongs to this candidate, reported with its scores
            self.error = error
        self.key = repr(sorted((k, repr(v)) for k, v in self.before.items()))

    def fresh(self):
        """An unfitted classifier."""
        c = self.classifier
        if c.callbacks or not isinstance(c.random_state, (int, type(None))):
            return clone(c)
        return copy.copy(c)  # fitting sets attributes and changes no parameter


class _Group:
    """Candidates that see the same rows."""

    def __init__(self, fold, positions):
        self.positions = positions
        first = fold.candidates[positions[0]]
        self.pipeline = None
        X, y, params = fold.X_train, fold.y_train, fold.fit_params
        if isinstance(fold.estimator, Pipeline):
            pipe = clone(fold.estimator).set_params(**clone(first.before, safe=False))
            recorder = RowRecorder(first.classifier)
            name = pipe.steps[-1][0]
            pipe.steps[-1] = (name, recorder)
            pipe.fit(X, y, **params)
            (X, y), params = recorder.rows_, recorder.params_
            self.pipeline = pipe
        members = [fold.candidates[k].fresh() for k in positions]
        self.fits = FitsTogether(members, X, y, params, fold.max_memory)

    def before(self, X):
        """Rows as they reach the classifier when it predicts."""
        return X if self.pipeline is None else self.pipeline.predict(X)

    def whole(self, classifier):
        """The fitted estimator that a user would have: with the steps before the classifier."""
        if self.pipeline is None:
            return classifier
        pipe = copy.copy(self.pipeline)
        pipe.steps = [*pipe.steps[:-1], (pipe.steps[-1][0], classifier)]
        return pipe


class Fold:
    """All candidates of a neural estimator on one split.

    Parameters
    ----------
    estimator : Pipeline or NeuralClassifier
        What is searched over.
    candidates : list of Candidate
        Settings.
    rows : SearchRows
        Rows and splits.
    number : int
        The split's.
    fit_params : dict
        Parameters of `fit` for all rows.
    keep_proba : set of int
        Candidates whose probabilities of the test rows are wanted.
    max_memory : int
        Bytes that the state of one population may take.
    """

    def __init__(self, estimator, candidates, rows, number, fit_params, keep_proba, max_memory):
        self.estimator, self.candidates = estimator, candidates
        train, test = rows.splits[number]
        self.X_train, self.y_train = rows.part(train)
        self.X_test, self.y_test = rows.part(test)
        self.fit_params = rows.params(fit_params, train)
        self.score_params = rows.params(rows.score_params, test)
        self.train_score_params = rows.params(rows.score_params, train)
        self.scorer, self.classes, self.train_scores = rows.scorer, rows.classes, rows.train_scores
        self.keep_proba, self.max_memory = keep_proba, max_memory
        self.errors = {k: c.error for k, c in enumerate(candidates) if c.error is not None}
        self.kept = set(range(len(candidates)))
        self.groups = None
        self.fit_time = np.zeros(len(candidates))

    def advance(self, until=None, keep=None):
        """Train to the epoch `until` or to the end, first dropping all candidates but `keep`; score.

        Returns
        -------
        dict of int to Outcome
            For each candidate that was trained.
        """
        if self.groups is None:
            self._start()
        if keep is not None:
            self.kept = set(keep)
        found = {}
        for group in self.groups:
            if keep is not None:
                group.fits.keep({i for i, k in enumerate(group.positions) if k in self.kept})
            began = time.perf_counter()
            group.fits.run(until)
            if until is None:
                group.fits.finish()
            self._share_time(group, time.perf_counter() - began)
            began = time.perf_counter()
            scored = self._score(group, until is None)
            seconds = (time.perf_counter() - began) / max(len(scored), 1)
            for k, (scores, train_scores, proba) in scored.items():
                found[k] = Outcome(scores, train_scores, self.fit_time[k], seconds, None, proba)
            for i, error in group.fits.errors.items():
                self.errors[group.positions[i]] = error
        for k, error in self.errors.items():
            if k in self.kept:
                text = "".join(format_exception(error))
                found[k] = Outcome(None, None, self.fit_time[k], 0.0, text, None)
        return found

    def _share_time(self, group, seconds):
        at = [group.positions[i] for i in group.fits.going]
        self.fit_time[at] += seconds / max(len(at), 1)

    def _start(self):
        by_rows = {}
        for k, candidate in enumerate(self.candidates):
            if k not in self.errors:
                by_rows.setdefault(candidate.key, []).append(k)
        self.groups = []
        for positions in by_rows.values():
            began = time.perf_counter()
            try:
                group = _Group(self, positions)
            except (
                Exception
            ) as error:  # the steps before the classifier: all candidates behind them
                self.errors |= dict.fromkeys(positions, error)
                continue
            self._share_time(group, time.perf_counter() - began)
            self.groups.append(group)

    # --- scores --------------------------------------------------------------------------------

    def _score(self, group, finished):
        """Test scores, training scores and probabilities, where wanted, of a group's members."""
        scored = {}
        members = list(group.fits.going)
        if not members:
            return scored
        size = max(1, _NUMBERS // max(len(self.y_test) * len(self.classes), 1))
        test, train = self._rows(group), None
        for s in range(0, len(members), size):
            part = members[s : s + size]
            at = [group.positions[i] for i in part]
            values, probas = test.scores(part, finished, [k in self.keep_proba for k in at])
            train_values = [None] * len(part)
            if self.train_scores:
                train = self._rows(group, training=True) if train is None else train
                train_values, _ = train.scores(part, finished, [False] * len(part))
            for k, a, b, p in zip(at, values, train_values, probas, strict=True):
                error = next((e for e in (a, b) if isinstance(e, Exception)), None)
                if error is None:
                    scored[k] = a, b, p
                else:
                    self.errors[k] = error
        return scored

    def _rows(self, group, training=False):
        X, y = (self.X_train, self.y_train) if training else (self.X_test, self.y_test)
        params = self.train_score_params if training else self.score_params
        return _ScoredRows(group, X, y, params, self.scorer, self.classes)


class _ScoredRows:
    """Rows on which a group's members are scored."""

    def __init__(self, group, X, y, params, scorer, classes):
        self.group, self.X, self.y, self.params = group, X, y, params
        self.first = group.fits.estimators[group.fits.going[0]]
        self.inner = self.first._check_X(group.before(X))
        self.own = np.searchsorted(classes, self.first.classes_)  # columns of all classes
        self.n_classes = len(classes)
        code = self._codes(np.asarray(y))
        multilabel = self.first._head.multilabel
        several = isinstance(scorer, _MultimetricScorer)
        named = scorer._scorers if several else {"score": scorer}
        self.bulk = {}
        routed = _routing_enabled() and bool(params)  # scikit-learn knows what goes where
        if code is not None and not routed and set(params) <= {"sample_weight"}:
            self.bulk = {
                name: bulk
                for name, one in named.items()
                if (bulk := bulk_score(one, self.first.classes_, multilabel)) is not None
            }
        rest = {name: one for name, one in named.items() if name not in self.bulk}
        self.alone = None
        if rest:
            self.alone = type(scorer)(scorers=rest, raise_exc=True) if several else scorer
        self.code = code

    def _codes(self, y):
        """Codes of the target where every metric is defined on these rows, else None."""
        classes = self.first.classes_
        if self.first._head.multilabel:
            return y if ((y.min(0) == 0) & (y.max(0) == 1)).all() else None
        found = np.unique(y)
        return np.searchsorted(classes, y) if np.array_equal(found, classes) else None

    def scores(self, members, finished, keep):
        """Scores by name of each member, or the error it raised, and its probabilities or None."""
        fits = self.group.fits
        wanted = {bulk.response for bulk in self.bulk.values()}
        tables = {name: [] for name in wanted}
        values, probas = [], []
        for i, wants in zip(members, keep, strict=True):
            with nullcontext(fits.estimators[i]) if finished else fits.predicting(i) as member:
                logits = member._logits(self.inner) if wanted or wants else None
                decision = member._head.decision(logits) if wanted else None
                proba = member._head.posterior(logits) if wants or "proba" in wanted else None
                values.append(self._alone(member))
            for name in wanted:
                if name == "decisions":
                    tables[name].append(member._head.codes(decision))
                else:
                    tables[name].append(decision if name == "scores" else proba)
            probas.append(self._all_classes(proba) if wants else None)
        weight = self.params.get("sample_weight")
        weight = None if weight is None else np.asarray(weight, float)
        stacked = {name: np.stack(table) for name, table in tables.items()}
        for name, bulk in self.bulk.items():
            found = bulk(self.code, stacked[bulk.response], weight, len(self.first.classes_))
            for value, score in zip(values, found.tolist(), strict=True):
                if not isinstance(value, Exception):
                    value[name] = score
        return values, probas

    def _alone(self, member):
        if self.alone is None:
            return {}
        try:
            found = self.alone(self.group.whole(member), self.X, self.y, **self.params)
        except Exception as error:  # belongs to this member, reported with its scores
            return error
        return dict(found) if isinstance(found, dict) else {"score": found}

    def _all_classes(self, proba):
        """Probabilities with a column for each class of the whole target."""
        if self.first._head.multilabel or len(self.own) == self.n_classes:
            return proba
        whole = np.zeros((len(proba), self.n_classes))
        whole[:, self.own] = proba
        return whole
