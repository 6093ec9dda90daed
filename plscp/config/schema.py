"""The settings as a JSON Schema: for editors of the TOML file, and for the values of the Helm chart."""

from typing import Any, Final

from plscp.config.model import SettingsModel

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
    """The JSON Schema of a settings file: each table in its place, no references."""
    whole = SettingsModel.model_json_schema()
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
