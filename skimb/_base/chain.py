"""Estimators whose net is an MLP: module, steps, coefficients."""

import copy
from itertools import accumulate
from numbers import Integral, Real

import numpy as np
import torch
from scipy import sparse
from sklearn.utils._param_validation import HasMethods, Interval, Options, StrOptions

from skimb._base.estimator import AUTO_BATCH, NeuralBase
from skimb.engine.chain_nets import NetChain, infer
from skimb.engine.fullbatch import SERVES as FULL_BATCH_SERVES
from skimb.engine.fullbatch import FullBatch
from skimb.engine.mixing import Mixer
from skimb.engine.module import ModuleBackend
from skimb.engine.optim import SGD, Adam, Muon
from skimb.engine.runtime import products_type
from skimb.engine.schemes import Scheme
from skimb.engine.step import Step
from skimb.engine.table import SparseTable
from skimb.losses._base import check_served
from skimb.nets import MLP
from skimb.nets.encoder import layer_widths

LINEAR_FTOL = 64 * np.finfo(float).eps  # as scikit-learn's linear models
START_C = 10.0  # inverse strength of the linear start of a net, as LogisticRegression's
#: attributes that tell of training
RECORD = (
    "n_iter_", "t_", "loss_curve_", "loss_", "validation_scores_", "best_validation_score_", "best_loss_",
    "_no_improvement_count", "_weight_total",
)  # fmt: skip
SOLVERS = ("adam", "adamw", "sgd", "muon", "lbfgs")

SHARED_CONSTRAINTS = {
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "n_iter_no_change": [
        Interval(Integral, 1, None, closed="left"),
        Options(Real, {np.inf}),
    ],
    "validation_scoring": [str, callable, None],
    "device": [str],
    "callbacks": [list, tuple, None],
    "scheme": [Scheme, None],
}

CLASSIFIER_CONSTRAINTS = {
    "class_weight": [StrOptions({"balanced", "effective"}), dict, None],
    "prior": ["array-like", dict, None],
    "class_counts": ["array-like", dict, None],
    "sampler": [HasMethods(["class_probabilities"]), None],
    "mix": [Mixer, None],
    "deferred_reweighting": [Interval(Real, 0, 1, closed="both"), None],
}

CHAIN_CONSTRAINTS = {
    **SHARED_CONSTRAINTS,
    "solver": [StrOptions(set(SOLVERS))],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive", "cosine", "linear"})],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    "mixed_precision": ["boolean"],
}


class ChainEstimator(NeuralBase):
    """Base of the estimators over an MLP."""

    _ftol = 2.2e-9
    _start_C = START_C

    def _hidden(self):
        """Widths of the hidden layers."""
        return layer_widths(self.hidden_layer_sizes)

    def _wants_skip(self, is_sparse):
        return False

    def _output_width(self):
        """Outputs of the net, of which the first ones are the scores."""
        return self.n_outputs_

    def _output_config(self):
        """What the module is told of how it makes scores."""
        return {}

    # --- module ------------------------------------------------------------------------------

    def _new_module(self, data, bound, rng):
        X, self._level = data.X, 0.0
        self._config = {
            "widths": [X.shape[1], *self._hidden(), self._output_width()],
            "activation": self.activation,
            "sparse": data.sparse,
            "linear_skip": self._wants_skip(data.sparse),
            **self._output_config(),
        }
        module = self._empty_module()
        if (
            len(self._config["widths"]) > 2
        ):  # linear models start at zero: no draw decides their end
            module.reset(rng)
        self.n_layers_ = len(self._config["widths"])
        if module.linear_skip:
            self._start_linear(module, data, bound)
        return module

    def _empty_module(self):
        config = dict(self._config)
        dtype = torch.float64 if self._dtype == "float64" else torch.float32
        widths = config.pop("widths")
        return MLP(widths, config.pop("activation"), dtype=dtype, **config)

    def _take_net(self, other, head, coefs, intercepts):
        """Become a plain net of given weights, in float64, with a head and the record of another's training."""
        self._dtype, self._sparse, self._level = "float64", False, other._level
        self.n_features_in_ = len(coefs[0])
        widths = [len(w) for w in coefs] + [coefs[-1].shape[1]]
        self._config = {"widths": widths, "activation": self.activation, "sparse": False}
        self.n_layers_ = len(widths)
        self._show(head)
        for name in RECORD:
            setattr(self, name, copy.copy(getattr(other, name)))
        self._optimizer_state = self._scheme_state = self._generator_state = None
        parts = [w.ravel() for w in coefs] + [np.ravel(b) for b in intercepts]
        self._restore([np.concatenate(parts)[None]], other.net_.history)

    def _start_linear(self, module, data, bound):
        """Fit a linear model, as LogisticRegression does, into the skip path; the rest adds zero."""
        widths = self._config["widths"]
        linear = MLP([widths[0], widths[-1]], dtype=module.flat.dtype, sparse=True)
        start = FullBatch(
            linear,
            self._head.warm_loss() or bound,
            l2=1.0 / self._start_C / self._weight_total,
            tol=1e-4,
            ftol=LINEAR_FTOL,
        )
        start.run(data, 200, None)
        with torch.no_grad():
            module.table[:, widths[1] :] = linear.table
            weights, biases = module.split(module.flat)
            weights[-1].zero_()
            biases[-1].copy_(linear.split(linear.flat)[1][-1])

    def _least_batch(self, module):
        return 1 if module.normalization is None else 2

    def _compatible(self, X, code):
        return super()._compatible(X, code) and self._config["widths"][-1] == self._output_width()

    # --- steps -------------------------------------------------------------------------------

    def _new_step(self, module, bound, data, order, scheme):
        if module.head == "etf" and bound.shift_invariant:
            raise ValueError(
                f"{bound.name} leaves the level of the scores free, and head='etf' has no intercept to set it; use "
                "head='cosine'."
            )
        if self.solver == "lbfgs":
            cure = "use a stochastic solver"
            check_served(bound, FULL_BATCH_SERVES, "solver='lbfgs'", cure)
            return FullBatch(
                module,
                bound,
                l2=self._l2_full_batch(),
                tol=self.tol,
                max_fun=self.max_fun,
                ftol=self._ftol,
                warm_loss=self._head.warm_loss() if self._warm_lbfgs() else None,
            )
        decoupled = self.solver in {"adamw", "muon"}
        l2 = 0.0 if decoupled else self._l2_stochastic()
        decay = self.alpha if decoupled else 0.0
        betas = (self.beta_1, self.beta_2)
        products = products_type(self.mixed_precision, module.flat.device)
        if module.sparse and scheme is not None and scheme.autograd:
            asks = "" if self.scheme is None else f" with scheme={self.scheme!r}"
            asks = f" with {bound.name}" if "adversary" in bound.requires else asks
            raise ValueError(
                f"{type(self).__name__}{asks} needs gradients in the features of a row, so sparse X would become "
                "dense; use dense X or eps=0."
            )
        if products is not None or (scheme is not None and scheme.autograd):
            backend = ModuleBackend(module, products)
            flat = backend.parameters[0]
        else:
            backend, flat = self._chain(module, order, l2, decay, betas, data.groups), module.flat
        optimizer = self._optimizer(module, flat, l2, decay, betas)
        if module.sparse:
            backend.table.lr_of = lambda: optimizer.lr
        return Step(backend, bound, optimizer, scheme)

    def _chain(self, module, order, l2, decay, betas, groups):
        """The hand-written gradients of the net."""
        if not module.sparse:
            return NetChain(module, order.max_batch, groups=groups)
        table = SparseTable(
            module.table.detach(),
            lr_of=None,  # the optimiser is not there yet
            betas=betas,
            eps=self.epsilon,
            momentum=self.momentum if self.solver == "sgd" else None,
            l2=l2,
            decay=decay,
        )
        return NetChain(module, order.max_batch, table)

    def _l2_full_batch(self):
        return self.alpha / self._weight_total

    def _l2_stochastic(self):
        """The strength scikit-learn's update has at this batch size; 'auto' counts as 200 rows."""
        return self.alpha / (AUTO_BATCH if self.batch_size == "auto" else self.batch_size)

    def _warm_lbfgs(self):
        return False

    def _optimizer(self, module, flat, l2, decay, betas):
        n = module.n_weights
        value, grad = flat.detach().view(1, -1), flat.grad.view(1, -1)
        decayed = [(value[:, :n], grad[:, :n])] if n else []
        kw = {"lr": self.learning_rate_init, "l2": l2, "decay": decay, "decayed": decayed}
        if self.solver == "sgd":
            return SGD([flat], momentum=self.momentum, nesterov=self.nesterovs_momentum, **kw)
        if self.solver == "muon":
            places = self._hidden_places(module)
            n = sum(a * b for _, a, b in places)
            kw["decayed"] = [(value[:, :n], grad[:, :n])]
            return Muon([flat], places, betas=betas, eps=self.epsilon, **kw)
        return Adam([flat], betas=betas, eps=self.epsilon, **kw)

    def _hidden_places(self, module):
        """Where the hidden weight matrices lie in the flat parameter."""
        hidden = len(module.shapes) - 1
        if hidden < 1:
            raise ValueError(
                f"solver='muon' orthogonalises hidden weight matrices; hidden_layer_sizes="
                f"{self._hidden()} on this input leaves none. Use solver='adamw'."
            )
        sizes = [a * b for a, b in module.shapes[:hidden]]
        starts = [0, *accumulate(sizes)]
        return tuple((o, *shape) for o, shape in zip(starts, module.shapes[:hidden], strict=False))

    # --- outputs -----------------------------------------------------------------------------

    def _raw(self, X):
        return self._inferred(X)

    def _hidden_outputs(self, X):
        """Inputs (n, width) of the output layer, as an array."""
        return self._inferred(X, inputs=True).numpy()

    def _inferred(self, X, **kw):
        """Raw outputs, or what else `infer` gives, of validated rows."""
        module = self.net_.module_
        if sparse.issparse(X) and not module.sparse:
            X = X.toarray() if X.shape[0] * X.shape[1] <= 1 << 22 else _RowsOnDemand(X)
        elif not sparse.issparse(X) and module.sparse:
            X = sparse.csr_matrix(X)
        dtype = np.float64 if module.flat.dtype == torch.float64 else np.float32
        if isinstance(X, np.ndarray) and not X.flags.writeable:
            X = _RowsOnDemand(X)
        if X.dtype != dtype:
            X = X.astype(dtype) if not isinstance(X, _RowsOnDemand) else X.cast(dtype)
        device = module.flat.device
        found = infer(module, X, **kw)
        return found.cpu() if device.type != "cpu" else found

    def _add_to_output(self, shift):
        module = self.net_.module_
        with torch.no_grad():
            bias = module.split(module.flat)[1][-1]
            bias.add_(torch.from_numpy(np.asarray(shift)).to(bias))
        self._level = self._level + shift

    @property
    def coefs_(self):
        """Weight matrices per layer, each (n_in, n_out)."""
        self._need_net("coefs_")
        return self.net_.module_.coefs()

    @property
    def intercepts_(self):
        """Intercepts per layer."""
        self._need_net("intercepts_")
        return self.net_.module_.intercepts()

    @property
    def skip_coef_(self):
        """Weights of the linear skip path, (n_features, n_outputs), or None."""
        self._need_net("skip_coef_")
        return self.net_.module_.skip_coef()

    def _need_net(self, name):
        if "net_" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no {name} before fit.")


class _RowsOnDemand:
    """Rows made dense and writable block by block while predicting."""

    def __init__(self, X, dtype=None):
        self.X = X
        self.shape = X.shape
        self.dtype = X.dtype if dtype is None else np.dtype(dtype)

    def cast(self, dtype):
        """The same rows in another dtype."""
        return _RowsOnDemand(self.X, dtype)

    def __getitem__(self, rows):
        block = self.X[rows]
        block = block.toarray() if sparse.issparse(block) else np.array(block)
        return block.astype(self.dtype, copy=False)
