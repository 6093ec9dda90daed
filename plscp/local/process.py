"""Processes of our own: whatever becomes of this process, none of them stays behind."""

import contextlib
import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

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
        """A signal to the whole group."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
