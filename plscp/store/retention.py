"""Retention: raw bytes of requests that are older than they are kept go, a few at a time, so that no answer waits for it."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from plscp.logs import log
from plscp.store.port import EventStore, Expunge, Result, Stored

MOST_REQUESTS: Final = 256
"""Of one transaction. Measured with requests of 4 KB: 2.5 ms (64: 1.2 ms) for those that share it or wait for it."""
PAUSE_SECONDS: Final = 60.0
"""Between two passes where the last one left nothing to do; less where raw bytes are kept for less."""


class Retention:
    """Has the store's one writer delete raw bytes by age; call `look` about once a second.

    Args:
        keep: raw bytes of requests that arrived longer ago go; their digests stay, and open quarantine items keep theirs.
        expunged: told of how many requests and quarantine items raw bytes were deleted.
        clock, monotonic: microseconds since the epoch, UTC; and seconds.
    """

    def __init__(
        self,
        store: EventStore,
        keep: timedelta,
        *,
        expunged: Callable[[int], None] = lambda _: None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._told = store, expunged
        self._keep_us = int(keep.total_seconds() * 1_000_000)
        self._pause = min(PAUSE_SECONDS, keep.total_seconds())
        self._clock, self._monotonic = clock, monotonic
        self._next = monotonic()
        self._under_way = False
        self._since_said = 0

    def look(self) -> None:
        """Submit one batch when it is time, and none is under way."""
        if self._under_way or self._monotonic() < self._next:
            return
        self._under_way = True
        now = self._clock()
        self._store.submit(Expunge(now - self._keep_us, now, self._done, MOST_REQUESTS))

    def _done(self, result: Result) -> None:
        self._under_way = False
        count = result.entries if isinstance(result, Stored) else 0
        self._since_said += count
        if count:
            self._told(count)
            return  # there may be more: at the next look
        self._next = self._monotonic() + self._pause
        if self._since_said:
            log.info("raw-expunged", requests=self._since_said, position=self._store.head()[0])
            self._since_said = 0
