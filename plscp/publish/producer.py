"""The relay's producer: kafka-python's, with what order and speed need of it. Pinned to 3.0, since it reaches inside."""

import contextlib
from typing import Any

from kafka import KafkaProducer, TopicPartition
from kafka import errors as kafka_errors

from plscp.publish.clients import connected
from plscp.publish.envelope import Headers
from plscp.publish.settings import KafkaSettings

LINGER_MS = 5
"""Under backlog only: fuller batches."""


class Producer:
    """One idempotent producer for one topic.

    Args:
        topic: its name on the broker.
        count: its partitions.
        largest: its max.message.bytes.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, count: int, *, largest: int) -> None:
        self._producer = producer = connected(KafkaProducer, kafka.producer(largest=largest))
        self._topic = topic
        self._places = [TopicPartition(topic, part) for part in range(count)]
        self._append = producer._accumulator.append
        self._linger = producer._accumulator.config
        sender = producer._sender
        # It would split a batch that the broker finds too large, and send the halves in an order of its own.
        sender._can_split = lambda *_: False
        # One byte wakes the sender's thread; the library writes one per record, and each gives the GIL away.
        woken = False
        run_once, wakeup = sender.run_once, sender.wakeup

        def run() -> None:
            nonlocal woken
            woken = False  # before it looks at what was appended
            run_once()

        def wake() -> None:
            nonlocal woken
            if not woken:
                woken = True
                wakeup()

        sender.run_once, sender.wakeup = run, wake
        self._wake = wake

    def barrier(self, value: bytes, headers: Headers, partition: int) -> Any:
        """Hand a record without a key over; its future. Waits until the broker names the topic's partitions."""
        return self._producer.send(self._topic, value=value, headers=headers, partition=partition)

    def send(self, key: bytes, value: bytes, headers: Headers, partition: int) -> Any:
        """Hand a record over, never waiting; its future.

        The relay has done what `KafkaProducer.send` does besides (choosing a partition, measuring, checking types): without
        it a record costs a third less. A barrier must have gone before, so that the partitions are known.
        """
        future, full, new, _ = self._append(self._places[partition], None, key, value, headers)
        if full or new:
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
