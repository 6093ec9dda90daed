"""The demo's server: settings for one lab with four devices, and `plscp serve` as a process that ends with the demo."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Self

from plscp.errors import CommandError
from plscp.scu.pci_case import DEVICES, MAY, Subject, registry_file

PREFIX = "plscp"
TOPICS = tuple(f"{PREFIX}.{name}" for name in ("procedure-log", "medication-administration", "quarantine"))
"""Where the case's entries and refusals are published."""
WATCH = "read _; kill -9 $0 2>/dev/null"
"""Ends the server when the other end of its standard input closes, which only the demo holds."""


class DemoServer:
    """`plscp serve` on free ports; a context manager.

    Args:
        folder: where its settings, store and log are.
        kafka: the broker's address, or empty for none.

    Attributes:
        config: the settings file.
        port: of the DICOM listener.
        url: of the HTTP API.
    """

    def __init__(self, folder: Path, kafka: str) -> None:
        self.folder = folder
        self.config = folder / "plscp.toml"
        self.log = folder / "server.log"
        self.port, self.url = 0, ""
        self._process: subprocess.Popen[str] | None = None
        self._watch: subprocess.Popen[bytes] | None = None
        self.config.write_text(_settings(kafka), "utf-8")
        (folder / "current.toml").write_text(
            registry_file(Subject(), datetime.now(UTC) - timedelta(minutes=5)), "utf-8"
        )

    def start(self, timeout: float = 30.0) -> Self:
        """Start, and wait until it accepts associations; raises CommandError, one line, when it does not."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PLSCP_")}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "plscp", "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the demo, which then ends the server in order
            )
        self._watch = subprocess.Popen(
            ["/bin/sh", "-c", WATCH, str(self._process.pid)], stdin=subprocess.PIPE, start_new_session=True
        )
        lines: Queue[str] = Queue()
        Thread(target=self._listen, args=(lines,), daemon=True).start()
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = lines.get(timeout=max(deadline - time.monotonic(), 0.01))
            except Empty:
                raise CommandError(f"the server was not ready within {timeout:g} s; its log: {self.log}") from None
            if not line:
                raise CommandError(f"the server did not start: {self.last_words()}")
            if line.startswith("listening "):
                self.port = int(line.rsplit(":", 1)[1])
                self.url = self._http()
                return self

    def _listen(self, lines: "Queue[str]") -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            lines.put(line)
        lines.put("")

    def _http(self) -> str:
        """Where the HTTP API is, as the log says it."""
        for line in self.log.read_text("utf-8", "replace").splitlines():
            if line.startswith("{") and (record := json.loads(line)).get("event") == "http-listening":
                return f"http://{record['host']}:{record['port']}"
        raise CommandError(f"the server does not say where its HTTP API is; its log: {self.log}")

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self.log.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1].removeprefix("plscp: ")[:300] if lines else "it said nothing"

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def stop(self, timeout: float = 15.0) -> None:
        """SIGTERM, and SIGKILL after so many seconds; harmless when it does not run."""
        if self._watch is not None:  # first: the process number may be somebody else's later
            self._watch.kill()
            assert self._watch.stdin is not None
            self._watch.stdin.close()
            self._watch.wait()
            self._watch = None
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


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
