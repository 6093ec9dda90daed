"""The vocabulary in which templates are declared: a field of a class is a row of a PS3.16 table.

A declaration is read beside the standard::

    route: Coded | None = row("3", ">", HAS_PROPERTIES, CODE, sct("410675002", "Route of administration"), "1", U, bcid(11))

is the row ``3 | > | HAS PROPERTIES | CODE | EV (410675002, SCT, "Route of administration") | 1 | U | | BCID 11``.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Final, Literal

from pydantic import Field

from plscp.content.codes import Key, group, known
from plscp.content.model import Code, ContentItem

CONTAINS: Final = "CONTAINS"
HAS_OBS_CONTEXT: Final = "HAS OBS CONTEXT"
HAS_ACQ_CONTEXT: Final = "HAS ACQ CONTEXT"
HAS_CONCEPT_MOD: Final = "HAS CONCEPT MOD"
HAS_PROPERTIES: Final = "HAS PROPERTIES"
INFERRED_FROM: Final = "INFERRED FROM"

TEXT: Final = "TEXT"
CODE: Final = "CODE"
NUM: Final = "NUM"
PNAME: Final = "PNAME"
UIDREF: Final = "UIDREF"
DATETIME: Final = "DATETIME"
IMAGE: Final = "IMAGE"
WAVEFORM: Final = "WAVEFORM"
COMPOSITE: Final = "COMPOSITE"
DATE: Final = "DATE"

Requirement = Literal["M", "MC", "U", "UC"]
M: Final[Requirement] = "M"
MC: Final[Requirement] = "MC"
U: Final[Requirement] = "U"
UC: Final[Requirement] = "UC"

Multiplicity = Literal["1", "1-n"]
Cell = Literal["concept", "value", "vm", "req", "relationship", "value type", "units"]


@dataclass(frozen=True)
class Term:
    """One code in a cell: EV, only this code; DT, this code for this concept, others may stand for others."""

    value: str
    scheme: str
    meaning: str
    binding: Literal["EV", "DT"] = "EV"

    @cached_property
    def keys(self) -> frozenset[Key]:
        """What the cell names."""
        return frozenset({(self.value, self.scheme)})

    def __str__(self) -> str:
        return f'{self.binding} ({self.value}, {self.scheme}, "{self.meaning}")'


@dataclass(frozen=True, slots=True)
class Group:
    """A context group in a cell: DCID, these codes and extensions of the group; BCID, these or any other."""

    cid: int
    binding: Literal["DCID", "BCID"]

    @property
    def keys(self) -> frozenset[Key]:
        """What the cell names."""
        return group(self.cid)

    def __str__(self) -> str:
        return f"{self.binding} {self.cid}"


Set = Term | Group


def _term(scheme: str, value: str, meaning: str) -> Term:
    return Term(value, scheme, meaning)


ln: Final = partial(_term, "LN")
"""A cell ``EV (value, LN, meaning)``: LOINC."""
dcm: Final = partial(_term, "DCM")
"""A cell ``EV (value, DCM, meaning)``."""
sct: Final = partial(_term, "SCT")
"""A cell ``EV (value, SCT, meaning)``."""


def ucum(value: str) -> Term:
    """A unit cell ``UNITS = EV (value, UCUM, value)``."""
    return Term(value, "UCUM", value)


def dt(term: Term) -> Term:
    """The same code in a cell that says DT."""
    return Term(term.value, term.scheme, term.meaning, "DT")


dcid: Final = partial(Group, binding="DCID")
"""A cell ``DCID cid``."""
bcid: Final = partial(Group, binding="BCID")
"""A cell ``BCID cid``."""

Judge = Callable[[ContentItem | None, Sequence[ContentItem]], bool | None]
Gate = Callable[[Sequence[ContentItem]], bool]


@dataclass(frozen=True, slots=True)
class Condition:
    """The condition of an MC or UC row (PS3.16 6.1.7).

    Attributes:
        kind: IF, shall be there where true; IFF, and shall not otherwise; XOR, IFF the other row is not there.
        judge: from the parent item and its children to True, False, or None where it cannot be told; absent where it
            can never be told from a request.
        inferred: the judgement rests on inference: it refuses nothing.
    """

    kind: Literal["IF", "IFF", "XOR"]
    text: str
    judge: Judge | None = None
    inferred: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """The head of a template's table.

    Attributes:
        identifier: digits of the TID.
        extensible: other content items may stand beside the rows.
        ordered: the order of the rows is significant.
    """

    identifier: str
    name: str
    extensible: bool = True
    ordered: bool = True

    @property
    def tid(self) -> str:
        """``TID3106``, as findings name it."""
        return f"TID{self.identifier}"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a template's table.

    Attributes:
        number: as in the standard; empty where it is not known.
        nesting: ``>`` signs of the table.
        relationship: to the parent, or empty where the includer gives it.
        concept: the cell's codes, or None where any will do.
        value: the sets of the value cell, any of which may hold the value; empty where not constrained.
        include: the class of the template that the row includes, or None.
        verified: False where the row is a reconstruction: it refuses nothing.
        inferred: the cells that are inference: what rests on them refuses nothing.
        conflicts: PS3.3 Table A.35.7-2 forbids the row as it is written: other relationships pass.
        gate: from the items before one to whether it may fill the row, or a row below this inclusion. It parts templates
            with concepts in common.
        role: ``item`` is a row for a content item; ``concept`` and ``value`` are the two halves of an entry's own row.
    """

    number: str
    nesting: str
    relationship: str
    value_type: str
    concept: Set | None
    vm: Multiplicity
    req: Requirement
    value: tuple[Set, ...] = ()
    units: Term | Group | None = None
    when: Condition | None = None
    include: "type[Any] | None" = None
    verified: bool = True
    inferred: frozenset[Cell] = field(default_factory=frozenset)
    conflicts: bool = False
    gate: Gate | None = None
    role: Literal["item", "concept", "value"] = "item"

    @property
    def open(self) -> bool:
        """Whether items of any concept may fill it, and items without one where their value type needs none (PS3.3 C.17.3)."""
        return self.concept is None or (isinstance(self.concept, Group) and self.concept.binding == "BCID")

    def rests_on(self, *cells: Cell) -> bool:
        """Whether a judgement by these cells may refuse: the row was read, and none of them is inference."""
        return self.verified and not self.inferred.intersection(cells)

    def __str__(self) -> str:
        what = f"INCLUDE {self.include.__name__}" if self.include else f"{self.value_type} {self.concept or ''}".strip()
        value = f", value {' or '.join(map(str, self.value))}" if self.value else ""
        units = f", units {self.units}" if self.units else ""
        when = f", {self.when.kind} {self.when.text}" if self.when else ""
        number = self.number or "of unknown number"
        return f"row {number}: {self.relationship} {what}, {self.vm} {self.req}{when}{value}{units}".replace(
            ":  ", ": "
        )

    def __call__(self, schema: dict[str, Any]) -> None:
        """Describes the field in the JSON Schema (pydantic's `json_schema_extra`)."""
        allowed = " or ".join(map(str, self.value)) or "not constrained"
        schema["description"] = f"The entry's own value: {allowed}" if self.role == "value" else str(self)


def _field(declared: Row) -> Any:
    # Rows of included templates are optional: a template may be included by a reconstruction, and refuses nothing then.
    refuses = declared.req == "M" and declared.rests_on("concept", "req") and not declared.include
    if refuses and declared.nesting and declared.vm == "1":
        return Field(json_schema_extra=declared)
    if declared.vm == "1-n":
        return Field(default_factory=list, json_schema_extra=declared)
    return Field(default=None, json_schema_extra=declared)


def row(  # noqa: PLR0917  # the columns of the standard's tables, in their order
    number: str,
    nesting: str,
    relationship: str,
    value_type: str,
    concept: Set | None,
    vm: Multiplicity,
    req: Requirement,
    *value: Set,
    units: Term | Group | None = None,
    when: Condition | None = None,
    verified: bool = True,
    inferred: Sequence[Cell] = (),
    conflicts: bool = False,
) -> Any:
    """Declares a field as a row for content items, in the order of the table's columns."""
    return _field(
        Row(
            number,
            nesting,
            relationship,
            value_type,
            concept,
            vm,
            req,
            value,
            units,
            when,
            verified=verified,
            inferred=frozenset(inferred),
            conflicts=conflicts,
        )
    )


def named(item: ContentItem, concept: Set) -> bool:
    """Whether an item's concept name is in the cell, in today's spelling or a retired one."""
    return item.concept is not None and known(item.concept).key in concept.keys


def coded(items: Iterable[ContentItem], concept: Set) -> Key | None:
    """The code that stands beside a concept name, in today's spelling; None where no item has such a value."""
    for item in items:
        if isinstance(item.value, Code) and named(item, concept):
            return known(item.value).key
    return None


def either(row_number: str, value_type: str, concept: Set, kind: Literal["IF", "XOR"] = "XOR") -> Condition:
    """The condition that another row is absent: no item of its value type and concept stands beside this row's.

    Args:
        kind: XOR, just one of the two shall be there; IF, at least one.
    """

    def absent(_parent: ContentItem | None, siblings: Sequence[ContentItem]) -> bool:
        return not any(item.value_type == value_type and named(item, concept) for item in siblings)

    return Condition(kind, f"row {row_number}" if kind == "XOR" else f"row {row_number} is absent", absent)


def include(
    number: str,
    nesting: str,
    template: type[Any],
    vm: Multiplicity,
    req: Requirement,
    *,
    when: Condition | None = None,
    verified: bool = True,
    gate: Gate | None = None,
) -> Any:
    """Declares a field as an INCLUDE row: the included template's items are children of the same parent."""
    return _field(
        Row(number, nesting, "", "INCLUDE", None, vm, req, when=when, include=template, verified=verified, gate=gate),
    )


def entry(
    number: str,
    value_type: str,
    concept: Set | None,
    vm: Multiplicity = "1",
    req: Requirement = "M",
    *,
    inferred: Sequence[Cell] = (),
) -> Any:
    """Declares the field that holds an entry's concept name: the row of the entry itself."""
    declared = Row(number, "", CONTAINS, value_type, concept, vm, req, inferred=frozenset(inferred), role="concept")
    return Field(default=None, json_schema_extra=declared) if declared.open else Field(json_schema_extra=declared)


def entry_value(*value: Set) -> Any:
    """Declares the field that holds an entry's value: the value cell of the entry's own row."""
    return Field(json_schema_extra=Row("", "", CONTAINS, "", None, "1", "M", value, role="value"))
