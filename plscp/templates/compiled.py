"""What a declaration becomes at import: for each row its place, and for each concept the rows that it may fill."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, Union, get_args, get_origin

from plscp.content.codes import Key, known
from plscp.content.model import Code, ContentItem, Numeric, ReferencedSop
from plscp.content.units import is_unit
from plscp.findings import Finding
from plscp.templates.rows import HAS_CONCEPT_MOD, NUM, Cell, Gate, Group, Row, Template, Term
from plscp.templates.values import CodeValue, add_extras, amount, code_members, code_value, of_code, reference

HOLDS: Final[dict[str, type[Any]]] = {
    "TEXT": str, "UIDREF": str, "PNAME": str, "DATETIME": str, "DATE": str, "TIME": str, "CODE": Code, "NUM": Numeric,
    "IMAGE": ReferencedSop, "WAVEFORM": ReferencedSop, "COMPOSITE": ReferencedSop,
}  # fmt: skip
"""What the value of a content item is, by its value type."""


class RowFinding(NamedTuple):
    """A finding before it has a path; `strict` where it refuses only under a strict profile."""

    code: str
    reason: str
    template: str = ""
    row: str = ""
    refuse: bool = False
    strict: bool = False

    def at(self, path: str, *, strict: bool) -> Finding:
        """The finding at a path."""
        refuse = self.refuse or (self.strict and strict)
        return Finding(self.code, self.reason, path, self.template, self.row, refuse=refuse)


@dataclass(eq=False)
class CompiledRow:
    """A row and its place in the typed object.

    Attributes:
        name: of the member; `within`: the members that lead to it, each an included template.
        soft: the row's inclusion is a reconstruction, so nothing about it refuses.
        ordinal: place in the table for the order of rows.
        below: the rows of the item's own children; of one repetition where the row includes a template.
        model: the class of the member, or of each where there may be many.
        holds: what the value is; None where the row includes a template that may repeat.
        canonical: the concept as the row writes it; typed items do not repeat it.
        alone: the class of a code without anything below it.
        allowed: the codes of the value or unit cell, or None where any will do; `outside`: the finding about another.
    """

    name: str
    row: Row
    head: Template
    within: tuple[str, ...]
    soft: bool
    ordinal: tuple[int, ...]
    below: "CompiledTemplate"
    model: type[Any]
    gate: Gate | None = None
    many: bool = field(init=False)
    holds: type[Any] | None = field(init=False)
    canonical: Code | None = field(init=False)
    alone: type[CodeValue] = field(init=False)
    allowed: frozenset[Key] | None = field(init=False)
    outside: RowFinding | None = field(init=False)

    def __post_init__(self) -> None:
        self.many = self.row.vm == "1-n"
        self.holds = HOLDS.get(self.row.value_type)
        term = self.row.concept
        self.canonical = Code(term.value, term.scheme, term.meaning) if isinstance(term, Term) else None
        self.alone = self.model if self.holds is Code and self.below.idle else CodeValue
        cells = [cell.keys for cell in (self.row.value if self.row.units is None else (self.row.units,))]
        # Of some groups pydicom has the name only (CID 3418, Lesion Risk): no code can be told to be outside of them.
        self.allowed = frozenset().union(*cells) if cells and all(cells) else None
        self.outside = self._outside()

    @property
    def concept_name(self) -> str:
        """How a finding names the row's concept."""
        return self.canonical.value if self.canonical else str(self.row.concept or self.row.value_type)

    def refuses(self, *cells: Cell) -> bool:
        """Whether what was judged by these cells may refuse a request."""
        return not self.soft and self.row.rests_on(*cells)

    def finding(self, code: str, reason: str, *, refuse: bool = False, strict: bool = False) -> RowFinding:
        """A finding about this row."""
        return RowFinding(code, reason, self.head.tid, self.row.number, refuse, strict)

    def value(self, value: Any) -> tuple[Any, RowFinding | None]:
        """A value of the kind that the row holds as its class takes it, and what is wrong with a code or unit in it."""
        holds = self.holds
        if holds is Code:
            return of_code(value, self, self._alone)
        if holds is Numeric:
            unit, wrong = of_code(value.units, self, self._alone) if value.units is not None else (None, None)
            return amount(value, unit), wrong
        return (value if holds is str else reference(value)), None

    def _alone(self, code: Code) -> tuple[CodeValue, RowFinding | None]:
        return self.alone.model_validate(code_members(code)), self._judged(code)

    def member(self, item: ContentItem) -> tuple[Any, RowFinding | None]:
        """An item with such a value as the class of the member takes it, and what is wrong with the value.

        Where something stands below the item, or is missing there, it is a dict, to which that is added.
        """
        value: Any = item.value
        concept = item.concept if item.concept != self.canonical else None
        more = item.observation_datetime or item.observation_uid or item.other or item.template
        wrong = None
        if self.holds is str:
            member = {"text": value}
        elif self.holds is Code and (more or item.children or concept is not None or not self.below.idle):
            member, wrong = code_members(value), self._judged(value)
        else:
            member, wrong = self.value(value)
        if concept is not None:
            member["concept"] = code_value(concept)
        if more:
            add_extras(member, item)
        return member, wrong

    def _judged(self, code: Code) -> RowFinding | None:
        key, _, retired = known(code)
        if self.allowed is not None:
            if key not in self.allowed:
                return self.outside
        elif self.row.value_type == NUM and not is_unit(key):
            return self.finding("invalid-unit", "unit is not a valid UCUM code")
        return retired_code(key, self) if retired else None

    def _outside(self) -> RowFinding | None:
        """That a code is not in the cell: an EV takes no other, DT and context groups note it (PS3.16 6.1.8)."""
        row, refuses = self.row, self.refuses("value", "units")
        if isinstance(row.units, Group):
            return self.finding("outside-context-group", f"unit outside CID {row.units.cid}")
        if row.units is not None:
            refuse = refuses and row.units.binding == "EV"
            return self.finding("wrong-unit", f"unit must be {row.units.value}", refuse=refuse)
        if not row.value:
            return None
        if all(isinstance(cell, Term) for cell in row.value):
            only = " or ".join(value for cell in row.value for value, _ in cell.keys)
            refuse = refuses and row.value[0].binding == "EV"
            return self.finding("wrong-value", f"value must be {only}", refuse=refuse)
        groups = " ".join(str(cell.cid) for cell in row.value if isinstance(cell, Group))
        return self.finding("outside-context-group", f"value outside CID {groups}")


class Scope(NamedTuple):
    """The rows of the template itself, or of one that it includes once.

    Attributes:
        first: index of its first row; `end` is one past the last.
        row: the INCLUDE row, or None for the template itself.
        asked: indices of its M, MC and UC rows.
    """

    first: int
    end: int
    row: Row | None
    asked: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Which rows an item of some concept, relationship and value type may fill: one object for all such items of a template.

    Attributes:
        rows: indices in the order in which they are filled; of a row that includes a template which may repeat, with the
            candidates inside of it.
        holds: what the item's value should be.
        gated: some of the rows have a gate.
    """

    rows: "tuple[tuple[int, Candidates | None], ...]" = ()
    holds: type[Any] | None = None
    gated: bool = False


NO_ROW: Final = Candidates()


class CompiledTemplate:
    """A template ready to be matched.

    Attributes:
        soft: it is included by a reconstructed row, so nothing in it refuses.
        rows: of the template and of those that it includes once, in the order in which a typed object lists them.
        exact: candidates by relationship, value type, code value and coding scheme designator of the concept.
        open: candidates by relationship and value type, where the concept may be any.
        concepts: rows by concept alone, to tell what an item that fits none was meant to be.
        idle: without children nothing is missing.
    """

    def __init__(self, model: type[Any], head: Template, *, soft: bool) -> None:
        self.head = head
        self.soft = soft
        self.rows: list[CompiledRow] = []
        self.scopes: list[Scope] = []
        self.idle = True
        self._add(model, head, None, soft=soft)
        self.concepts: dict[Key, list[CompiledRow]] = {}
        self._candidates: dict[object, Candidates] = {}
        exact: dict[tuple[str, str, str, str], list[int]] = {}
        free: dict[tuple[str, str], list[int]] = {}
        for index, row in enumerate(self.rows):
            for leaf in _leaves(row):
                at = (leaf.row.relationship, leaf.row.value_type)
                for key in leaf.row.concept.keys if leaf.row.concept else ():
                    exact.setdefault((*at, *key), []).append(index)
                    self.concepts.setdefault(key, []).append(leaf)
                if leaf.row.open:
                    free.setdefault(at, []).append(index)
        self.open = {at: self._of(found, at, None) for at, found in free.items()}
        self.exact: dict[tuple[str, str, str, str] | None, Candidates] = {
            at: self._of([*found, *free.get(at[:2], ())], at[:2], at) for at, found in exact.items()
        }

    def _add(
        self,
        model: type[Any],
        head: Template,
        by: Row | None,
        *,
        soft: bool,
        within: tuple[str, ...] = (),
        before: tuple[int, ...] = (),
        gate: Gate | None = None,
        absent: bool = False,
    ) -> None:
        """Adds the rows of a template class.

        Args:
            by: the INCLUDE row, or None for the template itself.
            absent: it, or one around it, may be absent without anything being missing (PS3.16 6.2.2).
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
                demanded = row.req == "M" or (row.req == "MC" and row.when is not None and row.when.judge is not None)
                self._add(
                    item,
                    item.head,
                    row,
                    soft=below,
                    within=(*within, name),
                    before=ordinal,
                    gate=opens,
                    absent=absent or not demanded,
                )
                continue
            if row.include is None:
                own.append(len(self.rows))
            inner = compiled(item, item.head or head, soft=below)  # type: ignore[arg-type]  # mypy: type[Any] is hashable
            refusing = below if row.include else soft
            self.rows.append(CompiledRow(name, row, head, within, refusing, ordinal, inner, item, opens))
        asked = tuple(i for i in own if self.rows[i].row.req == "M" or self.rows[i].row.when)
        if asked or (by is not None and by.when):
            self.scopes.append(Scope(first, len(self.rows), by, asked))
        if asked and not absent:
            self.idle = False

    def _of(self, rows: Sequence[int], at: tuple[str, str], key: tuple[str, str, str, str] | None) -> Candidates:
        found = list[tuple[int, Candidates | None]]()
        for index in dict.fromkeys(rows):
            row = self.rows[index]
            inside = (row.below.exact.get(key) or row.below.open.get(at, NO_ROW)) if row.row.include else None
            found.append((index, inside))
        return self._same(Candidates(tuple(found), HOLDS.get(at[1]), any(self.rows[i].gate for i, _ in found)))

    def _same(self, made: Candidates) -> Candidates:
        return self._candidates.setdefault((made.rows, made.holds), made)

    def candidates(self, item: ContentItem) -> tuple[Candidates, tuple[RowFinding, ...]]:
        """The candidates of an item, and what is wrong with it where it looks like one of a row and is not."""
        at, key, retired, found = (item.relationship, item.value_type), None, False, None
        if item.concept is not None:
            key, _, retired = known(item.concept)
            found = self.exact.get((*at, *key))
        found = found or self.open.get(at)
        noted = () if found else tuple(self._stranger(key, *at))
        if key and retired:
            noted = (retired_code(key, self.rows[found.rows[0][0]] if found else None), *noted)
        return found or NO_ROW, noted

    def opened(self, found: Candidates, before: Sequence[ContentItem]) -> Candidates:
        """Those candidates whose gate is open after the items before."""
        gates = [(each, self.rows[each[0]].gate) for each in found.rows]
        return self._same(Candidates(tuple(each for each, gate in gates if gate is None or gate(before)), found.holds))

    def _stranger(self, key: Key | None, relationship: str, value_type: str) -> Iterator[RowFinding]:
        if relationship == HAS_CONCEPT_MOD:
            return  # post-coordination is always allowed (PS3.16 6.2.4)
        alike = self.concepts.get(key, ()) if key else ()
        if not alike:
            if not self.head.extensible:
                reason = "item not in a non-extensible template"
                yield RowFinding("extra-item", reason, self.head.tid, strict=not self.soft)
            return
        # An extensible template may not encode a concept of its own rows in another way (PS3.16 6.2.5).
        assert key
        row = next((r for r in alike if r.row.relationship == relationship), None)
        if row is None:
            row = next((r for r in alike if r.row.value_type == value_type), alike[0])
        if row.row.value_type != value_type:
            refuse = row.refuses("concept", "value type")
            yield row.finding("wrong-value-type", f"{key[0]} must be {row.row.value_type}", refuse=refuse)
        else:
            refuse = row.refuses("concept", "relationship") and not row.row.conflicts
            yield row.finding("wrong-relationship", f"{key[0]} must be {row.row.relationship}", refuse=refuse)


def retired_code(key: Key, row: CompiledRow | None) -> RowFinding:
    """That a code, of a row's concept or value, came in a retired spelling."""
    finding = row.finding if row else RowFinding
    return finding("retired-code", f"retired code, read as {key[0]} {key[1]}")


@cache
def compiled(model: type, head: Template, *, soft: bool = False) -> CompiledTemplate:
    """A template class, compiled once."""
    return CompiledTemplate(model, head, soft=soft)


def declared(model: type[Any]) -> Iterator[tuple[str, Row, type[Any]]]:
    """The rows of a template class: member name, row, and the class of the typed item."""
    for name, info in getattr(model, "model_fields", {}).items():
        if isinstance(info.json_schema_extra, Row):
            annotation: Any = info.annotation
            while get_origin(annotation) in {Union, UnionType, list}:
                annotation = next(each for each in get_args(annotation) if each is not NoneType)
            yield name, info.json_schema_extra, annotation if isinstance(annotation, type) else object


def _leaves(row: CompiledRow) -> Iterator[CompiledRow]:
    if row.row.include is None:
        yield row
    else:
        for inner in row.below.rows:
            yield from _leaves(inner)
