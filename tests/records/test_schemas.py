"""What is published is what the schemas say: judged by an independent validator."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from plscp.findings import Finding
from plscp.records.examples import as_json, examples
from plscp.records.parts import BARRIER
from plscp.records.schemas import ENTRIES, TOPICS, asyncapi, files, schema
from plscp.records.values import ADAPTERS, KINDS, RECORDS, UnknownEntry, read
from plscp.relay import settings
from plscp.relay.producer import Envelope
from plscp.store.relay_view import Record
from plscp.templates.entries import ENTRY_KINDS
from tests.scu.test_requests import full

ROOT = Path(__file__).parents[2]
ENTRY = "org.plscp.procedure-log.entry.v1"
EXAMPLES = [(kind, name, as_json(value)) for kind, name, value in examples()]
VALIDATORS = {
    name: Draft202012Validator(schema(name), format_checker=Draft202012Validator.FORMAT_CHECKER)
    for name in (*ADAPTERS, *ENTRIES)
}
OLDER = {
    name: Draft7Validator(schema(name, draft_07=True), format_checker=Draft7Validator.FORMAT_CHECKER)
    for name in (*ADAPTERS, *ENTRIES)
}


def example(kind: str, name: str) -> dict[str, Any]:
    """One of the examples, to be changed."""
    found: dict[str, Any] = json.loads(json.dumps(next(value for k, n, value in EXAMPLES if (k, n) == (kind, name))))
    return found


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_schema_is_one_of_the_2020_12_dialect_under_its_name(kind: str) -> None:
    """`ce_dataschema` names it."""
    made = schema(kind)
    Draft202012Validator.check_schema(made)
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    dataschema = dict(Envelope("s").headers(Record(1, "t", "k", kind, "i", "", "", b"{}")))["ce_dataschema"]
    assert made["$id"] == dataschema.decode()


@pytest.mark.parametrize("name", [*ADAPTERS, *ENTRIES])
def test_a_schema_of_draft_07_needs_nothing_of_a_later_one(name: str) -> None:
    """Its own meta-schema takes it, references stand alone, and classes are where tools of that time look for them."""
    made = schema(name, draft_07=True)
    Draft7Validator.check_schema(made)
    assert made["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert made["$id"] == schema(name)["$id"]
    for each in objects(made):
        assert "$defs" not in each
        assert "$ref" not in each or len(each) == 1
    assert {each["$ref"] for each in objects(made) if "$ref" in each} <= {
        f"#/definitions/{name}" for name in made.get("definitions", {})
    }


@pytest.mark.parametrize("name", [*ADAPTERS, *ENTRIES])
def test_generators_find_one_name_for_each_class(name: str) -> None:
    """A name has no number, no class has the schema's own, and a reference has nothing beside it that would make it a double."""
    made = schema(name)
    titles = [made["title"], *(each["title"] for each in made.get("$defs", {}).values())]
    assert len(set(titles)) == len(titles)
    assert all(title.isalpha() and title[0].isupper() for title in titles)
    assert all(len(each) == 1 for each in objects(made) if "$ref" in each)


def test_each_kind_of_entry_is_told_apart_by_a_constant() -> None:
    """In a flat choice with nothing that would take every kind: a language's `switch` over `kind` knows the class."""
    for name, record in ((ENTRY, "EntryRecord"), ("org.plscp.event.assigned.v1", "AssignedRecord")):
        made = schema(name)
        choices = made["$defs"][record]["properties"]["entry"]["oneOf"]
        classes = [made["$defs"][choice["$ref"].rpartition("/")[2]] for choice in choices]
        kinds = [each["properties"]["kind"]["const"] for each in classes]
        assert set(kinds) == set(ENTRIES) - (set() if record == "AssignedRecord" else {"substance_administered"})
        assert len(set(kinds)) == len(kinds)
        assert all("kind" in each["required"] for each in classes)


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Each object in a JSON value; `$ref` is no member of any record."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(inner)


@pytest.mark.parametrize(("kind", "name", "value"), EXAMPLES, ids=[f"{k}-{n}" for k, n, _ in EXAMPLES])
def test_an_example_is_valid_and_is_read_as_it_was_made(kind: str, name: str, value: Any) -> None:
    """For validators of both dialects, the entry by the schema of its kind too, and for the consumer library."""
    assert list(VALIDATORS[kind].iter_errors(value)) == []
    assert list(OLDER[kind].iter_errors(value)) == []
    if "entry" in value:
        assert list(VALIDATORS[value["entry"]["kind"]].iter_errors(value["entry"])) == []
        assert list(OLDER[value["entry"]["kind"]].iter_errors(value["entry"])) == []
    made = next(typed for k, n, typed in examples() if (k, n) == (kind, name))
    assert ADAPTERS[kind].validate_json(json.dumps(value)) == made


@pytest.mark.parametrize("kind", [*ENTRY_KINDS])
def test_an_entry_with_every_row_of_its_table_is_valid(kind: str) -> None:
    """As the templates type it; by the schema of its kind alone as well, but by that of no other kind."""
    entry = full(kind).model_dump(mode="json", exclude_unset=True)
    assert list(VALIDATORS[ENTRY].iter_errors(example(ENTRY, "note") | {"entry": entry})) == []
    assert [name for name in ENTRIES if VALIDATORS[name].is_valid(entry)] == [kind]
    assert OLDER[kind].is_valid(entry)


def members(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each member that the schema demands."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (*path, name)
            yield from members(inner, (*path, name))


@pytest.mark.parametrize("gone", ["event_id", "position", "study", "patient", "match", "sender", "context", "entry"])
def test_what_is_always_there_must_be_there(gone: str) -> None:
    """A consumer need not ask for it."""
    value = example(ENTRY, "drug_administered")
    del value[gone]
    assert not VALIDATORS[ENTRY].is_valid(value)
    with pytest.raises(ValueError, match=gone):
        read(ENTRY, json.dumps(value).encode())


@pytest.mark.parametrize(
    ("name", "path", "wrong"),
    [
        ("drug_administered", ("entry", "dose", "value"), "8"),
        ("drug_administered", ("entry", "drug"), "heparin"),
        ("drug_administered", ("entry", "kind"), 1),
        ("note", ("entry", "text"), None),
        ("drug_administered", ("entry", "route"), None),
        ("note", ("occurred", "time"), "yesterday"),
        ("note", ("match", "status"), "OK"),
        ("note", ("position",), 0),
        ("reduced", ("reduced",), "too-old"),
    ],
)
def test_a_wrong_value_is_not_valid(name: str, path: tuple[str, ...], wrong: Any) -> None:
    """Types, constants, patterns and formats count."""
    value = example(ENTRY, name)
    at = value
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = wrong
    assert not VALIDATORS[ENTRY].is_valid(value)
    assert not OLDER[ENTRY].is_valid(value)


def test_members_of_a_later_version_are_passed_over() -> None:
    """On every level; what is known is read as before."""
    value = example(ENTRY, "drug_administered")
    expected = read(ENTRY, json.dumps(value).encode())
    for path in [(), *list(members(value))]:
        at = value
        for step in path:
            at = at[step]
        if isinstance(at, dict) and path[-1:] not in {("given",), ("found",)}:
            at["from_later"] = {"some": ["thing"]}
    assert VALIDATORS[ENTRY].is_valid(value)
    assert read(ENTRY, json.dumps(value).encode()) == expected


def test_a_kind_of_a_later_version_is_kept_whole() -> None:
    """For readers of today nothing of it is lost; this version's schema, which says what this version writes, has no such kind."""
    value = example(ENTRY, "note")
    value["entry"] = {"kind": "balloon_burst", "template": "3999", "pressure": {"value": 30}}
    assert not VALIDATORS[ENTRY].is_valid(value)
    entry = read(ENTRY, json.dumps(value).encode()).entry  # type: ignore[union-attr]
    assert isinstance(entry, UnknownEntry)
    assert entry.model_dump() == value["entry"]


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        ("org.plscp.lab.v1", b"{}", "org.plscp.lab.v1 is not a type"),
        ("", b"{}", "none is not a type"),
        (BARRIER, b"{}", "is not a type"),
        (ENTRY, b"{", "value: Invalid JSON"),
        (ENTRY, b"", "value: Invalid JSON"),
        (ENTRY, b"\xff", "value: Invalid JSON"),
        (ENTRY, b"null", "value: "),
        (ENTRY, b"[]", "value: "),
        (ENTRY, b"7", "value: "),
        (ENTRY, b'{"reduced":"too-large"}', "event_id: Field required"),
        (ENTRY, b"[" * 100_000, "value: Invalid JSON"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(kind: str, value: bytes, why: str) -> None:
    """Without any of the content."""
    with pytest.raises(ValueError, match=why) as caught:
        read(kind, value)
    assert "\n" not in str(caught.value)


def test_every_kind_of_entry_has_an_example() -> None:
    """And every type."""
    assert {name for kind, name, _ in EXAMPLES if kind == ENTRY} == {*KINDS, "reduced"}
    assert {kind for kind, _, _ in EXAMPLES} == set(ADAPTERS) == {*RECORDS, BARRIER}


def test_the_asyncapi_document_names_every_topic_and_type() -> None:
    """Each type is in one topic, what corrections say in those of what they move, the barrier in all of them."""
    assert tuple(TOPICS) == tuple(settings.TOPICS)
    kinds = [kind for _, _, of in TOPICS.values() for kind in of]
    assert sorted(kinds) == sorted([*RECORDS, "org.plscp.event.assigned.v1", "org.plscp.event.withdrawn.v1"])
    made = asyncapi()
    assert all(BARRIER in channel["messages"] for channel in made["channels"].values())
    assert set(made["components"]["messages"]) == set(ADAPTERS)


def test_headers_are_those_that_the_relay_writes() -> None:
    """Each is described, and those that are said to be there are."""
    for kind, message in asyncapi()["components"]["messages"].items():
        if kind == BARRIER:
            written = dict(Envelope("s").barrier("r", None))
        else:
            written = dict(
                Envelope("s").headers(Record(1, "t", "k", kind, "i", "about", "2026-03-01T00:00:00Z", b"{}"))
            )
        shown = {name: value.decode() for name, value in written.items()}
        assert Draft202012Validator(message["headers"]).is_valid(shown)
        assert set(shown) <= set(message["headers"]["properties"])


def test_what_is_checked_in_is_what_this_version_exports() -> None:
    """And nothing else is in the folder, but for what was released."""
    made = dict(files())
    there = {
        str(file.relative_to(ROOT / "schemas"))
        for file in (ROOT / "schemas").rglob("*.json")
        if "released" not in file.parts
    }
    assert there == set(made)
    assert all((ROOT / "schemas" / name).read_text("utf-8") == content for name, content in made.items())


def test_a_finding_is_published_with_all_that_it_has() -> None:
    """The model knows every member of a finding."""
    value = example("org.plscp.request.refused.v1", "does-not-match-template")
    value["findings"] = [Finding("a", "b", "c", "d", "e", refuse=True).as_json() | {"positions": [1, 2]}]
    found = read("org.plscp.request.refused.v1", json.dumps(value).encode())
    assert found.model_dump(mode="json", exclude_unset=True)["findings"] == value["findings"]
