"""Patients, admissions and studies over HTTP: read from the registry, changed through the event store."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from starlette.responses import Response

from plscp.logs import log
from plscp.matching import changes
from plscp.matching.bodies import (
    AdmissionBody,
    Body,
    MergeBody,
    PatientBody,
    StudyBody,
    cautions,
    parse,
    unknown_location,
)
from plscp.matching.model import Policy
from plscp.matching.records import PatientId
from plscp.matching.registry import Registry
from plscp.store.port import RegistryRecord
from plscp.web.operations import Call, Operation, Parameter
from plscp.web.problems import Problem, private
from plscp.web.server import Server

Json = dict[str, Any]
Found = TypeVar("Found")
Planner = Callable[[Registry, Policy, datetime], Sequence[RegistryRecord]]

STUDY_STATUS: Final = ("scheduled", "open", "closed", "cancelled")
_ISSUER: Final = Parameter("issuer", "issuer of the ID; needed where several patients or admissions have it")


class RegistryPages:
    """Handlers of /api/v1/studies, /patients, /admissions."""

    def __init__(self, server: Server) -> None:
        self._server = server

    # --- the two ways: reading and changing --------------------------------------------------------------------------

    def _look(self, look: Callable[[Registry], Found]) -> Found:
        """What the registry says."""
        with self._server.keeper.lock:
            return look(self._server.keeper.registry)

    def _one(self, look: Callable[[Registry], Any]) -> Response:
        """One patient, admission or study, or 404."""
        known = self._look(lambda registry: _as_json(look(registry)))
        if known is None:
            raise Problem(404, "not known")
        return private(known)

    def _all(self, look: Callable[[Registry], Sequence[Any]]) -> list[Json]:
        return self._look(lambda registry: [each.as_json() for each in look(registry)])

    async def _body(self, call: Call, *, required: bool = True) -> Json:
        return await call.body(self._server.settings.http.max_body, required=required)

    async def _change(
        self,
        planner: Planner,
        look: Callable[[Registry], Any],
        *,
        may_make: bool = True,
        said: Callable[[], Body] | None = None,
    ) -> Response:
        """Make the change and answer with what is known afterwards: 201 where it was not known before.

        Args:
            said: reads the body once more, for what is to be said beside the answer (`warnings`).
        """
        if self._server.draining:
            raise Problem(503, "draining: the server was told to stop", {"Retry-After": "10"})
        if not may_make and self._look(look) is None:
            raise Problem(404, "not known")
        now = datetime.now(UTC)
        made = False

        def plan(registry: Registry) -> Sequence[RegistryRecord]:
            # The registry that the committed plan was made on says whether this request made it, or another at the same time.
            nonlocal made
            made = look(registry) is None
            return planner(registry, self._server.settings.policy(), now)

        await self._server.keeper.change(plan, "http")
        known, warnings = self._look(
            lambda registry: (_as_json(look(registry)) or {}, cautions(said(), registry) if said is not None else [])
        )
        for line in warnings:
            log.warning("registry-warning", why=line)
        return private(known | ({"warnings": warnings} if warnings else {}), 201 if made else 200)

    # --- studies -----------------------------------------------------------------------------------------------------

    async def list_studies(self, call: Call) -> Response:
        """Studies, of one status or at one location."""
        status, location = call["status"], call["location"]
        found = self._all(lambda registry: registry.studies(status=status, location=location))
        line = self._look(lambda registry: unknown_location(location, registry))
        return private({"studies": found} | ({"warnings": [f"location: {line}"]} if line else {}))

    async def get_study(self, call: Call) -> Response:
        """One study."""
        return self._one(lambda registry: registry.study(call["study_instance_uid"].strip(" ")))

    async def put_study(self, call: Call) -> Response:
        """Make or change a study."""
        uid = call["study_instance_uid"].strip(" ")
        body = _named(await self._body(call), study_instance_uid=uid)
        return await self._change(
            lambda registry, policy, now: changes.put_study(registry, body, policy, now),
            lambda registry: registry.study(uid),
            said=lambda: parse(StudyBody, body),
        )

    async def close_study(self, call: Call) -> Response:
        """Close a study; it takes events for the grace."""
        return await self._end_study(call, changes.close_study)

    async def cancel_study(self, call: Call) -> Response:
        """Cancel a study that has no step in progress."""
        return await self._end_study(call, changes.cancel_study)

    async def _end_study(self, call: Call, end: Callable[..., Sequence[RegistryRecord]]) -> Response:
        uid = call["study_instance_uid"].strip(" ")
        if await self._body(call, required=False):
            raise Problem(422, "this takes no body: it is done now")
        return await self._change(
            lambda registry, policy, now: end(registry, uid, policy, now),
            lambda registry: registry.study(uid),
            may_make=False,
        )

    # --- patients ----------------------------------------------------------------------------------------------------

    async def list_patients(self, _call: Call) -> Response:
        """Every patient that is known."""
        return private({"patients": self._all(lambda registry: registry.patients())})

    async def get_patient(self, call: Call) -> Response:
        """The one patient that an ID names now."""
        patient_id, issuer = _identifier(call)
        self._one_only("patients", lambda registry: registry.named_as_given(patient_id, issuer))
        return self._one(lambda registry: registry.patient(patient_id, issuer))

    async def put_patient(self, call: Call) -> Response:
        """Make or change a patient."""
        patient_id, issuer = _identifier(call)
        body = _named(await self._body(call), id=patient_id, **({"issuer": issuer} if issuer else {}))

        def look(registry: Registry) -> Any:
            named = body.get("issuer") or self._server.settings.matching.patient_id_issuer
            return registry.patient(patient_id, str(named))

        return await self._change(
            lambda registry, policy, now: changes.put_patient(registry, body, policy, now),
            look,
            said=lambda: parse(PatientBody, body),
        )

    async def merge_patient(self, call: Call) -> Response:
        """Merge another patient into this one: the body's prior ID names this patient from now on."""
        patient_id, issuer = _identifier(call)
        body = await self._body(call)
        self._one_only("patients", lambda registry: registry.named_as_given(patient_id, issuer))
        survivor = PatientId(patient_id, issuer)
        return await self._change(
            lambda registry, policy, now: changes.merge_patient(registry, survivor, body, policy, now),
            lambda registry: registry.patient(patient_id, issuer),
        )

    # --- admissions --------------------------------------------------------------------------------------------------

    async def list_admissions(self, _call: Call) -> Response:
        """Every admission that is known."""
        return private({"admissions": self._all(lambda registry: registry.admissions())})

    async def get_admission(self, call: Call) -> Response:
        """The one admission that an ID names."""
        admission_id, issuer = _identifier(call)
        self._one_only("admissions", lambda registry: registry.admissions_named(admission_id, issuer))
        return self._one(lambda registry: registry.admission(admission_id, issuer))

    async def put_admission(self, call: Call) -> Response:
        """Make or change an admission."""
        admission_id, issuer = _identifier(call)
        body = _named(await self._body(call), id=admission_id, **({"issuer": issuer} if issuer else {}))
        return await self._change(
            lambda registry, policy, now: changes.put_admission(registry, body, policy, now),
            lambda registry: registry.admission(admission_id, str(body.get("issuer") or "")),
            said=lambda: parse(AdmissionBody, body),
        )

    def _one_only(self, what: str, look: Callable[[Registry], Sequence[Any]]) -> None:
        count = self._look(lambda registry: len(look(registry)))
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


def _as_json(known: Any) -> Json | None:
    return None if known is None else dict(known.as_json())


def _identifier(call: Call) -> tuple[str, str]:
    """The ID that the path names, and its issuer or empty."""
    identifier = call["id"].strip(" ")
    if not identifier:
        raise Problem(404, "the path names no ID")
    return identifier, call["issuer"].strip(" ")


def _named(body: Mapping[str, Any], **named: str) -> Json:
    """The body with what the path names; a body may repeat it but not contradict it."""
    for name, value in named.items():
        if name in body and (not isinstance(body[name], str) or body[name].strip(" ") != value):
            raise Problem(422, f"{name}: differs from the one in the path")
    return dict(body) | named
