"""Planners: from what HTTP, the registry file and later feeds say to registry changes. Saying the same again plans nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from plscp.errors import Conflict, InvalidBody
from plscp.matching.bodies import AdmissionBody, MergeBody, PatientBody, StudyBody, parse
from plscp.matching.model import Policy
from plscp.matching.planning import Plan, key_of
from plscp.matching.records import Admission, Patient, PatientId
from plscp.matching.registry import Registry
from plscp.matching.studies import end_study, plan_study
from plscp.store.port import RegistryRecord

Body = Mapping[str, Any]


def put_study(registry: Registry, body: Body, policy: Policy, now: datetime) -> list[RegistryRecord]:
    """Plan what PUT /api/v1/studies/{study_instance_uid} says; members that are absent stay as they are.

    Args:
        body: one of ``studies`` of contracts section 6, with its ``study_instance_uid``.
        now: UTC.

    Raises:
        InvalidBody: the body is not one.
        Conflict: it would change the patient of a study, or says what its status forbids.
    """
    plan = Plan(registry, policy, now)
    plan_study(plan, parse(StudyBody, body))
    return plan.records


def close_study(registry: Registry, study_instance_uid: str, policy: Policy, now: datetime) -> list[RegistryRecord]:
    """Plan the closing of a study. Raises Conflict: not known, or a step of it is in progress."""
    plan = Plan(registry, policy, now)
    end_study(plan, study_instance_uid, "closed")
    return plan.records


def cancel_study(registry: Registry, study_instance_uid: str, policy: Policy, now: datetime) -> list[RegistryRecord]:
    """Plan the cancelling of a study. Raises Conflict: not known, or a step of it is in progress."""
    plan = Plan(registry, policy, now)
    end_study(plan, study_instance_uid, "cancelled")
    return plan.records


def put_patient(registry: Registry, body: Body, policy: Policy, now: datetime) -> list[RegistryRecord]:
    """Plan what PUT /api/v1/patients/{id}?issuer= says.

    An ID that was merged away, changed or is another patient's other ID is hereby given anew, to a new patient.

    Raises:
        InvalidBody: the body is not one, or the ID is a placeholder.
        Conflict: an other ID names another patient.
    """
    plan = Plan(registry, policy, now)
    plan_patient(plan, parse(PatientBody, body), anew=True)
    return plan.records


def plan_patient(plan: Plan, body: PatientBody, *, anew: bool) -> None:
    """Plan a patient.

    Args:
        anew: whether a superseded ID may be given anew; where only a changed line of the file names it, it may not.
    """
    plan.require_usable(body.id)
    current = plan.identifier(body.id, body.issuer)
    before = plan.known(body.id, body.issuer)
    was: PatientId | None = None
    if before is not None and before.current != current:
        if before.current == PatientId(body.id, "") or plan.same(before.current, current):
            was = before.current  # it gets its issuer now, or the one spelling of it
        elif not current.issuer and before.current.id == current.id:
            current = before.current  # named without issuer, known under one
        elif anew:
            before = None
        else:
            raise Conflict("the Patient ID names another patient by now")
    patient = before or Patient(0, current, key_of(current))
    others = tuple(dict.fromkeys(plan.identifier(other.id, other.issuer) for other in body.other_ids))
    for other in others:
        _free_for(plan, other, before)
    said = {name: getattr(body, name) for name in ("name", "birth_date", "sex") if body.said(name) or before is None}
    if body.said("other_ids"):
        said["other_ids"] = tuple(other for other in others if other != current and other not in patient.former_ids)
    former = (*patient.former_ids, was) if was else patient.former_ids
    if before is None:  # an ID given anew names the new patient only, in whichever spelling it was known
        former = tuple(known for known in plan.view.spellings(current) if not plan.is_current(known))
    after = replace(patient, current=current, former_ids=_and(former, (), current), **said)
    if after != before:
        plan.patient(after, was)


def _free_for(plan: Plan, other: PatientId, patient: Patient | None) -> None:
    plan.require_usable(other.id)
    if plan.holders(other) - {_number(patient)}:
        raise Conflict("an other ID names another patient: merge the two instead")


def change_patient_id(
    registry: Registry, old: PatientId, new: PatientId, policy: Policy, now: datetime
) -> list[RegistryRecord]:
    """Plan that a patient has another ID from now on (HL7 A47); the old one goes on naming the patient.

    Raises:
        Conflict: the new ID is another patient's current one: that is a merge.
    """
    plan = Plan(registry, policy, now)
    plan.require_usable(new.id)
    patient = plan.known(*old)
    current = plan.identifier(*new)
    if patient is None:
        raise Conflict("the Patient ID is not known")
    if patient.current == current:
        return []
    if plan.holders(current) - {patient.number}:
        raise Conflict("the new Patient ID names another patient: merge the two instead")
    kept = (*(known for known in patient.former_ids if known != current), patient.current)
    others = tuple(known for known in patient.other_ids if known != current)
    plan.patient(replace(patient, current=current, former_ids=kept, other_ids=others), patient.current)
    _tell_studies(plan, [study.study_instance_uid for study in plan.view.studies_of(patient.number)])
    return plan.records


def merge_patient(
    registry: Registry, survivor_id: PatientId, body: Body, policy: Policy, now: datetime
) -> list[RegistryRecord]:
    """Plan what POST /api/v1/patients/{id}/merge says: ``prior`` is merged into the patient of the path, who survives.

    A prior ID that is a placeholder means the generated patient of the one open study whose feed sent that placeholder.

    Raises:
        InvalidBody: the body is not one, or the survivor's ID is a placeholder.
        Conflict: a placeholder that no open study came with, or several; the prior ID may name several patients.
    """
    plan = Plan(registry, policy, now)
    merge = parse(MergeBody, body)
    plan.require_usable(survivor_id.id)
    prior_id = plan.identifier(merge.prior.id, merge.prior.issuer)
    if plan.usable(prior_id.id):
        prior = plan.known(merge.prior.id, merge.prior.issuer)
        is_current = prior is not None and (
            plan.same(prior.current, prior_id) or prior.current == PatientId(prior_id.id, "")
        )
        if prior is not None and not is_current and prior_id.issuer:
            if prior.number == _number(plan.known(*survivor_id)):
                return []
            raise Conflict("the prior ID was merged into another patient already")
        prior_id = prior.current if prior else prior_id
    else:
        prior = _came_with(plan, prior_id.id)
        prior_id = prior.current
    survivor = plan.known(*survivor_id)
    if survivor is not None and (prior is not None and prior.number == survivor.number):
        return []
    survivor = survivor or plan.make_patient(*survivor_id)
    gone = (prior_id,) if prior is None else (prior.current, *prior.former_ids)
    others = () if prior is None else prior.other_ids
    after = replace(
        survivor,
        former_ids=_and(survivor.former_ids, gone, survivor.current),
        other_ids=_and(survivor.other_ids, others, survivor.current),
    )
    moved = [] if prior is None else [study.study_instance_uid for study in plan.view.studies_of(prior.number)]
    plan.merge(after, prior_id)
    _tell_studies(plan, moved)
    return plan.records


def _number(patient: Patient | None) -> int:
    return patient.number if patient else 0


def _and(known: Sequence[PatientId], more: Sequence[PatientId], current: PatientId) -> tuple[PatientId, ...]:
    return tuple(one for one in dict.fromkeys((*known, *more)) if one != current)


def _came_with(plan: Plan, placeholder: str) -> Patient:
    found = {
        study.patient
        for study in plan.view.studies(status="open")
        if plan.view.patient_number(study.patient).generated
        and plan.view.patient_number(study.patient).placeholder.casefold() == placeholder.casefold()
    }
    if len(found) != 1:
        many = "several open studies came" if found else "no open study came"
        raise Conflict(f"{many} with that placeholder for a Patient ID: nothing was moved")
    return plan.view.patient_number(found.pop())


def _tell_studies(plan: Plan, uids: Sequence[str]) -> None:
    """Those that read the study topic learn the patient's new identifier of every study that may still take events."""
    for uid in uids:
        study = plan.view.study(uid)
        recent = study is not None and study.closed is not None and plan.now - study.closed <= plan.policy.close_grace
        if study is not None and (study.status in {"open", "scheduled"} or (study.status == "closed" and recent)):
            plan.study("study.updated", study, reason="patient-identifier")


def put_admission(registry: Registry, body: Body, policy: Policy, now: datetime) -> list[RegistryRecord]:
    """Plan what PUT /api/v1/admissions/{id}?issuer= says. A bed moves no study.

    Raises:
        InvalidBody: the body is not one, or names no patient for a new admission.
        Conflict: it names another patient than before.
    """
    plan = Plan(registry, policy, now)
    plan_admission(plan, parse(AdmissionBody, body))
    return plan.records


def plan_admission(plan: Plan, body: AdmissionBody) -> None:
    """Plan an admission."""
    named = plan.view.admissions_named(body.id, body.issuer)
    if len(named) > 1:
        raise Conflict("the Admission ID without issuer names several admissions: give the issuer")
    before = named[0] if named else None
    given = body.patient if body.patient and plan.usable(body.patient.id) else None
    if before is not None and given is not None and body.issuer and not before.issuer:
        before = None  # what is known without issuer may be another authority's
    if before is None and given is None:
        raise InvalidBody("admission: patient: an admission needs a usable Patient ID")
    patient = plan.known(given.id, given.issuer) if given else None
    if before is not None and given is not None and (patient is None or patient.number != before.patient):
        raise Conflict("the admission is another patient's")
    if before is None and given is not None:
        patient = patient or plan.make_patient(given.id, given.issuer)
        issuer = plan.view.issuers.spell(body.issuer)
        before = Admission(body.id, issuer, patient.number, patient.current, status="")
    assert before is not None
    said: dict[str, Any] = {name: getattr(body, name) for name in ("location", "status") if body.said(name)}
    if not before.status:
        said.setdefault("status", body.status)
    after = replace(before, **said)
    if after != before:
        plan.admission(after)
