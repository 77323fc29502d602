"""Perceptrons that keep few weights, chosen under class weights."""

from numbers import Integral, Real

import numpy as np
import torch
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, _fit_context, clone
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from skimb._core.compat import check_sample_weight
from skimb._core.validation import drop_weightless, exclusive_target, several_classes
from skimb.engine.schemes import RunningScheme, Scheme
from skimb.neural_network import MLPClassifier
from skimb.posthoc._compact import CompactMLP

_FALSE_POSITIVES = 0.1  # rate of the training rows at which missed rows are compared


class _Masked(RunningScheme):
    """Keeps pruned weights at zero, and the weights that rounds go back to."""

    def __init__(self, module, mask, start, epoch):
        self.module, self.epoch = module, epoch
        flat = module.flat.detach()
        if start is not None:
            flat.copy_(torch.from_numpy(start))
        self.start = flat.clone()
        self.mask = torch.ones_like(flat) if mask is None else torch.from_numpy(mask).to(flat)
        self.waits = start is None and epoch > 0
        flat.mul_(self.mask)

    def batch(self, batch, step):
        if self.waits and batch.epoch >= self.epoch:
            self.start.copy_(self.module.flat.detach())
            self.waits = False
        return batch

    def after_update(self, batch, step):
        self.module.flat.detach().mul_(self.mask)

    def state(self):
        return {"start": self.start}


class Masks(Scheme):
    """Training of the weights that are left.

    Parameters
    ----------
    mask : ndarray of shape (1, n_parameters), default=None
        0 for what is pruned; None prunes nothing.
    weights : ndarray of shape (1, n_parameters), default=None
        Weights to start from; None takes those that were drawn.
    epoch : int, default=0
        Epoch whose weights are kept, where none are given.
    """

    def __init__(self, mask=None, weights=None, epoch=0):
        self.mask = mask
        self.weights = weights
        self.epoch = epoch

    def start(self, module, data, seed):
        return _Masked(module, self.mask, self.weights, self.epoch)


class ClassDependentPruner(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    r"""Train, prune and rewind a perceptron under class weights, and keep the few weights that are left.

    Each round trains the net, prunes a share of the weights that are left, those with the least magnitude
    :math:`\lvert w\rvert` (or the least increase :math:`\lvert w\rvert-\lvert w_0\rvert`), and sets the others back
    to their values :math:`w_0` before training. After :math:`R=\lceil\log(1-s)/\log(1-\rho)\rceil` prunings the
    share :math:`(1-\rho)^R\le 1-s` is left. Class weights make the rare class count in what is kept: without them
    pruning gives up that class first.

    Parameters
    ----------
    estimator : MLPClassifier
        skimb's, with a stochastic solver, for dense rows. Its `class_weight`, `deferred_reweighting`, `scheme` and
        `decoupling` must be None.
    sparsity : float in [0, 1), default=0.99
        Share :math:`s` of the weights that is pruned at least; intercepts are kept.
    rate : float in (0, 1), default=0.5
        Share :math:`\rho` of the weights left that a round prunes.
    criterion : {"magnitude", "increase"}, default="magnitude"
        What the least of is pruned.
    scope : {"layer", "global"}, default="layer"
        Whether layers are pruned alike, or all weights are compared. At least 4 weights of a layer and one of
        each output stay.
    rewind_epoch : int in [0, inf), default=0
        Epoch of the first round after which its weights are :math:`w_0`; 0 are the initial ones.
    class_weight : "balanced", "effective", dict or None, default="balanced"
        Weights of classes as in :class:`~skimb.neural_network.MLPClassifier`; None prunes blindly.
    unweighted_start : bool, default=True
        Whether the first round has no class weights.
    tolerance : float in [0, inf) or None, default=None
        The last round is kept whose rate of missed validation rows of the rarest class, at false positives of 10 %
        of the training rows, is at most that of the first round times 1 + `tolerance`; None keeps the last.
    validation_fraction : float in [0, 1), default=0.2
        Share of rows that rounds are judged by and nets are not trained on; 0 judges none.
    random_state : int, RandomState or None, default=None
        Seed of the validation rows and of the nets, in place of that of `estimator`.

    Attributes
    ----------
    coefs_ : list of scipy CSR matrix
        Weights (n_in, n_out) per layer; those that were pruned are not stored.
    intercepts_ : list of ndarray
        Intercepts.
    masks_ : list of ndarray of bool
        Which weights are left.
    net_ : CompactMLP
        What predicts: without dead units and unread features, with CSR where that is faster. It has ``widths``
        and ``nbytes``.
    sparsity_ : float
        Share of the weights that were pruned.
    rounds_ : int
        Prunings before the round that was kept.
    history_ : dict of list
        By round: ``kept`` (share of weights), and of the validation rows, the rarest class against the others,
        ``false_negative_rate`` and ``false_positive_rate`` of the decisions, ``matched_false_negative_rate`` at
        false positives of 10 % of the training rows, ``roc_auc`` and ``average_precision``.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_, feature_names_in_ : int, ndarray
        Features of X.

    Raises
    ------
    TypeError, ValueError
        If `estimator` is another classifier, or has parameters that pruning does not go with.

    Notes
    -----
    Most of what class weights gain at the usual threshold is the moved threshold: compare nets by
    ``matched_false_negative_rate``. A fit costs as much as R + 1 plain ones, each alone: nets with masks are in no
    population. ``predict_proba`` undoes the class weights. Parameters of the loss are parameters of `estimator`.

    References
    ----------
    Entezari and Saukh 2020, arXiv:1909.10364. The authors add a squared hinge on ranks to the loss; take a loss of
    pairs for `estimator` in its place. Layers keep a least number of weights, and rounds are compared at equal
    false positives: both are ours.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.neural_network import MLPClassifier
    >>> from skimb.posthoc import ClassDependentPruner
    >>> X, y = make_classification(600, weights=[0.9], random_state=0)
    >>> net = MLPClassifier((32, 32), max_iter=10, tol=0, learning_rate_init=0.01)
    >>> model = ClassDependentPruner(net, sparsity=0.9, random_state=0).fit(X, y)
    >>> model.rounds_, bool(model.sparsity_ > 0.9), model.history_["kept"][:3]
    (4, True, [1.0, 0.5, 0.25])
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict"])],
        "sparsity": [Interval(Real, 0, 1, closed="left")],
        "rate": [Interval(Real, 0, 1, closed="neither")],
        "criterion": [StrOptions({"magnitude", "increase"})],
        "scope": [StrOptions({"layer", "global"})],
        "rewind_epoch": [Interval(Integral, 0, None, closed="left")],
        "class_weight": [StrOptions({"balanced", "effective"}), dict, None],
        "unweighted_start": ["boolean"],
        "tolerance": [Interval(Real, 0, None, closed="left"), None],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator,
        *,
        sparsity=0.99,
        rate=0.5,
        criterion="magnitude",
        scope="layer",
        rewind_epoch=0,
        class_weight="balanced",
        unweighted_start=True,
        tolerance=None,
        validation_fraction=0.2,
        random_state=None,
    ):
        self.estimator = estimator
        self.sparsity = sparsity
        self.rate = rate
        self.criterion = criterion
        self.scope = scope
        self.rewind_epoch = rewind_epoch
        self.class_weight = class_weight
        self.unweighted_start = unweighted_start
        self.tolerance = tolerance
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Train and prune round by round.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of rows, in training and in the figures of validation rows.

        Returns
        -------
        ClassDependentPruner
            Itself.
        """
        self._check_estimator()
        labels = exclusive_target(self, y)
        X = validate_data(self, X, dtype=(np.float64, np.float32))
        check_consistent_length(X, labels)
        if sample_weight is not None:
            sample_weight = check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        X, labels, sample_weight = drop_weightless(X, labels, sample_weight)
        self.classes_, code = several_classes(self, labels)
        rng = check_random_state(self.random_state)
        seed = rng.randint(np.iinfo(np.int32).max)
        train, test = self._split(labels, code, seed)
        rare = int(np.bincount(code, weights=sample_weight).argmin())

        def part(at):
            return X[at], labels[at], None if sample_weight is None else sample_weight[at]

        n_rounds = int(np.ceil(np.log1p(-self.sparsity) / np.log1p(-self.rate) - 1e-9))
        history, mask, start, kept = {"kept": []}, None, None, None
        for k in range(n_rounds + 1):
            net = self._trained(part(train), mask, start, seed, first=k == 0)
            if k == 0:
                named = net._scheme_state.items()  # with other schemes names have numbers before
                start = next(v for name, v in named if name.rpartition(".")[2] == "start")
                mask = np.ones_like(start)
            left = _layers(net.net_.module_, mask)
            history["kept"].append(sum(w.sum() for w in left) / sum(w.size for w in left))
            if len(test):
                figures = _figures(net, part(train), part(test), rare)
                for name, value in figures.items():
                    history.setdefault(name, []).append(value)
            if kept is None or self._good(history):
                kept = k, net, mask
            if k < n_rounds:
                mask = self._pruned(net, mask, start)
        self.history_ = {name: [float(v) for v in values] for name, values in history.items()}
        self._take(*kept)
        return self

    def _check_estimator(self):
        net = self.estimator
        if not isinstance(net, MLPClassifier):
            raise TypeError(
                f"ClassDependentPruner prunes an MLPClassifier of skimb, got {net!r}; put the pruner into a "
                "pipeline, not a pipeline into it."
            )
        for name in ("class_weight", "scheme", "decoupling", "deferred_reweighting"):
            value = getattr(net, name)
            if value is not None:
                cure = "give it to the pruner" if name == "class_weight" else "use None"
                raise ValueError(
                    f"{name}={value!r} of the estimator does not go with pruning in rounds; {cure}."
                )
        if net.solver == "lbfgs":
            raise ValueError(
                "solver='lbfgs' of the estimator has no updates after which pruned weights are set to zero; use a "
                "stochastic solver."
            )
        if self.tolerance is not None and not self.validation_fraction:
            raise ValueError(
                f"tolerance={self.tolerance!r} judges rounds by validation rows; validation_fraction=0 sets "
                "none aside."
            )

    def _split(self, labels, code, seed):
        index = np.arange(len(code))
        if not self.validation_fraction:
            return index, index[:0]
        try:
            train, test = train_test_split(
                index, test_size=self.validation_fraction, stratify=code, random_state=seed
            )
        except ValueError as error:
            counts = dict(zip(self.classes_.tolist(), np.bincount(code).tolist(), strict=True))
            raise ValueError(
                f"ClassDependentPruner cannot set validation rows aside (validation_fraction="
                f"{self.validation_fraction}, counts per class {counts}): {error}"
            ) from error
        return train, test

    def _trained(self, rows, mask, start, seed, *, first):
        """The net of one round."""
        weight = None if first and self.unweighted_start else self.class_weight
        X, labels, sample_weight = rows
        net = clone(self.estimator).set_params(
            class_weight=weight,
            random_state=seed,
            warm_start=False,
            scheme=Masks(mask, start, self.rewind_epoch),
        )
        return net.fit(X, labels, sample_weight=sample_weight)

    def _pruned(self, net, mask, start):
        """The mask of the next round."""
        module = net.net_.module_
        flat = module.flat.detach().numpy()
        value = np.abs(flat) - np.abs(start) if self.criterion == "increase" else np.abs(flat)
        found = mask.copy()
        layers = list(zip(_layers(module, found), _layers(module, value), strict=True))
        for m, v in layers:
            v[m == 0] = -np.inf
        whole = np.concatenate([v[m > 0] for m, v in layers])
        bound = np.sort(whole)[len(whole) - int(np.ceil(len(whole) * (1 - self.rate)))]
        for i, (m, v) in enumerate(layers):
            left = int((m > 0).sum())
            n = (
                int((v >= bound).sum())
                if self.scope == "global"
                else int(np.ceil(left * (1 - self.rate)))
            )
            n = min(left, max(n, 4))
            best = np.argsort(-v, axis=None, kind="stable")[:n]
            before = m.copy()
            m[...] = 0.0
            m.flat[best] = 1.0
            if i == len(layers) - 1:  # each output reads something
                silent = np.flatnonzero(~m.any(0) & before.any(0))
                m[v[:, silent].argmax(0), silent] = 1.0
        return found

    def _good(self, history):
        """Whether the latest round may replace the one that was kept before."""
        if self.tolerance is None:
            return True
        missed = history["matched_false_negative_rate"]
        return missed[-1] <= missed[0] * (1.0 + self.tolerance)

    def _take(self, k, net, mask):
        """Keep what predictions need of the net of one round."""
        module = net.net_.module_
        self.rounds_ = k
        self.intercepts_ = [b.copy() for b in module.intercepts()]
        self.coefs_ = []
        for w, m in zip(module.coefs(), _layers(module, mask), strict=True):
            rows = sparse.csr_matrix(m)
            rows.data = w[m > 0]
            self.coefs_.append(rows)
        sizes = [w.nnz for w in self.coefs_], [w.shape[0] * w.shape[1] for w in self.coefs_]
        self.sparsity_ = 1.0 - sum(sizes[0]) / sum(sizes[1])
        self.net_ = CompactMLP(self.coefs_, self.intercepts_, module.activation)
        self._head = net._head

    @property
    def masks_(self):
        """Which weights are left, per layer."""
        check_is_fitted(self)
        return [
            sparse.csr_matrix((np.ones(w.nnz, bool), w.indices, w.indptr), w.shape).toarray()
            for w in self.coefs_
        ]

    # --- predictions -------------------------------------------------------------------------

    def _logits(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        X = X.astype(self.intercepts_[0].dtype, copy=False)
        return self._head.logits(torch.from_numpy(self.net_(X)))

    def decision_function(self, X):
        """Scores whose argmax, or sign, is ``predict``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Scores.
        """
        logits = self._logits(X)
        return self._head.decision(logits)

    def predict(self, X):
        """Classes, by the decision the loss aims at under the class weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        scores = self.decision_function(X)
        return self._head.labels(scores)

    def predict_proba(self, X):
        """Class probabilities in the population of the training rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities.
        """
        logits = self._logits(X)
        return self._head.posterior(logits)


def _layers(module, numbers):
    """Views of the weights of each layer in an array like the module's parameters."""
    return [w[0].numpy() for w in module.split(torch.from_numpy(numbers))[0]]


def _figures(net, train, test, rare):
    """How validation rows of one class are told from the others."""
    X, labels, weight = test
    label = net.classes_[rare]
    truth, decided = labels == label, net.predict(X) == label
    w = np.ones(len(truth)) if weight is None else weight
    score, others = _score(net, X, rare), _score(net, train[0][train[1] != label], rare)
    bound = np.quantile(others, 1.0 - _FALSE_POSITIVES)
    return {
        "false_negative_rate": np.average(~decided[truth], weights=w[truth]),
        "false_positive_rate": np.average(decided[~truth], weights=w[~truth]),
        "matched_false_negative_rate": np.average(score[truth] <= bound, weights=w[truth]),
        "roc_auc": roc_auc_score(truth, score, sample_weight=w),
        "average_precision": average_precision_score(truth, score, sample_weight=w),
    }


def _score(net, X, rare):
    """Scores of one class against the others."""
    z = net.decision_function(X)
    if z.ndim == 1:
        return z if rare == 1 else -z
    return net.predict_proba(X)[:, rare]
