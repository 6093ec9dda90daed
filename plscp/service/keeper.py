"""The registry as this server knows it: one projection of the store, caught up whenever the store says it is behind."""

import asyncio
import time
from collections.abc import Callable, Sequence
from threading import RLock

from plscp.errors import StoreUnavailable
from plscp.matching.registry import Registry
from plscp.store.port import EventStore, Failed, RegistryDraft, RegistryRecord, Result, Stale, Stored

Plan = Callable[[Registry], Sequence[RegistryRecord]]
MOST_TRIES = 50


def now_us() -> int:
    """Microseconds since the epoch, UTC."""
    return time.time_ns() // 1000


class RegistryKeeper:
    """Holds the registry, applies what the store has and plans changes on it.

    Decisions and changes carry the position of the registry that they were made on; the store refuses them as stale when it
    knows of a later change, and then this one reads what it missed. So the same few lines serve one server or several.

    Attributes:
        registry: read it only under `lock`, or on the one thread that uses it.
    """

    def __init__(self, store: EventStore, registry: Registry) -> None:
        self._store = store
        self.registry = registry
        self.lock = RLock()

    def catch_up(self) -> int:
        """Apply every registry change that the store has and the registry has not; returns the registry's position."""
        with self.lock:
            more = True
            while more:
                more = False
                for position, moment, change in self._store.changes(self.registry.position):
                    self.registry.apply(position, moment, change)
                    more = True
            return self.registry.position

    def load_activity(self, since: int) -> None:
        """Note when each study last had an entry; `since` in microseconds since the epoch."""
        with self.lock:
            for study_instance_uid, _place, moment in self._store.activity(since):
                self.registry.touch(study_instance_uid, moment)

    async def change(self, plan: Plan, source: str) -> list[int]:
        """Make a registry change durable and known here.

        Args:
            plan: a pure planner; called again whenever the registry has moved on meanwhile.
            source: ``file``, ``http``, ``server``.

        Returns:
            The position of the last event appended, in a list; empty where the plan has nothing to change.

        Raises:
            Conflict: from the plan.
            StoreError: nothing was kept.
        """
        loop = asyncio.get_running_loop()
        for _ in range(MOST_TRIES):
            with self.lock:
                records = plan(self.registry)
                position = self.registry.position
            if not records:
                return []
            result: asyncio.Future[Result] = loop.create_future()

            def done(value: Result, future: "asyncio.Future[Result]" = result) -> None:
                loop.call_soon_threadsafe(_resolve, future, value)

            self._store.submit(RegistryDraft(records, position, now_us(), source, done))
            match await result:
                case Stored() as stored:
                    self.catch_up()
                    return [stored.position]
                case Failed(error):
                    raise error
                case Stale():
                    self.catch_up()
        raise StoreUnavailable("the registry keeps changing: try again")


def _resolve(future: "asyncio.Future[Result]", value: Result) -> None:
    if not future.done():
        future.set_result(value)
