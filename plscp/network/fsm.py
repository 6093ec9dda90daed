"""The acceptor's side of the DICOM upper layer state machine: PS3.8 Table 9-10.

Left out, because an acceptor that never asks for a release never reaches them: Sta4 and Sta5 (requestor only), Sta7, Sta9 to
Sta12 (release asked for by us, release collision), the events E1, E2 and E11 and the actions that belong to them.
"""

from enum import IntEnum
from typing import Final, NamedTuple


class State(IntEnum):
    """States of PS3.8 Tables 9-1 to 9-5 that an acceptor knows."""

    STA1 = 1  # idle
    STA2 = 2  # transport connection open, awaiting A-ASSOCIATE-RQ
    STA3 = 3  # awaiting local A-ASSOCIATE response primitive
    STA6 = 6  # association established, ready for data transfer
    STA8 = 8  # awaiting local A-RELEASE response primitive
    STA13 = 13  # awaiting transport connection close


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


_S2, _S3, _S6, _S8, _S13, _S1 = State.STA2, State.STA3, State.STA6, State.STA8, State.STA13, State.STA1

TABLE: Final[dict[Event, dict[State, Step]]] = {
    Event.ASSOCIATE_AC: {
        _S2: Step("AA-1", _S13), _S3: Step("AA-8", _S13), _S6: Step("AA-8", _S13), _S8: Step("AA-8", _S13),
        _S13: Step("AA-6", _S13),
    },
    Event.ASSOCIATE_RJ: {
        _S2: Step("AA-1", _S13), _S3: Step("AA-8", _S13), _S6: Step("AA-8", _S13), _S8: Step("AA-8", _S13),
        _S13: Step("AA-6", _S13),
    },
    Event.TRANSPORT_INDICATION: {_S1: Step("AE-5", _S2)},
    Event.ASSOCIATE_RQ: {
        _S2: Step("AE-6", _S3), _S3: Step("AA-8", _S13), _S6: Step("AA-8", _S13), _S8: Step("AA-8", _S13),
        _S13: Step("AA-7", _S13),
    },
    Event.ACCEPT: {_S3: Step("AE-7", _S6)},
    Event.REJECT: {_S3: Step("AE-8", _S13)},
    Event.P_DATA_REQUEST: {_S6: Step("DT-1", _S6), _S8: Step("AR-7", _S8)},
    Event.P_DATA_TF: {
        _S2: Step("AA-1", _S13), _S3: Step("AA-8", _S13), _S6: Step("DT-2", _S6), _S8: Step("AA-8", _S13),
        _S13: Step("AA-6", _S13),
    },
    Event.RELEASE_RQ: {
        _S2: Step("AA-1", _S13), _S3: Step("AA-8", _S13), _S6: Step("AR-2", _S8), _S8: Step("AA-8", _S13),
        _S13: Step("AA-6", _S13),
    },
    Event.RELEASE_RP: {
        _S2: Step("AA-1", _S13), _S3: Step("AA-8", _S13), _S6: Step("AA-8", _S13), _S8: Step("AA-8", _S13),
        _S13: Step("AA-6", _S13),
    },
    Event.RELEASE_RESPONSE: {_S8: Step("AR-4", _S13)},
    Event.ABORT_REQUEST: {_S3: Step("AA-1", _S13), _S6: Step("AA-1", _S13), _S8: Step("AA-1", _S13)},
    Event.ABORT: {
        _S2: Step("AA-2", _S1), _S3: Step("AA-3", _S1), _S6: Step("AA-3", _S1), _S8: Step("AA-3", _S1),
        _S13: Step("AA-2", _S1),
    },
    Event.TRANSPORT_CLOSED: {
        _S2: Step("AA-5", _S1), _S3: Step("AA-4", _S1), _S6: Step("AA-4", _S1), _S8: Step("AA-4", _S1),
        _S13: Step("AR-5", _S1),
    },
    Event.ARTIM_EXPIRED: {_S2: Step("AA-2", _S1), _S13: Step("AA-2", _S1)},
    Event.INVALID_PDU: {
        _S2: Step("AA-1", _S13), _S3: Step("AA-8", _S13), _S6: Step("AA-8", _S13), _S8: Step("AA-8", _S13),
        _S13: Step("AA-7", _S13),
    },
}  # fmt: skip
"""Event -> state -> (action, next state), laid out as in the standard; a missing cell cannot occur."""
