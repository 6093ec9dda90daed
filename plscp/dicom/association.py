"""An association and its connection: bytes cut into PDUs, the state machine of PS3.8 with its clocks, and the answers of the handler."""

import asyncio
import itertools
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pydicom.dataset import Dataset

from plscp.dicom import dimse, fairness, negotiation, sockets, upper_layer
from plscp.dicom.admission import PeerCertificate
from plscp.dicom.answer import PendingResponse
from plscp.dicom.dimse import ActionEvent, Assembler, Message, Peer, Violation, status_of
from plscp.dicom.fairness import AT_ONCE, PATIENCE, REST, ConnectionBudget
from plscp.dicom.negotiation import Rejection
from plscp.dicom.upper_layer import ANSWERING, ENDS, EVENT_OF, TABLE, Event, State, event_of, fault
from plscp.logs import log

if TYPE_CHECKING:
    from plscp.dicom.acceptor import Acceptor

NEVER: Final = float("inf")
_numbers = itertools.count(1)
_PROCESS: Final = secrets.token_hex(4)
_Receipt = tuple[object, bool]
"""What the store is told, and whether the connection's end was certainly not there yet when the answer was written."""


class Association(asyncio.Protocol):
    """A connection, and the association on it.

    Attributes:
        id: opaque, for logs.
        requestor, acceptor: the two sides, as pynetdicom's handlers know them.
        deadline: monotonic seconds after which the acceptor calls `overdue`.
        established: when the association was accepted, UTC, or None.
        requests: how many were answered.
        secured: what the log says of TLS: version, subject and names of the client's certificate; empty without TLS.
        certificate: the client's certificate; None without TLS, or where none is asked for.
        refused: whether a setting refused the peer, which was said and kept then.
        refused_certificate: what the log says of a client certificate that was refused, or why it can say nothing; empty for others.
        end_is_there: whether the peer may have ended the connection already, though that was not read yet.
    """

    def __init__(self, owner: "Acceptor") -> None:
        self._owner = owner
        self._settings = owner.settings
        self.id = f"{_PROCESS}-{next(_numbers):x}"
        self.requestor = Peer("")
        self.acceptor = Peer(owner.settings.ae_title or "")
        self.state = State.STA1
        self.deadline = NEVER
        self.opened = time.monotonic()
        self.established: datetime | None = None
        self.requests = 0
        self.secured: Mapping[str, Any] = {}
        self.certificate: PeerCertificate | None = None
        self.refused = False
        self.refused_certificate: Mapping[str, str] = {}
        self._transport: Any = None
        self._socket: Any = None
        self.end_is_there: Callable[[], bool] = lambda: sockets.ended(self._socket)
        self._buffer = b""
        self._skip = 0  # bytes still to come of a PDU that is not taken
        self._patience = PATIENCE
        self._pdu_began = self._message_began = self._stalled = 0.0
        self._write_paused = self._read_paused = False
        self._full = False  # as many requests wait as may, or answers that nobody reads
        self._resting = False
        self._held = False  # rests, and nothing is read: what comes next is more than an end
        self._looking = False  # a timer is set for the end of the rest
        self._rested_since = 0.0
        self._unread = 0.0  # seconds of rest before the association
        self._closes = False  # without a release: so the device is said to do
        self._budget: ConnectionBudget
        self._why = ("lost", "transport")
        self._assembler = Assembler({}, 0, 0)
        self._max_length = 0
        self._waiting: deque[tuple[Message, datetime]] = deque()
        self._outstanding: set[int] = set()
        self._busy = False
        self._written: list[_Receipt] = []  # of answers since the last read
        self._receipts: list[_Receipt] = []  # of those before it

    # --- transport -----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """E5."""
        self._transport = transport
        peer = transport.get_extra_info("peername") or ("", 0)
        self.requestor = Peer("", str(peer[0]), int(peer[1]))
        self._budget = ConnectionBudget(self._owner.accounts, self._owner.payer(self.requestor.address))
        self._socket = transport.get_extra_info("socket")
        sockets.tune(self._socket)
        self._event(Event.TRANSPORT_INDICATION)
        self._owner.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """E17; also after a close of our own."""
        del exc
        if self.state is not State.STA1:
            self._event(Event.TRANSPORT_CLOSED)
        self._forget()
        self._budget.enter()
        self._owner.disconnected(self, *self._why)

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
        self.ended()
        self._transport.abort()
        return False

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer, cut anywhere."""
        self.acknowledge()
        self.reading()
        if self.state is State.STA13:
            self.charge(fairness.READ_SECONDS + fairness.READ_BYTE_SECONDS * len(data))
        self.take(data)

    def acknowledge(self) -> None:
        """Acknowledge what was read at once."""
        if self._socket is not None and not sockets.acknowledge(self._socket):
            self._socket = None

    def take(self, data: bytes) -> None:
        """Work off these bytes, after those that wait."""
        old = len(self._buffer)
        self._take(self._buffer + data if old else data, old)

    # --- PDUs ----------------------------------------------------------------------------------------------------------

    def _take(self, data: bytes, old: int) -> None:
        """Work off what can be, keep the rest."""
        began = time.monotonic()
        used = self._pdus(data, old, began + AT_ONCE)
        now = time.monotonic()
        if used or not old:
            self._pdu_began = now
        self._buffer = data[used:] if used < len(data) else b""
        self.charge(now - began)
        if self.established is not None and not self._budget.associated:  # the proposal was its address's affair
            self._budget.associate(self.requestor.address, self.requestor.ae_title)
        self._watch()

    def _pdus(self, data: bytes, old: int, until: float) -> int:
        """Work off every complete PDU; returns how many bytes they took.

        Args:
            old: how many of the bytes were there already when the last ones came.
            until: when it is the others' turn, monotonic.
        """
        position, end = 0, len(data)
        while position < end:
            if position and time.monotonic() > until:
                self._rest(0.0)
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
            if position >= old:
                self._first_byte(data[position])
            if self._resting and state in ANSWERING and data[position] not in ENDS:
                self._held = True
                self._read_or_pause()
                break
            if end - position < 6:
                break
            kind, length = upper_layer.HEADER.unpack_from(data, position)
            if not self._wanted(kind, length):
                self._skip = length
                position += 6
                continue
            stop = position + 6 + length
            if stop > end:
                break
            if kind == upper_layer.P_DATA_TF and state is State.STA6:
                self._p_data(data, position + 6, stop)
            else:
                self._other(kind, data[position + 6 : stop])
            position = stop
        return position

    def _wanted(self, kind: int, length: int) -> bool:
        """Whether what follows this header is read: else it is passed over.

        In Sta13 nothing is: AA-6 ignores, AA-2 closes, AA-7 says A-ABORT; then, or after enough of it, bytes are not looked at any more.
        """
        if self.state is State.STA13:
            self._patience -= 1
            event, reason = event_of(kind, length)
            action = TABLE[event][self.state].action
            if action == "AA-2":
                self._event(event)
                self._transport.abort()
            elif action == "AA-7":
                self._patience = 0
                self._transport.write(upper_layer.abort(upper_layer.SERVICE_PROVIDER, reason))
            return False
        found = fault(kind, length, self.state, self._settings)
        if found is not None:
            self._invalid(*found)
        return found is None

    def _other(self, kind: int, body: bytes) -> None:
        if kind == upper_layer.ASSOCIATE_RQ:
            self._associate(body)
            return
        self._event(EVENT_OF[kind])
        if kind == upper_layer.RELEASE_RQ:  # AR-2: the release is answered when all that came before it is
            if self._assembler.open:
                self._invalid(upper_layer.INVALID_PARAMETER, "a release in the middle of a message")
            else:
                self._work()
        elif kind == upper_layer.ABORT:
            self._why = ("aborted", "by-peer")
            self._forget()
            self._transport.abort()  # nothing that is still to be sent is wanted

    # --- fairness ------------------------------------------------------------------------------------------------------

    def charge(self, seconds: float) -> None:
        """So much time went by for this connection; who took more than its share for nothing rests."""
        self._rest_if(self._budget.charge(seconds))

    def _rest_if(self, rest: float) -> None:
        """Rest for so many seconds, if any."""
        if rest > 0.0 and not self._resting and self.state is not State.STA1:
            self._owner.slowed(self, "futile-work")
            if self.state is State.STA2:
                self.wait_for_turn()
            else:
                self._rest(rest)

    def wait_for_turn(self) -> None:
        """Read nothing until it is this connection's turn among those of its address."""
        self._begin_rest()
        self._owner.admission.wait(self.requestor.address, self.read_on)

    def read_on(self) -> None:
        """It is this connection's turn."""
        self._budget.allow_more()
        self._end_rest()

    def _rest(self, seconds: float) -> None:
        """Take nothing but an end for so long."""
        if not self._resting and self.state is not State.STA1:
            self._begin_rest()
            self._look_after(seconds)

    def _look_after(self, seconds: float) -> None:
        if not self._looking:
            self._looking = True
            self._owner.later(min(seconds, REST), self._rested)

    def _rested(self) -> None:
        """Go on, unless the debt is still too high."""
        self._looking = False
        if not self._resting or self.state is State.STA1:
            return
        if self._held and self.state in ANSWERING and not self._closes and sockets.gone(self._socket):
            self._transport.abort()  # it waits for no answer, and its end would not be read for long
            return
        rest = self._budget.rest()
        if rest <= 0.0 or time.monotonic() - self._rested_since >= fairness.MOST_REST_SECONDS:
            self._end_rest()
        elif self.state is State.STA2:
            self._owner.admission.wait(self.requestor.address, self.read_on)
        else:
            self._look_after(rest)

    def _begin_rest(self) -> None:
        self._resting = True
        self._rested_since = time.monotonic()
        if self.state not in ANSWERING or self._assembler.open or (self._buffer and self._buffer[0] not in ENDS):
            self._held = True
            self._read_or_pause()
        self._watch()

    def _end_rest(self) -> None:
        """Read on."""
        self._stop_resting()
        if self.state is not State.STA1:
            self._read_or_pause()
            self._go_on()

    def _stop_resting(self) -> None:
        """The rest is over; what was begun before it has so much more time."""
        if not self._resting:
            return
        self._resting = self._held = False
        now = time.monotonic()
        if self.state is State.STA2:
            self._unread += now - self._rested_since
        else:
            self._message_began = min(self._message_began + now - self._rested_since, now)

    # --- what is in hand, and which answers arrived --------------------------------------------------------------------

    def reading(self) -> None:
        """Only bytes that are read later than an answer was written can prove that it arrived."""
        if self._written:
            self._receipts += self._written
            self._written.clear()

    @property
    def in_hand(self) -> bool:
        """Whether a request was begun, waits or is being handled."""
        return self._busy or bool(self._waiting) or self._assembler.open

    def _first_byte(self, first: int) -> None:
        """The first byte of a further message or of an A-RELEASE-RQ proves that the answers before it arrived."""
        if not self._receipts:
            return
        begins = first == upper_layer.P_DATA_TF and not self._assembler.open
        if self.state is State.STA6 and (begins or first == upper_layer.RELEASE_RQ):
            receipts, self._receipts = self._receipts, []
            self._owner.on_delivery_confirmed([receipt for receipt, _ in receipts])

    def ended(self) -> None:
        """Of a device that closes without a release this proves what was written before its end was there (contract section 1)."""
        if not self._closes or self.state is not State.STA6 or self._buffer or self.in_hand:
            return
        if self._transport.get_write_buffer_size() or not sockets.all_arrived(self._socket):
            return
        receipts = [receipt for receipt, open_then in self._receipts + self._written if open_then]
        if receipts:
            self._owner.on_delivery_confirmed(receipts)

    def _forget(self) -> None:
        """Nothing that waits is wanted any more."""
        self._waiting.clear()
        self._written.clear()
        self._receipts.clear()

    # --- association ---------------------------------------------------------------------------------------------------

    def _associate(self, body: bytes) -> None:
        """AE-6 and what the upper layer's user says to it."""
        settings = self._settings
        try:
            proposal, identity = negotiation.read(body, settings.presentation_contexts)
            if not isinstance(proposal, Rejection):
                self.requestor.ae_title, self.acceptor.ae_title = proposal.calling_ae, proposal.called_ae
                if (refusal := self._owner.refusal(self, identity)) is not None:
                    proposal = negotiation.REJECTIONS[refusal.rule]
            if isinstance(proposal, Rejection):
                self._event(Event.ASSOCIATE_RQ)
                self._event(Event.REJECT)
                self._why = ("rejected", proposal.label)
                self._close_after(upper_layer.reject(proposal.result, proposal.source, proposal.reason))
                return
            confirmed = identity is not None and identity.response and self._owner.confirms(proposal.calling_ae)
            answer, contexts = negotiation.accept(proposal, settings.max_pdu, confirmed)
        except negotiation.Unreadable as error:  # still in Sta2: no A-ASSOCIATE-RQ was received but an invalid PDU
            self._invalid(upper_layer.INVALID_PARAMETER, str(error) or "an A-ASSOCIATE-RQ that cannot be read")
            return
        self._event(Event.ASSOCIATE_RQ)
        self._event(Event.ACCEPT)
        self._max_length = proposal.max_length
        self._assembler = Assembler(contexts, settings.command_set, settings.data_set)
        self._closes = self._owner.closes_without_release(proposal.calling_ae)
        self.established = datetime.now(UTC)
        self._transport.write(answer)
        self._owner.accepted(self, contexts)

    # --- messages ------------------------------------------------------------------------------------------------------

    def _p_data(self, data: bytes, position: int, stop: int) -> None:
        """DT-2."""
        assembler = self._assembler
        was_open = assembler.open
        try:
            done = assembler.feed(data, position, stop)
        except Violation as violation:
            self._invalid(upper_layer.INVALID_PARAMETER, str(violation))
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
        while self._waiting and not self._busy and not self._write_paused and self.state in ANSWERING:
            message, arrived = self._waiting.popleft()
            self._handle(message, arrived)
        if self.state is State.STA8 and not self._waiting and not self._busy:
            self._event(Event.RELEASE_RESPONSE)
            self._why = ("released", "released")
            self._close_after(upper_layer.RELEASE_RP_PDU)
        if self.state in ANSWERING:
            if self._owner.ending and not self.in_hand:
                self._owner.shut(self)
            else:
                self._read_or_pause()

    def _read_or_pause(self) -> None:
        was_full, many = self._full, len(self._waiting) >= self._settings.waiting_requests
        self._full = self.state in ANSWERING and (many or self._write_paused)
        if was_full and not self._full:
            self._message_began = time.monotonic()  # that pause was ours: the clock starts again
        elif many and self._full and not was_full:
            self._owner.slowed(self, "waiting-requests")
        pause = self._full or self._held
        if pause == self._read_paused or self._transport.is_closing():
            return
        self._read_paused = pause
        if pause:
            self._transport.pause_reading()
            return
        self._pdu_began = time.monotonic()
        self._transport.resume_reading()

    def _go_on(self) -> None:
        """After an answer that was waited for: work off what waits, and what was read but not looked at yet."""
        self._work()
        while self._buffer and not self._read_paused and self.state not in {State.STA1, State.STA13}:
            before = len(self._buffer)
            self._take(self._buffer, before)
            if len(self._buffer) == before:
                return
        self._watch()

    def _handle(self, message: Message, arrived: datetime) -> None:
        command = message.command
        if not command.asks:
            return  # nothing of ours is outstanding, and nothing of theirs can be cancelled
        verification = message.context.abstract_syntax == negotiation.VERIFICATION
        if command.field != (dimse.C_ECHO_RQ if verification else dimse.N_ACTION_RQ):
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
        try:
            answer = self._owner.handler(ActionEvent(self, message.context, message.request(), arrived))
        except Exception:  # a defect of the handler must not take the listener with it
            self._defect(message)
            return
        if isinstance(answer, PendingResponse):
            self._busy = True
            answer.then(lambda given: self._answered(message, given))
        elif isinstance(answer, asyncio.Future):
            self._busy = True
            answer.add_done_callback(lambda future: self._answered(message, future))
        else:
            self._answer(message, answer)

    def _answered(self, message: Message, answer: Any) -> None:
        self._busy = False
        self._answer(message, answer)
        self._go_on()

    def _answer(self, message: Message, answer: Any) -> None:
        try:
            self._respond(message, *(answer.result() if isinstance(answer, asyncio.Future) else answer))
        except (Exception, asyncio.CancelledError):  # failed, not the pair that it should be, or cannot be encoded
            self._defect(message)

    def _defect(self, message: Message) -> None:
        log.exception("internal-error", where="association", association=self.id, message_id=message.command.message_id)
        self._respond(message, 0x0110)

    def _respond(self, message: Message, status: Any, dataset: Any = None) -> None:
        """DT-1, or AR-7 where a release waits; nothing where the association is gone: the event stays all the same."""
        if self.state not in ANSWERING:
            return
        if isinstance(status, Dataset):
            status = status_of(status)
        out = message.answered(status, dataset, self._max_length)
        self._event(Event.P_DATA_REQUEST)
        if not message.repeated:
            self._outstanding.discard(message.command.message_id)
        open_then = self._closes and not self.end_is_there()
        self._transport.write(out)
        self.requests += 1
        if message.command.field == dimse.N_ACTION_RQ:
            if status == 0x0000 or status & 0xF000 == 0xB000:
                self._budget.made_up_for()
                self._stop_resting()
            else:
                cost = fairness.REFUSAL_SECONDS + fairness.REFUSED_BYTE_SECONDS * message.length
                self._rest_if(self._budget.refused(message.length, cost))
        if (receipt := getattr(status, "receipt", None)) is not None:
            self._written.append((receipt, open_then))

    # --- ends ----------------------------------------------------------------------------------------------------------

    def _event(self, event: Event) -> None:
        self.state = TABLE[event][self.state].state

    def _invalid(self, reason: int, what: str, event: Event = Event.INVALID_PDU) -> None:
        """AA-1 in Sta2, without a reason (PS3.8 9.3.8); else AA-8."""
        if self.state is State.STA1:
            return
        source = upper_layer.SERVICE_PROVIDER
        if self.state is State.STA2:
            source, reason = upper_layer.SERVICE_USER, upper_layer.NOT_SPECIFIED
        self._event(event)
        self._why = ("aborted", f"{source}-{reason}")
        self._owner.aborted(self, what, source, reason)
        self._forget()
        self._close_after(upper_layer.abort(source, reason))

    def _close_after(self, last: bytes) -> None:
        """Send the last PDU and wait, for a while, until the peer closes (Sta13)."""
        self._transport.write(last)
        self._read_or_pause()
        self.deadline = time.monotonic() + self._settings.artim
        self._owner.watch(self)

    def _watch(self) -> None:
        """Set the deadline that what was begun now has."""
        settings = self._settings
        if self.state is State.STA13:
            return
        deadline = NEVER
        if self.state is State.STA2:
            if not self._resting:
                deadline = self.opened + self._unread + settings.first_pdu_deadline
        elif self._write_paused:
            deadline = self._stalled + settings.pdu_deadline  # answers that nobody reads
        elif self.state in ANSWERING:
            if self._buffer and not self._read_paused:
                deadline = self._pdu_began + settings.pdu_deadline
            if self._assembler.open and not self._full and not self._resting:
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
            if self._why[0] == "aborted":
                sockets.drop_unsent(self._socket)  # it neither closed nor, perhaps, read
            self._transport.abort()
        else:
            what = "a PDU that does not end"
            if self._write_paused:
                what = "answers that nobody reads"
            elif self._assembler.open and self.deadline >= self._message_began + self._settings.message_deadline:
                what = "a message that does not end"
            self._invalid(upper_layer.NOT_SPECIFIED, what)
            self._take(self._buffer, len(self._buffer))  # what was begun may be an end of the peer's

    def end(self) -> None:
        """A-ABORT, service user: the server stops."""
        if self.state in {State.STA3, State.STA6, State.STA8}:
            self._event(Event.ABORT_REQUEST)
            self._why = ("aborted", "shutdown")
            self._transport.write(upper_layer.abort(upper_layer.SERVICE_USER, upper_layer.NOT_SPECIFIED))
        self.close()

    def close(self, why: str = "") -> None:
        """Close without a PDU; `why` says so in logs and counts."""
        if why:
            self._why = ("closed", why)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
