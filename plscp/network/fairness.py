"""Who takes the event loop's time for nothing is read more slowly, so that the others keep theirs."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from plscp.network.settings import NetworkSettings

BURST: Final = 0.25
"""Seconds of futile work that an address may have on credit: what is in hand of a busy device counts until it is accepted."""
MOST_FORGIVEN: Final = 0.02
"""Seconds of work that one accepted request makes up for."""
ENTERED: Final = 0.001
"""Seconds of work that are put to the account of an address at once: most of it is made up for before."""
MOST_KNOWN: Final = 4096
SHAKING: Final = 0.002
"""Seconds of handshakes in one turn of the event loop."""


class Accounts:
    """For each peer address the seconds of the event loop's time that led to no accepted request.

    Associations that ask nothing, fragments without end, requests that are refused: each may be cheap, and many of them are
    not. The debt of an address wears off with time, and an accepted request makes up for the work around it: a device that
    sends what it should is never slowed, however much it sends.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        self._share = settings.futile_share
        self._debts: dict[str, tuple[float, float]] = {}

    def charge(self, address: str, seconds: float) -> float:
        """Work was done for this address, or made up for where negative; returns for how many seconds to rest."""
        if self._share >= 1.0:
            return 0.0
        now = time.monotonic()
        debt, since = self._debts.get(address, (0.0, now))
        debt = max(debt - (now - since) * self._share, 0.0) + seconds
        if debt <= 0.0:
            self._debts.pop(address, None)
            return 0.0
        if len(self._debts) > MOST_KNOWN:
            self._debts.clear()
        self._debts[address] = (debt, now)
        return (debt - BURST) / self._share if debt > BURST else 0.0


class Turns:
    """Handshakes one after the other, a few in each turn of the event loop: 400 that begin together take 0.2 s.

    Args:
        later: calls something after so many seconds.
    """

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
        until = time.monotonic() + SHAKING
        try:
            while self._waiting:
                self._waiting.popleft()()
                if time.monotonic() > until:
                    break
        finally:
            self._called = False
            self._call()


class Tab:
    """What one connection took since its last request that was accepted.

    Attributes:
        taken: seconds of work.
    """

    __slots__ = ("_accounts", "_address", "_entered", "taken")

    def __init__(self, accounts: Accounts, address: str) -> None:
        self._accounts, self._address = accounts, address
        self.taken = 0.0
        self._entered = 0.0  # of which so many seconds are in the account of the address

    def charge(self, seconds: float) -> float:
        """So much time went by; returns for how many seconds to rest.

        Others may have run meanwhile, so no piece counts for more than a request makes up for. (What the thread alone took would
        be exact, and asking the system for it cost a tenth of the throughput.)
        """
        self.taken += min(seconds, MOST_FORGIVEN)
        return self.enter() if self.taken - self._entered >= ENTERED else 0.0

    def enter(self) -> float:
        """Put it to the account of the address; returns for how many seconds to rest."""
        rest = self._accounts.charge(self._address, self.taken - self._entered)
        self._entered = self.taken
        return rest

    def made_up_for(self) -> None:
        """A request was accepted: it was no futile work."""
        futile = self.taken - MOST_FORGIVEN
        if self._entered or futile > 0.0:
            self._accounts.charge(self._address, max(futile, 0.0) - self._entered)
        self.taken = self._entered = 0.0
