"""Reads what a topic holds of a store, and of the stores that it was restored from."""

import sys
from collections.abc import Iterator, Mapping
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


class PublishedRecord(NamedTuple):
    """A record as it stands in a partition.

    Attributes:
        record: kafka-python's ConsumerRecord.
        position: in the store that published it; 0 where that store does not count.
        upto: up to which position that store counts.
    """

    record: Any
    headers: Mapping[str, bytes]
    position: int
    upto: int

    @property
    def beyond(self) -> bool:
        """Whether a former store published it after the backup."""
        return self.position > self.upto


class TopicReader:
    """Reads the first partitions of one topic; a context manager. What cannot be read is a KafkaError.

    Args:
        ancestors: stores that count beside the own one, each up to a position, as `RelayView.ancestors`.

    Attributes:
        begins, ends: by partition: the first offset that the broker has, and the one after the last record.
        partitions: what the barriers read so far say at last of how many are in use, or None.
    """

    def __init__(
        self, kafka: KafkaSettings, topic: str, count: int, store_id: str, ancestors: Mapping[str, int] | None = None
    ) -> None:
        self._consumer = connected(KafkaConsumer, kafka.consumer())
        self._upto = {store.encode(): upto for store, upto in {**(ancestors or {}), store_id: sys.maxsize}.items()}
        self.partitions: Partitions | None = None
        self._places = {part: TopicPartition(topic, part) for part in range(count)}
        try:
            places = list(self._places.values())
            begins, ends = self._consumer.beginning_offsets(places), self._consumer.end_offsets(places)
        except BaseException:
            self._consumer.close()
            raise
        self.begins = {part: begins[place] for part, place in self._places.items()}
        self.ends = {part: ends[place] for part, place in self._places.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def records(
        self, starts: Mapping[int, int] | None = None, ends: Mapping[int, int] | None = None
    ) -> Iterator[PublishedRecord]:
        """Every record of each partition from an offset to before another, the relay's barriers left out.

        Ends by the consumer's position, not by the arrival of a record: the last offset may be a control record, or
        nothing at all.
        """
        consumer, ends = self._consumer, {**self.ends, **(ends or {})}
        first = {part: max((starts or {}).get(part, 0), begin) for part, begin in self.begins.items()}
        places = {part: place for part, place in self._places.items() if first[part] < ends[part]}
        consumer.assign(list(places.values()))
        for part, place in places.items():
            consumer.seek(place, first[part])
        while places:
            for place, records in consumer.poll(timeout_ms=POLL_MS).items():
                for record in records:
                    if record.offset < ends[place.partition] and (found := self._found(record)) is not None:
                        yield found
            for part in [part for part, place in places.items() if consumer.position(place) >= ends[part]]:
                consumer.pause(places.pop(part))

    def _found(self, record: Any) -> PublishedRecord | None:
        headers = dict(record.headers)
        upto = self._upto.get(headers.get(STORE, b""))
        if upto is None:
            return PublishedRecord(record, headers, 0, 0)
        if POSITION in headers:
            return PublishedRecord(record, headers, int(headers[POSITION]), upto)
        if PARTITIONS in headers:
            said = Partitions.parse(headers[PARTITIONS].decode())
            self.partitions = max(self.partitions or said, said, key=lambda each: each.epochs[-1])
        return None

    def tail(
        self, starts: Mapping[int, int], barriers: Mapping[int, int]
    ) -> tuple[dict[int, PartitionCheckpoint], list[int]]:
        """The highest own position of each partition before its barrier, and the positions of records beyond the backup.

        A restored store's events have been published under the id of the store that the backup was made of: what that one published
        up to the backup counts as own. What it published later says that everything up to the backup is there.

        Args:
            starts: as of `records`.
            barriers: the barrier's offset, by partition.
        """
        beyond: list[int] = []
        highest = {part: PartitionCheckpoint(offset + 1) for part, offset in barriers.items()}
        for found in self.records(starts, barriers):
            part, position, event_id = found.record.partition, found.position, found.headers.get("ce_id", b"").decode()
            if found.beyond:
                beyond.append(position)
                position, event_id = found.upto, ""
            if position > highest[part].position:
                highest[part] = highest[part]._replace(position=position, event_id=event_id)
        return highest, beyond


@contextmanager
def readable(what: str) -> Iterator[None]:
    """What the library raises while something of Kafka is read is a RelayError."""
    try:
        yield
    except kafka_errors.KafkaError as error:
        raise RelayError(f"{what} cannot be read: {one_line(error)}") from error
