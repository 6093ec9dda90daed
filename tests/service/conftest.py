"""The handlers behind a real association, run both ways: on our acceptor and on a stock pynetdicom AE."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pynetdicom import AE

from plscp.content.model import Bounds
from plscp.dicom.acceptor import Acceptor
from plscp.dicom.settings import NetworkSettings, WireBounds
from plscp.errors import StoreUnavailable
from plscp.matching import changes
from plscp.matching.model import Device, Operator, Policy
from plscp.matching.registry import Locations, Registry
from plscp.service.handlers import Handlers
from plscp.service.keeper import RegistryKeeper
from plscp.service.profile import Profile
from plscp.service.stock import StockHandlers
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.store.port import CallSoon, Draft, Failed, RegistryRecord, RequestRecord, at_once
from tests.rawscu import SYNTAXES, VERIFICATION, RawScu
from tests.temporary import TemporaryStore

POLICY = Policy(patient_id_issuer="HOSP")
PROFILES = {
    "HEMO1": Profile(Device("HEMO1", ("LAB1",)), POLICY),
    "HEMO2": Profile(Device("HEMO2", ("LAB2",)), POLICY),
    "MOBILE": Profile(Device("MOBILE"), POLICY),
    "STRICT": Profile(Device("STRICT", ("LAB1",)), POLICY, strict=True),
    "TABLET": Profile(
        Device("TABLET", ("LAB1",)),
        POLICY,
        operators=[Operator("N1001", "L", ("LAB1",)), Operator("N2002", "L", ("LAB2",))],
    ),
    "NODRUGS": Profile(Device("NODRUGS", ("LAB1",)), POLICY, sop_classes=frozenset({PROCEDURAL_EVENT_LOGGING})),
    "LOGGED": Profile(Device("LOGGED", ("LAB1",)), replace(POLICY, patient_mismatch="log")),
    "FARAWAY": Profile(Device("FARAWAY", ("LAB9",)), replace(POLICY), strict=False),
}
LOCATIONS = {"LAB1": ["Lab 1"], "LAB2": ["Lab 2"], "LAB9": ["Lab 9"]}
BOUNDS = Bounds(data_set=60_000, depth=8, elements=2000, value=20_000)


class Interrupted(TemporaryStore):
    """The store, with switches that make it fail as a lost disk would: on writing, or on reading registry changes."""

    broken: Callable[[], Any] | None = None
    unreadable = False

    def changes(self, after: int, limit: int = 1000) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """As the store's, unless it is unreadable."""
        if self.unreadable:
            raise StoreUnavailable("the disk is away")
        return super().changes(after, limit)

    def submit(self, draft: Draft) -> None:
        """As the store's, unless it is broken."""
        if self.broken is not None and isinstance(draft, RequestRecord):
            draft.done(Failed(self.broken()))
        else:
            super().submit(draft)


class Running:
    """Handlers behind a port."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.call_soon: CallSoon = at_once
        self.store = Interrupted(call_soon=lambda call: self.call_soon(call))  # noqa: PLW0108 -- another once there is a loop
        self.keeper = RegistryKeeper(self.store, Registry(Locations(LOCATIONS)))
        self.handlers = Handlers(
            self.store, self.keeper, lambda ae: PROFILES.get(ae, Profile(Device(ae), POLICY)), bounds=BOUNDS
        )
        self.port = 0
        self._stop: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Listen on a free port of the loopback."""
        if self.way == "stock":
            self._start_stock()
        else:
            self._start_ours()

    def _start_stock(self) -> None:
        ae = AE("PLSCP")
        for sop_class in (PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING, VERIFICATION):
            ae.add_supported_context(sop_class, list(SYNTAXES))
        server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=StockHandlers(self.handlers).bindings())
        self.port = server.server_address[1]
        self._stop = server.shutdown

    def _start_ours(self) -> None:
        ready = threading.Event()
        loop = asyncio.new_event_loop()

        async def listen() -> None:
            self.call_soon = loop.call_soon_threadsafe  # as the server does it
            settings = NetworkSettings(
                host="127.0.0.1", port=0, ae_title="PLSCP", bounds=WireBounds(data_set=BOUNDS.data_set)
            )
            acceptor = Acceptor(settings, self.handlers.begin, self.handlers.on_delivery_confirmed)
            [(_, self.port)] = await acceptor.start()
            ending = asyncio.Event()

            def stop() -> None:
                loop.call_soon_threadsafe(ending.set)

            self._stop = stop
            ready.set()
            await ending.wait()
            acceptor.close()

        thread = threading.Thread(target=lambda: loop.run_until_complete(listen()))
        thread.start()
        assert ready.wait(60)
        stop = self._stop

        def end() -> None:
            stop()
            thread.join(60)
            loop.close()

        self._stop = end

    def stop(self) -> None:
        """End everything."""
        self._stop()
        self.store.close()

    def scu(self, calling: str = "HEMO1", syntax: str = SYNTAXES[1]) -> RawScu:
        """A device with both SOP Classes."""
        contexts = [
            (PROCEDURAL_EVENT_LOGGING, syntax),
            (SUBSTANCE_ADMINISTRATION_LOGGING, syntax),
            (VERIFICATION, syntax),
        ]
        return RawScu("127.0.0.1", self.port, calling=calling, contexts=contexts)

    def change(self, plan: Callable[[Registry], list[RegistryRecord]]) -> None:
        """Change the registry and wait."""

        async def run() -> None:
            await self.keeper.change(plan, "http")

        asyncio.run(run())

    def study(self, uid: str, patient: str, **more: Any) -> None:
        """Put a study."""
        body = {
            "study_instance_uid": uid,
            "patient": {"id": patient, "issuer": "HOSP"},
            "status": "open",
            **more,
        }
        self.change(lambda registry: changes.put_study(registry, body, POLICY, datetime.now(UTC)))

    def patient(self, patient: str, **more: Any) -> None:
        """Put a patient."""
        body = {"id": patient, "issuer": "HOSP", **more}
        self.change(lambda registry: changes.put_patient(registry, body, POLICY, datetime.now(UTC)))

    def break_store(self) -> None:
        """From now on every request fails at the store."""
        self.store.broken = lambda: StoreUnavailable("the disk is away")


@pytest.fixture(params=["ours", "stock"])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """Handlers behind each of the two acceptors."""
    server = Running(request.param)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def ours() -> Iterator[Running]:
    """Handlers behind our acceptor: what a stock AE cannot show."""
    server = Running("ours")
    server.start()
    yield server
    server.stop()
