"""Reading along: the records of plscp's topics as they come, without a consumer group."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from plscp.errors import Unreachable

BOOTSTRAP_MS = 10_000
"""How long a first answer is waited for."""
CONNECT = 5.0
"""Seconds for a connection."""


@dataclass(frozen=True)
class Record:
    """One record as published.

    Attributes:
        key: UTF-8 text, or empty.
        headers: names and values, as text; `position` rises within a partition, `store` names the event store.
        value: the JSON value.
    """

    topic: str
    partition: int
    offset: int
    key: str
    headers: Mapping[str, str]
    value: Any

    @property
    def position(self) -> int | None:
        """Position in its store, or None for the relay's barrier."""
        text = self.headers.get("position", "")
        return int(text) if text else None


def tail(
    bootstrap_servers: Sequence[str], topics: Sequence[str], *, store: str | None = None, going: Callable[[], bool]
) -> Iterator[Record | None]:
    """Read topics from their beginning and go on as records come; each position of a store is given once.

    Args:
        bootstrap_servers: brokers, host:port.
        topics: full names; those that do not exist yet are looked for again.
        store: only records of this store id; None: of every store.
        going: asked about twice a second; False ends the reading.

    Yields:
        Records by partition in order, without the relay's barriers and without repeats (a position that is not above the
        last one of its store and partition); None at least twice a second, so that the caller can do something else.
        Raises Unreachable when no broker answers.
    """
    _knock(bootstrap_servers)
    try:
        consumer = KafkaConsumer(
            bootstrap_servers=list(bootstrap_servers),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            bootstrap_timeout_ms=BOOTSTRAP_MS,
        )
    except KafkaError as error:
        raise Unreachable(f"Kafka does not answer at {', '.join(bootstrap_servers)}: {error}") from error
    assigned: set[TopicPartition] = set()
    pause = threading.Event()
    last: dict[tuple[str, TopicPartition], int] = {}
    try:
        while going():
            found = {
                TopicPartition(topic, partition)
                for topic in topics
                if not any(each.topic == topic for each in assigned)
                for partition in consumer.partitions_for_topic(topic) or ()
            }
            if found:
                assigned |= found
                consumer.assign(sorted(assigned))
                consumer.seek_to_beginning(*sorted(found))
            if not assigned:
                pause.wait(0.1)
            batches = consumer.poll(timeout_ms=200) if assigned else {}
            for partition, records in batches.items():
                for raw in records:
                    record = _record(raw)
                    position, own = record.position, record.headers.get("store", "")
                    if position is None or (store is not None and own != store):
                        continue
                    if position > last.get((own, partition), 0):
                        last[own, partition] = position
                        yield record
            yield None
    finally:
        consumer.close()


def _knock(servers: Sequence[str]) -> None:
    """Fail at once where nobody listens: kafka-python would try for long, and leave its sockets open."""
    why = ""
    for server in servers:
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT).close()
        except (OSError, ValueError) as error:
            why = str(error)
        else:
            return
    raise Unreachable(f"Kafka does not answer at {', '.join(servers)}: {why}")


def _record(raw: Any) -> Record:
    headers = {name: (value or b"").decode("utf-8", "replace") for name, value in raw.headers}
    value = json.loads(raw.value) if raw.value else None
    return Record(raw.topic, raw.partition, raw.offset, (raw.key or b"").decode("utf-8", "replace"), headers, value)
