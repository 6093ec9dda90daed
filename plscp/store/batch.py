"""The rules of one append transaction: what becomes of each draft, which position it gets, and what is to be written.

Pure: an adapter looks up what is `Known`, hands the drafts over one by one and writes what the batch has collected. The order
of the questions is that of contracts section 1 and steps 5a to 10 of section 2.
"""

import json
import secrets
from collections.abc import Sequence
from typing import Any

from plscp.errors import StoreFull
from plscp.store.appender import Appender, raw_digest, raw_length
from plscp.store.chain import about_request, iso
from plscp.store.port import (
    EXPUNGED,
    PROPOSAL,
    Accepted,
    Delivered,
    Draft,
    EntriesKnown,
    EntryDraft,
    Expunge,
    Failed,
    KnownEntry,
    Measured,
    RegistryDraft,
    RegistryRecord,
    Rejected,
    RequestDraft,
    Result,
    Stale,
    Stored,
)
from plscp.store.rows import CHANGE, Answered, EntryKeys, Expired, Head, Item, Known, Outcome, Seen

REFUSED_TYPE = "org.plscp.request.refused.v1"
Planned = tuple[EntryDraft, bytes]
"""An entry to add, and the writer's own finding or nothing."""

_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def _seen_before(first: int, own: int) -> bytes:
    return (
        b'{"code":"observation-seen-before","reason":"Observation UID was sent before with different content",'
        b'"positions":[%d,%d]}' % (first, own)
    )


def _probable_repeat(other: int) -> bytes:
    return (
        b'{"code":"probable-repeat","reason":"equal to an earlier entry of this device in DateTime, concept and value",'
        b'"positions":[%d]}' % other
    )


class Batch(Appender):
    """One transaction's worth of decisions.

    Attributes:
        retries, delivered, clocks: rows to add.
        proposals: ids of the proposals to add, with their positions.
        answered, seen, items: rows to add or replace, by their keys.
        expired: whose raw bytes go, or None where that was not asked.
    """

    def __init__(self, head: Head, known: Known, now: int) -> None:
        super().__init__(head, iso(now))
        self._known = known
        self.retries: list[tuple[Any, ...]] = []
        self.delivered: dict[str, None] = {}
        self.clocks: list[Measured] = []
        self.proposals: dict[str, int] = {}
        self.seen: dict[bytes, Seen] = {}
        self.answered: dict[bytes, Answered] = {}
        self.items: dict[bytes, Item] = {}
        self.expired: Expired | None = None
        self._first = head.position + 1

    @property
    def empty(self) -> bool:
        """Whether nothing is to be written."""
        moved = self.expired is not None and self.expired.upto
        return not (
            self.requests or self.events or self.retries or self.delivered or self.items or self.clocks or moved
        )

    def take(self, draft: Draft, keys: Sequence[EntryKeys]) -> Result | None:
        """Decide on one draft; `keys` are its entries'. None for what has no result."""
        if isinstance(draft, RequestDraft):
            return self._request(draft, keys)
        if isinstance(draft, RegistryDraft):
            return self._registry(draft)
        if isinstance(draft, Measured):
            self.clocks.append(draft)
            return None
        if isinstance(draft, Expunge):
            return self._expunge(draft)
        assert isinstance(draft, Delivered)
        self.delivered.update(dict.fromkeys(draft.request_ids))
        return None

    def _request(self, draft: RequestDraft, keys: Sequence[EntryKeys]) -> Result:
        before = self.answered.get(draft.identity) or self._known.answered.get(draft.identity)
        if before is not None and not (before.delivered or before.request_id in self.delivered):
            return self._retry(draft, before)
        decision = draft.decision
        if isinstance(decision, Rejected) and decision.content_refused:
            return self._refuse(draft, decision)
        plan, fresh, again = self._plan(draft, keys)
        known = self._known_entries(again) if again else ()
        if known != draft.judged:
            return EntriesKnown(known)
        if draft.registry_position < self.registry_position:
            return Stale(self.registry_position)
        if isinstance(decision, Rejected):
            return self._refuse(draft, decision)
        if known and not plan:
            return self._all_known(draft, known[0])
        return self._accept(draft, decision, plan, fresh, before)

    # --- contracts section 1 ---

    def _retry(self, draft: RequestDraft, before: Answered) -> Stored:
        self.retries.append(
            (
                before.n,
                draft.arrival,
                draft.calling_ae,
                draft.address,
                draft.association,
                draft.message_id,
                draft.transfer_syntax,
            )
        )
        return Stored("retry", *before[:7])

    def _plan(
        self, draft: RequestDraft, keys: Sequence[EntryKeys]
    ) -> tuple[list[Planned], dict[bytes, Seen], list[tuple[int, int]]]:
        """Which entries to add with which finding, what will then have been seen, and (index, position) of the known ones."""
        plan: list[Planned] = []
        fresh: dict[bytes, Seen] = {}
        known: list[tuple[int, int]] = []
        own: dict[bytes, int] = {}
        mark = draft.identity[:8]
        for index, (entry, key) in enumerate(zip(draft.entries, keys, strict=True)):
            position = self.position + 1 + len(plan)
            finding = b""
            like = self._seen(key.near_duplicate_key)
            if key.exact:
                if key.exact in fresh:
                    continue  # twice in this very request
                exact = self._seen(key.exact)
                if exact is not None:
                    known.append((index, exact.position))
                    continue
                same_uid = fresh.get(key.observation) or self._seen(key.observation)
                if same_uid is not None:
                    finding = _seen_before(same_uid.position, position)
                else:
                    fresh[key.observation] = Seen(position)
                fresh[key.exact] = Seen(position)
            else:
                stored = 0 if like is None else like.position if like.mark != mark else like.other
                other = stored or own.get(key.near_duplicate_key, 0)
                if other:
                    finding = _probable_repeat(other)
            own.setdefault(key.near_duplicate_key, position)
            if like is None:
                fresh.setdefault(key.near_duplicate_key, Seen(position, mark))
            elif not like.other and like.mark != mark:
                fresh.setdefault(key.near_duplicate_key, like._replace(other=position))
            plan.append((entry, finding))
        return plan, fresh, known

    def _seen(self, key: bytes) -> Seen | None:
        return self.seen.get(key) or self._known.seen.get(key)

    def _known_entries(self, known: Sequence[tuple[int, int]]) -> tuple[KnownEntry, ...]:
        rows = self._known.stored_under({position for _, position in known if position < self._first})
        for position in {position for _, position in known if position >= self._first}:
            row = next(r for r in self.requests if r.first_position <= position <= r.last_position)
            rows[position] = (row.study_instance_uid, row.patient_id, row.issuer, row.context)
        return tuple(KnownEntry(index, position, *rows[position]) for index, position in known)

    def _all_known(self, draft: RequestDraft, first: KnownEntry) -> Stored:
        item = self._item(draft.identity)
        if item is not None and item.closed_position is None:
            self._close(item, first.position)
        # Not the other request's id: an answer to this one proves nothing about the answer to that one.
        under = first.study_instance_uid, first.patient_id, first.issuer
        return Stored("known", draft.request_id, 0x0000, "", *under, first.position)

    # --- appending ---

    def _accept(
        self,
        draft: RequestDraft,
        decision: Accepted,
        plan: list[Planned],
        fresh: dict[bytes, Seen],
        before: Answered | None,
    ) -> Stored:
        positions = (self.position + 1, self.position + len(plan)) if plan else (0, 0)
        row = self.request_row(draft, decision, positions)
        about = about_request(row)
        subject = decision.study_instance_uid or decision.key
        stem = draft.request_id
        recorded, topic, key = self.recorded, decision.topic, decision.key
        count = len(draft.entries)
        for entry, finding in plan:
            event_id = f"{stem}-{entry.index}"
            same = f'"{before.first_id}-{entry.index}"' if before else "null"
            lead = (
                f'{{"event_id":"{event_id}","request_id":"{stem}","entry_index":{entry.index},"entry_count":{count},'
                f'"position":{self.position + 1},"recorded":"{recorded}","same_content_as":{same},"findings":['
            )
            findings = entry.findings + b"," + finding if entry.findings and finding else entry.findings or finding
            event = (
                self.position + 1,
                "entry",
                row.n,
                event_id,
                topic,
                key,
                entry.type,
                subject,
                entry.occurred,
                recorded,
                0,
                lead.encode() + findings + b"]",
                entry.data,
            )
            self.append(event, row, about)
        self.seen.update(fresh)
        under = decision.study_instance_uid, decision.patient_id, decision.issuer
        answer = (stem, decision.status, decision.comment, *under, row.last_position)
        first = (before.first_id, before.first_n) if before else (stem, row.n)
        self.answered[draft.identity] = Answered(*answer, row.n, *first, delivered=0)
        item = self._item(draft.identity)
        if item is not None and item.closed_position is None:
            self._close(item, row.last_position)
        return Stored("added", *answer, len(plan))

    def _registry(self, draft: RegistryDraft) -> Result:
        if draft.registry_position < self.registry_position:
            return Stale(self.registry_position)
        if any(record.without_entries and self._has_entries(record.without_entries) for record in draft.records):
            return Stale(self.registry_position)
        change_id = secrets.token_hex(16)
        for index, record in enumerate(draft.records):
            self._record(record, f"{change_id}-{index}", draft.source, draft.time)
        return Stored("changed", change_id, position=self.registry_position)

    def _has_entries(self, study_instance_uid: str) -> bool:
        here = any(row.study_instance_uid == study_instance_uid and row.first_position for row in self.requests)
        return here or self._known.has_entries(study_instance_uid)

    def _record(self, record: RegistryRecord, event_id: str, source: str, time: int) -> None:
        """Append a registry change, or a proposal that is not there yet."""
        if record.proposed:
            if record.subject in self.proposals or self._known.proposed(record.subject):
                return
            self.proposals[record.subject] = self.position + 1
        lead = _json({"event_id": event_id, "position": self.position + 1, "recorded": self.recorded})
        event = (
            self.position + 1,
            PROPOSAL if record.proposed else "registry",
            None,
            event_id,
            record.topic,
            record.key,
            record.type,
            record.subject,
            iso(time),
            self.recorded,
            time,
            f'{lead[:-1]},"source":{_json(source)}'.encode(),
            CHANGE + _json(record.change).encode(),
        )
        self.append(event, None, b"")
        if not record.proposed:
            self.registry_position = self.position

    # --- retention ---

    def _expunge(self, draft: Expunge) -> Stored:
        """Say what goes. A quarantine item that this transaction has to do with may be open when it ends: it stays."""
        if self.expired is not None:
            return Stored("expunged", "")
        found = self._known.expired(draft.before, draft.now, draft.most)
        items = [item for item in found.items if item.identity not in self._known.items]
        self.expired = found = found._replace(items=items)
        count = len(found.requests) + len(items)
        if not count:
            return Stored("expunged", "")
        event_id = secrets.token_hex(16)
        lead = {"event_id": event_id, "position": self.position + 1, "recorded": self.recorded, "source": "retention"}
        low, high = found.positions
        said = {
            "from": low,
            "to": high,
            "requests": len(found.requests),
            "quarantine": len(items),
            "bytes": found.raw_bytes + sum(item.raw_bytes for item in items),
        }
        event = (
            self.position + 1,
            EXPUNGED,
            None,
            event_id,
            None,
            "",
            "org.plscp.raw.expunged.v1",
            "",
            iso(draft.now),
            self.recorded,
            draft.now,
            _json(lead)[:-1].encode(),
            b'"expunged":' + _json(said).encode(),
        )
        self.append(event, None, b"")
        return Stored("expunged", event_id, position=self.position, entries=count)

    # --- quarantine ---

    def _item(self, identity: bytes) -> Item | None:
        return self.items.get(identity) or self._known.items.get(identity)

    def _close(self, item: Item, position: int) -> None:
        item.closed_position = position
        self.items[item.identity] = item

    def _refuse(self, draft: RequestDraft, decision: Rejected) -> Result:
        if not self._known.room_for_refusals():
            return Failed(StoreFull("the disk is down to its reserve: nothing more is kept in quarantine"))
        item = self._item(draft.identity)
        if item is None:
            item = Item(
                draft.identity,
                draft.calling_ae,
                draft.address,
                draft.sop_class,
                draft.transfer_syntax,
                draft.arrival,
                draft.arrival,
                0,
                raw_length(draft),
                raw_digest(draft),
            )
        self.items[draft.identity] = item
        item.times += 1
        item.last_time = draft.arrival
        item.closed_position = None
        if not item.has_raw:
            item.has_raw, item.raw = True, draft.raw
            item.transfer_syntax = draft.transfer_syntax
        outcome = item.outcomes.get(decision.outcome)
        if outcome is None:
            position = self._publish_refusal(draft, decision, item)
            item.outcomes[decision.outcome] = outcome = Outcome(
                decision.outcome, decision.status, decision.comment, position, draft.arrival, draft.arrival, 0
            )
        outcome.times += 1
        outcome.last_time = draft.arrival
        if decision.proposal is not None:
            self._record(decision.proposal, f"{draft.request_id}-p", "server", draft.arrival)
        return Stored("refused", draft.request_id, decision.status, decision.comment, position=outcome.position)

    def _publish_refusal(self, draft: RequestDraft, decision: Rejected, item: Item) -> int:
        position = self.position + 1
        row = self.request_row(draft, decision, (position, position))
        item_id = item.identity.hex()[:16]
        event_id = f"{draft.request_id}-r"
        lead = (
            f'{{"event_id":"{event_id}","request_id":"{draft.request_id}","position":{position},'
            f'"recorded":"{self.recorded}","dataref":"/api/v1/quarantine/{item_id}"'
        )
        event = (
            position,
            "refusal",
            row.n,
            event_id,
            "quarantine",
            draft.calling_ae,
            REFUSED_TYPE,
            item_id,
            iso(draft.arrival),
            self.recorded,
            draft.arrival,
            lead.encode(),
            decision.data,
        )
        self.append(event, row, about_request(row))
        return position
