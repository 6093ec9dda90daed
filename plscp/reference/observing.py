"""The references of metrics and log events: from the families that a server exposes, and from the logging calls of the source."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import plscp
from plscp.logs import EVENTS
from plscp.metrics import families

_SOURCE: Final = Path(plscp.__file__).parent
_LEVELS: Final = ("debug", "info", "warning", "error", "exception", "critical")


def metrics() -> str:
    """docs/metrics.md."""
    rows = sorted(families(), key=lambda family: family.name)
    lines = [
        "# Metrics",
        "",
        "Written by `plscp reference metrics`; do not edit.",
        "",
        "`/metrics` has them in Prometheus' text format, on the listeners of the API and of the probes, without a token. Times are in",
        "seconds, sizes in bytes. Labels come from closed lists: no patient, no study, no AE title that the settings do not name. What",
        "goes beyond the bound of label sets counts as `other`. A histogram has `_bucket`, `_sum` and `_count` behind its name. What",
        "prometheus-client says of any process is there too: `process_start_time_seconds`, `process_resident_memory_bytes` and so on.",
        "",
        "| metric | type | labels | what it says |",
        "| --- | --- | --- | --- |",
    ]
    for family in rows:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        lines.append(f"| `{family.name}` | {family.kind} | {labels} | {family.text} |")
    return "\n".join(lines) + "\n"


class LogCall(NamedTuple):
    """One logging call: the event's name, its level, and the names of the fields that are told there."""

    event: str
    level: str
    fields: tuple[str, ...]


def log_events() -> str:
    """docs/log-events.md."""
    levels, fields = defaultdict[str, set[str]](set), defaultdict[str, dict[str, None]](dict)
    for call in calls():
        levels[call.event].add("error" if call.level == "exception" else call.level)
        fields[call.event].update(dict.fromkeys(call.fields))
    lines = [
        "# Log events",
        "",
        "Written by `plscp reference log-events`; do not edit.",
        "",
        "Logs go to standard error: one JSON object on a line, or a line for people on a terminal (`[log] format`). Each has `event`,",
        "`level` and `timestamp` (UTC). The names are a closed list; a field may be absent where there is nothing to say. No line of level",
        "info or above holds a name or an identifier of a patient: `request_id` and `position` lead to the event",
        "(`plscp event show POSITION`, `plscp quarantine show ID`).",
        "",
        "| event | level | fields | what it means |",
        "| --- | --- | --- | --- |",
    ]
    for event, meaning in sorted(EVENTS.items()):
        shown = ", ".join(level for level in _LEVELS if level in levels[event])
        told = ", ".join(f"`{name}`" for name in fields[event] if name != "exc_info")
        lines.append(f"| `{event}` | {shown} | {told} | {meaning} |")
    return "\n".join(lines) + "\n"


def calls() -> Iterator[LogCall]:
    """Every logging call of the source."""
    trees = [ast.parse(path.read_text("utf-8")) for path in sorted(_SOURCE.rglob("*.py"))]
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    given = {node.name: node for node in functions if any(isinstance(part, ast.Return) for part in node.body)}
    for tree in trees:
        of_module = _dictionaries(tree)
        for scope in ast.walk(tree):
            if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
                spread = _Spread(of_module | _dictionaries(scope), given)
                for node in ast.walk(scope):
                    if isinstance(node, ast.Call) and _logs(node):
                        yield from _told(node, spread)


def _logs(node: ast.Call) -> bool:
    called = node.func
    if not isinstance(called, ast.Attribute) or called.attr not in _LEVELS:
        return False
    logger = called.value
    return (isinstance(logger, ast.Name) and logger.id == "log") or (
        isinstance(logger, ast.Attribute) and logger.attr == "log"
    )


def _dictionaries(scope: ast.AST) -> dict[str, ast.expr]:
    """Names that hold a dictionary written out there."""
    found: dict[str, ast.expr] = {}
    for node in ast.walk(scope):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.Dict | ast.DictComp):
            found |= {target.id: value for target in targets if isinstance(target, ast.Name)}
    return found


class _Spread(NamedTuple):
    """What `**` may stand for: names that hold a dictionary, and functions that return one."""

    names: dict[str, ast.expr]
    functions: dict[str, ast.FunctionDef]

    def keys(self, node: ast.expr | None) -> list[str]:
        """The keys of a dictionary, as far as they are written out; none where they are not."""
        match node:
            case ast.Dict():
                found = []
                for key, value in zip(node.keys, node.values, strict=True):
                    found += [str(key.value)] if isinstance(key, ast.Constant) else self.keys(value)
                return found
            case ast.DictComp():
                return self.keys(node.generators[0].iter)
            case ast.IfExp():
                return self.keys(node.body)
            case ast.Name(id=name) if name in self.names:
                return self._replace(names={k: v for k, v in self.names.items() if k != name}).keys(self.names[name])
            case ast.Call(func=ast.Attribute(value=held, attr="items")):
                return self.keys(held)
            case ast.Call(func=ast.Attribute(attr=name)) if name in self.functions:
                return [
                    key
                    for part in self.functions[name].body
                    if isinstance(part, ast.Return)
                    for key in self.keys(part.value)
                ]
        return []


def _told(node: ast.Call, spread: _Spread) -> Iterator[LogCall]:
    assert isinstance(node.func, ast.Attribute)
    fields: list[str] = []
    for keyword in node.keywords:
        fields += [keyword.arg] if keyword.arg is not None else spread.keys(keyword.value)
    for branch in ast.walk(node.args[0]):
        if isinstance(branch, ast.Constant) and isinstance(branch.value, str):
            yield LogCall(branch.value, node.func.attr, tuple(fields))
