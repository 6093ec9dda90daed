"""`plscp verify`: holds the topics against the store, record by record, by the position rule.

What a restored store's predecessor published after the backup is on Kafka, and in no store that goes on: it is named, for people.
"""

import json
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Self

from plscp.errors import RelayError
from plscp.records.parts import PARTITIONS, POSITION, STORE
from plscp.relay.cluster import Cluster
from plscp.relay.cursor import Partitions, peek
from plscp.relay.envelope import REDUCED
from plscp.relay.settings import RelaySettings
from plscp.relay.tail import Headers, Lineage, Reader, readable
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
    def of(cls, record: Any, headers: Headers) -> Self:
        """From a consumer's record."""
        try:
            value = json.loads(record.value)
        except ValueError:
            value = {}
        sender, study = value.get("sender") or {}, value.get("study") or value.get("change") or {}
        text = {name: content.decode("utf-8", "replace") for name, content in headers.items()}
        return cls(
            record.topic,
            record.partition,
            record.offset,
            text[STORE],
            int(text[POSITION]),
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


@dataclass(slots=True)
class Report:
    """The whole verification, of a store up to a position.

    Attributes:
        partitions: every partition of every topic that has any, or should have.
        absent: topics that should hold records and are not there.
        broken_at: the first position at which the store's chain of digests is broken, or None.
        beyond: what Kafka holds beyond the backup that the store was restored from, and the store does not.
    """

    store: str
    head: int
    partitions: list[PartitionReport]
    absent: list[str]
    broken_at: int | None
    beyond: list[Beyond] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all is well: exit status 0."""
        return all(part.ok for part in self.partitions) and not self.absent and self.broken_at is None

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"ok": self.ok, **asdict(self)}


def _partition_counts(settings: RelaySettings) -> dict[str, tuple[str, int]]:
    """(topic id, count of partitions) of each topic; ("", 0) where there is none."""
    with closing(Cluster(settings.kafka)) as cluster:
        return cluster.ids([settings.kafka.topic(name) for name in settings.topics])


def verify(settings: RelaySettings, *, chain: Callable[[int], int | None] = lambda _: None) -> Report:
    """Hold the topics against the store; changes nothing, may run beside the relay.

    Args:
        chain: checks the store's chain of digests up to a position; the first broken one, or None.

    Raises:
        RelayError: Kafka or the store cannot be reached (exit status 3).
    """
    with closing(RelayView.open(settings.store_url)) as source:
        if not source.store_id:
            raise RelayError(f"there is no store at {settings.store_url}")
        head = source.head()
        report = Report(source.store_id, head, [], [], None)
        with readable("Kafka"):
            found = _partition_counts(settings)
            for name in settings.topics:
                count = found[settings.kafka.topic(name)][1]
                if count:
                    judged = _Topic(settings, source, name, count, head=head)
                    report.partitions += judged.judge()
                    report.beyond += judged.beyond
                elif next(_positions(source, name, head), None):
                    report.absent.append(settings.kafka.topic(name))
        report.broken_at = chain(head)
        return report


def _positions(source: RelayView, name: str, head: int) -> Iterator[tuple[int, str]]:
    """(position, key) of each record of a topic up to the head."""
    after = 0
    while page := source.records(after, 1000, [name]):
        for position, _, key, *_ in page:
            if position > head:
                return
            yield position, key
        after = page[-1][0]


class _Topic:
    """Reads one topic, then judges its partitions.

    Of each own record that was read it keeps ten bytes, since there may be millions: its position, and the number of the store
    that published it.
    """

    def __init__(self, settings: RelaySettings, source: RelayView, name: str, count: int, *, head: int) -> None:
        self._settings, self._source, self._name, self._head = settings, source, name, head
        self._lineage = Lineage(source.store_id, source.ancestors())
        self.beyond: list[Beyond] = []
        self._topic = settings.kafka.topic(name)
        self._reports = [PartitionReport(self._topic, part) for part in range(count)]
        self._positions: defaultdict[int, array[int]] = defaultdict(lambda: array("q"))
        self._published_by: defaultdict[int, array[int]] = defaultdict(lambda: array("H"))
        self._stores: dict[bytes, int] = {}
        self._begins: dict[int, int] = {}
        self._known = peek(settings.cursor, source.store_id, self._topic)
        self._plan = self._known.partitions if self._known else None

    def judge(self) -> list[PartitionReport]:
        self._consume()
        plan = self._plan or Partitions.fixed(len(self._reports))
        expected = [array("q") for _ in range(max(plan.count, len(self._reports)))]
        for position, key in _positions(self._source, self._name, self._head):
            expected[plan.of(position, key)].append(position)
        for part in range(len(self._reports), plan.count):  # the topic has fewer partitions than are in use
            self._reports.append(PartitionReport(self._topic, part))
        for report in self._reports:
            self._judge(report, expected[report.partition])
        return self._reports

    def _consume(self) -> None:
        parts = list(range(len(self._reports)))
        with Reader(self._settings.kafka, self._topic) as reader:
            self._begins, ends = reader.bounds(parts)
            for record in reader.records({part: (self._begins[part], ends[part]) for part in parts}):
                headers = dict(record.headers)
                report = self._reports[record.partition]
                if self._lineage.upto(headers) is None:
                    report.foreign += 1
                elif self._lineage.is_beyond(headers):
                    report.beyond += 1
                    self.beyond.append(Beyond.of(record, headers))
                elif POSITION in headers:
                    report.reduced += REDUCED[0] in headers
                    store = self._stores.setdefault(headers[STORE], len(self._stores))
                    self._positions[record.partition].append(int(headers[POSITION]))
                    self._published_by[record.partition].append(store)
                elif PARTITIONS in headers and self._known is None:
                    said = Partitions.parse(headers[PARTITIONS].decode())
                    self._plan = said if self._plan is None else max(self._plan, said, key=lambda each: each.epochs[-1])

    def _judge(self, report: PartitionReport, expected: "array[int]") -> None:
        wanted, seen, highest = set(expected), set[int](), 0
        highest_of: dict[int, int] = {}  # consumers drop repeats by one number for each store
        part = report.partition
        for position, store in zip(self._positions[part], self._published_by[part], strict=True):
            if position > self._head:
                continue  # came after the verification began
            report.records += 1
            if position in seen:
                report.repeats += 1
                report.droppable += position <= highest_of.get(store, 0)
            elif position not in wanted:
                report.misplaced += 1
                report.first_misplaced.append(position)
            elif position < highest:
                report.out_of_order += 1
                report.first_out_of_order.append(position)
            seen.add(position)
            highest = max(highest, position)
            highest_of[store] = max(highest_of.get(store, 0), position)
        report.expected = len(expected)
        # What retention took is not judged: everything below the first record that is left, or below the cursor.
        floor = 0
        if self._begins.get(part, 0) > 0:
            checkpoint = self._known.checkpoints.get(part) if self._known else None
            floor = min(seen) if seen else checkpoint.position + 1 if checkpoint else self._head + 1
        low = self._known.low if self._known else self._head + 1
        for position in expected:
            if position in seen:
                continue
            if position < floor:
                report.not_judged += 1
                continue
            report.missing += 1
            report.unpublished += position >= low
            report.first_missing.append(position)
        for named in (report.first_missing, report.first_out_of_order, report.first_misplaced):
            named[:] = sorted(named)[:NAMED]


def beyond(settings: RelaySettings) -> list[Beyond]:
    """What Kafka holds beyond the backup that the store was restored from, in order of position.

    Read from where the relay's cursor was at the backup, so it is quick.

    Raises:
        RelayError: Kafka or the store cannot be reached.
    """
    found: list[Beyond] = []
    with closing(RelayView.open(settings.store_url)) as source:
        lineage = Lineage(source.store_id, source.ancestors())
        with readable("Kafka"):
            for topic, (topic_id, count) in _partition_counts(settings).items():
                if not count:  # it is not there
                    continue
                known = peek(settings.cursor, source.store_id, topic)
                checkpoints = known.checkpoints if known is not None and known.topic_id == topic_id else {}
                parts = list(range(count))
                with Reader(settings.kafka, topic) as reader:
                    begins, ends = reader.bounds(parts)
                    starts = {
                        part: max(begins[part], checkpoints[part].next_offset if part in checkpoints else 0)
                        for part in parts
                    }
                    for record in reader.records({part: (starts[part], ends[part]) for part in parts}):
                        headers = dict(record.headers)
                        if lineage.is_beyond(headers):
                            found.append(Beyond.of(record, headers))
    return sorted(found, key=lambda each: (each.position, each.topic, each.offset))
