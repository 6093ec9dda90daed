"""The rules that find an event's study: `TABLE` is the table of contracts section 3, row by row (PS3.4 P.2.2.1.1, P.2.5.2)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from plscp.findings import Finding
from plscp.matching import comments
from plscp.matching.at_place import study_at
from plscp.matching.comparing import BY_PLACE, contradictions, findings, is_expired, time_findings
from plscp.matching.identifiers import SentIssuer, issuers_given
from plscp.matching.match_context import A, Clock, L, MatchContext, P, Refused, S, U
from plscp.matching.model import Candidate, Decision, Question
from plscp.matching.records import Study
from plscp.matching.registry import Registry

Answer = Study | Refused | None
MOST_DECIDED: Final = 1024


class Kept(NamedTuple):
    """A decision that does not depend on when the events occurred; it stands for arrivals after `after`, up to and with `until`."""

    decision: Decision
    study: Study
    after: datetime
    until: datetime


class Row(NamedTuple):
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
    if study is None or study.status == "open" or (study.status == "scheduled" and not is_expired(case, study)):
        return None
    comment = _OVER[study.status]
    case.note(study.study_instance_uid, comment)
    return Refused(0xC101, comment)


def named_and_scheduled(case: MatchContext) -> Answer:
    """Study U scheduled: the only open study of the same patient at L or at the device's location; else U itself."""
    study = case.named
    if study is None:
        return None
    places = case.places()
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
        return Refused(0xC103, comments.SEVERAL_WITH_STUDY_ID)
    return taking[0] if taking else None


def patients_only(case: MatchContext) -> Answer:
    """The only study of patient P that takes events; one at L, or at the device's location, goes before one elsewhere."""
    taking = _taking(case)
    places = case.places()
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
            return Refused(0xC103, comments.SEVERAL_OF_PATIENT)
        case.note_all([study for study in taking if study is not decided[0]], "not open at the entry times")
        taking = decided
    if taking:
        return taking[0]
    for patient in case.patients()[:1]:
        for study in case.registry.studies_of(patient.number)[-10:]:
            case.note(study.study_instance_uid, f"the patient's, but {study.status}")
    case.comment = _why_no_study_of_patient(case)
    return None


def study_id_at_location(case: MatchContext) -> Answer:
    """The study with S that was at L when the events occurred."""
    places = case.places()
    return study_at(case, places[0], case.study_id) if places else None


def at_location(case: MatchContext) -> Answer:
    """The study that was at L when the events occurred; A has configured locations and L is none of them: C103."""
    places = case.places()
    if not places:
        case.comment = case.comment or comments.UNKNOWN_LOCATION
    if case.given & A and not set(places) & set(case.device_places()):
        return Refused(0xC103, comments.FOREIGN_LOCATION if places else comments.UNKNOWN_LOCATION)
    return study_at(case, places[0]) if places else None


def at_device(case: MatchContext) -> Answer:
    """The study that was at A's one location when the events occurred; A with several: C103."""
    places = set(case.device_places())
    return study_at(case, places.pop()) if len(places) == 1 else Refused(0xC103, comments.SEVERAL_LOCATIONS)


_OVER: Final = {"closed": comments.CLOSED, "cancelled": comments.CANCELLED, "scheduled": comments.EXPIRED}

TABLE: Final = (
    #   rule   given  without  finds
    Row("1", U, 0, named_and_taking),
    Row("2", U, 0, named_and_over),
    Row("2a", U, 0, named_and_scheduled),
    Row("3", P | S, 0, patients_study_id),
    Row("4", P, 0, patients_only),
    Row("5", S | L, U, study_id_at_location),
    Row("6", L, U, at_location),
    Row("7", A, U | L, at_device),
)
"""In this order; the first that answers decides. A is given where the device has configured locations."""


def _taking(case: MatchContext) -> list[Study]:
    """The studies of patient P that take events; nothing where P does not name one patient."""
    patients = case.patients()
    if len(patients) != 1:
        return []
    return [study for study in case.registry.studies_of(patients[0].number) if case.takes_events(study)]


def _is_or_was_at(case: MatchContext, study: Study, places: Sequence[str]) -> bool:
    """There now (or last), or when every event occurred, by a clock that is known."""
    if study.location in places:
        return True
    if len(study.stays) < 2 or case.clock is not Clock.KNOWN:
        return False
    return all(
        any(
            stay.location in places and stay.arrived <= latest and (stay.left is None or stay.left > earliest)
            for stay in study.stays
        )
        for earliest, latest in case.times()
    )


def _by_times(case: MatchContext, studies: Sequence[Study]) -> list[Study]:
    """Those that were open during all entry times, if the device's times may decide."""
    if case.clock in {Clock.UNTRUSTED, Clock.FAST} or case.in_the_future() or case.too_old():
        return []
    found = [study for study in studies if all(_was_open(study, *span) for span in case.readings)]
    if case.clock is Clock.KNOWN or len(found) != 1:
        return found
    # A clock that may be slow: all the time from the entries to arrival is the one study's, or nobody's since it was closed.
    first = min(earliest for earliest, _ in case.readings)
    others = [study for study in studies if study is not found[0] and _was_open_since(study, first)]
    return [] if others else found


def _was_open(study: Study, earliest: datetime, latest: datetime) -> bool:
    """Whether all of that time lies between its opening and its closing."""
    if study.opened is None or study.opened > earliest:
        return False
    return study.status == "open" or (study.closed is not None and latest < study.closed)


def _was_open_since(study: Study, moment: datetime) -> bool:
    """Whether it was open at some time from a moment on."""
    return study.opened is not None and (study.closed is None or study.closed > moment)


def _why_no_study_of_patient(case: MatchContext) -> str:
    if len(case.patients()) > 1:
        return comments.AMBIGUOUS_PATIENT
    if case.given & U:
        return comments.UNKNOWN_STUDY_NO_CURRENT
    return comments.NO_CURRENT_STUDY if case.patients() else comments.UNKNOWN_PATIENT


def decide(question: Question, registry: Registry) -> Decision:
    """Find the study that a request's events belong to, or say why not.

    Deterministic in its arguments; valid only for the registry's position, which the decision carries.

    Returns:
        A decision with status 0000, B101, B102, B104, C101, C103 or C104; it names rule, identifiers and candidates.
    """
    key = (question.given, question.device, question.policy)
    kept: Kept | None = registry.decided.get(key)
    if kept is not None and kept.after < question.arrival <= kept.until:
        decision, study = kept.decision, kept.study
    else:
        case = MatchContext(question, registry)
        decision, found = _decide(case)
        if found is None:
            return decision
        study = found
        if not case.timed:
            # A device that names its open study does so in every request.
            if len(registry.decided) >= MOST_DECIDED:
                registry.decided.clear()
            registry.decided[key] = Kept(decision, study, case.after, case.until)
    noticed = time_findings(question, study)
    return replace(decision, findings=[*decision.findings, *noticed]) if noticed else decision


def _decide(case: MatchContext) -> tuple[Decision, Study | None]:
    """The decision but for findings about times, and the study found, if any."""
    question, given = case.question, case.given
    # An unknown U of a device that may be coerced by location is as good as none, once no patient is named.
    ignored = U if question.device.coerce_by_location and not given & P else 0
    for rule, needs, without, find in TABLE:
        have = given & ~ignored if rule in BY_PLACE else given
        if have & needs != needs or have & without:
            continue
        answer = find(case)
        if answer is not None:
            if isinstance(answer, Refused):
                return _refusal(case, answer, rule), None
            return _match(case, rule, answer)
    return _refusal(case, Refused(0xC103, case.comment or _why_nothing(case)), ""), None


def _why_nothing(case: MatchContext) -> str:
    if case.given & U:
        return comments.UNKNOWN_STUDY
    if case.given & (P | S):
        return comments.NO_PLACE
    return comments.NOTHING_GIVEN


def _match(case: MatchContext, rule: str, study: Study) -> tuple[Decision, Study | None]:
    """A study was found: compare all that was given, then say what stands."""
    policy = case.policy
    against = contradictions(case, rule, study)
    for contradiction in against:
        if contradiction.refuse:
            case.note(study.study_instance_uid, contradiction.finding.reason)
            return _refusal(case, Refused(0xC104, contradiction.finding.reason), rule), None
    warnings: list[int] = []
    comment = ""
    if case.uid and case.uid != study.study_instance_uid:
        warnings.append(0xB102)
        comment = comments.COERCED
    if against:
        warnings.append(0xB104)
        comment = comment or against[0].finding.reason
    frame = case.question.given.synchronization_frame_of_reference_uid
    if frame and frame.strip(" ") not in {"", policy.synchronization_frame_of_reference_uid}:
        warnings.append(0xB101)
        comment = comment or comments.SYNCHRONIZATION
    patient = case.registry.patient_number(study.patient)
    noticed: list[Finding] = [one.finding for one in against]
    noticed += findings(case, rule, study)
    decision = Decision(
        status=warnings[0] if warnings else 0,
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
        found=_found(study),
        candidates=_candidates(case, study),
        findings=noticed,
        registry_position=case.registry.position,
        comment=comment,
        alive_at=_alive_at(case, study),
    )
    return decision, study


def _alive_at(case: MatchContext, study: Study) -> str:
    """The place where the request is a sign of life for the study: it came from there and names the study or its patient.

    What place alone matched keeps nothing alive; and where a device with several locations is, it does not say.
    """
    places = case.places()
    if len(places) != 1:
        return ""
    names_it = (
        (case.named is not None and case.named.patient == study.patient)
        or (case.given & S and study.study_id == case.study_id)
        or (case.given & P and case.agrees(case.registry.patient_number(study.patient)))
    )
    return places[0] if names_it else ""


_REASONS: Final = {0xC101: "study-not-available", 0xC103: "study-not-found", 0xC104: "identifiers-contradict"}


def _refusal(case: MatchContext, refused: Refused, rule: str) -> Decision:
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
        findings=[reason, *filter(None, [unusable]), *time_findings(case.question, case.named)],
        registry_position=case.registry.position,
        comment=refused.comment,
    )


def _given(case: MatchContext) -> Mapping[str, str]:
    """The identifiers as given, those with a value; a placeholder is shown, though it counts as not given."""
    identifiers = case.question.given
    given = {"calling_ae": case.question.device.ae_title}
    if case.uid:
        given["study_instance_uid"] = case.uid
    if patient_id := identifiers.patient_id.strip(" "):
        given["patient_id"] = patient_id
        if case.patient_id:
            sent = SentIssuer(identifiers.issuer_of_patient_id, identifiers.issuer_universal_entity_id)
            given.update(issuers_given(case.issuer, sent))
    if case.study_id:
        given["study_id"] = case.study_id
    if case.location:
        given["performed_location"] = case.location
    if frame := identifiers.synchronization_frame_of_reference_uid.strip(" "):
        given["synchronization_frame_of_reference_uid"] = frame
    return given


def _found(study: Study) -> Mapping[str, str]:
    found = {"study_instance_uid": study.study_instance_uid, "patient_id": study.patient_id.id}
    if study.patient_id.issuer:
        found["issuer"] = study.patient_id.issuer
    if study.study_id:
        found["study_id"] = study.study_id
    if study.accession_number:
        found["accession_number"] = study.accession_number
    if study.location:
        found["location"] = study.location
    return found


def _candidates(case: MatchContext, study: Study) -> Sequence[Candidate]:
    """The study taken, then every other one that the rule, the patient or the place could have meant."""
    registry = case.registry
    uid = study.study_instance_uid
    for other in registry.studies_of(study.patient):
        if other is not study and case.takes_events(other):
            case.note(
                other.study_instance_uid, "the same patient's, but another identifier or the time names the one taken"
            )
    for place in case.places():
        for there in registry.presence.now(place):
            if there != uid:
                case.note(there, "at the location, but another identifier or the time names the one taken")
    taken = Candidate(uid, "")
    return [taken, *(known for known in case.candidates if known.what != uid)] if case.candidates else [taken]
