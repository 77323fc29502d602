"""Every reference of the documents points at something that exists; `make links` asks the network for the others."""

import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BUILT = ("_build", "auto_examples", "generated")
PAGES = [
    path
    for path in [*ROOT.glob("*.md"), *DOCS.rglob("*.rst"), *DOCS.rglob("*.md")]
    if not set(path.relative_to(ROOT).parts) & {*BUILT, "_templates"}
]
ROLE = re.compile(r"(?::(?:py:)?|\{)(?P<role>\w+)[:}]`(?:[^`<]*<)?[~!]?(?P<target>[^`<>]+)>?`")
FILE = re.compile(r"^ *\.\. (?:image|figure|include|literalinclude|plot):: +(\S+)", re.MULTILINE)
ANCHOR = re.compile(r"^ *\.\. _([^:`]+):", re.MULTILINE)
TOCTREE = re.compile(r"^( *)\.\. toctree::\n((?:\1 +\S.*\n|\n)+)", re.MULTILINE)
CARD = re.compile(r":link: (\S+)\n +:link-type: doc")
MARKDOWN = re.compile(r"\]\((?!\w+:)([^)#\s]*)(#[^)\s]+)?\)")
HTML = re.compile(r'(?:src|href)="(?!\w+:)([^"#]+)')
NAMED = re.compile(
    r"\b(?:tests|docs|examples|skimb|conda)/[\w./-]*\w|(?<![\w/])\.(?:ci|github)/[\w./-]*\w"
)
MADE = re.compile(r"docs/(?:_build|auto_examples|api/generated)\b")  # by `make docs`
MAKE = re.compile(r"(?:`|run: )make ([a-z-]+(?: [a-z-]+)*)([^`\n]*)")
DOTTED = re.compile(r"``(skimb(?:\.\w+){2,})``")  # one name alone may be a key, as in ONNX
OBJECTS = {"class", "func", "meth", "attr", "mod", "obj", "data", "exc"}


def without_code(text):
    """A page without blocks and spans of code, in which brackets are no links."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"``.+?``|(?<![:}`\w])`[^`]+`(?!_)", "", text)


@cache
def labels():
    """Labels that `ref` may name, and the examples, each of which makes one."""
    found = {a for path in PAGES if path.suffix == ".rst" for a in ANCHOR.findall(path.read_text())}
    return found | {f"sphx_glr_auto_examples_{p.name}" for p in ROOT.glob("examples/*.py")}


@cache
def terms():
    text = (DOCS / "glossary.rst").read_text()
    return {line.strip() for line in text.splitlines() if re.match(r" {3}\S", line)}


@cache
def exists(name):
    """Whether a dotted name is a module, or an attribute of one."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            thing = import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for part in parts[n:]:
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False


def is_page(path, target):
    """Whether a page of the documentation, from the folder of another or from the root with a slash."""
    place = DOCS / target[1:] if target.startswith("/") else path.parent / target
    if place.parent.name == "auto_examples":
        return place.name == "index" or (ROOT / "examples" / f"{place.name}.py").exists()
    return any(place.with_name(f"{place.name}{suffix}").exists() for suffix in (".rst", ".md"))


def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def has_heading(path, anchor):
    return anchor in {slug(h) for h in re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)}


def broken(path, text):
    """References of a page that lead nowhere."""
    for match in ROLE.finditer(text):
        role, target = match["role"], match["target"].strip()
        absent = {
            "doc": lambda t: not is_page(path, t),
            "ref": lambda t: t not in labels(),
            "term": lambda t: t not in terms(),
        } | dict.fromkeys(OBJECTS, lambda t: t.startswith("skimb.") and not exists(t))
        if absent.get(role, lambda t: False)(target):
            yield match[0]
    for target in FILE.findall(text):
        if not (path.parent / target).exists():
            yield target
    for _, block in TOCTREE.findall(text):
        entries = [line.strip() for line in block.splitlines() if line.strip()]
        for entry in entries:
            target = re.sub(r"^.+<(.+)>$", r"\1", entry)
            if not entry.startswith(":") and not is_page(path, target):
                yield f"toctree: {entry}"
    for target in CARD.findall(text):
        if not is_page(path, target):
            yield f":link: {target}"
    if path.suffix == ".md":
        for target, anchor in MARKDOWN.findall(without_code(text)):
            file = path.parent / target if target else path
            if not file.exists() or (anchor and not has_heading(file, anchor[1:])):
                yield f"]({target}{anchor})"
        yield from (t for t in HTML.findall(text) if not (path.parent / t).exists())


def not_there(text, rules):
    """Files of the repository, modules and targets of make that a text names and that are gone."""
    for name in NAMED.findall(text):
        if not MADE.match(name) and not (ROOT / name).exists():
            yield name
    yield from (name for name in DOTTED.findall(text) if not exists(name))
    for line, arguments in MAKE.findall(text):
        yield from (f"make {name}" for name in line.split() if name not in rules)
        for name in re.findall(r"NAME=(\w+)", arguments):
            if not (ROOT / "tests" / "bench" / "claims" / f"{name}.py").exists():
                yield f"NAME={name}"


@pytest.fixture(scope="module")
def rules():
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_pages_refer_to_what_is_there():
    assert len(PAGES) > 50
    found = [f"{p.relative_to(ROOT)}: {what}" for p in PAGES for what in broken(p, p.read_text())]
    assert not found


def test_docstrings_refer_to_what_is_there():
    sources = [(path, path.read_text()) for path in (ROOT / "skimb").rglob("*.py")]
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path, text in sources
        for match in ROLE.finditer(text)
        if match["role"] in OBJECTS and match["target"].startswith("skimb.")
        if not exists(match["target"])
    ]
    assert sum(len(ROLE.findall(text)) for _, text in sources) > 500
    assert not found


def test_files_and_targets_that_are_named_exist(rules):
    folders = (".ci", ".github", "conda", "examples", "skimb", "tests/bench")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    texts = {
        path: path.read_text()
        for path in [
            *PAGES,
            *files,
            *map(ROOT.joinpath, ("Makefile", "MANIFEST.in", "pyproject.toml")),
        ]
        if path.suffix in ("", ".in", ".md", ".py", ".rst", ".toml", ".yaml", ".yml")
    }
    found = [
        f"{path.relative_to(ROOT)}: {what}"
        for path, text in texts.items()
        for what in not_there(text, rules)
    ]
    assert not found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("guide/a.rst", ":doc:`nowhere`"),
        ("guide/a.rst", ":doc:`there <../nowhere>`"),
        ("guide/a.rst", ":ref:`no-such-label`"),
        ("guide/a.rst", ":term:`no such term`"),
        ("guide/a.rst", ":class:`~skimb.losses.NoSuchLoss`"),
        ("guide/a.rst", ":meth:`~skimb.losses.Focal.no_such_method`"),
        ("guide/a.rst", ".. image:: ../_static/nothing.png\n"),
        ("guide/a.rst", ".. toctree::\n   :maxdepth: 1\n\n   losses\n   nowhere\n"),
        ("guide/a.rst", ".. toctree::\n\n   Losses <losses>\n   A title <nowhere>\n"),
        ("index.rst", "   :link: guide/nowhere\n      :link-type: doc"),
        ("a.md", "[text](nowhere.md)"),
        ("a.md", "[text](#no-heading)\n\n# Heading\n"),
        ("a.md", "{doc}`nowhere`"),
        ("a.md", '<img src="nothing.png">'),
    ],
)
def test_a_broken_reference_is_found(name, text):
    assert len(list(broken(DOCS / name, text))) == 1


def test_a_missing_script_is_found(rules):
    text = (
        "tests/bench/no.py, tests/test_links.py, docs/no, docs/_build/html, .ci/no, `make no`, `make docs links`, "
        "`make claim NAME=no`, run: make nil\n``skimb.no.name``, ``skimb._core.warn``"
    )
    absent = ["tests/bench/no.py", "docs/no", ".ci/no", "skimb.no.name", "make no", "NAME=no", "make nil"]  # fmt: skip
    assert list(not_there(text, rules)) == absent
