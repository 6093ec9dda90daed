"""`plscp example`: one of each kind, as a device would send it."""

import json
from pathlib import Path
from typing import Any

import pytest

from plscp.records.examples import WHEN
from plscp.scu.requests import ProcedureLogRequest, SubstanceAdministrationRequest
from plscp.templates.entries import TYPED
from tests.cli.conftest import Run
from tests.serving import Serving

NAMED = ("contrast", "balloon", "stent", "untyped")
ADMINISTRATION = "substance-administered"
SETTINGS = """
[dicom]
port = 0
unknown_devices = "accept"
[http]
port = 0
"""


def kinds() -> list[str]:
    """What must be there: the kinds of entry that have a template, an administration, and what labs have own words for."""
    return [*(kind.model_fields["kind"].default.replace("_", "-") for kind in TYPED), ADMINISTRATION, *NAMED]


def named(run: Run, kind: str, *more: str) -> Any:
    """One example, read back."""
    ran = run("example", kind, *more)
    assert (ran.status, ran.err) == (0, "")
    return json.loads(ran.out)


@pytest.mark.parametrize("kind", kinds())
def test_an_example_has_no_finding(run: Run, tmp_path: Path, kind: str) -> None:
    """It is short, of the kind, names what it was told and nothing else, and is accepted by a strict profile without a note."""
    named_by = {"patient_id": "4711"} if kind == ADMINISTRATION else {"study_instance_uid": "1.2.9"}
    option = ("--patient", "4711") if kind == ADMINISTRATION else ("--study", "1.2.9")
    made = named(run, kind, *option)
    names = ("patient_id", "study_instance_uid", "study_id", "performed_location", "issuer_of_patient_id")
    assert {name: made[name] for name in names if name in made} == named_by
    assert len(json.dumps(made, indent=2).splitlines()) < 130
    assert WHEN.text not in json.dumps(made)  # it happened now, and not when the published ones did
    (tmp_path / "event.json").write_text(json.dumps(made))
    explained = json.loads(run("explain", "event.json", "--strict", "--json").out)
    assert (explained["status"], explained["findings"]) == ("0000", [])


def test_every_example_is_taken_by_a_server(run: Run, tmp_path: Path) -> None:
    """Each is answered 0000 by a server that knows the study and the patient, and an event of that kind comes out."""
    listed = [each["example"] for each in json.loads(run("example", "--list", "--json").out)]
    assert sorted(listed) == sorted(kinds())
    files, came = [], []
    for kind in listed:
        made = named(run, kind, *(("--patient", "4711") if kind == ADMINISTRATION else ("--study", "1.2.9")))
        came.append((made["entries"][0] if "entries" in made else made["administration"])["kind"])
        (tmp_path / f"{kind}.json").write_text(json.dumps(made))
        files.append(f"{kind}.json")
    with Serving(tmp_path, SETTINGS) as server:
        server.put("/api/v1/studies/1.2.9", {"status": "open", "patient": {"id": "4711", "issuer": "HOSP"}})
        sent = run("send", server.host, str(server.port), *files, "--now", "-aet", "HEMO1", "--json")
        assert [json.loads(line)["status"] for line in sent.out.splitlines()] == ["0000"] * len(files)
        events = server.get("/api/v1/events", kind="entry", limit=1000)["events"]
    assert [event["entry"]["kind"] for event in events] == came
    assert [event["findings"] for event in events] == [[]] * len(files)


def test_examples_are_listed(run: Run) -> None:
    """A line each: what happened, and its template; alone the command does the same."""
    ran = run("example", "--list")
    assert ran.out == run("example").out
    lines = {line.split()[0]: line for line in ran.out.splitlines()}
    assert "Drug administered: Heparin 5000 iU" in lines["drug-administered"]
    assert "TID3106 Drugs/Contrast Administered" in lines["drug-administered"]
    assert "128 mmHg" in lines["patient-assessment"]
    assert "Relative informed" in lines["untyped"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["drug-administred"], 'no example drug-administred; did you mean "drug-administered"?'),
        (["heparin"], 'no example heparin; did you mean "drug-administered"?'),
        (["xyzzy"], "no example xyzzy; see plscp example --list"),
        (["--study", "1.2.3"], "which kind of event? See plscp example --list"),
        (["substance-administered"], "an administration names its patient"),
        (["substance-administered", "--patient", "1", "--study", "1.2.3"], "--patient alone"),
    ],
)
def test_what_is_no_example_is_said_with_what_is(run: Run, typed: list[str], said: str) -> None:
    """One line, exit status 2."""
    ran = run("example", *typed)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_an_example_names_nobody_unless_it_is_told_to(run: Run) -> None:
    """What a hospital may have is never made up: without identifiers the study is one that none has."""
    made = named(run, "drug_administered")
    assert (made.get("study_instance_uid"), "patient_id" in made, "performed_location" in made) == (
        "1.2.3",
        False,
        False,
    )
    made = named(run, "Contrast", "--location", "LAB1")
    assert ("study_instance_uid" in made, "patient_id" in made, made["performed_location"]) == (False, False, "LAB1")


def test_what_an_example_prints_is_a_request_of_the_typed_form(run: Run) -> None:
    """The classes that programs build read it."""
    assert ProcedureLogRequest.model_validate(named(run, "stent")).entries[0].template == "3108"
    assert SubstanceAdministrationRequest.model_validate(named(run, ADMINISTRATION, "--patient", "1")).patient_id == "1"
