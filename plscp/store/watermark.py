"""The disk's watermark: below it no request is taken, so that what is under way can still be finished and the log can be written."""

import time
from collections.abc import Callable
from threading import Lock

from plscp.logs import log


class Watermark:
    """Whether the disk is low: from when less than the watermark is free until a tenth more than it is.

    Args:
        free: asks for the bytes that are free; None: nobody knows.
        least: the watermark in bytes; 0: there is none.
        every: seconds for which an answer holds. A file system that hangs answers late, so this is never asked on an event loop.
        clock: monotonic seconds.

    Attributes:
        low: as of the last look.
    """

    def __init__(
        self,
        free: Callable[[], int | None],
        least: int,
        *,
        every: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._free, self._least, self._every, self._clock = free, least, every, clock
        self._next = clock()
        self._lock = Lock()
        self.low = False

    def look(self) -> bool:
        """Whether the disk is low; asks for the free disk when the last answer is too old."""
        with self._lock:
            now = self._clock()
            if not self._least or now < self._next:
                return self.low
            self._next = now + self._every
            free = self._free()
            if free is None:
                return self.low
            enough = self._least + self._least // 10 if self.low else self._least
            if free < enough and not self.low:
                self.low = True
                log.error("disk-low", free=free, watermark=self._least, what="every request is answered 0213H")
            elif free >= enough and self.low:
                self.low = False
                log.warning("disk-recovered", free=free, watermark=self._least)
            return self.low
