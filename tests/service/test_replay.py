"""Replay: what is in quarantine is judged again as it arrived then, through the same identity (contract section 1)."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import jsonschema
import pytest
from pydicom.dataset import Dataset

from plscp.content.model import Bounds
from plscp.matching import changes
from plscp.matching.model import Device, Place
from plscp.matching.registry import Registry, microseconds
from plscp.records.parts import ENTRY_TYPE
from plscp.records.values import read
from plscp.service import handlers
from plscp.service.profile import Profile
from plscp.service.replay import ReplayOutcome
from plscp.store.port import Expunge, Filter
from tests import events
from tests.serving import until
from tests.store.drafts import ignore, send
from tests.system.rows.rig import POLICY, Rig, at

U1, U2 = (f"1.2.826.0.1.3680043.9.3811.9.{n}" for n in (1, 2))
HEMO1 = Profile(Device("HEMO1", ("LAB1",)), POLICY)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A server at 08:00 with a device in LAB1."""
    with Rig(tmp_path, HEMO1) as running:
        yield running


def note(clock: str, words: str = "") -> Dataset:
    """A note of that time."""
    return events.note(at(clock), words)


def nested(clock: str) -> Dataset:
    """An entry that is refused: C102."""
    return events.at(events.item("CONTAINS", "CONTAINER", events.NOTE), at(clock))


def entries(rig: Rig) -> list[dict[str, Any]]:
    """The published entries."""
    return [json.loads(event.payload) for event in rig.events()]


def refused(rig: Rig, *sent: Dataset, status: str = "C103", when: str = "08:01", **given: str) -> Dataset:
    """A request that is refused."""
    data = events.procedural(list(sent) or [note(when, "x")], **(given or {"patient": "PA"}))
    assert str(rig.send(data, calling="HEMO1", when=when)) == status
    return data


# --- the whole request -------------------------------------------------------------------------------------------------


def test_what_is_refused_still_says_what_to_do(rig: Rig) -> None:
    """As the log's line does; what is accepted says nothing."""
    refused(rig)
    outcome = rig.replayed(source="http")
    assert (outcome.outcome, outcome.status) == ("refused", 0xC103)
    assert "plscp study open" in outcome.hint
    rig.study(U1, "PA", location="LAB1")
    assert rig.replayed(source="http").hint == ""


def test_what_is_accepted_by_now_closes_the_item_and_says_that_it_was_replayed(rig: Rig) -> None:
    """The entry stands under the study, with who had it replayed, when, and when it came first; the item names its position."""
    refused(rig)
    rig.study(U1, "PA", location="LAB1")
    rig.clock("09:00")
    outcome = rig.replayed(source="http")
    [entry] = entries(rig)
    assert (outcome.outcome, outcome.kept, outcome.status, outcome.study_instance_uid) == ("accepted", True, 0, U1)
    assert (outcome.position, outcome.entries, outcome.rule) == (entry["position"], 1, "4")
    assert entry["study"]["study_instance_uid"] == U1
    assert entry["replayed"] == {
        "time": "2024-05-14T09:00:00.000Z",
        "source": "http",
        "arrived": "2024-05-14T08:01:00.000Z",
    }
    assert rig.quarantined() == []
    [item] = rig.store.quarantine()
    assert item.closed_position == entry["position"]
    assert rig.store.first_broken_position() is None
    assert rig.replayed(item.id).outcome == "closed"


def test_what_was_replayed_is_no_event_of_its_device(rig: Rig) -> None:
    """The device sent nothing then: were it so, a replay would silence the alarm of a device that is silent. Nor is it after a restart."""
    devices = rig.handlers.devices
    refused(rig, note("08:01", "x"), nested("08:01"), status="C102")
    rig.study(U1, "PA", location="LAB1")
    rig.clock("09:00")
    assert rig.replayed(entries=(0,)).outcome == "accepted"
    assert devices.events == rig.store.last_arrivals() == {}
    rig.send(events.procedural([note("09:05", "y")], study=U1), calling="HEMO1", when="09:05")
    refused(rig, status="C104", when="09:06", patient="PB")
    rig.study(U2, "PB")
    rig.clock("09:30")
    assert rig.replayed(rig.quarantined()[0].id).outcome == "accepted"
    assert devices.events == rig.store.last_arrivals() == {"HEMO1": microseconds(at("09:05"))}


def test_consumers_that_do_not_know_of_replays_read_it(rig: Rig) -> None:
    """A schema without `replayed` takes what says it, and what was not replayed has no such member."""
    refused(rig)
    rig.study(U1, "PA", location="LAB1")
    rig.replayed()
    rig.send(events.procedural([note("08:02")], patient="PA"), calling="HEMO1", when="08:02")
    released = json.loads((Path("schemas") / "released" / f"{ENTRY_TYPE}.json").read_text("utf-8"))
    del released["$defs"]["EntryRecord"]["properties"]["replayed"]
    replayed, other = entries(rig)
    for entry in (replayed, other):
        jsonschema.validate(entry, released)
        assert read(ENTRY_TYPE, json.dumps(entry).encode()).type == ENTRY_TYPE
    assert "replayed" in replayed
    assert "replayed" not in other


def test_what_still_refuses_is_told_and_nothing_is_kept(rig: Rig) -> None:
    """Neither a dry run nor a replay that is refused counts as a repeat of the device, also where it is refused differently."""
    refused(rig, patient="P9")
    before = rig.quarantined()
    rig.patient("P9")
    head = rig.store.head()
    for dry_run in (True, False):
        outcome = rig.replayed(dry_run=dry_run)
        assert (outcome.outcome, outcome.kept, f"{outcome.status:04X}") == ("refused", False, "C103")
        assert [finding.code for finding in outcome.findings] == ["study-not-found"]
    assert rig.quarantined() == before
    assert rig.store.head() == head


def test_a_dry_run_says_what_would_happen(rig: Rig) -> None:
    """Study, status and number of entries; nothing is stored, and the item stays open."""
    refused(rig, note("08:00"), note("08:01"))
    rig.study(U1, "PA", location="LAB1")
    head = rig.store.head()
    outcome = rig.replayed(dry_run=True)
    assert (outcome.outcome, outcome.kept, outcome.entries, outcome.position) == ("accepted", False, 2, 0)
    assert outcome.study_instance_uid == U1
    assert rig.store.head() == head
    assert len(rig.quarantined()) == 1


def test_it_is_matched_by_when_it_arrived(rig: Rig) -> None:
    """By place: who was there then, not who is there now."""
    for second in range(2):  # the clock is known
        rig.send(events.procedural([note(f"08:00:0{second}")], patient="PX"), calling="HEMO1", when=f"08:00:0{second}")
    refused(rig, note("08:01"), location="LAB1")
    rig.study(U1, "PA", location="LAB1", opened="2024-05-14T07:50:00Z")
    rig.clock("11:00")
    rig.close(U1)
    rig.study(U2, "PB", location="LAB1")
    rig.clock("11:30")
    item = next(item for item in rig.quarantined() if item.first_time == rig.store.quarantine(limit=1)[0].first_time)
    outcome = rig.replayed(item.id)
    assert (outcome.outcome, outcome.study_instance_uid, outcome.rule) == ("accepted", U1, "6")


def test_its_clock_difference_counts_for_nothing(rig: Rig) -> None:
    """A replay hours later makes no clock look slow."""
    data = [refused(rig, note(f"08:0{n}"), when=f"08:0{n}") for n in (1, 2)]
    known = rig.handlers.clocks.current("HEMO1", at("08:02"), POLICY.clock_tolerance)
    rig.study(U1, "PA", location="LAB1")
    rig.clock("08:30")
    for item in rig.quarantined():
        assert rig.replayed(item.id).outcome == "accepted"
    assert rig.handlers.clocks.current("HEMO1", at("08:31"), POLICY.clock_tolerance) == known
    assert len(data) == len(entries(rig))


def test_the_settings_of_now_count(rig: Rig) -> None:
    """What a strict device's request lacked may be missing once it is lenient; what it may not send any more is refused."""
    rig.use(replace(HEMO1, strict=True))
    rig.study(U1, "PA", location="LAB1")
    data = events.procedural([note("08:01", "x")], patient="PA")
    del data.ContentTemplateSequence
    assert str(rig.send(data, calling="HEMO1", when="08:01")) == "C102"
    assert rig.replayed().outcome == "refused"
    rig.use(replace(HEMO1, sop_classes=frozenset()))
    assert f"{rig.replayed().status:04X}" == "0124"
    rig.use(HEMO1)
    assert rig.replayed().outcome == "accepted"


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_device_that_stands_elsewhere_by_now_is_not_matched_by_its_place(rig: Rig, dry_run: bool) -> None:
    """Who was in the other room then is not whom it was about; what it names is."""
    refused(rig, note("08:01", "x"), study_id="")
    rig.use(replace(HEMO1, device=Device("HEMO1", ("LAB2",))))
    rig.study(U2, "PB", location="LAB2")
    outcome = rig.replayed(dry_run=dry_run)
    assert (outcome.outcome, outcome.study_instance_uid, outcome.kept) == ("refused", "", False)
    assert "another location" in outcome.comment
    assert entries(rig) == []
    rig.use(HEMO1)
    rig.study(U1, "PA", location="LAB1")
    assert rig.replayed(dry_run=dry_run).study_instance_uid == U1


def test_a_device_that_had_several_locations_is_not_matched_by_the_one_that_it_has_now(rig: Rig) -> None:
    """Nobody knows in which of them it stood when the request came; what it names is found."""
    rig.use(replace(HEMO1, device=Device("HEMO1", ("LAB1", "LAB2"))))
    refused(rig, note("08:01", "x"), study_id="")
    rig.use(HEMO1)
    rig.study(U1, "PA", location="LAB1")
    outcome = rig.replayed()
    assert (outcome.outcome, outcome.study_instance_uid, outcome.kept) == ("refused", "", False)
    assert "several locations" in outcome.comment
    assert entries(rig) == []


def test_a_location_that_the_settings_lacked_is_mended_by_a_replay(rig: Rig) -> None:
    """Where the device stood was not known then: now it is. So with another name of the same lab."""
    rig.use(replace(HEMO1, device=Device("HEMO1")))
    refused(rig, note("08:01", "x"), study_id="")
    rig.study(U1, "PA", location="LAB1")
    rig.use(HEMO1)
    assert rig.replayed(dry_run=True).study_instance_uid == U1
    rig.close(U1)
    refused(rig, note("23:01", "y"), when="23:02", study_id="")
    rig.study(U2, "PB", location="LAB1", opened="2024-05-14T23:00:00Z")
    rig.use(replace(HEMO1, device=Device("HEMO1", ("Lab 1",))))
    assert rig.replayed(rig.quarantined()[0].id).study_instance_uid == U2


@pytest.mark.parametrize("first", ["replay", "device"])
def test_a_device_that_repeats_makes_no_second_event(rig: Rig, first: str) -> None:
    """Whichever comes first; and the device gets the stored answer once, whatever it was that stored it."""
    data = refused(rig)
    rig.study(U1, "PA", location="LAB1")
    item = rig.quarantined()[0].id
    if first == "replay":
        rig.replayed()
        assert str(rig.send(data, calling="HEMO1")) == f"0000 {U1} PA"
        assert len(rig.store.retries()) == 1
    else:
        assert str(rig.send(data, calling="HEMO1")) == f"0000 {U1} PA"
        rig.settle()
        assert rig.replayed(item).outcome == "closed"
    assert len(entries(rig)) == 1


def test_after_the_device_has_its_answer_the_same_is_an_event_of_its_own_again(rig: Rig) -> None:
    """Replayed, repeated (a retry, whose answer arrived), sent once more: a second event that names the first."""
    data = refused(rig)
    rig.study(U1, "PA", location="LAB1")
    rig.replayed()
    for _ in range(2):
        rig.send(data, calling="HEMO1")
    one, two = entries(rig)
    assert two["same_content_as"] == one["event_id"]
    assert "replayed" not in two


def test_what_was_accepted_refused_again_and_is_open_can_be_replayed(rig: Rig) -> None:
    """An event of its own that was refused: the replay adds it, beside the first."""
    rig.study(U1, "PA", location="LAB1")
    data = events.procedural([note("08:01", "x")], patient="PA")
    assert str(rig.send(data, calling="HEMO1", when="08:01")).startswith("0000")
    rig.clock("09:00")
    rig.close(U1)
    rig.clock("10:00")
    assert str(rig.send(data, calling="HEMO1")) == "C103"
    rig.study(U1)
    assert rig.replayed().outcome == "accepted"
    one, two = entries(rig)
    assert two["same_content_as"] == one["event_id"]


def test_a_replay_is_a_sign_of_life_when_it_occurred(rig: Rig) -> None:
    """In the store it stands in the order in which it was taken, so that what came before it is found after a restart."""
    refused(rig)
    rig.study(U1, "PA", location="LAB1")
    rig.send(events.procedural([note("08:02")], patient="PA"), calling="HEMO1", when="08:02")
    rig.clock("20:00")
    rig.replayed()
    before = rig.keeper.registry.last_sign_of_life(U1, "LAB1")
    rig.restart()
    assert rig.keeper.registry.last_sign_of_life(U1, "LAB1") >= before


def test_a_proposal_is_confirmed_only_for_the_place_that_people_saw(rig: Rig) -> None:
    """Where it would belong to another study by now, it is not taken; confirmed twice, it is taken once."""
    refused(rig)
    rig.study(U1, "PA", location="LAB1")
    item = rig.quarantined()[0].id

    def confirm(place: Place) -> str:
        asked = rig.replay.confirm(item, place)
        return asyncio.run_coroutine_threadsafe(asked, rig._loop).result(60)

    assert "another study or patient than was proposed" in confirm(Place(U2, "PA", "HOSP"))
    assert "another study or patient" in confirm(Place(U1, "PB", "HOSP"))
    assert entries(rig) == []
    for _ in range(2):
        assert confirm(Place(U1, "PA", "HOSP")) == ""
    assert len(entries(rig)) == 1


def test_a_proposal_of_what_was_accepted_elsewhere_is_not_confirmed(rig: Rig) -> None:
    """By the device's repeat, say: that it stands where people were told would not be true."""
    sent = refused(rig)
    item = rig.quarantined()[0].id
    rig.study(U2, "PA", location="LAB1")
    assert str(rig.send(sent, calling="HEMO1")) == f"0000 {U2} PA"

    def confirm(place: Place) -> str:
        return rig.run(rig.replay.confirm(item, place))

    assert "stands under another study" in confirm(Place(U1, "PA", "HOSP"))
    assert "stands under another study" in confirm(Place("", "PA", "HOSP"))
    assert confirm(Place(U2, "PA", "HOSP")) == ""


def test_a_confirmed_administration_that_was_accepted_stands_with_its_patient(rig: Rig) -> None:
    """Without a study it is the patient who counts."""
    given = events.substance(at("08:01"), patient="PA")
    assert str(rig.send(given, calling="HEMO1", substance=True, when="08:01")) == "C110"
    item = rig.quarantined()[0].id
    rig.patient("PA")
    assert rig.replayed().kept
    said = [rig.run(rig.replay.confirm(item, Place("", patient, "HOSP"))) for patient in ("PA", "PB")]
    assert said == ["", "it was accepted since, and stands under another study or patient than was proposed"]


def test_a_confirmed_replay_that_is_refused_still_says_why(rig: Rig) -> None:
    """With the Error Comment."""
    refused(rig)
    item = rig.quarantined()[0].id
    asked = rig.replay.confirm(item, Place(U1, "PA", "HOSP"))
    said = asyncio.run_coroutine_threadsafe(asked, rig._loop).result(60)
    assert said == "refused still: no study was at the location when the events occurred"


# --- what is gone ----------------------------------------------------------------------------------------------------


def test_what_is_not_kept_cannot_be_replayed_and_that_is_said(tmp_path: Path) -> None:
    """Deleted, or cut when it came."""
    with Rig(tmp_path, HEMO1) as rig:
        refused(rig)
        rig.study(U1, "PA", location="LAB1")
        with closing(apsw.Connection(str(tmp_path / "plscp.db"))) as store:
            store.execute("UPDATE quarantine SET raw = substr(raw, 1, 10)")
        outcome = rig.replayed()
        assert (outcome.outcome, outcome.kept) == ("gone", False)
        assert "10 of its" in outcome.comment
        with closing(apsw.Connection(str(tmp_path / "plscp.db"))) as store:
            store.execute("UPDATE quarantine SET raw = NULL")
        assert "deleted" in rig.replayed().comment
        assert entries(rig) == []


# --- some entries of it -----------------------------------------------------------------------------------------------


def test_single_good_entries_of_a_refused_request(rig: Rig) -> None:
    """Those are accepted with their index of the whole; the item stays open, and they are not added twice."""
    rig.study(U1, "PA", location="LAB1")
    refused(rig, note("08:00:01", "a"), nested("08:00:02"), note("08:00:03", "c"), status="C102")
    assert rig.replayed().outcome == "refused"
    outcome = rig.replayed(entries=[0, 2])
    assert (outcome.outcome, outcome.entries) == ("accepted", 2)
    found = [(e["entry_index"], e["entry_count"], e["entry"]["text"], bool(e["replayed"])) for e in entries(rig)]
    assert found == [(0, 3, "a", True), (2, 3, "c", True)]
    [item] = rig.quarantined()
    assert list(rig.store.replayed_entries(item.identity)) == [0, 2]
    again = rig.replayed(entries=[0])
    assert (again.outcome, len(entries(rig))) == ("known", 2)
    for wrong in ([1], [0, 1], [7]):
        assert rig.replayed(entries=wrong).outcome == "refused"
    assert [finding.code for finding in rig.replayed(entries=[7]).findings] == ["no-such-entry"]
    assert rig.store.first_broken_position() is None


def test_a_later_acceptance_of_the_whole_adds_only_the_others(rig: Rig) -> None:
    """By the device's own repeat, which is no retry of the part, or by a replay of the whole."""
    data = refused(rig, note("08:00:01", "a"), note("08:00:02", "b"), note("08:00:03", "c"))
    rig.study(U1, "PA", location="LAB1")
    rig.replayed(entries=[1])
    assert str(rig.send(data, calling="HEMO1")) == f"0000 {U1} PA"
    assert [e["entry"]["text"] for e in entries(rig)] == ["b", "a", "c"]
    assert "probable-repeat" not in str(entries(rig))
    assert rig.quarantined() == []
    # The device has that answer: the same once more is three events, as ever.
    rig.send(data, calling="HEMO1")
    assert [e["entry"]["text"] for e in entries(rig)][3:] == ["a", "b", "c"]


def test_the_last_of_its_entries_closes_the_item(rig: Rig) -> None:
    """One after the other; then the device's repeat adds nothing."""
    data = refused(rig, note("08:00:01", "a"), note("08:00:02", "b"))
    rig.study(U1, "PA", location="LAB1")
    rig.replayed(entries=[1])
    rig.replayed(entries=[0])
    assert rig.quarantined() == []
    assert str(rig.send(data, calling="HEMO1")) == f"0000 {U1} PA"
    assert len(entries(rig)) == 2


def test_an_entry_that_came_in_otherwise_counts_when_the_others_are_replayed_singly(rig: Rig) -> None:
    """The item is closed once every entry is stored, whichever way it came: here one by its Observation UID in another request."""
    known = note("08:00:02", "b")
    known.ObservationUID = "1.2.3.4"
    refused(rig, note("08:00:01", "a"), known, note("08:00:03", "c"))
    rig.study(U1, "PA", location="LAB1")
    other = events.procedural([known, note("08:00:04", "d")], patient="PA")
    assert str(rig.send(other, calling="HEMO1", when="08:01")) == f"0000 {U1} PA"
    assert rig.replayed(entries=[0]).outcome == "accepted"
    assert rig.replayed(entries=[1]).outcome == "known"
    assert len(rig.quarantined()) == 1
    assert rig.replayed(entries=[2]).outcome == "accepted"
    assert rig.quarantined() == []
    assert len(entries(rig)) == 4


def test_entries_that_stand_under_one_patient_keep_the_whole_from_another(rig: Rig) -> None:
    """Entries replayed under PA: the request, which names PB by now, is refused: C104."""
    data = refused(rig, note("08:00:01", "a"), note("08:00:02", "b"), location="Lab 1")
    rig.study(U1, "PA", location="LAB1", opened="2024-05-14T07:50:00Z")
    rig.replayed(entries=[0])
    rig.clock("08:02")
    rig.clock("08:03")
    rig.study(U1, location="LAB2", opened="2024-05-14T07:50:00Z")
    rig.study(U2, "PB", location="LAB1", opened="2024-05-14T07:51:00Z")
    answer = str(rig.send(data, calling="HEMO1"))
    assert not answer.startswith("0000") or answer == f"0000 {U1} PA"
    assert {e["study"]["study_instance_uid"] for e in entries(rig)} == {U1}


def test_a_request_that_decodes_only_by_now_closes_its_old_item(rig: Rig) -> None:
    """Its identity is another one then: what the device has sent meanwhile is found under that, and nothing is added twice."""
    rig.study(U1, "PA", location="LAB1")
    data = events.procedural([note("08:01", "x" * 3000)], patient="PA")
    rig.handlers._bounds = Bounds(value=1000)
    assert str(rig.send(data, calling="HEMO1", when="08:01")) in {"C102", "0115"}
    [item] = rig.quarantined()
    rig.handlers._bounds = Bounds()
    assert rig.replayed(dry_run=True).outcome == "accepted"
    assert str(rig.send(data, calling="HEMO1")).startswith("0000")
    assert rig.replayed(item.id).outcome == "closed"
    assert rig.quarantined() == []
    assert len(entries(rig)) == 1


def test_old_raw_bytes_of_an_open_item_stay(rig: Rig) -> None:
    """What is open can be replayed however old it is; once it is closed, its bytes go with the others."""
    refused(rig)
    rig.study(U1, "PA", location="LAB1")
    moment = int(at("12:00").timestamp() * 1_000_000)
    send(rig.store, Expunge(moment, moment + 3_600_000_000, ignore))
    assert rig.replayed().outcome == "accepted"
    send(rig.store, Expunge(moment, moment + 3_600_000_000, ignore))
    assert rig.store.quarantine()[0].raw == b""
    assert len(rig.store.read(Filter())) > 0


# --- defects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["small", "large", "decided again"])
def test_a_defect_leaves_nobody_waiting(rig: Rig, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """In the event loop, on the thread of large data sets, or when the store has it decided anew: whoever asked is told of it."""
    refused(rig)
    item = rig.quarantined()[0]
    rig.study(U1, "PA", location="LAB1")
    asked: list[str] = []

    def keep(*_: Any) -> bool:
        asked.append(where)
        if where != "decided again" or len(asked) > 1:
            raise ValueError("a defect")
        rig.keeper.begin(lambda registry: _opened(registry, rig), "http", lambda _: None)
        return True

    if where == "large":
        monkeypatch.setattr(handlers, "LARGE_BYTES", 1)
    told: list[tuple[str, int, list[str]]] = []
    run = rig.replay.replay(item.id, keep=keep)
    asked_for = asyncio.run_coroutine_threadsafe(run, rig._loop)
    asked_for.add_done_callback(lambda done: told.append(said_of(done.result())))
    until(lambda: bool(told), "the replay")
    assert told == [("refused", 0x0110, ["internal-error"])]
    assert len(rig.quarantined()) == 1


def said_of(outcome: ReplayOutcome | None) -> tuple[str, int, list[str]]:
    """What became of it, and why."""
    assert outcome is not None
    return outcome.outcome, outcome.status, [finding.code for finding in outcome.findings]


def _opened(registry: Registry, rig: Rig) -> Any:
    body = {"study_instance_uid": U2, "patient": {"id": "PB"}, "status": "open", "location": "LAB2"}
    return changes.put_study(registry, body, POLICY, rig.now)
