"""One transaction on SQLite: takes the head, looks up what the drafts need, writes what the batch decided, commits and syncs."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import apsw

from plscp.errors import StoreBroken
from plscp.store.batch import Batch
from plscp.store.failures import translate
from plscp.store.known import Known, StoredUnder, Wanted
from plscp.store.opening import BUSY_MS
from plscp.store.port import Draft, Result
from plscp.store.quarantine import look_up_items, save_items
from plscp.store.rows import Answered, EventRow, Head, RequestRow, Seen

ANSWERED: Final = """
SELECT i.identity, r.request_id, r.status, r.comment, r.study_instance_uid, r.patient_id, r.issuer, r.last_position, r.n,
    f.request_id, i.first, EXISTS (SELECT 1 FROM delivered d WHERE d.request_id = r.request_id)
FROM carray(?) k CROSS JOIN identities i ON i.identity = k.value
CROSS JOIN requests r ON r.n = i.latest CROSS JOIN requests f ON f.n = i.first
"""
SEEN: Final = "SELECT s.key, s.position, s.mark, s.other FROM carray(?) k CROSS JOIN seen s ON s.key = k.value"


def marks(row: type[RequestRow] | type[EventRow]) -> str:
    """As many question marks as the row has columns."""
    return ",".join("?" * len(row._fields))


INSERT_REQUEST: Final = f"INSERT INTO requests VALUES ({marks(RequestRow)})"  # noqa: S608 -- only question marks
INSERT_EVENT: Final = f"INSERT INTO events VALUES ({marks(EventRow)})"  # noqa: S608
WORST_WAL: Final = 16
"""Times the usual number of pages: then new readers wait until the write-ahead log starts from its beginning."""
RESTART_MS: Final = 100


class SqliteLedger:
    """Used by the writer's thread only.

    Args:
        room_for_refusals: whether the quarantine may grow.
    """

    def __init__(
        self, connection: Any, *, room_for_refusals: Callable[[], bool], quarantine_bytes: int, checkpoint_pages: int
    ) -> None:
        self._connection = connection
        self._room_for_refusals = room_for_refusals
        self._quarantine_bytes = quarantine_bytes
        self._checkpoint_pages = checkpoint_pages
        self._wal_pages = 0
        self._checkpoint_at = checkpoint_pages
        connection.set_wal_hook(self._committed)
        self.head = self._read_head()

    def write(self, drafts: Sequence[Draft]) -> list[Result | None]:
        """One transaction for all drafts: all of it is committed and synced, or nothing.

        Raises:
            StoreError: of the store; nothing was kept.
            Exception: one of the drafts cannot be stored; nothing was kept.
        """
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            head = self._read_head()
            wanted = Wanted.by(drafts)
            batch = Batch(head, self._look_up(wanted), time.time_ns() // 1000)
            results = [batch.take(draft, keys) for draft, keys in zip(drafts, wanted.keys, strict=True)]
            if batch.empty:
                connection.execute("ROLLBACK")
            else:
                self._save(batch)
                connection.execute("COMMIT")
        except BaseException as error:
            failure = translate(error, connection.system_errno if isinstance(error, apsw.IOError) else 0)
            self._roll_back()
            if failure is None or failure is error:
                raise
            raise failure from error
        self.head = batch.head
        return results

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error as error:
            raise StoreBroken(f"the store cannot be trusted any more: rolling back failed: {error}") from error

    def _read_head(self) -> Head:
        row = self._connection.execute("SELECT position, digest, registry_position, requests FROM head").fetchone()
        return Head(*row)

    # --- looking up ---

    def _look_up(self, wanted: Wanted) -> Known:
        known = Known({}, {}, {}, self._stored_under, self._room_for_refusals)
        execute = self._connection.execute
        if wanted.identities:
            identities = apsw.carray(wanted.identities)
            for identity, *row in execute(ANSWERED, (identities,)):
                known.answered[identity] = Answered(*row)
            known.items = look_up_items(self._connection, identities)
        if wanted.entry_keys:
            for key, *row in execute(SEEN, (apsw.carray(wanted.entry_keys),)):
                known.seen[key] = Seen(*row)
        return known

    def _stored_under(self, position: int) -> StoredUnder:
        row = self._connection.execute(
            "SELECT r.study_instance_uid, r.patient_id, r.issuer FROM events e JOIN requests r ON r.n = e.request"
            " WHERE e.position = ?",
            (position,),
        ).fetchone()
        return StoredUnder(*row)

    # --- writing ---

    def _save(self, batch: Batch) -> None:
        many, execute = self._connection.executemany, self._connection.execute
        if batch.requests:
            many(INSERT_REQUEST, batch.requests)
        if batch.events:
            many(INSERT_EVENT, batch.events)
            many(
                "INSERT INTO topics VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET highest = excluded.highest",
                [(topic, *span) for topic, span in batch.topics.items()],
            )
        if batch.seen:
            many("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)", [(key, *seen) for key, seen in batch.seen.items()])
        if batch.answered:
            many(
                "INSERT OR REPLACE INTO identities VALUES (?, ?, ?)",
                [(identity, a.first_n, a.n) for identity, a in batch.answered.items()],
            )
        if batch.studies:
            many(
                "INSERT INTO activity VALUES (?, ?) ON CONFLICT DO UPDATE SET arrival = max(arrival, excluded.arrival)",
                list(batch.studies.items()),
            )
        if batch.retries:
            many("INSERT INTO retries VALUES (?, ?, ?, ?, ?, ?, ?)", batch.retries)
        if batch.delivered:
            many("INSERT OR IGNORE INTO delivered VALUES (?)", [(request_id,) for request_id in batch.delivered])
        if batch.items:
            save_items(self._connection, batch.items.values(), self._quarantine_bytes)
        execute("UPDATE head SET position = ?, digest = ?, registry_position = ?, requests = ?", batch.head)

    # --- care ---

    def _committed(self, _connection: Any, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def tidy(self) -> None:
        """Copy the write-ahead log back into the database when it is long enough.

        Raises:
            StoreError: it failed; what was committed is safe in the log.
        """
        if self._wal_pages < self._checkpoint_at:
            return
        if self._wal_pages <= WORST_WAL * self._checkpoint_pages:
            self._checkpoint(apsw.SQLITE_CHECKPOINT_PASSIVE)
            return
        self._connection.set_busy_timeout(RESTART_MS)
        try:
            self._checkpoint(apsw.SQLITE_CHECKPOINT_RESTART)
        finally:
            self._connection.set_busy_timeout(BUSY_MS)

    def _checkpoint(self, mode: int) -> None:
        pages, done = self._wal_pages, 0
        try:
            pages, done = self._connection.wal_checkpoint(mode=mode)
        except apsw.BusyError:
            pass  # a reader holds on to the log: later
        except apsw.Error as error:
            failure = translate(error, self._connection.system_errno)
            raise failure or StoreBroken(f"checkpoint failed: {error}") from error
        # The log starts from its beginning only when all of it was copied; else wait for as many pages again.
        self._wal_pages = 0 if done >= pages else pages
        self._checkpoint_at = self._checkpoint_pages + self._wal_pages

    def probe(self) -> None:
        """Write and sync one small change.

        Raises:
            StoreError: it failed.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE; UPDATE head SET probe = probe + 1; COMMIT")
        except apsw.Error as error:
            failure = translate(error, self._connection.system_errno)
            self._roll_back()
            raise failure or StoreBroken(f"the store cannot be written: {error}") from error

    def close(self, *, broken: bool) -> None:
        """Empty the write-ahead log (unless the store is broken) and close."""
        if not broken:
            try:
                self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)
            finally:
                self._connection.close()
            return
        self._connection.close()
