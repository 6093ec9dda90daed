"""Turnover of a room: when a study that comes there ends the stay of another patient's (contract section 3).

What is due is computed from the registry and its signs of life; what is decided stands in the registry changes alone. Signs that are
on their way to the store are waited for: a plan is made and handed to the store under the same lock under which a request is decided
and announced, so no accepted sign comes between plan and commit.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from plscp.matching.model import Policy
from plscp.matching.records import Study, StudyStay
from plscp.matching.registry import TURNOVER, Registry, microseconds, moment_of

CONFIRMED: Final = "room-confirmed"
"""The reason that a change carries which says that a study is confirmed."""
_JUST: Final = timedelta(microseconds=1)


class Due(NamedTuple):
    """A change that is due: what it is, the study as it will be, and why."""

    what: str
    study: Study
    reason: str


def due(registry: Registry, place: str, policy: Policy, now: datetime) -> list[Due]:
    """The confirmations and turnovers that are due at a place; nearly always nobody else is there, and none is.

    A study is confirmed by a request from there that names it or its patient and occurred after its arrival, or by a step. A
    study without a step in progress that gave no sign of life there for `room_turnover` is ended by another patient's confirmed
    one that arrived later; of several by the one that arrived first.
    """
    here = registry.presence.now(place)
    if len(here) < 2:  # one alone shares the room with nobody
        return []
    studies = [study for uid in here if (study := registry.study(uid)) is not None]
    if len({study.patient for study in studies}) == 1:
        return []
    studies.sort(key=lambda study: (study.stays[-1].arrived, study.study_instance_uid))
    changes: list[Due] = []
    present: list[Study] = []
    for study in studies:
        shares = not policy.turnover_decides and any(_older(first, study) for first in studies)
        newly = _confirmed(registry, study, place, policy, now) if shares else None
        if newly is not None:
            changes.append(Due("study.updated", newly, CONFIRMED))
        present.append(newly or study)
    for first in list(present):
        uid = first.study_instance_uid
        quiet = registry.life.last_perhaps(uid, place) <= microseconds(now - policy.room_turnover)
        if first.steps or not quiet or registry.life.expected(uid, place):
            continue
        for second in present:
            confirmed = policy.turnover_decides or second.stays[-1].confirmed is not None
            if confirmed and _older(first, second):
                changes.append(Due("study.closed", _ended(registry, first, second, place, now), TURNOVER))
                present.remove(first)
                break
    return changes


def _older(first: Study, second: Study) -> bool:
    return first.patient != second.patient and first.stays[-1].arrived <= second.stays[-1].arrived


def _confirmed(registry: Registry, study: Study, place: str, policy: Policy, now: datetime) -> Study | None:
    """The study with its stay confirmed, if that is new."""
    stay = study.stays[-1]
    if stay.confirmed is not None:
        return None
    named = registry.life.last_request(study.study_instance_uid, place)
    if named > microseconds(stay.arrived):
        since = moment_of(named)
    elif any(began_there(registry, step, stay, policy) for step in study.steps):
        since = max(now, stay.arrived)
    else:
        return None
    return replace(study, stays=(*study.stays[:-1], stay._replace(confirmed=since)))


def began_there(registry: Registry, sop_instance_uid: str, stay: StudyStay, policy: Policy) -> bool:
    """Whether a step shows that its study is there now.

    One in another room does not, though its study was moved here since; and one that says that it began long before the stay came late,
    and may be over.
    """
    step = registry.steps.get(sop_instance_uid)
    if step is None:
        return True
    return registry.place(step.location) == stay.location and step.started > stay.arrived - policy.room_turnover


def _ended(registry: Registry, first: Study, second: Study, place: str, now: datetime) -> Study:
    """Closed now, so that its grace runs from now; it was there until the other came, or until its last sign of life."""
    stay = first.stays[-1]
    last = moment_of(registry.life.last_perhaps(first.study_instance_uid, place))
    left = max(stay.arrived, second.stays[-1].arrived, last)
    stays = (*first.stays[:-1], stay._replace(left=left))
    return replace(first, status="closed", closed=max(now, left), stays=stays)


def lived_on(registry: Registry, study_instance_uid: str, place: str) -> Due | None:
    """A sign of life that came late may show that a study was there for longer than its turnover took it to be.

    Its stay then ends with that sign, at the latest with its closing: place and time alone name it no less than the other one.
    """
    study = registry.study(study_instance_uid)
    if study is None or study.status != "closed" or not study.stays or study.closed is None:
        return None
    stay = study.stays[-1]
    turned_over = stay.left is not None and stay.left < study.closed and study.location == stay.location
    if not turned_over or stay.location != place:
        return None
    last = registry.last_sign_of_life(study_instance_uid, place)
    if stay.left is None or last <= microseconds(stay.left):
        return None
    stays = (*study.stays[:-1], stay._replace(left=moment_of(last)))
    return Due("study.updated", replace(study, stays=stays), TURNOVER)


def taken_back(registry: Registry, mistaken: Study, stay: StudyStay, policy: Policy, now: datetime) -> list[Due]:
    """What becomes of the studies that a stay turned over once a modality says that it was mistaken: they are open again.

    Where another patient's study came since then, for certain or to leave again, or the study itself was opened again, it was there
    until then.

    Args:
        stay: of study `mistaken`, which has left.
    """
    place, changes = stay.location, []
    for visit in registry.presence.between(place, stay.arrived - _JUST, stay.arrived):
        study = registry.study(visit.study_instance_uid)
        if study is None or study.study_instance_uid == mistaken.study_instance_uid:
            continue
        index = [(each.location, each.arrived) for each in study.stays].index((place, visit.arrived))
        before, [was, *later] = study.stays[:index], study.stays[index:]
        said_since = not later and study.status != "closed"  # cancelled, or opened again, nobody knows where
        if said_since or not registry.was_turned_over(study, [was]):
            continue
        came = [each.arrived for each in later[:1]]
        came += [
            other.arrived
            for whose, other in _stays_after(registry, study, was, now)
            if whose.study_instance_uid != mistaken.study_instance_uid
            and (
                policy.turnover_decides
                or other.confirmed is not None
                or (other.left is not None and other.arrived >= stay.arrived)
            )
        ]
        if came:
            left = max(was.left or was.arrived, min(came))
            closed = max(study.closed, left) if study.closed else None
            after = replace(study, closed=closed, stays=(*before, was._replace(left=left), *later))
        else:
            after = replace(study, status="open", closed=None, stays=(*before, was._replace(left=None)))
        if after != study:
            changes.append(Due("study.updated" if came else "study.opened", after, TURNOVER))
    return changes


def _stays_after(registry: Registry, study: Study, stay: StudyStay, now: datetime) -> list[tuple[Study, StudyStay]]:
    """Where a study is or was: other patients' that came no earlier and were there for some time."""
    visits = registry.presence.between(stay.location, stay.arrived, now)
    others = [other for visit in visits if (other := registry.study(visit.study_instance_uid)) is not None]
    return [
        (other, each)
        for other in others
        if other.patient != study.patient and other.status != "cancelled"
        for each in other.stays
        if each.location == stay.location and each.arrived >= stay.arrived and each.left != each.arrived
    ]


def last_life_of_others(registry: Registry, study: Study, place: str, until: datetime) -> datetime:
    """The last sign of life until a time of other patients' studies that are or were at a place: no stay begins before it.

    Costs the studies that lived there lately, not all there ever were.
    """
    last = 0
    for latest, uid in registry.life.latest_first(place):
        if latest <= last:
            break
        other = registry.study(uid)
        if other is None or other.patient == study.patient or all(stay.location != place for stay in other.stays):
            continue
        last = max(last, registry.last_sign_of_life(uid, place, until))
    return moment_of(last)
