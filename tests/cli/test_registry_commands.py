"""`plscp study show`, `patient show`, `admission show`, `room list`: against the API on a real store."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from plscp.service.keeper import RegistryKeeper
from tests.cli.conftest import Ran, Run
from tests.temporary import TemporaryStore
from tests.web.conftest import Ask, ask  # noqa: F401 -- a fixture
from tests.web.fake import FakeServer, Running
from tests.web.test_history import Case

Call = Callable[..., Ran]


@pytest.fixture
def told(run: Run, ask: Ask) -> Iterator[Call]:  # noqa: F811 -- the fixture
    """Run a command against a server with the story of tests/web/test_history.py."""
    with closing(TemporaryStore()) as store:
        server = FakeServer()
        server.store = store  # type: ignore[assignment]  # the port, of which the fake is another adapter
        server.keeper = RegistryKeeper(store, server.keeper.registry)
        Case(server, ask)
        with Running(server) as running:

            def calling(*arguments: str, status: int = 0) -> Ran:
                found = run(*arguments, "--url", running.url)
                assert found.status == status, found.err
                return found

            yield calling


def test_a_study_is_shown_with_what_brought_each_stay(told: Call) -> None:
    """On a page for people; as JSON what the API says."""
    lines = told("study", "show", "1.1").out.splitlines()
    assert lines[0].split() == ["1.1:", "open"]
    text = "\n".join(lines)
    for part in (
        "by http at 2",
        "by hl7 ADT|H|7 at 3",
        "by mpps 1.9 at 5",
        "P2",
        "by hl7 ADT|H|10 at 8 (patient-identifier)",
    ):
        assert part in text, part
    found = json.loads(told("study", "show", "1.1", "--json").out)
    assert [stay["arrived_by"]["position"] for stay in found["stays"]] == [2, 3, 5]
    assert "not known" in told("study", "show", "9.9", status=1).err


def test_what_was_known_at_a_position_is_shown(told: Call) -> None:
    """Of studies, patients and admissions."""
    assert "P1" in told("study", "show", "1.1", "--at", "6").out
    assert json.loads(told("study", "show", "1.1", "--at", "4", "--json").out)["status"] == "closed"
    assert "the store's last position is 9" in told("study", "show", "1.1", "--at", "99", status=2).err
    assert json.loads(told("patient", "show", "P1", "--at", "6", "--json").out)["former_ids"] == []
    assert "not known at that position" in told("admission", "show", "V1", "--at", "3", status=1).err
    assert "P2" in told("admission", "show", "V1").out


def test_a_patient_is_shown_with_since_when_each_identifier_is_theirs(told: Call) -> None:
    """By a superseded ID as well."""
    text = told("patient", "show", "P1").out
    assert text.split()[0].rstrip(":") == "P2"
    for part in ("former", "by hl7 ADT|H|10 at 7", "by hl7 ADT|H|9 at 6", "patient.merged"):
        assert part in text, part
    assert json.loads(told("patient", "show", "P1", "--json").out)["identifiers"][2]["role"] == "former"


def test_a_patient_is_added_by_hand_and_said_anew(told: Call) -> None:
    """What is not given stays; an ID that was merged away is not given to somebody else."""
    assert "Roe^Max" in told("patient", "add", "P7", "--issuer", "HOSP", "--name", "Roe^Max").out
    told("patient", "add", "P7", "--issuer", "HOSP", "--sex", "M")
    found = json.loads(told("patient", "show", "P7", "--json").out)
    assert (found["issuer"], found["name"], found["sex"]) == ("HOSP", "Roe^Max", "M")
    assert "P1 names P2 by now" in told("patient", "add", "P1", "--name", "Roe^Max", status=1).err
    assert told("patient", "show", "P1").out.startswith("P2")
    assert "birth" in told("patient", "add", "P8", "--birth-date", "soon", status=2).err


def test_what_is_not_known_is_named_with_what_would_make_it_known(told: Call) -> None:
    """One line: which, and the command to type."""
    assert "not known: patient P9; see plscp patient add" in told("patient", "show", "P9", status=1).err
    for command in ("show", "close"):
        said = told("study", command, "9.9", status=1).err
        assert "not known: study 9.9; see plscp study list and plscp study open" in said
    assert "not known: admission V9" in told("admission", "show", "V9", status=1).err


def test_rooms_are_listed_with_who_is_there(told: Call) -> None:
    """And who left last; a room without anybody says so."""
    text = told("room", "list").out
    for part in ("LAB1", "1.1", "P2", "by mpps 1.9 at 5", "LAB2:", "last sign of life"):
        assert part in text, part
    rooms = json.loads(told("room", "list", "--json").out)["rooms"]
    assert [room["location"] for room in rooms] == ["LAB1", "LAB2"]
