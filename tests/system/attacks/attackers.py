"""The attacks, one row each: what is done to the server, and what it must have answered, counted and logged."""

import asyncio
import random
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache

from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.rawscu import ABORT, RELEASE_RQ, SYNTAXES, n_action, p_data, pdv
from tests.system.attacks.target import RQ, Peer, Target
from tests.tls import hello

ACTION = n_action(1, PROCEDURAL_EVENT_LOGGING)
COMMAND = p_data(pdv(1, 3, ACTION))
SILENT_SECONDS = 0.4
"""Between two bytes of those who send one at a time: every deadline of the server passes before they are done."""


def item(kind: int, body: bytes) -> bytes:
    """An item of an A-ASSOCIATE-RQ."""
    return struct.pack(">BBH", kind, 0, len(body)) + body


def associating(*items: bytes, calling: bytes = b"ATTACKER") -> bytes:
    """An A-ASSOCIATE-RQ of these items."""
    body = struct.pack(">HH", 1, 0) + b"PLSCP".ljust(16) + calling.ljust(16) + bytes(32) + b"".join(items)
    return struct.pack(">BBL", 1, 0, len(body)) + body


APPLICATION = item(0x10, b"1.2.840.10008.3.1.1.1")
CONTEXT = item(0x20, b"\1\0\0\0" + item(0x30, PROCEDURAL_EVENT_LOGGING.encode()) + item(0x40, SYNTAXES[0].encode()))
USER = item(0x50, item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3"))


def message(data: bytes, context: int = 1, command: bytes = ACTION) -> bytes:
    """A request as P-DATA-TF PDUs of the announced size."""
    parts = [data[start : start + 16000] for start in range(0, len(data), 16000)]
    last = len(parts) - 1
    return p_data(pdv(context, 3, command)) + b"".join(
        p_data(pdv(context, 2 if number == last else 0, part)) for number, part in enumerate(parts)
    )


def element(tag: int, value: bytes) -> bytes:
    """An element in Implicit VR Little Endian."""
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value


def items(*bodies: bytes) -> bytes:
    """Items of a sequence."""
    return b"".join(struct.pack("<HHL", 0xFFFE, 0xE000, len(body)) + body for body in bodies)


@cache
def note() -> bytes:
    """A data set that nothing is wrong with, but for its patient, whom nobody knows."""
    return events.encoded(events.procedural([events.note(events.now())], patient="NOBODY"), SYNTAXES[0])


# --- connections -------------------------------------------------------------------------------------------------------


async def one_byte(target: Target) -> None:
    """Sends one byte and stops."""
    peer = await target.connect()
    await peer.send(b"\1")
    await target.ends(peer)


def prepare() -> None:
    """Make what takes long to make, once."""
    for make in (bomb, nested, many_items, too_long, long_value, worst, note, first_hello):
        make()


async def nothing(target: Target) -> None:
    """One of thousands, from a hundred addresses, that send nothing."""
    await target.ends(await target.connect(100))


async def nothing_from_here(target: Target) -> None:
    """The same from one address."""
    await target.ends(await target.connect(1))
    await asyncio.sleep(0.05)


async def connect_and_close(target: Target) -> None:
    """A load balancer's probe that went mad."""
    peer = await target.connect()
    peer.writer.close()
    target.note("closed")
    await asyncio.sleep(0)


async def reset(target: Target) -> None:
    """Associates, sends a request and resets."""
    peer = await target.associate()
    peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await peer.send(message(note()))
    peer.writer.transport.abort()
    target.note("closed")


async def over_the_cap(target: Target) -> None:
    """Associates and stays: more than one address may have."""
    peer = await target.connect(1)
    await peer.send(RQ)
    await target.ends(peer)
    peer.writer.close()


# --- TLS ---------------------------------------------------------------------------------------------------------------


def shaking(first: Callable[[], bytes]) -> Callable[[Target], Awaitable[None]]:
    """Sends this to the port of TLS and no more."""

    async def shake(target: Target) -> None:
        peer = await target.connect(secure=True)
        await peer.send(first())
        await target.ends(peer)
        peer.writer.close()

    return shake


def garbage() -> bytes:
    """What begins as a ClientHello and is none."""
    return b"\x16\3\1\1\0\1\0\0\xfc" + random.randbytes(0xFC)


first_hello = cache(hello)


# --- A-ASSOCIATE-RQ ----------------------------------------------------------------------------------------------------


async def drip(peer: Peer, raw: bytes) -> None:
    """Byte by byte, until the server has had enough."""
    for byte in raw:
        await peer.send(bytes([byte]))
        await asyncio.sleep(SILENT_SECONDS)


async def dripping(target: Target, peer: Peer, raw: bytes) -> None:
    """The same, and what comes back."""
    sending = asyncio.ensure_future(drip(peer, raw))
    try:
        await target.ends(peer)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        peer.writer.close()


async def slow_association(target: Target) -> None:
    """An A-ASSOCIATE-RQ byte by byte."""
    await dripping(target, await target.connect(), RQ)


def asking(raw: bytes) -> Callable[[Target], Awaitable[None]]:
    """Sends this A-ASSOCIATE-RQ and hears the answer."""

    async def ask(target: Target) -> None:
        peer = await target.connect()
        await peer.send(raw)
        target.note(await peer.answer())
        peer.writer.close()

    return ask


def contexts(count: int, syntaxes: int) -> bytes:
    """An A-ASSOCIATE-RQ of so many contexts of so many transfer syntaxes each."""
    many = b"".join(item(0x40, f"1.2.{number}".encode()) for number in range(syntaxes))
    abstract = item(0x30, PROCEDURAL_EVENT_LOGGING.encode())
    proposed = [item(0x20, bytes([2 * number + 1, 0, 0, 0]) + abstract + many) for number in range(count)]
    return associating(APPLICATION, *proposed, USER)


async def four_gib(target: Target) -> None:
    """Announces 4 GiB in its A-ASSOCIATE-RQ and sends, if it is let, 400 MiB, whatever it hears meanwhile."""
    peer = await target.connect()
    await peer.send(struct.pack(">BBL", 1, 0, 0xFFFFFFFF))
    ending = asyncio.ensure_future(target.ends(peer))
    try:
        for _ in range(400 * 16):
            await peer.send(bytes(65536))
        await ending
    finally:
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)
        peer.writer.close()


async def user_items(target: Target) -> None:
    """User information items of any kind and length, true or not."""
    kind, length = (
        random.choice([*range(0x51, 0x5A), 0xFF]),
        random.choice([0, 1, 2, 3, 4, 5, 64, 65, 255, 4000, 60000]),
    )
    odd = struct.pack(">BBH", kind, 0, max(length + random.choice([0, 0, -1, 1]), 0)) + b"1" * length
    await asking(associating(APPLICATION, CONTEXT, item(0x50, odd)))(target)


async def titles(target: Target) -> None:
    """Calling AE titles of spaces, control characters, escapes."""
    title = random.choice([b"", b" " * 16, b"\0" * 16, b"A\nB", b"\x1b[31m", b"\x7f" * 16, b"A\\B", b"\xe4"])
    await asking(associating(APPLICATION, CONTEXT, USER, calling=title))(target)


# --- messages ----------------------------------------------------------------------------------------------------------


def sending(raw: bytes) -> Callable[[Target], Awaitable[None]]:
    """Associates, sends this and hears how it ends."""

    async def send(target: Target) -> None:
        peer = await target.associate()
        await peer.send(raw)
        await target.ends(peer)
        peer.writer.close()

    return send


def asking_again(raw: Callable[[], bytes]) -> Callable[[Target], Awaitable[None]]:
    """Associates, sends this request and hears the answer, again and again."""

    async def ask(target: Target) -> None:
        peer = await target.associate()
        while True:
            await peer.send(raw())
            said = await peer.answer()
            target.note(said)
            if said == "closed" or said.startswith("aborted"):
                raise ConnectionError

    return ask


async def slow_pdu(target: Target) -> None:
    """A P-DATA-TF byte by byte."""
    await dripping(target, await target.associate(), COMMAND)


async def slow_message(target: Target) -> None:
    """A data set in fragments of one byte, each in a PDU of its own, slowly."""
    peer = await target.associate()
    await peer.send(COMMAND)
    ending = asyncio.ensure_future(target.ends(peer))
    while not ending.done():
        await peer.send(p_data(pdv(1, 0, b"x")))
        await asyncio.wait({ending}, timeout=SILENT_SECONDS)
    peer.writer.close()


LYING = [
    p_data(struct.pack(">LBB", length, 1, 3) + body)
    for length, body in ((0, b""), (1, b""), (500, ACTION), (0xFFFFFFFF, ACTION), (len(ACTION), ACTION))
]


async def lying(target: Target) -> None:
    """Presentation data values that lie about their length."""
    await sending(random.choice(LYING))(target)


async def tiny_fragments(target: Target) -> None:
    """A data set in PDUs of one byte each, as fast as they go."""
    peer = await target.associate()
    await peer.send(COMMAND)
    flood = p_data(pdv(1, 0, b"x")) * 4000
    while True:
        await peer.send(flood)


async def empty_fragments(target: Target) -> None:
    """A data set in fragments of nothing, 2,000 to a PDU, as fast as they go."""
    peer = await target.associate()
    await peer.send(COMMAND)
    flood = p_data(*[pdv(1, 0, b"")] * 2000) * 4
    while True:
        await peer.send(flood)


async def empty_pdus(target: Target) -> None:
    """P-DATA-TFs that hold nothing."""
    await sending(p_data() * 20000)(target)


async def all_at_once(target: Target) -> None:
    """Requests one after the other, all with one Message ID, without waiting for an answer."""
    peer = await target.associate()
    raw = message(note()) * 20
    while True:
        await peer.send(raw)
        for _ in range(20):
            said = await peer.answer()
            target.note(said)
            if said == "closed":
                raise ConnectionError


async def never_reads(target: Target) -> None:
    """Asks without end and reads no answer; what is refused is read ever more slowly."""
    peer = await target.associate()
    peer.stop_reading()
    raw = message(note()) * 20
    while True:
        await peer.send(raw)


async def abort_in_message(target: Target) -> None:
    """Aborts in the middle of a message."""
    peer = await target.associate()
    await peer.send(COMMAND + p_data(pdv(1, 0, b"x" * 100)) + ABORT)
    await target.ends(peer)
    peer.writer.close()


@cache
def bomb() -> bytes:
    """1 GiB of zeros, deflated: 1.04 MB, just within the bound of what arrives."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = bytes(1 << 20)
    raw = b"".join(packer.compress(block) for _ in range(1 << 10)) + packer.flush()
    return message(raw[: 1 << 20], context=3)


@cache
def nested() -> bytes:
    """Content Sequences 200 deep."""
    body = b""
    for _ in range(200):
        body = element(0x0040A730, items(body))
    return message(element(0x00100020, b"P1") + body)


@cache
def many_items() -> bytes:
    """100,000 items."""
    return message(element(0x00100020, b"P1") + element(0x0040A730, items(b"") * 100_000))


@cache
def too_long() -> bytes:
    """2 MiB in one element after the other."""
    return message(b"".join(element(0x00111000 + number, bytes(32768)) for number in range(64)))


@cache
def long_value() -> bytes:
    """One value that is longer than the bound."""
    return message(element(0x00100020, b"P" * 70_000))


@cache
def worst() -> bytes:
    """As much as the bounds let through: 1,500 notes in 20,000 elements, for a patient whom nobody knows."""
    made = events.procedural([events.note(events.now()) for _ in range(1500)], patient="NOBODY")
    return message(events.encoded(made, SYNTAXES[0]))


def refused() -> bytes:
    """A request for a patient whom nobody knows, each with other words."""
    return message(note().replace(b"note ", b"%05d" % random.randrange(100_000)))


# --- the table ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attack:
    """One row.

    Attributes:
        attacker: what each of them does, again and again.
        count: how many of them at once.
        counted: labels of what the server must have counted: `outcome reason`, or `status` and a status.
        answered: what the attackers must have seen, in the words of `Peer.answer`; empty: nothing.
        logged: events of which a line must stand in the log.
        secure: it is done to the port of TLS, where a device that comes meanwhile must be served, too.
    """

    name: str
    attacker: Callable[[Target], Awaitable[None]] = field(repr=False)
    count: int
    counted: str
    answered: str
    logged: str
    secure: bool = False


CLOSED, REJECTED, ABORTED, REFUSED = (
    "connection-closed",
    "association-rejected",
    "association-aborted",
    "request-refused",
)
SLOWED = "slowed futile-work"
LATE = "closed no-associate-request"
ATTACKS = [
    # connections
    Attack("one byte and stop", one_byte, 200, LATE, "closed", CLOSED),
    Attack("2,400 half-open handshakes", nothing, 2400, "closed connections", "closed", CLOSED),
    Attack(
        "300 connections of one address", nothing_from_here, 300, "closed connections-per-address", "closed", CLOSED
    ),
    Attack("connect and close", connect_and_close, 4, "closed transport", "closed", CLOSED),
    Attack("resets after a request", reset, 4, "lost transport", "closed", "association-ended"),
    Attack(
        "80 associations of one address", over_the_cap, 80, "rejected local-limit", "rejected 2/3/2", "peer-refused"
    ),
    # TLS
    Attack(
        "TLS handshakes not finished",
        shaking(first_hello),
        200,
        "closed no-tls-handshake",
        "closed",
        CLOSED,
        secure=True,
    ),
    Attack("TLS handshakes of garbage", shaking(garbage), 4, "closed tls-handshake", "closed", CLOSED, secure=True),
    Attack("plain DICOM to the port of TLS", shaking(lambda: RQ), 4, "closed not-tls", "closed", CLOSED, secure=True),
    # A-ASSOCIATE-RQ
    Attack("A-ASSOCIATE-RQ byte by byte", slow_association, 100, LATE, "closed", CLOSED),
    Attack("4 GiB announced", four_gib, 4, "aborted 0-0", "aborted 0-0", ABORTED),
    Attack("128 contexts of 1,000 syntaxes", asking(contexts(128, 1000)), 4, "aborted 0-0", "aborted 0-0", ABORTED),
    Attack(
        "128 contexts of 40 syntaxes", asking(contexts(128, 40)), 4, "lost transport", "accepted", "association-ended"
    ),
    Attack("user information of any length", user_items, 4, "aborted 0-0", "aborted 0-0", ABORTED),
    Attack("AE titles of control characters", titles, 4, "rejected calling-ae-title", "rejected 1/1/3", REJECTED),
    # PDUs and messages
    Attack("P-DATA-TF byte by byte", slow_pdu, 100, "aborted 2-0", "aborted 2-0", ABORTED),
    Attack("a message byte by byte", slow_message, 100, "aborted 2-0", "aborted 2-0", ABORTED),
    Attack("PDVs that lie about their length", lying, 4, "aborted 2-6", "aborted 2-6", ABORTED),
    Attack("a context never negotiated", sending(p_data(pdv(99, 3, ACTION))), 4, "aborted 2-6", "aborted 2-6", ABORTED),
    Attack("release in a message", sending(COMMAND + RELEASE_RQ), 4, "aborted 2-6", "aborted 2-6", ABORTED),
    Attack("abort in a message", abort_in_message, 4, "aborted by-peer", "closed", "association-ended"),
    Attack("an unknown PDU type", sending(b"\x63\0\0\0\0\1?"), 4, "aborted 2-1", "aborted 2-1", ABORTED),
    Attack("P-DATA-TF without PDVs", empty_pdus, 4, "aborted 2-6", "aborted 2-6", ABORTED),
    Attack("fragments of one byte", tiny_fragments, 8, SLOWED, "", "peer-slowed"),
    Attack("fragments of nothing", empty_fragments, 8, SLOWED, "", "peer-slowed"),
    Attack("a second request before an answer", all_at_once, 4, "status C103", "status 0210", REFUSED),
    Attack("answers that nobody reads", never_reads, 16, SLOWED, "", "peer-slowed"),
    # data sets
    Attack("deflate bomb", asking_again(bomb), 4, "status 0213", "status 0213", REFUSED),
    Attack("2 MiB", asking_again(too_long), 4, "status 0213", "status 0213", REFUSED),
    Attack("a value of 70,000 bytes", asking_again(long_value), 4, "status C102", "status C102", REFUSED),
    Attack("Content Sequence 200 deep", asking_again(nested), 4, "status C102", "status C102", REFUSED),
    Attack("100,000 items", asking_again(many_items), 4, "status C102", "status C102", REFUSED),
    Attack("the worst within the bounds", asking_again(worst), 4, "status C103", "status C103", REFUSED),
    Attack("refusals without end", asking_again(refused), 16, "status C103", "status C103", REFUSED),
]
