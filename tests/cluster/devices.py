"""Devices that send to a server that is moved about: each repeats an event until it is acknowledged, and notes what it saw."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from plscp.consumer import consume
from plscp.records.values import EntryRecord
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from plscp.templates.log_entries import Note
from tests import events
from tests.rawscu import Aborted, Closed, RawScu, Rejected
from tests.serving import until

RESPONSE_SECONDS: Final = 10.0
"""How long a device waits for an answer, or for a connection, before it gives the association up."""
PAUSE_SECONDS: Final = 0.05
RECONNECT_SECONDS: Final = 0.2
ASSOCIATIONS: Final = 8
ROWS: Final = (
    "events acknowledged",
    "sent again",
    "associations accepted",
    "A-ABORT from the server",
    "connection closed",
    "connection refused",
    "no answer in 10 s",
    "no route",
    "A-ASSOCIATE-RJ",
    "failure status",
)
SOON: Final = {
    "readinessProbe": {"periodSeconds": 1, "failureThreshold": 2},
    "settings": {"dicom": {"drain_delay": "PT3S", "drain_grace": "PT10S"}},
}
"""Values: a drain as the chart has it, in a third of the time. While it lasts the cluster learns that the pod takes no more; a pod that is
gone before leaves its address behind, and a connection to it hangs until the device gives it up."""
Connect = Callable[[str], RawScu]
"""Makes an SCU by its calling AE title."""


@dataclass
class Device:
    """One device.

    Attributes:
        acknowledged: the texts of its events that were answered with Success.
        saw: what happened to it, and how often.
        refused: answers that no repeating helps against.
    """

    name: str
    study: str
    connect: Connect
    stop: threading.Event
    acknowledged: list[str] = field(default_factory=list)
    saw: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    _again: bool = False

    def run(self) -> None:
        """Until told to stop, and the event in hand is acknowledged."""
        numbers = itertools.count(1)
        pending: tuple[str, bytes] | None = None
        while not self.stop.is_set() or pending:
            try:
                with self.connect(self.name) as scu:
                    self.saw["associations accepted"] += 1
                    while not self.stop.is_set() or pending:
                        if pending is None:
                            words = f"{self.name} {next(numbers)}"
                            sent = events.procedural([events.note(events.now(), words)], study=self.study)
                            pending = words, events.encoded(sent)
                            self._again = False
                            self.stop.wait(PAUSE_SECONDS)
                        pending = self._exchange(scu, pending)
            except (OSError, Closed, Aborted, Rejected) as error:
                self.saw[seen(error)] += 1
                self.stop.wait(RECONNECT_SECONDS)

    def _exchange(self, scu: RawScu, pending: tuple[str, bytes]) -> tuple[str, bytes] | None:
        """Send it; what is still to be sent afterwards."""
        words, data = pending
        self.saw["sent again"] += self._again
        self._again = True
        answer = scu.request(PROCEDURAL_EVENT_LOGGING, data)
        if answer.status == 0:
            self.acknowledged.append(words)
            return None
        self.saw["failure status"] += 1
        if answer.status in {0x0110, 0x0213}:
            return pending
        self.refused.append(f"{answer.status:04X} {answer.comment}")
        return None


def seen(error: Exception) -> str:
    """What a device would say of it; a row of the table."""
    match error:
        case Aborted():
            return "A-ABORT from the server"
        case Rejected():
            return "A-ASSOCIATE-RJ"
        case Closed() | ConnectionResetError() | BrokenPipeError():
            return "connection closed"
        case ConnectionRefusedError():
            return "connection refused"
        case TimeoutError():
            return "no answer in 10 s"
        case _:
            return "no route"


def plain(address: tuple[str, int]) -> Connect:
    """Over plain TCP."""
    return lambda name: RawScu(*address, calling=name, timeout=RESPONSE_SECONDS)


class Fleet:
    """Several devices at once."""

    def __init__(self, connect: Connect, names: Sequence[str], study: str) -> None:
        self._stop = threading.Event()
        self.devices = [Device(name, study, connect, self._stop) for name in names]
        self._threads = [threading.Thread(target=device.run, daemon=True) for device in self.devices]

    @contextmanager
    def sending(self) -> Iterator[None]:
        """They send while the body runs; afterwards each has had its last event acknowledged."""
        for thread in self._threads:
            thread.start()
        try:
            self.progress()
            yield
            self.progress()
        finally:
            self._stop.set()
        for thread in self._threads:
            thread.join(180)
            assert not thread.is_alive(), "a device waits for an acknowledgement"
        assert [why for device in self.devices for why in device.refused] == []

    def progress(self) -> None:
        """Wait until each has had three more events acknowledged."""
        before = [len(device.acknowledged) for device in self.devices]

        def more() -> bool:
            return all(len(device.acknowledged) >= old + 3 for device, old in zip(self.devices, before, strict=True))

        until(more, "acknowledgements for every device", 180)

    @property
    def acknowledged(self) -> set[str]:
        """What all of them were told is safe."""
        return {words for device in self.devices for words in device.acknowledged}

    def table(self) -> dict[str, str]:
        """For each row what the devices saw: in all, and least and most of one device."""
        for device in self.devices:
            device.saw["events acknowledged"] = len(device.acknowledged)
        table = {}
        for row in ROWS:
            counts = [device.saw[row] for device in self.devices]
            table[row] = f"{sum(counts)} ({min(counts)}-{max(counts)})"
        return table


def published(broker: str, prefix: str, wanted: set[str]) -> set[str]:
    """The texts of the procedure log of a topic prefix, read until all that are wanted have come, or nothing has for a minute.

    Raises:
        AssertionError: one of them came twice.
    """
    found: set[str] = set()
    given = {"max_poll_records": 500, "consumer_timeout_ms": 60_000}
    with consume(broker, topics=f"{prefix}.procedure-log", group="devices", **given) as topic:
        for event in topic:
            assert isinstance(event.data, EntryRecord), event.data
            assert isinstance(event.data.entry, Note), event.data
            assert event.data.entry.text not in found, "an event twice"
            found.add(event.data.entry.text)
            if wanted <= found:
                break
    return found
