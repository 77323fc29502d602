"""The code of each page in docs/neighbours runs as it stands, where the packages are there that it imports."""

import ast
import doctest
import importlib.util
import re
import sys
import tomllib
import warnings
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in (DOCS / "neighbours").glob("*.rst") if p.stem != "index")
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def packages(examples):
    """Top-level packages that examples import."""
    nodes = [n for example in examples for n in ast.walk(ast.parse(example.source))]
    found = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    found |= {n.module for n in nodes if isinstance(n, ast.ImportFrom)}
    return sorted(found, key=lambda name: name.startswith("skimb"))


def lacks(name):
    """Whether a package, or the part of one that a name says, is not installed."""
    top = name.partition(".")[0]
    if top == "skimb":
        return False
    try:
        return importlib.util.find_spec(name if top == "autogluon" else top) is None
    except ModuleNotFoundError:
        return True


def read(page):
    return doctest.DocTestParser().get_doctest(page.read_text(), {}, page.stem, str(page), 0)


@pytest.mark.filterwarnings("default")  # what others warn of is their affair; ours is seen below
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page(page, tmp_path, monkeypatch):
    case = read(page)
    missing = [name for name in packages(case.examples) if lacks(name)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    module = ModuleType(f"page_{page.stem}")  # pickle looks the classes of a page up in it
    monkeypatch.setitem(sys.modules, module.__name__, module)
    case.globs = vars(module)
    monkeypatch.chdir(tmp_path)  # for what examples write
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("DO_NOT_TRACK", "true")  # a test tells nobody that it runs
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    out = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tried = doctest.DocTestRunner(optionflags=FLAGS).run(
            case, out=out.append, clear_globs=False
        )
    assert not tried.failed, "".join(out)
    assert tried.attempted > 3
    ours = [w for w in caught if "skimb" in str(w.message) or f"{Path('skimb')}/" in w.filename]
    assert not ours, [str(w.message) for w in ours]


def test_every_page_is_in_the_index_and_no_code_is_left_unrun():
    index = (DOCS / "neighbours" / "index.rst").read_text()
    for page in PAGES:
        assert re.search(rf"^   {page.stem}$", index, re.M), page.stem
        assert "code-block:: python" not in page.read_text(), page.stem


def test_every_package_of_a_page_is_installed_by_make_neighbours():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *extras["test"], *extras["neighbours"]]
    brought = {re.match(r"[\w-]+", line)[0] for line in lines} | sys.stdlib_module_names | {"skimb"}
    names = {"sklearn": "scikit-learn", "imblearn": "imbalanced-learn", "mlflow": "mlflow-skinny"}
    tops = {name.split(".")[0] for page in PAGES for name in packages(read(page).examples)}
    assert {names.get(top, top) for top in tops} <= brought


def test_a_wrong_page_fails(tmp_path):
    page = tmp_path / "wrong.rst"
    page.write_text(">>> import sys\n>>> 1 + 1\n3\n")
    out = []
    assert doctest.DocTestRunner(optionflags=FLAGS).run(read(page), out=out.append).failed == 1
    assert packages(read(page).examples) == ["sys"]
    assert lacks("no_such_package")
