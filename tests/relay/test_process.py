"""The relay process as the server keeps it: woken, started anew, stopped; and on a real store."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from plscp.relay.process import RelayProcess
from plscp.relay.settings import KafkaSettings, RelaySettings, cursor_beside
from plscp.store import open_store
from plscp.store.port import RegistryDraft, RegistryRecord, Result
from tests.conftest import Broker
from tests.kafkaread import read_all
from tests.relay.helpers import COMMAND, ROOT, check, settings
from tests.relay.twin import WritableTwin

FAKE = """
import json, os, sys
told = json.loads(sys.stdin.readline())
say = lambda **more: print(json.dumps({"pid": os.getpid(), **more}), flush=True)
say(published={"t": {"acknowledged": 1}}, told=told)
count = 1
while os.read(0, 65536):
    count += 1
    say(published={"t": {"acknowledged": count}})
    if count == EXIT: os._exit(70)
STUCK
"""


async def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait for a condition without stopping the loop."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    return value


def fake(exit_at: int = 0, stuck: str = "") -> tuple[str, ...]:
    """A relay that counts what it is woken."""
    return (sys.executable, "-c", FAKE.replace("EXIT", str(exit_at)).replace("STUCK", stuck))


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def given(tmp_path: Path) -> RelaySettings:
    """Settings that nobody looks at."""
    return RelaySettings("sqlite:///x", tmp_path / "cursor", KafkaSettings(["h:1"], extra={"sasl_plain_password": "p"}))


def test_woken_and_stopped(tmp_path: Path) -> None:
    """It is told its settings on standard input, not in its arguments, and ends when that is closed."""

    async def run() -> None:
        seen: list[dict[str, Any]] = []
        relay = RelayProcess(given(tmp_path), seen.append, command=fake())
        relay.wake()  # before it runs: nothing happens
        await relay.start()
        first = await until(lambda: seen and seen[0])
        assert RelaySettings.from_json(first["told"]).kafka.extra == {"sasl_plain_password": "p"}
        assert b"sasl" not in command_line(relay.pid)
        relay.wake()
        await until(lambda: seen[-1]["published"]["t"]["acknowledged"] == 2)
        pid = relay.pid
        await relay.stop()
        await relay.stop()
        assert (relay.pid, relay.restarts) == (0, 0)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        relay.wake()

    asyncio.run(run())


def test_started_anew_and_counts_go_on(tmp_path: Path) -> None:
    """What the one before had published is added."""

    async def run() -> None:
        seen: list[dict[str, Any]] = []
        relay = RelayProcess(given(tmp_path), seen.append, command=fake(exit_at=2))
        await relay.start()
        first = await until(lambda: seen and seen[0])
        relay.wake()  # counts to 2 and ends
        again = await until(lambda: seen[-1]["pid"] != first["pid"] and seen[-1])
        [between] = [line for line in seen if line.get("errors") == ["the relay has ended and is started anew"]]
        assert between["published"]["t"]["acknowledged"] == 2
        assert again["published"]["t"]["acknowledged"] == 3
        assert again["restarts"] == relay.restarts == 1
        os.kill(relay.pid, signal.SIGKILL)
        await until(lambda: relay.restarts == 2 and seen[-1]["restarts"] == 2)
        assert seen[-1]["published"]["t"]["acknowledged"] == 4
        await relay.stop()

    asyncio.run(run())


def test_one_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a grace; and a full pipe never makes `wake` wait."""
    monkeypatch.setattr("plscp.relay.process.GRACE", 0.2)

    async def run() -> None:
        seen: list[dict[str, Any]] = []
        relay = RelayProcess(given(tmp_path), seen.append, command=fake(stuck="import time; time.sleep(60)"))
        await relay.start()
        await until(lambda: seen)
        os.kill(relay.pid, signal.SIGSTOP)
        for _ in range(100_000):  # more than its pipe holds: one that waited would wait for ever
            relay.wake()
        os.kill(relay.pid, signal.SIGCONT)
        await relay.stop()
        assert relay.pid == 0

    asyncio.run(run())


def test_a_relay_that_cannot_start_is_tried_ever_more_slowly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No busy loop; it can still be stopped at once; and the status says that none runs, though it has never said anything."""
    monkeypatch.setattr("plscp.relay.process.FIRST_PAUSE", 0.001)

    async def run() -> None:
        seen: list[dict[str, Any]] = []
        relay = RelayProcess(given(tmp_path), seen.append, command=("/nonexistent/relay",))
        with capture_logs() as lines:
            await relay.start()
            await until(lambda: relay.restarts >= 3)
            await relay.stop()
        assert seen[0] == {"topics": {}, "errors": ["the relay has ended and is started anew"], "ended": True}
        pauses = [line["again_in"] for line in lines if "again_in" in line]
        assert pauses[:3] == [0.001, 0.002, 0.004]
        monkeypatch.setattr("plscp.relay.process.FIRST_PAUSE", 3600.0)
        relay = RelayProcess(given(tmp_path), command=("/nonexistent/relay",))
        with capture_logs() as lines:
            await relay.start()
            await until(lambda: any("again_in" in line for line in lines))
            await asyncio.wait_for(relay.stop(), 60)  # a minute of the hour that it would be waited for

    asyncio.run(run())


@pytest.mark.kafka
def test_killed_it_comes_back_and_goes_on(kafka_broker: Broker, twin: WritableTwin, prefix: str) -> None:
    """The real relay under its supervisor: nothing is left out."""

    async def run() -> None:
        seen: list[dict[str, Any]] = []
        killed: list[int] = []
        os.chdir(ROOT)
        relay = RelayProcess(settings(twin, kafka_broker.address, prefix), seen.append, command=COMMAND)
        await relay.start()

        def done() -> bool:
            status = seen[-1] if seen else {}
            running = all(topic["state"] == "running" for topic in status.get("topics", {}).values())
            return bool(status and running and status["head"] == twin.head() and not status["pending"])

        for _ in range(3):
            twin.requests_of_all(20)
            relay.wake()
            await until(done)
            killed.append(relay.pid)
            os.kill(relay.pid, signal.SIGKILL)
            await until(lambda: relay.pid not in {0, killed[-1]})
        await until(done)
        assert relay.restarts == 3
        await relay.stop()

    here = Path.cwd()
    try:
        asyncio.run(run())
    finally:
        os.chdir(here)
    assert len(check(kafka_broker.address, prefix, twin)) == twin.head() == 300


@pytest.mark.kafka
def test_from_a_real_store(kafka_broker: Broker, prefix: str, tmp_path: Path) -> None:
    """`python -m plscp.relay` on SQLite: the value is the store's, byte for byte."""
    path = tmp_path / "plscp.db"
    url = f"sqlite:///{path}"
    results: list[Result] = []
    store = open_store(url)
    record = RegistryRecord({"what": "study.opened", "n": 1}, "study", "1.2.3", "org.plscp.study.opened.v1", "1.2.3")
    store.submit(RegistryDraft([record, record], 0, 1_700_000_000_000_000, "http", results.append))
    kafka = KafkaSettings([kafka_broker.address], topic_prefix=prefix)

    async def run() -> None:
        seen: list[dict[str, Any]] = []
        relay = RelayProcess(RelaySettings(url, cursor_beside(path), kafka), seen.append)
        await relay.start()
        await until(lambda: results)
        relay.wake()
        await until(lambda: seen and seen[-1]["published"][f"{prefix}.study"]["acknowledged"] == 2)
        await until(lambda: seen[-1]["pending"] == 0)
        await relay.stop()

    asyncio.run(run())
    store.close()
    first, second = read_all(kafka_broker.address, prefix, store=store.store_id)
    assert (first.position, second.position) == (1, 2)
    assert first.value["change"] == {"what": "study.opened", "n": 1}
    assert json.loads(json.dumps(first.value))["event_id"] == first.headers["ce_id"]
    assert (tmp_path / "plscp-relay.db").exists()
