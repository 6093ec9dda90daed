"""What waits to be looked at in the background, and the loop that does so: devices and changes wait for none of it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from threading import Lock
from typing import Final

from plscp.errors import StoreError

FAILED_SECONDS: Final = 5.0
"""Until what a store that failed was needed for is tried again."""


class Waiting:
    """Keys of what waits, each at most once, the first first; of more than `most` the first are left out."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._keys: dict[str, None] = {}
        self._lock = Lock()
        self._wake: Callable[[], object] = lambda: None

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, keys: Iterable[str]) -> None:
        """Have these wait, and `run` look at them; from any thread."""
        added = dict.fromkeys(keys)
        if not added:
            return
        with self._lock:
            self._keys |= added
            while self._most is not None and len(self._keys) > self._most:
                del self._keys[next(iter(self._keys))]
        self._wake()

    def take(self) -> str | None:
        """The next, which waits no more; None where nothing waits."""
        with self._lock:
            key = next(iter(self._keys), None)
            if key is not None:
                del self._keys[key]
        return key

    async def run(
        self, load: Callable[[], None], look: Callable[[], Awaitable[None]], failed: Callable[[StoreError], None]
    ) -> None:
        """Until cancelled: look at what waits, whenever there is more of it.

        Args:
            load: adds what waited when the server ended; called in a thread.
            look: takes all that waits.
            failed: told why one of the two raised StoreError; it is called again after `FAILED_SECONDS`.
        """
        loop, more = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed: the server has ended
                loop.call_soon_threadsafe(more.set)

        self._wake = wake
        loaded = False
        while True:
            try:
                if not loaded:
                    await asyncio.to_thread(load)
                    loaded = True
                more.clear()
                await look()
                await more.wait()
            except StoreError as error:
                failed(error)
                await asyncio.sleep(FAILED_SECONDS)
