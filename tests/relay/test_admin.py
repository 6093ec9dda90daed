"""`relay repartition`, `relay rewind` and `verify` on the real broker."""

import gc
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer, TopicPartition

from plscp.errors import RelayError
from plscp.relay.admin import repartition, rewind
from plscp.relay.cursor import Partitions
from plscp.relay.settings import RelaySettings
from plscp.relay.verify import PartitionReport, VerificationReport, verify
from tests.conftest import Broker
from tests.kafkaread import read_all
from tests.ports import silent_port
from tests.relay.helpers import Child, check, settings
from tests.relay.test_topics import make, make_anew
from tests.relay.twin import WritableTwin
from tests.serving import until

pytestmark = pytest.mark.kafka


def run(given: RelaySettings, twin: WritableTwin, requests: int) -> None:
    """Publish so many more requests."""
    twin.requests_of_all(requests)
    with Child(given) as relay:
        relay.until_done(twin)


def total(report: VerificationReport, name: str) -> int:
    return sum(getattr(part, name) for part in report.partitions)


def test_repartition(kafka_broker: Broker, twin: WritableTwin, prefix: str, admin: Any) -> None:
    """From the next position on; what is in the store stays where it belongs, published or not, cursor lost or not."""
    given = settings(twin, kafka_broker.address, prefix)
    run(given, twin, 40)
    admin.create_partitions({f"{prefix}.study": 12})
    first = twin.head()
    twin.requests_of_all(40)  # in the store, not published
    head = twin.head()
    done = repartition(given, "study")
    assert done == (f"{prefix}.study", 6, 12, head + 1)
    run(given, twin, 40)
    given.cursor.unlink()
    run(given, twin, 40)
    plan = Partitions([(0, 6), (head + 1, 12)])
    study = [record for record in read_all(kafka_broker.address, prefix) if record.topic == f"{prefix}.study"]
    assert len(study) == 200
    assert all(record.partition == plan.of(record.position, record.key) for record in study)
    assert {record.partition for record in study if record.position > head} - set(range(6))
    assert any(first < record.position <= head for record in study)
    assert verify(given).ok


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        ("study", "has 6 partitions and 6 are in use: nothing to do"),
        ("patient", "no topic patient"),
    ],
)
def test_repartition_refused(kafka_broker: Broker, twin: WritableTwin, prefix: str, topic: str, why: str) -> None:
    """One line says why."""
    given = settings(twin, kafka_broker.address, prefix)
    run(given, twin, 4)
    with pytest.raises(RelayError, match=why):
        repartition(given, topic)


def test_rewind(kafka_broker: Broker, twin: WritableTwin, prefix: str, admin: Any) -> None:
    """A topic made again gets everything once more; one that still holds it is refused."""
    given = settings(twin, kafka_broker.address, prefix)
    run(given, twin, 8)
    with pytest.raises(RelayError, match=r"holds 10 records of this store above position 0, up to \d+"):
        rewind(given, "study", 0)
    make_anew(admin, f"{prefix}.study")
    done = rewind(given, f"{prefix}.study", 0)
    assert done == (f"{prefix}.study", 1, 10)
    with Child(given) as relay:
        relay.until_done(twin)
        assert not relay.events("relay-topic-changed")
    run(given, twin, 8)
    assert len(check(kafka_broker.address, prefix, twin)) == twin.head()


def test_rewind_to_a_position(kafka_broker: Broker, twin: WritableTwin, prefix: str, admin: Any) -> None:
    """Only what lies above it."""
    given = settings(twin, kafka_broker.address, prefix)
    run(given, twin, 8)
    make_anew(admin, f"{prefix}.study")
    assert rewind(given, "study", 20).records == 5
    with Child(given) as relay:
        relay.until_done(twin)
    check(kafka_broker.address, prefix, twin, gone={f"{prefix}.study": 20})


def test_refused_while_the_relay_runs_or_nothing_is_there(
    kafka_broker: Broker, twin: WritableTwin, prefix: str
) -> None:
    """One line each: the relay's lock, a position past the head, nothing published, no topic."""
    given = settings(twin, kafka_broker.address, prefix)
    with pytest.raises(RelayError, match="nothing was published yet"):
        repartition(given, "study")
    with pytest.raises(RelayError, match="it is missing"):
        rewind(given, "study", 0)
    twin.requests_of_all(4)
    with Child(given) as relay:
        relay.until_done(twin)
        for refused in (lambda: repartition(given, "study"), lambda: rewind(given, "study", 0)):
            with pytest.raises(RelayError, match="a relay is at work on this store"):
                refused()
    with pytest.raises(RelayError, match="the store ends at position 20"):
        rewind(given, "study", 21)


def sockets() -> int:
    """How many this process has open."""
    return sum(each.is_socket() for each in Path("/proc/self/fd").iterdir())


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # the library's, of connections that it gave up
@pytest.mark.parametrize("command", [lambda given: rewind(given, "study", 0), verify])
def test_no_broker_is_one_line(twin: WritableTwin, command: Callable[[RelaySettings], Any]) -> None:
    """Exit status 3, and neither threads nor descriptors are left behind."""
    before = threading.active_count(), sockets()
    with silent_port() as port:
        line, status = refusal(lambda: command(settings(twin, f"127.0.0.1:{port}", "away", hasty=True)))
    gc.collect()
    assert line.startswith("no broker answers at 127.0.0.1:")
    assert "\n" not in line
    assert status == 3
    until(lambda: threading.active_count() <= before[0] and sockets() <= before[1], "its threads and sockets to go")


def refusal(command: Callable[[], Any]) -> tuple[str, int]:
    """What a command says that must fail; its traceback, which holds the library's sockets, ends here."""
    try:
        command()
    except RelayError as error:
        return str(error), error.exit_status
    raise AssertionError("it did not fail")


def test_verify_finds_nothing_wrong(kafka_broker: Broker, twin: WritableTwin, prefix: str, tmp_path: Path) -> None:
    """All there, beside another store's records; the relay may run meanwhile."""
    other = WritableTwin(tmp_path / "other.db")
    run(settings(other, kafka_broker.address, prefix), other, 4)
    given = settings(twin, kafka_broker.address, prefix)
    twin.requests_of_all(24)
    with Child(given) as relay:
        relay.until_done(twin)
        report = verify(given)
    assert report.ok
    assert (report.head, total(report, "expected"), total(report, "records")) == (120, 120, 120)
    assert total(report, "foreign") == 20 + 24 * 2  # with the barriers of its start: before and with the count
    assert json.loads(json.dumps(report.as_json()))["ok"] is True
    assert not verify(given, chain=lambda _: 17).ok
    other.close()


def test_verify_finds_what_is_wrong(kafka_broker: Broker, twin: WritableTwin, prefix: str, admin: Any) -> None:
    """Missing, repeated, out of order, in the wrong partition, reduced: each is counted and named."""
    given = settings(twin, kafka_broker.address, prefix)
    make(admin, f"{prefix}.procedure-log")
    twin.append([("procedure-log", "k", 10)] * 7)
    part = Partitions.fixed(6).of(1, "k")
    producer = KafkaProducer(bootstrap_servers=kafka_broker.address)
    for position, where in ((1, part), (3, part), (2, part), (3, part), (5, part), (6, (part + 1) % 6), (4, part)):
        reduced = [("reduced", b"too-large")] if position == 5 else []
        headers = [("store", twin.store_id.encode()), ("position", b"%d" % position), *reduced]
        producer.send(f"{prefix}.procedure-log", key=b"k", value=b"{}", headers=headers, partition=where)
    producer.close()
    report = verify(given)
    assert not report.ok
    assert report.partitions[part] == PartitionReport(
        topic=f"{prefix}.procedure-log",
        partition=part,
        expected=7,
        records=6,
        missing=2,
        repeats=1,
        droppable=1,
        out_of_order=2,
        reduced=1,
        first_missing=[6, 7],
        first_out_of_order=[2, 4],
    )
    wrong = report.partitions[(part + 1) % 6]
    assert (wrong.misplaced, wrong.first_misplaced, wrong.ok) == (1, [6], False)
    assert report.absent == []
    twin.request("study")
    assert verify(given).absent == [f"{prefix}.study"]


def test_verify_does_not_judge_what_retention_took(
    kafka_broker: Broker, twin: WritableTwin, prefix: str, admin: Any
) -> None:
    """Below the first offset that the broker still has."""
    given = settings(twin, kafka_broker.address, prefix)
    run(given, twin, 24)
    admin.delete_records({TopicPartition(f"{prefix}.study", part): -1 for part in range(6)})
    report = verify(given)
    assert report.ok
    assert (total(report, "not_judged"), total(report, "missing")) == (30, 0)
    twin.request("study")
    unpublished = verify(given)
    assert (total(unpublished, "missing"), total(unpublished, "unpublished")) == (5, 5)
