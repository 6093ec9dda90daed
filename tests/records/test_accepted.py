"""Whatever is accepted is valid under the published class and its schema: rows that refuse nothing may be absent or odd."""

import json
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plscp.content.model import Bounds, Code, ContentItem, Numeric, RawElement, ReferencedSop
from plscp.content.parsing import DEEPEST
from plscp.content.reader import decode
from plscp.content.writing import dataset
from plscp.errors import Refused
from plscp.records.examples import as_json, examples
from plscp.records.values import EntryRecord
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from plscp.templates.compiled import CompiledTemplate
from plscp.templates.entries import ENTRY_KINDS, entry_item
from plscp.templates.log_entries import LogContext
from plscp.templates.procedure_log import CONTEXT, read_log
from tests.relay.judging import judge
from tests.scu.test_requests import full
from tests.templates.build import EXPLICIT, encode
from tests.templates.strategies import KINDS
from tests.templates.tables import LINES
from tests.templates.trees import (
    COMPREHENSIVE_SR,
    MG,
    PRIVATE,
    XA_IMAGE,
    context_json,
    device,
    entry,
    entry_json,
    item_for,
    person,
    root,
)

ENTRY = "org.plscp.procedure-log.entry.v1"
RECORD = next(as_json(value) for kind, name, value in examples() if (kind, name) == (ENTRY, "note"))
BOUNDS = Bounds(depth=DEEPEST)


def judged(log: ContentItem) -> list[Any] | None:
    """The typed entries of a log that is accepted, each judged in its record; None where the log is refused."""
    made = dataset(log)
    made.SpecificCharacterSet = "ISO_IR 192"
    try:
        decoded = decode(encode(made), EXPLICIT, calling_ae="A", sop_class=PROCEDURAL_EVENT_LOGGING, bounds=BOUNDS)
        taken = read_log(decoded, strict=False)
    except Refused:
        return None
    entries = []
    for one in taken.entries:
        findings = json.dumps([finding.as_json() for finding in (*one.findings, *taken.findings)])
        rest = {name: value for name, value in RECORD.items() if name not in {"entry", "context", "findings"}}
        value = (
            json.dumps(rest).encode()[:-1] + b"," + context_json(taken.context) + b',"entry":' + entry_json(one.typed)
        )
        typed = judge(ENTRY, value + b',"findings":' + findings.encode() + b"}")
        assert isinstance(typed, EntryRecord)
        entries.append(typed.entry)
    return entries


def items(item: ContentItem) -> Iterator[tuple[ContentItem, int]]:
    """Every item below one, as its parent and its place there."""
    for place, child in enumerate(item.children):
        yield item, place
        yield from items(child)


def log_with(item: ContentItem) -> ContentItem:
    """A log of one entry."""
    item = deepcopy(item)
    item.observation_datetime = "20240102030405"
    return root(item)


@cache
def whole(kind: str) -> ContentItem:
    """An entry with every row of its table that C.17.3 lets stand, and every one of its qualifiers."""
    made = entry_item(full(kind, contradicting=False))
    there = {(child.concept, child.relationship) for child in made.children}
    for line in LINES:
        item = item_for(line) if line.tid == "3010" and line.value_type != "INCLUDE" else None
        if item is not None and (item.concept, item.relationship) not in there:
            made.children.append(item)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_any_item_may_be_absent_where_that_is_accepted(kind: str) -> None:
    """Each item of an entry with all rows is taken away, and so are all of any two: a member is missing only where it may."""
    accepted = 0
    for log in (log_with(entry(kind)), log_with(whole(kind))):
        assert judged(log) is not None, kind
        entry_places = [(parent, place) for parent, place in items(log) if parent is not log]
        for parent, place in entry_places:
            taken = parent.children.pop(place)
            accepted += judged(log) is not None
            parent.children.insert(place, taken)
        empty = deepcopy(log)
        empty.children[-1].children.clear()
        accepted += judged(empty) is not None
    assert accepted > 0


@pytest.mark.parametrize("kind", KINDS)
def test_any_item_may_be_without_a_concept_where_that_is_accepted(kind: str) -> None:
    """A reference needs no purpose (PS3.3 C.17.3): entries themselves, and items below them."""
    for log in (log_with(entry(kind)), log_with(whole(kind))):
        for parent, place in items(log):
            item = parent.children[place]
            concept, item.concept = item.concept, None
            judged(log)
            item.concept = concept


@pytest.mark.parametrize("value", [XA_IMAGE, COMPREHENSIVE_SR])
@pytest.mark.parametrize("value_type", ["COMPOSITE", "IMAGE", "WAVEFORM"])
def test_a_reference_without_a_purpose_is_accepted_and_read(value_type: str, value: ReferencedSop) -> None:
    """What made the first event that nobody could read: `object_referenced` without `purpose`."""
    log = log_with(ContentItem("CONTAINS", value_type, None, value))
    found = judged(log)
    if value_type == "COMPOSITE" and value == COMPREHENSIVE_SR:
        assert found is None  # a document needs its title (TID 3103 row 2)
        log.children[-1].children.append(
            item_for(next(line for line in LINES if (line.tid, line.row) == ("3103", "2")))
        )
        found = judged(log)
    assert found is not None
    assert found[0].kind == ("object_referenced" if value_type == "COMPOSITE" else "untyped")
    assert getattr(found[0], "purpose", None) is None


ODD_CODES = st.sampled_from([
    PRIVATE, Code("urn:oid:1.2.3", "", "By URN"), Code("1" * 40, "99X", "Long"), Code("G-C340", "SRT", "Route"),
    Code("121120", "DCM", "Other words", "2024"), Code("1", "UCUM", "one"),
    Code("T", "99X", "Tau", other=(RawElement(0x0008010F, "CS", "3420"),)),
])  # fmt: skip
ODD_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "CODE": ODD_CODES,
    "NUM": st.sampled_from([
        Numeric(None), Numeric(None, None, PRIVATE), Numeric("-0", MG), Numeric("1E+300", MG), Numeric("9" * 16, PRIVATE),
        Numeric(".5", MG, PRIVATE, (RawElement(0x00091001, "UN", b"\1\2"),)),
    ]),
    "TEXT": st.sampled_from(["x", "\u00fc \U0001f600", "a\\b\r\nc", '"{}', "x" * 2000]),
    "PNAME": st.sampled_from(["^", "Doe", "Doe^Jane=\u9234=x"]),
    "UIDREF": st.sampled_from(["1.2", "2.25.1"]),
    "DATETIME": st.sampled_from(["0001", "2024", "99991231235960.999999+1400"]),
    "DATE": st.sampled_from(["00010101", "20240229"]),
    "TIME": st.sampled_from(["00", "235960.5"]),
    "IMAGE": st.sampled_from([XA_IMAGE, ReferencedSop("1.2", "1.3", (RawElement(0x00081160, "IS", "1"),))]),
    "COMPOSITE": st.sampled_from([COMPREHENSIVE_SR, XA_IMAGE]),
    "WAVEFORM": st.sampled_from([XA_IMAGE]),
}  # fmt: skip
CONCEPTS = st.sampled_from([item_for(line).concept for line in LINES if line.value_type != "INCLUDE"])
PRIVATES = (RawElement(0x00091001, "UN", b"\0\1"), RawElement(0x00091002, "LO", "x"))


@st.composite
def oddly(draw: st.DrawFn, log: ContentItem, most: int) -> ContentItem:
    """The log with some items taken away, doubled, moved, renamed, or with other values."""
    log = deepcopy(log)
    for _ in range(draw(st.integers(1, most))):
        found = list(items(log))
        if not found:
            break
        parent, place = draw(st.sampled_from(found))
        item = parent.children[place]
        match draw(st.integers(0, 8)):
            case 0:
                parent.children.pop(place)
            case 1:
                parent.children.insert(place, deepcopy(item))
            case 2:
                item.concept = draw(st.none() | ODD_CODES | CONCEPTS)
            case 3 | 4:
                item.value = draw(ODD_VALUES[item.value_type])
            case 5:
                item.value_type = draw(st.sampled_from([*ODD_VALUES]))
                item.value = draw(ODD_VALUES[item.value_type])
            case 6:
                item.relationship = draw(st.sampled_from(["HAS CONCEPT MOD", "HAS PROPERTIES", "HAS OBS CONTEXT"]))
            case 7:
                item.other = PRIVATES
                item.observation_uid = "1.2.3"
            case _:
                made = item_for(draw(st.sampled_from([line for line in LINES if line.value_type != "INCLUDE"])))
                made.relationship = draw(st.sampled_from([made.relationship, "HAS PROPERTIES", "HAS CONCEPT MOD"]))
                item.children.append(made)
    return log


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_an_odd_entry_that_is_accepted_is_valid(kind: str, data: st.DataObject) -> None:
    """Of every kind: rows absent, doubled, out of place; other codes, units, names, values and Value Types."""
    log = data.draw(oddly(log_with(entry(kind)), 2) | oddly(log_with(whole(kind)), 6))
    judged(log)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
def test_an_odd_log_that_is_accepted_is_valid(data: st.DataObject, kinds: list[str]) -> None:
    """The context as well as the entries."""
    entries = [log_with(entry(kind)).children[-1] for kind in kinds]
    context = [
        item_for(line) for line in LINES if line.tid == "3601" or (line.tid, line.row) in {("3001", "4"), ("3001", "5")}
    ]
    judged(data.draw(oddly(root(*entries, observers=[*device(), *person(), *context]), 5)))


def _templates(template: CompiledTemplate) -> Iterator[CompiledTemplate]:
    yield template
    for row in template.rows:
        yield from _templates(row.below)


def _of(kind: str) -> CompiledTemplate:
    return CONTEXT if kind == "context" else ENTRY_KINDS[kind].row.below


@pytest.mark.parametrize("kind", [*ENTRY_KINDS, "context"])
def test_a_member_is_required_only_where_its_absence_refuses(kind: str) -> None:
    """By the declarations themselves, for each template class however it is included."""
    for each in _templates(_of(kind)):
        asked = {index for scope in each.scopes for index in scope.asked}
        required = {index for index in asked if each.rows[index].row.req == "M" and not each.rows[index].within}
        for index, row in enumerate(each.rows):
            owner = next((model for model in _models(kind) if _holds(model, row.name, row.row)), None)
            if owner is not None and owner.model_fields[row.name].is_required():
                assert index in required, row.name
                assert row.refuses("concept", "req"), row.name
    if kind != "context":
        model = ENTRY_KINDS[kind].model
        own = ENTRY_KINDS[kind]
        assert model.model_fields[own.concept].is_required() <= (not own.row.row.open)


def _models(kind: str) -> Iterator[Any]:
    yield LogContext if kind == "context" else ENTRY_KINDS[kind].model
    for each in _templates(_of(kind)):
        for row in each.rows:
            yield row.model


def _holds(model: Any, name: str, row: Any) -> bool:
    return name in getattr(model, "model_fields", {}) and model.model_fields[name].json_schema_extra is row


def test_the_deepest_nesting_that_is_accepted_can_be_read() -> None:
    """Content items in each other, and private sequences in each other, to the last level that any setting allows."""
    below, private = ContentItem("HAS PROPERTIES", "TEXT", PRIVATE, "x"), RawElement(0x00091002, "LO", "x")
    for _ in range(
        DEEPEST - 3
    ):  # Content Sequence of the root and of the entry, and Concept Name Code Sequence innermost
        below = ContentItem("HAS PROPERTIES", "TEXT", PRIVATE, "x", [below])
    for _ in range(DEEPEST - 1):
        private = RawElement(0x00091003, "SQ", [(private,)])
    for note in (entry("note"), entry("measurement")):
        note.children = [below]
        assert judged(root(note, observers=device())) is not None
        note.children = []
        note.other = (private,)
        assert judged(root(note, observers=device())) is not None
