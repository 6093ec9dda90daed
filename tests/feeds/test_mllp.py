"""MLLP: frames however they are cut, and the listener: order, bounds, deadlines, TLS, the end."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plscp.dicom.certificates import Certificates
from plscp.errors import CommandError
from plscp.feeds.mllp import FeedSender, Framing, MllpFrame, MllpListener, MllpSettings, framed
from tests import serving, tls

MOST = 50


def frames(*pieces: bytes, most: int = MOST) -> list[MllpFrame]:
    """The frames of pieces."""
    framing, found = Framing(most), []
    for piece in pieces:
        framing.receive(piece)
        while (frame := framing.next()) is not None:
            found.append(frame)
    return found


# --- framing ---

_BYTES = st.lists(st.sampled_from([b"\x0b", b"\x1c", b"\r", b"\n", b"MSH|", b"x" * 7, b"\x1c\r\x0b", b"y" * 30])).map(
    b"".join
)


@given(_BYTES, st.lists(st.integers(0, 400)))
def test_any_cut_gives_the_same_frames(data: bytes, cuts: list[int]) -> None:
    """What is framed does not depend on how the bytes arrive."""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[start:stop] for start, stop in pairwise(places)]
    assert frames(*pieces) == frames(data) == frames(*(bytes([each]) for each in data))


@given(st.lists(st.binary(min_size=1, max_size=MOST).map(lambda one: one.translate(None, b"\x0b\x1c")).filter(bool)))
def test_what_is_framed_comes_out(messages: list[bytes]) -> None:
    """Every message, whole and in order."""
    assert frames(b"".join(map(framed, messages))) == [MllpFrame(one, len(one)) for one in messages]


def test_lenient_about_the_end_and_what_stands_between() -> None:
    """The CR may be missing or be an LF; other bytes between messages are left out; empty frames are none."""
    assert frames(b"\x0ba\x1c\x0bb\x1c\n\x0bc\x1c\r\n\r") == [MllpFrame(each, 1) for each in (b"a", b"b", b"c")]
    assert frames(b"junk\x0ba\x1c\rmore\x1c\r\x0b\x1c\r") == [MllpFrame(b"a", 1)]


def test_too_long_and_without_an_end() -> None:
    """Of a message that is too long the beginning is kept; one that another interrupts has no end."""
    assert frames(b"\x0b" + b"x" * 60 + b"\x1c\r\x0bb\x1c") == [
        MllpFrame(b"x" * 50, 60, "too-long"),
        MllpFrame(b"b", 1),
    ]
    assert frames(b"\x0bhalf\x0bb\x1c") == [MllpFrame(b"half", 4, "no-end"), MllpFrame(b"b", 1)]
    framing = Framing(MOST)
    framing.receive(b"\x0bhalf")
    assert (framing.next(), framing.last()) == (None, MllpFrame(b"half", 4, "no-end"))


def test_a_message_without_end_takes_no_memory() -> None:
    """Bytes beyond the bound are not kept."""
    framing = Framing(1000)
    framing.receive(b"\x0b")
    for _ in range(1000):
        framing.receive(b"x" * 1000)
        assert framing.next() is None
        assert framing.waiting <= 2000
    framing.receive(b"\x1c")
    assert framing.next() == MllpFrame(b"x" * 1000, 1_000_000, "too-long")


# --- the listener ---


class Rig:
    """A listener whose handler answers with the message, unless it is told to wait.

    Attributes:
        heard: messages in the order in which they were handled.
        broken: what had no end when a connection ended.
        gate: clear it, and messages wait.
    """

    def __init__(self, settings: MllpSettings) -> None:
        self.heard: list[bytes] = []
        self.broken: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.listener = MllpListener(settings, self.handle, lambda frame, _: self.broken.append(frame.data))
        self.port = 0

    async def handle(self, frame: MllpFrame, _sender: FeedSender) -> bytes:
        """Answer."""
        self.heard.append(frame.data)
        await self.gate.wait()
        if frame.data == b"defect":
            raise ValueError(frame.data)
        return framed(frame.fault.encode() or frame.data)

    async def connect(self, **given: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A sender."""
        return await asyncio.open_connection("127.0.0.1", self.port, **given)


@contextlib.asynccontextmanager
async def rig(certificates: Certificates | None = None, **given: Any) -> AsyncIterator[Rig]:
    """A listener that runs."""
    made = Rig(MllpSettings(port=0, **given))
    [(_, made.port)] = await made.listener.start(certificates)
    try:
        yield made
    finally:
        made.gate.set()
        await made.listener.stop()


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until it holds."""
    await asyncio.to_thread(serving.until, condition, "the listener")


async def answer(reader: asyncio.StreamReader) -> bytes:
    """The next answer; empty at the end of the connection."""
    async with asyncio.timeout(60):
        try:
            return (await reader.readuntil(b"\x1c\r"))[1:-2]
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""


def test_many_senders_and_messages_pipelined_split_and_joined() -> None:
    """Each sender gets its answers in the order of its messages, however the bytes are cut."""

    async def run() -> None:
        async with rig() as made:
            senders = [await made.connect() for _ in range(5)]
            for index, (_, writer) in enumerate(senders):
                data = b"".join(framed(b"%d-%d" % (index, number)) for number in range(50))
                for start in range(0, len(data), 11):
                    writer.write(data[start : start + 11])
                    await writer.drain()
            for index, (reader, writer) in enumerate(senders):
                assert [await answer(reader) for _ in range(50)] == [b"%d-%d" % (index, number) for number in range(50)]
                writer.close()

    asyncio.run(run())


def test_a_defect_in_the_handler_ends_that_connection_only() -> None:
    """It is logged, and the other sender goes on."""

    async def run() -> None:
        async with rig() as made:
            (reader, writer), (other, second) = await made.connect(), await made.connect()
            writer.write(framed(b"defect"))
            assert await answer(reader) == b""
            second.write(framed(b"a"))
            assert await answer(other) == b"a"
            writer.close()
            second.close()

    asyncio.run(run())


def test_a_sender_that_floods_is_read_no_further_than_the_bound() -> None:
    """While its message is in hand what it pipelines stays with it, and is answered all the same."""

    async def run() -> None:
        async with rig(message=1000) as made:
            made.gate.clear()
            reader, writer = await made.connect()
            count = 4000
            writer.write(b"".join(framed(b"%04d" % number + b"x" * 900) for number in range(count)))
            await until(lambda: made.heard)
            [connection] = made.listener._open
            await until(lambda: connection._read_paused)
            assert connection._framing.waiting < 1_000_000
            made.gate.set()
            for number in range(count):
                assert (await answer(reader))[:4] == b"%04d" % number
            writer.close()

    asyncio.run(run())


def test_bounds_of_connections() -> None:
    """Beyond the cap of an address, or of all, a connection is closed; those before it go on."""

    async def run() -> None:
        for cap in ("connections_per_address", "connections"):
            async with rig(None, **{cap: 2}) as made:
                senders = [await made.connect() for _ in range(2)]
                reader, third = await made.connect()
                assert await answer(reader) == b""
                senders[0][1].write(framed(b"a"))
                assert await answer(senders[0][0]) == b"a"
                assert made.listener.refused == 1
                for _, writer in (*senders, (reader, third)):
                    writer.close()

    asyncio.run(run())


def test_senders_by_address_also_when_that_changes() -> None:
    """An address that is not listed is closed at once; one that is taken out loses its connection."""

    async def run() -> None:
        async with rig(senders=(ip_network("10.0.0.0/8"),)) as made:
            reader, writer = await made.connect()
            assert await answer(reader) == b""
            writer.close()
            made.listener.allow((ip_network("127.0.0.0/8"),))
            reader, writer = await made.connect()
            writer.write(framed(b"a"))
            assert await answer(reader) == b"a"
            made.listener.allow((ip_network("10.0.0.0/8"),))
            assert await answer(reader) == b""
            writer.close()

    asyncio.run(run())


def test_half_a_frame_then_silence() -> None:
    """The connection is closed after the deadline, and what came is handed on to be kept."""

    async def run() -> None:
        async with rig(message_deadline=0.05) as made:
            reader, writer = await made.connect()
            writer.write(framed(b"a") + b"\x0bMSH|half")
            assert await answer(reader) == b"a"
            assert await answer(reader) == b""
            await until(lambda: made.broken)
            assert made.broken == [b"MSH|half"]
            writer.close()

    asyncio.run(run())


def test_an_idle_connection_is_closed() -> None:
    """After its deadline; one with a message in hand is not idle."""

    async def run() -> None:
        async with rig(idle_deadline=0.05) as made:
            made.gate.clear()
            busy, writer = await made.connect()
            writer.write(framed(b"a"))
            idle, other = await made.connect()
            assert await answer(idle) == b""
            made.gate.set()
            assert await answer(busy) == b"a"
            writer.close()
            other.close()

    asyncio.run(run())


def test_a_message_that_is_too_long_is_answered_and_the_next_one_taken() -> None:
    """Ten megabytes in one message: refused when its end has come."""

    async def run() -> None:
        async with rig() as made:
            reader, writer = await made.connect()
            writer.write(b"\x0bMSH|" + b"x" * 10_000_000 + b"\x1c\r" + framed(b"a"))
            assert [await answer(reader), await answer(reader)] == [b"too-long", b"a"]
            assert len(made.heard[0]) == 64 * 1024
            writer.close()

    asyncio.run(run())


def test_a_sender_that_sends_no_more_has_its_answers() -> None:
    """It closed its side behind its messages: each is taken and answered, then the connection ends; half a one is kept."""

    async def run() -> None:
        async with rig() as made:
            made.gate.clear()
            reader, writer = await made.connect()
            writer.write(framed(b"a") + framed(b"b") + b"\x0bhalf")
            writer.write_eof()
            await until(lambda: made.heard)
            made.gate.set()
            assert [await answer(reader) for _ in range(3)] == [b"a", b"b", b""]
            await until(lambda: made.broken)
            assert made.broken == [b"half"]
            assert made.listener.senders == []
            writer.close()

    asyncio.run(run())


def test_at_the_end_what_is_in_hand_is_answered_and_nothing_new_is_taken() -> None:
    """The message in hand gets its answer; what is behind it stays with its sender, who repeats it."""

    async def run() -> None:
        async with rig() as made:
            made.gate.clear()
            reader, writer = await made.connect()
            idle, other = await made.connect()
            writer.write(framed(b"a") + framed(b"b"))
            await until(lambda: made.heard)
            stopping = asyncio.create_task(made.listener.stop())
            assert await answer(idle) == b""
            assert not stopping.done()
            made.gate.set()
            assert [await answer(reader), await answer(reader)] == [b"a", b""]
            await stopping
            assert made.heard == [b"a"]
            with pytest.raises(ConnectionRefusedError):
                await made.connect()
            writer.close()
            other.close()

    asyncio.run(run())


def test_the_end_does_not_wait_for_ever() -> None:
    """What has no answer within its deadline is given up."""

    async def run() -> None:
        async with rig(answer_deadline=0.05) as made:
            made.gate.clear()
            reader, writer = await made.connect()
            writer.write(framed(b"a"))
            await until(lambda: made.heard)
            await made.listener.stop()
            assert await answer(reader) == b""
            writer.close()

    asyncio.run(run())


def test_an_address_that_cannot_be_listened_on() -> None:
    """One line with the setting's table."""

    async def run() -> None:
        async with rig() as made:
            other = MllpListener(replace(made.listener.settings, port=made.port), made.handle, lambda *_: None)
            with pytest.raises(CommandError, match=r"feeds\.hl7: cannot listen on 127\.0\.0\.1"):
                await other.start()

    asyncio.run(run())


def client(**given: Any) -> ssl.SSLContext:
    """A sender's side of TLS."""
    context = ssl.create_default_context()
    tls.authority("hospital").configure_trust(context)
    for by in given.get("by", ()):
        tls.device(by).configure_cert(context)
    return context


def test_tls_as_dicom_has_it(tmp_path: Path) -> None:
    """A sender with a certificate of the hospital's CA is answered; one without, one of another CA, and one that speaks plain are not."""

    async def run() -> None:
        async with rig(tls.certificates(tmp_path, client_ca="hospital")) as made:
            reader, writer = await made.connect(ssl=client(by=["hospital"]))
            writer.write(framed(b"a" * 30_000) + framed(b"b"))
            assert [await answer(reader), await answer(reader)] == [b"a" * 30_000, b"b"]
            [sender] = made.listener.senders
            assert "hemo1.example" in str(sender.secured)
            writer.close()
            for context in (client(), client(by=["elsewhere"])):
                with contextlib.suppress(ssl.SSLError, ConnectionError):
                    reader, writer = await made.connect(ssl=context)
                    writer.write(framed(b"a"))
                    assert await answer(reader) == b""
                writer.close()
            reader, writer = await made.connect()
            writer.write(framed(b"a"))
            assert await answer(reader) == b""
            writer.close()
            await until(lambda: not made.listener.senders)
            assert made.heard == [b"a" * 30_000, b"b"]
            assert made.listener.refused == 2

    asyncio.run(run())
