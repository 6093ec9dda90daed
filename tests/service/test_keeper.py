"""What the keeper does by itself: rooms turned over on a store that fails for a while, memory that does not grow."""

from collections.abc import Iterator
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
