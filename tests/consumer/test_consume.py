"""The loop over events on the real broker: each event once to a group, whatever is in the topics and whatever ends a member."""

import gc
from collections.abc import Callable
from contextlib import suppress
from itertools import count, islice, takewhile
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient

from plscp.consumer import Event, Events, Unreadable, consume
from plscp.publish.records import PatientRecord
from tests.conftest import Broker
from tests.consumer.writing import NOON, OTHER, OWN, PATIENT, Written, barrier, new_topic, patient, write

pytestmark = pytest.mark.kafka

Found = Event | Unreadable
LAST = count(10**6)
"""Positions of records that end a test's reading."""


class Group:
    """A topic of its own, and a consumer group that reads it."""

    def __init__(self, broker: str, partitions: int = 1) -> None:
        self.broker, self.topic, self.name = broker, new_topic(broker, partitions), f"group-{uuid4().hex[:8]}"

    def write(self, *records: Any) -> None:
        """Append records."""
        write(self.broker, self.topic, records)

    def member(self, **kafka: Any) -> Events:
        """One that gives up where nothing comes for 20 s, so that no test waits for ever."""
        given = {"consumer_timeout_ms": 20_000, "heartbeat_interval_ms": 100, "fetch_max_wait_ms": 50} | kafka
        return consume(self.broker, topics=self.topic, group=self.name, **given)

    def rest(self) -> list[int]:
        """Positions that a new member is given, up to the end of the topic: 0 for what has none."""
        last = next(LAST)
        self.write(patient(last, store=self.name))
        with self.member() as events:
            return [position(event) for event in takewhile(lambda event: position(event) != last, events)]

    def committed(self) -> tuple[int, str]:
        """Offset and metadata of the first partition, as an administrator sees them."""
        admin = KafkaAdminClient(bootstrap_servers=self.broker)
        try:
            offsets = admin.list_group_offsets(self.name).get(self.name, {})
            return next(((at.offset, at.metadata) for place, at in offsets.items() if place.partition == 0), (0, ""))
        finally:
            admin.close()


@pytest.fixture
def group(kafka_broker: Broker) -> Group:
    """A topic of one partition, so that what is read is ordered."""
    return Group(kafka_broker.address)


def position(event: Found) -> int:
    """Position of an event, 0 where it could not be read."""
    return event.position if isinstance(event, Event) else 0


def test_an_event_comes_typed_with_where_it_was_read(group: Group) -> None:
    """Everything that a consumer may want to keep of it."""
    group.write(barrier(), patient(7))
    with group.member() as events:
        event = next(events)
    assert isinstance(event, Event)
    assert (event.type, event.id, event.key, event.time) == (PATIENT, "1-7", "HOSPITAL|4711", NOON)
    assert (event.topic, event.partition, event.offset) == (group.topic, 0, 1)
    assert (event.store, event.position) == (OWN, 7)
    assert isinstance(event.data, PatientRecord)
    assert event.data.change.id == "4711"


def test_repeats_are_dropped_however_late_they_come(group: Group) -> None:
    """One number for each store of a partition; a new member knows them from the commit."""
    group.write(patient(1), patient(5), patient(1), patient(3, store=OTHER), barrier(), patient(5), patient(6))
    assert group.rest() == [1, 5, 3, 6]
    group.write(patient(6), patient(3, store=OTHER), patient(7), patient(1), patient(4, store=OTHER))
    assert group.rest() == [7, 4]


def test_an_event_is_committed_after_its_body_and_before_the_next(group: Group) -> None:
    """While a body runs, the group's offset is that of its event: a crash in it loses nothing and repeats nothing else."""
    group.write(patient(1), patient(2), barrier(), patient(4))
    with group.member() as events:
        seen = [(event.offset, group.committed()[0]) for event in islice(events, 3)]
    assert seen == [(0, 0), (1, 1), (3, 3)]
    assert group.committed() == (4, f'{{"plscp":{{"{OWN}":4}}}}')


class BodyError(Exception):
    """What a consumer's body may raise."""


def raises(events: Events) -> None:
    """A body that fails."""
    with suppress(BodyError):
        for event in events:
            if position(event) == 2:
                raise BodyError


def raises_in_block(events: Events) -> None:
    """A body that fails in a `with` block."""
    with suppress(BodyError), events:
        raises_at_two(events)


def raises_at_two(events: Events) -> None:
    """As `raises`, unhandled."""
    for event in events:
        if position(event) == 2:
            raise BodyError


def breaks(events: Events) -> None:
    """A loop that is left."""
    for event in events:
        if position(event) == 2:
            break
    events.close()


def breaks_in_block(events: Events) -> None:
    """A loop that is left in a block that comes to its end."""
    with events:
        for event in events:
            if position(event) == 2:
                break


def stops(events: Events) -> None:
    """A body that says that it is the last."""
    for event in events:
        if position(event) == 2:
            events.stop()


@pytest.mark.parametrize(
    ("ends", "again"),
    [(raises, [2, 3]), (raises_in_block, [2, 3]), (breaks, [2, 3]), (breaks_in_block, [3]), (stops, [3])],
)
def test_what_was_not_handled_comes_again(group: Group, ends: Callable[[Events], None], again: list[int]) -> None:
    """A body that came to its end was handled; one that was left was not, but where its block ended well."""
    group.write(patient(1), patient(2), patient(3))
    ends(group.member())
    gc.collect()  # a consumer that nobody closed leaves with its last reference
    assert group.rest() == again


def changed(written: Written, **headers: bytes | None) -> Written:
    """With other headers; None leaves one out."""
    others = [(name, value) for name, value in written.headers if name not in headers]
    return written._replace(headers=[*others, *((name, value) for name, value in headers.items() if value is not None)])


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (patient(2)._replace(value=b"{"), "value: Invalid JSON"),
        (patient(2)._replace(value=None), "value: Invalid JSON"),
        (patient(2)._replace(value=b'{"position":2}'), "event_id: Field required"),
        (patient(2)._replace(value=b"[" * 100_000), "value: Invalid JSON"),
        (patient(2)._replace(value=b"\xff\x00"), "value: Invalid JSON"),
        (patient(2)._replace(key=b"\xff"), "'utf-8' codec"),
        (changed(patient(2), ce_type=b"org.example.other.v1"), "org.example.other.v1 is not a type"),
        (changed(patient(2), ce_type=b"\xff\xfe"), "is not a type"),
        (changed(patient(2), ce_type=None), "no header ce_type"),
        (changed(patient(2), store=None), "no header store"),
        (changed(patient(2), ce_id=None), "no header ce_id"),
        (changed(patient(2), position=None), "header position is not a position"),
        (changed(patient(2), position=b"2a"), "header position is not a position"),
        (changed(patient(2), position=b"-2"), "header position is not a position"),
        (changed(patient(2), position="²".encode()), "header position is not a position"),
        (changed(patient(2), position=b"9" * 5000), "header position is not a position"),
        (Written(None, [], b"k"), "no header ce_type, ce_id, store"),
        (Written(b"hello", [("position", b"")], None), "no header ce_type, ce_id, store"),
    ],
)
def test_what_cannot_be_read_is_handed_over(group: Group, written: Written, reason: str) -> None:
    """As it is, with the reason, and the loop goes on; it does not come again."""
    group.write(patient(1), written, patient(3))
    with group.member() as events:
        first, bad, third = islice(events, 3)
    assert (position(first), position(third)) == (1, 3)
    assert isinstance(bad, Unreadable)
    assert reason in bad.reason
    assert (bad.topic, bad.partition, bad.offset) == (group.topic, 0, 1)
    assert (bad.key, bad.value, list(bad.headers)) == (written.key, written.value, written.headers)
    assert bad.data is None
    assert group.committed()[0] == 3
