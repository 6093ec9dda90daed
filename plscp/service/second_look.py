"""Requests in quarantine are judged again after the registry changes that concern them (contract section 3, Turnover).

It happens in the background, a few milliseconds at a time: devices wait for none of it. Each item waits at most once, however
many changes come meanwhile, and is judged on the registry as it is when its turn comes. Nothing of that is kept: what waited when the
server ended is found again at start, since it was refused on an older registry than that of now.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from threading import Lock
from typing import Any, Final

from plscp.errors import StoreError
from plscp.logs import log
from plscp.matching.corrections import REPLAY, proposal_id, proposed
from plscp.matching.model import Decision, Place
from plscp.matching.registry import Registry, moment_of
from plscp.matching.second_look import MOST_ITEMS, STATUSES_LOOKED_AT, OpenItem, OpenItems, why_ask
from plscp.metrics import Metrics
from plscp.service.keeper import RegistryKeeper, utc_now
from plscp.service.profile import Profiles
from plscp.service.replay import Replay, ReplayOutcome
from plscp.service.steps import Pending
from plscp.service.waiting import Waiting
from plscp.statuses import STATUSES
from plscp.store.port import EventStore, RegistryRecord

PIECE_SECONDS: Final = 0.004
"""Of judging before devices have their turn."""
PAUSE_SECONDS: Final = 0.02
"""Which they then have, whether they need it or not: a flood of items takes a sixth of the time."""
SERVER: Final = "server"


class SecondLook:
    """Watches the registry for changes that help requests in quarantine.

    Items whose request names its study or patient are replayed, where nothing speaks against it (`why_ask`); of the others that would
    be accepted by now a replay is proposed. `[matching] replay` turns that off, for a device or for all.
    """

    def __init__(
        self,
        store: EventStore,
        keeper: RegistryKeeper,
        profiles: Profiles,
        replay: Replay,
        metrics: Metrics,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store, self._keeper, self._profiles = store, keeper, profiles
        self._replay, self._metrics, self._clock = replay, metrics, clock
        self._lock = Lock()
        self._items = OpenItems(lambda calling_ae: profiles(calling_ae).device.locations)
        self._waiting = Waiting()
        keeper.changed.append(self.changed)

    # --- what waits ----------------------------------------------------------------------------------------------------

    def quarantined(self, pending: Pending) -> None:
        """A request was refused by matching and is in quarantine; from any thread."""
        decision = pending.decision
        if decision is None or decision.status not in STATUSES_LOOKED_AT:
            return
        item = OpenItem(
            pending.quarantine_id,
            pending.calling_ae,
            decision.status,
            pending.arrival,
            self._given(pending.calling_ae, decision.given),
            tuple(candidate.what for candidate in decision.candidates),
            decision.registry_position,
        )
        with self._lock:
            before = self._items.get(item.id)
            if before is not None:  # a repeat: it is judged as what came first
                item = item._replace(arrived=min(before.arrived, item.arrived))
            self._items.add(item)
        self._look_if_moved([item])

    def _given(self, calling_ae: str, given: Mapping[str, str]) -> dict[str, str]:
        is_placeholder = self._profiles(calling_ae).policy.is_placeholder
        return {name: value for name, value in given.items() if name != "patient_id" or not is_placeholder(value)}

    def load(self) -> None:
        """Take what is open from the store: what was refused on an older registry than that of now waits. Raises StoreError."""
        items = []
        for refusal in reversed(self._store.open_refusals(MOST_ITEMS)):
            match, status = refusal.data.get("match"), int(str(refusal.data.get("status") or "0"), 16)
            if match and status in STATUSES_LOOKED_AT:
                items.append(
                    OpenItem(
                        refusal.id,
                        refusal.calling_ae,
                        status,
                        moment_of(refusal.first_time),
                        self._given(refusal.calling_ae, match["given"]),
                        tuple(candidate["what"] for candidate in match["candidates"]),
                        match["registry_position"],
                    )
                )
        with self._lock:
            for item in items:
                if self._items.get(item.id) is None:  # else it was refused again meanwhile
                    self._items.add(item)
        self._look_if_moved(items)

    def _look_if_moved(self, items: Sequence[OpenItem]) -> None:
        """Have items wait that were refused on an older registry: who told of its changes did not know of them."""
        position = self._keeper.registry.position
        self._waiting.add(item.id for item in items if item.registry_position < position)

    def changed(self, _positions: Sequence[int], changes: Sequence[Mapping[str, Any]]) -> None:
        """Registry changes were applied; from any thread."""
        if not len(self._items):
            return
        with self._keeper.lock:
            registry, policy = self._keeper.registry, self._keeper.policy
            reach = policy.place_match_max_age + policy.close_grace
            with self._lock:
                ids = [item_id for change in changes for item_id in self._items.concerned(change, registry, reach)]
        self._waiting.add(ids)

    # --- looking ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look at what waits, until cancelled."""
        await self._waiting.run(self.load, self._look_at_all, self._failed)

    def _failed(self, error: StoreError) -> None:
        log.warning("second-look-failed", error=str(error), waiting=len(self._waiting))

    async def _look_at_all(self) -> None:
        """Judge what waits, a piece at a time; what the store does not take goes on waiting. Raises StoreError."""
        began = time.monotonic()
        while (item_id := self._waiting.take()) is not None:
            self._metrics.second_looks.set(len(self._waiting))
            with self._lock:
                item = self._items.get(item_id)
            if item is None:
                continue
            try:
                await self._look_at(item)
            except StoreError:
                self._waiting.add([item_id])
                raise
            except Exception:  # a defect with one item must not keep the others from their turn
                log.exception("internal-error", where="second look", quarantine=item_id)
            if time.monotonic() - began > PIECE_SECONDS:
                await asyncio.sleep(PAUSE_SECONDS)
                began = time.monotonic()

    async def _look_at(self, item: OpenItem) -> None:
        mode = self._profiles(item.calling_ae).policy.replay
        if mode == "off":
            return
        why = ""

        def keep(pending: Pending, decision: Decision, registry: Registry) -> bool:
            nonlocal why
            if pending.content is None or not STATUSES[decision.status].performed:
                return False
            why = why_ask(pending.content.question, decision, registry, item, self._clock())
            return mode == "automatic" and not why

        outcome = await self._replay.replay(item.id, source=SERVER, keep=keep)
        if outcome is None or outcome.outcome in {"closed", "gone"} or outcome.kept:
            with self._lock:
                self._items.remove(item.id)
        elif outcome.outcome == "failed":
            error = self._store.refusing()
            raise error if error is not None else StoreError("a replay was not taken")
        elif outcome.performed:
            await self._propose(item, outcome, why or "the settings ask for it")

    async def _propose(self, item: OpenItem, outcome: ReplayOutcome, why: str) -> None:
        """Ask people, once for each place that an item would go to."""
        place = Place(outcome.study_instance_uid, outcome.patient_id, outcome.issuer)
        correction = proposal_id([item.id, place.as_json()])
        if await asyncio.to_thread(self._store.proposal, correction) is not None:
            return
        change = proposed(REPLAY, place, why, calling_ae=item.calling_ae, quarantine=item.id) | {"rule": outcome.rule}
        record = RegistryRecord.proposal(change, place.key, correction)
        await self._keeper.change(lambda _registry: [record], SERVER)
        self._metrics.replays_proposed.child().add()
        log.info("replay-proposed", quarantine=item.id, correction=correction, calling_ae=item.calling_ae, why=why)
