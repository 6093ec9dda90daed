"""The references of metrics and log events: from the families that a server exposes, and from the logging calls of the source."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client.core import Metric

import plscp
from plscp.logs import EVENTS
from plscp.metrics import Metrics

_SOURCE: Final = Path(plscp.__file__).parent
_LEVELS: Final = ("debug", "info", "warning", "error", "exception", "critical")


def metrics() -> str:
    """docs/metrics.md."""
    made = Metrics()
    made.watch_disk(lambda: 0)
    rows = sorted(made.collect(), key=lambda family: family.name)
    lines = [
        "# Metrics",
        "",
        "Written by `plscp reference metrics`; do not edit.",
        "",
        "`/metrics` has them in Prometheus' text format, on the listeners of the API and of the probes, without a token. Times are in",
        "seconds, sizes in bytes. Labels come from closed lists: no patient, no study, no AE title that the settings do not name. What",
        "goes beyond the bound of label sets counts as `other`. A histogram has the three names that stand behind it.",
        "",
        "| metric | type | labels | what it says |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {_name(family)} | {family.type} | {_labels(family)} | {family.documentation} |" for family in rows]
    return "\n".join(lines) + "\n"


def _name(family: Metric) -> str:
    if family.type == "counter":
        return f"`{family.name}_total`"
    return f"`{family.name}`" + (" (`_bucket`, `_sum`, `_count`)" if family.type == "histogram" else "")


def _labels(family: Metric) -> str:
    return ", ".join(f"`{label}`" for label in getattr(family, "_labelnames", ()))


class Call(NamedTuple):
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


def calls() -> Iterator[Call]:
    """Every logging call of the source."""
    for path in sorted(_SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        for scope in ast.walk(tree):
            if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
                known = dict(_dictionaries(scope))
                for node in ast.walk(scope):
                    if isinstance(node, ast.Call) and _logs(node):
                        yield from _told(node, known)


def _logs(node: ast.Call) -> bool:
    called = node.func
    if not isinstance(called, ast.Attribute) or called.attr not in _LEVELS:
        return False
    logger = called.value
    return (isinstance(logger, ast.Name) and logger.id == "log") or (
        isinstance(logger, ast.Attribute) and logger.attr == "log"
    )


def _dictionaries(scope: ast.AST) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Names of a function that hold a dictionary written out there, with its keys."""
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            keys = tuple(k.value for k in node.value.keys if isinstance(k, ast.Constant) and isinstance(k.value, str))
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, keys


def _told(node: ast.Call, known: dict[str, tuple[str, ...]]) -> Iterator[Call]:
    assert isinstance(node.func, ast.Attribute)
    fields: list[str] = []
    for keyword in node.keywords:
        if keyword.arg is not None:
            fields.append(keyword.arg)
        elif isinstance(keyword.value, ast.Name):
            fields += known.get(keyword.value.id, ())
    for branch in ast.walk(node.args[0]):
        if isinstance(branch, ast.Constant) and isinstance(branch.value, str):
            yield Call(branch.value, node.func.attr, tuple(fields))
