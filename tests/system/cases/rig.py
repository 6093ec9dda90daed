"""A real server under a clock that a case sets, with HL7, MPPS, devices and HTTP on sockets, and a real Kafka behind it."""

import json
import mmap
import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple, Self
from uuid import uuid4

import httpx
from kafka import KafkaConsumer, TopicPartition

from plscp.records.values import RECORDS
from tests.serving import Serving, until
from tests.system.cases.moved import CLOCK

ROOT: Final = Path(__file__).parents[3]
CASES: Final = ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9", "C10", "D8", "D9", "F1", "F2")
"""Each has rooms, devices and patients of its own, so that none disturbs another; D8 and D9 are the second halves of C8 and C9."""
DAYS_APART: Final = timedelta(days=3)
"""Between two cases: no clock that was measured, and no sign of life, counts any longer."""
TOPICS: Final = ("procedure-log", "medication-administration", "quarantine", "study", "patient")

SETTINGS: Final = """
[dicom]
port = 0
timezone = "UTC"
[store]
url = "sqlite:///{{folder}}/plscp.db"
[http]
port = 0
[kafka]
bootstrap_servers = ["{broker}"]
topic_prefix = "{prefix}"
[matching]
patient_id_issuer = "HOSP"
[operators]
policy = "any"
[feeds.hl7]
port = 0
[feeds.mpps]
"""
ROOMS: Final = """
[locations.{case}LAB1]
names = ["{case} Lab 1", "CATH^{case}LAB1"]
[locations.{case}LAB2]
names = ["{case} Lab 2", "CATH^{case}LAB2"]
"""
DEVICES: Final[Mapping[str, tuple[str, ...]]] = {
    "XRAY1": ("LAB1",),
    "XRAY2": ("LAB2",),
    "HEMO1": ("LAB1",),
    "HEMO2": ("LAB2",),
    "ECG1": ("LAB1",),
    "ECHO": ("LAB1", "LAB2"),
    "TABLET": (),
}
"""Of each case, with the labs where they are."""


def settings(broker: str, prefix: str) -> str:
    """The settings' file."""
    parts = [SETTINGS.format(broker=broker, prefix=prefix)]
    for case in CASES:
        parts.append(ROOMS.format(case=case))
        for device, labs in DEVICES.items():
            classes = ["procedural-event-logging", "substance-administration-logging"]
            if device.startswith("XRAY"):
                classes.append("modality-performed-procedure-step")
            places = [f"{case}{lab}" for lab in labs]
            parts.append(f"[devices.{case}{device}]\nsop_classes = {json.dumps(classes)}\n")
            parts.append(f"location = {json.dumps(places)}\n" if places else "")
    return "".join(parts)


class Record(NamedTuple):
    """One published record."""

    position: int
    type: str
    key: str
    value: dict[str, Any]


class Rig:
    """The server, its clock, and what it has published.

    Args:
        folder: where the server lives.
        broker: of Kafka.
    """

    def __init__(self, folder: Path, broker: str) -> None:
        self._prefix = f"cases-{uuid4().hex[:8]}"
        self._broker = broker
        self._day = datetime(2024, 5, 14, tzinfo=UTC)
        clock = folder / "clock"
        clock.write_bytes(bytes(8))
        with clock.open("r+b") as file:
            self._clock = mmap.mmap(file.fileno(), 8)
        self.now = self._day
        self.clock(self._day)
        self.serving = Serving(folder, settings(broker, self._prefix), ("-m", "tests.system.cases.moved"))
        self.serving.environ = {CLOCK: str(clock), "PYTHONPATH": str(ROOT)}
        self._published: dict[int, Record] = {}

    def __enter__(self) -> Self:
        self.serving.start()
        self.consumer = KafkaConsumer(
            bootstrap_servers=self._broker, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "consumer"):
            self.consumer.close()
        self.serving.end()
        self._clock.close()

    # --- time ---

    def clock(self, now: datetime) -> None:
        """Set the server's clock."""
        self.now = now
        self._clock[:8] = struct.pack("<q", (now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1))

    def next_day(self) -> datetime:
        """The day of the next case: its midnight, UTC; the clock shows it."""
        self._day += DAYS_APART
        self.clock(self._day)
        return self._day

    # --- what the server says ---

    @property
    def hl7(self) -> tuple[str, int]:
        """Where it listens for HL7."""
        said = [line.split()[-1] for line in self.serving.lines if line.startswith("hl7 ")]
        host, _, port = said[-1].rpartition(":")
        return host, int(port)

    def get(self, path: str, **params: Any) -> Any:
        """A JSON answer of its API."""
        return self.serving.get(path, **params)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        """POST to its API."""
        return httpx.post(self.serving.http + path, json=dict(body or {}), timeout=60)

    def events(self, after: int) -> list[dict[str, Any]]:
        """What it has stored after a position."""
        found: list[dict[str, Any]] = []
        while True:
            last = found[-1]["position"] if found else after
            page = self.get("/api/v1/events", after=last, limit=1000, kind="all")["events"]
            found += page
            if len(page) < 1000:
                return found

    def head(self) -> int:
        """The last position."""
        return int(self.get("/api/v1/status")["store"]["position"])

    # --- what it publishes ---

    def published(self, after: int) -> list[Record]:
        """Every record after a position that is to be published, read back from Kafka, by position."""
        due = {event["position"] for event in self.events(after) if event["type"] in RECORDS}
        until(lambda: due <= self._read(), "what is published")
        return [self._published[position] for position in sorted(due)]

    def _read(self) -> set[int]:
        known = self.consumer.assignment()
        there = [
            TopicPartition(f"{self._prefix}.{topic}", partition)
            for topic in TOPICS
            for partition in self.consumer.partitions_for_topic(f"{self._prefix}.{topic}") or ()
        ]
        if set(there) != known:
            self.consumer.assign(there)
            self.consumer.seek_to_beginning(*there)
        for records in self.consumer.poll(200).values():
            for record in records:
                headers = dict(record.headers)
                if b"position" not in map(str.encode, headers):
                    continue  # the relay's barrier
                position = int(headers["position"])
                again = self._published.setdefault(
                    position,
                    Record(position, headers["ce_type"].decode(), record.key.decode(), json.loads(record.value)),
                )
                assert again.value == json.loads(record.value)
        return set(self._published)

    def refused(self, calling_ae: str) -> Iterator[dict[str, Any]]:
        """Open quarantine items of a device, newest first."""
        yield from self.get("/api/v1/quarantine", open="true", calling_ae=calling_ae)["items"]
