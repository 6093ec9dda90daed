"""What stops a stock server, against the listener: an honest device is answered all the same."""

import resource
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plscp.dicom import negotiation
from plscp.dicom.acceptor import ACCEPTED_AT_ONCE
from plscp.dicom.fairness import Accounts, AddressTurns
from plscp.dicom.settings import Deadlines, NetworkCounters
from plscp.dicom.upper_layer import State
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests.dicom.wire import CONTEXTS, DATA, EVENTS, Line, Listener, pdus_of, request
from tests.rawscu import ABORT, RELEASE_RQ, SYNTAXES, Aborted, Closed, RawScu, Rejected, associate_rq, p_data, pdv

RQ = associate_rq("HEMO1", "PLSCP", CONTEXTS)
RESTING = {State.STA1, State.STA2, State.STA6, State.STA8, State.STA13}
"""The states in which the standard lets an acceptor wait for the peer."""


def honest(port: int, source: str = "127.0.0.1") -> None:
    """An association from any address, one request, a release."""
    with RawScu("127.0.0.1", port, source=(source, 0), timeout=60) as scu:
        assert scu.request(PROCEDURAL_EVENT_LOGGING, DATA).status == 0


@contextmanager
def connections(port: int, count: int, first: bytes = b"", source: str = "127.0.0.2") -> Iterator[list[socket.socket]]:
    """Connections that send these bytes and then nothing."""
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", port), 60, source_address=(source, 0))
            made.append(stack.enter_context(one))
            one.sendall(first)
        yield made


@pytest.mark.parametrize("first", [b"\1", RQ[:-1], b""])
def test_connections_that_send_one_byte_and_stop(first: bytes) -> None:
    """Thirty connections that go no further do not keep an honest device out."""
    with Listener() as listener, connections(listener.port, 30, first):
        honest(listener.port)
        honest(listener.port, "127.0.0.2")


def test_one_address_has_so_many_connections_and_no_more() -> None:
    """Over twice the associations of one address its further connections are closed at accept; others are served."""
    with Listener(max_associations_per_address=5) as listener, connections(listener.port, 15) as made:
        closed = [one for one in made if gone(one, 2.0 if one is made[-1] else 0.2)]
        assert closed == made[10:]
        honest(listener.port)


def gone(one: socket.socket, seconds: float) -> bool:
    """Whether the peer closed this connection."""
    one.settimeout(seconds)
    try:
        return one.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_the_oldest_silent_connection_goes_first() -> None:
    """Twice the associations in connections from many addresses: the oldest without an association is closed, not the newest."""
    with Listener(max_associations=4) as listener, ExitStack() as stack:
        kept = stack.enter_context(RawScu("127.0.0.1", listener.port))
        silent = [stack.enter_context(connections(listener.port, 1, source=f"127.0.1.{i}"))[0] for i in range(1, 13)]
        listener.until(lambda: len(listener.acceptor._open) == 8)
        assert all(gone(one, 5) for one in silent[:5])
        assert not any(gone(one, 0.01) for one in silent[5:])
        honest(listener.port)
        assert kept.request(PROCEDURAL_EVENT_LOGGING, DATA).status == 0


class Counted(NetworkCounters):
    """Counts ends by outcome and reason."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, str]] = []

    def association(self, outcome: str, reason: str) -> None:
        """One end."""
        self.ends.append((outcome, reason))


def test_each_end_is_counted_once() -> None:
    """Each connection counts once, under what ended it."""
    with Listener(max_associations_per_address=1) as listener:
        counted = Counted()
        listener.acceptor._counters = counted
        with connections(listener.port, 3, source="127.0.0.1") as made:
            assert gone(made[2], 5)
        listener.until(lambda: not listener.acceptor._open)
        honest(listener.port)
        listener.until(lambda: len(counted.ends) == 4)
    assert sorted(counted.ends) == [
        ("closed", "connections-per-address"),
        ("closed", "transport"),
        ("closed", "transport"),
        ("released", "released"),
    ]


def test_connections_that_have_ended_do_not_keep_others_out() -> None:
    """Those that are accepted in one turn of the loop, before the ends of any are read, do not count at the cap of their address."""
    busy, go = threading.Event(), threading.Event()

    def compute() -> None:
        busy.set()
        assert go.wait(60)

    with Listener(max_associations_per_address=2) as listener:
        counted = listener.acceptor._counters = Counted()
        listener.loop.call_soon_threadsafe(compute)
        assert busy.wait(60)
        with connections(listener.port, ACCEPTED_AT_ONCE - 1, source="127.0.0.1"):
            pass
        with connections(listener.port, 1, RQ, source="127.0.0.1") as [device]:
            go.set()
            assert device.recv(1) == b"\2"
        listener.until(lambda: not listener.acceptor._open)
    assert sorted(counted.ends) == [("closed", "transport")] * (ACCEPTED_AT_ONCE - 1) + [("lost", "transport")]


def test_connections_that_have_ended_while_their_address_is_not_read_do_not_keep_others_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An address in debt is not read: at its cap those that have ended go, those that have not count."""
    monkeypatch.setattr(Accounts, "rest", lambda *_: 3600.0)
    with Listener(max_associations_per_address=2) as listener:
        acceptor = listener.acceptor
        counted = acceptor._counters = Counted()
        acceptor.address_turns = AddressTurns(acceptor.accounts, lambda _seconds, _call: None)
        with connections(listener.port, 4) as made:
            listener.until(lambda: len(acceptor._open) == 4)
            for one in made[:3]:
                one.close()
            with connections(listener.port, 3), connections(listener.port, 1) as [last]:
                assert gone(last, 60)
                listener.until(lambda: len(acceptor._open) == 4)
        listener.call(listener.acceptor.close)
    ended = [end for end in counted.ends if end[0] == "closed"]
    assert sorted(ended[:4]) == [("closed", "connections-per-address")] + [("closed", "transport")] * 3


@pytest.mark.parametrize("length", [64 * 1024 + 1, 1 << 30, 0xFFFFFFFF])
def test_an_association_request_that_announces_too_much(length: int) -> None:
    """It is refused by its header: nothing of what follows is kept."""
    with Line() as line:
        line.send(struct.pack(">BBL", 1, 0, length))
        assert line.pdus() == [(7, b"\0\0\0\0")]
        for _ in range(400):
            line.send(bytes(65536))
            assert line.association._layer.unread == 0
        assert line.state is State.STA13


def test_an_association_request_of_4_gib_over_a_socket() -> None:
    """The same over a socket, while an honest device is answered."""
    with Listener() as listener:
        scu = RawScu("127.0.0.1", listener.port).connect()
        scu.socket.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFFF) + bytes(1 << 22))
        with pytest.raises(Aborted) as aborted:
            scu.pdu()
        assert aborted.value.args == (0, 0)
        honest(listener.port)
        scu.socket.close()


def test_1030_open_sockets() -> None:
    """More sockets than select() can take: new associations work, since nothing here uses it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= 4096, "this test needs 4,096 file descriptors"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    try:
        with Listener() as listener, ExitStack() as stack:
            for i in range(11):
                stack.enter_context(connections(listener.port, 94, source=f"127.0.2.{i + 1}"))
            listener.until(lambda: len(listener.acceptor._open) == 11 * 94)
            honest(listener.port)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def item(kind: int, body: bytes) -> bytes:
    """An item of an A-ASSOCIATE-RQ."""
    return struct.pack(">BBH", kind, 0, len(body)) + body


FIXED = struct.pack(">HH", 1, 0) + b"PLSCP".ljust(16) + b"HEMO1".ljust(16) + bytes(32)
APPLICATION = item(0x10, b"1.2.840.10008.3.1.1.1")
EVENTS_CONTEXT = item(
    0x20,
    b"\1\0\0\0" + item(0x30, PROCEDURAL_EVENT_LOGGING.encode()) + item(0x40, SYNTAXES[1].encode()),
)
USER = item(0x50, item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3"))


def rq(*items: bytes, fixed: bytes = FIXED) -> bytes:
    """An A-ASSOCIATE-RQ of these items."""
    body = fixed + b"".join(items)
    return struct.pack(">BBL", 1, 0, len(body)) + body


def proposed(contexts: int, syntaxes: int) -> bytes:
    """Presentation contexts of so many transfer syntaxes each."""
    many = b"".join(item(0x40, f"1.2.{i}".encode()) for i in range(syntaxes))
    abstract = item(0x30, PROCEDURAL_EVENT_LOGGING.encode())
    return b"".join(item(0x20, bytes([2 * i + 1, 0, 0, 0]) + abstract + many) for i in range(contexts))


@pytest.mark.parametrize(("contexts", "syntaxes", "kind"), [(128, 1000, 7), (128, 40, 2), (1, 1000, 2), (128, 1, 2)])
def test_many_contexts_of_many_transfer_syntaxes(contexts: int, syntaxes: int, kind: int) -> None:
    """What fits into 64 KiB is negotiated, what does not is refused by its length, and honest devices are answered."""
    with Listener() as listener:
        scu = RawScu("127.0.0.1", listener.port).connect()
        scu.socket.sendall(rq(APPLICATION, proposed(contexts, syntaxes), USER))
        honest(listener.port)
        if kind == 7:
            with pytest.raises(Aborted):
                scu.pdu()
        else:
            assert scu.pdu()[0] == kind
        scu.socket.close()


def test_items_that_do_not_matter_are_not_kept() -> None:
    """No transfer syntax that is not taken, no unknown item, and no role of another SOP Class is in what is kept of a proposal."""
    roles = item(0x54, b"\0\0051.2.3\1\1") * 2000
    user = item(0x50, USER[4:] + roles + item(0x58, bytes(9000)))
    with Line() as line:
        taken = EVENTS_CONTEXT.replace(b"\1\0\0\0", b"\x63\0\0\0")
        asked = rq(APPLICATION, proposed(8, 200), taken, user, item(0x99, b"?"))
        line.send(asked)
        [(kind, body)] = line.pdus()
    proposal, _ = negotiation.read(asked[6:], 128)
    assert kind == 2
    assert item(0x21, b"\x63\0\0\0" + item(0x40, SYNTAXES[1].encode())) in body
    assert len(repr(proposal)) < 2000


TITLES = [b"", b" " * 16, b"\0" * 16, b"HE\0MO", b"HEMO\n", b"A\\B", b"\xe4\xf6\xfc", b"\x1b[31m", b"\x7f" * 16]


@pytest.mark.parametrize("title", TITLES)
@pytest.mark.parametrize(("place", "rejection"), [(4, b"\0\1\1\7"), (20, b"\0\1\1\3")])
def test_titles_that_are_none(title: bytes, place: int, rejection: bytes) -> None:
    """AE titles of spaces, control characters, backslashes or bytes beyond ASCII are rejected, and never kept."""
    fixed = FIXED[:place] + title.ljust(16) + FIXED[place + 16 :]
    with Line() as line:
        line.send(rq(APPLICATION, EVENTS_CONTEXT, USER, fixed=fixed))
        assert line.pdus() == [(3, rejection)]
        assert line.association.requestor.ae_title in {"", "HEMO1"}


def test_connect_and_close() -> None:
    """A load balancer's probe leaves nothing behind."""
    with Listener() as listener:
        for _ in range(50):
            socket.create_connection(("127.0.0.1", listener.port), 60).close()
        honest(listener.port)
        acceptor = listener.acceptor
        listener.until(lambda: not acceptor._open)
        left = [acceptor._unassociated, acceptor._connections, acceptor._associations]
        assert not any(left)


def test_reset_in_the_middle_of_everything() -> None:
    """A connection that is reset after any of these bytes breaks nothing."""
    reset = struct.pack("ii", 1, 0)
    with Listener() as listener:
        for sent in (
            b"",
            RQ[:30],
            RQ,
            RQ + request(1)[:50],
            RQ + request(1) + request(2),
            RQ + request(1) + RELEASE_RQ,
        ):
            one = socket.create_connection(("127.0.0.1", listener.port), 60)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            one.sendall(sent)
            one.close()
        honest(listener.port)
        listener.until(lambda: not listener.acceptor._open)


def survives(raw: bytes, before: bytes = b"") -> tuple[State, list[int]]:
    """Send bytes on a new connection: whatever they are, what is written are PDUs and the state is one to wait in."""
    with Line() as line:
        line.send(before, raw)
        assert line.state in RESTING
        kinds = [kind for kind, _ in pdus_of(bytes(line.transport.written))]
        assert set(kinds) <= {2, 3, 4, 6, 7}
        assert kinds[kinds.index(7) :] in ([7], [7, 7]) if 7 in kinds else True  # AA-8, and AA-7 once after it
        assert line.lost == (line.state is State.STA1)
        return line.state, kinds


def user_items() -> st.SearchStrategy[bytes]:
    """User information items of any type, whose lengths need not be true."""
    kinds = st.sampled_from([0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59]) | st.integers(0, 255)
    true = st.builds(item, kinds, st.binary(max_size=40))
    lying = st.builds(
        lambda kind, length, body: struct.pack(">BBH", kind, 0, length) + body,
        kinds,
        st.integers(0, 60) | st.just(0xFFFF),
        st.binary(max_size=40),
    )
    return st.lists(true | lying, max_size=5).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(user_items())
def test_user_information_items_of_every_length(items: bytes) -> None:
    """Accepted, rejected or aborted, never anything else."""
    _, sent = survives(rq(APPLICATION, EVENTS_CONTEXT, item(0x50, items)))
    assert sent in ([2], [3], [7])


@pytest.mark.parametrize("kind", range(0x51, 0x5A))
@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 8, 64, 65, 255, 4000, 60000])
def test_each_user_information_item_at_each_length(kind: int, length: int) -> None:
    """The same for each item that the standard has, with a body of so many bytes."""
    _, sent = survives(rq(APPLICATION, EVENTS_CONTEXT, item(0x50, item(kind, b"1" * length))))
    assert sent in ([2], [3], [7])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6))
def test_an_association_request_with_bytes_changed(changes: list[tuple[int, int]]) -> None:
    """An A-ASSOCIATE-RQ of which single bytes were changed is answered in one of the three ways."""
    raw = bytearray(RQ)
    for place, value in changes:
        raw[6 + place % (len(raw) - 6)] = value
    _, sent = survives(bytes(raw))
    assert sent in ([2], [3], [7])


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_on_a_new_connection(raw: bytes) -> None:
    """Nothing is raised, and the state is one of the standard's."""
    survives(raw)


def pdu_like() -> st.SearchStrategy[bytes]:
    """PDUs of any type and content, some with lengths that are not true, some cut."""
    bodies = st.binary(max_size=60) | st.sampled_from([RQ[6:], request(1)[6:], bytes(4)])
    true = st.builds(lambda kind, body: struct.pack(">BBL", kind, 0, len(body)) + body, st.integers(0, 9), bodies)
    lying = st.builds(
        lambda kind, size, body: struct.pack(">BBL", kind, 0, size) + body,
        st.integers(0, 9),
        st.integers(0, 300) | st.just(0xFFFFFFFF),
        bodies,
    )
    good = st.sampled_from([request(1), request(2), request(3, b""), RELEASE_RQ, ABORT, RQ])
    return st.lists(good | true | lying, max_size=6).map(b"".join)


@settings(max_examples=200, deadline=None)
@given(pdu_like(), st.booleans())
def test_pdus_that_lie(raw: bytes, associated: bool) -> None:
    """The same for what looks like PDUs, before and after an association was made."""
    survives(raw, RQ if associated else b"")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 80) | st.just(0xFFFFFFFF),
            st.sampled_from([0, 1, 3, 5, 99]),
            st.integers(0, 3),
            st.binary(max_size=80),
        ),
        max_size=5,
    )
)
def test_pdvs_that_lie(items: list[tuple[int, int, int, bytes]]) -> None:
    """Presentation data values whose lengths, contexts and flags are anything: an abort, or waiting for the rest."""
    raw = p_data(*[struct.pack(">LBB", *head) + body for *head, body in items])
    state, _ = survives(raw, RQ)
    assert state in {State.STA6, State.STA13}


@pytest.mark.parametrize("kind", [0, 2, 4, 6])
def test_a_flood_after_the_end_is_not_looked_at(kind: int) -> None:
    """Small PDUs after a release cost no work each: a hundred megabytes of them are thrown away."""
    flood = struct.pack(">BBL", kind, 0, 0) * 200_000
    with Line() as line:
        line.associate()
        line.send(RELEASE_RQ)
        for _ in range(100):
            line.send(flood)
        assert (line.state, line.association._layer.unread) == (State.STA13, 0)


def test_empty_fragments_are_not_kept() -> None:
    """Fragments without bytes are legal, and a hundred thousand of them take no memory."""
    command = request(1)[: -len(p_data(pdv(EVENTS, 2, DATA)))]
    with Line() as line:
        line.associate()
        line.send(command)
        for _ in range(100):
            line.send(p_data(*[pdv(EVENTS, 0, b"")] * 1000))
        assembler: Any = line.association._layer._assembler
        assert len(assembler._data) == 0
        line.send(p_data(pdv(EVENTS, 2, DATA)))
        assert [event.request.raw for event in line.events] == [DATA]


def test_a_peer_that_sends_and_never_reads() -> None:
    """Requests without end whose answers nobody reads: memory is bounded, and the association ends in time."""
    with Listener(deadlines=Deadlines(pdu_deadline=0.05, artim=0.05)) as listener:
        scu = RawScu("127.0.0.1", listener.port, timeout=60).associate()
        scu.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        flood = b"".join(request(i) for i in range(1, 200)) * 20
        with scu.socket, pytest.raises(ConnectionError):
            everything(scu.socket, flood)
        listener.until(lambda: listener.acceptor.associated == 0)
        honest(listener.port)


def everything(one: socket.socket, flood: bytes) -> None:
    """Send until the peer has had enough."""
    while True:
        one.sendall(flood)


def test_a_rejected_flood_leaves_room() -> None:
    """A device that associates again and again over its cap is rejected each time, and another is served."""
    with Listener(max_associations_per_address=1) as listener, RawScu("127.0.0.1", listener.port):
        for _ in range(20):
            with pytest.raises((Rejected, Closed)):
                one_more(listener.port)
        honest(listener.port, "127.0.0.3")


def one_more(port: int) -> None:
    """Associate and go."""
    scu = RawScu("127.0.0.1", port)
    try:
        scu.associate()
    finally:
        scu.socket.close()
