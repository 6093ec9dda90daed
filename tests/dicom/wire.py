"""An association without sockets: bytes in, bytes out, the loop turned by hand. And a listener with sockets, in a thread."""

import asyncio
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any, Self

from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode, encode

from plscp.dicom.acceptor import Acceptor, NetworkSettings
from plscp.dicom.answer import SUCCESS, PendingResponse, Status
from plscp.dicom.association import Association
from plscp.dicom.certificates import Certificates
from plscp.dicom.fairness import Turns
from plscp.dicom.tls import Secured
from plscp.dicom.upper_layer import State
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from tests.rawscu import SYNTAXES, VERIFICATION, associate_rq, n_action, p_data, pdv
from tests.serving import until

EVENTS, SUBSTANCE, ECHO = 1, 3, 5
"""Context IDs of an association that `Line.associate` makes."""
CONTEXTS = (
    (PROCEDURAL_EVENT_LOGGING, SYNTAXES[1]),
    (SUBSTANCE_ADMINISTRATION_LOGGING, SYNTAXES[1]),
    (VERIFICATION, SYNTAXES[1]),
)
DATA = b"\x10\x00\x20\x00LO\x04\x00P001"
"""A data set of one element."""
SETTINGS = NetworkSettings(port=0, futile_share=1.0)


class Transport:
    """What an association needs of asyncio's transport."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address = address
        self.written = bytearray()
        self.reading = True
        self.closing = False

    def get_extra_info(self, name: str) -> Any:
        """A peer, and no socket."""
        return (self.address, 50000) if name == "peername" else None

    def write(self, data: bytes) -> None:
        """Keep it."""
        assert not self.closing, "written after the end"
        self.written += data

    def close(self) -> None:
        """Close."""
        self.closing = True

    abort = close

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.closing

    def get_write_buffer_size(self) -> int:
        """The peer takes everything at once."""
        return 0

    def pause_reading(self) -> None:
        """Bytes wait from now on."""
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        """Bytes come again."""
        assert not self.reading
        self.reading = True


class Line:
    """One association.

    Attributes:
        handler: from an event to an answer; by default Success.
        events: what the handler got.
        heard: receipts that are known to have arrived.
    """

    def __init__(
        self,
        settings: NetworkSettings = SETTINGS,
        handler: Callable[[Any], Any] | None = None,
        certificates: Certificates | None = None,
    ) -> None:
        self.loop = asyncio.new_event_loop()
        self.errors: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.events: list[Any] = []
        self.heard: list[object] = []
        self.handler: Callable[[Any], Any] = handler or (lambda _: (SUCCESS, None))
        self.acceptor = Acceptor(settings, self._handle, self.heard.extend)
        self.acceptor.later = self._rest  # type: ignore[method-assign]
        self.acceptor.turns = Turns(self._rest)
        self.association = Association(self.acceptor)
        self.protocol = (
            self.association if certificates is None else Secured(certificates, self.association, self.acceptor.turns)
        )
        self.transport = Transport()
        self.lost = False
        self.protocol.connection_made(self.transport)
        self._later: deque[bytes] = deque()
        self._rests: deque[Callable[[], None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.turn()
        if not self.lost:
            self.protocol.connection_lost(None)
        self.loop.close()
        if exc[0] is None:
            assert not self.errors

    def _handle(self, event: Any) -> Any:
        self.events.append(event)
        return self.handler(event)

    @property
    def state(self) -> State:
        """Of the state machine."""
        return self.association.state

    def turn(self) -> None:
        """One turn of the loop, and the loss of a transport that was closed."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()
        self._settle()

    def _rest(self, seconds: float, call: Callable[[], None]) -> None:
        self._rests.append(call)
        del seconds

    def _settle(self) -> None:
        while not self.transport.closing:
            if self._rests:
                self._rests.popleft()()
            elif self._later and self.transport.reading:
                self.protocol.data_received(self._later.popleft())
            else:
                break
        if self.transport.closing and not self.lost:
            self.lost = True
            self.protocol.connection_lost(None)

    def send(self, *chunks: bytes) -> None:
        """Each chunk arrives as one read; chunks wait while reading is paused."""
        self._later.extend(chunk for chunk in chunks if chunk)
        self._settle()

    def resolve(self, response: PendingResponse, answer: Any = (SUCCESS, None)) -> None:
        """Give an answer."""
        response.give(answer)
        self.turn()

    def associate(self, *, max_length: int = 16384, contexts: Any = CONTEXTS) -> Self:
        """Make the association; its answer is taken."""
        self.send(associate_rq("HEMO1", "PLSCP", contexts, max_length))
        [(kind, _)] = self.pdus()
        assert kind == 2
        return self

    def pdus(self) -> list[tuple[int, bytes]]:
        """Take the PDUs that were written: (type, body)."""
        found = pdus_of(bytes(self.transport.written))
        self.transport.written.clear()
        return found

    def answers(self) -> list[Dataset]:
        """Take the command sets that were written; nothing else may have been."""
        found = []
        for kind, body in self.pdus():
            assert kind == 4, (kind, body)
            found += [decode(BytesIO(part), True, True) for _, control, part in pdvs_of(body) if control == 3]
        return found


def pdus_of(raw: bytes) -> list[tuple[int, bytes]]:
    """Bytes as PDUs: (type, body)."""
    found = []
    while raw:
        kind, length = struct.unpack_from(">BxL", raw)
        assert len(raw) >= 6 + length
        found.append((kind, raw[6 : 6 + length]))
        raw = raw[6 + length :]
    return found


def pdvs_of(body: bytes) -> list[tuple[int, int, bytes]]:
    """The body of a P-DATA-TF as (context ID, message control header, fragment)."""
    found = []
    while body:
        size, context, control = struct.unpack_from(">LBB", body)
        found.append((context, control, body[6 : 4 + size]))
        body = body[4 + size :]
    return found


def request(number: int, data: bytes = DATA, *, context: int = EVENTS) -> bytes:
    """An N-ACTION-RQ as a stock SCU sends it: a PDU for the command set, another for the data set."""
    sop_class = CONTEXTS[context // 2][0]
    command = p_data(pdv(context, 3, n_action(number, sop_class, data=bool(data))))
    return command + p_data(pdv(context, 2, data)) if data else command


class Reply:
    """A data set as an Action Reply."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def encode(self, *, implicit: bool, little: bool) -> bytes:
        """By pynetdicom."""
        return encode(self._dataset, implicit, little) or b""


def with_receipt(receipt: object, status: int = 0x0000) -> Status:
    """A status whose arrival matters."""
    given = Status(status)
    given.receipt = receipt
    return given


class Listener:
    """An acceptor with sockets, its loop in a thread of its own; nothing may come out of the loop."""

    def __init__(
        self,
        handler: Callable[[Any], Any] | None = None,
        certificates: Certificates | None = None,
        **settings: Any,
    ) -> None:
        self.certificates = certificates
        self.events: list[Any] = []
        self.heard: list[object] = []
        self.errors: list[dict[str, Any]] = []
        self.handler: Callable[[Any], Any] = handler or (lambda _: (SUCCESS, None))
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.acceptor = Acceptor(replace(SETTINGS, **settings), self._handle, self.heard.extend)
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _handle(self, event: Any) -> Any:
        self.events.append(event)
        return self.handler(event)

    def _run(self) -> None:
        self.loop.run_until_complete(self._start())
        self._ready.set()
        self.loop.run_forever()
        self.acceptor.close()
        self.loop.run_until_complete(self._last())
        self.loop.close()

    async def _start(self) -> None:
        [(_, self.port)] = await self.acceptor.start(self.certificates)

    async def _last(self) -> None:
        for _ in range(3):  # transports close in a later turn
            await asyncio.sleep(0)

    def call(self, work: Callable[[], Any]) -> Any:
        """Do it in the loop."""

        async def inside() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(inside(), self.loop).result(60)

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait until it holds, looked at in the loop."""
        until(lambda: self.call(condition), "the listener")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *exc: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(60)
        if exc[0] is None:
            assert not self.errors
