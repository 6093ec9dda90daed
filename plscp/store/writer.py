"""The one writer: a thread that takes what has queued up, makes it one transaction, and only then delivers the results.

Below the disk's watermark it takes no request, so that what is under way can still be finished and the log can be written.

The writer and the event loop that submits drafts take turns, since one of them at a time can compute: what has queued up is
taken when the loop has nothing more in hand (`CallSoon`), and not as soon as the writer is free. No time window: a loop that rests
says so in its next turn, and a request that comes alone is committed at once (docs/decisions/0053).
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from plscp.errors import StoreBroken, StoreBusy, StoreError, StoreFull, StoreUnavailable
from plscp.logs import log
from plscp.store.corrections import CorrectionDraft
from plscp.store.ledger import SqliteLedger
from plscp.store.limits import StoreLimits
from plscp.store.port import (
    CallSoon,
    ClockMeasured,
    Delivered,
    Draft,
    Failed,
    MessageRefused,
    RequestRecord,
    Result,
)

LOW: Final = "the disk is below its watermark: no request is taken until more is free"


class Watermark:
    """Whether the disk is low: from when less than the watermark is free until a tenth more than it is.

    Args:
        free: asks for the bytes that are free; None: nobody knows.
        least: the watermark in bytes; 0: there is none.
        every: seconds for which an answer holds. A file system that hangs answers late, so this is never asked on an event loop.

    Attributes:
        low: as of the last look.
    """

    def __init__(
        self,
        free: Callable[[], int | None],
        least: int,
        *,
        every: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._free, self._least, self._every, self._clock = free, least, every, clock
        self._next = clock()
        self._lock = threading.Lock()
        self.low = False

    def look(self) -> bool:
        """Whether the disk is low; asks for the free disk when the last answer is too old."""
        with self._lock:
            now = self._clock()
            if not self._least or now < self._next:
                return self.low
            self._next = now + self._every
            free = self._free()
            if free is None:
                return self.low
            if not self.low and free < self._least:
                self.low = True
                log.error("disk-low", free=free, watermark=self._least, what="every request is answered 0213H")
            elif self.low and free >= self._least + self._least // 10:
                self.low = False
                log.warning("disk-recovered", free=free, watermark=self._least)
            return self.low


def _size(draft: Draft) -> int:
    size = 1000
    if isinstance(draft, RequestRecord | MessageRefused):
        size += len(draft.raw)
    if isinstance(draft, RequestRecord):
        size += sum(len(entry.data) for entry in draft.entries)
    elif isinstance(draft, CorrectionDraft):
        size += sum(len(move.assigned) for move in draft.moves)
    return size


def _call_done(batch: Sequence[tuple[Callable[[Result], None], Result]]) -> None:
    for done, result in batch:
        try:
            done(result)
        except Exception:  # a defect with one of them must not keep the others waiting for their answers
            log.exception("internal-error", where="store results")


class Writer:
    """Queues drafts, commits them in batches and delivers the results.

    Args:
        call_soon: reaches the event loop: with the results of a batch, in one call after its commit or failure; and to ask whether
            the loop has more in hand. A writer that is awake while the loop computes fights it for the GIL, and its batches are
            half as large.
        on_fatal: called once, on the writer's thread, when the store cannot be trusted any more: the process must end.
        after_commit: called with the position of the last event, after results were delivered, when it has moved.

    Attributes:
        failure: why nothing is accepted at present, or None.
        measured: told the seconds and drafts of each commit.
    """

    def __init__(
        self,
        ledger: SqliteLedger,
        *,
        call_soon: CallSoon,
        on_fatal: Callable[[StoreError], None],
        after_commit: Callable[[int], None],
        limits: StoreLimits,
        watermark: Watermark,
    ) -> None:
        self._ledger, self._limits, self._watermark = ledger, limits, watermark
        self._call_soon, self._on_fatal, self._after_commit = call_soon, on_fatal, after_commit
        self.measured: Callable[[float, int], None] = lambda _seconds, _drafts: None
        self._queue: deque[tuple[Draft, int]] = deque()
        self._queued_bytes, self._seen = 0, 0
        self._wake = threading.Condition(threading.Lock())
        self._sleeping = self._asked = self._offered = self._closing = False
        self.failure: StoreError | None = None
        self._busy_since = self._refusing_since = self._probe_at = 0.0
        self._lazy: list[Draft] = []
        self._clocks: list[Draft] = []
        self._lazy_until = self._clocks_until = 0.0
        self._in_hand: list[Draft] = []
        self.head = ledger.head
        self._thread = threading.Thread(target=self._run, name="plscp-store-writer", daemon=True)
        self._thread.start()

    def submit(self, draft: Draft) -> None:
        """Queue a draft, or call its `done` with a failure at once."""
        size, ask = _size(draft), False
        with self._wake:
            error = self._refusal(draft, size)
            if error is None:
                self._enqueue(draft, size)
                # A writer that is busy asks for itself when it is done.
                ask = self._sleeping and not self._asked and (len(self._clocks) == 1 or bool(self._queue))
                self._asked = self._asked or ask
        if ask:
            self._call_soon(self._offer)
        elif error is not None and not isinstance(draft, Delivered | ClockMeasured):
            draft.done(Failed(error))

    def _enqueue(self, draft: Draft, size: int) -> None:
        if not isinstance(draft, ClockMeasured):
            self._queue.append((draft, size))
            self._queued_bytes += size
            return
        # These are written once in a while, so that a commit need not write one page more; they may be lost.
        if not self._clocks:
            self._clocks_until = time.monotonic() + self._limits.idle_seconds
        self._clocks.append(draft)

    def _offer(self) -> None:
        """The loop has had a turn: what waits is the writer's if nothing came in this turn, or a batch is full."""
        limits = self._limits
        with self._wake:
            full = len(self._queue) >= limits.batch_drafts or self._queued_bytes >= limits.batch_bytes
            more = len(self._queue) > self._seen and not full and not self._closing
            self._seen = len(self._queue)
            if not more:
                self._asked, self._offered = False, bool(self._queue)
                self._wake.notify()
        if more:
            self._call_soon(self._offer)

    def _refusal(self, draft: Draft, size: int) -> StoreError | None:
        if self._closing:
            broken = self.failure is not None and self.failure.fatal
            return self.failure if broken else StoreUnavailable("the store is closed")
        if isinstance(draft, Delivered):
            return None  # lost, an equal bolus would later be taken for a repeat: these always fit
        if self.failure is not None:
            return self.failure
        if self._watermark.low and isinstance(draft, RequestRecord):
            return StoreFull(LOW)
        limits = self._limits
        if isinstance(draft, ClockMeasured):
            full = len(self._clocks) >= limits.queue_requests
        else:
            full = len(self._queue) >= limits.queue_requests or self._queued_bytes + size > limits.queue_bytes
        return StoreBusy("too many requests wait for the store") if full else None

    def alive(self) -> bool:
        """Whether the writer turns: not ended, and not stuck in one step for longer than `stall_seconds`."""
        since = self._busy_since
        stuck = since and time.monotonic() - since > self._limits.stall_seconds
        return self._thread.is_alive() and not stuck

    def close(self) -> None:
        """Write what is queued, deliver it, and end. Safe to call twice; not from a `done` on the writer's own thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # --- the thread ---

    def _run(self) -> None:
        broken = False
        try:
            while (batch := self._next()) is not None:
                self._busy_since = time.monotonic()
                if batch:
                    if batch := self._without_room(batch):
                        self._step(batch)
                elif self.failure is not None:
                    self._probe()
                else:
                    self._watermark.look()
                self._busy_since = 0.0
        except StoreBroken as error:
            broken = True
            self._break(error)
        except BaseException as error:  # a defect here must not leave devices waiting for an answer
            log.exception("internal-error", where="store writer")
            broken = True
            self._break(StoreBroken(f"the store's writer failed: {type(error).__name__}"))
        finally:
            self._busy_since = 0.0
            try:
                self._ledger.close(broken=broken)
            except StoreError as error:
                log.error("store-failed", error=str(error))

    def _next(self) -> list[Draft] | None:
        """Wait for work: the drafts of the next transaction; an empty list: time for a probe, or a look at the disk; None: the end."""
        look_at = time.monotonic() + self._limits.disk_look_seconds
        with self._wake:
            while True:
                now = time.monotonic()
                left: float | None = None
                if self.failure is not None:
                    if self._closing:
                        return [*self._take_lazy(), *self._take()] or None
                    left = self._probe_at - now
                    if left <= 0:
                        return []
                elif self._queue and not self._offered and not self._closing:
                    if not self._asked:
                        self._asked = True
                        self._wake.release()
                        try:
                            self._call_soon(self._offer)
                        finally:
                            self._wake.acquire()
                        continue
                elif self._queue:
                    batch = self._take()
                    if self._closing or not all(isinstance(draft, Delivered) for draft in batch):
                        return [*self._take_lazy(clocks=self._closing or now >= self._clocks_until), *batch]
                    if not self._lazy:
                        self._lazy_until = now + self._limits.idle_seconds
                    self._lazy += batch
                    continue
                elif self._lazy or self._clocks:
                    due = ((self._lazy, self._lazy_until), (self._clocks, self._clocks_until))
                    left = min(until for some, until in due if some) - now
                    if self._closing or left <= 0:
                        return self._take_lazy()
                elif self._closing:
                    return None
                if self._watermark.low and self.failure is None:
                    if now >= look_at:
                        return []
                    left = look_at - now if left is None else min(left, look_at - now)
                self._sleeping = True
                self._wake.wait(left)
                self._sleeping = False

    def _take(self) -> list[Draft]:
        queue, batch = self._queue, []
        self._offered, self._seen = False, 0
        room, count = self._limits.batch_bytes, self._limits.batch_drafts
        while queue and count and room > 0:
            draft, size = queue.popleft()
            self._queued_bytes -= size
            batch.append(draft)
            room -= size
            count -= 1
        return batch

    def _take_lazy(self, *, clocks: bool = True) -> list[Draft]:
        taken, self._lazy = self._lazy, []
        if clocks:
            taken, self._clocks = taken + self._clocks, []
        return taken

    def _without_room(self, batch: list[Draft]) -> list[Draft]:
        """What of a batch is written although the disk is low: all but requests. Those get their failure."""
        if not self._watermark.look():
            return batch
        requests = [draft for draft in batch if isinstance(draft, RequestRecord)]
        self._deliver(requests, [Failed(StoreFull(LOW))] * len(requests))
        return [draft for draft in batch if not isinstance(draft, RequestRecord)]

    def _step(self, batch: list[Draft]) -> None:
        """One transaction, its results, and what follows a commit; where a member is at fault, one for each."""
        self._in_hand = batch
        began = time.perf_counter()
        try:
            results = self._ledger.write(batch)
        except StoreBroken:
            raise
        except StoreError as error:
            self._refuse(batch, error)
        except Exception:
            self._one_by_one(batch)
        else:
            moved = self.head.position != self._ledger.head.position
            self.head = self._ledger.head
            self.measured(time.perf_counter() - began, len(batch))
            self._deliver(batch, results)
            self._in_hand = []  # they have their results, whatever becomes of what follows
            if moved:
                self._guarded(lambda: self._after_commit(self.head.position))
            try:
                self._ledger.tidy()
            except StoreBroken:
                raise
            except StoreError as error:
                log.warning("store-failed", error=str(error), kind=error.label, where="checkpoint")
        self._in_hand = []

    def _one_by_one(self, batch: list[Draft]) -> None:
        if len(batch) == 1:
            log.exception("internal-error", where="store", draft=type(batch[0]).__name__)
            self._deliver(batch, [Failed(StoreError("the store cannot keep this request"))])
            return
        for index, draft in enumerate(batch):
            if self.failure is not None:
                self._refuse(batch[index:], self.failure)
                return
            try:
                self._step([draft])
            except StoreBroken:
                self._in_hand = [*self._in_hand, *batch[index + 1 :]]
                raise

    def _refuse(self, batch: Sequence[Draft], error: StoreError) -> None:
        """Everything that waits gets its failure; nothing is accepted until a probe succeeds."""
        log.error("store-failed", error=str(error), kind=error.label, requests=len(batch))
        with self._wake:
            self.failure = error
            self._refusing_since = time.monotonic()
            self._probe_at = self._refusing_since + self._limits.probe_seconds
            everything = [*batch, *(draft for draft, _ in self._queue)]
            self._queue.clear()
            self._queued_bytes = 0
            if not self._closing:
                self._lazy += [draft for draft in everything if isinstance(draft, Delivered)]
        self._deliver(everything, [Failed(error)] * len(everything))

    def _probe(self) -> None:
        try:
            self._ledger.probe()
        except StoreBroken:
            raise
        except StoreError as error:
            self.failure = error
            self._probe_at = time.monotonic() + self._limits.probe_seconds
            return
        self._lazy_until = time.monotonic()
        self.failure = None
        log.info("store-recovered", after_seconds=round(time.monotonic() - self._refusing_since, 1))

    def _break(self, error: StoreBroken) -> None:
        log.critical("store-fatal", error=str(error))
        with self._wake:
            self.failure = error
            self._closing = True
            waiting = [*self._in_hand, *(draft for draft, _ in self._queue)]
            self._queue.clear()
        self._deliver(waiting, [Failed(error)] * len(waiting))
        self._guarded(lambda: self._on_fatal(error))

    def _deliver(self, batch: Sequence[Draft], results: Sequence[Result | None]) -> None:
        pairs = [
            (draft.done, result)
            for draft, result in zip(batch, results, strict=True)
            if result is not None and not isinstance(draft, Delivered | ClockMeasured)
        ]
        if pairs:
            self._guarded(lambda: self._call_soon(partial(_call_done, pairs)))

    @staticmethod
    def _guarded(call: Callable[[], object]) -> None:
        """Others' code must not end the writer."""
        try:
            call()
        except Exception:
            log.exception("internal-error", where="store results")
