"""First-level entries: which template one follows, its typed form, and the way back (PS3.16 TID 3001 rows 6 to 31)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args

from pydantic import ConfigDict, Field, ValidationError

from plscp.content.codes import Key, known
from plscp.content.model import Code, ContentItem, Numeric, ReferencedSop
from plscp.digests import sha256
from plscp.findings import Finding
from plscp.templates import clinical_entries as clinical
from plscp.templates import log_entries as log
from plscp.templates.compiled import HOLDS, CompiledRow, RowFinding, compiled, declared, retired_code
from plscp.templates.engine import TemplateMatch, children, match, not_valid
from plscp.templates.request import TypedEntry
from plscp.templates.rows import CONTAINS, Template
from plscp.templates.values import (
    Entry,
    Item,
    Model,
    add_extras,
    always_published,
    code_of,
    code_value,
    value_of,
    whole,
    whole_item,
    with_extras,
)


class Untyped(Model):
    """A first-level entry of no known template, whole."""

    model_config = ConfigDict(json_schema_extra=always_published)

    kind: Literal["untyped"] = "untyped"
    template: str = ""
    item: Item


AnyEntry = Annotated[
    log.Note | clinical.SpecimenObtained | clinical.PatientAssessment | clinical.EcgStAssessment | log.PatientEvent
    | log.StaffAction | log.EquipmentEvent | log.ProcedureAction | log.ImageAcquired | log.WaveformAcquired
    | log.ObjectReferenced | log.Consumable | clinical.LesionIdentified | clinical.DrugAdministered
    | clinical.DeviceUsed | clinical.Intervention | log.Complication | clinical.Measurement
    | clinical.CodedMeasurement | clinical.CodedFinding | clinical.Impression | clinical.PercutaneousEntry
    | clinical.OxygenAdministration | clinical.CirculatorySupport | clinical.Ventilation | clinical.Pacing | Untyped,
    Field(discriminator="kind"),
]  # fmt: skip
"""Any entry of a Procedure Log, told apart by `kind`.

Where two share a concept (121123), the first whose context group holds the value is taken, else the last.
"""

TYPED: Final[tuple[type[Entry], ...]] = tuple(kind for kind in get_args(get_args(AnyEntry)[0]) if kind is not Untyped)
"""Every kind of entry that has a template."""


class EntryKind:
    """A kind of entry, ready to be matched.

    Attributes:
        concept: name of the member for the concept name; `value` that for the value.
        row: the entry's own, with the rows of its children below it; a code in it refuses nothing.
        validate: from members to an object of the class.
    """

    def __init__(self, model: type[Entry]) -> None:
        assert model.head is not None
        self.model = model
        self.head: Template = model.head
        self.kind: str = model.model_fields["kind"].default
        own = {row.role: (name, row, item) for name, row, item in declared(model)}
        (self.concept, row, _), (self.value, value_row, item) = own["concept"], own["value"]
        below = compiled(model, self.head, soft=not row.verified)
        whole_row = replace(row, value=value_row.value)
        self.row = CompiledRow(self.value, whole_row, self.head, (), soft=True, ordinal=(), below=below, model=item)
        self.validate = model.__pydantic_validator__.validate_python


ENTRY_KINDS: Final[dict[str, EntryKind]] = {kind.kind: kind for kind in map(EntryKind, TYPED)}
EXACT: Final[dict[tuple[str, str, str], list[EntryKind]]] = {}
"""Kinds by value type, code value and coding scheme designator of the concept name."""
_OPEN: Final[dict[str, list[EntryKind]]] = {}
"""Kinds of any concept name, by value type."""
_CONCEPTS: Final[dict[Key, EntryKind]] = {}
"""The first kind with a concept name, whatever its value type."""
_SCHEME_OF: Final[dict[str, str]] = {}
"""The coding scheme of each code value that is a concept name of a kind."""

for _kind in ENTRY_KINDS.values():
    _row = _kind.row.row
    for _key in _row.concept.keys if _row.concept else ():
        EXACT.setdefault((_row.value_type, *_key), []).append(_kind)
        _CONCEPTS.setdefault(_key, _kind)
        _SCHEME_OF.setdefault(_key[0], _key[1])
    if _row.open:
        _OPEN.setdefault(_row.value_type, []).append(_kind)


def _kinds(item: ContentItem) -> tuple[Sequence[EntryKind], list[RowFinding]]:
    concept, value_type, noted = item.concept, item.value_type, list[RowFinding]()
    if concept is None:
        return _OPEN.get(value_type, ()), noted
    key, _, retired = known(concept)
    if retired:
        noted.append(retired_code(key, None))
    kinds: Sequence[EntryKind] = EXACT.get((value_type, *key), ())
    alike = _CONCEPTS.get(key)
    if not kinds and alike is not None:
        row = alike.row
        refuse = row.row.rests_on("concept", "value type")
        noted.append(row.finding("wrong-value-type", f"{key[0]} must be {row.row.value_type}", refuse=refuse))
        return (), noted
    value, scheme = key
    right = _SCHEME_OF.get(value, scheme)
    if not kinds and right != scheme:
        noted.append(RowFinding("other-scheme", f"{value} names an entry in scheme {right}, not in {scheme}"))
    return kinds or _OPEN.get(value_type, ()), noted


class MatchedEntry(NamedTuple):
    """A first-level item, its kind with what its class validates, and the match of its children, where there is one."""

    item: ContentItem
    kind: EntryKind | None = None
    members: dict[str, Any] | None = None
    below: TemplateMatch | None = None


def match_entry(item: ContentItem, position: int, findings: list[Finding], *, strict: bool) -> MatchedEntry:
    """Finds the kind of a first-level entry and matches its children.

    Args:
        position: 1-based among all children of the root: the first part of each path.
        findings: takes what is wrong.
    """
    concept = item.concept
    kinds: Sequence[EntryKind] | None = None
    if concept is not None:
        kinds = EXACT.get((item.value_type, concept.value, concept.scheme))
    if kinds is None:
        kinds, noted = _kinds(item)
        findings += [each.at(str(position), strict=strict) for each in noted]
    for kind in kinds:
        row, below = kind.row, None
        if type(item.value) is not row.holds:
            break
        value, wrong = row.value(item.value)
        if wrong is not None:
            if row.holds is Code and wrong.code != "retired-code" and kind is not kinds[-1]:
                continue  # another kind with the same concept may have the value
            findings.append(wrong.at(str(position), strict=strict))
        members: dict[str, Any] = {"kind": kind.kind, "template": kind.head.identifier, kind.value: value}
        if concept is not None:
            members[kind.concept] = code_value(concept)
        add_extras(members, item)
        if item.children or not row.below.idle:
            below = match(row.below, item.children, f"{position}.", findings, strict=strict, parent=item)
            members.update(below.members)
        return MatchedEntry(item, kind, members, below)
    return MatchedEntry(item)


def typed_entry(item: ContentItem, index: int, position: int, *, strict: bool) -> TypedEntry:
    """The typed form of a first-level entry, with what was noticed about it; an `Untyped` where it has none.

    Args:
        index: 0-based among the entries; `position`: 1-based among all children of the root.
    """
    findings: list[Finding] = []
    _, kind, members, _ = match_entry(item, position, findings, strict=strict)
    typed: Any = None
    if kind is not None:
        try:
            typed = kind.validate(members)
        except ValidationError as error:
            # Without a value that C.17.3 refuses, or a row that refuses, there is no object, and it is said already.
            # Else the engine let pass what the class does not: a fault of the declaration, noted and logged.
            if not any(finding.refuse for finding in findings) and all_fit(item):
                findings.append(not_valid(error, str(position), kind.head.tid, kind.row.row.number))
                kind = None
    if typed is None:
        typed = Untyped.model_validate({"kind": "untyped", "template": "", "item": whole(item)})
    return TypedEntry(
        index,
        kind.kind if kind else "untyped",
        kind.head.identifier if kind else "",
        item.observation_datetime,
        item.observation_uid,
        sha256(item.digest),
        sha256(near_duplicate_text(item).encode()),
        typed,
        findings,
        str(position),
    )


def all_fit(item: ContentItem) -> bool:
    """Whether each value is of its value type, below the item as well."""
    return type(item.value) is HOLDS.get(item.value_type, type(item.value)) and all(map(all_fit, item.children))


def near_duplicate_text(item: ContentItem) -> str:
    """DateTime as sent, concept and value: what makes an entry look like a repetition of another."""
    value: Any = item.value
    if isinstance(value, Code | ReferencedSop):
        value = value[:2]
    elif isinstance(value, Numeric):
        value = (value.text, value.units[:2] if value.units else None)
    concept = item.concept[:2] if item.concept else None
    return repr((item.observation_datetime, concept, value))


def entry_item(entry: Any) -> ContentItem:
    """The first-level content item of a typed entry."""
    if isinstance(entry, Untyped):
        return whole_item(entry.item)
    kind = ENTRY_KINDS[entry.kind]
    concept, value = getattr(entry, kind.concept), value_of(getattr(entry, kind.value))
    below = children(kind.row.below, entry)
    concept = code_of(concept) if concept is not None else None
    return with_extras(ContentItem(CONTAINS, kind.row.row.value_type, concept, value, below), entry)
