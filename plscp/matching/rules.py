"""The rules that find an event's study, and what is given against the study found (contract section 3; PS3.4 P.2.2.1.1, P.2.5.2).

`TABLE` is the table of the rules, `CONTRADICTIONS` that of contradictions, row by row.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from plscp.findings import Finding
from plscp.matching import comments
from plscp.matching.by_place import study_at
from plscp.matching.match_context import A, Clock, L, MatchContext, NoMatch, P, S, Span, U, spans_of
from plscp.matching.model import Decision, MatchCandidate, MatchQuestion
from plscp.matching.records import Study
from plscp.matching.registry import Registry

Answer = Study | NoMatch | None
MOST_DECIDED: Final = 1024
BY_PLACE: Final = frozenset({"5", "6", "7"})

SUPERSEDED: Final = Finding("superseded-id", "Patient ID was merged, changed or is another ID of the patient found")
_LOCATION_UNKNOWN: Final = Finding("location-unknown", "Performed Location is a name that no [locations] entry lists")
_NOT_STARTED: Final = Finding("study-not-started", "the study is scheduled and was not opened yet")
_DEVICE_LOCATION: Final = Finding(
    "device-location-differs", "the study was not at the device's configured location then"
)

# --- the rules ---------------------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    """A rule: what must be given, what must not, and what it finds."""

    rule: str
    given: int
    without: int
    find: Callable[[MatchContext], Answer]


def named_and_taking(case: MatchContext) -> Answer:
    """Study U that takes events."""
    study = case.named
    return study if study is not None and case.takes_events(study) else None


def named_and_over(case: MatchContext) -> Answer:
    """Study U known, closed longer than the grace, or cancelled: C101. So too one scheduled that nobody opened for days."""
    study = case.named
    if study is None or study.status == "open" or (study.status == "scheduled" and not _is_expired(case, study)):
        return None
    comment = _OVER[study.status]
    case.note(study.study_instance_uid, comment)
    return NoMatch(0xC101, comment)


def _is_expired(case: MatchContext, study: Study) -> bool:
    """Whether a study is still scheduled so long after its planned time that it counts as cancelled."""
    planned = study.planned
    return study.status == "scheduled" and planned is not None and case.is_past(planned + case.policy.scheduled_expires)


def named_and_scheduled(case: MatchContext) -> Answer:
    """Study U scheduled: the only open study of the same patient at L or at the device's location; else U itself."""
    study = case.named
    if study is None:
        return None
    places = case.places
    others = [
        other
        for other in case.registry.studies_of(study.patient)
        if other.status == "open" and other.location and other.location in places
    ]
    if len(others) == 1:
        case.note(study.study_instance_uid, "scheduled, and another study of the patient is open at the location")
        return others[0]
    case.note_all(others, "one of several open studies of the patient at the location")
    return study


def patients_study_id(case: MatchContext) -> Answer:
    """The study of patient P with Study ID S that takes events."""
    taking = [study for study in _taking(case) if study.study_id == case.study_id]
    if len(taking) > 1:
        case.note_all(taking, "one of several studies of the patient with that Study ID")
        return NoMatch(0xC103, comments.SEVERAL_WITH_STUDY_ID)
    return taking[0] if taking else None


def patients_only(case: MatchContext) -> Answer:
    """The only study of patient P that takes events; one at L, or at the device's location, goes before one elsewhere."""
    taking = _taking(case)
    places = case.places
    if places:
        there = [study for study in taking if _is_or_was_at(case, study, places)]
        # One elsewhere only while open; where it is not known where a study is, it is not elsewhere.
        elsewhere = [study for study in taking if study not in there and (study.status == "open" or not study.location)]
        case.note_all(
            [study for study in taking if study not in there and (there or study not in elsewhere)],
            "elsewhere, and another is at the location" if there else "elsewhere, and closed",
        )
        taking = there or elsewhere
    if len(taking) > 1:
        decided = _by_times(case, taking)
        if len(decided) != 1:
            case.note_all(taking, "one of several studies of the patient that take events")
            return NoMatch(0xC103, comments.SEVERAL_OF_PATIENT)
        case.note_all([study for study in taking if study is not decided[0]], "not open at the entry times")
        taking = decided
    if taking:
        return taking[0]
    for patient in case.patients[:1]:
        for study in case.registry.studies_of(patient.number)[-10:]:
            case.note(study.study_instance_uid, f"the patient's, but {study.status}")
    if len(case.patients) > 1:
        case.comment = comments.AMBIGUOUS_PATIENT
    elif case.given & U:
        case.comment = comments.UNKNOWN_STUDY_NO_CURRENT
    else:
        case.comment = comments.NO_CURRENT_STUDY if case.patients else comments.UNKNOWN_PATIENT
    return None


def study_id_at_location(case: MatchContext) -> Answer:
    """The study with S that was at L when the events occurred."""
    places = case.places
    return study_at(case, places[0], case.study_id) if places else None


def at_location(case: MatchContext) -> Answer:
    """The study that was at L when the events occurred; A has configured locations and L is none of them: C103."""
    places = case.places
    if not places:
        case.comment = case.comment or comments.UNKNOWN_LOCATION
    if case.given & A and not set(places) & set(case.device_places):
        return NoMatch(0xC103, comments.FOREIGN_LOCATION if places else comments.UNKNOWN_LOCATION)
    return study_at(case, places[0]) if places else None


def at_device(case: MatchContext) -> Answer:
    """The study that was at A's one location when the events occurred; A with several: C103."""
    places = set(case.device_places)
    return study_at(case, places.pop()) if len(places) == 1 else NoMatch(0xC103, comments.SEVERAL_LOCATIONS)


_OVER: Final = {"closed": comments.CLOSED, "cancelled": comments.CANCELLED, "scheduled": comments.EXPIRED}

TABLE: Final = (
    #   rule   given  without  finds
    Rule("1", U, 0, named_and_taking),
    Rule("2", U, 0, named_and_over),
    Rule("2a", U, 0, named_and_scheduled),
    Rule("3", P | S, 0, patients_study_id),
    Rule("4", P, 0, patients_only),
    Rule("5", S | L, U, study_id_at_location),
    Rule("6", L, U, at_location),
    Rule("7", A, U | L, at_device),
)
"""In this order; the first that answers decides. A is given where the device has configured locations."""


def _taking(case: MatchContext) -> list[Study]:
    patients = case.patients
    if len(patients) != 1:
        return []
    return [study for study in case.registry.studies_of(patients[0].number) if case.takes_events(study)]


def _is_or_was_at(case: MatchContext, study: Study, places: Sequence[str]) -> bool:
    """There now (or last), or when every event occurred, by a clock that is known."""
    if study.location in places:
        return True
    if len(study.stays) < 2 or case.clock is not Clock.KNOWN:
        return False
    return all(any(stay.location in places and stay.overlaps(*span) for stay in study.stays) for span in case.times)


def _by_times(case: MatchContext, studies: Sequence[Study]) -> list[Study]:
    """Those that were open during all entry times, if the device's times may decide."""
    if case.clock in {Clock.UNTRUSTED, Clock.FAST} or case.in_the_future() or case.too_old():
        return []
    found = [study for study in studies if all(_was_open(study, *span) for span in case.readings)]
    if case.clock is Clock.KNOWN or len(found) != 1:
        return found
    # A clock that may be slow: all the time from the entries to arrival is the one study's, or nobody's since it was closed.
    first = min(earliest for earliest, _ in case.readings)
    other_was_open = any(
        study is not found[0] and study.opened is not None and (study.closed is None or study.closed > first)
        for study in studies
    )
    return [] if other_was_open else found


def _was_open(study: Study, earliest: datetime, latest: datetime) -> bool:
    if study.opened is None or study.opened > earliest:
        return False
    return study.status == "open" or (study.closed is not None and latest < study.closed)


# --- what is given against the study found -----------------------------------------------------------------------------


def _both_are_anothers(case: MatchContext, study: Study) -> bool:
    """Study ID and location both name one other patient's study: two against the Patient ID."""
    if study.study_id == case.study_id:
        return False
    others = [other for other in case.registry.studies_by("study_id", case.study_id) if other.patient != study.patient]
    if not others or not case.places:  # nearly always: the registry does not have that Study ID
        return False
    spans = [*case.times, (case.arrival, case.arrival)]
    there = {
        visit.study_instance_uid
        for place in case.places
        for earliest, latest in spans
        for visit in case.registry.presence.between(place, earliest, latest)
    }
    return any(
        other.study_instance_uid in there
        or (other.status == "scheduled" and other.location in case.places and not _is_expired(case, other))
        for other in others
    )


def _not_started_elsewhere(case: MatchContext, study: Study) -> bool:
    return study.status == "scheduled" and _another_is_open(case, study, {*case.places, *case.device_places})


def _left_already(case: MatchContext, study: Study) -> bool:
    if study.closed is None:
        return False
    # A turnover ends the stay before it closes the study.
    left = study.stays[-1].left or study.closed if study.stays else study.closed
    if not any(earliest > left for earliest, _ in case.times):
        return False
    return _another_is_open(case, study, set(case.places) or {study.location})


def _another_is_open(case: MatchContext, study: Study, places: set[str]) -> bool:
    there = (case.registry.study(uid) for place in places for uid in case.registry.presence.now(place))
    return any(other is not None and other.patient != study.patient for other in there)


def _patient_contradicts(case: MatchContext, study: Study) -> bool:
    return not case.agrees(case.registry.patient_number(study.patient))


def _study_id_contradicts(case: MatchContext, study: Study) -> bool:
    return study.study_id not in {"", case.study_id}


def _location_contradicts(case: MatchContext, study: Study) -> bool:
    # No place for a name that no [locations] entry lists: that is a finding only.
    return bool(case.places) and _was_elsewhere(case, study, case.places)


class Contradiction(NamedTuple):
    """One line of contract section 3, Contradictions: which identifiers, found by which rules, are handled how.

    Attributes:
        given: all of these.
        setting: of the policy, or "refuse" or "log" where there is none.
    """

    given: int
    rules: frozenset[str]
    contradicts: Callable[[MatchContext, Study], bool]
    code: str
    comment: str
    setting: str


_NAMED: Final = frozenset({"1", "2a", "3", "4"})
CONTRADICTIONS: Final = (
    Contradiction(P, _NAMED | BY_PLACE, _patient_contradicts, "patient-id-differs", comments.PATIENT_CONTRADICTS, "patient_mismatch"),
    Contradiction(P | S | L, _NAMED, _both_are_anothers, "study-id-and-location-differ", comments.BOTH_CONTRADICT, "refuse"),
    Contradiction(S, BY_PLACE, _study_id_contradicts, "study-id-differs", comments.STUDY_ID_CONTRADICTS, "refuse"),
    Contradiction(S, _NAMED, _study_id_contradicts, "study-id-differs", comments.STUDY_ID_CONTRADICTS, "study_id_mismatch"),
    Contradiction(L, _NAMED, _location_contradicts, "location-differs", comments.LOCATION_CONTRADICTS, "location_mismatch"),
    Contradiction(U, frozenset({"2a"}), _not_started_elsewhere, "not-started-elsewhere", comments.NOT_STARTED_ELSEWHERE, "not_started_elsewhere"),
    Contradiction(U, frozenset({"1"}), _left_already, "left-already", comments.LEFT_ALREADY, "log"),
)  # fmt: skip


def _contradictions(case: MatchContext, rule: str, study: Study) -> list[Finding]:
    return [
        Finding(
            row.code, _words(case, rule, row.comment), refuse=getattr(case.policy, row.setting, row.setting) == "refuse"
        )
        for row in CONTRADICTIONS
        if rule in row.rules and case.given & row.given == row.given and row.contradicts(case, study)
    ]


def _words(case: MatchContext, rule: str, comment: str) -> str:
    """The comment of a contradiction; a Patient ID that names nobody is not called another patient's. It decides nothing."""
    if comment != comments.PATIENT_CONTRADICTS or case.patients or case.issuer.unusable is not None:
        return comment
    return comments.UNKNOWN_AT_LOCATION if rule in BY_PLACE else comments.UNKNOWN_FOR_STUDY


def _was_elsewhere(case: MatchContext, study: Study, places: tuple[str, ...]) -> bool:
    """Whether some event occurred while the study was at none of the places; False where the registry has no value."""
    if not study.stays:
        return bool(study.location) and study.location not in places
    if len(study.stays) == 1:  # before and after it the study is nowhere else
        return study.stays[0].location not in places
    return any(_locations_at(case, study, span).isdisjoint(places) for span in case.times)


def _locations_at(case: MatchContext, study: Study, span: Span) -> set[str]:
    """Where the study was at a time: before its first arrival, after its last leaving and in between, the nearest."""
    earliest, latest = span[0] - case.policy.clock_tolerance, span[1] + case.policy.clock_tolerance
    at = [stay for stay in study.stays if stay.overlaps(earliest, latest)]
    if not at:
        came = sum(stay.arrived <= latest for stay in study.stays)
        at = [*study.stays[max(came - 1, 0) : came + 1]]
    return {stay.location for stay in at}


# --- the decision ------------------------------------------------------------------------------------------------------


class KeptDecision(NamedTuple):
    """A decision that does not depend on when the events occurred; it stands for arrivals after `after`, up to and with `until`."""

    decision: Decision
    study: Study
    after: datetime
    until: datetime


def decide(question: MatchQuestion, registry: Registry) -> Decision:
    """Find the study that a request's events belong to, or say why not: 0000, B101, B102, B104, C101, C103 or C104.

    Deterministic in its arguments; valid only for the registry's position, which the decision carries.
    """
    key = (question.given, question.device, question.policy)
    kept: KeptDecision | None = registry.decided.get(key)
    if kept is None or not kept.after < question.arrival <= kept.until:
        case = MatchContext(question, registry)
        decision, study = _decide(case)
        if study is None:
            return decision
        kept = KeptDecision(decision, study, case.after, case.until)
        if not case.timed:
            # A device that names its open study does so in every request.
            if len(registry.decided) >= MOST_DECIDED:
                registry.decided.clear()
            registry.decided[key] = kept
    noticed = _time_findings(question, kept.study)
    return replace(kept.decision, findings=[*kept.decision.findings, *noticed]) if noticed else kept.decision


def _decide(case: MatchContext) -> tuple[Decision, Study | None]:
    given = case.given
    # An unknown U of a device that may be coerced by location is as good as none, once no patient is named.
    ignored = U if case.question.device.coerce_by_location and not given & P else 0
    for rule, needs, without, find in TABLE:
        have = given & ~ignored if rule in BY_PLACE else given
        if have & needs != needs or have & without:
            continue
        answer = find(case)
        if isinstance(answer, NoMatch):
            return _refusal(case, answer, rule), None
        if answer is not None:
            return _match(case, rule, answer)
    why = comments.UNKNOWN_STUDY if given & U else comments.NO_PLACE if given & (P | S) else comments.NOTHING_GIVEN
    return _refusal(case, NoMatch(0xC103, case.comment or why), ""), None


def _match(case: MatchContext, rule: str, study: Study) -> tuple[Decision, Study | None]:
    against = _contradictions(case, rule, study)
    for contradiction in against:
        if contradiction.refuse:
            case.note(study.study_instance_uid, contradiction.reason)
            return _refusal(case, NoMatch(0xC104, contradiction.reason), rule), None
    frame = case.question.given.synchronization_frame_of_reference_uid.strip(" ")
    warnings: dict[int, str] = {}
    if case.uid and case.uid != study.study_instance_uid:
        warnings[0xB102] = comments.COERCED
    if against:
        warnings[0xB104] = against[0].reason
    if frame not in {"", case.policy.synchronization_frame_of_reference_uid}:
        warnings[0xB101] = comments.SYNCHRONIZATION
    status, comment = next(iter(warnings.items()), (0, ""))
    patient = case.registry.patient_number(study.patient)
    found = {
        "study_instance_uid": study.study_instance_uid,
        "patient_id": study.patient_id.id,
        "issuer": study.patient_id.issuer,
        "study_id": study.study_id,
        "accession_number": study.accession_number,
        "location": study.location,
    }
    decision = Decision(
        status=status,
        rule=rule,
        warnings=tuple(warnings),
        study_instance_uid=study.study_instance_uid,
        study_id=study.study_id,
        accession_number=study.accession_number,
        location=study.location,
        patient_id=patient.current.id,
        issuer=patient.current.issuer,
        patient_key=patient.key,
        given=_given(case),
        found={name: value for name, value in found.items() if value},
        candidates=_candidates(case, study),
        findings=[*against, *_worth_noting(case, rule, study)],
        registry_position=case.registry.position,
        comment=comment,
        alive_at=_alive_at(case, study),
        clock=case.clock_used,
    )
    return decision, study


def _alive_at(case: MatchContext, study: Study) -> str:
    """The place where the request is a sign of life for the study: it came from there and names the study or its patient.

    What place alone matched keeps nothing alive; and where a device with several locations is, it does not say.
    """
    places = case.places
    if len(places) != 1:
        return ""
    names_it = (
        (case.named is not None and case.named.patient == study.patient)
        or (case.given & S and study.study_id == case.study_id)
        or (case.given & P and case.agrees(case.registry.patient_number(study.patient)))
    )
    return places[0] if names_it else ""


_REASONS: Final = {0xC101: "study-not-available", 0xC103: "study-not-found", 0xC104: "identifiers-contradict"}


def _refusal(case: MatchContext, refused: NoMatch, rule: str) -> Decision:
    """No study, or one that may not be used: the reason is the first finding."""
    unusable = case.issuer.unusable
    if unusable is not None and refused.status in {0xC103, 0xC104}:
        refused = refused._replace(comment=unusable.reason)  # with it no patient could be found or agree
    reason = Finding(_REASONS[refused.status], refused.comment, refuse=True)
    return Decision(
        status=refused.status,
        rule=rule,
        given=_given(case),
        candidates=case.candidates,
        findings=[reason, *filter(None, [unusable]), *_time_findings(case.question, case.named)],
        registry_position=case.registry.position,
        comment=refused.comment,
        clock=case.clock_used,
    )


def _given(case: MatchContext) -> Mapping[str, str]:
    """The identifiers as given, those with a value; a placeholder is shown, though it counts as not given."""
    identifiers = case.question.given
    given = {
        "study_instance_uid": case.uid,
        "patient_id": identifiers.patient_id.strip(" "),
        **case.issuer.given(),
        "study_id": case.study_id,
        "performed_location": case.location,
        "synchronization_frame_of_reference_uid": identifiers.synchronization_frame_of_reference_uid.strip(" "),
    }
    sent = {name: value for name, value in given.items() if value}
    return {"calling_ae": case.question.device.ae_title, **sent}


def _candidates(case: MatchContext, study: Study) -> Sequence[MatchCandidate]:
    """The study taken, then every other one that the rule, the patient or the place could have meant."""
    uid = study.study_instance_uid
    for other in case.registry.studies_of(study.patient):
        if other is not study and case.takes_events(other):
            case.note(
                other.study_instance_uid, "the same patient's, but another identifier or the time names the one taken"
            )
    for place in case.places:
        for there in case.registry.presence.now(place):
            if there != uid:
                case.note(there, "at the location, but another identifier or the time names the one taken")
    return [MatchCandidate(uid, ""), *(known for known in case.candidates if known.what != uid)]


def _time_findings(question: MatchQuestion, study: Study | None) -> list[Finding]:
    spans, future = spans_of(question), question.arrival + question.policy.clock_tolerance
    opened = closed = None
    if study is not None and question.device.times != "untrusted":
        opened, closed = study.opened, study.closed
    found: list[Finding] = []
    for code, what, of in (
        ("in-the-future", "later than its arrival", [earliest > future for earliest, _ in spans]),
        ("before-opening", "before the study was opened", [opened and latest < opened for _, latest in spans]),
        ("after-closing", "after the study was closed", [closed and earliest > closed for earliest, _ in spans]),
    ):
        if any(of):
            numbers = question.numbers or range(1, len(of) + 1)
            hits = [str(number) for number, hit in zip(numbers, of, strict=True) if hit]
            found.append(Finding(code, f"{what}: entry {', '.join(hits[:8])}{' ...' if len(hits) > 8 else ''}"))
    return found


def _worth_noting(case: MatchContext, rule: str, study: Study) -> list[Finding]:
    """What is worth noting about a match that stands, but for its times."""
    found: list[Finding] = []
    given = case.given
    if study.status == "scheduled":
        found.append(_NOT_STARTED)
    if given & P:
        if case.agrees(case.registry.patient_number(study.patient)) == "superseded":
            found.append(SUPERSEDED)
        if case.issuer.unusable is not None:
            found.append(case.issuer.unusable)
    if given & L:
        if not case.places:
            found.append(_LOCATION_UNKNOWN)
    elif given & A and rule not in BY_PLACE and _was_elsewhere(case, study, case.device_places):
        found.append(_DEVICE_LOCATION)
    return found
