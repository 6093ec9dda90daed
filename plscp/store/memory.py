"""The event store in memory: the same rules, writer and results as on disk, and nothing left when the process ends."""

import copy
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self

from plscp.errors import StoreError, StoreUnavailable
from plscp.store.batch import Batch
from plscp.store.chain import Verifier
from plscp.store.known import Known, StoredUnder, Wanted
from plscp.store.port import (
    CLOCKS_KEPT_US,
    MOST_COUNTED,
    Deliver,
    Draft,
    Filter,
    OpenRefusal,
    Proposal,
    QuarantineItem,
    RawKept,
    Result,
    RetryNote,
    Soon,
    StoredEvent,
    StoreLimits,
    at_once,
    deliver_directly,
)
from plscp.store.rows import (
    CHANGE,
    EMPTY_HEAD,
    Answered,
    ClockRow,
    EventRow,
    Expired,
    ExpiredItem,
    Item,
    RequestRow,
    Retry,
    Seen,
    expired,
    stored_event,
    thinned,
)
from plscp.store.writer import Writer


class MemoryLedger:
    """Dictionaries in place of tables; `lock` guards them against readers."""

    def __init__(self, quarantine_bytes: int) -> None:
        self.lock = threading.Lock()
        self.head = EMPTY_HEAD
        self.requests: list[RequestRow] = []
        self.events: list[EventRow] = []
        self.retries: list[Retry] = []
        self.clocks: list[ClockRow] = []
        self.proposals: dict[str, int] = {}
        self.delivered: set[str] = set()
        self.answered: dict[bytes, Answered] = {}
        self.seen: dict[bytes, Seen] = {}
        self.items: dict[bytes, Item] = {}
        self.raw: dict[bytes, bytes] = {}
        self._quarantine_bytes = quarantine_bytes
        self._expunged = 0

    def write(self, drafts: Sequence[Draft]) -> list[Result | None]:
        """All drafts, or nothing where one of them cannot be stored."""
        wanted = Wanted.by(drafts)
        answered = {
            identity: found._replace(delivered=int(found.request_id in self.delivered))
            for identity in wanted.identities
            if (found := self.answered.get(identity))
        }
        seen = {key: self.seen[key] for key in wanted.entry_keys if key in self.seen}
        items = {key: copy.deepcopy(self.items[key]) for key in wanted.identities if key in self.items}
        known = Known(
            answered,
            seen,
            items,
            self._stored_under,
            self.has_entries,
            self.proposals.__contains__,
            lambda: True,
            self._expired,
        )
        batch = Batch(self.head, known, time.time_ns() // 1000)
        results = [batch.take(draft, keys) for draft, keys in zip(drafts, wanted.keys, strict=True)]
        with self.lock:
            self._save(batch)
        return results

    def _stored_under(self, positions: Iterable[int]) -> dict[int, StoredUnder]:
        found = {}
        for position in positions:
            row = self.request_of(self.events[position - 1])
            assert row is not None
            found[position] = StoredUnder(row.study_instance_uid, row.patient_id, row.issuer, row.context)
        return found

    def _expired(self, before: int, now: int, most: int) -> Expired:
        items = [
            ExpiredItem(item.identity, item.calling_ae, len(self.raw[item.identity]))
            for item in self.items.values()
            if item.has_raw and item.closed_position is not None and item.last_time < before
        ]
        rows = (
            (r.n, r.arrival, r.raw is not None, r.raw_length, r.first_position, r.last_position)
            for r in self.requests[self._expunged :]
        )
        return expired(rows, before, now, most)._replace(items=items[:most])

    def has_entries(self, study_instance_uid: str) -> bool:
        """Whether any entry stands under a study."""
        return bool(study_instance_uid) and any(
            row.study_instance_uid == study_instance_uid and row.first_position for row in self.requests
        )

    def request_of(self, event: EventRow) -> RequestRow | None:
        """The request that an event belongs to."""
        return None if event.request is None else self.requests[event.request - 1]

    def _save(self, batch: Batch) -> None:
        self.requests += batch.requests
        self.events += batch.events
        self.retries += batch.retries
        self.delivered.update(batch.delivered)
        if batch.clocks:
            kept = max(row.arrival for row in batch.clocks) - CLOCKS_KEPT_US
            self.clocks = [row for row in (*self.clocks, *batch.clocks) if row.arrival >= kept]
        self.proposals.update(batch.proposals)
        self.answered.update(batch.answered)
        self.seen.update(batch.seen)
        for identity, item in batch.items.items():
            if item.raw is not None:
                self.raw[identity], item.raw = bytes(item.raw), None
            self.items[identity] = item
            self._keep_under_cap(item.calling_ae)
        if batch.expired is not None:
            self._expunge(batch.expired)
        self.head = batch.head

    def _expunge(self, these: Expired) -> None:
        for n in these.requests:
            self.requests[n - 1] = self.requests[n - 1]._replace(raw=None)
        for item in these.items:
            del self.raw[item.identity]
            self.items[item.identity].has_raw = False
        self._expunged = max(self._expunged, these.upto)

    def _keep_under_cap(self, calling_ae: str) -> None:
        kept = [item for item in self.items.values() if item.has_raw and item.calling_ae == calling_ae]
        kept.sort(key=lambda item: (item.closed_position is None, item.last_time))
        used = sum(len(self.raw[item.identity]) for item in kept)
        for item in kept:
            if used <= self._quarantine_bytes:
                return
            used -= len(self.raw.pop(item.identity))
            item.has_raw = False

    def tidy(self) -> None:
        """Nothing to do."""

    def probe(self) -> None:
        """Memory always answers."""

    def close(self, *, broken: bool) -> None:
        """Nothing to let go of."""


class MemoryStore:
    """An `EventStore` for tests and for programs that embed plscp; see `SqliteStore` for the members."""

    def __init__(
        self,
        *,
        deliver: Deliver,
        on_fatal: Callable[[StoreError], None],
        after_commit: Callable[[int], None],
        limits: StoreLimits,
        soon: Soon,
    ) -> None:
        self.store_id = str(uuid.uuid4())
        self._ledger = MemoryLedger(limits.quarantine_bytes_per_device)
        self._writer = Writer(
            self._ledger, deliver=deliver, on_fatal=on_fatal, after_commit=after_commit, limits=limits, soon=soon
        )

    @classmethod
    def open(
        cls,
        *,
        deliver: Deliver = deliver_directly,
        on_fatal: Callable[[StoreError], None] = lambda _: None,
        after_commit: Callable[[int], None] = lambda _: None,
        limits: StoreLimits = StoreLimits(),  # noqa: B008 -- a value, never changed
        soon: Soon = at_once,
    ) -> Self:
        """A new, empty store; the arguments are those of `SqliteStore.open`."""
        return cls(deliver=deliver, on_fatal=on_fatal, after_commit=after_commit, limits=limits, soon=soon)

    def measure(self, committed: Callable[[float, int], None]) -> None:
        """Tell this function the seconds and drafts of each commit."""
        self._writer.measured = committed

    def submit(self, draft: Draft) -> None:
        """Queue a draft; see `EventStore.submit`."""
        self._writer.submit(draft)

    def head(self) -> tuple[int, int]:
        """(position of the last event, position of the last registry change)."""
        head = self._writer.head
        return head.position, head.registry_position

    def _stored(self, rows: Sequence[EventRow]) -> list[StoredEvent]:
        found = []
        for row in rows:
            request = self._ledger.request_of(row)
            found.append(stored_event(row, request.context if request else None))
        return found

    def read(self, which: Filter) -> list[StoredEvent]:
        """Events in order of position."""
        with self._ledger.lock:
            rows = self._ledger.events[which.after :]
        if which.kinds:
            rows = [row for row in rows if row.kind in which.kinds]
        if study := which.study_instance_uid:
            rows = [row for row in rows if self._is_of(row, study)]
        if which.latest and which.limit >= 0:
            rows = rows[max(len(rows) - which.limit, 0) :]
        return self._stored(rows[: which.limit] if which.limit >= 0 else rows)

    def _is_of(self, row: EventRow, study: str) -> bool:
        request = self._ledger.request_of(row)
        if request is None:
            return row.topic == "study" and row.key == study
        return request.study_instance_uid == study

    def event(self, position: int) -> StoredEvent | None:
        """The event at a position."""
        found = self.read(Filter(after=position - 1, limit=1)) if position > 0 else []
        return found[0] if found else None

    def timeline(self, study_instance_uid: str) -> list[StoredEvent]:
        """A study's entries by when they occurred."""
        if not study_instance_uid:
            return []
        found = self.read(Filter(study_instance_uid=study_instance_uid, limit=-1, kinds=("entry",)))
        return sorted(found, key=lambda e: (e.occurred, e.position))

    def changes(self, after: int, limit: int = 1000) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Registry changes after a position."""
        with self._ledger.lock:
            rows = [row for row in self._ledger.events[after:] if row.kind == "registry"][:limit]
        return iter([(row.position, row.time, json.loads(row.data[len(CHANGE) :])) for row in rows])

    def activity(self, since_us: int) -> Iterator[tuple[str, str, int, int]]:
        """Signs of life since then, oldest first."""
        with self._ledger.lock:
            rows = [row for row in self._ledger.requests if row.alive_at and row.arrival >= since_us]
        return iter(thinned((row.study_instance_uid, row.alive_at, row.alive_us, row.arrival) for row in rows))

    def clocks(self, since_us: int) -> Iterator[tuple[str, int, int]]:
        """Clock differences measured since then, oldest first."""
        with self._ledger.lock:
            rows = sorted((row for row in self._ledger.clocks if row.arrival >= since_us), key=lambda row: row.arrival)
        return iter([(row.calling_ae, row.arrival, row.difference) for row in rows])

    def has_entries(self, study_instance_uid: str) -> bool:
        """Whether any entry stands under a study."""
        with self._ledger.lock:
            return self._ledger.has_entries(study_instance_uid)

    def retries(self, position: int = 0, limit: int = 100) -> list[RetryNote]:
        """Repeats that got the stored answer, newest first."""
        ledger = self._ledger
        with ledger.lock:
            of = ledger.events[position - 1].request if 0 < position <= len(ledger.events) else None
            rows = [row for row in reversed(ledger.retries) if not position or row.request == of]
            return [RetryNote(ledger.requests[row.request - 1].last_position, *row[1:]) for row in rows[:limit]]

    def proposals(self, limit: int = 1000) -> list[Proposal]:
        """Proposed corrections, newest first."""
        with self._ledger.lock:
            found = sorted(self._ledger.proposals.items(), key=lambda pair: -pair[1])[:limit]
            return [self._proposal(*pair) for pair in found]

    def proposals_count(self) -> int:
        """How many corrections are proposed."""
        with self._ledger.lock:
            return len(self._ledger.proposals)

    def proposal(self, proposal_id: str) -> Proposal | None:
        """One proposed correction by a unique prefix of its id."""
        with self._ledger.lock:
            known = self._ledger.proposals.items()
            found = [pair for pair in known if proposal_id and pair[0].startswith(proposal_id.lower())]
            return self._proposal(*found[0]) if len(found) == 1 else None

    def _proposal(self, proposal_id: str, position: int) -> Proposal:
        row = self._ledger.events[position - 1]
        source = json.loads(row.lead + b"}")["source"]
        return Proposal(proposal_id, position, row.time, source, json.loads(row.data[len(CHANGE) :]))

    def quarantine(self, *, calling_ae: str = "", open_only: bool = False, limit: int = 1000) -> list[QuarantineItem]:
        """Quarantine items, newest first."""
        with self._ledger.lock:
            items = [
                item
                for item in reversed(self._ledger.items.values())
                if calling_ae in {"", item.calling_ae} and not (open_only and item.closed_position is not None)
            ]
            items.sort(key=lambda item: -item.last_time)
            return [self._item(item) for item in items[:limit]]

    def quarantine_item(self, item_id: str) -> QuarantineItem | None:
        """One item by a unique prefix of its identity in hex."""
        with self._ledger.lock:
            found = [i for i in self._ledger.items.values() if item_id and i.identity.hex().startswith(item_id.lower())]
            return self._item(found[0]) if len(found) == 1 else None

    def _open(self, limit: int) -> list[Item]:
        items = [item for item in reversed(self._ledger.items.values()) if item.closed_position is None]
        return sorted(items, key=lambda item: -item.last_time)[:limit]

    def quarantine_open(self) -> dict[str, int]:
        """How many quarantine items are open, by calling AE title."""
        with self._ledger.lock:
            return dict(Counter(item.calling_ae for item in self._open(MOST_COUNTED)))

    def open_refusals(self, limit: int = 1000) -> list[OpenRefusal]:
        """Quarantine items that are open, newest first."""
        with self._ledger.lock:
            items = [self._item(item) for item in self._open(limit)]
        return [OpenRefusal(i.id, i.calling_ae, i.sop_class, i.last_time, i.outcomes[-1]["data"]) for i in items]

    def last_arrivals(self) -> dict[str, int]:
        """When the last accepted request of each calling AE title arrived."""
        latest: dict[str, int] = {}
        with self._ledger.lock:
            for row in self._ledger.requests[-MOST_COUNTED:]:
                if row.status == 0 or row.status >> 12 == 0xB:
                    latest[row.calling_ae] = max(latest.get(row.calling_ae, 0), row.arrival)
        return latest

    def refusing(self) -> StoreError | None:
        """Why nothing is stored at present."""
        return self._writer.failure

    def _item(self, item: Item) -> QuarantineItem:
        outcomes = []
        for outcome in sorted(item.outcomes.values(), key=lambda o: o.position):
            names = ("outcome", "status", "comment", "position", "first_time", "last_time", "times")
            data = json.loads(b"{" + self._ledger.events[outcome.position - 1].data + b"}")
            outcomes.append({**{name: getattr(outcome, name) for name in names}, "data": data})
        return QuarantineItem(
            item.identity.hex()[:16],
            item.identity,
            item.calling_ae,
            item.address,
            item.sop_class,
            item.transfer_syntax,
            item.first_time,
            item.last_time,
            item.times,
            self._ledger.raw.get(item.identity, b""),
            item.raw_length,
            outcomes,
            item.closed_position,
        )

    def first_broken_position(self) -> int | None:
        """Walk the whole chain; the first position that does not fit, or None."""
        with self._ledger.lock:
            rows, head = list(self._ledger.events), self._ledger.head
        verifier = Verifier()
        verifier.feed((row, self._ledger.request_of(row)) for row in rows)
        return verifier.finish(head)

    def probe(self) -> None:
        """Raises StoreError when the store is closed."""
        if not self._writer.alive():
            raise StoreUnavailable("the store is closed")

    def alive(self) -> bool:
        """Whether the writer turns."""
        return self._writer.alive()

    def disk_free(self) -> int | None:
        """Memory has no disk."""
        return None

    def full(self) -> bool:
        """Memory is never said to be full."""
        return False

    def raw_kept(self, position: int) -> RawKept | None:
        """What is left of an event's request as it was received."""
        with self._ledger.lock:
            event = self._ledger.events[position - 1] if 0 < position <= len(self._ledger.events) else None
            request = self._ledger.request_of(event) if event else None
            if request is None:
                return None
            kept = request.raw if request.raw is not None else self._ledger.raw.get(request.identity, b"")
            return RawKept(request.raw_length, request.raw_digest, len(kept))

    def close(self) -> None:
        """Write what is queued, deliver it, end. Safe to call twice."""
        self._writer.close()
