"""How fast the relay brings a backlog into Kafka: events of a server without Kafka, then Kafka comes.

Beside it, in the same run, kafka-python's own producer with the relay's settings, given the same records from memory:
`python -m benchmarks.backlog BROKER TOPIC DATABASE`.
"""

import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from benchmarks import servers
from benchmarks.generator import Generator
from benchmarks.plan import Plan, Say
from benchmarks.requests import make
from benchmarks.targets import BACKLOG, BACKLOG_OVER_OWN
from plscp.relay.cursor import Partitions
from plscp.relay.producer import LINGER_MS, Envelope
from plscp.relay.settings import KafkaSettings
from plscp.store.relay_view import RelayView

TOPIC = "procedure-log"
PARTITIONS = 6
ASSOCIATIONS = 64
ENTRIES = 5
"""Of each request."""
PATIENCE = 60.0
LARGEST_BYTES = 1_048_588
"""Kafka's own max.message.bytes."""


def measure(plan: Plan, generator: Generator, folder: Path, kafka: str, say: Say) -> dict[str, Any]:
    """Records/s between the broker's stamps on the first and the last batch, and the processor time for it; relay and own producer."""
    home = folder / "backlog"
    waiting = _fill(plan.backlog, generator, home)
    say(f"relay: {waiting} records wait")
    own = _own(kafka, home, waiting)
    relay = _relay(kafka, home, waiting)
    again = _own(kafka, home, waiting)
    rate = (own["per_second"] + again["per_second"]) / 2
    over = relay["per_second"] / rate
    say(f"relay: {relay['per_second']:.0f} records/s out of the backlog, {over:.2f} of kafka-python's own producer")
    return {
        **relay,
        **BACKLOG.judged(relay["per_second"]),
        "own_per_second": round(rate, 1),
        "own_cpu_us": round((own["cpu_us"] + again["cpu_us"]) / 2, 1),
        "over_own": round(over, 2),
        "own": BACKLOG_OVER_OWN.judged(over),
    }


def _relay(kafka: str, home: Path, waiting: int) -> dict[str, Any]:
    prefix = f"backlog-{uuid.uuid4().hex[:8]}"
    _topic(kafka, f"{prefix}.{TOPIC}")
    server = servers.plscp(home, kafka, prefix, ready=False)
    watch = Processor(server)
    watch.start()
    try:
        stamps = _stamps(kafka, f"{prefix}.{TOPIC}", waiting)
    finally:
        watch.ended.set()
        watch.join()
        server.stop()
    figures, first_batch = _rate(stamps)
    used = watch.at(stamps[-1] / 1000) - watch.at(stamps[0] / 1000)
    return figures | {"relay_cpu_us": round(1e6 * used / max(len(stamps) - first_batch, 1), 1)}


def _own(kafka: str, home: Path, waiting: int) -> dict[str, Any]:
    topic = f"own-{uuid.uuid4().hex[:8]}"
    _topic(kafka, topic)
    command = [sys.executable, "-m", "benchmarks.backlog", kafka, topic, str(home / "plscp.db")]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    figures, _ = _rate(_stamps(kafka, topic, waiting))
    return figures | {"cpu_us": json.loads(ended.stdout)["cpu_us"]}


def _rate(stamps: Sequence[int]) -> tuple[dict[str, Any], int]:
    """Figures of what arrived, and how many records the first batch had: it was there before its stamp."""
    seconds = max((stamps[-1] - stamps[0]) / 1000, 0.001)
    first_batch = stamps.count(stamps[0])
    rate = (len(stamps) - first_batch) / seconds
    return {"records": len(stamps), "seconds": round(seconds, 3), "per_second": round(rate, 1)}, first_batch


def main(kafka: str, topic: str, database: str) -> None:
    """Send a store's records with kafka-python's own producer; prints its processor time for each."""
    records: list[dict[str, Any]] = []
    partitions = Partitions.fixed(PARTITIONS)
    with closing(RelayView(Path(database))) as view:
        envelope = Envelope(view.store_id)
        after = 0
        while page := view.records(after, 1000, [TOPIC]):
            after = page[-1].position
            records += [
                {
                    "key": record.key.encode(),
                    "value": record.value,
                    "headers": envelope.headers(record),
                    "partition": partitions.of(record.position, record.key),
                }
                for record in page
            ]
    settings = KafkaSettings([kafka]).producer(largest=LARGEST_BYTES) | {"linger_ms": LINGER_MS}
    producer = KafkaProducer(**settings)
    for part in range(PARTITIONS):
        producer.send(topic, value=b"{}", partition=part).get(PATIENCE)
    before = time.process_time()
    for record in records:
        producer.send(topic, **record)
    producer.flush()
    used = time.process_time() - before
    producer.close()
    print(json.dumps({"cpu_us": round(1e6 * used / len(records), 1)}))


def _fill(records: int, generator: Generator, home: Path) -> int:
    """A store with at least so many records, of varied requests; how many."""
    server, load = servers.plscp(home), make("real")
    answered = 0
    deadline = time.monotonic() + PATIENCE
    try:
        while answered * ENTRIES < records and time.monotonic() < deadline:
            run = generator.drive(server.port, load, ASSOCIATIONS, seconds=2.0, warmup=0.0)
            assert not run["failures"], run
            answered += run["answered"]
            time.sleep(1.0)  # the generator numbers its requests by the second: no two runs alike
    finally:
        server.stop()
    with closing(RelayView(home / "plscp.db")) as view:
        return view.count(TOPIC, 0, view.head())


def _topic(kafka: str, name: str) -> None:
    """The topic, stamped by the broker as it appends: a producer's stamps would tell when records were handed over."""
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        configured = {"message.timestamp.type": "LogAppendTime"}
        admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=configured)])
    finally:
        admin.close()


def _stamps(kafka: str, name: str, wanted: int) -> Sequence[int]:
    """The broker's stamps of all records, in milliseconds, rising; read after they are all there."""
    consumer = KafkaConsumer(bootstrap_servers=kafka, group_id=None, enable_auto_commit=False)
    places = [TopicPartition(name, part) for part in range(PARTITIONS)]
    deadline = time.monotonic() + PATIENCE
    try:
        consumer.assign(places)
        while sum(consumer.end_offsets(places).values()) < wanted + PARTITIONS:  # a barrier in each
            if time.monotonic() > deadline:
                raise SystemExit(f"the relay did not publish {wanted} records within {PATIENCE:g} s")
            time.sleep(0.1)
        consumer.seek_to_beginning(*places)
        ends = consumer.end_offsets(places)
        found = []
        while any(consumer.position(place) < ends[place] for place in places):
            for records in consumer.poll(timeout_ms=200).values():
                found += [
                    record.timestamp for record in records if any(name == "position" for name, _ in record.headers)
                ]
    finally:
        consumer.close()
    return sorted(found)


class Processor(threading.Thread):
    """Notes the relay's processor time again and again."""

    def __init__(self, server: servers.Under) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self._server = server
        self._notes: list[tuple[float, float]] = []

    def run(self) -> None:
        """Until ended."""
        while not self.ended.wait(0.02):
            self._notes.append((time.time(), self._server.relay_cpu_seconds()))

    def at(self, moment: float) -> float:
        """Seconds used until this time (seconds since the epoch)."""
        return max((used for when, used in self._notes if when <= moment), default=0.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
