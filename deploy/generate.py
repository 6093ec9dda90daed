"""Makes what follows from the chart's values.yaml and from the settings of plscp.

`generate.py schema` prints values.schema.json, `generate.py readme` the values reference, README.md, and `generate.py at-once` the
settings that a running server takes over, a path each, for files/at-once.json. In values.yaml a comment
`# --` describes the value below it, and a line `# @schema {...}` adds to the JSON Schema that follows from its default; there
`settings: true` stands for the settings of plscp, `port: true` for a port, `open: true` for what Kubernetes defines.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

import yaml

from plscp.config import Settings
from plscp.config import schema as settings_schema
from plscp.config.model import Section

HERE: Final = Path(__file__).parent
VALUES: Final = HERE / "helm" / "plscp" / "values.yaml"
INTRODUCTION: Final = HERE / "helm" / "introduction.md"
_KEY: Final = re.compile(r"^( *)([A-Za-z][A-Za-z0-9]*):(?: |$)")
_TYPES: Final[dict[type, str]] = {
    bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object",
}  # fmt: skip
_PORT: Final = {"minimum": 1, "maximum": 65535}


class Value(NamedTuple):
    """One value of the chart: where it stands, its default, what its comment says."""

    path: tuple[str, ...]
    default: Any
    text: str
    said: dict[str, Any]

    @property
    def whole(self) -> bool:
        """Whether it is given as a whole: its members are not values of their own."""
        return not (isinstance(self.default, dict) and self.default) or bool(self.said)


def values() -> Iterator[Value]:
    """Every value of values.yaml, in its order; members of a value that is given as a whole are left out."""
    text = VALUES.read_text("utf-8")
    defaults = yaml.safe_load(text)
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    within = -1  # deeper than this: members of a value that is given as a whole
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            comment.append(line.strip().lstrip("#").strip())
            continue
        found = _KEY.match(line)
        if found and (within < 0 or len(found[1]) <= within):
            indent = len(found[1])
            path = [*(step for step in path if step[0] < indent), (indent, found[2])]
            names = tuple(name for _, name in path)
            value = Value(names, _at(defaults, names), *_read(comment))
            yield value
            within = indent if value.whole and names != ("global",) else -1
        comment = []


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def _read(comment: list[str]) -> tuple[str, dict[str, Any]]:
    """What a comment describes, and what it adds to the schema."""
    text: list[str] = []
    said: dict[str, Any] = {}
    for line in comment:
        if line.startswith("@schema "):
            said |= yaml.safe_load(line.removeprefix("@schema "))
        elif line.startswith("-- "):
            text = [line.removeprefix("-- ")]
        elif text:
            text.append(line)
    return " ".join(text), said


def schema() -> dict[str, Any]:
    """values.schema.json: nothing that the chart does not know, each type, what each value does."""
    top = _table("Values of the Helm chart plscp")
    for value in values():
        table = top
        for name in value.path[:-1]:
            table = table["properties"][name]
        table["properties"][value.path[-1]] = _schema_of(value)
    # Helm gives a subchart what its parent says for all of them.
    top["properties"]["global"]["additionalProperties"] = True
    # Draft 7 is what every Helm 3 reads.
    return {"$schema": "http://json-schema.org/draft-07/schema#", **top}


def _table(description: str) -> dict[str, Any]:
    described = {"description": description} if description else {}
    return {**described, "type": "object", "additionalProperties": False, "properties": {}}


def _schema_of(value: Value) -> dict[str, Any]:
    said = dict(value.said)
    if said.pop("settings", False):
        return {**_in_chart(settings_schema()), "description": value.text}
    if not value.whole:
        return _table(value.text)
    is_open = said.pop("open", False)
    made: dict[str, Any] = {"description": value.text}
    if value.default is not None:
        made["type"] = _TYPES[type(value.default)]
    if said.pop("port", False):
        made |= _PORT
    made |= said
    if made["type"] == "object" and not is_open:
        made.setdefault("additionalProperties", False)
    return made


def _in_chart(part: dict[str, Any]) -> dict[str, Any]:
    """The schema of the settings for a chart: without secrets, paths that the chart fills in, ports that are chosen."""
    made = {name: each for name, each in part.items() if name not in {"$schema", "title", "default"}}
    for name in ("items", "additionalProperties"):
        if isinstance(made.get(name), dict):
            made[name] = _in_chart(made[name])
    if "patternProperties" in made:
        made["patternProperties"] = {name: _in_chart(each) for name, each in made["patternProperties"].items()}
    if "properties" in made:
        made["properties"] = {
            name: _in_chart(each) | (_PORT if name == "port" else {})
            for name, each in made["properties"].items()
            if name not in Settings.secrets
        }
        # The chart fills in certificate and private_key from a Secret.
        if {"certificate", "private_key"} == set(made.get("required", ())):
            del made["required"]
    return made


def readme() -> str:
    """The values reference, a table for each group."""
    lines = [INTRODUCTION.read_text("utf-8").rstrip(), "", "## Values", ""]
    lines += ["Generated from values.yaml; do not edit (`make generate`)."]
    group = ""
    head = ["", "| value | type | default | what it does |", "| --- | --- | --- | --- |"]
    plain: list[str] = []
    grouped: list[str] = []
    for value in values():
        if len(value.path) == 1 and not value.whole:
            continue
        row = f"| `{'.'.join(value.path)}` | {_type(value)} | {_default(value)} | {_cell(value.text)} |"
        if len(value.path) == 1:
            plain.append(row)
            continue
        if value.path[0] != group:
            group = value.path[0]
            grouped += ["", f"### {group}", *head]
        if value.text:
            grouped.append(row)
    return "\n".join([*lines, "", "### Single values", *head, *plain, *grouped]) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _type(value: Value) -> str:
    if value.said.get("settings"):
        return "object, as in docs/settings.md"
    if "enum" in value.said:
        return " or ".join(f"`{each}`" for each in value.said["enum"])
    if value.said.get("port"):
        return "port"
    types = _schema_of(value)["type"]
    return " or ".join(each for each in ([types] if isinstance(types, str) else types) if each != "null")


def _default(value: Value) -> str:
    if value.default is None or value.default == "":
        return ""
    return f"`{_cell(json.dumps(value.default))}`"


def at_once() -> str:
    """The settings that need no restart, as the model says: their paths, of a whole table its own."""
    return json.dumps([".".join(path) for path in _at_once(Settings, ())], indent=2) + "\n"


def _at_once(model: type[Section], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, info in model.model_fields.items():
        [below] = [each for each in (info.annotation, *get_args(info.annotation)) if _is_section(each)] or [None]
        # Of a table that may be absent, its coming and going needs a restart, whatever is in it.
        always = below is not None and below is info.annotation
        if model.applies_at_once(name) or (always and all(map(below.applies_at_once, below.model_fields))):
            yield (*path, name)
        elif below is not None:
            yield from _at_once(below, (*path, name))


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def main() -> int:
    """Print what is asked for."""
    made = {
        "schema": lambda: json.dumps(schema(), indent=2, ensure_ascii=False) + "\n",
        "readme": readme,
        "at-once": at_once,
    }
    if len(sys.argv) != 2 or sys.argv[1] not in made:
        print("usage: generate.py schema|readme|at-once", file=sys.stderr)
        return 2
    print(made[sys.argv[1]](), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
