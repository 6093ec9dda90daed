"""The disk's watermark: no request below it, everything else, and requests again a tenth above it."""

import os
from collections.abc import Callable
from typing import Any

import pytest
import structlog.testing

from plscp.errors import StoreFull
from plscp.store import SqliteStore
from plscp.store.limits import StoreLimits
from plscp.store.port import Delivered, EventStore, Expunge, Failed, Result, Stored
from plscp.store.writer import Watermark
from tests.serving import until
from tests.store.contract import Open
from tests.store.drafts import NOW, again, change, ignore, rejected, request, send, stored

LIMITS = StoreLimits(disk_watermark=1000, disk_look_seconds=0.01)


class Disk:
    """A file system that has as much free as the test says."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.asked = 0

    def __call__(self) -> int:
        self.asked += 1
        return self.free


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """What `SqliteStore` sees as the free disk."""
    disk = Disk(10_000)
    real = os.statvfs

    def statvfs(path: Any) -> Any:
        found = list(real(path))
        found[0], found[1], found[4] = 1, 1, disk()
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", statvfs)
    return disk


@pytest.fixture
def store(open_sqlite: Open, disk: Disk) -> EventStore:
    return open_sqlite(limits=LIMITS)


def outcome(results: list[Result]) -> list[str]:
    return [r.error.label if isinstance(r, Failed) else r.outcome if isinstance(r, Stored) else "?" for r in results]


def test_it_is_low_below_the_watermark_and_well_a_tenth_above() -> None:
    """What is free is asked for once a second at most; each change is said once."""
    disk, now = Disk(1000), [0.0]
    mark = Watermark(disk, 1000, clock=lambda: now[0])
    with structlog.testing.capture_logs() as lines:
        seen = []
        for free in (1000, 999, 1000, 1099, 1100, 1050, 999, 5000):
            disk.free = free
            now[0] += 1
            seen.append(mark.look())
            disk.free = 0 if not mark.low else 9999
            assert mark.look() == seen[-1] == mark.low, "asked again within a second"
    assert seen == [False, True, True, True, False, False, True, False]
    assert disk.asked == 8
    assert [line["event"] for line in lines] == ["disk-low", "disk-recovered"] * 2
    assert (lines[0]["free"], lines[0]["watermark"]) == (999, 1000)


@pytest.mark.parametrize(
    ("free", "least"), [(lambda: None, 1000), (lambda: 0, 0)], ids=["nobody knows", "no watermark"]
)
def test_without_a_watermark_or_an_answer_it_is_never_low(free: Callable[[], int | None], least: int) -> None:
    """A system that does not say what is free is not held against the devices."""
    assert not Watermark(free, least, every=0).look()


def test_requests_are_refused_and_all_else_is_kept(store: EventStore, disk: Disk) -> None:
    """Registry changes, proofs of arrival and retention go in; accepted and refused requests, and retries, do not."""
    first = request()
    stored(store, first)
    assert not store.full()
    disk.free = 999
    until(store.full, "the disk to be low")
    store.submit(Delivered([first.request_id]))
    results = send(
        store,
        request(),
        change("study.opened"),
        again(first),
        request(decision=rejected()),
        Expunge(NOW + 1, NOW + 2, ignore),
    )
    assert outcome(results) == ["store-full", "changed", "store-full", "store-full", "expunged"]
    assert StoreFull.retriable
    assert store.quarantine() == []
    store.probe()  # it is ready: a refusal tells a device more than a connection that is refused
    disk.free = 1099
    assert outcome(send(store, request())) == ["store-full"]
    disk.free = 1100
    until(lambda: not store.full(), "the disk to have room")
    assert outcome(send(store, again(first))) == ["added"], "its answer was known to have arrived"
    assert store.first_broken_position() is None


def test_a_request_after_a_quiet_night_finds_the_disk_as_it_is(open_sqlite: Open, disk: Disk) -> None:
    """The writer looks before it writes, whoever filled the disk meanwhile; it comes back without being asked."""
    store = open_sqlite(limits=LIMITS)
    disk.free = 10
    (result,) = send(store, request())
    assert outcome([result]) == ["store-full"]
    assert store.head() == (0, 0)
    disk.free = 2000
    assert isinstance(store, SqliteStore)
    until(lambda: not store._watermark.low, "the disk to have room")  # no request comes, and nobody asks for the status
    assert stored(store, request()).position == 1
