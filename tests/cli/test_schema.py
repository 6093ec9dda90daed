"""`plscp schema`: export, show, and the gate before a release that would break readers."""

import json
from pathlib import Path

import pytest

from plscp.records.schemas import ENTRIES, files, schema
from plscp.records.values import ADAPTERS
from tests.cli.conftest import Run

ENTRY = "org.plscp.procedure-log.entry.v1"


def test_export_writes_every_file_and_lists_it(run: Run, tmp_path: Path) -> None:
    """Into a folder that it makes; as a table, or as JSON."""
    ran = run("schema", "export", "made/here", "--json")
    assert ran.status == 0, ran.err
    assert {each["file"] for each in json.loads(ran.out)} == {f"made/here/{name}" for name, _ in files()}
    assert all((tmp_path / "made" / "here" / name).read_text("utf-8") == content for name, content in files())
    again = run("schema", "export", "made/here")
    assert f"made/here/{ENTRY}.json" in again.out


def test_show_prints_one_schema(run: Run) -> None:
    """By its type, or by a part that only it has."""
    for name in (ENTRY, "procedure-log"):
        assert json.loads(run("schema", "show", name).out) == schema(ENTRY)
    assert json.loads(run("schema", "show", "note", "--draft-07").out) == schema("note", draft_07=True)


def test_show_lists_types_and_kinds_of_entry(run: Run) -> None:
    """Where none is named; with what each is."""
    assert [each["name"] for each in json.loads(run("schema", "show", "--json").out)] == [*ADAPTERS, *ENTRIES]
    lines = run("schema", "show").out.splitlines()
    assert any(line.startswith("drug_administered ") and "TID 3106" in line for line in lines)


@pytest.mark.parametrize(("name", "near"), [("study", "org.plscp.study.opened.v1 or "), ("procedurelog", ENTRY)])
def test_show_suggests_where_a_type_is_not_known(run: Run, name: str, near: str) -> None:
    """Several, or none."""
    ran = run("schema", "show", name)
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert near in ran.err


def test_check_passes_what_was_released_and_nothing_changed(run: Run, tmp_path: Path) -> None:
    """Also when a type was added since."""
    assert run("schema", "release", "released").status == 0
    (tmp_path / "released" / f"{ENTRY}.json").unlink()
    ran = run("schema", "check", "released")
    assert (ran.status, ran.err) == (0, "")


def test_check_names_type_field_and_change_and_says_what_to_do(run: Run, tmp_path: Path) -> None:
    """A member that was there in the release, and a type that is published no longer."""
    run("schema", "release", "released")
    file = tmp_path / "released" / "org.plscp.request.refused.v1.json"
    made = json.loads(file.read_text("utf-8"))
    made["$defs"]["RefusalRecord"]["properties"]["ward"] = {"type": "string"}
    file.write_text(json.dumps(made), "utf-8")
    (tmp_path / "released" / "org.plscp.lab.v1.json").write_text("{}", "utf-8")
    ran = run("schema", "check", "released")
    assert ran.status == 1
    assert "org.plscp.lab.v2, org.plscp.request.refused.v2" in ran.err
    assert [line.split() for line in ran.out.splitlines()[1:]] == [
        ["org.plscp.lab.v1", "(the", "value)", "is", "published", "no", "longer"],
        ["org.plscp.request.refused.v1", "(RefusalRecord).ward", "was", "removed"],
    ]
    listed = run("schema", "check", "released", "--json")
    assert [each["change"] for each in json.loads(listed.out)] == ["is published no longer", "was removed"]


def test_a_release_that_would_break_readers_is_not_made(run: Run, tmp_path: Path) -> None:
    """What was released stays as it is."""
    run("schema", "release", "released")
    file = tmp_path / "released" / f"{ENTRY}.json"
    text = file.read_text("utf-8").replace('"study_id"', '"study_number"')
    file.write_text(text, "utf-8")
    assert run("schema", "release", "released").status == 1
    assert file.read_text("utf-8") == text
    assert len(list((tmp_path / "released").iterdir())) == len(ADAPTERS)


def test_what_cannot_be_read_or_written_is_one_line(run: Run, tmp_path: Path) -> None:
    """A folder that is not there, a file that is no JSON, a folder that is a file."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / f"{ENTRY}.json").write_text("{", "utf-8")
    (tmp_path / "file").write_text("", "utf-8")
    for arguments in (("check", "nowhere"), ("check", "broken"), ("export", "file")):
        ran = run("schema", *arguments)
        assert ran.status != 0
        assert ran.err.startswith("plscp: ")
        assert ran.err.count("\n") == 1
