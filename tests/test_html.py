"""HTML that notebooks show: escaped, short, without colours of its own, switched by scikit-learn's option."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
import sklearn
from sklearn.datasets import make_classification

from skimb._core.html import Estimate, escaped, number, short, table
from skimb.losses import AnyLoss, CrossEntropy, Focal, LogitAdjusted, Mixed, all_losses
from skimb.model_selection import LossSearchCV
from skimb.neural_network import MLPClassifier

EVIL = "<script>alert('x')</script>\"&"


class Text(HTMLParser):
    """Text and tags of a page; refuses tags that are not closed."""

    _SINGLE = {"meta", "img", "br", "link"}

    def __init__(self, page):
        super().__init__()
        self.text, self.tags, self.open = "", [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self._SINGLE:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.500"),
        (12.345, "12.35"),
        (1234567, "1\u202f234\u202f567"),
        (1234.56, "1\u202f235"),
        (-0.25, "−0.250"),
        (-0.0, "0"),
        (0.00032, "0.00032"),
        (float("nan"), "–"),
        (None, "–"),
        (float("-inf"), "−∞"),
        (np.float64(1.0), "1"),
        ("word", "word"),
    ],
)
def test_numbers_are_written_with_three_to_four_digits(value, text):
    assert number(value) == text


def test_estimates_carry_their_interval_and_unknown_ones_are_a_dash():
    assert str(Estimate(0.5, 0.25, 0.75)) == "0.500 (0.250 to 0.750)"
    assert str(Estimate(np.nan, np.nan, np.nan)) == "–"
    shown = Text(
        table(("a", "b"), [("x", Estimate(0.5, 0.25, 0.75)), ("y", Estimate(*[np.nan] * 3))])
    )
    assert "0.500 (0.250 to 0.750)" in shown.text
    assert shown.text.endswith("y–")


def test_text_is_escaped_and_long_names_are_cut_with_the_whole_in_the_title():
    assert "<" not in escaped(EVIL)
    assert '"' not in escaped(EVIL)
    long = EVIL * 10
    [(tag, attrs)] = Text(short(long)).tags
    assert tag == "span"
    assert attrs["title"] == long
    assert len(Text(short(long)).text) == 60
    shown = Text(table((EVIL,), [(EVIL,), (1,)], caption=EVIL))
    assert "script" not in [tag for tag, _ in shown.tags]
    assert shown.text.count("alert") == 3


def test_tables_name_rows_and_columns_and_say_what_is_left_out():
    shown = Text(table(("class", "rows"), [(str(k), k) for k in range(9)], most=3))
    assert "… 6 more" in shown.text
    scopes = [attrs["scope"] for tag, attrs in shown.tags if tag == "th"]
    assert scopes == ["col"] * 2 + ["row"] * 3


@pytest.mark.parametrize("loss", all_losses(), ids=lambda loss: loss.__name__)
def test_every_loss_says_what_it_is(loss):
    shown = Text(loss()._repr_html_())
    for name in loss().get_params(deep=False):
        assert name in shown.text
    assert ":math:" not in shown.text
    assert "\\" not in shown.text.partition("}\n")[2].rpartition(";")[2]
    assert len(loss()._repr_html_()) < 5000


def test_losses_show_parameters_and_what_they_are_for():
    shown = Text(Focal(gamma=3.0)._repr_html_()).text
    assert "Focal(gamma=3.0)" in shown
    assert "gamma3.0" in shown
    assert (
        "binary, multiclass, multilabel targets; a mean over rows; probabilities are recovered"
        in shown
    )
    assert (
        "couples the rows of a batch; probabilities are not recovered"
        in Text(AnyLoss()._repr_html_()).text
    )
    assert "Focal(gamma=5)" in Text(Mixed(Focal(gamma=5))._repr_html_()).text
    assert "<script>" not in AnyLoss(metric=EVIL)._repr_html_()


@pytest.fixture(scope="module")
def search():
    X, y = make_classification(200, 5, weights=[0.8], random_state=0)
    model = MLPClassifier((4,), max_iter=2, random_state=0)
    how = {"losses": [Focal, LogitAdjusted()], "scoring": "f1", "cv": 3, "threshold": True}
    return LossSearchCV(model, {"alpha": [1e-4, 1.0]}, **how), X, y


@pytest.mark.filterwarnings("ignore")
def test_a_search_shows_its_advice_and_best_candidates(search):
    search, X, y = search
    assert "sk-" in search._repr_html_()  # scikit-learn's diagram
    search = sklearn.clone(search).fit(X, y)
    page = search._repr_html_()
    shown = Text(page)
    assert search.advice_ in shown.text
    assert f"LossSearchCV: {len(search.cv_results_['params'])} candidates, 3 folds" in shown.text
    best = search.cv_results_["mean_test_score"].max()
    assert number(float(best)) in shown.text
    rows = [tag for tag, _ in shown.tags].count("tr")
    assert rows == 1 + 5 + 1
    assert "more" in shown.text
    assert len(page) < 10_000


def test_styles_take_the_colours_of_the_page():
    page = CrossEntropy()._repr_html_()
    colours = re.findall(r"#[0-9a-fA-F]{3,6}\b|rgba?\([^)]*\)", page)
    assert colours
    assert all(one.startswith("rgba(128,128,128,") for one in colours)


def test_the_option_of_scikit_learn_turns_it_off():
    loss = Focal()
    assert set(loss._repr_mimebundle_()) == {"text/plain", "text/html"}
    with sklearn.config_context(display="text"):
        assert not hasattr(loss, "_repr_html_")
        assert loss._repr_mimebundle_() == {"text/plain": repr(loss)}
