"""Defects that a review found, one test each: what was wrong once and must not come back."""

import struct
import time
import tracemalloc
import zlib
from datetime import UTC, datetime
from io import BytesIO

import pytest
from pynetdicom.dsutils import decode

from plscp.network import negotiation
from plscp.network.answer import Status
from plscp.network.event import ActionEvent, ActionRequest
from plscp.network.fsm import State
from plscp.network.negotiation import Context
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests.network.wire import DATA, EVENTS, Line, pdvs_of, request
from tests.rawscu import SYNTAXES, associate_rq, command_set, p_data, pdv, uid


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
    """However its bytes are spent, the event loop is not held up: 50 ms, of the process's own time."""
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
    spent = []
    for _ in range(3):
        with Line() as line:
            began = time.process_time()
            line.send(raw)
            spent.append(time.process_time() - began)
            assert line.state in {State.STA6, State.STA13}
    assert min(spent) < 0.05


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


def bomb() -> ActionEvent:
    """An event whose data set inflates to 64 MiB."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    raw = packer.compress(DATA + struct.pack("<HH2sHL", 0x7FE1, 0x1010, b"OB", 0, 64 << 20))
    raw += b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    context = Context(1, PROCEDURAL_EVENT_LOGGING, "1.2.840.10008.1.2.1.99")
    return ActionEvent(None, context, ActionRequest(1, PROCEDURAL_EVENT_LOGGING, None, 1, raw), datetime.now(UTC))


def test_action_information_inflates_with_a_bound() -> None:
    """A handler that asks for pydicom's view of a bomb gets a ValueError, not the memory of it."""
    event = bomb()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="inflate"):
            _ = event.action_information
        assert tracemalloc.get_traced_memory()[1] < 48 << 20
    finally:
        tracemalloc.stop()


def test_action_information_that_does_not_inflate() -> None:
    """Bytes that are not deflated are a ValueError as well."""
    event = bomb()
    event.request.raw = b"\xff" * 32
    with pytest.raises(ValueError, match="inflate"):
        _ = event.action_information
