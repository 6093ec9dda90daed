"""Row 4: entries that were logged for one patient by mistake and are sent again for another one (contract section 1, Identity)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from plscp.statuses import PROCEDURAL_EVENT_LOGGING as SOP_CLASS
from tests import events
from tests.system.rows.rig import Rig, at

PA, PB = "1.2.826.1.1", "1.2.826.1.2"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """10:00: PA lies in LAB1, PB in LAB2."""
    with Rig(tmp_path) as rig:
        rig.clock("10:00")
        rig.study(PA, "PA", location="LAB1")
        rig.study(PB, "PB", location="LAB2")
        yield rig


def stent(number: int, clock: str = "10:10") -> Dataset:
    """A log entry with an Observation UID; the same number is the same entry."""
    entry = events.note(at(clock), f"stent {number}")
    entry.ObservationUID = f"1.2.826.9.{number}"
    return entry


def positions(rig: Rig, study: str) -> list[int]:
    """Where a study's entries are."""
    return [one.last.position for one in rig.store.timeline(study)]


def test_row_04_known_entries_sent_again_for_another_patient_are_refused(rig: Rig) -> None:
    """C104 instead of 0000 with the wrong patient's name; the move is proposed, nothing is moved, and it stays in quarantine."""
    assert str(rig.send(events.procedural([stent(1), stent(2)], patient="PA"), when="10:15")) == f"0000 {PA} PA"
    there = positions(rig, PA)
    answer = rig.send(events.procedural([stent(1), stent(2)], patient="PB"), when="10:20")
    assert (answer.status, answer.patient) == ("C104", "")
    assert (positions(rig, PA), positions(rig, PB)) == (there, [])
    [item] = rig.quarantined()
    [proposal] = rig.store.proposals()
    assert proposal.change["positions"] == there
    assert proposal.change["to"] == {"study_instance_uid": PB, "patient": {"id": "PB", "issuer": "HOSP"}}
    assert proposal.change["quarantine"] == item.id
    assert [event.topic for event in rig.events("proposal")] == [None]


def test_row_04_no_quarantine_item_of_another_patient_is_closed(rig: Rig) -> None:
    """Refused for PC, then logged for PA by mistake, then sent for PC once more: PC's item stays open."""
    for_pc = events.procedural([stent(1)], patient="PC")
    assert rig.send(for_pc, when="10:15").status == "C103"
    assert rig.send(events.procedural([stent(1)], patient="PA"), when="10:20").status == "0000"
    rig.study("1.2.826.1.3", "PC")
    assert rig.send(for_pc, when="10:25").status == "C104"
    [item] = rig.quarantined()
    assert [outcome["status"] for outcome in item.outcomes] == [0xC103, 0xC104]


def test_row_04_new_entries_are_matched_and_known_ones_elsewhere_refuse(rig: Rig) -> None:
    """The new entry goes to PB; the known one stands under PA: nothing of the request is logged."""
    assert rig.send(events.procedural([stent(1)], patient="PA"), when="10:15").status == "0000"
    both = events.procedural([stent(1), stent(2)], patient="PB")
    assert rig.send(both, when="10:20").status == "C104"
    assert positions(rig, PB) == []
    assert str(rig.send(events.procedural([stent(1), stent(2)], patient="PA"), when="10:21")) == f"0000 {PA} PA"
    assert len(positions(rig, PA)) == 2


def test_row_04_a_cumulative_log_is_matched_by_its_new_entries(rig: Rig) -> None:
    """Entries of this morning that are stored already do not make a log of this afternoon too old for its place."""
    rig.clock("10:15")
    assert rig.send(events.procedural([stent(1)], study=PA)).status == "0000"
    rig.clock("17:00")
    assert rig.send(events.procedural([stent(3, "16:59")], study=PA, location="LAB1")).status == "0000"
    log = [stent(1), stent(3, "16:59"), stent(4, "17:00")]
    assert str(rig.send(events.procedural(log, location="LAB1"), when="17:01")) == f"0000 {PA} PA"
    assert len(positions(rig, PA)) == 3


@pytest.mark.parametrize("given", [{}, {"study": PA}, {"patient": "PA"}, {"location": "LAB1"}], ids=str)
def test_row_04_a_cumulative_log_sent_again_after_the_grace_is_not_blocked(rig: Rig, given: dict[str, str]) -> None:
    """All entries known, the study closed long ago and another patient in its room: 0000, and nothing is added or proposed."""
    assert rig.send(events.procedural([stent(1), stent(2)], study=PA), when="10:15").status == "0000"
    rig.clock("11:00")
    rig.close(PA)
    rig.study("1.2.826.1.3", "PC", location="LAB1")
    again = events.procedural([stent(1), stent(2)], **given)
    assert str(rig.send(again, when="15:00")) == f"0000 {PA} PA"
    assert str(rig.send(events.procedural([stent(2)], **given), when="15:01")) == f"0000 {PA} PA"
    assert (len(rig.events()), rig.store.proposals()) == (2, [])


def test_row_04_the_answer_names_the_patient_of_now(rig: Rig) -> None:
    """A merge since then, and a restart: the entry stands under the survivor, whose ID and whose old ID both agree."""
    assert rig.send(events.procedural([stent(1)], patient="PA"), when="10:15").status == "0000"
    rig.merge("PM", "PA")
    rig.restart()
    for patient in ("PM", "PA"):
        assert str(rig.send(events.procedural([stent(1)], patient=patient, location="LAB1"))) == f"0000 {PA} PM"
    assert rig.send(events.procedural([stent(1)], patient="PB")).status == "C104"


def test_row_04_of_two_requests_that_race_one_learns_of_the_other(rig: Rig) -> None:
    """The same entry for two patients on two associations at once: one of them is logged, the other one refused."""
    with rig.scu("MOBILE") as one, rig.scu("MOBILE") as other:
        for number in range(8):
            entry = stent(10 + number)
            for scu, patient in ((one, "PA"), (other, "PB")):
                scu.send(SOP_CLASS, events.encoded(events.procedural([entry], patient=patient)))
            answers = sorted(scu.response().status for scu in (one, other))
            assert answers == [0, 0xC104]
    assert len(rig.events()) == 8
