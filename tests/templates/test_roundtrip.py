"""From content items to typed JSON and back (house: nothing that a device sent is dropped)."""

import json
from copy import deepcopy
from typing import Annotated, Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from plscp.content.model import Code, ContentItem, Numeric, ReferencedSop
from plscp.findings import Finding
from plscp.templates import entries as entry_kinds
from plscp.templates import procedure_log
from plscp.templates.entries import EntryKind, entry_item
from plscp.templates.log_entries import LogContext, Note
from plscp.templates.procedure_log import log_root, type_entries
from plscp.templates.rows import entry_value
from plscp.templates.values import Model, Text
from tests.templates.strategies import KINDS, junk, valid_entries, valid_logs
from tests.templates.trees import (
    ENTRIES,
    LINE,
    XA_IMAGE,
    code,
    context_json,
    entry,
    entry_json,
    item_for,
    parse_entry,
    root,
)

QUICK = settings(max_examples=30, deadline=None)


def through_json(log: ContentItem) -> ContentItem:
    """The log after being typed, published and read again."""
    entries, context = type_entries(log, strict=False, findings=[])
    read = LogContext.model_validate(json.loads(b"{" + context_json(context) + b"}")["context"])
    return log_root(read, [parse_entry(entry_json(one.typed)) for one in entries])


@QUICK
@given(valid_logs())
def test_valid_logs_come_back_equal(log: ContentItem) -> None:
    """Every variation of a valid log is found again in the JSON, item by item."""
    assert through_json(deepcopy(log)) == log


def has_values_of_its_kind(item: ContentItem) -> bool:
    """Whether each value is of its Value Type, below the root; else C.17.3 refuses the tree before it is typed."""
    kinds = {
        "CODE": Code,
        "NUM": Numeric,
        "IMAGE": ReferencedSop,
        "COMPOSITE": ReferencedSop,
        "WAVEFORM": ReferencedSop,
    }
    return isinstance(item.value, kinds.get(item.value_type, str)) and all(map(has_values_of_its_kind, item.children))


@QUICK
@given(st.lists(junk(2, ("CONTAINS", "HAS OBS CONTEXT", "HAS ACQ CONTEXT")), max_size=4))
@example([ContentItem("CONTAINS", "COMPOSITE", None, XA_IMAGE)])
@example([ContentItem("CONTAINS", "IMAGE", code("121138", "DCM"), XA_IMAGE)])
def test_any_tree_is_carried_whole(items: list[ContentItem]) -> None:
    """Whatever a tree looks like, typing raises nothing, gives JSON, and loses nothing; only what is refused lacks a member."""
    log = root(*items)
    findings: list[Finding] = []
    for typed in type_entries(deepcopy(log), strict=False, findings=findings)[0]:
        assert isinstance(json.loads(entry_json(typed.typed)), dict)
    lacking = set()
    try:
        again = through_json(deepcopy(log))
    except ValidationError as error:
        lacking = {each["type"] for each in error.errors()}
    if lacking:
        assert lacking == {"missing"}
        assert any(each.refuse for each in findings) or not has_values_of_its_kind(log)
    else:
        assert again == log


@QUICK
@given(valid_entries())
def test_models_write_what_they_read(item: ContentItem) -> None:
    """An entry's model, dumped by pydantic and read again, is the same entry."""
    entries, _ = type_entries(root(item), strict=False, findings=[])
    model = parse_entry(entry_json(entries[0].typed))
    assert isinstance(model, Model)
    assert ENTRIES.validate_json(model.model_dump_json()) == model
    assert entry_item(ENTRIES.validate_python(model.model_dump())) == item


@QUICK
@given(valid_entries())
def test_typed_again_is_the_same_text(item: ContentItem) -> None:
    """Typing what was restored gives the same bytes and findings."""
    (once,), _ = type_entries(root(item), strict=False, findings=[])
    (again,), _ = type_entries(root(entry_item(parse_entry(entry_json(once.typed)))), strict=False, findings=[])
    assert (entry_json(again.typed), again.findings, again.near_duplicate_key) == (
        entry_json(once.typed),
        once.findings,
        once.near_duplicate_key,
    )


def test_each_kind_has_a_schema_with_its_rows() -> None:
    """JSON Schema names every kind, and describes each member by the row that it is."""
    schema: dict[str, Any] = ENTRIES.json_schema()
    assert set(schema["discriminator"]["mapping"]) == {*KINDS, "untyped"}
    dose = schema["$defs"]["DrugAdministered"]["properties"]["dose"]
    assert dose["description"] == ('row 4: HAS PROPERTIES NUM EV (122092, DCM, "Undiluted dose administered"), 1 U')


def test_a_kind_missing_its_mandatory_row_is_no_model() -> None:
    """A consumer may rely on mandatory members: JSON without one is not valid."""
    item = entry("intervention")
    item.children = []
    findings: list[Finding] = []
    (typed,), _ = type_entries(root(item), strict=False, findings=findings)
    assert [f.reason for f in findings if f.refuse] == ["missing 363704007", "missing 121154"]
    assert not {"site", "attempt"} & set(json.loads(entry_json(typed.typed)))


def contradicting() -> EntryKind:
    """A kind whose class does not take what its rows let pass."""

    class Odd(Note):
        kind: Literal["note"] = "note"
        text: Annotated[str, Field(max_length=3)] = entry_value()

    return EntryKind(Odd)


def test_a_class_that_contradicts_its_rows_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a defect of the declaration, and no reason to refuse: noted, and the entry is kept whole without its template."""
    item = entry("note")
    (known,), _ = type_entries(root(item), strict=True, findings=[])
    assert (known.kind, known.findings) == ("note", [])
    assert item.concept is not None
    monkeypatch.setitem(entry_kinds.EXACT, ("TEXT", item.concept.value, item.concept.scheme), [contradicting()])
    findings: list[Finding] = []
    (typed,), _ = type_entries(root(item), strict=True, findings=findings)
    assert typed.findings == [Finding("not-valid-by-class", "text not valid by its class", "3", "TID3001", "6")]
    assert (typed.kind, typed.template, findings) == ("untyped", "", [])
    assert entry_item(typed.typed) == item


def test_a_context_that_contradicts_its_class_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its items are kept whole."""

    class Odd(LogContext):
        equipment: Annotated[list[Text], Field(default_factory=list, max_length=0)]

    monkeypatch.setattr(procedure_log, "LogContext", Odd)
    given = item_for(LINE["3001", "5"])
    given.value = "equipment of no other test"
    log = root(given, entry("note"))
    findings: list[Finding] = []
    typed, context = type_entries(log, strict=True, findings=findings)
    assert findings == [Finding("not-valid-by-class", "equipment not valid by its class", "", "TID3001", "2")]
    assert log_root(context, [one.typed for one in typed]) == log
