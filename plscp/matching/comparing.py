"""What is given against the study found: contradictions, and what is only worth noting (contracts section 3)."""

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from plscp.findings import Finding
from plscp.matching import comments
from plscp.matching.case import A, Case, L, P, S, Span, spans_of
from plscp.matching.identifiers import agrees
from plscp.matching.model import Question
from plscp.matching.records import Study

BY_PLACE: Final = frozenset({"5", "6", "7"})

SUPERSEDED: Final = Finding("superseded-id", "Patient ID was merged, changed or is another ID of the patient found")
LOCATION_UNKNOWN: Final = Finding("location-unknown", "Performed Location is a name that no [locations] entry lists")
NOT_STARTED: Final = Finding("study-not-started", "the study is scheduled and was not opened yet")
DEVICE_LOCATION: Final = Finding(
    "device-location-differs", "the study was not at the device's configured location then"
)

_PATIENT: Final = Finding("patient-id-differs", comments.PATIENT_CONTRADICTS)
_STUDY_ID: Final = Finding("study-id-differs", comments.STUDY_ID_CONTRADICTS)
_LOCATION: Final = Finding("location-differs", comments.LOCATION_CONTRADICTS)

Policy = Literal["refuse", "log"]


class Contradiction(NamedTuple):
    """An identifier that was given and is not the study's; refused or logged."""

    finding: Finding
    refuse: bool


def _patient_contradicts(case: Case, study: Study) -> bool:
    patient = case.registry.patient_number(study.patient)
    return not agrees(case.registry, patient, case.patient_id, case.issuer)


def _study_id_contradicts(case: Case, study: Study) -> bool:
    return bool(study.study_id) and study.study_id != case.study_id


def _location_contradicts(case: Case, study: Study) -> bool:
    places = case.places()  # none for a name that no [locations] entry lists: that is a finding only
    return bool(places) and was_elsewhere(case, study, places)


class Row(NamedTuple):
    """One line of the contract: which identifier, found by which rules, is handled how."""

    given: int
    rules: frozenset[str]
    contradicts: Callable[[Case, Study], bool]
    finding: Finding
    setting: str  # of the policy; empty: always refused


_EVERY: Final = frozenset({"1", "2a", "3", "4", "5", "6", "7"})
_TABLE: Final = (
    Row(P, _EVERY, _patient_contradicts, _PATIENT, "patient_mismatch"),
    Row(S, BY_PLACE, _study_id_contradicts, _STUDY_ID, ""),
    Row(S, _EVERY - BY_PLACE, _study_id_contradicts, _STUDY_ID, "study_id_mismatch"),
    Row(L, _EVERY - BY_PLACE, _location_contradicts, _LOCATION, "location_mismatch"),
)
_BY_RULE: Final = {rule: [row for row in _TABLE if rule in row.rules] for rule in _EVERY}


def contradictions(case: Case, rule: str, study: Study) -> list[Contradiction]:
    """Every given identifier that contradicts the study found, in the order P, S, L."""
    return [
        Contradiction(row.finding, not row.setting or getattr(case.policy, row.setting) == "refuse")
        for row in _BY_RULE[rule]
        if case.given & row.given and row.contradicts(case, study)
    ]


def was_elsewhere(case: Case, study: Study, places: tuple[str, ...]) -> bool:
    """Whether some event occurred while the study was at none of the places; False where the registry has no value."""
    if not study.stays:
        return bool(study.location) and study.location not in places
    if len(study.stays) == 1:  # before and after it the study is nowhere else
        return study.stays[0].location not in places
    return any(not _locations_at(case, study, span) & set(places) for span in case.times())


def _locations_at(case: Case, study: Study, span: Span) -> set[str]:
    """Where the study was at a time: before its first arrival, after its last leaving and in between, the nearest."""
    tolerance = case.policy.clock_tolerance
    earliest, latest = span[0] - tolerance, span[1] + tolerance
    at = {
        stay.location for stay in study.stays if stay.arrived <= latest and (stay.left is None or stay.left > earliest)
    }
    if at:
        return at
    before = [stay for stay in study.stays if stay.arrived <= latest]
    after = [stay for stay in study.stays if stay.arrived > latest]
    return {stay.location for stay in (*before[-1:], *after[:1])}


def _count(code: str, what: str, of: list[bool]) -> list[Finding]:
    hits = [str(number) for number, hit in enumerate(of, 1) if hit]
    return [Finding(code, f"{what}: entry {', '.join(hits[:8])}{' ...' if len(hits) > 8 else ''}")] if hits else []


def time_findings(question: Question, study: Study | None) -> list[Finding]:
    """Entries in the future, before the study was opened, or after it was closed."""
    future = question.arrival + question.policy.clock_tolerance
    trusted = question.device.times == "trusted"
    opened = study.opened if study is not None and trusted else None
    closed = study.closed if study is not None and trusted else None
    for earliest, latest in spans_of(question):
        if earliest > future or (opened is not None and latest < opened) or (closed is not None and earliest > closed):
            break
    else:
        return []
    times = question.times
    found = _count("in-the-future", "later than its arrival", [time.earliest > future for time in times])
    if opened is not None:
        early = [time.latest < opened for time in times]
        found += _count("before-opening", "before the study was opened", early)
    if closed is not None:
        late = [time.earliest > closed for time in times]
        found += _count("after-closing", "after the study was closed", late)
    return found


def findings(case: Case, rule: str, study: Study) -> list[Finding]:
    """What is worth noting about a match that stands, but for its times."""
    found: list[Finding] = []
    given = case.given
    if study.status == "scheduled":
        found.append(NOT_STARTED)
    if given & P:
        patient = case.registry.patient_number(study.patient)
        if agrees(case.registry, patient, case.patient_id, case.issuer) == "superseded":
            found.append(SUPERSEDED)
    if given & L:
        if not case.places():
            found.append(LOCATION_UNKNOWN)
    elif given & A and rule not in BY_PLACE and was_elsewhere(case, study, case.device_places()):
        found.append(DEVICE_LOCATION)
    return found
