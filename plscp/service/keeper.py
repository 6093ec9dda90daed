"""The registry as this server knows it: one projection of the store, caught up whenever the store says it is behind."""

import asyncio
import gc
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future as ThreadFuture
from concurrent.futures import InvalidStateError
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event, Lock, RLock
from typing import Any, Final, TypeVar

from plscp.errors import PlscpError, StoreError, StoreUnavailable
from plscp.logs import log
from plscp.matching import changes, turnover
from plscp.matching.model import Policy
from plscp.matching.registry import Issuers, Locations, Registry, microseconds
from plscp.service.snapshot import RegistrySnapshot
from plscp.store.port import EventStore, Failed, RegistryDraft, RegistryRecord, Result, Stored

Told = TypeVar("Told")
Planner = Callable[[Registry], Sequence[RegistryRecord]]
Outcome = list[int] | Exception
Changed = Callable[[Sequence[int], Sequence[Mapping[str, Any]]], None]
"""Takes the positions of registry changes that were applied, rising, and the changes, as many."""
MOST_TRIES: Final = 50
SAVE_AFTER_CHANGES: Final = 20_000
"""Registry changes since the last snapshot after which one is written: applied at a start they take half a second."""
_CHANGES_AT_ONCE: Final = 1000
_BREATH_SECONDS: Final = 0.001
"""For which who makes a registry from the log beside a server lets others run, each `_BETWEEN_BREATHS` changes."""
_BETWEEN_BREATHS: Final = 50
_HOUR: Final = timedelta(hours=1)


def now_us() -> int:
    """Microseconds since the epoch, UTC."""
    return time.time_ns() // 1000


def utc_now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


def tell(waiting: ThreadFuture[Told], outcome: Told | Exception) -> None:
    """Say what became of something to who may still wait for it; from any thread."""
    with suppress(InvalidStateError):
        if isinstance(outcome, Exception):
            waiting.set_exception(outcome)
        else:
            waiting.set_result(outcome)


class RegistryKeeper:
    """Holds the registry, applies what the store has and plans changes on it.

    Decisions and changes carry the position of the registry that they were made on; the store refuses them as stale when it
    knows of a later change, and then this one reads what it missed. So the same few lines serve one server or several.

    Args:
        snapshot: the file of the registry's snapshot; None: there is none.

    Attributes:
        registry: read it only under `lock`, or on the one thread that uses it; another may take its place.
        policy: `[matching]`, for what the server does by itself: the turnover of rooms.
        turning_over: whether such a change is on its way.
        changed: told of all changes once they are applied: in their order, none twice, on any thread, outside the lock, and
            before who asked for the change has its answer; so they leave their work to others. What the store had at start
            (`load`) is told to nobody.
    """

    def __init__(
        self,
        store: EventStore,
        registry: Registry,
        *,
        policy: Policy | None = None,
        clock: Callable[[], datetime] = utc_now,
        snapshot: Path | None = None,
    ) -> None:
        self._store = store
        self._snapshot = None if snapshot is None else RegistrySnapshot(snapshot, store)
        self._unsaved = 0  # changes applied since the last try to write one
        self._saved_position = 0
        self._saving = Lock()
        self._hurry = Event()
        self._looking_back = Lock()
        self.registry = registry
        self.policy = policy or Policy()
        self._clock = clock
        self.lock = RLock()
        self.turning_over = False
        self._turn_over_again = False
        self._failing = False
        self._late: dict[tuple[str, str], None] = {}  # (study, place) of signs of life that came after a turnover
        self._signs_meanwhile: list[tuple[str, str, int, int]] | None = None
        self._pruned = clock()
        self.changed: list[Changed] = []
        self._untold: deque[tuple[list[int], list[Mapping[str, Any]]]] = deque()
        self._telling = Lock()
        registry.entered = self._store.has_entries

    # --- start, and earlier positions ---

    def load(self) -> tuple[int, int]:
        """At start: take what the store has. Raises StoreError.

        Returns:
            The registry's position, and that of the snapshot it was made from, or 0.
        """
        # While millions of objects are made that all stay, looking through them for garbage takes half of the time.
        collecting = gc.isenabled()
        gc.disable()
        try:
            with self.lock:
                if (
                    not self.registry.position
                    and (found := self._from_snapshot(self.registry, self.policy)) is not None
                ):
                    self.registry, self._saved_position = found, found.position
                self._apply_changes(self.registry)
                self._load_signs(self.registry, self.policy)
                self._find_late()
                return self.registry.position, self._saved_position
        finally:
            if collecting:
                gc.enable()

    def _from_snapshot(self, like: Registry, policy: Policy, upto: int | None = None) -> Registry | None:
        """A registry out of the snapshot, if it fits, with the settings of another one."""
        found = self._empty(like.locations, like.issuers)
        fits = self._snapshot is not None and self._snapshot.read(found, _made_with(found, policy), upto)
        return found if fits else None

    def _empty(self, locations: Locations, issuers: Issuers) -> Registry:
        registry = Registry(locations, issuers)
        registry.entered = self._store.has_entries
        return registry

    def as_of(self, position: int) -> Registry:
        """The registry as it was when that was the store's last position, by the names that `[locations]` gives now.

        Without signs of life by requests. It costs what a start does: call it in a thread, beside which others have their turn.
        Raises StoreError.
        """
        with self.lock:
            like, policy = self.registry, self.policy
        with self._looking_back:  # one at a time: each holds a registry
            registry = self._from_snapshot(like, policy, position) or self._empty(like.locations, like.issuers)
            self._apply_changes(registry, upto=position)
            return registry

    # --- the snapshot ---

    @property
    def due_to_save(self) -> bool:
        """Whether so much has changed that a snapshot is to be written."""
        return self._snapshot is not None and self._unsaved >= SAVE_AFTER_CHANGES and not self._saving.locked()

    def save(self, *, hurry: bool = False) -> None:
        """Write a snapshot of the registry as it is now, if it is another than the last; never on the event loop.

        Meanwhile decisions and changes go on, on a view that is laid over what is written. That it could not be written is logged:
        the next start takes longer, that is all. `hurry`: the server ends, and nobody else needs the processor.
        """
        if self._snapshot is None:
            return
        if hurry:
            self._hurry.set()
        with self._saving:
            try:
                if not self._save(self._snapshot):
                    log.warning("registry-snapshot-failed", why="the disk is nearly full")
            except (OSError, StoreError) as error:
                log.warning("registry-snapshot-failed", why=str(error))

    def _save(self, snapshot: RegistrySnapshot) -> bool:
        with self.lock:
            written, policy, position = self.registry, self.policy, self.registry.position
            if position == self._saved_position:
                return True
            self._unsaved = 0
            self.registry = going_on = written.fork()
        try:
            whole = snapshot.write(written, _made_with(written, policy), self._hurry.wait)
        finally:
            with self.lock:
                same = self.registry is going_on  # else other settings made another registry meanwhile
                if same:
                    written.become(going_on)
                    self.registry = written
        if whole and same:
            self._saved_position = position
        return whole

    # --- what the store has ---

    def catch_up(self) -> int:
        """Apply every registry change that the store has and the registry has not; returns the registry's position.

        Raises StoreError.
        """
        with self.lock:
            position = self._apply_changes(self.registry, tell=True)
        self._tell()
        return position

    def _apply_changes(self, registry: Registry, *, tell: bool = False, upto: int | None = None) -> int:
        """Apply what the store has; `upto` a position, and so that others run meanwhile. Returns the registry's position."""
        read = registry.position
        while changes := list(self._store.changes(read, _CHANGES_AT_ONCE)):
            read = changes[-1][0]
            for count, (position, moment, change) in enumerate(changes):
                if upto is not None and position > upto:
                    return registry.position
                if upto is not None and count % _BETWEEN_BREATHS == 0:
                    time.sleep(_BREATH_SECONDS)
                registry.apply(position, moment, change)
            if registry is self.registry:
                self._unsaved += len(changes)
            if tell and self.changed:
                self._untold.append(([position for position, _, _ in changes], [change for _, _, change in changes]))
        return registry.position

    def _tell(self) -> None:
        """Tell `changed` what is applied; where another thread, or a call further up, is at it, it tells this too."""
        while self._untold and self._telling.acquire(blocking=False):
            try:
                while self._untold:
                    told = self._untold.popleft()
                    for changed in tuple(self.changed):
                        try:
                            changed(*told)
                        except Exception:  # a defect of one must not keep the others, or the change, from their answer
                            log.exception("internal-error", where="registry changes")
            finally:
                self._telling.release()

    def _load_signs(self, registry: Registry, policy: Policy) -> None:
        """Since twice `place_match_max_age` ago; where several studies are, since the second of them came."""
        since = self._clock() - _memory(policy)
        for place in registry.presence.occupied(2):
            here = [study for uid in registry.presence.now(place) if (study := registry.study(uid)) is not None]
            since = min(since, sorted(study.stays[-1].arrived for study in here)[1])
        for uid, place, moment, arrival in self._store.activity(microseconds(since)):
            # Whether the device's clock was known then is not kept: one that came late may have been punctual.
            late = timedelta(microseconds=arrival - moment) > policy.clock_tolerance
            registry.sign_of_life(uid, place, moment, by_request=True, perhaps_us=arrival if late else 0)

    def _find_late(self) -> None:
        """What came between a turnover and the end of the server is looked at again."""
        for closed in self.registry.studies(status="closed"):
            for stay in closed.stays[-1:]:
                if turnover.lived_on(self.registry, closed.study_instance_uid, stay.location):
                    self._late[closed.study_instance_uid, stay.location] = None

    def use_settings(self, locations: Locations, issuers: Issuers, policy: Policy, hold: Callable[[], None]) -> None:
        """Go on with other settings, from one moment on; from any thread but the event loop's.

        What the registry holds depends on `locations`: studies are found by the lab that the name in the change stands for. So
        with others it is made anew from the store, while the one before goes on answering, and the two are exchanged.
        `hold` is called at that moment, under `lock`: what else changes with them. Raises StoreError: nothing has changed.
        """
        with self.lock:
            before = self.policy
            signs = (before.place_match_max_age, before.clock_tolerance)
            if locations == self.registry.locations and signs == (policy.place_match_max_age, policy.clock_tolerance):
                self.registry.spell_by(issuers)
                self.policy = policy
                hold()
                return
            self._signs_meanwhile = []
        registry = self._empty(locations, issuers)
        try:
            self._apply_changes(registry)
            self._load_signs(registry, policy)
            with self.lock:
                # What was committed meanwhile; both know the same.
                while registry.position != self._apply_changes(self.registry, tell=True):
                    self._apply_changes(registry)
                for study, place, time_us, perhaps_us in self._signs_meanwhile:
                    registry.sign_of_life(study, place, time_us, by_request=True, perhaps_us=perhaps_us)
                registry.life.expect_as(self.registry.life, registry.place)
                self._late = {(study, registry.place(place)): None for study, place in self._late}
                self.registry, self.policy = registry, policy
                self._unsaved, self._saved_position = SAVE_AFTER_CHANGES, 0  # the snapshot is of other settings
                self._find_late()
                hold()
        finally:
            self._signs_meanwhile = None
            self._tell()

    # --- changes -----------------------------------------------------------------------------------------------------

    async def change(self, planner: Planner, source: str, message: str = "") -> list[int]:
        """Make a registry change durable and known here.

        The planner is called again whenever the registry has moved on meanwhile; what it raises is raised, or StoreError.

        Returns:
            The position of the last event appended, in a list; empty where there is nothing to change.
        """
        result: ThreadFuture[list[int]] = ThreadFuture()
        self.begin(planner, source, partial(tell, result), message)
        return await asyncio.wrap_future(result)

    def begin(
        self,
        planner: Planner,
        source: str,
        done: Callable[[Outcome], None],
        message: str = "",
        tries: int = MOST_TRIES,
    ) -> None:
        """As `change`, without waiting: `done` is called with what `change` returns or raises, on any thread, perhaps at once."""

        def answered(result: Result) -> None:
            if isinstance(result, Failed):
                done(result.error)
                return
            try:
                self.catch_up()
            except Exception as error:
                done(error)
                return
            if isinstance(result, Stored):
                done([result.position])
            elif tries > 1:
                self.begin(planner, source, done, message, tries - 1)
            else:
                done(StoreUnavailable("the registry keeps changing: try again"))

        # Planned and handed over in one piece: no decision is made, and no sign of life announced, between the two.
        with self.lock:
            try:
                records = planner(self.registry)
            except Exception as error:
                done(error)
                return
            if records:
                now = microseconds(self._clock())
                self._store.submit(RegistryDraft(records, self.registry.position, now, source, answered, message))
                return
        done([])

    # --- signs of life and turnover ------------------------------------------------------------------------------------

    def note_sign_of_life(self, study: str, place: str, time_us: int, *, perhaps_us: int) -> None:
        """An accepted request was a sign of life; see `Registry.sign_of_life`. Call it under `lock`."""
        self.registry.sign_of_life(study, place, time_us, by_request=True, perhaps_us=perhaps_us)
        if self._signs_meanwhile is not None:  # a registry is being made that may not find it in the store any more
            self._signs_meanwhile.append((study, place, time_us, perhaps_us))

    def turn_over_after(self, study: str, place: str, time_us: int) -> None:
        """What follows for a room from a sign of life that was noted is planned, and not waited for."""
        with self.lock:
            registry = self.registry
            place = registry.place(place)
            known = registry.study(study)
            if known is None:
                return
            if known.closed is None:
                # Nearly always nobody else is there.
                if len(registry.presence.now(place)) < 2 or not self._is_due(place):
                    return
            elif time_us <= microseconds(known.closed) and turnover.lived_on(registry, study, place):
                self._late[study, place] = None
            else:
                return
        self._turn_over()

    def turn_over_rooms(self) -> None:
        """What the time alone brings: rooms whose turnover is due. Call it every second or so."""
        now = self._clock()
        with self.lock:
            if now - self._pruned > _HOUR:
                self._pruned = now
                self.registry.life.prune(microseconds(now - _memory(self.policy)))
            if not self._late and not any(map(self._is_due, self.registry.presence.occupied(2))):
                return
        self._turn_over()

    def _is_due(self, place: str) -> bool:
        return bool(turnover.due(self.registry, place, self.policy, self._clock()))

    def _turn_over(self) -> None:
        """Have done what is due: one change at a time, and once more for what came meanwhile."""
        with self.lock:
            if self.turning_over:
                self._turn_over_again = True
                return
            self.turning_over = True
        self._turn_over_once()

    def _turn_over_once(self) -> None:
        late: dict[tuple[str, str], None] = {}

        def plan(registry: Registry) -> list[RegistryRecord]:
            late.update(self._late)
            self._late.clear()
            return changes.turn_over(registry, late, self.policy, self._clock())

        def done(outcome: Outcome) -> None:
            failed = isinstance(outcome, Exception)
            with self.lock:
                if failed:
                    self._late.update(late)
                again = self.turning_over = self._turn_over_again and not failed
                self._turn_over_again = False
            if isinstance(outcome, PlscpError):
                if not self._failing:
                    log.warning("store-failed", error=str(outcome))  # the timer goes on trying
                self._failing = True
            elif isinstance(outcome, Exception):
                log.error("internal-error", where="turnover", exc_info=outcome)
            else:
                self._failing = False
                if outcome:
                    log.info("registry-changed", source="server", position=outcome[-1])
            if again:
                self._turn_over_once()

        self.begin(plan, "server", done)


def _memory(policy: Policy) -> timedelta:
    """An entry may be one `place_match_max_age` old, and the sign of life before it another one."""
    return 2 * policy.place_match_max_age + 2 * policy.clock_tolerance + _HOUR


def _made_with(registry: Registry, policy: Policy) -> dict[str, Any]:
    """What of the settings is in what a registry holds: the names of labs, and how long signs of life are kept and matter."""
    signs = (policy.place_match_max_age, policy.clock_tolerance)
    return {"locations": dict(registry.locations), "signs of life": tuple(each.total_seconds() for each in signs)}
