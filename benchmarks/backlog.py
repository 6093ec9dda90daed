"""How fast the relay brings a backlog into Kafka: events of a server without Kafka, then Kafka comes."""

import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import NewTopic

from benchmarks import servers
from benchmarks.generator import Generator
from benchmarks.plan import Plan, Say
from benchmarks.requests import make
from benchmarks.targets import BACKLOG

PARTITIONS = 6
ASSOCIATIONS = 64
PATIENCE = 60.0


def measure(plan: Plan, generator: Generator, folder: Path, kafka: str, say: Say) -> dict[str, Any]:
    """Records/s between the broker's stamps on the first and the last batch, and the relay's processor time for it."""
    home = folder / "backlog"
    waiting = _fill(plan.backlog, generator, home)
    say(f"relay: {waiting} records wait")
    prefix = f"backlog-{uuid.uuid4().hex[:8]}"
    _topic(kafka, f"{prefix}.procedure-log")
    server = servers.plscp(home, kafka, prefix, ready=False)
    watch = Processor(server)
    watch.start()
    try:
        stamps = _stamps(kafka, f"{prefix}.procedure-log", waiting)
    finally:
        watch.ended.set()
        watch.join()
        server.stop()
    seconds = max((stamps[-1] - stamps[0]) / 1000, 0.001)
    first_batch = stamps.count(stamps[0])  # it was there before its stamp
    rate = (len(stamps) - first_batch) / seconds
    used = watch.at(stamps[-1] / 1000) - watch.at(stamps[0] / 1000)
    row = {
        "records": len(stamps),
        "seconds": round(seconds, 3),
        "per_second": round(rate, 1),
        "relay_cpu_us": round(1e6 * used / max(len(stamps) - first_batch, 1), 1),
    }
    say(f"relay: {rate:.0f} records/s out of the backlog")
    return row | BACKLOG.judged(rate)


def _fill(records: int, generator: Generator, home: Path) -> int:
    """A store with at least so many records; how many."""
    server, load = servers.plscp(home), make("E1")
    answered = 0
    deadline = time.monotonic() + PATIENCE
    try:
        while answered < records and time.monotonic() < deadline:
            run = generator.drive(server.port, load, ASSOCIATIONS, seconds=2.0, warmup=0.0)
            assert not run["failures"], run
            answered += run["answered"]
            time.sleep(1.0)  # the generator numbers its requests by the second: no two runs alike
    finally:
        server.stop()
    return answered


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
