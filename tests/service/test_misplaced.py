"""Entries matched by place that the rules, by the stays known now, put elsewhere: proposed, or moved where the policy says so."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plscp.errors import StoreError, StoreFull, StoreUnavailable
from plscp.matching import changes, step_changes
from plscp.matching.bodies import parse
from plscp.matching.corrections import CorrectionBody, SettleBody
from plscp.matching.model import Device
from plscp.matching.step_changes import INCORRECT_WORKLIST_ENTRY, StepBegun, StepSaid, StepStudy
from plscp.service import waiting
from plscp.service.corrections import Order
from plscp.service.misplaced import BECAUSE, Misplaced
from plscp.service.profile import Profile
from plscp.store.corrections import CORRECTION
from tests import events
from tests.serving import until
from tests.system.rows.rig import POLICY, Rig, at

A, B = "1.2.826.1", "1.2.826.2"


class Lab:
    """A rig whose server looks for what stands wrongly, when the test says so."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.misplaced = Misplaced(rig.store, rig.keeper, rig.corrections, rig.profile)

    def look(self) -> None:
        """What runs in the background."""
        self.rig.run(self.misplaced.look())

    def put(self, uid: str, patient: str = "", **more: Any) -> None:
        """A study, as an operator who knows better says."""
        self.rig.study(uid, patient, **more)

    def at(self, uid: str) -> list[int]:
        """Positions of the entries that stand under a study."""
        return [one.at.position for one in self.rig.store.timeline(uid)]

    def log(self, *clocks: str, **given: Any) -> str:
        """Entries of the device in LAB1, at their time; by place, unless something is given."""
        entries = [events.note(at(clock), f"at {clock}") for clock in clocks]
        return str(self.rig.send(events.procedural(entries, **given), calling="HEMO1", when=clocks[-1]))

    def b_was_there(self) -> None:
        """It becomes known that A was over at 10:00 and B there from then on."""
        self.put(A, status="closed", closed="2024-05-14T10:00:00Z")
        self.put(B, "PB", location="LAB1", opened="2024-05-14T10:00:00Z")


@pytest.fixture(params=["propose", "apply"])
def policy(request: pytest.FixtureRequest) -> Any:
    """Both settings."""
    return request.param


@pytest.fixture
def lab(tmp_path: Path, policy: Any) -> Iterator[Lab]:
    """LAB1 with one device and, from 08:00 on, study A of PA."""
    made = replace(POLICY, corrections=policy)
    with Rig(tmp_path, Profile(Device("HEMO1", ("LAB1",)), made), policy=made) as rig:
        lab = Lab(rig)
        lab.put(A, "PA", location="LAB1")
        lab.look()
        yield lab


def test_what_the_stays_of_now_put_elsewhere_is_moved_or_proposed(lab: Lab, policy: str) -> None:
    """Once; what lies in A's own time stays, and so does what a request of A's patient named."""
    assert lab.log("09:30") == f"0000 {A} PA"
    assert lab.log("10:10", "10:11") == f"0000 {A} PA"
    assert lab.log("10:12", patient="PA") == f"0000 {A} PA"
    before, one, two, named = lab.at(A)
    lab.look()
    assert lab.rig.store.proposals() == []
    lab.put(A, status="closed", closed="2024-05-14T10:00:00Z")
    lab.look()
    assert lab.rig.store.proposals() == []  # nobody else was there: nobody knows
    lab.b_was_there()
    for _ in range(3):
        lab.look()
        lab.b_was_there()
    [found] = lab.rig.store.proposals()
    assert (found.change["positions"], found.change["to"]["study_instance_uid"]) == ([one, two], B)
    assert (found.source, found.change["because"], found.change["calling_ae"]) == ("server", BECAUSE, "HEMO1")
    if policy == "propose":
        assert (found.state, lab.at(B)) == ("proposed", [])
        lab.rig.run(lab.rig.corrections.confirm(found, parse(SettleBody, {}), "me"))
    else:
        assert (found.state, found.who) == ("confirmed", "server")
    assert (lab.at(A), lab.at(B)) == ([before, named], [one, two])


@pytest.mark.parametrize("policy", ["apply"], indirect=True)
def test_what_people_moved_is_not_moved_by_itself(lab: Lab) -> None:
    """Nor what they moved back, or said no to."""
    lab.log("10:10")
    [one] = lab.at(A)
    lab.b_was_there()
    lab.look()
    assert lab.at(B) == [one]
    [found] = lab.rig.store.proposals()
    lab.rig.run(lab.rig.corrections.revert(found, parse(SettleBody, {"why": "no"}), "me"))
    assert lab.at(A) == [one]
    lab.misplaced.changed((), [{"what": "study.updated", "study_instance_uid": uid} for uid in (A, B)])
    lab.look()
    assert (lab.at(A), lab.at(B)) == ([one], [])


@pytest.mark.parametrize("policy", ["apply"], indirect=True)
def test_what_came_by_a_worklist_entry_picked_by_mistake_is_proposed_only(lab: Lab) -> None:
    """Somebody lay there: perhaps who is said to have been there, perhaps one whom nobody has named."""
    rig = lab.rig
    studies = (StepStudy(B),)
    begun = StepBegun("1.9", False, studies, "PB", "HOSP", "XA1", "XA1", "LAB1", at("09:00"))
    rig.clock("09:00")
    lab.put(A, status="closed", closed="2024-05-14T08:50:00Z")
    rig.change(lambda registry: step_changes.begin_step(registry, begun, rig.policy, rig.now))
    assert lab.log("09:30") == f"0000 {B} PB"
    [one] = lab.at(B)
    rig.clock("09:45")
    said = StepSaid("1.9", "DISCONTINUED", at("09:40"), INCORRECT_WORKLIST_ENTRY)
    rig.change(lambda registry: step_changes.set_step(registry, said, rig.policy, rig.now))
    lab.put("1.2.826.3", "PC", location="LAB1", opened="2024-05-14T09:10:00Z")
    lab.look()
    found = {str(each.change["because"]): each for each in rig.store.proposals()}
    assert found[BECAUSE].state == "proposed"
    assert found[BECAUSE].change["to"]["study_instance_uid"] == "1.2.826.3"
    assert lab.at(B) == [one]


@pytest.mark.parametrize("policy", ["apply"], indirect=True)
def test_a_mistake_that_is_said_while_entries_are_moved_is_heard(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The modality says so after the look and before the move."""
    rig = lab.rig
    begun = StepBegun("1.9", False, (StepStudy(A),), "PA", "HOSP", "XA1", "XA1", "", at("08:30"))
    said = StepSaid("1.9", "DISCONTINUED", at("08:31"), INCORRECT_WORKLIST_ENTRY)
    rig.clock("08:31")
    rig.change(lambda registry: step_changes.begin_step(registry, begun, rig.policy, rig.now))
    rig.change(lambda registry: step_changes.end_step(registry, "1.9", rig.policy, rig.now))
    lab.put(A, status="open", location="LAB1")
    assert lab.log("10:05") == f"0000 {A} PA"
    [one] = lab.at(A)
    rig.clock("10:20")
    lab.b_was_there()
    move = rig.corrections.move

    async def interrupted(order: Order) -> Any:
        await rig.keeper.change(lambda registry: step_changes.set_step(registry, said, rig.policy, rig.now), "mpps")
        return await move(order)

    monkeypatch.setattr(rig.corrections, "move", interrupted)
    lab.look()
    found = {str(each.change["because"]): each for each in rig.store.proposals()}
    assert (lab.at(A), lab.at(B), found[BECAUSE].state) == ([one], [], "proposed")


@pytest.mark.parametrize("policy", ["apply"], indirect=True)
def test_in_doubt_nothing_is_moved(lab: Lab) -> None:
    """Two studies there at that time, or one request's entries in the times of two."""
    assert lab.log("09:58", "10:10") == f"0000 {A} PA"
    lab.b_was_there()
    lab.look()
    assert lab.log("10:20") == f"0000 {B} PB"
    lab.put("1.2.826.3", "PC", location="LAB1", opened="2024-05-14T10:05:00Z")
    lab.look()
    assert lab.rig.store.proposals() == []
    assert lab.rig.events(CORRECTION) == []


@pytest.mark.parametrize("policy", ["apply"], indirect=True)
def test_a_registry_that_changes_meanwhile_is_asked_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the decision and the commit B turns out to have been elsewhere: nothing is moved."""
    lab.log("10:10")
    [one] = lab.at(A)
    lab.b_was_there()
    submit, once = lab.rig.corrections._submit, [True]

    async def held(draft: Any) -> Any:
        if once and once.pop():
            await lab.rig.keeper.change(
                lambda registry: changes.cancel_study(registry, B, lab.rig.policy, lab.rig.now), "http"
            )
        return await submit(draft)

    monkeypatch.setattr(lab.rig.corrections, "_submit", held)
    lab.look()
    assert once == []
    assert (lab.at(A), lab.rig.events(CORRECTION)) == ([one], [])


def test_what_came_before_the_device_was_moved_stays(lab: Lab) -> None:
    """The rules of now are asked where the device was when it sent that, not where it is by now."""
    lab.put(B, "PB", location="LAB2")
    assert lab.log("10:10") == f"0000 {A} PA"
    [one] = lab.at(A)
    profile = lab.rig.profile("HEMO1")
    lab.rig.use(replace(profile, device=Device("HEMO1", ("LAB2",))))
    lab.put(A, accession_number="AA1")  # its stays are the same
    lab.look()
    assert (lab.at(A), lab.at(B), lab.rig.store.proposals()) == ([one], [], [])


@pytest.mark.parametrize("policy", ["apply"], indirect=True)
def test_what_waited_when_the_server_ended_is_looked_at(lab: Lab) -> None:
    """Nothing of what waits is kept: the changes say it."""
    lab.log("10:10")
    [one] = lab.at(A)
    lab.b_was_there()
    lab.rig.restart()
    again = Lab(lab.rig)
    looking = asyncio.run_coroutine_threadsafe(again.misplaced.run(), lab.rig._loop)
    try:
        until(lambda: bool(lab.rig.events(CORRECTION)), "the correction")
    finally:
        looking.cancel()
    assert (lab.at(A), lab.at(B)) == ([], [one])


@pytest.mark.parametrize("policy", ["apply"], indirect=True)
def test_what_the_store_does_not_take_goes_on_waiting(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that cannot be read, then one that is full: what was to be moved is moved once it is there again."""
    monkeypatch.setattr(waiting, "FAILED_SECONDS", 0.001)
    lab.log("10:10")
    [one] = lab.at(A)
    timeline, submit = lab.rig.store.timeline, lab.rig.corrections._submit
    failing: list[StoreError] = [StoreFull("no room"), StoreUnavailable("away")]

    def read(uid: str) -> Any:
        if len(failing) == 2:
            raise failing.pop()
        return timeline(uid)

    async def full(draft: Any) -> Any:
        if failing:
            raise failing.pop()
        return await submit(draft)

    monkeypatch.setattr(lab.rig.store, "timeline", read)
    monkeypatch.setattr(lab.rig.corrections, "_submit", full)
    lab.b_was_there()
    looking = asyncio.run_coroutine_threadsafe(lab.misplaced.run(), lab.rig._loop)
    try:
        until(lambda: bool(lab.rig.events(CORRECTION)), "the correction")
    finally:
        looking.cancel()
    assert (lab.at(A), lab.at(B), failing) == ([], [one], [])


@pytest.mark.parametrize("policy", ["apply"], indirect=True)
def test_entries_moved_by_hand_meanwhile_are_left_alone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the decision and the commit a person moves them: what the server found is not done over it."""
    lab.log("10:10")
    [one] = lab.at(A)
    other = "1.2.826.3"
    lab.put(other, "PC", location="LAB2")
    lab.b_was_there()
    submit, once = lab.rig.corrections._submit, [True]

    async def held(draft: Any) -> Any:
        if once and once.pop():
            body = {"positions": [one], "to": {"study_instance_uid": other}, "why": "seen"}
            await lab.rig.corrections.make(parse(CorrectionBody, body), "me")
        return await submit(draft)

    monkeypatch.setattr(lab.rig.corrections, "_submit", held)
    lab.look()
    assert once == []
    assert (lab.at(other), lab.at(B)) == ([one], [])


def test_entries_moved_by_hand_are_left_alone(lab: Lab) -> None:
    """Whatever the stays say."""
    lab.log("10:10")
    [one] = lab.at(A)
    lab.put("1.2.826.3", "PC", location="LAB2")
    body = parse(CorrectionBody, {"positions": [one], "to": {"study_instance_uid": "1.2.826.3"}, "why": "seen"})
    lab.rig.run(lab.rig.corrections.make(body, "me"))
    lab.b_was_there()
    lab.look()
    assert lab.at("1.2.826.3") == [one]
    assert len(lab.rig.store.proposals()) == 1
