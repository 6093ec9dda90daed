"""The relay process as the server sees it: started, woken, started anew when it ends, never waited for."""

import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from plscp.logs import log
from plscp.relay.settings import LEVELS, RelaySettings

COMMAND: Final = (sys.executable, "-m", "plscp.relay")
FIRST_PAUSE: Final = 0.1
LAST_PAUSE: Final = 30.0
STEADY: Final = 20.0
"""Seconds after which a relay that ends counts as one that had worked."""
GRACE: Final = 5.0
"""Seconds between the end of its standard input and SIGKILL."""

Status = dict[str, Any]


class RelayProcess:
    """Runs the relay and keeps it running.

    Args:
        on_status: called on the event loop with each status line; counts in ``published`` go on across restarts.
        log_level: debug, info, warning or error: lines of the relay below it are not written.
    """

    def __init__(
        self,
        settings: RelaySettings,
        on_status: Callable[[Status], None] = lambda _: None,
        *,
        command: Sequence[str] = COMMAND,
        log_level: str = "info",
    ) -> None:
        self._wake = LEVELS[log_level]
        self._settings, self._on_status, self._command = settings, on_status, list(command)
        self._writing = threading.Lock()
        self._pipe = -1
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._before: dict[str, dict[str, int]] = {}  # what earlier processes had published, by topic and outcome
        self._status: Status = {}
        self.restarts = 0

    @property
    def pid(self) -> int:
        """Of the process that runs now, or 0."""
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Start it; from now on it is kept running."""
        self._task = asyncio.get_running_loop().create_task(self._keep())

    def wake(self) -> None:
        """The store has more; from any thread, never waits. A byte that is still on its way says it too."""
        with self._writing, contextlib.suppress(BlockingIOError, BrokenPipeError):
            if self._pipe >= 0:
                os.write(self._pipe, self._wake)

    def log_level(self, level: str) -> None:
        """Have the relay log lines of this level and above, now and when it is started anew.

        Each byte that wakes it says the level: where one does not fit into the pipe, the next one does.
        """
        self._wake = LEVELS[level]
        self.wake()

    async def stop(self) -> None:
        """End it and wait for its end; harmless when it was never started."""
        self._stopping.set()
        self._close_pipe()
        if self._task is not None:
            done, _ = await asyncio.wait({self._task}, timeout=GRACE)
            if not done and self._process is not None:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    self._process.kill()
            await self._task
            self._task = None

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                code = await self._once()
            except OSError as error:  # no process can be had now
                code = -1
                log.error("relay-stopped", why=str(error))
            if self._stopping.is_set():
                break
            pause = FIRST_PAUSE if time.monotonic() - started >= STEADY else pause
            log.warning("relay-stopped", code=code, again_in=pause)
            self._tell_end()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(pause * 2, LAST_PAUSE)
            self.restarts += 1

    async def _once(self) -> int:
        """Run it until it ends; its exit status."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *self._command, stdin=reading, stdout=asyncio.subprocess.PIPE, limit=1 << 20
            )
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        log.info("relay-started", pid=process.pid)
        told = json.dumps(self._settings.as_json()).encode() + b"\n" + self._wake
        with self._writing, contextlib.suppress(BlockingIOError, BrokenPipeError):
            self._pipe = writing
            os.write(writing, told)  # fits into an empty pipe
        if self._stopping.is_set():
            self._close_pipe()
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                with contextlib.suppress(ValueError):
                    self._tell(json.loads(line))
            return await process.wait()
        finally:
            self._close_pipe()
            if process.returncode is None:
                process.kill()
                await process.wait()
            self._process = None
            self._before = self._status.get("published", {})

    def _tell(self, status: Status) -> None:
        """Hand a status line on, with what the processes before this one had published."""
        published = {topic: Counter(counts) for topic, counts in self._before.items()}
        for topic, counts in (status.get("published") or {}).items():
            published.setdefault(topic, Counter()).update(counts)
        self._status = status | {"published": published, "restarts": self.restarts}
        self._on_status(self._status)

    def _tell_end(self) -> None:
        """What the process said last is no longer so: nothing runs until the next one does."""
        why = "the relay has ended and is started anew"
        topics = {topic: {"state": "starting", "why": why} for topic in self._status.get("topics") or {}}
        self._on_status({**self._status, "topics": topics, "errors": [why], "ended": True})

    def _close_pipe(self) -> None:
        with self._writing:
            pipe, self._pipe = self._pipe, -1
            if pipe >= 0:
                os.close(pipe)
