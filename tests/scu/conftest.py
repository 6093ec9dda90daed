"""A stock pynetdicom SCP on loopback that answers as the test says."""

import gc
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association

from plscp.scu.sending import SYNTAXES, VERIFICATION, RemoteScp
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING


@dataclass
class Heard:
    """One N-ACTION as it arrived."""

    calling: str
    sop_class: str
    instance: str
    action_type: int
    dataset: Dataset


@dataclass
class StockScp:
    """Answers each request with what `answers` gives for it; keeps what it heard."""

    port: int = 0
    heard: list[Heard] = field(default_factory=list)
    answers: Callable[[Heard], tuple[int | Dataset, Dataset | None]] = lambda _: (0x0000, None)
    server: Any = None

    def stop_listening(self) -> None:
        """From now on connections are refused; associations go on."""
        server, self.server = self.server, None
        if server is not None:
            server.shutdown()

    def peer(self, **given: Any) -> RemoteScp:
        """How to call it."""
        return replace(RemoteScp("127.0.0.1", self.port, "STOCK", acse=60, dimse=60, connection=60), **given)

    def on_action(self, event: Any) -> tuple[int | Dataset, Dataset | None]:
        """EVT_N_ACTION."""
        request = event.request
        heard = Heard(
            event.assoc.requestor.ae_title,
            str(request.RequestedSOPClassUID),
            str(request.RequestedSOPInstanceUID),
            int(event.action_type),
            event.action_information,
        )
        self.heard.append(heard)
        return self.answers(heard)


@pytest.fixture
def make_scp() -> Iterator[Callable[..., StockScp]]:
    """Start stock SCPs; all end with the test."""
    started = []

    def make(
        sop_classes: tuple[str, ...] = (PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING, VERIFICATION),
        callers: tuple[str, ...] = (),
    ) -> StockScp:
        scp = StockScp()
        ae = AE(ae_title="STOCK")
        for sop_class in sop_classes:
            ae.add_supported_context(sop_class, list(SYNTAXES))
        if callers:
            ae.require_calling_aet = list(callers)
        server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_ACTION, scp.on_action)])
        started.append(scp)
        scp.server = server
        scp.port = server.server_address[1]
        return scp

    yield make
    for scp in started:
        scp.stop_listening()


@pytest.fixture
def scp(make_scp: Callable[..., StockScp]) -> StockScp:
    """A stock SCP that takes everything."""
    return make_scp()


@pytest.fixture
def leaking(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """For tests that ignore unclosed sockets: those go within the test; log and threads of the library would hold them longer.

    pynetdicom leaves a socket to the garbage collector where it could not connect, and where a handshake failed.
    """
    caplog.set_level(logging.CRITICAL + 1, "pynetdicom")
    yield
    for thread in threading.enumerate():
        if isinstance(thread, Association):
            thread.join(60)
    gc.collect()
