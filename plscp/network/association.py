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
        self._message_began = 0.0
        self._assembler: Assembler | None = None
        self._max_length = 0
        self._waiting: deque[tuple[Message, datetime]] = deque()
        self._busy = False
        self._receipts: list[object] = []
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
        self._waiting.clear()
        self._receipts.clear()
        self._owner.disconnected(self, *self._why)

    def pause_writing(self) -> None:
        """The peer does not read its answers: take no further requests until it does."""
        self._write_paused = True
        self._watch()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._write_paused = False
        self._watch()
        self._work()

    def eof_received(self) -> bool:
        """The peer closed its side: so do we."""
        return False

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer, cut anywhere."""
        if QUICKACK is not None and self._socket is not None:
            # The kernel forgets it: without it an SCU with Nagle's algorithm waits 40 ms for each ACK (see decisions).
            try:
                self._socket.setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)
            except OSError:
                self._socket = None
        if self._buffer:
            data = self._buffer + data
        try:
            used = self._pdus(data)
        except Violation as violation:
            self._invalid(pdu.INVALID_PARAMETER, str(violation))
            return
        self._buffer = data[used:] if used < len(data) else b""
        self._watch()

    # --- PDUs ----------------------------------------------------------------------------------------------------------

    def _pdus(self, data: bytes) -> int:
        """Work off every complete PDU; returns how many bytes they took."""
        position, end = 0, len(data)
        while position < end:
            state = self.state
            if state is State.STA13 or state is State.STA1:
                return self._discard(data, position)
            if self._receipts:
                self._hear(data[position])
            if end - position < 6:
                break
            kind, length = pdu.HEADER.unpack_from(data, position)
            if not self._plausible(kind, length):
                return end
            stop = position + 6 + length
            if stop > end:
                break
            if kind == pdu.P_DATA_TF and state is State.STA6:
                self._p_data(data, position + 6, stop)
            else:
                self._other(kind, data[position + 6 : stop])
            position = stop
        return position

    def _discard(self, data: bytes, position: int) -> int:
        """Sta13: nothing is wanted any more but the end; an A-ABORT ends it at once."""
        if self.state is State.STA13 and len(data) - position >= 6 and data[position] == pdu.ABORT:
            self._event(Event.ABORT)
            self._transport.close()
        return len(data)

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
            self._waiting.clear()
            self._receipts.clear()
            self._transport.close()

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
        done = assembler.feed(data, position, stop)
        if assembler.open and (done or not was_open):
            self._message_began = time.monotonic()
        if done:
            now = datetime.now(UTC)
            for message in done:
                self._waiting.append((message, now))
            self._work()

    def _work(self) -> None:
        """Work off what waits, in order, one at a time; then a release that waits."""
        while self._waiting and not self._busy and not self._write_paused and self.state in {State.STA6, State.STA8}:
            message, arrived = self._waiting.popleft()
            self._handle(message, arrived)
        if self.state is State.STA8 and not self._waiting and not self._busy:
            self._event(Event.RELEASE_RESPONSE)
            self._why = ("released", "released")
            self._close_after(pdu.RELEASE_RP_PDU)
        full = len(self._waiting) >= self._settings.waiting or self._write_paused
        if full != self._read_paused and not self._transport.is_closing():
            self._read_paused = full
            if full:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _handle(self, message: Message, arrived: datetime) -> None:
        command = message.command
        field = command.field
        if field & dimse.RESPONSE or field == dimse.C_CANCEL_RQ:
            return  # nothing of ours is outstanding, and nothing of theirs can be cancelled
        verification = message.context.abstract_syntax == negotiation.VERIFICATION
        if command.fault:
            self._respond(message, command.fault)
        elif field == dimse.C_ECHO_RQ and verification:
            self._respond(message, 0x0000)
        elif field != dimse.N_ACTION_RQ or verification:
            self._respond(message, 0x0211)
        elif any(waiting.command.message_id == command.message_id for waiting, _ in self._waiting):
            self._respond(message, 0x0210)
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
            log.exception("internal-error", association=self.id)
            self._respond(message, 0x0110)
            return
        if asyncio.isfuture(answer):
            self._busy = True
            answer.add_done_callback(lambda future: self._answered(message, future))
        else:
            self._respond(message, *answer)

    def _answered(self, message: Message, future: "asyncio.Future[Any]") -> None:
        self._busy = False
        try:
            status, dataset = future.result()
        except Exception:
            log.exception("internal-error", association=self.id)
            status, dataset = 0x0110, None
        self._respond(message, status, dataset)
        self._work()

    def _respond(self, message: Message, status: Any, dataset: Any = None) -> None:
        """DT-1, or AR-7 where a release waits; nothing where the association is gone: the event stays all the same."""
        if self.state not in {State.STA6, State.STA8}:
            return
        self._event(Event.P_DATA_REQUEST)
        if isinstance(status, Dataset):
            status = _status_of(status)
        data = _encoded(dataset, message.context) if dataset is not None else b""
        command = dimse.response(message.command, status, has_data=bool(data))
        number = message.context.context_id
        out = pdu.p_data(number, pdu.COMMAND, command, self._max_length)
        if data:
            out += pdu.p_data(number, 0, data, self._max_length)
        self._transport.write(out)
        self.requests += 1
        receipt = getattr(status, "receipt", None)
        if receipt is not None:
            self._receipts.append(receipt)

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
        self._waiting.clear()
        self._receipts.clear()
        self._close_after(pdu.abort(source, reason))

    def _close_after(self, last: bytes) -> None:
        """Send the last PDU and wait, for a while, until the peer closes (Sta13)."""
        self._transport.write(last)
        self._buffer = b""
        if self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()
        self.deadline = time.monotonic() + self._settings.artim
        self._owner.watch(self)

    def _watch(self) -> None:
        """Set the deadline that what was begun now has."""
        settings = self._settings
        deadline = NEVER
        if self.state is State.STA2:
            deadline = self.opened + settings.first_pdu_deadline
        elif self.state is State.STA13:
            return
        elif self._buffer or self._write_paused:
            # A PDU that was begun, or answers that nobody reads: the clock runs from the first byte, not from the last.
            deadline = self.deadline if self.deadline != NEVER else time.monotonic() + settings.pdu_deadline
        elif self._assembler is not None and self._assembler.open and not self._read_paused:
            deadline = self._message_began + settings.message_deadline
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

    def close(self) -> None:
        """Close without a PDU."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()

    @property
    def idle(self) -> bool:
        """Whether nothing is in hand."""
        return not (self._busy or self._waiting or (self._assembler is not None and self._assembler.open))


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
