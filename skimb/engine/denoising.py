"""The scheme that prefers rows of low loss, judged among the rows of their class."""

from numbers import Integral, Real

import numpy as np
import torch
from scipy import sparse
from sklearn.utils._param_validation import Interval, StrOptions

from skimb.engine.data import Blocks
from skimb.engine.replacing import Replacing
from skimb.engine.schemes import Scheme
from skimb.engine.step import squeeze_outputs


class GroupwiseDenoising(Scheme):
    r"""Prefers rows of low loss within their class, for wrong labels beside rare classes (PLD).

    Each row of a batch competes with :math:`k-1` drawn rows of its group; candidate i takes the place with chance

    .. math:: \frac{e^{-\ell_i/\tau}}{\sum_j e^{-\ell_j/\tau}},

    :math:`\ell` being the log-loss of its score at the start of the epoch, whichever loss is trained. Losses are
    compared within groups only, so that hard rows of a rare class are not taken for wrong labels because rows of
    other classes are easy.

    Parameters
    ----------
    n_candidates : int in [1, inf), default=5
        Candidates k for each place, the row itself among them; 1 is plain training.
    temperature : float in (0, inf), default=0.1
        Temperature :math:`\tau`: towards 0 the lowest loss wins, a large one lets all win alike.
    groups : {"class", "all"} or int in [0, inf), default="class"
        Among which rows losses are judged: those of the same class; all; those that agree in class and in the
        column of this number, as of a user or a site, as the net sees it.
    warmup : int in [0, inf), default=5
        Epochs of plain training before candidates compete.

    Raises
    ------
    ValueError
        If targets are no exclusive classes, or X lacks the column.

    Notes
    -----
    With groups within classes label distribution, class weights and number of steps stay as they were, so that
    probabilities need no correction of the classes' shares; "all" changes them and is there to compare with.
    Candidates are drawn with replacement, in proportion to their weights, and the place keeps its weight. Rows that
    the net finds hard are trained less, right ones among them: probabilities become too sure, and calibration on
    rows of their own is advisable.

    A forward pass over all rows per epoch gives the losses, where the authors judge each batch by present ones;
    their groups are the users of a recommender, within whose clicks losses tell noise from interest. Nets with this
    scheme are trained alone, and ``partial_fit`` counts epochs anew in each call. Results are in the guide.

    References
    ----------
    "Personalized Denoising Implicit Feedback for Robust Recommender System" (PLD), after its code.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skimb.neural_network import MLPClassifier
    >>> from skimb.training import GroupwiseDenoising
    >>> X, y = make_classification(500, weights=[0.9], flip_y=0.2, random_state=0)
    >>> model = MLPClassifier((16,), scheme=GroupwiseDenoising(), max_iter=12, tol=0, random_state=0)
    >>> model.fit(X, y).n_iter_
    12
    """

    of_matrices = True
    _parameter_constraints = {
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "groups": [StrOptions({"class", "all"}), Interval(Integral, 0, None, closed="left")],
        "warmup": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(self, n_candidates=5, *, temperature=0.1, groups="class", warmup=5):
        self.n_candidates = n_candidates
        self.temperature = temperature
        self.groups = groups
        self.warmup = warmup

    def start(self, module, data, seed):
        """Begin a fit.

        Parameters
        ----------
        module : Module
            The net that will be trained.
        data : TrainingData
            All training rows.
        seed : int
            Seed of the draws.

        Returns
        -------
        RunningScheme
            What acts in this fit.
        """
        self._validate_params()
        return _Denoised(self, module, data, seed)


class _Denoised(Replacing):
    """The scheme at work."""

    def __init__(self, settings, module, data, seed):
        super().__init__(settings, module, data, seed)
        code = self.code
        parts = {"class": [code], "all": [np.zeros_like(code)]}.get(settings.groups)
        if parts is None:
            parts = [code, self._column(settings.groups)]
        self.group = np.unique(np.stack(parts), axis=1, return_inverse=True)[1].ravel()
        # rows by group, and where the weight of each begins and ends on one axis
        self.order = np.argsort(self.group, kind="stable")
        self.ends = np.concatenate([[0.0], np.cumsum(self.weight[self.order])])
        self.bounds = np.searchsorted(self.group[self.order], np.arange(self.group.max() + 2))
        self.loss = None

    def _column(self, number):
        """Values of the column that tells groups."""
        X = self.data.X
        if isinstance(X, Blocks) or number >= X.shape[1]:
            what = "a table of several blocks" if isinstance(X, Blocks) else f"{X.shape[1]} columns"
            raise ValueError(
                f"scheme={self.settings!r} reads groups from column {number}, but X has {what}; give "
                "groups='class' or the number of a column of one table."
            )
        found = X[:, number]
        found = found.toarray().ravel() if sparse.issparse(found) else found.cpu().numpy()
        return np.unique(found, return_inverse=True)[1]

    def batch(self, batch, step):
        settings = self.settings
        if batch.epoch < settings.warmup or settings.n_candidates == 1:
            return batch
        if batch.epoch != self.epoch:
            self.epoch = batch.epoch
            self.loss = self.losses(step)
        return self.replaced(batch, self.chosen(batch.rows.cpu().numpy()))

    def chosen(self, rows):
        """Who takes the places of `rows`: the row itself or one that is drawn from its group."""
        first, stop = (self.bounds[self.group[rows] + k] for k in (0, 1))
        low, high = self.ends[first], self.ends[stop]
        share = self.rng.random_sample((self.settings.n_candidates - 1, len(rows)))
        at = np.searchsorted(self.ends, low + share * (high - low), side="right") - 1
        others = self.order[np.clip(at, first, stop - 1)]
        candidates = np.vstack([rows, others])
        noise = self.rng.gumbel(size=candidates.shape)
        best = (noise - self.loss[candidates] / self.settings.temperature).argmax(0)
        return candidates[best, np.arange(len(rows))]

    def losses(self, step):
        """Log-loss of each row by the present net."""
        if step.loss.task == "regression":
            raise ValueError(
                f"scheme={self.settings!r} judges rows of classes, and a numeric target has none."
            )
        code = self.data.target.code
        scores = step.loss.log_scores(squeeze_outputs(self.answers(step).double(), code))
        code = code.cpu()
        if scores.ndim == 1:
            positive = torch.where(code > 0, scores, -scores)
            return torch.nn.functional.softplus(-positive).numpy()
        if code.dtype != torch.int64:
            code = (code > 0).long()
        return torch.nn.functional.cross_entropy(scores, code, reduction="none").numpy()
