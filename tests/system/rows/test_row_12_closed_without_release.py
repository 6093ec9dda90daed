"""Row 12, the listener's half: which ends of a connection prove that the answer before them arrived."""

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from plscp.dicom import sockets
from plscp.matching.model import Device
from plscp.service.profile import Profile
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.dicom.wire import Listener, with_receipt
from tests.rawscu import ABORT, RELEASE_RQ, RawScu
from tests.serving import until
from tests.system.rows.rig import POLICY, Rig, at
from tests.tls import SecureScu, certificates, client

STENT = "Stent deployed, DES-30-18, LAD"


def stent() -> Dataset:
    """The same each time: three equal stents within a minute."""
    return events.procedural([events.note(at("10:00"), STENT)], study="1.1")


def entries(rig: Rig) -> list[dict[str, Any]]:
    """The values of the entries, as published."""
    return [json.loads(event.payload) for event in rig.events()]


@pytest.mark.parametrize("closes", [True, False])
def test_row_12_three_equal_stents_on_associations_closed_without_release(tmp_path: Path, closes: bool) -> None:
    """With the setting three events, each naming the first; without it one event, and two retries of it."""
    with Rig(tmp_path, Profile(Device("HEMO1"), POLICY, closes_without_release=closes)) as rig:
        rig.study("1.1", "PA", location="LAB1")
        rig.clock("10:00:30")
        for _ in range(3):
            scu = rig.scu("HEMO1").associate()
            assert scu.request(PROCEDURAL_EVENT_LOGGING, events.encoded(stent())).status == 0
            scu.socket.close()
            until(lambda: not rig.acceptor.associated, "the end of the association")
        found = entries(rig)
        if not closes:
            assert len(found) == 1
            return
        first = rig.events()[0].event_id
        assert [one["same_content_as"] for one in found] == [None, first, first]
        rig.restart()  # what was heard is kept: a fourth stent is an event of its own, too
        assert rig.send(stent(), calling="HEMO1").status == "0000"
        assert len(rig.events()) == 4


# --- one answer, and how it ends --------------------------------------------------------------------------------------------


class Held:
    """A listener whose answers are given when a test wants them; its device closes without a release."""

    def __init__(self, folder: Path | None = None, *, closes: bool = True) -> None:
        self.listener = Listener(self._answer, certificates(folder) if folder else None)
        self.listener.acceptor.closes_without_release = lambda _: closes
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.secure = folder is not None
        self._waiting: list[Any] = []

    def _answer(self, event: Any) -> Any:
        status = (with_receipt(event.message_id), None)
        if self.may_answer.is_set():
            return status
        future = self.listener.loop.create_future()
        self._waiting.append((future, status))
        return future

    def answer(self) -> None:
        """Give the answers that wait."""
        self.listener.until(lambda: self._waiting)

        def give() -> None:
            for future, status in self._waiting:
                future.set_result(status)

        self.listener.call(give)

    def scu(self) -> RawScu:
        """An association."""
        port = self.listener.port
        return (SecureScu("127.0.0.1", port, tls=client()) if self.secure else RawScu("127.0.0.1", port)).associate()

    def heard(self) -> list[object]:
        """What was heard when the association was over."""
        self.listener.until(lambda: not self.listener.acceptor._open)
        return list(self.listener.heard)


@pytest.fixture(params=[False, True], ids=["plain", "TLS"])
def held(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Held]:
    """A listener, plain or over TLS."""
    made = Held(tmp_path if request.param else None)
    with made.listener:
        yield made


def close(scu: RawScu) -> None:
    """In order: over TLS with close_notify before the FIN."""
    if isinstance(scu.socket, ssl.SSLSocket):
        notified(scu.socket).close()
    else:
        scu.socket.close()


def notified(tls: ssl.SSLSocket) -> socket.socket:
    """Send close_notify and wait for no other; what is below."""
    tls.setblocking(False)
    with contextlib.suppress(ssl.SSLError, OSError):
        tls.unwrap()
    return socket.socket(fileno=tls.detach())


def bare_fin(scu: RawScu) -> None:
    """FIN without close_notify."""
    scu.socket.shutdown(socket.SHUT_RDWR)
    scu.socket.close()


def reset(scu: RawScu) -> None:
    """RST."""
    scu.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    scu.socket.close()


def abort(scu: RawScu) -> None:
    """A-ABORT, then an end in order."""
    scu.socket.sendall(ABORT)
    close(scu)


def begun(scu: RawScu) -> None:
    """The first bytes of an A-ABORT, then an end in order."""
    scu.socket.sendall(ABORT[:3])
    close(scu)


def released(scu: RawScu) -> None:
    """As it should be."""
    scu.socket.sendall(RELEASE_RQ)
    assert scu.pdu()[0] == 6
    close(scu)


ENDS: list[tuple[Callable[[RawScu], None], bool]] = [
    (close, True),
    (released, True),
    (reset, False),
    (abort, False),
    (begun, False),
]


@pytest.mark.parametrize(("end", "proves"), ENDS, ids=lambda value: getattr(value, "__name__", None))
def test_row_12_what_an_end_after_the_answer_proves(held: Held, end: Callable[[RawScu], None], proves: bool) -> None:
    """An orderly end and a release do, a reset, an A-ABORT and a PDU that was begun do not."""
    scu = held.scu()
    assert scu.request(PROCEDURAL_EVENT_LOGGING, b"").status == 0
    end(scu)
    assert held.heard() == ([1] if proves else [])


def test_row_12_fin_alone_is_no_orderly_end_of_tls(tmp_path: Path) -> None:
    """Whoever is in between can send a FIN; close_notify is the device's."""
    held = Held(tmp_path)
    with held.listener:
        scu = held.scu()
        assert scu.request(PROCEDURAL_EVENT_LOGGING, b"").status == 0
        bare_fin(scu)
        assert held.heard() == []


def test_row_12_a_device_that_is_not_said_to_close(tmp_path: Path) -> None:
    """By default an end proves nothing."""
    del tmp_path
    held = Held(closes=False)
    with held.listener:
        scu = held.scu()
        assert scu.request(PROCEDURAL_EVENT_LOGGING, b"").status == 0
        close(scu)
        assert held.heard() == []


@pytest.mark.parametrize("paused", [False, True])
def test_row_12_an_end_that_was_there_before_the_answer_proves_nothing(held: Held, paused: bool) -> None:
    """A device that closes its side at once, while its request is handled; also where the server does not read at that time."""
    held.may_answer.clear()
    scu = held.scu()
    scu.send(PROCEDURAL_EVENT_LOGGING, b"")
    held.listener.until(lambda: held._waiting)
    [connection] = held.listener.acceptor._open
    if paused:
        held.listener.call(connection._transport.pause_reading)
    raw = notified(scu.socket) if isinstance(scu.socket, ssl.SSLSocket) else scu.socket
    raw.shutdown(socket.SHUT_WR)
    if paused:
        held.listener.until(lambda: sockets.ended(connection.socket))
        held.answer()
        held.listener.until(lambda: connection.requests == 1 and sockets.all_arrived(connection.socket))
        held.listener.call(connection._transport.resume_reading)
    assert held.heard() == []
    raw.close()


def test_row_12_close_notify_beside_the_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Request and close_notify are read at once, and the answer is written after: it proves nothing, whatever was acknowledged."""
    monkeypatch.setattr(sockets, "all_arrived", lambda _: True)
    held = Held(tmp_path)
    with held.listener:
        scu = held.scu()
        assert isinstance(scu.socket, ssl.SSLSocket)
        [connection] = held.listener.acceptor._open
        held.listener.call(connection._transport.pause_reading)
        scu.send(PROCEDURAL_EVENT_LOGGING, b"")
        raw = notified(scu.socket)
        held.listener.until(lambda: sockets.unread(connection.socket))
        held.listener.call(connection._transport.resume_reading)
        assert held.heard() == []
        raw.close()


def test_row_12_an_answer_that_the_device_has_not_acknowledged() -> None:
    """An end that crosses the answer on its way acknowledges less than all of it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as device,
    ):
        ours, _ = listening.accept()
        with ours:
            assert sockets.all_arrived(ours)
            ours.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while ours.send(bytes(1 << 16)):
                    pass
            device.shutdown(socket.SHUT_WR)
            until(lambda: sockets.ended(ours), "FIN")
            assert not sockets.all_arrived(ours)
            device.setblocking(False)

            def taken() -> bool:
                with contextlib.suppress(BlockingIOError):
                    while device.recv(1 << 20):
                        pass
                return sockets.all_arrived(ours)

            until(taken, "the acknowledgement")


def test_row_12_where_the_end_cannot_be_known_it_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that does not tell of an end before all was read (not Linux)."""
    monkeypatch.setattr(sockets, "KNOWS_ENDS", False)
    held = Held()
    with held.listener:
        scu = held.scu()
        assert scu.request(PROCEDURAL_EVENT_LOGGING, b"").status == 0
        close(scu)
        assert held.heard() == []
