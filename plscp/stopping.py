"""SIGTERM and SIGINT: the first ends the server in order, a second one ends its waiting for devices.

A process that is the first of its container gets no signal that it has not asked for, so they are asked for from the first moment on.
"""

import asyncio
import signal
from typing import Any, Final

NUMBERS: Final = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """They are noted and interrupt nothing; from `listen` on the event loop says so.

    Attributes:
        first, second: set by the first and the second of them.
    """

    def __init__(self) -> None:
        self.first, self.second = asyncio.Event(), asyncio.Event()
        self._noted = 0
        for number in NUMBERS:
            signal.signal(number, self._note)

    def _note(self, *_: Any) -> None:
        self._noted += 1

    def listen(self) -> None:
        """Have the running event loop take them."""
        loop = asyncio.get_running_loop()
        for number in NUMBERS:
            loop.add_signal_handler(number, self._told)
        for _ in range(self._noted):
            self._told()

    def _told(self) -> None:
        (self.second if self.first.is_set() else self.first).set()

    @property
    def told(self) -> bool:
        """Whether there was one."""
        return self._noted > 0 or self.first.is_set()
