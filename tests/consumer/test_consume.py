"""The loop over events on the real broker: each event once to a group, whatever is in the topics and whatever ends a member."""

from itertools import count, takewhile
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient

from plscp.consumer import Event, Events, Unreadable, consume
from plscp.publish.records import PatientRecord
from tests.conftest import Broker
from tests.consumer.writing import NOON, OTHER, OWN, PATIENT, barrier, new_topic, patient, write

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
            offsets = admin.list_group_offsets(self.name)
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
