"""A modality that reports procedure steps with pynetdicom's SCU, and a listener for it with the real handlers and a real store."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE

from plscp.content.model import Bounds
from plscp.dicom.acceptor import Acceptor
from plscp.dicom.settings import NetworkSettings, WireBounds
from plscp.feeds.mpps import StepHandlers
from plscp.matching import changes
from plscp.matching.model import Device, Policy
from plscp.matching.records import Study
from plscp.matching.registry import Issuers, Locations, Registry
from plscp.matching.steps import ProcedureStep
from plscp.scu.sending import quieten
from plscp.service.handlers import Handlers
from plscp.service.keeper import RegistryKeeper
from plscp.service.profile import BOTH, Profile
from plscp.statuses import MODALITY_PERFORMED_PROCEDURE_STEP as MPPS
from plscp.store.port import Draft, RegistryRecord
from tests.rawscu import SYNTAXES
from tests.temporary import TemporaryStore

POLICY = Policy(patient_id_issuer="HOSP")
ALL = BOTH | {MPPS}
PROFILES = {
    "XA1": Profile(Device("XA1", ("LAB1",)), POLICY, sop_classes=ALL),
    "XA2": Profile(Device("XA2", ("LAB2",)), POLICY, sop_classes=ALL),
    "CART": Profile(Device("CART", ("LAB1", "LAB2")), POLICY, sop_classes=ALL),
    "BERLIN": Profile(Device("BERLIN", ("LAB1",)), POLICY, sop_classes=ALL, zone="Europe/Berlin"),
    "NOCLOCK": Profile(Device("NOCLOCK", ("LAB1",), times="untrusted"), POLICY, sop_classes=ALL),
    "STRICT": Profile(Device("STRICT", ("LAB1",)), POLICY, strict=True, sop_classes=ALL),
    "HEMO1": Profile(Device("HEMO1", ("LAB1",)), POLICY),
}
LOCATIONS = {"LAB1": ["Lab 1"], "LAB2": ["Lab 2", "STATION 2"]}


class StepAnswer(NamedTuple):
    """What the SCP answered to an N-CREATE or N-SET."""

    status: int
    instance: str = ""
    comment: str = ""
    error_id: int | None = None


def text(moment: datetime) -> tuple[str, str]:
    """(DA, TM) of a time as it is shown on its clock."""
    return moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")


def scheduled(*uids: str, **more: Any) -> list[Dataset]:
    """Items of Scheduled Step Attributes Sequence."""
    items = []
    for uid in uids:
        item = Dataset()
        item.StudyInstanceUID = uid
        item.ReferencedStudySequence = []
        item.AccessionNumber = ""
        item.RequestedProcedureID = ""
        item.ScheduledProcedureStepID = ""
        for name, value in more.items():
            setattr(item, name, value)
        items.append(item)
    return items


def created(
    *uids: str, patient: str | None = "P1", station: str = "XA1", started: datetime | None = None, **more: Any
) -> Dataset:
    """The data set of an N-CREATE; a value of None takes an attribute out."""
    data = Dataset()
    data.ScheduledStepAttributesSequence = scheduled(*uids)
    data.PatientName, data.PatientBirthDate, data.PatientSex = "Doe^Jane", "", ""
    data.PatientID = patient or ""
    data.PerformedProcedureStepID = "PPS1"
    data.PerformedStationAETitle, data.PerformedStationName, data.PerformedLocation = station, "", ""
    day, clock = text(started or datetime.now(UTC) - timedelta(seconds=1))
    data.PerformedProcedureStepStartDate, data.PerformedProcedureStepStartTime = day, clock
    data.TimezoneOffsetFromUTC = "+0000"
    data.PerformedProcedureStepStatus = "IN PROGRESS"
    data.PerformedProcedureStepEndDate, data.PerformedProcedureStepEndTime = "", ""
    data.Modality, data.StudyID = "XA", ""
    data.PerformedSeriesSequence = []
    for name, value in more.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    return data


def ended(
    status: str = "COMPLETED", when: datetime | None = None, reason: tuple[str, str] | None = None, **more: Any
) -> Dataset:
    """The data set of an N-SET that ends a step."""
    data = Dataset()
    data.PerformedProcedureStepStatus = status
    day, clock = text(when or datetime.now(UTC))
    data.PerformedProcedureStepEndDate, data.PerformedProcedureStepEndTime = day, clock
    data.TimezoneOffsetFromUTC = "+0000"
    if reason is not None:
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = *reason, "why"
        data.PerformedProcedureStepDiscontinuationReasonCodeSequence = [code]
    for name, value in more.items():
        setattr(data, name, value)
    return data


class Modality:
    """One association of a modality; a context manager that releases at its end."""

    def __init__(self, host: str, port: int, calling: str = "XA1", syntaxes: Sequence[str] = (SYNTAXES[1],)) -> None:
        self._where, self.calling = (host, port), calling
        self._ae = AE(calling)
        self._ae.dimse_timeout = self._ae.acse_timeout = 60
        self._ae.network_timeout = None
        self._ae.add_requested_context(MPPS, list(syntaxes))
        self._association: Any = None

    def __enter__(self) -> Self:
        self._association = self._ae.associate(*self._where, ae_title="PLSCP")
        assert self._association.is_established
        return self

    def __exit__(self, *_: object) -> None:
        if self._association.is_established:
            self._association.release()

    def create(self, data: Dataset | None, uid: str | None = None) -> StepAnswer:
        """N-CREATE under this SOP Instance UID, a new one (None), or none at all (empty)."""
        instance = generate_uid() if uid is None else uid or None
        quieten(self._association)
        status, _ = self._association.send_n_create(data, MPPS, instance)
        return self._answer(status, instance or "")

    def set(self, data: Dataset, uid: str) -> StepAnswer:
        """N-SET."""
        quieten(self._association)
        status, _ = self._association.send_n_set(data, MPPS, uid)
        return self._answer(status, uid)

    @staticmethod
    def _answer(status: Dataset, uid: str) -> StepAnswer:
        assert "Status" in status, "no answer"
        return StepAnswer(
            int(status.Status),
            uid,
            str(status.get("ErrorComment", "") or ""),
            int(status.ErrorID) if "ErrorID" in status else None,
        )


class StepStore(TemporaryStore):
    """A store that may hold drafts back for a while, as a disk that hangs does."""

    held: list[Draft] | None = None

    def submit(self, draft: Draft) -> None:
        """As the store's, unless drafts are held back."""
        if self.held is not None:
            self.held.append(draft)
        else:
            super().submit(draft)

    def release(self) -> None:
        """Take what was held back, and hold nothing more."""
        held, self.held = self.held or [], None
        for draft in held:
            self.submit(draft)


class StepServer:
    """The acceptor in a thread of its own, with the handlers of all SOP Classes; a context manager."""

    def __init__(self, *, answer_deadline: float = 60.0, provided: bool = True) -> None:
        self._loop = asyncio.new_event_loop()
        self.store = StepStore(call_soon=self._loop.call_soon_threadsafe)
        self.keeper = RegistryKeeper(self.store, Registry(Locations(LOCATIONS), Issuers({"HOSP": ["Hospital"]})))
        profiles = lambda ae: PROFILES.get(ae, replace(PROFILES["XA1"], device=Device(ae), configured=False))  # noqa: E731
        bounds = Bounds(data_set=200_000)
        self.handlers = Handlers(self.store, self.keeper, profiles, bounds=bounds)
        self.steps = StepHandlers(self.store, self.keeper, profiles, bounds=bounds, answer_deadline=answer_deadline)
        self.provided = provided
        self.host, self.port = "127.0.0.1", 0
        self._ready, self._ending = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._listen()))

    async def _listen(self) -> None:
        settings = NetworkSettings(
            port=0, bounds=WireBounds(data_set=200_000), procedure_steps=self.provided, futile_share=1.0
        )

        def begin(event: Any) -> Any:
            return (self.steps if event.context.abstract_syntax == MPPS else self.handlers).begin(event)

        acceptor = Acceptor(settings, begin, self.handlers.on_delivery_confirmed)
        [(_, self.port)] = await acceptor.start()
        self._ready.set()
        await self._ending.wait()
        acceptor.close()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(60)
        self.store.close()
        self._loop.close()

    def modality(self, calling: str = "XA1", syntax: str = SYNTAXES[1]) -> Modality:
        """A modality that calls."""
        return Modality(self.host, self.port, calling, (syntax,))

    def change(self, plan: Callable[..., list[RegistryRecord]], *given: Any) -> None:
        """Change the registry and wait."""

        async def run() -> None:
            await self.keeper.change(lambda registry: plan(registry, *given, POLICY, datetime.now(UTC)), "http")

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(60)

    def put_study(self, uid: str, **said: Any) -> None:
        """PUT a study."""
        self.change(changes.put_study, {"study_instance_uid": uid, **said})

    def study(self, uid: str) -> Study:
        """A study that must be there."""
        with self.keeper.lock:
            found = self.keeper.registry.study(uid)
        assert found is not None
        return found

    def step(self, uid: str) -> ProcedureStep:
        """A step that must be there."""
        with self.keeper.lock:
            found = self.keeper.registry.steps.get(uid)
        assert found is not None
        return found
