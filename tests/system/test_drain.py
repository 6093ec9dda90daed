"""How `plscp serve` ends: on SIGTERM in order, on a second one without waiting, before it is ready at once; always with 0."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.rawscu import Aborted, Closed, RawScu, Rejected
from tests.serving import Serving, open_study, until
from tests.system import draining

STUDY = "1.2.826.0.1.3680043.9.3811.9.1"
SETTINGS = """
[dicom]
port = 0
unknown_devices = "accept"
drain_delay = "{delay}"
drain_grace = "{grace}"
[store]
url = "sqlite:///{folder}/plscp.db"
[http]
port = 0
[registry]
file = "{folder}/current.toml"
[operators]
policy = "any"
"""
REGISTRY = open_study(STUDY)
NONE, LONG = "PT0S", "PT1H"


def serving(folder: Path, *, delay: str = NONE, grace: str = LONG, more: str = "") -> Serving:
    """A server that waits for so long when it is told to stop."""
    (folder / "current.toml").write_text(REGISTRY)
    return Serving(folder, SETTINGS.replace("{delay}", delay).replace("{grace}", grace) + more)


def tell(server: Serving, number: signal.Signals) -> None:
    """Send a signal."""
    assert server.process is not None
    server.process.send_signal(number)


def ended(server: Serving) -> int:
    """The exit status."""
    assert server.process is not None
    status = server.process.wait(60)
    server.end()
    return status


def logged(server: Serving, event: str) -> list[dict[str, Any]]:
    """The log's lines of this event."""
    lines = [json.loads(line) for line in list(server.lines) if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def send(scu: RawScu, words: str = "") -> int:
    """One note; the status of its answer."""
    data = events.encoded(events.procedural([events.note(events.now(), words)], study=STUDY, patient="P1"))
    return scu.request(PROCEDURAL_EVENT_LOGGING, data).status


def test_while_it_is_said_that_it_is_not_ready_everything_is_served(tmp_path: Path) -> None:
    """In `drain_delay` /readyz says 503, and new associations are accepted and answered; then nothing new, and the idle are aborted."""
    with serving(tmp_path, delay=LONG) as server:
        old = RawScu(server.host, server.port, calling="OLD").associate()
        tell(server, signal.SIGTERM)
        until(lambda: httpx.get(f"{server.http}/readyz", timeout=60).status_code == 503, "/readyz to say no")
        assert httpx.get(f"{server.http}/livez", timeout=60).status_code == 200
        assert server.get("/api/v1/status")["draining"]
        new = RawScu(server.host, server.port, calling="NEW").associate()
        assert [send(old), send(new)] == [0x0000, 0x0000]
        tell(server, signal.SIGTERM)
        for scu in (old, new):
            with pytest.raises(Aborted) as aborted:
                scu.pdu()
            assert aborted.value.args == (0, 0)
            scu.socket.close()
        with pytest.raises(ConnectionError):
            RawScu(server.host, server.port).connect()
        assert ended(server) == 0
        assert [(line["associations"], line["delay"], line["grace"]) for line in logged(server, "stopping")] == [
            (1, 3600.0, 3600.0)
        ]
        aborts = logged(server, "association-aborted")
        assert {(line["calling_ae"], line["why"], line["address"]) for line in aborts} == {
            ("OLD", "shutdown", "127.0.0.1"),
            ("NEW", "shutdown", "127.0.0.1"),
        }
        [last] = logged(server, "stopped")
        assert (last["released"], last["aborted"], last["left"]) == (0, 2, 0)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_waiting_for_devices(tmp_path: Path, second: signal.Signals) -> None:
    """In `drain_grace` a device is answered and may release; whoever is left when the second signal comes is aborted; 0."""
    with serving(tmp_path) as server:
        stays, goes = (RawScu(server.host, server.port, calling=name).associate() for name in ("STAYS", "GOES"))
        tell(server, signal.SIGTERM)
        until(lambda: logged(server, "stopping"), "the drain")
        assert [send(stays), send(goes)] == [0x0000, 0x0000]
        goes.release()
        goes.socket.close()
        tell(server, second)
        with pytest.raises(Aborted):
            stays.pdu()
        stays.socket.close()
        assert ended(server) == 0
        assert [line["calling_ae"] for line in logged(server, "association-aborted")] == ["STAYS"]
        [last] = logged(server, "stopped")
        assert (last["released"], last["aborted"], last["left"]) == (1, 1, 0)


def test_it_ends_as_soon_as_the_last_device_has_released(tmp_path: Path) -> None:
    """Nobody waits for the end of a grace time in which nobody is left."""
    with serving(tmp_path) as server:
        scu = RawScu(server.host, server.port).associate()
        tell(server, signal.SIGTERM)
        until(lambda: logged(server, "stopping"), "the drain")
        scu.release()
        scu.socket.close()
        assert ended(server) == 0


def test_an_answer_that_is_kept_open_ends(tmp_path: Path) -> None:
    """A reader of `follow` sees its answer end in order at SIGTERM, with all that it was given; it goes on from its position later."""
    with serving(tmp_path) as server:
        with RawScu(server.host, server.port) as scu:
            assert send(scu) == 0x0000
        with httpx.stream("GET", f"{server.http}/api/v1/events?follow=true", timeout=60) as answer:
            lines = answer.iter_lines()
            assert json.loads(next(lines))["position"] >= 1
            tell(server, signal.SIGTERM)
            assert list(lines) == []
        assert ended(server) == 0


def test_ctrl_c_is_for_the_server_alone(tmp_path: Path) -> None:
    """A terminal gives SIGINT to the relay as well: it goes on until the server ends it, so that what is still answered is published."""
    with serving(tmp_path, more='[kafka]\nbootstrap_servers = ["127.0.0.1:9"]\n') as server:
        assert server.process is not None
        scu = RawScu(server.host, server.port).associate()
        [started] = until(lambda: logged(server, "relay-started"), "the relay")
        until(lambda: logged(server, "relay-kafka-away"), "the relay at work")
        os.kill(started["pid"], signal.SIGINT)
        tell(server, signal.SIGINT)
        until(lambda: logged(server, "stopping"), "the drain")
        assert send(scu) == 0x0000
        scu.release()
        scu.socket.close()
        assert ended(server) == 0
        assert not logged(server, "relay-stopped")
        assert not logged(server, "internal-error")


def test_each_of_many_devices_is_told(tmp_path: Path) -> None:
    """Two hundred idle associations at the end of the grace time: each gets its A-ABORT, none is merely lost."""
    done = asyncio.run(draining.drained(tmp_path, 200, NONE, draining.idle, 1))
    assert (done.status, done.seen) == (0, {"aborted 0-0": 200})


# --- before it is ready ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def held_up(folder: Path, name: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A server that is starting and reads a file of this name, and the other end of that file."""
    serving(folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    command = [sys.executable, "-m", "plscp", "serve", "--config", str(folder / "plscp.toml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder) as process:
        try:
            yield process, until(lambda: process.poll() is None and _opened(folder / name), "it to read")
        finally:
            process.kill()


def _opened(fifo: Path) -> int | None:
    """The end to write to, once somebody reads."""
    with contextlib.suppress(OSError):
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    return None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_settings_are_read(tmp_path: Path, number: signal.Signals) -> None:
    """Nothing was begun: it ends at once with 0 and says nothing."""
    with held_up(tmp_path, "plscp.toml") as (process, other):
        # A signal that comes just before the read blocks is not seen before the read ends: nobody writes here.
        state = Path(f"/proc/{process.pid}/stat")
        until(lambda: state.read_text().rpartition(")")[2].split()[0] == "S", "the read to block")
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
        os.close(other)
        assert (process.returncode, said) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_registry_is_read(tmp_path: Path, number: signal.Signals) -> None:
    """What was begun is finished, nothing is listened on, the store is closed, the exit status 0."""
    with held_up(tmp_path, "current.toml") as (process, other):
        process.send_signal(number)
        os.write(other, REGISTRY.encode())
        os.close(other)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        events_said = [json.loads(line)["event"] for line in said.splitlines()]
        assert events_said[-1] == "stopped"
        assert not {"listening", "http-listening", "internal-error"} & set(events_said)


@pytest.mark.parametrize("name", ["plscp.toml", "current.toml"])
def test_sighup_at_the_start_ends_nothing(tmp_path: Path, name: str) -> None:
    """Whoever changes a setting and sends SIGHUP may do so while the server starts: it reads the file then anyway."""
    with held_up(tmp_path, name) as (process, other):
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        os.write(other, REGISTRY.encode() if name == "current.toml" else b"")
        os.close(other)
        process.communicate(timeout=60)
        assert process.returncode == 0


# --- an upgrade in the middle of a case --------------------------------------------------------------------------------


@dataclass
class Device:
    """Sends numbered notes and repeats each until it is acknowledged, as devices do."""

    name: str
    port: int
    stop: threading.Event
    acknowledged: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Until told to stop."""
        numbers = itertools.count(1)
        words, data = "", b""
        while not self.stop.is_set() or words:
            try:
                with RawScu("127.0.0.1", self.port, calling=self.name) as scu:
                    while not self.stop.is_set() or words:
                        if not words:
                            words = f"{self.name} {next(numbers)}"
                            note = events.note(events.now(), words)
                            data = events.encoded(events.procedural([note], study=STUDY, patient="P1"))
                        answer = scu.request(PROCEDURAL_EVENT_LOGGING, data)
                        if answer.status == 0x0000:
                            self.acknowledged.append(words)
                        else:
                            self.refused.append(f"{answer.status:04X} {answer.comment}")
                        words = ""
            except (OSError, Closed, Aborted, Rejected) as end:
                self.ends.append(type(end).__name__)
            self.stop.wait(0.02)


def test_an_upgrade_in_the_middle_of_a_case(tmp_path: Path) -> None:
    """Sixteen devices send; the server is stopped and started on the same store: each acknowledged event is there once."""
    with serving(tmp_path, grace=NONE) as server:
        server.config.write_text(server.config.read_text().replace("port = 0", f"port = {server.port}", 1))
        stop = threading.Event()
        devices = [Device(f"DEV{number}", server.port, stop) for number in range(16)]
        threads = [threading.Thread(target=device.run, daemon=True) for device in devices]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                before = [len(device.acknowledged) for device in devices]
                until(
                    lambda before=before: all(  # type: ignore[misc]
                        len(device.acknowledged) > count for device, count in zip(devices, before, strict=True)
                    ),
                    "every device to be answered",
                    120,
                )
                tell(server, signal.SIGTERM)
                assert ended(server) == 0
                server.start()
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
        assert [device.refused for device in devices] == [[]] * 16
        stored = []
        after = 0
        while page := server.get("/api/v1/events", after=after, limit=1000)["events"]:
            stored += [event["entry"]["text"] for event in page]
            after = page[-1]["position"]
        acknowledged = [words for device in devices for words in device.acknowledged]
        assert len(stored) == len(set(stored))
        assert sorted(acknowledged) == sorted(stored)
        assert server.stop() == 0
