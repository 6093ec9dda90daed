"""One transaction on SQLite: takes the head, looks up what the drafts need, writes what the batch decided, commits and syncs."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import apsw

from plscp.errors import StoreBroken
from plscp.store.batch import Batch
from plscp.store.chain import EventRow
from plscp.store.connections import BUSY_MS, insert, translate
from plscp.store.index import Index
from plscp.store.limits import StoreLimits
from plscp.store.lookups import ID_BYTES, Expired, Lookups, QuarantineRow, ids_in, integers
from plscp.store.port import (
    CLOCKS_KEPT_US,
    MOST_MESSAGE_BYTES,
    ClockMeasured,
    Draft,
    MessageRefused,
    RequestRecord,
    Result,
)
from plscp.store.schema import CONTEXTS_KEPT, head_of, topics_of

SETTLE: Final = "UPDATE proposals SET state = ?, moved = ?, settled = ?, reverts = ?, who = ?, why = ? WHERE id = ?"
SUPERSEDE: Final = """
UPDATE proposals SET state = 'superseded', settled = ?1 WHERE state = 'proposed' AND position < ?1 AND EXISTS (
    SELECT 1 FROM events e CROSS JOIN json_each('{' || e.data || '}', '$.change.positions') j
    WHERE e.position = proposals.position AND j.value IN (SELECT value FROM carray(?2)))
"""
"""Open proposals about entries that were moved otherwise."""
EXPUNGE: Final = "UPDATE requests SET raw = NULL WHERE n IN (SELECT value FROM carray(?))"
SAVE_ITEM: Final = """
INSERT INTO quarantine (identity, calling_ae, address, sop_class, transfer_syntax, first_time, last_time, times,
    raw_length, raw_digest, closed_position)
VALUES (:identity, :calling_ae, :address, :sop_class, :transfer_syntax, :first_time, :last_time, :times,
    :raw_length, :raw_digest, :closed_position)
ON CONFLICT (identity) DO UPDATE SET transfer_syntax = excluded.transfer_syntax, last_time = excluded.last_time,
    times = excluded.times, raw_length = excluded.raw_length, raw_digest = excluded.raw_digest,
    closed_position = excluded.closed_position
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
MESSAGES_KEPT: Final = 1000
MESSAGES_KEPT_BYTES: Final = 16 << 20
"""Refused messages of feeds that are kept, and their bytes together; the oldest go first."""
FORGET_MESSAGES: Final = """
DELETE FROM refused_messages WHERE n <= (
    SELECT max(n) FROM (
        SELECT n, row_number() OVER newest AS place, sum(length(raw)) OVER newest AS bytes FROM refused_messages
        WINDOW newest AS (ORDER BY n DESC)) WHERE place > ? OR bytes > ?)
"""
MOVE: Final = """
UPDATE head SET position = ?, digest = ?, registry_position = ?, requests = ?, topics = ?, delivered = ? WHERE position = ?
"""
MOST_DELIVERED_BYTES: Final = 128 * ID_BYTES
"""Proofs of arrival in the head row, where they cost no page of their own."""

WORST_WAL: Final = 16
"""Times the usual number of pages: then new readers wait until the write-ahead log starts from its beginning."""
RESTART_MS: Final = 100


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def _id_bytes(request_id: str) -> bytes:
    made = bytes.fromhex(request_id)
    if len(made) != ID_BYTES:
        raise ValueError(f"a request id has {2 * ID_BYTES} hex digits")
    return made


def milliseconds(utc: str) -> int:
    """Milliseconds since the epoch, from ISO 8601."""
    return (datetime.fromisoformat(utc) - _EPOCH) // _MILLISECOND


def _event_values(event: EventRow) -> tuple[Any, ...]:
    """A row of `events`: without what view `log` puts together again of an entry."""
    head = (event.position, event.kind, event.request, event.entry, event.topic)
    times = (milliseconds(event.occurred), milliseconds(event.recorded), event.time)
    if event.entry is None:
        named = (event.event_id, event.key, event.type, event.subject)
        return (*head, *named, *times, event.lead, event.data, event.digest)
    own = event.lead[event.lead.index(b'"same_content_as"') :]  # what the view writes before it, the digest holds it to
    return (*head, None, None, None, None, *times, own, event.data, event.digest)


def _context_values(record: RequestRecord) -> tuple[Any, ...]:
    """A row of `contexts` but for its number: what a request has in common with others."""
    at = record.decision
    return (
        record.sop_class,
        record.calling_ae,
        record.address,
        record.transfer_syntax,
        at.status,
        at.comment,
        at.study_instance_uid,
        at.patient_id,
        at.issuer,
        record.registry_position,
        at.alive_at,
        at.key,
        record.type,
        at.context,
    )


def _request_values(record: RequestRecord, context: int) -> tuple[Any, ...]:
    return (
        record.n,
        context,
        record.arrival,
        record.decision.alive_us,
        record.first_position,
        record.last_position,
        _id_bytes(record.request_id),
        record.identity,
        record.association,
        record.message_id,
        record.entry_count,
        record.raw_length,
        record.raw_digest,
        record.keys,
        None if record.keys is None else record.raw,
    )


class SqliteLedger:
    """Used by the writer's thread only.

    Args:
        room_for_refusals: whether the quarantine may grow.
    """

    def __init__(self, connection: Any, limits: StoreLimits, room_for_refusals: Callable[[], bool]) -> None:
        self._connection, self._limits, self._room_for_refusals = connection, limits, room_for_refusals
        self._wal_pages = 0
        self._checkpoint_at = limits.checkpoint_pages
        self._clocks_added = 0
        self._forgot_clocks = 0
        connection.set_wal_hook(self._committed)
        self.head = head_of(connection)
        self._topics = topics_of(connection)
        self._delivered: bytes = connection.execute("SELECT delivered FROM head").get
        self._index = Index(connection)
        self._any_replayed: bool = connection.execute("SELECT EXISTS (SELECT 1 FROM replayed_entries)").get
        self._contexts: dict[tuple[Any, ...], int] = {}
        self._last_context: int = connection.execute("SELECT ifnull(max(n), 0) FROM contexts").get

    def write(self, drafts: Sequence[Draft]) -> list[Result | None]:
        """One transaction for all drafts: all of it is committed and synced, or nothing.

        Raises:
            StoreError: of the store; nothing was kept.
            Exception: one of the drafts cannot be stored; nothing was kept.
        """
        with self._transaction():
            known = Lookups(
                self._connection,
                self._index,
                drafts,
                delivered=self._delivered,
                any_replayed=self._any_replayed,
                room_for_refusals=self._room_for_refusals,
            )
            batch = Batch(self.head, self._topics, known, time.time_ns() // 1000)
            results = [batch.take(draft) for draft in drafts]
            if batch.empty:
                self._connection.execute("ROLLBACK")
                return results
            contexts = self._save(batch)
            delivered = self._save_delivered(batch)
            self._connection.execute(MOVE, (*batch.head, json.dumps(batch.topics), delivered, self.head.position))
            if self._connection.changes() != 1:
                raise StoreBroken("the store's head moved: another program writes to it")
            if batch.clocks:
                self._forget_clocks(batch.clocks)
        self.head, self._topics, self._delivered = batch.head, batch.topics, delivered
        self._index.add(batch.seen)
        self._any_replayed = self._any_replayed or bool(batch.replayed)
        self._last_context += len(contexts)
        self._contexts |= contexts
        while len(self._contexts) > CONTEXTS_KEPT:
            del self._contexts[next(iter(self._contexts))]
        return results

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit what is done within, or nothing of it; a failure of the store is raised as a StoreError."""
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
            if connection.in_transaction:
                connection.execute("COMMIT")
        except BaseException as error:
            failure = translate(error, connection.system_errno if isinstance(error, apsw.IOError) else 0)
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            except apsw.Error as worse:
                raise StoreBroken(f"the store cannot be trusted any more: rolling back failed: {worse}") from worse
            if failure is None or failure is error:
                raise
            raise failure from error

    # --- writing ---

    def _save(self, batch: Batch) -> dict[tuple[Any, ...], int]:
        """Write what a batch adds; the contexts that were not known."""
        contexts: dict[tuple[Any, ...], int] = {}
        rows = []
        for record in batch.requests:
            context = _context_values(record)
            n = self._contexts.get(context) or contexts.get(context)
            if n is None:
                n = contexts[context] = self._last_context + len(contexts) + 1
            rows.append(_request_values(record, n))
        connection = self._connection
        insert(connection, "INSERT INTO contexts", [(n, *context) for context, n in contexts.items()])
        insert(connection, "INSERT INTO requests", rows)
        insert(connection, "INSERT INTO events", [*map(_event_values, batch.events)])
        insert(connection, "INSERT INTO retries", batch.retries)
        insert(connection, "INSERT INTO clocks (calling_ae, arrival, difference)", batch.clocks)
        insert(connection, "INSERT INTO proposals (id, position)", list(batch.proposals.items()))
        if batch.settled:
            self._save_corrections(batch)
        replayed = [(*of, at) for of, at in batch.replayed.items()]
        insert(connection, "INSERT OR REPLACE INTO replayed_entries", replayed)
        if batch.messages:
            self._save_messages(batch.messages)
        self._save_items(batch.items.values())
        if batch.expired is not None:
            self._expunge(batch.expired)
        return contexts

    def _save_delivered(self, batch: Batch) -> bytes:
        """What the head row then holds; when it is full, all of it goes to the table."""
        delivered = self._delivered + b"".join(map(_id_bytes, batch.delivered))
        if len(delivered) <= MOST_DELIVERED_BYTES:
            return delivered
        insert(self._connection, "INSERT OR IGNORE INTO delivered", [(each,) for each in ids_in(delivered)])
        return b""

    def _save_items(self, items: Iterable[QuarantineRow]) -> None:
        """Write items and outcomes; then drop the oldest raw bytes of each device that is over its cap, closed items first."""
        execute = self._connection.execute
        for item in items:
            execute(SAVE_ITEM, vars(item))
            for outcome in item.outcomes.values():
                execute(SAVE_OUTCOME, {"identity": item.identity, **vars(outcome)})
            if item.raw is not None:
                execute("UPDATE quarantine SET raw = ? WHERE identity = ?", (item.raw, item.identity))
                used = execute(USE, (item.calling_ae, len(item.raw))).get
                while used > self._limits.quarantine_bytes and (
                    oldest := execute(OLDEST, (item.calling_ae,)).fetchone()
                ):
                    n, length = oldest
                    execute("UPDATE quarantine SET raw = NULL WHERE n = ?", (n,))
                    used = execute(USE, (item.calling_ae, -length)).get

    def _save_corrections(self, batch: Batch) -> None:
        """Write where entries stand now, and what became of proposals, also of others about the same entries."""
        execute = self._connection.execute
        insert(self._connection, "INSERT OR REPLACE INTO standings", [*batch.standings.values()])
        for proposal_id, settlement in batch.settled.items():
            execute(SETTLE, (*settlement, proposal_id))
        for proposal_id in batch.reverted:
            execute("UPDATE proposals SET state = 'reverted' WHERE id = ?", (proposal_id,))
        if batch.standings:
            execute(SUPERSEDE, (batch.position, integers(batch.standings)))

    def _save_messages(self, messages: Sequence[MessageRefused]) -> None:
        """Write refused messages of feeds; then the oldest go, until few enough are left."""
        rows = [
            (m.source, m.peer, m.message, m.time, m.why, max(m.raw_length, len(m.raw)), m.raw[:MOST_MESSAGE_BYTES])
            for m in messages
        ]
        into = "INSERT INTO refused_messages (source, peer, message, time, why, raw_length, raw)"
        insert(self._connection, into, rows)
        self._connection.execute(FORGET_MESSAGES, (MESSAGES_KEPT, MESSAGES_KEPT_BYTES))

    def _expunge(self, these: Expired) -> None:
        if these.requests:
            self._connection.execute(EXPUNGE, (integers(these.requests),))
        for item in these.items:
            self._connection.execute("UPDATE quarantine SET raw = NULL WHERE identity = ?", (item.identity,))
            self._connection.execute(USE, (item.calling_ae, -item.raw_bytes)).fetchall()
        if these.upto:
            self._connection.execute("UPDATE head SET expunged = ?", (these.upto,))

    def _forget_clocks(self, added: Sequence[ClockMeasured]) -> None:
        """Now and then drop clock differences too old for the newest; more than came in since, and no more than twice that."""
        self._clocks_added += len(added)
        now = max(row.arrival for row in added)
        if abs(now - self._forgot_clocks) < FORGET_EVERY_US:
            return
        most = max(2 * self._clocks_added, FEWEST_FORGOTTEN)
        self._clocks_added, self._forgot_clocks = 0, now
        self._connection.execute(FORGET_CLOCKS, (most, now - CLOCKS_KEPT_US))

    # --- care ---

    def _committed(self, _connection: Any, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def tidy(self) -> None:
        """Copy the write-ahead log back into the database when it is long enough, and write what is due of the index.

        Where that fails, it is a StoreError; what was committed is safe.
        """
        if self._wal_pages >= self._checkpoint_at:
            if self._wal_pages <= WORST_WAL * self._limits.checkpoint_pages:
                self._checkpoint(apsw.SQLITE_CHECKPOINT_PASSIVE)
            else:
                self._start_wal_anew()
        self._index.write_if_due(self.head.requests, self._transaction)

    def _start_wal_anew(self) -> None:
        self._connection.set_busy_timeout(RESTART_MS)
        try:
            self._checkpoint(apsw.SQLITE_CHECKPOINT_RESTART)
        finally:
            self._connection.set_busy_timeout(BUSY_MS)
        if self._wal_pages:
            # A reader that stays, a backup as a rule: each try makes requests wait for nothing.
            self._checkpoint_at = self._wal_pages + WORST_WAL * self._limits.checkpoint_pages

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
        self._checkpoint_at = self._limits.checkpoint_pages + self._wal_pages

    def probe(self) -> None:
        """Write and sync one small change; StoreError where that fails."""
        try:
            with self._transaction():
                self._connection.execute("UPDATE head SET probe = probe + 1")
        except apsw.Error as error:
            raise StoreBroken(f"the store cannot be written: {error}") from error

    def close(self, *, broken: bool) -> None:
        """Empty the write-ahead log (unless the store is broken) and close."""
        try:
            if not broken:
                self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            self._connection.close()
