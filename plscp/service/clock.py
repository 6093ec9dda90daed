"""The measured clock difference of each device: what tells whether its times may name a study (contract section 3).

A difference is a request's arrival minus its latest DateTime. Delays only make it larger, so the smallest is the closest to the clocks'
true difference, and only a fast clock can be told for certain. One request proves nothing, and neither does the same DateTime sent
twice: a difference counts once another DateTime agrees with it.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import Lock
from typing import Final, NamedTuple

from plscp.matching.model import Instant
from plscp.matching.registry import microseconds, moment_of

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
"""A difference of more is an absurd DateTime; and the longest that a measurement counts."""
KEPT_SECONDS: Final = 300
"""Of each such stretch of arrivals the smallest differences are kept."""
KEPT_MEASUREMENTS: Final = 5
MOST_DEVICES: Final = 4096
"""Titles of devices before all are forgotten: where any may send, they are the senders' to choose."""


class ClockMeasurement(NamedTuple):
    """One request's arrival (UTC) and its difference to the latest DateTime in it."""

    difference: timedelta
    arrival: datetime

    @property
    def stamped(self) -> datetime:
        """The DateTime that was compared."""
        return self.arrival - self.difference


class _DeviceClock:
    """The smallest differences of one device, by stretch of arrival, and the last estimates made of them."""

    def __init__(self) -> None:
        self.stretches: dict[int, list[ClockMeasurement]] = {}
        self.estimates: dict[tuple[timedelta, timedelta], tuple[int, timedelta | None]] = {}  # by window and tolerance

    def add(self, new: ClockMeasurement, tolerance: timedelta) -> bool:
        """Note a measurement; whether it is one of those that its stretch keeps."""
        stretch = int(new.arrival.timestamp()) // KEPT_SECONDS
        kept = self.stretches.setdefault(stretch, [])
        if len(kept) == KEPT_MEASUREMENTS and new > kept[-1] and _first_agreed(kept, tolerance):
            return False  # nearly always; no larger one makes another pair the first that agrees
        if any(known.stamped == new.stamped and known.difference <= new.difference for known in kept):
            return False
        kept.append(new)
        kept.sort()
        if len(kept) > KEPT_MEASUREMENTS:
            # Absurd DateTimes are smaller than true ones: the pair that agrees stays.
            agreed = _first_agreed(kept, tolerance)
            kept.remove(next(m for m in reversed(kept) if m not in agreed))
            if new not in kept:
                return False
        self.estimates.clear()
        oldest = stretch - int(DAY.total_seconds()) // KEPT_SECONDS - 1
        for old in [known for known in self.stretches if known < oldest]:
            del self.stretches[old]
        return True

    def estimate(self, arrival: datetime, window: timedelta, tolerance: timedelta) -> timedelta | None:
        """The smallest difference of the window that another DateTime agrees with."""
        stretch = int(arrival.timestamp()) // KEPT_SECONDS
        known = self.estimates.get((window, tolerance))
        if known is not None and known[0] == stretch:
            return known[1]
        began = arrival - window
        smallest = sorted(m for kept in self.stretches.values() for m in kept if began <= m.arrival <= arrival)
        agreed = _first_agreed(smallest, tolerance)
        found = agreed[0].difference if agreed else None
        self.estimates[window, tolerance] = (stretch, found)
        return found


def _first_agreed(smallest: Sequence[ClockMeasurement], tolerance: timedelta) -> tuple[ClockMeasurement, ...]:
    """The smallest measurement that another one agrees with, and that one; empty for none."""
    for at, one in enumerate(smallest):
        for other in smallest[at + 1 :]:
            if other.difference - one.difference > tolerance:
                break
            if other.stamped != one.stamped:
                return one, other
    return ()


class ClockDifferences:
    """What was measured of each device's clock, by calling AE title; from any thread.

    Args:
        keep: called with (calling AE title, arrival, difference) in microseconds of each measurement that a restart must know.
    """

    def __init__(self, keep: Callable[[str, int, int], None] | None = None) -> None:
        self._devices: dict[str, _DeviceClock] = {}
        self._lock = Lock()
        self._keep = keep

    def measure(self, ae_title: str, times: Sequence[Instant], arrival: datetime, tolerance: timedelta) -> None:
        """Note a request that passed step 7.

        Args:
            times: of its entries; only DateTimes to the second that have one reading are compared.
            tolerance: by how much differences may differ and still agree.
        """
        exact = [time.latest for time in times if time.latest == time.earliest and time.other is None]
        if not exact:
            return
        new = ClockMeasurement(arrival - max(exact), arrival)
        if abs(new.difference) > DAY:
            return
        with self._lock:
            device = self._devices.get(ae_title)
            if device is None:
                if len(self._devices) >= MOST_DEVICES:
                    self._devices.clear()
                device = self._devices[ae_title] = _DeviceClock()
            kept = device.add(new, tolerance)
        if kept and self._keep is not None:
            self._keep(ae_title, microseconds(arrival), new.difference // timedelta(microseconds=1))

    def load(self, ae_title: str, arrival: int, difference: int, tolerance: timedelta) -> None:
        """Take back a measurement that was kept; arrival and difference in microseconds."""
        measured = ClockMeasurement(timedelta(microseconds=difference), moment_of(arrival))
        with self._lock:
            self._devices.setdefault(ae_title, _DeviceClock()).add(measured, tolerance)

    def current(
        self, ae_title: str, now: datetime, tolerance: timedelta, *, for_a_day: bool = False
    ) -> timedelta | None:
        """The difference that is known at a time: negative for a fast clock; None while no two measurements agree.

        Args:
            for_a_day: the request follows this server's Synchronization Frame of Reference: where the last hour's measurements
                do not agree, those of the last day count.
        """
        with self._lock:
            device = self._devices.get(ae_title)
            if device is None:
                return None
            found = device.estimate(now, HOUR, tolerance)
            return device.estimate(now, DAY, tolerance) if found is None and for_a_day else found
