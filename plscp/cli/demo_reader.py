"""What the demo's consumer reads: from Kafka, or without it from the store over HTTP, until it is told to stop."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from plscp.cli.client import Api
from plscp.cli.demo_server import TOPICS
from plscp.errors import PlscpError
from plscp.scu.playing import Played

LOOK = 0.2
"""Seconds between two looks at the store, without Kafka."""

Entry = tuple[str, str]
"""Calling AE title and DateTime as sent: unique in the case."""


@dataclass(frozen=True)
class Received:
    """One event as the consumer got it.

    Attributes:
        place: topic, partition and offset, or the store and the position.
        value: the published JSON value.
    """

    place: str
    value: Mapping[str, Any]


class Reader:
    """Reads in a thread of its own.

    Args:
        kafka: the broker's address; empty: the HTTP API instead.
        url: of the HTTP API.
        store: store id, so that nothing of another store is taken for ours.
        told: called with each event, from the reader's thread.

    Attributes:
        received: everything so far.
        error: why reading ended early, or None.
    """

    def __init__(self, kafka: str, url: str, store: str, told: Callable[[Received], None]) -> None:
        self.received: list[Received] = []
        self.error: str | None = None
        self._kafka, self._url, self._store, self._told = kafka, url, store, told
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for one in self._records() if self._kafka else self._events():
                with self._changed:
                    self.received.append(one)
                    self._changed.notify_all()
                self._told(one)
        except PlscpError as error:
            with self._changed:
                if not self._stop.is_set():
                    self.error = str(error)
                self._changed.notify_all()

    def _records(self) -> Iterable[Received]:
        from plscp.consumer.tail import tail  # noqa: PLC0415  # loads kafka, which --no-kafka does without

        for record in tail([self._kafka], TOPICS, store=self._store, going=lambda: not self._stop.is_set()):
            if record is not None:
                name = record.topic.rsplit(".", 1)[-1]
                yield Received(f"{name}[{record.partition}]@{record.offset}", record.value)

    def _events(self) -> Iterable[Received]:
        api, after = Api(self._url), 0
        while not self._stop.wait(LOOK):
            found = api.get("/api/v1/events", {"after": after, "kind": "all"})
            after = found["next"]
            yield from (
                Received(f"store@{event['position']}", event) for event in found["events"] if "change" not in event
            )

    def wait(self, enough: Callable[[list[Received]], bool], seconds: float) -> bool:
        """Wait until what was received is enough; False when it was not in time, or reading ended."""
        with self._changed:
            return self._changed.wait_for(lambda: self.error is not None or enough(self.received), seconds) and enough(
                self.received
            )

    def stop(self) -> None:
        """End reading; what was received stays."""
        self._stop.set()
        self._thread.join(10)


@dataclass(frozen=True)
class Sums:
    """What the demo checks: the same entries and the same refusals at each station.

    Attributes:
        sent: entries that were answered Success or Warning; `stored` and `consumed`: what was found there.
        refused: (calling AE title, status) of each refusal as answered; `kept` and `told`: in the store, by the consumer.
    """

    sent: Counter[Entry]
    stored: Counter[Entry]
    consumed: Counter[Entry]
    refused: Counter[Entry]
    kept: Counter[Entry]
    told: Counter[Entry]

    @property
    def agree(self) -> bool:
        """Whether nothing was lost, added or changed on the way."""
        return self.sent == self.stored == self.consumed and self.refused == self.kept == self.told


def sums(played: Iterable[Played], stored: Iterable[Mapping[str, Any]], consumed: Iterable[Mapping[str, Any]]) -> Sums:
    """Count entries and refusals.

    Args:
        played: what was answered.
        stored: published values as the store has them.
        consumed: published values as they were received.
    """
    sent: Counter[Entry] = Counter()
    refused: Counter[Entry] = Counter()
    for one in played:
        if one.answer.performed:
            sent.update((one.request.device, time) for time in one.times)
        else:
            refused[one.request.device, one.answer.code] += 1
    kept = list(stored)
    told = list(consumed)
    return Sums(sent, _entries(kept), _entries(told), refused, _refusals(kept), _refusals(told))


def _entries(values: Iterable[Mapping[str, Any]]) -> Counter[Entry]:
    return Counter((value["sender"]["ae_title"], value["occurred"]["text"]) for value in values if "entry" in value)


def _refusals(values: Iterable[Mapping[str, Any]]) -> Counter[Entry]:
    return Counter(
        (value["sender"]["ae_title"], value["status"]) for value in values if "entry" not in value and "status" in value
    )
