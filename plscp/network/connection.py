"""A connection: an asyncio protocol that cuts bytes into PDUs and runs the upper layer state machine (PS3.8), with its clocks."""

import asyncio
import itertools
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from plscp.network import pdu, sockets
from plscp.network.admission import PeerCertificate
from plscp.network.event import Peer
from plscp.network.fairness import MOST_REST_SECONDS, REST, ConnectionBudget
from plscp.network.fsm import TABLE, Event, State
from plscp.network.headers import EVENT_OF, event_of, fault

if TYPE_CHECKING:
    from plscp.network.acceptor import Acceptor

NEVER: Final = float("inf")
AT_ONCE: Final = 0.005
"""Seconds of work on the PDUs of one connection before it is the others' turn."""
PATIENCE: Final = 32
"""PDUs that are looked at after the last one of ours: a flood of small ones shall not cost the others their time."""
READ_SECONDS: Final = 0.0001
"""What a read costs after our last PDU, when no byte is looked at: there are peers that go on sending without end."""
READ_BYTE_SECONDS: Final = 4e-10
ANSWERING: Final = frozenset({State.STA6, State.STA8})
ENDS: Final = frozenset({pdu.RELEASE_RQ, pdu.ABORT})
"""What is taken also from an association that rests: it costs nothing, and an end that goes unanswered looks like a failure."""
_numbers = itertools.count(1)
_PROCESS: Final = secrets.token_hex(4)


def association_id() -> str:
    """A further id, unlike those of this process before a restart."""
    return f"{_PROCESS}-{next(_numbers):x}"


class Connection(asyncio.Protocol, ABC):
    """A connection and its state; what the upper layer's user says and hears is left to a subclass.

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
        self.id = association_id()
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
        self._write_paused = False
        self._read_paused = False
        self._full = False  # as many requests wait as may, or answers that nobody reads
        self._resting = False
        self._held = False  # rests, and nothing is read: what comes next is more than an end
        self._looking = False  # a timer is set for the end of the rest
        self._rested_since = 0.0
        self._unread = 0.0  # seconds of rest before the association
        self._closes = False  # without a release: so the device is said to do
        self._tab: ConnectionBudget
        self._why = ("lost", "transport")

    # --- the upper layer's user ----------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def _in_message(self) -> bool:
        """Whether a message was begun and not ended."""

    @property
    @abstractmethod
    def in_hand(self) -> bool:
        """Whether a request was begun, waits or is being handled."""

    @abstractmethod
    def reading(self) -> None:
        """Bytes were read that the peer may have sent after all that was written."""

    @abstractmethod
    def ended(self) -> None:
        """The peer ended the connection in order: with FIN, over TLS with close_notify."""

    @abstractmethod
    def _first_byte(self, first: int) -> None:
        """The first byte of a PDU was read just now."""

    @abstractmethod
    def _associate(self, body: bytes) -> None:
        """An A-ASSOCIATE-RQ in Sta2."""

    @abstractmethod
    def _p_data(self, data: bytes, position: int, stop: int) -> None:
        """The presentation data values of a P-DATA-TF in Sta6."""

    @abstractmethod
    def _work(self) -> None:
        """Work off what waits, then a release that waits."""

    @abstractmethod
    def _read_or_pause(self) -> None:
        """Read on, or let bytes wait."""

    @abstractmethod
    def _go_on(self) -> None:
        """As `_work`, and then what was read but not looked at yet."""

    @abstractmethod
    def _forget(self) -> None:
        """Nothing that waits is wanted any more."""

    # --- transport -----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """E5."""
        self._transport = transport
        peer = transport.get_extra_info("peername") or ("", 0)
        self.requestor = Peer("", str(peer[0]), int(peer[1]))
        self._tab = ConnectionBudget(self._owner.accounts, self._owner.payer(self.requestor.address))
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
        self._tab.enter()
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
            self.charge(READ_SECONDS + READ_BYTE_SECONDS * len(data))
        self.take(data)

    def acknowledge(self) -> None:
        """Acknowledge what was read at once."""
        if self._socket is not None and not sockets.acknowledge(self._socket):
            self._socket = None

    def take(self, data: bytes) -> None:
        """Work off these bytes, after those that wait."""
        old = len(self._buffer)
        if old:
            data = self._buffer + data
        self._take(data, old)

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
        if self.established is not None and not self._tab.associated:  # the proposal was its address's affair
            self._tab.associate(self.requestor.address, self.requestor.ae_title)
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
                self._hold()
                break
            if end - position < 6:
                break
            kind, length = pdu.HEADER.unpack_from(data, position)
            if not self._wanted(kind, length):
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

    def _wanted(self, kind: int, length: int) -> bool:
        """Whether what follows this header is read: else it is passed over."""
        if self.state is State.STA13:
            self._unwanted(kind, length)
            return False
        found = fault(kind, length, self.state, self._settings)
        if found is None:
            return True
        event, reason, what = found
        before = self.state
        self._event(event)
        self._abort(before, reason, what)
        return False

    def _unwanted(self, kind: int, length: int) -> None:
        """Sta13: AA-6 ignores, AA-2 closes, AA-7 says A-ABORT; then, or after enough of it, bytes are not looked at any more."""
        self._patience -= 1
        event, reason = event_of(kind, length)
        action = TABLE[event][self.state].action
        if action == "AA-2":
            self._event(event)
            self._transport.abort()
        elif action == "AA-7":
            self._patience = 0
            self._transport.write(pdu.abort(pdu.SERVICE_PROVIDER, reason))

    def _other(self, kind: int, body: bytes) -> None:
        if kind == pdu.ASSOCIATE_RQ:
            self._associate(body)
            return
        self._event(EVENT_OF[kind])
        if kind == pdu.RELEASE_RQ:  # AR-2: the release is answered when all that came before it is
            if self._in_message:
                self._invalid(pdu.INVALID_PARAMETER, "a release in the middle of a message")
                return
            self._work()
        elif kind == pdu.ABORT:
            self._why = ("aborted", "by-peer")
            self._forget()
            self._transport.abort()  # nothing that is still to be sent is wanted

    # --- fairness ------------------------------------------------------------------------------------------------------

    def charge(self, seconds: float) -> None:
        """So much time went by for this connection; who took more than its share for nothing rests."""
        self._rest_if(self._tab.charge(seconds))

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
        self._owner.admission.wait(self.requestor.address, self)

    def read_on(self) -> None:
        """It is this connection's turn."""
        self._tab.allow_more()
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
        rest = self._tab.rest()
        if rest <= 0.0 or time.monotonic() - self._rested_since >= MOST_REST_SECONDS:
            self._end_rest()
        elif self.state is State.STA2:
            self._owner.admission.wait(self.requestor.address, self)
        else:
            self._look_after(rest)

    def _begin_rest(self) -> None:
        self._resting = True
        self._rested_since = time.monotonic()
        if self.state not in ANSWERING or self._in_message or (self._buffer and self._buffer[0] not in ENDS):
            self._hold()
        self._watch()

    def _hold(self) -> None:
        self._held = True
        self._read_or_pause()

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

    # --- ends ----------------------------------------------------------------------------------------------------------

    def _event(self, event: Event) -> None:
        self.state = TABLE[event][self.state].state

    def _invalid(self, reason: int, what: str) -> None:
        """E19."""
        if self.state is State.STA1:
            return
        before = self.state
        self._event(Event.INVALID_PDU)
        self._abort(before, reason, what)

    def _abort(self, before: State, reason: int, what: str) -> None:
        """AA-1 in Sta2, without a reason (PS3.8 9.3.8); else AA-8."""
        source = pdu.SERVICE_PROVIDER
        if before is State.STA2:
            source, reason = pdu.SERVICE_USER, pdu.NOT_SPECIFIED
        self._why = ("aborted", f"{source}-{reason}")
        self._owner.aborted(self, what, source, reason)
        self._forget()
        self._close_after(pdu.abort(source, reason))

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
            if self._in_message and not self._full and not self._resting:
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
            self._invalid(pdu.NOT_SPECIFIED, self._late())
            self._take(self._buffer, len(self._buffer))  # what was begun may be an end of the peer's

    def _late(self) -> str:
        """What the deadline was for."""
        if self._write_paused:
            return "answers that nobody reads"
        message = self._in_message and self.deadline >= self._message_began + self._settings.message_deadline
        return f"a {'message' if message else 'PDU'} that does not end"

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
