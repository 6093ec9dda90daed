"""The upper layer of PS3.8 as far as an acceptor needs it: PDUs as bytes (9.3) and the state machine (Table 9-10).

A-ASSOCIATE-RQ and -AC are in `negotiation`. Left out of the table, because an acceptor that never asks for a release never reaches
them: Sta4 and Sta5 (requestor only), Sta7, Sta9 to Sta12 (release asked for by us, release collision), the events E1, E2 and E11 and
the actions that belong to them.
"""

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NamedTuple

from plscp.dicom.settings import NetworkSettings

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA_TF, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)

HEADER: Final = struct.Struct(">BxL")
"""PDU type and length."""
PDV: Final = struct.Struct(">LBB")
"""Item length, presentation context ID, message control header."""

RELEASE_RP_PDU: Final = struct.pack(">BxLL", RELEASE_RP, 4, 0)

SERVICE_USER, SERVICE_PROVIDER = 0, 2
NOT_SPECIFIED, UNRECOGNIZED_PDU, UNEXPECTED_PDU, INVALID_PARAMETER = 0, 1, 2, 6

ENDS: Final = frozenset({RELEASE_RQ, ABORT})
"""What is taken also from an association that rests: it costs nothing, and an end that goes unanswered looks like a failure."""

COMMAND, LAST = 1, 2
"""Bits of the message control header (PS3.8 Annex E.2)."""

FIXED_LENGTHS: Final = {RELEASE_RQ: 4, RELEASE_RP: 4, ABORT: 4, ASSOCIATE_RJ: 4}
"""PDUs whose length is always the same."""


def reject(result: int, source: int, reason: int) -> bytes:
    """A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return struct.pack(">BxLxBBB", ASSOCIATE_RJ, 4, result, source, reason)


def abort(source: int, reason: int) -> bytes:
    """A-ABORT (PS3.8 9.3.8)."""
    return struct.pack(">BxLxxBB", ABORT, 4, source, reason)


def p_data(context_id: int, kind: int, payload: bytes, max_length: int) -> bytes:
    """One part of a message, a command set or a data set, as P-DATA-TF PDUs.

    Args:
        kind: COMMAND, or 0 for a data set.
        max_length: the peer's Maximum Length Received; 0: no limit (PS3.8 D.1).
    """
    size = len(payload)
    if not max_length or size + 6 <= max_length:
        return struct.pack(">BxLLBB", P_DATA_TF, size + 6, size + 2, context_id, kind | LAST) + payload
    room = max(max_length - 6 & ~1, 2)  # fragments are even; into less than 8 bytes none fits, and 8 is sent then
    parts = [payload[start : start + room] for start in range(0, size, room)]
    return b"".join(
        struct.pack(">BxLLBB", P_DATA_TF, len(part) + 6, len(part) + 2, context_id, kind) + part for part in parts[:-1]
    ) + p_data(context_id, kind, parts[-1], 0)


class State(IntEnum):
    """States of PS3.8 Tables 9-1 to 9-5 that an acceptor knows."""

    STA1 = 1  # idle
    STA2 = 2  # transport connection open, awaiting A-ASSOCIATE-RQ
    STA3 = 3  # awaiting local A-ASSOCIATE response primitive
    STA6 = 6  # association established, ready for data transfer
    STA8 = 8  # awaiting local A-RELEASE response primitive
    STA13 = 13  # awaiting transport connection close


ANSWERING: Final = frozenset({State.STA6, State.STA8})
"""In which P-DATA may be sent."""


class Event(IntEnum):
    """Rows of Table 9-10 by their number."""

    ASSOCIATE_AC = 3
    ASSOCIATE_RJ = 4
    TRANSPORT_INDICATION = 5
    ASSOCIATE_RQ = 6
    ACCEPT = 7
    REJECT = 8
    P_DATA_REQUEST = 9
    P_DATA_TF = 10
    RELEASE_RQ = 12
    RELEASE_RP = 13
    RELEASE_RESPONSE = 14
    ABORT_REQUEST = 15
    ABORT = 16
    TRANSPORT_CLOSED = 17
    ARTIM_EXPIRED = 18
    INVALID_PDU = 19


class Step(NamedTuple):
    """A cell: the action and the next state. AE-6 alone has two next states: Sta3, or Sta13 where it rejects."""

    action: str
    state: State


_NEXT: Final = {
    **dict.fromkeys(("AA-2", "AA-3", "AA-4", "AA-5", "AR-5"), State.STA1),
    "AE-5": State.STA2,
    "AE-6": State.STA3,
    **dict.fromkeys(("AE-7", "DT-1", "DT-2"), State.STA6),
    **dict.fromkeys(("AR-2", "AR-7"), State.STA8),
    **dict.fromkeys(("AE-8", "AR-4", "AA-1", "AA-6", "AA-7", "AA-8"), State.STA13),
}
"""The state that each action leads to (PS3.8 Tables 9-6 to 9-9)."""
_ROWS: Final = {  #             Sta1    Sta2    Sta3    Sta6    Sta8    Sta13
    Event.ASSOCIATE_AC:         ("",     "AA-1", "AA-8", "AA-8", "AA-8", "AA-6"),
    Event.ASSOCIATE_RJ:         ("",     "AA-1", "AA-8", "AA-8", "AA-8", "AA-6"),
    Event.TRANSPORT_INDICATION: ("AE-5", "",     "",     "",     "",     ""),
    Event.ASSOCIATE_RQ:         ("",     "AE-6", "AA-8", "AA-8", "AA-8", "AA-7"),
    Event.ACCEPT:               ("",     "",     "AE-7", "",     "",     ""),
    Event.REJECT:               ("",     "",     "AE-8", "",     "",     ""),
    Event.P_DATA_REQUEST:       ("",     "",     "",     "DT-1", "AR-7", ""),
    Event.P_DATA_TF:            ("",     "AA-1", "AA-8", "DT-2", "AA-8", "AA-6"),
    Event.RELEASE_RQ:           ("",     "AA-1", "AA-8", "AR-2", "AA-8", "AA-6"),
    Event.RELEASE_RP:           ("",     "AA-1", "AA-8", "AA-8", "AA-8", "AA-6"),
    Event.RELEASE_RESPONSE:     ("",     "",     "",     "",     "AR-4", ""),
    Event.ABORT_REQUEST:        ("",     "",     "AA-1", "AA-1", "AA-1", ""),
    Event.ABORT:                ("",     "AA-2", "AA-3", "AA-3", "AA-3", "AA-2"),
    Event.TRANSPORT_CLOSED:     ("",     "AA-5", "AA-4", "AA-4", "AA-4", "AR-5"),
    Event.ARTIM_EXPIRED:        ("",     "AA-2", "",     "",     "",     "AA-2"),
    Event.INVALID_PDU:          ("",     "AA-1", "AA-8", "AA-8", "AA-8", "AA-7"),
}  # fmt: skip
TABLE: Final = {
    event: {state: Step(action, _NEXT[action]) for state, action in zip(State, row, strict=True) if action}
    for event, row in _ROWS.items()
}
"""Event -> state -> (action, next state), laid out as in the standard; a missing cell cannot occur."""

EVENT_OF: Final[Mapping[int, Event]] = {
    ASSOCIATE_AC: Event.ASSOCIATE_AC,
    ASSOCIATE_RJ: Event.ASSOCIATE_RJ,
    ASSOCIATE_RQ: Event.ASSOCIATE_RQ,
    P_DATA_TF: Event.P_DATA_TF,
    RELEASE_RQ: Event.RELEASE_RQ,
    RELEASE_RP: Event.RELEASE_RP,
    ABORT: Event.ABORT,
}


def event_of(kind: int, length: int) -> tuple[Event, int]:
    """The event that a PDU is, and the reason of an A-ABORT (PS3.8 Table 9-26) where that event is answered with one."""
    event = EVENT_OF.get(kind)
    if event is None:
        return Event.INVALID_PDU, UNRECOGNIZED_PDU
    if length != FIXED_LENGTHS.get(kind, length):
        return Event.INVALID_PDU, INVALID_PARAMETER
    return event, UNEXPECTED_PDU


def fault(kind: int, length: int, state: State, settings: NetworkSettings) -> tuple[int, str, Event] | None:
    """Why a PDU ends the association before its body is read, or None.

    Args:
        length: of the body in bytes, as announced.

    Returns:
        Reason and words for the A-ABORT, and the event for the state machine.
    """
    event = EVENT_OF.get(kind)
    if event is None:
        return UNRECOGNIZED_PDU, "an unrecognized PDU type", Event.INVALID_PDU
    if TABLE[event][state].action in {"AA-1", "AA-8"}:
        return UNEXPECTED_PDU, "an unexpected PDU", event
    if kind == ASSOCIATE_RQ and length > settings.associate_request:
        return INVALID_PARAMETER, "an A-ASSOCIATE-RQ longer than the bound", Event.INVALID_PDU
    if kind == P_DATA_TF and length > settings.max_pdu:
        return INVALID_PARAMETER, "a P-DATA-TF longer than the bound", Event.INVALID_PDU
    if length != FIXED_LENGTHS.get(kind, length):
        return INVALID_PARAMETER, "a PDU of the wrong length", Event.INVALID_PDU
    return None
