"""The references of metrics and log events: from the families that a server exposes, and from the logging calls of the source."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import plscp
from plscp.logs import EVENTS
from plscp.metrics import families

_SOURCE: Final = Path(plscp.__file__).parent
_LEVELS: Final = ("debug", "info", "warning", "error", "exception", "critical")
_METRICS: Final = """\
# Metrics

Written by `plscp reference metrics`; do not edit.

`/metrics` has them in Prometheus' text format, on the listeners of the API and of the probes, without a token. Times are in
seconds, sizes in bytes. Labels come from closed lists: no patient, no study, no AE title that the settings do not name. What
goes beyond the bound of label sets counts as `other`. A histogram has `_bucket`, `_sum` and `_count` behind its name. What
prometheus-client says of any process is there too: `process_start_time_seconds`, `process_resident_memory_bytes` and so on.

| metric | type | labels | what it says |
| --- | --- | --- | --- |
"""
_LOG_EVENTS: Final = """\
# Log events

Written by `plscp reference log-events`; do not edit.

Logs go to standard error: one JSON object on a line, or a line for people on a terminal (`[log] format`). Each has `event`,
`level` and `timestamp` (UTC). The names are a closed list; a field may be absent where there is nothing to say. No line of level
info or above holds a name or an identifier of a patient: `request_id` and `position` lead to the event
(`plscp event show POSITION`, `plscp quarantine show ID`).

| event | level | fields | what it means |
| --- | --- | --- | --- |
"""


def metrics() -> str:
    """docs/metrics.md."""
    text = _METRICS
    for family in sorted(families(), key=lambda family: family.name):
        labels = ", ".join(f"`{label}`" for label in family.labels)
        text += f"| `{family.name}` | {family.kind} | {labels} | {family.text} |\n"
    return text


class LogCall(NamedTuple):
    """One logging call, with the names of the fields that are told there."""

    event: str
    level: str
    fields: tuple[str, ...]


def log_events() -> str:
    """docs/log-events.md."""
    levels, fields = defaultdict[str, set[str]](set), defaultdict[str, dict[str, None]](dict)
    for call in calls():
        levels[call.event].add("error" if call.level == "exception" else call.level)
        fields[call.event].update(dict.fromkeys(call.fields))
    text = _LOG_EVENTS
    for event, meaning in sorted(EVENTS.items()):
        shown = ", ".join(level for level in _LEVELS if level in levels[event])
        told = ", ".join(f"`{name}`" for name in fields[event] if name != "exc_info")
        text += f"| `{event}` | {shown} | {told} | {meaning} |\n"
    return text


def calls() -> Iterator[LogCall]:
    """Every logging call of the source."""
    trees = [ast.parse(path.read_text("utf-8")) for path in sorted(_SOURCE.rglob("*.py"))]
    returned = {
        f"{node.name}()": part.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for part in node.body
        if isinstance(part, ast.Return) and part.value is not None
    }
    for tree in trees:
        of_module = returned | _dictionaries(tree)
        for scope in ast.walk(tree):
            if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
                known = of_module | _dictionaries(scope)
                for node in ast.walk(scope):
                    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                        logger, level = node.func.value, node.func.attr
                        if level in _LEVELS and "log" in {getattr(logger, "id", ""), getattr(logger, "attr", "")}:
                            yield from _told(node, level, known)


def _dictionaries(scope: ast.AST) -> dict[str, ast.expr]:
    """Names that hold a dictionary written out there."""
    found: dict[str, ast.expr] = {}
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict | ast.DictComp):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: node.value for target in targets if isinstance(target, ast.Name)}
    return found


def _keys(node: ast.AST, known: Mapping[str, ast.expr]) -> Iterator[str]:
    """The keys of the dictionary that an expression makes, as far as they are written out.

    Args:
        known: what names stand for: a dictionary, or with `()` behind it what the method of that name returns.
    """
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            yield from [str(key.value)] if isinstance(key, ast.Constant) else _keys(value, known)
        return
    called = f"{node.func.attr}()" if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
    name = node.id if isinstance(node, ast.Name) else called
    if name in known:
        yield from _keys(known[name], {other: value for other, value in known.items() if other != name})
    for child in ast.iter_child_nodes(node):
        yield from _keys(child, known)


def _told(node: ast.Call, level: str, known: Mapping[str, ast.expr]) -> Iterator[LogCall]:
    fields: list[str] = []
    for keyword in node.keywords:
        fields += [keyword.arg] if keyword.arg is not None else _keys(keyword.value, known)
    for branch in ast.walk(node.args[0]):
        if isinstance(branch, ast.Constant) and isinstance(branch.value, str):
            yield LogCall(branch.value, level, tuple(fields))
