"""What a peer may send, right and wrong: hypothesis strategies of PDUs, messages and streams."""

import struct

from hypothesis import strategies as st

from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests.dicom.model import Broken, elements
from tests.dicom.wire import CONTEXTS
from tests.rawscu import associate_rq, command_set, n_action, pdv, uid


def pdu(kind: int, body: bytes = b"", lie: int = 0) -> bytes:
    """A PDU, its length wrong by `lie`."""
    return struct.pack(">BBL", kind, 0, max(len(body) + lie, 0)) + body


# --- A-ASSOCIATE-RQ ----------------------------------------------------------------------------------------------------

GOOD = associate_rq("HEMO1", "PLSCP", CONTEXTS)[6:]
TITLES = struct.Struct(">HH16s16s")


def titled(version: int = 1, called: bytes = b"PLSCP".ljust(16), calling: bytes = b"HEMO1".ljust(16)) -> bytes:
    """The good one with another start."""
    return TITLES.pack(version, 0, called, calling) + GOOD[TITLES.size :]


ITEMS: dict[bytes, tuple[int, int, int] | None] = {
    GOOD[68:]: None,
    GOOD[68:-8] + b"\xff" * 8: None,  # an Implementation Class UID that is none: nobody needs it
    GOOD[68:] + b"\x51\0\0\1?": None,  # an item that nobody knows there
    GOOD[68:].replace(b"1.2.840.10008.3.1.1.1", b"1.2.840.10008.3.1.1.2"): (1, 1, 2),
    GOOD[93:]: (1, 1, 2),  # no application context
}
"""What each deserves: acceptance, or the rejection of PS3.8 Table 9-21."""
REQUESTS = [
    GOOD,
    *(GOOD[:68] + items for items in ITEMS),
    titled(version=3),  # a further version beside the first
    titled(calling=b"HEMO1".ljust(16, b"\0")),
    titled(calling=b"  HEMO1".ljust(16)),
    titled(version=2),
    titled(called=b"OTHER".ljust(16)),
    titled(called=bytes(16)),
    titled(calling=b"STRANGER".ljust(16)),
    titled(calling=b" " * 16),
    titled(calling=b"A\nB".ljust(16)),
    titled(calling=b"A\\B".ljust(16)),
    titled(calling=b"\xe4".ljust(16)),
]
KNOWN = ["HEMO1"]
UNREADABLE = [
    b"",
    GOOD[:67],
    GOOD[:68],  # no items
    GOOD[:-1],
    GOOD[:-48],  # no user information
    GOOD + b"\x50",
    GOOD + b"\x51\0\0\1",
    GOOD.replace(b"\3\0\0\0\x30", b"\1\0\0\0\x30"),  # a context ID twice
    GOOD + bytes(1024),  # past the bound
]

assert not ITEMS.keys() & {body[68:] for body in UNREADABLE if len(body) >= 68}

# --- messages ----------------------------------------------------------------------------------------------------------


def command(field: int | None, number: int | None, data: int | None, *more: tuple[int, bytes]) -> bytes:
    """A command set; None leaves the element out."""
    found = [(0x00000002, uid(PROCEDURAL_EVENT_LOGGING))]
    for tag, value in ((0x00000100, field), (0x00000110, number), (0x00000800, data)):
        if value is not None:
            found.append((tag, struct.pack("<H", value)))
    return command_set([*found, *more])


numbers = st.integers(1, 3)
commands = st.one_of(
    st.builds(lambda number, data: n_action(number, PROCEDURAL_EVENT_LOGGING, data=data), numbers, st.booleans()),
    st.builds(
        command,
        st.sampled_from([0x0030, 0x0130, 0x0130, 0x0001, 0x8130, 0x0FFF, None]),
        st.one_of(numbers, st.none()),
        st.sampled_from([0x0101, 0x0101, 0, 1, 0x0102, None]),
    ),
    st.builds(lambda number: command(0x0130, number, 0x0101, (0x00001008, b"\1\0\0\0")), numbers),
    st.builds(lambda number: command(0x0130, number, 0x0101, (0x00001008, b"")), numbers),
    st.builds(lambda number: n_action(number, PROCEDURAL_EVENT_LOGGING, data=False)[:-1], numbers),
    st.sampled_from([b"", b"\0" * 8, b"\1\0\0\0\0\0\0\0", bytes(250), struct.pack("<HHL", 0, 0x0110, 1 << 31)]),
)
context_ids = st.sampled_from([1, 1, 1, 3, 5, 5, 5, 7, 0])


@st.composite
def message(draw: st.DrawFn) -> list[bytes]:
    """The presentation data values of a message, or of something like one."""
    context, raw = draw(context_ids), draw(commands)
    parts = []
    for kind, payload in ((1, raw), (0, b"x" * 9)):
        cut = draw(st.one_of(st.none(), st.integers(0, len(payload))))
        if cut is not None:
            parts.append(pdv(context, kind, payload[:cut]))
        parts.append(pdv(context, kind | 2, payload[cut or 0 :]))
    try:
        follows = elements(raw).get(0x0800, b"\1\1") != b"\1\1"
    except Broken:  # no command set at all
        follows = False
    if not follows and draw(st.integers(0, 7)):
        parts = [part for part in parts if part[5] & 1]
    if not draw(st.integers(0, 9)):
        parts.pop(draw(st.integers(0, len(parts) - 1)))
    return parts


@st.composite
def p_data(draw: st.DrawFn) -> bytes:
    """P-DATA-TFs of some messages, several values to a PDU or one."""
    values = [value for parts in draw(st.lists(message(), min_size=1, max_size=3)) for value in parts]
    out = body = b""
    for value in values:
        if body and draw(st.booleans()):
            out, body = out + pdu(4, body), b""
        body += value
    return out + pdu(4, body)


def asked(number: int, context: int) -> bytes:
    """A request without a data set: an N-ACTION, or C-ECHO on the last context."""
    raw = command(0x0030 if context == 5 else 0x0130, number, 0x0101)
    return pdu(4, pdv(context, 3, raw))


requests = st.lists(st.builds(asked, numbers, st.sampled_from([1, 1, 3, 5])), min_size=1, max_size=4).map(b"".join)
begun = st.sampled_from([pdu(4, pdv(1, 3, command(0x0130, 1, 1))), pdu(4, pdv(1, 1, b"\0")), asked(1, 1)[:9]])
LYING = [
    pdu(4),
    pdu(4, b"\0\0\0\2\1"),
    pdu(4, struct.pack(">LBB", 1, 1, 3)),
    pdu(4, struct.pack(">LBB", 3, 1, 3)),
    pdu(4, struct.pack(">LBB", 0xFFFFFFFF, 1, 3)),
    pdu(4, pdv(1, 2, b"a data set before its command")),
    pdu(4, bytes(601)),
]
FOUR = bytes(4)
others = st.one_of(
    st.sampled_from([pdu(kind, FOUR) for kind in (2, 3, 5, 5, 5, 6, 7, 0, 8, 0xFF)]),
    st.builds(pdu, st.integers(0, 9), st.just(FOUR), st.sampled_from([-4, -1, 1, 4, 1 << 20, (1 << 32) - 5])),
    st.sampled_from([b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\0\1\0", FOUR, b"\4", b"\7\0\0\0\0\4"]),
)
associations = st.one_of(
    st.just(pdu(1, GOOD)),
    st.sampled_from([pdu(1, body) for body in (*REQUESTS, *UNREADABLE)]),
    st.builds(pdu, st.just(1), st.just(GOOD), st.integers(1, 3)),
)
stimuli = st.one_of(p_data(), p_data(), p_data(), st.sampled_from(LYING), others, associations)
streams = st.tuples(
    st.one_of(*[st.just(pdu(1, GOOD))] * 6, associations, others), st.lists(st.one_of(p_data(), stimuli), max_size=6)
).map(lambda found: found[0] + b"".join(found[1]))
