"""Known entries (contract section 1, Identity): the identifiers given against the study and patient under which they stand."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from plscp.matching import comments, rules, substance
from plscp.matching.known_entries import NOWHERE, StoredEntry, check_known_administration, check_known_entries
from plscp.matching.model import Decision, Device, Instant, MatchQuestion, Place, Policy, SubstanceQuestion
from plscp.matching.records import PatientId
from plscp.templates.request import Identifiers
from tests.matching.world import POLICY, World, at, change_patient_id, moment

LETTERS = {
    "U": "study_instance_uid",
    "P": "patient_id",
    "I": "issuer_of_patient_id",
    "S": "study_id",
    "L": "performed_location",
}
IN_LAB1 = Device("HEMO1", ("LAB1",))


def lab() -> World:
    """11:00: PA's 1.1 (S1) in LAB1 is open, so is PB's 2.2 (S2) in LAB2; 1.2 of PA is scheduled, 1.3 was closed at 9:00."""
    world = World()
    world.study("1.3", "08:00", patient="PA", status="open", location="LAB1", study_id="S3")
    world.close("1.3", "09:00")
    world.study("1.2", "09:30", patient="PA", status="scheduled", study_id="S9")
    world.open("1.1", "10:00", "PA", study_id="S1")
    world.open("2.2", "10:00", "PB", "LAB2", study_id="S2")
    world.study("2.3", "10:30", patient="PB", status="scheduled")
    world.patient("PA", "EAST")
    world.now = at("11:00")
    return world


def ask(
    world: World,
    given: Mapping[str, str],
    *known: StoredEntry,
    every: bool = True,
    device: Device = IN_LAB1,
    policy: Policy = POLICY,
) -> Decision:
    """A request with these identifiers and known entries; with `every` nothing else is in it."""
    identifiers = Identifiers(**{LETTERS[letter]: value for letter, value in given.items()})
    times: list[Instant] = [moment(world.now)]
    question = MatchQuestion(identifiers, device, policy, times, world.now)
    decision = rules.decide(question, world.registry)
    return check_known_entries(question, world.registry, known, decision, every=every)


A = StoredEntry(7, "1.1", "PA", "HOSP")
B = StoredEntry(8, "2.2", "PB", "HOSP")
OF_PA, OF_PB = Place("1.1", "PA", "HOSP"), Place("2.2", "PB", "HOSP")

# Every entry known: what is given, the known entries, the outcome: the study that is named, or the place where they should go.
EVERY: dict[str, tuple[dict[str, str], tuple[StoredEntry, ...], str | Place]] = {
    "nothing given": ({}, (A,), "1.1"),
    "the place alone, where another patient is by now": ({"L": "LAB2"}, (A,), "1.1"),
    "P that agrees": ({"P": "PA"}, (A,), "1.1"),
    "P that agrees, at another place": ({"P": "PA", "L": "LAB2"}, (A,), "1.1"),
    "P of another patient": ({"P": "PB"}, (A,), OF_PB),
    "P that nobody has": ({"P": "PX"}, (A,), Place("", "PX", "HOSP")),
    "P of another issuer": ({"P": "PA", "I": "EAST"}, (A,), Place("", "PA", "EAST")),
    "P of an issuer that nobody knows": ({"P": "PA", "I": "WEST"}, (A,), NOWHERE),
    "a placeholder for P": ({"P": "UNKNOWN"}, (A,), "1.1"),
    "U that agrees": ({"U": "1.1"}, (A,), "1.1"),
    "U of another patient's study": ({"U": "2.2"}, (A,), OF_PB),
    "U of another patient's study, with P that agrees": ({"U": "2.2", "P": "PA"}, (A,), OF_PB),
    "U of another patient's scheduled study": ({"U": "2.3"}, (A,), Place("2.3", "PB", "HOSP")),
    "U that was coerced when it came first, and is another patient's by now": (
        {"U": "2.3"},
        (A._replace(named="2.3"),),
        Place("2.3", "PB", "HOSP"),
    ),
    "U that agrees, with P of another patient": ({"U": "1.1", "P": "PB"}, (A,), Place("", "PB", "HOSP")),
    "U that is not known": ({"U": "9.9"}, (A,), "1.1"),
    "U of the patient's study that was closed long ago": ({"U": "1.3"}, (A,), "1.1"),
    "U of the patient's scheduled study": ({"U": "1.2"}, (A,), "1.1"),
    "U of the patient's study that takes events, coerced when it came first": (
        {"U": "1.1"},
        (StoredEntry(7, "1.3", "PA", "HOSP", named="1.1"),),
        "1.3",
    ),
    "U of the patient's study that takes events, another one was coerced": (
        {"U": "1.1"},
        (StoredEntry(7, "1.3", "PA", "HOSP", named="1.2"),),
        OF_PA,
    ),
    "S alone that agrees": ({"S": "S1"}, (A,), "1.1"),
    "S alone of another study": ({"S": "S2"}, (A,), NOWHERE),
    "S of another study, from where that one is": ({"S": "S2", "L": "LAB2"}, (A,), NOWHERE),
    "S of another study, with P that agrees": ({"S": "S2", "P": "PA"}, (A,), "1.1"),
    "S of another study, with U that agrees": ({"S": "S2", "U": "1.1"}, (A,), "1.1"),
    "S of another study, with U that is not known": ({"S": "S2", "U": "9.9"}, (A,), "1.1"),
    "S of another study, with a placeholder for P": ({"S": "S2", "P": "UNK"}, (A,), NOWHERE),
    "closed long ago": ({"P": "PA", "U": "1.3"}, (StoredEntry(7, "1.3", "PA", "HOSP"),), "1.3"),
    "the first decides which is named": ({}, (B, A), "2.2"),
    "two studies of one patient, P agrees with both": ({"P": "PA"}, (StoredEntry(6, "1.3", "PA", "HOSP"), A), "1.3"),
    "two studies of one patient, U names the newer": ({"U": "1.1"}, (StoredEntry(6, "1.3", "PA", "HOSP"), A), OF_PA),
    "two patients, P of one": ({"P": "PA"}, (A, B), OF_PA),
    "two patients, U of one": ({"U": "1.1"}, (A, B), OF_PA),
}


@pytest.mark.parametrize("row", EVERY)
def test_every_entry_known(row: str) -> None:
    """0000 with the study under which the first stands, unless what is given contradicts it: then C104 and a move."""
    given, known, expected = EVERY[row]
    decision = ask(lab(), given, *known)
    move = decision.move
    if isinstance(expected, str):
        assert (decision.status, decision.study_instance_uid, move) == (0, expected, None)
        assert (decision.patient_id, decision.issuer) == (known[0].patient_id, known[0].issuer)
        return
    assert (decision.status, decision.comment) == (0xC104, comments.KNOWN_ELSEWHERE)
    assert [finding.code for finding in decision.findings] == ["identifiers-contradict"]
    assert (decision.study_instance_uid, decision.found) == ("", {})
    assert move is not None
    assert move.target == expected
    assert expected not in move.origins
    assert {candidate.what for candidate in decision.candidates} == {o.study_instance_uid for o in move.origins}


def test_only_what_contradicts_is_moved() -> None:
    """Entries that stand where the identifiers say stay."""
    move = ask(lab(), {"P": "PA"}, A, B, StoredEntry(9, "2.2", "PB", "HOSP")).move
    assert move == ((8, 9), (OF_PB,), OF_PA)


# Some entries known, beside new ones that the rules put into a study.
SOME: dict[str, tuple[dict[str, str], tuple[StoredEntry, ...], str | Place]] = {
    "the new ones go to the same study": ({"P": "PA"}, (A,), "0000 1.1"),
    "the new ones go to another patient": ({"P": "PB"}, (A,), OF_PB),
    "the new ones go to another study of the patient": ({"P": "PA"}, (StoredEntry(7, "1.3", "PA", "HOSP"),), OF_PA),
    "one of the known ones stands elsewhere": ({"P": "PA"}, (A, B), OF_PA),
    "the new ones are refused": ({"U": "1.3"}, (A,), "C101"),
}


@pytest.mark.parametrize("row", SOME)
def test_some_entries_known(row: str) -> None:
    """The new ones are matched like any other's; known ones that stand under another study than theirs: C104 and a move."""
    given, known, expected = SOME[row]
    decision = ask(lab(), given, *known, every=False)
    move = decision.move
    if isinstance(expected, str):
        assert f"{decision.status:04X} {decision.study_instance_uid}".strip() == expected
        assert move is None
    else:
        assert (decision.status, decision.alive_at) == (0xC104, "")
        assert move is not None
        assert move.target == expected


def renamed(world: World) -> None:
    world.plan(change_patient_id, PatientId("PA", "HOSP"), PatientId("PA2", "HOSP"))


def given_anew(world: World) -> None:
    world.merge("PC", "PA")
    world.patient("PA", "HOSP")


# What happened since the entry of PA was stored; then which Patient IDs agree, and which do not.
SINCE: dict[str, tuple[Callable[[World], object], list[str], list[str]]] = {
    "merged into PC": (lambda world: world.merge("PC", "PA"), ["PC", "PA"], ["PB"]),
    "its ID was changed": (renamed, ["PA2", "PA"], ["PB"]),
    "merged, and the old ID is another patient's now": (given_anew, ["PC"], ["PA", "PB"]),
}


@pytest.mark.parametrize("row", SINCE)
def test_it_stands_where_it_stands_now(row: str) -> None:
    """Merges and changes of IDs since then are followed."""
    happened, agree, contradict = SINCE[row]
    world = lab()
    position = world.registry.position
    happened(world)
    known = A._replace(position=position)
    assert [ask(world, {"P": patient}, known).status for patient in agree] == [0] * len(agree)
    assert [ask(world, {"P": patient}, known).status for patient in contradict] == [0xC104] * len(contradict)


def test_a_patient_mismatch_that_is_logged_contradicts_nothing_under_its_own_study() -> None:
    """A device with `patient_mismatch = "log"` may repeat what it was allowed to log; elsewhere P counts."""
    policy = replace(POLICY, patient_mismatch="log")
    assert ask(lab(), {"U": "1.1", "P": "PB"}, A, policy=policy).status == 0
    assert ask(lab(), {"P": "PB"}, A, policy=policy).status == 0xC104


# Patient ID and Admission ID of an administration that stands under PA.
ADMINISTERED = {
    ("PA", ""): 0,
    ("PA", "VA"): 0,
    ("", "VA"): 0,
    ("", ""): 0,
    ("UNKNOWN", "VA"): 0,
    ("PA", "V9"): 0,  # names nobody
    ("", "V9"): 0,
    ("PB", ""): 0xC110,
    ("PX", ""): 0xC110,
    ("PA", "VB"): 0xC110,
    ("", "VB"): 0xC110,
    ("PB", "VA"): 0xC110,
}


@pytest.mark.parametrize("given", ADMINISTERED)
def test_a_known_administration(given: tuple[str, str]) -> None:
    """The patient named by Patient ID and Admission ID against the one under whom it stands; nobody asks for an operator."""
    world = lab()
    for admission, patient in (("VA", "PA"), ("VB", "PB")):
        world.admission(admission, patient)
    question = SubstanceQuestion(
        patient_id=given[0],
        issuer_of_patient_id="",
        patient_name="",
        admission_id=given[1],
        issuer_of_admission_id="",
        operators=[],
        device=Device("PUMP"),
        policy=POLICY,
        time=moment(world.now),
        arrival=world.now,
        allowed=[],
    )
    known = StoredEntry(7, "", "PA", "HOSP")
    decided = substance.decide(replace(question, allowed=None), world.registry)
    decision = check_known_administration(question, world.registry, known, decided)
    move = decision.move
    assert decision.status == ADMINISTERED[given]
    if decision.status:
        assert decision.comment == comments.KNOWN_OF_ANOTHER
        assert move is not None
        assert move.origins == (Place("", "PA", "HOSP"),)
        assert (move.target == Place("", "PB", "HOSP")) == (given in {("PB", ""), ("", "VB")})
    else:
        assert (decision.patient_id, move) == ("PA", None)
