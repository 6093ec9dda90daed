"""Rules 5 to 7: the study that was at a location when the events occurred. In doubt it is none (contract section 3).

A device's times decide alone only while its clock is known. A fast clock is corrected for, and only for entries of just now; where
the clock may be slow, or is not known, the entry times and the arrival must name the same study.
"""

from datetime import datetime, timedelta
from typing import Final

from plscp.matching import comments
from plscp.matching.match_context import Clock, MatchContext, Refused, Span
from plscp.matching.places import Visit
from plscp.matching.records import Study

_JUST: Final = timedelta(microseconds=1)
"""A stay ends just before its study left: so one that left exactly the tolerance ago is still looked at."""


def study_at(case: MatchContext, place: str, study_id: str = "") -> Study | Refused | None:
    """The one study that was at the place when every event occurred.

    Args:
        study_id: rule 5: only a study with this Study ID.

    Returns:
        The study; None for none, with `case.comment` set; Refused where it cannot be told which.
    """
    clock = case.clock
    if clock is Clock.UNTRUSTED:
        return _by_arrival(case, place, study_id)
    if case.too_old():
        return Refused(0xC103, comments.TOO_OLD)
    if clock is Clock.FAST:
        return _by_arrival(case, place, study_id) if case.punctual() else Refused(0xC103, comments.CLOCK_FAST)
    if case.in_the_future():
        return Refused(0xC103, comments.IN_THE_FUTURE)
    if case.readings and not study_id and (plain := _there_all_the_time(case, place)) is not None:
        return plain
    found: Study | None = None
    for span in case.readings:
        here = _at(case, place, span, study_id)
        if not isinstance(here, Study):
            return here
        if found is not None and here is not found:
            case.note_all((found, here), "only some of the entries lie in its time")
            return Refused(0xC103, comments.ENTRIES_IN_TWO)
        found = here
    if found is None or clock is Clock.KNOWN:
        return found
    return _named_by_arrival_too(case, place, found)


def _there_all_the_time(case: MatchContext, place: str) -> Study | None:
    """Nearly always one study, and nobody else, is there from the first event until arrival: half the work of the whole search."""
    first = min(earliest for earliest, _ in case.readings)
    if case.arrival - first > case.policy.close_grace:
        return None  # too many others may have been there since
    last = max(*(latest for _, latest in case.readings), case.arrival)
    tolerance = case.policy.clock_tolerance
    visits = _visits(case, place, first - tolerance - _JUST, last + tolerance)
    if len(visits) != 1 or not visits[0].contains(first, last):
        return None
    # One sign of life that is good for the first event and for arrival is good for all between.
    uid = visits[0].study_instance_uid
    lives = case.registry.active(uid, place, last - case.policy.place_match_max_age, first)
    return case.registry.study(uid) if lives else None


def _studies(case: MatchContext, uids: set[str]) -> list[Study]:
    return [study for uid in sorted(uids) if (study := case.registry.study(uid)) is not None]


def _visits(case: MatchContext, place: str, earliest: datetime, latest: datetime) -> list[Visit]:
    """Stays at the place that have some of that time in them; a cancelled study never was anywhere."""
    registry = case.registry
    found: list[Visit] = []
    for visit in registry.presence.between(place, earliest, latest):
        study = registry.study(visit.study_instance_uid)
        if study is not None and study.status == "cancelled":
            case.note(visit.study_instance_uid, "cancelled")
        else:
            found.append(visit)
    return found


def _at(case: MatchContext, place: str, span: Span, study_id: str) -> Study | Refused | None:
    """The study whose time at the place has all of one entry's time in it."""
    earliest, latest = span
    tolerance = case.policy.clock_tolerance
    near = _visits(case, place, earliest - tolerance - _JUST, latest + tolerance)
    there = {visit.study_instance_uid for visit in near if visit.overlaps(earliest, latest)}
    found: set[str] = set()
    for visit in near:
        uid = visit.study_instance_uid
        if visit.contains(earliest, latest) or (
            # Widened by the tolerance, but only where no other study was there.
            not there - {uid}
            and visit.arrived - tolerance <= earliest
            and (visit.left is None or visit.left + tolerance >= latest)
        ):
            if _eligible(case, place, uid, latest, study_id):
                found.add(uid)
        elif uid in there:
            case.note(uid, "only part of an entry's time lies in its time at the location")
        else:
            case.note(uid, "at the location only within the clock tolerance, while another study was there")
    # Another study there at that time is one too many, quiet or not, unless Study ID says that it is not meant.
    others = set() if study_id else there - found
    if len(found) + len(others) > 1:
        case.note_all(_studies(case, found | others), "at the location at the same time as another")
        return Refused(0xC103, comments.SEVERAL_AT_LOCATION)
    if found:
        return case.registry.study(found.pop())
    case.comment = _why_none(case, place)
    return None


def _lives(case: MatchContext, place: str, uid: str, moment: datetime) -> bool:
    """Whether the study had a sign of life there in the `place_match_max_age` before the entry's time."""
    policy = case.policy
    return case.registry.active(uid, place, moment - policy.place_match_max_age, moment + policy.clock_tolerance)


def _eligible(case: MatchContext, place: str, uid: str, moment: datetime, study_id: str) -> bool:
    if not _lives(case, place, uid, moment):
        case.note(uid, "no sign of life there for longer than place_match_max_age")
        return False
    study = case.registry.study(uid)
    if study_id and study is not None and study.study_id != study_id:
        case.note(uid, "Study ID is another or not known")
        return False
    return True


def _named_by_arrival_too(case: MatchContext, place: str, found: Study) -> Study | Refused:
    """A clock that may be slow: the study there at arrival must be the one that the times name, and no other between them."""
    uid = found.study_instance_uid
    there = _there_at_arrival(case, place)
    if there != {uid}:
        case.note(uid, "the entry times name it, it was not the one there at arrival; clock not known")
        case.note_all(_studies(case, there), "there at arrival, but not at the entry times")
        return Refused(0xC103, comments.TIMES_NAME_ANOTHER)
    if _may_have_left(case, place, uid):
        case.note(uid, "the entry times name it, and by the device's slow clock it may have left before")
        return Refused(0xC103, comments.CLOCK_DIFFERS)
    first = min(earliest for earliest, _ in case.readings)
    between = {visit.study_instance_uid for visit in _visits(case, place, first, case.arrival)} - {uid}
    if between:
        case.note_all(_studies(case, between), "at the location between the entry times and arrival; clock not known")
        return Refused(0xC103, comments.ANOTHER_MEANWHILE)
    return found


def _may_have_left(case: MatchContext, place: str, uid: str) -> bool:
    """Whether the study had left when an entry may have occurred: a clock that is slow by the difference stamps it so much early."""
    difference = case.question.clock_difference
    if case.clock is not Clock.SLOW or difference is None:
        return False
    latest = min(max(latest for _, latest in case.readings) + difference, case.arrival)
    tolerance = case.policy.clock_tolerance
    near = _visits(case, place, latest - tolerance - _JUST, latest + tolerance)
    return all(visit.study_instance_uid != uid for visit in near)


def _there_at_arrival(case: MatchContext, place: str) -> set[str]:
    """Who is at the place when the request arrives; nobody: who left last, within the grace, and is not elsewhere by now."""
    arrival = case.arrival
    here = {visit.study_instance_uid for visit in _visits(case, place, arrival, arrival)}
    if here:
        return here
    gone = [
        (visit.left, visit.study_instance_uid)
        for visit in _visits(case, place, arrival - case.policy.close_grace - _JUST, arrival)
        if visit.left is not None
    ]
    last = {uid for left, uid in gone if left == max(gone)[0]}
    return {study.study_instance_uid for study in _studies(case, last) if not _went_elsewhere(case, place, study)}


def _went_elsewhere(case: MatchContext, place: str, study: Study) -> bool:
    """Whether the study went to another room, or its patient has one open there: who is in the old room then is somebody else."""
    if study.location != place:
        return True
    others = case.registry.studies_of(study.patient)
    return any(other.status == "open" and other.location not in {"", place} for other in others)


def _why_none(case: MatchContext, place: str) -> str:
    """Nobody was there, or is it the device's clock?"""
    if case.clock in {Clock.UNTRUSTED, Clock.FAST}:
        return comments.NONE_AT_LOCATION
    if case.clock is Clock.SLOW:
        return comments.CLOCK_DIFFERS
    now = {visit.study_instance_uid for visit in _visits(case, place, case.arrival, case.arrival)}
    case.note_all(_studies(case, now), "there at arrival, but not at the entry times")
    likely = case.clock is Clock.UNKNOWN and any(_lives(case, place, uid, case.arrival) for uid in now)
    return comments.NONE_THEN_ONE_NOW if likely else comments.NONE_AT_LOCATION


def _by_arrival(case: MatchContext, place: str, study_id: str) -> Study | Refused | None:
    """The study there at arrival, and only while no other one was there within the grace."""
    found = _at(case, place, (case.arrival, case.arrival), study_id)
    if not isinstance(found, Study):
        return found
    lately = _visits(case, place, case.arrival - case.policy.close_grace - _JUST, case.arrival)
    others = {visit.study_instance_uid for visit in lately} - {found.study_instance_uid}
    if not others:
        return found
    why = "untrusted" if case.clock is Clock.UNTRUSTED else "fast"
    case.note_all(_studies(case, others), f"at the location within close_grace, and the device's times are {why}")
    case.note(found.study_instance_uid, "another study was at the location within close_grace")
    return Refused(0xC103, comments.UNTRUSTED_SEVERAL if why == "untrusted" else comments.FAST_SEVERAL)
