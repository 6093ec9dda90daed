"""Messages from presentation data values: what is one, what is none, and that the cuts of the stream do not matter."""

import hashlib
import struct
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plscp.dicom.settings import WireBounds
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests.dicom.wire import DATA, ECHO, EVENTS, SETTINGS, SUBSTANCE, Line, request
from tests.rawscu import RELEASE_RQ, VERIFICATION, command_set, n_action, p_data, pdv, uid

COMMAND = n_action(1, PROCEDURAL_EVENT_LOGGING)
BARE = n_action(1, PROCEDURAL_EVENT_LOGGING, data=False)
ECHO_RQ = command_set(
    [
        (0x00000002, uid(VERIFICATION)),
        (0x00000100, struct.pack("<H", 0x0030)),
        (0x00000110, struct.pack("<H", 7)),
        (0x00000800, struct.pack("<H", 0x0101)),
    ]
)


def without(tag: int) -> bytes:
    """The command set without one element."""
    elements = [
        (0x00000003, uid(PROCEDURAL_EVENT_LOGGING)),
        (0x00000100, struct.pack("<H", 0x0130)),
        (0x00000110, struct.pack("<H", 1)),
        (0x00000800, struct.pack("<H", 0x0101)),
    ]
    return command_set(element for element in elements if element[0] != tag)


def raw_pdv(length: int, context: int, control: int, fragment: bytes) -> bytes:
    """A presentation data value whose length says what it likes."""
    return struct.pack(">LBB", length, context, control) + fragment


VIOLATIONS = {
    "no PDV in the PDU": p_data(),
    "PDV of length 0": p_data(struct.pack(">L", 0) + b"\0\0"),
    "PDV of length 1": p_data(struct.pack(">LB", 1, 1) + b"\0"),
    "PDV header cut": p_data(b"\0\0\0\2\1"),
    "PDV longer than the PDU": p_data(raw_pdv(len(BARE) + 3, EVENTS, 3, BARE)),
    "PDV of 4 GiB": p_data(raw_pdv(0xFFFFFFFF, EVENTS, 3, BARE)),
    "PDV shorter than its bytes": p_data(raw_pdv(len(BARE), EVENTS, 3, BARE)),
    "second PDV longer than the PDU": p_data(pdv(EVENTS, 1, BARE[:8]), raw_pdv(999, EVENTS, 3, BARE[8:])),
    "context never proposed": p_data(pdv(99, 3, BARE)),
    "context 0": p_data(pdv(0, 3, BARE)),
    "even context": p_data(pdv(2, 3, BARE)),
    "data set first": p_data(pdv(EVENTS, 2, DATA)),
    "data set after a command without one": p_data(pdv(EVENTS, 3, BARE), pdv(EVENTS, 2, DATA)),
    "data set on another context": p_data(pdv(EVENTS, 3, COMMAND), pdv(SUBSTANCE, 2, DATA)),
    "command continued on another context": p_data(pdv(EVENTS, 1, BARE[:20]), pdv(SUBSTANCE, 3, BARE[20:])),
    "data set continued on another context": p_data(
        pdv(EVENTS, 3, COMMAND), pdv(EVENTS, 0, DATA[:4]), pdv(SUBSTANCE, 2, DATA[4:])
    ),
    "data set before the command is complete": p_data(pdv(EVENTS, 1, COMMAND[:20]), pdv(EVENTS, 2, DATA)),
    "command where the data set is due": p_data(pdv(EVENTS, 3, COMMAND), pdv(EVENTS, 3, BARE)),
    "command in the middle of the data set": p_data(
        pdv(EVENTS, 3, COMMAND), pdv(EVENTS, 0, DATA[:4]), pdv(EVENTS, 3, BARE)
    ),
    "empty command set": p_data(pdv(EVENTS, 3, b"")),
    "command set cut": p_data(pdv(EVENTS, 3, BARE[:-1])),
    "command element longer than the set": p_data(
        pdv(EVENTS, 3, struct.pack("<HHL", 0, 0x0100, 1 << 31) + b"\x30\x01")
    ),
    "element of another group": p_data(pdv(EVENTS, 3, BARE + struct.pack("<HHL", 8, 5, 0))),
    "element twice": p_data(pdv(EVENTS, 3, BARE + struct.pack("<HHLH", 0, 0x0110, 2, 1))),
    "no Message ID": p_data(pdv(EVENTS, 3, without(0x00000110))),
    "command set over its bound": p_data(pdv(EVENTS, 1, bytes(12000))) + p_data(pdv(EVENTS, 1, bytes(5000))),
    "PDU over the announced length": p_data(pdv(EVENTS, 0, bytes(SETTINGS.bounds.pdu - 5))),
    "release in the middle of a command set": p_data(pdv(EVENTS, 1, BARE[:9])) + RELEASE_RQ,
    "release in the middle of a data set": p_data(pdv(EVENTS, 3, COMMAND)) + RELEASE_RQ,
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_what_is_no_message_ends_the_association(name: str) -> None:
    """Each violation is answered by one A-ABORT of source 2, reason 6, and reaches no handler."""
    with Line() as line:
        line.associate()
        line.send(VIOLATIONS[name])
        assert line.pdus() == [(7, b"\0\0\2\6")]
        assert (line.events, line.state) == ([], 13)


def bytewise(context: int, kind: int, payload: bytes) -> list[bytes]:
    """A part of a message, one byte in each PDV."""
    return [pdv(context, kind | (2 if i == len(payload) - 1 else 0), payload[i : i + 1]) for i in range(len(payload))]


LEGAL = {
    "command and data set in a PDU each": (p_data(pdv(EVENTS, 3, COMMAND)) + p_data(pdv(EVENTS, 2, DATA)), [1]),
    "both in one PDU": (p_data(pdv(EVENTS, 3, COMMAND), pdv(EVENTS, 2, DATA)), [1]),
    "several PDVs in a PDU": (
        p_data(pdv(EVENTS, 1, COMMAND[:30]), pdv(EVENTS, 3, COMMAND[30:]), pdv(EVENTS, 0, DATA[:5]), pdv(EVENTS, 2, DATA[5:])),
        [1],
    ),
    "one byte in each PDV, one PDU": (p_data(*bytewise(EVENTS, 1, COMMAND), *bytewise(EVENTS, 0, DATA)), [1]),
    "one byte in each PDV, a PDU each": (
        b"".join(p_data(item) for item in bytewise(EVENTS, 1, COMMAND) + bytewise(EVENTS, 0, DATA)),
        [1],
    ),
    "empty fragments": (
        p_data(pdv(EVENTS, 1, b""), pdv(EVENTS, 3, COMMAND), pdv(EVENTS, 0, b""), pdv(EVENTS, 0, DATA), pdv(EVENTS, 2, b"")),
        [1],
    ),
    "three messages in one write": (request(1) + request(2) + request(3), [1, 2, 3]),
    "three messages in one PDU": (
        p_data(*[pdv(EVENTS, 3, n_action(i, PROCEDURAL_EVENT_LOGGING, data=False)) for i in (1, 2, 3)]),
        [1, 2, 3],
    ),
    "messages on several contexts": (request(1) + request(2, context=SUBSTANCE) + p_data(pdv(ECHO, 3, ECHO_RQ)), [1, 2, 7]),
    "reserved bits of the control header": (p_data(pdv(EVENTS, 0xF3, COMMAND), pdv(EVENTS, 0xF2, DATA)), [1]),
    "any data set type but 0101H": (
        p_data(pdv(EVENTS, 3, COMMAND.replace(struct.pack("<HHLH", 0, 0x0800, 2, 1), struct.pack("<HHLH", 0, 0x0800, 2, 0x0102))))
        + p_data(pdv(EVENTS, 2, DATA)),
        [1],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEGAL)
def test_legal_variants_are_answered(name: str) -> None:
    """Whatever the standard allows is answered with Success, in order, and its data set arrives unchanged."""
    raw, numbers = LEGAL[name]
    with Line() as line:
        line.associate()
        line.send(raw)
        answers = line.answers()
        assert [(answer.MessageIDBeingRespondedTo, answer.Status) for answer in answers] == [(i, 0) for i in numbers]
        assert {event.request.raw for event in line.events} <= {DATA, b""}
        if "one PDU" not in name or "three" not in name:
            assert all(event.request.raw == DATA for event in line.events)


STREAM = request(1) + request(2, b"\x10\0\x20\0" * 900) + p_data(pdv(ECHO, 3, ECHO_RQ)) + request(3, b"") + RELEASE_RQ


def answers_to(chunks: list[bytes]) -> tuple[bytes, list[bytes]]:
    """What is sent, and the data sets that arrived."""
    with Line() as line:
        line.associate()
        line.send(*chunks)
        return bytes(line.transport.written), [event.request.raw for event in line.events]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=40, unique=True))
def test_the_cuts_of_the_stream_do_not_matter(cuts: list[int]) -> None:
    """Several requests and a release are answered alike however the network cuts them."""
    chunks = [STREAM[a:b] for a, b in pairwise([0, *sorted(cuts), len(STREAM)])]
    assert answers_to(chunks) == answers_to([STREAM])


def test_byte_by_byte_is_answered_alike() -> None:
    """As above with every cut there is."""
    assert answers_to([STREAM[i : i + 1] for i in range(len(STREAM))]) == answers_to([STREAM])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_fragments_of_a_message_do_not_matter(data: st.DataObject) -> None:
    """However command set and data set are cut into PDVs, and these put into PDUs, the handler gets the same."""
    items = []
    for kind, payload in ((1, COMMAND), (0, DATA * 3)):
        cuts = sorted(data.draw(st.lists(st.integers(0, len(payload)), max_size=6)))
        parts = [payload[a:b] for a, b in pairwise([0, *cuts, len(payload)])]
        items += [pdv(EVENTS, kind | (2 if i == len(parts) - 1 else 0), part) for i, part in enumerate(parts)]
    bounds = sorted(data.draw(st.sets(st.integers(1, len(items) - 1), max_size=4))) if len(items) > 1 else []
    raw = b"".join(p_data(*items[a:b]) for a, b in pairwise([0, *bounds, len(items)]))
    with Line() as line:
        line.associate()
        line.send(raw)
        assert [answer.Status for answer in line.answers()] == [0]
        assert [event.request.raw for event in line.events] == [DATA * 3]


@pytest.mark.parametrize("excess", [0, 1, 5000])
@pytest.mark.parametrize("part", [1, 977, 16000])
def test_a_data_set_past_the_bound_arrives_cut_and_marked(excess: int, part: int) -> None:
    """At the bound it is whole; past it 64 KiB are kept, with the length and SHA-256 of all of it."""
    bound = 70_000
    data = bytes(i % 251 for i in range(bound + excess))
    parts = [data[i : i + part] for i in range(0, len(data), part)]
    raw = b"".join(p_data(pdv(EVENTS, 2 if i == len(parts) - 1 else 0, one)) for i, one in enumerate(parts))
    with Line(replace(SETTINGS, bounds=WireBounds(data_set=bound))) as line:
        line.associate()
        line.send(p_data(pdv(EVENTS, 3, COMMAND)), raw, request(2))
        first, second = (event.request for event in line.events)
    if excess:
        assert first.raw == data[: 64 * 1024]
        assert (first.truncated_length, first.truncated_digest) == (len(data), hashlib.sha256(data).digest())
    else:
        assert (first.raw, first.truncated_length, first.truncated_digest) == (data, 0, b"")
    assert (second.raw, second.truncated_length) == (DATA, 0)
