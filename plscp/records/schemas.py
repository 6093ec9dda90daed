"""The published contract as files: a JSON Schema for each type and each kind of entry, examples, and an AsyncAPI 3 document."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from plscp import __version__
from plscp.records import parts
from plscp.records.examples import as_json, examples
from plscp.records.values import ADAPTERS, KINDS, LATER, RECORDS, AssignedRecord, EntryRecord
from plscp.templates.entries import TYPED, Untyped
from plscp.templates.log_entries import LogContext
from plscp.templates.substance import SubstanceAdministered
from plscp.templates.values import Amount

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
DRAFT_07: Final = "http://json-schema.org/draft-07/schema#"

_ENTRIES: Final[tuple[type[BaseModel], ...]] = (*TYPED, Untyped, SubstanceAdministered)
ENTRIES: Final = {str(model.model_fields["kind"].default): model for model in _ENTRIES}
"""The class of each kind of entry."""

_NULL_TOO: Final[dict[type[BaseModel], tuple[str, ...]]] = {
    Amount: ("value",),
    LogContext: ("room",),
    parts.StudyChange: ("planned",),
    parts.ReducedRecord: ("observation_uid", "study", "same_content_as"),
}
"""Members that may be left out and are written as null as well; all others that may be left out are never null."""


class _Published(GenerateJsonSchema):
    """What is written: narrower than what `plscp.records.values` reads."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        """Titles would only repeat the names."""
        return False

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """One flat choice, without `discriminator`, which is OpenAPI's: `kind` is a constant in each alternative.

        The class for kinds that a reader does not know would take every `kind`; none is written as one.
        """
        written = {tag: of for tag, of in schema["choices"].items() if tag != LATER}
        made = super().tagged_union_schema(schema | {"choices": written})
        return {"oneOf": [one for choice in made["oneOf"] for one in choice.get("oneOf", [choice])]}

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """What may be null keeps that: it loses the default by which `_never_null` tells what may not."""
        made = super().model_schema(schema)
        for model, members in _NULL_TOO.items():
            for member in members if issubclass(schema["cls"], model) else ():
                made["properties"][member].pop("default")
        return made


def schema(name: str, *, draft_07: bool = False) -> dict[str, Any]:
    """The JSON Schema of a CloudEvents type's value, or of a kind of entry. Raises KeyError: there is neither.

    Args:
        draft_07: in that older dialect, which says of a member of a class no more than the class.
    """
    made = _entry(name) if name in ENTRIES else _record(name)
    return dict(_everywhere(_everywhere(made, _never_null), _as_draft_07 if draft_07 else _apart))


def _entry(kind: str) -> dict[str, Any]:
    made = ENTRIES[kind].model_json_schema(schema_generator=_Published)
    return {"$schema": DIALECT, "$id": f"urn:plscp:schema:entry:{kind}", **made}


def _record(kind: str) -> dict[str, Any]:
    made = ADAPTERS[kind].json_schema(schema_generator=_Published)
    record = RECORDS.get(kind, parts.RelayStarted)
    defined = made.get("$defs", {})
    alternatives = [defined[model.__name__] for model in (record, parts.ReducedRecord) if model.__name__ in defined]
    for each in alternatives or [made]:
        each["properties"]["type"] |= {"const": kind}
        each["properties"]["type"].pop("default")
        each["required"].insert(0, "type")
    title = "".join(word.capitalize() for word in re.findall("[a-z]+", kind)[2:-1])
    about = {"title": title, "description": record.__doc__}
    return {"$schema": DIALECT, "$id": f"urn:plscp:schema:{kind}", **made, **about}


Change = Callable[[dict[str, Any]], dict[str, Any]]


def _everywhere(value: Any, change: Change) -> Any:
    """The value with each object in it changed, inner ones first."""
    if isinstance(value, dict):
        return change({name: _everywhere(inner, change) for name, inner in value.items()})
    return [_everywhere(each, change) for each in value] if isinstance(value, list) else value


_NULL: Final = {"type": "null"}


def _never_null(of: dict[str, Any]) -> dict[str, Any]:
    """A member that may be left out is left out where there is nothing."""
    if "anyOf" not in of or of.get("default", ...) is not None:
        return of
    choices = [one for one in of["anyOf"] if one != _NULL]
    about = {name: value for name, value in of.items() if name not in {"anyOf", "default"}}
    return {**(choices[0] if len(choices) == 1 else {"anyOf": choices}), **about}


def _apart(of: dict[str, Any]) -> dict[str, Any]:
    """What is said beside a reference stands apart from it: generators make a numbered double of the class otherwise."""
    if "$ref" not in of or len(of) == 1:
        return of
    return {"allOf": [{"$ref": of["$ref"]}], **{name: value for name, value in of.items() if name != "$ref"}}


def _as_draft_07(of: dict[str, Any]) -> dict[str, Any]:
    """There a reference stands alone; and a type or null is a list, which generators for Java want."""
    if "$ref" in of:
        return {"$ref": of["$ref"].replace("#/$defs/", "#/definitions/")}
    if "$defs" in of:
        of = {"definitions" if name == "$defs" else name: value for name, value in of.items()}
    if "$schema" in of:
        of["$schema"] = DRAFT_07
    match of:
        case {"anyOf": [{"type": str(kind)} as one, {"type": "null"}], **about}:
            return {**one, **about, "type": [kind, "null"]}
    return of


def files() -> Iterator[tuple[str, str]]:
    """Path below `schemas/`, and content, of every generated file."""
    for folder, draft_07 in (("", False), ("draft-07/", True)):
        for name in (*ADAPTERS, *ENTRIES):
            place = f"{folder}entries/{name}.json" if name in ENTRIES else f"{folder}{name}.json"
            yield place, text(schema(name, draft_07=draft_07))
    for kind, name, value in examples():
        yield f"examples/{kind}/{name}.json", text(as_json(value))
    yield "asyncapi.json", text(asyncapi())


def text(value: Any) -> str:
    """JSON for people and for version control."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


# --- AsyncAPI ---

BINDING: Final = "0.5.0"
"""Version of the Kafka binding."""

SHOWN: Final = "drug_administered"
"""Of several examples; all are in `examples/`."""

_STUDY_KEY: Final = "Study Instance UID: everything of a study is in one partition, in order."
_PATIENT_KEY: Final = (
    "`issuer|patient id` as first seen, kept when the ID changes: all of a patient is in one partition."
)
TOPICS: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "procedure-log": (
        "Each entry of each accepted Procedural Event, and what corrections move.",
        _STUDY_KEY,
        (parts.ENTRY_TYPE, parts.WITHDRAWN_TYPE, parts.ASSIGNED_TYPE),
    ),
    "medication-administration": (
        "Each accepted Substance Administration, and what corrections move.",
        _PATIENT_KEY,
        (parts.ADMINISTRATION_TYPE, parts.WITHDRAWN_TYPE, parts.ASSIGNED_TYPE),
    ),
    "quarantine": (
        "Each refusal, once for each request and reason; the request itself is kept on the server.",
        "Calling AE title.",
        (parts.REFUSED_TYPE,),
    ),
    "study": ("What becomes of studies in the registry.", _STUDY_KEY, parts.STUDY_TYPES),
    "patient": ("What becomes of patients' identifiers in the registry.", _PATIENT_KEY, parts.PATIENT_TYPES),
}
"""By name without prefix: what it holds, its key, and the types in it beside the barrier."""


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI document: topics, keys, headers and messages as a consumer's author looks them up."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "plscp",
            "version": __version__,
            "description": (
                "Events that cath-lab devices report to plscp (DICOM PS3.4 Annex P), each once per key and in order. A raw "
                "repeat is possible; its position is never above one of its store already seen in its partition. "
                "Members that are not described here may come with any later version; a change that would break a reader "
                "comes as a new type, `.v2`."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(name) for name in TOPICS},
        "operations": {
            f"publish-{name}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{name}"},
                "messages": [{"$ref": f"#/channels/{name}/messages/{kind}"} for kind in _kinds(name)],
            }
            for name in TOPICS
        },
        "components": {"messages": {kind: _message(kind) for kind in (*RECORDS, parts.BARRIER)}},
    }


def _kinds(topic: str) -> tuple[str, ...]:
    return (*TOPICS[topic][2], parts.BARRIER)


def _channel(name: str) -> dict[str, Any]:
    return {
        "address": f"{{prefix}}.{name}",
        "description": TOPICS[name][0],
        "parameters": {"prefix": {"default": "plscp", "description": "`topic_prefix` of the server's settings."}},
        "messages": {kind: {"$ref": f"#/components/messages/{kind}"} for kind in _kinds(name)},
        "bindings": {
            "kafka": {
                "partitions": 6,
                "topicConfiguration": {"cleanup.policy": ["delete"]},
                "bindingVersion": BINDING,
            }
        },
    }


def _message(kind: str) -> dict[str, Any]:
    key = " Or, by topic: ".join(dict.fromkeys(of for _, of, kinds in TOPICS.values() if kind in kinds))
    shown = {name: as_json(value) for of, name, value in examples() if of == kind}
    name = SHOWN if SHOWN in shown else next(iter(shown))
    return {
        "name": kind,
        "title": RECORDS.get(kind, parts.RelayStarted).__name__,
        "contentType": "application/json",
        "headers": _headers(kind),
        "payload": _payload(kind),
        **(
            {"bindings": {"kafka": {"key": {"type": "string", "description": key}, "bindingVersion": BINDING}}}
            if key
            else {}
        ),
        "examples": [{"name": name, "payload": shown[name]}],
    }


def _payload(kind: str) -> dict[str, Any]:
    """The JSON Schema, but for entries: parsers write out every reference, and its twenty kinds would take them minutes."""
    record = RECORDS.get(kind)
    if record is not EntryRecord and record is not AssignedRecord:
        return {"$ref": f"./{kind}.json"}
    inside = f"./{kind}.json#/$defs/{record.__name__}/properties"
    deep = {
        "context": {"type": "object"},
        "entry": {
            "type": "object",
            "required": ["kind", "template"],
            "properties": {"kind": {"type": "string", "examples": [*KINDS]}, "template": {"type": "string"}},
        },
    }
    return {
        "type": "object",
        "description": f"{record.__doc__} `context` and `entry` are in ./{kind}.json, kind by kind.",
        "required": ["type", *(name for name, field in record.model_fields.items() if field.is_required())],
        "properties": {name: deep.get(name) or {"$ref": f"{inside}/{name}"} for name in record.model_fields},
    }


def _headers(kind: str) -> dict[str, Any]:
    always = {
        "ce_specversion": {"const": "1.0"},
        "ce_type": {"const": kind},
        "ce_source": {"type": "string", "description": "`/plscp/` and the store's id."},
        "ce_dataschema": {"const": f"urn:plscp:schema:{kind}"},
        "ce_id": {"type": "string", "description": "The same in every repeat."},
        "content-type": {"const": "application/json"},
        parts.STORE: {"type": "string", "description": "Id of the event store: positions are its own."},
    }
    if kind == parts.BARRIER:
        more = {parts.PARTITIONS: {"type": "string", "description": "How many partitions the topic had."}}
        return {"type": "object", "required": [*always], "properties": always | more}
    placed = {parts.POSITION: {"type": "string", "pattern": "^[0-9]+$", "description": "Rises in each partition."}}
    more = {
        "ce_time": {"type": "string", "format": "date-time", "description": "When it occurred, UTC."},
        "ce_subject": {"type": "string", "description": "Study Instance UID, or what else it is about."},
    }
    return {"type": "object", "required": [*always, *placed], "properties": always | placed | more}
