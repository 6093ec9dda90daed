"""MLLP (HL7 v2 Transport Specification: MLLP, Release 1): the framing, without I/O, and the listener for many senders.

A message stands between a VT and an FS with a CR after it. What a sender is answered goes back in such a frame, in the order of the
messages. The listener knows nothing of what is in them.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final, Literal, NamedTuple

from plscp.dicom.acceptor import Acceptor
from plscp.dicom.admission import printable, within
from plscp.dicom.certificates import Certificates
from plscp.dicom.fairness import Turns
from plscp.dicom.tls import PeerConnection, listen
from plscp.logs import log

VT, FS, CR = b"\x0b", b"\x1c", b"\r"
KEPT_BYTES: Final = 64 * 1024
"""Of a message that is too long or has no end: what is kept to be looked at."""
AHEAD_BYTES: Final = 256 * 1024
"""Beyond the longest message, read ahead of the one in hand; then the sender waits."""
SWEEP_SECONDS: Final = 0.25
MOST_NOTED: Final = 1000
HL7: Final = "hl7"
"""What settings, status, log and metrics call the feed."""
_ENDS: Final = re.compile(b"[\x0b\x1c]")


# --- framing -------------------------------------------------------------------------------------------------------------


class MllpFrame(NamedTuple):
    """One message as it was framed; of one that is too long `data` is the beginning, `length` the bytes of the whole."""

    data: bytes
    length: int
    fault: Literal["", "too-long", "no-end"] = ""


class Framing:
    """Bytes in, messages out; the bytes may be cut anywhere.

    The CR behind an FS may be absent or be an LF. What stands between messages otherwise is left out, and so are frames with nothing
    in them.

    Args:
        max_message: bytes; a longer message is left out but for its beginning.

    Attributes:
        open: whether a message was begun and not ended.
    """

    def __init__(self, max_message: int) -> None:
        self._most = max_message
        self._buffer = bytearray()
        self._scanned = 0
        self._head, self._dropped = b"", 0
        self.open = False

    @property
    def waiting(self) -> int:
        """Bytes that were received and are in no message yet that was given out."""
        return len(self._buffer)

    def receive(self, data: bytes) -> None:
        """Take bytes."""
        self._buffer += data

    def next(self) -> MllpFrame | None:
        """The next message, or None until more bytes come."""
        buffer = self._buffer
        while True:
            if not self.open:
                start = buffer.find(VT)
                self.open = start >= 0
                del buffer[: start + 1 if self.open else len(buffer)]
                if not self.open:
                    return None
            found = _ENDS.search(buffer, self._scanned)
            if found is None:
                self._scanned = len(buffer)
                if self._dropped + len(buffer) > self._most:
                    self._drop(len(buffer))
                return None
            self.open = found[0] == VT
            data, length = self._cut(found.start(), self._most)
            del buffer[:1]
            if length:
                return MllpFrame(data, length, "no-end" if self.open else "too-long" if length > self._most else "")

    def last(self) -> MllpFrame | None:
        """What was begun and not ended, when nothing comes any more; or None."""
        data, length = self._cut(len(self._buffer), KEPT_BYTES) if self.open else (b"", 0)
        return MllpFrame(data, length, "no-end") if length else None

    def _cut(self, end: int, most: int) -> tuple[bytes, int]:
        """A message that ends here, or the beginning of one that has more bytes than `most`; and its length."""
        if self._dropped + end > most:
            self._drop(end)
            end = 0
        taken = (self._head, self._dropped) if self._dropped else (bytes(self._buffer[:end]), end)
        del self._buffer[:end]
        self._scanned, self._head, self._dropped = 0, b"", 0
        return taken

    def _drop(self, count: int) -> None:
        """Leave so many bytes of a message that is too long out."""
        if not self._dropped:
            self._head = bytes(self._buffer[: min(self._most, KEPT_BYTES)])
        self._dropped += count
        del self._buffer[:count]
        self._scanned = 0


def framed(message: bytes) -> bytes:
    """A message in its frame."""
    return VT + message + FS + CR


# --- the listener --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MllpSettings:
    """What the listener is told.

    Attributes:
        senders: addresses that may connect; empty: any.
        message: bytes of the longest message.
        connections, connections_per_address: at once.
        message_deadline: seconds from a message's first byte to its last, and of a TLS handshake.
        idle_deadline: seconds without a message after which a connection is closed.
        answer_deadline: seconds from a message to its answer.
    """

    host: str = "127.0.0.1"
    port: int = 2575
    senders: tuple[IPv4Network | IPv6Network, ...] = ()
    message: int = 1 << 20
    connections: int = 100
    connections_per_address: int = 10
    message_deadline: float = 30.0
    idle_deadline: float = 43_200.0
    answer_deadline: float = 10.0


Handler = Callable[[MllpFrame, "FeedSender"], Awaitable[bytes]]
"""Takes a message, whole or broken, and gives what is to be sent back: frames, or nothing."""


@dataclass(slots=True)
class FeedSender:
    """Who sends over a connection, and how it went.

    Attributes:
        since: when it connected, seconds since the epoch.
        secured: version of TLS and client certificate, for the log.
        name: sending application and facility of its last message, as the handler notes it.
    """

    address: str
    port: int
    since: float = field(default_factory=time.time)
    secured: Mapping[str, Any] = field(default_factory=dict)
    messages: int = 0
    name: str = ""


class MllpConnection(PeerConnection):
    """One connection: its messages are handled one after the other, each before the next is looked at.

    Attributes:
        work: on the message in hand, if there is one.
        closing: no further message is taken.
    """

    def __init__(self, listener: "MllpListener") -> None:
        super().__init__()
        self._listener = listener
        self._framing = Framing(listener.settings.message)
        self._drained = asyncio.Event()
        self._drained.set()
        self._message_began: float | None = None
        self._why = ""
        self._read_paused = False
        self._sends_no_more = False
        self.work: asyncio.Task[None] | None = None
        self.active = time.monotonic()
        self.sender = FeedSender("", 0)
        self.closing = False

    # --- from the transport ---

    def connection_made(self, transport: Any) -> None:
        """Count it; close it where it may not be."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername") or ("", 0)
        self.sender = FeedSender(str(peer[0]), int(peer[1]))
        self._listener.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone: a message without an end is kept to be looked at; what is in hand is done all the same."""
        del exc
        self.closing = True
        self._drained.set()
        broken = self._framing.last()
        if broken is not None:
            self._listener.broken(broken, self.sender)
        self._listener.disconnected(self, self._why or ("in a message" if broken else "peer"))

    def eof_received(self) -> bool:
        """The sender sends no more, and may read on: what it has sent is answered first. Without TLS."""
        self._sends_no_more = True
        return self.work is not None

    def data_received(self, data: bytes) -> None:
        """Bytes without TLS."""
        self.acknowledge()
        self.take(data)

    def pause_writing(self) -> None:
        """The sender does not read its answers: the next one waits."""
        self._drained.clear()

    def resume_writing(self) -> None:
        """The sender reads again."""
        self._drained.set()

    def take(self, data: bytes) -> None:
        """Work off these bytes, after those that wait."""
        if self.closing:
            return
        self.active = time.monotonic()
        self._framing.receive(data)
        if self.work is None:
            self._go_on()
        elif not self._read_paused and self._framing.waiting > self._listener.settings.message + AHEAD_BYTES:
            self._read_paused = True
            self._transport.pause_reading()

    def close(self, why: str = "") -> None:
        """Take nothing more and close; `why` says so in the log."""
        self._why = self._why or why
        self.closing = True
        super().close()

    # --- messages ---

    def _go_on(self) -> None:
        """Begin with the next message, if it is there."""
        frame = self._framing.next()
        if frame is not None:
            self.work = asyncio.get_running_loop().create_task(self._handle(frame))
            self.work.add_done_callback(self._done)
        if not self._framing.open:
            self._message_began = None
        elif self._message_began is None or frame is not None:
            self._message_began = time.monotonic()

    async def _handle(self, frame: MllpFrame) -> None:
        self.sender.messages += 1
        self.sender.secured = self.secured
        answer = await self._listener.handler(frame, self.sender)
        if answer and not self._transport.is_closing():
            self._transport.write(answer)
            await self._drained.wait()

    def _done(self, work: asyncio.Task[None]) -> None:
        self.work = None
        self.active = time.monotonic()
        if not work.cancelled() and work.exception() is not None:
            log.error("internal-error", where="feeds.mllp", exc_info=work.exception())
            self.close("internal error")
        if self.closing:
            self.close()
            return
        if self._read_paused and self._framing.waiting <= AHEAD_BYTES:
            self._read_paused = False
            self._transport.resume_reading()
        self._go_on()
        if self._sends_no_more and self.work is None:
            self.close()

    def look(self, now: float) -> None:
        """Close it where a deadline has passed, in monotonic seconds."""
        settings = self._listener.settings
        if self.work is not None:
            if now - self.active > settings.answer_deadline + settings.idle_deadline:
                self.abort()  # it does not read its answer
        elif self._message_began is not None and now - self._message_began > settings.message_deadline:
            self.close("a message has no end")
        elif now - self.active > settings.idle_deadline:
            self.close("idle")

    def abort(self) -> None:
        """Close at once."""
        self.closing = True
        self._transport.abort()

    def finish(self) -> None:
        """Close as soon as the message in hand is answered."""
        self.closing = True
        if self.work is None:
            self.close("shutdown")


class MllpListener:
    """Listens for senders and hands their messages to a handler, in the running event loop.

    `broken` is told what was begun and not ended when a connection ended.
    """

    def __init__(
        self, settings: MllpSettings, handler: Handler, broken: Callable[[MllpFrame, FeedSender], None]
    ) -> None:
        self.settings, self.handler, self.broken = settings, handler, broken
        self._servers: list[asyncio.Server] = []
        self._open: dict[MllpConnection, None] = {}
        self._addresses: Counter[str] = Counter()
        self._turns = Turns(Acceptor.later)
        self._sweeper: asyncio.Task[None] | None = None
        self._noted: set[tuple[str, str]] = set()
        self.refused = 0

    async def start(self, certificates: Certificates | None = None) -> list[tuple[str, int]]:
        """Listen; returns each bound address and port. Raises CommandError: it cannot be listened on."""
        address = (self.settings.host, self.settings.port)
        server = await listen(f"feeds.{HL7}", address, partial(MllpConnection, self), self._turns, certificates)
        self._servers.append(server)
        self._sweeper = self._sweeper or asyncio.get_running_loop().create_task(self._sweep())
        return [sock.getsockname()[:2] for sock in server.sockets]

    async def stop(self) -> None:
        """Take no new message; answer those in hand, within the answer deadline; end every connection. Safe to call twice."""
        for server in self._servers:
            server.close()
        for connection in list(self._open):
            connection.finish()
        if in_hand := [connection.work for connection in self._open if connection.work is not None]:
            _, late = await asyncio.wait(in_hand, timeout=self.settings.answer_deadline)
            for connection in list(self._open) if late else ():
                connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self._servers.clear()

    def allow(self, senders: tuple[IPv4Network | IPv6Network, ...]) -> None:
        """From now on connections come from these networks; those of others are closed."""
        self.settings = replace(self.settings, senders=senders)
        for connection in list(self._open):
            if not self._allowed(connection.sender.address):
                connection.finish()

    @property
    def senders(self) -> list[FeedSender]:
        """Who is connected."""
        return [connection.sender for connection in self._open]

    def _allowed(self, address: str) -> bool:
        return not self.settings.senders or within(address, self.settings.senders)

    # --- from the connections ---

    def connected(self, connection: MllpConnection) -> None:
        """A connection was made: take it, or close it."""
        address = connection.sender.address
        self._open[connection] = None
        self._addresses[address] += 1
        why = ""
        if not self._allowed(address):
            why = f"feeds.{HL7}.senders"
        elif self._addresses[address] > self.settings.connections_per_address:
            why = f"feeds.{HL7}.max_connections_per_address"
        elif len(self._open) > self.settings.connections:
            why = f"feeds.{HL7}.max_connections"
        if why:
            self.refused += 1
            self._note(address, why)
            connection.close(why)
        else:
            log.info("feed-connected", feed=HL7, address=address)

    def disconnected(self, connection: MllpConnection, why: str) -> None:
        """A connection is gone."""
        address = connection.sender.address
        self._open.pop(connection, None)
        self._addresses[address] -= 1
        if self._addresses[address] <= 0:
            del self._addresses[address]
        if connection.refused_certificate:
            self.refused += 1
            self._note(address, why, **connection.refused_certificate)
        elif not why.startswith("feeds."):
            messages = connection.sender.messages
            log.info("feed-disconnected", feed=HL7, address=address, messages=messages, reason=why)

    def _note(self, address: str, why: str, **certificate: str) -> None:
        """Said once for each address and cause: who is refused tries again."""
        if len(self._noted) > MOST_NOTED:
            self._noted.clear()
        cause = address, why + printable(certificate.get("certificate", ""))
        if cause not in self._noted:
            self._noted.add(cause)
            log.warning("feed-refused", feed=HL7, address=address, rule=why, **certificate)

    async def _sweep(self) -> None:
        while True:
            now = time.monotonic()
            for connection in list(self._open):
                connection.look(now)
            await asyncio.sleep(SWEEP_SECONDS)
