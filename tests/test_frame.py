"""The package frame: cold imports, extras, public names, documentation, file sizes."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import skimb
from skimb._core.optional import lacking, require

ROOT = Path(__file__).parent.parent
API = sorted((ROOT / "docs" / "api").glob("*.rst"))
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / ".ci")]

import check_extra  # noqa: E402
import generate_names  # noqa: E402

PUBLIC_OBJECTS = [
    (f"skimb.{name}", thing) for name, thing in generate_names.public_objects().items()
]


@cache
def nodes():
    """All nodes of the sources, by path."""
    paths = (ROOT / "skimb").rglob("*.py")
    return {path: list(ast.walk(ast.parse(path.read_text()))) for path in paths}


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_import_is_cold():
    heavy = ["torch", "matplotlib", "lightgbm", "xgboost", "triton", "dask", "sklearn", "pandas"]
    done = run(f"import skimb, sys; print([m for m in {heavy} if m in sys.modules])")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_the_cold_import_test_can_fail():
    done = run("import skimb.losses, sys; print('torch' in sys.modules)")
    assert done.stdout.strip() == "True"


# --- extras ------------------------------------------------------------------------------------------


def test_without_extras_nets_fit_and_each_job_names_its_extra():
    done = run(
        "import sys, warnings\n"
        f"sys.path.insert(0, {str(ROOT / '.ci')!r})\n"
        "from check_extra import JOBS, TOOLS, without_extras\n"
        "extras = {m for e in JOBS.keys() - {*TOOLS} for m in JOBS[e]}\n"
        "blocked = extras - {'cloudpickle'} | {'dask', 'polars'}\n"  # newer joblib needs cloudpickle
        "class Block:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name.split('.')[0] in blocked:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Block)\n"
        "warnings.simplefilter('ignore')\n"
        "print(set(without_extras()) == extras)"
    )
    assert done.stdout.strip() == "True", done.stderr


def test_optional_imports_go_through_require_and_every_extra_has_jobs():
    """Whatever is imported and no dependency is named with an extra that brings it and has a job that uses it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    jobs = check_extra.JOBS
    assert jobs.keys() == extras.keys() - set(check_extra.BY_THE_TESTS)
    core = {
        "numpy",
        "scipy",
        "sklearn",
        "torch",
        "skorch",
        "imblearn",
        "joblib",
        "threadpoolctl",
        "skimb",
    }
    wanted, used = ("require", "lacking"), set()
    for path, found in nodes().items():
        for node in found:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in wanted:
                asked = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                if path.name == "_table_file.py":  # its callers name the extra
                    assert {name.split(".")[0] for name in asked} <= {"pandas", "pyarrow"}
                elif asked:
                    extra = node.keywords[0].value.value
                    used |= {(extra, name.split(".")[0]) for name in asked}
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "TableFile":
                extra = node.keywords[0].value.value
                used |= {(extra, "pandas"), (extra, "pyarrow")}
            tops = {name.split(".")[0] for name in names} - core - sys.stdlib_module_names
            # loaded where Triton is; rivals of the benchmark, which names those that are not there
            if not {"triton", "_methods"} & set(path.relative_to(ROOT).parts):
                assert not tops, f"{path}:{node.lineno} imports {tops}; use require"
    for extra, module in used:
        brought = re.findall(r"[\w-]+", " ".join(extras[extra]))
        assert module in brought, f"the extra {extra!r} does not bring {module!r}"
    mine = {(e, m) for e in jobs.keys() - set(check_extra.TOOLS) for m in jobs[e]}
    assert mine == used


def test_a_missing_module_names_the_cure():
    cure = r"'no_such_library' is needed here and could not be imported \(No module named .*\); get it with `pip install \"skimb\[gbdt\]\"`\.$"
    with pytest.raises(ImportError, match=cure):
        require("no_such_library", extra="gbdt")
    assert re.match(cure, lacking("no_such_library", extra="gbdt"))
    assert lacking("math", extra="plot") is None
    assert require("math", extra="plot").pi > 3


# --- names -------------------------------------------------------------------------------------------


def test_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        skimb.nothing  # noqa: B018
    assert set(skimb.__all__) <= set(dir(skimb))
    assert skimb.losses.Focal().gamma == 2.0


def test_lists_of_public_names_are_what_make_names_writes():
    """A name that came or went, and a loss whose docstring changed, show in the files."""
    for path, text in generate_names.contents().items():
        assert path.read_text() == text, f"{path.relative_to(ROOT)} is old; run `make names`"


def test_a_new_name_gets_a_place_in_the_reference(monkeypatch):
    from skimb import losses

    class Newcomer(losses.Focal):
        pass

    monkeypatch.setattr(losses, "Newcomer", Newcomer, raising=False)
    monkeypatch.setattr(losses, "__all__", [*losses.__all__, "Newcomer"])
    texts = {path.stem: path.read_text() for path in API}
    found = generate_names.api_texts(texts)
    assert "   ~losses.MultiFocal\n   ~losses.Newcomer\n" in found["losses"]
    assert found["losses"].replace("   ~losses.Newcomer\n", "") == texts["losses"]
    assert {**found, "losses": ""} == {**texts, "losses": ""}
    texts["losses"] = texts["losses"].replace(".. names: losses\n", ".. names: datasets\n")
    with pytest.raises(ValueError, match=r"skimb.losses.\w+ belongs to no list"):
        generate_names.api_texts(texts)


@pytest.mark.parametrize(("name", "thing"), PUBLIC_OBJECTS, ids=lambda v: v if isinstance(v, str) else "")  # fmt: skip
def test_public_docstrings_are_complete(name, thing):
    from numpydoc.validate import validate

    wanted = {"GL08", "SS01", "SS02", "SS03", "SS04", "PR01", "PR02", "PR03", "PR04", "RT01"}
    errors = [e for e in validate(f"{thing.__module__}.{thing.__qualname__}")["errors"] if e[0] in wanted]  # fmt: skip
    bound = isinstance(thing, type) and issubclass(thing, skimb.losses.BoundLoss)
    if bound and "__init__" not in vars(thing):  # the constructor is that of torch modules
        errors = [e for e in errors if e[0] != "PR01"]
    assert not errors, f"{name}: {errors}"


@pytest.mark.parametrize(("name", "thing"), PUBLIC_OBJECTS, ids=lambda v: v if isinstance(v, str) else "")  # fmt: skip
def test_public_names_are_documented_and_in_the_changelog(name, thing):
    short = name.rsplit(".", 1)[1]
    assert any(short in path.read_text() for path in API), f"{name} is missing in docs/api"
    assert short in (ROOT / "CHANGELOG.md").read_text(), f"{name} is missing in CHANGELOG.md"


def test_losses_and_estimators_have_running_examples():
    from skimb.losses import all_losses

    estimators = [t for name, t in PUBLIC_OBJECTS if name.endswith(("Classifier", "Regressor"))]
    for thing in [*all_losses(), *estimators]:
        assert ">>>" in (thing.__doc__ or ""), thing
        if thing in all_losses():
            assert "References" in thing.__doc__, thing
            assert "Shapes" in thing.__doc__, thing


def test_documents_and_examples_import_public_modules_only():
    private = re.compile(r"(?:from|import) skimb(?:\.\w+)*\._")
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.rst"), *ROOT.glob("docs/guide/*.rst")]
    lines = [(path, line) for path in [*pages, *ROOT.glob("examples/*.py")] for line in path.open()]
    for path in (ROOT / "skimb").rglob("*.py"):
        own = ".".join(path.relative_to(ROOT).with_suffix("").parts)  # shows itself
        shown = [line for line in path.open() if line.lstrip().startswith(">>>")]
        lines += [(path, line) for line in shown if own not in line]
    assert len(lines) > 1000
    found = [f"{path.relative_to(ROOT)}: {line}" for path, line in lines if private.search(line)]
    assert not found


def test_versions_agree():
    version = re.compile(r'^(?:version(?: =|:)|\{% set version =) "?([\d.]+)', re.MULTILINE)
    for name in ("pyproject.toml", "CITATION.cff", "conda/meta.yaml"):
        assert version.findall((ROOT / name).read_text())[0] == skimb.__version__, name


def test_the_conda_recipe_asks_for_what_the_package_does():
    names = {"torch": "pytorch"}
    project = (ROOT / "pyproject.toml").read_text().split("dependencies = [")[1].split("]")[0]
    wanted = re.findall(r'"([\w-]+)>=([\d.]+)"', project)
    recipe = (ROOT / "conda" / "meta.yaml").read_text().split("  run:")[1].split("test:")[0]
    assert len(wanted) > 5
    assert all(f"- {names.get(name, name)} >={version}\n" in recipe for name, version in wanted)


def test_files_stay_small():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / "skimb").rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 600
    }
    assert not long


def test_no_assert_no_bare_except_in_the_package():
    for path, found in nodes().items():
        if path.name == "testing.py":  # the contract is made of assertions
            continue
        for node in found:
            assert not isinstance(node, ast.Assert), f"{path}:{node.lineno}"
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"{path}:{node.lineno}"
                assert not all(isinstance(b, ast.Pass) for b in node.body), f"{path}:{node.lineno}"
