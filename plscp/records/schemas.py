"""The published contract as files: a JSON Schema (2020-12) for each type, examples, and an AsyncAPI 3 document."""

import json
from collections.abc import Iterator
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from plscp.records.asyncapi import document
from plscp.records.examples import as_json, examples
from plscp.records.values import ADAPTERS, RECORDS, RelayStarted

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
    return {
        "$schema": DIALECT,
        "$id": f"urn:plscp:schema:{kind}",
        "title": kind,
        "description": RECORDS.get(kind, RelayStarted).__doc__,
        **ADAPTERS[kind].json_schema(schema_generator=_Published),
    }


def files() -> Iterator[tuple[str, str]]:
    """Path below `schemas/`, and content, of every generated file."""
    for kind in ADAPTERS:
        yield f"{kind}.json", text(schema(kind))
    for kind, name, value in examples():
        yield f"examples/{kind}/{name}.json", text(as_json(value))
    yield "asyncapi.json", text(document())


def text(value: Any) -> str:
    """JSON for people and for version control."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
