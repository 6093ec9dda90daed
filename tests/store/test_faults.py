"""Contract section 8, the table of failures: each on a disk that fails at the n-th write or sync, for every n of a scenario."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from plscp.errors import StoreBroken, StoreError, StoreFull, StoreUnavailable
from plscp.store import SqliteStore
from plscp.store.limits import StoreLimits
from plscp.store.port import Accepted, Delivered, Draft, Failed, Filter, RequestRecord, Result, Stored
from tests.serving import until
from tests.store.drafts import again, change, entry, rejected, request, send, stored
from tests.store.faults import Disk, Fault, faulty_disk

LIMITS = StoreLimits(probe_seconds=0.01, checkpoint_pages=3, idle_seconds=0.01)


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A disk that can fail."""
    with faulty_disk("plscp-faulty") as disk:
        yield disk


def _ended(store: SqliteStore) -> bool:
    return not store.alive()


def scenario() -> list[list[Draft]]:
    """A short life of a store: batches of all kinds of drafts."""
    first, refused = request(), request(decision=rejected(), raw=b"y")
    return [
        [change("study.opened"), first],
        [request([entry("a", uid="1.1"), entry("b", index=1)]), request(), refused],
        [Delivered([first.request_id]), again(first), again(refused), request(raw=b"z" * 5000)],
    ]


@pytest.fixture(autouse=True)
def small_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index is written now and then, so that its writes fail, too."""
    monkeypatch.setattr("plscp.store.index.MOST_ROWS", 5)


def play(store: SqliteStore, batches: list[list[Draft]]) -> tuple[list[RequestRecord], list[RequestRecord]]:
    """Send the batches; the requests that were acknowledged as added, and those that failed."""
    good: list[RequestRecord] = []
    bad: list[RequestRecord] = []
    for batch in batches:
        drafts = [draft for draft in batch if not isinstance(draft, Delivered)]
        for draft, result in zip(drafts, send(store, *batch), strict=True):
            assert isinstance(result, Stored | Failed)
            if isinstance(draft, RequestRecord):
                (good if isinstance(result, Stored) else bad).append(draft)
    return good, bad


def check(path: Path, good: list[RequestRecord], bad: list[RequestRecord]) -> None:
    """Opened anew: the chain is whole, every acknowledged entry is there once, every failed one at most once."""
    store = SqliteStore(path)
    try:
        assert store.first_broken_position() is None
        events = store.read(Filter(limit=-1))
        assert [event.position for event in events] == list(range(1, store.head()[0] + 1))
        there = Counter(event.event_id for event in events if event.kind == "entry")
        assert set(there.values()) <= {1}
        for draft in good:
            if isinstance(draft.decision, Accepted):
                assert all(there[f"{draft.request_id}-{e.index}"] for e in draft.entries)
        seen = {draft.identity for draft in good}
        for draft in bad:
            once = {bool(there[f"{draft.request_id}-{e.index}"]) for e in draft.entries}
            assert len(once) == 1, "a request is stored as a whole or not at all"
            if draft.identity not in seen and isinstance(draft.decision, Accepted):
                # Its answer was a failure although it may have been stored: then its repeat is taken for one.
                assert stored(store, again(draft)).outcome == ("retry" if once == {True} else "added")
            seen.add(draft.identity)
    finally:
        store.close()


@pytest.mark.parametrize("fault", ["write-error", "torn-write", "sync-error"])
def test_an_io_error_fails_everything_and_ends_the_store(tmp_path: Path, disk: Disk, fault: Fault) -> None:
    """Whichever write or sync fails, all that waits fails, the owner is told once, and nothing acknowledged is lost."""
    struck = 0
    for n in range(1, 300):
        path = tmp_path / f"{n}.db"
        fatal: list[StoreError] = []
        store = SqliteStore(path, vfs="plscp-faulty", limits=LIMITS, on_fatal=fatal.append)
        disk.arm(fault, n)
        good, bad = play(store, scenario())
        happened = disk.happened
        if happened:
            until(partial(_ended, store), "the writer to end")
            assert [type(error) for error in fatal] == [StoreBroken]
            with pytest.raises(StoreBroken):
                store.probe()
            (late,) = send(store, request())
            assert isinstance(late, Failed)
            assert late.error.fatal
        else:
            assert not bad
            assert not fatal
        disk.mend()
        store.close()
        check(path, good, bad)
        struck += happened
        if not happened:
            break
    else:
        pytest.fail("the scenario has no end")
    assert struck >= 6


def test_a_store_that_takes_requests_again_says_so_once(tmp_path: Path, disk: Disk) -> None:
    """Whoever was called because it failed sees in the log that it is over, and for how long it failed."""
    store = SqliteStore(tmp_path / "s.db", vfs="plscp-faulty", limits=LIMITS)
    with capture_logs() as lines:
        disk.arm("full", 1, lasting=True)
        (failed,) = send(store, request())
        assert isinstance(failed, Failed)
        assert store.refusing() is failed.error
        disk.mend()
        until(lambda: store.refusing() is None, "the store to take requests")
        stored(store, request())
        until(lambda: "store-recovered" in [line["event"] for line in lines], "the line that says so")
    assert [line["event"] for line in lines] == ["store-failed", "store-recovered"]
    assert lines[1]["after_seconds"] >= 0
    store.close()


def test_a_full_disk_fails_requests_and_is_probed(tmp_path: Path, disk: Disk) -> None:
    """Whichever write finds no room: StoreFull, nothing acknowledged is lost, and the store goes on once there is room."""
    failures = 0
    for n in range(1, 300):
        path = tmp_path / f"{n}.db"
        fatal: list[StoreError] = []
        store = SqliteStore(path, vfs="plscp-faulty", limits=LIMITS, on_fatal=fatal.append)
        disk.arm("full", n, lasting=True)
        good, bad = play(store, scenario())
        happened = disk.happened
        if bad:
            (late,) = send(store, request())
            assert isinstance(late, Failed)
            assert isinstance(late.error, StoreFull)
            with pytest.raises(StoreFull):
                store.probe()
            failures += 1
        disk.mend()

        def answers(store: SqliteStore = store) -> bool:
            try:
                store.probe()
            except StoreFull:
                return False
            return True

        until(answers, "an answer that is stored")
        draft = request()
        assert stored(store, draft).outcome == "added"
        assert store.alive()
        assert not fatal
        store.close()
        check(path, [*good, draft], bad)
        if not happened:
            break
    else:
        pytest.fail("the scenario has no end")
    assert failures >= 6


def test_a_full_disk_fails_what_waits_too(tmp_path: Path, disk: Disk) -> None:
    """Everything in the queue gets its failure at once; proofs of arrival are kept and written later."""
    results: list[object] = []
    first = request()

    def submit_more(_: Result) -> None:
        disk.arm("full", 1, lasting=True)  # the writer is busy here, so these wait together
        for late in more:
            store.submit(late)
        store.submit(Delivered([first.request_id]))

    limits = LIMITS._replace(batch_drafts=1)
    store = SqliteStore(tmp_path / "s.db", vfs="plscp-faulty", limits=limits)
    more = [request() for _ in range(3)]
    for late in more:
        late.done = results.append
    first.done = submit_more
    store.submit(first)
    until(lambda: len(results) == 3, "the failures")
    assert all(isinstance(result, Failed) and isinstance(result.error, StoreFull) for result in results)
    disk.mend()
    until(lambda: isinstance(send(store, request())[0], Stored), "the store to take requests")
    assert stored(store, again(first)).outcome == "added"
    store.close()


def test_a_proof_that_comes_while_the_disk_is_full_survives_the_end(tmp_path: Path, disk: Disk) -> None:
    """The disk has room again when the store is closed: an equal bolus after the restart is an event of its own."""
    limits = LIMITS._replace(probe_seconds=3600)
    store = SqliteStore(tmp_path / "s.db", vfs="plscp-faulty", limits=limits)
    first = request()
    stored(store, first)
    disk.arm("full", 1, lasting=True)
    assert isinstance(send(store, request())[0], Failed)
    disk.mend()
    store.submit(Delivered([first.request_id]))
    store.close()
    store = SqliteStore(tmp_path / "s.db")
    assert stored(store, again(first)).outcome == "added"
    store.close()


@pytest.mark.parametrize("count", [1, 3])
def test_what_has_its_result_gets_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """A store that breaks when it copies its log back has answered before: what waits fails, what was stored was stored."""
    store = SqliteStore(tmp_path / "s.db", limits=LIMITS)

    def broken() -> None:
        raise StoreBroken("the log cannot be copied back")

    monkeypatch.setattr(store._writer._ledger, "tidy", broken)
    results: list[list[object]] = [[] for _ in range(count)]
    for told in results:
        draft = request()
        draft.done = told.append
        store.submit(draft)
    until(lambda: _ended(store), "the writer to end")
    store.close()
    assert all(len(told) == 1 for told in results)
    assert isinstance(results[0][0], Stored)


def test_a_locked_database_is_unavailable_and_comes_back(path: Path) -> None:
    """Another program that holds the write lock costs failures, not the process."""
    import apsw  # noqa: PLC0415 -- the other program

    store = SqliteStore(path, limits=LIMITS)
    store._writer._ledger._connection.set_busy_timeout(1)  # the test need not wait for it
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    (result,) = send(store, request())
    assert isinstance(result, Failed)
    assert isinstance(result.error, StoreUnavailable)
    other.execute("ROLLBACK")
    other.close()
    until(lambda: isinstance(send(store, request())[0], Stored), "the store to take requests")
    store.close()
    check(path, [], [])


def test_the_quarantine_leaves_the_last_reserve_of_the_disk(path: Path) -> None:
    """Below the reserve refusals are not kept any more, and say so; what is accepted still is."""
    store = SqliteStore(path, limits=StoreLimits(disk_reserve=1 << 60))
    (refused,) = send(store, request(decision=rejected()))
    assert isinstance(refused, Failed)
    assert isinstance(refused.error, StoreFull)
    assert stored(store, request()).position == 1
    assert store.quarantine() == []
    store.close()
