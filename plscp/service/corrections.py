"""Corrections: entries that stand under the wrong study or patient are moved, as somebody says or confirms; and moved back.

What moves is planned on where the entries stand and on the registry as it is; the store takes it only while both are still so, else
it is planned again. What people may say wrong is a `Conflict` or an `InvalidBody`.
"""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future as ThreadFuture
from contextlib import suppress
from functools import partial
from typing import Any, Literal, NamedTuple

from plscp.errors import Conflict, InvalidBody, StoreError, StoreUnavailable
from plscp.logs import log
from plscp.matching import changes
from plscp.matching.corrections import (
    MERGE,
    MOVE,
    REPLAY,
    CorrectionBody,
    Destination,
    EntriesBody,
    SettleBody,
    destination,
    for_entry,
    iso,
    merged_by,
    proposal_id,
    proposed,
)
from plscp.matching.model import Place
from plscp.matching.registry import Registry
from plscp.records.parts import (
    WITHDRAWN_TYPE,
    Correction,
    EventPlace,
    Identifier,
    StudyReference,
    Withdrawn,
)
from plscp.records.values import assigned
from plscp.service.keeper import MOST_TRIES, RegistryKeeper, now_us, tell, utc_now
from plscp.store.corrections import (
    CORRECTION,
    MOST_MOVED,
    CorrectionDraft,
    EntryFilter,
    EventMove,
    Proposal,
    Standing,
    StandingEvent,
)
from plscp.store.port import EventStore, Failed, Filter, RegistryRecord, Result, Stored


class Moved(NamedTuple):
    """An entry that a correction moves, or would."""

    position: int
    event_id: str
    occurred: str
    moved_from: EventPlace
    moved_to: EventPlace


class CorrectionOutcome(NamedTuple):
    """What a correction moved, or would, and the position of its last event; 0 for a dry run."""

    id: str
    moves: Sequence[Moved]
    position: int


class Order(NamedTuple):
    """A correction that is to be made, before it is known where its entries stand.

    Attributes:
        where: says of an entry, by its position and the registry, where to; raises Conflict.
        change: of the proposal, where it is none that is kept already: its id is new.
        moved_by: id of the correction that must have moved each entry last, empty for none: else nothing moves. None: whoever did.
    """

    id: str
    positions: Sequence[int]
    where: Callable[[int, Registry], Destination]
    who: str
    why: str
    source: str
    change: dict[str, Any] | None = None
    reverts: str = ""
    moved_by: str | None = None


class Corrections:
    """Makes, confirms, rejects and reverts corrections.

    Attributes:
        replay: judges a quarantine item once more, and takes it if it belongs to a place; why it was not, or empty.
    """

    def __init__(self, store: EventStore, keeper: RegistryKeeper) -> None:
        self._store = store
        self._keeper = keeper
        self.replay: Callable[[str, Place], Awaitable[str]] | None = None

    async def make(self, body: CorrectionBody, who: str) -> CorrectionOutcome:
        """Move entries as somebody says. Raises InvalidBody, Conflict, or StoreError: nothing was kept."""
        if body.to is None:
            raise InvalidBody("to: name the study, or the patient")
        if not body.why and not body.dry_run:
            raise InvalidBody("why: say why")
        if bool(body.positions) == (body.entries is not None):
            raise InvalidBody("positions: give them, or entries: one of the two")
        place = body.to.place
        positions = body.positions if body.entries is None else await asyncio.to_thread(self._chosen, body.entries)
        sender = body.entries.calling_ae if body.entries is not None else ""
        change = proposed(MOVE, place, body.why, positions=positions, calling_ae=sender)
        order = Order(secrets.token_hex(8), positions, _to(place), who, body.why, "http", change)
        return await self.move(order, dry_run=body.dry_run)

    async def confirm(self, proposal: Proposal, body: SettleBody, who: str) -> CorrectionOutcome:
        """Do what is proposed, or move the same entries to where somebody says. Raises as `make`."""
        _require(proposal, "proposed")
        change, why = proposal.change, body.why or str(proposal.change.get("because", ""))
        if change["what"] == REPLAY:
            if self.replay is None:
                raise Conflict("this server cannot replay what is in quarantine")
            if body.to is not None:
                raise InvalidBody("to: where a replayed request belongs, the rules say")
            refused = "" if body.dry_run else await self.replay(str(change["quarantine"]), _place(change["to"]))
            if refused:
                raise Conflict(refused)
            return await self._settle(proposal, "confirmed", who, why, dry_run=body.dry_run)
        if change["what"] == MERGE:
            if not body.dry_run:
                await self._merge(proposal, body)
            return await self._settle(proposal, "confirmed", who, why, dry_run=body.dry_run)
        positions = change.get("positions", ()) or await asyncio.to_thread(self._all_under, change)
        place, said_at = (_place(change["to"]), proposal.position) if body.to is None else (body.to.place, None)
        order = Order(proposal.id, positions, _to(place, said_at), who, why, "http")
        return await self.move(order, dry_run=body.dry_run)

    async def reject(self, proposal: Proposal, body: SettleBody, who: str) -> CorrectionOutcome:
        """Say that a proposal is not to be done; the same is not proposed again. Raises as `confirm`."""
        _require(proposal, "proposed")
        if not body.why:
            raise InvalidBody("why: say why")
        return await self._settle(proposal, "rejected", who, body.why, dry_run=body.dry_run)

    async def revert(self, proposal: Proposal, body: SettleBody, who: str) -> CorrectionOutcome:
        """Move back what a correction moved: all of it, and only where no later correction moved any of it. Raises as `confirm`."""
        _require(proposal, "confirmed")
        if not body.why and not body.dry_run:
            raise InvalidBody("why: say why")
        if not proposal.moved:
            raise Conflict(f"{proposal.id} moved nothing: there is nothing to move back")
        came_from = await asyncio.to_thread(self._came_from, proposal)

        def where(position: int, registry: Registry) -> Destination:
            place, moved_at = came_from[position]
            try:
                return destination(registry, place, moved_at)
            except Conflict:
                why = f"the entry at {position} came from a study that is another patient's by now: move it by hand"
                raise Conflict(why) from None

        positions = list(came_from)
        change = proposed(MOVE, came_from[positions[0]][0], body.why, positions=positions) | {"reverts": proposal.id}
        order = Order(secrets.token_hex(8), positions, where, who, body.why, "http", change, proposal.id, proposal.id)
        return await self.move(order, dry_run=body.dry_run)

    async def move(self, order: Order, *, dry_run: bool = False) -> CorrectionOutcome:
        """Move entries, as an order says. Raises as `make`."""
        if not order.positions:
            raise Conflict("no entry stands there")
        if len(order.positions) > MOST_MOVED:
            raise Conflict(f"a correction moves {MOST_MOVED} entries at most: say which, by device and time")
        for _ in range(MOST_TRIES):
            moves, moved, registry_position = await asyncio.to_thread(self._plan, order)
            if dry_run:
                return CorrectionOutcome(order.id, moved, 0)
            proposal = None
            if order.change is not None:
                origins = dict.fromkeys(_record_place(one.moved_from) for one in moved)
                change = order.change | {
                    "positions": [move.was.position for move in moves],
                    "from": [place.as_json() for place in origins],
                }
                proposal = RegistryRecord.proposal(change, moves[0].key_was, order.id)
            result = await self._submit(
                CorrectionDraft(
                    id=order.id,
                    state="confirmed",
                    moves=moves,
                    registry_position=registry_position,
                    time=now_us(),
                    source=order.source,
                    who=order.who,
                    why=order.why,
                    done=_nobody,
                    proposal=proposal,
                    reverts=order.reverts,
                )
            )
            if isinstance(result, Stored):
                log.info("entries-moved", correction=order.id, entries=len(moves), position=result.position)
                return CorrectionOutcome(order.id, moved, result.position)
            # The registry has changed, or where entries stand, or what became of the proposal.
            await asyncio.to_thread(self._keeper.catch_up)
            for known, state in ((order.id if order.change is None else "", "proposed"), (order.reverts, "confirmed")):
                if known:
                    await self._require_still(known, state)
        raise StoreUnavailable("where the entries stand keeps changing: try again")

    async def _require_still(self, correction: str, state: str) -> None:
        found = await asyncio.to_thread(self._store.proposal, correction)
        if found is not None:
            _require(found, state)

    def _plan(self, order: Order) -> tuple[list[EventMove], list[Moved], int]:
        """What moves, as the store takes it and for people, and the registry's position on which that was planned."""
        found = self._store.standing(sorted(set(order.positions)))
        missing = set(order.positions) - {one.at.position for one in found}
        if missing:
            raise Conflict(f"there is no entry at position {min(missing)}")
        for one in found:
            later = one.at.correction
            if order.moved_by is not None and later != order.moved_by:
                raise Conflict(f"{later} has moved the entry at {one.at.position} since: revert that one first")
        moves, moved = [], []
        with self._keeper.lock:
            self._keeper.catch_up()
            registry = self._keeper.registry
            for one in found:
                made = _move(registry, one, order)
                if made is not None:
                    moves.append(made[0])
                    moved.append(made[1])
            position = registry.position
        if not moves:
            raise Conflict("the entries stand there already")
        return moves, moved, position

    async def _submit(self, draft: CorrectionDraft) -> Result:
        future: ThreadFuture[Result] = ThreadFuture()
        draft.done = partial(tell, future)
        self._store.submit(draft)
        result = await asyncio.wrap_future(future)
        if isinstance(result, Failed):
            raise result.error
        return result

    async def _settle(
        self, proposal: Proposal, state: Literal["confirmed", "rejected"], who: str, why: str, *, dry_run: bool = False
    ) -> CorrectionOutcome:
        """Keep what became of a proposal by which nothing moves."""
        if dry_run:
            return CorrectionOutcome(proposal.id, [], 0)
        for _ in range(MOST_TRIES):
            position = await asyncio.to_thread(self._keeper.catch_up)
            result = await self._submit(
                CorrectionDraft(proposal.id, state, [], position, now_us(), "http", who, why, _nobody)
            )
            if isinstance(result, Stored):
                log.info("correction-settled", correction=proposal.id, state=state, position=result.position)
                return CorrectionOutcome(proposal.id, [], result.position)
            await self._require_still(proposal.id, "proposed")
        raise StoreUnavailable("the registry keeps changing: try again")

    async def replayed(self, item_id: str, place: Place, who: str) -> None:
        """A request was replayed by hand: where just that was proposed, nobody is asked any more."""
        proposal = await asyncio.to_thread(self._store.proposal, proposal_id([item_id, place.as_json()]))
        if proposal is not None and proposal.state == "proposed":
            with suppress(Conflict, StoreError):  # the replay counts all the same; confirmed later it is settled too
                await self._settle(proposal, "confirmed", who, "replayed by hand")

    async def _merge(self, proposal: Proposal, body: SettleBody) -> None:
        """Merge the patient of the study that is named into the one who survives; his entries follow by the merge itself."""
        change = proposal.change
        chosen = body.to.place if body.to is not None else Place("", "", "")
        survivor = _place(change["to"])

        def planned(registry: Registry) -> Sequence[RegistryRecord]:
            prior = merged_by(registry, change, chosen, proposal.position)
            into = registry.current_patient(survivor.patient_id, survivor.issuer, proposal.position)
            return changes.merge_patient(registry, into, {"prior": prior.as_json()}, self._keeper.policy, utc_now())

        await self._keeper.change(planned, "http")

    def _chosen(self, entries: EntriesBody) -> list[int]:
        place = entries.place
        if bool(place.study_instance_uid) == bool(place.patient_id):
            raise InvalidBody("entries: name the study under which they stand, or the patient")
        since, until = iso(entries.since), iso(entries.until)
        which = EntryFilter(place.study_instance_uid, (), entries.calling_ae, since, until, MOST_MOVED + 1)
        if not place.patient_id:
            return self._store.entries(which)
        with self._keeper.lock:
            patient = destination(self._keeper.registry, place).patient
            which.patient_ids = [(each.id, each.issuer) for each in self._keeper.registry.named_by(patient)]
        found, chosen = self._store.standing(self._store.entries(which)), []
        with self._keeper.lock:
            registry = self._keeper.registry
            for at in (one.at for one in found):  # an ID that was given anew named another patient before
                owner = registry.owner(registry.current_patient(at.patient_id, at.issuer, at.standing))
                if owner is not None and owner.number == patient.number:
                    chosen.append(at.position)
        return chosen

    def _all_under(self, change: dict[str, Any]) -> list[int]:
        """Of a proposal that names no entries: all that stand where it says."""
        found: list[int] = []
        for place in map(_place, change["from"]):
            if place.study_instance_uid:
                found += self._chosen(EntriesBody(study_instance_uid=place.study_instance_uid))
        return found

    def _came_from(self, proposal: Proposal) -> dict[int, tuple[Place, int]]:
        """By position of its event, where each entry stood before a correction, and the position that says so."""
        count = proposal.settled - proposal.moved + 1
        events = self._store.read(Filter(after=proposal.moved - 1, limit=count, kinds=(CORRECTION,)))
        came_from = {}
        for event in events:
            if event.type == WITHDRAWN_TYPE:
                said = Correction.model_validate(json.loads(event.payload)["correction"])
                came_from[said.event_position] = _record_place(said.moved_from), event.position
        return came_from


def _require(proposal: Proposal, state: str) -> None:
    if proposal.state != state:
        raise Conflict(f"{proposal.id} is {proposal.state}, not {state}: nothing was moved")


def _to(place: Place, position: int | None = None) -> Callable[[int, Registry], Destination]:
    return lambda _, registry: destination(registry, place, position)


def _move(registry: Registry, one: StandingEvent, order: Order) -> tuple[EventMove, Moved] | None:
    """How an entry moves; None where it stands there already."""
    at, administration = one.at, one.entry.topic != "procedure-log"
    there = for_entry(registry, order.where(at.position, registry), administration=administration)
    patient = there.patient.current
    stood = registry.current_patient(at.patient_id, at.issuer, at.standing)
    owner = registry.owner(stood)
    study = there.study.study_instance_uid if there.study is not None else ""
    if at.study_instance_uid == study and (study or (owner is not None and owner.number == there.patient.number)):
        return None
    correction = Correction(
        id=order.id,
        event_id=one.entry.event_id,
        event_position=at.position,
        moved_from=_event_place(at.study_instance_uid, *stood),
        moved_to=_event_place(study, *patient),
        who=order.who,
        why=order.why,
        **({"reverts": order.reverts} if order.reverts else {}),
    )
    reference = None
    if there.study is not None:
        reference = StudyReference(
            study_instance_uid=study,
            study_id=there.study.study_id,
            accession_number=there.study.accession_number,
            location=there.study.location,
        )
    whole = assigned(one.entry.payload, reference, Identifier(id=patient.id, issuer=patient.issuer), correction)
    move = EventMove(
        at,
        Standing(at.position, 0, study, *patient),
        "medication-administration" if administration else "procedure-log",
        one.last.key,
        there.key(administration=administration),
        one.entry.occurred,
        Withdrawn(correction=correction).members(),
        whole,
    )
    return move, Moved(at.position, one.entry.event_id, one.entry.occurred, correction.moved_from, correction.moved_to)


def _event_place(study: str, patient_id: str, issuer: str) -> EventPlace:
    return EventPlace(study_instance_uid=study, patient=Identifier(id=patient_id, issuer=issuer))


def _record_place(place: EventPlace) -> Place:
    return Place(place.study_instance_uid, place.patient.id, place.patient.issuer)


def _place(said: dict[str, Any]) -> Place:
    patient = said.get("patient") or {}
    return Place(said.get("study_instance_uid", ""), patient.get("id", ""), patient.get("issuer", ""))


def _nobody(_: Result) -> None:
    pass
