"""What a server would answer to a request, and why, without one: steps 5 to 7 of the checks, by the server's own code."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Final, NamedTuple

from plscp.content.codes import meaning_of
from plscp.content.elements import CONTENT_SEQUENCE
from plscp.content.items import VALUE_TYPE
from plscp.content.model import Bounds, Code, ContentItem, Numeric, ReferencedSop, Value
from plscp.content.reader import Decoded, decode
from plscp.errors import Refused
from plscp.findings import Finding
from plscp.scu.encoding import Encoded
from plscp.service.reply import comment
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, STATUSES, SUBSTANCE_ADMINISTRATION_LOGGING, StatusInfo
from plscp.templates.compiled import declared
from plscp.templates.engine import TemplateMatch
from plscp.templates.entries import ENTRY_KINDS, match_entry
from plscp.templates.log_entries import PROCEDURE_LOG, LogContext
from plscp.templates.procedure_log import match_context, read_log
from plscp.templates.rows import CONTAINS, Group, Row, Set, Template, Term
from plscp.templates.substance import read_administration

_CONTENT_SEQUENCE: Final = (b"\x40\x00\x30\xa7", b"\x00\x40\xa7\x30")
EXAMPLES: Final = 3
"""Members of a context group that are named."""


class TableRow(NamedTuple):
    """A row of a template's table, as what an item was matched to; of an entry its own row, and the kind."""

    head: Template
    row: Row
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.head.tid} r{self.row.number}"


@dataclass
class Explained:
    """What became of a request.

    Attributes:
        status: the one that it would get before it is matched to a study or patient.
        comment: what is wrong as an Error Comment (0000,0902); the response has it where the status may have one.
        decoded: what was read; None where it does not decode.
        root: the content tree of a Procedural Event.
        rows: the row of each item, by path.
    """

    sop_class: str
    status: StatusInfo = STATUSES[0]
    comment: str = ""
    findings: list[Finding] = field(default_factory=list)
    decoded: Decoded | None = None
    root: ContentItem | None = None
    rows: dict[str, TableRow] = field(default_factory=dict)

    def expected(self, finding: Finding) -> str:
        """How the row that a finding is about should look, or empty."""
        row = wanted(finding, self.rows.get(finding.path))
        return look(row) if row is not None else ""


def explained(given: Encoded, sop_class: str | None, *, strict: bool) -> Explained | None:
    """Checks a request as the server does; None where no SOP Class is given, and nothing tells it."""
    made = Explained(sop_class or PROCEDURAL_EVENT_LOGGING)
    read = partial(decode, given.raw, given.transfer_syntax, calling_ae="", bounds=Bounds())
    try:
        decoded = read(sop_class=made.sop_class)
        if sop_class is None and not {VALUE_TYPE, CONTENT_SEQUENCE} & decoded.root.elements.keys():
            if not any(tag >> 16 == 0x0044 for tag in decoded.root.elements):
                return None
            made.sop_class = SUBSTANCE_ADMINISTRATION_LOGGING
            decoded = read(sop_class=made.sop_class)
        made.decoded = decoded
        if made.sop_class == SUBSTANCE_ADMINISTRATION_LOGGING:
            administration = read_administration(decoded, strict=strict)
            made.findings = [*administration.findings, *administration.entry.findings]
        else:
            made.root = decoded.content
            assert made.root is not None
            made.rows = trace(made.root)
            log = read_log(decoded, strict=strict)
            made.findings = [*log.findings, *(finding for entry in log.entries for finding in entry.findings)]
    except Refused as refused:
        if made.decoded is None and sop_class is None and not any(tag in given.raw for tag in _CONTENT_SEQUENCE):
            made.sop_class = SUBSTANCE_ADMINISTRATION_LOGGING
        made.status, made.findings, made.comment = refused.info, list(refused.findings), comment(refused.findings)
    return made


def trace(root: ContentItem) -> dict[str, TableRow]:
    """The row of every item of a log that a row describes, by the item's path: as the engine matched it."""
    found: dict[str, TableRow] = {}
    inherited, positions = list[ContentItem](), list[int]()
    for position, item in enumerate(root.children, 1):
        if item.relationship != CONTAINS:
            inherited.append(item)
            positions.append(position)
            continue
        matched = match_entry(item, position, [], strict=False)
        if matched.kind is not None:
            found[str(position)] = TableRow(matched.kind.head, matched.kind.row.row, matched.kind.kind)
            if matched.below is not None:
                found |= _places(matched.below, f"{position}.")
    return found | dict(_places(match_context(root, inherited, positions, [], strict=False), ""))


def _places(matched: TemplateMatch, base: str) -> Iterator[tuple[str, TableRow]]:
    for at, (position, row) in enumerate(zip(matched.positions, matched.rows, strict=True)):
        below = matched.below.get(at)
        if row is not None and row.row.include is None:
            yield f"{base}{position}", TableRow(row.head, row.row)
        if below is not None:
            yield from _places(below, f"{base}{position}.")
    for repeated in matched.repeated.values():
        for one in repeated:
            yield from _places(one, base)


@cache
def table() -> dict[tuple[str, str], tuple[TableRow, ...]]:
    """Every row that a Procedure Log may use, by ``TID3108`` and row number; INCLUDE rows as well."""
    found: dict[tuple[str, str], dict[Row, TableRow]] = {}
    own = [TableRow(kind.head, kind.row.row, kind.kind) for kind in ENTRY_KINDS.values()]
    below = [row for kind in ENTRY_KINDS.values() for row in _declared(kind.model, kind.head)]
    for each in (*_declared(LogContext, PROCEDURE_LOG), *own, *below):
        found.setdefault((each.head.tid, each.row.number), {})[each.row] = each
    return {key: tuple(rows.values()) for key, rows in found.items()}


def _declared(model: type[Any], head: Template) -> Iterator[TableRow]:
    for _, row, item in declared(model):
        if row.role == "item":
            yield TableRow(head, row)
            yield from _declared(item, item.head or head)


def wanted(finding: Finding, matched: TableRow | None = None) -> TableRow | None:
    """The row that a finding is about; None where it names none of these tables.

    Of several with the number that of the item there (`matched`) goes before others, else the last, a second reading never.
    """
    rows = table().get((finding.template, finding.row), ())
    if matched is not None and matched in rows:
        return matched
    words = set(finding.reason.split())
    named = (each for each in rows if isinstance(each.row.concept, Term) and each.row.concept.value in words)
    return next(named, min(reversed(rows), key=lambda each: len(each.row.inferred), default=None))


def look(of: TableRow) -> str:
    """How a row should look, as its table says it, with some members of its context groups."""
    row = of.row
    if row.include is not None:
        inside: Template = row.include.head
        return f"INCLUDE {inside.tid} {inside.name}, {row.vm} {row.req}"
    cells: Sequence[Set | None] = (row.concept, *row.value, row.units)
    examples = filter(None, (_examples(cell) for cell in cells if isinstance(cell, Group)))
    return "; ".join([str(row).removeprefix(f"row {row.number}: "), *examples])


def _examples(cell: Group) -> str:
    keys = sorted(cell.keys, key=lambda key: (meaning_of(key), key))
    some = ", ".join(f'({value}, {scheme}, "{meaning_of((value, scheme))}")' for value, scheme in keys[:EXAMPLES])
    more = f" and {len(keys) - EXAMPLES} more" if len(keys) > EXAMPLES else ""
    return f"{str(cell)[1:]}: {some}{more}" if some else ""


def as_json(made: Explained) -> dict[str, Any]:
    """The explanation for machines: `expected` says how a row should look, `row` which one an item matched."""
    findings = []
    for finding in made.findings:
        expected = made.expected(finding)
        findings.append(finding.as_json() | ({"expected": expected} if expected else {}))
    return {
        "sop_class": made.sop_class,
        "accepted": made.status.performed,
        "status": f"{made.status.code:04X}",
        "name": made.status.name,
        "comment": made.comment,
        "findings": findings,
        "tree": _item(made.root, made.rows, "") if made.root is not None else None,
    }


def _item(item: ContentItem, rows: dict[str, TableRow], path: str) -> dict[str, Any]:
    matched = rows.get(path)
    members = {
        "relationship": item.relationship,
        "value_type": item.value_type,
        "concept": concept_text(item.concept),
        "value": value_text(item.value),
        "observation_datetime": item.observation_datetime,
        "template": matched.head.tid if matched else "",
        "row": matched.row.number if matched else "",
        "kind": matched.kind if matched else "",
        "children": [_item(child, rows, f"{path}.{n}".lstrip(".")) for n, child in enumerate(item.children, 1)],
    }
    return {"path": path} | {name: value for name, value in members.items() if value}


def concept_text(code: Code | None) -> str:
    """A code by its meaning, with value and scheme."""
    if code is None:
        return ""
    return f"{code.meaning} ({code.value}, {code.scheme or 'URN'})".strip()


def value_text(value: Value) -> str:
    """A content item's value on one line."""
    if isinstance(value, Code):
        return concept_text(value)
    if isinstance(value, Numeric):
        shown = "no value" if value.text is None else f"{value.text} {value.units.value if value.units else ''}".strip()
        return f"{shown}, {concept_text(value.qualifier)}" if value.qualifier else shown
    if isinstance(value, ReferencedSop):
        return f"{value.sop_instance_uid} of class {value.sop_class_uid}"
    return value or ""
