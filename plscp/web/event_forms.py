"""Events in the forms in which they are read over HTTP: lines of JSON, server-sent events, and rows of a spreadsheet."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic_core import from_json

from plscp.records.brief import AMOUNTS, WITH, said, word
from plscp.store.port import StoredEvent
from plscp.web.operations import CSV, EVENT_STREAM, NDJSON

COLUMNS: Final = (
    "position", "occurred", "recorded", "device", "location", "study", "study_id", "patient", "issuer", "kind", "what", "item",
    "code", "quantity", "unit", "status", "event_id",
)  # fmt: skip
"""Of CSV: `what` in a few words; `item` and `code` say with what, such as the drug; `quantity` is the first one of the entry."""
_FORMULA: Final = re.compile(r"(^|[;\t\r\n])(?=[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
KEEP_ALIVE: Final = b":\n\n"
"""A comment of a stream of server-sent events."""


def _sent(event: StoredEvent) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.position, event.type.encode(), event.payload)


def _csv(table: Iterable[Sequence[object]]) -> bytes:
    """As RFC 4180 has it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([_cell(value) for value in row] for row in table)
    return text.getvalue().encode()


def _cell(value: object) -> str:
    """Text that no spreadsheet takes for a formula, and no terminal for a command.

    What begins like a formula gets an apostrophe, unless it is a number; also behind what a spreadsheet may take for the end of a
    cell, as with the semicolon of many countries.
    """
    text = _CONTROL.sub("\ufffd", str(value))
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub(r"\1'", text)


def _row(kind: str, event: Mapping[str, Any]) -> tuple[object, ...]:
    entry, change = event.get("entry") or {}, event.get("change") or {}
    sender, study, patient = (event.get(name) or {} for name in ("sender", "study", "patient"))
    moved = (event.get("correction") or {}).get("moved_from") or {}
    about = study or change or moved
    item = next((_first(entry[name]) for name in WITH if entry.get(name)), "")
    of_code = f"{item['value']}^{item['scheme']}" if isinstance(item, Mapping) and "scheme" in item else ""
    amounts = (_first(entry.get(name)) for name in AMOUNTS)
    amount = next((each for each in amounts if isinstance(each, Mapping) and isinstance(each.get("unit"), Mapping)), {})
    named = patient or change.get("patient") or moved.get("patient") or (change if "id" in change else {})
    return (
        event["position"],
        (event.get("occurred") or {}).get("time", ""),
        event["recorded"],
        sender.get("ae_title", ""),
        sender.get("location", ""),
        about.get("study_instance_uid", ""),
        about.get("study_id", ""),
        named.get("id", ""),
        named.get("issuer", ""),
        entry.get("kind", kind) if kind == "entry" else kind,
        said(entry)
        if entry
        else change.get("what") or event.get("comment") or event.get("status_name") or ("withdrawn" if moved else kind),
        word(item),
        of_code,
        amount.get("text", ""),
        amount.get("unit", {}).get("value", ""),
        event.get("status") or (event.get("match") or {}).get("status", ""),
        event["event_id"],
    )


def _first(value: Any) -> Any:
    return (value[0] if value else "") if isinstance(value, list) else value


WRITTEN: Final[Mapping[str, Callable[[Sequence[StoredEvent]], bytes]]] = {
    NDJSON: lambda events: b"".join(event.payload + b"\n" for event in events),
    CSV: lambda events: _csv(_row(event.kind, from_json(event.payload)) for event in events),
    EVENT_STREAM: lambda events: b"".join(map(_sent, events)),
}
"""How events are written that are sent as they are read."""
HEADING: Final[Mapping[str, bytes]] = {CSV: _csv([COLUMNS])}
"""What comes before the first of them."""
