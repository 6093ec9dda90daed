"""The relay's process under test, and the position rule that its records are held against."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from kafka.partitioner import murmur2

from plscp.relay.settings import KafkaSettings, RelaySettings
from plscp.relay.topic_publisher import EXIT_CHANGED, EXIT_STALLED, EXIT_UNKNOWN
from plscp.store.relay_view import RelayView
from tests.kafkaread import Read, read_all
from tests.relay.twin import TOPICS, WritableTwin
from tests.serving import until

ROOT = Path(__file__).parents[2]
UNKNOWN = {EXIT_UNKNOWN, EXIT_STALLED, EXIT_CHANGED}
COMMAND = (sys.executable, "-m", "plscp.relay")


def settings(twin: WritableTwin, address: str, prefix: str, *, hasty: bool = False, **changed: Any) -> RelaySettings:
    """Settings of a relay.

    Args:
        hasty: with time-outs that a test can wait for; a machine that stops for as long starts the relay anew.
    """
    kafka = KafkaSettings(
        bootstrap_servers=[address],
        topic_prefix=prefix,
        request_timeout_ms=1200 if hasty else 30_000,
        connect_timeout_ms=1000 if hasty else 10_000,
    )
    made = RelaySettings(
        store_url=twin.url, cursor=twin.file.with_suffix(".relay"), kafka=kafka, topics=TOPICS, status_seconds=0.2
    )
    return replace(made, **changed)


class Child:
    """A relay process as its parent sees it; started anew by hand."""

    def __init__(self, given: RelaySettings) -> None:
        self.given = given
        self.status: dict[str, Any] = {}
        self.log: list[dict[str, Any]] = []
        self.codes: list[int] = []
        self.process: subprocess.Popen[bytes] | None = None
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._threads: list[threading.Thread] = []

    def start(self) -> Self:
        self.status = {}
        self._lines = queue.Queue()
        process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
        )
        self._threads = [
            threading.Thread(target=self._read, args=(process.stdout, self._lines.put)),
            threading.Thread(target=self._read, args=(process.stderr, self.log.append)),
        ]
        for thread in self._threads:
            thread.start()
        assert process.stdin is not None
        process.stdin.write(json.dumps(self.given.as_json()).encode() + b"\n")
        process.stdin.flush()
        self.process = process  # from now on other threads may wake it
        return self

    @staticmethod
    def _read(stream: Any, take: Any) -> None:
        for line in stream:
            take(json.loads(line) if line.startswith(b"{") else {"event": "noise", "line": line.decode()})

    def wake(self) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):  # it has just ended: the test sees that elsewhere
            self.process.stdin.write(b"\n")
            self.process.stdin.flush()

    def latest(self) -> dict[str, Any]:
        """The newest status line."""
        while not self._lines.empty():
            self.status = self._lines.get() or self.status
        return self.status

    def until_done(self, twin: RelayView, seconds: float = 60.0, *, revive: bool = False) -> dict[str, Any]:
        """Wait until everything in the store is acknowledged.

        Args:
            revive: start the process again when it ended because it did not know what was written.
        """
        head = twin.head()

        def done() -> dict[str, Any] | None:
            status = self.latest()
            assert self.process is not None
            if revive and self.process.poll() in UNKNOWN:
                self.codes.append(self._wait())
                self.start()
            assert self.process.poll() is None, self.log
            return status if status and status["head"] >= head and not status["pending"] and self._all(status) else None

        self.wake()
        return self._until(done, "everything acknowledged", seconds)

    def _until(self, condition: Callable[[], dict[str, Any] | None], what: str, seconds: float) -> dict[str, Any]:
        try:
            return dict(until(condition, what, seconds))
        except AssertionError as error:
            error.add_note(f"the relay says {self.status}, {self.log[-5:]}")
            raise

    @staticmethod
    def _all(status: dict[str, Any]) -> bool:
        return all(topic["state"] == "running" for topic in status["topics"].values())

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self._wait()

    def stop(self) -> int:
        """Close its standard input: it must end by itself, at once."""
        assert self.process is not None
        assert self.process.stdin is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        return self._wait()

    def _wait(self) -> int:
        assert self.process is not None
        try:
            code = self.process.wait(60)
        finally:
            if self.process.poll() is None:
                os.kill(self.process.pid, signal.SIGKILL)
                self.process.wait()
            for thread in self._threads:
                thread.join(60)
            for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()
        return code

    def until_state(self, topic: str, state: str, seconds: float = 60.0) -> dict[str, Any]:
        """Wait until a topic is in a state; the status line."""

        def reached() -> dict[str, Any] | None:
            status = self.latest()
            return status if status.get("topics", {}).get(topic, {}).get("state") == state else None

        return self._until(reached, f"{topic} {state}", seconds)

    def ended(self, seconds: float = 60.0) -> int:
        """Wait for its end; the exit status."""
        assert self.process is not None
        self.process.wait(seconds)
        return self._wait()

    def events(self, name: str) -> list[dict[str, Any]]:
        """What was logged under a name."""
        return [line for line in list(self.log) if line["event"] == name]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.returncode is None:
            self.stop()


def check(
    address: str,
    prefix: str,
    twin: WritableTwin,
    *,
    counts: dict[str, int] | None = None,
    gone: dict[str, int] | None = None,
) -> list[Read]:
    """The position rule: per partition strictly rising once repeats are dropped, and nothing left out.

    Args:
        counts: partitions per topic where they are not 6.
        gone: per topic: only what lies above this position is expected.
    """
    read = read_all(address, prefix, store=twin.store_id)
    kept: dict[tuple[str, int], list[int]] = defaultdict(list)
    for record in read:
        positions = kept[record.topic, record.partition]
        if not positions or record.position > positions[-1]:
            positions.append(record.position)
    expected: dict[tuple[str, int], list[int]] = defaultdict(list)
    for position, topic, key, *_, value in twin.records(0, 10**9):
        name = f"{prefix}.{topic}"
        part = (murmur2(key.encode()) & 0x7FFFFFFF) % (counts or {}).get(name, 6)
        if position > (gone or {}).get(name, 0):
            expected[name, part].append(position)
        assert json.loads(value)["position"] == position
    assert {place: got for place, got in kept.items() if got} == expected
    return read
