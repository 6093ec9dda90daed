"""How associations end: A-ABORT as PS3.8 has it, with the reason in the log where the PDU has none."""

import struct

import pytest
from structlog.testing import capture_logs

from plscp.dicom.upper_layer import State
from tests.dicom.wire import CONTEXTS, SETTINGS, Line, request
from tests.rawscu import ABORT, RELEASE_RQ, associate_rq

RQ = associate_rq("HEMO1", "PLSCP", CONTEXTS)
UNREADABLE = (
    struct.pack(">BBL", 1, 0, 68) + struct.pack(">HH", 1, 0) + b"PLSCP".ljust(16) + b"HEMO1".ljust(16) + bytes(32)
)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"GET / HTTP/1.1\r\n", "an unrecognized PDU type"),
        (RELEASE_RQ, "an unexpected PDU"),
        (request(1), "an unexpected PDU"),
        (struct.pack(">BBL", 1, 0, 1 << 30), "an A-ASSOCIATE-RQ longer than the bound"),
        (UNREADABLE, "an A-ASSOCIATE-RQ that cannot be read"),
    ],
)
def test_an_invalid_pdu_before_an_association(raw: bytes, why: str) -> None:
    """AA-1: source 0, reason not significant (PS3.8 9.2.3, 9.3.8), whatever is wrong; the log says what."""
    with Line() as line, capture_logs() as lines:
        line.send(raw)
        assert (line.pdus(), line.state) == ([(7, bytes(4))], State.STA13)
    [said] = [one for one in lines if one["event"] == "association-aborted"]
    assert (said["why"], said["source"], said["reason"], said["address"]) == (why, 0, 0, "127.0.0.1")


@pytest.mark.parametrize(("raw", "reason"), [(RQ, 2), (b"\x63\0\0\0\0\1?", 1), (b"\5\0\0\0\0\5", 6)])
def test_an_invalid_pdu_in_an_association(raw: bytes, reason: int) -> None:
    """AA-8: the provider, and the reason."""
    with Line().associate() as line:
        line.send(raw)
        assert line.pdus() == [(7, bytes([0, 0, 2, reason]))]


def test_the_header_of_an_abort_that_came_too_late() -> None:
    """A PDU that does not end is aborted; if it began as an A-ABORT the peer has ended, too (AA-2): nobody waits for it."""
    with Line().associate() as line:
        line.send(ABORT[:6])
        line.association.overdue()
        assert (line.pdus(), line.state) == ([(7, bytes([0, 0, 2, 0]))], State.STA1)
    assert SETTINGS.deadlines.artim > 0
