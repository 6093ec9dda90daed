"""What was handed to a producer and is not acknowledged yet, batch by batch."""

from collections import deque
from collections.abc import Callable
from typing import Any

from plscp.publish.cursor import PartitionCheckpoint


class Batch:
    """Records that stand or fall together: those of one partition that the producer put into one batch."""

    __slots__ = ("count", "done", "event_id", "first", "handle", "last", "offset", "size")

    def __init__(self, handle: object, first: int) -> None:
        self.handle = handle
        self.first = self.last = first
        self.event_id = ""
        self.count = self.size = 0
        self.done, self.offset = False, -1


class InFlight:
    """The records of one topic between `send` and acknowledgement.

    Args:
        acknowledged: called on the producer's thread after each batch.
        failed: called on the producer's thread when a batch failed, before anything else is sent: must not return
            where records are at stake, since the producer would go on with the next ones.
    """

    def __init__(self, acknowledged: Callable[[], None], failed: Callable[[BaseException], None]) -> None:
        self._acknowledged, self._failed = acknowledged, failed
        self._open: dict[int, deque[Batch]] = {}
        self.records = self.bytes = 0

    def add(self, partition: int, future: Any, position: int, event_id: str, size: int) -> None:
        """A record was handed over; `future` is what `KafkaProducer.send` returned."""
        handle = future._produce_future  # one per batch: a callback per record would cost a quarter of the speed
        queue = self._open.setdefault(partition, deque())
        if not queue or queue[-1].handle is not handle:
            batch = Batch(handle, position)
            queue.append(batch)
            handle.add_callback(self._settle, batch)
        else:
            batch = queue[-1]
        batch.last, batch.event_id = position, event_id
        batch.count += 1
        batch.size += size
        self.records += 1
        self.bytes += size

    def _settle(self, batch: Batch, result: tuple[int, int, Callable[[int], BaseException] | None]) -> None:
        offset, _, errors = result
        if errors is not None:
            self._failed(errors(0))
            return
        batch.offset, batch.done = offset, True
        self._acknowledged()

    def reap(self, checkpoints: dict[int, PartitionCheckpoint]) -> int:
        """Take what is acknowledged out, in order; partition checkpoints move on. Returns how many records."""
        count = 0
        for partition, queue in self._open.items():
            while queue and queue[0].done:
                batch = queue.popleft()
                count += batch.count
                self.bytes -= batch.size
                # A broker that had it already may not say where: the checkpoint's offset stays, which costs only reading.
                after = batch.offset + batch.count if batch.offset >= 0 else 0
                before = checkpoints.get(partition, PartitionCheckpoint())
                checkpoints[partition] = PartitionCheckpoint(max(after, before.next_offset), batch.last, batch.event_id)
        self.records -= count
        return count

    def lowest(self) -> int | None:
        """The lowest position that is not acknowledged, or None."""
        return min((queue[0].first for queue in self._open.values() if queue), default=None)
