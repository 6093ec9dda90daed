"""What a declaration becomes at import: for each row its place, and for each concept the rows it may fill."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, Union, get_args, get_origin

from plscp.content.codes import Key, known
from plscp.content.model import Code
from plscp.content.units import is_unit
from plscp.templates import rows
from plscp.templates.fragments import code_members, small
from plscp.templates.rows import HAS_CONCEPT_MOD, NUM, Row, Template

SHAPES: Final = {
    "TEXT": "text", "UIDREF": "text", "PNAME": "text", "DATETIME": "text", "DATE": "text", "TIME": "text",
    "CODE": "code", "NUM": "quantity", "IMAGE": "reference", "WAVEFORM": "reference", "COMPOSITE": "reference",
}  # fmt: skip


ROW_MEMO: Final = 256
"""Codes remembered per row: there are a few hundred rows, and a flood of made-up codes must stay small in all of them."""


@dataclass(slots=True, eq=False)
class Slot:
    """A row's place in the typed object.

    Attributes:
        opening: JSON up to and including the bracket, e.g. ``"route":{``.
        shape: which kind of value the row has; ``group`` for an included template that may repeat.
        soft: the row's inclusion is a reconstruction, so nothing about it refuses.
        ordinal: place in the table for the order of rows.
        canonical: the concept as the row writes it; typed items do not repeat it.
        allowed: the codes of the value or unit cell, or None where any will do.
        gate: whether an item may fill it after the items before, or None.
        child: the plan of the item's own children; of one repetition for a group.
    """

    name: str
    row: Row
    head: Template
    many: bool
    shape: str
    soft: bool
    ordinal: tuple[int, ...]
    child: "Plan"
    model: type[Any]
    opening: str = ""
    closing: str = ""
    canonical: Code | None = None
    allowed: frozenset[Key] | None = None
    gate: rows.Gate | None = None
    memo: dict[Code, tuple[str, "Problem | None"]] = field(default_factory=dict)

    def refuses(self, *cells: rows.Cell) -> bool:
        """Whether what was judged by these cells may refuse a request."""
        return not self.soft and self.row.rests_on(*cells)

    def coded(self, code: Code) -> "tuple[str, Problem | None]":
        """The JSON members of a code in the value or unit cell, and what is wrong with it there."""
        if not code.other:
            hit = self.memo.get(code)
            if hit is not None:
                return hit
        found = (code_members(code), judge_code(code, self.row, self.allowed, refuses=self.refuses("value", "units")))
        if small(code):
            if len(self.memo) >= ROW_MEMO:
                self.memo.clear()
            self.memo[code] = found
        return found


class Problem(NamedTuple):
    """What is wrong, before it has a place; `strict` where it refuses only under a strict profile."""

    code: str
    reason: str
    refuse: bool = False
    head: Template | None = None
    row: Row | None = None
    strict: bool = False


class Scope(NamedTuple):
    """The rows of the template itself, or of one that it includes once.

    Attributes:
        first: slot of its first row; `end` is one past the last.
        row: the INCLUDE row, or None for the template itself.
        required: slots of its M rows.
        conditional: slots of its MC and UC rows.
        idle: without any of its items nothing is missing.
        within: it is in an inclusion that may be absent (PS3.16 6.2.2).
    """

    first: int
    end: int
    row: Row | None
    required: tuple[int, ...]
    conditional: tuple[int, ...]
    idle: bool
    within: bool


class Hit(NamedTuple):
    """Which rows a child item may fill.

    Attributes:
        slots: in the order in which they are filled; empty where no row describes the item.
        concept: JSON member for the concept, comma before it, where it is not just the row's own.
        problems: what is to be noted about any such item.
    """

    slots: tuple[int, ...]
    concept: tuple[str, ...]
    problems: tuple[Problem, ...]


Node = int | tuple[str, int, int, "list[Node]"]
"""A slot, or an included template: its member, first slot, end, and nodes."""


class Plan:
    """A template ready to be matched.

    Attributes:
        soft: it is included by a reconstructed row, so nothing in it refuses.
        exact: rows by relationship, value type and concept.
        open: rows whose concept may be any, by relationship and value type.
        concepts: rows by concept alone, to tell what an item that fits none was meant to be.
        idle: without children nothing is missing.
    """

    def __init__(self, head: Template, *, soft: bool = False) -> None:
        self.head = head
        self.soft = soft
        self.idle = True
        self.slots: list[Slot] = []
        self.scopes: list[Scope] = []
        self.nodes: list[Node] = []
        self.exact: dict[tuple[str, str, Key], tuple[int, ...]] = {}
        self.open: dict[tuple[str, str], tuple[int, ...]] = {}
        self.concepts: dict[Key, tuple[Slot, ...]] = {}
        self.hits: dict[tuple[Code | None, str, str], Hit] = {}

    def find(self, concept: Code | None, relationship: str, value_type: str) -> Hit:
        """Which rows an item with these three may fill, and what is wrong with it where it looks like one and is not."""
        place = (concept, relationship, value_type)
        cacheable = concept is None or small(concept)
        if cacheable:
            hit = self.hits.get(place)
            if hit is not None:
                return hit
        hit = self._find(concept, relationship, value_type)
        if cacheable:
            if len(self.hits) >= ROW_MEMO:
                self.hits.clear()
            self.hits[place] = hit
        return hit

    def _find(self, concept: Code | None, relationship: str, value_type: str) -> Hit:
        key, problems = None, []
        if concept is not None:
            key, _, retired = known(concept)
            if retired:
                problems.append(Problem("retired-code", f"retired code, read as {key[0]} {key[1]}"))
        found = self.exact.get((relationship, value_type, key), ()) if key else ()
        found += self.open.get((relationship, value_type), ())
        if not found:
            return Hit((), (), (*problems, *self._stranger(key, relationship, value_type)))
        shown = f',"concept":{{{code_members(concept)}}}' if concept is not None else ""
        return Hit(found, tuple("" if concept == self.slots[i].canonical else shown for i in found), tuple(problems))

    def _stranger(self, key: Key | None, relationship: str, value_type: str) -> Iterator[Problem]:
        if relationship == HAS_CONCEPT_MOD:
            return  # post-coordination is always allowed (PS3.16 6.2.4)
        alike = self.concepts.get(key, ()) if key else ()
        if not alike:
            if not self.head.extensible:
                reason = "item not in a non-extensible template"
                yield Problem("extra-item", reason, head=self.head, strict=not self.soft)
            return
        # An extensible template may not encode a concept of its own rows in another way (PS3.16 6.2.5).
        assert key
        slot = next((s for s in alike if s.row.relationship == relationship), None)
        if slot is None:
            slot = next((s for s in alike if s.row.value_type == value_type), alike[0])
        if slot.row.value_type != value_type:
            refuse = slot.refuses("concept", "value type")
            yield Problem("wrong-value-type", f"{key[0]} must be {slot.row.value_type}", refuse, slot.head, slot.row)
        else:
            refuse = slot.refuses("concept", "relationship") and not slot.row.conflicts
            yield Problem(
                "wrong-relationship", f"{key[0]} must be {slot.row.relationship}", refuse, slot.head, slot.row
            )


def judge_code(code: Code, row: Row, allowed: frozenset[Key] | None, *, refuses: bool) -> Problem | None:
    """Whether a code stands in its value or unit cell: an EV takes no other, DT and context groups note it (PS3.16 6.1.8)."""
    key, _, retired = known(code)
    if allowed is not None and key not in allowed:
        if isinstance(row.units, rows.Group):
            return Problem("outside-context-group", f"unit outside CID {row.units.cid}")
        if row.units is not None:
            return Problem("wrong-unit", f"unit must be {row.units.value}", refuses and row.units.binding == "EV")
        if all(isinstance(one, rows.Term) for one in row.value):
            only = " or ".join(value for one in row.value for value, _ in one.keys)
            return Problem("wrong-value", f"value must be {only}", refuses and row.value[0].binding == "EV")
        groups = " ".join(str(s.cid) for s in row.value if isinstance(s, rows.Group))
        return Problem("outside-context-group", f"value outside CID {groups}")
    if row.value_type == NUM and not is_unit(key):
        return Problem("invalid-unit", "unit is not a valid UCUM code")
    return Problem("retired-code", f"retired code, read as {key[0]} {key[1]}") if retired else None


def allowed_codes(row: Row) -> frozenset[Key] | None:
    """The codes of a row's value or unit cell together, or None where it is not constrained.

    Of some groups pydicom has the name only (CID 3418, Lesion Risk): no code can be told to be outside of them.
    """
    sets = [one.keys for one in row.value] if row.units is None else [row.units.keys]
    return frozenset().union(*sets) if sets and all(sets) else None


def declared(model: type[Any]) -> Iterator[tuple[str, Row, type[Any]]]:
    """The rows of a template class: member name, row, and the class of the typed item."""
    for name, info in model.model_fields.items():
        if isinstance(info.json_schema_extra, Row):
            yield name, info.json_schema_extra, _item_class(info.annotation)


def _item_class(annotation: Any) -> type[Any]:
    while get_origin(annotation) in {Union, UnionType, list}:
        annotation = next(a for a in get_args(annotation) if a is not NoneType)
    return annotation if isinstance(annotation, type) else object


def plan(model: type[Any], head: Template, *, soft: bool = False) -> Plan:
    """The plan of a template class, or of the rows nested below one of its rows."""
    made = Plan(head, soft=soft)
    made.nodes = _add(made, model, head, None, soft=soft, before=())
    made.idle = all(scope.idle or scope.within for scope in made.scopes)
    for index, slot in enumerate(made.slots):
        for where in _places(slot):
            table: dict[Any, tuple[int, ...]] = made.exact if len(where) == 3 else made.open
            table[where] = (*table.get(where, ()), index)
    for slot in _leaves(made):
        for key in slot.row.concept.keys if slot.row.concept else ():
            made.concepts[key] = (*made.concepts.get(key, ()), slot)
    return made


def _leaves(made: Plan) -> Iterator[Slot]:
    for slot in made.slots:
        if slot.shape == "group":
            yield from _leaves(slot.child)
        else:
            yield slot


def _places(slot: Slot) -> Iterator[tuple[Any, ...]]:
    if slot.shape == "group":
        for inner in slot.child.slots:
            yield from _places(inner)
        return
    at = (slot.row.relationship, slot.row.value_type)
    for key in slot.row.concept.keys if slot.row.concept else ():
        yield (*at, key)
    if slot.row.open:
        yield at


def _add(
    made: Plan,
    model: type[Any],
    head: Template,
    by: Row | None,
    *,
    soft: bool,
    before: tuple[int, ...],
    gate: rows.Gate | None = None,
    within: bool = False,
) -> list[Node]:
    first, nodes, numbers = len(made.slots), list[Node](), list[str]()
    own: list[int] = []
    for name, row, item in declared(model):
        if row.role != "item":
            continue
        if row.number not in numbers:
            numbers.append(row.number)
        ordinal = (*before, len(numbers)) if head.ordered else before
        below = soft or not row.verified
        if row.include is None:
            own.append(len(made.slots))
            nodes.append(len(made.slots))
            made.slots.append(_slot(name, row, head, item, ordinal, soft=soft))
            made.slots[-1].gate = gate
        elif row.vm == "1-n":
            nodes.append(len(made.slots))
            inner = plan(row.include, row.include.head, soft=below)
            made.slots.append(
                Slot(name, row, head, True, "group", below, ordinal, inner, row.include, f'"{name}":[', "]")
            )
            made.slots[-1].gate = row.gate or gate
        else:
            start = len(made.slots)
            inside = _add(
                made, row.include, row.include.head, row, soft=below, before=ordinal, gate=row.gate or gate,
                within=within or not _demanded(row),
            )  # fmt: skip
            nodes.append((name, start, len(made.slots), inside))
    required = tuple(i for i in own if made.slots[i].row.req == "M")
    conditional = tuple(i for i in own if made.slots[i].row.when)
    if required or conditional or (by is not None and by.when):
        asked = bool(required or conditional) and (by is None or _demanded(by))
        made.scopes.append(Scope(first, len(made.slots), by, required, conditional, not asked, within))
    return nodes


def _demanded(inclusion: Row) -> bool:
    """Whether a request can be without an included template's items, and be wrong for it."""
    return inclusion.req == "M" or (inclusion.req == "MC" and bool(inclusion.when and inclusion.when.judge))


def _slot(name: str, row: Row, head: Template, item: type[Any], ordinal: tuple[int, ...], *, soft: bool) -> Slot:
    nested = any(True for _ in declared(item)) if hasattr(item, "model_fields") else False
    below = soft or not row.verified
    many = row.vm == "1-n"
    term = row.concept if isinstance(row.concept, rows.Term) else None
    return Slot(
        name, row, head, many, SHAPES[row.value_type], soft, ordinal,
        plan(item, item.head or head, soft=below) if nested else Plan(head, soft=below), item,
        f'"{name}":[' if many else f'"{name}":', "]" if many else "",
        Code(term.value, term.scheme, term.meaning) if term else None,
        allowed_codes(row),
    )  # fmt: skip
