"""From content items to typed JSON and back (house: nothing that a device sent is dropped)."""

import json
from copy import deepcopy
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from plscp.content.model import Code, ContentItem, Numeric, Reference
from plscp.findings import Finding
from plscp.templates.log_entries import LogContext
from plscp.templates.procedure_log import type_entries
from plscp.templates.restoring import ENTRIES, entry_item, log_root, parse_entry
from plscp.templates.values import Model
from tests.templates.strategies import KINDS, junk, valid_entries, valid_logs
from tests.templates.trees import XA_IMAGE, code, entry, root

QUICK = settings(max_examples=30, deadline=None)


def through_json(log: ContentItem) -> ContentItem:
    """The log after being typed, published and read again."""
    entries, context = type_entries(log, strict=False, findings=[])
    read = LogContext.model_validate(json.loads(b"{" + context + b"}")["context"])
    return log_root(read, [parse_entry(one.json) for one in entries])


@QUICK
@given(valid_logs())
def test_valid_logs_come_back_equal(log: ContentItem) -> None:
    """Every variation of a valid log is found again in the JSON, item by item."""
    assert through_json(deepcopy(log)) == log


def has_values_of_its_kind(item: ContentItem) -> bool:
    """Whether each value is of its Value Type, below the root; else C.17.3 refuses the tree before it is typed."""
    kinds = {"CODE": Code, "NUM": Numeric, "IMAGE": Reference, "COMPOSITE": Reference, "WAVEFORM": Reference}
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
        assert isinstance(json.loads(typed.json), dict)
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
    model = parse_entry(entries[0].json)
    assert isinstance(model, Model)
    assert ENTRIES.validate_json(model.model_dump_json()) == model
    assert entry_item(ENTRIES.validate_python(model.model_dump())) == item


@QUICK
@given(valid_entries())
def test_typed_again_is_the_same_text(item: ContentItem) -> None:
    """Typing what was restored gives the same bytes and findings."""
    (once,), _ = type_entries(root(item), strict=False, findings=[])
    (again,), _ = type_entries(root(entry_item(parse_entry(once.json))), strict=False, findings=[])
    assert (again.json, again.findings, again.near_duplicate_key) == (once.json, once.findings, once.near_duplicate_key)


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
    assert not {"site", "attempt"} & set(json.loads(typed.json))
