"""Content trees made from the standard's tables: the smallest valid entry of each kind, and an item for each row."""

from typing import Any, Final

from pydantic import TypeAdapter

from plscp.content.codes import group, meaning_of
from plscp.content.model import Code, ContentItem, Numeric, ReferencedSop, Value
from plscp.templates.entries import AnyEntry
from plscp.templates.values import Model
from tests.templates.tables import LINES, Line

ENTRIES: Final[TypeAdapter[Any]] = TypeAdapter(AnyEntry)
PRIVATE = Code("X1", "99TEST", "something of ours")
MG = Code("mg", "UCUM", "mg")
XA_IMAGE = ReferencedSop("1.2.840.10008.5.1.4.1.1.12.1", "1.2.3.4")
COMPREHENSIVE_SR = ReferencedSop("1.2.840.10008.5.1.4.1.1.88.33", "1.2.3.5")

LINE = {(line.tid, line.row): line for line in LINES}
MEASURED = {"300", "310", "311", "312", "315", "320", "321", "4019", "4108"}
"""TID 300 and what it includes but quotations: rows below a number of TID 3114."""
QUOTED = {"1000", "1001", "1005", "1006", "1008", "1010"}
"""Templates that an entry's qualifiers include, by a row whose target is inference: they refuse nothing there."""
ROOT_ROWS = {"6", "8", "10", "12", "23"}


def is_nested(line: Line) -> bool:
    """Whether a row of an included template stands below another of its rows; those of TID 300 stand below the number."""
    return line.nesting == (">>" if line.tid == "300" else ">")


def code(value: str, scheme: str) -> Code:
    """A code with the meaning that PS3.16 gives it."""
    return Code(value, scheme, meaning_of((value, scheme)) or value)


def named(cell: str) -> list[Code]:
    """The codes that a cell names, in a fixed order."""
    words = cell.replace("UNITS ", "").replace(",", "").split()
    found, at = list[Code](), 0
    while at < len(words):
        if words[at] in {"EV", "DT"}:
            found.append(code(words[at + 1], words[at + 2]))
            at += 3
        elif words[at].isdigit():
            found += [code(*key) for key in sorted(group(int(words[at])))]
            at += 1
        else:
            at += 1
    return found


def value_for(line: Line, turn: int = 0) -> Value:
    """A value that the row allows."""
    if line.value_type == "CODE":
        codes = named(line.value)
        return codes[turn % len(codes)] if codes else PRIVATE
    if line.value_type == "NUM":
        return Numeric("1.50", named(line.value)[0] if line.value else MG)
    if line.value_type in {"IMAGE", "WAVEFORM", "COMPOSITE"}:
        return COMPREHENSIVE_SR if line.value_type == "COMPOSITE" else XA_IMAGE
    return {"UIDREF": "1.2.3", "PNAME": "Doe^Jane", "DATETIME": "20240102030405", "DATE": "20240102"}.get(
        line.value_type, "some text"
    )


def item_for(line: Line, turn: int = 0) -> ContentItem:
    """An item that fills the row, with the mandatory rows below it."""
    concepts = named(line.concept)
    any_concept = Code("18035-8", "LN", "Mean gradient") if line.value_type == "NUM" else code("121112", "DCM")
    concept = concepts[turn % len(concepts)] if concepts else any_concept
    below = [
        item_for(child)
        for child in LINES
        if child.tid == line.tid and child.parent == line.row and child.req == "M" and child.value_type != "INCLUDE"
    ]
    relationship = line.relationship or "CONTAINS"
    if (line.tid, line.row) in {("3103", "1"), ("3113", "1")}:  # then row 2 shall be there
        below.append(item_for(LINE[line.tid, "2"]))
    return ContentItem(relationship, line.value_type, concept, value_for(line, turn), below)


def entry_line(kind: str) -> Line:
    """The entry's own row."""
    return next(
        line
        for line in LINES
        if line.kind == kind and (line.row in ROOT_ROWS if line.tid == "3001" else not line.nesting)
    )


def entry(kind: str) -> ContentItem:
    """The smallest valid entry of a kind."""
    made = item_for(entry_line(kind))
    made.observation_datetime = "20240102030405"
    return made


def device() -> list[ContentItem]:
    """A device observer."""
    made = [item_for(LINE["1002", "1"]), item_for(LINE["1004", "1"])]
    made[0].value = code("121007", "DCM")
    return made


def person() -> list[ContentItem]:
    """A person observer."""
    made = [item_for(LINE["1002", "1"]), item_for(LINE["1003", "1"])]
    made[0].value = code("121006", "DCM")
    return made


def root(*children: ContentItem, observers: list[ContentItem] | None = None) -> ContentItem:
    """A log with a device observer unless others are given."""
    before = device() if observers is None else observers
    return ContentItem("", "CONTAINER", code("121120", "DCM"), "SEPARATE", [*before, *children], template="3001")


def entry_json(entry: Model) -> bytes:
    """The JSON of a typed entry or administration as it is published: what was not sent is not there."""
    return entry.__pydantic_serializer__.to_json(entry, exclude_unset=True)


def parse_entry(json: bytes) -> Any:
    """A typed entry from its JSON."""
    return ENTRIES.validate_json(json)


def context_json(context: Model) -> bytes:
    """The JSON member ``"context":{...}``, without braces."""
    return b'"context":' + entry_json(context)
