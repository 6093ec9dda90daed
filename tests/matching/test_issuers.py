"""Whose ID a Patient ID is (contract section 3, Identifiers): as sent, in one spelling, in requests of both classes and in feeds."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plscp.errors import Conflict
from plscp.feeds.registry_file import apply_file
from plscp.matching import changes, comments
from plscp.matching.model import Decision, Device
from plscp.matching.records import PatientId
from plscp.matching.registry import Issuers, Locations, Registry
from tests.matching.world import LABS, POLICY, World, change_patient_id, codes, outcome

OID = "1.2.840.99999.1"
ISSUERS = {"HOSP": ["Hospital", OID], "EAST": ["East Clinic"], "NORTH": []}
NO_ISSUER = replace(POLICY, patient_id_issuer="")


def two_hospitals() -> World:
    """Both hospitals have a patient 7 with an open study; SOUTH is known from a patient alone; 8 has no issuer."""
    world = World(NO_ISSUER, issuers=ISSUERS)
    world.open("1.1", "10:00", ("7", "Hospital"))
    world.open("1.2", "10:00", ("7", "EAST"), location="LAB2")
    world.patient("5", "SOUTH")
    world.open("1.3", "10:00", "8", location="")
    world.policy = POLICY
    return world


LISTED = comments.ISSUER_NOT_LISTED
TWO = comments.ISSUERS_CONTRADICT
UNKNOWN = comments.UNKNOWN_PATIENT
SENT = [
    # P, (0010,0021) and (0010,0024), issuer used, whose study it is or the comment, the comment of an administration
    ("7", ("HOSP", ""), "HOSP", "1.1", ""),
    ("7", (" Hospital ", ""), "HOSP", "1.1", ""),
    ("7", ("", OID), "HOSP", "1.1", ""),
    ("7", ("Hospital", OID), "HOSP", "1.1", ""),
    ("7", ("EAST", ""), "EAST", "1.2", ""),
    ("7", ("East Clinic", "EAST"), "EAST", "1.2", ""),
    ("7", ("  ", ""), "HOSP", "1.1", ""),  # the policy's
    ("7", ("", ""), "HOSP", "1.1", ""),
    ("7", ("EAST", OID), "", TWO, TWO),
    ("7", ("HOSP", "1.2.3"), "", LISTED, LISTED),  # in doubt it is another
    ("7", ("WEST", ""), "", LISTED, LISTED),
    ("7", ("hospital", ""), "", LISTED, LISTED),  # no folding of case
    ("7", ("", "1.2.3"), "", LISTED, LISTED),
    ("7", ("NORTH", ""), "NORTH", UNKNOWN, comments.PATIENT_NOT_KNOWN),  # listed, and has no patient 7
    ("7", ("SOUTH", ""), "SOUTH", UNKNOWN, comments.PATIENT_NOT_KNOWN),  # a patient's
    ("5", ("SOUTH", ""), "SOUTH", comments.NO_CURRENT_STUDY, ""),
    ("8", ("EAST", ""), "EAST", "1.3", ""),  # its issuer is still none
    ("8", ("WEST", ""), "", LISTED, LISTED),
    ("8", ("", ""), "HOSP", "1.3", ""),
]


@pytest.mark.parametrize(("patient", "sent", "used", "found", "administered"), SENT)
def test_the_issuer_as_sent_decides(
    patient: str, sent: tuple[str, str], used: str, found: str, administered: str
) -> None:
    """In both SOP Classes, both attributes, brought to one spelling; one that nobody knows names nobody."""
    world = two_hospitals()
    issuer, universal = sent
    decision = world.ask(arrival="10:05", P=patient, I=issuer, Q=universal)
    assert decision.given.get("issuer", "") == used
    if found in {"1.1", "1.2", "1.3"}:
        assert outcome(decision) == f"0000 4 {found}"
    else:
        assert (outcome(decision), decision.comment) == ("C103", found)
    unusable = {"issuer-not-listed"} if found == LISTED else {"issuers-contradict"} if found == TWO else set()
    assert codes(decision) & {"issuer-not-listed", "issuers-contradict"} == unusable
    record = world.administer(patient, issuer=issuer, qualifier=universal)
    assert (record.status, record.comment) == ((0xC110, administered) if administered else (0, ""))
    assert record.given.get("issuer", "") == used
    assert codes(record) & {"issuer-not-listed", "issuers-contradict"} == unusable


COMPARED = [
    # study named by U, (0010,0021), (0010,0024), outcome, comment
    ("1.1", "Hospital", "", "0000 1 1.1", ""),
    ("1.1", "EAST", "", "C104", comments.PATIENT_CONTRADICTS),
    ("1.1", "", "EAST", "C104", comments.PATIENT_CONTRADICTS),
    ("1.2", "EAST", "", "0000 1 1.2", ""),
    ("1.2", "", "", "C104", comments.PATIENT_CONTRADICTS),  # the policy's issuer is the other's
    ("1.1", "WEST", "", "C104", LISTED),
    ("1.1", "HOSP", "EAST", "C104", TWO),
    ("1.1", "NORTH", "", "C104", comments.UNKNOWN_FOR_STUDY),
]


@pytest.mark.parametrize(("study", "sent", "universal", "expected", "comment"), COMPARED)
def test_the_issuer_as_sent_is_compared(study: str, sent: str, universal: str, expected: str, comment: str) -> None:
    """P agrees when the patient found has that ID under the issuer."""
    decision = two_hospitals().ask(arrival="10:05", U=study, P="7", I=sent, Q=universal)
    assert (outcome(decision), decision.comment) == (expected, comment)


def test_an_unusable_issuer_is_a_warning_where_mismatches_are_only_logged() -> None:
    """patient_mismatch = "log": B104, and the finding names what is missing."""
    world = two_hospitals()
    decision = world.ask(arrival="10:05", U="1.1", P="7", I="WEST", policy=replace(POLICY, patient_mismatch="log"))
    assert outcome(decision) == "B104 1 1.1"
    assert codes(decision) == {"patient-id-differs", "issuer-not-listed"}


@pytest.mark.parametrize(
    ("device", "policy", "used"), [("East Clinic", "HOSP", "EAST"), ("", "Hospital", "HOSP"), ("", "", "")]
)
def test_configured_issuers_have_the_same_spelling(device: str, policy: str, used: str) -> None:
    """The device's goes before the policy's; both are spelled as `[issuers]` says."""
    world = two_hospitals()
    asked = {"device": Device("D", patient_id_issuer=device), "policy": replace(POLICY, patient_id_issuer=policy)}
    decision = world.ask(arrival="10:05", P="7", **asked)  # type: ignore[arg-type]
    assert decision.given.get("issuer", "") == used
    assert decision.comment == ("" if used else comments.AMBIGUOUS_PATIENT)
    record = world.administer("7", **asked)  # type: ignore[arg-type]
    assert record.given.get("issuer", "") == used
    assert record.comment == ("" if used else comments.AMBIGUOUS_PATIENT)


GIVEN = [
    # (0010,0021), (0010,0024), members of match.given
    ("HOSP", "", {"issuer": "HOSP"}),
    ("Hospital", "", {"issuer": "HOSP", "issuer_as_sent": "Hospital"}),
    ("", OID, {"issuer": "HOSP", "issuer_universal_entity_id": OID}),
    ("HOSP", OID, {"issuer": "HOSP", "issuer_universal_entity_id": OID}),
    ("WEST", "", {"issuer_as_sent": "WEST"}),
    ("EAST", OID, {"issuer_as_sent": "EAST", "issuer_universal_entity_id": OID}),
    ("", "", {"issuer": "HOSP"}),
]


@pytest.mark.parametrize(("sent", "universal", "members"), GIVEN)
def test_what_was_sent_is_shown_beside_what_is_used(sent: str, universal: str, members: Mapping[str, str]) -> None:
    """The published match has the issuer as used, and as sent where that differs."""
    world = two_hospitals()
    decisions = [
        world.ask(arrival="10:05", P="7", I=sent, Q=universal),
        world.administer("7", issuer=sent, qualifier=universal),
    ]
    for decision in decisions:
        assert {name: value for name, value in decision.given.items() if name.startswith("issuer")} == members


def test_the_issuer_of_a_placeholder_says_nothing() -> None:
    """A placeholder is not given, and so is whose it would be."""
    world = two_hospitals()
    assert outcome(world.ask(arrival="10:05", U="1.1", P="UNKNOWN", I="WEST")) == "0000 1 1.1"


# --- what is known without an issuer -----------------------------------------------------------------------------------


def test_an_id_that_an_authority_gave_is_no_other_authoritys() -> None:
    """A patient who was known without issuer and got one later is found under that one only."""
    world = World(NO_ISSUER, issuers=ISSUERS)
    world.open("1.1", "10:00", "7")
    assert outcome(world.ask(arrival="10:01", P="7", I="EAST")) == "0000 4 1.1"
    world.patient("7", "HOSP")
    assert world.known("1.1").patient_id == ("7", "HOSP")
    assert world.ask(arrival="10:01", P="7", I="EAST").comment == UNKNOWN
    assert outcome(world.ask(U="1.1", P="7", I="EAST")) == "C104"
    assert world.administer("7", issuer="EAST").status == 0xC110
    for sent in ("Hospital", ""):
        assert outcome(world.ask(P="7", I=sent)) == "0000 4 1.1"
        assert codes(world.ask(U="1.1", P="7", I=sent)) == set()


def test_an_id_without_issuer_is_nobodys_while_an_authority_has_given_it_to_another() -> None:
    """To find it must be the only one; to compare, it agrees under any issuer under which nobody else has it."""
    world = World(NO_ISSUER, issuers=ISSUERS)
    world.open("1.1", "10:00", "7")
    world.registry.apply(  # a patient of EAST beside it, as an older version may have stored it
        100, 0, {"what": "patient.changed", "id": "7", "issuer": "EAST", "key": "EAST|7", "other_ids": [],
                 "former_ids": [], "placeholder": ""}
    )  # fmt: skip
    assert world.ask(arrival="10:01", P="7", I="HOSP").comment == UNKNOWN
    assert outcome(world.ask(U="1.1", P="7", I="HOSP")) == "0000 1 1.1"
    assert outcome(world.ask(U="1.1", P="7", I="EAST")) == "C104"
    assert outcome(world.ask(U="1.1", P="7")) == "0000 1 1.1"
    assert world.ask(P="7").comment == comments.AMBIGUOUS_PATIENT


# --- feeds, files and HTTP ---------------------------------------------------------------------------------------------


def test_feeds_are_spelled_as_they_come_in() -> None:
    """Whatever a feed calls an authority, its patients and their other IDs stand under one spelling."""
    world = World(issuers=ISSUERS)
    world.patient("7", OID, other_ids=[{"id": "70", "issuer": "East Clinic"}, {"id": "71"}])
    [patient] = world.registry.patients()
    assert (patient.current, patient.key) == (("7", "HOSP"), "HOSP|7")
    assert patient.other_ids == (("70", "EAST"), ("71", "HOSP"))
    assert world.patient("7", "Hospital") == []  # the same, said again
    assert world.study("1.1", patient=("70", "EAST"), status="open")[0].change["patient"] == patient.current.as_json()
    world.admission("V1", "7", issuer="Hospital")
    assert [admission.issuer for admission in world.registry.admissions()] == ["HOSP"]
    for sent in ("HOSP", OID):
        assert world.administer("", "V1", issuer_of_admission_id=sent).patient_id == "7"
    assert world.administer("", "V1", issuer_of_admission_id="EAST").status == 0xC110
    assert world.administer("", "V1", issuer_of_admission_id=OID).given["issuer_of_admission_id_as_sent"] == OID


def test_an_admission_without_issuer_is_meant_by_a_known_issuer_only() -> None:
    """A visit number of an authority that nobody knows may equal ours by chance."""
    world = World(issuers=ISSUERS)
    world.admission("V1", "7")
    assert world.administer("", "V1", issuer_of_admission_id="HOSP").patient_id == "7"
    assert world.administer("", "V1", issuer_of_admission_id="WEST").status == 0xC110
    assert codes(world.administer("7", "V1", issuer_of_admission_id="WEST")) == {"admission-unknown"}


def test_an_admission_of_an_authority_is_not_the_one_known_without_issuer() -> None:
    """Two hospitals count their visits alike: neither feed is refused, and nobody gets the other's drugs."""
    world = World(issuers=ISSUERS)
    world.admission("V1", "7")
    world.admission("V1", "8", issuer="East Clinic")
    assert world.administer("", "V1", issuer_of_admission_id="EAST").patient_id == "8"
    assert world.administer("", "V1", issuer_of_admission_id="HOSP").status == 0xC110
    assert world.administer("", "V1").comment == comments.ADMISSION_AMBIGUOUS
    assert world.admission("V1", "8", issuer="EAST", status="active") == []


def test_the_registry_file_tells_entries_apart_by_the_spelling_used() -> None:
    """A line whose issuer is only spelled anew is no new patient."""
    world = World(issuers=ISSUERS)
    lines: dict[str, Any] = {"patients": [{"id": "7", "issuer": "Hospital", "name": "Doe^J"}]}
    world.take(apply_file(world.registry, None, lines, POLICY, world.now).records)
    lines["patients"][0]["issuer"] = OID
    planned = apply_file(world.registry, None, lines, POLICY, world.now)
    assert [record.change["what"] for record in planned.records] == ["file.read"]
    assert planned.refused == []


def respelled(world: World, issuers: Mapping[str, list[str]]) -> World:
    """The same history under another `[issuers]`, as after a restart."""
    again = World(world.policy, issuers=issuers)
    for entry in world.log:
        again.registry.apply(*entry)
    again.log = list(world.log)
    again.now = world.now
    return again


def test_what_is_stored_is_compared_through_the_spelling() -> None:
    """A history from before `[issuers]` listed a spelling is applied as it was stored, and found by every spelling."""
    world = World(NO_ISSUER)
    world.open("1.1", "10:00", ("7", "Hospital"))
    world.admission("V1", "7", issuer="Hospital")
    assert outcome(world.ask(arrival="10:01", P="7", I="Hospital")) == "0000 4 1.1"  # a patient has it
    assert world.ask(P="7", I="HOSP").comment == LISTED
    world = respelled(world, ISSUERS)
    assert world.known("1.1").patient_id == ("7", "Hospital")
    for sent in ("HOSP", "Hospital", OID):
        decision = world.ask(arrival="10:01", P="7", I=sent)
        assert (outcome(decision), codes(decision), decision.issuer) == ("0000 4 1.1", set(), "Hospital")
        assert codes(world.ask(U="1.1", P="7", I=sent)) == set()
        assert world.administer("", "V1", issuer_of_admission_id=sent).patient_id == "7"
    # What a feed says from now on is spelled, and the patient with it.
    assert world.patient("7", "Hospital") != []
    assert world.known("1.1").patient_id == ("7", "HOSP")
    assert world.registry.patients()[0].key == "Hospital|7"
    assert world.patient("7", OID) == []
    assert codes(world.ask(U="1.1", P="7", I="Hospital")) == set()
    assert len(world.registry.patients()) == 1


def test_two_patients_that_turn_out_to_be_one_are_ambiguous_until_they_are_merged() -> None:
    """The spelling that was given says which of them a merge means."""
    world = World(NO_ISSUER)
    world.open("1.1", "10:00", ("7", "Hospital"))
    world.open("1.2", "10:00", ("7", "HOSP"), location="LAB2")
    world = respelled(world, ISSUERS)
    for sent in ("HOSP", "Hospital"):
        assert world.ask(arrival="10:01", P="7", I=sent).comment == comments.AMBIGUOUS_PATIENT
        assert world.administer("7", issuer=sent).comment == comments.AMBIGUOUS_PATIENT
        assert outcome(world.ask(U="1.1", P="7", I=sent)) == "0000 1 1.1"
    with pytest.raises(Conflict, match="several"):
        world.patient("7", OID)
    body = {"prior": {"id": "7", "issuer": "Hospital"}}
    world.plan(changes.merge_patient, PatientId("7", "HOSP"), body)
    assert [study.patient_id for study in world.registry.studies()] == [("7", "HOSP"), ("7", "HOSP")]
    assert outcome(world.ask(U="1.1", P="7", I="Hospital")) == "0000 1 1.1"


def test_an_id_given_anew_names_the_new_patient_in_every_spelling() -> None:
    """Also where it was superseded under a spelling that `[issuers]` lists by now."""
    world = World(NO_ISSUER)
    world.open("1.1", "10:00", ("7", "Hospital"))
    world.plan(changes.merge_patient, PatientId("9", "Hospital"), {"prior": {"id": "7", "issuer": "Hospital"}})
    world = respelled(world, ISSUERS)
    assert outcome(world.ask(arrival="10:01", P="7", I="HOSP")) == "0000 4 1.1"
    world.patient("7", "HOSP")
    for sent in ("HOSP", "Hospital", OID):
        assert world.ask(P="7", I=sent).comment == comments.NO_CURRENT_STUDY
        assert outcome(world.ask(U="1.1", P="7", I=sent)) == "C104"


def test_an_other_id_is_another_patients_in_every_spelling() -> None:
    """Two patients cannot have it."""
    world = World(issuers=ISSUERS)
    world.patient("7", "Hospital")
    with pytest.raises(Conflict, match="other ID"):
        world.patient("9", "EAST", other_ids=[{"id": "7", "issuer": OID}])
    world.patient("9", "EAST", other_ids=[{"id": "7", "issuer": "East Clinic"}])
    with pytest.raises(Conflict, match="merge the two"):
        world.plan(change_patient_id, PatientId("9", "EAST"), PatientId("7", OID))


def test_one_spelling_stands_for_one_authority() -> None:
    """Two authorities with one name are no `[issuers]`."""
    with pytest.raises(ValueError, match="stands in both"):
        Issuers({"A": ["x"], "B": [" x "]})


# --- whatever feeds say and devices ask --------------------------------------------------------------------------------

AUTHORITIES = {"HOSP": ["Hospital"], "EAST": ["East Clinic"]}
AUTHORITY_OF = {"HOSP": "HOSP", "Hospital": "HOSP", "EAST": "EAST", "East Clinic": "EAST", "": ""}
IDS = ["7", "8"]
identifier = st.tuples(st.sampled_from(IDS), st.sampled_from(["", *AUTHORITY_OF]))
fed = st.one_of(
    st.tuples(st.just("patient"), identifier, st.lists(identifier, max_size=2)),
    st.tuples(st.just("study"), st.sampled_from(["1.1", "1.2", "1.3", "1.4"]), identifier),
    st.tuples(st.just("merge"), identifier, identifier),
    st.tuples(st.just("change"), identifier, identifier),
    st.tuples(st.just("respell"), st.booleans()),
)


class Told:
    """A world that random feeds have told something; what cannot be is refused, as in life."""

    def __init__(self) -> None:
        self.world = World(NO_ISSUER, issuers=AUTHORITIES)

    def tell(self, said: Any) -> None:
        world = self.world
        kind, *more = said
        try:
            match kind:
                case "patient":
                    (number, issuer), others = more
                    listed = [{"id": other, "issuer": of} for other, of in others]
                    world.patient(number, issuer, other_ids=listed)
                case "study":
                    world.study(more[0], patient=more[1], status="open", location="LAB1")
                case "merge":
                    survivor, (number, issuer) = more
                    prior = {"prior": {"id": number, "issuer": issuer}}
                    world.plan(changes.merge_patient, PatientId(*survivor), prior)
                case "change":
                    old, new = more
                    world.plan(change_patient_id, PatientId(*old), PatientId(*new))
                case "respell":
                    self.world = respelled(world, AUTHORITIES if more[0] else {})
        except Conflict:
            pass

    def authorities(self, number: int, patient_id: str) -> set[str]:
        """The authorities under which the registry's patient has an ID, by walking over what he shows."""
        patient = self.world.registry.patient_number(number)
        shown = (patient.current, *patient.former_ids, *patient.other_ids)
        return {AUTHORITY_OF[known.issuer] for known in shown if known.id == patient_id}


def _wrong(told: Told, decision: Decision, patient_id: str, authority: str) -> bool:
    """Whether an accepted request's patient has that ID of other authorities only."""
    if decision.status in {0xC101, 0xC103, 0xC104, 0xC110}:
        return False
    owner = told.world.registry.owner(PatientId(decision.patient_id, decision.issuer))
    assert owner is not None
    has = told.authorities(owner.number, patient_id)
    return not (authority in has or has == {""} or (not authority and has))


@settings(max_examples=100, deadline=None)
@given(st.lists(fed, max_size=10), st.sampled_from(["HOSP", "East Clinic"]))
def test_an_id_never_names_a_patient_of_another_authority(said: list[Any], configured: str) -> None:
    """Random issuers, spellings, merges and shared numbers: found or compared, the patient has that ID of that authority."""
    told = Told()
    for one in said:
        told.tell(one)
    told.world = world = respelled(told.world, AUTHORITIES)
    uids = [study.study_instance_uid for study in world.registry.studies()]
    asked = itertools.product(IDS, ["", "HOSP", "East Clinic", "WEST"], ["", "EAST"], ["", configured])
    for patient_id, issuer, qualifier, of_device in asked:
        sent = {AUTHORITY_OF.get(one, one) for one in (issuer, qualifier) if one}
        device = Device("D", patient_id_issuer=of_device)
        letters = {"P": patient_id, "I": issuer, "Q": qualifier}
        for decision in (
            world.ask(device=device, given=letters),
            world.administer(patient_id, issuer=issuer, qualifier=qualifier, device=device),
            *(world.ask(device=device, given=letters | {"U": uid}) for uid in uids),
        ):
            if len(sent) > 1 or "WEST" in sent:
                assert decision.status in {0xC103, 0xC104, 0xC110}
            else:
                assert not _wrong(told, decision, patient_id, next(iter(sent), AUTHORITY_OF[of_device]))


@settings(max_examples=100, deadline=None)
@given(st.lists(fed, max_size=12))
def test_spelling_rewrites_no_history(said: list[Any]) -> None:
    """The same changes under another `[issuers]` make the same patients, studies and owners."""
    told = Told()
    for one in said:
        told.tell(one)
    log = told.world.log
    plain, spelled = (Registry(Locations(LABS), Issuers(issuers)) for issuers in ({}, AUTHORITIES))
    for entry in log:
        plain.apply(*entry)
        spelled.apply(*entry)
    assert plain.patients() == spelled.patients()
    assert plain.studies() == spelled.studies()
    assert plain.admissions() == spelled.admissions()
