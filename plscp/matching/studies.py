"""How a study's state follows what is said about it: opening, moving, closing, cancelling."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from plscp.errors import Conflict
from plscp.matching.bodies import StudyBody
from plscp.matching.planning import Plan
from plscp.matching.records import Patient, Stay, Study
from plscp.matching.turnover import last_life_of_others, turn_over

_FORBIDDEN: Final = {
    ("open", "scheduled"): "the study is open: close or cancel it instead",
    ("closed", "scheduled"): "the study is closed: it can be opened again, not scheduled",
    ("cancelled", "closed"): "the study is cancelled: it can be opened again, not closed",
}
"""(status, wanted): why not. Everything else is possible."""


def plan_study(plan: Plan, body: StudyBody) -> None:
    """Plan what a body says about a study."""
    before = plan.view.study(body.study_instance_uid)
    wanted = body.status or (before.status if before else "open" if body.opened and not body.closed else "scheduled")
    if body.closed and not body.status and (before is None or before.status == "open"):
        wanted = "closed"
    _check_times(plan, body, wanted)
    if before is not None and (before.status, wanted) in _FORBIDDEN:
        raise Conflict(_FORBIDDEN[before.status, wanted])
    patient = _patient(plan, body, before)
    study = before or Study(body.study_instance_uid, patient.number, patient.current, status="")
    study = replace(study, patient=patient.number, patient_id=patient.current)
    said = {name: getattr(body, name) for name in ("study_id", "accession_number") if body.said(name)}
    place = plan.view.place(body.location) if body.said("location") else study.location
    study = replace(study, **said)
    study = _with_status(plan, study, wanted, place, body)
    if study != before:
        _record(plan, before, study)


def _check_times(plan: Plan, body: StudyBody, wanted: str) -> None:
    latest = plan.now + plan.policy.clock_tolerance
    for name, moment in (("opened", body.opened), ("closed", body.closed)):
        if moment is not None and moment > latest:
            raise Conflict(f"{name} lies in the future")
    if body.opened and body.closed and body.closed < body.opened:
        raise Conflict("closed lies before opened")
    if body.closed and wanted not in {"closed", "cancelled"}:
        raise Conflict(f"closed is given, and the status is {wanted}")


def _patient(plan: Plan, body: StudyBody, before: Study | None) -> Patient:
    """The study's patient: as named, as before, or generated; another one than before only while nothing stands under it."""
    given = body.patient
    if given is None or not plan.usable(given.id):
        if before is not None:
            return plan.view.patient_number(before.patient)
        return plan.make_generated(given.id if given else "")
    known = plan.known(given.id, given.issuer)
    if before is None or (known is not None and known.number == before.patient):
        return known or plan.make_patient(given.id, given.issuer)
    if before.opened is None and not plan.view.has_entries(before.study_instance_uid):
        return known or plan.make_patient(given.id, given.issuer)
    if plan.view.patient_number(before.patient).generated:
        raise Conflict("the study's patient has an ID given by plscp: merge that patient into the one named instead")
    raise Conflict(f"the study is {before.status} under another patient: changing that is a correction")


def _with_status(plan: Plan, study: Study, wanted: str, place: str, body: StudyBody) -> Study:
    if wanted == "open" and study.status != "open":
        return _opened(plan, study, place, body)
    if wanted == "open":
        return _moved(_opened_at_another_time(plan, study, body), place, plan.now)
    if wanted == "scheduled":
        study = replace(study, planned=body.planned or study.planned or plan.now, closed=None)
    if wanted in {study.status, "scheduled"}:
        known = study.status in {"closed", "cancelled"} and study.stays
        return replace(study, status=wanted, location=study.location if known else place)
    return ended(_backfilled(plan, study, place, body), wanted, body.closed or plan.now)


def _opened(plan: Plan, study: Study, place: str, body: StudyBody) -> Study:
    """From now, or from the time given unless the study was still open, or open again, then."""
    begin = body.opened or plan.now
    if study.closed is not None and begin < study.closed:
        begin = plan.now
    stays = (*study.stays, Stay(place, _arrival(plan, study, place, begin))) if place else study.stays
    first = study.opened if study.opened is not None else begin
    return replace(study, status="open", location=place, opened=first, closed=None, stays=stays)


def _arrival(plan: Plan, study: Study, place: str, stated: datetime, until: datetime | None = None) -> datetime:
    """A time that is stated counts unless it is in the future or another patient's study lived there later.

    Args:
        until: what happened there after this says nothing.
    """
    until = plan.now if until is None else min(until, plan.now)
    return min(max(stated, last_life_of_others(plan.view, study, place, until)), until)


def _opened_at_another_time(plan: Plan, study: Study, body: StudyBody) -> Study:
    """An open study whose time of opening is said to be another: the first stay begins with it, if it began with the opening.

    It does not where another patient's study lived there until later, or where the study came there after its opening.
    """
    if body.opened is None or body.opened == study.opened:
        return study
    stays = study.stays
    if stays and study.opened is not None:
        first = stays[0]
        if first.left is not None and body.opened > first.left:
            raise Conflict("opened lies after the study's first move")
        arrived = first.arrived
        if body.opened > arrived:
            arrived = min(body.opened, max(plan.now, arrived))
        elif arrived <= study.opened:
            arrived = min(arrived, _arrival(plan, study, first.location, body.opened, first.left))
        known = first.confirmed is not None and first.confirmed > arrived
        stays = (first._replace(arrived=arrived, confirmed=first.confirmed if known else None), *stays[1:])
    return replace(study, opened=body.opened, stays=stays)


def _moved(study: Study, place: str, now: datetime) -> Study:
    if place == study.location:
        return study
    stays = _left(study.stays, now)
    return replace(study, location=place, stays=(*stays, Stay(place, now)) if place else stays)


def _backfilled(plan: Plan, study: Study, place: str, body: StudyBody) -> Study:
    """A study that is first heard of when it is over still was somewhere."""
    if study.status or body.opened is None:
        return replace(study, location=place) if not study.stays else study
    stays = (Stay(place, _arrival(plan, study, place, body.opened, body.closed)),) if place else ()
    return replace(study, location=place, opened=body.opened, stays=stays)


def _left(stays: tuple[Stay, ...], moment: datetime) -> tuple[Stay, ...]:
    if not stays or stays[-1].left is not None:
        return stays
    last = stays[-1]
    return (*stays[:-1], last._replace(left=max(moment, last.arrived)))


def ended(study: Study, status: str, moment: datetime) -> Study:
    """A study closed or cancelled at a moment; a step in progress keeps it open.

    Raises:
        Conflict: a step of it is in progress.
    """
    if study.steps:
        raise Conflict(f"a step of the study is in progress: it cannot be {status}")
    if study.status == "closed" and status == "cancelled" and study.closed is not None:
        moment = study.closed
    return replace(study, status=status, closed=moment, stays=_left(study.stays, moment))


def end_study(plan: Plan, study_instance_uid: str, status: str) -> None:
    """Plan that a study is closed or cancelled now; again is nothing."""
    study = plan.view.study(study_instance_uid)
    if study is None:
        raise Conflict("the study is not known")
    if study.status == status:
        return
    if (study.status, status) in _FORBIDDEN:
        raise Conflict(_FORBIDDEN[study.status, status])
    plan.study(f"study.{status}", ended(study, status, plan.now))


def _record(plan: Plan, before: Study | None, study: Study) -> None:
    old = before.status if before else ""
    # The store looks once more when it commits: an event may be on its way to it.
    another = before is not None and before.patient != study.patient
    without_entries = study.study_instance_uid if another else ""
    if study.status == old:
        plan.study("study.updated", study, without_entries=without_entries)
    else:
        word = {"open": "opened"}.get(study.status, study.status)
        plan.study(f"study.{word}", study, without_entries=without_entries)
    if study.status == "open" and (old != "open" or (before is not None and before.location != study.location)):
        turn_over(plan, study.location)
