"""Defects that a review found, one test each: what was wrong once and must not come back."""

import struct
import time

import pytest

from plscp.network import negotiation
from plscp.network.fsm import State
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests.network.wire import Line
from tests.rawscu import SYNTAXES, associate_rq


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
