"""Races between what feeds say and what devices send: every event stands where the registry of its position puts it."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Event

from plscp.errors import Conflict
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests.events import encoded, note, procedural
from tests.serving import until
from tests.system.rows.rig import Answer, Rig, at
from tests.system.rows.stories import DEVICES, ISSUERS

DEVICES_AT_ONCE = 6
TURNS = 12


def rig_with(folder: Path, *studies: tuple[str, str, str]) -> Rig:
    """A server at 10:00 with studies (UID, patient, location) that were opened at 09:00."""
    rig = Rig(folder, *DEVICES, issuers=ISSUERS)
    rig.clock("09:00")
    for uid, patient, location in studies:
        rig.study(uid, patient, location=location)
    rig.clock("10:00")
    return rig


def at_once(rig: Rig, feed: Callable[[int], None], **given: str) -> list[Answer]:
    """Many devices' requests, each with its own words, while a feed speaks; all the answers.

    Between two messages of the feed more requests are answered than there are devices: some of them came after the first one.
    """
    answers: list[Answer] = []
    ended = Event()

    def device(number: int) -> None:
        with rig.scu("HEMO1") as scu:
            for each in count():
                if ended.is_set():
                    return
                made = procedural([note(at("09:59:59"), f"device {number}, request {each}")], **given)
                answers.append(Answer(scu.request(PROCEDURAL_EVENT_LOGGING, encoded(made))))

    with ThreadPoolExecutor(DEVICES_AT_ONCE) as pool:
        running = [pool.submit(device, number) for number in range(DEVICES_AT_ONCE)]
        try:
            for turn in range(TURNS):
                feed(turn)
                enough = len(answers) + DEVICES_AT_ONCE + 1
                until(lambda: len(answers) >= enough, "more answers")  # noqa: B023  # it ends before the next turn
        finally:
            ended.set()
        for one in running:
            one.result()
    return answers


def assert_decided_on_the_registry_before(rig: Rig, answers: list[Answer]) -> int:
    """Each event's registry is the last one before it; as many events as Successes; the number of registries that decided."""
    last, decided, events = 0, set(), 0
    for event in rig.events("entry", "registry", "refusal"):
        if event.kind == "registry":
            last = event.position
        elif event.kind == "entry":
            match = json.loads(event.payload)["match"]
            assert match["registry_position"] == last
            decided.add(last)
            events += 1
    assert events == sum(answer.status == "0000" for answer in answers)
    return len(decided)


def test_a_study_that_moves_to_and_fro_while_devices_send_by_place(tmp_path: Path) -> None:
    with rig_with(tmp_path, ("1.1", "PA", "LAB1")) as rig:
        answers = at_once(rig, lambda turn: rig.study("1.1", location=("LAB2", "LAB1")[turn % 2]))
        assert assert_decided_on_the_registry_before(rig, answers) > 1
        assert {str(answer) for answer in answers} <= {"0000 1.1 PA", "C103"}


def test_a_patient_who_is_renamed_while_devices_name_him(tmp_path: Path) -> None:
    with rig_with(tmp_path, ("1.1", "PA", "LAB1")) as rig:
        answers = at_once(rig, lambda turn: rig.merge(f"PA{turn}", f"PA{turn - 1}" if turn else "PA"), patient="PA")
        assert assert_decided_on_the_registry_before(rig, answers) > 1
        assert {(answer.status, answer.study) for answer in answers} == {("0000", "1.1")}


def test_an_id_that_is_given_anew_again_and_again_names_nobody_of_before(tmp_path: Path) -> None:
    """PB is merged into the patient of the study, given anew, merged again: each event by PB stands while PB was merged."""
    with rig_with(tmp_path, ("1.1", "PA", "LAB1")) as rig:

        def feed(turn: int) -> None:
            rig.merge("PA", "PB") if turn % 2 == 0 else rig.patient("PB")

        answers = at_once(rig, feed, study="1.1", patient="PB")
        assert assert_decided_on_the_registry_before(rig, answers) > 1
        merged = False
        for event in rig.events("entry", "registry"):
            if event.kind == "registry" and event.change:
                change = json.loads(event.change)
                if change["what"] == "patient.merged":
                    merged = True
                elif change["what"] == "patient.changed" and change["id"] == "PB":
                    merged = False
            elif event.kind == "entry":
                assert merged
        assert {str(answer) for answer in answers} <= {"0000 1.1 PA", "C104"}


def test_a_scheduled_study_whose_patient_changes_until_the_first_event_stands(tmp_path: Path) -> None:
    """Whoever comes first: no event stands under a patient that the study did not have then, nor does it change later."""
    with rig_with(tmp_path) as rig:
        rig.study("1.1", "P0", status="scheduled")
        refused = 0

        def feed(turn: int) -> None:
            nonlocal refused
            try:
                rig.study("1.1", f"P{turn % 2}", status="scheduled")
            except Conflict:
                refused += 1

        answers = at_once(rig, feed, study="1.1", patient="P1")
        assert_decided_on_the_registry_before(rig, answers)
        taken = {answer.patient for answer in answers if answer.status == "0000"}
        assert taken <= {"P1"}
        if taken:
            study = rig.keeper.registry.study("1.1")
            assert study is not None
            assert study.patient_id.id == "P1"


def test_one_content_on_many_associations_at_once_is_one_event(tmp_path: Path) -> None:
    """Nobody has heard an answer yet: whoever is not first is a retry of the first."""
    bolus = encoded(procedural([note(at("09:59"))], patient="PA"))
    with rig_with(tmp_path, ("1.1", "PA", "LAB1")) as rig:
        scus = [rig.scu("HEMO1").associate() for _ in range(DEVICES_AT_ONCE)]
        for scu in scus:
            scu.send(PROCEDURAL_EVENT_LOGGING, bolus)
        assert {str(Answer(scu.response())) for scu in scus} == {"0000 1.1 PA"}
        for scu in scus:
            scu.abort()
        assert len(rig.events()) == 1


def test_one_observation_for_two_patients_at_once_is_stored_for_one(tmp_path: Path) -> None:
    """The same entry named for PA and for PB in the same moment: one is logged, the other refused."""
    with rig_with(tmp_path, ("1.1", "PA", "LAB1"), ("1.2", "PB", "LAB2")) as rig:
        for number in range(TURNS):
            entry = note(at("09:59"), f"entry {number}")
            entry.ObservationUID = f"2.{number}"
            scus = [rig.scu("MOBILE").associate() for _ in range(2)]
            for scu, patient in zip(scus, ("PA", "PB"), strict=True):
                scu.send(PROCEDURAL_EVENT_LOGGING, encoded(procedural([entry], patient=patient)))
            answers = [Answer(scu.response()) for scu in scus]
            for scu in scus:
                scu.release()
                scu.socket.close()
            assert sorted(answer.status for answer in answers) == ["0000", "C104"]
            [event] = rig.events()[number:]
            [logged] = [answer for answer in answers if answer.status == "0000"]
            assert json.loads(event.payload)["patient"]["id"] == logged.patient
            assert logged.patient == ("PA", "PB")[answers.index(logged)]
