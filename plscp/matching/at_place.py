"""Rules 5 to 7: the study that was at a location when the events occurred. In doubt it is none."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from plscp.matching import comments
from plscp.matching.case import Case, Refused, Span
from plscp.matching.places import Visit
from plscp.matching.records import Study

_JUST: Final = timedelta(microseconds=1)
"""A stay ends just before its study left: so one that left exactly the tolerance ago is still looked at."""


def study_at(case: Case, places: Sequence[str], study_id: str = "") -> Study | Refused | None:
    """The one study that was at the places when every event occurred.

    Args:
        study_id: rule 5: only a study with this Study ID.

    Returns:
        The study; None for none, with `case.comment` set; Refused where it cannot be told which.
    """
    trusted = case.trusted()
    if trusted and case.in_the_future():
        return Refused(0xC103, comments.IN_THE_FUTURE)
    if trusted and case.spans and not study_id and (plain := _there_all_the_time(case, places)) is not None:
        return plain
    found: Study | None = None
    for span in case.times():
        here = _at(case, places, span, study_id)
        if not isinstance(here, Study):
            return here
        if found is not None and here is not found:
            case.note_all((found, here), "only some of the entries lie in its time")
            return Refused(0xC103, comments.ENTRIES_IN_TWO)
        found = here
    if found is None:
        return None
    if not trusted:
        return _alone_lately(case, places, found)
    there = _there_at_arrival(case, places)
    if there == {found.study_instance_uid} or _clock_is_known(case):
        return found
    case.note(found.study_instance_uid, "the entry times name it, it was not the one there at arrival; clock not known")
    case.note_all(_studies(case, there), "there at arrival, but not at the entry times")
    return Refused(0xC103, comments.TIMES_NAME_ANOTHER)


def _there_all_the_time(case: Case, places: Sequence[str]) -> Study | None:
    """Nearly always one study, and nobody else, is there from the first event until arrival: half the work of the whole search."""
    first = min(earliest for earliest, _ in case.spans)
    if case.arrival - first > case.policy.close_grace:
        return None  # too many others may have been there since
    last = max(*(latest for _, latest in case.spans), case.arrival)
    tolerance = case.policy.clock_tolerance
    visits = _visits(case, places, first - tolerance - _JUST, last + tolerance)
    if len(visits) != 1 or not visits[0].contains(first, last):
        return None
    # One sign of life that is good for the first event and for arrival is good for all between.
    uid = visits[0].study_instance_uid
    lives = case.registry.active(uid, last - case.policy.place_match_max_age, first)
    return case.registry.study(uid) if lives else None


def _studies(case: Case, uids: set[str]) -> list[Study]:
    return [study for uid in sorted(uids) if (study := case.registry.study(uid)) is not None]


def _visits(case: Case, places: Sequence[str], earliest: datetime, latest: datetime) -> list[Visit]:
    """Stays at the places that have some of that time in them; a cancelled study never was anywhere."""
    registry = case.registry
    found: list[Visit] = []
    for place in places:
        for visit in registry.presence.between(place, earliest, latest):
            study = registry.study(visit.study_instance_uid)
            if study is not None and study.status == "cancelled":
                case.note(visit.study_instance_uid, "cancelled")
            else:
                found.append(visit)
    return found


def _at(case: Case, places: Sequence[str], span: Span, study_id: str) -> Study | Refused | None:
    """The study whose time at the places has all of one entry's time in it."""
    earliest, latest = span
    tolerance = case.policy.clock_tolerance
    near = _visits(case, places, earliest - tolerance - _JUST, latest + tolerance)
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
            if _eligible(case, uid, latest, study_id):
                found.add(uid)
        elif uid in there:
            case.note(uid, "only part of an entry's time lies in its time at the location")
        else:
            case.note(uid, "at the location only within the clock tolerance, while another study was there")
    # A study there for a part of that time only is one too many, unless Study ID says that it is not meant.
    partly = set() if study_id else {uid for uid in there - found if _lives(case, uid, latest)}
    if len(found | partly) > 1:
        case.note_all(_studies(case, found | partly), "at the location at the same time as another")
        return Refused(0xC103, comments.SEVERAL_AT_LOCATION)
    if found:
        return case.registry.study(found.pop())
    case.comment = _why_none(case, places)
    return None


def _lives(case: Case, uid: str, moment: datetime) -> bool:
    """Whether the study had an entry or feed message in the `place_match_max_age` before the entry's time."""
    policy = case.policy
    return case.registry.active(uid, moment - policy.place_match_max_age, moment + policy.clock_tolerance)


def _eligible(case: Case, uid: str, moment: datetime, study_id: str) -> bool:
    if not _lives(case, uid, moment):
        case.note(uid, "no entry or feed message for longer than place_match_max_age")
        return False
    study = case.registry.study(uid)
    if study_id and study is not None and study.study_id != study_id:
        case.note(uid, "Study ID is another or not known")
        return False
    return True


def _there_at_arrival(case: Case, places: Sequence[str]) -> set[str]:
    """Who is at the places when the request arrives; nobody: who left last, within the grace."""
    arrival = case.arrival
    here = {
        visit.study_instance_uid
        for visit in _visits(case, places, arrival, arrival)
        if _lives(case, visit.study_instance_uid, arrival)
    }
    if here:
        return here
    gone = [
        (visit.left, visit.study_instance_uid)
        for visit in _visits(case, places, arrival - case.policy.close_grace, arrival)
        if visit.left is not None
    ]
    return {uid for left, uid in gone if left == max(gone)[0]}


def _clock_is_known(case: Case) -> bool:
    """Whether the device's times may name another study than the one there at arrival."""
    own = case.policy.synchronization_frame_of_reference_uid
    if own and case.question.given.synchronization_frame_of_reference_uid.strip(" ") == own:
        return True
    difference = case.question.clock_difference
    return difference is not None and abs(difference) <= case.policy.clock_tolerance


def _why_none(case: Case, places: Sequence[str]) -> str:
    """Nobody was there, or is it the device's clock?"""
    if not case.trusted():
        return comments.NONE_AT_LOCATION
    difference = case.question.clock_difference
    if difference is not None and abs(difference) > case.policy.clock_tolerance:
        return comments.CLOCK_DIFFERS
    now = {visit.study_instance_uid for visit in _visits(case, places, case.arrival, case.arrival)}
    case.note_all(_studies(case, now), "there at arrival, but not at the entry times")
    likely = not _clock_is_known(case) and any(_lives(case, uid, case.arrival) for uid in now)
    return comments.NONE_THEN_ONE_NOW if likely else comments.NONE_AT_LOCATION


def _alone_lately(case: Case, places: Sequence[str], found: Study) -> Study | Refused:
    """Untrusted times: by arrival, and only while no other study was there within the grace."""
    lately = _visits(case, places, case.arrival - case.policy.close_grace, case.arrival)
    others = {visit.study_instance_uid for visit in lately} - {found.study_instance_uid}
    if not others:
        return found
    case.note_all(_studies(case, others), "at the location within close_grace, and the device's times are untrusted")
    case.note(found.study_instance_uid, "another study was at the location within close_grace")
    return Refused(0xC103, comments.UNTRUSTED_SEVERAL)
