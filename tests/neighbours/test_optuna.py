"""Optuna's own callback acts in one net, and is refused where copies of its trial would report to nobody."""

import pickle

import numpy as np
import pytest
from sklearn.datasets import make_classification

from skimb.neural_network import MLPClassifier, TabMClassifier
from skimb.training import ScoreReporter

optuna = pytest.importorskip("optuna")

X, y = make_classification(300, 4, n_redundant=0, weights=[0.8], random_state=0)


def test_the_callback_of_optuna():
    callback = pytest.importorskip("optuna_integration").SkorchPruningCallback
    study = optuna.create_study(direction="maximize")
    trial = study.ask()
    model = MLPClassifier(
        (4,), max_iter=4, early_stopping=True, callbacks=[callback(trial, "valid_score")]
    )
    model.fit(X, y)
    seen = study.trials[0].intermediate_values
    assert [*seen.values()] == model.validation_scores_
    many = TabMClassifier(
        2, 8, max_iter=2, validation_folds=2, callbacks=[callback(trial, "valid_score")]
    )
    with pytest.raises(
        ValueError, match=r"SkorchPruningCallback reports of one net.*ScoreReporter"
    ):
        many.fit(X, y)
    trial = study.ask()
    many.set_params(validation_folds=1, callbacks=[callback(trial, "valid_score")]).fit(X, y)
    assert len(study.trials[1].intermediate_values) == 2


def test_reports_reach_the_study_and_the_model_can_be_kept():
    study = optuna.create_study(direction="maximize")
    trial = study.ask()
    model = TabMClassifier(2, 8, max_iter=3, validation_folds=2, random_state=0)
    model.set_params(
        callbacks=[ScoreReporter(lambda score, epoch: trial.report(score, epoch))]
    ).fit(X, y)
    assert [*study.trials[0].intermediate_values] == [0, 1, 2]
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(model)
    again = pickle.loads(pickle.dumps(model.set_params(callbacks=None)))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
