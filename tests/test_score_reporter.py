"""Scores of epochs reach a function, whichever way an estimator is copied and however many nets it trains."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score

from skimb.neural_network import MLPClassifier, TabMClassifier, TabMRegressor
from skimb.training import ClassPowerSampler, ScoreReporter


class Seen:
    """Remembers what is reported and ends training after some epochs."""

    def __init__(self, enough=None):
        self.pairs, self.enough = [], enough

    def __call__(self, score, epoch):
        self.pairs.append((score, epoch))
        return len(self.pairs) == self.enough

    scores = property(lambda self: [score for score, _ in self.pairs])
    epochs = property(lambda self: [epoch for _, epoch in self.pairs])


def net(seen, monitor="valid_score", **kw):
    kw = {"max_iter": 6, "early_stopping": True, "random_state": 0, **kw}
    return MLPClassifier((4,), callbacks=[ScoreReporter(seen, monitor)], **kw)


def ensembles(seen, **kw):
    kw = {"max_iter": 8, "validation_folds": 3, "random_state": 0, **kw}
    return TabMClassifier(2, 8, callbacks=[ScoreReporter(seen)], **kw)


def test_one_net_reports_its_best_score_so_far(rare):
    seen = Seen()
    model = net(seen).fit(*rare)
    assert seen.epochs == list(range(6))
    assert seen.scores == np.maximum.accumulate(model.validation_scores_).tolist()
    model.fit(*rare)
    assert seen.epochs == 2 * list(range(6))
    assert seen.scores[6:] == seen.scores[:6]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_the_training_loss_is_reported_of_every_solver(rare, solver):
    seen = Seen(4)
    model = net(seen, "train_loss", early_stopping=False, solver=solver).fit(*rare)
    assert seen.scores == model.loss_curve_[:4]
    assert model.n_iter_ == 4


def test_partial_fits_count_on(rare):
    seen = Seen()
    model = net(seen, "train_loss", early_stopping=False)
    for _ in range(3):
        model.partial_fit(*rare)
    assert seen.epochs == [0, 1, 2]
    assert seen.scores == model.loss_curve_


def test_ensembles_report_their_mean_once_per_epoch(rare):
    seen = Seen()
    model = ensembles(seen, n_iter_no_change=1, max_iter=40).fit(*rare)
    each = [np.maximum.accumulate(s) for s in model.validation_scores_]
    assert len({len(s) for s in each}) > 1  # one of them stopped before another
    n = max(map(len, each))
    padded = [np.append(s, np.full(n - len(s), s[-1])) for s in each]
    assert seen.epochs == list(range(n))
    np.testing.assert_allclose(seen.scores, np.mean(padded, 0), rtol=1e-12)


def test_ensembles_all_end_when_told_and_predict_by_their_best_weights(rare):
    told, plain = Seen(3), Seen()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # nobody interrupted anything
        warnings.simplefilter("ignore", ConvergenceWarning)
        ended = ensembles(told).fit(*rare)
        whole = ensembles(plain, max_iter=3).fit(*rare)
    assert [len(s) for s in ended.validation_scores_] == [3, 3, 3]
    assert told.scores == plain.scores
    np.testing.assert_array_equal(ended.predict_proba(rare[0]), whole.predict_proba(rare[0]))
    assert [len(h) for h in ended.history_] == [3, 3, 3]


def test_ensembles_one_after_another_count_on_and_end(rare):
    seen = Seen(10)
    model = ensembles(seen, sampler=ClassPowerSampler(0.5)).fit(*rare)
    assert seen.epochs == list(range(10))
    assert len(model.validation_scores_) == 2  # the third was not begun
    assert [len(s) for s in model.validation_scores_] == [8, 2]


def test_copies_clones_and_regressors_tell_the_same_function(rare):
    X, y = rare
    seen = Seen()
    model = net(seen)
    assert clone(model).callbacks[0].report is seen
    assert copy.deepcopy(model).callbacks[0].report is seen
    cross_val_score(model, X, y, cv=2)
    assert seen.epochs == 2 * list(range(6))
    told = Seen(2)
    named = [("told", ScoreReporter(told))]
    TabMRegressor(n_members=2, width=8, max_iter=4, validation_folds=2, callbacks=named).fit(
        X, X[:, 0]
    )
    assert told.epochs == [0, 1]


@pytest.mark.parametrize("make", [net, ensembles])
def test_what_the_function_raises_leaves_fit(rare, make):
    class Pruned(Exception):
        pass

    def report(score, epoch):
        if epoch == 1:
            raise Pruned("as asked")

    with pytest.raises(Pruned, match="as asked"):
        make(report).fit(*rare)


def test_answers_that_are_no_truth_values_end_nothing(rare):
    assert net(lambda score, epoch: object()).fit(*rare).n_iter_ == 6
    assert net(lambda score, epoch: np.bool_(True)).fit(*rare).n_iter_ == 1


def test_wrong_reporters_are_refused(rare):
    with pytest.raises(ValueError, match=r"watches 'valid_score', which is not recorded here"):
        net(Seen(), early_stopping=False).fit(*rare)
    with pytest.raises(ValueError, match=r"monitor='loss' must be 'valid_score' or 'train_loss'"):
        net(Seen(), "loss").fit(*rare)
    with pytest.raises(TypeError, match=r"report=3 must be callable as report\(score, epoch\)"):
        net(3).fit(*rare)


def test_fitted_models_are_pickled_with_the_function(rare):
    model = ensembles(print, max_iter=1, validation_folds=2)
    again = pickle.loads(pickle.dumps(model.fit(*rare)))
    assert again.callbacks[0].report is print
    np.testing.assert_array_equal(again.predict_proba(rare[0]), model.predict_proba(rare[0]))
