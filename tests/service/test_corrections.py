"""Entries that stand under the wrong study or patient are moved, and moved back; the devices hear where they stand."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from plscp.errors import Conflict, InvalidBody, PlscpError
from plscp.matching import changes
from plscp.matching.bodies import parse
from plscp.matching.corrections import CorrectionBody, SettleBody
from plscp.matching.model import Place
from plscp.matching.records import PatientId
from plscp.records.parts import WithdrawnRecord
from plscp.records.values import AssignedRecord, EntryRecord, read
from plscp.service.corrections import CorrectionOutcome
from plscp.store.corrections import CORRECTION, CorrectionDraft, Proposal
from plscp.store.port import RegistryRecord, Result
from tests import events
from tests.matching.world import change_patient_id
from tests.system.rows.rig import Rig, at

A, B, C = "1.2.826.1", "1.2.826.2", "1.2.826.3"
WHY = {"why": "the recorder had the wrong study"}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A server with a study of each of two patients, and a second one of the second."""
    with Rig(tmp_path) as made:
        made.study(A, "PA", location="LAB1", study_id="SA")
        made.study(B, "PB", location="LAB2", study_id="SB", accession_number="AB")
        made.study(C, "PB", location="LAB2")
        made.clock("10:00")
        yield made


def log(rig: Rig, study: str, *numbers: int, **more: Any) -> str:
    """Entries with Observation UIDs, so that the same number is the same entry; the answer."""
    entries = []
    for number in numbers:
        entry = events.note(at(f"10:{number:02d}"), f"stent {number}")
        entry.ObservationUID = f"1.2.826.9.{number}"
        entries.append(entry)
    return str(rig.send(events.procedural(entries, study=study, **more), when="10:30"))


def make(rig: Rig, who: str = "me", **said: Any) -> CorrectionOutcome:
    """A correction by hand."""
    return rig.run(rig.corrections.make(parse(CorrectionBody, WHY | said), who))


def settle(rig: Rig, what: str, proposal_id: str, **said: Any) -> CorrectionOutcome:
    """Confirm, reject or revert."""
    call = getattr(rig.corrections, what)
    outcome: CorrectionOutcome = rig.run(call(found(rig, proposal_id), parse(SettleBody, WHY | said), "me"))
    return outcome


def found(rig: Rig, proposal_id: str) -> Proposal:
    """A correction."""
    known = rig.store.proposal(proposal_id)
    assert known is not None
    return known


def places(rig: Rig) -> dict[str, list[int]]:
    """By study, the positions of the entries that stand there."""
    return {uid: [one.entry.position for one in rig.store.timeline(uid)] for uid in (A, B, C)}


def place(study: str = "", patient: str = "", issuer: str = "") -> dict[str, Any]:
    """Where to."""
    return {"study_instance_uid": study} | ({"patient": {"id": patient, "issuer": issuer}} if patient else {})


def test_entries_are_moved_by_hand_and_published_whole(rig: Rig) -> None:
    """Withdrawn under the old key, assigned under the new one with all that it was; devices hear where it stands."""
    assert log(rig, A, 1, 2) == f"0000 {A} PA"
    first = rig.events()[0]
    made = make(rig, positions=[first.position], to=place(B))
    assert places(rig) == {A: [first.position + 1], B: [first.position], C: []}
    withdrawn, assigned = rig.events(CORRECTION)
    assert (withdrawn.key, assigned.key, assigned.position) == (A, B, withdrawn.position + 1)
    assert made.position == assigned.position
    was, gone, now = (read(json.loads(e.payload)["type"], e.payload) for e in (first, withdrawn, assigned))
    assert isinstance(was, EntryRecord)
    assert isinstance(gone, WithdrawnRecord)
    assert isinstance(now, AssignedRecord)
    said = gone.correction
    assert said == now.correction
    assert (said.id, said.event_id, said.event_position) == (made.id, first.event_id, first.position)
    assert (said.who, said.why) == ("me", WHY["why"])
    assert (said.moved_from.study_instance_uid, said.moved_from.patient.id) == (A, "PA")
    assert (said.moved_to.study_instance_uid, said.moved_to.patient.id) == (B, "PB")
    assert now.study is not None
    assert (now.study.study_instance_uid, now.study.study_id, now.study.accession_number) == (B, "SB", "AB")
    assert (now.patient.id, now.patient.issuer) == ("PB", "HOSP")
    same = ("request_id", "entry_index", "entry_count", "findings", "match", "sender", "context", "occurred", "entry")
    assert [getattr(now, name) for name in same] == [getattr(was, name) for name in same]
    assert rig.store.event(first.position) == first
    assert rig.store.first_broken_position() is None
    assert log(rig, B, 1) == f"0000 {B} PB"  # known, and it stands where the device says
    assert log(rig, A, 1) == "C104"
    assert log(rig, A, 1, 2, 3) == "C104"  # one of them stands elsewhere by now
    assert log(rig, A, 2, 3) == f"0000 {A} PA"


def test_an_administration_is_moved_to_a_patient(rig: Rig) -> None:
    """Named, or whose study is named; its key is the patient's as first seen."""
    assert str(rig.send(events.substance(at("10:10"), patient="PA"), substance=True)) == "0000"
    entry = rig.events()[0]
    make(rig, positions=[entry.position], to=place(B))
    rig.merge("PC", "PB")
    make(rig, positions=[entry.position], to=place(patient="PA"))
    moved = rig.events(CORRECTION)
    assert [event.key for event in moved] == ["HOSP|PA", "HOSP|PB", "HOSP|PB", "HOSP|PA"]
    assert {event.topic for event in moved} == {"medication-administration"}
    assert [json.loads(event.payload)["correction"]["moved_from"]["patient"]["id"] for event in moved[::2]] == [
        "PA",
        "PC",
    ]
    last = read(json.loads(moved[-1].payload)["type"], moved[-1].payload)
    assert isinstance(last, AssignedRecord)
    assert (last.study, last.patient.id, last.entry.kind) == (None, "PA", "substance_administered")


def test_a_proposal_is_confirmed(rig: Rig) -> None:
    """What devices brought about by contradicting: the entries go where they say, and are accepted there afterwards."""
    log(rig, A, 1, 2)
    assert log(rig, B, 1, 2) == "C104"
    [proposed] = rig.store.proposals()
    tried = settle(rig, "confirm", proposed.id, dry_run=True)
    assert [(one.moved_from.study_instance_uid, one.moved_to.study_instance_uid) for one in tried.moves] == [(A, B)] * 2
    assert (tried.position, places(rig)[B]) == (0, [])
    done = settle(rig, "confirm", proposed.id)
    assert len(places(rig)[B]) == 2
    known = found(rig, proposed.id)
    assert (known.state, known.who, known.why, known.settled) == ("confirmed", "me", WHY["why"], done.position)
    assert log(rig, B, 1, 2) == f"0000 {B} PB"
    with pytest.raises(Conflict, match="is confirmed, not proposed"):
        settle(rig, "confirm", proposed.id)


def test_a_confirmation_may_name_another_target(rig: Rig) -> None:
    """Also where the proposal names none, or no entries: then all that stand where it says."""
    log(rig, A, 1, 2)
    positions = places(rig)[A]
    nowhere = {"study_instance_uid": "", "patient": {"id": "", "issuer": ""}}
    change = {
        "what": "proposal.move",
        "positions": [],
        "from": [place(A, "PA")],
        "to": nowhere,
        "because": "wrong worklist entry",
    }
    rig.change(lambda _: [RegistryRecord.proposal(change, A, "ab12")])
    with pytest.raises(InvalidBody, match="name the study, or the patient"):
        settle(rig, "confirm", "ab12")
    settle(rig, "confirm", "ab12", why="", to=place(C))
    assert places(rig) == {A: [], B: [], C: positions}
    assert found(rig, "ab12").why == "wrong worklist entry"


def test_a_rejected_proposal_is_not_proposed_again(rig: Rig) -> None:
    """It stays in the list, with who said so and why."""
    log(rig, A, 1)
    assert log(rig, B, 1) == "C104"
    [proposed] = rig.store.proposals()
    settle(rig, "reject", proposed.id, why="it is PA's")
    assert log(rig, B, 1) == "C104"
    [known] = rig.store.proposals()
    assert (known.id, known.state, known.why) == (proposed.id, "rejected", "it is PA's")
    with pytest.raises(Conflict, match="is rejected, not proposed"):
        settle(rig, "confirm", known.id)


def test_a_correction_is_reverted_and_that_too(rig: Rig) -> None:
    """Only the latest of each entry; a revert is a correction, and another proposal of it is superseded."""
    log(rig, A, 1, 2)
    one, two = places(rig)[A]
    both = make(rig, positions=[one, two], to=place(B))
    single = make(rig, positions=[two], to=place(C))
    with pytest.raises(Conflict, match=f"{single.id} has moved the entry at {two} since"):
        settle(rig, "revert", both.id)
    back = settle(rig, "revert", single.id)
    assert places(rig) == {A: [], B: [one, two], C: []}
    assert [found(rig, each.id).state for each in (both, single, back)] == ["confirmed", "reverted", "confirmed"]
    with pytest.raises(Conflict, match=f"{back.id} has moved the entry at {two} since"):
        settle(rig, "revert", both.id)
    settle(rig, "revert", back.id)
    assert places(rig) == {A: [], B: [one], C: [two]}
    said = json.loads(rig.events(CORRECTION)[-1].payload)["correction"]
    assert said["reverts"] == back.id
    with pytest.raises(Conflict, match="is reverted, not confirmed"):
        settle(rig, "revert", back.id)


def test_a_revert_goes_back_to_the_patient_of_then_or_nowhere(rig: Rig) -> None:
    """Through merges; but never to a study that has become another patient's meanwhile."""
    log(rig, A, 1)
    [one] = places(rig)[A]
    moved = make(rig, positions=[one], to=place(B))
    rig.merge("PX", "PA")
    back = settle(rig, "revert", moved.id)
    assert back.moves[0].moved_to.patient.id == "PX"
    early = "1.2.826.4"
    rig.study(early, "PD", status="scheduled")
    assert log(rig, early, 2) == f"0000 {early} PD"
    [two] = rig.store.timeline(early)
    moved = make(rig, positions=[two.at.position], to=place(B))
    rig.study(early, "PZ", status="scheduled")  # nothing stands there: it may become somebody else's
    with pytest.raises(Conflict, match="came from a study that is another patient's by now"):
        settle(rig, "revert", moved.id)
    assert places(rig)[B] == [two.at.position]


@pytest.mark.parametrize(
    ("said", "error", "why"),
    [
        ({"to": place(B)}, InvalidBody, "positions: give them, or entries"),
        ({"positions": [1], "entries": place(A), "to": place(B)}, InvalidBody, "one of the two"),
        ({"positions": [6]}, InvalidBody, "to: name the study"),
        ({"positions": [6], "to": {}}, InvalidBody, "to: name the study"),
        ({"positions": [6], "to": place(B), "why": ""}, InvalidBody, "why: say why"),
        ({"positions": [1], "to": place(B)}, Conflict, "there is no entry at position 1"),
        ({"positions": [10**6], "to": place(B)}, Conflict, "there is no entry at position 1000000"),
        ({"positions": [6], "to": place("1.2.99")}, Conflict, "does not know that study"),
        ({"positions": [6], "to": place(patient="P9")}, Conflict, "names no patient"),
        ({"positions": [6], "to": place(patient="PB")}, Conflict, "has 2 studies"),
        ({"positions": [6], "to": place(B, "PA")}, Conflict, "the study is another patient's"),
        ({"positions": [6], "to": place(A)}, Conflict, "stand there already"),
        ({"positions": [6], "to": place(patient="PA")}, Conflict, "stand there already"),
        ({"entries": place(C), "to": place(B)}, Conflict, "no entry stands there"),
        ({"entries": {"calling_ae": "X"}, "to": place(B)}, InvalidBody, "name the study under which they stand"),
        ({"entries": place(A, "PA"), "to": place(B)}, InvalidBody, "name the study under which they stand"),
        ({"positions": [0], "to": place(B)}, InvalidBody, "positions.0"),
        ({"positions": list(range(1, 1002)), "to": place(B)}, Conflict, "1000 entries at most"),
        ({"positions": [6], "to": place(B), "wherefore": 1}, InvalidBody, "unknown key wherefore"),
    ],
    ids=repr,
)
def test_what_cannot_be_done_is_said(rig: Rig, said: dict[str, Any], error: type[PlscpError], why: str) -> None:
    """In one line; nothing is moved or kept."""
    assert log(rig, A, 1) == f"0000 {A} PA"
    head = rig.store.head()
    with pytest.raises(error, match=why):
        make(rig, **said)
    assert rig.store.head() == head
    assert rig.store.proposals() == []


def test_entries_are_chosen_by_device_and_time(rig: Rig) -> None:
    """Of a study or a patient, by any of his identifiers; a dry run says which."""
    log(rig, A, 1, 2)
    rig.send(events.procedural([events.note(at("10:03"), "other")], study=A), calling="OTHER")
    rig.merge("PX", "PA")
    rows: Sequence[tuple[dict[str, Any], list[int]]] = [
        (place(A), [6, 7, 8]),
        (place(patient="PX"), [6, 7, 8]),
        (place(patient="PA"), [6, 7, 8]),
        (place(A) | {"calling_ae": "OTHER"}, [8]),
        (place(A) | {"since": "2024-05-14T10:02:00Z"}, [7, 8]),
        (place(A) | {"since": "2024-05-14T12:02:00+02:00", "until": "2024-05-14T10:02:00Z"}, [7]),
    ]
    for entries, positions in rows:
        outcome = make(rig, entries=entries, to=place(B), dry_run=True)
        assert [one.position for one in outcome.moves] == positions, entries
    make(rig, entries=place(A), to=place(B))
    assert len(places(rig)[B]) == 3


@pytest.mark.parametrize("what", ["the registry", "the entry"])
def test_what_changes_at_the_worst_moment_is_seen(rig: Rig, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Between the plan and the commit: it is planned again on what is then, or refused; never done on what was."""
    log(rig, A, 1)
    [one] = places(rig)[A]
    submit, once = rig.corrections._submit, [True]

    async def held(draft: CorrectionDraft) -> Result:
        if once and once.pop():
            if what == "the registry":
                await rig.keeper.change(lambda registry: _merge(registry, rig), "http")
            else:
                to = parse(CorrectionBody, WHY | {"positions": [one], "to": place(C)})
                await rig.corrections.make(to, "somebody else")
        return await submit(draft)

    monkeypatch.setattr(rig.corrections, "_submit", held)
    outcome = make(rig, positions=[one], to=place(B))
    [moved] = outcome.moves
    if what == "the registry":
        assert moved.moved_to.patient.id == "PX"
    else:
        assert moved.moved_from.study_instance_uid == C
    assert places(rig) == {A: [], B: [one], C: []}


def test_what_is_moved_while_it_is_moved_back_stays(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A revert that was planned before a later move and comes after it does not undo that one."""
    log(rig, A, 1)
    [one] = places(rig)[A]
    moved = make(rig, positions=[one], to=place(B))
    submit, once = rig.corrections._submit, [True]

    async def held(draft: CorrectionDraft) -> Result:
        if once and once.pop():
            to = parse(CorrectionBody, WHY | {"positions": [one], "to": place(C)})
            await rig.corrections.make(to, "somebody else")
        return await submit(draft)

    monkeypatch.setattr(rig.corrections, "_submit", held)
    with pytest.raises(Conflict, match=f"has moved the entry at {one} since"):
        settle(rig, "revert", moved.id)
    assert places(rig) == {A: [], B: [], C: [one]}


def _merge(registry: Any, rig: Rig) -> Sequence[RegistryRecord]:
    body = {"prior": {"id": "PB", "issuer": "HOSP"}}
    return changes.merge_patient(registry, PatientId("PX", "HOSP"), body, rig.policy, rig.now)


def test_two_who_confirm_the_same_do_it_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is told that it is done."""
    log(rig, A, 1)
    log(rig, B, 1)
    [proposed] = rig.store.proposals()
    submit, once = rig.corrections._submit, [True]

    async def held(draft: CorrectionDraft) -> Result:
        if once and once.pop():
            await rig.corrections.confirm(proposed, parse(SettleBody, {}), "somebody else")
        return await submit(draft)

    monkeypatch.setattr(rig.corrections, "_submit", held)
    with pytest.raises(Conflict, match=f"{proposed.id} is confirmed, not proposed"):
        settle(rig, "confirm", proposed.id)
    assert len(rig.events(CORRECTION)) == 2


def test_a_replay_is_confirmed_by_replaying(rig: Rig) -> None:
    """What is refused still stays proposed."""
    change = {
        "what": "proposal.replay",
        "positions": [],
        "from": [],
        "to": place(A),
        "because": "by place",
        "quarantine": "f00",
    }
    rig.change(lambda _: [RegistryRecord.proposal(change, A, "ab12")])
    with pytest.raises(Conflict, match="cannot replay"):
        settle(rig, "confirm", "ab12")
    answers = ["refused still: C103 no study", ""]

    async def replay(item: str, to: Place) -> str:
        assert (item, to.study_instance_uid) == ("f00", A)
        return answers.pop(0)

    rig.corrections.replay = replay
    with pytest.raises(Conflict, match="refused still: C103"):
        settle(rig, "confirm", "ab12")
    assert found(rig, "ab12").state == "proposed"
    settle(rig, "confirm", "ab12")
    assert found(rig, "ab12").state == "confirmed"
    with pytest.raises(Conflict, match="moved nothing"):
        settle(rig, "revert", "ab12")


def test_a_merge_of_a_placeholder_is_confirmed_for_one_study(rig: Rig) -> None:
    """Whose placeholder it was, whoever confirms says; another study's patient is not merged by it."""
    rig.study("1.2.826.7", "UNKNOWN", location="LAB1")
    rig.study("1.2.826.8", "UNKNOWN", location="LAB2")
    to = {"study_instance_uid": "", "patient": {"id": "PR", "issuer": "HOSP"}}
    prior = {"id": "UNKNOWN", "issuer": "HOSP"}
    change = {"what": "proposal.merge", "positions": [], "from": [], "to": to, "prior": prior, "because": "several"}
    rig.change(lambda _: [RegistryRecord.proposal(change, A, "ab12", "org.plscp.proposal.merge.v1")])
    for wrong in ({}, {"to": place(A)}, {"to": place("1.2.99")}):
        with pytest.raises(Conflict):
            settle(rig, "confirm", "ab12", **wrong)
    settle(rig, "confirm", "ab12", to=place("1.2.826.8"))
    registry = rig.keeper.registry
    patients = [study.patient_id.id for uid in ("1.2.826.7", "1.2.826.8") if (study := registry.study(uid)) is not None]
    assert patients == ["PLSCP-1", "PR"]
    assert found(rig, "ab12").state == "confirmed"


def renamed(rig: Rig, old: str, new: str) -> None:
    """A patient gets another ID, and the old one is given to a new patient."""
    was, now = PatientId(old, "HOSP"), PatientId(new, "HOSP")
    rig.change(lambda registry: change_patient_id(registry, was, now, rig.policy, rig.now))
    rig.patient(old)


def test_a_merge_that_was_proposed_is_not_of_who_got_the_id_since(rig: Rig) -> None:
    """It was said of the one who had it then."""
    to = {"study_instance_uid": "", "patient": {"id": "PB", "issuer": "HOSP"}}
    prior = {"id": "PA", "issuer": "HOSP"}
    change = {"what": "proposal.merge", "positions": [], "from": [], "to": to, "prior": prior, "because": "linked"}
    rig.change(lambda _: [RegistryRecord.proposal(change, A, "ab12", "org.plscp.proposal.merge.v1")])
    renamed(rig, "PA", "PN")
    with pytest.raises(Conflict, match="given anew since"):
        settle(rig, "confirm", "ab12")
    registry = rig.keeper.registry
    assert registry.owner(PatientId("PA", "HOSP")) != registry.owner(PatientId("PB", "HOSP"))
    assert found(rig, "ab12").state == "proposed"


def test_entries_of_a_patient_are_not_those_of_who_had_the_id_before(rig: Rig) -> None:
    """PA gets another ID, which is given to a new patient: each has what came while the ID was his."""
    assert str(rig.send(events.substance(at("10:10"), patient="PA"), substance=True)) == "0000"
    renamed(rig, "PA", "PN")
    assert str(rig.send(events.substance(at("10:11"), patient="PA"), substance=True)) == "0000"
    before, after = (event.position for event in rig.events())
    for patient, position in (("PN", before), ("PA", after)):
        outcome = make(rig, entries=place(patient=patient), to=place(patient="PB"), dry_run=True)
        assert [one.position for one in outcome.moves] == [position], patient


def test_corrections_outlive_a_restart(rig: Rig) -> None:
    """Where entries stand, and what can be reverted, is in the store."""
    log(rig, A, 1)
    [one] = places(rig)[A]
    moved = make(rig, positions=[one], to=place(B))
    rig.restart()
    assert places(rig)[B] == [one]
    assert log(rig, B, 1) == f"0000 {B} PB"
    settle(rig, "revert", moved.id)
    rig.restart()
    assert places(rig)[A] == [one]
    assert rig.store.first_broken_position() is None
