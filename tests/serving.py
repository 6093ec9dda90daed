"""`plscp serve` as a process, for tests: started, found by its listening line, stopped or killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Self

import httpx

from tests.privacy import LOOKOUT


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Wait for a condition; its value, or an AssertionError that says what was waited for."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        pause.wait(0.02)


def open_study(uid: str, location: str = "") -> str:
    """A registry file with one open study, of patient P1."""
    place = f'location = "{location}"\n' if location else ""
    return f'[[studies]]\nstudy_instance_uid = "{uid}"\nstatus = "open"\npatient = {{ id = "P1", issuer = "HOSP" }}\n{place}'


class Serving:
    """A server in a process of its own.

    Args:
        folder: where its settings and data live.
        settings: TOML text; `{folder}` is replaced. Ports should be 0.
        program: what Python runs as `plscp`.

    Attributes:
        python: the interpreter that runs it.
        environ: what its environment has beside ours.
    """

    def __init__(self, folder: Path, settings: str, program: Sequence[str] = ("-m", "plscp")) -> None:
        self.folder, self.program = folder, program
        self.config = folder / "plscp.toml"
        self.config.write_text(settings.replace("{folder}", str(folder)))
        self.python = sys.executable
        self.environ: dict[str, str] = {}
        self.process: subprocess.Popen[str] | None = None
        self.lines: list[str] = []
        self._reader: threading.Thread | None = None
        self.host, self.port, self.http = "", 0, ""
        self.probes = ""

    def start(self, seconds: float = 60.0) -> Self:
        """Start and wait until it accepts associations."""
        seen: Queue[str | None] = Queue()
        self.process = process = subprocess.Popen(
            [self.python, *self.program, "serve", "--config", str(self.config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | self.environ,
        )

        def read() -> None:
            assert process.stdout is not None
            with process.stdout:
                for line in process.stdout:
                    self.lines.append(line)
                    LOOKOUT.line(line)
                    seen.put(line)
            seen.put(None)

        if self._reader is not None:
            self._reader.join(60)
        self._reader = threading.Thread(target=read, daemon=True)
        self._reader.start()
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = seen.get(timeout=max(deadline - time.monotonic(), 0.01))
            except Empty:
                raise AssertionError("".join(self.lines)) from None
            assert line is not None, "".join(self.lines)
            if line.startswith("{"):
                record = json.loads(line)
                if record.get("event") == "http-listening":
                    address = f"http://{record['host']}:{record['port']}"
                    if record["listener"] == "probes":
                        self.probes = address
                    else:
                        self.http = address
            elif line.startswith("listening"):
                words = line.split()
                self.host, self.port = words[-1].rsplit(":", 1)[0], int(words[-1].rsplit(":", 1)[1])
                return self

    def get(self, path: str, **params: Any) -> Any:
        """A JSON answer of the HTTP API."""
        answer = httpx.get(self.http + path, params=params, timeout=60)
        if answer.is_error:
            LOOKOUT.problem(answer.text)
        answer.raise_for_status()
        return answer.json()

    def put(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """PUT a JSON body."""
        LOOKOUT.used_in(path, body)
        answer = httpx.put(self.http + path, json=body, timeout=60)
        if answer.is_error:
            LOOKOUT.problem(answer.text)
        return answer

    def stop(self, seconds: float = 60.0) -> int:
        """SIGTERM and wait."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL and wait."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(60)

    def end(self) -> None:
        """Make sure that nothing of it is left."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)
        if self._reader is not None:
            self._reader.join(60)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.end()
