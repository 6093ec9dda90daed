"""Plain flow on the real broker: four topics of six partitions, requests of five entries."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer

from plscp.errors import StoreUnavailable
from plscp.local.kafka import LocalBroker
from tests.conftest import Broker
from tests.kafkaread import read_all
from tests.ports import silent_port
from tests.relay.helpers import COMMAND, ROOT, Child, check, settings
from tests.relay.twin import TOPICS, WritableTwin

pytestmark = pytest.mark.kafka


def test_everything_arrives_once_and_in_order(kafka_broker: Broker, twin: WritableTwin, prefix: str) -> None:
    """What was there before the relay, and what comes while it runs; twenty starts of nothing new add nothing."""
    twin.requests_of_all(40)
    given = settings(twin, kafka_broker.address, prefix)
    with Child(given) as relay:
        relay.until_done(twin)
        for _ in range(20):
            twin.requests_of_all(4)
            relay.wake()
        status = relay.until_done(twin)
        assert not relay.events("noise")
    with Child(given) as relay:
        again = relay.until_done(twin)
    assert len(check(kafka_broker.address, prefix, twin)) == twin.head() == 600
    assert sum(topic["acknowledged"] for topic in status["published"].values()) == 600
    assert sum(topic["acknowledged"] for topic in again["published"].values()) == 0
    assert status["errors"] == []


def test_each_record_is_a_cloud_event(kafka_broker: Broker, twin: WritableTwin, prefix: str) -> None:
    """Binary mode: attributes in headers, the store's value as it is, key and partition from the key."""
    twin.request("procedure-log", key="1.2.3", entries=1)
    with Child(settings(twin, kafka_broker.address, prefix)) as relay:
        relay.until_done(twin)
    (read,) = read_all(kafka_broker.address, prefix, store=twin.store_id)
    _, _, _, kind, event_id, subject, occurred, value = twin.records(0, 1)[0]
    assert read.key == "1.2.3"
    assert read.value == json.loads(value)
    assert read.headers == {
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_source": f"/plscp/{twin.store_id}",
        "ce_type": kind,
        "ce_subject": subject,
        "ce_time": occurred,
        "ce_dataschema": f"urn:plscp:schema:{kind}",
        "content-type": "application/json",
        "store": twin.store_id,
        "position": "1",
    }


def test_the_barrier_has_no_position(kafka_broker: Broker, twin: WritableTwin, prefix: str) -> None:
    """Every partition of every topic begins with one; it names the store and the count, and no position."""
    with Child(settings(twin, kafka_broker.address, prefix)) as relay:
        relay.until_done(twin)
    consumer = KafkaConsumer(
        *(f"{prefix}.{topic}" for topic in TOPICS),
        bootstrap_servers=kafka_broker.address,
        group_id=None,
        auto_offset_reset="earliest",
        consumer_timeout_ms=60_000,
    )
    first: dict[tuple[str, int], Any] = {}
    for record in consumer:
        first.setdefault((record.topic, record.partition), []).append(record)
        if sum(map(len, first.values())) == 2 * 24:  # one before the count is known, one after
            break
    consumer.close()
    assert len(first) == 24
    for records in first.values():
        headers = dict(records[-1].headers)
        assert headers["ce_type"] == b"org.plscp.relay.started.v1"
        assert headers["store"] == twin.store_id.encode()
        assert headers["partitions"] == b"0:6"
        assert "position" not in headers
        assert records[-1].key is None


def test_a_fresh_store_on_old_topics(kafka_broker: Broker, twin: WritableTwin, prefix: str, tmp_path: Path) -> None:
    """Positions begin at 1 again, and the records of the store before it do not stand in the way."""
    twin.requests_of_all(30)
    with Child(settings(twin, kafka_broker.address, prefix)) as relay:
        relay.until_done(twin)
    fresh = WritableTwin(tmp_path / "fresh.db")
    fresh.requests_of_all(12)
    for given in (
        settings(fresh, kafka_broker.address, prefix),
        # ... nor does the old store's cursor, left beside the fresh one.
        settings(fresh, kafka_broker.address, prefix, cursor=twin.file.with_suffix(".relay")),
    ):
        with Child(given) as relay:
            relay.until_done(fresh)
            fresh.requests_of_all(4)
            relay.until_done(fresh)
    assert len(check(kafka_broker.address, prefix, fresh)) == fresh.head() == 100
    assert len(check(kafka_broker.address, prefix, twin)) == twin.head()
    fresh.close()


def test_without_a_broker_it_waits_and_says_so_once(twin: WritableTwin) -> None:
    """One line per cause, a status that tells, an end at once when the parent goes."""
    twin.request("study")
    with silent_port() as port, Child(settings(twin, f"127.0.0.1:{port}", "away", hasty=True)) as relay:
        status = relay.until_state("away.study", "waiting")
        assert not status["reachable"]
        assert status["pending"] == 5
        assert status["errors"][0].startswith("no broker answers at 127.0.0.1:")
        relay.wake()
        assert relay.stop() == 0
    assert len(relay.events("relay-kafka-away")) == 1
    assert not relay.events("relay-topic-waits")
    assert not relay.events("noise")


def test_a_broker_that_is_back_is_said(twin: WritableTwin, own_broker: Callable[[], LocalBroker]) -> None:
    """Once, with how long none answered; and what waited is published."""
    broker = own_broker()
    broker.stop()
    twin.request("study")
    with Child(settings(twin, broker.address, "back", hasty=True)) as relay:
        relay.until_state("back.study", "waiting")
        broker.start()
        relay.until_done(twin)
        assert relay.stop() == 0
    assert len(relay.events("relay-kafka-away")) == 1
    [back] = relay.events("relay-kafka-back")
    assert back["away_seconds"] > 0


def test_a_second_relay_on_the_same_store_is_refused(
    kafka_broker: Broker, twin: WritableTwin, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line and status 3."""
    given = settings(twin, kafka_broker.address, prefix)
    script = "import plscp.relay.__main__ as m; m.PATIENCE = 0.1; m.main()"
    with Child(given) as relay:
        relay.until_done(twin)
        second = subprocess.run(
            [sys.executable, "-c", script],
            input=json.dumps(given.as_json()) + "\n",
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
    assert second.returncode == 3
    (line,) = second.stderr.splitlines()
    assert "a relay is at work on this store" in json.loads(line)["why"]


@pytest.mark.parametrize(
    ("harm", "code", "line"),
    [
        ("UPDATE head SET topics = '?'", 1, "internal-error"),
        ("ALTER TABLE head RENAME TO none", StoreUnavailable.exit_status, "relay-stopped"),
    ],
)
def test_a_store_that_cannot_be_read_ends_it(
    kafka_broker: Broker, twin: WritableTwin, prefix: str, *, harm: str, code: int, line: str
) -> None:
    """The process ends with a line; nothing waits for what is under way."""
    with Child(settings(twin, kafka_broker.address, prefix)) as relay:
        relay.until_done(twin)
        twin.base.execute(harm)
        relay.wake()
        assert relay.ended() == code
    assert relay.events(line)


def test_settings_that_are_none() -> None:
    """One line, status 2."""
    ended = subprocess.run(COMMAND, input=b"what?\n", capture_output=True, cwd=ROOT, check=False, timeout=60)
    (line,) = ended.stderr.splitlines()
    assert ended.returncode == 2
    assert "the relay cannot read its settings" in json.loads(line)["why"]


def test_its_parent_is_gone_before_it_was_told_anything() -> None:
    """Ends with 0 and without a word."""
    ended = subprocess.run(COMMAND, stdin=subprocess.DEVNULL, capture_output=True, cwd=ROOT, check=False, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
