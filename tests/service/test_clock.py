"""The estimated clock difference of a device (contracts section 3)."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from plscp.service.clock import HOUR, MOST_KNOWN, ClockDifferences

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_a_request_alone_says_nothing() -> None:
    """Late and wrong look alike: the first request of the hour has no estimate, the second has."""
    clocks = ClockDifferences()
    assert clocks.before("A", NOON, NOON - 5 * SECOND) is None
    clocks.seen("A", NOON, NOON - 5 * SECOND)
    assert clocks.before("A", NOON + SECOND, NOON - 9 * SECOND) == 5 * SECOND
    assert clocks.before("B", NOON, NOON) is None


def test_a_clock_that_was_set_forward_counts_at_once() -> None:
    """The request's own difference counts where it is the smaller one."""
    clocks = ClockDifferences()
    clocks.seen("A", NOON, NOON)
    assert clocks.before("A", NOON, NOON + 60 * SECOND) == -60 * SECOND


def test_after_an_hour_it_is_not_known_any_more() -> None:
    """Only requests of the last hour count."""
    clocks = ClockDifferences()
    clocks.seen("A", NOON, NOON)
    assert clocks.before("A", NOON + HOUR, NOON + HOUR) == timedelta(0)
    assert clocks.before("A", NOON + HOUR + SECOND, NOON + HOUR + SECOND) is None


@given(st.lists(st.tuples(st.integers(0, 7200), st.integers(-100, 1000)), min_size=1, max_size=40))
def test_it_is_the_smallest_of_the_hour(requests: list[tuple[int, int]]) -> None:
    """The queue of candidates gives what a look at every request would give."""
    clocks = ClockDifferences()
    seen: list[tuple[datetime, timedelta]] = []
    for at, difference in sorted(requests):
        arrival, gap = NOON + at * SECOND, difference * SECOND
        within = [known for when, known in seen if when >= arrival - HOUR]
        expected = min([*within, gap]) if within else None
        assert clocks.before("A", arrival, arrival - gap) == expected
        clocks.seen("A", arrival, arrival - gap)
        seen.append((arrival, gap))


def test_a_device_that_sends_old_times_all_hour_long_costs_no_memory() -> None:
    """Differences that rise with every request: at most one of a second is kept."""
    clocks = ClockDifferences()
    for number in range(20_000):
        clocks.seen("A", NOON + number * SECOND / 1000, NOON)
    assert len(clocks._queues["A"]) == 20
    assert clocks.current("A") == timedelta(0)


def test_titles_without_end_cost_no_memory() -> None:
    """Any sender may call itself what it likes: past a bound all are forgotten."""
    clocks = ClockDifferences()
    for number in range(3 * MOST_KNOWN):
        clocks.seen(f"A{number}", NOON, NOON)
        assert len(clocks._queues) <= MOST_KNOWN
    assert clocks.current(f"A{3 * MOST_KNOWN - 1}") == timedelta(0)
