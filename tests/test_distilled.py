"""Perceptrons that learn from other classifiers: divergences, heads, several teachers, pairs."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import make_classification
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.utils.estimator_checks import parametrize_with_checks

from skimb.engine.distillation import Teaching
from skimb.ensemble import PopulationBaggingClassifier
from skimb.functional._distillation import logit_divergence, softened_divergence
from skimb.losses import (
    AdversarialCompSum,
    AnyLoss,
    BalancedSoftmax,
    CrossEntropy,
    Focal,
    LogitAdjusted,
    MannWhitney,
)
from skimb.neural_network import DistilledClassifier, MLPClassifier
from skimb.training import ClassPowerSampler

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
KW = {"hidden_layer_sizes": (16,), "max_iter": 15, "tol": 0, "learning_rate_init": 0.01, "batch_size": 50, "random_state": 0}  # fmt: skip
LINEAR = LogisticRegression()


@parametrize_with_checks(
    [DistilledClassifier(LINEAR, (16,), max_iter=30, learning_rate_init=0.02), DistilledClassifier([LINEAR, GaussianNB()], (16,), head="dual", max_iter=40, learning_rate_init=0.01)]
)  # fmt: skip
def test_sklearn_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


class Knows(ClassifierMixin, BaseEstimator):
    """A teacher that answers by a rule of its own."""

    def __init__(self, slope=2.0, bias=0.0):
        self.slope, self.bias = slope, bias

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        X = X.toarray() if sparse.issparse(X) else np.asarray(X)
        z = np.zeros((len(X), len(self.classes_)))
        z[:, 1:] = self.slope * X[:, : len(self.classes_) - 1] + self.bias
        e = np.exp(z - z.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)


@pytest.fixture(scope="module")
def two():
    return make_classification(
        400, 6, n_informative=4, class_sep=1.5, weights=[0.85], random_state=0
    )


@pytest.fixture(scope="module")
def several():
    X, y = make_classification(
        500, 6, n_classes=3, n_informative=5, n_redundant=0, weights=[0.7, 0.2], random_state=1
    )
    return X, np.array(["a", "b", "c"])[y]


def test_divergences():
    """Golden values of the second head, derivatives, and the temperature's square."""
    s, t = torch.tensor([[1.0, -2.0, 0.5]]).double(), torch.tensor([[0.5, 0.0, -1.0]]).double()
    value, slope = logit_divergence(s, t, 2.0)
    assert value.item() == pytest.approx(0.7865222873)
    np.testing.assert_allclose(slope[0], [0.124353, -0.46211716, 0.3583574], atol=1e-6)
    for of in (logit_divergence, softened_divergence):
        z = s.clone().requires_grad_()
        value, slope = of(z, t, 3.0)
        (auto,) = torch.autograd.grad(value.sum(), z)
        np.testing.assert_allclose(slope.detach(), auto, atol=1e-12)
        assert of(t, t, 3.0)[0].item() == pytest.approx(0.0, abs=1e-12)
        one = of(s[:, :1], t[:, :1], 3.0)[1]
        assert one.shape == (1, 1)
    p, q = torch.softmax(t / 3, -1), torch.softmax(s / 3, -1)
    wanted = 9 * (p * (p / q).log()).sum()
    assert softened_divergence(s, t, 3.0)[0].item() == pytest.approx(wanted.item())
    pair = [torch.cat([torch.zeros(1, 1).double(), z[:, :1]], 1) for z in (s, t)]
    two, one = softened_divergence(*pair, 3.0), softened_divergence(s[:, :1], t[:, :1], 3.0)
    np.testing.assert_allclose(one[0], two[0])
    np.testing.assert_allclose(one[1], two[1][:, 1:])


@pytest.mark.parametrize("head", ["single", "dual"])
def test_no_share_is_the_plain_net(head, several):
    X, y = several
    student = DistilledClassifier(LINEAR, share=0.0, head=head, **KW).fit(X, y)
    plain = MLPClassifier(**KW).fit(X, y)
    if head == "single":
        np.testing.assert_allclose(student.predict_proba(X), plain.predict_proba(X), atol=1e-6)
    else:  # other draws: the output layer is wider
        assert abs(student.score(X, y) - plain.score(X, y)) < 0.05
    assert [w.shape for w in student.coefs_] == [(6, 16), (16, 3)]


@pytest.mark.parametrize("divergence", ["probabilities", "logits"])
def test_a_student_alone_with_its_teacher_becomes_it(divergence, two, several):
    for X, y in (two, several):
        teacher = FrozenEstimator(Knows().fit(X, y))
        student = DistilledClassifier(
            teacher,
            share=1.0,
            divergence=divergence,
            **{**KW, "max_iter": 40, "learning_rate_init": 0.03},
        ).fit(X, y)
        p, q = teacher.predict_proba(X), student.predict_proba(X)
        assert np.abs(p - q).mean() < 0.03


@pytest.mark.parametrize(
    "kw",
    [
        {"loss": LogitAdjusted()},
        {"loss": BalancedSoftmax()},
        {"class_weight": "balanced"},
        {"sampler": ClassPowerSampler(0.0)},
        {"prior": [0.2, 0.5, 0.3]},
    ],
    ids=str,
)
def test_teachers_speak_of_the_frequencies_of_the_students_scores(kw, several):
    """Alone with a teacher, the student's probabilities are the teacher's, whatever its scores mean."""
    X, y = several
    teacher = FrozenEstimator(Knows(1.0).fit(X, y))
    student = DistilledClassifier(
        teacher, share=1.0, **{**KW, "max_iter": 30, "learning_rate_init": 0.03}, **kw
    ).fit(X, y)
    p = teacher.predict_proba(X)
    if "prior" in kw:
        p = p * np.array(kw["prior"]) / (np.unique(y, return_counts=True)[1] / len(y))
        p /= p.sum(1, keepdims=True)
    assert np.abs(p - student.predict_proba(X)).mean() < 0.03


def test_the_second_head_learns_the_teacher_and_the_first_the_labels(two):
    X, y = two
    wrong = FrozenEstimator(Knows(2.0).fit(X, y))
    student = DistilledClassifier(wrong, head="dual", **{**KW, "max_iter": 50}).fit(X, y)
    z = student.net_.module_(torch.from_numpy(X)).detach().numpy()
    assert z.shape == (400, 2)
    np.testing.assert_allclose(z[:, 0], student.decision_function(X), atol=1e-5)
    told = wrong.predict_proba(X)
    assert np.corrcoef(z[:, 1], np.log(told[:, 1] / told[:, 0]))[0, 1] > 0.95
    assert (student.predict(X) == y).mean() > 0.93
    single = DistilledClassifier(wrong, **{**KW, "max_iter": 50}).fit(X, y)
    assert (single.predict(X) == y).mean() < (student.predict(X) == y).mean()


def test_weights_of_teachers_follow_their_relative_losses():
    """The formula, by hand: who is followed less counts for more; the weights sum to 1."""
    part = Teaching(None, torch.arange(1), 0.5, None, n_teachers=2, rate=0.1)
    part._balance(torch.tensor([2.0, 1.0]).double())
    np.testing.assert_allclose(part.teachers, [0.5, 0.5])
    part._balance(torch.tensor([1.5, 0.25]).double())  # three quarters and one quarter are left
    np.testing.assert_allclose(part.teachers, [0.5 + 0.1 * 0.25, 0.5 - 0.1 * 0.25])
    again = Teaching(None, torch.arange(1), 0.5, None, n_teachers=2, rate=0.1)
    again.load_state(pickle.loads(pickle.dumps(part.state())))
    for other in (part, again):
        other._balance(torch.tensor([0.2, 0.3]).double())
    np.testing.assert_allclose(again.teachers, part.teachers)
    assert part.teachers.sum().item() == pytest.approx(1.0)


def test_balance_between_teachers(two):
    X, y = two
    teachers = [
        FrozenEstimator(Knows(2.0).fit(X, y)),
        FrozenEstimator(LogisticRegression().fit(X, y)),
    ]
    equal = DistilledClassifier(teachers, balance_rate=0.0, **KW).fit(X, y)
    assert equal.teacher_weights_.tolist() == [0.5, 0.5]
    moved = DistilledClassifier(teachers, **KW).fit(X, y)
    assert moved.teacher_weights_[0] > 0.6  # the odd one is followed less
    assert moved.teacher_weights_.sum() == pytest.approx(1.0)
    twice = DistilledClassifier([LINEAR, LINEAR], **KW).fit(X, y)
    once = DistilledClassifier(LINEAR, **KW).fit(X, y)
    np.testing.assert_allclose(twice.predict_proba(X), once.predict_proba(X), atol=1e-5)


def test_a_population_in_one_net(several):
    X, y = several
    net = MLPClassifier((16,), max_iter=10, tol=0, learning_rate_init=0.01)
    bags = PopulationBaggingClassifier(net, 4, random_state=0).fit(X, y)
    student = DistilledClassifier(FrozenEstimator(bags), **KW).fit(X, y)
    plain = MLPClassifier(**KW).fit(X, y).predict_proba(X)
    far = [np.abs(p - bags.predict_proba(X)).mean() for p in (student.predict_proba(X), plain)]
    assert far[0] < 0.8 * far[1]
    assert student.teachers_[0].estimator is bags


@pytest.mark.parametrize(
    "kw",
    [
        {"loss": LogitAdjusted(), "early_stopping": True},
        {"loss": AnyLoss("f1"), "head": "dual"},
        {"loss": Focal(), "head": "dual", "class_weight": "balanced"},
        {"loss": MannWhitney(), "head": "dual"},
        {"solver": "sgd", "deferred_reweighting": 0.5, "class_weight": "balanced", "head": "dual"},
        {"sampler": ClassPowerSampler(0.5), "divergence": "logits", "head": "dual", "solver": "adamw"},
        {"early_stopping": True, "validation_scoring": "average_precision", "callbacks": []},
    ],
    ids=str,
)  # fmt: skip
def test_pairs_work(kw, two):
    X, y = two
    w = np.arange(400) % 3
    model = DistilledClassifier(LINEAR, **{**KW, **kw}).fit(X, y, sample_weight=w)
    assert roc_auc_score(y, model.decision_function(X)) > 0.85
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.decision_function(X), model.decision_function(X))
    model.set_params(head="single", share=0.9, teacher=GaussianNB(), loss=None)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    thin = DistilledClassifier(LINEAR, **{**KW, **kw}).fit(sparse.csr_array(X), y, sample_weight=w)
    assert roc_auc_score(y, thin.decision_function(sparse.csr_array(X))) > 0.85


@pytest.mark.parametrize("head", ["single", "dual"])
def test_training_that_goes_on(head, several):
    X, y = several
    kw = {**KW, "head": head, "shuffle": False}
    both = [LINEAR, Knows()]
    whole = DistilledClassifier(both, **{**kw, "max_iter": 3}).fit(X, y)
    parts = DistilledClassifier(both, **kw)
    for _ in range(3):
        parts = pickle.loads(pickle.dumps(parts.partial_fit(X, y)))
        parts.set_params(head="dual" if head == "single" else "single")
    np.testing.assert_allclose(parts.predict_proba(X), whole.predict_proba(X), atol=1e-5)
    np.testing.assert_allclose(parts.teacher_weights_, whole.teacher_weights_)
    teachers = parts.teachers_
    assert parts.partial_fit(X[:50], y[:50]).teachers_ is teachers
    before = whole.score(X, y)
    assert whole.set_params(warm_start=True, max_iter=20).fit(X, y).score(X, y) > before


def test_weights_reach_the_teacher_and_searches_reach_both(two):
    X, y = two
    w = np.arange(400) % 3 + 0.0
    model = DistilledClassifier(LINEAR, **KW).fit(X, y, sample_weight=w)
    np.testing.assert_allclose(
        model.teachers_[0].coef_, LogisticRegression().fit(X[w > 0], y[w > 0], w[w > 0]).coef_
    )
    search = GridSearchCV(
        clone(model).set_params(loss=CrossEntropy(), max_iter=2),
        {"teacher__C": [0.1, 1.0], "share": [0.2], "loss__label_smoothing": [0.0]},
        cv=2,
    ).fit(X, y)
    assert set(search.best_params_) == {"teacher__C", "share", "loss__label_smoothing"}


def test_errors(two, several):
    X, y = two
    with pytest.raises(ValueError, match="use head='dual'"):
        DistilledClassifier(LINEAR, loss=Focal(2.0), **KW).fit(X, y)
    with pytest.raises(ValueError, match="use head='dual'"):
        DistilledClassifier(LINEAR, loss=AnyLoss("f1"), **KW).fit(X, y)
    with pytest.raises(ValueError, match="multi-label y has several"):
        DistilledClassifier(GaussianNB(), **KW).fit(X, np.c_[y, 1 - y])
    with pytest.raises(ValueError, match="two heads on one hidden layer"):
        DistilledClassifier(LINEAR, (), head="dual").fit(X, y)
    with pytest.raises(ValueError, match="must be a classifier with predict_proba"):
        DistilledClassifier([LINEAR, "nobody"], **KW).fit(X, y)
    known = several[1] != "c"
    some = FrozenEstimator(LogisticRegression().fit(several[0][known], several[1][known]))
    with pytest.raises(ValueError, match=r"does not know the classes \['c'\]"):
        DistilledClassifier(some, **KW).fit(*several)
    with pytest.raises(ValueError, match="Teaching and Adversary both change the gradient"):
        DistilledClassifier(LINEAR, loss=AdversarialCompSum(eps=0.1), head="dual", **KW).fit(
            *several
        )
    with pytest.raises(TypeError, match="takes no sample_weight"):
        DistilledClassifier(Unweighted(), **KW).fit(X, y, sample_weight=np.ones(400))


class Unweighted(Knows):
    def fit(self, X, y):
        return super().fit(X, y)
