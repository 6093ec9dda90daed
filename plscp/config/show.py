"""What there is to set, for those who write settings: the reference in Markdown, the JSON Schema, a file to start from."""

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any, Final, get_args

from plscp.config.load import table_of
from plscp.config.model import AllowedOperator, DeviceTable, Overrides, Section
from plscp.config.settings import Settings

_ISSUERS: Final = (
    "## [issuers]",
    "",
    "Authorities that give out IDs: one spelling for each, in requests, feeds and files. A Patient ID sent with an issuer that is",
    "neither listed here nor known from a patient names nobody. Stored identifiers stay as they were written.",
    "",
    "| setting | kind | default | applies | what it does |",
    "| --- | --- | --- | --- | --- |",
    "| `NAME` | text or list of text |  | at once | other spellings of the authority NAME: Issuer of Patient ID (0010,0021), Universal Entity ID of (0010,0024) |",
)


def reference() -> str:
    """The settings reference in Markdown, out of the model."""
    lines = [
        "# Settings",
        "",
        "Generated from the model by `plscp config reference`; do not edit.",
        "",
        "One TOML file (`plscp serve --config plscp.toml`), and over it the environment: `PLSCP_SECTION__KEY`, for example",
        "`PLSCP_DICOM__PORT=11112` or `PLSCP_DEVICES__HEMO1__LOCATION=LAB1`; lists in the environment as JSON or separated by",
        "commas. Unknown keys are refused with the nearest known name. Durations are ISO 8601 (`PT30M`), sizes are bytes,",
        "relative paths in the file count from its folder, those in the environment from the working folder.",
        "`plscp config check` names every fault, `plscp config show` prints what is in force, without secrets.",
        "",
        "A running server reads the file again when it changes, on SIGHUP and on `plscp reload`, which says what became of it. Settings",
        "that apply *at once* hold for every decision and association from then on; the others keep the value that they had *at start*",
        "until a restart. A file with a fault changes nothing. Variables of the environment stay as they were at start.",
    ]
    for name, info in Settings.model_fields.items():
        if name == "issuers":
            lines += ["", *_ISSUERS]
            continue
        title = {"locations": "[locations.NAME]", "devices": "[devices.AE]"}.get(name, f"[{name}]")
        tables = map(table_of, (info.annotation, *get_args(info.annotation)[-1:]))  # or one of tables by name
        lines += _tables(title, name, next(filter(None, tables)))
        if name == "operators":
            lines += ["", *_section("Each of `operators.allowed`", AllowedOperator)]
    return "\n".join(lines) + "\n"


def _tables(title: str, path: str, model: type[Section]) -> Iterator[str]:
    yield ""
    yield from _section(title, model)
    for name, info in model.model_fields.items():
        if (inner := table_of(info.annotation)) is not None:
            yield from _tables(f"[{path}.{name}]", f"{path}.{name}", inner)


def _section(title: str, model: type[Section]) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield (model.__doc__ or "").strip()
    if all(table_of(info.annotation) is not None for info in model.model_fields.values()):
        return
    yield ""
    yield "| setting | kind | default | applies | what it does |"
    yield "| --- | --- | --- | --- | --- |"
    said = model.model_json_schema()["properties"]
    for name, info in model.model_fields.items():
        if table_of(info.annotation) is None and (name not in Overrides.model_fields or model is not DeviceTable):
            value = said[name].get("default")
            default = "required" if info.is_required() else "" if value is None else f"`{json.dumps(value)}`"
            applies = "at once" if model.applies_at_once(name) else "at start"
            cells = (f"`{name}`", _kind(said[name]), default, applies, info.description or "")
            row = " | ".join(cell.replace("|", "\\|") for cell in cells)
            yield f"| {row} |"
    if model is DeviceTable:
        yield f"| {', '.join(f'`{n}`' for n in Overrides.model_fields)} | | as in [matching] | at once | override [matching] for this device |"


_KINDS: Final = {
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "password": "secret",
    "date-time": "date and time",
}
"""By the type or format of JSON Schema."""


def _kind(part: dict[str, Any]) -> str:
    """What a setting takes, in words, out of its JSON Schema. Raises KeyError: a type that has no words yet."""
    if "kind" in part:
        return str(part["kind"])
    if "anyOf" in part:
        return " or ".join(_kind(option) for option in part["anyOf"] if option.get("type") != "null")
    if "enum" in part:
        return " or ".join(f'`"{choice}"`' for choice in part["enum"])
    if part["type"] == "array":
        return "list of tables" if "$ref" in part["items"] else f"list of {_kind(part['items'])}"
    return _KINDS[part.get("format", part["type"])]


_NUMBER: Final = r"[0-9]+(\.[0-9]+)?"
_BY_KIND: Final[dict[str, dict[str, Any]]] = {
    "AE title": {"pattern": r"^[ -\[\]-~]{1,16}$"},
    "UID": {"pattern": r"^([0-9]+(\.[0-9]+)*)?$", "maxLength": 64},
    "URL": {"pattern": "^sqlite:///.*[^/]$"},
    "duration": {
        "pattern": f"^P({_NUMBER}W)?({_NUMBER}D)?(T({_NUMBER}H)?({_NUMBER}M)?({_NUMBER}S)?)?$",
        "examples": ["PT30M"],
    },
    "text or list of text": {"type": ["string", "array"]},
    "network or list of networks": {"type": ["string", "array"]},
}
"""What the validators of a kind say beyond its type, as far as a schema can."""
_UNSAID: Final = frozenset({"title", "kind", "ge", "le", "default", "writeOnly", "format"})


def schema() -> dict[str, Any]:
    """The JSON Schema of a settings file, for editors and for the values of the Helm chart: each table in its place."""
    whole = Settings.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of plscp",
        **_inlined(whole, whole.pop("$defs")),
    }


def _inlined(part: dict[str, Any], models: dict[str, Any]) -> dict[str, Any]:
    """A part of Pydantic's schema as a file has it: without references and null, which TOML does not have."""
    if "$ref" in part:
        # What is said of the field goes before what is said of its model.
        part = models[part["$ref"].rpartition("/")[2]] | {name: each for name, each in part.items() if name != "$ref"}
    if "anyOf" in part:
        [option] = [option for option in part["anyOf"] if option.get("type") != "null"]
        described = {name: each for name, each in part.items() if name != "anyOf"}
        return _inlined(option | described, models)
    made = {name: each for name, each in part.items() if name not in _UNSAID}
    made |= _BY_KIND.get(part.get("kind", ""), {})
    for bound, name in (("ge", "minimum"), ("le", "maximum")):
        if bound in part:
            made.setdefault(name, part[bound])
    if "default" in part and part["default"] is not None:
        made["default"] = part["default"]
    for name in ("items", "additionalProperties", "propertyNames"):
        if isinstance(made.get(name), dict):
            made[name] = _inlined(made[name], models)
    if "propertyNames" in made:  # said this way, a refused name is reported with its place
        pattern = made.pop("propertyNames")["pattern"]
        made |= {"patternProperties": {pattern: made["additionalProperties"]}, "additionalProperties": False}
    if "properties" in made:
        made["properties"] = {name: _inlined(each, models) for name, each in made["properties"].items()}
    return made


def starter() -> str:
    """The commented file that `plscp config init` writes."""
    return resources.files("plscp.config").joinpath("starter.toml").read_text("utf-8")
