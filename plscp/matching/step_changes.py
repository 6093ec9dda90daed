"""What performed procedure steps change: planned from what modalities report, and from an operator who ends one (contract section 3).

A step that begins opens its studies where it is, or opens them again; a study closes with its last step. All that one message
changes is one plan. Planners raise `Refused` with the status that the modality gets (PS3.4 F.7.2).
"""

from dataclasses import replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from plscp.errors import Conflict, Refused
from plscp.findings import Finding
from plscp.matching import changes, turnover
from plscp.matching.corrections import MOVE, proposal_id, proposed
from plscp.matching.model import Place, Policy
from plscp.matching.plan import Plan
from plscp.matching.records import Patient, PatientId, Study, StudyStay
from plscp.matching.registry import Registry, microseconds, moment_of
from plscp.matching.steps import IN_PROGRESS, ProcedureStep, StepStatus
from plscp.store.port import RegistryRecord

INCORRECT_WORKLIST_ENTRY: Final = "110514^DCM"
"""Incorrect worklist entry selected (CID 9300)."""
BY_OPERATOR: Final = "operator"
PATIENT_CONTRADICTS: Final = Finding("step-patient", "Patient ID is not that of the study's patient", refuse=True)
PATIENTS_SEVERAL: Final = Finding("step-patients", "the studies of one step are several patients'", refuse=True)
PATIENT_AMBIGUOUS: Final = Finding("step-patient-ambiguous", "Patient ID without issuer names several", refuse=True)
ENDED: Final = Finding("step-ended", "Performed Procedure Step Object may no longer be updated", refuse=True)


class StepStudy(NamedTuple):
    """One study of a step, as an item of Scheduled Step Attributes Sequence (0040,0270) gives it."""

    study_instance_uid: str
    accession_number: str = ""
    study_id: str = ""


class StepBegun(NamedTuple):
    """What an N-CREATE says.

    Attributes:
        made: whether plscp made the SOP Instance UID: the same content again is then the same step.
        location: the lab where it is; empty where that is not known.
        started: UTC; None where it was not stated, or cannot be used.
    """

    sop_instance_uid: str
    made: bool
    studies: tuple[StepStudy, ...]
    patient_id: str
    issuer: str
    calling_ae: str
    station_ae_title: str
    location: str
    started: datetime | None


class StepSaid(NamedTuple):
    """What an N-SET says.

    Attributes:
        status, ended: None where it was not stated, or cannot be used.
        reason: as of a `ProcedureStep`.
        studies, patient_id, issuer: what an N-SET may not set (PS3.4 F.7.2.2.2), as far as it is there.
    """

    sop_instance_uid: str
    status: StepStatus | None
    ended: datetime | None
    reason: str = ""
    studies: tuple[str, ...] = ()
    patient_id: str = ""
    issuer: str = ""


# --- a step begins -------------------------------------------------------------------------------------------------------


def begin_step(registry: Registry, said: StepBegun, policy: Policy, now: datetime) -> list[RegistryRecord]:
    """Plan what an N-CREATE says: its studies are open from now on, or from the time stated, and it is in progress.

    Raises Refused: 0111H for a step that is known; 0110H where the patient contradicts.
    """
    if registry.steps.get(said.sop_instance_uid) is not None:
        if said.made:
            return []
        raise Refused(0x0111)
    plan = Plan(registry, policy, now)
    patient = _patient(plan, said)
    started = now if said.started is None else min(said.started, now)
    step = ProcedureStep(
        said.sop_instance_uid,
        IN_PROGRESS,
        tuple(one.study_instance_uid for one in said.studies),
        said.calling_ae,
        said.station_ae_title,
        said.location,
        started,
    )
    _changed(plan, step)  # first: whether it turns the room over depends on when it began
    for one in said.studies:
        before = plan.view.study(one.study_instance_uid)
        is_open = before is not None and before.status == "open"
        body: dict[str, Any] = {"study_instance_uid": one.study_instance_uid, "status": "open"}
        if patient is not None:
            body["patient"] = patient
        if not is_open:
            body |= {"opened": started, "location": said.location}  # where it was planned to be is not where it is
        elif said.location:
            body["location"] = said.location
        for name in ("accession_number", "study_id"):
            value = getattr(one, name)
            if value and not getattr(before, name, ""):
                body[name] = value
        changes.plan_study(plan, body, step=said.sop_instance_uid)
        opened = plan.view.study(one.study_instance_uid)
        assert opened is not None
        patient = opened.patient_id.as_json()  # of a group case without a usable ID all are one patient's
    return plan.records


def _patient(plan: Plan, said: StepBegun) -> dict[str, str] | None:
    """Whose the step's studies are, as a body names it; None where nobody is named and nothing known.

    A study's patient is never replaced by what a modality says, but while plscp gave the ID and nothing ever stood under the study.
    """
    known = [study for one in said.studies if (study := plan.view.study(one.study_instance_uid)) is not None]
    if plan.usable(said.patient_id):
        try:
            named = plan.known(said.patient_id, said.issuer)
        except Conflict:
            raise Refused(0x0110, [PATIENT_AMBIGUOUS]) from None
        if any(_is_anothers(plan, study, named) for study in known):
            raise Refused(0x0110, [PATIENT_CONTRADICTS])
        return {"id": said.patient_id, "issuer": said.issuer}
    numbers = {study.patient for study in known}
    if len(numbers) > 1:
        raise Refused(0x0110, [PATIENTS_SEVERAL])
    if numbers:
        return plan.view.patient_number(numbers.pop()).current.as_json()
    return {"id": said.patient_id} if said.patient_id else None


def _is_anothers(plan: Plan, study: Study, named: Patient | None) -> bool:
    if named is not None and named.number == study.patient:
        return False
    unnamed = plan.view.patient_number(study.patient).generated
    return not unnamed or study.opened is not None or plan.view.has_entries(study.study_instance_uid)


def _changed(plan: Plan, step: ProcedureStep) -> None:
    change = {"what": "step.changed", **step.as_json()}
    plan.add(change, None, step.sop_instance_uid, step.sop_instance_uid)


# --- a step goes on, or ends ---------------------------------------------------------------------------------------------


def set_step(registry: Registry, said: StepSaid, policy: Policy, now: datetime) -> list[RegistryRecord]:
    """Plan what an N-SET says: a step that is completed or discontinued holds its studies open no longer.

    Raises Refused: 0112H for a step that is not known; 0110H for one that is completed or discontinued already.
    """
    step = registry.steps.get(said.sop_instance_uid)
    if step is None:
        raise Refused(0x0112)
    if step.status != IN_PROGRESS:
        raise Refused(0x0110, [ENDED])
    plan = Plan(registry, policy, now)
    if said.status in {None, IN_PROGRESS}:
        if step.in_progress:
            _changed(plan, step)  # the same as before, and a sign of life
        return plan.records
    moment = max(step.started, now if said.ended is None else min(said.ended, now))
    after = replace(step, status=said.status or IN_PROGRESS, ended=step.ended or moment, reason=said.reason)
    for uid in step.studies:
        _leave(plan, uid, after, moment)
    _changed(plan, after)
    if after.reason == INCORRECT_WORKLIST_ENTRY:
        for uid in step.studies:
            _take_back(plan, uid, after)
            because = "incorrect worklist entry selected"
            plan.propose(_proposal(plan.view, uid, after, because=because, patient=PatientId("", "")))
    return plan.records


def end_step(registry: Registry, sop_instance_uid: str, policy: Policy, now: datetime) -> list[RegistryRecord]:
    """Plan that an operator ends a step whose modality will not: its studies were there until their last sign of life.

    The modality may still say how it ended. Of a step that has ended nothing is planned.
    """
    step = registry.steps.get(sop_instance_uid)
    if step is None:
        raise Conflict("the procedure step is not known")
    plan = Plan(registry, policy, now)
    if step.in_progress:
        after = replace(step, ended=now, reason=BY_OPERATOR)
        for uid in step.studies:
            _leave(plan, uid, after, now)
        _changed(plan, after)
    return plan.records


def _leave(plan: Plan, study_instance_uid: str, step: ProcedureStep, moment: datetime) -> None:
    """A step that has ended is over for one of its studies, which closes with its last step."""
    before = study = plan.view.study(study_instance_uid)
    if study is None:
        return
    left = moment
    closes = study.status == "open" and study.steps == (step.sop_instance_uid,)
    study = replace(study, steps=tuple(uid for uid in study.steps if uid != step.sop_instance_uid))
    if closes and study.stays and study.stays[-1].left is None:
        stay = study.stays[-1]
        if step.reason == BY_OPERATOR:
            left = moment_of(plan.view.life.last_perhaps(study_instance_uid, stay.location))
        left = min(max(left, stay.arrived), max(moment, stay.arrived))
        study = replace(study, stays=(*study.stays[:-1], stay._replace(left=left)))
    if step.reason == INCORRECT_WORKLIST_ENTRY:
        if not closes:
            study = _back_where_it_was(plan.view, study, step)
        stays = tuple(
            each._replace(left=each.arrived) if each.left and _never_there(plan.view, study, step, each) else each
            for each in study.stays
        )
        study = replace(study, stays=stays)
    if closes:
        plan.study("study.closed", changes.ended(study, "closed", max(moment, left, study.opened or moment)))
    elif study != before:
        plan.study("study.updated", study)


def _take_back(plan: Plan, study_instance_uid: str, step: ProcedureStep) -> None:
    """Undo the turnovers that rest on nothing but steps of the wrong worklist entry; what is due without them is done."""
    study = plan.view.study(study_instance_uid)
    place, ended = plan.view.place(step.location), step.ended or plan.now
    if study is None:
        return
    for stay in study.stays:
        if stay.location != place or stay.left is None or stay.left < step.started or stay.arrived > ended:
            continue
        in_earnest = stay.left > stay.arrived and (
            plan.policy.turnover_decides
            or plan.view.life.last_request(study_instance_uid, place) > microseconds(stay.arrived)
            or any(
                each.reason != INCORRECT_WORKLIST_ENTRY
                and turnover.began_there(plan.view, each.sop_instance_uid, stay, plan.policy)
                for each in plan.view.steps.of_study(study_instance_uid)
            )
        )
        if not in_earnest:
            for due in turnover.taken_back(plan.view, study, stay, plan.policy, plan.now):
                plan.study(*due)
    changes.turn_over_room(plan, place)


def _back_where_it_was(registry: Registry, study: Study, step: ProcedureStep) -> Study:
    """A study that goes on, out of the room to which steps of the wrong worklist entry alone brought it.

    It is back in the one before where a step of it goes on there; else nobody knows where it is.
    """
    if not study.stays or study.stays[-1].left is not None or not _never_there(registry, study, step, study.stays[-1]):
        return study
    *before, wrong = study.stays
    go_on = [registry.steps.get(uid) for uid in study.steps]
    rooms = {registry.place(each.location) for each in go_on if each is not None}
    room, following = "", wrong
    for each in reversed(before):
        if not _never_there(registry, study, step, each):
            room = each.location if each.left == following.arrived and each.location in rooms else ""
            break
        following = each
    here = (StudyStay(room, wrong.arrived),) if room else ()
    return replace(study, location=room, stays=(*before, wrong._replace(left=wrong.arrived), *here))


def _never_there(registry: Registry, study: Study, step: ProcedureStep, stay: StudyStay) -> bool:
    """Whether steps of the wrong worklist entry, as this one will be, alone brought about one of a study's stays."""
    steps = [
        step if each.sop_instance_uid == step.sop_instance_uid else each
        for each in registry.steps.of_study(study.study_instance_uid)
    ]
    wrong = [each for each in steps if each.reason == INCORRECT_WORKLIST_ENTRY]
    right = [each for each in steps if each.reason != INCORRECT_WORKLIST_ENTRY]
    brought = (
        registry.place(each.location) == stay.location
        and each.started <= stay.arrived
        and (each.ended is None or each.ended >= stay.arrived)
        for each in wrong
    )
    held = (
        registry.place(each.location) in {"", stay.location}
        and each.started <= (stay.left or each.started)
        and (each.ended is None or each.ended >= stay.arrived)
        for each in right
    )
    return any(brought) and not any(held)


def differing(registry: Registry, said: StepSaid) -> list[int]:
    """Tags of what an N-SET has beside what it may set, and what is not so: it was not modified (0107H, PS3.7 C.4.2)."""
    step = registry.steps.get(said.sop_instance_uid)
    if step is None:
        return []
    found = []
    studies = [study for uid in step.studies if (study := registry.study(uid)) is not None]
    patients = [registry.patient_number(study.patient) for study in studies]
    if said.patient_id and not all(registry.agrees(patient, said.patient_id, said.issuer) for patient in patients):
        found.append(0x00100020)
    if said.studies and set(said.studies) != set(step.studies):
        found.append(0x00400270)
    return found


# --- what is proposed ----------------------------------------------------------------------------------------------------


def propose_patient(registry: Registry, said: StepBegun, policy: Policy, now: datetime) -> list[RegistryRecord]:
    """Propose that what stands under another patient's studies of a refused step is the patient's whom it names; nothing where nothing does."""
    named = Plan(registry, policy, now).identifier(said.patient_id, said.issuer)
    return [
        _proposal(registry, study.study_instance_uid, said, because=PATIENT_CONTRADICTS.reason, patient=named)
        for one in said.studies
        if (study := registry.study(one.study_instance_uid)) is not None
        and registry.has_entries(study.study_instance_uid)
        and not registry.agrees(registry.patient_number(study.patient), *named)
    ]


def _proposal(
    registry: Registry, study_instance_uid: str, step: ProcedureStep | StepBegun, *, because: str, patient: PatientId
) -> RegistryRecord:
    """A proposed correction of all that stands under a study: kept, not published; once for each step, study and patient.

    It goes to the patient's only study; where nobody is named, whoever confirms says where it belongs.
    """
    study = registry.study(study_instance_uid)
    assert study is not None
    stands = Place(study_instance_uid, *study.patient_id)
    change = proposed(MOVE, Place("", *patient), because, origins=[stands], calling_ae=step.calling_ae)
    change["step"] = step.sop_instance_uid
    said = [step.sop_instance_uid, study_instance_uid, patient.as_json()]
    return RegistryRecord.proposal(change, study_instance_uid, proposal_id(said))
