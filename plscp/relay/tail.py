"""Reads what a partition holds of the own store, from an offset to a barrier."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors

from plscp.errors import RelayError
from plscp.records.parts import PARTITIONS, POSITION, STORE
from plscp.relay.clients import connected
from plscp.relay.cluster import one_line
from plscp.relay.cursor import PartitionCheckpoint, Partitions
from plscp.relay.settings import KafkaSettings

POLL_MS = 200
Headers = Mapping[str, bytes]


class Lineage:
    """Whose records count for a store: its own, and those of the stores that it was restored from, up to the backup.

    Args:
        ancestors: as `RelayView.ancestors`.
    """

    def __init__(self, store_id: str, ancestors: Mapping[str, int]) -> None:
        self._upto = {store.encode(): upto for store, upto in {**ancestors, store_id: sys.maxsize}.items()}

    def upto(self, headers: Headers) -> int | None:
        """Up to which position the store of a record counts; None: it is none of these."""
        return self._upto.get(headers.get(STORE, b""))

    def is_beyond(self, headers: Headers) -> bool:
        """Whether a record is one that a former store published after the backup."""
        upto = self.upto(headers)
        return upto is not None and POSITION in headers and int(headers[POSITION]) > upto


class Tail(NamedTuple):
    """What was read of a topic.

    Attributes:
        checkpoints: by partition: the offset after its barrier, and the highest own position before.
        begins: by partition: the first offset that the broker still has.
        partitions: what the own barriers before these say at last, or None.
        beyond: positions of records that a store which this one was restored from published after the backup.
    """

    checkpoints: Mapping[int, PartitionCheckpoint]
    begins: Mapping[int, int]
    partitions: Partitions | None
    beyond: Sequence[int] = ()


class Reader:
    """A consumer of given partitions of one topic; a context manager. What cannot be read is a KafkaError."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._consumer = connected(KafkaConsumer, kafka.consumer())
        self._topic = topic

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def bounds(self, parts: list[int]) -> tuple[dict[int, int], dict[int, int]]:
        """(first offset that is there, offset after the last record) by partition."""
        places = [TopicPartition(self._topic, part) for part in parts]
        begins = self._consumer.beginning_offsets(places)
        ends = self._consumer.end_offsets(places)
        return {place[1]: at for place, at in begins.items()}, {place[1]: at for place, at in ends.items()}

    def records(self, spans: Mapping[int, tuple[int, int]]) -> Iterator[Any]:
        """Every record of each partition from an offset to before another.

        Ends by the consumer's position, not by the arrival of a record: the last offset may be a control record, or
        nothing at all.

        Args:
            spans: by partition: (first offset, end offset).
        """
        consumer = self._consumer
        places = {part: TopicPartition(self._topic, part) for part, (first, end) in spans.items() if first < end}
        if not places:
            return
        consumer.assign(list(places.values()))
        for part, place in places.items():
            consumer.seek(place, spans[part][0])
        while places:
            for place, records in consumer.poll(timeout_ms=POLL_MS).items():
                end = spans[place.partition][1]
                for record in records:
                    if record.offset < end:
                        yield record
            done = [part for part, place in places.items() if consumer.position(place) >= spans[part][1]]
            for part in done:
                consumer.pause(places.pop(part))


@contextmanager
def readable(what: str) -> Iterator[None]:
    """What the library raises while something of Kafka is read is a RelayError."""
    try:
        yield
    except kafka_errors.KafkaError as error:
        raise RelayError(f"{what} cannot be read: {one_line(error)}") from error


def read_tail(
    kafka: KafkaSettings, topic: str, lineage: Lineage, starts: Mapping[int, int], barriers: Mapping[int, int]
) -> Tail:
    """The highest own position of each partition from an offset to its barrier.

    A restored store's events have been published under the id of the store that the backup was made of: what that one published
    up to the backup counts as own. What it published later says that everything up to the backup is there.

    Args:
        starts: by partition: offset to read from; below what the broker still has: from its first.
        barriers: by partition: the barrier's offset.
    """
    beyond: list[int] = []
    highest = {part: PartitionCheckpoint(offset + 1) for part, offset in barriers.items()}
    said: Partitions | None = None
    with Reader(kafka, topic) as reader:
        begins, _ = reader.bounds(sorted(barriers))
        spans = {part: (max(starts.get(part, 0), begins[part]), offset) for part, offset in barriers.items()}
        for record in reader.records(spans):
            headers = dict(record.headers)
            upto = lineage.upto(headers)
            if upto is None:
                continue
            if POSITION in headers:
                position, event_id = int(headers[POSITION]), headers["ce_id"].decode()
                if position > upto:
                    beyond.append(position)
                    position, event_id = upto, ""
                checkpoint = highest[record.partition]
                if position > checkpoint.position:
                    highest[record.partition] = PartitionCheckpoint(checkpoint.next_offset, position, event_id)
            elif PARTITIONS in headers:
                barrier = Partitions.parse(headers[PARTITIONS].decode())
                said = barrier if said is None else max(said, barrier, key=lambda each: each.epochs[-1])
    return Tail(highest, begins, said, beyond)
