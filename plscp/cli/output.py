"""What commands print: tables and key-value pages for people, JSON for machines. Text of devices is never a control sequence."""

import json as jsons
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import compress, groupby
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

WIDE: Final = 100_000
"""Columns where the output is no terminal: what is one line stays one."""

GAP: Final = 2
"""Spaces between the columns of a table."""

_AN_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")

Line = tuple[int, str, object, str]
"""Of a page: depth, name, value, style."""


def console() -> Console:
    """Standard output; colours only on a terminal that wants them."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDE, highlight=False, soft_wrap=False)


def clean(value: object) -> str:
    """Any value as printable text."""
    return "".join(c if c.isprintable() else "\ufffd" for c in str(value))


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """One JSON document, at once; without `indent` on one line."""
    print(jsons.dumps(value, indent=indent, ensure_ascii=False).encode("utf-8", "replace").decode(), flush=True)


def warn(answer: Mapping[str, Any]) -> None:
    """The `warnings` of an answer, a line each on standard error."""
    for each in answer.get("warnings") or ():
        print(f"warning: {clean(each)}", file=sys.stderr)


class Listing:
    """Rows below headings, in columns that break only between words; where these have no room side by side, row after row in lines."""

    def __init__(self, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        cells = [[*map(_cell, row)] for row in rows]
        kept = [not column or any(row[column].plain for row in cells) for column in range(len(headings))]
        self._headings = [*compress(headings, kept)]  # without what no row has: its room is needed
        self._rows = [[*compress(row, kept)] for row in cells]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """A table, or lines."""
        widths = self._widths(options.max_width)
        if widths is None:
            for row in self._rows:
                for at, (name, cell) in enumerate(zip(self._headings, row, strict=True)):
                    if cell.plain:
                        yield _named(0 if at == 0 else 1, name, cell)
            return
        made = Table(box=None, header_style="bold", pad_edge=False)
        for heading, width in zip(self._headings, widths, strict=True):
            made.add_column(heading, overflow="fold", width=width)
        for row in self._rows:
            made.add_row(*row)
        yield made

    def _widths(self, room: int) -> list[int] | None:
        """What each column gets: its longest word at the least, then what there is, to those first that want little; None: no room."""
        columns = [[Text(name), *(row[at] for row in self._rows)] for at, name in enumerate(self._headings)]
        widths = [max(cell_len(word) for cell in column for word in cell.plain.split() or [""]) for column in columns]
        wanted = [max(cell.cell_len for cell in column) for column in columns]
        left = room - GAP * (len(columns) - 1) - sum(widths)
        if left < 0:
            return None
        order = sorted(range(len(columns)), key=lambda at: wanted[at] - widths[at])
        for others, at in zip(range(len(columns), 0, -1), order, strict=True):
            more = min(wanted[at] - widths[at], left // others)
            widths[at] += more
            left -= more
        return widths


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], empty: str, *, json: Any = None) -> None:
    """A `Listing`, whose cells are texts or (text, style), or a line that says that there is nothing; or `json` instead."""
    if json is not None:
        print_json(json)
        return
    shown = [*rows]
    console().print(Listing(headings, shown) if shown else Text(empty, style="dim"))


def _named(depth: int, name: str, value: Text) -> RenderableType:
    """An indented `name: value`, either of which may be empty."""
    text = Text().append(clean(name) + (": " if name and value.plain else ""), style="bold")
    return Padding.indent(text.append_text(value), 2 * depth)


def line(cells: Iterable[object]) -> None:
    """Cells on one line, at once; a (text, style) pair has a colour, what is empty is left out."""
    shown = [cell for cell in map(_cell, cells) if cell.plain]
    console().print(Text("  ").join(shown))


def _cell(value: object) -> Text:
    if isinstance(value, Text):
        return value
    if isinstance(value, tuple) and len(value) == 2:
        return Text(clean(value[0]), style=str(value[1]))
    return Text("" if value is None else clean(value))


def page(lines: Iterable[Line], *, json: Any = None) -> None:
    """Indented `name: value` lines; `json` instead, where it is given."""
    if json is not None:
        print_json(json)
        return
    out = console()
    for depth, name, value, style in lines:
        out.print(_named(depth, name, Text(clean(value), style=style)))


def document(markdown: str, *, json: bool) -> None:
    """A document in Markdown; or as JSON its sections: heading, text, and each table as its columns and rows."""
    if json:
        print_json({"sections": [*_sections(markdown)]})
    else:
        print(markdown, end="")


def _sections(markdown: str) -> Iterator[dict[str, Any]]:
    for section in re.split(r"^(?=#+ )", markdown, flags=re.MULTILINE)[1:]:
        heading, *lines = section.splitlines()
        tables = []
        for of_a_table, some in groupby(lines, lambda line: line.startswith("|")):
            if of_a_table:
                cells = (re.split(r"(?<!\\)\|", line)[1:-1] for line in some)
                columns, _, *rows = ([cell.strip().replace("\\|", "|") for cell in row] for row in cells)
                tables.append({"columns": columns, "rows": rows})
        text = "\n".join(line for line in lines if not line.startswith("|")).strip()
        yield {"heading": heading.lstrip("# "), "level": len(heading.split()[0]), "text": text, "tables": tables}


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


def described(value: Any, name: str = "", depth: int = 0) -> Iterator[Line]:
    """A published value as lines: codes by their meaning, amounts with their unit, times of the server in local time, nothing that is empty."""
    brief = in_brief(value)
    if brief is not None:
        if brief:
            yield depth, name.replace("_", " "), brief, ""
        return
    if name:
        yield depth, name.replace("_", " "), "", ""
    below = depth + 1 if name else depth
    members = value.items() if isinstance(value, Mapping) else enumerate(value, 1)
    for key, each in members:
        yield from described(each, str(key), below)


def in_brief(value: Any) -> str | None:
    """A value on one line, or None where it takes several."""
    if value is None or value in ({}, [], ""):
        return ""
    if isinstance(value, Mapping):
        empty = all(in_brief(each) == "" for each in value.values())
        return "" if empty else _mapping_in_brief(value)
    if isinstance(value, list):
        parts = [in_brief(each) for each in value]
        joined = ", ".join(part for part in parts if part)
        return joined if None not in parts and len(joined) <= 100 else None
    return local(value) if isinstance(value, str) and _AN_INSTANT.fullmatch(value) else str(value)


def cells(value: Mapping[str, Any], *names: str) -> list[str]:
    """Members of a published value in brief, as cells of a row."""
    return [in_brief(value[name]) or "" for name in names]


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
