"""First-level entries: which template one follows, and its typed form (PS3.16 TID 3001 rows 6 to 31)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

from plscp.content.codes import Key, known
from plscp.content.model import Code, ContentItem, Numeric, Reference
from plscp.digests import sha256
from plscp.findings import Finding
from plscp.templates.clinical_entries import (
    CirculatorySupport,
    CodedFinding,
    CodedMeasurement,
    DeviceUsed,
    DrugAdministered,
    EcgStAssessment,
    Impression,
    Intervention,
    LesionIdentified,
    Measurement,
    OxygenAdministration,
    Pacing,
    PatientAssessment,
    PercutaneousEntry,
    SpecimenObtained,
    Ventilation,
)
from plscp.templates.engine import Report, children
from plscp.templates.fragments import (
    MEMO,
    amount_members,
    code_members,
    encoded,
    extras,
    moment,
    quoted,
    reference_members,
    small,
    whole,
)
from plscp.templates.log_entries import (
    Complication,
    Consumable,
    EquipmentEvent,
    ImageAcquired,
    Note,
    ObjectReferenced,
    PatientEvent,
    ProcedureAction,
    StaffAction,
    WaveformAcquired,
)
from plscp.templates.plans import SHAPES, Plan, Problem, allowed_codes, declared, judge_code, plan
from plscp.templates.request import TypedEntry
from plscp.templates.rows import Row, Template
from plscp.templates.values import Entry

TYPED: Final[tuple[type[Entry], ...]] = (
    Note, SpecimenObtained, PatientAssessment, EcgStAssessment, PatientEvent, StaffAction, EquipmentEvent, ProcedureAction,
    ImageAcquired, WaveformAcquired, ObjectReferenced, Consumable, LesionIdentified, DrugAdministered, DeviceUsed,
    Intervention, Complication, Measurement, CodedMeasurement, CodedFinding, Impression, PercutaneousEntry,
    OxygenAdministration, CirculatorySupport, Ventilation, Pacing,
)  # fmt: skip
"""Every kind of entry. Where two share a concept (121123), the first whose context group holds the value is taken, else the last."""


class EntryPlan:
    """A kind of entry, ready to be matched.

    Attributes:
        row: the entry's own row: value type and concept; `cell` with the value's codes as well.
        concept: name of the member for the concept name; `value` that for the value.
        allowed: codes of the value cell, or None.
        plan: the rows below.
    """

    def __init__(self, model: type[Entry]) -> None:
        head = model.head
        assert head is not None
        self.model = model
        self.head: Template = head
        self.kind: str = model.model_fields["kind"].default
        (self.concept, self.row), (self.value, self.value_row) = _own(model)
        self.shape = SHAPES[self.row.value_type]
        self.allowed = allowed_codes(self.value_row)
        self.cell = replace(self.row, value=self.value_row.value)
        self.plan: Plan = plan(model, head, soft=not self.row.verified)
        self._values: dict[Code, tuple[str, Problem | None]] = {}

    def coded(self, code: Code) -> tuple[str, Problem | None]:
        """The JSON members of a code as the entry's value or unit, and what is wrong with it there."""
        if not code.other:
            hit = self._values.get(code)
            if hit is not None:
                return hit
        found = (code_members(code), judge_code(code, self.cell, self.allowed, refuses=False))
        if small(code):
            if len(self._values) >= MEMO:
                self._values.clear()
            self._values[code] = found
        return found


def _own(model: type[Entry]) -> Iterator[tuple[str, Row]]:
    for role in ("concept", "value"):
        yield next((name, row) for name, row, _ in declared(model) if row.role == role)


class First(NamedTuple):
    """What an entry of some concept and value type may be: kinds with the head of their JSON, and what is wrong."""

    kinds: tuple[tuple[EntryPlan, str], ...]
    problems: tuple[Problem, ...]


PLANS: Final[dict[str, EntryPlan]] = {p.kind: p for p in map(EntryPlan, TYPED)}
_exact: dict[tuple[str, Key], tuple[EntryPlan, ...]] = {}
_open: dict[str, tuple[EntryPlan, ...]] = {}
_concepts: dict[Key, tuple[EntryPlan, ...]] = {}
_firsts: dict[tuple[Code | None, str], First] = {}

for _plan in PLANS.values():
    _concept = _plan.row.concept
    for _key in _concept.keys if _concept else ():
        _exact[_plan.row.value_type, _key] = (*_exact.get((_plan.row.value_type, _key), ()), _plan)
        _concepts[_key] = (*_concepts.get(_key, ()), _plan)
    if _plan.row.open:
        _open[_plan.row.value_type] = (*_open.get(_plan.row.value_type, ()), _plan)


def first(concept: Code | None, value_type: str) -> First:
    """Which kinds of entry have this concept name and value type."""
    cacheable = concept is None or small(concept)
    if cacheable:
        hit = _firsts.get((concept, value_type))
        if hit is not None:
            return hit
    found = _first(concept, value_type)
    if cacheable:
        if len(_firsts) >= MEMO:
            _firsts.clear()
        _firsts[concept, value_type] = found
    return found


def _first(concept: Code | None, value_type: str) -> First:
    key, problems, kinds = None, list[Problem](), tuple[EntryPlan, ...]()
    if concept is not None:
        key, _, retired = known(concept)
        if retired:
            problems.append(Problem("retired-code", f"retired code, read as {key[0]} {key[1]}"))
        kinds = _exact.get((value_type, key), ())
        alike = _concepts.get(key, ())
        if not kinds and alike:
            one = alike[0]
            refuse = one.row.rests_on("concept", "value type")
            problems.append(
                Problem("wrong-value-type", f"{key[0]} must be {one.row.value_type}", refuse, one.head, one.row)
            )
            return First((), tuple(problems))
    kinds = kinds or _open.get(value_type, ())
    return First(tuple((k, _head(k, concept)) for k in kinds), tuple(problems))


def _head(kind: EntryPlan, concept: Code | None) -> str:
    shown = f',"{kind.concept}":{{{code_members(concept)}}}' if concept is not None else ""
    return f'{{"kind":"{kind.kind}","template":"{kind.head.identifier}"{shown},"{kind.value}":'


def typed_entry(item: ContentItem, index: int, position: int, *, strict: bool) -> TypedEntry:
    """The typed form of a first-level entry, with what was noticed about it.

    Args:
        item: target of CONTAINS from the root.
        index: 0-based among the entries.
        position: 1-based among all children of the root: the first part of each path.
        strict: the device's profile.
    """
    report = Report(strict=strict)
    found = None
    if item.concept is None or not item.concept.other:
        found = _firsts.get((item.concept, item.value_type))
    if found is None:
        found = first(item.concept, item.value_type)
    for problem in found.problems:
        report.add(problem, str(position))
    kind, text = _typed(found, item, position, report)
    findings: list[Finding] = report.findings
    return TypedEntry(
        index,
        kind.kind if kind else "untyped",
        kind.head.identifier if kind else "",
        item.observation_datetime,
        item.observation_uid,
        sha256(item.digest),
        sha256(near_duplicate_text(item).encode()),
        encoded(text),
        findings,
        str(position),
    )


def _typed(found: First, item: ContentItem, position: int, report: Report) -> tuple[EntryPlan | None, str]:
    value = item.value
    for kind, head in found.kinds:
        shape = kind.shape
        problem = None
        if shape == "code":
            if type(value) is not Code:
                break
            members, problem = kind.coded(value)
            if problem is not None and problem.code != "retired-code" and kind is not found.kinds[-1][0]:
                continue  # another kind with the same concept may have the value
            text = f"{head}{{{members}}}"
        elif shape == "text":
            if type(value) is not str:
                break
            text = head + quoted(value)
        elif shape == "quantity":
            if type(value) is not Numeric:
                break
            if value.units is not None:
                _, problem = kind.coded(value.units)
            text = f"{head}{{{amount_members(value)}}}"
        else:
            if type(value) is not Reference:
                break
            text = f"{head}{{{reference_members(value)}}}"
        if problem is not None:
            report.add(problem._replace(head=kind.head, row=kind.row), str(position))
        if item.observation_uid or item.other or item.template:
            text += extras(item)
        elif item.observation_datetime:
            text += f',"observation_datetime":{moment(item.observation_datetime)}'
        return kind, f"{text}{children(kind.plan, item, f'{position}.', report)}}}"
    return None, f'{{"kind":"untyped","template":"","item":{whole(item)}}}'


def near_duplicate_text(item: ContentItem) -> str:
    """DateTime as sent, concept and value: what makes an entry look like a repetition of another."""
    value: Any = item.value
    if isinstance(value, Code):
        value = value[:2]
    elif isinstance(value, Numeric):
        value = (value.text, value.units[:2] if value.units else None)
    elif isinstance(value, Reference):
        value = value[:2]
    concept = item.concept[:2] if item.concept else None
    return repr((item.observation_datetime, concept, value))
