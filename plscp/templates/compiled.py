"""What a declaration becomes at import: for each row its place, and for each concept the rows that it may fill."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, Union, get_args, get_origin

from plscp.content.codes import Key, known
from plscp.content.model import Code, Numeric, Reference
from plscp.content.units import is_unit
from plscp.findings import Finding
from plscp.templates import rows
from plscp.templates.conversion import LONGEST_KEY_CHARACTERS, MEMORY, amount, code_value, reference, short_names, small
from plscp.templates.rows import HAS_CONCEPT_MOD, NUM, Row, Template

HOLDS: Final[dict[str, type[Any]]] = {
    "TEXT": str, "UIDREF": str, "PNAME": str, "DATETIME": str, "DATE": str, "TIME": str, "CODE": Code, "NUM": Numeric,
    "IMAGE": Reference, "WAVEFORM": Reference, "COMPOSITE": Reference,
}  # fmt: skip
"""What the value of a content item is, by its value type."""


class Problem(NamedTuple):
    """What is wrong, before it has a place; `strict` where it refuses only under a strict profile."""

    code: str
    reason: str
    template: str = ""
    row: str = ""
    refuse: bool = False
    strict: bool = False

    def at(self, path: str, *, strict: bool) -> Finding:
        """The finding that it is at a place."""
        return Finding(
            self.code, self.reason, path, self.template, self.row, refuse=self.refuse or (self.strict and strict)
        )


@dataclass(slots=True, eq=False)
class CompiledRow:
    """A row and its place in the typed object.

    Attributes:
        name: of the member; `within`: the members that lead to it, each an included template.
        head: of the row's template.
        soft: the row's inclusion is a reconstruction, so nothing about it refuses.
        ordinal: place in the table for the order of rows.
        below: the rows of the item's own children; of one repetition where the row includes a template.
        model: the class of the member, or of each where there may be many.
        holds: what the value is; None where the row includes a template that may repeat.
        canonical: the concept as the row writes it; typed items do not repeat it.
        allowed: the codes of the value or unit cell, or None where any will do.
        gate: whether an item may fill it after the items before, or None.
    """

    name: str
    row: Row
    head: Template
    within: tuple[str, ...]
    soft: bool
    ordinal: tuple[int, ...]
    below: "CompiledTemplate"
    model: type[Any]
    gate: rows.Gate | None = None
    many: bool = False
    holds: type[Any] | None = None
    canonical: Code | None = None
    allowed: frozenset[Key] | None = None
    _codes: dict[Code, tuple[Any, Problem | None]] = field(default_factory=MEMORY.memo)

    def __post_init__(self) -> None:
        self.many = self.row.vm == "1-n"
        self.holds = HOLDS.get(self.row.value_type)
        term = self.row.concept
        self.canonical = Code(term.value, term.scheme, term.meaning) if isinstance(term, rows.Term) else None
        self.allowed = allowed_codes(self.row)

    def refuses(self, *cells: rows.Cell) -> bool:
        """Whether what was judged by these cells may refuse a request."""
        return not self.soft and self.row.rests_on(*cells)

    def problem(self, code: str, reason: str, *, refuse: bool = False, strict: bool = False) -> Problem:
        """A problem with this row."""
        return Problem(code, reason, self.head.tid, self.row.number, refuse, strict)

    def member(self, value: Any) -> tuple[Any, Problem | None]:
        """An item's value, which is what the row holds, as a member without more; and what is wrong with it."""
        holds = self.holds
        if holds is str:
            return {"text": value}, None
        if holds is Code:
            return self._coded(value)
        if holds is Numeric:
            unit, wrong = self._coded(value.units) if value.units is not None else (None, None)
            return amount(value, unit), wrong
        return reference(value), None

    def _coded(self, code: Code) -> tuple[Any, Problem | None]:
        """A code in the value or unit cell: the same object, or unit, for the same code."""
        if not code.other:
            found = self._codes.get(code)
            if found is not None:
                return found
        made = code_value(code), self._judged(code)
        if small(code):
            MEMORY.keep(self._codes, code, made)
        return made

    def _judged(self, code: Code) -> Problem | None:
        """What is wrong with a code in the cell: an EV takes no other, DT and context groups note it (PS3.16 6.1.8)."""
        key, _, retired = known(code)
        row, refuses = self.row, self.refuses("value", "units")
        if self.allowed is not None and key not in self.allowed:
            if isinstance(row.units, rows.Group):
                return self.problem("outside-context-group", f"unit outside CID {row.units.cid}")
            if row.units is not None:
                refuse = refuses and row.units.binding == "EV"
                return self.problem("wrong-unit", f"unit must be {row.units.value}", refuse=refuse)
            if all(isinstance(one, rows.Term) for one in row.value):
                only = " or ".join(value for one in row.value for value, _ in one.keys)
                refuse = refuses and row.value[0].binding == "EV"
                return self.problem("wrong-value", f"value must be {only}", refuse=refuse)
            groups = " ".join(str(s.cid) for s in row.value if isinstance(s, rows.Group))
            return self.problem("outside-context-group", f"value outside CID {groups}")
        if row.value_type == NUM and not is_unit(key):
            return self.problem("invalid-unit", "unit is not a valid UCUM code")
        return self.problem("retired-code", f"retired code, read as {key[0]} {key[1]}") if retired else None

    @property
    def concept_name(self) -> str:
        """How a finding names the row's concept."""
        return self.canonical.value if self.canonical else str(self.row.concept or self.row.value_type)


class Scope(NamedTuple):
    """The rows of the template itself, or of one that it includes once.

    Attributes:
        first: index of its first row; `end` is one past the last.
        row: the INCLUDE row, or None for the template itself.
        required: its M rows.
        conditional: its MC and UC rows.
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


class Head(NamedTuple):
    """What a template's table says of a concept, relationship and value type.

    Attributes:
        rows: those that such an item may fill, in the order in which they are filled; empty where no row describes it.
        problems: what is wrong with any such item, whatever its value is.
        inside: for each of the rows that includes a template which may repeat, the number of its own head for the item.
        fits: its value is what its value type holds.
    """

    rows: tuple[int, ...]
    problems: tuple[Problem, ...]
    inside: tuple[int, ...]
    fits: bool


class Recognised(NamedTuple):
    """A code, relationship and value type as one template sees them.

    Attributes:
        fit, unfit: numbers of the heads in `CompiledTemplate.heads`, with a value of its type and without.
        holds: what the value must be.
        concept: the concept name as it is published.
        problems: what is wrong with the code itself.
    """

    fit: int
    unfit: int
    holds: type[Any] | None
    concept: dict[str, Any] | None
    problems: tuple[Problem, ...]


class CompiledTemplate:
    """A template ready to be matched.

    Attributes:
        soft: it is included by a reconstructed row, so nothing in it refuses.
        rows: of the template and of those that it includes once, in the order in which a typed object lists them.
        exact: rows by relationship, value type and concept.
        open: rows whose concept may be any, by relationship and value type.
        concepts: rows by concept alone, to tell what an item that fits none was meant to be.
        idle: without children nothing is missing.
        recognised: what was seen before. `heads`: as few as the table has answers; `layouts` is the engine's, by heads.
    """

    def __init__(self, model: type[Any], head: Template, *, soft: bool = False) -> None:
        self.head = head
        self.soft = soft
        self.rows: list[CompiledRow] = []
        self.scopes: list[Scope] = []
        self.exact: dict[tuple[str, str, Key], tuple[int, ...]] = {}
        self.open: dict[tuple[str, str], tuple[int, ...]] = {}
        self.concepts: dict[Key, tuple[CompiledRow, ...]] = {}
        self.recognised: dict[tuple[Code | None, str, str], Recognised] = MEMORY.memo()
        self.heads: list[Head] = []
        self.layouts: dict[tuple[int, ...], Any] = MEMORY.memo()
        self._numbers: dict[Head, int] = {}
        self._answers: dict[tuple[Key | None, str, str], int] = MEMORY.memo()
        self._add(model, head, None, soft=soft)
        self.idle = all(scope.idle or scope.within for scope in self.scopes)
        for index, row in enumerate(self.rows):
            for leaf in _leaves(row):
                at = (leaf.row.relationship, leaf.row.value_type)
                for key in leaf.row.concept.keys if leaf.row.concept else ():
                    self.exact[*at, key] = (*self.exact.get((*at, key), ()), index)
                    self.concepts[key] = (*self.concepts.get(key, ()), leaf)
                if leaf.row.open:
                    self.open[at] = (*self.open.get(at, ()), index)

    def _add(
        self,
        model: type[Any],
        head: Template,
        by: Row | None,
        *,
        soft: bool,
        within: tuple[str, ...] = (),
        before: tuple[int, ...] = (),
        gate: rows.Gate | None = None,
        absent: bool = False,
    ) -> None:
        """Adds the rows of a template class.

        Args:
            by: the INCLUDE row, or None for the template itself; `absent`: it, or one around it, may have no items.
            within, before: members and places in the tables around it.
        """
        first, numbers, own = len(self.rows), list[str](), list[int]()
        for name, row, item in declared(model):
            if row.role != "item":
                continue
            if row.number not in numbers:
                numbers.append(row.number)
            ordinal = (*before, len(numbers)) if head.ordered else before
            below, opens = soft or not row.verified, row.gate or gate
            if row.include is not None and row.vm == "1":
                self._add(
                    item, item.head, row, soft=below, within=(*within, name), before=ordinal, gate=opens,
                    absent=absent or not _demanded(row),
                )  # fmt: skip
                continue
            if row.include is None:
                own.append(len(self.rows))
            inner = CompiledTemplate(item, item.head or head, soft=below)
            refusing = below if row.include else soft
            self.rows.append(CompiledRow(name, row, head, within, refusing, ordinal, inner, item, opens))
        required = tuple(i for i in own if self.rows[i].row.req == "M")
        conditional = tuple(i for i in own if self.rows[i].row.when)
        if required or conditional or (by is not None and by.when):
            asked = bool(required or conditional) and (by is None or _demanded(by))
            self.scopes.append(Scope(first, len(self.rows), by, required, conditional, not asked, absent))

    def recognise(self, concept: Code | None, relationship: str, value_type: str) -> Recognised:
        """Which rows an item with these three may fill, and what is wrong with it where it looks like one and is not."""
        key, retired = None, False
        if concept is not None:
            key, _, retired = known(concept)
        fit = self._answers.get((key, relationship, value_type))
        if fit is None:
            fit = self._answer(key, relationship, value_type)
        problems: tuple[Problem, ...] = ()
        if key and retired:
            reason, found = f"retired code, read as {key[0]} {key[1]}", self.heads[fit].rows
            problems = (
                self.rows[found[0]].problem("retired-code", reason) if found else Problem("retired-code", reason),
            )
        name = code_value(concept) if concept is not None else None
        made = Recognised(fit, fit + 1, HOLDS.get(value_type), name, problems)
        if (concept is None or small(concept)) and short_names(relationship, value_type):
            MEMORY.keep(self.recognised, (concept, relationship, value_type), made)
        return made

    def _answer(self, key: Key | None, relationship: str, value_type: str) -> int:
        """The number of the head, after which the same stands for an item without its value."""
        found = self.exact.get((relationship, value_type, key), ()) if key else ()
        found += self.open.get((relationship, value_type), ())
        wrong = () if found else tuple(self._stranger(key, relationship, value_type))
        including = [self.rows[index].below for index in found if self.rows[index].row.include]
        inside = tuple(each._answer(key, relationship, value_type) for each in including)
        head = Head(found, wrong, inside, fits=True)
        if head not in self._numbers:
            self._numbers[head] = len(self.heads)
            self.heads += [head, head._replace(fits=False)]
        short = key is None or len(key[0]) + len(key[1]) <= LONGEST_KEY_CHARACTERS
        if short and short_names(relationship, value_type):
            MEMORY.keep(self._answers, (key, relationship, value_type), self._numbers[head])
        return self._numbers[head]

    def _stranger(self, key: Key | None, relationship: str, value_type: str) -> Iterator[Problem]:
        if relationship == HAS_CONCEPT_MOD:
            return  # post-coordination is always allowed (PS3.16 6.2.4)
        alike = self.concepts.get(key, ()) if key else ()
        if not alike:
            if not self.head.extensible:
                reason = "item not in a non-extensible template"
                yield Problem("extra-item", reason, self.head.tid, strict=not self.soft)
            return
        # An extensible template may not encode a concept of its own rows in another way (PS3.16 6.2.5).
        assert key
        row = next((r for r in alike if r.row.relationship == relationship), None)
        if row is None:
            row = next((r for r in alike if r.row.value_type == value_type), alike[0])
        if row.row.value_type != value_type:
            refuse = row.refuses("concept", "value type")
            yield row.problem("wrong-value-type", f"{key[0]} must be {row.row.value_type}", refuse=refuse)
        else:
            refuse = row.refuses("concept", "relationship") and not row.row.conflicts
            yield row.problem("wrong-relationship", f"{key[0]} must be {row.row.relationship}", refuse=refuse)


def allowed_codes(row: Row) -> frozenset[Key] | None:
    """The codes of a row's value or unit cell together, or None where it is not constrained.

    Of some groups pydicom has the name only (CID 3418, Lesion Risk): no code can be told to be outside of them.
    """
    sets = [one.keys for one in row.value] if row.units is None else [row.units.keys]
    return frozenset().union(*sets) if sets and all(sets) else None


def declared(model: type[Any]) -> Iterator[tuple[str, Row, type[Any]]]:
    """The rows of a template class: member name, row, and the class of the typed item."""
    for name, info in getattr(model, "model_fields", {}).items():
        if isinstance(info.json_schema_extra, Row):
            yield name, info.json_schema_extra, _item_class(info.annotation)


def _item_class(annotation: Any) -> type[Any]:
    while get_origin(annotation) in {Union, UnionType, list}:
        annotation = next(a for a in get_args(annotation) if a is not NoneType)
    return annotation if isinstance(annotation, type) else object


def _leaves(row: CompiledRow) -> Iterator[CompiledRow]:
    """The row itself, or those of the template that it includes."""
    if row.row.include is None:
        yield row
    else:
        for inner in row.below.rows:
            yield from _leaves(inner)


def _demanded(inclusion: Row) -> bool:
    """Whether a request can be without an included template's items, and be wrong for it."""
    return inclusion.req == "M" or (inclusion.req == "MC" and bool(inclusion.when and inclusion.when.judge))
