"""What holds for every registry and every question."""

from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plscp.errors import Conflict
from plscp.matching import rules
from plscp.matching.layers import Layer
from plscp.matching.model import Device, MatchQuestion
from plscp.matching.registry import Locations, Registry, microseconds
from plscp.templates.request import Identifiers
from tests.matching.reference import Reference
from tests.matching.world import LABS, NOON, POLICY, World, minutes, moment, state_of

START = NOON.replace(hour=8)
UIDS = ["1.1", "1.2", "1.3", "1.4"]
PATIENTS = ["P1", "P2", "P3", "TEMP"]
PLACES = ["LAB1", "LAB2", ""]

uid = st.sampled_from(UIDS)
patient = st.sampled_from(PATIENTS)
place = st.sampled_from(PLACES)

action = st.one_of(
    st.tuples(st.just("put"), uid, patient, place, st.sampled_from(["open", "scheduled", "closed", "cancelled"])),
    st.tuples(st.just("put"), uid, patient, st.sampled_from(["LAB1", "LAB2"]), st.just("open")),
    st.tuples(st.just("move"), uid, place),
    st.tuples(st.just("close"), uid),
    st.tuples(st.just("entry"), uid),
    st.tuples(st.just("merge"), patient, patient),
    st.tuples(st.just("step"), uid, st.booleans()),
)
story = st.lists(st.tuples(action, st.sampled_from([5, 1, 0, 14, 31, 200])), min_size=2, max_size=12)


BEGINNING = [
    (("put", "1.1", "P1", "LAB1", "open"), 20),
    (("put", "1.2", "P2", "LAB2", "scheduled"), 0),
    (("put", "1.3", "P2", "LAB2", "open"), 10),
]
"""So that most stories have a room with somebody in it."""


def tell(world: World, happened: list[tuple[Any, int]]) -> None:
    """Play a story; what the registry refuses does not happen."""
    world.now = START
    for what, later in [*BEGINNING, *happened]:
        with suppress(Conflict):
            _happen(world, what)
        world.now += minutes(later)


def _happen(world: World, what: tuple[Any, ...]) -> None:
    study = world.registry.study(what[1])
    clock = world.now.strftime("%H:%M")
    match what[0]:
        case "put":
            world.study(what[1], patient=what[2], location=what[3], status=what[4], study_id=f"S{what[1][-1]}")
        case "move" if study is not None:
            world.study(what[1], location=what[2])
        case "close" if study is not None:
            world.close(what[1], clock)
        case "entry" if study is not None:
            world.registry.sign_of_life(what[1], study.location, microseconds(world.now), by_request=True)
        case "merge" if what[1] != "TEMP" and what[2] != "TEMP":
            world.merge(what[1], what[2])
        case "step" if study is not None and study.status in {"open", "scheduled"}:
            world.step(what[1], clock, *(["s"] if what[2] else []))
        case _:
            pass


DEVICES = [
    Device("MOBILE"),
    Device("HEMO1", ("LAB1",)),
    Device("ECHO", ("LAB1", "LAB2")),
    Device("OLD", ("LAB1",), times="untrusted"),
    Device("LOC", ("LAB1",), coerce_by_location=True),
]


@st.composite
def questions(draw: st.DrawFn) -> Callable[[World], MatchQuestion]:
    """A question, once it is known what time it is."""
    maybe = st.booleans()
    some = st.integers(0, 3).map(lambda number: number == 3)
    identifiers = Identifiers(
        study_instance_uid=draw(st.sampled_from([*UIDS, "1.9"])) if draw(some) else "",
        patient_id=draw(st.sampled_from([*PATIENTS, "P9"])) if draw(maybe) else "",
        study_id=draw(st.sampled_from(["S1", "S2", "S3", "S9"])) if draw(some) else "",
        performed_location=draw(st.sampled_from(["Lab 1", "LAB2", "Lab 1", "LAB2", "LAB9"])) if draw(maybe) else "",
        synchronization_frame_of_reference_uid=draw(st.sampled_from(["", "1.2.840.10008.15.1.1", "", "1.9"])),
    )
    ago = draw(st.lists(st.integers(0, 30) | st.integers(-4, 60) | st.integers(0, 900), min_size=1, max_size=2))
    whole = draw(maybe)
    device = draw(st.sampled_from(DEVICES))
    mismatch, slip = draw(st.sampled_from(["refuse", "log"])), draw(st.sampled_from(["refuse", "log"]))
    policy = replace(POLICY, patient_mismatch=mismatch, not_started_elsewhere=slip)  # type: ignore[arg-type]  # literals
    minutes_off = draw(st.sampled_from([0, None, 7, -1, -7, -40, 0]))
    difference = None if minutes_off is None else timedelta(minutes=minutes_off)
    later = draw(st.sampled_from([0, 1, 3, 10, 40]))

    def question(world: World) -> MatchQuestion:
        arrival = world.now + minutes(later)
        times = [moment(arrival - minutes(count), whole_minute=whole) for count in ago]
        return MatchQuestion(identifiers, device, policy, times, arrival, difference)

    return question


@settings(max_examples=120, deadline=None)
@given(story, questions())
def test_the_rules_agree_with_the_plain_reference(happened: list[Any], ask: Callable[[World], MatchQuestion]) -> None:
    """Same study by the same rule, or the same failure."""
    world = World()
    tell(world, happened)
    question = ask(world)
    decision, expected = rules.decide(question, world.registry), Reference(question, world.registry).answer()
    if expected.failure:
        assert decision.status == expected.failure
    else:
        assert (decision.rule, decision.study_instance_uid) == (expected.rule, expected.study)
        assert decision.status in {0, 0xB101, 0xB102, 0xB104}


@settings(max_examples=80, deadline=None)
@given(story, questions())
def test_what_stands_never_contradicts_a_usable_patient_id(
    happened: list[Any], ask: Callable[[World], MatchQuestion]
) -> None:
    """Success and Warning name a study of the patient given; only patient_mismatch = "log" lets another through, as B104."""
    world = World()
    tell(world, happened)
    question = ask(world)
    decision = rules.decide(question, world.registry)
    patient_id = question.given.patient_id
    assert decision.status in {0, 0xB101, 0xB102, 0xB104, 0xC101, 0xC103, 0xC104}
    assert len(decision.comment) <= 64
    if decision.status >> 12 == 0xC:
        assert decision.comment
        return
    assert decision.patient_id
    if patient_id and patient_id != "TEMP":
        named = world.registry.current_patient(patient_id, "HOSP")
        if named != (decision.patient_id, decision.issuer):
            assert question.policy.patient_mismatch == "log"
            assert 0xB104 in decision.warnings


@settings(max_examples=80, deadline=None)
@given(story, questions(), st.sampled_from(["LAB3", "LAB1", "LAB2"]), st.sampled_from(["scheduled", "open"]))
def test_a_study_of_somebody_else_never_changes_which_study_is_taken(
    happened: list[Any], ask: Callable[[World], MatchQuestion], where: str, status: str
) -> None:
    """It may only make the request refused; elsewhere it changes nothing at all."""
    labs = {**LABS, "LAB3": []}
    world, fuller = World(labs=labs), World(labs=labs)
    tell(world, happened)
    tell(fuller, happened)
    # Applied as it is, without the turnover that its arrival may cause: that is a change of the other studies.
    before = {study.study_instance_uid: study for study in world.registry.studies()}
    fuller.study("1.77", patient="P77", location=where, status=status)
    if {
        study.study_instance_uid: study for study in fuller.registry.studies() if study.patient_id.id != "P77"
    } != before:
        return
    question = ask(world)
    alone, beside = rules.decide(question, world.registry), rules.decide(question, fuller.registry)
    if beside.study_instance_uid not in {"", "1.77"}:
        assert (beside.study_instance_uid, beside.rule) == (alone.study_instance_uid, alone.rule)
    if where == "LAB3" or status == "scheduled":
        assert (beside.status, beside.study_instance_uid, beside.rule) == (
            alone.status,
            alone.study_instance_uid,
            alone.rule,
        )


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(5)), questions(), st.lists(st.sampled_from(PLACES), min_size=5, max_size=5))
def test_decisions_do_not_depend_on_the_order_of_insertion(
    order: list[int], ask: Callable[[World], MatchQuestion], places: list[str]
) -> None:
    """The same studies in another order: the same decision, explanation included, but for the order of candidates."""
    decisions = []
    for numbers in (range(5), order):
        world = World()
        world.now = START
        for number in numbers:
            said = {"patient": f"P{number % 3}", "location": places[number], "study_id": f"S{number % 2}"}
            world.study(f"1.{number}", status="open", opened=f"2024-05-14T07:0{number}:00Z", **said)
        world.now = START + minutes(5)
        question = ask(world)
        first, again = rules.decide(question, world.registry), rules.decide(question, world.registry)
        assert first == again
        decisions.append(replace(first, candidates=sorted(first.candidates)))
    assert decisions[0] == decisions[1]


@settings(max_examples=60, deadline=None)
@given(story)
def test_the_registry_is_rebuilt_from_its_changes(happened: list[Any]) -> None:
    """Applying the same changes in order makes the same registry, whatever it was asked or forked meanwhile."""
    world = World()
    tell(world, happened)
    rebuilt = Registry(Locations(LABS))
    for entry in world.log:
        rebuilt.fork().apply(*entry)  # changes nothing of what is below
        rebuilt.apply(*entry)
    without = {"life", "locations", "issuers"}
    assert state_of(rebuilt, without) == state_of(world.registry, without)


def slow_copy(registry: Registry) -> Registry:
    """Another registry that has nothing in common with this one."""
    return deepcopy(registry)


@settings(max_examples=60, deadline=None)
@given(story, st.integers(0, 40))
def test_a_view_is_what_a_full_copy_with_the_same_changes_is(happened: list[Any], kept: int) -> None:
    """Down to the order of every index; what is below stays as it was, and can become what the view is."""
    world = World()
    tell(world, happened)
    below = Registry(Locations(LABS))
    for entry in world.log[:kept]:
        below.apply(*entry)
    copied, before = slow_copy(below), state_of(below)
    view = below.fork()
    for count, entry in enumerate(world.log[kept:]):
        if count == 1:
            view = view.fork()  # a layer on a layer
        view.apply(*entry)
        copied.apply(*entry)
        assert state_of(view) == state_of(copied)
        for study in copied.studies():
            for place in ("LAB1", "LAB2"):
                assert view.presence.between(place, START, START + minutes(90)) == copied.presence.between(
                    place, START, START + minutes(90)
                )
                assert list(view.life.latest_first(place)) == list(copied.life.latest_first(place))
            assert view.study(study.study_instance_uid) == study
        assert list(view.patients()) == list(copied.patients())
        assert view.admissions() == copied.admissions()
    assert state_of(below) == before
    once = below.fork()
    for entry in world.log[kept:]:
        once.apply(*entry)
    below.become(once)
    assert state_of(below) == state_of(copied)
    assert not [name for name, holder, at in below.state() if isinstance(holder.value(at), Layer)]


MAPPING_STEPS = st.lists(st.tuples(st.sampled_from("spdf"), st.integers(0, 5), st.integers()), max_size=40)


@settings(max_examples=100, deadline=None)
@given(MAPPING_STEPS)
def test_a_layer_is_a_dictionary_with_the_same_changes(steps: list[tuple[str, int, int]]) -> None:
    """In value, length and order, through several layers, and when they are settled."""
    base = {1: 10, 2: 20, 3: 30}
    truth, below, layers = dict(base), dict(base), list[Layer[int, int]]()
    layer: Layer[int, int] = Layer(below)
    for what, key, value in steps:
        match what:
            case "s":
                layer[key] = truth[key] = value
            case "p":
                assert layer.pop(key, None) == truth.pop(key, None)
            case "d" if key in truth:
                del layer[key], truth[key]
            case "d":
                with pytest.raises(KeyError):
                    del layer[key]
            case _:
                layers.append(layer)
                layer = Layer(layer)
        assert (list(layer.items()), len(layer), dict(layer)) == (list(truth.items()), len(truth), truth)
        assert [key in layer for key in range(6)] == [key in truth for key in range(6)]
        assert [layer.get(key) for key in range(6)] == [truth.get(key) for key in range(6)]
    assert below == base
    assert repr(layer) == repr(truth)
    for each in reversed([*layers, layer]):
        each.settle()
    assert list(below.items()) == list(truth.items())


@settings(max_examples=60, deadline=None)
@given(story)
def test_what_holds_in_every_registry(happened: list[Any]) -> None:
    """Indices say what the studies say; an open study is somewhere exactly where it says; every patient has an owner."""
    world = World()
    tell(world, happened)
    registry = world.registry
    for study in registry.studies():
        assert study in registry.studies_of(study.patient)
        assert registry.patient_number(study.patient).current == study.patient_id
        here = [lab for lab in ("LAB1", "LAB2") if study.study_instance_uid in registry.presence.now(lab)]
        assert here == ([study.location] if study.status == "open" and study.location else [])
        assert (study.closed is None) == (study.status in {"open", "scheduled"})
        for stay, following in zip(study.stays, study.stays[1:], strict=False):
            assert stay.left is not None
            assert stay.arrived <= stay.left <= following.arrived
    for known in registry.patients():
        assert registry.owner(known.current) == known
