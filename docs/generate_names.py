"""Write every list of public names from the packages' ``__all__``: run it as ``make names``.

It writes ``tests/public_names.txt``, the lists of names in ``docs/api``, the tables of losses in
``docs/generated_losses.rst`` and the page of papers, ``docs/papers.rst``. Headings and sentences of
``docs/api`` are written by hand. A comment above a list says which names stand in it::

    .. names: engine engine.mixing
"""

import re
import sys
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from generate_papers import papers_page  # noqa: E402
from generate_tables import add_searched, losses_table  # noqa: E402

_LIST = re.compile(
    r"(?P<head>^\.\. names: (?P<places>[\w. ]+)\n\n\.\. autosummary::\n   :toctree: generated\n   :nosignatures:\n)"
    r"(?:\n(?:   \S+\n)+)?",
    re.MULTILINE,
)


def public_objects():
    """Public names as ``package.name``, in order, each with its object."""
    import skimb

    packages = [name for name in skimb.__all__ if not name.startswith("__")]
    found = {
        f"{package}.{name}": getattr(module, name)
        for package in packages
        for module in [import_module(f"skimb.{package}")]
        for name in module.__all__
    }
    return dict(sorted(found.items()))


def names_text():
    """Content of tests/public_names.txt."""
    return "".join(f"skimb.{name}\n" for name in public_objects())


def _depth(place, homes):
    """Length of a place that a name belongs to by one of its homes, else 0."""
    return max(len(place) * (home == place or home.startswith(f"{place}.")) for home in homes)


def api_texts(texts):
    """The pages of docs/api, by path: each name stands in the list that names its place most closely.

    A place is a public package, a public name, or the module that defines the name.
    """
    lists = [match["places"].split() for text in texts.values() for match in _LIST.finditer(text)]
    members = [[] for _ in lists]
    for name, thing in public_objects().items():
        homes = (name, f"{thing.__module__}.{thing.__name__}".removeprefix("skimb."))
        depth = [max(_depth(place, homes) for place in places) for places in lists]
        if not max(depth):
            raise ValueError(
                f"skimb.{name} belongs to no list of docs/api; add its package to a '.. names:' comment."
            )
        members[depth.index(max(depth))].append(name)
    rows = iter(members)

    def filled(match):
        return match["head"] + "\n" + "".join(f"   ~{name}\n" for name in next(rows))

    return {path: _LIST.sub(filled, text) for path, text in texts.items()}


def contents():
    """What each written file holds, by its path."""
    pages = {path: path.read_text() for path in sorted((HERE / "api").glob("*.rst"))}
    return {
        HERE.parent / "tests" / "public_names.txt": names_text(),
        **api_texts(pages),
        HERE / "generated_losses.rst": losses_table(),
        HERE / "papers.rst": papers_page(public_objects()),
    }


def write():
    """Write the files that are not up to date."""
    for path, text in contents().items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote {path.relative_to(HERE.parent)}")


def setup(app):
    """Write the files before Sphinx reads them."""
    write()
    app.connect("autodoc-process-docstring", add_searched, priority=900)  # behind numpydoc
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    write()
