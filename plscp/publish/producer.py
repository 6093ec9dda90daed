"""The relay's producer: kafka-python's, with what order and speed need of it. Pinned to 3.0, since it reaches inside."""

import contextlib

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from plscp.publish.clients import connected
from plscp.publish.settings import KafkaSettings

LINGER_MS = 5
"""Under backlog only: fuller batches."""


class Producer:
    """One idempotent producer for one topic.

    Args:
        largest: the topic's max.message.bytes.
    """

    def __init__(self, kafka: KafkaSettings, *, largest: int) -> None:
        self._producer = producer = connected(KafkaProducer, kafka.producer(largest=largest))
        self._linger = producer._accumulator.config
        sender = producer._sender
        # It would split a batch that the broker finds too large, and send the halves in an order of its own.
        sender._can_split = lambda *_: False
        # The relay has measured the record itself, and measuring costs a tenth of sending.
        producer._estimate_size_in_bytes = lambda *_: 0
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
        self.send = producer.send

    def backlog(self, there_is: bool) -> None:
        """Whether more is waiting than one reading of the store brings."""
        self._linger["linger_ms"] = LINGER_MS if there_is else 0

    def end(self) -> None:
        """End it while nothing is at stake; the library's `close` alone does not where records are pending."""
        with contextlib.suppress(kafka_errors.KafkaError):
            self._producer.close(timeout=1)
        self._producer._sender.force_close()
