"""The loop over events on the real broker: each event once to a group, whatever is in the topics and whatever ends a member."""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import aclosing, suppress
from functools import reduce
from itertools import count, islice, takewhile
from operator import getitem
from queue import Queue
from typing import Any
from uuid import uuid4

import pytest

from plscp.consumer import Event, Events, Unreadable, aconsume, consume, reading
from plscp.errors import Unreachable
from plscp.local.kafka import LocalBroker
from plscp.records.parts import PatientRecord
from plscp.records.values import EntryRecord, UnknownEntry
from plscp.templates.log_entries import Note
from plscp.templates.values import CodeValue, Moment
from tests.conftest import Broker
from tests.consumer.writing import (
    NOON,
    OTHER,
    OWN,
    PATIENT,
    Written,
    barrier,
    committed,
    logged,
    new_topic,
    patient,
    write,
)
from tests.ports import silent_port

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.usefixtures("leaking"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

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
        given = {"consumer_timeout_ms": 60_000, "heartbeat_interval_ms": 100, "fetch_max_wait_ms": 50} | kafka
        return consume(self.broker, **({"topics": self.topic, "group": self.name} | given))

    def rest(self) -> list[int]:
        """Positions that a new member is given, up to the end of the topic: 0 for what has none."""
        last = next(LAST)
        self.write(patient(last, store=self.name))
        with self.member() as events:
            return [position(event) for event in takewhile(lambda event: position(event) != last, events)]

    def committed(self) -> tuple[int, str]:
        """Offset and metadata of the first partition, as an administrator sees them."""
        offsets = committed(self.broker, self.name)
        return next(((at.offset, at.metadata) for place, at in offsets.items() if place.partition == 0), (0, ""))


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


class NotText(str):
    """A header's name in an encoding that is not Kafka's."""

    __slots__ = ()

    def encode(self, *_: str) -> bytes:
        """Latin-1."""
        return super().encode("latin-1")


def test_what_kafkas_client_cannot_take_apart_is_handed_over(kafka_broker: Broker) -> None:
    """Once, without its content, and neither what follows nor another partition waits for it."""
    group = Group(kafka_broker.address, partitions=2)
    broken = patient(2)._replace(headers=[(NotText("Größe"), b"1")])
    for written in (patient(1), broken, patient(3), patient(9, partition=1)):
        group.write(written)
    with group.member() as events:
        found = {(each.partition, each.offset): each for each in islice(events, 4)}
    bad = found.pop((0, 1))
    assert {place: position(each) for place, each in found.items()} == {(0, 0): 1, (0, 2): 3, (1, 0): 9}
    assert isinstance(bad, Unreadable)
    assert bad.reason.startswith("CorruptRecordError: ")
    assert (bad.topic, bad.type, bad.key, bad.value, bad.headers) == (group.topic, "", None, None, ())
    assert group.rest() == []


def test_a_member_may_begin_with_what_cannot_be_taken_apart(group: Group) -> None:
    """What its predecessor had handled is known all the same."""
    group.write(patient(4))
    with group.member() as events:
        assert position(next(events)) == 4
    group.write(patient(5)._replace(headers=[(NotText("Größe"), b"1")]))
    group.write(patient(4), patient(6))
    with group.member() as events:
        assert [position(event) for event in islice(events, 2)] == [0, 6]


def added(written: Written, place: str, **members: Any) -> Written:
    """With more, or other, members in the object at a place of the value."""
    value = json.loads(written.value or b"")
    reduce(getitem, place.split("."), {"": value} | value).update(members)
    return written._replace(value=json.dumps(value).encode())


NOTE = Note(observation_datetime=Moment(text="20260301120000"), type=CodeValue(value="121174"), text="Sheath in")


def test_what_later_versions_add_is_no_surprise(group: Group) -> None:
    """Members that are not known are passed over; an entry of an unknown kind is kept whole."""
    group.write(
        added(logged(1, NOTE), "", mood="good"),
        added(logged(2, NOTE), "patient", nickname="Jim"),
        added(logged(3, NOTE), "entry", colour="red"),
        added(logged(4, NOTE), "entry", kind="robot_moved", axis=[1, {"x": 2}]),
    )
    with group.member() as events:
        found = [event.data for event in islice(events, 4)]
    entries = [each.entry for each in found if isinstance(each, EntryRecord)]
    assert [entry.kind for entry in entries] == ["note", "note", "note", "robot_moved"]
    assert isinstance(entries[0], Note)
    assert isinstance(entries[3], UnknownEntry)
    assert entries[3].model_extra is not None
    assert entries[3].model_extra["axis"] == [1, {"x": 2}]
    assert entries[3].model_extra["text"] == "Sheath in"


class Reader:
    """A member in a thread of its own, whose events come one by one."""

    def __init__(self, events: Events, found: "Queue[tuple[str, int]]", name: str) -> None:
        self.events, self.name = events, name
        self._found = found
        self.ended: Future[None] = Future()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for event in self.events:
                self._found.put((self.name, position(event)))
            self.ended.set_result(None)
        except BaseException as error:
            self.ended.set_exception(error)

    def stop(self) -> None:
        """End it, and raise what it raised."""
        self.events.stop()
        self.ended.result(60)


def test_members_that_come_and_go_share_the_events(kafka_broker: Broker) -> None:
    """Partitions move from one to the other and back: the group is given each event once, in the order of its partition."""
    group = Group(kafka_broker.address, 4)
    positions, found, seen = count(1), Queue[tuple[str, int]](), list[tuple[str, int]]()

    def until_both(*names: str) -> None:
        """Go on writing until each of these has been given something."""
        wanted, deadline = set(names), time.monotonic() + 60
        while wanted and time.monotonic() < deadline:
            group.write(*(patient(next(positions), partition=each) for each in range(4)))
            seen.append(found.get(timeout=60))
            while not found.empty():
                seen.append(found.get())
            wanted -= {name for name, _ in seen[-8:]}

    first = Reader(group.member(), found, "first")
    until_both("first")
    second = Reader(group.member(), found, "second")
    until_both("first", "second")
    second.stop()
    last = next(positions)
    group.write(*(patient(last, partition=each) for each in range(4)))
    while sum(each == last for _, each in seen) < 4:
        seen.append(found.get(timeout=60))
    first.stop()
    assert {name for name, _ in seen} == {"first", "second"}
    assert sorted(each for _, each in seen if each != last) == list(range(1, last))
    for partition in range(4):
        own = [each for _, each in seen if each != last and (each - 1) % 4 == partition]
        assert own == sorted(own)


def test_a_loop_that_waits_is_ended_from_outside(group: Group) -> None:
    """By another thread, or a signal handler."""
    group.write(patient(1))
    found = Queue[tuple[str, int]]()
    reader = Reader(group.member(), found, "one")
    assert found.get(timeout=60) == ("one", 1)
    reader.stop()
    assert group.committed()[0] == 1


def test_topics_that_are_made_later_are_found(kafka_broker: Broker) -> None:
    """The relay makes a topic when it first has something for it."""
    group = Group(kafka_broker.address)
    late = f"{group.topic}.late"
    both = group.member(topics=[late, group.topic], metadata_max_age_ms=200)
    group.write(patient(1))
    with both as events:
        assert position(next(events)) == 1
        new_topic(group.broker, name=late)
        write(group.broker, late, [patient(1)])
        event = next(events)
    assert (event.topic, position(event)) == (late, 1)


def test_a_joining_that_takes_longer_than_a_poll_is_finished(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the answer is that a poll does not wait for: the first joining finds no partitions, and has to be repeated."""
    monkeypatch.setattr(reading, "WAIT_MS", 1)
    for last in range(1, 6):
        group.write(patient(last))
        with group.member() as events:
            assert position(next(events)) == last


def test_no_broker_is_one_error_when_the_first_event_is_asked_for() -> None:
    """With the addresses that were tried; nothing is left running."""
    with silent_port() as port:
        events = consume(f"127.0.0.1:{port}", topics="t", group="g", bootstrap_timeout_ms=300)
        with pytest.raises(Unreachable, match=rf"Kafka does not answer at 127\.0\.0\.1:{port}: "):
            next(events)


@pytest.mark.slow
def test_a_broker_that_goes_and_comes_back_is_waited_for(
    own_broker: Callable[[], LocalBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a body: nothing is lost, nothing comes twice."""
    broker = own_broker()
    group = Group(broker.address)
    group.write(patient(1), patient(2), patient(3))
    events = group.member(consumer_timeout_ms=60_000, reconnect_backoff_max_ms=200)
    monkeypatch.setattr(reading, "COMMIT_MS", 300)  # less than it is away: one try is not enough
    with events:
        found = [position(next(events))]
        broker.kill()
        coming = threading.Thread(target=broker.start)
        coming.start()
        found += [position(event) for event in islice(events, 2)]
        coming.join(60)
        group.write(patient(4))
        found.append(position(next(events)))
    assert found == [1, 2, 3, 4]
    assert group.committed()[0] == 4


def test_events_come_to_coroutines(group: Group) -> None:
    """The event loop goes on meanwhile; what was left with `break` comes again."""
    group.write(patient(1), patient(2), patient(3))

    async def read() -> list[int]:
        found: list[int] = []
        async with aclosing(aconsume(group.broker, topics=group.topic, group=group.name)) as events:
            async for event in events:
                found.append(position(event))
                if position(event) == 2:
                    break
        return found

    assert asyncio.run(asyncio.wait_for(read(), 60)) == [1, 2]
    assert group.rest() == [2, 3]


def test_a_coroutine_that_waits_can_be_cancelled(group: Group) -> None:
    """It leaves the group, and what it had handled is committed."""
    group.write(patient(1))

    async def read() -> None:
        waiting = asyncio.Event()

        async def loop() -> None:
            async for _ in aconsume(group.broker, topics=group.topic, group=group.name):
                waiting.set()

        task = asyncio.create_task(loop())
        await waiting.wait()
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(asyncio.wait_for(read(), 60))
    assert group.rest() == []
