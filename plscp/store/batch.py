"""The rules of one append transaction: what becomes of each draft, which position it gets, and what is to be written.

The ledger hands the drafts over one by one and writes what the batch has collected. The order of the questions is that of
contract section 1 and steps 5a to 10 of section 2.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypeVar

from plscp.digests import sha256
from plscp.errors import StoreFull
from plscp.records.parts import (
    ASSIGNED_TYPE,
    EXPUNGED_TYPE,
    REFUSED_TYPE,
    SETTLED_TYPE,
    WITHDRAWN_TYPE,
    ChangeLead,
    EntryLead,
    Expunged,
    KeptChange,
    Lead,
    PublishedFinding,
    RefusalLead,
    utc,
)
from plscp.store.chain import NO_RAW, CloudEventAttributes, EventRow, about_request, iso, link
from plscp.store.corrections import CORRECTION, CorrectionDraft, EventMove, Settlement, Standing
from plscp.store.index import EntryKeys, Keys, Seen, mark_of, note_entry, note_request
from plscp.store.lookups import Answered, Expired, Lookups, Outcome, QuarantineRow
from plscp.store.port import (
    EXPUNGED,
    PROPOSAL,
    Accepted,
    ClockMeasured,
    Delivered,
    Draft,
    EntriesKnown,
    EntryDraft,
    Expunge,
    Failed,
    KnownEntry,
    MessageRefused,
    RegistryDraft,
    RegistryRecord,
    Rejected,
    RequestRecord,
    Result,
    Stale,
    Stored,
)
from plscp.store.quarantine import ReplayOf
from plscp.store.schema import StoreHead

AnyLead = TypeVar("AnyLead", bound=Lead)


class PlannedEntry(NamedTuple):
    """An entry to add, the keys under which it will be found again, and the writer's own finding or none."""

    entry: EntryDraft
    keys: EntryKeys
    noticed: list[PublishedFinding]


class EntryPlan(NamedTuple):
    """What becomes of a request's entries.

    Attributes:
        add: the entries to add, in order.
        seen: rows of the index that they add or change.
        known: (index among the entries, position) of those that are stored already.
    """

    add: list[PlannedEntry]
    seen: dict[bytes, Seen]
    known: list[tuple[int, int]]


def _seen_before(first: int, own: int) -> list[PublishedFinding]:
    reason = "Observation UID was sent before with different content"
    return [PublishedFinding(code="observation-seen-before", reason=reason, positions=[first, own])]


def _probable_repeat(other: int) -> list[PublishedFinding]:
    reason = "equal to an earlier entry of this device in DateTime, concept and value"
    return [PublishedFinding(code="probable-repeat", reason=reason, positions=[other])]


def _no_room() -> Failed:
    return Failed(StoreFull("the disk is down to its reserve: nothing more is kept in quarantine"))


def _measure_raw(draft: RequestRecord) -> None:
    if draft.raw_length < 0:
        draft.raw_length = len(draft.raw)
    draft.raw_digest = draft.raw_digest or sha256(draft.raw)


def _answer(
    outcome: Literal["added", "retry"], record: RequestRecord, entries: int = 0, moved: Standing | None = None
) -> Stored:
    """The answer that a request has got, for good; and where its first entry stands, which may have been `moved`."""
    said, standing = record.decision, moved.standing if moved else 0
    under = _under(moved or said)
    return Stored(
        outcome, record.request_id, said.status, said.comment, *under, record.last_position, entries, standing
    )


def _under(at: Accepted | Rejected | Standing | KnownEntry) -> tuple[str, str, str]:
    return at.study_instance_uid, at.patient_id, at.issuer


class Batch:
    """One transaction's worth of decisions.

    Attributes:
        position, digest, registry_position, request_count: the head as it moves.
        recorded: the time that all events of this transaction carry.
        requests, events: to add, in order.
        topics: topic -> its (first, last position).
        retries, delivered, clocks, messages: rows to add.
        proposals: ids of the proposals to add, with their positions.
        settled: what became of proposals, by id.
        reverted: ids of the corrections that are taken back.
        standings: where entries stand that were moved, by position.
        seen, items, replayed: rows to add or replace, by their keys.
        expired: whose raw bytes go, or None where that was not asked.
    """

    def __init__(self, head: StoreHead, topics: Mapping[str, tuple[int, int]], known: Lookups, now: int) -> None:
        self.position, self.digest, self.registry_position, self.request_count = head
        self.recorded = datetime.fromtimestamp(now // 1000 / 1000, UTC)
        self.requests: list[RequestRecord] = []
        self.events: list[EventRow] = []
        self.topics = dict(topics)
        self._known = known
        self.retries: list[tuple[Any, ...]] = []
        self.delivered: dict[str, None] = {}
        self.clocks: list[ClockMeasured] = []
        self.messages: list[MessageRefused] = []
        self.proposals: dict[str, int] = {}
        self.settled: dict[str, Settlement] = {}
        self.reverted: set[str] = set()
        self.standings: dict[int, Standing] = {}
        self.seen: dict[bytes, Seen] = {}
        self.items: dict[bytes, QuarantineRow] = {}
        self.replayed: dict[tuple[bytes, int], int] = {}
        self.expired: Expired | None = None
        self._first = head.position + 1

    @property
    def head(self) -> StoreHead:
        """The head after what was appended."""
        return StoreHead(self.position, self.digest, self.registry_position, self.request_count)

    @property
    def empty(self) -> bool:
        """Whether nothing is to be written."""
        changed = (self.requests, self.events, self.items, self.replayed)
        noted = (self.retries, self.delivered, self.clocks, self.messages)
        return not any((*changed, *noted)) and not (self.expired and self.expired.upto)

    def take(self, draft: Draft) -> Result | None:
        """Decide on one draft. None for what has no result."""
        if isinstance(draft, RequestRecord):
            return self._request(draft)
        if isinstance(draft, RegistryDraft):
            return self._registry(draft)
        if isinstance(draft, ClockMeasured):
            self.clocks.append(draft)
            return None
        if isinstance(draft, Expunge):
            return self._expunge(draft)
        if isinstance(draft, MessageRefused):
            return self._message(draft)
        if isinstance(draft, CorrectionDraft):
            return self._correct(draft)
        assert isinstance(draft, Delivered)
        self.delivered.update(dict.fromkeys(draft.request_ids))
        return None

    def _request(self, draft: RequestRecord) -> Result:
        before = self._known.answered.get(draft.content)
        delivered = before is None or before.delivered or before.latest.request_id in self.delivered
        if draft.replay is not None:
            assert draft.identity == draft.replay.identity, "some entries must not pass for the whole request"
            if (closed := self._closed(draft.replay, before, delivered=delivered)) is not None:
                return closed
        elif before is not None and not delivered:
            return self._retry(draft, before.latest)
        decision = draft.decision
        if isinstance(decision, Rejected) and decision.content_refused:
            return self._refuse(draft, decision)
        keys = self._known.keys[draft.request_id]
        plan = self._plan(draft, keys.entries)
        known = self._known_entries(plan.known) if plan.known else ()
        if known != draft.judged:
            return EntriesKnown(known)
        if draft.registry_position < self.registry_position:
            return Stale(self.registry_position)
        if isinstance(decision, Rejected):
            return self._refuse(draft, decision)
        for one in known:
            self._note_replayed(draft, draft.entries[one.entry].index, one.position)
        if known and not plan.add:
            return self._all_known(draft, known[0])
        if draft.replay is not None and draft.replay.trial:
            answer = draft.request_id, decision.status, decision.comment
            return Stored("added", *answer, *_under(decision), entries=len(plan.add))
        return self._accept(draft, decision, keys.identity, plan)

    # --- contract section 1 ---

    def _retry(self, draft: RequestRecord, before: RequestRecord) -> Stored:
        where = draft.calling_ae, draft.address, draft.association, draft.message_id, draft.transfer_syntax
        self.retries.append((before.n, draft.arrival, *where))
        return _answer("retry", before, moved=self._moved(before.first_position))

    def _plan(self, draft: RequestRecord, keys: Sequence[EntryKeys]) -> EntryPlan:
        """Which entries to add with which finding, and which are known."""
        add: list[PlannedEntry] = []
        fresh: dict[bytes, Seen] = {}
        known: list[tuple[int, int]] = []
        own: dict[bytes, int] = {}
        seen, mark, replayed = self._known.seen, mark_of(draft.content), self._known.replayed_since(draft.content)
        for index, (entry, key) in enumerate(zip(draft.entries, keys, strict=True)):
            position = self.position + 1 + len(add)
            noticed: list[PublishedFinding] = []
            if entry.index in replayed:
                known.append((index, replayed[entry.index]))
                continue
            if key.exact:
                if key.exact in fresh:
                    continue  # twice in this very request
                exact = seen.get(key.exact)
                if exact is not None:
                    known.append((index, exact.first))
                    continue
                same_uid = fresh.get(key.observation) or seen.get(key.observation)
                if same_uid is not None:
                    noticed = _seen_before(same_uid.first, position)
            else:
                like = seen.get(key.near_duplicate)
                stored = 0 if like is None else like.first if like.mark != mark else like.other
                other = stored or own.get(key.near_duplicate, 0)
                if other:
                    noticed = _probable_repeat(other)
            own.setdefault(key.near_duplicate, position)
            note_entry(seen, fresh, key, position, mark)
            add.append(PlannedEntry(entry, key, noticed))
        return EntryPlan(add, fresh, known)

    def _known_entries(self, known: Sequence[tuple[int, int]]) -> tuple[KnownEntry, ...]:
        found = self._known.stored_under({position for _, position in known if position < self._first})
        for position in {position for _, position in known if position >= self._first}:
            record = next(r for r in self.requests if r.first_position <= position <= r.last_position)
            found[position] = Standing(position, position, *_under(record.decision)), record.decision.context
        entries = []
        for index, position in known:
            at, context = found[position]
            at = self.standings.get(position, at)
            entries.append(KnownEntry(index, position, *_under(at), context, at.standing if at.correction else 0))
        return tuple(entries)

    def _all_known(self, draft: RequestRecord, first: KnownEntry) -> Stored:
        self._close(draft, first.position)
        # Not the other request's id: an answer to this one proves nothing about the answer to that one.
        return Stored("known", draft.request_id, 0x0000, "", *_under(first), first.position, standing=first.standing)

    # --- appending ---

    def _accept(self, draft: RequestRecord, decision: Accepted, key: bytes, plan: EntryPlan) -> Stored:
        """Add what is planned; `key`: of the request's identity."""
        before, replay = self._known.answered.get(draft.content), draft.replay
        first_id = before.first_id if before else draft.request_id
        self._number(draft, len(plan.add))
        more = {"replayed": replay.replayed} if replay else {}
        draft.keys = Keys(key, [planned.keys for planned in plan.add]).packed()
        about, subject = about_request(draft), decision.study_instance_uid or decision.key
        for entry, _, noticed in plan.add:
            self._note_replayed(draft, entry.index, self.position + 1)
            lead = self._lead(
                EntryLead,
                f"{draft.request_id}-{entry.index}",
                request_id=draft.request_id,
                entry_index=entry.index,
                entry_count=draft.entry_count,
                same_content_as=f"{first_id}-{entry.index}" if before else None,
                findings=[*entry.findings, *noticed],
                **more,
            )
            envelope = CloudEventAttributes(decision.topic, decision.key, entry.type, subject, entry.occurred)
            self._append("entry", lead, entry.data, envelope, request=draft, entry=entry.index, about=about)
        note_request(self._known.seen, plan.seen, key, draft.n)
        self.seen.update(plan.seen)
        self._known.seen.update(plan.seen)
        self._known.answered[draft.identity] = Answered(draft, first_id, delivered=False)
        self._close(draft, draft.last_position)
        return _answer("added", draft, len(plan.add))

    def _registry(self, draft: RegistryDraft) -> Result:
        studies = [record.without_entries for record in draft.records if record.without_entries]
        if draft.registry_position < self.registry_position or any(map(self._has_entries, studies)):
            return Stale(self.registry_position)
        change_id = secrets.token_hex(16)
        for index, record in enumerate(draft.records):
            self._record(record, f"{change_id}-{index}", draft.source, draft.time, draft.message)
        return Stored("changed", change_id, position=self.registry_position)

    def _has_entries(self, study_instance_uid: str) -> bool:
        return (
            any(r.decision.study_instance_uid == study_instance_uid and r.first_position for r in self.requests)
            or any(at.study_instance_uid == study_instance_uid for at in self.standings.values())
            or self._known.has_entries(study_instance_uid)
        )

    def _record(self, record: RegistryRecord, event_id: str, source: str, time: int, message: str = "") -> None:
        """Append a registry change, or a proposal that is not there yet."""
        if record.proposed:
            if record.subject in self.proposals or self._known.proposed(record.subject):
                return
            self.proposals[record.subject] = self.position + 1
        kind = PROPOSAL if record.proposed else "registry"
        lead = self._lead(ChangeLead, event_id, source=source, message=message)
        envelope = CloudEventAttributes(record.topic, record.key, record.type, record.subject, iso(time))
        self._append(kind, lead, KeptChange(change=record.change).members(), envelope, time=time)
        if not record.proposed:
            self.registry_position = self.position

    def _number(self, draft: RequestRecord, events: int) -> None:
        """Number and collect the next request, which has so many events."""
        self.request_count += 1
        draft.n = self.request_count
        draft.entry_count = draft.entry_count or len(draft.entries)
        draft.first_position, draft.last_position = (self.position + 1, self.position + events) if events else (0, 0)
        draft.registry_position = min(draft.registry_position, self.registry_position)
        _measure_raw(draft)
        self.requests.append(draft)

    def _lead(self, kind: type[AnyLead], event_id: str, **more: Any) -> AnyLead:
        return kind(event_id=event_id, position=self.position + 1, recorded=self.recorded, **more)

    def _append(
        self,
        kind: str,
        lead: Lead,
        data: bytes,
        envelope: CloudEventAttributes,
        *,
        time: int = 0,
        request: RequestRecord | None = None,
        entry: int | None = None,
        about: bytes = b"",
    ) -> None:
        """Chain and collect the next event; `about`: `about_request` of its request, or empty."""
        position = lead.position
        assert position == self.position + 1
        event = (
            position,
            kind,
            request.n if request else None,
            entry,
            lead.event_id,
            *envelope,
            utc(lead.recorded),
            time,
            lead.encoded()[:-1],
            data,
        )
        context, raw = (request.decision.context, request.raw_digest) if request else (b"", NO_RAW)
        self.digest = link(self.digest, event, about, context, raw)
        self.events.append(EventRow._make((*event, self.digest)))
        self.position = position
        if envelope.topic is not None:
            self.topics[envelope.topic] = (self.topics.get(envelope.topic, (position,))[0], position)

    # --- corrections ---

    def _correct(self, draft: CorrectionDraft) -> Result:
        if (
            draft.registry_position < self.registry_position
            or self._state(draft.id) != ("" if draft.proposal is not None else "proposed")
            or (draft.reverts and self._state(draft.reverts) != "confirmed")
            or any(self._standing(move.was.position) != move.was.standing for move in draft.moves)
        ):
            return Stale(self.registry_position)
        if draft.proposal is not None:
            self._record(draft.proposal, f"{draft.id}-p", draft.source, draft.time)
        first = self.position + 1
        for number, move in enumerate(draft.moves):
            self._move(draft, move, f"{draft.id}-{2 * number}", f"{draft.id}-{2 * number + 1}")
        if not draft.moves:
            self._settle(draft)
        moved = first if draft.moves else 0
        self.settled[draft.id] = Settlement(draft.state, moved, self.position, draft.reverts, draft.who, draft.why)
        if draft.reverts:
            self.reverted.add(draft.reverts)
        return Stored("corrected", draft.id, position=self.position, entries=len(draft.moves))

    def _state(self, proposal_id: str) -> str:
        """Of a proposal; empty where there is none."""
        if proposal_id in self.reverted:
            return "reverted"
        if proposal_id in self.settled:
            return self.settled[proposal_id].state
        return "proposed" if proposal_id in self.proposals else self._known.proposed(proposal_id)

    def _moved(self, position: int) -> Standing | None:
        """Where an entry stands by the last correction that moved it; None where none did."""
        return self.standings.get(position) or self._known.moved(position)

    def _standing(self, position: int) -> int:
        at = self._moved(position)
        return at.standing if at is not None else position

    def _move(self, draft: CorrectionDraft, move: EventMove, *event_ids: str) -> None:
        """Append the two events of one entry: it stands no more where it was; it stands at its new place."""
        places = (
            (WITHDRAWN_TYPE, move.was, move.key_was, move.withdrawn),
            (ASSIGNED_TYPE, move.now, move.key_now, move.assigned),
        )
        for event_id, (kind, at, key, data) in zip(event_ids, places, strict=True):
            envelope = CloudEventAttributes(move.topic, key, kind, at.study_instance_uid or key, move.occurred)
            self._append(CORRECTION, self._lead(Lead, event_id), data, envelope, time=draft.time)
        self.standings[move.was.position] = move.now._replace(
            position=move.was.position, standing=self.position, correction=draft.id
        )

    def _settle(self, draft: CorrectionDraft) -> None:
        """Append that a proposal was confirmed or rejected, where nothing moves."""
        said = {"what": f"{PROPOSAL}.{draft.state}", "id": draft.id, "who": draft.who, "why": draft.why}
        lead = self._lead(ChangeLead, f"{draft.id}-s", source=draft.source)
        envelope = CloudEventAttributes(None, "", SETTLED_TYPE, draft.id, iso(draft.time))
        self._append(PROPOSAL, lead, KeptChange(change=said).members(), envelope, time=draft.time)

    # --- retention ---

    def _expunge(self, draft: Expunge) -> Stored:
        """Say what goes. A quarantine item that this transaction has to do with may be open when it ends: it stays."""
        if self.expired is not None:
            return Stored("expunged", "")
        found = self._known.expired(draft.before, draft.now, draft.most)
        items = [item for item in found.items if item.identity not in self._known.items]
        self.expired = found._replace(items=items)
        count = len(found.requests) + len(items)
        if not count:
            return Stored("expunged", "")
        event_id, (low, high) = secrets.token_hex(16), found.positions
        said = {
            "from": low,
            "to": high,
            "requests": len(found.requests),
            "quarantine": len(items),
            "bytes": found.raw_bytes + sum(item.raw_bytes for item in items),
        }
        lead = self._lead(ChangeLead, event_id, source="retention")
        envelope = CloudEventAttributes(None, "", EXPUNGED_TYPE, "", iso(draft.now))
        self._append(EXPUNGED, lead, Expunged(expunged=said).members(), envelope, time=draft.now)
        return Stored("expunged", event_id, position=self.position, entries=count)

    # --- quarantine ---

    def _item(self, identity: bytes) -> QuarantineRow | None:
        return self.items.get(identity) or self._known.items.get(identity)

    def _close(self, draft: RequestRecord, position: int) -> None:
        """Close the item of what is accepted; where only some of its entries are, once every one of them is."""
        replay = draft.replay
        if replay is not None and (
            replay.trial or (replay.some and len(self._known.replayed_since(draft.content)) < draft.entry_count)
        ):
            return
        for identity in {draft.content, replay.item if replay else draft.identity}:
            item = self._item(identity)
            if item is not None and item.closed_position is None:
                item.closed_position = position
                self.items[identity] = item

    def _note_replayed(self, draft: RequestRecord, entry: int, position: int) -> None:
        """That an entry, by its index, which is replayed without the others is stored."""
        replay = draft.replay
        if replay is not None and replay.some and not replay.trial:
            self.replayed[replay.content, entry] = position
            self._known.replayed.setdefault(replay.content, {})[entry] = position

    def _closed(self, replay: ReplayOf, before: Answered | None, *, delivered: bool) -> Stored | None:
        """The answer to a replay whose item is not open, or whose request was accepted meanwhile; else None."""
        item = self._item(replay.item)
        if item is None or item.closed_position is not None:
            return Stored("closed", "", position=0 if item is None else item.closed_position or 0)
        if before is None:
            return None
        # Where it decodes only by now, the device's repeat was another identity: it closed no item.
        refused_at = min((outcome.position for outcome in item.outcomes.values()), default=0)
        since = replay.content != replay.item and before.latest.last_position > refused_at
        if delivered and not since:
            return None
        if not replay.trial:
            item.closed_position = before.latest.last_position
            self.items[replay.item] = item
        return Stored("closed", "", position=before.latest.last_position)

    def _message(self, draft: MessageRefused) -> Result:
        if not self._known.room_for_refusals():
            return _no_room()
        self.messages.append(draft)
        return Stored("kept", "")

    def _refuse(self, draft: RequestRecord, decision: Rejected) -> Result:
        if draft.replay is not None:  # who had it replayed is told, and the item stays as it is
            return Stored("refused", draft.request_id, decision.status, decision.comment)
        if not self._known.room_for_refusals():
            return _no_room()
        item = self._item(draft.identity)
        if item is None:
            item = QuarantineRow(
                identity=draft.identity,
                calling_ae=draft.calling_ae,
                address=draft.address,
                sop_class=draft.sop_class,
                transfer_syntax=draft.transfer_syntax,
                first_time=draft.arrival,
                last_time=draft.arrival,
                times=0,
                raw_length=0,
                raw_digest=b"",
            )
        self.items[draft.identity] = item
        item.times += 1
        item.last_time = draft.arrival
        item.closed_position = None
        if not item.has_raw:  # the same content may be encoded otherwise by now
            _measure_raw(draft)
            item.has_raw, item.raw = True, draft.raw
            item.transfer_syntax = draft.transfer_syntax
            item.raw_length, item.raw_digest = draft.raw_length, draft.raw_digest
        outcome = item.outcomes.get(decision.outcome)
        if outcome is None:
            said = decision.outcome, decision.status, decision.comment
            position = self._publish_refusal(draft, decision, item.identity.hex()[:16])
            outcome = Outcome(*said, position, draft.arrival, draft.arrival, 0)
            item.outcomes[decision.outcome] = outcome
        outcome.times += 1
        outcome.last_time = draft.arrival
        if decision.proposal is not None:
            self._record(decision.proposal, f"{draft.request_id}-p", "server", draft.arrival)
        return Stored("refused", draft.request_id, decision.status, decision.comment, position=outcome.position)

    def _publish_refusal(self, draft: RequestRecord, decision: Rejected, item_id: str) -> int:
        self._number(draft, 1)
        about, dataref = about_request(draft), f"/api/v1/quarantine/{item_id}"
        lead = self._lead(RefusalLead, f"{draft.request_id}-r", request_id=draft.request_id, dataref=dataref)
        envelope = CloudEventAttributes("quarantine", draft.calling_ae, REFUSED_TYPE, item_id, iso(draft.arrival))
        self._append("refusal", lead, decision.data, envelope, time=draft.arrival, request=draft, about=about)
        return self.position
