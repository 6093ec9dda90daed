"""Patients, admissions and studies over HTTP: read from the registry, changed through the event store."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from plscp.logs import log
from plscp.matching import changes
from plscp.matching.bodies import AdmissionBody, Body, MergeBody, PatientBody, StudyBody, parse
from plscp.matching.cautions import cautions, unknown_location
from plscp.matching.model import Policy
from plscp.matching.records import PatientId
from plscp.matching.registry import Registry
from plscp.store.port import RegistryRecord
from plscp.web.operations import Operation, Parameter
from plscp.web.problems import Problem
from plscp.web.reading import json_body, known_only, one_of
from plscp.web.server import Server

Json = dict[str, Any]
Planner = Callable[[Registry, Policy, datetime], Sequence[RegistryRecord]]

STUDY_STATUS: Final = ("scheduled", "open", "closed", "cancelled")
_PRIVATE: Final = {"Cache-Control": "no-store"}
_ISSUER: Final = Parameter("issuer", "issuer of the ID; needed where several patients or admissions have it")


class RegistryPages:
    """Handlers of /api/v1/studies, /patients, /admissions."""

    def __init__(self, server: Server) -> None:
        self._server = server

    # --- the two ways: reading and changing --------------------------------------------------------------------------

    def _known(self, look: Callable[[Registry], Any]) -> Json | None:
        with self._server.keeper.lock:
            found = look(self._server.keeper.registry)
            return None if found is None else dict(found.as_json())

    def _all(self, look: Callable[[Registry], Sequence[Any]]) -> list[Json]:
        with self._server.keeper.lock:
            return [each.as_json() for each in look(self._server.keeper.registry)]

    async def _body(self, request: Request, *, required: bool = True) -> Json:
        return await json_body(request, self._server.settings.http.max_body, required=required)

    async def _change(
        self,
        planner: Planner,
        look: Callable[[Registry], Any],
        *,
        may_make: bool = False,
        said: Callable[[], Body] | None = None,
    ) -> Response:
        """Make the change and answer with what is known afterwards: 201 where it was not known before.

        Args:
            said: reads the body once more, for what is to be said beside the answer (`warnings`).
        """
        if self._server.draining:
            raise Problem(503, "draining: the server was told to stop", {"Retry-After": "10"})
        if not may_make and self._known(look) is None:
            raise Problem(404, "not known")
        now = datetime.now(UTC)
        made = False

        def plan(registry: Registry) -> Sequence[RegistryRecord]:
            # The registry that the committed plan was made on says whether this request made it, or another at the same time.
            nonlocal made
            made = look(registry) is None
            return planner(registry, self._server.settings.policy(), now)

        await self._server.keeper.change(plan, "http")
        with self._server.keeper.lock:
            registry = self._server.keeper.registry
            known = look(registry)
            answer: Json = {} if known is None else dict(known.as_json())
            warnings = cautions(said(), registry) if said is not None else []
        for line in warnings:
            log.warning("registry-warning", why=line)
        if warnings:
            answer["warnings"] = warnings
        return JSONResponse(answer, 201 if made else 200, headers=_PRIVATE)

    # --- studies -----------------------------------------------------------------------------------------------------

    async def list_studies(self, request: Request) -> Response:
        """Studies, of one status or at one location."""
        known_only(request, "status", "location")
        status, location = one_of(request, "status", STUDY_STATUS), request.query_params.get("location", "")
        found = self._all(lambda registry: registry.studies(status=status, location=location))
        with self._server.keeper.lock:
            line = unknown_location(location, self._server.keeper.registry)
        return JSONResponse(
            {"studies": found} | ({"warnings": [f"location: {line}"]} if line else {}), headers=_PRIVATE
        )

    async def get_study(self, request: Request) -> Response:
        """One study."""
        known_only(request)
        return _found(
            self._known(lambda registry: registry.study(request.path_params["study_instance_uid"].strip(" ")))
        )

    async def put_study(self, request: Request) -> Response:
        """Make or change a study."""
        known_only(request)
        uid = request.path_params["study_instance_uid"].strip(" ")
        body = _named(await self._body(request), study_instance_uid=uid)
        return await self._change(
            lambda registry, policy, now: changes.put_study(registry, body, policy, now),
            lambda registry: registry.study(uid),
            may_make=True,
            said=lambda: parse(StudyBody, body),
        )

    async def close_study(self, request: Request) -> Response:
        """Close a study; it takes events for the grace."""
        return await self._end_study(request, changes.close_study)

    async def cancel_study(self, request: Request) -> Response:
        """Cancel a study that has no step in progress."""
        return await self._end_study(request, changes.cancel_study)

    async def _end_study(self, request: Request, end: Callable[..., Sequence[RegistryRecord]]) -> Response:
        known_only(request)
        uid = request.path_params["study_instance_uid"].strip(" ")
        body = await self._body(request, required=False)
        if body:
            raise Problem(422, "this takes no body: it is done now")
        return await self._change(
            lambda registry, policy, now: end(registry, uid, policy, now), lambda registry: registry.study(uid)
        )

    # --- patients ----------------------------------------------------------------------------------------------------

    async def list_patients(self, request: Request) -> Response:
        """Every patient that is known."""
        known_only(request)
        return JSONResponse({"patients": self._all(lambda registry: registry.patients())}, headers=_PRIVATE)

    async def get_patient(self, request: Request) -> Response:
        """The one patient that an ID names now."""
        patient_id, issuer = self._identifier(request)
        self._one_only("patients", lambda registry: registry.named_as_given(patient_id, issuer))
        return _found(self._known(lambda registry: registry.patient(patient_id, issuer)))

    async def put_patient(self, request: Request) -> Response:
        """Make or change a patient."""
        patient_id, issuer = self._identifier(request)
        body = _named(await self._body(request), id=patient_id, **({"issuer": issuer} if issuer else {}))

        def look(registry: Registry) -> Any:
            named = body.get("issuer") or self._server.settings.matching.patient_id_issuer
            return registry.patient(patient_id, str(named))

        return await self._change(
            lambda registry, policy, now: changes.put_patient(registry, body, policy, now),
            look,
            may_make=True,
            said=lambda: parse(PatientBody, body),
        )

    async def merge_patient(self, request: Request) -> Response:
        """Merge another patient into this one: the body's prior ID names this patient from now on."""
        patient_id, issuer = self._identifier(request)
        body = await self._body(request)
        self._one_only("patients", lambda registry: registry.named_as_given(patient_id, issuer))
        return await self._change(
            lambda registry, policy, now: changes.merge_patient(
                registry, PatientId(patient_id, issuer), body, policy, now
            ),
            lambda registry: registry.patient(patient_id, issuer),
            may_make=True,
        )

    # --- admissions --------------------------------------------------------------------------------------------------

    async def list_admissions(self, request: Request) -> Response:
        """Every admission that is known."""
        known_only(request)
        return JSONResponse({"admissions": self._all(lambda registry: registry.admissions())}, headers=_PRIVATE)

    async def get_admission(self, request: Request) -> Response:
        """The one admission that an ID names."""
        admission_id, issuer = self._identifier(request)
        self._one_only("admissions", lambda registry: registry.admissions_named(admission_id, issuer))
        return _found(self._known(lambda registry: registry.admission(admission_id, issuer)))

    async def put_admission(self, request: Request) -> Response:
        """Make or change an admission."""
        admission_id, issuer = self._identifier(request)
        body = _named(await self._body(request), id=admission_id, **({"issuer": issuer} if issuer else {}))
        issuer = str(body.get("issuer") or "")
        return await self._change(
            lambda registry, policy, now: changes.put_admission(registry, body, policy, now),
            lambda registry: registry.admission(admission_id, issuer),
            may_make=True,
            said=lambda: parse(AdmissionBody, body),
        )

    def _identifier(self, request: Request) -> tuple[str, str]:
        known_only(request, "issuer")
        identifier = request.path_params["id"].strip(" ")
        if not identifier:
            raise Problem(404, "the path names no ID")
        return identifier, request.query_params.get("issuer", "").strip(" ")

    def _one_only(self, what: str, look: Callable[[Registry], Sequence[Any]]) -> None:
        with self._server.keeper.lock:
            count = len(look(self._server.keeper.registry))
        if count > 1:
            raise Problem(409, f"{count} {what} have this ID: name the issuer")

    # --- the rows of the API -----------------------------------------------------------------------------------------

    def operations(self) -> list[Operation]:
        """The rows of the API."""
        study, patient, admission = (
            "/api/v1/studies/{study_instance_uid}",
            "/api/v1/patients/{id:path}",
            "/api/v1/admissions/{id:path}",
        )
        made = {200: "as it is known now", 201: "made"}
        changed = {200: "as it is known now"}
        failures = [404, 409, 422, 503]
        which = [
            Parameter("status", "of one status", {"enum": list(STUDY_STATUS)}),
            Parameter("location", "last at this location, by any of its names"),
        ]
        return [
            Operation("GET", "/api/v1/studies", self.list_studies, "Studies", which, role="read", answers={200: "studies"}, problems=[422]),
            Operation("GET", study, self.get_study, "One study", role="read", answers={200: "the study"}, problems=[404]),
            Operation("PUT", study, self.put_study, "Make or change a study", body=StudyBody, role="feed", answers=made, problems=[409, 422, 503]),
            Operation("POST", study + "/close", self.close_study, "Close a study", role="feed", answers=changed, problems=failures),
            Operation("POST", study + "/cancel", self.cancel_study, "Cancel a study", role="feed", answers=changed, problems=failures),
            Operation("GET", "/api/v1/patients", self.list_patients, "Patients", role="read", answers={200: "patients"}),
            Operation("POST", patient + "/merge", self.merge_patient, "Merge another patient into this one", [_ISSUER], MergeBody, role="feed", answers=made, problems=failures),
            Operation("GET", patient, self.get_patient, "One patient", [_ISSUER], role="read", answers={200: "the patient"}, problems=[404, 409]),
            Operation("PUT", patient, self.put_patient, "Make or change a patient", [_ISSUER], PatientBody, role="feed", answers=made, problems=[409, 422, 503]),
            Operation("GET", "/api/v1/admissions", self.list_admissions, "Admissions", role="read", answers={200: "admissions"}),
            Operation("GET", admission, self.get_admission, "One admission", [_ISSUER], role="read", answers={200: "the admission"}, problems=[404, 409]),
            Operation("PUT", admission, self.put_admission, "Make or change an admission", [_ISSUER], AdmissionBody, role="feed", answers=made, problems=[409, 422, 503]),
        ]  # fmt: skip


def _found(known: Json | None) -> Response:
    if known is None:
        raise Problem(404, "not known")
    return JSONResponse(known, headers=_PRIVATE)


def _named(body: Mapping[str, Any], **named: str) -> Json:
    """The body with what the path names; a body may repeat it but not contradict it."""
    for name, value in named.items():
        if name in body and (not isinstance(body[name], str) or body[name].strip(" ") != value):
            raise Problem(422, f"{name}: differs from the one in the path")
    return dict(body) | named
