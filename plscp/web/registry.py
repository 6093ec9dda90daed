"""Patients, admissions, studies, operators and procedure steps over HTTP: read from the registry, changed through the event store."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from plscp.logs import log
from plscp.matching import changes, staff, step_changes
from plscp.matching.bodies import (
    AdmissionBody,
    Body,
    MergeBody,
    OperatorBody,
    PatientBody,
    StudyBody,
    cautions,
    parse,
    unknown_location,
)
from plscp.matching.model import Operator
from plscp.matching.records import Admission, Patient, PatientId, Study
from plscp.matching.registry import Registry
from plscp.matching.steps import ProcedureStep
from plscp.store.port import LAST, RegistryRecord
from plscp.web.operations import ApiCall, Parameter, operation, paged
from plscp.web.problems import ApiProblem
from plscp.web.registry_answers import (
    AdmissionAnswer,
    AdmissionPage,
    OperatorAnswer,
    OperatorPage,
    PatientAnswer,
    PatientPage,
    StepAnswer,
    StepPage,
    StudyAnswer,
    StudyPage,
)

Json = dict[str, Any]
Found = TypeVar("Found")
Known = TypeVar("Known", bound=BaseModel)

STUDY: Final = "/api/v1/studies/{study_instance_uid}"
PATIENT: Final = "/api/v1/patients/{id:path}"
ADMISSION: Final = "/api/v1/admissions/{id:path}"
OPERATOR: Final = "/api/v1/operators/{scheme}/{value:path}"
ANYONE: Final = 'operators: the policy is not "list": anyone may add to the record'
STEP: Final = "/api/v1/steps/{sop_instance_uid}"
ISSUER: Final = Parameter("issuer", "issuer of the ID; needed where several patients or admissions have it")
STATUS: Final = Parameter(
    "status", "of one status", {"type": "string", "enum": ["scheduled", "open", "closed", "cancelled"]}
)
LOCATION: Final = Parameter("location", "last at this location, by any of its names")
AT: Final = Parameter(
    "at",
    "as it was when this was the store's last position; now where it is left out",
    {"type": "integer", "minimum": 1, "maximum": LAST},
    0,
)
PARTS: Final = paged(default=1000)
MAKING: Final[Json] = {"role": "feed", "statuses": (200, 201), "problems": (404, 409, 503)}
ENDING: Final[Json] = {"role": "feed", "problems": (400, 404, 409, 413, 415, 503)}


_LOOKING_BACK: Final = ThreadPoolExecutor(1, "plscp-as-of")
"""Registries of earlier positions are made one at a time, and who waits for one takes no thread that others need, readiness among them."""


def _look(call: ApiCall, look: Callable[[Registry], Found]) -> Found:
    """What the registry says."""
    with call.server.keeper.lock:
        return look(call.server.keeper.registry)


def _one(call: ApiCall, model: type[Known], look: Callable[[Registry], Any]) -> Known:
    """One patient, admission or study, or 404."""
    known = _look(call, look)
    if known is None:
        raise ApiProblem(404, "not known")
    return model.model_validate(known.as_json())


async def _one_then(call: ApiCall, model: type[Known], look: Callable[[Registry], Any]) -> Known:
    """The same, as it was at the position that the query names. Locations have the names of today."""
    if not call["at"]:
        return _one(call, model, look)
    last = call.server.store.head()[0]
    if call["at"] > last:
        raise ApiProblem(422, f"at: the store's last position is {last}")
    loop = asyncio.get_running_loop()
    known = look(await loop.run_in_executor(_LOOKING_BACK, call.server.keeper.as_of, call["at"]))
    if known is None:
        raise ApiProblem(404, "not known at that position")
    return model.model_validate(known.as_json())


def _part(call: ApiCall, found: Iterable[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """What a page needs of a list, and no more: there may be millions."""
    return list(islice(found, call["limit"] + 1))


async def _changed(
    call: ApiCall,
    model: type[Known],
    look: Callable[[Registry], Any],
    plan: Callable[..., Sequence[RegistryRecord]],
    *given: Any,
    said: type[Body] | None = None,
    may_make: bool = True,
) -> tuple[Known, int]:
    """Make the change and answer with what is known afterwards: 201 where it was not known before.

    Args:
        plan: of `plscp.matching.changes`, to be called with the registry, what is given, policy and time.
        said: of which kind the body is that is given: what is to be said about it stands in `warnings`.
    """
    server = call.server
    call.check_serving()
    if not may_make:
        _one(call, model, look)
    now = datetime.now(UTC)
    made = False

    def planned(registry: Registry) -> Sequence[RegistryRecord]:
        # The registry that the committed plan was made on says whether this request made it, or another at the same time.
        nonlocal made
        made = look(registry) is None
        return plan(registry, *given, server.settings.policy(), now)

    await server.keeper.change(planned, "http")
    known, warnings = _look(
        call, lambda found: (look(found), cautions(parse(said, given[0]), found) if said is not None else [])
    )
    for line in warnings:
        log.warning("registry-warning", why=line)
    return model.model_validate(known.as_json() | ({"warnings": warnings} if warnings else {})), 201 if made else 200


def _identifier(call: ApiCall) -> tuple[str, str]:
    """The ID that the path names, and its issuer or empty."""
    identifier = call["id"].strip(" ")
    if not identifier:
        raise ApiProblem(404, "the path names no ID")
    return identifier, call["issuer"].strip(" ")


async def _named(call: ApiCall, **named: str) -> Json:
    """The body with what the path names; a body may repeat it but not contradict it."""
    body = await call.body()
    for name, value in named.items():
        if name in body and (not isinstance(body[name], str) or body[name].strip(" ") != value):
            raise ApiProblem(422, f"{name}: differs from the one in the path")
    return body | named


async def _check_no_body(call: ApiCall) -> None:
    if await call.body(required=False):
        raise ApiProblem(422, "this takes no body: it is done now")


def _one_only(call: ApiCall, what: str, look: Callable[[Registry], Sequence[Any]]) -> None:
    _only(_look(call, look), what)


def _only(found: Sequence[Found], what: str) -> Sequence[Found]:
    """What an ID names: one or none, else 409."""
    if len(found) > 1:
        raise ApiProblem(409, f"{len(found)} {what} have this ID: name the issuer")
    return found


def named_patient(call: ApiCall, registry: Registry) -> Patient:
    """The one patient that the path names, else 404 or 409."""
    found = _only(registry.named_as_given(*_identifier(call)), "patients")
    if not found:
        raise ApiProblem(404, "not known")
    return found[0]


# --- studies ---------------------------------------------------------------------------------------------------------


@operation("GET", "/api/v1/studies", StudyPage, role="read", parameters=(STATUS, LOCATION, *PARTS))
async def list_studies(call: ApiCall) -> StudyPage:
    """Studies, of one status or last at one location."""

    def look(registry: Registry) -> tuple[list[tuple[int, Any]], str]:
        status, place = call["status"], registry.place(call["location"])
        found = (
            (number, study)
            for number, study in registry.studies_after(call["after"])
            if (not status or study.status == status) and (not place or study.location == place)
        )
        return _part(call, found), unknown_location(call["location"], registry)

    found, line = _look(call, look)
    page = call.page(StudyPage, "studies", found, Study.as_json)
    return page.model_copy(update={"warnings": [f"location: {line}"]}) if line else page


@operation("GET", STUDY, StudyAnswer, role="read", parameters=[AT], problems=[404])
async def get_study(call: ApiCall) -> StudyAnswer:
    """One study, now or as it was at a position."""
    return await _one_then(call, StudyAnswer, lambda registry: registry.study(call["study_instance_uid"].strip(" ")))


@operation("PUT", STUDY, StudyAnswer, body=StudyBody, **MAKING)
async def put_study(call: ApiCall) -> tuple[StudyAnswer, int]:
    """Make or change a study."""
    uid = call["study_instance_uid"].strip(" ")
    body = await _named(call, study_instance_uid=uid)
    return await _changed(
        call, StudyAnswer, lambda registry: registry.study(uid), changes.put_study, body, said=StudyBody
    )


@operation("POST", STUDY + "/close", StudyAnswer, **ENDING)
async def close_study(call: ApiCall) -> tuple[StudyAnswer, int]:
    """Close a study; it takes events for the grace."""
    return await _end_study(call, changes.close_study)


@operation("POST", STUDY + "/cancel", StudyAnswer, **ENDING)
async def cancel_study(call: ApiCall) -> tuple[StudyAnswer, int]:
    """Cancel a study that has no step in progress."""
    return await _end_study(call, changes.cancel_study)


async def _end_study(call: ApiCall, end: Callable[..., Sequence[RegistryRecord]]) -> tuple[StudyAnswer, int]:
    uid = call["study_instance_uid"].strip(" ")
    await _check_no_body(call)
    return await _changed(call, StudyAnswer, lambda registry: registry.study(uid), end, uid, may_make=False)


# --- patients --------------------------------------------------------------------------------------------------------


@operation("GET", "/api/v1/patients", PatientPage, role="read", parameters=PARTS)
async def list_patients(call: ApiCall) -> PatientPage:
    """Patients that are known."""
    known = _look(
        call, lambda registry: _part(call, ((each.number, each) for each in registry.patients_after(call["after"])))
    )
    return call.page(PatientPage, "patients", known, Patient.as_json)


@operation("POST", PATIENT + "/merge", PatientAnswer, parameters=[ISSUER], body=MergeBody, **MAKING)
async def merge_patient(call: ApiCall) -> tuple[PatientAnswer, int]:
    """Merge another patient into this one: the body's prior ID names this patient from now on."""
    patient_id, issuer = _identifier(call)
    body = await call.body()
    _one_only(call, "patients", lambda registry: registry.named_as_given(patient_id, issuer))
    survivor = PatientId(patient_id, issuer)
    return await _changed(
        call, PatientAnswer, lambda registry: registry.patient(*survivor), changes.merge_patient, survivor, body
    )


@operation("GET", PATIENT, PatientAnswer, role="read", parameters=[ISSUER, AT], problems=[404, 409])
async def get_patient(call: ApiCall) -> PatientAnswer:
    """The one patient that an ID names, now or at a position."""
    given = _identifier(call)
    return await _one_then(
        call,
        PatientAnswer,
        lambda registry: next(iter(_only(registry.named_as_given(*given), "patients")), None),
    )


@operation("PUT", PATIENT, PatientAnswer, parameters=[ISSUER], body=PatientBody, **MAKING)
async def put_patient(call: ApiCall) -> tuple[PatientAnswer, int]:
    """Make or change a patient."""
    patient_id, issuer = _identifier(call)
    body = await _named(call, id=patient_id, **({"issuer": issuer} if issuer else {}))

    def look(registry: Registry) -> Any:
        named = body.get("issuer") or call.server.settings.matching.patient_id_issuer
        return registry.patient(patient_id, str(named))

    return await _changed(call, PatientAnswer, look, changes.put_patient, body, said=PatientBody)


# --- admissions ------------------------------------------------------------------------------------------------------


@operation("GET", "/api/v1/admissions", AdmissionPage, role="read", parameters=PARTS)
async def list_admissions(call: ApiCall) -> AdmissionPage:
    """Admissions that are known."""
    known = _look(call, lambda registry: _part(call, registry.admissions_after(call["after"])))
    return call.page(AdmissionPage, "admissions", known, Admission.as_json)


@operation("GET", ADMISSION, AdmissionAnswer, role="read", parameters=[ISSUER, AT], problems=[404, 409])
async def get_admission(call: ApiCall) -> AdmissionAnswer:
    """The one admission that an ID names, now or at a position."""
    given = _identifier(call)
    return await _one_then(
        call,
        AdmissionAnswer,
        lambda registry: next(iter(_only(registry.admissions_named(*given), "admissions")), None),
    )


@operation("PUT", ADMISSION, AdmissionAnswer, parameters=[ISSUER], body=AdmissionBody, **MAKING)
async def put_admission(call: ApiCall) -> tuple[AdmissionAnswer, int]:
    """Make or change an admission."""
    admission_id, issuer = _identifier(call)
    body = await _named(call, id=admission_id, **({"issuer": issuer} if issuer else {}))
    named = str(body.get("issuer") or "")
    return await _changed(
        call,
        AdmissionAnswer,
        lambda registry: registry.admission(admission_id, named),
        changes.put_admission,
        body,
        said=AdmissionBody,
    )


# --- operators -------------------------------------------------------------------------------------------------------


@operation("GET", "/api/v1/operators", OperatorPage, role="read", parameters=PARTS)
async def list_operators(call: ApiCall) -> OperatorPage:
    """Who may add to the Medication Administration Record, and who was taken out."""
    listed = call.server.settings.allowed_operators()

    def look(registry: Registry) -> list[Operator]:
        known = registry.operators.all()
        named = {(each.value, each.scheme) for each in known}
        return [*(each for each in listed or () if (each.value, each.scheme) not in named), *known]

    found = list(enumerate(_look(call, look), 1))[call["after"] :]
    policy = "any" if listed is None else "list"
    return call.page(OperatorPage, "operators", found, Operator.as_json, policy=policy)


@operation("PUT", OPERATOR, OperatorAnswer, body=OperatorBody, **MAKING)
async def put_operator(call: ApiCall) -> tuple[OperatorAnswer, int]:
    """Say where and when an operator may add to the record; who was taken out is taken in again with status active."""
    value, scheme = _code(call)
    body = await _named(call, value=value, scheme=scheme)
    return await _operator_changed(call, staff.put_operator, body, said=OperatorBody)


@operation("DELETE", OPERATOR, OperatorAnswer, role="feed", problems=[404, 503])
async def delete_operator(call: ApiCall) -> tuple[OperatorAnswer, int]:
    """Take an operator out: every decision from now on refuses that code, also where the settings list it."""
    code = _code(call)
    listed = any((each.value, each.scheme) == code for each in call.server.settings.allowed_operators() or ())
    if not listed and _look(call, lambda registry: registry.operators.known(*code)) is None:
        raise ApiProblem(404, "not known")
    answer, _ = await _operator_changed(call, staff.delete_operator, code)
    return answer, 200


def _code(call: ApiCall) -> tuple[str, str]:
    """Code Value and Coding Scheme Designator that the path names."""
    value, scheme = call["value"].strip(" "), call["scheme"].strip(" ")
    if not value or not scheme:
        raise ApiProblem(404, "the path names no code")
    return value, scheme


async def _operator_changed(
    call: ApiCall, plan: Callable[..., Sequence[RegistryRecord]], *given: Any, said: type[Body] | None = None
) -> tuple[OperatorAnswer, int]:
    code = _code(call)
    answer, status = await _changed(
        call, OperatorAnswer, lambda registry: registry.operators.known(*code), plan, *given, said=said
    )
    if call.server.settings.allowed_operators() is None:
        answer = answer.model_copy(update={"warnings": [*answer.warnings, ANYONE]})
    return answer, status


# --- procedure steps -------------------------------------------------------------------------------------------------


@operation(
    "GET",
    "/api/v1/steps",
    StepPage,
    role="read",
    parameters=(
        Parameter("status", "in-progress: those that hold a study open", {"type": "string", "enum": ["in-progress"]}),
        *PARTS,
    ),
)
async def list_steps(call: ApiCall) -> StepPage:
    """Procedure steps that modalities reported."""
    known = _look(call, lambda registry: registry.steps.all())
    found = [
        (number, step)
        for number, step in enumerate(known[call["after"] :], call["after"] + 1)
        if step.in_progress or not call["status"]
    ]
    return call.page(StepPage, "steps", found, ProcedureStep.as_json)


@operation("GET", STEP, StepAnswer, role="read", problems=[404])
async def get_step(call: ApiCall) -> StepAnswer:
    """One procedure step, by its SOP Instance UID."""
    return _one(call, StepAnswer, lambda registry: registry.steps.get(call["sop_instance_uid"].strip(" ")))


@operation("POST", STEP + "/end", StepAnswer, **ENDING)
async def end_step(call: ApiCall) -> tuple[StepAnswer, int]:
    """End a step whose modality does not: a study closes with its last step."""
    uid = call["sop_instance_uid"].strip(" ")
    await _check_no_body(call)
    answer = await _changed(
        call, StepAnswer, lambda registry: registry.steps.get(uid), step_changes.end_step, uid, may_make=False
    )
    log.info("procedure-step", said="ended by an operator", step=uid)
    return answer
