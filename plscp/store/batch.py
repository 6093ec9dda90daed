"""The rules of one append transaction: what becomes of each draft, which position it gets, and what is to be written.

Pure: an adapter looks up what is `Known`, hands the drafts over one by one and writes what the batch has collected. The order
of the questions is that of contract section 1 and steps 5a to 10 of section 2.
"""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from plscp.digests import sha256
from plscp.errors import StoreFull
from plscp.records.parts import (
    EXPUNGED_TYPE,
    REFUSED_TYPE,
    ChangeLead,
    EntryLead,
    Expunged,
    KeptChange,
    Lead,
    PublishedFinding,
    RefusalLead,
    utc,
)
from plscp.store.chain import NO_RAW, about_request, iso, link
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
from plscp.store.rows import Answered, EntryKeys, EventRow, Expired, Head, Item, Known, Outcome, RequestRow, Seen

Planned = tuple[EntryDraft, list[PublishedFinding]]
"""An entry to add, and the writer's own finding or none."""


def _seen_before(first: int, own: int) -> list[PublishedFinding]:
    reason = "Observation UID was sent before with different content"
    return [PublishedFinding(code="observation-seen-before", reason=reason, positions=[first, own])]


def _probable_repeat(other: int) -> list[PublishedFinding]:
    reason = "equal to an earlier entry of this device in DateTime, concept and value"
    return [PublishedFinding(code="probable-repeat", reason=reason, positions=[other])]


def raw_length(draft: RequestDraft) -> int:
    """Bytes of the whole request, also where `raw` was cut."""
    return draft.raw_length if draft.raw_length >= 0 else len(draft.raw)


def raw_digest(draft: RequestDraft) -> bytes:
    """SHA-256 of the whole request, also where `raw` was cut."""
    return draft.raw_digest or sha256(draft.raw)


class Batch:
    """One transaction's worth of decisions.

    Attributes:
        position, digest, registry_position, request_count: the head as it moves.
        recorded: the time that all events of this transaction carry.
        requests, events: rows to add, in order.
        topics: topic -> (first, last position added).
        retries, delivered, clocks: rows to add.
        proposals: ids of the proposals to add, with their positions.
        answered, seen, items: rows to add or replace, by their keys.
        expired: whose raw bytes go, or None where that was not asked.
    """

    def __init__(self, head: Head, known: Known, now: int) -> None:
        self.position, self.digest, self.registry_position, self.request_count = head
        self.recorded = datetime.fromtimestamp(now // 1000 / 1000, UTC)
        self.requests: list[RequestRow] = []
        self.events: list[EventRow] = []
        self.topics: dict[str, tuple[int, int]] = {}
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
    def head(self) -> Head:
        """The head after what was appended."""
        return Head(self.position, self.digest, self.registry_position, self.request_count)

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

    # --- contract section 1 ---

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
            noticed: list[PublishedFinding] = []
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
                    noticed = _seen_before(same_uid.position, position)
                else:
                    fresh[key.observation] = Seen(position)
                fresh[key.exact] = Seen(position)
            else:
                stored = 0 if like is None else like.position if like.mark != mark else like.other
                other = stored or own.get(key.near_duplicate_key, 0)
                if other:
                    noticed = _probable_repeat(other)
            own.setdefault(key.near_duplicate_key, position)
            if like is None:
                fresh.setdefault(key.near_duplicate_key, Seen(position, mark))
            elif not like.other and like.mark != mark:
                fresh.setdefault(key.near_duplicate_key, like._replace(other=position))
            plan.append((entry, noticed))
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
        row = self._request_row(draft, decision, positions)
        about = about_request(row)
        subject = decision.study_instance_uid or decision.key
        stem = draft.request_id
        for entry, noticed in plan:
            lead = EntryLead(
                event_id=f"{stem}-{entry.index}",
                position=self.position + 1,
                recorded=self.recorded,
                request_id=stem,
                entry_index=entry.index,
                entry_count=len(draft.entries),
                same_content_as=f"{before.first_id}-{entry.index}" if before else None,
                findings=[*entry.findings, *noticed],
            )
            self._append(
                "entry",
                lead,
                entry.data,
                topic=decision.topic,
                key=decision.key,
                type=entry.type,
                subject=subject,
                occurred=entry.occurred,
                time=0,
                request=row,
                about=about,
            )
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
        kind = PROPOSAL if record.proposed else "registry"
        lead = ChangeLead(event_id=event_id, position=self.position + 1, recorded=self.recorded, source=source)
        self._append(
            kind,
            lead,
            KeptChange(change=record.change).members(),
            topic=record.topic,
            key=record.key,
            type=record.type,
            subject=record.subject,
            occurred=iso(time),
            time=time,
        )
        if not record.proposed:
            self.registry_position = self.position

    # --- rows ---

    def _request_row(self, draft: RequestDraft, answer: Accepted | Rejected, positions: tuple[int, int]) -> RequestRow:
        """Number and collect the next request.

        Args:
            positions: of its first and last event; 0, 0 where it adds none.
        """
        accepted = answer if isinstance(answer, Accepted) else None
        self.request_count += 1
        row = RequestRow(
            self.request_count,
            draft.request_id,
            draft.identity,
            draft.sop_class,
            draft.calling_ae,
            draft.address,
            draft.association,
            draft.message_id,
            draft.transfer_syntax,
            draft.arrival,
            answer.status,
            answer.comment,
            accepted.study_instance_uid if accepted else "",
            accepted.patient_id if accepted else "",
            accepted.issuer if accepted else "",
            min(draft.registry_position, self.registry_position),
            len(draft.entries),
            *positions,
            accepted.alive_at if accepted else "",
            accepted.alive_us if accepted else 0,
            raw_length(draft),
            raw_digest(draft),
            accepted.context if accepted else b"",
            draft.raw if accepted else None,
        )
        self.requests.append(row)
        return row

    def _append(
        self,
        kind: str,
        lead: Lead,
        data: bytes,
        *,
        topic: str | None,
        key: str,
        type: str,  # noqa: A002 -- as in the row
        subject: str,
        occurred: str,
        time: int,
        request: RequestRow | None = None,
        about: bytes = b"",
    ) -> None:
        """Chain and collect the next event; the arguments are the members of its `EventRow`.

        Args:
            request: whose event it is, or None for registry changes and proposals.
            about: `about_request` of that request, or empty.
        """
        position = lead.position
        assert position == self.position + 1
        event = (
            position, kind, request.n if request else None, lead.event_id, topic, key, type, subject, occurred,
            utc(lead.recorded), time, lead.encoded()[:-1], data,
        )  # fmt: skip
        context, raw = (request.context, request.raw_digest) if request else (b"", NO_RAW)
        self.digest = link(self.digest, event, about, context, raw)
        self.events.append(EventRow._make((*event, self.digest)))
        self.position = position
        if topic is not None:
            self.topics[topic] = (self.topics.get(topic, (position,))[0], position)

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
        low, high = found.positions
        said = {
            "from": low,
            "to": high,
            "requests": len(found.requests),
            "quarantine": len(items),
            "bytes": found.raw_bytes + sum(item.raw_bytes for item in items),
        }
        lead = ChangeLead(event_id=event_id, position=self.position + 1, recorded=self.recorded, source="retention")
        self._append(
            EXPUNGED,
            lead,
            Expunged(expunged=said).members(),
            topic=None,
            key="",
            type=EXPUNGED_TYPE,
            subject="",
            occurred=iso(draft.now),
            time=draft.now,
        )
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
        row = self._request_row(draft, decision, (position, position))
        item_id = item.identity.hex()[:16]
        lead = RefusalLead(
            event_id=f"{draft.request_id}-r",
            position=position,
            recorded=self.recorded,
            request_id=draft.request_id,
            dataref=f"/api/v1/quarantine/{item_id}",
        )
        self._append(
            "refusal",
            lead,
            decision.data,
            topic="quarantine",
            key=draft.calling_ae,
            type=REFUSED_TYPE,
            subject=item_id,
            occurred=iso(draft.arrival),
            time=draft.arrival,
            request=row,
            about=about_request(row),
        )
        return position
