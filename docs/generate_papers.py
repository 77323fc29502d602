"""The page of papers: from ``papers.toml``, the losses benchmark and the References of docstrings."""

import inspect
import re
import tomllib
from pathlib import Path

from generate_tables import measured

HERE = Path(__file__).parent
_REFERENCES = re.compile(
    r"^References\n-+\n(.*?)(?=\n\n\w[\w ]*\n-+\n|\Z)", re.DOTALL | re.MULTILINE
)
_ROLES = {True: "class", False: "func"}
HEAD = """Papers
======

This page says what the papers behind skimb claim, which object stands for each, and what our runs showed.
Claims and their figures are those of the papers' abstracts; claims on images, circuits or huge sets of labels
cannot be re-run on tables and short texts. "Measured" refers to the losses benchmark
(:doc:`benchmarks/losses`): the loss at its defaults against cross-entropy with class weights, as the mean
difference over sets with its standard error. AP is the :term:`average precision`. What was left out stands
under `Not included, and why`_.
This page is written by ``make names`` from ``docs/papers.toml`` and the docstrings.
"""


def systems():
    """Entries of the data file."""
    return tomllib.loads((HERE / "papers.toml").read_text())["system"]


def state(entry, names):
    """Where an entry stands: "included", "open" or "not included"."""
    if "not_included" in entry:
        return "not included"
    objects = entry.get("objects", [])
    if "open" in entry and not (objects and set(objects) <= set(names)):
        return "open"
    return "included"


def missing(entries, names):
    """Objects that entries name as if they existed and that are no public names."""
    return sorted(
        {
            name
            for entry in entries
            if state(entry, names) == "included"
            for name in entry.get("objects", [])
            if name not in names
        }
    )


def link(name, thing):
    """A reference to a public object."""
    return f":{_ROLES[inspect.isclass(thing)]}:`~skimb.{name}`"


def ours(entry, found):
    """What our runs showed."""
    if "ours" in entry:
        return entry["ours"]
    shorts = [name.rsplit(".", 1)[1] for name in entry["objects"]]
    lines = [f"``{short}``: {found[short]}" for short in shorts if short in found]
    return f"Measured: {'; '.join(lines)}." if lines else "See its page."


def references(thing):
    """Sources that the docstring of an object or of a method of its own names, in one line each."""
    texts = [inspect.getdoc(thing)]
    if inspect.isclass(thing):
        methods = (v for k, v in inspect.getmembers(thing, inspect.isfunction) if k[0] != "_")
        texts += [inspect.getdoc(method) for method in methods]
    found = []
    for text in texts:
        match = _REFERENCES.search(text or "")
        if match and (line := " ".join(match[1].split())) not in found:
            found.append(line)
    return found


def item(entry, **fields):
    """The paper of an entry, and what there is to say of it in fields, which need no width."""
    found = [f":{name}: {text}" for name, text in fields.items()]
    return [f"**{entry['paper']}**", "", *found, ""]


def table(head, rows, widths):
    """An rst table from lines of cells."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for cells in [head, *rows]:
        lines += [f"   {'  ' if k else '* '}- {cell}" for k, cell in enumerate(cells)]
    return [*lines, ""]


def papers_page(objects):
    """Content of docs/papers.rst.

    Parameters
    ----------
    objects : dict
        Public names without "skimb.", and the objects.
    """
    entries, found = systems(), measured()
    wrong = missing(entries, objects)
    if wrong:
        raise ValueError(f"docs/papers.toml names {wrong}, which are no public names of skimb.")
    by_state = {"included": [], "open": [], "not included": []}
    for entry in entries:
        by_state[state(entry, objects)].append(entry)
    lines = [HEAD, "Claims and objects", "-" * 18, ""]
    for e in by_state["included"]:
        named = ", ".join(link(name, objects[name]) for name in e["objects"])
        lines += item(e, object=named, claim=e["claim"], ours=ours(e, found))
    if by_state["open"]:
        lines += ["Open", "-" * 4, "", "Papers without an object so far, and what is planned.", ""]
    for e in by_state["open"]:
        lines += item(e, claim=e["claim"], planned=e["open"])
    lines += ["Not included, and why", "-" * 21, ""]
    for e in by_state["not included"]:
        lines += item(e, claim=e["claim"], why=e["not_included"])
    lines += ["Sources of objects", "-" * 18, "", "As their docstrings name them.", ""]
    rows = [
        (link(name, thing), " ".join(sources))
        for name, thing in objects.items()
        if (sources := references(thing))
    ]
    lines += table(("object", "sources"), rows, "30 70")
    return "\n".join(lines).rstrip() + "\n"
