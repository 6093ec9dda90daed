"""Rules 5 to 7: the study that was at a location when the events occurred. In doubt it is none (contract section 3).

A device's times decide alone only while its clock is known. A fast clock is corrected for, and only for entries of just now; where
the clock may be slow, or is not known, the entry times and the arrival must name the same study.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from plscp.matching import comments
from plscp.matching.match_context import Clock, MatchContext, NoMatch, Span
from plscp.matching.presence import Visit
from plscp.matching.records import Study
from plscp.matching.registry import microseconds

_JUST: Final = timedelta(microseconds=1)
"""A stay ends just before its study left: so one that left exactly the tolerance ago is still looked at."""


def study_at(case: MatchContext, place: str, study_id: str = "") -> Study | NoMatch | None:
    """The one study that was at the place when every event occurred; rule 5: only one with this Study ID.

    Returns:
        The study; None for none, with `case.comment` set; NoMatch where it cannot be told which.
    """
    clock = case.clock
    if clock is Clock.UNTRUSTED:
        return _by_arrival(case, place, study_id)
    if case.too_old():
        return NoMatch(0xC103, _why_too_old(case))
    if clock is Clock.FAST:
        return _by_arrival(case, place, study_id) if _punctual(case) else NoMatch(0xC103, comments.CLOCK_FAST)
    if case.in_the_future():
        return NoMatch(0xC103, comments.IN_THE_FUTURE)
    found: Study | None = None
    for span in case.readings:
        here = _at(case, place, span, study_id)
        if not isinstance(here, Study):
            return here
        if found is not None and here is not found:
            case.note_all((found, here), "only some of the entries lie in its time")
            return NoMatch(0xC103, comments.ENTRIES_IN_TWO)
        found = here
    if found is None or clock is Clock.KNOWN:
        return found
    return _named_by_arrival_too(case, place, found)


def _why_too_old(case: MatchContext) -> str:
    """Were they sent late, or is it a slow clock? The clock where they would not be too old by what it is known to be behind."""
    behind = case.question.clock_difference
    likely = case.clock is Clock.SLOW and behind is not None and not case.too_old(behind)
    return comments.TOO_OLD_BY_A_SLOW_CLOCK if likely else comments.TOO_OLD


def _punctual(case: MatchContext) -> bool:
    tolerance = case.policy.clock_tolerance
    return all(
        earliest <= case.arrival + tolerance and latest >= case.arrival - tolerance
        for earliest, latest in case.readings
    )


def _visits(case: MatchContext, place: str, earliest: datetime, latest: datetime) -> list[Visit]:
    """Stays at the place that have some of that time in them; a cancelled study never was anywhere, unless a request named it there."""
    found: list[Visit] = []
    for visit in case.registry.presence.between(place, earliest, latest):
        if not _is_cancelled(case, visit.study_instance_uid):
            found.append(visit)
            continue
        case.note(visit.study_instance_uid, "cancelled")
        if case.registry.life.last_request(visit.study_instance_uid, place) >= microseconds(visit.arrived):
            found.append(visit)
    return found


def _is_cancelled(case: MatchContext, uid: str) -> bool:
    study = case.registry.study(uid)
    return study is not None and study.status == "cancelled"


def _there(case: MatchContext, place: str, earliest: datetime, latest: datetime) -> set[str]:
    return {visit.study_instance_uid for visit in _visits(case, place, earliest, latest)}


def _at(case: MatchContext, place: str, span: Span, study_id: str) -> Study | NoMatch | None:
    """The study whose time at the place has all of one entry's time in it."""
    earliest, latest = span
    tolerance = case.policy.clock_tolerance
    near = _visits(case, place, earliest - tolerance - _JUST, latest + tolerance)
    there = {visit.study_instance_uid for visit in near if visit.overlaps(earliest, latest)}
    found: set[str] = set()
    for visit in near:
        uid = visit.study_instance_uid
        if visit.contains(earliest, latest) or (
            # Widened by the tolerance, but only where no other study was there; where it never was nothing is wider.
            not there - {uid}
            and visit.left != visit.arrived
            and visit.arrived - tolerance <= earliest
            and (visit.left is None or visit.left + tolerance >= latest)
        ):
            if _is_cancelled(case, uid):
                continue  # one too many there, and takes nothing
            if not _lives(case, place, uid, latest):
                case.note(uid, "no sign of life there for longer than place_match_max_age")
            elif study_id and (study := case.registry.study(uid)) is not None and study.study_id != study_id:
                case.note(uid, "Study ID is another or not known")
            else:
                found.add(uid)
        elif visit.left == visit.arrived:
            case.note(uid, "at the location for no time at all")
        elif uid in there:
            case.note(uid, "only part of an entry's time lies in its time at the location")
        else:
            case.note(uid, "at the location only within the clock tolerance, while another study was there")
    # Another study there at that time is one too many, quiet or not, unless Study ID says that it is not meant.
    others = set() if study_id else there - found
    if len(found) + len(others) > 1:
        _note(case, found | others, "at the location at the same time as another")
        return NoMatch(0xC103, comments.SEVERAL_AT_LOCATION)
    if found:
        return case.registry.study(found.pop())
    case.comment = _why_none(case, place)
    return None


def _lives(case: MatchContext, place: str, uid: str, moment: datetime) -> bool:
    policy = case.policy
    return case.registry.active(uid, place, moment - policy.place_match_max_age, moment + policy.clock_tolerance)


def _note(case: MatchContext, uids: Collection[str], why_not: str) -> None:
    for uid in sorted(uids):
        if case.registry.study(uid) is not None:
            case.note(uid, why_not)


def _named_by_arrival_too(case: MatchContext, place: str, found: Study) -> Study | NoMatch:
    """A clock that may be slow: the study there at arrival must be the one that the times name, and no other between them."""
    uid = found.study_instance_uid
    there = _there_at_arrival(case, place)
    if there != {uid}:
        case.note(uid, "the entry times name it, it was not the one there at arrival; clock not known")
        _note(case, there, "there at arrival, but not at the entry times")
        return NoMatch(0xC103, comments.TIMES_NAME_ANOTHER)
    difference = case.question.clock_difference
    if case.clock is Clock.SLOW and difference is not None:
        # A clock that is slow by the difference stamps an entry so much early.
        latest = min(max(latest for _, latest in case.readings) + difference, case.arrival)
        tolerance = case.policy.clock_tolerance
        if uid not in _there(case, place, latest - tolerance - _JUST, latest + tolerance):
            case.note(uid, "the entry times name it, and by the device's slow clock it may have left before")
            return NoMatch(0xC103, comments.CLOCK_DIFFERS)
    between = _there(case, place, min(earliest for earliest, _ in case.readings), case.arrival) - {uid}
    if between:
        _note(case, between, "at the location between the entry times and arrival; clock not known")
        return NoMatch(0xC103, comments.ANOTHER_MEANWHILE)
    return found


def _there_at_arrival(case: MatchContext, place: str) -> set[str]:
    """Who is at the place when the request arrives; nobody: who left last, within the grace, and is not elsewhere by now."""
    arrival = case.arrival
    here = _there(case, place, arrival, arrival)
    if here:
        return here
    gone = [
        (visit.left, visit.study_instance_uid)
        for visit in _visits(case, place, arrival - case.policy.close_grace - _JUST, arrival)
        if visit.left is not None
    ]
    return {uid for left, uid in gone if left == max(gone)[0] and not _went_elsewhere(case, place, uid)}


def _went_elsewhere(case: MatchContext, place: str, uid: str) -> bool:
    """Whether the study went to another room, or its patient has one open there: who is in the old room then is somebody else."""
    study = case.registry.study(uid)
    if study is None or study.location != place:
        return True
    others = case.registry.studies_of(study.patient)
    return any(other.status == "open" and other.location not in {"", place} for other in others)


def _why_none(case: MatchContext, place: str) -> str:
    """Nobody was there, or is it the device's clock?"""
    if case.clock in {Clock.UNTRUSTED, Clock.FAST}:
        return comments.NONE_AT_LOCATION
    if case.clock is Clock.SLOW:
        return comments.CLOCK_DIFFERS
    now = _there(case, place, case.arrival, case.arrival)
    _note(case, now, "there at arrival, but not at the entry times")
    likely = case.clock is Clock.UNKNOWN and any(_lives(case, place, uid, case.arrival) for uid in now)
    return comments.NONE_THEN_ONE_NOW if likely else comments.NONE_AT_LOCATION


def _by_arrival(case: MatchContext, place: str, study_id: str) -> Study | NoMatch | None:
    """The study there at arrival, and only while no other one was there within the grace."""
    found = _at(case, place, (case.arrival, case.arrival), study_id)
    if not isinstance(found, Study):
        return found
    others = _there(case, place, case.arrival - case.policy.close_grace - _JUST, case.arrival)
    others.discard(found.study_instance_uid)
    if not others:
        return found
    untrusted = case.clock is Clock.UNTRUSTED
    why = "untrusted" if untrusted else "fast"
    _note(case, others, f"at the location within close_grace, and the device's times are {why}")
    case.note(found.study_instance_uid, "another study was at the location within close_grace")
    return NoMatch(0xC103, comments.UNTRUSTED_SEVERAL if untrusted else comments.FAST_SEVERAL)
