"""One association: an asyncio protocol that runs the upper layer state machine (PS3.8) and hands requests to the handler."""

import asyncio
import itertools
import socket
import time
import zlib
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from plscp.logs import log
from plscp.network import dimse, negotiation, pdu
from plscp.network.answer import Status
from plscp.network.event import ActionEvent, ActionRequest, Peer
from plscp.network.fsm import TABLE, Event, State
from plscp.network.messages import Assembler, Message, Violation
from plscp.network.negotiation import Context, Proposal, Rejection

if TYPE_CHECKING:
    from plscp.network.acceptor import Acceptor

QUICKACK: Final = getattr(socket, "TCP_QUICKACK", None)
NEVER: Final = float("inf")
PATIENCE: Final = 32
"""PDUs that are looked at after the last one of ours: a flood of small ones shall not cost the others their time."""
PROCESSING_FAILURE: Final = 0x0110
_ANSWERING: Final = frozenset({State.STA6, State.STA8})
_numbers = itertools.count(1)

_EVENT_OF: Final = {
    pdu.ASSOCIATE_AC: Event.ASSOCIATE_AC,
    pdu.ASSOCIATE_RJ: Event.ASSOCIATE_RJ,
    pdu.ASSOCIATE_RQ: Event.ASSOCIATE_RQ,
    pdu.P_DATA_TF: Event.P_DATA_TF,
    pdu.RELEASE_RQ: Event.RELEASE_RQ,
    pdu.RELEASE_RP: Event.RELEASE_RP,
    pdu.ABORT: Event.ABORT,
}


class Association(asyncio.Protocol):
    """A connection, and the association on it.

    Attributes:
        id: opaque, for logs.
        requestor, acceptor: the two sides, as pynetdicom's handlers know them.
        deadline: monotonic seconds after which the acceptor calls `overdue`.
        established: when the association was accepted, UTC, or None.
        requests: how many were answered.
    """

    def __init__(self, owner: "Acceptor") -> None:
        self._owner = owner
        self._settings = owner.settings
        self.id = f"{next(_numbers):x}"
        self.requestor = Peer("")
        self.acceptor = Peer(owner.settings.ae_title or "")
        self.state = State.STA1
        self.deadline = NEVER
        self.opened = time.monotonic()
        self.established: datetime | None = None
        self.requests = 0
        self._transport: Any = None
        self._socket: Any = None
        self._buffer = b""
        self._skip = 0  # bytes still to come of a PDU that is not taken
        self._patience = PATIENCE
        self._pdu_began = self._message_began = self._stalled = 0.0
        self._assembler: Assembler | None = None
        self._max_length = 0
        self._waiting: deque[tuple[Message, datetime]] = deque()
        self._outstanding: set[int] = set()
        self._busy = False
        self._written: list[object] = []  # receipts of answers since the last read
        self._receipts: list[object] = []  # of those before it
        self._write_paused = False
        self._read_paused = False
        self._why = ("lost", "transport")

    # --- transport -----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """E5."""
        self._transport = transport
        peer = transport.get_extra_info("peername") or ("", 0)
        self.requestor = Peer("", str(peer[0]), int(peer[1]))
        self._socket = transport.get_extra_info("socket")
        _tune(self._socket)
        self._event(Event.TRANSPORT_INDICATION)
        self._owner.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """E17; also after a close of our own."""
        del exc
        if self.state is not State.STA1:
            self._event(Event.TRANSPORT_CLOSED)
        self._forget()
        self._owner.disconnected(self, *self._why)

    def _forget(self) -> None:
        """Nothing that waits is wanted any more."""
        self._waiting.clear()
        self._written.clear()
        self._receipts.clear()

    def pause_writing(self) -> None:
        """The peer does not read its answers: take no further requests until it does."""
        self._write_paused = True
        self._stalled = time.monotonic()
        self._watch()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._write_paused = False
        self._go_on()

    def eof_received(self) -> bool:
        """The peer closed its side: so do we, and wait for nobody to read what is still to be sent."""
        self._transport.abort()
        return False

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer, cut anywhere."""
        if QUICKACK is not None and self._socket is not None:
            # The kernel forgets it: without it an SCU with Nagle's algorithm waits 40 ms for each ACK (see decisions).
            try:
                self._socket.setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)
            except OSError:
                self._socket = None
        if self._written:
            self._receipts += self._written
            self._written.clear()
        old = len(self._buffer)
        if old:
            data = self._buffer + data
        self._take(data, old)

    # --- PDUs ----------------------------------------------------------------------------------------------------------

    def _take(self, data: bytes, old: int) -> None:
        """Work off what can be, keep the rest."""
        used = self._pdus(data, old)
        if used or not old:
            self._pdu_began = time.monotonic()
        self._buffer = data[used:] if used < len(data) else b""
        self._watch()

    def _pdus(self, data: bytes, old: int) -> int:
        """Work off every complete PDU; returns how many bytes they took.

        Args:
            old: how many of the bytes were there already when the last ones came.
        """
        position, end = 0, len(data)
        while position < end:
            state = self.state
            if state is State.STA1 or not self._patience:
                return end
            if self._skip:
                passed = min(self._skip, end - position)
                self._skip -= passed
                position += passed
                continue
            if self._read_paused and state is not State.STA13:
                break
            if self._receipts and position >= old:
                self._hear(data[position])
            if end - position < 6:
                break
            kind, length = pdu.HEADER.unpack_from(data, position)
            if state is State.STA13 or not self._plausible(kind, length):
                if state is State.STA13:
                    self._unwanted(kind, length)
                self._skip = length
                position += 6
                continue
            stop = position + 6 + length
            if stop > end:
                break
            if kind == pdu.P_DATA_TF and state is State.STA6:
                self._p_data(data, position + 6, stop)
            else:
                self._other(kind, data[position + 6 : stop])
            position = stop
        return position

    def _unwanted(self, kind: int, length: int) -> None:
        """Sta13: AA-6 ignores, AA-2 closes, AA-7 says A-ABORT; then, or after enough of it, bytes are not looked at any more."""
        self._patience -= 1
        event, reason = _EVENT_OF.get(kind, Event.INVALID_PDU), pdu.UNEXPECTED_PDU
        if event is Event.INVALID_PDU:
            reason = pdu.UNRECOGNIZED_PDU
        elif length != pdu.FIXED_LENGTHS.get(kind, length):
            event, reason = Event.INVALID_PDU, pdu.INVALID_PARAMETER
        action = TABLE[event][self.state].action
        if action == "AA-2":
            self._event(event)
            self._transport.abort()
        elif action == "AA-7":
            self._patience = 0
            self._transport.write(pdu.abort(pdu.SERVICE_PROVIDER, reason))

    def _plausible(self, kind: int, length: int) -> bool:
        """Judge a PDU by its header alone: nobody makes us wait for, or keep, what will not be taken anyway."""
        event = _EVENT_OF.get(kind)
        if event is None:
            self._invalid(pdu.UNRECOGNIZED_PDU, "an unrecognized PDU type")
        elif TABLE[event][self.state].action in {"AA-1", "AA-8"}:
            self._event(event)
            self._abort(pdu.SERVICE_PROVIDER, pdu.UNEXPECTED_PDU, "an unexpected PDU")
        elif (kind == pdu.ASSOCIATE_RQ and length > self._settings.associate_request) or (
            kind == pdu.P_DATA_TF and length > self._settings.max_pdu
        ):
            self._invalid(pdu.INVALID_PARAMETER, "a PDU longer than the bound")
        elif length != pdu.FIXED_LENGTHS.get(kind, length):
            self._invalid(pdu.INVALID_PARAMETER, "a PDU of the wrong length")
        else:
            return True
        return False

    def _hear(self, first: int) -> None:
        """The first byte of a further message or of an A-RELEASE-RQ proves that the answers before it arrived."""
        begins = first == pdu.P_DATA_TF and not (self._assembler and self._assembler.open)
        if self.state is State.STA6 and (begins or first == pdu.RELEASE_RQ):
            receipts, self._receipts = self._receipts, []
            self._owner.heard(receipts)

    def _other(self, kind: int, body: bytes) -> None:
        event = _EVENT_OF[kind]
        if kind == pdu.ASSOCIATE_RQ:
            self._associate(body)
            return
        self._event(event)
        if kind == pdu.RELEASE_RQ:  # AR-2: the release is answered when all that came before it is
            if self._assembler is not None and self._assembler.open:
                self._invalid(pdu.INVALID_PARAMETER, "a release in the middle of a message")
                return
            self._work()
        elif kind == pdu.ABORT:
            self._why = ("aborted", "by-peer")
            self._forget()
            self._transport.abort()  # nothing that is still to be sent is wanted

    # --- association ---------------------------------------------------------------------------------------------------

    def _associate(self, body: bytes) -> None:
        """AE-6 and what the upper layer's user says to it."""
        settings = self._settings
        try:
            proposal = negotiation.read(body, settings.contexts)
            self._event(Event.ASSOCIATE_RQ)
            if isinstance(proposal, Proposal):
                self.requestor.ae_title, self.acceptor.ae_title = proposal.calling_ae, proposal.called_ae
                rejection = negotiation.check_titles(proposal, settings.ae_title, self._owner.allowed)
                if rejection is None and not self._owner.room_for(self):
                    rejection = negotiation.LOCAL_LIMIT
            else:
                rejection = proposal
            if rejection is not None or not isinstance(proposal, Proposal):
                self._reject(rejection or negotiation.LOCAL_LIMIT)
                return
            answer, contexts = negotiation.accept(proposal, settings.max_pdu)
        except negotiation.Unreadable:
            self._invalid(pdu.INVALID_PARAMETER, "an A-ASSOCIATE-RQ that cannot be read")
            return
        self._event(Event.ACCEPT)
        self._max_length = proposal.max_length
        self._assembler = Assembler(contexts, settings.command_set, settings.data_set)
        self.established = datetime.now(UTC)
        self._transport.write(answer)
        self._owner.accepted(self, contexts)

    def _reject(self, why: Rejection) -> None:
        self._event(Event.REJECT)
        self._why = ("rejected", why.label)
        self._close_after(pdu.reject(why.result, why.source, why.reason))

    # --- messages ------------------------------------------------------------------------------------------------------

    def _p_data(self, data: bytes, position: int, stop: int) -> None:
        """DT-2."""
        assembler = self._assembler
        assert assembler is not None
        was_open = assembler.open
        try:
            done = assembler.feed(data, position, stop)
        except Violation as violation:
            self._invalid(pdu.INVALID_PARAMETER, str(violation))
            return
        if assembler.open and (done or not was_open):
            self._message_began = time.monotonic()
        if done:
            now = datetime.now(UTC)
            for message in done:
                command = message.command
                if command.asks:
                    message.repeated = command.message_id in self._outstanding
                    self._outstanding.add(command.message_id)
                self._waiting.append((message, now))
            self._work()

    def _work(self) -> None:
        """Work off what waits, in order, one at a time; then a release that waits."""
        while self._waiting and not self._busy and not self._write_paused and self.state in _ANSWERING:
            message, arrived = self._waiting.popleft()
            self._handle(message, arrived)
        if self.state is State.STA8 and not self._waiting and not self._busy:
            self._event(Event.RELEASE_RESPONSE)
            self._why = ("released", "released")
            self._close_after(pdu.RELEASE_RP_PDU)
        if self.state in _ANSWERING:
            self._read_or_pause()

    def _read_or_pause(self) -> None:
        full = len(self._waiting) >= self._settings.waiting or self._write_paused
        if full == self._read_paused or self._transport.is_closing():
            return
        self._read_paused = full
        if full:
            self._transport.pause_reading()
            return
        self._pdu_began = self._message_began = time.monotonic()  # the pause was ours: the clocks start again
        self._transport.resume_reading()

    def _go_on(self) -> None:
        """After an answer that was waited for: work off what waits, and what was read but not looked at yet."""
        self._work()
        while self._buffer and not self._read_paused and self.state in _ANSWERING:
            before = len(self._buffer)
            self._take(self._buffer, before)
            if len(self._buffer) == before:
                return
        self._watch()

    def _handle(self, message: Message, arrived: datetime) -> None:
        command = message.command
        if not command.asks:
            return  # nothing of ours is outstanding, and nothing of theirs can be cancelled
        field = command.field
        verification = message.context.abstract_syntax == negotiation.VERIFICATION
        if field != (dimse.C_ECHO_RQ if verification else dimse.N_ACTION_RQ):
            self._respond(message, 0x0211)
        elif message.repeated:
            self._respond(message, 0x0210)
        elif command.fault:
            self._respond(message, command.fault)
        elif verification:
            self._respond(message, 0x0000)
        else:
            self._act(message, arrived)

    def _act(self, message: Message, arrived: datetime) -> None:
        command = message.command
        request = ActionRequest(
            command.message_id, command.sop_class, command.instance, command.action_type, message.data
        )
        if message.digest:
            request.truncated_length, request.truncated_digest = message.length, message.digest
        event = ActionEvent(self, message.context, request, arrived)
        try:
            answer = self._owner.handler(event)
        except Exception:  # a defect of the handler must not take the listener with it
            self._defect(message)
            return
        if asyncio.isfuture(answer):
            self._busy = True
            answer.add_done_callback(lambda future: self._answered(message, future))
        else:
            self._answer(message, answer)

    def _answered(self, message: Message, future: "asyncio.Future[Any]") -> None:
        self._busy = False
        try:
            answer = future.result()
        except (Exception, asyncio.CancelledError):
            self._defect(message)
        else:
            self._answer(message, answer)
        self._go_on()

    def _answer(self, message: Message, answer: Any) -> None:
        try:
            self._respond(message, *answer)
        except Exception:  # not the pair that it should be, or a data set that cannot be encoded
            self._defect(message)

    def _defect(self, message: Message) -> None:
        log.exception("internal-error", association=self.id)
        self._respond(message, PROCESSING_FAILURE)

    def _respond(self, message: Message, status: Any, dataset: Any = None) -> None:
        """DT-1, or AR-7 where a release waits; nothing where the association is gone: the event stays all the same."""
        if self.state not in _ANSWERING:
            return
        if isinstance(status, Dataset):
            status = _status_of(status)
        data = _encoded(dataset, message.context) if dataset is not None else b""
        command = dimse.response(message.command, status, has_data=bool(data))
        number = message.context.context_id
        out = pdu.p_data(number, pdu.COMMAND, command, self._max_length)
        if data:
            out += pdu.p_data(number, 0, data, self._max_length)
        self._event(Event.P_DATA_REQUEST)
        if not message.repeated:
            self._outstanding.discard(message.command.message_id)
        self._transport.write(out)
        self.requests += 1
        receipt = getattr(status, "receipt", None)
        if receipt is not None:
            self._written.append(receipt)

    # --- ends ----------------------------------------------------------------------------------------------------------

    def _event(self, event: Event) -> None:
        self.state = TABLE[event][self.state].state

    def _invalid(self, reason: int, what: str) -> None:
        """E19."""
        if self.state is State.STA1:
            return
        self._event(Event.INVALID_PDU)
        self._abort(pdu.SERVICE_PROVIDER, reason, what)

    def _abort(self, source: int, reason: int, what: str) -> None:
        self._why = ("aborted", f"{source}-{reason}")
        self._owner.aborted(self, what, source, reason)
        self._forget()
        self._close_after(pdu.abort(source, reason))

    def _close_after(self, last: bytes) -> None:
        """Send the last PDU and wait, for a while, until the peer closes (Sta13)."""
        self._transport.write(last)
        if self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()
        self.deadline = time.monotonic() + self._settings.artim
        self._owner.watch(self)

    def _watch(self) -> None:
        """Set the deadline that what was begun now has."""
        settings = self._settings
        if self.state is State.STA13:
            return
        deadline = NEVER
        if self.state is State.STA2:
            deadline = self.opened + settings.first_pdu_deadline
        elif self._write_paused:
            deadline = self._stalled + settings.pdu_deadline  # answers that nobody reads
        elif not self._read_paused and self.state in _ANSWERING:
            if self._buffer:
                deadline = self._pdu_began + settings.pdu_deadline
            if self._assembler is not None and self._assembler.open:
                deadline = min(deadline, self._message_began + settings.message_deadline)
        if deadline != self.deadline:
            self.deadline = deadline
            self._owner.watch(self)

    def overdue(self) -> None:
        """The deadline has passed: E18, or a PDU or message that does not end."""
        if self.state in {State.STA2, State.STA13}:
            if self.state is State.STA2:
                self._why = ("closed", "no-associate-request")
            self._event(Event.ARTIM_EXPIRED)
            self._transport.abort()
        else:
            self._invalid(pdu.NOT_SPECIFIED, "a PDU or message that does not end")

    def end(self) -> None:
        """A-ABORT, service user: the server stops."""
        if self.state in {State.STA3, State.STA6, State.STA8}:
            self._event(Event.ABORT_REQUEST)
            self._why = ("aborted", "shutdown")
            self._transport.write(pdu.abort(pdu.SERVICE_USER, pdu.NOT_SPECIFIED))
        self.close()

    def close(self, why: str = "") -> None:
        """Close without a PDU; `why` says so in logs and counts."""
        if why:
            self._why = ("closed", why)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()


def _tune(sock: Any) -> None:
    """TCP_NODELAY for our answers; keepalive, since an association may be silent for hours."""
    if sock is None:
        return
    options: Mapping[str, int] = {"TCP_NODELAY": 1, "TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 60, "TCP_KEEPCNT": 3}
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in options.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    except OSError:
        return  # the peer is gone already


def _status_of(dataset: Dataset) -> Status:
    """A status data set, as pynetdicom's handlers may return it."""
    status = Status(int(dataset.Status))
    status.comment = str(dataset.get("ErrorComment", ""))
    status.error_id = int(dataset.ErrorID) if "ErrorID" in dataset else None
    for name, keyword in (("attributes", "AttributeIdentifierList"), ("offending", "OffendingElement")):
        value = dataset.get(keyword)
        if value is not None:
            many = value if isinstance(value, (list, tuple)) or hasattr(value, "__iter__") else [value]
            setattr(status, name, tuple(int(tag) for tag in many))
    return status


def _encoded(dataset: Any, context: Context) -> bytes:
    """An Action Reply in its context's transfer syntax."""
    syntax = context.transfer_syntax
    implicit, little = syntax == "1.2.840.10008.1.2", syntax != "1.2.840.10008.1.2.2"
    raw = (
        encode(dataset, implicit, little) or b""
        if isinstance(dataset, Dataset)
        else dataset.encode(implicit=implicit, little=little)
    )
    if syntax == "1.2.840.10008.1.2.1.99" and raw:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        raw = packer.compress(raw) + packer.flush()
        raw += b"\0" * (len(raw) % 2)
    return bytes(raw)
