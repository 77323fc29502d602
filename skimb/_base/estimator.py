"""The fit shared by all estimators: check, weigh, bind, build a net, train it, keep its state."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import GroupShuffleSplit, train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skimb._base.head import HeadParams
from skimb._base.state import pack_state, unpack_state
from skimb._core.compat import CallbackSupportMixin, check_sample_weight
from skimb._core.given import refuse_lazy
from skimb._core.inner import scorer_params
from skimb._core.params import NamesReadOnce
from skimb._core.warn import warn_user
from skimb.engine.adversarial import Adversary
from skimb.engine.callbacks import (
    DeferredReweighting,
    EpochTimer,
    EstimatorCallbacks,
    LearningRate,
    LossSchedule,
    Patience,
    Validation,
)
from skimb.engine.data import TrainingData, as_tensor
from skimb.engine.net import EngineNet
from skimb.engine.runtime import Draws, resolve_device, small_batch_settings, wake_autograd
from skimb.engine.sampling import Order
from skimb.engine.schemes import Several
from skimb.engine.user_callbacks import check_callbacks, named, prints

SMALL_BATCH = 4096  # up to here one thread beats several
AUTO_BATCH = 200
AUTO_BATCH_COUPLED = 1024


class Rows(NamedTuple):
    """Checked rows of a fit."""

    X: object
    y: np.ndarray
    code: np.ndarray
    sample_weight: np.ndarray | None
    cost: np.ndarray | None


class Fit(NamedTuple):
    """A fit that was prepared: what trains, on what, and what is needed to finish it."""

    net: EngineNet
    data: TrainingData
    sample_weight: np.ndarray | None
    epochs_before: int
    incremental: bool
    rows: Rows

    @property
    def one_thread(self):
        """Whether one thread beats several."""
        return self.net.device == "cpu" and self.net.order.batch_size <= SMALL_BATCH


def stochastic(estimator):
    """Refuse partial_fit for full-batch solvers and second stages; a check for ``available_if``."""
    if getattr(estimator, "decoupling", None) is not None:
        raise AttributeError(
            f"partial_fit is only available with decoupling=None, got {estimator.decoupling!r}, which is a second "
            "stage of fit."
        )
    if estimator.solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )
    return True


class NeuralBase(CallbackSupportMixin, NamesReadOnce, ABC):
    """Base of the neural estimators, each of which holds a skorch net in ``net_``."""

    _level = 0.0  # what was added to the module's own output so far

    # --- what subclasses give ----------------------------------------------------------------

    @abstractmethod
    def _new_head(self):
        """An object that will hold what is done with targets and scores: `Head` or `NumericHead`."""

    @abstractmethod
    def _new_module(self, data, bound, rng):
        """Build and initialise the torch module."""

    @abstractmethod
    def _new_step(self, module, bound, data, order, scheme):
        """Build the training step with its optimiser and the schemes of the fit, or None."""

    @abstractmethod
    def _raw(self, X):
        """Raw outputs of the net for validated X, as a CPU tensor."""

    @abstractmethod
    def _empty_module(self):
        """A module of the fitted shape, with any values."""

    @abstractmethod
    def _add_to_output(self, shift):
        """Add a constant to the raw outputs."""

    # --- fit ---------------------------------------------------------------------------------

    @torch.inference_mode(False)  # weights made in that mode could not be trained
    def _fit(self, X, y, sample_weight=None, *, incremental=False, classes=None, cost=None):
        given = X, y
        new = not (incremental or self.warm_start) or not hasattr(self, "net_")
        before = vars(self).copy() if hasattr(self, "net_") else None
        try:
            rows = self._validate(
                X, y, sample_weight, cost=cost, classes=classes, new=new, incremental=incremental
            )
            fit = self._prepare(rows, new=new, incremental=incremental)
        except BaseException:
            if before is not None:  # nothing was trained: what was fitted stays
                vars(self).clear()
                vars(self).update(before)
            raise
        with small_batch_settings(one_thread=fit.one_thread):
            context = open_context(self, *given, rows.sample_weight, [fit.net])
            fit.net.partial_fit(fit.data)
        self._finish(fit)
        if context is not None:
            context.call_on_fit_task_end(
                estimator=self, X=given[0], y=given[1], reconstruction_attributes={}
            )
        return self

    def _prepare(self, rows, *, new=True, incremental=False):
        """Do everything that comes before training; returns a `Fit`."""
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True.")
        self._check_solver_params()
        rng = check_random_state(self.random_state)
        rows, valid = self._split(rows, rng, incremental)
        X, code, sample_weight = rows.X, rows.code, rows.sample_weight
        device = resolve_device(self.device, sparse=sparse.issparse(X))
        wake_autograd(device)

        go_on = incremental and not new
        self._show(self._head.bind(self._head_params(), code, sample_weight, go_on=go_on))
        bound = self._head.bound
        if not new and not self._compatible(X, code):
            raise ValueError(
                f"{type(self).__name__} was fitted on {'sparse' if self._sparse else 'dense'} input "
                "and cannot go on with the other kind; fit it anew."
            )
        if new:
            self._dtype = self._choose_dtype(X, device)
        X = self._typed(X)
        self._weight_total = float(len(code) if sample_weight is None else sample_weight.sum())
        data = self._training_data(X, code, bound, sample_weight, device, rows.cost)
        if new:
            self._sparse = data.sparse
            module = self._new_module(data, bound, rng)
            history = None
            self.t_ = 0
            self.loss_curve_ = []
            self.validation_scores_ = [] if self.early_stopping else None
            self._generator_state = None
        else:
            module = self.net_.module_
            history = self.net_.history
        seed = int(rng.randint(np.iinfo(np.int32).max))
        generator = torch.Generator().manual_seed(seed)
        if incremental and self._generator_state is not None:
            generator.set_state(torch.from_numpy(self._generator_state))

        module.to(device)
        order = self._order(data, code, generator, self._least_batch(module))
        n_epochs = 1 if incremental else self.max_iter
        scheme = self._scheme(bound, module, data, order, seed)
        step = self._new_step(module, bound, data, order, scheme)
        if incremental and not new:
            unpack_state(step, self._optimizer_state, self._scheme_state)
        net = EngineNet(
            module,
            criterion=bound,
            step=step,
            order=order,
            max_epochs=n_epochs,
            batch_size=order.batch_size,
            callbacks=self._callbacks(step, data, valid, n_epochs, incremental),
            device=str(device),
            draws=Draws(seed) if self._draws_in_module() else None,
            epochs_before=len(self.loss_curve_) if incremental else 0,
            verbose=prints(self.callbacks),
        ).initialize()
        if history is not None:
            net.history = history
        self.net_ = net  # it can predict while it trains
        return Fit(net, data, sample_weight, len(net.history), incremental, rows)

    def _scheme(self, bound, module, data, order, seed):
        """All schemes of the fit as one, or None."""
        if self._full_batch():
            if self.scheme is not None:
                raise ValueError(
                    f"solver='lbfgs' sees all rows at once, so scheme={self.scheme!r} has no batches to act "
                    "on; use a stochastic solver."
                )
            return None
        parts = self._schemes(bound, module, data, seed)
        if "adversary" in bound.requires:
            parts.append(Adversary(order.generator.initial_seed()))
        return None if not parts else parts[0] if len(parts) == 1 else Several(parts)

    def _schemes(self, bound, module, data, seed):
        """The schemes that the user asked for, in the order in which they see a batch."""
        scheme = getattr(self, "scheme", None)
        return [] if scheme is None else [clone(scheme).start(module, data, seed)]

    def _show(self, head):
        """Hold a head and show what it holds as fitted attributes."""
        self._head = head
        if head.bound is not None:
            for name, value in head.attributes().items():
                setattr(self, name, value)

    def _head_params(self):
        """Parameters that say how the head weighs and corrects."""
        return HeadParams.of(self)

    def _validate(
        self, X, y, sample_weight=None, *, cost=None, classes=None, new=True, incremental=False
    ):
        head = self._new_head() if new else self._head
        y = head.plain(y)
        refuse_lazy(X)
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            multi_output=True,
            dtype=(np.float64, np.float32),
            reset=new,
            y_numeric=head.numeric,
        )
        if sample_weight is not None:
            sample_weight = check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
            used = sample_weight > 0
            if not used.all():
                cost = None if cost is None else np.asarray(cost)[used]
                X, y, sample_weight = X[used], y[used], sample_weight[used]
        if new:
            code = head.read(y, classes)
            self._head = head
        else:
            code = self._encode(y, classes, incremental)
        return Rows(X, y, code, sample_weight, self._head.costs(cost, code))

    def _encode(self, y, classes, incremental):
        """What the head reads of the labels of further rows."""
        return self._head.encode(y, classes, partial=incremental)

    def _take_checks(self, other):
        """Take what checking the same rows gave another estimator."""
        self._head = other._head.fresh()
        self.n_features_in_ = other.n_features_in_
        if hasattr(other, "feature_names_in_"):
            self.feature_names_in_ = other.feature_names_in_

    def _choose_dtype(self, X, device):
        """Name of the floating type to train in; kept until a new fit."""
        return str(X.dtype)

    def _typed(self, X):
        """Rows in the floating type to train in."""
        return X.astype(self._dtype, copy=False)

    def _check_solver_params(self):
        """Refuse combinations of parameters that do not go together."""

    def _split(self, whole, rng, incremental):
        """Training rows and, with early stopping, validation rows."""
        if not self.early_stopping or incremental or self._full_batch():
            return whole, None
        code = whole.code
        index = np.arange(len(code))
        try:
            if self._head.numeric and whole.cost is not None:  # whole bags of rows
                split = GroupShuffleSplit(1, test_size=self.validation_fraction, random_state=rng)
                train, valid = next(split.split(index, groups=whole.cost))
            else:
                train, valid = train_test_split(
                    index,
                    random_state=rng,
                    test_size=self.validation_fraction,
                    stratify=self._head.strata(code),
                )
        except ValueError as error:
            raise ValueError(
                f"{type(self).__name__} cannot set validation rows aside "
                f"(validation_fraction={self.validation_fraction}, {len(index)} rows, counts per "
                f"class {self._head.counts_by_label(code)}): {error}"
            ) from error
        if len(valid) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )

        def part(index):
            return Rows(*(None if a is None else a[index] for a in whole))

        return part(train), part(valid)

    def _full_batch(self):
        return getattr(self, "solver", None) == "lbfgs"

    def _compatible(self, X, code):
        return self._sparse == sparse.issparse(X)

    def _draws_in_module(self):
        """Whether the module itself draws random numbers while training."""
        return False

    def _training_data(self, X, code, bound, sample_weight, device, cost=None):
        deferred = self._deferred() is not None
        weight, late = self._head.row_weights(code, sample_weight, deferred=deferred)
        dtype = np.dtype(self._dtype)
        x = self._on_device(X, device)
        like = torch.empty(0, dtype=torch.float64 if dtype == np.float64 else torch.float32)
        target = as_tensor(np.ascontiguousarray(code))
        one = self.n_outputs_ == 1 or code.ndim == 2 or code.dtype.kind == "f"
        shape = target.shape if one else (*target.shape, self.n_outputs_)
        encoded = bound.encode(target, like.new_empty(1).expand(shape), cost)

        def tensor(w):
            return None if w is None else torch.from_numpy(w.astype(dtype)).to(device)

        encoded = encoded.each(lambda part: part.to(device))
        return TrainingData(x, encoded, tensor(weight), tensor(late))

    def _on_device(self, X, device):
        """Rows as a net reads them."""
        return X if sparse.issparse(X) else as_tensor(X, device)

    def _least_batch(self, module):
        """Rows that each batch must have for the module."""
        return 1

    def _order(self, data, code, generator, least):
        n = len(data)
        if n < least:
            raise ValueError(
                f"{type(self).__name__}: the module needs batches of at least {least} rows (batch "
                f"normalisation), got {n} in all."
            )
        if self._full_batch():
            size = n
        elif self.batch_size == "auto":
            size = min(AUTO_BATCH_COUPLED if self._head.couples_rows else self._auto_batch(n), n)
        else:
            if self.batch_size > n:
                warn_user(
                    "Got `batch_size` less than 1 or larger than sample size. "
                    "It is going to be clipped"
                )
            size = min(self.batch_size, n)
        return Order(
            n,
            size,
            generator,
            shuffle=self.shuffle,
            n_epochs=self.max_iter,
            least=least,
            bags=data.target.cost.cpu().numpy() if self._head.bound.takes_bags else None,
            **self._head.order_by_class(code, self._head_params().sampler),
        )

    def _auto_batch(self, n):
        """Rows of a batch among n rows, where no loss couples them."""
        return AUTO_BATCH

    def _callbacks(self, step, data, valid, n_epochs, incremental):
        """Engine callbacks in the order in which they must act, the user's before patience."""
        callbacks = [("timer", EpochTimer())]
        deferred = self._deferred()
        if deferred is not None:
            callbacks.append(("deferred", deferred))
        user, recorded = named(self.callbacks), {"train_loss"}
        settled = 0 if deferred is None else deferred.first_epoch(n_epochs)
        last = []
        if not step.drives_epochs:
            seen = len(self.loss_curve_) if incremental else 0
            loss = LossSchedule(step.loss, seen, self.max_iter)
            settled = max(settled, loss.settled(n_epochs))
            schedule = LearningRate(
                self._schedule(),
                self.learning_rate_init,
                power_t=getattr(self, "power_t", 0.5),
                n_epochs=n_epochs,
                seen=self.t_,
            )
            callbacks += [("loss", loss), ("schedule", schedule)]
            validation = None
            if valid is not None:
                validation = Validation(self._validation_score(valid), settled)
                callbacks.append(("validation", validation))
                recorded.add("valid_score")
            patience = Patience(
                getattr(self, "tol", 0.0),
                np.inf if incremental else getattr(self, "n_iter_no_change", np.inf),
                validation=validation,
                not_before=settled,
                floor=-np.inf if valid is None else self._validation_floor(valid),
                **({} if valid is None else self._validation_gain(valid)),
                adapt=schedule.divide if self._schedule() == "adaptive" else None,
                verbose=bool(self.verbose),
            )
            last = [("patience", patience)]
        check_callbacks(user, recorded)
        return [*callbacks, *user, *last]

    def _deferred(self):
        start = getattr(self, "deferred_reweighting", None)
        return None if start is None else DeferredReweighting(start)

    def _schedule(self):
        solver_specific = {"invscaling", "adaptive"}
        schedule = self.learning_rate
        if schedule in solver_specific and getattr(self, "solver", "sgd") != "sgd":
            return "constant"
        return schedule

    def _validation_floor(self, valid):
        """Validation score of an untrained constant, where it is known."""
        return -np.inf

    def _validation_gain(self, valid):
        """What the validation score must gain within the patience, and from where on."""
        return {}

    def _validation_score(self, valid):
        X, y, code, weight, cost = valid
        if self.validation_scoring is None:
            return lambda: self._head.score(self._logits(X), code, weight, cost)
        probe = self._head.stand_in(self._logits)
        scorer = check_scoring(probe, scoring=self.validation_scoring)
        kw = scorer_params(scorer, weight)
        return lambda: scorer(probe, X, y, **kw)

    def _finish(self, fit):
        """Restore the best weights, free the device, set fitted attributes."""
        net, data, incremental = fit.net, fit.data, fit.incremental
        step = net.step
        callbacks = dict(net.callbacks_)
        patience, validation = callbacks.get("patience"), callbacks.get("validation")
        self._generator_state = net.order.generator.get_state().numpy()
        self._optimizer_state, self._scheme_state = pack_state(step)
        if net.device != "cpu":
            self._head.bound.to("cpu")
        net.let_go()
        while net.history and "train_loss" not in net.history[-1]:
            net.history.pop()  # an epoch that was begun and not finished
        done = net.history[fit.epochs_before :]
        self._after_training(data, fit.sample_weight)
        self.n_iter_ = len(done)
        self.t_ += len(done) * len(data)
        self.loss_curve_ = [*self.loss_curve_, *(h["train_loss"] for h in done)]
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else float("nan")
        self._no_improvement_count = 0 if patience is None else patience.count
        if validation is not None:
            before = self.validation_scores_ or []
            self.validation_scores_ = [*before, *validation.scores]
            self.best_validation_score_ = validation.best_score
            self.best_loss_ = None
        else:
            self.validation_scores_ = None
            self.best_validation_score_ = None
            self.best_loss_ = min(self.loss_curve_, default=float("nan"))
        self._tell(net, step, patience, incremental)
        self._check_finite(net.module_)

    def _after_training(self, data, sample_weight):
        """Fit the level that a shift-invariant loss leaves free; show what training changed."""
        if self._head.bound.shift_invariant:
            X = data.X if self._sparse else data.X.detach().cpu().numpy()
            logits = self._head.logits(self._raw(X))
            self._add_to_output(self._head.level(logits, sample_weight, self._level))
        self._show(self._head)

    def _tell(self, net, step, patience, incremental):
        name = type(self).__name__
        if net.interrupted:
            warn_user(
                f"Training interrupted by user after {self.n_iter_} complete epochs; {name} keeps "
                "the best weights so far."
            )
        elif step.drives_epochs:
            result = step.result
            if result is not None and result.status != 0:
                warn_user(
                    f"{name}: lbfgs stopped after {result.nit} iterations without converging "
                    f"({result.message}). Raise max_iter or max_fun, or scale the data.",
                    ConvergenceWarning,
                )
        elif not incremental and not patience.stopped and self.n_iter_ == self.max_iter:
            warn_user(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
            )

    def _check_finite(self, module):
        # a sum is finite wherever all its terms are, save for overflow, which the second look settles
        sums = (p.detach().sum() for p in module.parameters())
        if all(torch.isfinite(s) for s in sums):
            return
        if not all(torch.isfinite(p).all() for p in module.parameters()):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )

    # --- predictions and state ---------------------------------------------------------------

    def _logits(self, X):
        """Scores of validated rows, as the bound loss takes them."""
        return self._head.logits(self._raw(X))

    def _check_X(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
        return X

    @property
    def history_(self):
        """skorch's history: one record per epoch."""
        if "net_" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no history_ before fit.")
        return self.net_.history

    def __getstate__(self):
        state = dict(super().__getstate__())
        net = state.pop("net_", None)
        if net is not None:
            state["_net_arrays"] = [
                t.detach().cpu().numpy().copy() for t in net.module_.state_dict().values()
            ]
            state["_net_history"] = [dict(h) for h in net.history]
        return state

    def __setstate__(self, state):
        state = dict(state)
        arrays = state.pop("_net_arrays", None)
        history = state.pop("_net_history", None)
        super().__setstate__(state)
        if arrays is not None:
            self._restore(arrays, history)

    def _restore(self, arrays, history):
        """Rebuild the net from plain arrays."""
        module = self._empty_module()
        with torch.no_grad():
            for t, a in zip(module.state_dict().values(), arrays, strict=True):
                t.copy_(torch.from_numpy(np.array(a)))
        net = EngineNet(module, criterion=self._head.bound).initialize()
        net.history.extend(history)
        self.net_ = net

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def open_context(estimator, X, y, sample_weight, nets):
    """Open scikit-learn's callback context where somebody listens, and tell it of the epochs of nets."""
    # no callback of scikit-learn was set, here or on a search around it
    if not getattr(estimator, "_skl_callbacks", None):
        return None
    metadata = None if sample_weight is None else {"sample_weight": sample_weight}
    epochs = sum(net.max_epochs for net in nets)
    context = estimator._init_callback_context(max_subtasks=epochs + 1)
    context.call_on_fit_task_begin(estimator=estimator, X=X, y=y, metadata=metadata)
    for net in nets:
        bridge = EstimatorCallbacks(context, estimator, X, y, metadata, dict)
        net.callbacks_.insert(0, ("estimator", bridge))
    return context
