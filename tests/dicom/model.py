"""What an acceptor owes its peer, written a second time: PS3.8 9.2 in `if` and `else`, without the tables of the code.

Where the standard leaves a choice, the model makes the one that the documentation of the acceptor states: a PDU is judged as soon as
its header is there; the P-DATA-TF that breaks a rule is not taken at all; an A-ABORT for a broken rule names the provider (source
2) and its reason, in Sta2 the user and none; after enough unwanted PDUs, or one that was answered with A-ABORT, a peer is not listened to any more.
"""

import re
import struct
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from plscp.dicom.settings import NetworkSettings

NEVER = float("inf")
ECHO, ACTION, CANCEL = 0x0030, 0x0130, 0x0FFF
PATIENCE = 32

type_ac, type_rj, type_data, type_release, type_released, type_abort = 2, 3, 4, 5, 6, 7
Sent = tuple[str | int, ...]
"""What was sent: ("AC",), ("RJ", result, source, reason), ("RP",), ("ABORT", source, reason), ("RSP", context, field, id, status)."""


class Broken(Exception):
    """A rule of the wire is broken: A-ABORT 2/6."""


@dataclass
class Asked:
    """A complete message. `fault`: a status that its command set alone deserves, or 0."""

    context: int
    field: int
    number: int
    fault: int
    repeated: bool = False


class Model:
    """The acceptor's side of one connection.

    Args:
        settings: bounds and deadlines.
        items: what each known row of items of an A-ASSOCIATE-RQ deserves: None for acceptance, or the three numbers of its
            rejection; any other one cannot be read.
        known: calling AE titles that may associate.
        contexts: IDs that are accepted; the last is Verification's.
        user: the handler: a status, or None where the answer comes later.

    Attributes:
        state: number of the state, as in PS3.8 9.2.1.
        sent: everything.
        closed: by us.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        items: Mapping[bytes, tuple[int, int, int] | None],
        known: Collection[str],
        contexts: tuple[int, ...],
        user: Callable[[], int | None],
    ) -> None:
        self.settings, self.items, self.known, self.contexts, self.user = settings, items, known, contexts, user
        self.state = 2
        self.sent: list[Sent] = []
        self.closed = self.blocked = self.ending = self.deaf = False
        self.busy: Asked | None = None
        self.now = self._opened = self._since = self._stalled = self._pdu = self._message = 0.0
        self._unread = b""
        self._skip, self._unwanted = 0, 0
        self._queue: deque[Asked] = deque()
        self._outstanding: set[int] = set()
        self._context = self._discarding = 0
        self._command, self._expecting = b"", False
        self._asked: Asked | None = None
        self._was_full = False

    # --- what happens --------------------------------------------------------------------------------------------------

    def came(self, raw: bytes) -> None:
        """Bytes from the peer."""
        if not self._unread:
            self._pdu = self.now
        self._unread += raw
        self._read()

    def answer(self, status: int) -> None:
        """The answer that was to come later."""
        asked, self.busy = self.busy, None
        assert asked is not None
        self._respond(asked, status)
        self._work()
        self._read()

    def blocks(self) -> None:
        """The peer does not take what was written."""
        self.blocked, self._stalled = True, self.now

    def unblocks(self) -> None:
        """It does again."""
        self.blocked = False
        self._work()
        self._read()

    def lost(self) -> None:
        """The peer closes."""
        self.state = 1

    def shutdown(self) -> None:
        """The server stops: at once where nothing is in hand, else when that is answered."""
        self.ending = True
        if self.state in {6, 8}:
            self._stop_if_idle()
        elif self.busy is None and not self._context:
            self._close()

    def passes(self, seconds: float) -> None:
        """Time."""
        self.now += seconds
        if self.deadline > self.now:
            return
        if self.state in {2, 13}:
            self._close()
        else:
            self._abort(2, 0)
            self._read()

    @property
    def deadline(self) -> float:
        """When this ends if nothing happens."""
        settings = self.settings
        if self.state == 1:
            return NEVER
        if self.state == 2:
            return self._opened + settings.deadlines.first_pdu_deadline
        if self.state == 13:
            return self._since + settings.deadlines.artim
        if self.blocked:
            return self._stalled + settings.deadlines.pdu_deadline
        if self._full:
            return NEVER
        pdu = self._pdu + settings.deadlines.pdu_deadline if self._unread else NEVER
        return min(pdu, self._message + settings.deadlines.message_deadline if self._context else NEVER)

    # --- PDUs ----------------------------------------------------------------------------------------------------------

    @property
    def _full(self) -> bool:
        return self.state in {6, 8} and (len(self._queue) >= self.settings.bounds.waiting_requests or self.blocked)

    def _read(self) -> None:
        while self._unread and self.state != 1 and not self._full and not self.deaf:
            if self._skip:
                cut = min(self._skip, len(self._unread))
                self._skip, self._unread = self._skip - cut, self._unread[cut:]
                continue
            if len(self._unread) < 6:
                return
            kind, length = self._unread[0], int.from_bytes(self._unread[2:6], "big")
            if not self._wanted(kind, length):
                self._unread, self._skip = self._unread[6:], length
            elif len(self._unread) >= 6 + length:
                body, self._unread = self._unread[6 : 6 + length], self._unread[6 + length :]
                self._pdu = self.now
                self._take(kind, body)
            else:
                return

    def _wanted(self, kind: int, length: int) -> bool:
        """Whether a PDU with this header has a place in this state; where not, it has been answered."""
        short = kind in {type_rj, type_release, type_released, type_abort} and length != 4
        if self.state == 13:
            self._unwanted += 1
            self.deaf = self._unwanted >= PATIENCE
            if kind == type_abort and not short:
                self._close()
            elif not 2 <= kind <= 7 or short:
                self.deaf = True
                self.sent.append(("ABORT", 2, 2 if kind == 1 else 6 if short else 1))
            return False
        if not 1 <= kind <= 7:
            return self._abort(2, 1)
        expected = {2: {1, type_abort}, 6: {type_data, type_release, type_abort}, 8: {type_abort}}[self.state]
        if kind not in expected:
            return self._abort(2, 2)
        if (
            length > {1: self.settings.bounds.associate_request, type_data: self.settings.bounds.pdu}.get(kind, length)
            or short
        ):
            return self._abort(2, 6)
        return True

    def _take(self, kind: int, body: bytes) -> None:
        if kind == type_abort:
            self._close()
        elif kind == 1:
            self._associate(body)
        elif kind == type_data:
            self._data(body)
        elif self._context:  # a release in the middle of a message
            self._abort(2, 6)
        else:
            self.state = 8
            self._work()

    def _associate(self, body: bytes) -> None:
        if len(body) < 68:
            self._abort(2, 6)
            return
        called, calling = (body[at : at + 16].rstrip(b"\0 ").lstrip(b" ").decode("latin-1") for at in (4, 20))
        why: tuple[int, int, int] | None
        if not body[1] & 1:
            why = (1, 2, 2)
        elif not re.fullmatch(r"[ -\[\]-~]+", calling):
            why = (1, 1, 3)
        elif not re.fullmatch(r"[ -\[\]-~]+", called):
            why = (1, 1, 7)
        elif body[68:] not in self.items:
            self._abort(2, 6)
            return
        elif why := self.items[body[68:]]:
            pass
        elif called != self.settings.ae_title:
            why = (1, 1, 7)
        elif calling not in self.known:
            why = (1, 1, 3)
        elif not self.settings.max_associations:
            why = (2, 3, 2)
        if why:
            self._ends("RJ", *why)
        else:
            self.state = 6
            self.sent.append(("AC",))

    # --- messages ------------------------------------------------------------------------------------------------------

    def _data(self, body: bytes) -> None:
        done: list[Asked] = []
        was = self._context
        try:
            if not body:
                raise Broken
            while body:
                size = int.from_bytes(body[:4], "big")
                if len(body) < 6 or size < 2 or size > len(body) - 4:
                    raise Broken
                asked = self._fragment(body[4], body[5], body[6 : 4 + size])
                done += [asked] if asked else []
                body = body[4 + size :]
        except Broken:
            self._abort(2, 6)
            return
        if self._context and (done or not was):
            self._message = self.now
        for asked in done:
            if asked.field != CANCEL and not asked.field & 0x8000:
                asked.repeated = asked.number in self._outstanding
                self._outstanding.add(asked.number)
            self._queue.append(asked)
        if done:
            self._work()

    def _fragment(self, context: int, control: int, part: bytes) -> Asked | None:
        command, last = control & 1, control & 2
        if self._discarding:
            ours = context == self._discarding and not command
            if not ours or last:
                self._discarding = 0
            if ours:
                return None
        if context not in self.contexts or (self._context and context != self._context):
            raise Broken
        self._context = context
        if bool(command) is self._expecting:
            raise Broken
        if command:
            self._command += part
            if len(self._command) > self.settings.bounds.command_set:
                raise Broken
        if not last:
            return None
        if command:
            self._asked, self._expecting = self._understand(context, self._command), False
            if self._data_follows(self._command):
                self._expecting, self._command = True, b""
                return None
        asked = self._asked
        self._context, self._command, self._expecting, self._asked = 0, b"", False, None
        return asked

    def _understand(self, context: int, raw: bytes) -> Asked:
        found = elements(raw)
        field = word(found.get(0x0100))
        number = word(found.get(0x0110))
        if number is None and not (field and (field & 0x8000 or field == CANCEL)):
            raise Broken
        unclear = word(found.get(0x0800)) is None
        odd = unclear or (0x1008 in found and word(found[0x1008]) is None)
        if unclear:
            self._discarding = context
        return Asked(context, field or 0, number or 0, 0x0212 if odd else 0)

    @staticmethod
    def _data_follows(raw: bytes) -> bool:
        return word(elements(raw).get(0x0800)) not in {None, 0x0101}

    def _work(self) -> None:
        while self._queue and self.busy is None and not self.blocked and self.state in {6, 8}:
            asked = self._queue.popleft()
            if asked.field == CANCEL or asked.field & 0x8000:
                continue
            wanted = ECHO if asked.context == self.contexts[-1] else ACTION
            status: int | None = 0x0211 if asked.field != wanted else 0x0210 if asked.repeated else asked.fault
            if not status and wanted == ACTION:
                status = self.user()
            if status is None:
                self.busy = asked
            else:
                self._respond(asked, status)
        if self.state == 8 and not self._queue and self.busy is None:
            self._ends("RP")
        if self.state in {6, 8}:
            self._stop_if_idle()
        if self._was_full and not self._full:
            self._pdu = self._message = self.now
        self._was_full = self._full

    def _respond(self, asked: Asked, status: int) -> None:
        if self.state in {6, 8}:
            if not asked.repeated:
                self._outstanding.discard(asked.number)
            self.sent.append(("RSP", asked.context, (asked.field or ACTION) | 0x8000, asked.number, status))
            self.wrote()

    def wrote(self) -> None:
        """A response was written: the place to say that it blocks."""

    # --- ends ----------------------------------------------------------------------------------------------------------

    def _stop_if_idle(self) -> None:
        if self.ending and self.busy is None and not self._queue and not self._context:
            self.sent.append(("ABORT", 0, 0))
            self._close()

    def _ends(self, *what: str | int) -> None:
        self.sent.append(what)
        self.state, self._since = 13, self.now
        self._queue.clear()

    def _abort(self, source: int, reason: int) -> bool:
        if self.state == 2:
            source = reason = 0
        self._ends("ABORT", source, reason)
        return False

    def _close(self) -> None:
        self.state, self.closed = 1, True


def elements(raw: bytes) -> dict[int, bytes]:
    """A command set."""
    found: dict[int, bytes] = {}
    while raw:
        group, number, length = struct.unpack("<HHL", raw[:8]) if len(raw) >= 8 else (1, 0, 0)
        if group or number in found or length > len(raw) - 8:
            raise Broken
        found[number] = raw[8 : 8 + length]
        raw = raw[8 + length :]
    return found


def word(value: bytes | None) -> int | None:
    """A US of one value."""
    return int.from_bytes(value, "little") if value is not None and len(value) == 2 else None
