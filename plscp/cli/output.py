"""What commands print: tables and key-value pages for people, JSON for machines. Text of devices is never a control sequence."""

import json as jsons
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import compress
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 200
"""Columns where the output is no terminal: nothing is cut."""

WHOLE: Final = {"position", "id", "status", "outcome", "device", "times"}
"""Columns of short words and of what is copied: never broken."""

TIMES: Final = {"time", "last", "occurred", "opened", "closed", "last message"}
DATE: Final = len("2026-01-01")
"""Columns of a time, which is broken after its date where there is no room."""

_AN_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")

Cell = tuple[str, str]
"""Text and rich style."""


def console() -> Console:
    """Standard output; colours only on a terminal that wants them."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDE, highlight=False, soft_wrap=False)


def clean(value: object) -> str:
    """Any value as printable text."""
    return "".join(c if c.isprintable() else "\ufffd" for c in str(value))


def print_json(value: Any) -> None:
    """One JSON document."""
    print(jsons.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "replace").decode())


def print_line(value: Any) -> None:
    """One JSON document on one line, at once."""
    print(jsons.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode(), flush=True)


def warn(answer: Mapping[str, Any]) -> None:
    """The `warnings` of an answer, a line each on standard error."""
    for each in answer.get("warnings") or ():
        print(f"warning: {clean(each)}", file=sys.stderr)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], empty: str, *, json: Any = None) -> None:
    """A table, or a line that says that there is nothing; or `json` instead. A cell that is a (text, style) pair has a colour.

    Columns in which nothing stands are left out but for the first: on a terminal their room is needed.
    """
    if json is not None:
        print_json(json)
        return
    made = Table(box=None, header_style="bold", pad_edge=False)
    cells = [[*map(_cell, row)] for row in rows]
    kept = [not column or any(row[column].plain for row in cells) for column in range(len(headings))]
    for heading in compress(headings, kept):
        made.add_column(
            heading, overflow="fold", no_wrap=heading in WHOLE, min_width=DATE if heading in TIMES else None
        )
    for row in cells:
        made.add_row(*compress(row, kept))
    console().print(made if made.row_count else Text(empty, style="dim"))


def line(cells: Iterable[object]) -> None:
    """Cells on one line, at once; a (text, style) pair has a colour, what is empty is left out."""
    shown = [cell for cell in map(_cell, cells) if cell.plain]
    console().print(Text("  ").join(shown), soft_wrap=True)


def _cell(value: object) -> Text:
    if isinstance(value, tuple) and len(value) == 2:
        return Text(clean(value[0]), style=str(value[1]))
    return Text("" if value is None else clean(value))


def page(lines: Iterable[tuple[int, str, object, str]], *, json: Any = None) -> None:
    """Indented `name: value` lines: (depth, name, value, style); `json` instead, where it is given."""
    if json is not None:
        print_json(json)
        return
    out = console()
    for depth, name, value, style in lines:
        text = Text("  " * depth)
        if name:
            text.append(clean(name) + ("" if value == "" else ": "), style="bold")
        text.append(clean(value), style=style)
        out.print(text)


def changed(answer: Mapping[str, Any], *, json: Any = None) -> None:
    """The answer to a change: its warnings, and the rest as a page; or `json` instead of that."""
    warn(answer)
    page(described({name: value for name, value in answer.items() if name != "warnings"}), json=json)


def status_style(status: str) -> str:
    """Green for Success, yellow for Warning, red for Failure."""
    return "green" if status == "0000" else "yellow" if status.startswith("B") else "red"


def study_style(status: str) -> str:
    """Open studies stand out."""
    return {"open": "green", "scheduled": "cyan", "cancelled": "red"}.get(status, "dim")


def local(text: object) -> str:
    """An ISO 8601 time in this machine's time zone, to the second; other text as it is."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return str(text or "")
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60:2}:{int(seconds) % 60:02}"


def described(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[int, str, object, str]]:
    """A published value as lines: codes by their meaning, amounts with their unit, times of the server in local time, nothing that is empty."""
    brief = in_brief(value)
    if brief is not None:
        if brief:
            yield depth, name.replace("_", " "), brief, ""
        return
    if name:
        yield depth, name.replace("_", " "), "", ""
    below = depth + 1 if name else depth
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from described(each, key, below)
        return
    for number, each in enumerate(value, 1):
        yield from described(each, str(number), below)


def in_brief(value: Any) -> str | None:
    """A value on one line, or None where it takes several."""
    if value is None or value in ({}, [], ""):
        return ""
    if isinstance(value, Mapping):
        if all(in_brief(each) == "" for each in value.values()):
            return ""
        return _mapping_in_brief(value)
    if isinstance(value, list):
        parts = [in_brief(each) for each in value]
        joined = ", ".join(part for part in parts if part)
        return joined if None not in parts and len(joined) <= 100 else None
    return local(value) if isinstance(value, str) and _AN_INSTANT.fullmatch(value) else str(value)


def _mapping_in_brief(value: Mapping[str, Any]) -> str | None:
    if "scheme" in value and "meaning" in value:
        return f"{value['meaning']} ({value.get('value', '')}, {value['scheme']})"
    unit = value.get("unit")
    if isinstance(unit, Mapping) and "value" in value:
        return f"{value.get('text', value['value'])} {unit.get('value', '')}".strip()
    if set(value) <= {"id", "issuer"} and value.get("id"):
        return f"{value['id']} ({value['issuer']})" if value.get("issuer") else str(value["id"])
    if "text" in value and "time" in value:
        return f"{local(value['time'])} ({value['text']})"
    return None
