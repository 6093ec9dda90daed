"""The measured clock difference of a device (contract section 3, Whose clock is known)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plscp.matching.model import Instant
from plscp.service.clock import DAY, HOUR, KEPT_MEASUREMENTS, KEPT_SECONDS, MOST_DEVICES, ClockDifferences

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
TOLERANCE = 2 * MINUTE


def stamp(moment: datetime, *, precise: bool = True, twice: bool = False) -> Instant:
    """A DateTime as a device sends it."""
    end = moment if precise else moment + MINUTE
    return Instant("", moment, end, "own", (moment - HOUR, moment - HOUR) if twice else None)


def measure(
    clocks: ClockDifferences, arrival: datetime, difference: timedelta, *, device: str = "A", for_a_day: bool = False
) -> timedelta | None:
    """A request whose latest DateTime is so much before its arrival."""
    clocks.measure(device, [stamp(arrival - difference)], arrival, TOLERANCE)
    return clocks.current(device, arrival, TOLERANCE, for_a_day=for_a_day)


def test_a_request_alone_says_nothing() -> None:
    """Late and wrong look alike, and any DateTime may be absurd: it counts from the second agreeing request on."""
    clocks = ClockDifferences()
    assert measure(clocks, NOON, 5 * SECOND) is None
    assert measure(clocks, NOON + SECOND, 9 * SECOND) == 5 * SECOND
    assert measure(clocks, NOON, timedelta(0), device="B") is None


@pytest.mark.parametrize("absurd", [-3 * HOUR, -40 * MINUTE, 23 * HOUR])
def test_an_absurd_datetime_does_not_spoil_it(absurd: timedelta) -> None:
    """Nobody agrees with it."""
    clocks = ClockDifferences()
    measure(clocks, NOON, SECOND)
    measure(clocks, NOON + SECOND, absurd)
    assert measure(clocks, NOON + 2 * SECOND, SECOND) == SECOND


def test_the_same_datetime_sent_again_agrees_with_nothing() -> None:
    """A refused request that is repeated is no second witness."""
    clocks = ClockDifferences()
    stamped = NOON + 2 * HOUR
    for later in range(10):
        arrival = NOON + later * SECOND
        assert measure(clocks, arrival, arrival - stamped) is None


def test_differences_beyond_a_day_are_left_out() -> None:
    """Somebody's birth date is no clock."""
    clocks = ClockDifferences()
    for number in range(5):
        assert measure(clocks, NOON + number * SECOND, -DAY - SECOND) is None
    assert measure(clocks, NOON, -DAY) is None
    assert measure(clocks, NOON + SECOND, -DAY) == -DAY


@pytest.mark.parametrize("time", [stamp(NOON, precise=False), stamp(NOON, twice=True)])
def test_only_datetimes_to_the_second_with_one_reading_are_compared(time: Instant) -> None:
    """A minute, or an hour that the clocks showed twice, cannot be compared with."""
    clocks = ClockDifferences()
    for number in range(3):
        clocks.measure("A", [time], NOON + number * SECOND, TOLERANCE)
        assert clocks.current("A", NOON + number * SECOND, TOLERANCE) is None


def test_a_clock_that_was_set_forward_counts_with_the_second_request() -> None:
    """The smaller difference is the true one, once it is agreed with."""
    clocks = ClockDifferences()
    measure(clocks, NOON, timedelta(0))
    measure(clocks, NOON + SECOND, timedelta(0))
    assert measure(clocks, NOON + 2 * SECOND, -10 * MINUTE) == timedelta(0)
    assert measure(clocks, NOON + 3 * SECOND, -10 * MINUTE) == -10 * MINUTE


@pytest.mark.parametrize(("for_a_day", "known"), [(False, HOUR), (True, DAY)])
def test_for_an_hour_or_a_day(*, for_a_day: bool, known: timedelta) -> None:
    """A day where the request follows this server's Synchronization Frame of Reference."""
    clocks = ClockDifferences()
    measure(clocks, NOON, timedelta(0))
    measure(clocks, NOON + SECOND, timedelta(0))
    slow = 30 * MINUTE
    assert measure(clocks, NOON + known, slow, for_a_day=for_a_day) == timedelta(0)
    assert measure(clocks, NOON + known + KEPT_SECONDS * SECOND, slow, for_a_day=for_a_day) == slow


def test_the_last_hour_goes_before_the_day() -> None:
    """A clock that was set back counts as right for an hour, not for a day."""
    clocks = ClockDifferences()
    for second in (0, 1):
        measure(clocks, NOON + second * SECOND, timedelta(0), for_a_day=True)
    late = NOON + 2 * HOUR
    assert measure(clocks, late, 40 * MINUTE, for_a_day=True) == timedelta(0)
    assert measure(clocks, late + SECOND, 40 * MINUTE, for_a_day=True) == 40 * MINUTE


@given(st.lists(st.tuples(st.integers(0, 7200), st.integers(-2000, 3000)), min_size=1, max_size=12))
def test_it_is_the_smallest_that_another_agrees_with(requests: list[tuple[int, int]]) -> None:
    """As a look at every request of the last hour, or of that hour less a stretch, would give it; few requests lose nothing."""
    clocks = ClockDifferences()
    seen: set[tuple[timedelta, datetime]] = set()
    for at, gap in sorted(requests):
        arrival, difference = NOON + at * SECOND, gap * SECOND
        if len({known for known in seen if _stretch(known[1]) == _stretch(arrival)}) == KEPT_MEASUREMENTS:
            continue
        seen.add((difference, arrival))
        found = measure(clocks, arrival, difference)
        windows = (HOUR, HOUR - KEPT_SECONDS * SECOND)
        assert found in {_agreed(sorted(one for one in seen if arrival - one[1] <= window)) for window in windows} | {
            _agreed(sorted(one for one in seen if arrival - one[1] <= HOUR + KEPT_SECONDS * SECOND))
        }


def _stretch(arrival: datetime) -> int:
    return int(arrival.timestamp()) // KEPT_SECONDS


def _agreed(differences: list[tuple[timedelta, datetime]]) -> timedelta | None:
    for one, arrival in differences:
        for other, came in differences:
            if timedelta(0) <= other - one <= TOLERANCE and came - other != arrival - one:
                return one
    return None


def test_absurd_datetimes_without_end_do_not_push_out_what_agrees() -> None:
    """They are the smallest of their stretch, and each is alone."""
    clocks = ClockDifferences()
    measure(clocks, NOON, SECOND)
    measure(clocks, NOON + SECOND, SECOND)
    for number in range(2, 40):
        assert measure(clocks, NOON + number * SECOND, -number * 10 * MINUTE) == SECOND


def test_what_is_kept_is_all_that_a_restart_needs() -> None:
    """Loaded back it says the same; and few of many requests are kept."""
    kept: list[tuple[str, int, int]] = []
    clocks = ClockDifferences(lambda *measurement: kept.append(measurement))
    for number in range(2000):
        measure(clocks, NOON + number * SECOND / 2, (number % 17) * SECOND / 7)
    assert len(kept) < 200
    again = ClockDifferences()
    for measurement in kept:
        again.load(*measurement, TOLERANCE)
    later = NOON + 1000 * SECOND
    assert again.current("A", later, TOLERANCE) == clocks.current("A", later, TOLERANCE) == timedelta(0)


def test_titles_without_end_and_requests_without_end_cost_no_memory() -> None:
    """Any sender may call itself what it likes, and stamp what it likes."""
    clocks = ClockDifferences()
    for number in range(3 * MOST_DEVICES):
        measure(clocks, NOON, timedelta(0), device=f"A{number}")
        assert len(clocks._devices) <= MOST_DEVICES
    for number in range(5000):
        measure(clocks, NOON + number * MINUTE, -(number % 1000) * SECOND)
    stretches = clocks._devices["A"].stretches
    assert len(stretches) <= DAY.total_seconds() / KEPT_SECONDS + 2
    assert all(len(kept) <= KEPT_MEASUREMENTS for kept in stretches.values())
