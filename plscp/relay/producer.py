"""How records become Kafka's: their headers, the producer, and what was handed to it and is not acknowledged yet.

The producer is kafka-python's, with what order and speed need of it. Pinned to 3.0, since it reaches inside.
"""

import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from kafka import KafkaProducer, TopicPartition
from kafka import errors as kafka_errors

from plscp.records.parts import BARRIER, PARTITIONS, POSITION, STORE
from plscp.relay.clients import connected
from plscp.relay.cursor import PartitionCheckpoint, Partitions
from plscp.relay.settings import KafkaSettings
from plscp.store.relay_view import Record

Headers = list[tuple[str, bytes]]

LINGER_MS: Final = 5
"""Under backlog only: fuller batches."""
REDUCED: Final = ("reduced", b"too-large")


class Envelope:
    """Makes the CloudEvents headers (binary mode on Kafka) of the records of one store; each list is the caller's own."""

    def __init__(self, store_id: str) -> None:
        self._store = (STORE, store_id.encode())
        self._source = ("ce_source", f"/plscp/{store_id}".encode())
        self._types: dict[str, Headers] = {}

    def headers(self, record: Record) -> Headers:
        """The headers of a record."""
        position, _, _, kind, event_id, subject, occurred, _ = record
        made = self._fixed(kind).copy()
        made.append(("ce_id", event_id.encode()))
        if subject:
            made.append(("ce_subject", subject.encode()))
        if occurred:
            made.append(("ce_time", occurred.encode()))
        made.append((POSITION, b"%d" % position))
        return made

    def barrier(self, run: str, partitions: Partitions | None) -> Headers:
        """The headers of a barrier: no position; consumers skip it. `run` makes this recovery different from others."""
        said = [] if partitions is None else [(PARTITIONS, str(partitions).encode())]
        return [*self._fixed(BARRIER), ("ce_id", run.encode()), *said]

    def _fixed(self, kind: str) -> Headers:
        found = self._types.get(kind)
        if found is None:
            found = self._types[kind] = [
                ("ce_specversion", b"1.0"),
                ("ce_type", kind.encode()),
                self._source,
                ("ce_dataschema", f"urn:plscp:schema:{kind}".encode()),
                ("content-type", b"application/json"),
                self._store,
            ]
        return found


class Producer:
    """One idempotent producer for one topic, of which it is told the name on the broker, the count of partitions and max.message.bytes."""

    def __init__(self, kafka: KafkaSettings, topic: str, count: int, *, largest: int) -> None:
        self._producer = producer = connected(KafkaProducer, kafka.producer(largest=largest))
        self._topic = topic
        self._places = [TopicPartition(topic, part) for part in range(count)]
        self._append = producer._accumulator.append
        self._linger = producer._accumulator.config
        sender = producer._sender
        # It would split a batch that the broker finds too large, and send the halves in an order of its own.
        sender._can_split = lambda *_: False
        self._wake = sender.wakeup

    def barrier(self, value: bytes, headers: Headers, partition: int) -> Any:
        """Hand a record without a key over; its future. Waits until the broker names the topic's partitions."""
        return self._producer.send(self._topic, value=value, headers=headers, partition=partition)

    def send(self, key: bytes, value: bytes, headers: Headers, partition: int) -> Any:
        """Hand a record over, never waiting; its future.

        The relay has done what `KafkaProducer.send` does besides (choosing a partition, measuring, checking types): without
        it a record costs a third less. A barrier must have gone before, so that the partitions are known.
        """
        future, _, new, _ = self._append(self._places[partition], None, key, value, headers)
        if new:  # the batch before it is full; its own linger has begun
            self._wake()
        return future

    def backlog(self, there_is: bool) -> None:
        """Whether more is waiting than one reading of the store brings."""
        self._linger["linger_ms"] = LINGER_MS if there_is else 0

    def end(self) -> None:
        """End it while nothing is at stake; the library's `close` alone does not where records are pending."""
        with contextlib.suppress(kafka_errors.KafkaError):
            self._producer.close(timeout=1)
        self._producer._sender.force_close()


@dataclass(slots=True)
class SentBatch:
    """Records that stand or fall together: those of one partition that the producer put into one batch."""

    handle: object
    first: int
    last: int = 0
    event_id: str = ""
    count: int = 0
    size: int = 0
    done: bool = False
    offset: int = -1


class InFlight:
    """The records of one topic between `send` and acknowledgement.

    Args:
        acknowledged: called on the producer's thread after each batch.
        failed: called on the producer's thread when a batch failed, before anything else is sent: must not return
            where records are at stake, since the producer would go on with the next ones.
    """

    def __init__(self, acknowledged: Callable[[], None], failed: Callable[[BaseException], None]) -> None:
        self._acknowledged, self._failed = acknowledged, failed
        self._open: dict[int, deque[SentBatch]] = {}
        self.records = self.bytes = 0

    def add(self, partition: int, future: Any, position: int, event_id: str, size: int) -> None:
        """A record was handed over; `future` is what `KafkaProducer.send` returned."""
        handle = future._produce_future  # one per batch: a callback per record would cost a quarter of the speed
        queue = self._open.setdefault(partition, deque())
        if not queue or queue[-1].handle is not handle:
            batch = SentBatch(handle, position)
            queue.append(batch)
            handle.add_callback(self._settle, batch)
        else:
            batch = queue[-1]
        batch.last, batch.event_id = position, event_id
        batch.count += 1
        batch.size += size
        self.records += 1
        self.bytes += size

    def _settle(self, batch: SentBatch, result: tuple[int, int, Callable[[int], BaseException] | None]) -> None:
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
