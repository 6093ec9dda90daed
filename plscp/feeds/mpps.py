"""Modality Performed Procedure Step: answers N-CREATE and N-SET, whose steps open and close studies (PS3.4 F.7).

A change is committed before it is answered Success. A step is known by its SOP Instance UID, so that a repeat after an answer that
was lost changes nothing.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from plscp.content.model import Bounds
from plscp.content.reader import Decoded, decode, too_large
from plscp.content.syntax import is_ui
from plscp.dicom.answer import SUCCESS, PendingResponse, Status
from plscp.dicom.dimse import N_CREATE_RQ
from plscp.errors import InvalidArgument, MissingAttribute, MissingAttributeValue, Refused, StoreError
from plscp.feeds.step_data import SCHEDULED, STATUS, StepData, created_step, step_update
from plscp.findings import Finding
from plscp.logs import log
from plscp.matching import step_changes
from plscp.matching.match_context import find_issuer
from plscp.matching.model import Device
from plscp.matching.registry import Registry, microseconds
from plscp.matching.step_changes import StepBegun, StepSaid
from plscp.matching.steps import IN_PROGRESS
from plscp.metrics import Metrics
from plscp.service.handlers import is_large
from plscp.service.keeper import Outcome, RegistryKeeper, utc_now
from plscp.service.overview import Devices
from plscp.service.profile import Profile, Profiles
from plscp.service.reply import comment, failure, not_recorded
from plscp.statuses import MAY_NO_LONGER_BE_UPDATED, MODALITY_PERFORMED_PROCEDURE_STEP, STEP_STATUSES
from plscp.store.port import EventStore, MessageRefused, RegistryRecord, Result

_NO_SUCH_DATA: Final = Finding("no-data-set", "the request has no data set", refuse=True)


@dataclass(slots=True)
class _StepRequest:
    """One request between its last byte and its answer.

    Attributes:
        notes: what was left out of it, or is to be said of it once it is taken: no identifiers of patients.
    """

    event: Any
    calling_ae: str
    profile: Profile
    arrival: datetime
    response: PendingResponse
    sop_instance_uid: str = ""
    data: StepData | None = None
    notes: list[str] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None

    @property
    def creates(self) -> bool:
        """Whether it is an N-CREATE; else an N-SET."""
        return bool(self.event.request.command.field == N_CREATE_RQ)

    @property
    def made(self) -> bool:
        """Whether plscp makes the SOP Instance UID."""
        return not self.event.request.command.instance


class StepHandlers:
    """Answers the requests of the Modality Performed Procedure Step SOP Class; in the event loop.

    Args:
        profiles: from an AE title to how that device is treated, by the settings that hold now.
        devices: told what each calling AE title did last.
        answer_deadline: seconds after which a modality gets a failure although the store has not answered.
    """

    def __init__(
        self,
        store: EventStore,
        keeper: RegistryKeeper,
        profiles: Profiles,
        *,
        bounds: Bounds | None = None,
        counters: Metrics | None = None,
        devices: Devices | None = None,
        answer_deadline: float = 10.0,
    ) -> None:
        self._store, self._keeper, self._profiles = store, keeper, profiles
        self._bounds = bounds or Bounds()
        self._counters = counters or Metrics()
        self._devices = devices or Devices()
        self._deadline = answer_deadline
        self._slow_lane = ThreadPoolExecutor(1, "plscp-large-steps")
        self._counters.steps_in_progress.ask = self._in_progress

    def _in_progress(self) -> int:
        with self._keeper.lock:
            return len(self._keeper.registry.steps.in_progress())

    def begin(self, event: Any) -> PendingResponse:
        """Start on a request, as the acceptor hands it over.

        Returns:
            What has (status, no data set), or is given it after the commit or at the answer deadline.
        """
        calling_ae = str(event.assoc.requestor.ae_title).strip()
        request = _StepRequest(event, calling_ae, self._profiles(calling_ae), event.timestamp, PendingResponse())
        loop = asyncio.get_running_loop()
        request.timer = loop.call_later(self._deadline, self._late, request)
        if is_large(event):
            reading = loop.run_in_executor(self._slow_lane, self._read, request)
            reading.add_done_callback(lambda read: self._go_on(request, read.result))
        else:
            self._go_on(request, lambda: self._read(request))
        return request.response

    def _go_on(self, request: _StepRequest, read: Callable[[], StepData]) -> None:
        """Change the registry as the data set says, once it is read."""
        try:
            request.data = read()
            (self._create if request.creates else self._set)(request, request.data)
        except Refused as refused:
            self._refuse(request, refused)
        except Exception:  # a defect must not leave the modality without an answer
            log.exception("internal-error", where="mpps", **self._about(request))
            self._refuse(request, Refused(0x0110, [Finding("internal-error", "this server failed on the request")]))

    # --- reading -------------------------------------------------------------------------------------------------------

    def _read(self, request: _StepRequest) -> StepData:
        """Check command and data set. Raises Refused."""
        message = request.event.request
        if message.command.sop_class != MODALITY_PERFORMED_PROCEDURE_STEP:
            raise Refused(0x0118)
        uid = message.command.instance or ""
        if uid and not is_ui(uid):
            raise Refused(0x0117)
        if not uid and not request.creates:
            raise Refused(0x0112)
        request.sop_instance_uid = uid
        if MODALITY_PERFORMED_PROCEDURE_STEP not in request.profile.sop_classes:
            finding = Finding(
                "step-not-allowed", "this device may not report procedure steps: see its sop_classes", refuse=True
            )
            raise Refused(0x0124, [finding])
        decoded = self._decode(request)
        read = created_step if request.creates else step_update
        data = read(decoded.root.elements, request.profile, request.arrival, request.notes)
        # The same content gets the same UID (PS3.5 B.2): whoever got no answer does not know it, and sends the same again.
        request.sop_instance_uid = uid or f"2.25.{UUID(bytes=decoded.identity[:16], version=4).int}"
        return data

    def _decode(self, request: _StepRequest) -> Decoded:
        message = request.event.request
        if message.truncated_length:
            raise too_large()
        if not message.raw:
            if request.creates:
                raise MissingAttribute([SCHEDULED, STATUS], [_NO_SUCH_DATA])
            raise MissingAttributeValue([STATUS], [_NO_SUCH_DATA])
        try:
            return decode(
                message.raw,
                str(request.event.context.transfer_syntax),
                calling_ae=request.calling_ae,
                sop_class=MODALITY_PERFORMED_PROCEDURE_STEP,
                bounds=self._bounds,
            )
        except InvalidArgument as refused:  # 0115H is no status of an N-CREATE (PS3.7 10.1.5.1)
            raise Refused(0x0110, refused.findings) from None

    # --- changing ------------------------------------------------------------------------------------------------------

    def _create(self, request: _StepRequest, data: StepData) -> None:
        begun: list[StepBegun] = []

        def planned(registry: Registry) -> list[RegistryRecord]:
            begun[:] = [
                StepBegun(
                    request.sop_instance_uid,
                    request.made,
                    data.studies,
                    data.patient_id,
                    self._issuer(request, data, registry),
                    request.calling_ae,
                    data.station_ae_title,
                    self._place(request, data, registry),
                    data.time,
                )
            ]
            return step_changes.begin_step(registry, begun[0], request.profile.policy, utc_now())

        def done(outcome: Outcome) -> None:
            if isinstance(outcome, Refused) and step_changes.PATIENT_CONTRADICTS in outcome.findings:
                self._propose(request, begun[0], outcome)
                return
            if isinstance(outcome, list):
                self._note_left_open(request)
            self._finish(request, outcome)

        self._keeper.begin(planned, "mpps", done, request.sop_instance_uid)

    def _set(self, request: _StepRequest, data: StepData) -> None:
        said: list[StepSaid] = []

        def planned(registry: Registry) -> list[RegistryRecord]:
            said[:] = [
                StepSaid(
                    request.sop_instance_uid,
                    data.status,
                    data.time,
                    data.reason,
                    tuple(study.study_instance_uid for study in data.studies),
                    "" if request.profile.policy.is_placeholder(data.patient_id) else data.patient_id,
                    self._issuer(request, data, registry),
                )
            ]
            return step_changes.set_step(registry, said[0], request.profile.policy, utc_now())

        def done(outcome: Outcome) -> None:
            status = SUCCESS
            if isinstance(outcome, list):
                with self._keeper.lock:
                    differing = step_changes.differing(self._keeper.registry, said[0])
                if differing:
                    status = Status(0x0107)
                    status.attributes = differing
                    request.notes.append("an N-SET may not change patient or studies: those stay as they are")
            self._finish(request, outcome, status)

        self._keeper.begin(planned, "mpps", done, request.sop_instance_uid)

    def _issuer(self, request: _StepRequest, data: StepData, registry: Registry) -> str:
        """The Patient ID's issuer in its one spelling. Raises Refused: one was sent that cannot be used, so the ID names nobody."""
        if not data.patient_id or request.profile.policy.is_placeholder(data.patient_id):
            return ""
        found = find_issuer(data.patient_id, data.issuer, request.profile.device, request.profile.policy, registry)
        if found.unusable is None:
            return found.name
        if not request.creates:  # what it names is not set anyway
            return ""
        self._counters.issuer_unusable(request.calling_ae, found.unusable.code)
        raise Refused(0x0110, [found.unusable._replace(refuse=True)])

    def _place(self, request: _StepRequest, created: StepData, registry: Registry) -> str:
        """The lab where the step is, or empty (contract section 3).

        An installed device is where the settings say; one with several locations, or none, is at the Performed Location that it
        sends; who is in no table is where its location, or its station, is listed.
        """
        sent = created.location
        device = self._station(created.station_ae_title) or self._station(request.calling_ae)
        places = tuple(map(registry.place, device.locations)) if device is not None else ()
        named = registry.place(sent) if sent else ""
        if len(places) == 1:
            if sent and registry.locations.resolve(sent) is not None and named != places[0]:
                request.notes.append("Performed Location is another lab than the station's: the station's counts")
            return places[0]
        if named and (not places or named in places):
            return named
        if not named and not places and created.station_name:
            listed = registry.locations.resolve(created.station_name)
            if listed is not None:
                return listed
        request.notes.append("where the step is is not known: the station has no location in [devices], and sent none")
        return ""

    def _note_left_open(self, request: _StepRequest) -> None:
        """Steps of the same station for other studies that are still in progress: as a rule their end was lost."""
        with self._keeper.lock:
            steps = self._keeper.registry.steps
            begun = steps.get(request.sop_instance_uid)
            left = [
                step.sop_instance_uid
                for step in steps.in_progress()
                if begun is not None and step.station == begun.station and not set(step.studies) & set(begun.studies)
            ]
        if left:  # in one line: where no end ever comes there are more of them each day
            others = f", and {len(left) - 1} others are" if len(left) > 1 else " is"
            request.notes.append(f"step {left[-1]} of the same station{others} still in progress: plscp step end")

    def _station(self, ae_title: str) -> Device | None:
        """A device that has a table with locations."""
        profile = self._profiles(ae_title) if ae_title else None
        return profile.device if profile is not None and profile.configured and profile.device.locations else None

    def _propose(self, request: _StepRequest, said: StepBegun, refused: Refused) -> None:
        """Propose what would make a refused step right, then refuse it."""

        def planned(registry: Registry) -> list[RegistryRecord]:
            return step_changes.propose_patient(registry, said, request.profile.policy, utc_now())

        def done(outcome: Outcome) -> None:
            if isinstance(outcome, Exception):
                log.warning("store-failed", error=str(outcome))
            self._refuse(request, refused)

        self._keeper.begin(planned, "mpps", done, request.sop_instance_uid)

    # --- answering -----------------------------------------------------------------------------------------------------

    def _finish(self, request: _StepRequest, outcome: Outcome, status: Status = SUCCESS) -> None:
        """Answer what became of a change."""
        match outcome:
            case Refused():
                self._refuse(request, outcome)
            case StoreError():
                self._answer(request, not_recorded(MODALITY_PERFORMED_PROCEDURE_STEP, outcome), why=outcome.label)
            case Exception():
                log.error("internal-error", where="mpps", exc_info=outcome, **self._about(request))
                self._answer(request, failure(Refused(0x0110)), why="internal")
            case _:
                if request.made:
                    status = Status(int(status))
                    status.instance = request.sop_instance_uid
                self._answer(request, status, position=outcome[-1] if outcome else None)

    def _refuse(self, request: _StepRequest, refused: Refused) -> None:
        """Keep what was refused for its content, then answer; what the command alone or the state of the step refuses is logged only."""
        message = request.event.request
        if refused.status in {0x0111, 0x0112, 0x0117, 0x0118, 0x0124} or step_changes.ENDED in refused.findings:
            self._refused(request, refused)
            return

        def done(_: Result) -> None:  # kept or not: the modality gets its answer
            self._refused(request, refused)

        peer = request.event.assoc.requestor
        self._store.submit(
            MessageRefused(
                source="mpps",
                peer=f"{request.calling_ae} {peer.address}:{peer.port}",
                message=request.sop_instance_uid,
                time=microseconds(request.arrival),
                why=f"{refused.status:04X} {refused.info.name}: {comment(refused.findings)}".removesuffix(": "),
                raw=message.raw,
                done=done,
                raw_length=message.length,
            )
        )

    def _refused(self, request: _StepRequest, refused: Refused) -> None:
        status = Status(refused.status)
        if refused.info.comment:
            status.comment = comment(refused.findings)
        if step_changes.ENDED in refused.findings:
            status.error_id = MAY_NO_LONGER_BE_UPDATED
        if isinstance(refused, MissingAttribute):
            status.attributes = refused.tags
        self._answer(request, status, why=comment(refused.findings))

    def _late(self, request: _StepRequest) -> None:
        """The answer deadline has passed: the modality gets a failure, and a repeat is harmless."""
        if request.response.answer is None:
            log.warning("answer-late", **self._about(request))
            self._answer(request, not_recorded(MODALITY_PERFORMED_PROCEDURE_STEP), why="answer-deadline")

    def _answer(self, request: _StepRequest, status: Status, *, position: int | None = None, why: str = "") -> None:
        """Answer, and say so."""
        if request.response.answer is not None:
            return
        if request.timer is not None:
            request.timer.cancel()
        seconds = max((utc_now() - request.arrival).total_seconds(), 0.0)
        self._counters.answered(MODALITY_PERFORMED_PROCEDURE_STEP, int(status), seconds)
        arrived_us = microseconds(request.arrival)
        info = STEP_STATUSES[int(status)]
        told = {"status": f"{int(status):04X}", "meaning": info.name, **self._about(request)}
        if info.performed:
            self._devices.accepted(request.calling_ae, arrived_us)
            said = (request.data and request.data.status) or IN_PROGRESS
            log.info("procedure-step", said=said, position=position, **told)
            for line in dict.fromkeys(request.notes):  # one that was planned twice has them twice
                log.warning("procedure-step-warning", why=line, **self._about(request))
        else:
            self._counters.device_refused(request.calling_ae)
            self._devices.refused(request.calling_ae, arrived_us, int(status), why)
            log.warning("procedure-step-refused", why=why, **told)
        request.response.give((status, None))

    def _about(self, request: _StepRequest) -> dict[str, Any]:
        """What every line says of a request."""
        return {
            "operation": "N-CREATE" if request.creates else "N-SET",
            "step": request.sop_instance_uid,
            "calling_ae": request.calling_ae,
            "association": str(getattr(request.event.assoc, "id", "")),
            "message_id": int(request.event.message_id or 0),
        }
