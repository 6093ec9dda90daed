"""A restored store on the topics of the one that it comes from: nothing twice, nothing left out, nothing written over."""

from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition

from plscp.relay.cursor import Carried, peek
from plscp.relay.settings import KafkaSettings, RelaySettings, cursor_beside
from plscp.relay.verify import beyond, verify
from plscp.store import SqliteStore
from plscp.store.backup import PART, back_up, restore
from plscp.store.relay_view import RelayView
from tests.conftest import Broker
from tests.kafkaread import Read, read_all
from tests.relay.helpers import Child
from tests.store.drafts import accepted, administered, change, entry, rejected, request, send

pytestmark = pytest.mark.kafka

STUDIES = [f"1.2.840.{number}" for number in range(12)]


class Lab:
    """One server's store, relay and Kafka; backed up and restored as the commands do it."""

    def __init__(self, folder: Path, address: str, prefix: str) -> None:
        self.folder, self.path = folder, folder / "store.db"
        self.settings = RelaySettings(
            store_url=f"sqlite:///{self.path}",
            cursor=cursor_beside(self.path),
            kafka=KafkaSettings(bootstrap_servers=[address], topic_prefix=prefix, connect_timeout_ms=10_000),
            status_seconds=0.2,
        )
        self.address, self.prefix = address, prefix
        self.written = 0

    def write(self, rounds: int = 4) -> list[str]:
        """Some of everything that is published; the event ids."""
        store = SqliteStore(self.path)
        before = store.head()[0]
        for _ in range(rounds):
            self.written += 1
            drafts: list[Any] = [
                request(
                    [entry(f"{self.written} {study} {n}", index=n) for n in range(2)],
                    accepted(study),
                    identity=(self.written, study),
                )
                for study in STUDIES
            ]
            drafts += [
                change("study.updated", study=STUDIES[self.written % 12]),
                request(decision=administered(f"P{self.written}"), identity=("a", self.written)),
                request(decision=rejected(outcome=f"C103 {self.written}"), identity=("r", self.written)),
            ]
            send(store, *drafts)
        store.close()
        with closing(RelayView(self.path)) as view:
            return [record.event_id for record in view.records(before, 10_000)]

    def publish(self) -> list[dict[str, Any]]:
        """Run the relay until everything is acknowledged; what it logged."""
        with Child(self.settings) as relay, closing(RelayView(self.path)) as view:
            relay.until_done(view)
        return relay.log

    def back_up(self, name: str = "b.db", *, with_cursor: bool = True) -> Path:
        with closing(RelayView(self.path)) as view:
            known = Carried(peek(self.settings.cursor, view.store_id) if with_cursor else {})
        back_up(self.path, self.folder / name, beside=known.put)
        return self.folder / name

    def restore(self, backup: Path) -> str:
        """Its new id."""
        cursor = self.settings.cursor

        def take(store: Any, store_id: str) -> None:
            Carried.take(store).make(cursor.with_name(cursor.name + PART), store_id)

        return restore(backup, self.path, force=True, companions=[cursor], beside=take).store

    def read(self) -> list[Read]:
        return read_all(self.address, self.prefix)

    def check(self, *lost: str) -> list[Read]:
        """Each event of the store is there once, whoever published it, in order per partition; and what was lost is there too."""
        records = self.read()
        ids = [record.headers["ce_id"] for record in records]
        with closing(RelayView(self.path)) as view:
            expected = [record.event_id for record in view.records(0, 10_000)]
            known = {*view.ancestors(), view.store_id}
        assert sorted(ids) == sorted([*expected, *lost])
        assert {record.headers["store"] for record in records} <= known
        last: dict[tuple[str, int, str], int] = defaultdict(int)
        for record in records:
            place = (record.topic, record.partition, record.headers["store"])
            assert record.position > last[place]
            last[place] = record.position
        return records


@pytest.fixture
def lab(kafka_broker: Broker, prefix: str, tmp_path: Path) -> Lab:
    return Lab(tmp_path, kafka_broker.address, prefix)


@pytest.fixture(params=["with the cursor", "without a cursor"])
def with_cursor(request: pytest.FixtureRequest) -> bool:
    """A backup holds the relay's cursor; one of a store that published nothing yet, or a plain copy, has none."""
    return bool(request.param == "with the cursor")


def test_what_was_published_after_the_backup_stays_and_is_named(lab: Lab, with_cursor: bool) -> None:
    """The new store publishes what is new under its own id; the lost events are named with device and study, each once."""
    lab.write()
    lab.publish()
    kept = lab.write(2)
    backup = lab.back_up(with_cursor=with_cursor)
    lost = lab.write(3)
    lab.publish()
    before = lab.read()
    store_id = lab.restore(backup)
    named = beyond(lab.settings)
    assert sorted(each.event_id for each in named) == sorted(lost)
    entries = [each for each in named if each.type == "org.plscp.procedure-log.entry.v1" and each.study]
    assert {(each.device, each.study) for each in entries} == {("HEMO1", study) for study in STUDIES}
    assert [each.position for each in named] == sorted(each.position for each in named)
    new = lab.write(3)
    log = lab.publish()
    said = [line for line in log if line["event"] == "store-restored"]
    assert sum(line["beyond"] for line in said) == len(lost)
    records = lab.check(*lost)
    assert records_of(records, store_id) == sorted(new)
    assert {(r.topic, r.partition, r.offset): r.headers["ce_id"] for r in before}.items() <= {
        (r.topic, r.partition, r.offset): r.headers["ce_id"] for r in records
    }.items(), "something was written over"
    assert set(kept) <= {record.headers["ce_id"] for record in records}
    report = verify(lab.settings)
    assert report.ok
    assert sorted(each.event_id for each in report.beyond) == sorted(lost)
    assert sum(part.beyond for part in report.partitions) == len(lost)
    assert not any(part.foreign or part.repeats for part in report.partitions)
    assert not [line for line in lab.publish() if line["event"] == "store-restored"], "it is said once"


def records_of(records: list[Read], store_id: str) -> list[str]:
    """Event ids of the records of one store, sorted."""
    return sorted(record.headers["ce_id"] for record in records if record.headers["store"] == store_id)


def test_what_was_not_published_at_the_backup_comes_under_the_new_id(lab: Lab, with_cursor: bool) -> None:
    """Kafka was away, then the server was lost: what it had not published yet comes once, and nothing else again."""
    lab.write()
    lab.publish()
    waiting = lab.write(2)
    backup = lab.back_up(with_cursor=with_cursor)
    store_id = lab.restore(backup)
    assert beyond(lab.settings) == []
    new = lab.write(1)
    lab.publish()
    assert records_of(lab.check(), store_id) == sorted([*waiting, *new])
    assert verify(lab.settings).ok


def test_a_store_that_had_published_nothing(lab: Lab) -> None:
    """Everything comes under the new id."""
    events = lab.write()
    store_id = lab.restore(lab.back_up())
    lab.publish()
    assert records_of(lab.check(), store_id) == sorted(events)


def test_the_same_backup_restored_twice_publishes_nothing_twice(lab: Lab) -> None:
    """What the first restored store published of the backup's events is there; what came to it afterwards is named as lost."""
    lab.write()
    lab.publish()
    waiting = lab.write(2)
    backup = lab.back_up()
    first = lab.restore(backup)
    lost = lab.write(1)
    lab.publish()
    assert records_of(lab.read(), first) == sorted([*waiting, *lost])
    second = lab.restore(backup)
    assert sorted(each.event_id for each in beyond(lab.settings)) == sorted(lost)
    new = lab.write(1)
    lab.publish()
    assert records_of(lab.check(*lost), second) == sorted(new)
    assert verify(lab.settings).ok


def test_what_retention_took_from_kafka_does_not_come_again(lab: Lab, admin: Any) -> None:
    """The backup knows how far its store had published, although nothing on Kafka says so any more."""
    lab.write()
    lab.publish()
    backup = lab.back_up()
    topics = [lab.settings.kafka.topic(name) for name in lab.settings.topics]
    admin.delete_records({TopicPartition(topic, part): -1 for topic in topics for part in range(6)})
    store_id = lab.restore(backup)
    new = lab.write(2)
    lab.publish()
    records = lab.read()
    assert records_of(records, store_id) == sorted(record.headers["ce_id"] for record in records) == sorted(new)
    assert verify(lab.settings).ok


def test_a_restored_store_that_is_restored(lab: Lab, with_cursor: bool) -> None:
    """Each former store counts up to its own backup."""
    lab.write()
    lab.publish()
    first = lab.back_up("1.db", with_cursor=with_cursor)
    lost = lab.write(2)
    lab.publish()
    lab.restore(first)
    lab.write(2)
    lab.publish()
    waiting = lab.write(1)
    second = lab.back_up("2.db", with_cursor=with_cursor)
    lost += lab.write(2)
    # The second one's relay gets a part of it out: what it published up to the backup is not published again.
    lab.publish()
    store_id = lab.restore(second)
    new = lab.write(2)
    lab.publish()
    records = lab.check(*lost)
    assert records_of(records, store_id) == sorted(new)
    assert set(waiting) <= {record.headers["ce_id"] for record in records}
    report = verify(lab.settings)
    assert report.ok
    assert sorted(each.event_id for each in report.beyond) == sorted(lost)


def test_a_partition_that_lacks_a_record_of_the_former_store_is_found(
    lab: Lab, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`plscp verify` on a restored store judges what its predecessor published as its own: a hole there is a hole."""
    lab.write()
    lab.publish()
    lab.restore(lab.back_up())
    real: Callable[[RelayView], dict[str, int]] = RelayView.ancestors
    assert verify(lab.settings).ok
    monkeypatch.setattr(RelayView, "ancestors", lambda view: dict.fromkeys(real(view), 5))
    report = verify(lab.settings)
    assert not report.ok
    assert sum(part.missing for part in report.partitions) > 0


def test_under_another_prefix_everything_comes(lab: Lab, prefix: str) -> None:
    """What was published counts for the topics where it was published: a trial with other topics has all of it."""
    events = lab.write()
    lab.publish()
    backup = lab.back_up()
    lab.prefix = prefix + ".anew"
    lab.settings = replace(lab.settings, kafka=replace(lab.settings.kafka, topic_prefix=lab.prefix))
    store_id = lab.restore(backup)
    lab.publish()
    assert records_of(lab.read(), store_id) == sorted(events)
