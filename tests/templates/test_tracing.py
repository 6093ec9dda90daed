"""Which row an item was matched to, as people are told, is what the engine did."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from plscp.cli.explaining import look, table, trace, wanted
from plscp.content.model import ContentItem
from plscp.findings import Finding
from plscp.templates.procedure_log import type_entries
from tests.templates.strategies import valid_logs
from tests.templates.tables import LINES, Line
from tests.templates.trees import context_json, entry, entry_json, item_for, root


def paths(items: list[ContentItem], base: str = "") -> Iterator[str]:
    """The path of every item."""
    for position, item in enumerate(items, 1):
        yield f"{base}{position}"
        yield from paths(item.children, f"{base}{position}.")


def unmatched(value: Any) -> int:
    """How many items stand under `other` in typed JSON, those below them as well."""
    if isinstance(value, list):
        return sum(map(unmatched, value))
    if not isinstance(value, dict):
        return 0
    return sum(whole(each) if name == "other" else unmatched(each) for name, each in value.items())


def whole(items: list[dict[str, Any]]) -> int:
    """How many items there are in whole items."""
    return sum(1 + whole(item.get("children", [])) for item in items)


@settings(max_examples=40, deadline=None)
@given(valid_logs())
def test_what_has_no_row_is_what_the_engine_keeps_whole(log: ContentItem) -> None:
    """An item is traced to a row exactly if it has a member of its own in the typed form."""
    entries, context = type_entries(log, strict=False, findings=[])
    kept = unmatched([json.loads(entry_json(one.typed)) for one in entries]) + unmatched(
        json.loads(b"{" + context_json(context) + b"}")
    )
    found = trace(log)
    everything = set(paths(log.children))
    assert found.keys() <= everything
    assert len(everything) - len(found) == kept


@pytest.mark.parametrize(
    "line", [line for line in LINES if line.value_type != "INCLUDE"], ids=lambda x: f"{x.tid}-{x.row}"
)
def test_every_row_can_be_shown(line: Line) -> None:
    """Whatever row a finding names, it can be said how the row should look."""
    place = wanted(Finding("x", "y", "", f"TID{line.tid}", line.row))
    assert place is not None
    assert str(place) == f"TID{line.tid} r{line.row}"
    assert line.value_type in look(place)


def test_a_place_names_template_row_and_kind() -> None:
    """Of an entry, of a row below it, and of the context."""
    made = entry("intervention")
    found = trace(root(made))
    assert (str(found["3"]), found["3"].kind) == ("TID3108 r1", "intervention")
    assert sorted(str(found[f"3.{n}"]) for n in (1, 2)) == ["TID3108 r2", "TID3108 r4"]
    assert [str(found["1"]), str(found["2"])] == ["TID1002 r1", "TID1004 r1"]


def test_a_finding_shows_the_row_that_it_means() -> None:
    """Where rows share a number: the one whose code is named, else the item's own, else the general one."""
    four = [place for place in table()["TID3106", "4"] if "122092" in str(place.row)]
    assert wanted(Finding("x", "more than one 122092", "3.1", "TID3106", "4")) == four[0]
    assert wanted(Finding("x", "wrong", "3.1", "TID3106", "4"), four[0]) == four[0]
    general = wanted(Finding("x", "wrong", "3.1", "TID3106", "4"))
    assert general is not None
    assert "CID 3410: (" in look(general)
    assert "and 5 more" in look(general)
    include = wanted(Finding("x", "y", "", "TID3001", "2"))
    assert include is not None
    assert look(include) == "INCLUDE TID1002 Observer Context, 1-n M"
    assert wanted(Finding("x", "y", "", "C.17.3")) is None


def test_only_so_many_items_as_a_row_takes_are_its() -> None:
    """The second of a row with VM 1 has no row."""
    made = entry("intervention")
    attempt = next(line for line in LINES if (line.tid, line.row) == ("3108", "4"))
    made.children = [*made.children, item_for(attempt)]
    found = trace(root(made))
    assert "3.3" not in found
