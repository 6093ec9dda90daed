"""Requests in quarantine after registry changes: replayed by themselves only where nothing is in doubt, else proposed (section 3)."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from pydicom.dataset import Dataset

from plscp.errors import Conflict, StoreUnavailable
from plscp.matching import changes, second_look
from plscp.matching.model import Device, Operator, Place
from plscp.matching.records import PatientId
from plscp.service import waiting
from plscp.service.profile import Profile
from tests import events
from tests.serving import until
from tests.system.rows.rig import POLICY, Rig, at

U1, U2, U3 = (f"1.2.826.0.1.3680043.9.3811.10.{n}" for n in (1, 2, 3))
HEMO1, HEMO2 = Profile(Device("HEMO1", ("LAB1",)), POLICY), Profile(Device("HEMO2", ("LAB2",)), POLICY)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A server at 08:00 that looks again; a device in each of two labs."""
    with Rig(tmp_path, HEMO1, HEMO2, looks_again=True) as running:
        yield running


def refused(rig: Rig, when: str, status: str, *, device: str = "HEMO1", **given: str) -> Dataset:
    """A request with one note of that time, which is refused."""
    data = events.procedural([events.note(at(when))], **given)
    assert str(rig.send(data, calling=device, when=when)) == status
    return data


def came(rig: Rig) -> str:
    """What became of what was refused: ``replayed`` with the study, ``proposed`` with study and why, ``open``."""
    rig.settle()
    found = [json.loads(event.payload) for event in rig.events()]
    replayed = [f"replayed {e['study']['study_instance_uid'][-1]}" for e in found if e.get("replayed")]
    proposed = [f"proposed {p.change['to']['study_instance_uid'][-1:]}" for p in rig.store.proposals()]
    return ", ".join([*replayed, *proposed]) or "open"


def why(rig: Rig) -> str:
    """Of the only proposal."""
    [found] = rig.store.proposals()
    assert found.change["what"] == "proposal.replay"
    assert found.change["quarantine"] == rig.quarantined()[0].id
    return str(found.change["because"])


def test_what_is_repeated_for_long_is_concerned_by_where_it_came_first(rig: Rig) -> None:
    """It is judged by its first arrival: so a study of that time concerns it, however late the last repeat was."""
    data = refused(rig, "08:10", "C103")
    assert str(rig.send(data, calling="HEMO1", when=timedelta(hours=40))) == "C103"
    rig.study(U1, "PA", location="LAB1", status="closed", opened="2024-05-14T08:00:00Z", closed="2024-05-14T09:00:00Z")
    assert came(rig) == "proposed 1"


# --- what is replayed by itself ----------------------------------------------------------------------------------------


def test_c4_registered_at_the_department(rig: Rig) -> None:
    """Devices send before anything is registered: C103 while no study is there; replayed once the patient's study is opened there."""
    refused(rig, "08:01", "C103", patient="PA")
    rig.clock("08:20")
    rig.study(U1, "PA", location="LAB1")
    assert came(rig) == "replayed 1"
    assert rig.quarantined() == []
    [entry] = [json.loads(event.payload) for event in rig.events()]
    assert entry["replayed"]["source"] == "server"


def test_c4_another_patients_study_was_there(rig: Rig) -> None:
    """C104 then; when the patient's own study is opened, people are asked: who was in the room says otherwise."""
    rig.study(U2, "PB", location="LAB1")
    refused(rig, "08:01", "C104", patient="PA")
    rig.clock("08:20")
    rig.study(U1, "PA", location="LAB2")
    assert came(rig) == "proposed 1"
    assert why(rig) == second_look._ANOTHER


def test_what_was_proposed_is_done_by_a_replay_by_hand(rig: Rig) -> None:
    """Only where it went where the proposal said: else people are asked on."""
    rig.study(U2, "PB", location="LAB1")
    refused(rig, "08:01", "C104", patient="PA")
    rig.clock("08:20")
    rig.study(U1, "PA", location="LAB2")
    assert came(rig) == "proposed 1"
    outcome = rig.replayed()
    assert outcome.kept
    states = []
    for study in (U2, outcome.study_instance_uid):
        place = Place(study, outcome.patient_id, outcome.issuer)
        rig.run(rig.corrections.replayed(outcome.id, place, "operate"))
        states.append([(one.state, one.who, one.why) for one in rig.store.proposals()])
    assert states == [[("proposed", "", "")], [("confirmed", "operate", "replayed by hand")]]
    rig.run(rig.corrections.replayed(outcome.id, place, "somebody else"))
    assert [one.who for one in rig.store.proposals()] == ["operate"]


def test_c5_the_real_id_typed_before_the_merge(rig: Rig) -> None:
    """C104 against the emergency's generated patient; replayed once the merge says that it is the same person."""
    rig.study(U1, "UNKNOWN", location="LAB1")
    refused(rig, "08:01", "C104", patient="REAL")
    rig.clock("08:10")
    rig.merge("REAL", "UNKNOWN")
    assert came(rig) == "replayed 1"


def test_c5_a_second_emergency_with_the_same_placeholder(rig: Rig) -> None:
    """What was refused for its contradiction to the first emergency does not go to the second, nor the other way."""
    rig.study(U1, "UNKNOWN", location="LAB1")
    refused(rig, "08:01", "C104", patient="REAL")
    rig.clock("08:05")
    rig.close(U1)
    rig.clock("10:00")
    rig.study(U2, "UNKNOWN", location="LAB1")
    assert came(rig) == "open"
    rig.clock("10:10")
    with pytest.raises(Conflict):  # it may mean the first as well
        rig.merge("REAL", "UNKNOWN")
    rig.merge("REAL", "PLSCP-2", prior_issuer="plscp")  # the second
    assert came(rig) == "proposed 2"
    assert why(rig) == second_look._ANOTHER


def test_c5_a_device_that_sends_the_placeholder_is_matched_by_place_alone(rig: Rig) -> None:
    """A placeholder counts as not given: what comes of it is proposed, never done."""
    refused(rig, "08:01", "C103", patient="UNKNOWN")
    rig.clock("08:10")
    rig.study(U1, "UNKNOWN", location="LAB1", opened="2024-05-14T07:50:00Z")
    assert came(rig) == "proposed 1"
    assert why(rig) == second_look._BY_PLACE


def test_c9_evidence_of_a_study_that_is_opened_again(rig: Rig) -> None:
    """C101 by its Study Instance UID; a new step, or the API, opens it again: it names the study itself, however late that is."""
    rig.study(U1, "PA", location="LAB1")
    rig.clock("09:00")
    rig.close(U1)
    refused(rig, "10:00", "C101", study=U1)
    rig.clock(at("10:00") + timedelta(days=3))
    rig.study(U1, status="open")
    assert came(rig) == "replayed 1"


def test_c9_a_study_that_is_named_by_nobody_until_later(rig: Rig) -> None:
    """C103 by a UID that nobody knew; the order comes a day later."""
    refused(rig, "08:01", "C103", study=U1)
    rig.clock(at("08:00") + timedelta(days=1))
    rig.study(U1, "PA", location="LAB1", status="scheduled")
    assert came(rig) == "replayed 1"


def test_an_administration_of_a_patient_who_is_registered_then(rig: Rig) -> None:
    """C110; registered within the hour."""
    sent = events.substance(at("08:01"), patient="PA")
    assert str(rig.send(sent, calling="HEMO1", substance=True, when="08:01")) == "C110"
    rig.clock("08:30")
    rig.patient("PA")
    rig.settle()
    assert rig.quarantined() == []
    assert len(rig.events()) == 1


# --- what is proposed --------------------------------------------------------------------------------------------------


def test_found_by_place(rig: Rig) -> None:
    """Once for each place that it would go to, however often the study changes."""
    refused(rig, "08:01", "C103")
    rig.clock("08:10")
    rig.study(U1, "PA", location="LAB1", opened="2024-05-14T07:50:00Z")
    assert came(rig) == "proposed 1"
    rig.study(U1, study_id="S")
    rig.study(U1, accession_number="A")
    assert came(rig) == "proposed 1"
    assert len(rig.quarantined()) == 1


def test_a_study_of_another_day_does_not_concern_what_only_the_place_can_find(rig: Rig) -> None:
    """It is not even looked at."""
    refused(rig, "08:01", "C103")
    rig.clock(at("08:00") + timedelta(days=1))
    looked = rig.store.head()
    rig.study(U1, "PA", location="LAB1")
    assert came(rig) == "open"
    assert rig.store.head()[0] > looked[0]


@pytest.mark.parametrize(
    ("later", "study", "reason"),
    [
        (timedelta(hours=7), {"location": "LAB1"}, second_look._LONG_AGO),
        (timedelta(minutes=9), {"location": "LAB2"}, second_look._NOT_THERE),
    ],
)
def test_a_patient_who_is_named(rig: Rig, later: timedelta, study: dict[str, str], reason: str) -> None:
    """An ID that nobody had when it was typed may be somebody else's by now; who is in another room is not at this device."""
    refused(rig, "08:01", "C103", patient="PA")
    rig.clock(at("08:01") + later)
    rig.study(U1, "PA", **study)
    assert came(rig) == "proposed 1"
    assert why(rig) == reason


def test_who_comes_again_has_another_study(rig: Rig) -> None:
    """Late events of a patient's first study, when the second one is opened."""
    rig.study(U1, "PA", location="LAB1", opened="2024-05-14T07:00:00Z")
    rig.clock("08:00")
    rig.close(U1)
    refused(rig, "08:40", "C103", patient="PA")
    rig.clock("10:00")
    rig.study(U2, "PA", location="LAB1")
    assert came(rig) == "proposed 2"
    assert why(rig) == second_look._OF_ANOTHER_CASE


def test_another_patient_was_in_the_room(rig: Rig) -> None:
    """Though nobody was there by the rules when it was refused: the feed was late."""
    refused(rig, "08:01", "C103", patient="PA")
    rig.clock("08:30")
    rig.study(U2, "PB", location="LAB1", opened="2024-05-14T07:55:00Z")
    rig.clock("08:31")
    rig.close(U2)
    rig.clock("08:32")
    rig.study(U1, "PA", location="LAB1")
    assert came(rig) == "proposed 1"
    assert why(rig) == second_look._ANOTHER_THERE


def test_identifiers_that_contradict(rig: Rig) -> None:
    """It would be accepted with B104."""
    refused(rig, "08:01", "C103", study=U1, patient="PA", study_id="S1")
    rig.clock("08:10")
    rig.study(U1, "PA", location="LAB1", study_id="S2")
    assert came(rig) == "proposed 1"
    assert why(rig) == second_look._CONTRADICTS


def test_administrations_that_are_in_doubt(rig: Rig) -> None:
    """By the Admission ID alone; under a patient of another family name; long after."""
    by_admission = events.substance(at("08:01"), admission="V1")
    another_name = events.substance(at("08:02"), patient="PB")
    another_name.PatientName = "Doe^Jane"
    late = events.substance(at("08:03"), patient="PC")
    for sent in (by_admission, another_name, late):
        assert str(rig.send(sent, calling="HEMO1", substance=True, when="08:03")) == "C110"
    rig.admission("V1", "PA")
    rig.patient("PB", name="Smith^Jane")
    rig.clock("20:00")
    rig.patient("PC")
    rig.settle()
    reasons = {str(proposal.change["because"]) for proposal in rig.store.proposals()}
    assert reasons == {second_look._BY_ADMISSION, second_look._NAME, second_look._LONG_AGO}
    assert rig.events() == []


@pytest.mark.parametrize(("mode", "becomes"), [("automatic", "replayed 1"), ("propose", "proposed 1"), ("off", "open")])
def test_the_setting(rig: Rig, mode: Literal["automatic", "propose", "off"], becomes: str) -> None:
    """For a device or for all."""
    rig.use(replace(HEMO1, policy=replace(POLICY, replay=mode)))
    refused(rig, "08:01", "C103", study=U1)
    rig.study(U1, "PA", location="LAB1")
    assert came(rig) == becomes


# --- when it looks -----------------------------------------------------------------------------------------------------


def test_what_no_change_concerns_is_not_looked_at(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what one does, once for each."""
    looked: list[str] = []
    look_at = rig.second_look._look_at

    async def noted(item: second_look.OpenItem) -> None:
        looked.append(item.given.get("patient_id", ""))
        await look_at(item)

    monkeypatch.setattr(rig.second_look, "_look_at", noted)
    for patient in ("PA", "PB", "PC"):
        refused(rig, "08:01", "C103", patient=patient)
    rig.patient("PB", name="Doe^Jane")
    rig.settle()
    assert looked == ["PB"]
    rig.study(U3, "PX", location="LAB2")
    rig.patient("PX")
    rig.settle()
    assert looked == ["PB"]
    rig.merge("PB", "PC")
    rig.settle()
    assert sorted(looked) == ["PB", "PB", "PC"]


def test_what_a_restart_came_between_is_found_again(tmp_path: Path) -> None:
    """Refused, then the change, then the end of the server before anybody looked."""
    with Rig(tmp_path, HEMO1) as rig:
        refused(rig, "08:01", "C103", study=U1)
        rig.study(U1, "PA", location="LAB1")
        assert len(rig.quarantined()) == 1
        rig.looks_again = True
        rig.restart()
        assert came(rig) == "replayed 1"
        rig.restart()
        assert came(rig) == "replayed 1"
        assert len(rig.events()) == 1


def test_a_change_that_comes_while_a_refusal_is_stored_is_not_missed(rig: Rig) -> None:
    """The refusal is told after the change was: it was made on an older registry, so it waits at once."""
    quarantined = rig.handlers.quarantined

    def late(pending: Any) -> None:
        # The change is applied between the commit of the refusal and the moment when it is told.
        def plan(registry: Any) -> Any:
            body = {"study_instance_uid": U1, "patient": {"id": "PA"}, "status": "open", "location": "LAB1"}
            return changes.put_study(registry, body, POLICY, rig.now)

        def done(_: object) -> None:
            rig._loop.call_soon_threadsafe(quarantined, pending)

        rig.keeper.begin(plan, "http", done)

    rig.handlers.quarantined = late
    refused(rig, "08:01", "C103", study=U1)
    until(lambda: not rig.quarantined(), "the replay")
    assert came(rig) == "replayed 1"


def test_what_the_store_does_not_take_goes_on_waiting(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that fails for a while: nothing is lost, and devices were never told of it."""
    monkeypatch.setattr(waiting, "FAILED_SECONDS", 0.01)
    refused(rig, "08:01", "C103", study=U1)
    item, failing = rig.store.quarantine_item, [True, True]

    def read(item_id: str) -> Any:
        if failing and failing.pop():
            raise StoreUnavailable("away")
        return item(item_id)

    monkeypatch.setattr(rig.store, "quarantine_item", read)
    rig.study(U1, "PA", location="LAB1")
    until(lambda: rig.second_look.idle, "the second look")
    assert came(rig) == "replayed 1"
    assert failing == []


def test_the_watched_items_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first; nothing is left of them in the index."""
    monkeypatch.setattr(second_look, "MOST_ITEMS", 10)
    items = second_look.OpenItems(lambda _: ["LAB1"])
    for number in range(100):
        given = {"study_instance_uid": f"1.{number}", "performed_location": "L"}
        items.add(second_look.OpenItem(f"{number:016x}", "AE", 0xC103, at("08:00"), given, ("1.2",), 0))
    assert len(items) == 10
    assert len(items._by_key) == 11
    assert {len(ids) for ids in items._by_sender.values()} == {10}


def test_operators_who_may_by_now(tmp_path: Path) -> None:
    """C10E: judged again where the list of operators changes; the patient was named all along."""
    nobody = replace(HEMO1, operators=[])
    with Rig(tmp_path, nobody, looks_again=True) as rig:
        rig.patient("PA")
        sent = events.substance(at("08:01"), patient="PA")
        assert str(rig.send(sent, calling="HEMO1", substance=True, when="08:01")) == "C10E"
        rig.use(replace(HEMO1, operators=[Operator("N1001", "L")]))
        rig.patient("PA", name="Doe^Jane")
        rig.settle()
        assert len(rig.events()) == 1


def test_an_alias_that_is_given_later(rig: Rig) -> None:
    """The device sends an ID that by now is another one of a patient who was known all along."""
    rig.study(U1, "PA", location="LAB1")
    refused(rig, "08:01", "C104", patient="ALIAS")
    rig.patient("PA", other_ids=[{"id": "ALIAS", "issuer": "HOSP"}])
    assert came(rig) == "replayed 1"
    with rig.keeper.lock:
        assert rig.keeper.registry.owner(PatientId("ALIAS", "HOSP")) is not None
