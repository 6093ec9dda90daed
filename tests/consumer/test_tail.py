"""Reading along on the real broker: the records of one store, each once, whatever else is in the topics."""

import json
import time
from itertools import islice, pairwise
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient, KafkaProducer

from plscp.consumer.tail import Record, tail
from plscp.errors import Unreachable
from tests.conftest import Broker
from tests.ports import silent_port

OWN, OTHER = "11111111-0000-0000-0000-000000000000", "22222222-0000-0000-0000-000000000000"


def headers(position: int | None, store: str = OWN) -> list[tuple[str, bytes]]:
    """Headers of a record; a barrier has no position."""
    made = [("store", store.encode()), ("ce_type", b"org.plscp.test.v1")]
    return made if position is None else [*made, ("position", str(position).encode())]


@pytest.fixture
def topic(kafka_broker: Broker) -> str:
    """A topic of two partitions."""
    name = f"tail-{uuid4().hex[:8]}.procedure-log"
    admin = KafkaAdminClient(bootstrap_servers=kafka_broker.address)
    admin.create_topics({name: {"num_partitions": 2, "replication_factor": 1}})
    admin.close()
    return name


def write(broker: Broker, topic: str, *records: tuple[int, int | None, str]) -> None:
    """Append (partition, position, store) as they come."""
    producer = KafkaProducer(bootstrap_servers=broker.address)
    for partition, position, store in records:
        value = json.dumps({"position": position, "text": "Grüße"}).encode()
        producer.send(topic, value, b"1.2.3", headers(position, store), partition)
    producer.flush()
    producer.close()


def read(broker: Broker, topics: list[str], count: int, **given: Any) -> list[Record]:
    """The next so many records."""
    deadline = time.monotonic() + 60
    records = tail([broker.address], topics, going=lambda: time.monotonic() < deadline, **given)
    return list(islice((record for record in records if record is not None), count))


@pytest.mark.kafka
def test_each_position_of_a_partition_is_given_once_and_in_order(kafka_broker: Broker, topic: str) -> None:
    """Barriers and repeats are left out, partition by partition (one number per store and partition)."""
    write(
        kafka_broker,
        topic,
        *[(0, 1, OWN), (1, 2, OWN), (0, None, OWN), (0, 1, OWN), (0, 4, OWN), (1, 2, OWN), (1, 3, OWN), (0, 5, OWN)],
    )
    found = read(kafka_broker, [topic], 5)
    assert sorted((record.partition, record.position) for record in found) == [(0, 1), (0, 4), (0, 5), (1, 2), (1, 3)]
    for partition in (0, 1):
        own = [record.offset for record in found if record.partition == partition]
        assert all(first < second for first, second in pairwise(own))


@pytest.mark.kafka
def test_a_record_is_given_as_published(kafka_broker: Broker, topic: str) -> None:
    """Key and headers as text, the value as JSON."""
    write(kafka_broker, topic, (1, 7, OWN))
    (record,) = read(kafka_broker, [topic], 1)
    assert (record.topic, record.partition, record.offset, record.key) == (topic, 1, 0, "1.2.3")
    assert record.headers == {"store": OWN, "ce_type": "org.plscp.test.v1", "position": "7"}
    assert record.value == {"position": 7, "text": "Grüße"}


@pytest.mark.kafka
def test_only_the_asked_stores_records_are_given(kafka_broker: Broker, topic: str) -> None:
    """Two labs on one cluster: positions of one store say nothing about another's."""
    write(kafka_broker, topic, (0, 9, OTHER), (0, 1, OWN), (0, 10, OTHER), (0, 2, OWN))
    assert [record.position for record in read(kafka_broker, [topic], 2, store=OWN)] == [1, 2]
    assert [record.position for record in read(kafka_broker, [topic], 4)] == [9, 1, 10, 2]


@pytest.mark.kafka
def test_a_topic_that_is_made_later_is_found(kafka_broker: Broker, topic: str) -> None:
    """The relay makes its topics when it first has something for them."""
    late = f"{topic}.late"
    found: list[int | None] = []
    for record in tail([kafka_broker.address], [late], going=lambda: not found):
        if record is not None:
            found.append(record.position)
        elif late:
            admin = KafkaAdminClient(bootstrap_servers=kafka_broker.address)
            admin.create_topics({late: {"num_partitions": 1, "replication_factor": 1}})
            admin.close()
            write(kafka_broker, late, (0, 3, OWN))
            late = ""
    assert found == [3]


def test_no_broker_is_one_line_at_once() -> None:
    """With the reason for each address that was tried."""
    with (
        silent_port() as port,
        pytest.raises(Unreachable, match=rf"Kafka does not answer at 127\.0\.0\.1:{port}, x:1: "),
    ):
        next(iter(tail([f"127.0.0.1:{port}", "x:1"], ["t"], going=lambda: True)))
