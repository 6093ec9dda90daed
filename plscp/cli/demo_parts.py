"""What the demo is made of: a server for one lab with four devices, a consumer, and the sums that must agree."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Empty, Queue
from typing import Any, NamedTuple, Self
from uuid import uuid4

from plscp.cli.client import Api
from plscp.errors import CommandError, PlscpError
from plscp.local.process import OwnProcess
from plscp.scu.pci_case import DEVICES, MAY, Subject, registry_file
from plscp.scu.playing import Played

PREFIX = "plscp"
TOPICS = tuple(f"{PREFIX}.{name}" for name in ("procedure-log", "medication-administration", "quarantine"))
"""Where the case's entries and refusals are published."""
LOOK_SECONDS = 0.2
"""Between two looks at the store, without Kafka."""

Value = Mapping[str, Any]
"""A published JSON value."""


class DemoServer(OwnProcess):
    """`plscp serve` on free ports.

    Args:
        folder: where its settings, store and log are.
        kafka: the broker's address, or empty for none.

    Attributes:
        port: of the DICOM listener.
        url: of the HTTP API.
    """

    def __init__(self, folder: Path, kafka: str) -> None:
        self.folder = folder
        self.port, self.url = 0, ""
        self._log = folder / "server.log"
        (folder / "plscp.toml").write_text(_settings(kafka), "utf-8")
        opened = datetime.now(UTC) - timedelta(minutes=5)
        (folder / "current.toml").write_text(registry_file(Subject(), opened), "utf-8")

    def start(self, timeout: float = 30.0) -> Self:
        """Start, and wait until it accepts associations; raises CommandError, one line, when it does not."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PLSCP_")}
        command = [sys.executable, "-m", "plscp", "serve", "--config", str(self.folder / "plscp.toml")]
        with self._log.open("wb") as log:
            process = self._launch(command, stdout=subprocess.PIPE, stderr=log, env=environment)
        lines: Queue[bytes] = Queue()

        def listen() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.put(line)
            lines.put(b"")

        threading.Thread(target=listen, daemon=True).start()
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = lines.get(timeout=max(deadline - time.monotonic(), 0.01))
            except Empty:
                raise CommandError(f"the server was not ready within {timeout:g} s; its log: {self._log}") from None
            if not line:
                raise CommandError(f"the server did not start: {self.last_words()}")
            if line.startswith(b"listening "):
                self.port = int(line.rsplit(b":", 1)[1])
                self.url = self._http()
                return self

    def _http(self) -> str:
        """Where the HTTP API is, as the log says it."""
        for line in self._log.read_text("utf-8", "replace").splitlines():
            if line.startswith("{") and (record := json.loads(line)).get("event") == "http-listening":
                return f"http://{record['host']}:{record['port']}"
        raise CommandError(f"the server does not say where its HTTP API is; its log: {self._log}")

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1].removeprefix("plscp: ")[:300] if lines else "it said nothing"


def _settings(kafka: str) -> str:
    broker = f'[kafka]\nbootstrap_servers = ["{kafka}"]\ntopic_prefix = "{PREFIX}"\n' if kafka else ""
    devices = "".join(
        f'\n[devices.{name}]  # {what}\nlocation = "{Subject.location}"\n' for name, what in DEVICES.items()
    )
    return f"""\
# The demo's settings: one lab, four devices, every port a free one.
[dicom]
port = 0
unknown_devices = "accept"       # so that your own event can come from any AE title

[store]
url = "sqlite:///plscp.db"

{broker}
[http]
port = 0

[registry]
file = "current.toml"

[matching]
patient_id_issuer = "{Subject.issuer}"

[locations.{Subject.location}]
names = ["{Subject.location}"]
{devices}
[operators]
policy = "list"
allowed = [{{ value = "{MAY.value}", scheme = "{MAY.scheme}", locations = ["{Subject.location}"] }}]

[log]
format = "json"
"""


class Received(NamedTuple):
    """One event as the consumer got it, and where: topic, partition and offset, or the store and the position."""

    place: str
    value: Value


class Reader:
    """The consumer: it reads in a thread of its own, from Kafka or, without it, from the store over HTTP.

    Args:
        kafka: the broker's address; empty: the HTTP API instead.
        told: called with each event, from the reader's thread.

    Attributes:
        received: everything so far.
        error: why reading ended early, or None.
    """

    def __init__(self, kafka: str, api: Api, told: Callable[[Received], None]) -> None:
        self.received: list[Received] = []
        self.error: str | None = None
        self._told = told
        self._changed = threading.Condition()
        if kafka:
            from plscp.consumer import consume  # noqa: PLC0415  # loads kafka, which --no-kafka does without

            events = consume(kafka, topics=TOPICS, group=f"demo-{uuid4()}", metadata_max_age_ms=500)
            self._end, found = events.stop, _published(events)
        else:
            stopped = threading.Event()
            self._end, found = stopped.set, _stored(api, stopped)
        self._thread = threading.Thread(target=self._run, args=(found,), name="reader", daemon=True)
        self._thread.start()

    def _run(self, found: Iterator[Received]) -> None:
        try:
            for one in found:
                self.received.append(one)
                with self._changed:
                    self._changed.notify_all()
                self._told(one)
        except PlscpError as error:
            self.error = str(error)
            with self._changed:
                self._changed.notify_all()

    def wait(self, count: int, seconds: float) -> None:
        """Wait until so many events came, or reading ended."""
        with self._changed:
            self._changed.wait_for(lambda: self.error is not None or len(self.received) >= count, seconds)

    def stop(self) -> None:
        """End reading; what was received stays."""
        self._end()
        self._thread.join(10)


def _published(events: Any) -> Iterator[Received]:
    with events:
        for event in events:
            place = f"{event.topic.rsplit('.', 1)[-1]}[{event.partition}]@{event.offset}"
            if event.data is None:
                raise CommandError(f"{place} cannot be read: {event.reason}")
            yield Received(place, event.data.model_dump(mode="json", exclude_none=True))


def _stored(api: Api, stopped: threading.Event) -> Iterator[Received]:
    after = 0
    while not stopped.wait(LOOK_SECONDS):
        found = api.get("/api/v1/events", {"after": after, "kind": "all"})
        after = found["next"]
        yield from (Received(f"store@{event['position']}", event) for event in found["events"] if "change" not in event)


class Station(NamedTuple):
    """What was found at one station: entries by (calling AE title, DateTime as sent), refusals by (calling AE title, status)."""

    entries: Counter[tuple[str, str]]
    refusals: Counter[tuple[str, str]]


class Sums(NamedTuple):
    """What the demo checks: the same entries and the same refusals at each station."""

    answered: Station
    stored: Station
    consumed: Station

    @property
    def agree(self) -> bool:
        """Whether nothing was lost, added or changed on the way."""
        return self.answered == self.stored == self.consumed


def sums(played: Iterable[Played], stored: Iterable[Value], consumed: Iterable[Value]) -> Sums:
    """Count what was answered, and the published values as the store and the consumer have them."""
    entries: Counter[tuple[str, str]] = Counter()
    refusals: Counter[tuple[str, str]] = Counter()
    for one in played:
        if one.answer.performed:
            entries.update((one.request.device, time) for time in one.times)
        else:
            refusals[one.request.device, one.answer.code] += 1
    return Sums(Station(entries, refusals), _station(stored), _station(consumed))


def _station(values: Iterable[Value]) -> Station:
    found = Station(Counter(), Counter())
    for value in values:
        device = value["sender"]["ae_title"]
        if "entry" in value:
            found.entries[device, value["occurred"]["text"]] += 1
        elif "status" in value:
            found.refusals[device, value["status"]] += 1
    return found
