"""The published contract as files: a JSON Schema (2020-12) for each type, examples, and an AsyncAPI 3 document."""

import json
from collections.abc import Iterator
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from plscp import __version__
from plscp.records.examples import as_json, examples
from plscp.records.parts import (
    ADMINISTRATION_TYPE,
    ASSIGNED_TYPE,
    BARRIER,
    ENTRY_TYPE,
    PARTITIONS,
    POSITION,
    REFUSED_TYPE,
    STORE,
    WITHDRAWN_TYPE,
    ReducedRecord,
    RelayStarted,
)
from plscp.records.values import ADAPTERS, KINDS, RECORDS, AssignedRecord, EntryRecord

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class _Published(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        """Titles would only repeat the names."""
        return False

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """Without `discriminator`, which is OpenAPI's; `kind` is a constant in each alternative."""
        made = super().tagged_union_schema(schema)
        made.pop("discriminator", None)
        return made


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of a CloudEvents type's value. Raises KeyError: there is no such type."""
    record = RECORDS.get(kind, RelayStarted)
    made = ADAPTERS[kind].json_schema(schema_generator=_Published)
    defined = made.get("$defs", {})
    alternatives = [defined[model.__name__] for model in (record, ReducedRecord) if model.__name__ in defined]
    for each in alternatives or [made]:
        each["properties"]["type"] |= {"const": kind}
        each["properties"]["type"].pop("default")
        each["required"].insert(0, "type")
    return {
        "$schema": DIALECT,
        "$id": f"urn:plscp:schema:{kind}",
        "title": kind,
        "description": record.__doc__,
        **made,
    }


def files() -> Iterator[tuple[str, str]]:
    """Path below `schemas/`, and content, of every generated file."""
    for kind in ADAPTERS:
        yield f"{kind}.json", text(schema(kind))
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
        (ENTRY_TYPE, WITHDRAWN_TYPE, ASSIGNED_TYPE),
    ),
    "medication-administration": (
        "Each accepted Substance Administration, and what corrections move.",
        _PATIENT_KEY,
        (ADMINISTRATION_TYPE, WITHDRAWN_TYPE, ASSIGNED_TYPE),
    ),
    "quarantine": (
        "Each refusal, once for each request and reason; the request itself is kept on the server.",
        "Calling AE title.",
        (REFUSED_TYPE,),
    ),
    "study": (
        "What becomes of studies in the registry.",
        _STUDY_KEY,
        tuple(f"org.plscp.study.{what}.v1" for what in ("opened", "updated", "closed", "cancelled")),
    ),
    "patient": (
        "What becomes of patients' identifiers in the registry.",
        _PATIENT_KEY,
        ("org.plscp.patient.changed.v1", "org.plscp.patient.merged.v1"),
    ),
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
        "components": {"messages": {kind: _message(kind) for kind in (*RECORDS, BARRIER)}},
    }


def _kinds(topic: str) -> tuple[str, ...]:
    return (*TOPICS[topic][2], BARRIER)


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
        "title": RECORDS.get(kind, RelayStarted).__name__,
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
        STORE: {"type": "string", "description": "Id of the event store: positions are its own."},
    }
    if kind == BARRIER:
        more = {PARTITIONS: {"type": "string", "description": "How many partitions the topic had."}}
        return {"type": "object", "required": [*always], "properties": always | more}
    placed = {POSITION: {"type": "string", "pattern": "^[0-9]+$", "description": "Rises in each partition."}}
    more = {
        "ce_time": {"type": "string", "format": "date-time", "description": "When it occurred, UTC."},
        "ce_subject": {"type": "string", "description": "Study Instance UID, or what else it is about."},
    }
    return {"type": "object", "required": [*always, *placed], "properties": always | placed | more}
