"""Decisions that are kept: the same as made anew, at any time, until the registry changes."""

import pytest

from plscp.matching import rules
from plscp.matching.model import Device, Question
from plscp.templates.request import Identifiers
from tests.matching.world import World, at, codes, moment

GIVEN = Identifiers(study_instance_uid="1.2.3", patient_id="P1")
DEVICE = Device("HEMO1")


def question(world: World, given: Identifiers, *clocks: str, arrival: str) -> Question:
    """A request of the device that always says the same, with the same objects."""
    return Question(given, DEVICE, world.policy, [moment(at(clock)) for clock in clocks], at(arrival))


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


@pytest.mark.parametrize("given", [Identifiers(patient_id="P1"), Identifiers(performed_location="LAB1"), Identifiers()])
def test_what_a_time_decides_is_not_kept(world: World, given: Identifiers) -> None:
    """A study that was closed takes events for a while: that depends on when they arrive."""
    world.open("1.2.3", "10:00", "P1")
    world.close("1.2.3", "11:00")
    rules.decide(question(world, given, "10:59", arrival="11:01"), world.registry)
    assert not world.registry.decided
