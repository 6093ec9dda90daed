"""The relay's parts that need no broker."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from kafka.partitioner import murmur2
from kafka.producer.future import FutureProduceResult, FutureRecordMetadata
from kafka.record.default_records import DefaultRecordBatchBuilder

from plscp.errors import ConfigError, RelayError
from plscp.records.parts import reduced
from plscp.relay import relay
from plscp.relay.cursor import Cursor, PartitionCheckpoint, Partitions, TopicCursor, peek
from plscp.relay.producer import Envelope, InFlight
from plscp.relay.relay import Backlog
from plscp.relay.settings import TOPICS, KafkaSettings, RelaySettings, cursor_beside
from plscp.relay.topic_publisher import SIZE_OF, Progress
from plscp.store.relay_view import Record
from tests.relay.twin import WritableTwin

JAVA_MURMUR2 = [
    # What org.apache.kafka.common.utils.Utils.murmur2 gives, from Kafka's own UtilsTest.
    ("21", -973932308),
    ("foobar", -790332482),
    ("a-little-bit-long-string", -985981536),
    ("a-little-bit-longer-string", -1486304829),
    ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
]


@pytest.mark.parametrize(("key", "expected"), JAVA_MURMUR2)
def test_partitions_are_those_of_kafkas_own_clients(key: str, expected: int) -> None:
    """murmur2 without sign, modulo the count."""
    assert murmur2(key.encode()) & 0xFFFFFFFF == expected & 0xFFFFFFFF
    assert Partitions.fixed(6).of(1, key) == (expected & 0x7FFFFFFF) % 6


def test_partitions_change_from_a_position_on() -> None:
    """What may be published already never moves."""
    plan = Partitions.fixed(6).enlarged(100, 12)
    assert str(plan) == "0:6,101:12"
    assert Partitions.parse(str(plan)) == plan
    assert plan.count == 12
    for key in map(str, range(50)):
        assert plan.of(100, key) == Partitions.fixed(6).of(1, key)
        assert plan.of(101, key) == Partitions.fixed(12).of(1, key)
    assert str(plan.enlarged(100, 24)) == "0:6,101:24"


KNOWN = TopicCursor(
    "id-1", Partitions([(0, 6), (9, 12)]), 7, {0: PartitionCheckpoint(5, 6, "e-6"), 3: PartitionCheckpoint()}
)


def test_the_cursor_keeps_what_it_is_told(tmp_path: Path) -> None:
    """Across processes; readable beside the relay; another store's is forgotten."""
    file = tmp_path / "c.db"
    cursor = Cursor(file, "store-1")
    assert cursor.topic("t") is None
    cursor.save("t", KNOWN)
    assert peek(file, "store-1") == {"t": KNOWN}
    cursor.close()
    again = Cursor(file, "store-1")
    assert again.topic("t") == KNOWN
    again.close()
    assert peek(file, "store-2") == {}
    other = Cursor(file, "store-2")
    assert other.topic("t") is None
    other.close()
    assert peek(tmp_path / "none.db", "store-1") == {}


def test_one_cursor_for_one_process(tmp_path: Path) -> None:
    """The second is refused in one line; after the first is closed it may."""
    first = Cursor(tmp_path / "c.db", "s")
    with pytest.raises(RelayError, match="a relay is at work on this store"):
        Cursor(tmp_path / "c.db", "s", patience=0.1)
    first.close()
    Cursor(tmp_path / "c.db", "s").close()


def test_a_cursor_that_is_none(tmp_path: Path) -> None:
    """Set aside and begun anew; a folder that is not there is one line."""
    (tmp_path / "c.db").write_bytes(b"x" * 5000)
    cursor = Cursor(tmp_path / "c.db", "s")
    assert cursor.topic("t") is None
    cursor.close()
    assert (tmp_path / "c.db.damaged").exists()
    with pytest.raises(RelayError, match="cannot be used"):
        Cursor(tmp_path / "missing" / "c.db", "s")


def test_settings_travel_whole(tmp_path: Path) -> None:
    """As JSON and back; the cursor lives beside the store."""
    kafka = KafkaSettings(["h:1"], topic_prefix="x", extra={"security_protocol": "SSL"})
    made = RelaySettings("sqlite:///a.db", tmp_path / "c.db", kafka, topics=("study",), stall_seconds=3)
    there = RelaySettings.from_json(json.loads(json.dumps(made.as_json())))
    assert there.as_json() == json.loads(json.dumps(made.as_json()))
    assert there.kafka.topic("study") == "x.study"
    assert cursor_beside(tmp_path / "plscp.db") == tmp_path / "plscp-relay.db"
    assert set(TOPICS) == {"procedure-log", "medication-administration", "quarantine", "study", "patient"}


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ({"security_protocl": "SSL"}, "knows no setting security_protocl"),
        ({"acks": 1}, "acks is the relay's own"),
        ({"delivery_timeout_ms": 1000}, "delivery_timeout_ms is the relay's own"),
        ({"enable_idempotence": False}, "enable_idempotence is the relay's own"),
    ],
)
def test_settings_that_cannot_be(extra: dict[str, Any], why: str) -> None:
    """Names that the library does not know, and those that order depends on."""
    with pytest.raises(ConfigError, match=why):
        KafkaSettings(["h:1"], extra=extra).checked()


def test_what_order_depends_on() -> None:
    """The producer's settings of contract section 5."""
    made = KafkaSettings(["h:1"], extra={"sasl_mechanism": "PLAIN"}).checked().producer(largest=100_000)
    assert made["delivery_timeout_ms"] == float("inf")
    assert (made["acks"], made["enable_idempotence"], made["allow_auto_create_topics"]) == ("all", True, False)
    assert (made["batch_size"], made["sasl_mechanism"]) == (100_000, "PLAIN")
    assert KafkaSettings(["h:1"]).producer(largest=10**7)["max_request_size"] == 10**7


def record(value: dict[str, Any], position: int = 4) -> Record:
    return Record(position, "study", "k", "org.plscp.x.v1", "r-0", "", "", json.dumps(value).encode())


def test_an_envelope_leaves_out_what_is_empty() -> None:
    """Subject and time are optional in CloudEvents: absent rather than empty. Each list is the caller's own."""
    envelope = Envelope("s")
    headers = envelope.headers(record({}))
    assert {"ce_subject", "ce_time"}.isdisjoint(dict(headers))
    headers.append(("more", b""))
    assert "more" not in dict(envelope.headers(record({})))


def test_a_reduced_record_keeps_identity_match_and_dataref() -> None:
    """And nothing that a device can make long."""
    match = {"rule": "3", "status": "B102", "candidates": ["x" * 9000], "registry_position": 2}
    whole = {"event_id": "r-0", "patient": {"id": "x" * 5000}, "study": {"u": "1.2"}, "entry": "x", "match": match}
    short = json.loads(reduced(json.dumps(whole).encode(), 4))
    assert short == {
        "event_id": "r-0",
        "position": 4,
        "study": {"u": "1.2"},
        "match": {"rule": "3", "status": "B102", "registry_position": 2},
        "dataref": "/api/v1/events/4",
        "reduced": "too-large",
    }
    assert json.loads(reduced(b'{"dataref":"/api/v1/quarantine/1"}', 4))["dataref"] == "/api/v1/quarantine/1"


@limits(deadline=None, max_examples=60)
@given(
    st.binary(max_size=300),
    st.binary(max_size=3000),
    st.lists(st.tuples(st.text("abc_-", min_size=1, max_size=20), st.binary(max_size=100)), max_size=12),
)
def test_a_record_is_never_larger_than_measured(key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
    """The batch that the library builds of it fits into the size that was compared with the topic's limit."""
    builder = DefaultRecordBatchBuilder(2, 0, False, 1, 0, 0, 1 << 20)
    builder.append(0, 1_700_000_000_000, key, value, headers)
    assert len(builder.build()) <= SIZE_OF(key, value, headers)


class Batches:
    """The library's futures, settled by hand."""

    def __init__(self) -> None:
        self.acknowledged, self.failures = 0, list[BaseException]()
        self.in_flight = InFlight(self._acknowledged, self.failures.append)

    def _acknowledged(self) -> None:
        self.acknowledged += 1

    def send(self, batch: FutureProduceResult, partition: int, position: int) -> None:
        future = FutureRecordMetadata(batch, 0, 0, None, 0, 0, 0)
        self.in_flight.add(partition, future, position, f"e-{position}", 10)


def test_a_flight_is_settled_in_order() -> None:
    """A later batch that is acknowledged first changes nothing yet; partitions do not wait for each other."""
    world = Batches()
    first, second, other = (FutureProduceResult(None) for _ in range(3))
    for position in (1, 2):
        world.send(first, 0, position)
    world.send(other, 1, 3)
    world.send(second, 0, 4)
    checkpoints: dict[int, PartitionCheckpoint] = {}
    assert (world.in_flight.lowest(), world.in_flight.records, world.in_flight.bytes) == (1, 4, 40)
    second.success((12, -1, None))
    assert (world.in_flight.reap(checkpoints), checkpoints) == (0, {})
    other.success((5, -1, None))
    assert (world.in_flight.reap(checkpoints), checkpoints) == (1, {1: PartitionCheckpoint(6, 3, "e-3")})
    first.success((10, -1, None))
    assert (world.in_flight.reap(checkpoints), checkpoints[0]) == (3, PartitionCheckpoint(13, 4, "e-4"))
    assert (world.in_flight.lowest(), world.in_flight.records, world.in_flight.bytes) == (None, 0, 0)
    assert (world.acknowledged, world.failures) == (3, [])


def test_a_broker_that_does_not_say_where() -> None:
    """A batch that it had already: the mark's offset stays, its position moves on."""
    world = Batches()
    batch = FutureProduceResult(None)
    world.send(batch, 0, 8)
    batch.success((-1, -1, None))
    checkpoints = {0: PartitionCheckpoint(40, 7, "e-7")}
    world.in_flight.reap(checkpoints)
    assert checkpoints == {0: PartitionCheckpoint(40, 8, "e-8")}


def test_a_failed_batch_is_told_at_once_and_never_settled() -> None:
    """On the thread that found out, before anything else is sent."""
    world = Batches()
    batch = FutureProduceResult(None)
    world.send(batch, 0, 1)
    batch.success((-1, -1, lambda _: RelayError("refused")))
    assert [str(error) for error in world.failures] == ["refused"]
    assert world.in_flight.reap({}) == 0
    assert world.in_flight.lowest() == 1


def test_a_backlog_counts_what_is_not_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By topic, however many records of others lie between; far behind, what is not yet counted is taken for records."""
    twin = WritableTwin(tmp_path / "twin.db")
    twin.requests_of_all(8)  # five records each, over four topics
    known = Backlog("study")
    assert known.pending(twin, Progress()) == 10
    assert known.pending(twin, Progress(0, 7)) == 3
    twin.request("quarantine")
    assert known.pending(twin, Progress(0, 10)) == 0
    twin.request("study")
    assert known.pending(twin, Progress(0, 10)) == 5
    assert known.pending(twin, Progress(twin.head() - 2, 0)) == 2  # a lane that has looked at what Kafka holds
    assert known.pending(twin, Progress(twin.head() - 2, 2)) == 0
    monkeypatch.setattr(relay, "COUNTED_AT_ONCE_POSITIONS", 30)
    slow = Backlog("study")
    assert [slow.pending(twin, Progress()) for _ in range(2)] == [5 + 20, 15]
    twin.close()
