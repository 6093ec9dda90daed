"""An association on its connection: transport, clocks and fairness around the upper layer, and the answers of the handler."""

import itertools
import secrets
import time
from collections import deque
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from plscp.dicom import dimse, fairness, negotiation, pdu, sockets
from plscp.dicom.answer import PendingResponse
from plscp.dicom.dimse import ActionEvent, Message, Peer
from plscp.dicom.fairness import AT_ONCE_SECONDS, LOOK_AGAIN_SECONDS, ConnectionBudget
from plscp.dicom.negotiation import Rejection
from plscp.dicom.tls import PeerConnection
from plscp.dicom.upper_layer import (
    ANSWERING,
    ENDS,
    AbortIndication,
    AssociateIndication,
    DataIndication,
    Indication,
    ProviderAbortIndication,
    ReleaseIndication,
    State,
    UpperLayer,
)
from plscp.logs import log

if TYPE_CHECKING:
    from plscp.dicom.acceptor import Acceptor

NEVER: Final = float("inf")
_numbers = itertools.count(1)
_PROCESS: Final = secrets.token_hex(4)
_LOST: Final = ("lost", "transport")


class Association(PeerConnection):
    """A connection, and the association on it."""

    def __init__(self, owner: "Acceptor") -> None:
        super().__init__()
        self._owner = owner
        self._settings = owner.settings
        self.id = f"{_PROCESS}-{next(_numbers):x}"  # for logs
        self.requestor = Peer("")
        self._layer = UpperLayer(owner.settings.bounds)
        self.deadline = NEVER  # monotonic seconds after which the acceptor calls `overdue`
        self._late = ""  # what is overdue then
        self.opened = time.monotonic()
        self.established: datetime | None = None  # UTC
        self.requests = 0  # that were answered
        self.refused = False  # by a setting, which was said and kept then
        self._pdu_began = self._message_began = self._stalled = 0.0
        self._write_paused = self._read_paused = False
        self._full = False  # as many requests wait as may, or answers that nobody reads
        self._resting = False
        self._held = False  # rests, and nothing is read: what comes next is more than an end
        self._looking = False  # a timer is set for the end of the rest
        self._rested_since = 0.0
        self._closes = False  # without a release: so the device is said to do
        self._budget: ConnectionBudget
        self._why = _LOST
        self._waiting: deque[ActionEvent] = deque()
        self._busy = False
        # Receipts of answers of which nobody knows yet that they arrived; whether the connection's end was certainly not there then.
        self._receipts: list[tuple[object, bool]] = []
        self._answered_before = 0  # the last read: so many of them

    @property
    def state(self) -> State:
        """Of PS3.8."""
        return self._layer.state

    def who(self) -> dict[str, str]:
        """What the log names it by."""
        return {"association": self.id, "calling_ae": self.requestor.ae_title, "address": self.requestor.address}

    # --- transport -----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """E5."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername") or ("", 0)
        self.requestor.address, self.requestor.port = str(peer[0]), int(peer[1])
        self._budget = ConnectionBudget(self._owner.accounts, self._owner.payer(self.requestor.address))
        self._owner.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """E17; also after a close of our own."""
        del exc
        self._layer.lose()
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

    # --- what was received ---------------------------------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """Work off these bytes, after those that wait; what has to wait is kept."""
        layer = self._layer
        layer.receive(data)
        began = now = time.monotonic()
        while not ((self._answered_before or self._resting or self._read_paused) and self._must_wait()):
            indication = layer.next()
            if indication is None:
                break
            self._heed(indication)
            now = time.monotonic()
            if now > began + AT_ONCE_SECONDS and layer.unread:  # it is the others' turn
                self.rest(0.0)
        if layer.upcoming_is_new:
            self._pdu_began = now
        self.charge(now - began)
        if self.established is not None and not self._budget.associated:  # the proposal was its address's affair
            self._budget.associate(self.requestor.address, self.requestor.ae_title)
        self._watch()

    def _must_wait(self) -> bool:
        """Whether the next PDU is left for later; if it is taken, its first byte may prove that answers arrived."""
        layer = self._layer
        kind = layer.upcoming
        if kind is None or (self._read_paused and layer.state is not State.STA13):
            return True
        if self._answered_before and layer.upcoming_is_new:
            self._first_byte(kind)
        if self._resting and layer.state in ANSWERING and kind not in ENDS:
            self._held = True
            self._read_or_pause()
            return True
        return False

    def _heed(self, found: Indication) -> None:
        if isinstance(found, DataIndication):
            if found.begins:
                self._message_began = time.monotonic()
            if found.messages:
                now = datetime.now(UTC)
                for message in found.messages:
                    self._waiting.append(ActionEvent(self, message, now))
                self._work()
        elif isinstance(found, AssociateIndication):
            self._associate(found)
        elif isinstance(found, ReleaseIndication):
            self._work()
        elif isinstance(found, AbortIndication):
            if self._why is _LOST:
                self._why = ("aborted", "by-peer")
            self._forget()
            self._transport.abort()  # nothing that is still to be sent is wanted
        elif isinstance(found, ProviderAbortIndication):
            self._owner.aborted(self, found.what, found.source, found.reason)
            self._forget()
            self._close_after(found.answer, "aborted", f"{found.source}-{found.reason}")
        elif found.answer:
            self._transport.write(found.answer)

    def _associate(self, asked: AssociateIndication) -> None:
        """What the upper layer's user says to a proposal."""
        proposal, identity = asked.proposal, asked.identity
        if not isinstance(proposal, Rejection):
            self.requestor.ae_title = proposal.calling_ae
            if (refusal := self._owner.refusal(self, proposal.called_ae, identity)) is not None:
                proposal = negotiation.REJECTIONS[refusal.rule]
        if isinstance(proposal, Rejection):
            self._close_after(self._layer.reject(proposal), "rejected", proposal.label)
            return
        confirmed = identity is not None and identity.response and self._owner.confirms(proposal.calling_ae)
        steps = self._settings.procedure_steps
        answer, contexts = self._layer.accept(proposal, confirmed=confirmed, steps=steps)
        self._closes = self._owner.closes_without_release(proposal.calling_ae)
        self.established = datetime.now(UTC)
        self._transport.write(answer)
        self._owner.accepted(self, contexts)

    # --- fairness ------------------------------------------------------------------------------------------------------

    def charge(self, seconds: float) -> None:
        """So much time went by for this connection; who took more than its share for nothing rests."""
        self._rest_if(self._budget.charge(seconds))

    def _rest_if(self, rest: float) -> None:
        if rest > 0.0 and not self._resting and self.state is not State.STA1:
            self._owner.slowed(self, "futile-work")
            self.rest(rest)

    def rest(self, seconds: float) -> None:
        """Take nothing but an end for so long; before the association, until it is this connection's turn among those of its address."""
        if self._resting or self.state is State.STA1:
            return
        self._resting = True
        self._rested_since = time.monotonic()
        if self.state not in ANSWERING or self._layer.message_is_open or self._layer.upcoming not in {None, *ENDS}:
            self._held = True
            self._read_or_pause()
        self._watch()
        self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        if self.state is State.STA2:
            self._owner.address_turns.wait(self.requestor.address, self.read_on)
        elif not self._looking:
            self._looking = True
            self._owner.later(min(seconds, LOOK_AGAIN_SECONDS), self._rested)

    def read_on(self) -> None:
        """It is this connection's turn."""
        self._budget.allow_more()
        self._end_rest()

    def _rested(self) -> None:
        """Go on, unless the debt is still too high."""
        self._looking = False
        if not self._resting or self.state is State.STA1:
            return
        if self._held and self.state in ANSWERING and not self._closes and any(sockets.gone([self.socket])):
            self._transport.abort()  # it waits for no answer, and its end would not be read for long
            return
        rest = self._budget.rest()
        if rest <= 0.0 or time.monotonic() - self._rested_since >= fairness.MOST_REST_SECONDS:
            self._end_rest()
        else:
            self._wait(rest)

    def _end_rest(self) -> None:
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
            self.opened += now - self._rested_since
        else:
            self._message_began = min(self._message_began + now - self._rested_since, now)

    # --- what is in hand, and which answers arrived --------------------------------------------------------------------

    def reading(self) -> None:
        """Only bytes that are read later than an answer was written can prove that it arrived."""
        self._answered_before = len(self._receipts)

    @property
    def in_hand(self) -> bool:
        """Whether a request was begun, waits or is being handled."""
        return self._busy or bool(self._waiting) or self._layer.message_is_open

    def _first_byte(self, first: int) -> None:
        """The first byte of a further message or of an A-RELEASE-RQ proves that the answers before it arrived."""
        begins = first == pdu.P_DATA_TF and not self._layer.message_is_open
        if self.state is State.STA6 and (begins or first == pdu.RELEASE_RQ):
            arrived, self._receipts = self._receipts[: self._answered_before], self._receipts[self._answered_before :]
            self._answered_before = 0
            self._owner.on_delivery_confirmed([receipt for receipt, _ in arrived])

    def ended(self) -> None:
        """Of a device that closes without a release this proves what was written before its end was there (contract section 1)."""
        if not self._closes or self.state is not State.STA6 or self._layer.unread or self.in_hand:
            return
        if self._transport.get_write_buffer_size() or not sockets.all_arrived(self.socket):
            return
        receipts = [receipt for receipt, open_then in self._receipts if open_then]
        if receipts:
            self._owner.on_delivery_confirmed(receipts)

    def _forget(self) -> None:
        """Nothing that waits is wanted any more."""
        self._waiting.clear()
        self._receipts.clear()
        self._answered_before = 0

    # --- messages ------------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Work off what waits, in order, one at a time; then a release that waits."""
        layer = self._layer
        while self._waiting and not self._busy and not self._write_paused and layer.state in ANSWERING:
            self._handle(self._waiting.popleft())
        if layer.state is State.STA8 and not self._waiting and not self._busy:
            self._close_after(layer.release(), "released", "released")
        if layer.state in ANSWERING:
            if self._owner.ending and not self.in_hand:
                self._owner.shut(self)
            else:
                self._read_or_pause()

    def _read_or_pause(self) -> None:
        was_full, many = self._full, len(self._waiting) >= self._settings.bounds.waiting_requests
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
        if self._layer.unread and not self._read_paused and self.state not in {State.STA1, State.STA13}:
            self.take(b"")
        else:
            self._watch()

    def _handle(self, event: ActionEvent) -> None:
        message, command = event.request, event.request.command
        if not command.asks:
            return  # nothing of ours is outstanding, and nothing of theirs can be cancelled
        if command.field not in negotiation.OPERATIONS[message.context.abstract_syntax]:
            self._respond(message, 0x0211)
        elif message.repeated:
            self._respond(message, 0x0210)
        elif command.fault:
            self._respond(message, command.fault)
        elif message.context.abstract_syntax == negotiation.VERIFICATION:
            self._respond(message, 0x0000)
        else:
            self._act(event)

    def _act(self, event: ActionEvent) -> None:
        message = event.request
        try:
            answer = self._owner.handler(event)
            if isinstance(answer, PendingResponse):
                if answer.answer is None:
                    self._busy = True
                    answer.then(partial(self._answered, message))
                    return
                answer = answer.answer
            self._respond(message, *answer)
        except Exception:  # a defect of the handler, or what cannot be encoded, must not take the listener with it
            self._defect(message)

    def _answered(self, message: Message, answer: Any) -> None:
        self._busy = False
        try:
            self._respond(message, *answer)
        except Exception:
            self._defect(message)
        self._go_on()

    def _defect(self, message: Message) -> None:
        log.exception("internal-error", where="association", association=self.id, message_id=message.command.message_id)
        self._respond(message, 0x0110)

    def _respond(self, message: Message, status: Any, dataset: Any = None) -> None:
        """DT-1, or AR-7 where a release waits; nothing where the association is gone: the event stays all the same."""
        if self.state not in ANSWERING:
            return
        out = self._layer.respond(message, status, dataset)
        open_then = self._closes and not self.end_is_there()
        self._transport.write(out)
        self.requests += 1
        if message.command.field in dimse.HANDED_OVER:
            if status in {0x0000, 0x0107} or status & 0xF000 == 0xB000:
                self._budget.made_up_for()
                self._stop_resting()
            else:
                cost = fairness.REFUSAL_SECONDS + fairness.REFUSED_BYTE_SECONDS * message.length
                self._rest_if(self._budget.refused(message.length, cost))
        if (receipt := getattr(status, "receipt", None)) is not None:
            self._receipts.append((receipt, open_then))

    # --- ends ----------------------------------------------------------------------------------------------------------

    def _close_after(self, last: bytes, outcome: str, reason: str) -> None:
        """Send the last PDU and wait, for a while, until the peer closes (Sta13)."""
        self._why = (outcome, reason)
        self._transport.write(last)
        self._read_or_pause()
        self.deadline = time.monotonic() + self._settings.deadlines.artim

    def _watch(self) -> None:
        """Set the deadline that what was begun now has."""
        layer, deadlines = self._layer, self._settings.deadlines
        if layer.state is State.STA13:
            return
        self.deadline = NEVER
        if layer.state is State.STA2:
            if not self._resting:
                self.deadline = self.opened + deadlines.first_pdu_deadline
        elif self._write_paused:
            self.deadline, self._late = self._stalled + deadlines.pdu_deadline, "answers that nobody reads"
        elif layer.state in ANSWERING:
            if layer.unread and not self._read_paused:
                self.deadline, self._late = self._pdu_began + deadlines.pdu_deadline, "a PDU that does not end"
            if layer.message_is_open and not self._full and not self._resting:
                end = self._message_began + deadlines.message_deadline
                if end <= self.deadline:
                    self.deadline, self._late = end, "a message that does not end"

    def overdue(self) -> None:
        """The deadline has passed: E18, or a PDU or message that does not end."""
        if self.state in {State.STA2, State.STA13}:
            if self.state is State.STA2:
                self._why = ("closed", "no-associate-request")
            self._layer.expire()
            if self._why[0] == "aborted":
                sockets.drop_unsent(self.socket)  # it neither closed nor, perhaps, read
            self._transport.abort()
        elif self.state is not State.STA1:
            self._heed(self._layer.abort_for(pdu.NOT_SPECIFIED, self._late))
            self.take(b"")  # what was begun may be an end of the peer's

    def end(self) -> None:
        """A-ABORT, service user: the server stops."""
        if self.state in {State.STA3, State.STA6, State.STA8}:
            self._why = ("aborted", "shutdown")
            self._transport.write(self._layer.abort())
        self.close()

    def drop(self) -> None:
        """Its end is there, and need not be read."""
        self._transport.abort()

    def close(self, why: str = "") -> None:
        """Close without a PDU; `why` says so in logs and counts."""
        if why:
            self._why = ("closed", why)
        super().close()
