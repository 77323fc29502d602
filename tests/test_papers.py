"""The page of papers: no system unaccounted for, no object that does not exist, no untrusted figure."""

import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
sys.path.insert(0, str(DOCS))

import generate_names  # noqa: E402
import generate_papers  # noqa: E402

NAMES = generate_names.public_objects()
ENTRIES = generate_papers.systems()


def test_every_system_is_accounted_for():
    assert {entry["number"] for entry in ENTRIES} == set(range(1, 46))
    per_number = [entry["number"] for entry in ENTRIES]
    assert per_number.count(35) == 4
    assert per_number.count(27) == 2
    assert len({entry["paper"] for entry in ENTRIES}) == len(ENTRIES) == 49


def test_entries_name_objects_that_exist():
    assert generate_papers.missing(ENTRIES, NAMES) == []
    for entry in ENTRIES:
        where = generate_papers.state(entry, NAMES)
        assert bool(entry.get("objects")) or where != "included", entry["paper"]
        assert entry["claim"].endswith("."), entry["paper"]


def test_an_object_that_does_not_exist_is_reported(monkeypatch):
    stray = {"number": 1, "paper": "A", "claim": "B.", "objects": ["losses.NoSuchLoss"]}
    assert generate_papers.missing([stray], NAMES) == ["losses.NoSuchLoss"]
    monkeypatch.setattr(generate_papers, "systems", lambda: [stray])
    with pytest.raises(ValueError, match=r"names \['losses.NoSuchLoss'\], which are no public"):
        generate_papers.papers_page(NAMES)


def test_open_entries_move_when_their_objects_exist():
    entry = {"number": 1, "claim": "B.", "open": "C.", "objects": ["losses.Later"]}
    assert generate_papers.state(entry, NAMES) == "open"
    assert generate_papers.state(entry, {**NAMES, "losses.Later": object}) == "included"
    assert generate_papers.state({"open": "C."}, NAMES) == "open"
    assert generate_papers.state({"not_included": "C."}, NAMES) == "not included"


def test_the_page_shows_every_system_and_every_source():
    page = (DOCS / "papers.rst").read_text()
    for entry in ENTRIES:
        assert entry["paper"] in page
    assert "arXiv:1911.07053" in page
    assert "[M]" not in page + (DOCS / "papers.toml").read_text()
    still_open = ["Open"] * any(generate_papers.state(e, NAMES) == "open" for e in ENTRIES)
    for heading in (
        "Claims and objects",
        *still_open,
        "Not included, and why",
        "Sources of objects",
    ):
        assert f"\n{heading}\n{'-' * len(heading)}\n" in page


def test_references_of_methods_count():
    def forget(self):
        """Forget.

        References
        ----------
        Someone 2024,
        arXiv:1.

        Examples
        --------
        None.
        """

    thing = type("Thing", (), {"__doc__": "A thing.", "forget": forget, "_hidden": forget})
    assert generate_papers.references(thing) == ["Someone 2024, arXiv:1."]
    assert generate_papers.references(type("Bare", (), {})) == []
