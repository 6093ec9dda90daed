"""Procedure steps against a simple model: steps, studies, rooms and patients at random, with restarts in the middle."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from plscp.errors import Conflict, Refused
from plscp.matching.records import StudyStay
from plscp.matching.registry import Locations, Registry, microseconds
from plscp.matching.step_changes import (
    ENDED,
    INCORRECT_WORKLIST_ENTRY,
    PATIENT_CONTRADICTS,
    PATIENTS_SEVERAL,
    StepBegun,
    StepSaid,
    StepStudy,
    begin_step,
    end_step,
    propose_patient,
    set_step,
)
from plscp.records import parts
from tests.matching.world import LABS, World, at, minutes

STUDIES = ("1.1", "1.2", "1.3")


def begun(
    uid: str, *studies: str, patient: str = "P1", location: str = "LAB1", started: datetime | None = None
) -> StepBegun:
    """What an N-CREATE says."""
    return StepBegun(uid, False, tuple(map(StepStudy, studies)), patient, "", "XA1", "XA1", location, started)


def said(uid: str, status: Any = "COMPLETED", ended: datetime | None = None, reason: str = "") -> StepSaid:
    """What an N-SET says."""
    return StepSaid(uid, status, ended, reason)


def held(registry: Registry) -> dict[str, Any]:
    """What a registry holds of steps, studies and rooms."""
    found = {name: holder.value(at) for name, holder, at in registry.state()}
    return {name: value for name, value in found.items() if name.startswith(("steps.", "presence.", "_studies"))}


@dataclass
class ModelStep:
    """A step of the model."""

    studies: tuple[str, ...]
    in_progress: bool = True
    final: bool = False


class StepMachine(RuleBasedStateMachine):
    """Planners and registry on one side; on the other which steps are in progress, and whose study is whose."""

    @initialize()
    def begin_empty(self) -> None:
        """Nothing is known."""
        self.world = World()
        self.steps: dict[str, ModelStep] = {}
        self.patient_of: dict[str, str] = {}  # by study: as named first, or one that was made for it

    @rule(
        number=st.integers(0, 7),
        studies=st.lists(st.sampled_from(STUDIES), min_size=1, max_size=2, unique=True),
        patient=st.sampled_from(["P1", "P2", "", "UNKNOWN"]),
        location=st.sampled_from(["LAB1", "LAB2", ""]),
        ago=st.none() | st.integers(-30, 90),
    )
    def n_create(self, number: int, studies: list[str], patient: str, location: str, ago: int | None) -> None:
        """A step begins, in one study or two, with a patient or without."""
        uid = f"9.{number}"
        started = None if ago is None else self.world.now - minutes(ago)
        request = begun(uid, *studies, patient=patient, location=location, started=started)
        known = {self.patient_of[each] for each in studies if each in self.patient_of}
        refused = 0
        if uid in self.steps:
            refused = 0x0111
        elif patient.startswith("P"):
            refused = 0 if known <= {patient} else 0x0110
        elif len(known) > 1:
            refused = 0x0110
        if refused:
            with pytest.raises(Refused) as failed:
                self.world.plan(begin_step, request)
            assert failed.value.status == refused
            return
        self.world.plan(begin_step, request)
        self.steps[uid] = ModelStep(tuple(studies))
        whose = patient if patient.startswith("P") else next(iter(known), f"own of {uid}")
        self.patient_of |= dict.fromkeys(studies, whose)
        for each in studies:
            assert not location or self.world.known(each).location == location

    @rule(
        number=st.integers(0, 7),
        status=st.sampled_from(["COMPLETED", "DISCONTINUED", "IN PROGRESS", None]),
        incorrect=st.booleans(),
        ago=st.none() | st.integers(-30, 90),
    )
    def n_set(self, number: int, status: Any, incorrect: bool, ago: int | None) -> None:
        """A step goes on or ends."""
        uid = f"9.{number}"
        reason = INCORRECT_WORKLIST_ENTRY if incorrect and status == "DISCONTINUED" else ""
        ended = None if ago is None else self.world.now - minutes(ago)
        request = said(uid, status, ended, reason)

        def planner(registry: Registry, *rest: Any) -> Any:
            return set_step(registry, request, *rest)

        step = self.steps.get(uid)
        if step is None or step.final:
            with pytest.raises(Refused) as failed:
                planner(self.world.registry, self.world.policy, self.world.now)
            assert failed.value.status == (0x0112 if step is None else 0x0110)
            return
        planned = planner(self.world.registry, self.world.policy, self.world.now)
        proposals = [record for record in planned if record.proposed]
        assert len(proposals) == (len(step.studies) if reason else 0)
        self.world.take([record for record in planned if not record.proposed])
        if status in {"COMPLETED", "DISCONTINUED"}:
            step.in_progress, step.final = False, True

    @rule(number=st.integers(0, 7))
    def operator(self, number: int) -> None:
        """An operator ends a step; its modality may still say how it ended."""
        uid = f"9.{number}"
        if uid not in self.steps:
            with pytest.raises(Conflict):
                self.world.plan(end_step, uid)
            return
        self.world.plan(end_step, uid)
        self.steps[uid].in_progress = False

    @rule(count=st.integers(1, 45))
    def time_passes(self, count: int) -> None:
        """The clock goes on."""
        self.world.now += minutes(count)

    @rule()
    def restart(self) -> None:
        """Everything is made again from what is stored."""
        again = Registry(Locations(LABS))
        for entry in self.world.log:
            again.apply(*entry)
        assert held(again) == held(self.world.registry)
        self.world.registry = again

    @invariant()
    def studies_follow_their_steps(self) -> None:
        """A study is open exactly while a step of it is in progress, and its patient is the one it had first."""
        for study in self.world.registry.studies():
            uid = study.study_instance_uid
            going_on = [step for step, known in self.steps.items() if uid in known.studies and known.in_progress]
            assert list(study.steps) == going_on
            assert study.status == ("open" if going_on else "closed")
            name = self.patient_of[uid]
            assert study.patient_id.id == name if name.startswith("P") else study.patient_id.issuer == "plscp"
        assert {step.sop_instance_uid for step in self.world.registry.steps.in_progress()} == {
            uid for uid, step in self.steps.items() if step.in_progress
        }

    @invariant()
    def times_are_in_order(self) -> None:
        """Nothing is in the future, no stay ends before it begins or overlaps the next, and only open studies are anywhere."""
        registry = self.world.registry
        for study in registry.studies():
            before = None
            for stay in study.stays:
                assert before is None or before <= stay.arrived
                before = stay.left if stay.left is not None else self.world.now
                assert stay.arrived <= before <= self.world.now
            assert study.opened is not None
            assert (study.closed is None) is (study.status == "open")
            assert study.opened <= (study.closed or self.world.now) <= self.world.now
        here = {uid: lab for lab in LABS for uid in registry.presence.now(lab)}
        assert here == {
            each.study_instance_uid: each.location for each in registry.studies(status="open") if each.location
        }


StepMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_steps_against_a_model = StepMachine.TestCase


# --- what the model does not say -----------------------------------------------------------------------------------------


def step(world: World, request: StepSaid) -> list[Any]:
    """An N-SET; its proposals."""
    planned = set_step(world.registry, request, world.policy, world.now)
    world.take([record for record in planned if not record.proposed])
    return [record for record in planned if record.proposed]


def test_drugs_after_a_discontinued_step() -> None:
    """DISCONTINUED during resuscitation: what is given within the grace is taken, by place as well."""
    world = World()
    world.now = at("09:00")
    world.plan(begin_step, begun("9.1", "1.1"))
    world.now = at("09:30")
    assert step(world, said("9.1", "DISCONTINUED", reason="110501^DCM")) == []
    assert world.ask("09:45", arrival="09:45", P="P1").status == 0
    assert world.ask("09:29", arrival="09:31", L="Lab 1", clock_difference=timedelta(0)).study_instance_uid == "1.1"


def test_after_the_wrong_worklist_entry_nothing_goes_there_by_place() -> None:
    """The study was never in the room: late events of that time go by place to nobody, and what stands there is proposed for a move."""
    world = World()
    world.now = at("09:00")
    world.plan(begin_step, begun("9.1", "1.1"))
    world.now = at("09:10")
    [proposal] = step(world, said("9.1", "DISCONTINUED", reason=INCORRECT_WORKLIST_ENTRY))
    assert (proposal.change["from"][0]["study_instance_uid"], proposal.change["to"]["study_instance_uid"]) == (
        "1.1",
        "",
    )
    assert proposal.type == parts.PROPOSED_TYPE
    assert world.ask("09:05", arrival="09:11", L="Lab 1", clock_difference=timedelta(0)).status == 0xC103
    world.plan(begin_step, begun("9.2", "1.2", patient="P2"))
    world.now = at("09:20")
    assert world.ask("09:19", arrival="09:20", L="Lab 1", clock_difference=timedelta(0)).study_instance_uid == "1.2"


def test_another_step_was_there_in_earnest() -> None:
    """The stay of a study with a step that was completed stays as it is when a second one took the wrong entry."""
    world = World()
    world.now = at("09:00")
    world.plan(begin_step, begun("9.1", "1.1"))
    world.now = at("09:05")
    world.plan(begin_step, begun("9.2", "1.1"))
    world.now = at("09:30")
    step(world, said("9.1"))
    step(world, said("9.2", "DISCONTINUED", reason=INCORRECT_WORKLIST_ENTRY))
    assert world.known("1.1").stays[-1].left == at("09:30")


def test_a_wrong_entry_that_is_noticed_at_once_is_not_found_within_the_tolerance() -> None:
    """Where a study never was it is not found by a clock that may be wrong by a minute."""
    world = World()
    world.now = at("09:00")
    world.plan(begin_step, begun("9.1", "1.1"))
    world.now = at("09:01")
    step(world, said("9.1", "DISCONTINUED", reason=INCORRECT_WORKLIST_ENTRY))
    for clock in ("08:59", "09:00", "09:01"):
        found = world.ask(clock, arrival="09:01", L="Lab 1", clock_difference=timedelta(0))
        assert (found.status, found.study_instance_uid) == (0xC103, "")


def test_steps_that_all_took_the_wrong_entry() -> None:
    """Nobody was there in earnest: whatever room each step was in, and in whatever order they are discontinued."""
    for order in (("9.1", "9.2"), ("9.2", "9.1")):
        for second in ("LAB1", "LAB2"):
            world = World()
            world.now = at("09:00")
            world.plan(begin_step, begun("9.1", "1.1"))
            world.now = at("09:05")
            world.plan(begin_step, begun("9.2", "1.1", location=second))
            world.now = at("09:10")
            for uid in order:
                step(world, said(uid, "DISCONTINUED", reason=INCORRECT_WORKLIST_ENTRY))
            assert all(stay.left == stay.arrived for stay in world.known("1.1").stays)
            for place, clock in (("Lab 1", "09:03"), ("Lab 1", "09:08"), ("Lab 2", "09:08")):
                assert world.ask(clock, arrival="09:11", L=place, clock_difference=timedelta(0)).status == 0xC103


def test_the_wrong_entry_in_another_room_than_the_right_one() -> None:
    """The study goes on where its other step is, and was never where the wrong one began."""
    world = World()
    world.now = at("09:00")
    world.plan(begin_step, begun("9.1", "1.1"))
    world.now = at("09:05")
    world.plan(begin_step, begun("9.2", "1.1", location="LAB2"))
    world.now = at("09:10")
    step(world, said("9.1", "DISCONTINUED", reason=INCORRECT_WORKLIST_ENTRY))
    assert world.ask("09:03", arrival="09:11", L="Lab 1", clock_difference=timedelta(0)).status == 0xC103
    assert world.ask("09:07", arrival="09:11", L="Lab 2", clock_difference=timedelta(0)).study_instance_uid == "1.1"


def test_the_wrong_entry_takes_out_no_stay_that_a_feed_brought_about() -> None:
    """The patient was moved to another room meanwhile: there the study was, whatever the modality had selected before."""
    world = World()
    world.now = at("09:00")
    world.plan(begin_step, begun("9.1", "1.1"))
    world.study("1.1", "09:10", location="LAB2")
    world.now = at("09:20")
    step(world, said("9.1", "DISCONTINUED", reason=INCORRECT_WORKLIST_ENTRY))
    assert [(stay.arrived, stay.left) for stay in world.known("1.1").stays] == [
        (at("09:00"), at("09:00")),
        (at("09:10"), at("09:20")),
    ]


def test_the_wrong_entry_is_said_after_an_operator_has_ended_the_step() -> None:
    """The study was never there either; that it was closed when the operator said so stays."""
    world = World()
    world.now = at("09:00")
    world.plan(begin_step, begun("9.1", "1.1"))
    world.now = at("09:20")
    world.plan(begin_step, begun("9.1.1", "1.1"))  # a sign of life that is later than the arrival
    step(world, said("9.1.1", "DISCONTINUED", reason=INCORRECT_WORKLIST_ENTRY))
    world.now = at("09:30")
    world.plan(end_step, "9.1")
    closed = world.known("1.1").closed
    [proposal] = step(world, said("9.1", "DISCONTINUED", reason=INCORRECT_WORKLIST_ENTRY))
    assert proposal.type == parts.PROPOSED_TYPE
    assert all(stay.left == stay.arrived for stay in world.known("1.1").stays)
    assert world.known("1.1").closed == closed


@pytest.mark.parametrize("before", ["a step", "a feed", "nowhere"])
def test_a_study_that_goes_on_is_back_where_the_wrong_entry_took_it_from(before: str) -> None:
    """Its own step goes on in another room: who lies where the modality had the wrong entry is somebody else, and stays so.

    Where a feed had moved it away from its step, nobody knows where it is.
    """
    world = World(labs={**LABS, "LAB3": []})
    world.open("1.1", "08:30", patient="P1")
    world.now = at("08:40")
    world.plan(begin_step, begun("9.1", "1.2", patient="P2", location="LAB2"))
    if before != "a step":
        world.study("1.2", "08:50", location="LAB3" if before == "a feed" else "")
    world.now = at("09:10")
    world.plan(begin_step, begun("9.2", "1.2", patient="P2"))
    assert world.known("1.2").location == "LAB1"
    world.now = at("09:20")
    step(world, said("9.2", "DISCONTINUED", reason=INCORRECT_WORKLIST_ENTRY))
    room = "LAB2" if before == "a step" else ""
    assert (world.known("1.2").status, world.known("1.2").location) == ("open", room)
    assert (world.known("1.1").status, world.known("1.1").stays) == ("open", (StudyStay("LAB1", at("08:30")),))
    expected = {"LAB1": "1.1", "LAB2": "", "LAB3": ""} | ({room: "1.2"} if room else {})
    for place, whose in expected.items():
        found = world.ask("09:29", arrival="09:30", L=place, clock_difference=timedelta(0))
        assert (place, found.study_instance_uid) == (place, whose)
    late = world.ask("09:15", arrival="09:31", L="LAB1", clock_difference=timedelta(0))
    assert late.study_instance_uid == "1.1"
    world.now = at("10:00")
    step(world, said("9.1"))
    assert world.known("1.2").status == "closed"
    assert all(stay.left is not None for stay in world.known("1.2").stays)


def test_a_step_that_goes_on_in_the_room_holds_the_study_there() -> None:
    """It may be right: only when it ends by the wrong entry, too, is the study back where it was."""
    world = World()
    world.now = at("08:40")
    world.plan(begin_step, begun("9.1", "1.2", patient="P2", location="LAB2"))
    for uid, clock in (("9.2", "09:10"), ("9.3", "09:12")):
        world.now = at(clock)
        world.plan(begin_step, begun(uid, "1.2", patient="P2"))
    for uid, room in (("9.2", "LAB1"), ("9.3", "LAB2")):
        step(world, said(uid, "DISCONTINUED", reason=INCORRECT_WORKLIST_ENTRY))
        assert world.known("1.2").location == room


def test_two_wrong_entries_one_after_the_other_lead_back_to_the_room_before_both() -> None:
    """In whatever order their modalities say so."""
    for order in (("9.2", "9.3"), ("9.3", "9.2")):
        world = World(labs={**LABS, "LAB3": []})
        for uid, clock, room in (("9.1", "08:40", "LAB2"), ("9.2", "08:50", "LAB3"), ("9.3", "09:10", "LAB1")):
            world.now = at(clock)
            world.plan(begin_step, begun(uid, "1.2", patient="P2", location=room))
        for uid in order:
            world.now += minutes(1)
            step(world, said(uid, "DISCONTINUED", reason=INCORRECT_WORKLIST_ENTRY))
        world.now = at("09:20")
        for room, whose in {"LAB1": "", "LAB2": "1.2", "LAB3": ""}.items():
            found = world.ask("09:19", arrival="09:20", L=room, clock_difference=timedelta(0))
            assert (room, found.study_instance_uid) == (room, whose)


@pytest.mark.parametrize(
    ("then", "status", "stays"),
    [
        ("nothing", "open", [(at("08:00"), None)]),
        ("named", "open", [(at("08:00"), None)]),
        ("closed", "closed", [(at("08:00"), at("09:00"))]),
        ("closed again", "closed", [(at("08:00"), at("09:00"))]),
        ("confirmed", "closed", [(at("08:00"), at("09:04"))]),
        ("came and went", "closed", [(at("08:00"), at("09:04"))]),
        ("cancelled", "cancelled", [(at("08:00"), at("09:00"))]),
        ("cancelled and scheduled", "scheduled", [(at("08:00"), at("09:00"))]),
        ("opened nowhere", "open", [(at("08:00"), at("09:00"))]),
    ],
)
def test_a_turnover_by_the_wrong_entry_is_taken_back(then: str, status: str, stays: list[Any]) -> None:
    """Who was there before is there, but for what was said meanwhile; by place the room names nobody else."""
    world = World()
    world.open("1.1", "08:00", patient="P1")
    world.now = at("09:00")
    world.plan(begin_step, begun("9.2", "1.2", patient="P2"))
    assert world.known("1.1").status == "closed"
    world.now = at("09:04")
    if then == "named":
        world.registry.sign_of_life("1.1", "LAB1", microseconds(at("09:03")), by_request=True)
    elif then == "closed":
        world.close("1.1", "09:04")
    elif then == "closed again":
        world.study("1.1", status="closed", closed="2024-05-14T09:02:00Z")
    elif then == "opened nowhere":
        world.study("1.1", status="open", location="")
    elif then.startswith("cancelled"):
        for said_of_it in then.split(" and "):
            world.study("1.1", status=said_of_it)
    elif then != "nothing":
        world.plan(begin_step, begun("9.3", "1.3", patient="P3"))
    if then == "came and went":
        world.now = at("09:06")
        step(world, said("9.3"))
    world.now = at("09:10")
    step(world, said("9.2", "DISCONTINUED", reason=INCORRECT_WORKLIST_ENTRY))
    assert world.known("1.1").status == status
    assert [(stay.arrived, stay.left) for stay in world.known("1.1").stays] == stays
    whose = {"nothing": "1.1", "named": "1.1", "confirmed": "1.3"}.get(then, "")
    found = world.ask("09:10", arrival="09:11", L="Lab 1", clock_difference=timedelta(0))
    assert found.study_instance_uid == whose
    lived = world.registry.last_sign_of_life("1.1", "LAB1")
    assert lived == microseconds(at("09:03" if then == "named" else "08:00"))


def test_a_turnover_by_a_stay_that_something_else_shows_is_not_taken_back() -> None:
    """The study was opened there and named from there as well; or another of its steps was right."""
    for other_step in (False, True):
        world = World()
        world.open("1.1", "08:00", patient="P1")
        world.open("1.2", "08:50", patient="P2")
        world.now = at("09:00")
        world.plan(begin_step, begun("9.2", "1.2", patient="P2"))
        if other_step:
            world.plan(begin_step, begun("9.3", "1.2", patient="P2"))
        else:
            world.registry.sign_of_life("1.2", "LAB1", microseconds(at("09:01")), by_request=True)
        world.now = at("09:10")
        step(world, said("9.3") if other_step else said("9.2", "DISCONTINUED", reason=INCORRECT_WORKLIST_ENTRY))
        if other_step:
            step(world, said("9.2", "DISCONTINUED", reason=INCORRECT_WORKLIST_ENTRY))
        assert world.known("1.1").status == "closed"


def test_a_turnover_of_a_study_that_a_feed_opened_is_taken_back_with_the_step_that_confirmed_it() -> None:
    """That it was opened there ended nobody's stay, and in the shared room of before events go to nobody."""
    world = World()
    world.open("1.1", "08:00", patient="P1")
    world.open("1.2", "08:50", patient="P2")
    world.now = at("09:00")
    world.plan(begin_step, begun("9.3", "1.3", patient="P3"))
    assert (world.known("1.1").status, world.known("1.2").status) == ("closed", "open")
    world.now = at("09:01")
    step(world, said("9.3", "DISCONTINUED", reason=INCORRECT_WORKLIST_ENTRY))
    assert world.known("1.1").status == "open"
    assert world.ask("09:02", arrival="09:02", L="Lab 1", clock_difference=timedelta(0)).status == 0xC103


def test_only_what_stands_under_anothers_study_is_proposed_for_the_patient_who_is_named() -> None:
    """A step of two studies, of which one is the named patient's already: that one is as it should be."""
    world = World()
    world.open("1.1", "08:00", patient="P1")
    world.open("1.2", "08:10", patient="P2", location="LAB2")
    world.registry.entered = lambda _uid: True
    request = begun("9.1", "1.1", "1.2", "1.3")
    with pytest.raises(Refused) as failed:
        world.plan(begin_step, request)
    assert failed.value.findings == (PATIENT_CONTRADICTS,)
    [proposal] = propose_patient(world.registry, request, world.policy, world.now)
    assert [place["study_instance_uid"] for place in proposal.change["from"]] == ["1.2"]


def test_a_step_confirms_who_is_in_the_room() -> None:
    """A study that an API opened and forgot is turned over by another patient's step, without a request that names it."""
    world = World()
    world.open("1.1", "08:00", patient="P1")
    world.now = at("09:00")
    world.plan(begin_step, begun("9.2", "1.2", patient="P2", started=at("08:59")))
    assert world.known("1.1").status == "closed"
    assert world.known("1.2").stays[-1].confirmed == at("09:00")
    assert world.ask("09:01", arrival="09:01", L="Lab 1", clock_difference=timedelta(0)).study_instance_uid == "1.2"


def test_a_step_of_an_open_study_confirms_it_at_once() -> None:
    """Two studies were opened in one room; the first step of one of them says who is there."""
    world = World()
    world.open("1.1", "08:00", patient="P1")
    world.open("1.2", "08:30", patient="P2")
    assert world.known("1.1").status == "open"
    world.now = at("09:00")
    world.plan(begin_step, begun("9.2", "1.2", patient="P2"))
    assert (world.known("1.1").status, world.known("1.2").status) == ("closed", "open")


def test_a_step_in_another_room_confirms_nobody_here() -> None:
    """Somebody moves a study to this room while its step goes on in the other: one of the two is wrong, and the room names nobody."""
    world = World()
    world.open("1.1", "08:00", patient="P1")
    world.now = at("08:30")
    world.plan(begin_step, begun("9.2", "1.2", patient="P2", location="LAB2"))
    world.study("1.2", "09:00", location="LAB1")
    assert {world.known(uid).status for uid in ("1.1", "1.2")} == {"open"}
    assert world.ask("09:01", arrival="09:01", L="Lab 1", clock_difference=timedelta(0)).status == 0xC103
    world.plan(begin_step, begun("9.3", "1.2", patient="P2"))
    assert world.known("1.1").status == "closed"


def test_a_step_that_comes_late_turns_no_room_over() -> None:
    """Who says at ten that it began at six, where another patient's study lived at half past nine, may be over: both stay, and events
    that name only the room go to nobody."""
    world = World()
    world.open("1.1", "09:30", patient="P1")
    world.now = at("10:00")
    world.plan(begin_step, begun("9.2", "1.2", patient="P2", started=at("06:00")))
    assert {world.known(uid).status for uid in ("1.1", "1.2")} == {"open"}
    assert world.known("1.2").stays[-1] == StudyStay("LAB1", at("09:30"))
    assert world.ask("10:01", arrival="10:01", L="Lab 1", clock_difference=timedelta(0)).status == 0xC103
    step(world, said("9.2", ended=at("07:00")))
    assert world.ask("10:01", arrival="10:01", L="Lab 1", clock_difference=timedelta(0)).study_instance_uid == "1.1"


def test_a_step_in_progress_keeps_its_study() -> None:
    """Neither close nor cancel nor turnover ends a study with a step in progress; events in the shared room go to nobody."""
    world = World()
    world.now = at("09:00")
    world.plan(begin_step, begun("9.1", "1.1"))
    with pytest.raises(Conflict):
        world.close("1.1", "10:00")
    world.plan(begin_step, begun("9.2", "1.2", patient="P2"))
    assert {world.known(uid).status for uid in ("1.1", "1.2")} == {"open"}
    assert world.ask("10:01", arrival="10:01", L="Lab 1", clock_difference=timedelta(0)).status == 0xC103
    world.now = at("10:05")
    world.plan(end_step, "9.1")
    assert world.known("1.1").stays[-1].left == at("09:00")
    assert world.ask("10:06", arrival="10:06", L="Lab 1", clock_difference=timedelta(0)).study_instance_uid == "1.2"


def test_an_order_without_usable_patient_gets_the_one_of_its_step() -> None:
    """Nothing stands under it yet: its own patient was made because nobody was named."""
    world = World()
    world.study("1.1", "08:00", patient="UNKNOWN", location="LAB2")
    world.plan(begin_step, begun("9.1", "1.1", patient="P1"))
    assert world.known("1.1").patient_id.id == "P1"
    with pytest.raises(Refused) as failed:
        world.plan(begin_step, begun("9.2", "1.1", patient="P2"))
    assert failed.value.findings == (PATIENT_CONTRADICTS,)


def test_the_studies_of_a_group_are_one_patients() -> None:
    """A step without Patient ID in studies of two patients is refused."""
    world = World()
    world.study("1.1", "08:00", patient="P1")
    world.study("1.2", "08:00", patient="P2")
    with pytest.raises(Refused) as failed:
        world.plan(begin_step, begun("9.1", "1.1", "1.2", patient=""))
    assert failed.value.findings == (PATIENTS_SEVERAL,)


def test_where_an_order_planned_it_is_not_where_it_is() -> None:
    """A step whose place is not known opens its study nowhere."""
    world = World()
    world.study("1.1", "08:00", patient="P1", location="LAB2")
    world.plan(begin_step, begun("9.1", "1.1", location=""))
    assert world.known("1.1").stays == ()
    assert world.ask("08:01", arrival="08:01", L="Lab 2", clock_difference=timedelta(0)).status == 0xC103
    assert world.ask("08:01", arrival="08:01", P="P1").status == 0


def test_a_step_that_goes_on_is_a_sign_of_life() -> None:
    """After six hours without any other sign a study is still found by place."""
    for goes_on in (False, True):
        world = World()
        world.now = at("09:00")
        world.plan(begin_step, begun("9.1", "1.1"))
        if goes_on:
            world.now = at("14:00")
            step(world, said("9.1", "IN PROGRESS"))
        found = world.ask("16:00", arrival="16:00", L="Lab 1", clock_difference=timedelta(0))
        assert found.status == (0 if goes_on else 0xC103)


def test_the_reason_says_why_no_more_can_be_set() -> None:
    """An N-SET of an ended step carries the finding that makes Error ID A710."""
    world = World()
    world.plan(begin_step, begun("9.1", "1.1"))
    step(world, said("9.1"))
    with pytest.raises(Refused) as failed:
        step(world, said("9.1"))
    assert failed.value.findings == (ENDED,)
