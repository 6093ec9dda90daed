"""Command sets: the answers as pydicom reads them, each optional field, and what step 0 of the checks says."""

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from plscp.dicom import dimse
from plscp.dicom.answer import PendingResponse, Status
from plscp.dicom.pdu import InvalidPdu
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, PROCEDURAL_EVENT_LOGGING_INSTANCE
from tests.dicom.wire import DATA, ECHO, EVENTS, Line, Reply, request
from tests.rawscu import VERIFICATION, command_set, n_action, p_data, pdv, uid


def answers(*messages: bytes, answer: Any = (0x0000, None)) -> list[Dataset]:
    """The response command sets to messages in one write."""
    with Line(handler=lambda _: answer) as line:
        line.associate()
        line.send(b"".join(messages))
        return line.answers()


def us(value: int) -> bytes:
    """An unsigned short."""
    return struct.pack("<H", value)


def message(context: int = EVENTS, **changed: bytes | None) -> bytes:
    """A request without data set; elements by number are changed, added, or with None left out."""
    elements: dict[int, bytes] = {
        0x0003: uid(PROCEDURAL_EVENT_LOGGING),
        0x0100: us(0x0130),
        0x0110: us(1),
        0x0800: us(0x0101),
        0x1001: uid(PROCEDURAL_EVENT_LOGGING_INSTANCE),
        0x1008: us(1),
    }
    for name, value in changed.items():
        elements.pop(int(name[1:], 16), None)
        if value is not None:
            elements[int(name[1:], 16)] = value
    return p_data(pdv(context, 3, command_set(sorted(elements.items()))))


def test_a_success_names_what_was_asked() -> None:
    """PS3.7 Table 10.3-8: class, instance, field, Message ID, data set type, status, Action Type ID; and a right group length."""
    [answer] = answers(request(258))
    assert answer.AffectedSOPClassUID == PROCEDURAL_EVENT_LOGGING
    assert answer.AffectedSOPInstanceUID == PROCEDURAL_EVENT_LOGGING_INSTANCE
    assert (answer.CommandField, answer.MessageIDBeingRespondedTo, answer.CommandDataSetType) == (0x8130, 258, 0x0101)
    assert (answer.Status, answer.ActionTypeID) == (0, 1)
    assert "MessageID" not in answer
    with Line() as line:
        line.associate()
        line.send(request(1))
        [(_, body)] = line.pdus()
    assert struct.unpack_from("<HHLL", body, 6) == (0, 0, 4, len(body) - 6 - 12)


FIELDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "comment": ({"comment": "TID3001 r1"}, {"ErrorComment": "TID3001 r1"}),
    "odd comment": ({"comment": "odd"}, {"ErrorComment": "odd"}),
    "comment of 70": ({"comment": "x" * 70}, {"ErrorComment": "x" * 64}),
    "comment beyond ASCII": ({"comment": "Größe"}, {"ErrorComment": "Gr??e"}),
    "error id": ({"error_id": 4711}, {"ErrorID": 4711}),
    "error id 0": ({"error_id": 0}, {"ErrorID": 0}),
    "one attribute": ({"attributes": (0x00100020,)}, {"AttributeIdentifierList": 0x00100020}),
    "attributes": (
        {"attributes": (0x00100020, 0x0020000D)},
        {"AttributeIdentifierList": [0x00100020, 0x0020000D]},
    ),
    "offending": ({"offending": (0x0040A730,)}, {"OffendingElement": 0x0040A730}),
    "all": (
        {"comment": "all", "error_id": 1, "attributes": (0x00080005,), "offending": (0x00080016,)},
        {"ErrorComment": "all", "ErrorID": 1, "AttributeIdentifierList": 0x00080005, "OffendingElement": 0x00080016},
    ),
}
NAMES = ("ErrorComment", "ErrorID", "AttributeIdentifierList", "OffendingElement")


@pytest.mark.parametrize("code", [0x0110, 0x0120, 0xC102, 0xB101])
@pytest.mark.parametrize("name", FIELDS)
def test_optional_fields(name: str, code: int) -> None:
    """Each field of PS3.7 Annex C arrives, alone and with the others, and no field that was not given."""
    given_fields, expected = FIELDS[name]
    status = Status(code)
    for field, value in given_fields.items():
        setattr(status, field, value)
    [answer] = answers(request(1), answer=(status, None))
    assert answer.Status == code
    assert {field: answer[field].value for field in NAMES if field in answer} == expected
    assert list(answer.keys()) == sorted(answer.keys())


REPLY = Dataset()
REPLY.PatientID = "P001"

STATUSES: dict[str, tuple[bytes, list[tuple[int, int, int]]]] = {
    # message(s), and of each answer: Command Field, Message ID, Status
    "C-STORE": (message(_0100=us(0x0001)), [(0x8001, 1, 0x0211)]),
    "N-CREATE": (message(_0100=us(0x0140)), [(0x8140, 1, 0x0211)]),
    "N-EVENT-REPORT": (message(_0100=us(0x0100)), [(0x8100, 1, 0x0211)]),
    "a field that nobody knows": (message(_0100=us(0x0777)), [(0x8777, 1, 0x0211)]),
    "C-ECHO on a context of events": (message(_0100=us(0x0030)), [(0x8030, 1, 0x0211)]),
    "N-ACTION on Verification": (message(ECHO), [(0x8130, 1, 0x0211)]),
    "no Command Field": (message(_0100=None), [(0x8130, 1, 0x0211)]),
    "Command Field of four bytes": (message(_0100=b"\x30\x01\0\0"), [(0x8130, 1, 0x0211)]),
    "Action Type of four bytes": (message(_1008=b"\1\0\0\0"), [(0x8130, 1, 0x0212)]),
    "empty Action Type": (message(_1008=b""), [(0x8130, 1, 0x0212)]),
    "Action Type of four bytes in a C-STORE": (message(_0100=us(1), _1008=b"\1\0\0\0"), [(0x8001, 1, 0x0211)]),
    "C-ECHO": (message(ECHO, _0100=us(0x0030), _0003=None, _0002=uid(VERIFICATION)), [(0x8030, 1, 0x0000)]),
    "an element that nobody knows": (message(_0600=b"XX"), [(0x8130, 1, 0x0000)]),
    "Message ID 0": (message(_0110=us(0)), [(0x8130, 0, 0x0000)]),
    "Message ID 65535": (message(_0110=us(0xFFFF)), [(0x8130, 0xFFFF, 0x0000)]),
    "Message ID used again": (message() + message(), [(0x8130, 1, 0), (0x8130, 1, 0)]),
    "a response": (message(_0100=us(0x8130)) + message(_0110=us(2)), [(0x8130, 2, 0x0000)]),
    "a response as responses are": (
        message(_0100=us(0x8130), _0110=None, _0120=us(1)) + message(_0110=us(2)),
        [(0x8130, 2, 0x0000)],
    ),
    "C-CANCEL": (message(_0100=us(0x0FFF), _0110=None, _0120=us(1)) + message(_0110=us(2)), [(0x8130, 2, 0x0000)]),
}


@pytest.mark.parametrize("name", STATUSES)
def test_the_answer_to_each_command_set(name: str) -> None:
    """Step 0: 0211H before 0210H before 0212H; every request with a Message ID is answered, and nothing else is."""
    raw, expected = STATUSES[name]
    found = answers(raw)
    assert [(one.CommandField, one.MessageIDBeingRespondedTo, one.Status) for one in found] == expected


def test_a_message_id_that_is_outstanding() -> None:
    """0210H goes to the later request, whether the earlier one is being worked on or waits; afterwards the ID is free again."""
    with Line() as line:
        line.associate()
        one, two = PendingResponse(), PendingResponse()
        responses = [one, two]
        line.handler = lambda _: responses.pop(0) if responses else (0, None)
        line.send(request(1) + request(2) + request(1) + request(2), request(1) + request(3))
        line.resolve(one)
        assert [(a.MessageIDBeingRespondedTo, a.Status) for a in line.answers()] == [(1, 0)]
        line.resolve(two)
        found = [(a.MessageIDBeingRespondedTo, a.Status) for a in line.answers()]
        assert found == [(2, 0), (1, 0x0210), (2, 0x0210), (1, 0x0210), (3, 0)]
        line.send(request(1) + request(2))
        assert [(a.MessageIDBeingRespondedTo, a.Status) for a in line.answers()] == [(1, 0), (2, 0)]
        assert [event.message_id for event in line.events] == [1, 2, 3, 1, 2]


def test_what_the_handler_gets_of_the_command_set() -> None:
    """Class, instance and action type as sent, without padding; absent is None; the handler judges them."""
    cases = [
        (message(), PROCEDURAL_EVENT_LOGGING, PROCEDURAL_EVENT_LOGGING_INSTANCE, 1),
        (message(_1001=None, _1008=None), PROCEDURAL_EVENT_LOGGING, None, None),
        (message(_0003=uid("1.2.3"), _1001=b"", _1008=us(2)), "1.2.3", "", 2),
        (message(_0003=b"1" * 72, _1001=b"nonsense"), "1" * 72, "nonsense", 1),
        (message(_0003=None), "", PROCEDURAL_EVENT_LOGGING_INSTANCE, 1),
    ]
    with Line() as line:
        line.associate()
        line.send(b"".join(raw for raw, *_ in cases))
        asked = [event.request for event in line.events]
        found = [(one.RequestedSOPClassUID, one.RequestedSOPInstanceUID, one.ActionTypeID) for one in asked]
        assert found == [tuple(expected) for _, *expected in cases]
        assert len(line.answers()) == len(cases)


def test_a_uid_of_any_length_is_answered() -> None:
    """An answer leaves out a UID that is longer than a UID can be, and gives back a strange one as it was."""
    long, strange = answers(message(_0003=b"1" * 72, _1001=b"2" * 66), message(_0003=b"1.2.x "))
    assert "AffectedSOPClassUID" not in long
    assert "AffectedSOPInstanceUID" not in long
    assert strange.get_item(0x00000002).value == b"1.2.x\0"


def test_a_failure_names_no_action() -> None:
    """Action Type ID stands in an answer where PS3.7 has it: not beside a failure like 0110H."""
    [answer] = answers(request(1), answer=(0x0110, None))
    assert "ActionTypeID" not in answer


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"\x30\x01", b"\x30\x00", b"\x00\x00"]),
            st.integers(0, 0xFFFF),
            st.sampled_from([b"1.2", b"1.3", b"1.2.3\0"]),
            st.sampled_from([b"\1\0", b"\2\0", b""]),
        ),
        max_size=8,
    )
)
def test_the_short_cut_reads_as_the_long_way_does(sets: list[tuple[bytes, int, bytes, bytes]]) -> None:
    """A reader that remembers the command set before gives what reading each anew gives."""
    reader = dimse.CommandReader()
    for field, number, name, action in sets:
        raw = command_set(
            [(0x0003, name), (0x0100, field), (0x0110, us(number)), (0x0800, us(0x0101)), (0x1008, action)]
        )
        assert reader.read(raw) == dimse.parse(raw)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=60)
    | st.builds(lambda a, b: n_action(1, PROCEDURAL_EVENT_LOGGING)[:a] + b, st.integers(0, 120), st.binary(max_size=20))
)
def test_any_bytes_are_a_command_set_or_malformed(raw: bytes) -> None:
    """Reading a command set gives one that can be answered and read back, or says that there is none."""
    try:
        command = dimse.CommandReader().read(raw)
    except InvalidPdu:
        return
    if command.asks:
        sent = dimse.elements(dimse.response(command, Status(0x0212), has_data=False))
        assert sent[dimse.RESPONDED_MESSAGE_ID] == us(command.message_id)
        assert sent[dimse.STATUS] == us(0x0212)


def test_a_reply_follows_its_command_set() -> None:
    """With an Action Reply the data set type says so, and its bytes follow on the same context."""
    with Line(handler=lambda _: (0, Reply(REPLY))) as line:
        line.associate()
        line.send(request(1, DATA))
        [(_, command), (_, data)] = line.pdus()
        assert command[4:6] == b"\1\3"
        assert data == struct.pack(">LBB", len(DATA) + 2, EVENTS, 2) + DATA
