"""What an attacker holds: connections from many loopback addresses, and a note of what came back."""

import asyncio
import itertools
import struct
from collections import Counter
from collections.abc import Awaitable, Callable

from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests.rawscu import SYNTAXES, associate_rq

RQ = associate_rq("ATTACKER", "PLSCP", [(PROCEDURAL_EVENT_LOGGING, syntax) for syntax in (SYNTAXES[0], SYNTAXES[3])])
"""Context 1 in Implicit VR Little Endian, context 3 deflated."""
STATUS = struct.pack("<HHL", 0, 0x0900, 2)


class Peer:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, raw: bytes) -> None:
        """Send; waits while the server does not read."""
        self.writer.write(raw)
        await self.writer.drain()

    def stop_reading(self) -> None:
        """Read no more."""
        transport = self.writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()

    async def answer(self) -> str:
        """What the next PDU says: `accepted`, `rejected 2/3/2`, `status C102`, `released`, `aborted 2-6`; or `closed`."""
        try:
            kind, length = struct.unpack(">BxL", await self.reader.readexactly(6))
            body = await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return "closed"
        if kind == 4:
            if STATUS not in body:
                return "reply"
            return f"status {struct.unpack_from('<H', body, body.index(STATUS) + 8)[0]:04X}"
        names = {2: "accepted", 3: f"rejected {body[1]}/{body[2]}/{body[3]}", 6: "released"}
        return names.get(kind) or f"aborted {body[2]}-{body[3]}"


class Target:
    """The server, as one attack sees it.

    Args:
        port: of the server; `secure_port` over TLS.
        network: second and third number of the attacker's addresses, 127.x.y.*: no two attacks share any.
        strength: 1, or more for more attackers.

    Attributes:
        answers: what came back, by `Peer.answer`'s words.
    """

    def __init__(self, port: int, secure_port: int, network: str, strength: int) -> None:
        self.port, self.secure_port, self.network, self.strength = port, secure_port, network, strength
        self.answers: Counter[str] = Counter()
        self._numbers = itertools.count()
        self._open: set[asyncio.StreamWriter] = set()

    async def connect(self, addresses: int = 4, *, secure: bool = False) -> Peer:
        """A connection from one of so many addresses, in turn; to the port of TLS, not a handshake yet."""
        source = f"127.{self.network}.{next(self._numbers) % addresses + 1}"
        port = self.secure_port if secure else self.port
        peer = Peer(*await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0)))
        self._open = {one for one in self._open if not one.is_closing()} if len(self._open) > 5000 else self._open
        self._open.add(peer.writer)
        return peer

    async def associate(self, addresses: int = 4) -> Peer:
        """An association; raises ConnectionError where there is none."""
        peer = await self.connect(addresses)
        await peer.send(RQ)
        said = await peer.answer()
        if said != "accepted":
            self.note(said)
            peer.writer.close()
            raise ConnectionError(said)
        return peer

    def note(self, said: str) -> None:
        """Something came back."""
        self.answers[said] += 1

    async def ends(self, peer: Peer) -> None:
        """Note what comes back until the server says no more than that it ends."""
        while True:
            said = await peer.answer()
            self.note(said)
            if said.startswith(("closed", "aborted", "rejected", "released")):
                return

    def leave(self) -> None:
        """Drop every connection."""
        for writer in self._open:
            if not writer.transport.is_closing():  # a transport that has lost its connection cannot be aborted any more
                writer.transport.abort()

    async def each(self, count: int, attacker: Callable[["Target"], Awaitable[None]]) -> None:
        """So many attackers at once, each again and again, until cancelled."""

        async def again() -> None:
            while True:
                try:
                    await attacker(self)
                except OSError:
                    self.note("closed")
                    await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as group:
            for _ in range(count * self.strength):
                group.create_task(again())
