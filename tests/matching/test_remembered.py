"""Decisions that are kept: the same as made anew, at any time, until the registry changes."""

import pytest
from hypothesis import given as example_of
from hypothesis import strategies as st

from plscp.matching import rules
from plscp.matching.model import Device, MatchQuestion
from plscp.templates.request import Identifiers
from tests.matching.world import World, at, codes, moment

GIVEN = Identifiers(study_instance_uid="1.2.3", patient_id="P1")
DEVICE = Device("HEMO1")
AT_LAB1 = Device("HEMO1", ("LAB1",))


def question(world: World, given: Identifiers, *clocks: str, arrival: str, device: Device = DEVICE) -> MatchQuestion:
    """A request of the device that always says the same."""
    return MatchQuestion(given, device, world.policy, [moment(at(clock)) for clock in clocks], at(arrival))


def test_a_kept_decision_hears_of_the_times(world: World) -> None:
    """What is noted about the entries' times is of this request, not of the one before."""
    world.open("1.2.3", "10:00", "P1")
    found = [
        codes(rules.decide(question(world, GIVEN, clock, arrival="10:30"), world.registry))
        for clock in ("10:20", "09:00", "11:30", "10:25")
    ]
    assert len(world.registry.decided) == 1
    assert found == [set(), {"before-opening"}, {"in-the-future"}, set()]


def test_a_kept_decision_ends_with_a_change(world: World) -> None:
    """A study that is closed, and a patient whose ID changes, are seen by the next request."""
    world.open("1.2.3", "10:00", "P1")
    assert rules.decide(question(world, GIVEN, "10:20", arrival="10:30"), world.registry).patient_id == "P1"
    world.patient("P2")
    world.merge("P2", "P1", "10:35")
    assert rules.decide(question(world, GIVEN, "10:40", arrival="10:41"), world.registry).patient_id == "P2"
    world.close("1.2.3", "11:00")
    late = rules.decide(question(world, GIVEN, "23:00", arrival="23:00"), world.registry)
    assert late.status == 0xC101


@pytest.mark.parametrize("given", [Identifiers(performed_location="LAB1"), Identifiers()])
def test_what_a_time_decides_is_not_kept(world: World, given: Identifiers) -> None:
    """Who was where at what time is asked anew."""
    world.open("1.2.3", "10:00", "P1")
    world.close("1.2.3", "11:00")
    rules.decide(question(world, given, "10:59", arrival="11:01", device=AT_LAB1), world.registry)
    assert not world.registry.decided


GIVEN_BY_NAME = [
    Identifiers(study_instance_uid="1.1"),
    Identifiers(patient_id="P1"),
    Identifiers(patient_id="P1", study_id="S1"),
]


@pytest.mark.parametrize("given", GIVEN_BY_NAME)
@pytest.mark.parametrize(
    "arrivals", [("11:10", "11:40", "11:10"), ("11:40", "11:10", "11:40"), ("11:30", "11:30:01", "11:30")]
)
def test_a_kept_decision_ends_with_the_grace_also_where_the_clock_steps_back(
    world: World, given: Identifiers, arrivals: tuple[str, ...]
) -> None:
    """A study of the patient that is closed takes events until 11:30; each decision is what it is made anew."""
    world.open("1.2", "09:00", "P1", study_id="S2")
    world.close("1.2", "09:30")
    world.open("1.1", "10:00", "P1", study_id="S1")
    world.close("1.1", "11:00")
    for arrival in arrivals:
        asked = question(world, given, "10:50", arrival=arrival)
        kept = rules.decide(asked, world.registry)
        anew = world.registry.fork()
        anew.decided.clear()
        assert rules.decide(asked, anew) == kept
        assert (kept.status == 0) == (arrival <= "11:30")


def test_a_decision_is_kept_for_a_patient_with_closed_studies(world: World) -> None:
    """By its values: another object that says the same finds it."""
    world.open("1.0", "08:00", "P1")
    world.close("1.0", "09:00")
    world.open("1.1", "10:00", "P1")
    for _ in range(2):
        rules.decide(question(world, Identifiers(patient_id="P1"), "10:50", arrival="10:51"), world.registry)
    [kept] = world.registry.decided.values()
    assert (kept.after, kept.study.study_instance_uid) == (at("09:30"), "1.1")


STORY = st.lists(
    st.tuples(st.sampled_from(["08:30", "09:29", "09:30", "09:31", "11:00", "11:31"]), st.integers(0, 2)), min_size=2
)


@example_of(STORY)
def test_kept_or_made_anew_is_the_same(story: list[tuple[str, int]]) -> None:
    """Whatever was asked before, and whenever."""
    world = World()
    world.open("1.0", "08:00", "P1", study_id="S1")
    world.close("1.0", "09:00")
    world.open("1.1", "10:00", "P1", study_id="S2")
    world.close("1.1", "11:01")
    fresh = world.registry.fork()
    for arrival, which in story:
        asked = question(world, GIVEN_BY_NAME[which], "08:30", arrival=arrival)
        fresh.decided.clear()
        assert rules.decide(asked, world.registry) == rules.decide(asked, fresh)


@pytest.mark.parametrize("study_id", ["", "S1"])
def test_a_study_id_that_no_other_study_has_is_kept_as_well(world: World, study_id: str) -> None:
    """Many a device sends one that the registry does not have: only where another study has it the times matter."""
    world.open("1.2.3", "10:00", "P1", study_id=study_id)
    world.open("1.9", "10:00", "P2", location="LAB2", study_id="S9")
    given = Identifiers(study_instance_uid="1.2.3", patient_id="P1", study_id="S7", performed_location="LAB1")
    rules.decide(question(world, given, "10:20", arrival="10:30"), world.registry)
    assert len(world.registry.decided) == 1
    of_another = Identifiers("1.2.3", "P1", study_id="S9", performed_location="LAB1")
    rules.decide(question(world, of_another, "10:20", arrival="10:30"), world.registry)
    assert len(world.registry.decided) == 1
