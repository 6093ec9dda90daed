"""The layer between socket and association, without sockets: cuts, receipts, and bytes that are no TLS any more."""

import gc
import weakref
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plscp.dicom.answer import PendingResponse
from plscp.dicom.certificates import Certificates
from plscp.dicom.fairness import Turns
from plscp.dicom.settings import NetworkSettings, WireBounds
from plscp.dicom.tls import MOST_HELD, Records
from plscp.dicom.upper_layer import State
from tests.dicom.wire import CONTEXTS, SETTINGS, Line, pdus_of, request, with_receipt
from tests.rawscu import RELEASE_RQ, associate_rq
from tests.tls import Ciphering, certificates, hello

RQ = associate_rq("HEMO1", "PLSCP", CONTEXTS)


@cache
def files() -> Certificates:
    """A server's."""
    with TemporaryDirectory() as folder:
        return certificates(Path(folder))


class SecureLine(Line):
    """An association over TLS, and the device's side of it.

    Attributes:
        device: what ciphers.
    """

    def __init__(self, given: NetworkSettings = SETTINGS, handler: Any = None) -> None:
        super().__init__(given, handler, files())
        self.device = Ciphering()

    def take(self) -> bytes:
        """What was written, still ciphered."""
        written = bytes(self.transport.written)
        self.transport.written.clear()
        return written

    def shake(self) -> "SecureLine":
        """Shake hands."""
        self.send(self.device.shake())
        self.send(self.device.shake(self.take()))
        return self

    def pdus(self) -> list[tuple[int, bytes]]:
        return pdus_of(self.device.decipher(self.take()))

    def begin(self) -> "SecureLine":
        """Shake hands and make the association."""
        self.shake().send(self.device.cipher(RQ))
        assert [kind for kind, _ in self.pdus()] == [2]
        return self


def pieces(raw: bytes, cuts: list[int]) -> Iterator[bytes]:
    """Bytes, cut there."""
    before = 0
    for cut in [*sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]:
        yield raw[before:cut]
        before = cut


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 1 << 16), max_size=30), st.integers(1, 4))
def test_bytes_cut_anywhere(cuts: list[int], records: int) -> None:
    """Wherever reads end, and however PDUs lie in records: each request is answered once, the release too."""
    plain = RQ + request(1) + request(2) + request(3) + RELEASE_RQ
    with SecureLine() as line:
        for part in pieces(line.device.shake(), cuts):
            line.send(part)
        finished = line.device.shake(line.take())
        size = len(plain) // records + 1
        ciphered = b"".join(line.device.cipher(plain[at : at + size]) for at in range(0, len(plain), size))
        for part in pieces(finished + ciphered, cuts):
            line.send(part)
        assert [kind for kind, _ in line.pdus()] == [2, 4, 4, 4, 6]
    assert [event.message_id for event in line.events] == [1, 2, 3]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_bytes_that_are_not_what_they_should_be(data: st.DataObject) -> None:
    """Anything at any point of the handshake or after it: closed or waiting, no exception, no request that was not sent."""
    with SecureLine() as line:
        good = [line.device.shake()]
        if data.draw(st.booleans(), "further"):
            line.send(good.pop())
            good.append(line.device.shake(line.take()))
            if data.draw(st.booleans(), "associated"):
                line.send(good.pop())
                line.send(line.device.cipher(RQ))
                line.take()
                good.append(line.device.cipher(request(1)))
        [raw] = good
        at = data.draw(st.integers(0, len(raw) - 1), "at")
        harmed = raw[:at] + data.draw(st.binary(min_size=1, max_size=40), "instead") + raw[at + 1 :]
        line.send(*pieces(harmed, data.draw(st.lists(st.integers(0, 4096), max_size=4), "cuts")))
        assert line.state in {State.STA1, State.STA2, State.STA6}
        assert harmed == raw or not line.events


@given(st.lists(st.binary(max_size=60), max_size=8), st.lists(st.integers(0, 600), max_size=12))
def test_where_records_end(bodies: list[bytes], cuts: list[int]) -> None:
    """A record is open from its first byte to its last, however it is cut; an empty one is open while its header comes."""
    ends, raw, records, read = {0}, b"", Records(), 0
    for body in bodies:
        raw += b"\x17\3\3" + len(body).to_bytes(2) + body
        ends.add(len(raw))
    for part in pieces(raw, cuts):
        records.follow(part)
        read += len(part)
        assert records.open == (read not in ends)


# --- what proves that an answer arrived --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [0, 1, 5, 40])
def test_a_request_that_came_after_an_answer_proves_it(cut: int) -> None:
    """Also where its record comes in two reads and can be deciphered only then."""
    with SecureLine(handler=lambda event: (with_receipt(event.message_id), None)) as line:
        line.begin().send(line.device.cipher(request(1)))
        assert (line.heard, len(line.answers())) == ([], 1)
        record = line.device.cipher(request(2))
        line.send(record[:cut])
        assert line.heard == []
        line.send(record[cut:])
        assert (line.heard, len(line.answers())) == ([1], 1)
        line.send(line.device.cipher(RELEASE_RQ))
        assert line.heard == [1, 2]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_record_that_was_begun_before_an_answer_proves_nothing(cut: int) -> None:
    """It was sent before the answer was written, though it is deciphered after it; the next one proves."""
    with SecureLine() as line:
        response = PendingResponse()
        line.handler = lambda event: response if event.message_id == 1 else (with_receipt(event.message_id), None)
        line.begin().send(line.device.cipher(request(1)))
        record = line.device.cipher(request(2))
        line.send(record[:cut])
        line.resolve(response, (with_receipt(1), None))
        assert len(line.answers()) == 1
        line.send(record[cut:])
        assert (line.heard, len(line.answers())) == ([], 1)
        line.send(line.device.cipher(request(3)))
        assert line.heard == [1, 2]


def test_what_was_read_before_an_answer_and_waited_proves_nothing() -> None:
    """Requests of one read, and reading pauses: they are worked off later, and prove nothing of each other's answers."""
    with SecureLine(NetworkSettings(port=0, futile_share=1.0, bounds=WireBounds(waiting_requests=1))) as line:
        response = PendingResponse()
        line.handler = lambda event: response if event.message_id == 1 else (with_receipt(event.message_id), None)
        line.begin()
        line.send(b"".join(line.device.cipher(request(number)) for number in (1, 2, 3)))
        assert not line.transport.reading
        line.resolve(response, (with_receipt(1), None))
        assert (line.heard, len(line.answers())) == ([], 3)
        line.send(line.device.cipher(request(4)))
        assert line.heard == [1, 2, 3]


def test_a_handshake_is_charged() -> None:
    """It is the dearest that a peer can ask for before it is known, so it counts among the futile work of its address."""
    with SecureLine() as line:
        before = line.association._budget.taken
        line.shake()
        assert line.association._budget.taken - before > 0.0001


# --- ends ------------------------------------------------------------------------------------------------------------------


def test_close_notify() -> None:
    """The peer's ends the association; ours is sent before we close."""
    with SecureLine() as line:
        line.begin().send(line.device.end())
        assert line.lost
    with SecureLine() as line:
        line.shake().take()
        line.association.close("x")
        assert line.take()[:1] == b"\x17"  # in TLS 1.3 an alert is ciphered
        assert line.lost is False
        line.turn()
        assert line.lost


def test_a_hello_is_not_kept_waiting_for_more() -> None:
    """As much is kept as tells that it is TLS: with its tenth byte OpenSSL has it."""
    with SecureLine() as line:
        raw = hello()
        line.send(*(raw[at : at + 1] for at in range(len(raw))))
        assert line.take()[:1] == b"\x16"  # a ServerHello


@pytest.mark.parametrize("reset", [False, True])
def test_an_alert_is_heard_before_the_end(reset: bool) -> None:
    """What the peer sent before it closed tells why, also where it waits for its turn."""
    with SecureLine() as line:
        line.send(line.device.shake())
        line.protocol._turns = Turns(lambda *_: None)  # type: ignore[union-attr]
        line.protocol.data_received(b"\x15\3\3\0\2\2\x30")
        if reset:
            line.protocol.connection_lost(ConnectionResetError())
            line.lost = True
        else:
            line.protocol.eof_received()
        assert line.association._why == ("closed", "server-certificate-unknown-issuer")


def test_what_waits_for_its_turn_is_bounded() -> None:
    """A peer that sends without end while its handshake waits is closed."""
    with SecureLine() as line:
        line.protocol._turns = Turns(lambda *_: None)  # type: ignore[union-attr]
        for _ in range(MOST_HELD // 65536 + 2):
            assert not line.transport.closing
            line.protocol.data_received(bytes(65536))
        assert line.transport.closing
        assert line.association._why == ("closed", "tls-handshake")


@pytest.mark.parametrize(
    "first",
    [b"", hello(), b"\x16\3\1\0\x20\1\0\0\x1c" + bytes(28), RQ],
    ids=["silent", "a hello", "garbage", "plain DICOM"],
)
def test_a_connection_that_is_gone_leaves_nothing(first: bytes) -> None:
    """However far its handshake came: OpenSSL's buffers go with the connection, not with the next garbage collection."""
    gc.disable()
    try:
        with SecureLine() as line:
            line.send(first)
            line.turn()
            secured = weakref.ref(line.protocol)
            if not line.lost:
                line.protocol.connection_lost(None)
                line.lost = True
            del line.protocol, line.association
            assert secured() is None
    finally:
        gc.enable()


# --- those who take their time ---------------------------------------------------------------------------------------------


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock to turn by hand."""
    moment = [1000.0]
    monkeypatch.setattr("plscp.dicom.association.time.monotonic", lambda: moment[0])
    return moment


def test_a_handshake_byte_by_byte(now: list[float]) -> None:
    """Bytes that come one by one do not put the deadline off; past it the connection is closed without a word."""
    with SecureLine() as line:
        for number in hello()[:-1]:
            line.send(bytes([number]))
            now[0] += 0.1
            assert line.association.deadline == 1000.0 + SETTINGS.deadlines.first_pdu_deadline
        line.association.overdue()
        assert (line.take(), line.transport.closing) == (b"", True)


def test_a_handshake_and_nothing_after_it(now: list[float]) -> None:
    """The A-ASSOCIATE-RQ must come within the same time."""
    ends: list[tuple[str, ...]] = []
    with SecureLine() as line:
        line.acceptor.disconnected = lambda _, *why: ends.append(why)  # type: ignore[method-assign]
        now[0] += 5.0
        line.shake()
        line.take()
        assert line.association.deadline == 1000.0 + SETTINGS.deadlines.first_pdu_deadline
        line.association.overdue()
        line.turn()
        assert (line.take(), line.transport.closing) == (b"", True)
    assert ends == [("closed", "no-associate-request")]
