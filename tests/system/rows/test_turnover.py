"""Rows 5 and 7: a room's turnover cuts nothing off, and a study that ever had an entry keeps its patient."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from plscp.errors import Conflict, StoreUnavailable
from plscp.matching import comments
from plscp.matching.model import Device
from plscp.service.profile import Profile
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from plscp.store.port import Draft, Failed, RegistryDraft, RequestRecord
from tests.events import encoded, note, now, procedural
from tests.rawscu import SYNTAXES, RawScu
from tests.serving import Serving, until
from tests.system.rows.rig import POLICY, Rig, at

HEMO = Profile(Device("HEMO1", ("LAB1",)), POLICY)
OTHER_LAB = Profile(Device("HEMO2", ("LAB2",)), POLICY)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """PA is in LAB1 from 09:00, and HEMO1 names PA at 09:30, 09:38 and 09:40: its clock is known."""
    with Rig(tmp_path, HEMO, OTHER_LAB) as rig:
        rig.clock("09:00")
        rig.study("1.1", "PA", location="LAB1")
        for clock in ("09:30", "09:38", "09:40"):
            assert str(rig.send(entry(clock, patient="PA"), calling="HEMO1", when=clock)) == "0000 1.1 PA"
        yield rig


def entry(clock: str, **given: str) -> Dataset:
    """One entry; that only its place can match, unless something is given."""
    return procedural([note(at(clock))], **given)


def there(rig: Rig, uid: str) -> list[str]:
    """``09:00-10:00`` for each stay."""
    study = rig.keeper.registry.study(uid)
    assert study is not None
    return [f"{s.arrived:%H:%M}-{'' if s.left is None else f'{s.left:%H:%M}'}" for s in study.stays]


def said(rig: Rig, uid: str) -> list[str]:
    """What was published of a study, with its reason."""
    changes = [json.loads(event.change or "{}") for event in rig.events("registry") if event.key == uid]
    return [" ".join(filter(None, (change["what"], change.get("reason", "")))) for change in changes]


def test_row_05_a_study_that_is_reported_late_takes_no_event_of_the_one_that_was_still_there(rig: Rig) -> None:
    """PB's study is said at 10:00 to be there since 09:10; PA was named there until 09:40."""
    rig.clock("10:00")
    rig.study("1.2", "PB", location="LAB1", opened=at("09:10").isoformat())
    assert (there(rig, "1.1"), there(rig, "1.2")) == (["09:00-"], ["09:40-"])
    assert str(rig.send(entry("09:35"), calling="HEMO1", when="10:01")) == "0000 1.1 PA"
    answer = rig.send(entry("10:02"), calling="HEMO1", when="10:02")
    assert (answer.status, answer.comment) == ("C103", comments.SEVERAL_AT_LOCATION)


def test_row_05_a_study_that_comes_ends_the_other_ones_stay_when_it_is_named_there_and_that_one_is_quiet(
    rig: Rig,
) -> None:
    """Until then nobody knows whose an event without a name is; the stay ends with its last accepted event."""
    rig.clock("09:35")
    rig.study("1.2", "PB", location="LAB1")
    rig.look("10:30")
    assert there(rig, "1.1") == ["09:00-"]  # quiet for long, and nobody has named PB there
    assert rig.send(entry("10:30"), calling="HEMO1").status == "C103"
    assert str(rig.send(entry("10:31", patient="PB"), calling="HEMO2", when="10:31")) == "0000 1.2 PB"
    rig.settle()
    assert there(rig, "1.1") == ["09:00-"]  # not from there
    assert str(rig.send(entry("10:32", patient="PB"), calling="HEMO1", when="10:32")) == "0000 1.2 PB"
    rig.settle()
    assert (there(rig, "1.1"), there(rig, "1.2")) == (["09:00-09:40"], ["09:35-"])
    assert said(rig, "1.2")[-1] == "study.updated room-confirmed"
    assert said(rig, "1.1")[-1] == "study.closed room-turnover"
    assert str(rig.send(entry("10:33"), calling="HEMO1", when="10:33")) == "0000 1.2 PB"
    assert str(rig.send(entry("09:32"), calling="HEMO1", when="10:34")) == "0000 1.1 PA"
    assert rig.send(entry("09:38"), calling="HEMO1", when="10:34").status == "C103"  # both were there
    assert str(rig.send(entry("10:35", study="1.1"), calling="HEMO1", when="10:35")) == "B104 1.1 PA"  # in its grace
    assert rig.send(entry("11:03", study="1.1"), calling="HEMO1", when="11:03").status == "C101"


def test_row_05_a_turnover_that_only_time_brings_is_made_by_the_timer(rig: Rig) -> None:
    """Confirmed while the other one was still alive there."""
    rig.clock("09:42")
    rig.study("1.2", "PB", location="LAB1")
    assert rig.send(entry("09:45", patient="PB"), calling="HEMO1", when="09:45").status == "0000"
    assert rig.send(entry("09:50", patient="PA"), calling="HEMO1", when="09:50").status == "0000"
    rig.look("10:04")
    assert there(rig, "1.1") == ["09:00-"]
    rig.look("10:05")
    assert there(rig, "1.1") == ["09:00-09:50"]
    assert str(rig.send(entry("10:06"), calling="HEMO1", when="10:06")) == "0000 1.2 PB"


def test_row_05_events_matched_by_place_alone_keep_nothing_alive(tmp_path: Path) -> None:
    """A recorder that names nobody goes on sending; that says nothing about who is there."""
    with Rig(tmp_path, HEMO) as rig:
        rig.clock("09:00")
        rig.study("1.1", "PA", location="LAB1")
        for clock in ("09:50", "09:55"):
            assert str(rig.send(entry(clock), calling="HEMO1", when=clock)) == "0000 1.1 PA"
        rig.clock("10:00")
        rig.study("1.2", "PB", location="LAB1")
        assert rig.send(entry("10:01", patient="PB"), calling="HEMO1", when="10:01").status == "0000"
        rig.settle()
        assert there(rig, "1.1") == ["09:00-10:00"]


def test_row_05_a_restart_forgets_no_sign_of_life_and_no_confirmation(rig: Rig) -> None:
    """Neither the last event of the one nor the naming of the other is in the registry's own log."""
    rig.clock("09:35")
    rig.study("1.2", "PB", location="LAB1")
    rig.keeper.turn_over_after = lambda *_: None  # type: ignore[method-assign]  # the server ends before it comes to this
    assert rig.send(entry("09:37", patient="PB"), calling="HEMO1", when="09:39").status == "0000"
    rig.restart()
    rig.look("09:54")
    assert (there(rig, "1.1"), said(rig, "1.2")[-1]) == (["09:00-"], "study.updated room-confirmed")
    rig.restart()
    rig.clock("23:00")
    rig.restart()
    rig.look("23:00")
    assert there(rig, "1.1") == ["09:00-09:40"]


def test_row_05_what_comes_late_moves_the_end_of_the_stay_also_when_a_restart_came_between(rig: Rig) -> None:
    """An event of before the turnover: it is the study's, and by place and time it may have been either's."""
    rig.clock("09:45")
    rig.study("1.2", "PB", location="LAB1")
    assert rig.send(entry("09:46", patient="PB"), calling="HEMO1", when="09:46").status == "0000"
    rig.look("09:56")
    assert there(rig, "1.1") == ["09:00-09:45"]
    assert rig.send(entry("09:49", study="1.1"), calling="HEMO1", when="10:00").status == "B104"
    rig.settle()
    assert there(rig, "1.1") == ["09:00-09:49"]
    rig.keeper.turn_over_after = lambda *_: None  # type: ignore[method-assign]  # the server ends before it comes to this
    assert rig.send(entry("09:52", study="1.1"), calling="HEMO1", when="10:01").status == "B104"
    rig.restart()
    rig.look()
    assert there(rig, "1.1") == ["09:00-09:52"]
    assert rig.send(entry("09:51"), calling="HEMO1", when="10:02").comment == comments.SEVERAL_AT_LOCATION


class Held:
    """A store that keeps some drafts back until they are let go."""

    def __init__(self, rig: Rig, which: Callable[[Draft], bool]) -> None:
        self.drafts: list[Any] = []
        self._submit = rig.store.submit
        self._which = which
        rig.store.submit = self.submit  # type: ignore[method-assign]

    def submit(self, draft: Draft) -> None:
        """As the store's."""
        if self._which(draft):
            self.drafts.append(draft)
        else:
            self._submit(draft)

    def let_go(self) -> None:
        """Hand over what was kept back, and keep nothing back any more."""
        self._which = lambda _: False
        for draft in self.drafts:
            self._submit(draft)


@pytest.mark.parametrize("stored", [True, False])
def test_row_05_an_event_on_its_way_to_the_store_is_waited_for(rig: Rig, *, stored: bool) -> None:
    """Decided, not yet committed: no turnover comes between; whether it is stored or not."""
    rig.clock("09:42")
    rig.study("1.2", "PB", location="LAB1")
    assert rig.send(entry("09:43", patient="PB"), calling="HEMO1", when="09:43").status == "0000"
    held = Held(rig, lambda draft: isinstance(draft, RequestRecord))
    with rig.scu("HEMO1") as scu:
        rig.clock("09:54")
        sent = scu.send(PROCEDURAL_EVENT_LOGGING, encoded(entry("09:54", patient="PA")))
        until(lambda: held.drafts, "the event")
        rig.look("09:56")
        assert there(rig, "1.1") == ["09:00-"]
        if stored:
            held.let_go()
        else:
            failed = Failed(StoreUnavailable("the disk is away"))
            rig._loop.call_soon_threadsafe(held.drafts.pop().done, failed)
            held.let_go()
        del sent
        status = scu.response().status
    assert (status == 0) is stored
    rig.look("10:08")
    assert there(rig, "1.1") == (["09:00-"] if stored else ["09:00-09:42"])
    rig.look("10:09")
    assert there(rig, "1.1") == (["09:00-09:54"] if stored else ["09:00-09:42"])


def test_row_05_the_answer_does_not_wait_for_the_confirmation(rig: Rig) -> None:
    """The store keeps registry changes waiting; devices are answered, and one change is on its way, not one each."""
    rig.clock("09:42")
    rig.study("1.2", "PB", location="LAB1")
    held = Held(rig, lambda draft: isinstance(draft, RegistryDraft))
    for clock in ("09:56", "09:57", "09:58"):
        assert rig.send(entry(clock, patient="PB"), calling="HEMO1", when=clock).status == "0000"
    assert len(held.drafts) == 1
    held.let_go()
    rig.settle()
    assert there(rig, "1.1") == ["09:00-09:42"]


def test_row_05_a_confirmation_that_comes_too_late_is_planned_again(rig: Rig) -> None:
    """PB has left when the store takes it up: nothing is confirmed, and PA stays."""
    rig.clock("09:42")
    rig.study("1.2", "PB", location="LAB1")
    held = Held(rig, lambda draft: isinstance(draft, RegistryDraft) and draft.source == "server")
    assert rig.send(entry("09:56", patient="PB"), calling="HEMO1", when="09:56").status == "0000"
    until(lambda: held.drafts, "the change")
    rig.study("1.2", location="LAB2")
    held.let_go()
    rig.settle()
    assert (there(rig, "1.1"), said(rig, "1.2")[-1]) == (["09:00-"], "study.updated")


# --- row 7 -------------------------------------------------------------------------------------------------------------------


def test_row_07_a_scheduled_study_with_an_old_entry_keeps_its_patient_after_a_restart(tmp_path: Path) -> None:
    """The store is asked, not a memory of the last hours."""
    with Rig(tmp_path, HEMO) as rig:
        rig.study("1.1", "PA", status="scheduled", location="LAB1")
        rig.study("1.2", "PA", status="scheduled", location="LAB1")
        assert str(rig.send(entry("08:01", study="1.1"), calling="HEMO1", when="08:01")) == "0000 1.1 PA"
        rig.clock("23:30")
        rig.restart()
        with pytest.raises(Conflict, match="another patient"):
            rig.study("1.1", "PB", status="scheduled")
        rig.study("1.2", "PB", status="scheduled")  # nothing stands under it
        registry = rig.keeper.registry
        patients = [study.patient_id.id for uid in ("1.1", "1.2") if (study := registry.study(uid))]
        assert patients == ["PA", "PB"]


def test_row_07_an_entry_that_is_committed_before_the_change_holds_it_up(tmp_path: Path) -> None:
    """The change was planned while nothing stood under the study: the store looks once more, and it is planned again."""
    with Rig(tmp_path, HEMO) as rig:
        rig.study("1.1", "PA", status="scheduled", location="LAB1")
        asked: list[str] = []
        entered = rig.keeper.registry.entered

        def first_time_nothing(uid: str) -> bool:
            asked.append(uid)
            return len(asked) > 1 and entered(uid)

        assert rig.send(entry("08:01", study="1.1"), calling="HEMO1", when="08:01").status == "0000"
        rig.keeper.registry.entered = first_time_nothing
        with pytest.raises(Conflict, match="another patient"):
            rig.study("1.1", "PB", status="scheduled")
        assert asked == ["1.1", "1.1"]


# --- the program -------------------------------------------------------------------------------------------------------------

SETTINGS = """
[dicom]
port = 0
[store]
url = "sqlite:///{folder}/plscp.db"
[http]
port = 0
[log]
format = "json"
[matching]
room_turnover = "PT1S"
[locations.LAB1]
[devices.HEMO1]
location = "LAB1"
"""


def test_row_05_the_program_turns_rooms_over_by_its_own_timer_also_after_a_restart(tmp_path: Path) -> None:
    """Its settings, its clock: nothing is said or sent any more when the time has come."""
    with Serving(tmp_path, SETTINGS) as server:
        for uid, patient in (("1.1", "PA"), ("1.2", "PB")):
            body = {"patient": {"id": patient}, "location": "LAB1", "status": "open"}
            server.put(f"/api/v1/studies/{uid}", body).raise_for_status()
        with RawScu(
            "127.0.0.1", server.port, calling="HEMO1", contexts=[(PROCEDURAL_EVENT_LOGGING, SYNTAXES[1])]
        ) as scu:
            named = procedural([note(now())], patient="PB")
            assert scu.request(PROCEDURAL_EVENT_LOGGING, encoded(named)).status == 0
        server.kill()
        server.start()
        study = until(lambda: _closed(server, "1.1"), "the turnover")
        assert server.get("/api/v1/studies/1.2")["stays"][0]["confirmed"]
        assert study["stays"][0]["left"] == server.get("/api/v1/studies/1.2")["stays"][0]["arrived"]


def _closed(server: Serving, uid: str) -> dict[str, Any] | None:
    study: dict[str, Any] = server.get(f"/api/v1/studies/{uid}")
    return study if study["status"] == "closed" else None
