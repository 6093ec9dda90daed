"""One topic's way to Kafka: recovery at a barrier, then record after record in the store's order."""

import contextlib
import os
import threading
import time
import uuid
from typing import Final, NamedTuple, NoReturn

from kafka import errors as kafka_errors
from kafka.record.default_records import DefaultRecordBatchBuilder

from plscp.errors import RelayError
from plscp.logs import log
from plscp.records.parts import BARRIER, RelayStarted, reduced
from plscp.relay.cluster import TopicState, one_line
from plscp.relay.cursor import Cursor, PartitionCheckpoint, Partitions, TopicCursor
from plscp.relay.producer import REDUCED, Envelope, InFlight, Producer
from plscp.relay.settings import RelaySettings
from plscp.relay.tail import TopicReader
from plscp.store.relay_view import Record, RelayView

EXIT_UNKNOWN: Final = 70
"""A record failed: unknown whether it is written."""
EXIT_STALLED: Final = 71
"""Nothing was acknowledged for too long although the broker answers."""
EXIT_CHANGED: Final = 72
"""A topic is not the one that it was: recover."""
READ_AT_ONCE_RECORDS: Final = 500
SIZE_OF: Final = DefaultRecordBatchBuilder.estimate_size_in_bytes
"""At least the bytes that a batch of this one record takes."""
SAVE_SECONDS: Final = 0.5
LAST_WORDS_SECONDS: Final = 2.0


def longer(pause: float) -> float:
    """The next pause between two tries, seconds: doubling from a quarter to five."""
    return min(max(pause * 2, 0.25), 5.0)


class TopicRefused(Exception):
    """The topic does not take anything now; nothing of it is under way. `str()` is one line."""


class OlderStore(Exception):
    """Kafka holds what the store does not: the store is older than what it published. `str()` is one line."""


class Shared:
    """What the publishers of one process have in common.

    Attributes:
        halted: why nothing may be published any more, or empty.
        poke: a pipe: a byte in it says that a status line is due.
    """

    def __init__(self, settings: RelaySettings, cursor: Cursor) -> None:
        self.settings, self.cursor, self.store_id = settings, cursor, cursor.store_id
        self.envelope = Envelope(self.store_id)
        self.halted = ""
        self.poke = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._attempted: set[str] = set()
        self._gate = threading.Event()
        self._dying = threading.Lock()

    def changed(self) -> None:
        """A status line is due."""
        with contextlib.suppress(BlockingIOError):
            os.write(self.poke[1], b".")

    def attempted(self, name: str) -> None:
        """The topic's publisher was looked at."""
        self._attempted.add(name)
        if len(self._attempted) == len(self.settings.topics):
            self._gate.set()

    def recovered(self, name: str) -> None:
        """Return when the topic's publisher, which knows where to go on, may publish.

        Nothing is published before every topic was looked at: one of them may show that the store is too old.
        Raises OlderStore: nothing may be published.
        """
        self.attempted(name)
        self._gate.wait(self.settings.gate_seconds)
        if self.halted:
            raise OlderStore(self.halted)

    def halt(self, why: str) -> None:
        """The store is older than what it published: nothing may be published any more."""
        if not self.halted:
            self.halted = why
            self._gate.set()
            log.error("relay-halted", why=why, what="the store is older than what it published: nothing is published")

    def die(self, code: int, why: str) -> NoReturn:
        """End the process now: nothing more may be sent by anyone."""
        with self._dying:
            last = threading.Timer(LAST_WORDS_SECONDS, os._exit, (code,))  # should nobody take what is logged
            last.daemon = True
            last.start()
            log.warning("relay-restarts", why=why, code=code)
            os._exit(code)


class Progress(NamedTuple):
    """How far a publisher is.

    Attributes:
        base: every record of the topic up to this position is acknowledged.
        done: how many records above it are acknowledged, or were there already.
    """

    base: int = 0
    done: int = 0


class TopicPublisher:
    """One topic.

    Attributes:
        state: ``starting``, ``waiting``, ``recovering``, ``running`` or ``halted``.
        why: why it waits or is halted, one line; empty otherwise.
        low: every record of the topic with a lower position is acknowledged.
        reached: up to which position of the store it has handed over.
        progress: from where on records count as pending, and how many of them do no longer.
        again: not to be tried before this time (monotonic, seconds).
        published: counts by outcome since the process started.
    """

    def __init__(self, name: str, shared: Shared) -> None:
        self.name, self.topic = name, shared.settings.kafka.topic(name)
        self._shared = shared
        self.state, self.why = "starting", ""
        known = shared.cursor.topic(self.topic)
        self.low = known.low if known else 1
        self.reached = 0
        self.progress = Progress(self.low - 1)
        self.published = {"acknowledged": 0, "reduced": 0}
        self.topic_id, self.partitions = "", Partitions.fixed(1)
        self.in_flight = InFlight(self._wake, self._lost)
        self.since = time.monotonic()
        self._event = threading.Event()
        self._news = True
        self._crowded = False
        self._checkpoints: dict[int, PartitionCheckpoint] = {}
        self._at_stake = False
        self._saved = (0.0, 0)
        self.again, self._pause = 0.0, 0.0
        self._said = ""

    # --- what the relay calls ----------------------------------------------------------------------------------------

    def wake(self) -> None:
        """The store has more."""
        self._news = True
        self._event.set()

    def keep(self) -> None:
        """Write the cursor now, from another thread: what is read in the middle of a change is older, never wrong."""
        if self.state == "running":
            with contextlib.suppress(RelayError):
                self._save()

    def stalled(self, seconds: float) -> bool:
        """Whether something is under way and nothing was acknowledged for so long."""
        return self.in_flight.records > 0 and time.monotonic() - self.since > seconds

    def wait(self, why: str) -> None:
        """It cannot go on for now; said once per cause."""
        self._pause = longer(self._pause)
        self.again = time.monotonic() + self._pause
        if why != self._said:
            self._said = why
            log.warning("relay-topic-waits", topic=self.topic, why=why)
        self._shared.attempted(self.name)
        self._now("waiting", why)

    def run(self, found: TopicState) -> None:
        """Recover and publish until the topic refuses or the process ends; the body of a thread."""
        self._now("recovering")
        producer = None
        source = RelayView.open(self._shared.settings.store_url)
        try:
            producer = Producer(self._shared.settings.kafka, self.topic, found.partitions, largest=found.largest)
            self._recover(producer, found, source)
            self._shared.recovered(self.name)
            self._publish(producer, found.largest, source)
        except OlderStore as error:
            self._shared.halt(str(error))
            self._now("halted", str(error))
        except Exception as error:
            if self._at_stake:
                self._lost(error)
            self.wait(str(error) if isinstance(error, (TopicRefused, RelayError)) else one_line(error))
        finally:
            source.close()
            if producer is not None:
                producer.end()

    def _now(self, state: str, why: str = "") -> None:
        self.state, self.why = state, why
        self._shared.changed()

    # --- recovery ----------------------------------------------------------------------------------------------------

    def _recover(self, producer: Producer, found: TopicState, source: RelayView) -> None:
        """Contract section 5: barrier, read to it, then each partition's own highest position counts."""
        known = self._shared.cursor.topic(self.topic)
        plan = known.partitions if known else Partitions.fixed(found.partitions)
        before = known.checkpoints if known else {}
        again = known is not None and known.topic_id not in {"", found.topic_id}
        _refuse_fewer(found, plan)
        barriers = self._barriers(producer, plan, count_known=known is not None)
        starts = {} if again else {part: checkpoint.next_offset for part, checkpoint in before.items()}
        shorter = sorted(part for part, offset in barriers.items() if offset < starts.get(part, 0))
        starts |= dict.fromkeys(shorter, 0)
        kafka = self._shared.settings.kafka
        with TopicReader(kafka, self.topic, len(barriers), source.store_id, source.ancestors()) as reader:
            tail, beyond = reader.tail(starts, barriers)
        if known is None and reader.partitions is not None:
            plan = reader.partitions
            _refuse_fewer(found, plan)
        if again or shorter:
            why = "it was made again" if again else "it is shorter than it was"
            log.warning("relay-topic-changed", topic=self.topic, why=why, partitions=shorter)
        # The cursor's position counts where the partition holds nothing higher (made again, cut off, retention).
        self._checkpoints = {
            part: before[part]._replace(next_offset=read.next_offset)
            if part in before and before[part].position > read.position
            else read
            for part, read in tail.items()
        }
        self._compare(source)
        lowest = min(self._checkpoints[part].position for part in range(plan.count)) + 1
        self.low = max(lowest, known.low if known else 0)
        self.topic_id, self.partitions = found.topic_id, plan
        if beyond:
            log.warning("store-restored", topic=self.topic, beyond=len(beyond), highest=max(beyond))
        if known is None:
            self._barriers(producer, plan, count_known=True)
        self._save()
        log.info(
            "relay-recovered",
            topic=self.topic,
            partitions=str(self.partitions),
            highest=max(checkpoint.position for checkpoint in self._checkpoints.values()),
            low=self.low,
            cursor="used" if known else "none",
            taken_by_retention=sorted(
                part for part, at in before.items() if reader.begins.get(part, 0) > at.next_offset
            ),
        )

    def _barriers(self, producer: Producer, plan: Partitions, *, count_known: bool) -> dict[int, int]:
        """Append one barrier per partition; their offsets. They say the count, for the day when the cursor is lost."""
        headers = self._shared.envelope.barrier(uuid.uuid4().hex, plan if count_known else None)
        value = RelayStarted(type=BARRIER, store=self._shared.store_id).encoded()
        futures = {part: producer.barrier(value, headers, part) for part in range(plan.count)}
        deadline = time.monotonic() + self._shared.settings.stall_seconds
        offsets: dict[int, int] = {}
        for part, future in futures.items():
            try:
                offsets[part] = future.get(max(deadline - time.monotonic(), 0.001)).offset
            except kafka_errors.KafkaError as error:
                # A barrier has no position: it does not matter whether it arrives after all.
                raise TopicRefused(f"it does not take a barrier: {one_line(error)}") from error
        return offsets

    def _compare(self, source: RelayView) -> None:
        """The store must know what Kafka holds of it."""
        head = source.head()
        for part, checkpoint in self._checkpoints.items():
            if checkpoint.position > head:
                raise OlderStore(f"{self.topic}/{part} holds position {checkpoint.position}, the store ends at {head}")
            if checkpoint.event_id:
                there = source.records(checkpoint.position - 1, 1, [self.name])
                if not there or there[0][0] != checkpoint.position or there[0][4] != checkpoint.event_id:
                    raise OlderStore(
                        f"{self.topic}/{part} holds another record at position {checkpoint.position} than the store"
                    )

    # --- publication -------------------------------------------------------------------------------------------------

    def _publish(self, producer: Producer, largest: int, source: RelayView) -> None:
        self._said, self._pause = "", 0.0
        self._now("running")
        self.reached = self.low - 1
        self.progress = Progress(self.reached)
        recovered = {part: checkpoint.position for part, checkpoint in self._checkpoints.items()}
        while not self._shared.halted:
            self._settle()
            if (
                not self._news
            ):  # until there is more, or something to keep: what is acknowledged meanwhile is taken over then
                self._event.wait(SAVE_SECONDS if self.in_flight.records or self.low != self._saved[1] else None)
                self._event.clear()
                continue
            self._news = False  # before the store is asked
            head = source.head()
            highest = source.bounds().get(self.name, (0, 0))[1] if head > self.reached else 0
            records = source.records(self.reached, READ_AT_ONCE_RECORDS, [self.name]) if highest > self.reached else ()
            backlog = len(records) == READ_AT_ONCE_RECORDS
            producer.backlog(backlog)
            for record in records:
                position = record[0]
                partition = self.partitions.of(position, record[2])
                if position > recovered.get(partition, 0):
                    self._room()
                    self._send(producer, record, partition, largest)
                else:
                    self._done(1)
                self.reached = position
            if backlog:
                self._news = True
            else:
                self.reached = max(self.reached, head)
        raise OlderStore(self._shared.halted)

    def _send(self, producer: Producer, record: Record, partition: int, largest: int) -> None:
        position, _, text, _, event_id, _, _, value = record
        key = text.encode()
        headers = self._shared.envelope.headers(record)
        length = len(value) + 1024
        if length + len(key) > largest // 2:
            length = SIZE_OF(key, value, headers)
            if length > largest:
                value = reduced(value, position)
                headers.append(REDUCED)
                length = SIZE_OF(key, value, headers)
                self.published["reduced"] += 1
                log.warning("relay-record-reduced", topic=self.topic, position=position, bytes=len(record[7]))
        if not self.in_flight.records:
            self.since = time.monotonic()
        self._at_stake = True
        future = producer.send(key, value, headers, partition)
        self.in_flight.add(partition, future, position, event_id, length)

    def _room(self) -> None:
        """Wait until more may be handed over."""
        in_flight, limits = self.in_flight, self._shared.settings
        self._crowded = True  # before it is looked: an acknowledgement now wakes
        while in_flight.records >= limits.in_flight_records or in_flight.bytes >= limits.in_flight_bytes:
            self._settle()
            if in_flight.records >= limits.in_flight_records or in_flight.bytes >= limits.in_flight_bytes:
                self._event.wait()
                self._event.clear()
        self._crowded = False

    def _settle(self) -> None:
        """Take over what is acknowledged, and keep it now and then."""
        count = self.in_flight.reap(self._checkpoints)
        if count:
            self.since = time.monotonic()
            self.published["acknowledged"] += count
            self._done(count)
        lowest = self.in_flight.lowest()
        self.low = self.reached + 1 if lowest is None else lowest
        at, low = self._saved
        if self.low != low and time.monotonic() - at >= SAVE_SECONDS:
            with contextlib.suppress(RelayError):  # an older cursor costs only reading
                self._save()

    def _done(self, count: int) -> None:
        self.progress = self.progress._replace(done=self.progress.done + count)

    def _save(self) -> None:
        known = TopicCursor(self.topic_id, self.partitions, self.low, dict(self._checkpoints))
        self._saved = (time.monotonic(), self.low)
        self._shared.cursor.save(self.topic, known)

    def _wake(self) -> None:
        """On the producer's thread, after each batch: to wake this publisher for it would cost more than the batch did."""
        if self._crowded:
            self._event.set()

    def _lost(self, error: BaseException) -> NoReturn:
        """On the producer's thread or its own: a failed record means unknown, never "not written"."""
        self._shared.die(EXIT_UNKNOWN, f"{self.topic}: {one_line(error)}")


def _refuse_fewer(found: TopicState, plan: Partitions) -> None:
    if found.partitions < plan.count:
        raise TopicRefused(f"it has {found.partitions} partitions, fewer than the {plan.count} in use")
