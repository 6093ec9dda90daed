"""What the keeper does by itself: rooms turned over on a store that fails for a while, memory that does not grow."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from plscp.errors import StoreUnavailable
from plscp.matching import changes
from plscp.matching.model import Policy
from plscp.matching.registry import Locations, Registry, microseconds
from plscp.service.keeper import RegistryKeeper
from plscp.store.port import Draft, Failed, RegistryDraft
from tests.matching.world import LABS, at
from tests.serving import until
from tests.temporary import TemporaryStore

POLICY = Policy(patient_id_issuer="HOSP")


class Failing(TemporaryStore):
    """The store, with a switch: registry changes fail."""

    failing = False
    tried = 0

    def submit(self, draft: Draft) -> None:
        """As the store's, unless it fails."""
        if self.failing and isinstance(draft, RegistryDraft):
            self.tried += 1
            draft.done(Failed(StoreUnavailable("the disk is away")))
        else:
            super().submit(draft)


class Kept:
    """A keeper under a clock that the test sets; PA is in LAB1 from 9:00, PB from 9:30."""

    def __init__(self) -> None:
        self.now: datetime = at("09:00")
        self.store = Failing()
        registry = Registry(Locations(LABS))
        self.keeper = RegistryKeeper(self.store, registry, policy=POLICY, clock=lambda: self.now)
        self.study("1.1", "PA")
        self.now = at("09:30")
        self.study("1.2", "PB")

    def study(self, uid: str, patient: str, **said: Any) -> None:
        """Put a study and wait."""
        body = {"study_instance_uid": uid, "patient": {"id": patient}, "location": "LAB1", "status": "open", **said}
        done: list[object] = []
        self.keeper.begin(lambda registry: changes.put_study(registry, body, POLICY, self.now), "http", done.append)
        until(lambda: done, "the change")
        assert isinstance(done[0], list)

    def named(self, uid: str, clock: str) -> None:
        """As the handlers say it after an accepted request."""
        with self.keeper.lock:
            self.keeper.registry.sign_of_life(uid, "LAB1", microseconds(at(clock)), by_request=True)
        self.keeper.turn_over_after(uid, "LAB1", microseconds(at(clock)))
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is on its way."""
        until(lambda: not self.keeper.turning_over, "the turnover")

    def ended(self) -> str:
        """When the stay of PA ended, or nothing."""
        study = self.keeper.registry.study("1.1")
        assert study is not None
        left = study.stays[-1].left
        return f"{left:%H:%M}" if left else ""


@pytest.fixture
def kept() -> Iterator[Kept]:
    """A keeper, and the end of its store."""
    kept = Kept()
    yield kept
    kept.store.close()


def test_a_turnover_that_the_store_does_not_keep_is_said_once_and_tried_again(kept: Kept) -> None:
    """By the timer, until the store answers; what came late is not forgotten meanwhile."""
    kept.store.failing = True
    with capture_logs() as lines:
        kept.named("1.2", "09:40")
        for clock in ("09:50", "09:51", "09:52"):
            kept.now = at(clock)
            kept.keeper.turn_over_rooms()
    assert [line["event"] for line in lines] == ["store-failed"]
    assert (kept.store.tried, kept.ended()) == (4, "")
    kept.store.failing = False
    kept.keeper.turn_over_rooms()
    kept.settle()
    assert kept.ended() == "09:30"
    kept.store.failing = True
    kept.named("1.1", "09:35")
    assert kept.ended() == "09:30"
    kept.store.failing = False
    kept.keeper.turn_over_rooms()
    kept.settle()
    assert kept.ended() == "09:35"
    kept.store.tried = 0
    kept.keeper.turn_over_rooms()
    assert not kept.keeper.turning_over


def test_signs_of_life_that_can_no_longer_matter_are_dropped_every_hour(kept: Kept) -> None:
    """Of a study quiet for so long only the latest stays."""
    kept.named("1.1", "09:31")
    registry = kept.keeper.registry
    assert registry.active("1.1", "LAB1", at("09:00"), at("09:10"))
    kept.now += timedelta(hours=1, minutes=1)
    kept.keeper.turn_over_rooms()
    assert registry.active("1.1", "LAB1", at("09:00"), at("09:10"))
    kept.now += timedelta(hours=20)
    kept.keeper.turn_over_rooms()
    assert not registry.active("1.1", "LAB1", at("09:00"), at("09:10"))
    assert registry.last_sign_of_life("1.1", "LAB1") == microseconds(at("09:31"))


def test_a_defect_of_a_planner_reaches_who_asked_for_the_change(kept: Kept) -> None:
    """Through the same door as a conflict."""
    outcome: list[object] = []
    error = RuntimeError("a defect")

    def plan(registry: Registry) -> list[Any]:
        raise error

    kept.keeper.begin(plan, "http", outcome.append)
    assert outcome == [error]


class Listener:
    """Keeps what it is told: position and kind of each change, and what the registry's position was then."""

    def __init__(self, keeper: RegistryKeeper) -> None:
        self.keeper = keeper
        self.told: list[tuple[int, str]] = []
        self.found: list[int] = []

    def __call__(self, positions: Sequence[int], said: Sequence[Mapping[str, Any]]) -> None:
        """One of `RegistryKeeper.changed`."""
        self.told += [(position, change["what"]) for position, change in zip(positions, said, strict=True)]
        free = threading.Thread(target=self._look)
        free.start()
        free.join(60)
        assert not free.is_alive(), "told while the lock is held"

    def _look(self) -> None:
        with self.keeper.lock:
            self.found.append(self.keeper.registry.position)


def test_who_asked_is_told_of_each_change_once_it_is_applied(kept: Kept) -> None:
    """In order, none twice, outside the lock, and before who asked for the change; not of what was there at start."""
    first, second = Listener(kept.keeper), Listener(kept.keeper)
    another = RegistryKeeper(kept.store, Registry(), policy=POLICY)
    another.changed.append(first)
    assert another.load() == (4, 0)
    assert not first.told
    kept.keeper.changed += [first, second]
    kept.study("1.3", "PC")  # `study` waits for the answer, and the next line for nothing
    told = [(5, "patient.changed"), (6, "study.opened")]
    assert (first.told, second.told, first.found) == (told, told, [6])
    kept.keeper.catch_up()
    kept.study("1.3", "PC", study_id="S3")
    assert first.told == second.told == [*told, (7, "study.updated")]


def commit_elsewhere(kept: Kept) -> None:
    """A change by another server on the store, at position 5."""
    record = changes.put_patient(kept.keeper.registry, {"id": "PC"}, POLICY, kept.now)[0]
    done: list[object] = []
    kept.store.submit(RegistryDraft([record], kept.keeper.registry.position, 1, "http", done.append))
    until(lambda: done, "the change")


def test_a_change_that_follows_from_another_is_told_after_it(kept: Kept) -> None:
    """To everyone, also when it is applied while the first is being told, on another thread."""
    last = Listener(kept.keeper)

    def follow(positions: Sequence[int], _said: Sequence[Mapping[str, Any]]) -> None:
        if positions == [5]:
            kept.study("1.3", "PC")

    kept.keeper.changed += [follow, last]
    commit_elsewhere(kept)
    kept.keeper.catch_up()
    assert last.told == [(5, "patient.changed"), (6, "study.opened")]


def test_a_defect_of_who_is_told_keeps_nobody_from_their_answer(kept: Kept) -> None:
    """It is logged, and the others are told."""
    other = Listener(kept.keeper)

    def broken(_positions: Sequence[int], _said: Sequence[Mapping[str, Any]]) -> None:
        raise RuntimeError("a defect")

    kept.keeper.changed += [broken, other]
    with capture_logs() as lines:
        kept.study("1.3", "PC")
    assert [(line["event"], line["where"]) for line in lines] == [("internal-error", "registry changes")]
    assert [what for _, what in other.told] == ["patient.changed", "study.opened"]


def test_changes_that_are_found_while_other_settings_are_taken_are_told_as_well(kept: Kept) -> None:
    """What another server on the store committed meanwhile is applied with the exchange."""
    listener = Listener(kept.keeper)
    kept.keeper.changed.append(listener)
    commit_elsewhere(kept)
    kept.keeper.use_settings(Locations({"LAB1": []}), kept.keeper.registry.issuers, POLICY, hold=lambda: None)
    assert listener.told == [(5, "patient.changed")]
    assert kept.keeper.registry.position == 5
