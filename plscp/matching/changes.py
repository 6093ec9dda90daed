"""Registry changes: planned from what HTTP, the registry file and feeds say, and from the turnover of rooms.

Planners are pure: they take the registry and a time in UTC, and give the changes to be stored. Saying the same again plans nothing.
They raise InvalidBody for a body that is none, and Conflict for what the registry forbids.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar

from plscp.errors import Conflict, InvalidBody
from plscp.matching import turnover
from plscp.matching.bodies import AdmissionBody, MergeBody, OperatorBody, PatientBody, StudyBody, parse
from plscp.matching.model import Operator, Policy
from plscp.matching.operators import Code
from plscp.matching.plan import Plan
from plscp.matching.records import (
    GENERATED_ISSUER,
    GENERATED_PREFIX,
    Admission,
    OrderNumbers,
    Patient,
    PatientId,
    Study,
    StudyStay,
)
from plscp.matching.registry import Registry
from plscp.store.port import RegistryRecord

JsonBody = Mapping[str, Any]
Said = TypeVar("Said")


# --- patients ------------------------------------------------------------------------------------------------------------


def plan_patient(plan: Plan, given: JsonBody, *, anew: bool) -> PatientBody:
    """Plan a patient; returns what was given, parsed.

    Args:
        anew: whether an ID that was merged away, changed or is another patient's other ID may be given anew.
    """
    body = parse(PatientBody, given)
    plan.require_usable(body.id)
    current = plan.identifier(body.id, body.issuer)
    before = plan.known(body.id, body.issuer)
    was: PatientId | None = None
    if before is not None and before.current != current:
        if plan.is_current(before, current):
            was = before.current  # it gets its issuer now, or the one spelling of it
        elif not current.issuer and before.current.id == current.id:
            current = before.current  # named without issuer, known under one
        elif anew:
            before = None
        else:
            raise Conflict("the Patient ID names another patient by now")
    patient = before or Patient(0, current, current.key)
    others = tuple(dict.fromkeys(plan.identifier(other.id, other.issuer) for other in body.other_ids))
    for other in others:
        plan.require_usable(other.id)
        if plan.names_another(other, before):
            raise Conflict("an other ID names another patient: merge the two instead")
    said = {name: getattr(body, name) for name in ("name", "birth_date", "sex") if body.said(name) or before is None}
    if body.said("other_ids"):
        said["other_ids"] = tuple(other for other in others if other != current and other not in patient.former_ids)
    former = (*patient.former_ids, was) if was else patient.former_ids
    if before is None:  # an ID given anew names the new patient only, in whichever spelling it was known
        owners = ((known, plan.view.owner(known)) for known in plan.view.spellings(current))
        former = tuple(known for known, owner in owners if owner is None or owner.current != known)
    after = replace(patient, current=current, former_ids=_without(current, former), **said)
    if after != before:
        plan.patient(after, was)
    return body


def plan_patient_id(plan: Plan, old: PatientId, new: PatientId) -> None:
    """Plan that a patient has another ID from now on (HL7 A47); the old one goes on naming the patient.

    Raises Conflict: the old ID is not known, or was merged away or changed before; the new one is another patient's.
    """
    plan.require_usable(new.id)
    patient = plan.known(*old)
    current = plan.identifier(*new)
    if patient is None:
        raise Conflict("the Patient ID is not known")
    if patient.current == current:
        return
    if plan.names_another(current, patient):
        raise Conflict("the new Patient ID names another patient: merge the two instead")
    if plan.is_former(patient, plan.identifier(*old)) and not plan.means_current(patient, PatientId(*old)):
        if plan.is_former(patient, current):
            return  # said again after a later change
        raise Conflict("the Patient ID was merged away or changed already")
    former = (*_without(current, patient.former_ids), patient.current)
    others = _without(current, patient.other_ids)
    plan.patient(replace(patient, current=current, former_ids=former, other_ids=others), patient.current)
    _tell_studies(plan, plan.view.studies_of(patient.number))


_A_DAY: Final = timedelta(days=1)


def plan_merge(plan: Plan, survivor_id: PatientId, prior_named: PatientId) -> None:
    """Plan that a patient is merged into another one, who survives.

    A prior ID that is not known is kept as one of the survivor's: devices will send it. One that is a placeholder means the generated
    patient of the one study that came with it.

    Raises:
        Conflict: a placeholder that no open study came with, or several studies; the prior ID may name several patients.
    """
    plan.require_usable(survivor_id.id)
    prior_id = plan.identifier(*prior_named)
    if plan.usable(prior_id.id):
        prior = plan.known(*prior_named)
        if prior is not None and not plan.means_current(prior, prior_id):
            known = plan.known(*survivor_id)
            if known is not None and known.number == prior.number:
                return
            raise Conflict("the prior ID was merged into another patient already")
    else:
        prior = _came_with(plan, prior_id.id)
    survivor = plan.known(*survivor_id)
    if survivor is not None and prior is not None and prior.number == survivor.number:
        return
    survivor = survivor or plan.make_patient(plan.identifier(*survivor_id))
    former, others, moved = survivor.former_ids, survivor.other_ids, []
    if prior is not None:
        prior_id = prior.current
        former, others = (*former, prior_id, *prior.former_ids), (*others, *prior.other_ids)
        moved = plan.view.studies_of(prior.number)
    else:
        former = (*former, prior_id)
    current = survivor.current
    after = replace(survivor, former_ids=_without(current, former), other_ids=_without(current, others))
    change = {"what": "patient.merged", **after.identifiers(), "merged": prior_id.as_json()}
    plan.add(change, "patient", after.key, current.key)
    _tell_studies(plan, moved)


def merge_patient(
    registry: Registry, survivor_id: PatientId, body: JsonBody, policy: Policy, now: datetime
) -> list[RegistryRecord]:
    """Plan what POST /api/v1/patients/{id}/merge says: ``prior`` is merged into the patient of the path; see `plan_merge`."""
    plan = Plan(registry, policy, now)
    prior = parse(MergeBody, body).prior
    plan_merge(plan, survivor_id, PatientId(prior.id, prior.issuer))
    return plan.records


def _without(current: PatientId, others: Sequence[PatientId]) -> tuple[PatientId, ...]:
    return tuple(one for one in dict.fromkeys(others) if one != current)


def _came_with(plan: Plan, placeholder: str) -> Patient:
    """Whom a placeholder means: who has the one open study that came with it, if nobody else came with it within a day.

    Who an emergency was is often known only when the case is over, and the next one may lie there by then.
    """
    view = plan.view
    made = (
        view.owner(PatientId(f"{GENERATED_PREFIX}{count}", GENERATED_ISSUER)) for count in range(view.generated, 0, -1)
    )
    came = {
        patient.number: patient
        for patient in made
        if patient is not None and patient.generated and patient.placeholder.casefold() == placeholder.casefold()
    }
    studies = [study for number in came for study in view.studies_of(number)]
    lately = {study.patient for study in studies if study.status == "open" or _is_of_today(study, plan.now)}
    if len(lately) > 1:
        raise Conflict(
            "several studies came with that placeholder for a Patient ID within a day: nothing was moved; "
            f"name the one meant by the ID that it has ({GENERATED_PREFIX}...)"
        )
    for study in studies:
        if study.status == "open":
            return came[study.patient]
    raise Conflict("no open study came with that placeholder for a Patient ID: nothing was moved")


def _is_of_today(study: Study, now: datetime) -> bool:
    moment = {"closed": study.closed, "scheduled": study.planned}.get(study.status)
    return moment is not None and moment >= now - _A_DAY


def _tell_studies(plan: Plan, studies: Sequence[Study]) -> None:
    """Those that read the study topic learn the patient's new identifier of every study that may still take events."""
    for study in (plan.view.study(study.study_instance_uid) for study in studies):
        if study is not None and (study.status == "scheduled" or study.takes_events(plan.now, plan.policy.close_grace)):
            plan.study("study.updated", study, reason="patient-identifier")


# --- admissions ----------------------------------------------------------------------------------------------------------


def plan_admission(plan: Plan, given: JsonBody, *, may_move: bool = False) -> AdmissionBody:
    """Plan an admission; returns what was given, parsed. Where it `may_move`, it may be given to another patient (HL7 A45)."""
    body = parse(AdmissionBody, given)
    named = plan.view.admissions_named(body.id, body.issuer)
    if len(named) > 1:
        raise Conflict("the Admission ID without issuer names several admissions: give the issuer")
    before = named[0] if named else None
    whose = body.patient if body.patient and plan.usable(body.patient.id) else None
    if before is not None and whose is not None and body.issuer and not before.issuer:
        before = None  # what is known without issuer may be another authority's
    patient = plan.known(whose.id, whose.issuer) if whose else None
    moved = False
    if before is not None:
        if whose is not None and (patient is None or patient.number != before.patient):
            if not may_move:
                raise Conflict("the admission is another patient's")
            patient = patient or plan.make_patient(plan.identifier(whose.id, whose.issuer))
            before = replace(before, patient=patient.number, patient_id=patient.current)
            moved = True
    elif whose is None:
        raise InvalidBody("admission: patient: an admission needs a usable Patient ID")
    else:
        patient = patient or plan.make_patient(plan.identifier(whose.id, whose.issuer))
        issuer = plan.view.issuers.spell(body.issuer)
        before = Admission(body.id, issuer, patient.number, patient.current, status="")
    said: dict[str, Any] = {name: getattr(body, name) for name in ("location", "status") if body.said(name)}
    if not before.status:
        said.setdefault("status", body.status)
    after = replace(before, **said)
    if moved or after != before:
        change = {"what": "admission.changed", **after.as_json()}
        plan.add(change, None, f"{after.issuer}|{after.id}", after.id)
    return body


# --- studies -------------------------------------------------------------------------------------------------------------


_FORBIDDEN: Final = {
    ("open", "scheduled"): "the study is open: close or cancel it instead",
    ("closed", "scheduled"): "the study is closed: it can be opened again, not scheduled",
    ("cancelled", "closed"): "the study is cancelled: it can be opened again, not closed",
}
"""(status, wanted): why not. Everything else is possible."""


def plan_study(
    plan: Plan, given: JsonBody, *, step: str = "", orders: tuple[OrderNumbers, ...] | None = None
) -> StudyBody:
    """Plan what a body says about a study; returns it parsed. Changing the patient of an open study is a correction, and refused.

    Args:
        step: SOP Instance UID of a procedure step that has begun and keeps the study open.
        orders: its orders that stand; None: as before.
    """
    body = parse(StudyBody, given)
    before = plan.view.study(body.study_instance_uid)
    wanted = body.status or (before.status if before else "open" if body.opened and not body.closed else "scheduled")
    if body.closed and not body.status and (before is None or before.status == "open"):
        wanted = "closed"
    latest = plan.now + plan.policy.clock_tolerance
    for name, moment in (("opened", body.opened), ("closed", body.closed)):
        if moment is not None and moment > latest:
            raise Conflict(f"{name} lies in the future")
    if body.opened and body.closed and body.closed < body.opened:
        raise Conflict("closed lies before opened")
    if body.closed and wanted not in {"closed", "cancelled"}:
        raise Conflict(f"closed is given, and the status is {wanted}")
    if before is not None and (before.status, wanted) in _FORBIDDEN:
        raise Conflict(_FORBIDDEN[before.status, wanted])
    patient = _patient(plan, body, before)
    study = before or Study(body.study_instance_uid, patient.number, patient.current, status="")
    said = {name: getattr(body, name) for name in ("study_id", "accession_number") if body.said(name)}
    place = plan.view.place(body.location) if body.said("location") else study.location
    study = replace(study, patient=patient.number, patient_id=patient.current, **said)
    study = _with_status(plan, study, wanted, place, body)
    if step:
        study = replace(study, steps=(*study.steps, step))
    if orders is not None:
        study = replace(study, orders=orders)
    # Whoever says so of a study that a turnover closed says more than the turnover, which may be taken back.
    is_over = plan.view.is_turned_over(study) and (body.status == "closed" or body.closed is not None)
    if study == before and not is_over:
        return body
    # The store looks once more when it commits: an event may be on its way to it.
    another = before is not None and before.patient != study.patient
    old = before.status if before else ""
    word = "updated" if study.status == old and not is_over else {"open": "opened"}.get(study.status, study.status)
    plan.study(f"study.{word}", study, without_entries=study.study_instance_uid if another else "")
    moved = before is not None and before.location != study.location
    if study.status == "open" and (old != "open" or moved or step):  # a step confirms who is there
        turn_over_room(plan, study.location)
    return body


def _patient(plan: Plan, body: StudyBody, before: Study | None) -> Patient:
    """The study's patient: as named, as before, or generated; another one than before only while nothing stands under it."""
    given = body.patient
    if given is None or not plan.usable(given.id):
        if before is not None:
            return plan.view.patient_number(before.patient)
        # With an ID of plscp's own, for a study that came without a usable one (Table P.2-4: 3/1).
        made = PatientId(f"{GENERATED_PREFIX}{plan.view.generated + 1}", GENERATED_ISSUER)
        return plan.make_patient(made, given.id if given else "")
    known = plan.known(given.id, given.issuer)
    if (
        before is None
        or (known is not None and known.number == before.patient)
        or (before.opened is None and not plan.view.has_entries(before.study_instance_uid))
    ):
        return known or plan.make_patient(plan.identifier(given.id, given.issuer))
    if plan.view.patient_number(before.patient).generated:
        raise Conflict("the study's patient has an ID given by plscp: merge that patient into the one named instead")
    raise Conflict(f"the study is {before.status} under another patient: changing that is a correction")


def _with_status(plan: Plan, study: Study, wanted: str, place: str, body: StudyBody) -> Study:
    if wanted == "open":
        return _opened(plan, study, place, body) if study.status != "open" else _moved(plan, study, place, body)
    if wanted == "scheduled":
        study = replace(study, planned=body.planned or study.planned or plan.now, closed=None)
    if wanted in {study.status, "scheduled"}:
        known = study.status in {"closed", "cancelled"} and study.stays
        return replace(study, status=wanted, location=study.location if known else place)
    if not study.status and body.opened is not None:  # one that is first heard of when it is over still was somewhere
        stays = (StudyStay(place, _arrival(plan, study, place, body.opened, body.closed)),) if place else ()
        study = replace(study, location=place, opened=body.opened, stays=stays)
    elif not study.stays:
        study = replace(study, location=place)
    return ended(study, wanted, body.closed or plan.now)


def _opened(plan: Plan, study: Study, place: str, body: StudyBody) -> Study:
    """From now, or from the time given unless the study was still open, or open again, then."""
    begin = body.opened or plan.now
    if study.closed is not None and begin < study.closed:
        begin = plan.now
    stays = (*study.stays, StudyStay(place, _arrival(plan, study, place, begin))) if place else study.stays
    first = study.opened if study.opened is not None else begin
    return replace(study, status="open", location=place, opened=first, closed=None, stays=stays)


def _arrival(plan: Plan, study: Study, place: str, stated: datetime, until: datetime | None = None) -> datetime:
    """A time that is stated counts unless it is in the future or another patient's study lived there later, but by `until`."""
    until = plan.now if until is None else min(until, plan.now)
    return min(max(stated, turnover.last_life_of_others(plan.view, study, place, until)), until)


def _moved(plan: Plan, study: Study, place: str, body: StudyBody) -> Study:
    """An open study somewhere else from now on, or whose time of opening is said to be another.

    The first stay then begins with that, if it began with the opening: it does not where another patient's study lived there until
    later, or where the study came there after its opening.
    """
    if body.opened is not None and body.opened != study.opened:
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
        study = replace(study, opened=body.opened, stays=stays)
    if place == study.location:
        return study
    here = (StudyStay(place, plan.now),) if place else ()
    return replace(study, location=place, stays=(*_left(study.stays, plan.now), *here))


def _left(stays: tuple[StudyStay, ...], moment: datetime) -> tuple[StudyStay, ...]:
    if not stays or stays[-1].left is not None:
        return stays
    return (*stays[:-1], stays[-1]._replace(left=max(moment, stays[-1].arrived)))


def ended(study: Study, status: str, moment: datetime) -> Study:
    """A study closed or cancelled at a moment. Raises Conflict: a step in progress keeps it open."""
    if study.steps:
        raise Conflict(f"a step of the study is in progress: it cannot be {status}")
    if study.status == "closed" and status == "cancelled" and study.closed is not None:
        moment = study.closed
    return replace(study, status=status, closed=moment, stays=_left(study.stays, moment))


def end_study(plan: Plan, study_instance_uid: str, status: str) -> None:
    """Plan that a study is closed or cancelled now; again is nothing. Raises Conflict: not known, or a step of it is in progress."""
    study = plan.view.study(study_instance_uid)
    if study is None:
        raise Conflict("the study is not known")
    if study.status == status:
        if plan.view.is_turned_over(study):  # as in `plan_study`
            plan.study("study.closed", study)
        return
    if (study.status, status) in _FORBIDDEN:
        raise Conflict(_FORBIDDEN[study.status, status])
    plan.study(f"study.{status}", ended(study, status, plan.now))


# --- operators ---------------------------------------------------------------------------------------------------------


UNSAID: Final[dict[str, Any]] = {"status": "active", "locations": [], "valid_from": None, "valid_until": None}
"""What holds of an operator about whom nothing more is said: of a row that says all there is, the members that it leaves out."""


def plan_operator(plan: Plan, given: Mapping[str, Any], said_by: str) -> OperatorBody:
    """Plan what a body says about an operator; returns it parsed. Members that are absent stay as they are.

    Args:
        said_by: ``file``, ``http`` or ``hl7``: whose word it is from now on.
    """
    body = parse(OperatorBody, given)
    before = plan.view.operators.known(body.value, body.scheme)
    said: dict[str, Any] = {
        name: getattr(body, name) for name in ("locations", "valid_from", "valid_until") if body.said(name)
    }
    if body.said("status"):
        said["active"] = body.status == "active"
    after = replace(before or Operator(body.value, body.scheme), **said)
    if after.valid_from is not None and after.valid_until is not None and after.valid_until < after.valid_from:
        raise InvalidBody("operator: valid_until lies before valid_from")
    _say_of_operator(plan, before, after, said_by)
    return body


def take_out(plan: Plan, value: str, scheme: str, said_by: str) -> None:
    """Plan that an operator may add nothing from now on; what else was said about him is kept."""
    before = plan.view.operators.known(value, scheme)
    _say_of_operator(plan, before, replace(before or Operator(value, scheme), active=False), said_by)


def _say_of_operator(plan: Plan, before: Operator | None, after: Operator, said_by: str) -> None:
    if before is not None and after == before:
        return  # whoever repeats what is known says nothing
    change = {"what": "operator.changed", **replace(after, said_by=said_by).as_json()}
    code = f"{after.scheme}|{after.value}"
    plan.add(change, None, code, code)


# --- what HTTP says by itself ---


def _planner(
    step: Callable[[Plan, Said], object],
) -> Callable[[Registry, Said, Policy, datetime], list[RegistryRecord]]:

    def planned(registry: Registry, said: Said, policy: Policy, now: datetime) -> list[RegistryRecord]:
        plan = Plan(registry, policy, now)
        step(plan, said)
        return plan.records

    return planned


put_patient = _planner(partial(plan_patient, anew=True))
"""PUT /api/v1/patients/{id}?issuer=: a superseded ID is hereby given anew, to a new patient."""
put_admission = _planner(plan_admission)
"""PUT /api/v1/admissions/{id}?issuer=. A bed moves no study."""
put_study = _planner(plan_study)
"""PUT /api/v1/studies/{study_instance_uid}; members that are absent stay as they are."""
close_study = _planner(partial(end_study, status="closed"))
cancel_study = _planner(partial(end_study, status="cancelled"))
"""POST .../close and .../cancel; the study by its Study Instance UID."""
put_operator = _planner(partial(plan_operator, said_by="http"))
"""PUT /api/v1/operators/{scheme}/{value}."""


@_planner
def delete_operator(plan: Plan, code: Code) -> None:
    """DELETE /api/v1/operators/{scheme}/{value}: the operator stays known, as taken out."""
    take_out(plan, *code, "http")


# --- turnover ------------------------------------------------------------------------------------------------------------


def turn_over(
    registry: Registry, late: Iterable[tuple[str, str]], policy: Policy, now: datetime
) -> list[RegistryRecord]:
    """Plan what is due anywhere; `late`: (Study Instance UID, place) of signs of life that came after a study's turnover."""
    plan = Plan(registry, policy, now)
    for uid, place in late:
        if (longer := turnover.lived_on(plan.view, uid, place)) is not None:
            plan.study(*longer)
    for place in sorted(plan.view.presence.occupied(2)):
        turn_over_room(plan, place)
    return plan.records


def turn_over_room(plan: Plan, place: str) -> None:
    """Plan what is due at a place."""
    for due in turnover.due(plan.view, place, plan.policy, plan.now):
        plan.study(*due)
