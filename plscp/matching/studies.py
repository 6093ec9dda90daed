"""How a study's state follows what is said about it: opening, moving, closing, cancelling, and the turnover of its room."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from plscp.errors import Conflict
from plscp.matching.bodies import StudyBody
from plscp.matching.planning import Plan
from plscp.matching.records import Patient, Stay, Study
from plscp.matching.registry import microseconds

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
        return _moved(_opened_earlier(study, body), place, plan.now)
    if wanted == "scheduled":
        study = replace(study, planned=body.planned or study.planned or plan.now, closed=None)
    if wanted in {study.status, "scheduled"}:
        known = study.status in {"closed", "cancelled"} and study.stays
        return replace(study, status=wanted, location=study.location if known else place)
    return ended(_backfilled(study, place, body), wanted, body.closed or plan.now)


def _opened(plan: Plan, study: Study, place: str, body: StudyBody) -> Study:
    """From now, or from the time given unless the study was still open, or open again, then."""
    begin = body.opened or plan.now
    if study.closed is not None and begin < study.closed:
        begin = plan.now
    stays = (*study.stays, Stay(place, begin)) if place else study.stays
    first = study.opened if study.opened is not None else begin
    return replace(study, status="open", location=place, opened=first, closed=None, stays=stays)


def _opened_earlier(study: Study, body: StudyBody) -> Study:
    """An open study whose time of opening is said to be another: the first stay begins with it."""
    if body.opened is None or body.opened == study.opened:
        return study
    stays = study.stays
    if stays and stays[0].arrived == study.opened:
        if stays[0].left is not None and body.opened > stays[0].left:
            raise Conflict("opened lies after the study's first move")
        stays = (stays[0]._replace(arrived=body.opened), *stays[1:])
    return replace(study, opened=body.opened, stays=stays)


def _moved(study: Study, place: str, now: datetime) -> Study:
    if place == study.location:
        return study
    stays = _left(study.stays, now)
    return replace(study, location=place, stays=(*stays, Stay(place, now)) if place else stays)


def _backfilled(study: Study, place: str, body: StudyBody) -> Study:
    """A study that is first heard of when it is over still was somewhere."""
    if study.status or body.opened is None:
        return replace(study, location=place) if not study.stays else study
    stays = (Stay(place, body.opened),) if place else ()
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
    if study.status == old:
        plan.study("study.updated", study)
    else:
        word = {"open": "opened"}.get(study.status, study.status)
        plan.study(f"study.{word}", study)
    if study.status == "open" and (old != "open" or (before is not None and before.location != study.location)):
        turn_over(plan, study)


def turn_over(plan: Plan, arrived: Study) -> None:
    """Plan the closing of other patients' studies that a study's arrival finds at its location, idle and without a step.

    A study with a step in progress, or with an entry or feed message in the last `room_turnover`, stays.
    """
    if not arrived.location:
        return
    begin = arrived.stays[-1].arrived
    idle_since = microseconds(plan.now - plan.policy.room_turnover)
    for uid in list(plan.view.presence.now(arrived.location)):
        study = plan.view.study(uid)
        if study is None or study.patient == arrived.patient or study.steps:
            continue
        if plan.view.last_activity(uid) > idle_since:
            continue
        closed = ended(study, "closed", plan.now)
        # It gave up the room when the other one came; its grace runs from now.
        last = closed.stays[-1]
        gone = max(last.arrived, min(begin, plan.now))
        plan.study(
            "study.closed", replace(closed, stays=(*closed.stays[:-1], last._replace(left=gone))), "room-turnover"
        )
