"""Who takes the event loop's time for nothing is read more slowly, so that the others keep theirs."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from plscp.dicom.settings import NetworkSettings

BURST_SECONDS: Final = 0.25
"""Seconds of futile work that one may have on credit: what is in hand of a busy device counts until it is accepted."""
MOST_FORGIVEN_SECONDS: Final = 0.02  # of work that one accepted request makes up for
ENTERED_SECONDS: Final = 0.001  # of work that are put to an account at once: most of it is made up for before
OWN_SECONDS: Final = 0.002
"""Seconds of futile work of its own below which an association does not rest, whatever others owe under its name or at its address."""
UNASSOCIATED_SECONDS: Final = 0.02
"""Seconds of work that a connection may take for handshake and A-ASSOCIATE-RQ before it waits again while its address is in debt."""
MOST_UNASSOCIATED_REST_SECONDS: Final = 10.0
"""Seconds in which an address's debt of connections and proposals is paid at the latest: more is not counted."""
TITLES: Final = 4  # AE titles of one address that may take their share each; where more do, those who owe pay together
REFUSED_PER_SECOND: Final = 20
"""Refused requests of one AE title at one address that cost nothing: to be refused is normal for a device under test."""
REFUSED_AT_ONCE: Final = 60
REFUSED_BYTES: Final = 4096  # of a refused data set; a longer one counts as several
LONGEST_TURN_SECONDS: Final = 1.0
"""Until the next connection of an address in debt is read, where one waits; where several do, it is divided by them."""
SHORTEST_TURN_SECONDS: Final = 0.1
LOOK_AGAIN_SECONDS: Final = 0.25  # longest time in seconds until what rests is looked at again
SHORTEST_REST_SECONDS: Final = 0.001
MOST_REST_SECONDS: Final = 10.0
"""Of an association at a time: also where others go on under its name it is answered in the end."""
MOST_KNOWN: Final = 4096
STRANGERS_SHARE: Final = 1 / 3
"""Share of the event loop's time of all strangers together, in which each in debt has the same part; none has more than his own share."""
STRANGERS_CREDIT_SECONDS: Final = 1.0
"""What all strangers in debt may have on credit together; each has the same part, and `BURST_SECONDS` at most."""
LEAST_CREDIT_SECONDS: Final = 0.01  # of each of them, however many there are; a stranger that owes less is not in debt
KNOWN_SECONDS: Final = 300.0
"""After an accepted request, in which its association, AE title and address are no strangers."""
NOTED_EVERY_SECONDS: Final = 1.0  # so often is an accepted request of a connection noted for that
COUNTED_EVERY_SECONDS: Final = 0.1
MOST_SLOWER: Final = 10.0
"""Times as long as else until the next connection of a stranger's address in debt is read, where there are many strangers."""
AT_ONCE_SECONDS: Final = 0.005  # of work on the PDUs of one connection before it is the others' turn
READ_SECONDS: Final = 0.0001
"""What a read costs after our last PDU, when no byte is looked at: there are peers that go on sending without end."""
READ_BYTE_SECONDS: Final = 4e-10
REFUSAL_SECONDS: Final = 0.001
"""Of work of other threads that a refused request costs: it is kept, logged and published."""
REFUSED_BYTE_SECONDS: Final = 2e-7  # the same for each byte of its data set: large ones are read in a thread
SHAKING_SECONDS: Final = 0.002  # of handshakes in one turn of the event loop

Payer = str | tuple[str, str]
"""An address, before an association is accepted; afterwards an address and the calling AE title there, an empty one for all of them."""


def _now() -> float:
    return time.monotonic()


class Accounts:
    """For each payer the seconds of the event loop's time that led to no accepted request.

    A debt wears off with time, and an accepted request makes up for the work around it: a device that sends what it should is never
    slowed, however much it sends.

    Payers without an accepted request in the last minutes are strangers. Any number of them together has no more than
    `STRANGERS_SHARE` of the time: the more are in debt, the more slowly the debt of each wears off.
    """

    def __init__(self, settings: NetworkSettings, clock: Callable[[], float] = _now) -> None:
        self._share = settings.futile_share
        self.clock = clock
        self._debts: dict[Payer, tuple[float, float, float]] = {}  # seconds owed; when, and `_worn` then
        self._refused: dict[Payer, tuple[float, float]] = {}
        self._accepted: dict[Payer, float] = {}  # when the last request was
        self._rate, self._credit = self._share, BURST_SECONDS  # of each stranger
        self._worn = 0.0  # seconds by which a stranger's debt has worn off since the beginning
        self._looked = self._counted = clock()

    def charge(self, payer: Payer, seconds: float, most: float = float("inf")) -> float:
        """Work was done for this payer, or made up for where negative; returns for how long to rest, `most` at most, in seconds."""
        if self._share >= 1.0:
            return 0.0
        now = self._time()
        debt = self._owed(payer, now) + seconds
        if debt <= 0.0:
            self._debts.pop(payer, None)
            return 0.0
        share, credit = (self._share, BURST_SECONDS) if self._knows(payer, now) else (self._rate, self._credit)
        debt = min(debt, credit + most * share)
        if len(self._debts) > MOST_KNOWN:
            self._forget(now)
        self._debts[payer] = (debt, now, self._worn)
        rest = (debt - credit) / share
        return rest if rest > SHORTEST_REST_SECONDS else 0.0

    def accepted(self, payers: Iterable[Payer]) -> None:
        """A request was accepted: these are no strangers for some minutes."""
        now = self.clock()
        if len(self._accepted) > MOST_KNOWN:
            self._accepted = {payer: when for payer, when in self._accepted.items() if now - when < KNOWN_SECONDS / 2}
            if len(self._accepted) > MOST_KNOWN:
                self._accepted.clear()
        for payer in payers:
            self._accepted[payer] = now

    def slower(self, payer: Payer) -> float:
        """How many times as long as else this payer's connections wait for their turn."""
        return 1.0 if self._knows(payer, self._time()) else min(self._share / self._rate, MOST_SLOWER)

    def _knows(self, payer: Payer, now: float) -> bool:
        return now - self._accepted.get(payer, -KNOWN_SECONDS) < KNOWN_SECONDS

    def _time(self) -> float:
        """What time it is; the strangers' debts have worn off until then, and are counted now and then."""
        now = self.clock()
        self._worn += (now - self._looked) * self._rate
        self._looked = now
        if now - self._counted >= COUNTED_EVERY_SECONDS:
            self._counted = now
            strangers = sum(
                1
                for payer in self._debts
                if self._owed(payer, now) > LEAST_CREDIT_SECONDS and not self._knows(payer, now)
            )
            self._rate = min(self._share, max(STRANGERS_SHARE, self._share) / max(strangers, 1))
            self._credit = min(BURST_SECONDS, max(STRANGERS_CREDIT_SECONDS / max(strangers, 1), LEAST_CREDIT_SECONDS))
        return now

    def _owed(self, payer: Payer, now: float) -> float:
        debt, since, worn = self._debts.get(payer, (0.0, now, self._worn))
        return max(debt - ((now - since) * self._share if self._knows(payer, now) else self._worn - worn), 0.0)

    def _forget(self, now: float) -> None:
        """Forget the debts that are paid; where most are not, all."""
        owed = {payer: kept for payer, kept in self._debts.items() if self._owed(payer, now) > 0.0}
        self._debts = owed if len(owed) < MOST_KNOWN // 2 else {}

    def rest(self, payer: Payer) -> float:
        """For how many seconds this payer must rest: until its debt is within the credit."""
        return self.charge(payer, 0.0) if payer in self._debts else 0.0

    def forgives(self, wanted: dict[Payer, float]) -> bool:
        """Whether so many refused requests cost each of these payers nothing now; if so, they are used up.

        Strangers have as much less of them as they have less of the time.
        """
        if len(self._refused) > MOST_KNOWN:
            self._refused.clear()
        now = self._time()
        found = {}
        for payer, requests in wanted.items():
            part = 1.0 if self._knows(payer, now) else self._rate / self._share
            used, since = self._refused.get(payer, (0.0, now))
            found[payer] = (max(used - (now - since) * REFUSED_PER_SECOND * part, 0.0) + requests, now)
            if found[payer][0] > REFUSED_AT_ONCE * part:
                return False
        self._refused |= found
        return True


class Turns:
    """Handshakes one after the other, a few in each turn of the event loop: 400 that begin together take 0.2 s."""

    def __init__(self, later: Callable[[float, Callable[[], None]], None]) -> None:
        self._later = later
        self._waiting: deque[Callable[[], None]] = deque()
        self._called = False

    def wait(self, call: Callable[[], None]) -> None:
        """Call this in its turn."""
        self._waiting.append(call)
        self._call()

    def _call(self) -> None:
        if self._waiting and not self._called:
            self._called = True
            self._later(0.0, self._take)

    def _take(self) -> None:
        until = time.monotonic() + SHAKING_SECONDS
        try:
            while self._waiting:
                self._waiting.popleft()()
                if time.monotonic() > until:
                    break
        finally:
            self._called = False
            self._call()


@dataclass(slots=True)
class _Line:
    """The connections of one address that wait, the oldest first."""

    read: float  # when the last of them was read, or the first began to wait
    waiting: dict[Callable[[], None], None] = field(default_factory=dict)
    called: bool = False  # somebody will look


class AddressTurns:
    """Connections of an address in debt are read one after the other, so that each has its turn whatever the others do.

    The next is read when the debt is paid, and else after a second divided by those who wait, though not more than ten in a
    second: a scanner behind an address makes others there wait for some seconds (twelve, where a hundred wait), and does not keep
    them out.
    """

    def __init__(self, accounts: Accounts, later: Callable[[float, Callable[[], None]], None]) -> None:
        self._accounts, self._later = accounts, later
        self._lines: dict[str, _Line] = {}

    def wait(self, address: str, read_on: Callable[[], None]) -> None:
        """A connection is not read until it is its turn, and told so by this function."""
        line = self._lines.get(address)
        if line is None:
            line = self._lines[address] = _Line(self._accounts.clock())
        line.waiting[read_on] = None
        self._call(address, line, 0.0)

    def leave(self, address: str, read_on: Callable[[], None]) -> None:
        """The connection with this function is gone."""
        if address in self._lines:
            self._lines[address].waiting.pop(read_on, None)

    def _call(self, address: str, line: _Line, seconds: float) -> None:
        if not line.called:
            line.called = True
            self._later(min(seconds, LOOK_AGAIN_SECONDS), lambda: self._look(address, line))

    def _look(self, address: str, line: _Line) -> None:
        line.called = False
        if not line.waiting:
            self._lines.pop(address, None)
            return
        now = self._accounts.clock()
        turn = max(LONGEST_TURN_SECONDS / len(line.waiting), SHORTEST_TURN_SECONDS) * self._accounts.slower(address)
        rest = min(self._accounts.rest(address), line.read + turn - now)
        if rest <= 0.0:
            rest, line.read = 0.0, now  # the next one is looked at when this one was read: what it does counts before
            read_on = next(iter(line.waiting))
            del line.waiting[read_on]
            read_on()
        self._call(address, line, rest)


class ConnectionBudget:
    """What one connection took since its last request that was accepted.

    Args:
        address: pays until an association is accepted; None: nobody does (a trusted proxy's).
    """

    def __init__(self, accounts: Accounts, address: str | None) -> None:
        self._accounts, self._address = accounts, address
        self._payers: dict[Payer, float] = {} if address is None else {address: 1.0}  # and the part that each pays
        self.associated = False
        self.taken = self._answered = 0.0  # _answered: as much was taken when the last answer went out
        self._entered = 0.0  # of which so many seconds are in the accounts
        self._noted = -KNOWN_SECONDS  # when the accounts were told of an accepted request
        self._allowed = UNASSOCIATED_SECONDS  # as much may be taken until the association is accepted

    def associate(self, address: str, ae_title: str) -> None:
        """An association was accepted: from now on it pays, under its AE title at that address."""
        self.enter()
        self._payers = {(address, ae_title): 1.0}
        if self._address is not None:
            self._payers[address, ""] = 1.0 / TITLES
        self.associated = True
        self.taken = self._entered = self._answered = 0.0
        self._allowed = OWN_SECONDS

    def charge(self, seconds: float) -> float:
        """So much time went by; returns for how many seconds to rest.

        Others may have run meanwhile, so no piece counts for more than a request makes up for. (What the thread alone took would
        be exact, and asking the system for it cost a tenth of the throughput.)
        """
        self.taken += min(seconds, MOST_FORGIVEN_SECONDS)
        if self.taken - self._entered < ENTERED_SECONDS:
            return 0.0
        self.enter()
        return self.rest()

    def enter(self) -> None:
        """Put it to the accounts."""
        self._charge(self.taken - self._entered)
        self._entered = self.taken

    def rest(self) -> float:
        """For how many seconds to rest: none where others owe, and this one does not."""
        if self.taken <= self._allowed:
            return 0.0
        return max((self._accounts.rest(payer) for payer in self._payers), default=0.0)

    def allow_more(self) -> None:
        """The connection had its turn."""
        self._allowed = self.taken + UNASSOCIATED_SECONDS

    def made_up_for(self) -> None:
        """A request was accepted: it was no futile work."""
        now = self._accounts.clock()
        if now - self._noted >= NOTED_EVERY_SECONDS:
            self._noted = now
            self._accounts.accepted(self._payers if self._address is None else (*self._payers, self._address))
        futile = self.taken - MOST_FORGIVEN_SECONDS
        if self._entered or futile > 0.0:
            self._charge(max(futile, 0.0) - self._entered)
        self.taken = self._entered = self._answered = 0.0

    def refused(self, length: int, seconds: float) -> float:
        """A request with a data set of so many bytes was refused; returns for how many seconds to rest.

        It costs so many seconds of work of others beside what was taken. One of those that are free costs nothing, and what was
        taken since the answer before it is made up for.
        """
        requests = 1 + length // REFUSED_BYTES
        wanted = {payer: part * requests for payer, part in self._payers.items()}
        if self.associated and self._accounts.forgives(wanted):
            self.taken -= min(self.taken - self._answered, MOST_FORGIVEN_SECONDS)
            if self._entered > self.taken:
                self.enter()
            rest = 0.0
        else:
            rest = self.charge(seconds)
        self._answered = self.taken
        return rest

    def _charge(self, seconds: float) -> None:
        most = float("inf") if self.associated else MOST_UNASSOCIATED_REST_SECONDS
        for payer, part in self._payers.items():
            self._accounts.charge(payer, part * seconds, most)
