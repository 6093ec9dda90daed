"""`plscp verify`: holds the topics against the store, record by record, by the position rule.

What a restored store's predecessor published after the backup is on Kafka, and in no store that goes on: it is named, for people.
"""

import json
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Self

from plscp.errors import RelayError
from plscp.records.parts import STORE
from plscp.relay.cluster import Cluster, TopicState
from plscp.relay.cursor import Partitions, TopicCursor, peek
from plscp.relay.producer import REDUCED
from plscp.relay.settings import RelaySettings
from plscp.relay.tail import PublishedRecord, TopicReader, readable
from plscp.store.relay_view import RelayView

NAMED = 20
"""How many positions of each kind a report names."""


class Beyond(NamedTuple):
    """One record that Kafka holds and the restored store does not.

    Attributes:
        position: in the former store.
        device: calling AE title; empty for registry changes.
        study: Study Instance UID, or empty.
        occurred: ISO 8601 UTC.
    """

    topic: str
    partition: int
    offset: int
    store: str
    position: int
    event_id: str
    type: str
    device: str
    study: str
    occurred: str

    @classmethod
    def of(cls, found: PublishedRecord) -> Self:
        """From what was read."""
        record = found.record
        try:
            value = json.loads(record.value)
        except ValueError:
            value = {}
        sender, study = value.get("sender") or {}, value.get("study") or value.get("change") or {}
        text = {name: content.decode("utf-8", "replace") for name, content in found.headers.items()}
        return cls(
            record.topic,
            record.partition,
            record.offset,
            text[STORE],
            found.position,
            text.get("ce_id", ""),
            text.get("ce_type", ""),
            str(sender.get("ae_title", "")),
            str(study.get("study_instance_uid", "")),
            text.get("ce_time", ""),
        )


@dataclass(slots=True)
class PartitionReport:
    """One partition, up to the store's head when the verification began.

    Attributes:
        expected: records of the store that belong here; of these `not_judged` lie below what the broker still has.
        records: own records read, repeats included.
        missing: positions that are not there; of these `unpublished` are not acknowledged yet by the relay's cursor.
        repeats: positions read again; of these `droppable` are not above one read before in this partition.
        out_of_order: positions read for the first time after a higher one.
        misplaced: own records that belong to another partition, or that the store does not have here.
        foreign: records of other stores, or without a store; barriers are none.
        reduced: records that were too large.
        beyond: records that a store which this one was restored from published after the backup.
        first_missing, first_out_of_order, first_misplaced: positions, the lowest first, at most 20 each.
    """

    topic: str
    partition: int
    expected: int = 0
    not_judged: int = 0
    records: int = 0
    missing: int = 0
    unpublished: int = 0
    repeats: int = 0
    droppable: int = 0
    out_of_order: int = 0
    misplaced: int = 0
    foreign: int = 0
    reduced: int = 0
    beyond: int = 0
    first_missing: list[int] = field(default_factory=list)
    first_out_of_order: list[int] = field(default_factory=list)
    first_misplaced: list[int] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether a consumer that drops repeats by position gets everything, in order."""
        return not (self.missing or self.out_of_order or self.misplaced or self.repeats > self.droppable)

    def judge(
        self, read: Iterable[tuple[int, int]], expected: Sequence[int], head: int, begin: int, known: TopicCursor | None
    ) -> None:
        """Hold what was read against what the store has up to its head.

        Args:
            read: (position, number of the store that published it), in the order of the partition.
            begin: the first offset that the broker still has.
            known: what the relay's cursor says of the topic.
        """
        wanted, seen = set(expected), set[int]()
        highest: defaultdict[int, int] = defaultdict(int)  # consumers drop repeats by one number for each store
        for position, store in read:
            if position > head:
                continue  # came after the verification began
            self.records += 1
            if position in seen:
                self.repeats += 1
                self.droppable += position <= highest[store]
            elif position not in wanted:
                self.misplaced += 1
                self.first_misplaced.append(position)
            elif position < max(highest.values(), default=0):
                self.out_of_order += 1
                self.first_out_of_order.append(position)
            seen.add(position)
            highest[store] = max(highest[store], position)
        self.expected = len(expected)
        # What retention took is not judged: everything below the first record that is left, or below the cursor.
        floor = 0
        if begin > 0:
            checkpoint = known.checkpoints.get(self.partition) if known else None
            floor = min(seen) if seen else checkpoint.position + 1 if checkpoint else head + 1
        low = known.low if known else head + 1
        for position in expected:
            if position in seen:
                continue
            if position < floor:
                self.not_judged += 1
                continue
            self.missing += 1
            self.unpublished += position >= low
            self.first_missing.append(position)
        for named in (self.first_missing, self.first_out_of_order, self.first_misplaced):
            named[:] = sorted(named)[:NAMED]


@dataclass(slots=True)
class VerificationReport:
    """The whole verification, of a store up to a position.

    Attributes:
        absent: topics that should hold records and are not there.
        broken_at: the first position at which the store's chain of digests is broken, or None.
        beyond: what Kafka holds beyond the backup that the store was restored from, and the store does not.
    """

    store: str
    head: int
    partitions: list[PartitionReport] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    broken_at: int | None = None
    beyond: list[Beyond] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all is well: exit status 0."""
        return all(part.ok for part in self.partitions) and not self.absent and self.broken_at is None

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"ok": self.ok, **asdict(self)}


def verify(settings: RelaySettings, *, chain: Callable[[int], int | None] = lambda _: None) -> VerificationReport:
    """Hold the topics against the store; changes nothing, may run beside the relay.

    Args:
        chain: checks the store's chain of digests up to a position; the first broken one, or None.

    Raises:
        RelayError: Kafka or the store cannot be reached (exit status 3).
    """
    with closing(RelayView.open(settings.store_url)) as source:
        if not source.store_id:
            raise RelayError(f"there is no store at {settings.store_url}")
        report = VerificationReport(source.store_id, source.head())
        with readable("Kafka"):
            found = _topics(settings)
            for name in settings.topics:
                topic = settings.kafka.topic(name)
                if count := found[topic].partitions:
                    _judge_topic(settings, source, name, count, report)
                elif next(_positions(source, name, report.head), None):
                    report.absent.append(topic)
        report.broken_at = chain(report.head)
        return report


def _topics(settings: RelaySettings) -> dict[str, TopicState]:
    with closing(Cluster(settings.kafka)) as cluster:
        return cluster.describe([settings.kafka.topic(name) for name in settings.topics])


def _positions(source: RelayView, name: str, head: int) -> Iterator[tuple[int, str]]:
    """(position, key) of each record of a topic up to the head."""
    after = 0
    while page := source.records(after, 1000, [name]):
        for position, _, key, *_ in page:
            if position > head:
                return
            yield position, key
        after = page[-1][0]


def _judge_topic(settings: RelaySettings, source: RelayView, name: str, count: int, report: VerificationReport) -> None:
    """Add the partitions of a topic, and what it holds beyond the backup, to the report."""
    topic = settings.kafka.topic(name)
    known = peek(settings.cursor, source.store_id).get(topic)
    parts = [PartitionReport(topic, part) for part in range(count)]
    # Ten bytes of each own record, since there may be millions: its position, and the number of the store that published it.
    positions, publishers = [array("q") for _ in parts], [array("H") for _ in parts]
    stores: dict[bytes, int] = {}
    with TopicReader(settings.kafka, topic, count, source.store_id, source.ancestors()) as reader:
        for found in reader.records():
            part = found.record.partition
            if not found.position:
                parts[part].foreign += 1
            elif found.beyond:
                parts[part].beyond += 1
                report.beyond.append(Beyond.of(found))
            else:
                parts[part].reduced += REDUCED[0] in found.headers
                positions[part].append(found.position)
                publishers[part].append(stores.setdefault(found.headers[STORE], len(stores)))
    plan = known.partitions if known else reader.partitions or Partitions.fixed(count)
    # The topic may have fewer partitions than are in use.
    parts += [PartitionReport(topic, part) for part in range(count, plan.count)]
    expected = [array("q") for _ in parts]
    for position, key in _positions(source, name, report.head):
        expected[plan.of(position, key)].append(position)
    for part in parts:
        n = part.partition
        read = zip(positions[n], publishers[n], strict=True) if n < count else ()
        part.judge(read, expected[n], report.head, reader.begins.get(n, 0), known)
    report.partitions += parts


def beyond(settings: RelaySettings) -> list[Beyond]:
    """What Kafka holds beyond the backup that the store was restored from, in order of position.

    Read from where the relay's cursor was at the backup, so it is quick.
    Raises RelayError: Kafka or the store cannot be reached.
    """
    lost: list[Beyond] = []
    with closing(RelayView.open(settings.store_url)) as source, readable("Kafka"):
        ancestors, cursor = source.ancestors(), peek(settings.cursor, source.store_id)
        for topic, state in _topics(settings).items():
            if not state.partitions:  # it is not there
                continue
            known = cursor.get(topic)
            starts = (
                {part: at.next_offset for part, at in known.checkpoints.items()}
                if known is not None and known.topic_id == state.topic_id
                else {}
            )
            with TopicReader(settings.kafka, topic, state.partitions, source.store_id, ancestors) as reader:
                lost += [Beyond.of(found) for found in reader.records(starts) if found.beyond]
    return sorted(lost, key=lambda each: (each.position, each.topic, each.offset))
