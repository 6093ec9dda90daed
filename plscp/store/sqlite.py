"""The event store on SQLite (contracts section 8): write-ahead log, every commit synced, one writer, readers beside it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from plscp.errors import StoreError, StoreFull
from plscp.logs import log
from plscp.store import queries
from plscp.store.ledger import SqliteLedger
from plscp.store.lockfile import LockFile
from plscp.store.opening import open_for_writing
from plscp.store.port import (
    Deliver,
    Draft,
    Filter,
    OpenRefusal,
    Proposal,
    QuarantineItem,
    RawKept,
    RetryNote,
    Soon,
    StoredEvent,
    StoreLimits,
    at_once,
    deliver_directly,
)
from plscp.store.readers import Readers
from plscp.store.restoring import ancestors
from plscp.store.watermark import Watermark
from plscp.store.writer import Writer


def do_nothing(_: object) -> None:
    """For those who need not hear of it."""


class SqliteStore:
    """An `EventStore` in one file (beside it: its write-ahead log and its lock).

    Attributes:
        store_id: UUID made with the store.
        path: of the database.
    """

    def __init__(
        self,
        path: Path,
        connection: Any,
        lock: LockFile,
        *,
        deliver: Deliver,
        on_fatal: Callable[[StoreError], None],
        after_commit: Callable[[int], None],
        limits: StoreLimits,
        soon: Soon,
        vfs: str | None,
    ) -> None:
        self.path = path
        self.store_id: str = connection.execute("SELECT store_id FROM head").get
        self._lock = lock
        self._reserve = limits.disk_reserve
        self._readers = Readers(path, vfs=vfs)
        ledger = SqliteLedger(
            connection,
            room_for_refusals=self._room_for_refusals,
            quarantine_bytes=limits.quarantine_bytes_per_device,
            checkpoint_pages=limits.checkpoint_pages,
        )
        self._watermark = Watermark(self.disk_free, limits.disk_watermark, every=limits.disk_look_seconds)
        self._writer = Writer(
            ledger,
            deliver=deliver,
            on_fatal=on_fatal,
            after_commit=after_commit,
            limits=limits,
            soon=soon,
            watermark=self._watermark,
        )

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        deliver: Deliver = deliver_directly,
        on_fatal: Callable[[StoreError], None] = do_nothing,
        after_commit: Callable[[int], None] = do_nothing,
        limits: StoreLimits = StoreLimits(),  # noqa: B008 -- a value, never changed
        soon: Soon = at_once,
        vfs: str | None = None,
    ) -> Self:
        """Open a store for writing; made when it is missing.

        Args:
            deliver: how results reach their owners, called once per batch on the writer's thread.
            on_fatal: called once when the store cannot be trusted any more: the process must end.
            after_commit: called with the position of the last event when it has moved.
            limits: bounds.
            soon: how the writer is woken; see `plscp.store.writer`.
            vfs: name of the SQLite VFS to go through (tests inject faults there).

        Raises:
            StoreNotOpened: one line why: another server has it, a newer layout, read-only, not a store, no permission.
        """
        path = Path(path)
        connection, lock = open_for_writing(path, vfs=vfs)
        store = cls(
            path,
            connection,
            lock,
            deliver=deliver,
            on_fatal=on_fatal,
            after_commit=after_commit,
            limits=limits,
            soon=soon,
            vfs=vfs,
        )
        former = list(ancestors(connection))
        restored = {"restored_from": former[-1]} if former else {}
        log.info("store-opened", store=store.store_id, position=store.head()[0], **restored)
        return store

    def _room_for_refusals(self) -> bool:
        free = self.disk_free()
        return free is None or free > self._reserve

    def measure(self, committed: Callable[[float, int], None]) -> None:
        """Tell this function the seconds and drafts of each commit."""
        self._writer.measured = committed

    def submit(self, draft: Draft) -> None:
        """Queue a draft; see `EventStore.submit`."""
        self._writer.submit(draft)

    def head(self) -> tuple[int, int]:
        """(position of the last event, position of the last registry change), as committed."""
        head = self._writer.head
        return head.position, head.registry_position

    def read(self, which: Filter) -> list[StoredEvent]:
        """Events in order of position; from any thread. Raises StoreError."""
        with self._readers.use() as connection:
            return queries.events(connection, which)

    def event(self, position: int) -> StoredEvent | None:
        """The event at a position. Raises StoreError."""
        with self._readers.use() as connection:
            return queries.event(connection, position)

    def timeline(self, study_instance_uid: str) -> list[StoredEvent]:
        """A study's entries by when they occurred. Raises StoreError."""
        with self._readers.use() as connection:
            return queries.timeline(connection, study_instance_uid)

    def changes(self, after: int, limit: int = 1000) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Registry changes after a position. Raises StoreError."""
        with self._readers.use() as connection:
            return iter(queries.changes(connection, after, limit))

    def activity(self, since_us: int) -> Iterator[tuple[str, str, int, int]]:
        """Signs of life since then. Raises StoreError."""
        with self._readers.use() as connection:
            return iter(queries.activity(connection, since_us))

    def clocks(self, since_us: int) -> Iterator[tuple[str, int, int]]:
        """Clock differences measured since then. Raises StoreError."""
        with self._readers.use() as connection:
            return iter(queries.clocks(connection, since_us))

    def has_entries(self, study_instance_uid: str) -> bool:
        """Whether any entry stands under a study. Raises StoreError."""
        with self._readers.use() as connection:
            return queries.has_entries(connection, study_instance_uid)

    def retries(self, position: int = 0, limit: int = 100) -> list[RetryNote]:
        """Repeats that got the stored answer, newest first. Raises StoreError."""
        with self._readers.use() as connection:
            return queries.retries(connection, position, limit)

    def proposals(self, limit: int = 1000) -> list[Proposal]:
        """Proposed corrections, newest first. Raises StoreError."""
        with self._readers.use() as connection:
            return queries.proposals(connection, limit)

    def proposals_count(self) -> int:
        """How many corrections are proposed. Raises StoreError."""
        with self._readers.use() as connection:
            return queries.proposals_count(connection)

    def proposal(self, proposal_id: str) -> Proposal | None:
        """One proposed correction by a unique prefix of its id. Raises StoreError."""
        with self._readers.use() as connection:
            return queries.proposal(connection, proposal_id)

    def quarantine(self, *, calling_ae: str = "", open_only: bool = False, limit: int = 1000) -> list[QuarantineItem]:
        """Quarantine items, newest first. Raises StoreError."""
        with self._readers.use() as connection:
            return queries.quarantine(connection, calling_ae, limit, open_only=open_only)

    def quarantine_item(self, item_id: str) -> QuarantineItem | None:
        """One item by a unique prefix of its identity in hex. Raises StoreError."""
        with self._readers.use() as connection:
            return queries.quarantine_item(connection, item_id)

    def quarantine_open(self) -> dict[str, int]:
        """How many quarantine items are open, by calling AE title. Raises StoreError."""
        with self._readers.use() as connection:
            return queries.quarantine_open(connection)

    def open_refusals(self, limit: int = 1000) -> list[OpenRefusal]:
        """Quarantine items that are open, without the bytes, newest first. Raises StoreError."""
        with self._readers.use() as connection:
            return queries.open_refusals(connection, limit)

    def last_arrivals(self) -> dict[str, int]:
        """When the last accepted request of each calling AE title arrived. Raises StoreError."""
        with self._readers.use() as connection:
            return queries.last_arrivals(connection)

    def refusing(self) -> StoreError | None:
        """Why nothing is stored at present."""
        return self._writer.failure

    def first_broken_position(self) -> int | None:
        """Walk the whole chain; the first position that does not fit, or None. Raises StoreError."""
        with self._readers.use() as connection:
            return queries.first_broken_position(connection)

    def probe(self) -> None:
        """Raises StoreError when nothing can be stored or read at present."""
        if self._writer.failure is not None:
            raise self._writer.failure
        with self._readers.use() as connection:
            connection.execute("SELECT position FROM head").fetchall()

    def alive(self) -> bool:
        """Whether the writer turns."""
        return self._writer.alive()

    def disk_free(self) -> int | None:
        """Bytes free where the store lives; None where the system does not say."""
        try:
            found = os.statvfs(self.path.parent)
        except OSError:
            return None
        return found.f_bavail * found.f_frsize

    def full(self) -> bool:
        """Whether requests are refused for lack of disk: it is below the watermark, or took nothing any more."""
        return self._watermark.look() or isinstance(self._writer.failure, StoreFull)

    def raw_kept(self, position: int) -> RawKept | None:
        """What is left of an event's request as it was received. Raises StoreError."""
        with self._readers.use() as connection:
            return queries.raw_kept(connection, position)

    def close(self) -> None:
        """Write what is queued, deliver it, close everything and let go of the lock. Safe to call twice."""
        self._writer.close()
        self._readers.close()
        self._lock.release()
