"""The estimated clock difference of each device: what tells whether its times may name a study (contracts section 3)."""

from collections import deque
from datetime import datetime, timedelta
from threading import Lock

HOUR = timedelta(hours=1)
RESOLUTION = timedelta(seconds=1)
"""How much sooner than after an hour a difference may be forgotten: of requests closer to each other not all are kept."""
MOST_KNOWN = 4096
"""Titles of devices before all are forgotten: where any may send, they are the senders' to choose."""


class ClockDifferences:
    """Smallest arrival minus latest DateTime of a request, per calling AE title, over the last hour.

    Delays only make a difference larger, so the smallest is the closest to the clocks' true difference. From any thread: large
    data sets have one of their own, and a stock AE has one for each association.
    """

    def __init__(self) -> None:
        # Per device a queue of (arrival, difference) with rising differences: its head is the smallest of the hour.
        self._queues: dict[str, deque[tuple[datetime, timedelta]]] = {}
        self._lock = Lock()

    def seen(self, ae_title: str, arrival: datetime, latest: datetime) -> None:
        """Note a request.

        Args:
            arrival: UTC, when it was read.
            latest: UTC, the latest of its DateTimes.
        """
        difference = arrival - latest
        with self._lock:
            if len(self._queues) >= MOST_KNOWN and ae_title not in self._queues:
                self._queues.clear()
            queue = self._queues.setdefault(ae_title, deque())
            while queue and queue[-1][1] >= difference:
                queue.pop()
            if not queue or arrival - queue[-1][0] >= RESOLUTION:
                queue.append((arrival, difference))

    def before(self, ae_title: str, arrival: datetime, latest: datetime) -> timedelta | None:
        """The estimate for a request that has just arrived; None until an earlier request of the hour is known.

        A request alone says nothing: late and wrong cannot be told apart. With earlier ones, its own difference counts too,
        since a clock may just have been set back.
        """
        with self._lock:
            queue = self._queues.get(ae_title)
            while queue and queue[0][0] < arrival - HOUR:
                queue.popleft()
            return min(queue[0][1], arrival - latest) if queue else None

    def current(self, ae_title: str) -> timedelta | None:
        """The last estimate, for metrics and pages."""
        with self._lock:
            queue = self._queues.get(ae_title)
            return queue[0][1] if queue else None
