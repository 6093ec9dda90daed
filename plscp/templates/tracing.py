"""Which row of which template each content item was matched to, and how a row should look: for people who ask why.

The server never asks: this goes through a tree with the plans that the engine has, after the engine did.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final, NamedTuple

from plscp.content.codes import meaning_of
from plscp.content.model import ContentItem
from plscp.findings import Finding
from plscp.templates.engine import Placed, repetitions
from plscp.templates.entries import PLANS, EntryPlan, typed_entry
from plscp.templates.log_entries import PROCEDURE_LOG, LogContext
from plscp.templates.plans import Plan, declared
from plscp.templates.procedure_log import CONTEXT
from plscp.templates.rows import CONTAINS, Group, Row, Set, Template, Term

EXAMPLES: Final = 3
"""Members of a context group that are named."""


class Place(NamedTuple):
    """The row that an item was matched to.

    Attributes:
        head: of the row's template.
        row: of its table; of an entry, its own row.
        kind: of an entry, the kind; else empty.
    """

    head: Template
    row: Row
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.head.tid} r{self.row.number}"


def trace(root: ContentItem) -> dict[str, Place]:
    """The row of every item that a row describes, by the item's path.

    Args:
        root: a log as the checks see it (`plscp.content.items.content_tree`).
    """
    found: dict[str, Place] = {}
    context: list[Placed] = []
    for position, item in enumerate(root.children, 1):
        if item.relationship != CONTAINS:
            context.append((position, item))
            continue
        kind = PLANS.get(typed_entry(item, 0, position, strict=False).kind)
        if kind is not None:
            found[str(position)] = Place(kind.head, own_row(kind), kind.kind)
            _below(kind.plan, item, f"{position}.", found)
    _rows(CONTEXT, context, "", found)
    return found


def own_row(kind: EntryPlan) -> Row:
    """The row of an entry itself, concept and value together."""
    return replace(kind.row, value=kind.value_row.value)


def _below(plan: Plan, item: ContentItem, base: str, found: dict[str, Place]) -> None:
    if item.children:
        _rows(plan, enumerate(item.children, 1), base, found)


def _rows(plan: Plan, items: Iterable[Placed], base: str, found: dict[str, Place]) -> None:
    """As `plscp.templates.engine.match` sorts items into rows."""
    filled: set[int] = set()
    groups: dict[int, list[Placed]] = {}
    before: list[ContentItem] = []
    for position, item in items:
        for index in plan.find(item.concept, item.relationship, item.value_type).slots:
            slot = plan.slots[index]
            if slot.gate is not None and not slot.gate(before):
                continue
            if slot.shape == "group":
                groups.setdefault(index, []).append((position, item))
                break
            if index in filled and not slot.many:
                continue
            filled.add(index)
            found[f"{base}{position}"] = Place(slot.head, slot.row)
            _below(slot.child, item, f"{base}{position}.", found)
            break
        before.append(item)
    for index, members in groups.items():
        inner = plan.slots[index].child
        for one in repetitions(inner, members):
            _rows(inner, one, base, found)


@cache
def table() -> dict[tuple[str, str], tuple[Place, ...]]:
    """Every row that a Procedure Log may use, by ``TID3108`` and row number; INCLUDE rows as well."""
    found: dict[tuple[str, str], dict[Row, Place]] = {}
    own = [Place(kind.head, own_row(kind), kind.kind) for kind in PLANS.values()]
    below = [place for kind in PLANS.values() for place in _declared(kind.model, kind.head)]
    for place in (*_declared(LogContext, PROCEDURE_LOG), *own, *below):
        found.setdefault((place.head.tid, place.row.number), {})[place.row] = place
    return {key: tuple(places.values()) for key, places in found.items()}


def _declared(model: type[Any], head: Template) -> Iterator[Place]:
    for _, row, item in declared(model):
        if row.role == "item":
            yield Place(head, row)
            yield from _declared(item, item.head or head)


def wanted(finding: Finding, place: Place | None = None) -> Place | None:
    """The row that a finding is about; None where it names none of these tables.

    Args:
        finding: with template and row.
        place: what the item there was matched to, which goes before other rows of the same number; else the last goes, a second reading of a row never.
    """
    places = table().get((finding.template, finding.row), ())
    if place is not None and place in places:
        return place
    words = set(finding.reason.split())
    named = (one for one in places if isinstance(one.row.concept, Term) and one.row.concept.value in words)
    return next(named, min(reversed(places), key=lambda one: len(one.row.inferred), default=None))


def look(place: Place) -> str:
    """How a row should look, as its table says it, with some members of its context groups."""
    shown = str(place.row).removeprefix(f"row {place.row.number}: ")
    if place.row.include is not None:
        inside: Template = place.row.include.head
        return f"INCLUDE {inside.tid} {inside.name}, {place.row.vm} {place.row.req}"
    sets: Sequence[Set | None] = (place.row.concept, *place.row.value, place.row.units)
    examples = [text for one in sets if isinstance(one, Group) if (text := _examples(one))]
    return f"{shown}; {'; '.join(examples)}" if examples else shown


def _examples(cell: Group) -> str:
    keys = sorted(cell.keys, key=lambda key: (meaning_of(key), key))
    some = ", ".join(f'({value}, {scheme}, "{meaning_of((value, scheme))}")' for value, scheme in keys[:EXAMPLES])
    more = f" and {len(keys) - EXAMPLES} more" if len(keys) > EXAMPLES else ""
    return f"{str(cell)[1:]}: {some}{more}" if some else ""
