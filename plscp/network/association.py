"""An association: what the upper layer's user does, from negotiation to the answers of the handler."""

import asyncio
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pydicom.dataset import Dataset

from plscp.logs import log
from plscp.network import dimse, negotiation, pdu, sockets
from plscp.network.admission import UserIdentity
from plscp.network.answer import PendingResponse
from plscp.network.connection import ANSWERING, Connection
from plscp.network.event import ActionEvent, ActionRequest
from plscp.network.fsm import Event, State
from plscp.network.messages import Assembler, Message, Violation
from plscp.network.negotiation import Proposal, Rejection
from plscp.network.reply import encoded, status_of

if TYPE_CHECKING:
    from plscp.network.acceptor import Acceptor

PROCESSING_FAILURE: Final = 0x0110
_Receipt = tuple[object, bool]
"""What the store is told, and whether the connection's end was certainly not there yet when the answer was written."""
REFUSAL: Final = 0.001
"""Seconds of work of other threads that a refused request costs: it is kept, logged and published."""
REFUSED_BYTE: Final = 2e-7
"""The same for each byte of its data set: large ones are read in a thread."""


class Association(Connection):
    """A connection, and the association on it."""

    def __init__(self, owner: "Acceptor") -> None:
        super().__init__(owner)
        self._assembler: Assembler | None = None
        self._max_length = 0
        self._waiting: deque[tuple[Message, datetime]] = deque()
        self._outstanding: set[int] = set()
        self._busy = False
        self._written: list[_Receipt] = []  # of answers since the last read
        self._receipts: list[_Receipt] = []  # of those before it

    def reading(self) -> None:
        """Only bytes that are read later than an answer was written can prove that it arrived."""
        if self._written:
            self._receipts += self._written
            self._written.clear()

    @property
    def _in_message(self) -> bool:
        return self._assembler is not None and self._assembler.open

    @property
    def in_hand(self) -> bool:
        """Whether a request was begun, waits or is being handled."""
        return self._busy or bool(self._waiting) or self._in_message

    def _first_byte(self, first: int) -> None:
        """The first byte of a further message or of an A-RELEASE-RQ proves that the answers before it arrived."""
        if not self._receipts:
            return
        begins = first == pdu.P_DATA_TF and not (self._assembler and self._assembler.open)
        if self.state is State.STA6 and (begins or first == pdu.RELEASE_RQ):
            receipts, self._receipts = self._receipts, []
            self._owner.on_delivery_confirmed([receipt for receipt, _ in receipts])

    def ended(self) -> None:
        """Of a device that closes without a release this proves what was written before its end was there (contracts section 1)."""
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
            proposal, identity = negotiation.read(body, settings.contexts)
            proposal = self._judged(proposal, identity)
            if isinstance(proposal, Rejection):
                self._event(Event.ASSOCIATE_RQ)
                self._reject(proposal)
                return
            confirmed = identity is not None and identity.response and self._owner.confirms(proposal.calling_ae)
            answer, contexts = negotiation.accept(proposal, settings.max_pdu, confirmed)
        except negotiation.Unreadable as error:  # still in Sta2: no A-ASSOCIATE-RQ was received but an invalid PDU
            self._invalid(pdu.INVALID_PARAMETER, str(error) or "an A-ASSOCIATE-RQ that cannot be read")
            return
        self._event(Event.ASSOCIATE_RQ)
        self._event(Event.ACCEPT)
        self._max_length = proposal.max_length
        self._assembler = Assembler(contexts, settings.command_set, settings.data_set)
        self._closes = self._owner.closes_without_release(proposal.calling_ae)
        self.established = datetime.now(UTC)
        self._transport.write(answer)
        self._owner.accepted(self, contexts)

    def _judged(self, proposal: Proposal | Rejection, identity: UserIdentity | None) -> Proposal | Rejection:
        """The proposal, unless the settings say something against this peer."""
        if isinstance(proposal, Rejection):
            return proposal
        self.requestor.ae_title, self.acceptor.ae_title = proposal.calling_ae, proposal.called_ae
        refusal = self._owner.refusal(self, identity)
        return proposal if refusal is None else negotiation.REJECTIONS[refusal.rule]

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
        while self._waiting and not self._busy and not self._write_paused and self.state in ANSWERING:
            message, arrived = self._waiting.popleft()
            self._handle(message, arrived)
        if self.state is State.STA8 and not self._waiting and not self._busy:
            self._event(Event.RELEASE_RESPONSE)
            self._why = ("released", "released")
            self._close_after(pdu.RELEASE_RP_PDU)
        if self.state in ANSWERING:
            if self._owner.ending and not self.in_hand:
                self._owner.shut(self)
                return
            self._read_or_pause()

    def _read_or_pause(self) -> None:
        was_full, many = self._full, len(self._waiting) >= self._settings.waiting
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
        if isinstance(answer, PendingResponse):
            self._busy = True
            answer.then(lambda given: self._answered(message, given))
        elif asyncio.isfuture(answer):
            self._busy = True
            answer.add_done_callback(lambda future: self._resolved(message, future))
        else:
            self._answer(message, answer)

    def _resolved(self, message: Message, future: "asyncio.Future[Any]") -> None:
        try:
            answer = future.result()
        except (Exception, asyncio.CancelledError) as error:
            answer = error  # no pair: a defect
        self._answered(message, answer)

    def _answered(self, message: Message, answer: Any) -> None:
        self._busy = False
        self._answer(message, answer)
        self._go_on()

    def _answer(self, message: Message, answer: Any) -> None:
        try:
            self._respond(message, *answer)
        except Exception:  # not the pair that it should be, or a data set that cannot be encoded
            self._defect(message)

    def _defect(self, message: Message) -> None:
        log.exception("internal-error", where="association", association=self.id, message_id=message.command.message_id)
        self._respond(message, PROCESSING_FAILURE)

    def _respond(self, message: Message, status: Any, dataset: Any = None) -> None:
        """DT-1, or AR-7 where a release waits; nothing where the association is gone: the event stays all the same."""
        if self.state not in ANSWERING:
            return
        if isinstance(status, Dataset):
            status = status_of(status)
        data = encoded(dataset, message.context) if dataset is not None else b""
        command = dimse.response(message.command, status, has_data=bool(data))
        number = message.context.context_id
        out = pdu.p_data(number, pdu.COMMAND, command, self._max_length)
        if data:
            out += pdu.p_data(number, 0, data, self._max_length)
        self._event(Event.P_DATA_REQUEST)
        if not message.repeated:
            self._outstanding.discard(message.command.message_id)
        open_then = self._closes and not self.end_is_there()
        self._transport.write(out)
        self.requests += 1
        if message.command.field == dimse.N_ACTION_RQ:
            if status == 0x0000 or status & 0xF000 == 0xB000:
                self._tab.made_up_for()
                self._stop_resting()
            else:
                self._rest_if(self._tab.refused(message.length, REFUSAL + REFUSED_BYTE * message.length))
        receipt = getattr(status, "receipt", None)
        if receipt is not None:
            self._written.append((receipt, open_then))
