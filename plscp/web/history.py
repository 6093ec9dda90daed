"""How the registry came to be what it is, over HTTP: the history of a study or patient, and the room board."""

import asyncio

from plscp.service import history
from plscp.web.operations import ApiCall, operation
from plscp.web.problems import ApiProblem
from plscp.web.registry import ISSUER, PATIENT, STUDY, named_patient
from plscp.web.registry_answers import PatientHistory, RoomBoard, StudyHistory


@operation("GET", STUDY + "/history", StudyHistory, role="read", problems=[404])
async def study_history(call: ApiCall) -> StudyHistory:
    """A study's stays and openings, and every change of it, with the positions, sources and messages of the changes."""
    keeper, store = call.server.keeper, call.server.store
    with keeper.lock:
        study = keeper.registry.study(call["study_instance_uid"].strip(" "))
    if study is None:
        raise ApiProblem(404, "not known")
    return StudyHistory.model_validate(await asyncio.to_thread(history.of_study, store, study))


@operation("GET", PATIENT + "/history", PatientHistory, role="read", parameters=[ISSUER], problems=[404, 409])
async def patient_history(call: ApiCall) -> PatientHistory:
    """The identifiers of a patient, each since when and by what, and every change: of those merged into it as well."""
    keeper, store = call.server.keeper, call.server.store
    with keeper.lock:
        patient = named_patient(call, keeper.registry)
        keys, spans = keeper.registry.keys_of(patient), [*keeper.registry.spans_of(patient)]
    return PatientHistory.model_validate(await asyncio.to_thread(history.of_patient, store, patient, keys, spans))


@operation("GET", "/api/v1/rooms", RoomBoard, role="read")
async def rooms(call: ApiCall) -> RoomBoard:
    """Each location of `[locations]`, and each other where a study is: who is there, since when, by what, and who left last."""
    found = await asyncio.to_thread(history.of_rooms, call.server.store, call.server.keeper)
    return RoomBoard.model_validate({"rooms": found})
