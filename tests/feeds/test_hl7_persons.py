"""ADT: each trigger event that is read, what it does to persons and visits, and what it leaves alone."""

import pytest

from plscp.errors import BrokenMessage, Conflict, InvalidBody
from plscp.feeds.hl7_persons import EVENTS
from plscp.matching.model import Policy
from tests.feeds.hl7 import Hospital, message, pid, pv1

P1 = "P1^^^HOSP^MR"
V1 = "V1^^^HOSP"


def known() -> Hospital:
    """A hospital where P1 lies in bed W3^12 with visit V1."""
    hospital = Hospital()
    hospital.hear(message("ADT^A01", pid(P1, "Muster^Maria", "19600102", "F"), pv1("W3^12", V1)))
    return hospital


def visit(hospital: Hospital, number: str = "V1") -> tuple[str, str, str]:
    """Of a visit: its patient's current ID, bed and status."""
    admission = hospital.registry.admission(number)
    assert admission is not None
    return admission.patient_id.id, admission.location, admission.status


# (trigger event, PV1, the visit's bed and status afterwards)
VISITS = [
    ("A01", pv1("W3^12", V1), "W3^12", "active"),
    ("A02", pv1("W4^1", V1), "W4^1", "active"),
    ("A03", pv1("W3^12", V1), "W3^12", "discharged"),
    ("A04", pv1("ED^3", V1), "ED^3", "active"),
    ("A05", pv1("", V1), "W3^12", "active"),
    ("A06", pv1("W5^1", V1), "W5^1", "active"),
    ("A07", pv1("OPD", V1), "OPD", "active"),
    ("A08", pv1("W4^2&2B", V1), "W4^2", "active"),
    ("A08", pv1('""', V1), "", "active"),
    ("A09", pv1("W3^12", V1, "TRANSPORT"), "TRANSPORT", "active"),
    ("A10", pv1("W3^12", V1, "CATH^LAB1"), "CATH^LAB1", "active"),
    ("A11", pv1("W3^12", V1), "W3^12", "cancelled"),
    ("A12", pv1("W3^12", V1), "W3^12", "active"),
    ("A13", pv1("W3^12", V1), "W3^12", "active"),
    ("A38", pv1("", V1), "W3^12", "cancelled"),
]


@pytest.mark.parametrize(
    ("event", "place", "bed", "status"), VISITS, ids=lambda value: value if len(value) == 3 else ""
)
def test_what_a_trigger_makes_of_a_visit(event: str, place: str, bed: str, status: str) -> None:
    """Bed and status; the person stays who she is, and no study moves."""
    hospital = known()
    hospital.open("1.2.3", "11:00", ("P1", "HOSP"))
    hospital.hear(message(f"ADT^{event}", pid(P1), place))
    assert visit(hospital) == ("P1", bed, status)
    assert hospital.known("1.2.3").location == "LAB1"
    assert hospital.registry.patients()[0].name == "Muster^Maria"


def test_a_cancelled_discharge_and_a_discharge_that_is_first_heard_of_by_an_update() -> None:
    """A13 makes the visit active again; an A08 with a discharge time (PV1-45) is of one that is over."""
    hospital = known()
    hospital.hear(message("ADT^A03", pid(P1), pv1("", V1)))
    hospital.hear(message("ADT^A13", pid(P1), pv1("", V1)))
    assert visit(hospital)[2] == "active"
    hospital.hear(message("ADT^A08", pid(P1), pv1("", "V2^^^HOSP") + "|" * 26 + "202405130900"))
    assert visit(hospital, "V2")[2] == "discharged"


def test_every_message_again_changes_nothing() -> None:
    """Control ids need not be remembered: what is said a second time is no difference."""
    hospital = known()
    hospital.hear(message("ADT^A40", pid("P2^^^HOSP"), "MRG|P1^^^HOSP"))
    hospital.hear(message("ADT^A47", pid("P3^^^HOSP"), "MRG|P2^^^HOSP"))
    said = [
        message("ADT^A31", pid("P3^^^HOSP", "Muster^Maria", "19600102", "F")),
        message("ADT^A08", pid("P3^^^HOSP"), pv1("W3^12", V1)),
        message("ADT^A40", pid("P2^^^HOSP"), "MRG|P1^^^HOSP"),
        message("ADT^A47", pid("P3^^^HOSP"), "MRG|P2^^^HOSP"),
        message("ADT^A40", pid("P3^^^HOSP"), "MRG|P1^^^HOSP"),
    ]
    for each in said:
        hospital.hear(each)
    assert [hospital.hear(each) for each in said] == [[]] * len(said)


def test_account_number_stands_for_a_visit_number_that_is_missing() -> None:
    """PID-18 where PV1-19 is empty."""
    hospital = Hospital()
    hospital.hear(message("ADT^A04", pid(P1, account="ACC7^^^HOSP"), pv1("ED")))
    assert visit(hospital, "ACC7") == ("P1", "ED", "active")


def test_a_person_of_several_identifiers() -> None:
    """The issuer of `[matching] patient_id_issuer` goes first, then PI and MR; account numbers are no person's."""
    hospital = Hospital()
    hospital.hear(message("ADT^A28", pid("77^^^NAT^NI~A9^^^HOSP^AN~P1^^^HOSP^MR~UNKNOWN^^^X")))
    assert hospital.ids("77") == ("P1", ["77"], [])
    hospital = Hospital()
    hospital.hear(message("ADT^A28", pid("77^^^NAT^MR~P1^^^HOSP")))
    assert hospital.ids("77") == ("P1", ["77"], [])
    hospital = Hospital(Policy())
    hospital.hear(message("ADT^A28", pid("77^^^NAT^NI~P1^^^HOSP^MR")))
    assert hospital.ids("77") == ("P1", ["77"], [])


def test_authorities_by_universal_id_and_by_other_spellings() -> None:
    """CX-4's namespace, else its universal ID, through [issuers]."""
    hospital = Hospital(issuers={"HOSP": ["1.2.99"]})
    hospital.hear(message("ADT^A28", pid("P1^^^&1.2.99&ISO^MR", "A^B")))
    hospital.hear(message("ADT^A31", pid("P1^^^HOSP", "C^D")))
    [patient] = hospital.registry.patients()
    assert (patient.current, patient.name) == (("P1", "HOSP"), "C^D")


def test_a_new_first_identifier_of_a_known_person_is_one_more() -> None:
    """Somebody known by one ID gets no second person when a message puts another ID before it."""
    hospital = Hospital(Policy())
    hospital.hear(message("ADT^A28", pid("77^^^NAT")))
    hospital.hear(message("ADT^A31", pid("P1^^^HOSP^MR~77^^^NAT^NI", "A^B")))
    assert hospital.ids("P1") == ("77", ["P1"], [])
    assert len(hospital.registry.patients()) == 1


def test_what_is_empty_is_not_said_and_what_is_deleted_is_emptied() -> None:
    """Name, birth date and sex; a birth date that is not known to the day says nothing."""
    hospital = known()
    hospital.hear(message("ADT^A08", pid(P1, "", "1960")))
    patient = hospital.registry.patients()[0]
    assert (patient.name, patient.birth_date, patient.sex) == ("Muster^Maria", "19600102", "F")
    hospital.hear(message("ADT^A08", pid(P1, '""', '""', '""')))
    patient = hospital.registry.patients()[0]
    assert (patient.name, patient.birth_date, patient.sex) == ("", "", "")


def test_a_name_is_ordered_as_dicom_has_it() -> None:
    """XPN has the suffix before the prefix, PN after it; characters that a PN does not have become spaces."""
    hospital = Hospital()
    hospital.hear(message("ADT^A28", pid(P1, "Muster&von^Maria^K^Jr^Dr\\S\\h~Alias^X")))
    assert hospital.registry.patients()[0].name == "Muster^Maria^K^Dr h^Jr"


# --- IDs that come again ---


def test_a_superseded_id_means_the_surviving_patient() -> None:
    """A08 that still names the old ID updates the survivor; one with another birth date updates nobody."""
    hospital = known()
    hospital.hear(message("ADT^A40", pid("P2^^^HOSP", "Muster^Maria", "19600102"), "MRG|P1^^^HOSP"))
    hospital.hear(message("ADT^A08", pid(P1, "Muster^Mia", "19600102"), pv1("W9", V1)))
    assert (hospital.ids("P1")[0], hospital.registry.patients()[0].name) == ("P2", "Muster^Mia")
    assert visit(hospital) == ("P2", "W9", "active")
    hospital.hear(message("ADT^A08", pid(P1, "Other^One", "19990909")))
    assert hospital.registry.patients()[0].name == "Muster^Mia"
    assert hospital.notes


def test_an_emergency_id_that_is_used_again_is_a_new_patients() -> None:
    """Registered anew for somebody visibly else, the ID names the new patient only; for the same person it stays hers."""
    hospital = Hospital()
    hospital.hear(message("ADT^A04", pid("TRAUMA7^^^HOSP", "Trauma^Seven"), pv1("ED", V1)))
    hospital.hear(message("ADT^A40", pid("P9^^^HOSP", "Real^Name", "19700101"), "MRG|TRAUMA7^^^HOSP"))
    hospital.hear(message("ADT^A04", pid("TRAUMA7^^^HOSP", "Real^Name", "19700101"), pv1("ED", V1)))
    assert hospital.ids("TRAUMA7")[0] == "P9"
    hospital.hear(message("ADT^A04", pid("TRAUMA7^^^HOSP", "Trauma^Seven"), pv1("ED", "V2^^^HOSP")))
    assert hospital.ids("TRAUMA7") == ("TRAUMA7", [], [])
    assert hospital.ids("P9")[2] == []
    assert (visit(hospital)[0], visit(hospital, "V2")[0]) == ("P9", "TRAUMA7")


def test_another_id_does_not_make_somebody_else_of_a_patient() -> None:
    """Registered under another ID of a known patient with another name or birth date: a conflict; an update is not taken."""
    hospital = Hospital()
    hospital.hear(message("ADT^A28", pid("P1^^^HOSP^MR~P2^^^HOSP^MR", "Muster^Maria", "19600102")))
    with pytest.raises(Conflict):
        hospital.hear(message("ADT^A01", pid("P2^^^HOSP^MR", "Other^One", "19990909"), pv1("W", V1)))
    hospital.hear(message("ADT^A31", pid("P2^^^HOSP^MR", "Other^One", "19990909")))
    assert hospital.notes
    assert hospital.registry.patients()[0].name == "Muster^Maria"


@pytest.mark.parametrize(
    ("name", "born", "own"),
    [("Muster^Baby", "20240501", "P2^^^X^MR"), ("Muster^Maria", "19600102", "P2^^^HOSP^MR")],
    ids=["mother and child", "twins"],
)
def test_a_number_that_a_family_shares_names_one_of_them_only(name: str, born: str, own: str) -> None:
    """Who has an ID of the same authority already, or another name or birth date, is another person."""
    hospital = Hospital()
    hospital.hear(message("ADT^A28", pid("P1^^^HOSP^MR~77^^^INS^HC", "Muster^Maria", "19600102")))
    with pytest.raises(Conflict):
        hospital.hear(message("ADT^A04", pid(f"{own}~77^^^INS^HC", name, born), pv1("W", V1)))
    assert hospital.ids("77") == ("P1", ["77"], [])


def test_a_new_visit_of_somebody_visibly_else_is_nobodys() -> None:
    """It must not name the patient who has the ID by now; a visit that is known goes on."""
    hospital = known()
    hospital.hear(message("ADT^A40", pid("P2^^^HOSP", "Muster^Maria", "19600102"), "MRG|P1^^^HOSP"))
    with pytest.raises(Conflict):
        hospital.hear(message("ADT^A08", pid(P1, "Other^One", "19990909"), pv1("W9", "V9^^^HOSP")))
    assert hospital.registry.admission("V9") is None
    hospital.hear(message("ADT^A02", pid(P1, "Other^One", "19990909"), pv1("W9", V1)))
    assert visit(hospital) == ("P2", "W9", "active")


def test_a_placeholder_names_nobody() -> None:
    """Neither a person nor a new visit; the bed of a known visit is taken."""
    hospital = known()
    hospital.hear(message("ADT^A04", pid("unknown"), pv1("ED", "V9")))
    assert len(hospital.registry.patients()) == 1
    assert hospital.registry.admission("V9") is None
    hospital.hear(message("ADT^A02", pid("unknown"), pv1("W8", V1)))
    assert visit(hospital) == ("P1", "W8", "active")


# --- merges ---


@pytest.mark.parametrize("event", ["A18", "A34", "A36", "A40"])
def test_merges(event: str) -> None:
    """The prior ID names the survivor from then on, with her studies and visits; one that is not known is kept all the same."""
    hospital = known()
    hospital.open("1.2.3", "11:00", ("P1", "HOSP"))
    hospital.hear(message(f"ADT^{event}", pid("P2^^^HOSP"), "MRG|P1^^^HOSP"))
    assert hospital.ids("P1") == ("P2", [], ["P1"])
    assert hospital.known("1.2.3").patient_id == ("P2", "HOSP")
    assert visit(hospital)[0] == "P2"
    hospital.hear(message(f"ADT^{event}", pid("P2^^^HOSP"), "MRG|NEVER^^^HOSP"))
    assert hospital.ids("NEVER")[0] == "P2"


def test_a_merge_that_is_turned_around() -> None:
    """The hospital mends its direction: the ID that survives is the current one, and the other one goes on naming her."""
    hospital = known()
    hospital.open("1.2.3", "11:00", ("P1", "HOSP"))
    hospital.hear(message("ADT^A40", pid("P2^^^HOSP"), "MRG|P1^^^HOSP"))
    around = message("ADT^A40", pid(P1), "MRG|P2^^^HOSP")
    hospital.hear(around)
    assert hospital.ids("P2") == ("P1", [], ["P2"])
    assert hospital.known("1.2.3").patient_id == ("P1", "HOSP")
    assert hospital.hear(around) == []


def test_an_old_merge_that_comes_again_is_proposed_where_the_prior_id_is_another_patients_by_now() -> None:
    """TRAUMA7 was merged into P9 and is the next patient's: the message once more moves nobody; her own merge is made."""
    hospital = Hospital()
    merge = message("ADT^A40", pid("P9^^^HOSP", "Real^Name", "19700101"), "MRG|TRAUMA7^^^HOSP")
    hospital.hear(message("ADT^A04", pid("TRAUMA7^^^HOSP", "Trauma^Seven"), pv1("ED", V1)))
    hospital.hear(merge)
    assert hospital.hear(merge) == []
    hospital.hear(message("ADT^A04", pid("TRAUMA7^^^HOSP", "Trauma^Seven"), pv1("ED", "V2^^^HOSP")))
    assert hospital.hear(merge) == ["proposal.merge"]
    assert hospital.notes == ["the prior Patient ID was the survivor's and was given anew since: a merge is proposed"]
    assert hospital.ids("TRAUMA7") == ("TRAUMA7", [], [])
    hospital.hear(message("ADT^A40", pid("P10^^^HOSP", "Next^Name"), "MRG|TRAUMA7^^^HOSP"))
    assert hospital.ids("TRAUMA7")[0] == "P10"
    assert (visit(hospital)[0], visit(hospital, "V2")[0]) == ("P9", "P10")


def test_several_merges_in_one_message_are_all_or_nothing() -> None:
    """A40 repeats PID and MRG; where one cannot be made none is."""
    hospital = Hospital()
    for each in ("A", "B", "C", "D"):
        hospital.hear(message("ADT^A28", pid(f"{each}^^^HOSP")))
    hospital.hear(message("ADT^A40", pid("A^^^HOSP"), "MRG|B^^^HOSP", pid("C^^^HOSP"), "MRG|D^^^HOSP"))
    assert (hospital.ids("B")[0], hospital.ids("D")[0]) == ("A", "C")
    with pytest.raises(Conflict):
        hospital.hear(message("ADT^A40", pid("X^^^HOSP"), "MRG|A^^^HOSP", pid("Y^^^HOSP"), "MRG|B^^^HOSP"))
    assert hospital.ids("A")[0] == "A"


def test_a_survivor_that_lists_the_prior_id_is_no_conflict() -> None:
    """PID-3 of the survivor may have the prior ID among its own already."""
    hospital = known()
    hospital.hear(message("ADT^A40", pid("P2^^^HOSP~P1^^^HOSP"), "MRG|P1^^^HOSP"))
    assert hospital.ids("P1") == ("P2", [], ["P1"])


def test_a_placeholder_that_fits_one_open_study_is_merged_and_else_proposed() -> None:
    """One open study that came with it: its patient survives as the real one. None or several: nothing moves, and it is proposed once."""
    hospital = Hospital()
    merge = message("ADT^A40", pid("P1^^^HOSP", "A^B"), "MRG|UNKNOWN")
    assert "proposal.merge" in hospital.hear(merge)
    [proposal] = hospital.proposed
    assert (proposal.change["to"]["patient"]["id"], proposal.change["prior"]["id"]) == ("P1", "UNKNOWN")
    hospital.open("1.2.3", "11:00", "UNKNOWN")
    hospital.hear(merge)
    assert hospital.known("1.2.3").patient_id.id == "P1"
    hospital.open("1.2.4", "11:00", "UNKNOWN", "LAB2")
    hospital.open("1.2.5", "11:00", "UNKNOWN", "LAB2")
    hospital.hear(message("ADT^A40", pid("P2^^^HOSP"), "MRG|UNKNOWN"))
    assert {hospital.known(uid).patient_id.issuer for uid in ("1.2.4", "1.2.5")} == {"plscp"}
    assert hospital.proposed[-1].subject != proposal.subject


def test_a47_changes_the_id() -> None:
    """The old one goes on naming her; an old one that is not known is kept; one of another patient is a conflict."""
    hospital = known()
    hospital.hear(message("ADT^A47", pid("P2^^^HOSP~P1^^^HOSP", "New^Name"), "MRG|P1^^^HOSP"))
    assert hospital.ids("P1") == ("P2", [], ["P1"])
    hospital.hear(message("ADT^A47", pid("P8^^^HOSP"), "MRG|P7^^^HOSP"))
    assert hospital.ids("P7")[0] == "P8"
    with pytest.raises(Conflict):
        hospital.hear(message("ADT^A47", pid("P8^^^HOSP"), "MRG|P2^^^HOSP"))


def test_a45_moves_visits() -> None:
    """Each MRG's visit belongs to the patient of PID from then on, known before or not."""
    hospital = known()
    hospital.hear(
        message("ADT^A45", pid("P2^^^HOSP"), "MRG|P1^^^HOSP||||V1^^^HOSP", pv1("W3", V1), "MRG|P1^^^HOSP||||V9^^^HOSP")
    )
    assert visit(hospital)[0] == "P2"
    assert visit(hospital, "V9")[0] == "P2"
    assert hospital.ids("P1")[0] == "P1"
    hospital.hear(message("ADT^A45", pid(P1), "MRG|P2^^^HOSP||||V1^^^HOSP"))
    assert visit(hospital)[:2] == ("P1", "W3")


def test_a45_moves_no_third_patients_visit() -> None:
    """A visit that is known as neither patient's is a conflict."""
    hospital = known()
    with pytest.raises(Conflict):
        hospital.hear(message("ADT^A45", pid("P2^^^HOSP"), "MRG|P3^^^HOSP||||V1^^^HOSP"))
    assert visit(hospital)[0] == "P1"


def test_a17_swaps_beds() -> None:
    """Both visits have the bed that the message gives them."""
    hospital = known()
    hospital.hear(message("ADT^A01", pid("P2^^^HOSP"), pv1("W4^1", "V2^^^HOSP")))
    hospital.hear(message("ADT^A17", pid(P1), pv1("W4^1", V1), pid("P2^^^HOSP"), pv1("W3^12", "V2^^^HOSP")))
    assert (visit(hospital)[1], visit(hospital, "V2")[1]) == ("W4^1", "W3^12")


def test_of_a_swap_each_patient_has_her_own_visit() -> None:
    """A17 in which the first patient comes without PV1: her visit is not that of the second."""
    hospital = known()
    hospital.hear(message("ADT^A17", pid("P2^^^HOSP"), pid(P1), pv1("W4^1", V1)))
    assert visit(hospital) == ("P1", "W4^1", "active")


def test_a24_links_and_a37_unlinks() -> None:
    """An ID that is not known yet names the known patient, until it is unlinked; of two known patients a merge is proposed, once."""
    hospital = known()
    hospital.hear(message("ADT^A24", pid("P2^^^HOSP"), pid(P1)))
    assert hospital.ids("P2")[0] == "P1"
    assert hospital.hear(message("ADT^A24", pid(P1), pid("P2^^^HOSP"))) == []
    hospital.hear(message("ADT^A37", pid("P2^^^HOSP"), pid(P1)))
    assert (hospital.ids("P2"), hospital.ids("P1")) == (("P2", [], []), ("P1", [], []))
    assert visit(hospital)[0] == "P1"
    hospital.hear(message("ADT^A24", pid(P1), pid("P2^^^HOSP")))
    assert (hospital.ids("P2")[0], len(hospital.proposed)) == ("P2", 1)


# --- what is refused ---

# (why, message)
REFUSED = [
    ("no PID", message("ADT^A08", pv1("W3", V1))),
    ("no Patient ID", message("ADT^A08", pid(""))),
    ("a birth date that is none", message("ADT^A08", pid(P1, "A^B", "19601345"))),
    ("a birth date in words", message("ADT^A08", pid(P1, "A^B", "2 Jan 1960"))),
    ("a merge without MRG", message("ADT^A40", pid(P1))),
    ("a merge without prior ID", message("ADT^A40", pid(P1), "MRG|")),
    ("one link", message("ADT^A24", pid(P1))),
    ("half a swap", message("ADT^A17", pid(P1), pv1("W3", V1))),
    ("no visit to move", message("ADT^A45", pid(P1), "MRG|P2^^^HOSP")),
    ("an ID of another character set", message("ADT^A08", pid("P\xe9^^^HOSP"), codec="latin-1")),
    ("an ID with an unknown escape", message("ADT^A08", pid("P\\C2842\\^^^HOSP"))),
]


@pytest.mark.parametrize(("why", "data"), REFUSED, ids=[why for why, _ in REFUSED])
def test_what_cannot_be_kept_is_refused_with_its_place(why: str, data: bytes) -> None:
    """With a place in the message, and nothing changes."""
    hospital = known()
    before = hospital.registry.position
    with pytest.raises(BrokenMessage) as caught:
        hospital.hear(data)
    assert caught.value.place, why
    assert not caught.value.rejected
    assert hospital.registry.position == before


def test_what_the_registry_forbids_is_a_conflict() -> None:
    """A visit of another patient; another patient's ID among the other IDs; an ID longer than one can be."""
    hospital = known()
    hospital.hear(message("ADT^A28", pid("P2^^^HOSP")))
    with pytest.raises(Conflict):
        hospital.hear(message("ADT^A01", pid("P2^^^HOSP"), pv1("W3", V1)))
    with pytest.raises(Conflict):
        hospital.hear(message("ADT^A08", pid("P2^^^HOSP~P1^^^HOSP")))
    with pytest.raises(InvalidBody):
        hospital.hear(message("ADT^A28", pid("9" * 65)))


def test_a_message_of_old_has_its_trigger_elsewhere_and_one_without_is_not_passed_over() -> None:
    """EVN-1 (v2.1); an ORM has one trigger only. Of others what has none is refused: it would be acknowledged and lost."""
    hospital = Hospital()
    assert hospital.hear(message("ADT", "EVN|A28", pid(P1))) == ["patient.changed"]
    assert hospital.hear(message("ORM", pid(P1), "ORC|NW", "OBR|1", "ZDS|1.2.3")) == ["study.scheduled"]
    for kind in ("ADT", "ADT^", "OMI", "MFN"):
        with pytest.raises(BrokenMessage) as caught:
            hospital.hear(message(kind, pid("P2^^^HOSP")))
        assert caught.value.place == ("MSH", 1, 9, 1, 2)


def test_other_triggers_do_not_concern_the_registry() -> None:
    """They are taken and ignored; so is every other message."""
    hospital = Hospital()
    read_ = {f"A{number:02}" for number in range(1, 63)} & EVENTS
    for number in range(1, 63):
        event = f"A{number:02}"
        if event not in read_:
            assert hospital.hear(message(f"ADT^{event}", pid(P1))) == ["ignored"]
    assert hospital.hear(message("ORU^R01", pid(P1))) == ["ignored"]
    assert hospital.registry.position == 0
