"""The registry file: only the differences to its previous content are changes."""

import json
import tomllib
from dataclasses import replace
from typing import Any

import pytest

from plscp.errors import InvalidBody
from plscp.feeds.registry_file import apply_file
from tests.matching.world import World, at

FIRST = """
patients = [
  { id = "P1", name = "Doe^Jane", birth_date = 1970-01-01, sex = "F" },
  { id = "P2" },
]
admissions = [{ id = "V1", patient = { id = "P1" }, location = "Ward 3" }]

[[studies]]
study_instance_uid = "1.1"
study_id = "S1"
patient = { id = "P1" }
location = "Lab 1"
status = "open"
opened = 2024-05-14T09:00:00Z

[[studies]]
study_instance_uid = "1.2"
patient = { id = "P2" }
status = "scheduled"
"""


def read(world: World, text: str, when: str = "") -> tuple[list[str], list[str]]:
    """Read a content of the file; returns what changed and what was refused."""
    if when:
        world.now = at(when)
    planned = apply_file(world.registry, None, tomllib.loads(text), world.policy, world.now)
    world.take(planned.records)
    return [record.change["what"] for record in planned.records], planned.refused


def test_the_first_content_is_taken_whole(world: World) -> None:
    """Patients, admissions, studies; the content is kept, without being published, so that a restart knows it."""
    changed, refused = read(world, FIRST, "10:00")
    assert changed == [
        "patient.changed",
        "patient.demographics",
        "patient.changed",
        "admission.changed",
        "study.opened",
        "study.scheduled",
        "file.read",
    ]
    assert refused == []
    assert json.loads(json.dumps(world.registry.file)) == world.registry.file
    patient = world.registry.patient("P1")
    assert patient is not None
    assert patient.birth_date == "19700101"


def test_the_same_content_again_is_no_change(world: World) -> None:
    """Also when the registry has gone on meanwhile: a study closed over HTTP stays closed."""
    read(world, FIRST, "10:00")
    world.close("1.1", "11:00")
    assert read(world, FIRST, "11:05") == ([], [])
    assert world.known("1.1").status == "closed"


DIFFERENCES = [
    # what is replaced in the file, by what, what changes
    ('location = "Lab 1"', 'location = "Lab 2"', ["study.updated"]),
    ('status = "open"', 'status = "closed"', ["study.closed"]),
    ('status = "scheduled"', 'status = "open"', ["study.opened"]),
    ('study_id = "S1"\n', "", ["study.updated"]),
    ('name = "Doe^Jane"', 'name = "Roe^Jane"', ["patient.demographics"]),
    ('location = "Ward 3"', 'location = "Ward 4"', ["admission.changed"]),
    ('{ id = "P2" },', '{ id = "P2" }, { id = "P3" },', ["patient.changed"]),
]


@pytest.mark.parametrize(("old", "new", "expected"), DIFFERENCES)
def test_a_difference_is_a_change(world: World, old: str, new: str, expected: list[str]) -> None:
    """And nothing else of the file is."""
    read(world, FIRST, "10:00")
    assert old in FIRST
    changed, refused = read(world, FIRST.replace(old, new), "10:10")
    assert (changed, refused) == ([*expected, "file.read"], [])


def test_only_the_member_that_differs_is_said(world: World) -> None:
    """A study closed over HTTP is not opened again because the file changes its Study ID."""
    read(world, FIRST, "10:00")
    world.close("1.1", "10:30")
    read(world, FIRST.replace('"S1"', '"S7"'), "10:40")
    assert (world.known("1.1").study_id, world.known("1.1").status) == ("S7", "closed")


def test_an_open_study_no_longer_listed_is_closed(world: World) -> None:
    """A scheduled one stays; so do patients."""
    read(world, FIRST, "10:00")
    changed, _ = read(world, "", "11:00")
    assert changed == ["study.closed", "file.read"]
    assert world.known("1.2").status == "scheduled"
    assert world.registry.patient("P1") is not None


def test_the_patient_of_an_open_study_is_refused_and_nothing_of_the_file_is_taken(world: World) -> None:
    """One line; it is refused again each time the file is read, until it is mended."""
    read(world, FIRST, "10:00")
    wrong = FIRST.replace('patient = { id = "P1" }\nlocation = "Lab 1"', 'patient = { id = "P9" }\nlocation = "Lab 2"')
    wrong = wrong.replace('name = "Doe^Jane"', 'name = "Roe^Jane"')
    changed, refused = read(world, wrong, "10:10")
    assert changed == []
    assert refused == ["studies 1 (1.1): the study is open under another patient: changing that is a correction"]
    assert world.registry.patient("P9") is None
    assert (world.known("1.1").patient_id, world.known("1.1").location) == (("P1", "HOSP"), "LAB1")
    assert read(world, wrong, "10:20") == ([], refused)
    mended = FIRST.replace('name = "Doe^Jane"', 'name = "Roe^Jane"')
    assert read(world, mended, "10:30") == (["patient.demographics", "file.read"], [])


ENTRIES = [
    ('[[studies]]\nstudy_instance_uid = "1.3"\npatiant = { id = "P1" }', "studies 1 (1.3): study: unknown key patiant: did you mean patient?"),
    ('[[studies]]\nstudy_id = "S1"', "studies 1: study: study_instance_uid: Field required"),
    ('patients = [{ id = "P1" }, { id = "UNK" }]', "patients 2: patient: id: a placeholder names nobody"),
    ('patients = [{ id = "P1", birth_date = "banana" }]', "patients 1: patient: birth_date: not a date: YYYYMMDD (PS3.5 6.2, DA)"),
    ('patients = [{ id = "P1", birth_date = "19700231" }]', "patients 1: patient: birth_date: no such day: YYYYMMDD (PS3.5 6.2, DA)"),
    ('admissions = [{ id = "V9", patient = { id = "UNK" } }]', "admissions 1: admission: patient: an admission needs a usable Patient ID"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), ENTRIES)
def test_an_entry_that_cannot_be_read_is_refused_with_one_line(world: World, text: str, line: str) -> None:
    """The line names it by its number, and no patient; nothing of the file is taken, not even what follows."""
    rest = '\n[[studies]]\nstudy_instance_uid = "1.8"\npatient = { id = "P8" }\n'
    assert read(world, text + rest, "10:00") == ([], [line])
    assert world.registry.study("1.8") is None


def test_each_bad_row_has_its_line(world: World) -> None:
    """Whoever mends the file sees all of them at once; a row is judged without the bad ones before it."""
    rows = [text for text, _ in ENTRIES if text.startswith("[[")]
    _, refused = read(world, "\n".join([*rows, '[[studies]]\nstudy_instance_uid = "1.8"']), "10:00")
    assert [line.partition(":")[0] for line in refused] == ["studies 1 (1.3)", "studies 2"]


WARNINGS = [
    ('[[studies]]\nstudy_instance_uid = "1.3"\nlocation = "Lab1"', 'studies 1 (1.3): location: no [locations] entry lists "Lab1": a place of its own; did you mean "LAB1"?'),
    ('[[studies]]\nstudy_instance_uid = "1.3"\npatient = { id = "P1" }', "studies 1 (1.3): patient: the ID has no issuer"),
    ('patients = [{ id = "P1" }]', "patients 1: issuer: the ID has no issuer"),
    ('patients = [{ id = "P1", issuer = "HOSP", other_ids = [{ id = "X" }] }]', "patients 1: other_ids: the ID has no issuer"),
    ('admissions = [{ id = "V1", patient = { id = "P1" } }]', "admissions 1: patient: the ID has no issuer"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), WARNINGS)
def test_what_is_legal_and_probably_not_meant_is_taken_with_a_warning(world: World, text: str, line: str) -> None:
    """Once: the same content again warns of nothing; with an issuer from the settings there is nothing to say of one."""
    policy = replace(world.policy, patient_id_issuer="")
    planned = apply_file(world.registry, None, tomllib.loads(text), policy, world.now)
    assert planned.refused == []
    assert len(planned.warnings) == 1
    assert planned.warnings[0].startswith(line)
    world.take(planned.records)
    assert apply_file(world.registry, None, tomllib.loads(text), policy, world.now).warnings == []
    again = apply_file(
        World().registry, None, tomllib.loads(text), replace(policy, patient_id_issuer="HOSP"), world.now
    )
    assert again.warnings == (planned.warnings if "location" in line else [])


FILES: list[tuple[dict[str, Any], str]] = [
    ({"study": []}, "'study' is none of patients, admissions, studies"),
    ({"studies": {"1.1": {}}}, "studies is not a list of tables"),
    ({"patients": ["P1"]}, "patients is not a list of tables"),
]


@pytest.mark.parametrize(("content", "words"), FILES)
def test_a_file_of_another_shape_is_refused_whole(world: World, content: dict[str, Any], words: str) -> None:
    """InvalidBody, one line."""
    with pytest.raises(InvalidBody, match=words):
        apply_file(world.registry, None, content, world.policy, world.now)


def test_studies_that_end_come_before_those_that_begin(world: World) -> None:
    """One study leaves the lab and another one comes, in one writing of the file."""
    read(world, FIRST, "10:00")
    following = '[[studies]]\nstudy_instance_uid = "1.0"\npatient = { id = "P7" }\nlocation = "LAB1"\nstatus = "open"\n'
    changed, _ = read(world, following, "10:05")
    assert changed == ["study.closed", "patient.changed", "study.opened", "file.read"]


def test_an_id_merged_away_meanwhile_is_not_given_anew_by_a_changed_line(world: World) -> None:
    """Only a new entry can do that."""
    read(world, FIRST, "10:00")
    world.merge("P5", "P1")
    _, refused = read(world, FIRST.replace('name = "Doe^Jane"', 'name = "Roe^Jane"'), "10:10")
    assert refused == ["patients 1: the Patient ID names another patient by now"]


def test_a_previous_content_can_be_given(world: World) -> None:
    """Then differences are to that one."""
    content = tomllib.loads(FIRST)
    planned = apply_file(world.registry, content, content, world.policy, world.now)
    assert [record.change["what"] for record in planned.records] == ["file.read"]
