"""Defects that a review found, one test each: what was wrong once and must not come back."""

import asyncio
import socket
import struct
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from io import BytesIO

import pytest
from pynetdicom.dsutils import decode

from plscp.dicom import negotiation
from plscp.dicom.acceptor import Acceptor
from plscp.dicom.answer import PendingResponse, Status
from plscp.dicom.association import NEVER, Association
from plscp.dicom.settings import Deadlines, NetworkCounters, WireBounds
from plscp.dicom.upper_layer import State
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests.counted import calls
from tests.dicom.wire import DATA, EVENTS, SETTINGS, Line, Listener, Transport, pdvs_of, request, with_receipt
from tests.rawscu import SYNTAXES, Aborted, RawScu, associate_rq, command_set, p_data, pdv, uid


def item(kind: int, body: bytes) -> bytes:
    """An item of an A-ASSOCIATE-RQ."""
    return struct.pack(">BBH", kind, 0, len(body)) + body


FIXED = struct.pack(">HH", 1, 0) + b"PLSCP".ljust(16) + b"HEMO1".ljust(16) + bytes(32)
APPLICATION = item(0x10, b"1.2.840.10008.3.1.1.1")
SYNTAX = item(0x40, SYNTAXES[1].encode())
CONTEXT = item(0x20, b"\1\0\0\0" + item(0x30, PROCEDURAL_EVENT_LOGGING.encode()) + SYNTAX)
USER = item(0x50, item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3"))


def associating(*items: bytes, fixed: bytes = FIXED) -> bytes:
    """An A-ASSOCIATE-RQ of these items."""
    body = fixed + b"".join(items)
    return struct.pack(">BBL", 1, 0, len(body)) + body


# --- A-ASSOCIATE -----------------------------------------------------------------------------------------------------------


def test_items_that_nobody_knows_are_ignored() -> None:
    """PS3.8 9.3.1: an unknown item at the top, in a context or in the user information is no reason to abort."""
    inside = item(0x20, CONTEXT[4:] + item(0x4F, b"?"))
    user = item(0x50, USER[4:] + item(0x7E, b"??"))
    with Line() as line:
        line.send(associating(item(0x99, b"?"), APPLICATION, inside, user))
        [(kind, _)] = line.pdus()
    assert kind == 2


@pytest.mark.parametrize(
    "name", ["transfer syntaxes", "contexts", "application contexts", "user information", "user items"]
)
def test_an_association_request_of_64_kib_is_judged_at_once(name: str) -> None:
    """However its bytes are spent, the event loop is not held up: at most three calls of functions for a byte."""
    context, user, applications = CONTEXT, USER, APPLICATION
    if name == "transfer syntaxes":
        context = item(0x20, CONTEXT[4:] + b"".join(item(0x40, f"1.2.{i}".encode()) for i in range(4600)))
    elif name == "contexts":
        abstract = item(0x30, PROCEDURAL_EVENT_LOGGING.encode())
        many = b"".join(item(0x40, syntax.encode()) for syntax in SYNTAXES) * 4
        context = b"".join(item(0x20, bytes([2 * i + 1, 0, 0, 0]) + abstract + many) for i in range(126))
    elif name == "application contexts":
        applications = APPLICATION * 2500
    elif name == "user information":
        user = USER * 2500
    else:
        user = item(0x50, USER[4:] + item(0x52, b"1.2.3") * 3000 + item(0x54, b"\0\0051.2.3\1\1") * 1500)
    raw = associating(applications, context, user)
    assert 40_000 < len(raw) < 65_536 + 6
    with Line() as line:
        _, count = calls(lambda: line.send(raw))
        assert line.state in {State.STA6, State.STA13}
    assert count < 3 * len(raw)


def test_titles_padded_with_nul() -> None:
    """AE titles that end in NUL, as some devices send them, are the titles before it."""
    fixed = struct.pack(">HH", 1, 0) + b"PLSCP".ljust(16, b"\0") + b"HEMO1 ".ljust(16, b"\0") + bytes(32)
    with Line() as line:
        line.send(associating(APPLICATION, CONTEXT, USER, fixed=fixed))
        [(kind, _)] = line.pdus()
        assert (kind, line.association.requestor.ae_title) == (2, "HEMO1")


def test_the_implementation_is_named_as_ours() -> None:
    """The A-ASSOCIATE-AC holds an Implementation Class UID of our own and our version name."""
    with Line() as line:
        line.send(associate_rq("HEMO1", "PLSCP", [(PROCEDURAL_EVENT_LOGGING, SYNTAXES[1])], 16384))
        [(_, body)] = line.pdus()
    assert item(0x55, b"PLSCP_0_1") in body
    assert item(0x52, negotiation.IMPLEMENTATION_CLASS.encode()) in body
    assert negotiation.IMPLEMENTATION_CLASS.startswith("2.25.")


# --- command sets ----------------------------------------------------------------------------------------------------------


def command(number: int, **changed: bytes | None) -> bytes:
    """An N-ACTION-RQ without a data set, elements replaced by their number or left out."""
    elements: dict[int, bytes | None] = {
        0x0003: uid(PROCEDURAL_EVENT_LOGGING),
        0x0100: struct.pack("<H", 0x0130),
        0x0110: struct.pack("<H", number),
        0x0800: struct.pack("<H", 0x0101),
        0x1008: struct.pack("<H", 1),
    }
    elements |= {int(name.removeprefix("_"), 16): value for name, value in changed.items()}
    return command_set((tag, value) for tag, value in sorted(elements.items()) if value is not None)


@pytest.mark.parametrize("value", [None, b"", b"\1\1\0\0"])
@pytest.mark.parametrize("data", [False, True])
def test_a_request_that_does_not_say_whether_data_follow(value: bytes | None, data: bool) -> None:
    """Command Data Set Type missing or mistyped: 0212H at once; data that follow after all are passed over, the rest goes on."""
    with Line().associate() as line:
        line.send(p_data(pdv(EVENTS, 3, command(7, _0800=value))))
        [answer] = line.answers()
        assert (answer.MessageIDBeingRespondedTo, answer.Status) == (7, 0x0212)
        if data:
            line.send(p_data(pdv(EVENTS, 0, DATA)), p_data(pdv(EVENTS, 2, DATA)))
        line.send(request(8))
        [answer] = line.answers()
        assert (answer.MessageIDBeingRespondedTo, answer.Status) == (8, 0)
        assert len(line.events) == 1


def test_a_data_set_without_a_command_is_still_a_violation() -> None:
    """Passing over ends with the data set: one more is no message."""
    with Line().associate() as line:
        line.send(p_data(pdv(EVENTS, 3, command(7, _0800=None))), p_data(pdv(EVENTS, 2, DATA)))
        line.answers()
        line.send(p_data(pdv(EVENTS, 2, DATA)))
        assert line.pdus() == [(7, b"\0\0\2\6")]


@pytest.mark.parametrize("length", [1, 2, 5, 6, 7, 8, 9, 15])
def test_a_tiny_maximum_length(length: int) -> None:
    """Fragments are even and carry at least two bytes, however little the requestor says it takes; the answer is whole."""
    with Line().associate(max_length=length) as line:
        line.send(request(1))
        bodies = [body for _, body in line.pdus()]
    fragments = [fragment for body in bodies for _, _, fragment in pdvs_of(body)]
    assert all(fragment and len(fragment) % 2 == 0 for fragment in fragments)
    assert all(len(body) <= max(length, 8) for body in bodies)
    assert decode(BytesIO(b"".join(fragments)), True, True).Status == 0


def test_what_is_sent_back_is_printable() -> None:
    """UIDs that are not printable ASCII are left out of answers; an Error Comment loses what it may not hold."""
    status = Status(0x0110)
    status.comment = "a\\b\n\x1b\u00fc" + "c" * 99
    with Line(handler=lambda _: (status, None)).associate() as line:
        line.send(p_data(pdv(EVENTS, 3, command(1, _0003=b"1.2\x1b[31m", _1001=b"1.\xff2\n"))))
        [answer] = line.answers()
    assert "AffectedSOPClassUID" not in answer
    assert "AffectedSOPInstanceUID" not in answer
    assert answer.ErrorComment == "a?b???" + "c" * 58


def test_a_cancel_without_message_id() -> None:
    """C-CANCEL, which has no Message ID, is ignored; the association goes on."""
    with Line().associate() as line:
        line.send(p_data(pdv(EVENTS, 3, command(0, _0100=struct.pack("<H", 0x0FFF), _0110=None))), request(2))
        assert [answer.MessageIDBeingRespondedTo for answer in line.answers()] == [2]


# --- requests and what is heard --------------------------------------------------------------------------------------------


def test_a_message_id_repeated_while_the_first_is_handled() -> None:
    """Being handled is outstanding: the second gets 0210H, after the first is answered; then the ID is free again."""
    with Line() as line:
        response = PendingResponse()
        line.handler = lambda _: response
        line.associate().send(request(1), request(1))
        line.resolve(response)
        assert [answer.Status for answer in line.answers()] == [0x0000, 0x0210]
        line.send(request(1))
        line.turn()
        assert [answer.Status for answer in line.answers()] == [0x0000]


def test_what_was_read_before_an_answer_proves_nothing() -> None:
    """Two requests in one write, and bytes of a third: the first is not heard of until a message begins in a later read."""
    with Line(handler=lambda event: (with_receipt(event.message_id), None)).associate() as line:
        third = request(3)
        line.send(request(1) + request(2) + third[:1])
        assert len(line.answers()) == 2
        line.send(third[1:])
        assert (line.heard, len(line.answers())) == ([], 1)
        line.send(request(4)[:1])
        assert line.heard == [1, 2, 3]


@pytest.mark.parametrize("answer", [None, 7, (0, None, None), (0, object()), (1 << 20, None)])
@pytest.mark.parametrize("later", [False, True])
def test_an_answer_that_is_none(answer: object, later: bool) -> None:
    """No pair, a reply that does not encode, a status that is none: 0110H, and the association goes on."""
    with Line() as line:
        response = PendingResponse()
        line.handler = lambda _: response if later else answer
        line.associate().send(request(1))
        if later:
            line.resolve(response, answer)
        line.handler = lambda _: (0, None)
        line.send(request(2))
        assert [found.Status for found in line.answers()] == [0x0110, 0x0000]


# --- clocks ----------------------------------------------------------------------------------------------------------------


def test_the_clock_of_a_pdu_starts_with_that_pdu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A steady stream whose reads end inside a PDU is never late; a PDU that does not end is, counted from its first byte."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Line().associate() as line:
        raw = b"".join(request(number) for number in range(1, 60))
        step = len(request(1)) + 1
        for start in range(0, len(raw), step):
            line.send(raw[start : start + step])
            assert line.association.deadline >= now + SETTINGS.deadlines.pdu_deadline - 1
            now += 1
        line.send(request(60)[:9])
        now += 5
        line.send(request(60)[9:12])
        assert line.association.deadline == now - 5 + SETTINGS.deadlines.pdu_deadline


def test_no_clock_runs_while_we_do_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """While we paused reading a PDU begun is not late; its clock starts again when reading does."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Line(replace(SETTINGS, bounds=WireBounds(waiting_requests=1))) as line:
        responses = {1: PendingResponse(), 2: PendingResponse(), 3: PendingResponse()}
        line.handler = lambda event: responses[event.message_id]
        line.associate().send(request(1) + request(2) + request(3)[:9])
        assert line.association.deadline == NEVER
        now += 3600
        line.resolve(responses[1])
        assert line.association.deadline == now + SETTINGS.deadlines.pdu_deadline


# --- the acceptor ----------------------------------------------------------------------------------------------------------


def test_a_flood_of_tiny_fragments_costs_no_memory() -> None:
    """Empty fragments are not kept, and one-byte fragments cost their bytes."""
    with Line().associate() as line:
        line.send(request(1)[: -len(DATA) - 12])
        empty, tiny = p_data(*[pdv(EVENTS, 0, b"")] * 2000), p_data(*[pdv(EVENTS, 0, b"x")] * 2000)
        tracemalloc.start()
        try:
            for _ in range(20):
                line.send(empty, tiny)
            assert tracemalloc.get_traced_memory()[0] < 40_000 * 4
        finally:
            tracemalloc.stop()


class Counted(NetworkCounters):
    """Counts ends by outcome and reason."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, str]] = []

    def association(self, outcome: str, reason: str) -> None:
        """One end."""
        self.ends.append((outcome, reason))


def test_a_burst_of_connections_closes_each_oldest_once() -> None:
    """Accepts that come before any loss is told close one connection each, never the same again; each counts once."""
    counted = Counted()
    acceptor = Acceptor(replace(SETTINGS, max_associations=2), lambda _: (0, None), counters=counted)
    made = [(Association(acceptor), Transport(f"10.0.0.{number}")) for number in range(7)]
    for one, transport in made:
        one.connection_made(transport)
    assert [transport.closing for _, transport in made] == [True] * 3 + [False] * 4
    for one, _ in made:
        one.connection_lost(None)
    assert sorted(counted.ends) == [("closed", "connections")] * 3 + [("closed", "transport")] * 4


def test_a_connection_over_the_cap_of_its_address_is_counted_once() -> None:
    """What is closed for its address is not closed again as the oldest, nor late: one end, under its own cause."""
    counted = Counted()
    settings = replace(SETTINGS, max_associations=2, max_associations_per_address=1)
    acceptor = Acceptor(settings, lambda _: (0, None), counters=counted)
    same = [(Association(acceptor), Transport("10.0.0.1")) for _ in range(3)]
    others = [(Association(acceptor), Transport(f"10.0.1.{number}")) for number in range(4)]
    for one, transport in same + others:
        one.connection_made(transport)
    assert same[2][0].deadline == NEVER
    for one, _ in same + others:
        one.connection_lost(None)
    assert counted.ends.count(("closed", "connections-per-address")) == 1
    assert len(counted.ends) == 7


def test_a_defect_does_not_end_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one overdue connection cannot be ended as it should, it is dropped, and the others are ended all the same."""
    overdue = Association.overdue
    failed: list[Association] = []

    def broken(self: Association) -> None:
        if not failed:
            failed.append(self)
            raise RuntimeError
        overdue(self)

    monkeypatch.setattr(Association, "overdue", broken)
    with Listener(deadlines=Deadlines(first_pdu_deadline=0.01)) as listener:
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", listener.port), 60) as one:
                assert one.recv(1) == b""
        listener.until(lambda: not listener.acceptor._open)
    assert failed


def test_requests_in_hand_are_answered_after_the_grace_time() -> None:
    """At the end of the grace time idle associations are aborted; one with a request in hand is answered, then aborted."""
    with Listener() as listener:
        response = PendingResponse()
        listener.handler = lambda _: response
        busy, idle = (RawScu("127.0.0.1", listener.port).associate() for _ in range(2))
        busy.send(PROCEDURAL_EVENT_LOGGING, DATA)
        listener.until(lambda: listener.events)
        drained = asyncio.run_coroutine_threadsafe(listener.acceptor.drain(600), listener.loop)
        listener.until(lambda: listener.acceptor.draining)
        listener.call(listener.acceptor.end_idle)
        with pytest.raises(Aborted):
            idle.pdu()
        listener.call(lambda: response.give((0, None)))
        assert busy.response().status == 0
        with pytest.raises(Aborted):
            busy.pdu()
        for scu in (busy, idle):
            scu.socket.close()
        drained.result(60)


def test_association_ids_of_two_processes_differ() -> None:
    """Ids in logs are told apart across restarts."""
    code = (
        "from plscp.dicom.acceptor import Acceptor, NetworkSettings\n"
        "from plscp.dicom.association import Association\n"
        "acceptor = Acceptor(NetworkSettings(), print)\n"
        "print(Association(acceptor).id, Association(acceptor).id)"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        ).stdout.split()
        for _ in range(2)
    ]
    assert len({*found[0], *found[1]}) == 4


@pytest.mark.parametrize("late", [associating(APPLICATION, CONTEXT, USER), b"\x63\0\0\0\0\1?"])
def test_what_comes_after_the_end_is_answered_with_an_abort(late: bytes) -> None:
    """Sta13, AA-7: an A-ASSOCIATE-RQ or an invalid PDU gets an A-ABORT, once."""
    with Line() as line:
        line.send(associating(APPLICATION))
        assert [kind for kind, _ in line.pdus()] == [7]
        line.send(late, late)
        assert [kind for kind, _ in line.pdus()] == [7]
