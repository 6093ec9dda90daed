"""What is given against the study found: contradictions, and what is only worth noting (contracts section 3)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final, NamedTuple

from plscp.findings import Finding
from plscp.matching import comments
from plscp.matching.match_context import A, Clock, L, MatchContext, P, S, Span, U, clock_of, spans_of
from plscp.matching.model import Question
from plscp.matching.records import Study

BY_PLACE: Final = frozenset({"5", "6", "7"})
_NOTHING: Final = timedelta(0)

SUPERSEDED: Final = Finding("superseded-id", "Patient ID was merged, changed or is another ID of the patient found")
LOCATION_UNKNOWN: Final = Finding("location-unknown", "Performed Location is a name that no [locations] entry lists")
NOT_STARTED: Final = Finding("study-not-started", "the study is scheduled and was not opened yet")
DEVICE_LOCATION: Final = Finding(
    "device-location-differs", "the study was not at the device's configured location then"
)

_PATIENT: Final = Finding("patient-id-differs", comments.PATIENT_CONTRADICTS)
_STUDY_ID: Final = Finding("study-id-differs", comments.STUDY_ID_CONTRADICTS)
_LOCATION: Final = Finding("location-differs", comments.LOCATION_CONTRADICTS)
_BOTH: Final = Finding("study-id-and-location-differ", comments.BOTH_CONTRADICT)
_NOT_STARTED_ELSEWHERE: Final = Finding("not-started-elsewhere", comments.NOT_STARTED_ELSEWHERE)
_LEFT_ALREADY: Final = Finding("left-already", comments.LEFT_ALREADY)


class Contradiction(NamedTuple):
    """An identifier that was given and is not the study's; refused or logged."""

    finding: Finding
    refuse: bool


def _patient_contradicts(case: MatchContext, study: Study) -> bool:
    return not case.agrees(case.registry.patient_number(study.patient))


def _study_id_contradicts(case: MatchContext, study: Study) -> bool:
    return bool(study.study_id) and study.study_id != case.study_id


def _location_contradicts(case: MatchContext, study: Study) -> bool:
    places = case.places()  # none for a name that no [locations] entry lists: that is a finding only
    return bool(places) and was_elsewhere(case, study, places)


def _both_are_anothers(case: MatchContext, study: Study) -> bool:
    """Study ID and location both name one other patient's study: two against the Patient ID."""
    if study.study_id == case.study_id:
        return False
    others = [other for other in case.registry.studies_by_study_id(case.study_id) if other.patient != study.patient]
    if not others:  # nearly always: the registry does not have that Study ID
        return False
    places = case.places()
    there = {uid for place in places for uid in _there_then_or_now(case, place)}
    return any(
        other.study_instance_uid in there
        or (other.status == "scheduled" and other.location in places and not is_expired(case, other))
        for other in others
    )


def _there_then_or_now(case: MatchContext, place: str) -> set[str]:
    spans = [*case.times(), (case.arrival, case.arrival)]
    return {
        visit.study_instance_uid
        for earliest, latest in spans
        for visit in case.registry.presence.between(place, earliest, latest)
    }


def _not_started_elsewhere(case: MatchContext, study: Study) -> bool:
    """Another patient's study is open where the request comes from: a worklist slip."""
    return study.status == "scheduled" and _another_is_open(case, study, {*case.places(), *case.device_places()})


def _left_already(case: MatchContext, study: Study) -> bool:
    """A study in its grace, an entry after it left, and another patient's study open at the place."""
    if study.closed is None:
        return False
    # A turnover ends the stay before it closes the study.
    left = study.stays[-1].left or study.closed if study.stays else study.closed
    if not any(earliest > left for earliest, _ in case.times()):
        return False
    return _another_is_open(case, study, set(case.places()) or {study.location})


def _another_is_open(case: MatchContext, study: Study, places: set[str]) -> bool:
    there = (case.registry.study(uid) for place in places for uid in case.registry.presence.now(place))
    return any(other is not None and other.patient != study.patient for other in there)


def is_expired(case: MatchContext, study: Study) -> bool:
    """Whether a study is still scheduled so long after its planned time that it counts as cancelled."""
    planned = study.planned
    return study.status == "scheduled" and planned is not None and case.is_past(planned + case.policy.scheduled_expires)


class Row(NamedTuple):
    """One line of the contract: which identifiers, found by which rules, are handled how."""

    given: int  # all of these
    rules: frozenset[str]
    contradicts: Callable[[MatchContext, Study], bool]
    finding: Finding
    setting: str  # of the policy, or "refuse" or "log" where there is none


_EVERY: Final = frozenset({"1", "2a", "3", "4", "5", "6", "7"})
_TABLE: Final = (
    Row(P, _EVERY, _patient_contradicts, _PATIENT, "patient_mismatch"),
    Row(P | S | L, _EVERY - BY_PLACE, _both_are_anothers, _BOTH, "refuse"),
    Row(S, BY_PLACE, _study_id_contradicts, _STUDY_ID, "refuse"),
    Row(S, _EVERY - BY_PLACE, _study_id_contradicts, _STUDY_ID, "study_id_mismatch"),
    Row(L, _EVERY - BY_PLACE, _location_contradicts, _LOCATION, "location_mismatch"),
    Row(U, frozenset({"2a"}), _not_started_elsewhere, _NOT_STARTED_ELSEWHERE, "not_started_elsewhere"),
    Row(U, frozenset({"1"}), _left_already, _LEFT_ALREADY, "log"),
)
_BY_RULE: Final = {rule: [row for row in _TABLE if rule in row.rules] for rule in _EVERY}


def contradictions(case: MatchContext, rule: str, study: Study) -> list[Contradiction]:
    """Everything given that contradicts the study found, in the order P, S, L, U."""
    return [
        Contradiction(row.finding, getattr(case.policy, row.setting, row.setting) == "refuse")
        for row in _BY_RULE[rule]
        if case.given & row.given == row.given and row.contradicts(case, study)
    ]


def was_elsewhere(case: MatchContext, study: Study, places: tuple[str, ...]) -> bool:
    """Whether some event occurred while the study was at none of the places; False where the registry has no value."""
    if not study.stays:
        return bool(study.location) and study.location not in places
    if len(study.stays) == 1:  # before and after it the study is nowhere else
        return study.stays[0].location not in places
    return any(not _locations_at(case, study, span) & set(places) for span in case.times())


def _locations_at(case: MatchContext, study: Study, span: Span) -> set[str]:
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


def _count(question: Question, code: str, what: str, of: list[bool]) -> list[Finding]:
    numbers = question.numbers or range(1, len(of) + 1)
    hits = [str(number) for number, hit in zip(numbers, of, strict=True) if hit]
    return [Finding(code, f"{what}: entry {', '.join(hits[:8])}{' ...' if len(hits) > 8 else ''}")] if hits else []


def time_findings(question: Question, study: Study | None) -> list[Finding]:
    """Entries in the future, before the study was opened, or after it was closed."""
    future = question.arrival + question.policy.clock_tolerance
    clock = clock_of(question)
    trusted = clock is not Clock.UNTRUSTED
    # A fast clock is corrected for here as well: its entries are no later than their arrival.
    fast = question.clock_difference if clock is Clock.FAST and question.clock_difference is not None else _NOTHING
    opened = study.opened if study is not None and trusted else None
    closed = study.closed if study is not None and trusted else None
    for earliest, latest in spans_of(question):
        if earliest > future or (opened is not None and latest < opened) or (closed is not None and earliest > closed):
            break
    else:
        return []
    times = question.times
    found = _count(
        question, "in-the-future", "later than its arrival", [time.earliest > future - fast for time in times]
    )
    if opened is not None:
        early = [time.latest < opened - fast for time in times]
        found += _count(question, "before-opening", "before the study was opened", early)
    if closed is not None:
        late = [time.earliest > closed - fast for time in times]
        found += _count(question, "after-closing", "after the study was closed", late)
    return found


def findings(case: MatchContext, rule: str, study: Study) -> list[Finding]:
    """What is worth noting about a match that stands, but for its times."""
    found: list[Finding] = []
    given = case.given
    if study.status == "scheduled":
        found.append(NOT_STARTED)
    if given & P:
        if case.agrees(case.registry.patient_number(study.patient)) == "superseded":
            found.append(SUPERSEDED)
        if case.issuer.unusable is not None:
            found.append(case.issuer.unusable)
    if given & L:
        if not case.places():
            found.append(LOCATION_UNKNOWN)
    elif given & A and rule not in BY_PLACE and was_elsewhere(case, study, case.device_places()):
        found.append(DEVICE_LOCATION)
    return found
