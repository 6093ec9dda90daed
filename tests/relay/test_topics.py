"""Topics that refuse, change, or hold what the store does not; records that are too large."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition
from kafka import errors as kafka_errors
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ConfigResource,
    ConfigResourceType,
    ResourcePattern,
    ResourceType,
)

from plscp.relay.topic_publisher import EXIT_STALLED, EXIT_UNKNOWN
from tests.conftest import Broker
from tests.kafkaread import read_all
from tests.relay.helpers import Child, check, settings
from tests.relay.twin import TOPICS, WritableTwin
from tests.serving import until

pytestmark = pytest.mark.kafka


def configure(admin: Any, topic: str, **config: str) -> None:
    """Set a topic's configuration."""
    given = {name.replace("_", "."): value for name, value in config.items()}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, given)])


def make(admin: Any, topic: str, count: int = 6, **config: str) -> None:
    """Make a topic."""
    configs = {name.replace("_", "."): value for name, value in config.items()}
    wanted = {"num_partitions": count, "replication_factor": 1, "configs": configs}
    admin.create_topics({topic: wanted}, wait_for_metadata=True)


def make_anew(admin: Any, topic: str, count: int = 6) -> None:
    """Delete a topic and make it again."""
    admin.delete_topics([topic])
    until(lambda: topic not in admin.list_topics(), "the topic's end")
    make(admin, topic, count)


def test_too_large_is_published_reduced(kafka_broker: Broker, twin: WritableTwin, prefix: str, admin: Any) -> None:
    """At its own position, same id, a dataref instead of the data; its neighbours are whole."""
    make(admin, f"{prefix}.procedure-log", max_message_bytes="20000")
    twin.append([("procedure-log", "k", 18000), ("procedure-log", "k", 40000), ("procedure-log", "k", 18000)])
    twin.requests_of_all(4)
    with Child(settings(twin, kafka_broker.address, prefix)) as relay:
        status = relay.until_done(twin)
    first, second, third = [record for record in check(kafka_broker.address, prefix, twin) if record.key == "k"]
    assert (len(first.value["entry"]), len(third.value["entry"])) == (18000, 18000)
    whole = twin.records(1, 1)[0]
    assert second.headers["reduced"] == "too-large"
    assert second.headers["ce_id"] == second.value["event_id"] == whole[4]
    assert second.value["position"] == second.position == 2
    assert second.value["match"] == {"rule": "1", "status": "0000"}
    assert second.value["dataref"] == "/api/v1/events/2"
    assert "entry" not in second.value
    assert "reduced" not in first.headers
    assert status["published"][f"{prefix}.procedure-log"]["reduced"] == 1
    assert [event["position"] for event in relay.events("relay-record-reduced")] == [2]


def test_a_limit_lowered_while_it_runs(kafka_broker: Broker, twin: WritableTwin, prefix: str, admin: Any) -> None:
    """The broker refuses a batch: unknown, so the process ends at once; its successor measures by the new limit."""
    topic = f"{prefix}.procedure-log"
    with Child(settings(twin, kafka_broker.address, prefix)) as relay:
        twin.requests_of_all(4)
        relay.until_done(twin)
        configure(admin, topic, max_message_bytes="9000")
        twin.append([("procedure-log", "k", padding) for padding in (100, 12000, 100, 12000, 100)])
        twin.requests_of_all(4)
        relay.until_done(twin, revive=True)
        assert set(relay.codes) == {EXIT_UNKNOWN}
    read = check(kafka_broker.address, prefix, twin)
    assert sum("reduced" in record.headers for record in read) == 2


def test_a_missing_topic_waits_alone(kafka_broker: Broker, twin: WritableTwin, prefix: str, admin: Any) -> None:
    """With create_topics off: the others go on, one line names it, and it catches up when somebody makes it."""
    for topic in TOPICS[:3]:
        make(admin, f"{prefix}.{topic}")
    given = settings(twin, kafka_broker.address, prefix)
    object.__setattr__(given.kafka, "create_topics", False)
    twin.requests_of_all(8)
    with Child(given) as relay:
        status = relay.until_state(f"{prefix}.study", "waiting")
        relay.until_state(f"{prefix}.quarantine", "running")
        assert status["topics"][f"{prefix}.study"]["why"] == "it is missing"
        read = read_until(kafka_broker, twin, prefix, 30)
        assert {record.topic for record in read} == {f"{prefix}.{topic}" for topic in TOPICS[:3]}
        assert relay.latest()["pending"] > 0
        make(admin, f"{prefix}.study")
        relay.until_done(twin)
        (said,) = relay.events("relay-topic-waits")
        assert (said["topic"], said["why"]) == (f"{prefix}.study", "it is missing")
    check(kafka_broker.address, prefix, twin)


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
def test_a_compacted_topic_waits_alone(
    kafka_broker: Broker, twin: WritableTwin, prefix: str, admin: Any, policy: str
) -> None:
    """It would keep one event a key, and takes no barrier: one line names what mends it, and then everything comes."""
    topic = f"{prefix}.study"
    make(admin, topic, cleanup_policy=policy)
    twin.requests_of_all(8)
    with Child(settings(twin, kafka_broker.address, prefix)) as relay:
        relay.until_state(topic, "waiting")
        relay.until_state(f"{prefix}.quarantine", "running")
        configure(admin, topic, cleanup_policy="delete")
        relay.until_done(twin)
        (said,) = relay.events("relay-topic-waits")
    assert said["topic"] == topic
    assert said["why"] == (
        f"its cleanup.policy is {policy}, which deletes events that were not read: kafka-configs.sh --bootstrap-server "
        f"{kafka_broker.address} --alter --topic {topic} --add-config cleanup.policy=delete"
    )
    check(kafka_broker.address, prefix, twin)


def read_until(broker: Broker, twin: WritableTwin, prefix: str, count: int) -> list[Any]:
    """Read until so many own records are there."""

    def there() -> list[Any] | None:
        read = read_all(broker.address, prefix, store=twin.store_id)
        return read if len(read) >= count else None

    return list(until(there, f"{count} records"))


def test_a_forbidden_topic_waits_alone(kafka_broker: Broker, twin: WritableTwin, prefix: str, admin: Any) -> None:
    """Writing is forbidden: the others go on; allowed again, it catches up."""
    for topic in TOPICS:
        make(admin, f"{prefix}.{topic}")
    pattern = ResourcePattern(ResourceType.TOPIC, f"{prefix}.quarantine")
    rules = [
        ACL("User:ANONYMOUS", "*", ACLOperation.WRITE, ACLPermissionType.DENY, pattern),
        # A topic with any rule is closed to everyone but whom another rule lets in.
        ACL("User:*", "*", ACLOperation.ALL, ACLPermissionType.ALLOW, pattern),
    ]
    try:
        admin.create_acls(rules)
    except kafka_errors.SecurityDisabledError:
        pytest.skip("the broker named by PLSCP_TEST_KAFKA has no authorizer")
    twin.requests_of_all(8)
    with Child(settings(twin, kafka_broker.address, prefix)) as relay:
        relay.until_state(f"{prefix}.quarantine", "waiting")
        assert len(read_until(kafka_broker, twin, prefix, 30)) == 30
        assert relay.latest()["errors"] == [f"{prefix}.quarantine: writing to it is not allowed"]
        admin.delete_acls([ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, pattern)])
        relay.until_done(twin)
    check(kafka_broker.address, prefix, twin)


def test_a_topic_that_stops_acknowledging(kafka_broker: Broker, twin: WritableTwin, prefix: str, admin: Any) -> None:
    """Deleted under its relay: the broker answers and nothing is acknowledged, so start anew; then it waits, alone."""
    topic = f"{prefix}.study"
    given = settings(twin, kafka_broker.address, prefix, stall_seconds=1.0)
    object.__setattr__(given.kafka, "create_topics", False)
    for name in TOPICS:
        make(admin, f"{prefix}.{name}")
    with Child(given) as relay:
        twin.requests_of_all(4)
        relay.until_done(twin, revive=True)
        before = twin.head()
        admin.delete_topics([topic])
        twin.requests_of_all(8)
        relay.wake()
        assert relay.ended() == EXIT_STALLED
        relay.start()
        relay.until_state(topic, "waiting")
        read_until(kafka_broker, twin, prefix, 15 + 30)
        make(admin, topic)
        relay.until_done(twin, revive=True)
    read = check(kafka_broker.address, prefix, twin, gone={topic: before})
    assert sum(record.topic == topic for record in read) == 10


def test_fewer_partitions_than_in_use(kafka_broker: Broker, twin: WritableTwin, prefix: str, admin: Any) -> None:
    """That topic stops, named in a line; the others go on."""
    twin.requests_of_all(8)
    given = settings(twin, kafka_broker.address, prefix)
    with Child(given) as relay:
        relay.until_done(twin)
    make_anew(admin, f"{prefix}.study", 3)
    twin.requests_of_all(8)
    with Child(given) as relay:
        status = relay.until_state(f"{prefix}.study", "waiting")
        assert status["topics"][f"{prefix}.study"]["why"] == "it has 3 partitions, fewer than the 6 in use"
        read_until(kafka_broker, twin, prefix, 60)


def test_more_partitions_stay_unused(kafka_broker: Broker, twin: WritableTwin, prefix: str, admin: Any) -> None:
    """Even when the cursor is lost: the barriers say the count that was in use."""
    given = settings(twin, kafka_broker.address, prefix)
    twin.requests_of_all(24)
    with Child(given) as relay:
        relay.until_done(twin)
    admin.create_partitions({f"{prefix}.study": 12})
    for lost in (False, True):
        if lost:
            given.cursor.unlink()
        twin.requests_of_all(24)
        with Child(given) as relay:
            relay.until_done(twin)
        assert len(check(kafka_broker.address, prefix, twin)) == twin.head()


def test_made_again_it_goes_on_after_the_cursor(
    kafka_broker: Broker, twin: WritableTwin, prefix: str, admin: Any
) -> None:
    """Loudly, and without publishing anything twice; what was there before comes back by `rewind` only."""
    given = settings(twin, kafka_broker.address, prefix)
    twin.requests_of_all(8)
    with Child(given) as relay:
        relay.until_done(twin)
    before = twin.head()
    make_anew(admin, f"{prefix}.study")
    twin.requests_of_all(8)
    with Child(given) as relay:
        relay.until_done(twin)
        (said,) = relay.events("relay-topic-changed")
        assert (said["topic"], said["why"]) == (f"{prefix}.study", "it was made again")
    read = read_all(kafka_broker.address, f"{prefix}", store=twin.store_id)
    assert all(record.position > before for record in read if record.topic == f"{prefix}.study")
    assert sum(record.topic == f"{prefix}.study" for record in read) == 10


def test_made_again_while_it_runs(kafka_broker: Broker, twin: WritableTwin, prefix: str, admin: Any) -> None:
    """Noticed by the next look at the topics: start anew, loudly."""
    with Child(settings(twin, kafka_broker.address, prefix, check_seconds=0.2)) as relay:
        twin.requests_of_all(4)
        relay.until_done(twin)
        make_anew(admin, f"{prefix}.study")
        assert relay.ended() in {EXIT_UNKNOWN, 72}
        relay.start()
        twin.requests_of_all(4)
        relay.until_done(twin)
        assert relay.events("relay-topic-changed")


def test_retention_took_everything(kafka_broker: Broker, twin: WritableTwin, prefix: str, admin: Any) -> None:
    """The partitions hold nothing any more: the cursor's positions count."""
    given = settings(twin, kafka_broker.address, prefix)
    twin.requests_of_all(8)
    with Child(given) as relay:
        relay.until_done(twin)
    before = twin.head()
    admin.delete_records({TopicPartition(f"{prefix}.study", part): -1 for part in range(6)})
    twin.requests_of_all(8)
    with Child(given) as relay:
        relay.until_done(twin)
    read = read_all(kafka_broker.address, prefix, store=twin.store_id)
    study = [record.position for record in read if record.topic == f"{prefix}.study"]
    assert len(study) == 10
    assert min(study) > before


def remove(file: Path) -> None:
    file.unlink()


def damage(file: Path) -> None:
    file.write_bytes(b"not a database" * 100)


def age(file: Path) -> None:
    """Back to what it was before the second half was published."""
    shutil.copy(file.with_suffix(".old"), file)


def test_cursor_lost_damaged_or_old(kafka_broker: Broker, twin: WritableTwin, prefix: str) -> None:
    """The partitions say what they hold: nothing is twice, nothing is left out."""
    given = settings(twin, kafka_broker.address, prefix)
    for harm in (None, remove, damage, age):
        if harm is not None:
            for rest in ("-wal", "-shm"):
                given.cursor.with_name(given.cursor.name + rest).unlink(missing_ok=True)
            harm(given.cursor)
        twin.requests_of_all(12)
        with Child(given) as relay:
            relay.until_done(twin)
            (recovered, *_) = relay.events("relay-recovered")
            assert recovered["cursor"] == ("used" if harm is age else "none")
        if harm is None:
            with closing(sqlite3.connect(given.cursor)) as base:
                base.execute("VACUUM INTO ?", (str(given.cursor.with_suffix(".old")),))
        assert len(check(kafka_broker.address, prefix, twin)) == twin.head()


@pytest.mark.parametrize("grown", [False, True])
def test_a_store_older_than_what_it_published(
    kafka_broker: Broker, twin: WritableTwin, prefix: str, tmp_path: Path, *, grown: bool
) -> None:
    """Put back from a copy: nothing is published, on any topic, even when it has grown past its former head."""
    twin.requests_of_all(8)
    (tmp_path / "old").mkdir()
    with Child(settings(twin, kafka_broker.address, prefix)) as relay:
        relay.until_done(twin)
        older = WritableTwin(tmp_path / "old" / "store.db")
        twin.base.execute("ATTACH ? AS o", (str(older.file),))
        twin.base.execute("DELETE FROM o.head; INSERT INTO o.head SELECT * FROM head")
        twin.base.execute("INSERT INTO o.events SELECT * FROM events")
        twin.request("study")
        relay.until_done(twin)
    if grown:
        older.requests_of_all(8)
    before = len(read_all(kafka_broker.address, prefix, store=twin.store_id))
    with Child(settings(older, kafka_broker.address, prefix)) as relay:
        status = relay.until_state(f"{prefix}.study", "halted")
        why = status["topics"][f"{prefix}.study"]["why"]
        assert ("than the store" if grown else "the store ends at 40") in why
        (said,) = relay.events("relay-halted")
        assert said["why"] == why
        relay.until_state(f"{prefix}.procedure-log", "halted")
    assert len(read_all(kafka_broker.address, prefix, store=twin.store_id)) == before
    older.close()
