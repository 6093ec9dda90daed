"""What a server asks of the process that it is: signals, the service manager, open files, memory, threads."""

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
from typing import Any, Final

STOPPING: Final = (signal.SIGTERM, signal.SIGINT)
SWITCH_SECONDS: Final = 0.0005
"""Until a thread that wants to run gets the interpreter: a commit asks for it at each of its steps, and with Python's 5 ms it
takes 0.1 s while an attacker keeps the event loop busy. Costs no throughput that could be measured."""
MALLOC: Final = {-8: 1, -3: 4 << 20, -1: 32 << 20, -2: 1 << 20}
"""glibc's M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD."""


class StopSignals:
    """SIGTERM and SIGINT: the first ends the server in order, a second one ends its waiting for devices.

    They are noted from the first moment on, since a process that is the first of its container gets none that it has not asked
    for, and interrupt nothing; from `listen` on the event loop says so.

    Attributes:
        first, second: set by the first and the second of them.
    """

    def __init__(self) -> None:
        self.first, self.second = asyncio.Event(), asyncio.Event()
        self._noted = 0
        for number in STOPPING:
            signal.signal(number, self._note)

    def _note(self, *_: Any) -> None:
        self._noted += 1

    def listen(self) -> None:
        """Have the running event loop take them."""
        loop = asyncio.get_running_loop()
        for number in STOPPING:
            loop.add_signal_handler(number, self._told)
        for _ in range(self._noted):
            self._told()

    def _told(self) -> None:
        (self.second if self.first.is_set() else self.first).set()

    @property
    def told(self) -> bool:
        """Whether there was one."""
        return self._noted > 0 or self.first.is_set()


def tell_manager(state: str) -> None:
    """Say `READY=1` or `STOPPING=1` to the service manager that started the process (sd_notify(3)), where one asked for it.

    A manager that does not listen is its own affair: nothing here depends on it.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.connect("\0" + address[1:] if address.startswith("@") else address)
            to.send(state.encode())


def make_ready(open_files: int) -> None:
    """Set the process up for a server with so many open files at least: each connection is one, and systems allow 1,024 by default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < open_files:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(open_files, hard), hard))
    sys.setswitchinterval(SWITCH_SECONDS)
    # glibc keeps what was freed, in one arena: giving it back makes the other cores forget their page tables, per request.
    # Measured with 16 associations: 25 to 45 % more requests a second.
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in MALLOC.items():
            mallopt(option, value)
