"""Estimator-like objects that answer from what they hold or keep what they are given."""

import numpy as np
import pytest
from sklearn.base import is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skimb._core.stand_ins import Answers, FitRecorder, RowRecorder


def test_scorers_take_the_answers_for_a_fitted_estimator(rare):
    X, y = rare
    model = LogisticRegression().fit(X, y)
    arrays = Answers(
        model.classes_,
        predictions=model.predict(X),
        probabilities=model.predict_proba(X),
        scores=model.decision_function(X),
    )
    functions = Answers(
        model.classes_,
        predictions=model.predict,
        probabilities=model.predict_proba,
        scores=model.decision_function,
    )
    for name in ("f1", "neg_log_loss", "roc_auc", "neg_brier_score"):
        scorer = get_scorer(name)
        assert scorer(arrays, X, y) == scorer(functions, X, y) == scorer(model, X, y)
    assert is_classifier(arrays)


def test_only_what_is_held_is_answered_and_only_for_its_rows():
    decided = Answers([0, 1], predictions=np.array([0, 1]))
    assert not hasattr(decided, "predict_proba")
    assert not hasattr(decided, "decision_function")
    with pytest.raises(ValueError, match="2 rows, got 3"):
        decided.predict(np.zeros((3, 1)))
    values = Answers(predictions=np.array([1.0, 2.0]))
    assert is_regressor(values)
    assert get_scorer("r2")(values, np.zeros((2, 1)), [1.0, 2.0]) == 1.0


def test_recorders_keep_what_arrives_at_the_end_of_a_pipeline(rare):
    X, y = rare
    w = np.arange(len(y)) % 3 + 1.0
    inner = LogisticRegression()
    for recorder in (RowRecorder(inner), FitRecorder(inner)):
        pipe = make_pipeline(StandardScaler(), recorder)
        name = pipe.steps[-1][0]
        pipe.fit(X, y, **{f"{name}__sample_weight": w})
        np.testing.assert_allclose(recorder.rows_[0], StandardScaler().fit_transform(X))
        assert recorder.rows_[1] is y
        assert recorder.params_["sample_weight"] is w
    alone = LogisticRegression().fit(StandardScaler().fit_transform(X), y, w)
    np.testing.assert_allclose(inner.coef_, alone.coef_)
