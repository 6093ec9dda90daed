"""`plscp echo`, `send` and `simulate`: what they print and how they end."""

import itertools
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from plscp.cli import main
from plscp.scu import sending
from plscp.scu.pci_case import pci_case
from tests.ports import silent_port
from tests.scu.conftest import Heard, StockScp

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A log and an administration as JSON files."""
    made = []
    for name, substance in (("log", False), ("drug", True)):
        request = next(each for each in pci_case() if each.sop_class.endswith("42") == substance)
        path = tmp_path / f"{name}.json"
        path.write_text(request.dataset(NOW).to_json())
        made.append(str(path))
    return made


def run(scp: StockScp, command: str, *more: str) -> int:
    """The exit status of a command against the stock SCP."""
    return main([command, "127.0.0.1", str(scp.port), *more, "-aec", "STOCK"], {})


def test_echo_says_the_status(scp: StockScp, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit status 0."""
    assert run(scp, "echo", "-aet", "ME", "-ta", "60", "-td", "60", "-to", "60", "-pdu", "0") == 0
    assert "0000 success" in capsys.readouterr().out


def test_send_sends_each_file_as_what_it_is(
    scp: StockScp, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The SOP Class is told by the content."""
    assert run(scp, "send", *files, "-aet", "HEMO1") == 0
    assert [heard.sop_class[-2:] for heard in scp.heard] == ["40", "42"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == files
    assert all("0000 success" in line for line in lines)


def test_send_takes_typed_entries(scp: StockScp, tmp_path: Path) -> None:
    """A file that says what happened, not how it is encoded; --now gives it its time."""
    note = {
        "kind": "note",
        "type": {"value": "121172", "scheme": "DCM", "meaning": "Nursing Note"},
        "text": "Balloon up",
    }
    path = tmp_path / "note.json"
    path.write_text(json.dumps({"patient_id": "P1", "entries": [note]}))
    assert run(scp, "send", str(path), "--now") == 0
    (heard,) = scp.heard
    (item,) = heard.dataset.ContentSequence
    assert (item.TextValue, heard.dataset.PatientID, heard.sop_class[-2:]) == ("Balloon up", "P1", "40")
    assert item.ObservationDateTime


def test_send_keeps_the_recorded_time_unless_told_otherwise(scp: StockScp, files: list[str]) -> None:
    """A recorded event happened when it happened; --now makes it happen again."""
    run(scp, "send", files[1])
    run(scp, "send", files[1], "--now")
    recorded, again = (heard.dataset.SubstanceAdministrationDateTime for heard in scp.heard)
    assert recorded.startswith("20260301")
    assert again > recorded


def test_send_fails_with_the_first_refusal_and_sends_the_rest(
    scp: StockScp, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1, the status by name with its Error Comment; --json has one line per file."""
    refused = Dataset()
    refused.Status, refused.ErrorComment = 0xC103, "no study is open there"
    scp.answers = lambda heard: (refused if heard.sop_class.endswith("40") else 0, None)
    assert run(scp, "send", *files, "--json") == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["C103", "0000"]
    assert json.loads(out.splitlines()[0])["comment"] == "no study is open there"
    assert err == "plscp: C103 cannot-match-to-current-study: no study is open there\n"


def test_send_of_a_missing_file_sends_nothing(
    scp: StockScp, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2 before anything is sent."""
    assert run(scp, "send", files[0], "nowhere.dcm") == 2
    assert not scp.heard
    assert "nowhere.dcm: No such file" in capsys.readouterr().err


def test_simulate_plays_the_whole_case(scp: StockScp, capsys: pytest.CaptureFixture[str]) -> None:
    """Every request is a line with its device and status; a lax SCP refuses none."""
    assert run(scp, "simulate", "--speed", "5000") == 0
    assert len(scp.heard) == len(pci_case())
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == len(pci_case())
    assert all(any(device in line for device in ("HEMO1", "XRAY1", "INJECT1", "TABLET1")) for line in lines)


def test_simulate_takes_the_subject_and_one_title_for_all(scp: StockScp, capsys: pytest.CaptureFixture[str]) -> None:
    """Against an SCP that knows other studies and other devices."""
    identifiers = ["--study-uid", "1.2.3", "--patient-id", "P9", "--location", "ROOM 9"]
    assert run(scp, "simulate", "--speed", "5000", "--json", "-aet", "ONE", *identifiers) == 0
    assert {heard.calling for heard in scp.heard} == {"ONE"}
    given = {
        (name, str(heard.dataset.get(name) or ""))
        for heard in scp.heard
        for name in ("StudyInstanceUID", "PerformedLocation")
    }
    assert {("StudyInstanceUID", "1.2.3"), ("PerformedLocation", "ROOM 9")} <= given
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {one["status"] for one in printed} == {"0000"}
    assert sorted({one["expected"] for one in printed}) == ["0000", "B102", "C102", "C10E", "C110"]


def test_simulate_fails_where_the_case_is_refused(scp: StockScp, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 1 with the first status that was not meant."""
    scp.answers = lambda _: (0xC103, None)
    assert run(scp, "simulate", "--speed", "5000", "-q") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "requests were refused, the first with C103 cannot-match-to-current-study" in err


@pytest.mark.usefixtures("leaking")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_simulate_where_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit status 3, also where the X-ray system would report its step first."""
    with silent_port() as port:
        for more in ([], ["--mpps"]):
            assert main(["simulate", "127.0.0.1", str(port), *more], {}) == 3
            assert capsys.readouterr().err == (
                f"plscp: no association with 127.0.0.1:{port}: nothing answers there, or it closed the connection, "
                "as one that wants TLS does\n"
            )


def test_simulate_where_a_device_is_turned_away(
    make_scp: Callable[..., StockScp], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1 with the first device that is not let in, and why; nothing is sent by those that are."""
    scp = make_scp(callers=("HEMO1", "INJECT1", "TABLET1"))
    assert run(scp, "simulate", "--speed", "5000") == 1
    why = "rejected for good the association of XRAY1 with STOCK (1/1/3: calling AE title not recognized)"
    assert capsys.readouterr().err == f"plscp: 127.0.0.1:{scp.port} {why}\n"
    assert not scp.heard


def test_simulate_where_procedure_steps_are_not_taken(scp: StockScp, capsys: pytest.CaptureFixture[str]) -> None:
    """The SCP accepts the association and none of its presentation contexts: it says which SOP Class is missing."""
    assert run(scp, "simulate", "--speed", "5000", "--mpps") == 1
    why = "STOCK takes none of what was proposed: Modality Performed Procedure Step"
    assert capsys.readouterr().err == f"plscp: no association with 127.0.0.1:{scp.port}: {why}\n"
    assert not scp.heard


@pytest.mark.usefixtures("leaking")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_simulate_whose_server_goes_away_for_good(
    scp: StockScp, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each device says each time it associates again; at last there is one line that says how much is not answered, and why."""
    monkeypatch.setattr(sending, "PAUSES_SECONDS", (0.01, 0.01))
    server, one_at_a_time = scp.server, threading.Lock()
    heard = itertools.count(1)

    def answer(_: Heard) -> tuple[int, None]:
        with (
            one_at_a_time
        ):  # the first request comes once all devices are associated: none associates again before the port is closed
            scp.stop_listening()
            if next(heard) == 6:  # each device has more to send than that
                for association in server.active_associations:
                    association.abort(block=False)
        return 0, None

    scp.answers = answer
    assert run(scp, "simulate", "--speed", "5000") == 1
    out, err = capsys.readouterr()
    *again, last = err.splitlines()
    assert len(again) == 8
    assert all("associating again in 0.01 s, to send it again" in line for line in again)
    assert last.startswith("plscp: ")
    assert last.endswith(
        f" of {len(pci_case())} requests got no answer: no association with 127.0.0.1:{scp.port}: nothing answers there, "
        "or it closed the connection, as one that wants TLS does"
    )
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    "arguments", [["echo", "127.0.0.1"], ["send", "127.0.0.1", "104"], ["simulate", "127.0.0.1", "x"]]
)
def test_wrong_usage_is_one_line_and_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """As for every command."""
    assert main(arguments, {}) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
