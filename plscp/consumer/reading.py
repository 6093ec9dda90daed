"""The loop over events: a member of a consumer group that commits after each body and drops repeats."""

import asyncio
import math
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from kafka import KafkaConsumer, errors
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata, TopicPartition

from plscp.consumer.events import Event, Unreadable, decode
from plscp.consumer.positions import Positions
from plscp.errors import Unreachable
from plscp.relay.clients import connected

WAIT_MS: Final = 200
"""How long one poll waits: what `stop` takes at most while the broker answers."""
COMMIT_MS: Final = 10_000
"""How long one commit is tried while the coordinator is away."""
DEFAULTS: Final = {
    "auto_offset_reset": "earliest",
    "max_poll_records": 1,
    "metadata_max_age_ms": 10_000,
    "bootstrap_timeout_ms": 10_000,
    "client_id": "plscp-consumer",
}
"""Where kafka-python's own would lose events (a new group starting at the end), or find a new topic after five minutes."""
BROKEN: Final = (errors.CorruptRecordError, errors.UnsupportedCodecError)
"""What poll raises where it cannot take apart what it has fetched: its checksum, its compression, its texts."""
OUT_OF_GROUP: Final = (
    errors.CommitFailedError,
    errors.IllegalGenerationError,
    errors.RebalanceInProgressError,
    errors.UnknownMemberIdError,
)


def consume(
    bootstrap_servers: str | Sequence[str], *, topics: str | Iterable[str], group: str, **kafka: Any
) -> "Events":
    """The events of topics, each once, as typed objects, in a `for` loop.

    An event counts as handled when the next one is asked for, and is committed before that is handed over. One whose
    body raised, or was left with `break`, comes again; in a `with` block whose end was reached without an exception it does not.

    Args:
        bootstrap_servers: brokers, host:port.
        topics: full names; those that do not exist yet are waited for.
        group: the consumer group; its members share the partitions, and what it has handled is kept for it.
        kafka: further settings as kafka-python's KafkaConsumer names them. `max_poll_records` (1) is how many events are
            committed together: after a crash as many may come again. `consumer_timeout_ms` ends the loop when nothing came
            for so long (never).

    Raises:
        Unreachable: when the first event is asked for: no broker answers.
    """
    idle_seconds = float(kafka.pop("consumer_timeout_ms", math.inf)) / 1000
    config = dict(
        bootstrap_servers=[bootstrap_servers] if isinstance(bootstrap_servers, str) else list(bootstrap_servers),
        group_id=group,
        enable_auto_commit=False,
        allow_auto_create_topics=False,
        key_deserializer=None,
        value_deserializer=None,
        **{**DEFAULTS, **kafka},
    )
    return Events(_Member(config, [topics] if isinstance(topics, str) else list(topics), idle_seconds))


class Events(Iterator[Event | Unreadable]):
    """See `consume`. One that is dropped without `close` leaves the group as well, like the file objects of Python."""

    def __init__(self, member: "_Member") -> None:
        self._member = member
        self._events = member.run()

    def __next__(self) -> Event | Unreadable:
        return next(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._member.handled = kind is None
        self.close()

    def close(self) -> None:
        """Leave the group at once; the event handed over last comes again."""
        self._events.close()

    def stop(self) -> None:
        """End the loop before its next event; may be called from another thread or a signal handler."""
        self._member.stopped.set()


class _Member(ConsumerRebalanceListener):  # type: ignore[misc]
    """The group's member behind `Events`; knows nothing of it, so that nothing but its user keeps an `Events` alive.

    Attributes:
        handled: whether the event handed over last counts although the next one is never asked for.
        stopped: ends the reading.
        joining: begun, and not yet at its end.
        assigned: partitions whose numbers are to be read before their first record is looked at.
    """

    def __init__(self, config: dict[str, Any], topics: Sequence[str], idle_seconds: float) -> None:
        self.handled = False
        self.stopped = threading.Event()
        self._config, self._topics, self._idle_seconds = config, topics, idle_seconds
        self._positions = Positions()
        self._due: dict[TopicPartition, int] = {}
        self.joining = False
        self.assigned: set[TopicPartition] = set()
        self._failed: tuple[TopicPartition, int] | None = None

    # In the client's own thread, while the other one is in `poll`.

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """All that was handled is committed before each poll, and nobody gives partitions away but poll."""
        self.joining = True
        self.assigned -= set(revoked)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Joined."""
        self.joining = False
        self.assigned |= set(assigned)

    # In that of the caller.

    def run(self) -> Generator[Event | Unreadable]:
        """Join when the first event is asked for, and leave at the end, however it comes."""
        try:
            consumer = connected(KafkaConsumer, self._config, quiet=False)
        except KafkaError as error:
            if not error.retriable:
                raise
            servers = ", ".join(self._config["bootstrap_servers"])
            raise Unreachable(f"Kafka does not answer at {servers}: {error}") from error
        try:
            consumer.subscribe(self._topics, listener=self)
            for raw in self._records(consumer):
                place = {"topic": raw.topic, "partition": raw.partition, "offset": raw.offset}
                unread = isinstance(raw, Unreadable)
                found = raw if unread else decode(raw.headers, raw.key, raw.value, **place)
                if found and self._positions.new(found):
                    try:
                        yield found
                    except GeneratorExit:
                        if self.handled:
                            self._done(raw, found)
                        raise
                self._done(raw, found)
        except KafkaError:
            if not self.stopped.is_set():  # else the coordinator was away, and is no longer waited for
                raise
        finally:
            with suppress(KafkaError):  # what cannot be committed now comes again
                self._commit(consumer, once=True)
            consumer.close(timeout_ms=COMMIT_MS)

    def _done(self, raw: Any, found: Event | Unreadable | None) -> None:
        if found:
            self._positions.handled(found)
        self._due[TopicPartition(raw.topic, raw.partition)] = raw.offset + 1

    def _records(self, consumer: Any) -> Iterator[Any]:
        last = time.monotonic()
        while not self.stopped.is_set():
            # Nothing is handed over, and no partition given away, before what was handled is committed.
            self._commit(consumer)
            if self.joining:
                # A poll that ends while the group's leader waits for the answer to its assignment leaves kafka-python
                # thinking that it has joined, without partitions and heartbeats, for good. Asked to join again, it
                # takes up the joining that it left.
                consumer._coordinator.request_rejoin()
            try:
                batches = consumer.poll(timeout_ms=WAIT_MS)
            except BROKEN as error:
                if broken := self._broken(consumer, error):
                    yield broken
                continue
            for partition, records in batches.items():
                if partition in self.assigned:
                    self._begin(consumer, partition)
                for record in records:
                    if self.stopped.is_set():
                        return
                    yield record
            if batches:
                last = time.monotonic()
            elif time.monotonic() - last >= self._idle_seconds:
                return

    def _broken(self, consumer: Any, error: Exception) -> Unreadable | None:
        """What stands where poll failed on what it had fetched; None at first: it is fetched once more.

        Raises:
            error: it was not about what was fetched.
        """
        # The library neither says which partition it was nor gives up what it fetched: its next poll would never end.
        fetched = consumer._fetcher._next_partition_records
        if not fetched:
            raise error
        fetched.drain()
        partition = fetched.topic_partition
        at = (partition, consumer.position(partition))
        if at != self._failed:
            self._failed = at
            return None
        if partition in self.assigned:
            self._begin(consumer, partition)
        consumer.seek(partition, at[1] + 1)
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        return Unreadable(reason, "", partition.topic, partition.partition, at[1])

    def _begin(self, consumer: Any, partition: TopicPartition) -> None:
        """Read what the one that had a partition before committed with its offset."""
        committed = self._while_away(partial(consumer.committed, partition, metadata=True, timeout_ms=COMMIT_MS))
        self._positions.begin(partition.topic, partition.partition, committed.metadata if committed else "")
        self._due.pop(partition, None)
        self.assigned.discard(partition)

    def _commit(self, consumer: Any, *, once: bool = False) -> None:
        while self._due:
            offsets = {
                place: OffsetAndMetadata(offset, self._positions.text(*place), -1)
                for place, offset in self._due.items()
            }
            try:
                self._while_away(partial(consumer.commit, offsets, timeout_ms=COMMIT_MS), once=once)
            except OUT_OF_GROUP:
                pass  # the next poll joins again; a successor, or this process, begins at what was committed
            except errors.OffsetMetadataTooLargeError:
                self._positions.limit //= 2
                continue
            self._due.clear()

    def _while_away(self, ask: Callable[[], Any], *, once: bool = False) -> Any:
        """What the coordinator answers, as soon as there is one; `stop` ends the waiting with an error."""
        while True:
            try:
                return ask()
            except OUT_OF_GROUP:
                raise
            except KafkaError as error:
                if not error.retriable or once or self.stopped.is_set():
                    raise


async def aconsume(
    bootstrap_servers: str | Sequence[str], *, topics: str | Iterable[str], group: str, **kafka: Any
) -> AsyncGenerator[Event | Unreadable, None]:
    """As `consume`, for `async for`: the reading is done in a thread of its own.

    Args, raises: see `consume`. Closing the iterator (`contextlib.aclosing`) leaves the group.
    """
    loop = asyncio.get_running_loop()
    events = consume(bootstrap_servers, topics=topics, group=group, **kafka)
    with ThreadPoolExecutor(1, "plscp-consumer") as thread:
        try:
            # Shielded: asking for the next one says that the last was handled, also where the answer is not waited for.
            while (found := await asyncio.shield(loop.run_in_executor(thread, next, events, None))) is not None:
                yield found
        finally:
            events.stop()
            await asyncio.shield(loop.run_in_executor(thread, events.close))
