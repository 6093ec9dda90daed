"""The gate: which changes of a schema break those who read by the released one."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from plscp.records.compatibility import Break, breaks
from plscp.records.schemas import schema
from plscp.records.values import ADAPTERS

ENTRY = "org.plscp.procedure-log.entry.v1"
Change = Callable[[dict[str, Any]], None]


def drop(definition: str, member: str) -> Change:
    """Take a member away."""

    def change(made: dict[str, Any]) -> None:
        del made["$defs"][definition]["properties"][member]
        required = made["$defs"][definition].get("required", [])
        if member in required:
            required.remove(member)

    return change


def put(definition: str, member: str, value: Any) -> Change:
    """Add a member, or describe one anew."""

    def change(made: dict[str, Any]) -> None:
        made["$defs"][definition]["properties"][member] = value

    return change


def optional(definition: str, member: str) -> Change:
    """It may be left out."""

    def change(made: dict[str, Any]) -> None:
        made["$defs"][definition]["required"].remove(member)

    return change


def required(definition: str, member: str) -> Change:
    """It is always there."""

    def change(made: dict[str, Any]) -> None:
        made["$defs"][definition].setdefault("required", []).append(member)

    return change


def renamed(old: str, new: str) -> Change:
    """A definition has another name, as when a class is renamed."""

    def change(made: dict[str, Any]) -> None:
        moved = made["$defs"].pop(old) | {"title": new}

        def everywhere(value: Any) -> Any:
            if isinstance(value, dict):
                return {
                    name: f"#/$defs/{new}" if each == f"#/$defs/{old}" else everywhere(each)
                    for name, each in value.items()
                }
            return [everywhere(each) for each in value] if isinstance(value, list) else value

        made["$defs"][new] = moved
        whole = everywhere(made)
        made.clear()
        made.update(whole)

    return change


def without_kind(kind: str) -> Change:
    """A kind of entry is published no longer."""

    def change(made: dict[str, Any]) -> None:
        known = made["$defs"]["EntryRecord"]["properties"]["entry"]["oneOf"]
        known[:] = [one for one in known if not one["$ref"].endswith(f"/{kind}")]

    return change


def new_kind(made: dict[str, Any]) -> None:
    """A kind of entry that readers do not know yet."""
    made["$defs"]["Later"] = {"type": "object", "title": "Later", "properties": {"kind": {"const": "later"}}}
    made["$defs"]["EntryRecord"]["properties"]["entry"]["oneOf"].append({"$ref": "#/$defs/Later"})


def null(inner: dict[str, Any]) -> dict[str, Any]:
    """Or nothing."""
    return {"anyOf": [inner, {"type": "null"}]}


TEXT, NUMBER = {"type": "string"}, {"type": "number"}
DOSE = "entry(drug_administered).dose"
BREAKING: list[tuple[str, Change, list[Break]]] = [
    ("member removed", drop("EntryRecord", "request_id"), [Break("(EntryRecord).request_id", "was removed")]),
    (
        "member of an entry removed",
        drop("DrugAdministered", "dose"),
        [Break(f"(EntryRecord).{DOSE}", "was removed")],
    ),
    (
        "member renamed",
        lambda made: (drop("Sender", "ae_title")(made), put("Sender", "ae", TEXT)(made))[0],
        [Break("(EntryRecord).sender.ae_title", "was removed")],
    ),
    (
        "may be left out",
        optional("EntryRecord", "position"),
        [Break("(EntryRecord).position", "may be left out now, was always there")],
    ),
    (
        "other type",
        put("EntryRecord", "request_id", {"type": "integer"}),
        [Break("(EntryRecord).request_id", "is integer now, was string")],
    ),
    (
        "no type",
        put("EntryRecord", "request_id", {}),
        [
            Break("(EntryRecord).request_id", "is anything now, was string"),
        ],
    ),
    (
        "may be null",
        put("EntryRecord", "request_id", null(TEXT)),
        [Break("(EntryRecord).request_id", "may be null now")],
    ),
    (
        "may be something else as well",
        put("EntryRecord", "request_id", {"anyOf": [TEXT, NUMBER]}),
        [Break("(EntryRecord).request_id", "may be number now")],
    ),
    (
        "fractions where there were none",
        put("EntryRecord", "entry_index", {"type": "number", "minimum": 0}),
        [Break("(EntryRecord).entry_index", "is number now, was integer")],
    ),
    (
        "limit taken away",
        put("EntryRecord", "entry_index", {"type": "integer"}),
        [Break("(EntryRecord).entry_index", "minimum 0 became none")],
    ),
    (
        "constant changed",
        put("DrugAdministered", "kind", {"const": "drug_given", "type": "string"}),
        [Break("(EntryRecord).entry(drug_administered).kind", "may be 'drug_given' now, was 'drug_administered'")],
    ),
    (
        "one value more",
        put("ReducedRecord", "reduced", {"enum": ["too-large", "too-old"], "type": "string"}),
        [Break("(ReducedRecord).reduced", "may be 'too-old' now, was 'too-large'")],
    ),
    (
        "other meaning of nothing",
        put("PublishedFinding", "refuse", {"type": "boolean", "default": True}),
        [Break("(EntryRecord).findings[].refuse", "means True where it is left out, was False")],
    ),
    (
        "items of another type",
        put("Match", "warnings", {"type": "array", "items": {"type": "integer"}}),
        [Break("(EntryRecord).match.warnings[]", "is integer now, was string")],
    ),
    (
        "values of another type",
        put("Match", "found", {"type": "object", "additionalProperties": {"type": "integer"}}),
        [Break("(EntryRecord).match.found.*", "is integer now, was string")],
    ),
    ("kind removed", without_kind("Note"), [Break("(EntryRecord).entry(note)", "was removed")]),
]
HARMLESS: list[tuple[str, Change]] = [
    ("nothing", lambda _: None),
    ("member added", put("EntryRecord", "ward", TEXT)),
    ("member of an entry added", put("DrugAdministered", "batch", null(TEXT))),
    ("always there", required("ReducedRecord", "request_id")),
    ("never null", put("EntryRecord", "observation_uid", TEXT)),
    ("only whole numbers", put("Amount", "value", null({"type": "integer"}))),
    ("limit added", put("EntryRecord", "request_id", {"type": "string", "maxLength": 40})),
    ("described otherwise", put("EntryRecord", "request_id", {"type": "string", "description": "Hex."})),
    ("class renamed", renamed("Sender", "SendingDevice")),
    ("class of an optional member renamed", renamed("StudyReference", "StudyOfEvent")),
    ("kind added", new_kind),
]


def changed(change: Change) -> tuple[dict[str, Any], dict[str, Any]]:
    """A schema before and after."""
    before = schema(ENTRY)
    after = copy.deepcopy(before)
    change(after)
    return before, after


@pytest.mark.parametrize(("name", "change", "expected"), BREAKING, ids=[name for name, _, _ in BREAKING])
def test_a_change_that_breaks_readers_is_named(name: str, change: Change, expected: list[Break]) -> None:
    """Which field, and what happened to it."""
    found = breaks(*changed(change))
    assert found[: len(expected)] == expected, name


@pytest.mark.parametrize(("name", "change"), HARMLESS, ids=[name for name, _ in HARMLESS])
def test_a_change_that_readers_do_not_notice_is_none(name: str, change: Change) -> None:
    """They pass over members that they do not know."""
    assert breaks(*changed(change)) == [], name


@pytest.mark.parametrize("kind", ADAPTERS)
def test_every_schema_is_compatible_with_itself(kind: str) -> None:
    """Recursive ones too."""
    assert breaks(schema(kind), schema(kind)) == []
