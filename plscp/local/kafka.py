"""A real Kafka broker (KRaft: broker and controller in one process) that lives and dies with this process."""

import base64
import contextlib
import os
import random
import signal
import socket
import struct
import subprocess
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from plscp.errors import CommandError
from plscp.local.fetch import Progress, Runtime, fetch

WATCH = "read _; kill -9 -$0 2>/dev/null"
"""Waits for the end of its standard input, whose other end only this process holds, then ends the process's group."""


class OwnProcess(ABC):
    """A process in a group of its own, out of reach of Ctrl-C, that ends when this process ends; a context manager."""

    _process: subprocess.Popen[bytes] | None = None
    _watch: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def start(self) -> Self:
        """Start, and wait until it is ready; raises CommandError, one line, when it does not come up."""

    def _launch(self, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start its process; `options` as those of Popen."""
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)
        self._watch = subprocess.Popen(
            ["/bin/sh", "-c", WATCH, str(self._process.pid)], stdin=subprocess.PIPE, start_new_session=True
        )
        return self._process

    @property
    def running(self) -> bool:
        """Whether its process is there, frozen or not."""
        return self._process is not None and self._process.poll() is None

    def stop(self, timeout: float = 15.0) -> None:
        """SIGTERM, and SIGKILL after so many seconds; harmless when it does not run."""
        if self._process is not None and self.running:
            self._signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """SIGKILL, and wait for its end; harmless when it does not run."""
        if self._watch is not None:  # first: the process group's number may be somebody else's later
            self._watch.kill()
            self._watch.communicate()
            self._watch = None
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


HOST = "127.0.0.1"
JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
"""C1 only: ready in 2.4 s instead of 3.5, and no slower under the loads of one Python producer."""
PORTS = range(15000, 30000)
"""Below the ports that systems give to clients: else a client that knocks at a stopped broker's port can meet itself."""
OTHER_PORTS = 5
"""How often a first start is tried with other ports."""
_METADATA, _VERSION = 3, 2  # the oldest version that names the cluster; every broker since 0.10.1 knows it
_REQUEST = struct.pack(">hhih5si", _METADATA, _VERSION, 1, 5, b"plscp", 0)
_LONGEST_BYTES = 1 << 20


def free_port(host: str = HOST) -> int:
    """A port of an address of this machine that nobody listens on now."""
    for port in random.SystemRandom().sample(PORTS, 100):  # two programs with one seed would want the same one
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return port
    raise CommandError("no free port for a Kafka broker")


class LocalBroker(OwnProcess):
    """One broker with its own data folder; ports and data stay through stop, kill and start.

    Args:
        folder: data, settings and `broker.log`; made when missing.
        properties: further lines of server.properties.
        host: the address of this machine that it listens on; nobody is asked who he is.
        port: 0: a free one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        properties: Mapping[str, str] | None = None,
        progress: Progress | None = None,
        host: str = HOST,
        port: int = 0,
    ) -> None:
        self.folder = folder
        self.host = host
        self.properties = dict(properties or {})
        self.port, self._wanted = 0, port
        self.cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
        self._progress = progress
        self._runtime: Runtime | None = None

    @property
    def address(self) -> str:
        """What a client connects to: HOST:PORT; empty before the first start."""
        return f"{self.host}:{self.port}" if self.port else ""

    def start(self, timeout: float = 60.0) -> Self:
        """Start, and wait until this broker, and no other at its port, answers; so many seconds for each attempt."""
        if self.running:
            return self
        self._runtime = self._runtime or fetch(progress=self._progress)
        if self.port:
            self._run()
            self._await(timeout)
            return self
        for left in reversed(range(1 if self._wanted else OTHER_PORTS)):
            self.port = self._wanted or free_port(self.host)
            try:
                self._format()
                self._run()
                self._await(timeout)
                return self
            except CommandError:
                self.kill()
                self.port = 0
                if not left:
                    raise
        return self

    def freeze(self) -> None:
        """SIGSTOP, and wait for it: its sockets stay, nothing answers."""
        if self._process is not None and self.running:
            self._signal(signal.SIGSTOP)
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _java(self, *command: str) -> list[str]:
        assert self._runtime is not None
        return [str(self._runtime.java), *JVM, "-cp", ":".join(map(str, self._runtime.jars)), *command]

    def _format(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        controller = free_port(self.host)
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{self.host}:{controller}",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://{self.host}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "broker.session.timeout.ms": "1500",  # else a killed broker waits nine seconds for its own ghost to expire
            "broker.heartbeat.interval.ms": "300",
            "auto.create.topics.enable": "false",
        } | self.properties
        (self.folder / "server.properties").write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
        format_it = ("kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", self.cluster_id)
        command = self._java(*format_it, "-c", str(self.folder / "server.properties"))
        result = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if result.returncode:
            raise CommandError(f"Kafka cannot format {self.folder}: {_last_line(result.stdout + result.stderr)}", 3)

    def _run(self) -> None:
        with (self.folder / "broker.log").open("ab") as output:
            command = self._java("kafka.Kafka", str(self.folder / "server.properties"))
            self._launch(command, stdout=output, stderr=subprocess.STDOUT)

    def _await(self, timeout: float) -> None:
        assert self._process is not None
        deadline = time.monotonic() + timeout
        while (answer := cluster_id(self.host, self.port, 1.0)) != self.cluster_id:
            if answer is not None:
                raise CommandError(f"another Kafka broker answers at {self.address}", 3)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)
                why = _last_line((self.folder / "broker.log").read_text("utf-8", "replace"))
                raise CommandError(f"the Kafka broker ended with status {self._process.returncode}: {why}", 3)
            if time.monotonic() > deadline:
                raise CommandError(f"the Kafka broker at {self.address} was not ready within {timeout:g} s", 3)


def _last_line(text: str) -> str:
    """The last that is neither a warning nor a frame of Java's stack."""
    noise = ("WARNING", "SLF4J", "\tat ", "\t... ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(noise)]
    return lines[-1][:200] if lines else "no word from it"


def cluster_id(host: str, port: int, timeout: float) -> str | None:
    """The cluster id of a broker, for a port that answers may be a stranger's; None when nothing that speaks Kafka does in time."""
    try:
        with socket.create_connection((host, port), timeout) as connection, connection.makefile("rb") as answer:
            connection.sendall(struct.pack(">i", len(_REQUEST)) + _REQUEST)
            (length,) = struct.unpack(">i", answer.read(4))
            said = answer.read(length) if 0 < length < _LONGEST_BYTES else b""
            return _read(said) if len(said) == length else None
    except (OSError, struct.error, UnicodeDecodeError):
        return None


def _read(answer: bytes) -> str | None:
    _, brokers = struct.unpack_from(">ii", answer)
    at = 8
    for _ in range(brokers):
        (host,) = struct.unpack_from(">h", answer, at + 4)
        at += 6 + host + 4
        (rack,) = struct.unpack_from(">h", answer, at)
        at += 2 + max(rack, 0)
    (length,) = struct.unpack_from(">h", answer, at)
    return answer[at + 2 : at + 2 + length].decode() if length >= 0 else None
