"""User Identity Negotiation (PS3.7 D.3.3.7): read from any bytes, answered, and remembered nowhere."""

import struct
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_AC

from plscp.dicom import negotiation
from plscp.dicom.admission import Required, UserIdentity, refusal
from plscp.dicom.negotiation import AssociationProposal, accept, read, user_identity
from plscp.dicom.pdu import InvalidPdu
from tests.dicom.wire import CONTEXTS, Line, Listener
from tests.rawscu import RawScu, Rejected, associate_rq
from tests.rawscu import user_identity as asked

RQ = associate_rq("HEMO1", "PLSCP", CONTEXTS)
FIELDS = st.binary(max_size=300)


def encoded(kind: int, response: int, primary: bytes, secondary: bytes) -> bytes:
    """The value of a User Identity sub-item (PS3.7 Table D.3-14)."""
    return struct.pack(">BBH", kind, response, len(primary)) + primary + struct.pack(">H", len(secondary)) + secondary


def with_items(*values: bytes) -> bytes:
    """The body of an A-ASSOCIATE-RQ with these User Identity sub-items, between those of every request."""
    body = bytearray(RQ[6:])
    at = body.rindex(b"\x50\x00")  # User Information comes last
    inner = bytes(body[at + 4 :]) + b"".join(struct.pack(">BBH", 0x58, 7, len(value)) + value for value in values)
    return bytes(body[:at]) + struct.pack(">BBH", 0x50, 0, len(inner)) + inner


@given(st.integers(1, 255), st.sampled_from([0, 1]), FIELDS, FIELDS)
def test_what_was_encoded_is_read(kind: int, response: int, primary: bytes, secondary: bytes) -> None:
    """Type, response and both fields come back, and the proposal is that of the request without it."""
    found, identity = read(with_items(encoded(kind, response, primary, secondary)), 128)
    assert identity == UserIdentity(kind, response == 1, primary, secondary)
    plain, none = read(RQ[6:], 128)
    assert none is None
    assert found == plain


@given(st.binary(max_size=40))
@example(b"")
@example(b"\x02\x01\xff\xff")
@example(b"\x02\x01\x00\x01")
@example(b"\x02\x01\x00\x01u\x00")
@example(b"\x02\x01\x00\x01u\xff\xffp")
@example(b"\x02\x01\x00\x01u\x00\x01pX")
def test_lengths_that_lie(value: bytes) -> None:
    """Any bytes are an identity that says exactly what they hold, or one that cannot be read; the request goes on all the same."""
    identity = user_identity(value)
    if identity.kind:
        again = encoded(identity.kind, value[1], identity.primary, identity.secondary)
        assert value in {again, again[:-2] if not identity.secondary else again}
    else:
        assert identity == UserIdentity(0, response=False)
    assert read(with_items(value), 128) == (read(RQ[6:], 128)[0], identity)


@given(st.binary(min_size=1, max_size=60), st.integers(0, 400))
def test_bytes_that_are_no_items(junk: bytes, at: int) -> None:
    """Whatever stands in the request, it is read, rejected or unreadable: nothing else is raised."""
    body = with_items(encoded(2, 1, b"u", b"p"))
    try:
        read(body[: 68 + at % (len(body) - 68)] + junk, 128)
    except InvalidPdu:
        return


def test_two_identities_are_none() -> None:
    """At most one is allowed: of two none counts."""
    one = encoded(1, 0, b"u", b"")
    assert read(with_items(one, one), 128)[1] == UserIdentity(0, response=False)


def test_an_x_in_a_name_is_no_identity() -> None:
    """The item is told by where it stands, not by its byte: also where the implementation's name holds an X."""
    body = bytearray(RQ[6:])
    at = body.rindex(b"\x50\x00")
    inner = bytes(body[at + 4 :]) + struct.pack(">BBH", 0x55, 0, 6) + b"XXXX_1"
    found, identity = read(bytes(body[:at]) + struct.pack(">BBH", 0x50, 0, len(inner)) + inner, 128)
    assert isinstance(found, AssociationProposal)
    assert identity is None


def test_no_passcode_is_remembered() -> None:
    """Wrong passcodes leave no trace: the proposal is without them, and what was read of them is gone with the identity."""
    found, identity = read(with_items(encoded(2, 0, b"hemo", b"guess")), 128)
    assert isinstance(found, AssociationProposal)
    assert identity is not None
    assert b"guess" not in repr((found, identity)).encode()
    passcode = identity.secondary
    del identity
    assert sys.getrefcount(passcode) == 2  # this name and the argument: nobody keeps it


@pytest.mark.parametrize("header", [b"\0\2\0\0", b"\0\1\0\0"])
def test_a_rejected_request_is_not_remembered_with_its_passcode(header: bytes) -> None:
    """Also where the request is rejected before it is looked at: a protocol version, or a title that is none."""
    body = header + b" " * 32 + with_items(encoded(2, 0, b"hemo", b"s3cret"))[36:]
    found, identity = read(body, 128)
    assert isinstance(found, negotiation.Rejection)
    assert identity is None


@pytest.mark.parametrize("confirmed", [True, False])
def test_the_answer_confirms_or_says_nothing(confirmed: bool) -> None:
    """A positive response is item 59H with an empty server response (PS3.7 Table D.3-15), as pynetdicom reads it."""
    found, _ = read(RQ[6:], 128)
    assert isinstance(found, AssociationProposal)
    answer, _ = accept(found, 16382, confirmed=confirmed)
    pdu = A_ASSOCIATE_AC()
    pdu.decode(answer)
    item = pdu.user_information.user_identity
    assert (item is not None) is confirmed
    if item is not None:
        assert item.server_response == b""
        assert b"\x59\x00\x00\x02\x00\x00" in answer


DEVICES = {
    "NAME": Required(username="hemo"),
    "CODE": Required(username="hemo", passcode=lambda: "s3cret"),
    "PLAIN": Required(),
}
NEGOTIATED = [
    ("CODE", asked("hemo", "s3cret"), "accepted"),
    ("CODE", asked("hemo", "s3cret", response=True), "confirmed"),
    ("NAME", asked("hemo", response=True), "confirmed"),
    ("NAME", asked("hemo"), "accepted"),
    ("PLAIN", asked("hemo", "s3cret", response=True), "accepted"),  # nobody looked at it: nothing is confirmed
    ("PLAIN", None, "accepted"),
    ("CODE", None, (1, 2, 1)),
    ("CODE", asked("hemo", response=True), (1, 2, 1)),
    ("CODE", asked("hemo", "wrong", response=True), (1, 2, 1)),
    ("NAME", asked("other"), (1, 2, 1)),
    ("OTHER", asked("hemo", "s3cret"), (1, 1, 3)),
]


@pytest.mark.parametrize(("calling", "identity", "answer"), NEGOTIATED)
def test_negotiation(calling: str, identity: object, answer: object) -> None:
    """A device with a username must give it, else A-ASSOCIATE-RJ 1/2/1; it is confirmed where that was asked for and looked at."""
    with Listener() as listener:
        listener.acceptor.admit = lambda caller: refusal(caller, DEVICES, unknown=False)
        listener.acceptor.confirms = lambda title: DEVICES[title].username is not None
        scu = RawScu("127.0.0.1", listener.port, calling=calling, identity=identity)
        if isinstance(answer, tuple):
            with pytest.raises(Rejected) as rejected:
                scu.associate()
            assert rejected.value.args == answer
        else:
            with scu:
                assert scu.confirmed is (answer == "confirmed")


def test_a_long_request_with_an_identity() -> None:
    """An identity of 60 KB fits the bound of an A-ASSOCIATE-RQ, and is judged."""
    with Line() as line:
        line.acceptor.admit = lambda caller: refusal(caller, {"HEMO1": Required(username="u" * 60_000)}, unknown=False)
        line.send(associate_rq("HEMO1", "PLSCP", CONTEXTS, identity=asked("u" * 60_000)))
        assert [kind for kind, _ in line.pdus()] == [2]
