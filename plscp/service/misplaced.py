"""Entries that rules 5 to 7 put where, as the registry has it now, another study was: looked for when stays change.

In the background and in small pieces. What P or U named, and what was moved before, is left to people; where the rules name none or
several, nothing is proposed (contract section 4).
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from plscp.errors import Conflict, StoreError
from plscp.logs import log
from plscp.matching import rules
from plscp.matching.corrections import MOVE, Destination, destination, proposal_id, proposed
from plscp.matching.model import Instant, MatchQuestion, Place
from plscp.matching.registry import Registry
from plscp.matching.step_changes import INCORRECT_WORKLIST_ENTRY
from plscp.service.corrections import Corrections, Order
from plscp.service.keeper import RegistryKeeper
from plscp.service.profile import Profile, Profiles
from plscp.service.waiting import Waiting
from plscp.statuses import STATUSES
from plscp.store.corrections import MOST_MOVED, StandingEvent
from plscp.store.port import EventStore, Filter, RegistryRecord
from plscp.templates.request import Identifiers

MOST_DUE: Final = 10_000
"""Studies that wait to be looked at; of more the first are left out."""
MOST_ENTRIES: Final = 5_000
"""Of one study, the newest: that is far more than a case has."""
PIECE_REQUESTS: Final = 10
"""Decided again while the registry is held: a device waits a millisecond at most."""
CHANGES_AT_START: Final = 1000
"""Registry changes, the newest, whose studies are looked at when a server starts: nothing of what waits is kept."""
BECAUSE: Final = "by the stays that the registry has now, the rules name another study"
_WHO: Final = "server"


class PlacedRequest(NamedTuple):
    """Entries of one request that stand under one study by their place, and the question that was decided for them."""

    study_instance_uid: str
    positions: tuple[int, ...]
    question: MatchQuestion
    calling_ae: str


class Misplaced:
    """Looks at studies whose stays may have changed, one after the other, for as long as `run` runs."""

    def __init__(self, store: EventStore, keeper: RegistryKeeper, corrections: Corrections, profiles: Profiles) -> None:
        self._store, self._keeper, self._corrections, self._profiles = store, keeper, corrections, profiles
        self._due = Waiting(MOST_DUE)
        keeper.changed.append(self.changed)

    def changed(self, _positions: Sequence[int], changes: Sequence[Mapping[str, Any]]) -> None:
        """Registry changes were applied; on any thread."""
        self._due.add(
            str(change["study_instance_uid"]) for change in changes if str(change["what"]).startswith("study.")
        )

    def load(self) -> None:
        """Have those wait that waited when the server ended, as far back as `CHANGES_AT_START`. Raises StoreError."""
        newest = self._store.read(Filter(kinds=("registry",), limit=CHANGES_AT_START, latest=True))
        self.changed((), [json.loads(event.change or "{}") for event in newest])

    async def run(self) -> None:
        """Until it is cancelled."""
        await self._due.run(self.load, self.look, _failed)

    async def look(self) -> None:
        """Look at every study that waits for it. Raises StoreError: the study goes on waiting."""
        while (study := self._due.take()) is not None:
            try:
                await self._look_at(study)
            except StoreError:
                self._due.add([study])
                raise
            except Exception:
                log.exception("internal-error", where="corrections")

    async def _look_at(self, study: str) -> None:
        found: dict[tuple[str, str], list[PlacedRequest]] = defaultdict(list)
        for uid in await asyncio.to_thread(self._neighbours, study):
            requests = await asyncio.to_thread(self._placed, uid)
            for at in range(0, len(requests), PIECE_REQUESTS):
                for request, target in await asyncio.to_thread(self._elsewhere, requests[at : at + PIECE_REQUESTS]):
                    found[request.study_instance_uid, target].append(request)
        for (_, target), placed in found.items():
            await self._propose(target, placed)

    def _neighbours(self, uid: str) -> list[str]:
        """A study, and those that were where it was while it was there, where there are any."""
        with self._keeper.lock:
            registry, tolerance = self._keeper.registry, self._keeper.policy.clock_tolerance
            study = registry.study(uid)
            if study is None:
                return []
            found = {uid: None}
            for stay in study.stays:
                until = stay.left or datetime.now(UTC)
                for visit in registry.presence.between(stay.location, stay.arrived - tolerance, until + tolerance):
                    found[visit.study_instance_uid] = None
        return [*found]

    def _placed(self, uid: str) -> list[PlacedRequest]:
        """What stands under a study by its place alone and was never moved, a request at a time."""
        by_request: dict[str, list[StandingEvent]] = defaultdict(list)
        for one in self._store.timeline(uid)[-MOST_ENTRIES:]:
            if not one.at.correction:
                by_request[one.entry.request_id].append(one)
        placed = (self._as_decided(uid, entries) for entries in by_request.values())
        return [each for each in placed if each is not None]

    def _as_decided(self, uid: str, entries: Sequence[StandingEvent]) -> PlacedRequest | None:
        """The question that was decided for a request's entries; None where it was not decided by place, or cannot be asked again."""
        values = [json.loads(one.entry.payload) for one in entries]
        match = values[0].get("match") or {}
        if match.get("rule") not in rules.BY_PLACE or any("replayed" in value for value in values):
            return None
        calling_ae = values[0]["sender"]["ae_title"]
        profile = self._profiles(calling_ae)
        places = profile.device.locations
        if values[0]["sender"]["location"] != (places[0] if len(places) == 1 else ""):
            return None  # the device stands elsewhere by now: rule 7 would look for it in the wrong room
        arrival = datetime.fromtimestamp(entries[0].arrival / 1_000_000, UTC)
        times = [moment for value in values if (moment := _time(value["occurred"], profile, arrival)) is not None]
        if len(times) < len(values):
            return None
        names = ("study_instance_uid", "patient_id", "study_id", "performed_location")
        given = Identifiers(**{name: match["given"].get(name, "") for name in names})
        seconds = values[0]["occurred"]["clock_difference_seconds"]
        difference = None if seconds is None else timedelta(seconds=seconds)
        question = MatchQuestion(given, profile.device, profile.policy, times, arrival, difference)
        positions = tuple(one.at.position for one in entries)
        return PlacedRequest(uid, positions, question, calling_ae)

    def _elsewhere(self, requests: Sequence[PlacedRequest]) -> list[tuple[PlacedRequest, str]]:
        """Those for which the rules name another study now, and which."""
        with self._keeper.lock:
            decided = [(request, _named(request, self._keeper.registry)) for request in requests]
        return [(request, uid) for request, uid in decided if uid not in {"", request.study_instance_uid}]

    async def _propose(self, target: str, placed: Sequence[PlacedRequest]) -> None:
        """Propose to move what stands wrongly, or do so where every device's policy says it."""
        by_position = {position: request for request in placed for position in request.positions}
        positions = sorted(by_position)[:MOST_MOVED]
        correction = proposal_id([positions, target])
        known = await asyncio.to_thread(self._store.proposal, correction)
        if known is not None and known.state != "proposed":
            return  # somebody has decided already
        came_from = placed[0].study_instance_uid

        def where(position: int, registry: Registry) -> Destination:
            if _was_mistaken(registry, came_from) or _named(by_position[position], registry) != target:
                raise Conflict("the registry has changed: it is looked at again")
            return destination(registry, Place(target, "", ""))

        with self._keeper.lock:
            registry = self._keeper.registry
            mistaken = _was_mistaken(registry, came_from)
            to, origin = _place(registry, target), _place(registry, came_from)
        senders = {request.calling_ae for request in placed}
        sender = senders.pop() if len(senders) == 1 else ""
        change = proposed(MOVE, to, BECAUSE, positions=positions, origins=[origin], calling_ae=sender)
        if not mistaken and all(request.question.policy.corrections == "apply" for request in placed):
            new = change if known is None else None
            order = Order(correction, positions, where, _WHO, BECAUSE, "server", new, moved_by="")
            try:
                await self._corrections.move(order)
            except Conflict:
                self._due.add([target])
        elif known is None:
            record = RegistryRecord.proposal(change, came_from, correction)
            await self._keeper.change(lambda _: [record], "server")
            log.info("correction-proposed", correction=correction, entries=len(positions))


def _failed(error: StoreError) -> None:
    log.warning("store-failed", where="corrections", why=str(error))


def _place(registry: Registry, uid: str) -> Place:
    study = registry.study(uid)
    return Place(uid, *(study.patient_id if study is not None else ("", "")))


def _was_mistaken(registry: Registry, uid: str) -> bool:
    """Whether a modality said that it had picked a study's worklist entry by mistake: whose the events are only people know."""
    return any(step.reason == INCORRECT_WORKLIST_ENTRY for step in registry.steps.of_study(uid))


def _named(request: PlacedRequest, registry: Registry) -> str:
    """The study that rules 5 to 7 name with the registry as it is; empty for none and for several."""
    decision = rules.decide(request.question, registry)
    by_place = STATUSES[decision.status].performed and decision.rule in rules.BY_PLACE
    return decision.study_instance_uid if by_place else ""


def _time(occurred: Mapping[str, Any], profile: Profile, arrival: datetime) -> Instant | None:
    """When an entry occurred, as it was read then; None where the settings of now read it otherwise."""
    earliest = datetime.fromisoformat(occurred["time"])
    latest = datetime.fromisoformat(occurred["until"]) if occurred["until"] else earliest
    if occurred["basis"] not in {"device", "server"}:
        return Instant(occurred["text"], earliest, latest, occurred["basis"])
    try:
        again = profile.instant(occurred["text"], arrival)
    except ValueError:
        return None
    return again if abs(again.earliest - earliest) < timedelta(milliseconds=1) else None
