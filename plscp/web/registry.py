"""The registry over HTTP: patients, admissions, studies, operators and procedure steps, their history, and the room board."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from plscp.logs import log
from plscp.matching import changes, step_changes
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
from plscp.matching.records import PatientId
from plscp.matching.registry import Registry
from plscp.service import history
from plscp.store.port import LAST, RegistryRecord
from plscp.web.operations import ApiCall, Page, Parameter, operation, paged
from plscp.web.problems import ApiProblem
from plscp.web.registry_answers import (
    AdmissionAnswer,
    AdmissionPage,
    OperatorAnswer,
    OperatorPage,
    PatientAnswer,
    PatientHistory,
    PatientPage,
    RoomBoard,
    StepAnswer,
    StepPage,
    StudyAnswer,
    StudyHistory,
    StudyPage,
)

Json = dict[str, Any]
Found = TypeVar("Found")
Known = TypeVar("Known", bound=BaseModel)
Plan = Callable[..., Sequence[RegistryRecord]]
"""Of `plscp.matching.changes`: called with the registry, what is given, policy and time."""

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
    with call.server.keeper.lock:
        return look(call.server.keeper.registry)


def _known(found: Found | None) -> Found:
    if found is None:
        raise ApiProblem(404, "not known")
    return found


async def _one(call: ApiCall, model: type[Known], look: Callable[[Registry], Any]) -> Known:
    """One that is known now, or was at the position that the query names. Locations have the names of today."""
    at = call.given.get("at", 0)
    if not at:
        return model.model_validate(_known(_look(call, look)).as_json())
    last = call.server.store.head()[0]
    if at > last:
        raise ApiProblem(422, f"at: the store's last position is {last}")
    loop = asyncio.get_running_loop()
    found = look(await loop.run_in_executor(_LOOKING_BACK, call.server.keeper.as_of, at))
    if found is None:
        raise ApiProblem(404, "not known at that position")
    return model.model_validate(found.as_json())


def _listed(
    call: ApiCall, model: type[Page], member: str, look: Callable[[Registry], Iterable[tuple[int, Any]]], **more: Any
) -> Page:
    """A part of a list of what is known, and no more of it: there may be millions."""
    found = _look(call, lambda registry: list(islice(look(registry), call["limit"] + 1)))
    return call.page(model, member, found, lambda one: one.as_json(), **more)


async def _changed(
    call: ApiCall,
    model: type[Known],
    look: Callable[[Registry], Any],
    plan: Plan,
    *given: Any,
    said: type[Body] | None = None,
) -> tuple[Known, int]:
    """Make the change and answer with what is known afterwards: 201 where it was not known before.

    Args:
        said: of which kind the body is that is given: what is to be said about it stands in `warnings`.
    """
    server = call.server
    call.check_serving()
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


async def _ended(
    call: ApiCall, model: type[Known], look: Callable[[Registry], Any], plan: Plan, uid: str
) -> tuple[Known, int]:
    if await call.body(required=False):
        raise ApiProblem(422, "this takes no body: it is done now")
    call.check_serving()
    _known(_look(call, look))
    return await _changed(call, model, look, plan, uid)


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


def _only(found: Sequence[Found], what: str) -> Found | None:
    """The one that an ID names, if any; several: 409."""
    if len(found) > 1:
        raise ApiProblem(409, f"{len(found)} {what} have this ID: name the issuer")
    return found[0] if found else None


# --- history ---------------------------------------------------------------------------------------------------------


@operation("GET", STUDY + "/history", StudyHistory, role="read", problems=[404])
async def study_history(call: ApiCall) -> StudyHistory:
    """A study's stays and openings, and every change of it, with the positions, sources and messages of the changes."""
    study = _known(_look(call, lambda registry: registry.study(call["study_instance_uid"].strip(" "))))
    return StudyHistory.model_validate(await asyncio.to_thread(history.of_study, call.server.store, study))


@operation("GET", PATIENT + "/history", PatientHistory, role="read", parameters=[ISSUER], problems=[404, 409])
async def patient_history(call: ApiCall) -> PatientHistory:
    """The identifiers of a patient, each since when and by what, and every change: of those merged into it as well."""
    keeper, store = call.server.keeper, call.server.store
    with keeper.lock:
        patient = _known(_only(keeper.registry.named_as_given(*_identifier(call)), "patients"))
        keys, spans = keeper.registry.keys_of(patient), [*keeper.registry.spans_of(patient)]
    return PatientHistory.model_validate(await asyncio.to_thread(history.of_patient, store, patient, keys, spans))


@operation("GET", "/api/v1/rooms", RoomBoard, role="read")
async def rooms(call: ApiCall) -> RoomBoard:
    """Each location of `[locations]`, and each other where a study is: who is there, since when, by what, and who left last."""
    found = await asyncio.to_thread(history.of_rooms, call.server.store, call.server.keeper)
    return RoomBoard.model_validate({"rooms": found})


# --- studies ---------------------------------------------------------------------------------------------------------


@operation("GET", "/api/v1/studies", StudyPage, role="read", parameters=(STATUS, LOCATION, *PARTS))
async def list_studies(call: ApiCall) -> StudyPage:
    """Studies, of one status or last at one location."""

    def look(registry: Registry) -> Iterable[tuple[int, Any]]:
        status, place = call["status"], registry.place(call["location"])
        for number, study in registry.studies_after(call["after"]):
            if (not status or study.status == status) and (not place or study.location == place):
                yield number, study

    line = _look(call, lambda registry: unknown_location(call["location"], registry))
    return _listed(call, StudyPage, "studies", look, **({"warnings": [f"location: {line}"]} if line else {}))


@operation("GET", STUDY, StudyAnswer, role="read", parameters=[AT], problems=[404])
async def get_study(call: ApiCall) -> StudyAnswer:
    """One study, now or as it was at a position."""
    return await _one(call, StudyAnswer, lambda registry: registry.study(call["study_instance_uid"].strip(" ")))


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
    uid = call["study_instance_uid"].strip(" ")
    return await _ended(call, StudyAnswer, lambda registry: registry.study(uid), changes.close_study, uid)


@operation("POST", STUDY + "/cancel", StudyAnswer, **ENDING)
async def cancel_study(call: ApiCall) -> tuple[StudyAnswer, int]:
    """Cancel a study that has no step in progress."""
    uid = call["study_instance_uid"].strip(" ")
    return await _ended(call, StudyAnswer, lambda registry: registry.study(uid), changes.cancel_study, uid)


# --- patients --------------------------------------------------------------------------------------------------------


@operation("GET", "/api/v1/patients", PatientPage, role="read", parameters=PARTS)
async def list_patients(call: ApiCall) -> PatientPage:
    """Patients that are known."""

    def look(registry: Registry) -> Iterable[tuple[int, Any]]:
        return ((each.number, each) for each in registry.patients_after(call["after"]))

    return _listed(call, PatientPage, "patients", look)


@operation("POST", PATIENT + "/merge", PatientAnswer, parameters=[ISSUER], body=MergeBody, **MAKING)
async def merge_patient(call: ApiCall) -> tuple[PatientAnswer, int]:
    """Merge another patient into this one: the body's prior ID names this patient from now on."""
    survivor = PatientId(*_identifier(call))
    body = await call.body()
    _look(call, lambda registry: _only(registry.named_as_given(*survivor), "patients"))
    return await _changed(
        call, PatientAnswer, lambda registry: registry.patient(*survivor), changes.merge_patient, survivor, body
    )


@operation("GET", PATIENT, PatientAnswer, role="read", parameters=[ISSUER, AT], problems=[404, 409])
async def get_patient(call: ApiCall) -> PatientAnswer:
    """The one patient that an ID names, now or at a position."""
    given = _identifier(call)
    return await _one(call, PatientAnswer, lambda registry: _only(registry.named_as_given(*given), "patients"))


@operation("PUT", PATIENT, PatientAnswer, parameters=[ISSUER], body=PatientBody, **MAKING)
async def put_patient(call: ApiCall) -> tuple[PatientAnswer, int]:
    """Make or change a patient."""
    patient_id, issuer = _identifier(call)
    body = await _named(call, id=patient_id, **({"issuer": issuer} if issuer else {}))
    named = str(body.get("issuer") or call.server.settings.matching.patient_id_issuer)
    return await _changed(
        call,
        PatientAnswer,
        lambda registry: registry.patient(patient_id, named),
        changes.put_patient,
        body,
        said=PatientBody,
    )


# --- admissions ------------------------------------------------------------------------------------------------------


@operation("GET", "/api/v1/admissions", AdmissionPage, role="read", parameters=PARTS)
async def list_admissions(call: ApiCall) -> AdmissionPage:
    """Admissions that are known."""
    return _listed(call, AdmissionPage, "admissions", lambda registry: registry.admissions_after(call["after"]))


@operation("GET", ADMISSION, AdmissionAnswer, role="read", parameters=[ISSUER, AT], problems=[404, 409])
async def get_admission(call: ApiCall) -> AdmissionAnswer:
    """The one admission that an ID names, now or at a position."""
    given = _identifier(call)
    return await _one(call, AdmissionAnswer, lambda registry: _only(registry.admissions_named(*given), "admissions"))


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

    def look(registry: Registry) -> Iterable[tuple[int, Operator]]:
        known = registry.operators.all()
        named = {(each.value, each.scheme) for each in known}
        found = [*(each for each in listed or () if (each.value, each.scheme) not in named), *known]
        return enumerate(found[call["after"] :], call["after"] + 1)

    return _listed(call, OperatorPage, "operators", look, policy="any" if listed is None else "list")


@operation("PUT", OPERATOR, OperatorAnswer, body=OperatorBody, **MAKING)
async def put_operator(call: ApiCall) -> tuple[OperatorAnswer, int]:
    """Say where and when an operator may add to the record; who was taken out is taken in again with status active."""
    value, scheme = _code(call)
    body = await _named(call, value=value, scheme=scheme)
    return await _operator_changed(call, changes.put_operator, body, said=OperatorBody)


@operation("DELETE", OPERATOR, OperatorAnswer, role="feed", problems=[404, 503])
async def delete_operator(call: ApiCall) -> tuple[OperatorAnswer, int]:
    """Take an operator out: every decision from now on refuses that code, also where the settings list it."""
    code = _code(call)
    listed = any((each.value, each.scheme) == code for each in call.server.settings.allowed_operators() or ())
    if not listed:
        _known(_look(call, lambda registry: registry.operators.known(*code)))
    answer, _ = await _operator_changed(call, changes.delete_operator, code)
    return answer, 200


def _code(call: ApiCall) -> tuple[str, str]:
    """Code Value and Coding Scheme Designator that the path names."""
    value, scheme = call["value"].strip(" "), call["scheme"].strip(" ")
    if not value or not scheme:
        raise ApiProblem(404, "the path names no code")
    return value, scheme


async def _operator_changed(
    call: ApiCall, plan: Plan, *given: Any, said: type[Body] | None = None
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

    def look(registry: Registry) -> Iterable[tuple[int, Any]]:
        for number, step in enumerate(registry.steps.all()[call["after"] :], call["after"] + 1):
            if step.in_progress or not call["status"]:
                yield number, step

    return _listed(call, StepPage, "steps", look)


@operation("GET", STEP, StepAnswer, role="read", problems=[404])
async def get_step(call: ApiCall) -> StepAnswer:
    """One procedure step, by its SOP Instance UID."""
    return await _one(call, StepAnswer, lambda registry: registry.steps.get(call["sop_instance_uid"].strip(" ")))


@operation("POST", STEP + "/end", StepAnswer, **ENDING)
async def end_step(call: ApiCall) -> tuple[StepAnswer, int]:
    """End a step whose modality does not: a study closes with its last step."""
    uid = call["sop_instance_uid"].strip(" ")
    answer = await _ended(call, StepAnswer, lambda registry: registry.steps.get(uid), step_changes.end_step, uid)
    log.info("procedure-step", said="ended by an operator", step=uid)
    return answer
