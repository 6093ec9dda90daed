"""What only the writer on a real disk shows: lazy writes, checkpoints, and readers beside it."""

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from plscp.store.limits import StoreLimits
from plscp.store.port import ClockMeasured, Delivered, Filter, Result
from tests.serving import until
from tests.store.contract import Open
from tests.store.drafts import NOW, again, entry, rejected, request, send, stored


def delivered(path: Path) -> int:
    """How many proofs of arrival are on disk."""
    connection: Any = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    found: int = connection.execute("SELECT (SELECT count(*) FROM delivered) + length(delivered) / 16 FROM head").get
    connection.close()
    return found


class Turns:
    """An event loop that has a turn when the test says so: what was to be called in its next turn."""

    def __init__(self) -> None:
        self.calls: deque[Callable[[], None]] = deque()

    def call_soon(self, call: Callable[[], None]) -> None:
        """As the event loop does it: not now."""
        self.calls.append(call)

    def turn(self) -> None:
        """Wait until something is to be called, and call it."""
        until(lambda: self.calls, "something to call")
        self.calls.popleft()()


def test_what_queues_up_is_taken_when_the_loop_has_nothing_more_in_hand(open_sqlite: Open) -> None:
    """Neither a writer that sleeps nor one that comes from a commit starts while drafts still come in."""
    turns = Turns()
    batches: list[int] = []
    results: list[Result] = []

    def submit(count: int) -> None:
        for _ in range(count):
            draft = request()
            draft.done = results.append
            store.submit(draft)

    def committed(_seconds: float, drafts: int) -> None:
        batches.append(drafts)
        if len(batches) == 1:
            submit(2)  # these wait when the writer comes from its commit

    store = open_sqlite(call_soon=turns.call_soon)
    store.measure(committed)
    submit(3)
    turns.turn()
    submit(1)
    turns.turn()
    assert batches == []
    turns.turn()
    turns.turn()
    assert len(results) == 4
    turns.turn()
    submit(5)
    turns.turn()
    assert batches == [4]
    turns.turn()
    turns.turn()
    assert batches == [4, 7]
    assert len(results) == 11


def test_a_full_batch_does_not_wait_for_the_loop_to_rest(open_sqlite: Open) -> None:
    """In count or in bytes: one turn of the loop is enough."""
    for limits in (StoreLimits(batch_drafts=3), StoreLimits(batch_bytes=3000)):
        turns = Turns()
        store = open_sqlite(call_soon=turns.call_soon, limits=limits)
        results: list[Result] = []
        for _ in range(3):
            draft = request()
            draft.done = results.append
            store.submit(draft)
        turns.turn()
        turns.turn()
        assert len(results) == 3
        store.close()


def test_requests_without_keys_are_looked_through_as_well(
    open_sqlite: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that is only refused leaves no tail that a start would read again."""
    monkeypatch.setattr("plscp.store.index.MOST_ROWS", 5)
    store = open_sqlite()
    for number in range(6):
        stored(store, request(decision=rejected(), raw=bytes([number])))
    store.close()
    connection: Any = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    assert connection.execute("SELECT indexed FROM head").get == 5
    connection.close()


def test_closing_does_not_wait_for_a_loop_that_has_ended(open_sqlite: Open) -> None:
    """What is queued is written, though nobody calls the writer any more."""
    store = open_sqlite(call_soon=lambda _: None)
    store.submit(request())
    store.close()
    assert store.head()[0] == 1


def test_a_proof_of_arrival_waits_for_someone_elses_commit(open_sqlite: Open, path: Path) -> None:
    """It costs no commit of its own, but is written with the next one."""
    store = open_sqlite(limits=StoreLimits(idle_seconds=3600))
    draft = request()
    stored(store, draft)
    store.submit(Delivered([draft.request_id]))
    assert delivered(path) == 0
    stored(store, request())
    assert delivered(path) == 1


def test_a_proof_of_arrival_is_written_after_a_while(open_sqlite: Open, path: Path) -> None:
    """With nobody else to commit, it is written by itself."""
    store = open_sqlite(limits=StoreLimits(idle_seconds=0.01))
    store.submit(Delivered([request().request_id]))
    until(lambda: delivered(path) == 1, "the proof to be written")


def test_a_proof_of_arrival_survives_a_restart(open_sqlite: Open) -> None:
    """Closing writes it: a repeat after the restart is an event of its own."""
    store = open_sqlite(limits=StoreLimits(idle_seconds=3600))
    draft = request()
    stored(store, draft)
    store.submit(Delivered([draft.request_id]))
    store.close()
    store = open_sqlite()
    repeated = again(draft)
    assert stored(store, repeated).outcome == "added"
    store.close()
    assert stored(open_sqlite(), again(draft)).request_id == repeated.request_id


def clocks(path: Path) -> int:
    """How many clock differences are on disk."""
    connection: Any = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    found: int = connection.execute("SELECT count(*) FROM clocks").get
    connection.close()
    return found


def test_clock_differences_are_written_once_in_a_while(open_sqlite: Open, path: Path) -> None:
    """They cost no commit of their own, and most commits no page: others' commits take them only when it is time."""
    store = open_sqlite(limits=StoreLimits(idle_seconds=3600))
    for number in range(5):
        store.submit(ClockMeasured("HEMO1", NOW + number, 0))
        stored(store, request())
    assert clocks(path) == 0
    store.close()
    assert clocks(path) == 5


def test_clock_differences_are_written_after_a_while(open_sqlite: Open, path: Path) -> None:
    """With nobody else to commit, they are written by themselves, also by a writer that sleeps already."""
    store = open_sqlite(limits=StoreLimits(idle_seconds=0.01))
    for number in range(2):
        store.submit(ClockMeasured("HEMO1", NOW + number, 0))
        until(lambda: clocks(path) == number + 1, "the difference to be written")  # noqa: B023 -- waited for at once


def test_clock_differences_that_nobody_can_write_are_dropped(open_sqlite: Open, path: Path) -> None:
    """No more wait than drafts may; what is beyond is lost, and nothing else is."""
    store = open_sqlite(limits=StoreLimits(idle_seconds=3600, queue_requests=3))
    for number in range(10):
        store.submit(ClockMeasured("HEMO1", NOW + number, 0))
    assert stored(store, request()).position == 1
    store.close()
    store.submit(ClockMeasured("HEMO1", NOW, 0))
    assert clocks(path) == 3


def test_the_log_is_copied_back_and_emptied_at_the_end(open_sqlite: Open, path: Path) -> None:
    """The writer checkpoints at its bound, and closing leaves everything in the database itself."""
    store = open_sqlite(limits=StoreLimits(checkpoint_pages=20))
    log = path.with_name(path.name + "-wal")
    for _ in range(60):
        stored(store, request(raw=b"x" * 5000))
    assert path.stat().st_size > 200_000
    assert log.stat().st_size < 80 * 4096
    store.close()
    assert not log.exists() or log.stat().st_size == 0


def test_a_reader_that_stays_does_not_stop_the_writer(open_sqlite: Open, path: Path) -> None:
    """The log grows while somebody reads an old state, and is copied back when that ends."""
    store = open_sqlite(limits=StoreLimits(checkpoint_pages=5))
    stored(store, request())
    reader: Any = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("BEGIN; SELECT count(*) FROM events").fetchall()
    for _ in range(30):
        stored(store, request(raw=b"x" * 5000))
    assert reader.execute("SELECT count(*) FROM events").get == 1
    grown = path.with_name(path.name + "-wal").stat().st_size
    reader.execute("COMMIT")
    reader.close()
    for _ in range(30):
        stored(store, request(raw=b"x" * 5000))
    assert path.with_name(path.name + "-wal").stat().st_size < 2 * grown
    assert store.first_broken_position() is None


def test_many_threads_read_while_the_writer_writes(open_sqlite: Open) -> None:
    """Each reader sees whole transactions, in order, never a gap."""
    store = open_sqlite()
    wrong: list[object] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            positions = [event.position for event in store.read(Filter(limit=-1))]
            if positions != list(range(1, len(positions) + 1)) or len(positions) % 2:
                wrong.append(positions)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(40):
        send(store, *(request([entry(f"{number} {n}"), entry(f"{number} {n} b", index=1)]) for n in range(3)))
    stop.set()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert store.head()[0] == 240


@pytest.mark.parametrize("stuck", [False, True])
def test_a_writer_that_is_stuck_is_not_alive(open_sqlite: Open, stuck: bool) -> None:
    """Liveness tells a writer that hangs in one step from one that waits for work."""
    entered, leave = threading.Event(), threading.Event()

    def done(_: object) -> None:
        entered.set()
        leave.wait(60)

    draft = request()
    draft.done = done
    store = open_sqlite(limits=StoreLimits(stall_seconds=0.0 if stuck else 3600))
    assert store.alive()
    store.submit(draft)
    assert entered.wait(60)
    assert store.alive() is not stuck
    leave.set()
    until(store.alive, "the writer to turn")
