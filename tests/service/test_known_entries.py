"""The row of known entries of the identity table (contract section 1), through real associations, on both acceptors."""

import json
from collections.abc import Mapping

import pytest
from pydicom.dataset import Dataset

from plscp.matching import changes, comments
from plscp.matching.records import PatientId
from plscp.statuses import PROCEDURAL_EVENT_LOGGING as PEL
from plscp.store.port import Filter
from tests import events
from tests.rawscu import Response
from tests.service.conftest import POLICY, Running

UA, UB, US = (f"1.2.826.0.1.3680043.9.3811.7.{n}" for n in (1, 2, 3))


@pytest.fixture(autouse=True)
def rooms(running: Running) -> None:
    """PA's study in LAB1, PB's in LAB2."""
    running.study(UA, "PA", location="LAB1", study_id="SA")
    running.study(UB, "PB", location="LAB2", study_id="SB")


def entry(name: str) -> Dataset:
    """An entry that is always the same, with an Observation UID."""
    if name not in ENTRIES:
        made = events.note(events.now(-5), name)
        made.ObservationUID = f"1.2.3.{len(ENTRIES) + 1}"
        ENTRIES[name] = made
    return ENTRIES[name]


ENTRIES: dict[str, Dataset] = {}


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Each test has entries of its own time."""
    ENTRIES.clear()


def log(running: Running, names: str, **given: str) -> Response:
    """One request with these entries, its answer read and released."""
    dataset = events.procedural([entry(name) for name in names], **given)
    with running.scu("MOBILE") as scu:
        return scu.request(PEL, events.encoded(dataset))


def told(answer: Response) -> str:
    """Status, study and patient."""
    if not answer.data:
        return f"{answer.status:04X}"
    return f"{answer.status:04X} {answer.reply().StudyInstanceUID[-1]} {answer.reply().PatientID}"


def stored(running: Running) -> list[tuple[str, str]]:
    """(study, text) of each entry in the store."""
    values = [json.loads(event.payload) for event in running.store.read(Filter(kinds=("entry",)))]
    return [(value["study"]["study_instance_uid"], value["entry"]["text"]) for value in values]


# What was logged before (names of entries, identifiers), what is sent now, the answer, and how many entries are added.
Sent = tuple[str, dict[str, str]]
ROWS: dict[str, tuple[list[Sent], Sent, str, int]] = {
    "all known, nothing given": ([("a", {"study": UA})], ("a", {}), "0000 1 PA", 0),
    "all known, the same patient": ([("ab", {"study": UA})], ("b", {"patient": "PA"}), "0000 1 PA", 0),
    "all known, another patient": ([("a", {"study": UA})], ("a", {"patient": "PB"}), "C104", 0),
    "all known, another study": ([("a", {"study": UA})], ("a", {"study": UB}), "C104", 0),
    "all known, from where another patient is": ([("a", {"study": UA})], ("a", {"location": "LAB2"}), "0000 1 PA", 0),
    "all known, a study that nobody knows": ([("a", {"study": UA})], ("a", {"study": "1.9"}), "0000 1 PA", 0),
    "all known, another Study ID alone": ([("a", {"study": UA})], ("a", {"study_id": "SB"}), "C104", 0),
    "all known under two patients": (
        [("a", {"study": UA}), ("b", {"study": UB})],
        ("ab", {"patient": "PA"}),
        "C104",
        0,
    ),
    "new beside known, the same patient": ([("a", {"study": UA})], ("ab", {"patient": "PA"}), "0000 1 PA", 1),
    "new beside known, another patient": ([("a", {"study": UA})], ("ab", {"patient": "PB"}), "C104", 0),
    "new beside known, the new one finds nothing": ([("a", {"study": UA})], ("ab", {"patient": "PX"}), "C103", 0),
    "new beside known, from where another patient is": (
        [("a", {"study": UA})],
        ("ab", {"location": "LAB2"}),
        "C104",
        0,
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_known_entries(running: Running, row: str) -> None:
    """Never added again; under another study or patient than what is given now: C104, in quarantine, with a proposal."""
    before, (names, given), answer, added = ROWS[row]
    for earlier, said in before:
        assert log(running, earlier, **said).status == 0
    there = stored(running)
    refused = log(running, names, **given)
    assert told(refused) == answer
    assert stored(running)[: len(there)] == there
    assert len(stored(running)) == len(there) + added
    assert len(running.store.proposals()) == (answer == "C104")
    if answer == "C104":
        assert refused.comment == comments.KNOWN_ELSEWHERE
        [item] = running.store.quarantine(open_only=True)
        assert item.id == running.store.proposals()[0].change["quarantine"]


def test_the_proposal_says_what_would_be_moved_where(running: Running) -> None:
    """Positions, from where, to where, why, and where the request is kept; the same move is proposed once."""
    log(running, "ab", study=UA)
    positions = [event.position for event in running.store.read(Filter(kinds=("entry",)))]
    for names in ("ab", "abc", "abcd"):
        assert log(running, names, patient="PB").status == 0xC104
    [found] = running.store.proposals()
    about = {name: found.change[name] for name in ("positions", "from", "to", "because", "calling_ae")}
    assert about == {
        "positions": positions,
        "from": [{"study_instance_uid": UA, "patient": {"id": "PA", "issuer": "HOSP"}}],
        "to": {"study_instance_uid": UB, "patient": {"id": "PB", "issuer": "HOSP"}},
        "because": comments.KNOWN_ELSEWHERE,
        "calling_ae": "MOBILE",
    }
    assert running.store.first_broken_position() is None


def test_no_quarantine_item_of_another_patient_is_closed(running: Running) -> None:
    """A request for PB that was refused stays open although its entries stand under PA by now."""
    assert log(running, "a", patient="PB", study="1.9", study_id="S?").status == 0xB102
    assert log(running, "b", patient="PC").status == 0xC103
    assert log(running, "b", patient="PA").status == 0
    running.study("1.2.77", "PC")
    assert log(running, "b", patient="PC").status == 0xC104
    items = running.store.quarantine(open_only=True)
    assert [[outcome["status"] for outcome in item.outcomes] for item in items] == [[0xC103, 0xC104]]


def test_a_refused_request_whose_entries_came_in_for_its_own_patient_is_settled(running: Running) -> None:
    """No contradiction: its quarantine item is closed, and names where the first entry is."""
    assert log(running, "a", patient="PC").status == 0xC103
    running.study("1.2.77", "PC")
    assert log(running, "ab", patient="PC").status == 0
    assert told(log(running, "a", patient="PC")) == "0000 7 PC"
    assert running.store.quarantine(open_only=True) == []


def test_a_cumulative_log_grows_by_its_new_entries(running: Running) -> None:
    """Each time everything so far is sent, only the new ones are added."""
    for length in range(1, 5):
        assert told(log(running, "abcd"[:length], patient="PA")) == "0000 1 PA"
    assert [text for _, text in stored(running)] == ["a", "b", "c", "d"]


def test_a_coerced_study_does_not_contradict_the_second_time(running: Running) -> None:
    """The worklist's study was coerced to the one that is open; when it is open itself, the old entries stay where they are."""
    running.study(US, "PA", status="scheduled", location="LAB1")
    dataset = events.procedural([entry("a")], study=US)
    with running.scu("HEMO1") as scu:
        assert told(scu.request(PEL, events.encoded(dataset))) == "B102 1 PA"
    running.study(US, "PA", status="open", location="LAB1")
    with running.scu("HEMO1") as scu:
        assert told(scu.request(PEL, events.encoded(dataset))) == "0000 1 PA"
    assert running.store.proposals() == []


def merged(running: Running) -> None:
    body = {"prior": {"id": "PA", "issuer": "HOSP"}}
    running.change(
        lambda registry: changes.merge_patient(registry, PatientId("PM", "HOSP"), body, POLICY, events.now())
    )


@pytest.mark.parametrize(
    ("given", "answer"),
    [({"patient": "PA"}, "0000 1 PM"), ({"patient": "PM"}, "0000 1 PM"), ({"patient": "PB"}, "C104")],
)
def test_merges_are_followed(running: Running, given: Mapping[str, str], answer: str) -> None:
    """The patient under whom an entry stands now is the survivor; old and new ID agree, and the reply has the new one."""
    assert log(running, "a", patient="PA").status == 0
    merged(running)
    assert told(log(running, "a", location="LAB1", **given)) == answer


def test_a_retry_is_told_under_whom_its_event_stands_now(running: Running) -> None:
    """A merge since then: the stored status, study and the patient's current ID."""
    data = events.encoded(events.procedural([entry("a")], patient="PA", frame="1.2.3"))
    for patient in ("PA", "PM"):
        scu = running.scu("MOBILE").associate()
        scu.send(PEL, data)
        assert told(scu.response()) == f"B101 1 {patient}"
        scu.abort()
        if patient == "PA":
            merged(running)
    [note] = running.store.retries()
    assert (note.calling_ae, note.address) == ("MOBILE", "127.0.0.1")


def test_findings_of_a_decision_made_again_replace_the_ones_before(running: Running) -> None:
    """What the first decision noticed and the second did not is not stored with the entry."""
    running.study(US, "PC", status="scheduled")
    running.handlers._keeper.catch_up()
    stale = running.keeper.as_of(running.keeper.registry.position)
    running.study(US, "PC", status="open", opened=events.now(-60).isoformat())
    running.keeper.registry = stale
    assert log(running, "a", study=US).status == 0
    [value] = [json.loads(event.payload) for event in running.store.read(Filter(kinds=("entry",)))]
    assert value["findings"] == []
