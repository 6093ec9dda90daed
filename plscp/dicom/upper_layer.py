"""The upper layer of PS3.8 as an acceptor needs it, without I/O: bytes in, indications out; requests and responses give bytes to send.

Left out of Table 9-10, because an acceptor that never asks for a release never reaches them: Sta4 and Sta5 (requestor only), Sta7,
Sta9 to Sta12 (release asked for by us, release collision), the events E1, E2 and E11 and the actions that belong to them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NamedTuple

from plscp.dicom import handshakes, negotiation, pdu
from plscp.dicom.admission import UserIdentity
from plscp.dicom.dimse import Assembler, Context, Message
from plscp.dicom.negotiation import AssociationProposal, Rejection
from plscp.dicom.pdu import InvalidPdu
from plscp.dicom.settings import WireBounds

ENDS: Final = frozenset({pdu.RELEASE_RQ, pdu.ABORT})
"""What is taken also from an association that rests: it costs nothing, and an end that goes unanswered looks like a failure."""
MOST_UNWANTED_PDUS: Final = 32
"""That are looked at after the last one of ours: a flood of small ones shall not cost the others their time."""


class State(IntEnum):
    """States of PS3.8 Tables 9-1 to 9-5 that an acceptor knows."""

    STA1 = 1  # idle
    STA2 = 2  # transport connection open, awaiting A-ASSOCIATE-RQ
    STA3 = 3  # awaiting local A-ASSOCIATE response primitive
    STA6 = 6  # association established, ready for data transfer
    STA8 = 8  # awaiting local A-RELEASE response primitive
    STA13 = 13  # awaiting transport connection close

    __hash__ = int.__hash__


ANSWERING: Final = frozenset({State.STA6, State.STA8})  # in which P-DATA may be sent


class TableEvent(IntEnum):
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

    __hash__ = int.__hash__


class Step(NamedTuple):
    """A cell: the action and the next state. AE-6 has two in the standard; a proposal that is rejected goes by Sta3 here, too."""

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
_ROWS: Final = {  #                  Sta1    Sta2    Sta3    Sta6    Sta8    Sta13
    TableEvent.ASSOCIATE_AC:         ("",     "AA-1", "AA-8", "AA-8", "AA-8", "AA-6"),
    TableEvent.ASSOCIATE_RJ:         ("",     "AA-1", "AA-8", "AA-8", "AA-8", "AA-6"),
    TableEvent.TRANSPORT_INDICATION: ("AE-5", "",     "",     "",     "",     ""),
    TableEvent.ASSOCIATE_RQ:         ("",     "AE-6", "AA-8", "AA-8", "AA-8", "AA-7"),
    TableEvent.ACCEPT:               ("",     "",     "AE-7", "",     "",     ""),
    TableEvent.REJECT:               ("",     "",     "AE-8", "",     "",     ""),
    TableEvent.P_DATA_REQUEST:       ("",     "",     "",     "DT-1", "AR-7", ""),
    TableEvent.P_DATA_TF:            ("",     "AA-1", "AA-8", "DT-2", "AA-8", "AA-6"),
    TableEvent.RELEASE_RQ:           ("",     "AA-1", "AA-8", "AR-2", "AA-8", "AA-6"),
    TableEvent.RELEASE_RP:           ("",     "AA-1", "AA-8", "AA-8", "AA-8", "AA-6"),
    TableEvent.RELEASE_RESPONSE:     ("",     "",     "",     "",     "AR-4", ""),
    TableEvent.ABORT_REQUEST:        ("",     "",     "AA-1", "AA-1", "AA-1", ""),
    TableEvent.ABORT:                ("",     "AA-2", "AA-3", "AA-3", "AA-3", "AA-2"),
    TableEvent.TRANSPORT_CLOSED:     ("",     "AA-5", "AA-4", "AA-4", "AA-4", "AR-5"),
    TableEvent.ARTIM_EXPIRED:        ("",     "AA-2", "",     "",     "",     "AA-2"),
    TableEvent.INVALID_PDU:          ("",     "AA-1", "AA-8", "AA-8", "AA-8", "AA-7"),
}  # fmt: skip
TABLE: Final = {
    event: {state: Step(action, _NEXT[action]) for state, action in zip(State, row, strict=True) if action}
    for event, row in _ROWS.items()
}
"""Event -> state -> (action, next state), laid out as in the standard; a missing cell cannot occur."""
_EVENT_OF: Final[Mapping[int, TableEvent]] = {
    pdu.ASSOCIATE_RQ: TableEvent.ASSOCIATE_RQ,
    pdu.ASSOCIATE_AC: TableEvent.ASSOCIATE_AC,
    pdu.ASSOCIATE_RJ: TableEvent.ASSOCIATE_RJ,
    pdu.P_DATA_TF: TableEvent.P_DATA_TF,
    pdu.RELEASE_RQ: TableEvent.RELEASE_RQ,
    pdu.RELEASE_RP: TableEvent.RELEASE_RP,
    pdu.ABORT: TableEvent.ABORT,
}
_FIXED_LENGTHS: Final = dict.fromkeys((pdu.RELEASE_RQ, pdu.RELEASE_RP, pdu.ABORT, pdu.ASSOCIATE_RJ), 4)


# --- indications -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AssociateIndication:
    """A-ASSOCIATE: `accept` or `reject` is due, the latter where a rejection is all that was read."""

    proposal: AssociationProposal | Rejection
    identity: UserIdentity | None


@dataclass(slots=True)
class DataIndication:
    """P-DATA: the messages that a P-DATA-TF completed, and whether it began one that it did not complete."""

    messages: list[Message]
    begins: bool


@dataclass(frozen=True, slots=True)
class ReleaseIndication:
    """A-RELEASE: `release` is due once all that came before it is answered."""


@dataclass(frozen=True, slots=True)
class AbortIndication:
    """A-ABORT of the peer, which also ends the wait for its close: the connection is to be closed."""


@dataclass(frozen=True, slots=True)
class ProviderAbortIndication:
    """A-P-ABORT: `answer`, an A-ABORT with this source and reason (PS3.8 9.3.8), is to be sent; `what` says why in words."""

    what: str
    source: int
    reason: int

    @property
    def answer(self) -> bytes:
        """The PDU."""
        return pdu.abort(self.source, self.reason)


@dataclass(frozen=True, slots=True)
class UnwantedIndication:
    """A PDU came after the last one of ours; `answer`, where it is not empty, is to be sent."""

    answer: bytes = b""


Indication = (
    AssociateIndication
    | DataIndication
    | ReleaseIndication
    | AbortIndication
    | ProviderAbortIndication
    | UnwantedIndication
)


# --- the protocol ------------------------------------------------------------------------------------------------------


class UpperLayer:
    """One association. What is received is worked off PDU by PDU, with `next`, so that whoever asks can stop in between."""

    def __init__(self, bounds: WireBounds) -> None:
        self._bounds = bounds
        self._lengths = {kind: (length, length) for kind, length in _FIXED_LENGTHS.items()}
        self._lengths |= {pdu.ASSOCIATE_RQ: (0, bounds.associate_request), pdu.P_DATA_TF: (0, bounds.pdu)}
        self.state = State.STA1
        self._buffer = b""
        self._position = 0  # in it, of the next PDU
        self._known = 0  # so much of it was there before the last read
        self._skip = 0  # bytes still to come of a PDU that is not taken
        self._patience = MOST_UNWANTED_PDUS
        self._assembler = Assembler({}, bounds)
        self._max_length = 0
        self._outstanding: set[int] = set()
        self._move(TableEvent.TRANSPORT_INDICATION)

    # --- received ------------------------------------------------------------------------------------------------------

    @property
    def unread(self) -> int:
        """How many bytes wait to be worked off."""
        return len(self._buffer) - self._position

    @property
    def upcoming(self) -> int | None:
        """The type of the PDU that is next, as soon as its first byte is there."""
        return self._buffer[self._position] if self._position < len(self._buffer) else None

    @property
    def upcoming_is_new(self) -> bool:
        """Whether the first byte of the PDU that is next came with the last read."""
        return self._position >= self._known

    @property
    def message_is_open(self) -> bool:
        """Whether a message was begun and not ended."""
        return self._assembler.open

    def receive(self, data: bytes) -> None:
        """Bytes from the peer, cut anywhere; of a peer that is not listened to any more they are dropped."""
        rest = self._buffer[self._position :]
        self._known = len(rest)
        self._buffer, self._position = rest + data if rest else data, 0
        self._pass_over()

    def _pass_over(self) -> None:
        if self.state is State.STA1 or not self._patience:
            self._buffer, self._position = b"", 0
        elif self._skip:
            passed = min(self._skip, self.unread)
            self._skip -= passed
            self._position += passed

    def next(self) -> Indication | None:
        """Work off the next PDU, which is judged by its header; None: it is not there as a whole."""
        data, start = self._buffer, self._position
        if len(data) - start < 6:
            return None
        kind, length = pdu.HEADER.unpack_from(data, start)
        taken = _TAKEN[self.state].get(kind)
        least, most = self._lengths.get(kind, (0, 0))
        if taken is None or not least <= length <= most:
            self._position, self._skip = start + 6, length
            self._patience -= self.state is State.STA13
            indication = self._do(*self._fault(kind, length))
            self._pass_over()
            return indication
        stop = start + 6 + length
        if stop > len(data):
            return None
        self._position = stop
        action, state = taken
        try:
            indication = action(self, data, start + 6, stop)
        except InvalidPdu as error:
            return self.abort_for(pdu.INVALID_PARAMETER, str(error))
        self.state = state
        return indication

    def _fault(self, kind: int, length: int) -> tuple[TableEvent, int, str]:
        """The event that a PDU is of which only the header is read, with reason (PS3.8 Table 9-26) and words for an A-ABORT."""
        event = _EVENT_OF.get(kind)
        if event is None:
            tls = kind == handshakes.RECORD and self.state is State.STA2
            what = handshakes.NOT_TLS if tls else "an unrecognized PDU type"
            return TableEvent.INVALID_PDU, pdu.UNRECOGNIZED_PDU, what
        if TABLE[event][self.state].action in {"AA-1", "AA-7", "AA-8"}:
            return event, pdu.UNEXPECTED_PDU, "an unexpected PDU"
        if length != _FIXED_LENGTHS.get(kind, length):
            return TableEvent.INVALID_PDU, pdu.INVALID_PARAMETER, "a PDU of the wrong length"
        if self.state is State.STA13:
            return event, pdu.NOT_SPECIFIED, ""
        what = "an A-ASSOCIATE-RQ" if kind == pdu.ASSOCIATE_RQ else "a P-DATA-TF"
        return TableEvent.INVALID_PDU, pdu.INVALID_PARAMETER, f"{what} longer than the bound"

    # --- requests and responses ----------------------------------------------------------------------------------------

    def accept(
        self, proposal: AssociationProposal, *, confirmed: bool = False, steps: bool = True
    ) -> tuple[bytes, Mapping[int, Context]]:
        """A-ASSOCIATE response: as `negotiation.accept`."""
        answer, contexts = negotiation.accept(proposal, self._bounds.pdu, confirmed=confirmed, steps=steps)
        self._max_length = proposal.max_length
        self._assembler = Assembler(contexts, self._bounds)
        self._move(TableEvent.ACCEPT)
        return answer, contexts

    def reject(self, rejection: Rejection) -> bytes:
        """A-ASSOCIATE response, negative."""
        self._move(TableEvent.REJECT)
        return pdu.reject(rejection.result, rejection.source, rejection.reason)

    def respond(self, message: Message, status: int, dataset: Any = None) -> bytes:
        """P-DATA request: the answer to a message, with an Action Reply where there is one. Raises what its encoding does."""
        out = message.answered(status, dataset, self._max_length)
        self._move(TableEvent.P_DATA_REQUEST)
        if not message.repeated:
            self._outstanding.discard(message.command.message_id)
        return out

    def release(self) -> bytes:
        """A-RELEASE response."""
        self._move(TableEvent.RELEASE_RESPONSE)
        return pdu.RELEASE_RP_PDU

    def abort(self) -> bytes:
        """A-ABORT request of our own, as service user."""
        self._move(TableEvent.ABORT_REQUEST)
        return pdu.abort(pdu.SERVICE_USER, pdu.NOT_SPECIFIED)

    def abort_for(self, reason: int, what: str) -> Indication:
        """What arrived, or did not arrive in time, breaks the protocol."""
        return self._do(TableEvent.INVALID_PDU, reason, what)

    def lose(self) -> None:
        """The connection is gone."""
        if self.state is not State.STA1:
            self._move(TableEvent.TRANSPORT_CLOSED)
        self._pass_over()

    def expire(self) -> None:
        """The ARTIM timer has expired: the connection is to be closed."""
        self._move(TableEvent.ARTIM_EXPIRED)
        self._pass_over()

    # --- Table 9-10 ----------------------------------------------------------------------------------------------------

    def _move(self, event: TableEvent) -> None:
        """Go where the table says; what its action does, the caller does."""
        self.state = TABLE[event][self.state].state

    def _do(self, event: TableEvent, *told: Any) -> Indication:
        action, self.state = TABLE[event][self.state]
        return _ACTIONS[action](self, *told)

    def _associate(self, data: bytes, start: int, stop: int) -> Indication:
        return AssociateIndication(*negotiation.read(data[start:stop], self._bounds.presentation_contexts))

    def _data(self, data: bytes, start: int, stop: int) -> Indication:
        was_open = self._assembler.open
        messages = self._assembler.feed(data, start, stop)
        for message in messages:
            command = message.command
            if command.asks:
                message.repeated = command.message_id in self._outstanding
                self._outstanding.add(command.message_id)
        return DataIndication(messages, (not was_open or bool(messages)) and self._assembler.open)

    def _release(self, *_: Any) -> Indication:
        if self._assembler.open:
            raise InvalidPdu("a release in the middle of a message")
        return ReleaseIndication()

    def _end(self, *_: Any) -> Indication:
        self._buffer, self._position = b"", 0
        return AbortIndication()

    def _abort_again(self, reason: int, _: str) -> Indication:
        self._patience = 0
        return UnwantedIndication(pdu.abort(pdu.SERVICE_PROVIDER, reason))


_ACTIONS: Final[Mapping[str, Callable[..., Indication]]] = {
    "AE-6": UpperLayer._associate,
    "DT-2": UpperLayer._data,
    "AR-2": UpperLayer._release,
    # Without a reason, which is not significant then (PS3.8 9.3.8).
    "AA-1": lambda _layer, _reason, what: ProviderAbortIndication(what, pdu.SERVICE_USER, pdu.NOT_SPECIFIED),
    "AA-2": UpperLayer._end,
    "AA-3": UpperLayer._end,
    "AA-6": lambda *_: UnwantedIndication(),
    "AA-7": UpperLayer._abort_again,
    "AA-8": lambda _layer, reason, what: ProviderAbortIndication(what, pdu.SERVICE_PROVIDER, reason),
}
"""What the actions on something received do (PS3.8 Tables 9-6 to 9-9); timers and connections are the server's."""
_TAKEN: Final = {
    state: {
        kind: (_ACTIONS[TABLE[event][state].action], TABLE[event][state].state)
        for kind, event in _EVENT_OF.items()
        if state in TABLE[event] and State.STA13 not in {state, TABLE[event][state].state}
    }
    for state in State
}
"""State -> type of a PDU that is read as a whole -> what is done and the next state; of all others the header says enough."""
