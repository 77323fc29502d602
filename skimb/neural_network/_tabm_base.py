"""What the TabM estimators share: raw tables, folds that are trained side by side, means over members."""

import copy
from abc import ABC, abstractmethod
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_y, check_consistent_length, check_is_fitted

from skimb._base import members
from skimb._base.estimator import Rows, open_context
from skimb._base.head import HeadParams
from skimb._base.labels import rarest_labels
from skimb._core.compat import CallbackSupportMixin
from skimb._core.validation import drop_weightless
from skimb._core.warn import warn_user
from skimb.engine.grouping import train_together
from skimb.engine.runtime import small_batch_settings
from skimb.engine.tabm_net import EMBEDDINGS, ENSEMBLES
from skimb.engine.user_callbacks import copies
from skimb.neural_network._tabm_export import EncodedColumns, member_weights
from skimb.neural_network._tabm_fold import TabMFold
from skimb.neural_network._tabm_rows import TabMRows
from skimb.preprocessing._columns import as_table
from skimb.preprocessing._table import TableReader

_POSITIVE = [Interval(Integral, 1, None, closed="left")]
SHARED_CONSTRAINTS = {
    "n_members": _POSITIVE,
    "width": _POSITIVE,
    "n_blocks": _POSITIVE,
    "ensemble": [StrOptions(set(ENSEMBLES))],
    "embedding": [StrOptions({name for name in EMBEDDINGS if name}), None],
    "d_embedding": _POSITIVE,
    "n_bins": [Interval(Integral, 2, None, closed="left")],
    "scaling": [StrOptions({"quantile", "squash"})],
    "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
    "batch_size": [StrOptions({"auto"}), *_POSITIVE],
    "max_iter": _POSITIVE,
    "n_iter_no_change": [*_POSITIVE, Options(Real, {np.inf})],
    "validation_folds": [Interval(Integral, 0, None, closed="left")],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "validation_scoring": [str, callable, None],
    "shuffle": ["boolean"],
    "warm_start": ["boolean"],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
    "device": [str],
    "mixed_precision": ["boolean"],
    "callbacks": [list, tuple, None],
}
_OF_ANY_NET = (
    "alpha", "batch_size", "learning_rate_init", "max_iter", "n_iter_no_change", "random_state", "shuffle",
)  # fmt: skip


class TabMBase(CallbackSupportMixin, BaseEstimator, ABC):
    """Base of the TabM estimators, which hold one ensemble for each validation part."""

    @abstractmethod
    def _new_head(self):
        """An object that will hold what is done with targets and scores."""

    def _to_train(self, code, sample_weight, *, new=True):
        """The target as nets learn it; units of a `new` one are learned first."""
        return code

    def _of_training(self):
        """What training reads beside the estimator's parameters, or in the place of them."""
        return {}

    @abstractmethod
    def _after_folds(self, held_out):
        """Set what follows from the outputs of held-out rows: a list of (fold, outputs, Rows)."""

    # --- fit ---------------------------------------------------------------------------------

    @torch.inference_mode(False)  # weights made in that mode could not be trained
    def _fit(self, X, y, sample_weight=None, cost=None, *, incremental=False, classes=None):
        before = vars(self).copy()
        new = not (incremental or self.warm_start) or not hasattr(self, "_folds")
        going = {"new": new, "incremental": incremental}
        try:
            table, rows = self._validate(X, y, sample_weight, cost, classes, **going)
            folds, fits = self._prepare(table, rows, **going)
        except BaseException:  # nothing was trained: what was fitted stays
            vars(self).clear()
            vars(self).update(before)
            raise
        nets = [fit.net for fit in fits]
        with small_batch_settings(one_thread=all(fit.one_thread for fit in fits)):
            context = open_context(self, X, y, rows.sample_weight, nets)
            train_together([(fit.net, fit.data) for fit in fits])
        self._finish(folds, fits, **going)
        if context is not None:
            context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes={})
        return self

    def _validate(
        self, X, y, sample_weight=None, cost=None, classes=None, *, new=True, incremental=False
    ):
        """The table, and its rows with their targets."""
        head = self._new_head() if new else self._head
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        X = as_table(X)
        y = _check_y(head.plain(y), multi_output=True, y_numeric=head.numeric, estimator=self)
        check_consistent_length(X, y)
        X, y, sample_weight, rest = drop_weightless(X, y, sample_weight, {"cost": cost})
        reader = TableReader(self.categorical_features) if new else self._reader
        table = reader.fit_read(X, self) if new else reader.read(X, self)
        code = head.read(y, classes) if new else head.encode(y, classes, partial=incremental)
        cost = head.costs(rest["cost"], code)
        self._reader, self._head = reader, head
        code = self._to_train(code, sample_weight, new=new)
        params = HeadParams.of(self)
        if "loss" in (other := self._of_training()):
            params = params._replace(loss=other["loss"])
        self._head = head.bind(params, code, sample_weight, go_on=incremental and not new)
        for name, value in self._head.attributes().items():
            setattr(self, name, value)
        return table, Rows(None, y, code, sample_weight, cost)

    def _prepare(self, table, rows, *, new, incremental):
        """An ensemble for each validation part, ready to be trained."""
        rng = check_random_state(self.random_state)
        if incremental:
            everything = np.arange(len(table)), None
            parts, settings = [everything] * (1 if new else len(self._folds)), {}
        else:
            parts, settings = self._parts(rows.code, rng)
        if not new and len(parts) != len(self._folds):
            raise ValueError(
                f"{type(self).__name__}: {len(self._folds)} ensembles were fitted, and training with warm_start "
                f"asks for {len(parts)}; keep validation_folds={self.validation_folds} and the rows, or fit anew "
                "with warm_start=False."
            )
        settings = {**self.get_params(deep=False), **self._of_training(), **settings}
        least = min(len(train) for train, _ in parts)
        if self.batch_size != "auto" and self.batch_size > least:
            warn_user(
                f"batch_size={self.batch_size} is clipped to the {least} rows of the smallest training part."
            )
            settings["batch_size"] = least
        columns, folds, fits = [], [], []
        for k, (train, _) in enumerate(parts):
            seed = rng.randint(np.iinfo(np.int32).max)
            if new:
                own = TabMRows(self.embedding, self.scaling, self.n_bins, seed)
                weight = None if rows.sample_weight is None else rows.sample_weight[train]
                columns.append(own.fit(table[train], self._reader, weight))
            else:
                columns.append(self._folds[k].columns)
        most = max(own.most_bins for own in columns)
        for k, (own, (train, valid)) in enumerate(zip(columns, parts, strict=True)):
            own.n_bins = most  # so that all ensembles have one shape
            mine = {**settings, "random_state": rng.randint(np.iinfo(np.int32).max)}
            if len(parts) > 1:  # callbacks have a state
                mine["callbacks"] = copies(self.callbacks)
            held = None if valid is None else _part(rows, valid, own.blocks(table[valid]))
            if new:
                head = self._head.fresh()
                head.warns = False
                fold = TabMFold(mine, own, head, held)
            else:
                fold = self._folds[k].again(mine, held)
            fold.held_out = held
            folds.append(fold)
            train = _part(rows, train, own.blocks(table[train]))
            fits.append(fold._prepare(train, new=new, incremental=incremental))
        return folds, fits

    def _parts(self, code, rng):
        """Pairs of training and validation rows, and settings of a training without the latter."""
        n, labels = len(code), not self._head.numeric and self._head.multilabel
        strata = rarest_labels(code) if labels else self._head.strata(code)
        wanted = self.validation_folds
        if not wanted:
            return [(np.arange(n), None)], {}
        strata = np.zeros(n, int) if strata is None else np.unique(strata, return_inverse=True)[1]
        counts = np.bincount(strata)
        held, told = n, f"{n} rows"
        if (
            len(counts) > 1 and not labels
        ):  # rows that are the only ones of their class always train
            shared = counts[counts > 1]
            held = int(shared.sum() - shared.max(initial=0))
            told += (
                f" with {n - counts.max()} outside of the most common class, of which {held} share theirs with "
                "another,"
            )
        pieces = wanted if wanted > 1 else max(2, round(1 / self.validation_fraction))
        pieces = min(pieces, held)
        if pieces < 2:
            warn_user(
                f"{type(self).__name__} sets no validation rows aside: {told} are too few. It trains "
                f"{self._few_epochs} epochs on all of them."
            )
            return [(np.arange(n), None)], {"max_iter": self._few_epochs}
        part = np.full(n, -1)
        order, at = rng.permutation(n), 0
        for stratum in np.flatnonzero(counts > 1):
            own = order[strata[order] == stratum]
            part[own] = (np.arange(len(own)) + at) % pieces
            at += len(own)
        folds = range(pieces if wanted > 1 else 1)
        return [(np.flatnonzero(part != k), np.flatnonzero(part == k)) for k in folds], {}

    @property
    def _few_epochs(self):
        return int(min(self.max_iter, self.n_iter_no_change))

    def _finish(self, folds, fits, *, new, incremental):
        pairs, held_out = list(zip(folds, fits, strict=True)), []
        # an interruption may leave some of them as they were
        begun = [p for p in pairs if any("train_loss" in epoch for epoch in p[1].net.history)]
        folds = [fold for fold, _ in begun or pairs]
        for fold, fit in begun or pairs:
            fold._finish(fit)
            held, fold.held_out = fold.held_out, None
            fold.callbacks = fold.validation_scoring = None  # they need not be what a file can hold
            if not incremental:
                fold._optimizer_state = None  # the best weights are not those that it belongs to
            if new or not incremental:
                fold.ranking = None
            if held is not None:
                raw = fold._raw(held.X)
                fold.ranking = members.ranking(fold._head, raw, held.code, held.sample_weight)
                held_out.append((fold, raw, held))
        self._folds = folds
        self.n_iter_ = max(fold.n_iter_ for fold in folds)
        self.best_iterations_ = [fold.best_iteration for fold in folds]
        self.validation_scores_ = [fold.validation_scores_ for fold in folds]
        if new or not incremental:
            self._after_folds(held_out)
        self._tell(incremental)

    def _tell(self, incremental):
        name = type(self).__name__
        if any(fold.interrupted for fold in self._folds):
            warn_user(f"Training interrupted by user; {name} keeps the best weights so far.")
        elif not incremental and not all(f.converged for f in self._folds if f.ranking):
            warn_user(
                f"{name}: max_iter={self.max_iter} epochs reached, and the validation score was still getting "
                "better; raise max_iter.",
                ConvergenceWarning,
            )

    # --- predictions -----------------------------------------------------------------------------

    def _outputs(self, X):
        """Each ensemble with its raw outputs (members, n, n_outputs) of rows."""
        check_is_fitted(self)
        table, exact = self._reader.read(X, self), torch.float64  # so that no row hangs on others
        return [(f, f._raw(f.columns.blocks(table, exact), exact)) for f in self._folds]

    def prune(self, n_members):
        """Keep the best members of each ensemble.

        Members are taken greedily: each is the one with which the mean has the best validation score.

        Parameters
        ----------
        n_members : int
            Members that each ensemble keeps.

        Returns
        -------
        TabMBase
            Itself, changed.

        Raises
        ------
        ValueError
            If an ensemble has fewer members, or was fitted without validation rows.
        """
        check_is_fitted(self)
        least = min(fold.shape.n_members for fold in self._folds)
        if isinstance(n_members, bool) or not isinstance(n_members, Integral) or n_members < 1:
            raise ValueError(f"prune: n_members={n_members!r} must be an integer, 1 or more.")
        if n_members > least:
            raise ValueError(f"prune: n_members={n_members} of ensembles of {least} members.")
        if any(fold.ranking is None for fold in self._folds):
            raise ValueError(
                f"{type(self).__name__} was fitted without validation rows, so that no member is known to be "
                "better than another; fit with validation_folds=1 or more."
            )
        for fold in self._folds:
            fold.prune(n_members)
        return self

    def to_mlp(self, member=0):
        """One member as a plain net on encoded columns, which answers as the member does.

        The first layer is linear in how far a number fills its bins and in which level a category has, so that the
        scales and embeddings of a member become weights of that layer. The mean of what all members answer, pulled
        towards the label distribution by ``shrinkage_``, is what the ensemble answers.

        Parameters
        ----------
        member : int, default=0
            Number of the member: those of the first ensemble come first, after :meth:`prune` the best of each
            ensemble first.

        Returns
        -------
        Pipeline
            ``columns``, a transformer of raw rows, and ``mlp``, a fitted float64 ``MLPClassifier`` or
            ``MLPRegressor``, whose ``coefs_`` and ``intercepts_`` are the member's and whose ``partial_fit`` goes
            on from them.

        Raises
        ------
        ValueError
            If there is no such member, or numbers have periodic embeddings, which no columns known before
            training could stand for.

        Examples
        --------
        >>> from sklearn.datasets import make_classification
        >>> from skimb.neural_network import TabMClassifier
        >>> X, y = make_classification(200, 5, random_state=0)
        >>> model = TabMClassifier(4, 8, max_iter=20, validation_folds=2, random_state=0).fit(X, y)
        >>> net = model.prune(1).to_mlp()
        >>> [w.shape for w in net["mlp"].coefs_]
        [(245, 8), (8, 8), (8, 1)]
        """
        check_is_fitted(self)
        sizes = [fold.shape.n_members for fold in self._folds]
        total = sum(sizes)
        if isinstance(member, bool) or not isinstance(member, Integral) or not 0 <= member < total:
            raise ValueError(
                f"to_mlp: member={member!r} must be an integer from 0 to {total - 1}, the number of a member."
            )
        k = int(np.searchsorted(np.cumsum(sizes), member, side="right"))
        fold = self._folds[k]
        if fold.shape.embedding == "periodic" and fold.shape.n_numbers:
            raise ValueError(
                "to_mlp: embedding='periodic' is no linear function of columns that are known before training, so "
                "that no plain net answers the same; fit with embedding='piecewise_linear' or None."
            )
        coefs, intercepts = member_weights(
            fold.net_.module_, int(member) - sum(sizes[:k]), fold.columns
        )
        net, head, coefs[-1], intercepts[-1] = self._plain_net(fold, coefs[-1], intercepts[-1])
        net.set_params(
            hidden_layer_sizes=(fold.shape.width,) * fold.shape.n_blocks,
            solver="adamw",
            **{name: getattr(fold, name) for name in _OF_ANY_NET},
        )
        head = copy.copy(head)
        head.owner, head.warns = type(net).__name__, True
        net._take_net(fold, head, coefs, intercepts)
        columns = EncodedColumns.of(self, self._reader, fold.columns)
        return Pipeline([("columns", columns), ("mlp", net)])

    @abstractmethod
    def _plain_net(self, fold, coef, intercept):
        """An unfitted plain net, the head it answers by, and an ensemble's output layer in units of the target."""

    @property
    def history_(self):
        """skorch's history of each ensemble: one record per epoch."""
        if "_folds" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no history_ before fit.")
        return [fold.net_.history for fold in self._folds]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


def _part(rows, at, X):
    """Some of the rows, with the blocks they became."""
    return Rows(X, *(None if value is None else value[at] for value in rows[1:]))
