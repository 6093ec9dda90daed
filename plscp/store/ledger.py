"""One transaction on SQLite: takes the head, looks up what the drafts need, writes what the batch decided, commits and syncs."""

import json
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

import apsw

from plscp.errors import StoreBroken
from plscp.store.batch import Batch
from plscp.store.connections import BUSY_MS, translate
from plscp.store.port import CLOCKS_KEPT_US, Draft, Measured, RequestDraft, Result
from plscp.store.rows import (
    Answered,
    EntryKeys,
    EventRow,
    Expired,
    ExpiredItem,
    Item,
    Known,
    Outcome,
    RequestRow,
    Seen,
    StoredUnder,
    keys_of,
)
from plscp.store.schema import head_of, topics_of

KNOWN: Final = """
SELECT EXISTS (SELECT 1 FROM carray(?1) k CROSS JOIN identities i ON i.identity = k.value),
    EXISTS (SELECT 1 FROM carray(?1) k CROSS JOIN quarantine q ON q.identity = k.value),
    EXISTS (SELECT 1 FROM carray(?2) k CROSS JOIN seen s ON s.key = k.value)
"""
"""What is asked first: as a rule nothing of a batch is known."""
ANSWERED: Final = """
SELECT i.identity, r.request_id, r.status, r.comment, r.study_instance_uid, r.patient_id, r.issuer, r.last_position, r.n,
    f.request_id, i.first, EXISTS (SELECT 1 FROM delivered d WHERE d.request_id = r.request_id)
FROM carray(?) k CROSS JOIN identities i ON i.identity = k.value
CROSS JOIN requests r ON r.n = i.latest CROSS JOIN requests f ON f.n = i.first
"""
SEEN: Final = "SELECT s.key, s.position, s.mark, s.other FROM carray(?) k CROSS JOIN seen s ON s.key = k.value"
STORED_UNDER: Final = """
SELECT e.position, r.study_instance_uid, r.patient_id, r.issuer, r.context
FROM carray(?) k CROSS JOIN events e ON e.position = k.value CROSS JOIN requests r ON r.n = e.request
"""
HAS_ENTRIES: Final = """
SELECT EXISTS (SELECT 1 FROM requests WHERE study_instance_uid = ?1 AND study_instance_uid <> '' AND first_position > 0)
"""
OLDEST_RAW: Final = """
SELECT n, arrival, raw IS NOT NULL, raw_length, first_position, last_position FROM requests
WHERE n > (SELECT expunged FROM head) ORDER BY n LIMIT ?
"""
LOOK_ROWS: Final = 4
"""Request rows that are looked at for each whose raw bytes may go: those of refusals have none."""
EXPIRED: Final = """
SELECT identity, calling_ae, length(raw) FROM quarantine INDEXED BY quarantine_raw
WHERE raw IS NOT NULL AND (closed_position IS NULL) = 0 AND last_time < ? LIMIT ?
"""
EXPUNGE: Final = "UPDATE requests SET raw = NULL WHERE n IN (SELECT value FROM carray(?))"
ITEMS: Final = """
SELECT q.identity, q.calling_ae, q.address, q.sop_class, q.transfer_syntax, q.first_time, q.last_time, q.times,
    q.raw_length, q.raw_digest, q.closed_position, q.raw IS NOT NULL
FROM carray(?) k CROSS JOIN quarantine q ON q.identity = k.value
"""
OUTCOMES: Final = (
    "SELECT outcome, status, comment, position, first_time, last_time, times FROM refusals WHERE identity = ?"
)
SAVE_ITEM: Final = """
INSERT INTO quarantine (identity, calling_ae, address, sop_class, transfer_syntax, first_time, last_time, times,
    raw_length, raw_digest, closed_position)
VALUES (:identity, :calling_ae, :address, :sop_class, :transfer_syntax, :first_time, :last_time, :times,
    :raw_length, :raw_digest, :closed_position)
ON CONFLICT (identity) DO UPDATE SET transfer_syntax = excluded.transfer_syntax, last_time = excluded.last_time,
    times = excluded.times, closed_position = excluded.closed_position
"""
SAVE_OUTCOME: Final = """
INSERT INTO refusals (identity, outcome, status, comment, position, first_time, last_time, times)
VALUES (:identity, :outcome, :status, :comment, :position, :first_time, :last_time, :times)
ON CONFLICT DO UPDATE SET last_time = excluded.last_time, times = excluded.times
"""
USE: Final = """
INSERT INTO quarantine_use VALUES (?, ?) ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes RETURNING bytes
"""
OLDEST: Final = """
SELECT n, length(raw) FROM quarantine INDEXED BY quarantine_raw WHERE raw IS NOT NULL AND calling_ae = ?
ORDER BY closed_position IS NULL, last_time LIMIT 1
"""
FORGET_CLOCKS: Final = """
DELETE FROM clocks WHERE rowid IN (
    SELECT n FROM (SELECT rowid AS n, arrival FROM clocks ORDER BY rowid LIMIT ?) WHERE arrival < ?)
"""
"""Of the oldest rows those that nobody asks for any more."""
FEWEST_FORGOTTEN: Final = 1000
"""Rows that are looked at, at least, when clock differences are forgotten."""
FORGET_EVERY_US: Final = 60_000_000
NOTHING: Final = (b"",)
MOVE: Final = (
    "UPDATE head SET position = ?, digest = ?, registry_position = ?, requests = ?, topics = ? WHERE position = ?"
)
AT_ONCE: Final = 64
"""Rows per statement: each statement lets go of the GIL and may wait for it, so a batch takes few."""

WORST_WAL: Final = 16
"""Times the usual number of pages: then new readers wait until the write-ahead log starts from its beginning."""
RESTART_MS: Final = 100


@cache
def _insert(into: str, columns: int, rows: int) -> str:
    row = f"({','.join('?' * columns)})"
    return f"{into} VALUES {','.join([row] * rows)}"


def _into(table: str, row: Any) -> str:
    """The columns by name: what a migration added stands last in the table."""
    return f"INSERT INTO {table} ({','.join(row._fields)})"


_REQUESTS: Final = _into("requests", RequestRow)
_EVENTS: Final = _into("events", EventRow)
_CLOCKS: Final = _into("clocks", Measured)


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
        self._clocks_added = 0
        self._forgot_clocks = 0
        connection.set_wal_hook(self._committed)
        self.head = head_of(connection)
        self._topics = topics_of(connection)

    def write(self, drafts: Sequence[Draft]) -> list[Result | None]:
        """One transaction for all drafts: all of it is committed and synced, or nothing.

        Raises:
            StoreError: of the store; nothing was kept.
            Exception: one of the drafts cannot be stored; nothing was kept.
        """
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            keys = [keys_of(draft) if isinstance(draft, RequestDraft) else [] for draft in drafts]
            batch = Batch(self.head, self._look_up(drafts, keys), time.time_ns() // 1000)
            results = [batch.take(draft, of_draft) for draft, of_draft in zip(drafts, keys, strict=True)]
            if batch.empty:
                connection.execute("ROLLBACK")
                return results
            topics = self._save(batch)
            if batch.clocks:
                self._forget_clocks(batch.clocks)
            connection.execute("COMMIT")
        except BaseException as error:
            failure = translate(error, connection.system_errno if isinstance(error, apsw.IOError) else 0)
            self._roll_back()
            if failure is None or failure is error:
                raise
            raise failure from error
        self.head, self._topics = batch.head, topics
        return results

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error as error:
            raise StoreBroken(f"the store cannot be trusted any more: rolling back failed: {error}") from error

    # --- looking up ---

    def _look_up(self, drafts: Sequence[Draft], keys: Sequence[Sequence[EntryKeys]]) -> Known:
        known = Known(
            {}, {}, {}, self._stored_under, self._has_entries, self._proposed, self._room_for_refusals, self._expired
        )
        execute = self._connection.execute
        wanted = tuple({draft.identity: None for draft in drafts if isinstance(draft, RequestDraft)})
        if not wanted:
            return known
        entry_keys = tuple({key: None for of_draft in keys for of_entry in of_draft for key in of_entry if key})
        identities, entries = apsw.carray(wanted), apsw.carray(entry_keys or NOTHING)
        answered, items, seen = execute(KNOWN, (identities, entries)).fetchone()
        if answered:
            for identity, *row in execute(ANSWERED, (identities,)):
                known.answered[identity] = Answered(*row)
        if items:
            known.items = self._items(identities)
        if seen:
            for key, *row in execute(SEEN, (entries,)):
                known.seen[key] = Seen(*row)
        return known

    def _stored_under(self, positions: Iterable[int]) -> dict[int, StoredUnder]:
        wanted = array("q", positions)
        if not wanted:
            return {}
        rows = self._connection.execute(STORED_UNDER, (apsw.carray(wanted, flags=apsw.SQLITE_CARRAY_INT64),))
        same: dict[bytes, bytes] = {}  # hundreds of entries of one request have one context
        return {
            at: (study, patient_id, issuer, same.setdefault(shared, shared))
            for at, study, patient_id, issuer, shared in rows
        }

    def _has_entries(self, study_instance_uid: str) -> bool:
        return bool(self._connection.execute(HAS_ENTRIES, (study_instance_uid,)).get)

    def _proposed(self, proposal_id: str) -> bool:
        return bool(
            self._connection.execute("SELECT EXISTS (SELECT 1 FROM proposals WHERE id = ?)", (proposal_id,)).get
        )

    def _items(self, identities: object) -> dict[bytes, Item]:
        """The quarantine items of these identities (a carray), each with its outcomes."""
        items = {}
        for row in self._connection.execute(ITEMS, (identities,)).fetchall():
            item = Item(*row)
            for outcome in self._connection.execute(OUTCOMES, (item.identity,)):
                item.outcomes[outcome[0]] = Outcome(*outcome)
            items[item.identity] = item
        return items

    def _expired(self, before: int, now: int, most: int) -> Expired:
        """What of the oldest requests that were not looked at yet, and of closed items, has raw bytes to lose.

        What arrived before a moment goes, up to the first that did not. What is dated after `now` is passed over: it came
        while a clock was wrong, and nobody knows its age.
        """
        upto, raw_bytes, low, high = 0, 0, 0, 0
        requests: list[int] = []
        for n, arrival, kept, length, first, last in self._connection.execute(OLDEST_RAW, (most * LOOK_ROWS,)):
            if before <= arrival <= now or len(requests) == most:
                break
            upto = n
            if kept and arrival < before:
                requests.append(n)
                raw_bytes += length
                low, high = low or first, last or high
        items = [ExpiredItem(*row) for row in self._connection.execute(EXPIRED, (before, most))]
        return Expired(upto, requests, (low, high), raw_bytes, items)

    # --- writing ---

    def _save(self, batch: Batch) -> dict[str, tuple[int, int]]:
        """Writes everything but the commit; the bounds of each topic then."""
        self._add(_REQUESTS, batch.requests)
        self._add(_EVENTS, batch.events)
        self._add("INSERT OR REPLACE INTO seen", [(key, *seen) for key, seen in batch.seen.items()])
        self._add(
            "INSERT OR REPLACE INTO identities", [(identity, a.first_n, a.n) for identity, a in batch.answered.items()]
        )
        self._add("INSERT INTO retries", batch.retries)
        self._add("INSERT OR IGNORE INTO delivered", [(request_id,) for request_id in batch.delivered])
        self._add(_CLOCKS, batch.clocks)
        self._add("INSERT INTO proposals", list(batch.proposals.items()))
        if batch.items:
            self._save_items(batch.items.values())
        if batch.expired is not None:
            self._expunge(batch.expired)
        topics = {**self._topics}
        for topic, (low, high) in batch.topics.items():
            topics[topic] = (topics.get(topic, (low,))[0], high)
        self._connection.execute(MOVE, (*batch.head, json.dumps(topics), self.head.position))
        if self._connection.changes() != 1:
            raise StoreBroken("the store's head moved: another program writes to it")
        return topics

    def _save_items(self, items: Iterable[Item]) -> None:
        """Write items and outcomes; then drop the oldest raw bytes of each device that is over its cap, closed items first."""
        execute = self._connection.execute
        for item in items:
            execute(SAVE_ITEM, vars(item))
            for outcome in item.outcomes.values():
                execute(SAVE_OUTCOME, {"identity": item.identity, **vars(outcome)})
            if item.raw is not None:
                execute("UPDATE quarantine SET raw = ? WHERE identity = ?", (item.raw, item.identity))
                used = execute(USE, (item.calling_ae, len(item.raw))).get
                while used > self._quarantine_bytes and (oldest := execute(OLDEST, (item.calling_ae,)).fetchone()):
                    n, length = oldest
                    execute("UPDATE quarantine SET raw = NULL WHERE n = ?", (n,))
                    used = execute(USE, (item.calling_ae, -length)).get

    def _expunge(self, these: Expired) -> None:
        if these.requests:
            numbers = array("q", these.requests)
            self._connection.execute(EXPUNGE, (apsw.carray(numbers, flags=apsw.SQLITE_CARRAY_INT64),))
        for item in these.items:
            self._connection.execute("UPDATE quarantine SET raw = NULL WHERE identity = ?", (item.identity,))
            self._connection.execute(USE, (item.calling_ae, -item.raw_bytes)).fetchall()
        if these.upto:
            self._connection.execute("UPDATE head SET expunged = ?", (these.upto,))

    def _forget_clocks(self, added: Sequence[Measured]) -> None:
        """Now and then drop clock differences too old for the newest; more than came in since, and no more than twice that."""
        self._clocks_added += len(added)
        now = max(row.arrival for row in added)
        if abs(now - self._forgot_clocks) < FORGET_EVERY_US:
            return
        most = max(2 * self._clocks_added, FEWEST_FORGOTTEN)
        self._clocks_added, self._forgot_clocks = 0, now
        self._connection.execute(FORGET_CLOCKS, (most, now - CLOCKS_KEPT_US))

    def _add(self, into: str, rows: Sequence[Sequence[Any]]) -> None:
        for at in range(0, len(rows), AT_ONCE):
            some = rows[at : at + AT_ONCE]
            self._connection.execute(_insert(into, len(rows[0]), len(some)), tuple(chain.from_iterable(some)))

    # --- care ---

    def _committed(self, _connection: Any, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def tidy(self) -> None:
        """Copy the write-ahead log back into the database when it is long enough; where that fails, it is a StoreError and the log is safe."""
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
        if self._wal_pages:
            # A reader that stays, a backup as a rule: each try makes requests wait for nothing.
            self._checkpoint_at = self._wal_pages + WORST_WAL * self._checkpoint_pages

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
        """Write and sync one small change; StoreError where that fails."""
        try:
            self._connection.execute("BEGIN IMMEDIATE; UPDATE head SET probe = probe + 1; COMMIT")
        except apsw.Error as error:
            failure = translate(error, self._connection.system_errno)
            self._roll_back()
            raise failure or StoreBroken(f"the store cannot be written: {error}") from error

    def close(self, *, broken: bool) -> None:
        """Empty the write-ahead log (unless the store is broken) and close."""
        try:
            if not broken:
                self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            self._connection.close()
