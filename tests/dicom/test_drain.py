"""What each device sees when the server stops: one row each, told apart by what the device was doing then."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from plscp.dicom.answer import SUCCESS, PendingResponse
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import tls
from tests.dicom.wire import DATA, Listener
from tests.rawscu import RELEASE_RQ, Aborted, Closed, RawScu, associate_rq, n_action, p_data, pdv

LONG_SECONDS = 600.0
COMMAND = p_data(pdv(1, 3, n_action(1, PROCEDURAL_EVENT_LOGGING)))
FIRST_HALF = COMMAND + p_data(pdv(1, 0, DATA[:6]))
SECOND_HALF = p_data(pdv(1, 2, DATA[6:]))
ANSWERED, RELEASED, ABORTED, CLOSED = "0000H", "A-RELEASE-RP", "A-ABORT 0/0", "closed"


class Stopping:
    """A listener that is told to stop, and a device; the stages of the end are gone through by hand.

    Attributes:
        commits: an answer for each request that was taken, given by hand where `slow`.
    """

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.slow = False
        self.commits: list[PendingResponse] = []
        listener.handler = self._handle

    def _handle(self, _event: Any) -> Any:
        if not self.slow:
            return SUCCESS, None
        self.commits.append(PendingResponse())
        return self.commits[-1]

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait until it holds in the listener's loop."""
        self.listener.until(condition)

    def commit(self) -> None:
        """What was taken is on disk."""

        def all_of_them() -> None:
            for one in self.commits:
                one.give((SUCCESS, None))

        self.listener.call(all_of_them)

    @property
    def connection(self) -> Any:
        """The one connection."""
        [one] = self.listener.acceptor._open
        return one

    def drain(self, answers: float) -> "Future[dict[str, int]]":
        """SIGTERM: from now on nothing new is taken."""
        acceptor = self.listener.acceptor
        drained = asyncio.run_coroutine_threadsafe(acceptor.drain(LONG_SECONDS, answers), self.listener.loop)
        self.until(lambda: acceptor.draining)
        return drained

    def grace_is_over(self) -> None:
        """The grace time has passed, or there was a second signal."""
        self.listener.call(self.listener.acceptor.hurry)
        self.until(lambda: self.listener.acceptor.ending)


def seen(device: RawScu) -> Iterator[str]:
    """What a device sees until its connection ends."""
    try:
        while True:
            kind, _ = device.pdu()
            yield {4: ANSWERED, 6: RELEASED}[kind]
    except Aborted as aborted:
        yield f"A-ABORT {aborted.args[0]}/{aborted.args[1]}"
    except Closed:
        yield CLOSED


Act = Callable[[Stopping, RawScu], object]


def nothing(_stopping: Stopping, _device: RawScu) -> None:
    """It waits."""


def asks(stopping: Stopping, device: RawScu) -> None:
    """A request whose commit takes long."""
    stopping.slow = True
    device.send(PROCEDURAL_EVENT_LOGGING, DATA)
    stopping.until(lambda: stopping.commits)


def asks_and_releases(stopping: Stopping, device: RawScu) -> None:
    """The same, and the release right after it."""
    asks(stopping, device)
    device.socket.sendall(RELEASE_RQ)
    stopping.until(lambda: stopping.connection.state.name == "STA8")


def asks_quickly(_stopping: Stopping, device: RawScu) -> None:
    """A request; its answer is read."""
    assert device.request(PROCEDURAL_EVENT_LOGGING, DATA).status == 0x0000


def asks_quickly_and_releases(stopping: Stopping, device: RawScu) -> None:
    """A further request, and the end of the case."""
    asks_quickly(stopping, device)
    device.socket.sendall(RELEASE_RQ)


def first_half(stopping: Stopping, device: RawScu) -> None:
    """A command set and a part of the data set."""
    device.socket.sendall(FIRST_HALF)
    stopping.until(lambda: stopping.connection.in_hand)


def second_half(_stopping: Stopping, device: RawScu) -> None:
    """The rest of the data set."""
    device.socket.sendall(SECOND_HALF)


def half_a_pdu(stopping: Stopping, device: RawScu) -> None:
    """A part of a first PDU: the server cannot know that it is a request."""
    device.socket.sendall(COMMAND[:20])
    stopping.until(lambda: stopping.connection._layer.unread)


def half_a_proposal(stopping: Stopping, device: RawScu) -> None:
    """A part of an A-ASSOCIATE-RQ."""
    device.socket.sendall(associate_rq("HEMO1", "PLSCP", device.contexts)[:40])
    stopping.until(lambda: stopping.connection._layer.unread)


def half_a_handshake(stopping: Stopping, device: RawScu) -> None:
    """A ClientHello, and nothing more."""
    device.socket.sendall(tls.hello())
    stopping.until(lambda: stopping.listener.acceptor._open)


def commit(stopping: Stopping, _device: RawScu) -> None:
    """What waits for the disk is there."""
    stopping.commit()


@dataclass(frozen=True)
class Row:
    """A device.

    Attributes:
        before: what it does before the server is told to stop.
        during: what happens in the grace time.
        after: what happens when the grace time is over.
        sees: what it sees from the beginning of the grace time on, but for answers that it reads at once.
        answers: seconds for requests in hand after the grace time.
        associated: whether there is an association.
    """

    name: str
    before: Act
    during: Act
    after: Act
    sees: list[str]
    answers: float = LONG_SECONDS
    associated: bool = True
    secure: bool = False


ROWS = [
    Row("idle association", nothing, nothing, nothing, [ABORTED]),
    Row("releases in the grace time", nothing, asks_quickly_and_releases, nothing, [RELEASED, CLOSED]),
    Row("sends a request in the grace time, stays", nothing, asks_quickly, nothing, [ABORTED]),
    Row("request in hand, committed in the grace time", asks, commit, nothing, [ANSWERED, ABORTED]),
    Row("request in hand, committed after it", asks, nothing, commit, [ANSWERED, ABORTED]),
    Row("request in hand, never committed", asks, nothing, nothing, [ABORTED], answers=0.0),
    Row("message half sent, the rest after the grace time", first_half, nothing, second_half, [ANSWERED, ABORTED]),
    Row("message half sent, the rest never", first_half, nothing, nothing, [ABORTED], answers=0.0),
    Row("first PDU of a message half sent", half_a_pdu, nothing, nothing, [ABORTED]),
    Row("release under way behind a request", asks_and_releases, commit, nothing, [ANSWERED, RELEASED, CLOSED]),
    Row("the same, committed after the grace time", asks_and_releases, nothing, commit, [ANSWERED, RELEASED, CLOSED]),
    Row("connection without association", nothing, nothing, nothing, [CLOSED], associated=False),
    Row("A-ASSOCIATE-RQ half sent", half_a_proposal, nothing, nothing, [CLOSED], associated=False),
    Row("TLS handshake under way", half_a_handshake, nothing, nothing, [CLOSED], associated=False, secure=True),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "-"))
def test_what_a_device_sees(tmp_path: Path, row: Row) -> None:
    """Nothing that was begun goes unanswered while there is time; each association ends with a PDU; a new connection is refused."""
    with ExitStack() as ends, capture_logs() as lines:
        listener = ends.enter_context(Listener(certificates=tls.certificates(tmp_path) if row.secure else None))
        stopping = Stopping(listener)
        device = RawScu("127.0.0.1", listener.port)
        ends.enter_context(contextlib.closing((device.associate() if row.associated else device.connect()).socket))
        stopping.until(lambda: listener.acceptor._open)
        row.before(stopping, device)
        drained = stopping.drain(row.answers)
        with pytest.raises(ConnectionError):
            socket.create_connection(("127.0.0.1", listener.port), 60)
        row.during(stopping, device)
        if row.sees[-1] == ABORTED:  # it is still there when the grace time is over
            stopping.grace_is_over()
        elif row.after is not nothing:
            listener.call(listener.acceptor.end_idle)
        row.after(stopping, device)
        assert list(seen(device)) == row.sees
        device.socket.close()
        found = drained.result(60)
    named = [(line["calling_ae"], line["address"]) for line in lines if line.get("why") == "shutdown"]
    assert named == ([("HEMO1", "127.0.0.1")] if ABORTED in row.sees else [])
    assert found == {"released": int(RELEASED in row.sees), "aborted": int(ABORTED in row.sees), "left": 0}
