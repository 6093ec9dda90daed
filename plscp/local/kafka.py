"""A real Kafka broker (KRaft: broker and controller in one process) that lives and dies with this process."""

import base64
import contextlib
import os
import random
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from plscp.errors import CommandError
from plscp.local.fetch import Progress, Runtime, fetch
from plscp.local.wire import cluster_id

HOST = "127.0.0.1"
JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
"""C1 only: ready in 2.4 s instead of 3.5, and no slower under the loads of one Python producer."""
PORTS = range(15000, 30000)
"""Below the ports that systems give to clients: else a client that knocks at a stopped broker's port can meet itself."""
OTHER_PORTS = 5
"""How often a first start is tried with other ports."""
WATCH = "read _; kill -9 -$0 2>/dev/null"
"""Waits for the end of its standard input, whose other end only this process holds, then ends the broker's group."""

Fetch = Callable[[Progress | None], Runtime]


def _fetch(progress: Progress | None) -> Runtime:
    return fetch(progress=progress)


def free_port(host: str = HOST) -> int:
    """A port of an address of this machine that nobody listens on now."""
    for port in random.SystemRandom().sample(PORTS, 100):  # two programs with one seed would want the same one
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return port
    raise CommandError("no free port for a Kafka broker")


class LocalBroker:
    """One broker with its own data folder; a context manager.

    Ports and data stay through stop, kill and start. It ends when this process ends, however that ends.

    Args:
        folder: data, settings and `broker.log`; made when missing.
        properties: further lines of server.properties.
        progress: told how far fetching is, where anything has to be fetched.
        runtime: how to get Java and the jars.
        host: the address of this machine that it listens on; nobody is asked who he is.

    Attributes:
        address: ``HOST:PORT``; empty before the first start.
    """

    def __init__(
        self,
        folder: Path,
        *,
        properties: Mapping[str, str] | None = None,
        progress: Progress | None = None,
        runtime: Fetch = _fetch,
        host: str = HOST,
    ) -> None:
        self.folder = folder
        self.host = host
        self.properties = dict(properties or {})
        self.port = 0
        self.cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
        self._progress, self._get = progress, runtime
        self._runtime: Runtime | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """What a client connects to."""
        return f"{self.host}:{self.port}" if self.port else ""

    @property
    def running(self) -> bool:
        """Whether its process is there, frozen or not."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout: float = 60.0) -> Self:
        """Start, and wait until this broker, and no other at its port, answers.

        Args:
            timeout: seconds for each attempt.

        Raises:
            CommandError: it cannot be fetched, or does not come up; one line.
        """
        if self.running:
            return self
        self._runtime = self._runtime or self._get(self._progress)
        if self.port:
            self._run(self._runtime)
            self._await(timeout)
            return self
        for attempt in range(OTHER_PORTS):
            self.port = free_port(self.host)
            try:
                self._format(self._runtime)
                self._run(self._runtime)
                self._await(timeout)
            except CommandError:
                self.kill()
                self.port = 0
                if attempt == OTHER_PORTS - 1:
                    raise
            else:
                break
        return self

    def stop(self, timeout: float = 15.0) -> None:
        """SIGTERM, and SIGKILL after so many seconds; harmless when it does not run."""
        if self.running:
            self.thaw()
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                assert self._process is not None
                self._process.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """SIGKILL, and wait for its end; harmless when it does not run."""
        if self._watch is not None:  # first: the process group's number may be somebody else's later
            self._watch.kill()
            assert self._watch.stdin is not None
            self._watch.stdin.close()
            self._watch.wait()
            self._watch = None
        if self._process is not None:
            if self._process.poll() is None:
                self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP, and wait for it: its sockets stay, nothing answers."""
        if self._process is not None and self.running:
            self._signal(signal.SIGSTOP)
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def _java(self, runtime: Runtime, *command: str) -> list[str]:
        return [str(runtime.java), *JVM, "-cp", ":".join(map(str, runtime.jars)), *command]

    def _format(self, runtime: Runtime) -> None:
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
        command = self._java(runtime, *format_it, "-c", str(self.folder / "server.properties"))
        result = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if result.returncode:
            raise CommandError(f"Kafka cannot format {self.folder}: {_last_line(result.stdout + result.stderr)}", 3)

    def _run(self, runtime: Runtime) -> None:
        with (self.folder / "broker.log").open("ab") as output:
            self._process = subprocess.Popen(
                self._java(runtime, "kafka.Kafka", str(self.folder / "server.properties")),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own, out of reach of Ctrl-C
            )
        self._watch = subprocess.Popen(
            ["/bin/sh", "-c", WATCH, str(self._process.pid)], stdin=subprocess.PIPE, start_new_session=True
        )

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
