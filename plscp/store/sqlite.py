"""The event store on SQLite (contract section 8): write-ahead log, every commit synced, one writer, readers beside it."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from plscp.errors import StoreError, StoreFull
from plscp.logs import log
from plscp.records.parts import value
from plscp.store.chain import first_broken_position
from plscp.store.connections import Readers, open_for_writing
from plscp.store.corrections import EntryFilter, Proposal, Standing, StandingEvent
from plscp.store.ledger import SqliteLedger, milliseconds
from plscp.store.limits import StoreLimits
from plscp.store.lookups import HAS_ENTRIES, STANDING, Outcome, integers
from plscp.store.port import (
    LAST,
    MOST_COUNTED,
    PROPOSAL,
    CallSoon,
    Draft,
    Filter,
    RawKept,
    RefusedMessage,
    RetryNote,
    StoredEvent,
    at_once,
)
from plscp.store.quarantine import OpenRefusal, QuarantineItem
from plscp.store.schema import ancestors
from plscp.store.writer import Watermark, Writer

CHANGE: Final = b'"change":'
WITH_CHANGE: Final = frozenset({"registry", PROPOSAL})
"""Kinds of events that hold a change."""
_EVENTS: Final = """
SELECT e.position, e.kind, e.event_id, e.topic, e.key, e.type, e.subject, e.occurred, e.recorded, e.lead, e.shared, e.data FROM log e
"""
_AT_POSITIONS: Final = f"{_EVENTS} WHERE e.position IN (SELECT value FROM carray(?))"  # noqa: S608 -- our words
_OF_STUDY: Final = """
    SELECT x.position FROM requests_of_study s CROSS JOIN events x ON x.position BETWEEN s.first_position AND s.last_position
    WHERE s.study_instance_uid = :study AND s.study_instance_uid <> '' AND s.last_position > :after
    UNION SELECT position FROM events WHERE kind = 'correction' AND key = :study AND topic = 'procedure-log' AND position > :after
    UNION SELECT position FROM events WHERE kind = 'registry' AND key = :study AND topic = 'study' AND position > :after"""
_UNDER_PATIENT: Final = """
    SELECT r.first_position, r.last_position, c.patient_id, c.issuer
    FROM contexts c CROSS JOIN arrivals a ON a.context = c.n CROSS JOIN requests r ON r.n = a.request
    WHERE (c.patient_id, c.issuer) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:patient)) AND r.first_position > 0
    UNION ALL SELECT r.first_position, r.last_position, c.patient_id, c.issuer
    FROM requests r CROSS JOIN contexts c ON c.n = r.context WHERE r.n > (SELECT indexed FROM head) AND r.first_position > 0
    AND (c.patient_id, c.issuer) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:patient))"""
"""Requests that were stored under a patient: through all contexts, which are far fewer, and what is not indexed yet."""
_EVENTS_UNDER_PATIENT: Final = f"""
    SELECT x.position, u.patient_id, u.issuer FROM ({_UNDER_PATIENT}) u
    CROSS JOIN events x ON x.position BETWEEN u.first_position AND u.last_position"""  # noqa: S608 -- our words
_EVENTS_BETWEEN: Final = """
    SELECT x.position, c.patient_id, c.issuer FROM events x CROSS JOIN requests r ON r.n = x.request CROSS JOIN contexts c ON c.n = r.context
    WHERE x.position > :after AND x.position <= :upto"""
_FEW: Final = 1000
"""Positions that are looked through sooner than all contexts."""
_OF_PATIENT: Final = """
    SELECT f.position FROM (
        {}
        UNION ALL SELECT position, coalesce(p ->> 'id', m ->> 'id'), coalesce(p ->> 'issuer', m ->> 'issuer') FROM (
            SELECT position, value ->> '$.patient' AS p, value ->> '$.correction.moved_from.patient' AS m FROM (
                SELECT position, '{{' || data || '}}' AS value FROM events INDEXED BY corrections_by_key
                WHERE kind = 'correction' AND position > :after
            )
        )
        UNION ALL SELECT position, value ->> '$.change.id', value ->> '$.change.issuer' FROM (
            SELECT position, '{{' || data || '}}' AS value FROM events
            WHERE kind = 'registry' AND type LIKE 'org.plscp.patient.%' AND key IN (SELECT value FROM json_each(:keys))
            AND position > :after
        )
    ) f JOIN json_each(:patient) n ON f.patient_id = n.value ->> 0 AND f.issuer = n.value ->> 1
        AND f.position >= n.value ->> 2 AND f.position < n.value ->> 3"""
"""A key is not one patient's alone: an ID that was merged away can be given anew, and makes the same one."""
_OF_DEVICE: Final = """EXISTS (
    SELECT 1 FROM requests r CROSS JOIN contexts c ON c.n = r.context WHERE r.n = x.request AND c.calling_ae = :calling_ae)"""
_OF_ENTRY_KIND: Final = """
x.kind = 'entry' AND instr(x.data, CAST('"kind":"' || :entry_kind || '"' AS BLOB)) AND '{' || x.data || '}' ->> '$.entry.kind' = :entry_kind
"""
"""Only what has these bytes somewhere is read as JSON."""
_CHANGES: Final = """
SELECT position, time, data FROM events WHERE kind = 'registry' AND position > ? ORDER BY position LIMIT ?
"""
_OF_KEYS: Final = "SELECT position FROM events WHERE kind = 'registry' AND key IN (SELECT value FROM json_each(?))"
_RAW: Final = """
SELECT r.raw_length, r.raw_digest, coalesce(length(r.raw), length(q.raw), 0) FROM events e CROSS JOIN requests r ON r.n = e.request
LEFT JOIN quarantine q ON q.identity = r.identity WHERE e.position = ?
"""
_RETRIES: Final = """
SELECT r.last_position, t.arrival, t.calling_ae, t.address, t.association, t.message_id, t.transfer_syntax, t.rowid
FROM retries t CROSS JOIN requests r ON r.n = t.request WHERE t.rowid < ? {} ORDER BY t.rowid DESC LIMIT ?
"""
_OF_EVENT: Final = "AND t.request = (SELECT request FROM events WHERE position = ?)"
_FIRST_UNDER_STUDY: Final = """
SELECT e.position FROM requests_of_study r CROSS JOIN events e ON e.position BETWEEN r.first_position AND r.last_position
WHERE r.study_instance_uid = :study AND r.study_instance_uid <> '' AND +e.kind = 'entry'
"""
"""As `_ENTRIES`, with a + by which SQLite makes no index of all events for one question."""
_ENTRIES: Final = {
    "study": f"""
{_FIRST_UNDER_STUDY} AND e.position NOT IN (SELECT position FROM standings)
UNION SELECT position FROM standings WHERE study_instance_uid = :study
""",  # noqa: S608 -- our words
    "patient": f"""
SELECT e.position FROM ({_UNDER_PATIENT}) r CROSS JOIN events e ON e.position BETWEEN r.first_position AND r.last_position
WHERE +e.kind = 'entry' AND e.position NOT IN (SELECT position FROM standings)
UNION SELECT position FROM standings WHERE (patient_id, issuer) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:patient))
""",  # noqa: S608 -- our words
}
"""Positions of entries by where they stand."""
_CHOSEN: Final = """
SELECT e.position FROM ({}) f CROSS JOIN events e ON e.position = f.position CROSS JOIN requests r ON r.n = e.request
CROSS JOIN contexts c ON c.n = r.context
WHERE (:calling_ae = '' OR c.calling_ae = :calling_ae) AND e.occurred BETWEEN :since AND :until
ORDER BY e.position LIMIT :limit
"""
_PROPOSALS: Final = """
SELECT p.id, p.position, e.time, p.state, p.moved, p.settled, p.reverts, p.who, p.why, e.lead, e.data
FROM proposals p CROSS JOIN events e ON e.position = p.position
"""
_MESSAGES: Final = "SELECT n, source, peer, message, time, why, raw_length, raw FROM refused_messages"
_ITEMS: Final = """
SELECT identity, calling_ae, address, sop_class, transfer_syntax, first_time, last_time, times, coalesce(raw, x''),
    raw_length, closed_position, n FROM quarantine
"""
_WANTED: Final = """
WHERE (?1 = '' OR calling_ae = ?1) AND (NOT ?2 OR closed_position IS NULL) AND (?3 = '' OR ?3 = (
    SELECT substr(f.outcome, 1, length(?3)) FROM refusals f WHERE f.identity = quarantine.identity ORDER BY f.position DESC LIMIT 1))
AND last_time >= ?4 AND last_time < ?5
"""
_OUTCOMES: Final = """
SELECT f.outcome, f.status, f.comment, f.position, f.first_time, f.last_time, f.times, e.data
FROM refusals f JOIN events e USING (position) WHERE f.identity = ? ORDER BY f.position
"""
_OPEN: Final = (
    "FROM quarantine INDEXED BY quarantine_open WHERE closed_position IS NULL ORDER BY last_time DESC LIMIT ?"
)
"""Out of the index alone: what is asked often neither walks through all that was ever refused nor reads bytes of requests."""
_OPEN_BY_DEVICE: Final = f"SELECT calling_ae, count(*) FROM (SELECT calling_ae {_OPEN}) GROUP BY calling_ae"  # noqa: S608 -- our words
_OPEN_REFUSALS: Final = f"""
SELECT q.*, (SELECT e.data FROM refusals f JOIN events e USING (position) WHERE f.identity = q.identity ORDER BY f.position DESC LIMIT 1),
    (SELECT min(f.first_time) FROM refusals f WHERE f.identity = q.identity)
FROM (SELECT identity, calling_ae, sop_class, last_time {_OPEN}) q
"""  # noqa: S608 -- our words
_LAST_ARRIVALS: Final = """
SELECT calling_ae, arrival, request FROM (SELECT calling_ae, arrival, status, request FROM arrived ORDER BY request DESC LIMIT ?)
WHERE status = 0 OR status >> 12 = 11 ORDER BY request DESC
"""
_IS_REPLAY: Final = "SELECT association = '' FROM requests WHERE n = ?"
_LATE_US: Final = 60_000_000
"""How far arrivals may be out of the order in which requests are numbered: more than the answer deadline."""
_MINUTE_US: Final = 60_000_000


class SqliteStore:
    """An `EventStore` in one file (beside it: its write-ahead log and its lock); made when it is missing.

    Its methods do what the port says of them; what reads raises StoreError where the store does not answer, or is closed.

    Args:
        call_soon, on_fatal, after_commit: as of `Writer`.
        vfs: name of the SQLite VFS to go through (tests inject faults there).

    Attributes:
        store_id: UUID made with the store.

    Raises:
        StoreNotOpened: one line why: another server has it, a newer layout, read-only, not a store, no permission.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        call_soon: CallSoon = at_once,
        on_fatal: Callable[[StoreError], None] = lambda _: None,
        after_commit: Callable[[int], None] = lambda _: None,
        limits: StoreLimits = StoreLimits(),  # noqa: B008 -- a value, never changed
        vfs: str | None = None,
    ) -> None:
        self.path = path = Path(path)
        connection, self._lock = open_for_writing(path, vfs=vfs)
        self.store_id: str = connection.execute("SELECT store_id FROM head").get
        former = list(ancestors(connection))
        self._readers = Readers(path, vfs=vfs)
        self._watermark = Watermark(self.disk_free, limits.disk_watermark, every=limits.disk_look_seconds)

        def room_for_refusals() -> bool:
            free = self.disk_free()
            return free is None or free > limits.disk_reserve

        self._writer = Writer(
            SqliteLedger(connection, limits, room_for_refusals),
            call_soon=call_soon,
            on_fatal=on_fatal,
            after_commit=after_commit,
            limits=limits,
            watermark=self._watermark,
        )
        restored = {"restored_from": former[-1]} if former else {}
        log.info("store-opened", store=self.store_id, position=self.head()[0], **restored)

    def close(self) -> None:
        self._writer.close()
        self._readers.close()
        self._lock.release()

    # --- the writer ---

    def measure(self, committed: Callable[[float, int], None]) -> None:
        self._writer.measured = committed

    def submit(self, draft: Draft) -> None:
        self._writer.submit(draft)

    def head(self) -> tuple[int, int]:
        head = self._writer.head  # taken once: the writer's thread may put the next one there
        return head.position, head.registry_position

    def refusing(self) -> StoreError | None:
        return self._writer.failure

    def alive(self) -> bool:
        return self._writer.alive()

    def probe(self) -> None:
        if self._writer.failure is not None:
            raise self._writer.failure
        self._all("SELECT position FROM head")

    def disk_free(self) -> int | None:
        try:
            return shutil.disk_usage(self.path.parent).free
        except OSError:
            return None

    def full(self) -> bool:
        return self._watermark.look() or isinstance(self._writer.failure, StoreFull)

    # --- reading ---

    def _all(self, query: str, *bindings: Any, **named: Any) -> list[Any]:
        with self._readers.use() as connection:
            return list(connection.execute(query, named or bindings))

    def _one(self, query: str, *bindings: Any) -> Any:
        rows = self._all(query, *bindings)
        return rows[0] if rows else None

    def read(self, which: Filter) -> list[StoredEvent]:
        wanted = ["x.position > :after", "x.position <= :upto"]
        if which.study_instance_uid:
            wanted.append(f"x.position IN ({_OF_STUDY})")
        if which.patient is not None:
            events = _EVENTS_BETWEEN if which.upto - which.after <= _FEW else _EVENTS_UNDER_PATIENT
            wanted.append(f"x.position IN ({_OF_PATIENT.format(events)})")
        if which.kinds:
            wanted.append("x.kind IN (SELECT value FROM json_each(:kinds))")
        if which.entry_kind:
            wanted.append(_OF_ENTRY_KIND)
        if which.since > -LAST or which.until < LAST:
            wanted.append("x.occurred * 1000 >= :since AND x.occurred * 1000 < :until")
        if which.calling_ae:
            wanted.append(_OF_DEVICE)
        chosen = f"SELECT x.position FROM events x WHERE {' AND '.join(wanted)} ORDER BY x.position {'DESC' if which.latest else 'ASC'} LIMIT :limit"  # noqa: S608 -- our words
        rows = self._all(
            f"{_EVENTS} WHERE e.position IN ({chosen}) ORDER BY e.position",
            **{name: getattr(which, name) for name in ("after", "upto", "since", "until", "limit", "calling_ae")},
            study=which.study_instance_uid,
            patient=json.dumps(which.patient),
            keys=json.dumps(list(which.patient_keys)),
            kinds=json.dumps(list(which.kinds)),
            entry_kind=which.entry_kind,
        )
        return [_event(*row) for row in rows]

    def event(self, position: int) -> StoredEvent | None:
        row = self._one(f"{_EVENTS} WHERE e.position = ?", position)
        return _event(*row) if row else None

    def timeline(self, study_instance_uid: str, *, original: bool = False) -> list[StandingEvent]:
        if not study_instance_uid:
            return []
        rows = self._all(_FIRST_UNDER_STUDY if original else _ENTRIES["study"], study=study_instance_uid)
        found = self.standing([position for (position,) in rows])
        return sorted(found, key=lambda e: (e.entry.occurred, e.entry.position))

    def standing(self, positions: Sequence[int]) -> list[StandingEvent]:
        if not positions:
            return []
        with self._readers.use() as connection:
            found = connection.execute(STANDING, (integers(positions),)).fetchall()
            at = sorted((Standing(*row[:-2]), row[-2]) for row in found)
            if not at:
                return []
            wanted = integers({position for one, _ in at for position in one[:2]})
            events = {row[0]: _event(*row) for row in connection.execute(_AT_POSITIONS, (wanted,))}
        return [StandingEvent(events[one.position], events[one.standing], one, arrival) for one, arrival in at]

    def entries(self, which: EntryFilter) -> list[int]:
        rows = self._all(
            _CHOSEN.format(_ENTRIES["study" if which.study_instance_uid else "patient"]),
            study=which.study_instance_uid,
            patient=json.dumps(which.patient_ids),
            calling_ae=which.calling_ae,
            since=milliseconds(which.since) if which.since else -LAST,
            until=milliseconds(which.until) if which.until else LAST,
            limit=which.limit,
        )
        return [position for (position,) in rows]

    def changes(self, after: int, limit: int = 1000) -> Iterator[tuple[int, int, dict[str, Any]]]:
        rows = self._all(_CHANGES, after, limit)
        return ((position, time, json.loads(data[len(CHANGE) :])) for position, time, data in rows)

    def changes_of(self, keys: Sequence[str]) -> list[StoredEvent]:
        rows = self._all(f"{_EVENTS} WHERE e.position IN ({_OF_KEYS}) ORDER BY e.position", json.dumps(list(keys)))
        return [_event(*row) for row in rows]

    def digest(self, position: int) -> bytes | None:
        row = self._one("SELECT digest FROM events WHERE position = ?", position)
        return row[0] if row else None

    def activity(self, since_us: int) -> Iterator[tuple[str, str, int, int]]:
        query = "SELECT arrival, study_instance_uid, alive_at, alive_us, request FROM arrived ORDER BY request DESC"
        latest: dict[tuple[str, str, int], tuple[int, int]] = {}
        for arrival, study, place, moment, _ in reversed(self._since(query, since_us)):
            if place:  # a sign is never later than its arrival
                minute = (study, place, moment // _MINUTE_US)
                known = latest.get(minute, (moment, arrival))
                latest[minute] = max(moment, known[0]), max(arrival, known[1])
        found = [(study, place, *times) for (study, place, _), times in latest.items()]
        return iter(sorted(found, key=lambda sign: sign[2]))

    def clocks(self, since_us: int) -> Iterator[tuple[str, int, int]]:
        found = self._since("SELECT arrival, calling_ae, difference FROM clocks ORDER BY rowid DESC", since_us)
        found.sort(key=lambda row: row[0])
        return ((calling_ae, arrival, difference) for arrival, calling_ae, difference in found)

    def _since(self, query: str, since_us: int) -> list[Any]:
        """Rows whose arrival, the first column, is not before a moment, oldest first; the query brings the newest first."""
        found = []
        with self._readers.use() as connection, closing(connection.execute(query)) as rows:
            for row in rows:
                if row[0] < since_us - _LATE_US:
                    break
                if row[0] >= since_us:
                    found.append(row)
        return found[::-1]

    def has_entries(self, study_instance_uid: str) -> bool:
        return bool(self._one(HAS_ENTRIES, study_instance_uid)[0])

    def retries(self, position: int = 0, limit: int = 100, *, before: int = LAST) -> list[RetryNote]:
        of_event = (position,) if position else ()
        rows = self._all(_RETRIES.format(_OF_EVENT if position else ""), before, *of_event, limit)
        return [RetryNote(*row) for row in rows]

    def proposals(self, limit: int = 1000, *, before: int = LAST, state: str = "") -> list[Proposal]:
        wanted = "p.position < ?1 AND (?3 = '' OR p.state = ?3)"
        rows = self._all(f"{_PROPOSALS} WHERE {wanted} ORDER BY p.position DESC LIMIT ?2", before, limit, state)
        return [_proposal(*row) for row in rows]

    def proposals_count(self) -> int:
        return int(self._one("SELECT count(*) FROM proposals WHERE state = 'proposed'")[0])

    def proposal(self, proposal_id: str) -> Proposal | None:
        if not proposal_id:
            return None
        rows = self._all(f"{_PROPOSALS} WHERE p.id BETWEEN ?1 AND ?1 || char(0x10FFFF) LIMIT 2", proposal_id.lower())
        return _proposal(*rows[0]) if len(rows) == 1 else None

    def quarantine(
        self,
        *,
        calling_ae: str = "",
        open_only: bool = False,
        reason: str = "",
        since: int = 0,
        until: int = LAST,
        limit: int = 1000,
        before: int = LAST,
    ) -> list[QuarantineItem]:
        wanted = f"{_WANTED} AND n < ?6 ORDER BY n DESC LIMIT ?7"
        return self._items(wanted, calling_ae, open_only, reason, since, until, before, limit)

    def quarantine_after(self, after: int, limit: int, **which: Any) -> list[tuple[int, str]]:
        wanted = {"calling_ae": "", "open_only": False, "reason": "", "since": 0, "until": LAST} | which
        query = f"SELECT n, identity FROM quarantine {_WANTED} AND n > ?6 ORDER BY n LIMIT ?7"  # noqa: S608 -- our words
        return [(n, identity.hex()[:16]) for n, identity in self._all(query, *wanted.values(), after, limit)]

    def replayed_entries(self, content: bytes) -> dict[int, int]:
        query = "SELECT entry, position FROM replayed_entries WHERE identity = ? ORDER BY entry"
        return dict(self._all(query, content))

    def quarantine_item(self, item_id: str) -> QuarantineItem | None:
        try:
            lowest, highest = (bytes.fromhex(item_id.ljust(64, end)) for end in "0f")
        except ValueError:
            return None
        found = self._items("WHERE identity BETWEEN ? AND ? LIMIT 2", lowest, highest)
        return found[0] if len(found) == 1 and item_id else None

    def _items(self, wanted: str, *bindings: Any) -> list[QuarantineItem]:
        items = []
        for identity, *about, closed_position, number in self._all(f"{_ITEMS} {wanted}", *bindings):
            outcomes = [
                {**vars(Outcome(*found)), "data": json.loads(b"{" + data + b"}")}
                for *found, data in self._all(_OUTCOMES, identity)
            ]
            item = (identity.hex()[:16], identity, *about, outcomes, closed_position, number)
            items.append(QuarantineItem._make(item))
        return items

    def quarantine_open(self) -> dict[str, int]:
        return dict(self._all(_OPEN_BY_DEVICE, MOST_COUNTED))

    def open_refusals(self, limit: int = 1000) -> list[OpenRefusal]:
        found = []
        for identity, *about, last_time, data, first_time in self._all(_OPEN_REFUSALS, limit):
            said = json.loads(b"{" + (data or b"") + b"}")
            refusal = (identity.hex()[:16], *about, last_time, said, first_time or last_time)
            found.append(OpenRefusal._make(refusal))
        return found

    def last_arrivals(self) -> dict[str, int]:
        latest: dict[str, int] = {}
        with self._readers.use() as connection, closing(connection.execute(_LAST_ARRIVALS, (MOST_COUNTED,))) as rows:
            for calling_ae, arrival, request in rows:
                # Few are newer than what is known: the requests themselves, which are larger, are asked of those alone.
                if arrival > latest.get(calling_ae, 0) and not connection.execute(_IS_REPLAY, (request,)).get:
                    latest[calling_ae] = arrival
        return latest

    def refused_messages(self, limit: int = 100, *, before: int = LAST) -> list[RefusedMessage]:
        rows = self._all(f"{_MESSAGES} WHERE n < ? ORDER BY n DESC LIMIT ?", before, limit)
        return [RefusedMessage(*row) for row in rows]

    def refused_message(self, number: int) -> RefusedMessage | None:
        row = self._one(f"{_MESSAGES} WHERE n = ?", number)
        return RefusedMessage(*row) if row else None

    def raw_kept(self, position: int) -> RawKept | None:
        row = self._one(_RAW, position)
        return RawKept(*row) if row else None

    def first_broken_position(self) -> int | None:
        with self._readers.use() as connection:
            return first_broken_position(connection)


def _event(position: int, kind: str, event_id: str, *rest: Any) -> StoredEvent:
    *about, lead, context, data = rest  # about: topic, key, type, ...
    change = data[len(CHANGE) :].decode() if kind in WITH_CHANGE else None
    whole = value(about[2], lead, context, data)
    return StoredEvent._make((position, kind, event_id, event_id.rpartition("-")[0], *about, whole, change))


def _proposal(proposal_id: str, position: int, time: int, *settled: Any) -> Proposal:
    *settled_as, lead, data = settled
    source, change = json.loads(lead + b"}")["source"], json.loads(data[len(CHANGE) :])
    return Proposal(proposal_id, position, time, source, change, *settled_as)
