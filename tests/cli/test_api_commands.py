"""Commands over the HTTP API of a running server."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from plscp.cli.client import Api
from plscp.cli.corrections import show_done
from tests.cli.conftest import Run
from tests.web.fake import AWAY, FakeServer, Running, entry, settings_of

UID = "1.2.840.1"

# (arguments, exit status, what standard output must hold)
ROWS = [
    (["study", "list"], 0, ["no study"]),
    (["study", "list", "--json"], 0, ['"studies": []']),
    (["event", "list"], 0, ["position", "Drug administered, Heparin, 5000 iU", "HEMO1", "0000"]),
    (["event", "list", "--limit", "1"], 0, ["9.9"]),
    (["event", "list", "--kind", "refusal", "--after", "0"], 0, ["refused: TID3106 r4 missing 121154", "C102", "XRAY1"]),
    (["event", "list", "--study", "9.9", "--json"], 0, ['"next": 3']),
    (["event", "list", "--study", "7.7"], 0, ["no event"]),
    (["event", "show", "1"], 0, ["Heparin (387467008, SCT)", "dose: 5000 [iU]", "0000, rule 1: the study named takes events", "9.9: closed longer than the grace"]),
    (["event", "show", "1"], 0, ["study-not-started: the study is scheduled; TID3106 row 4; at 3.2"]),
    (["event", "show", "1"], 0, ["the row: HAS PROPERTIES NUM DCID 3410, 1-n U; CID 3410: ("]),
    (["event", "show", "1", "--json"], 0, ['"position": 1']),
    (["event", "show", "1"], 0, ["sent again: ", "from 10.0.0.7, association a1-3: no answer was known to have arrived"]),
    (["event", "show", "1", "--json"], 0, ['"association": "a1-3"']),
    (["event", "show", "3", "--json"], 0, ['"retries": []']),
    (["event", "show", "1"], 0, ["as received: 10 bytes, whole"]),
    (["event", "show", "2"], 0, ["as received: 10 bytes, deleted since: only their digest is kept"]),
    (["correction", "list"], 0, ["ab12cd34ef56ab78", "proposed", "HEMO1", "3, 4", "1.2.3 of P1 (HOSP)", "9.9 of P2 (HOSP)"]),
    (["correction", "list", "--json"], 0, ['"status": "proposed"']),
    (["correction", "show", "ab12cd34ef56ab78"], 0, ["because: an entry of it stands under another study", "quarantine: 0101010101010101"]),
    (["correction", "show", "ab12cd34ef56ab78", "--json"], 0, ['"what": "proposal.move"']),
    (["quarantine", "list"], 0, ["0101010101010101", "HEMO1", "C102", "TID3106 r4 missing 121154 at 3.2 (+1)"]),
    (["quarantine", "list", "--open", "--device", "XRAY1"], 0, ["nothing in quarantine"]),
    (["quarantine", "show", "0101"], 0, ["HEMO1 from 127.0.0.1, 2 times", "5 bytes, whole", "refused by: 2", "entry 0: replayed, at position 9", "a replay now: 0000 1.2.3 of P1 (HOSP)"]),
    (["quarantine", "list", "--reason", "C103"], 0, ["nothing in quarantine"]),
    (["quarantine", "list", "--since", "2025-12-31", "--until", "2026-01-03T00:00Z"], 0, ["0101010101010101"]),
    (["quarantine", "replay", "0101"], 0, ["accepted", "0000", "1.2.3 of P1 (HOSP)", "at 11"]),
    (["quarantine", "replay", "0101", "--dry-run", "--entry", "0", "--entry", "2"], 0, ["would be accepted"]),
    (["quarantine", "replay", "0101", "ff"], 1, ["accepted", "gone", "no such quarantine item"]),
    (["quarantine", "replay", "--all"], 0, ["0101010101010101", "accepted"]),
    (["quarantine", "replay", "--all", "--json"], 0, ['"outcomes": {', '"accepted": 1', '"dry_run": false']),
    (["quarantine", "replay", "--device", "XRAY1", "--reason", "C102"], 0, ["nothing that is open fits"]),
    (["quarantine", "show", "0101"], 0, ["missing-row: missing 121154; TID3106 row 4; at 3.2", "bad-value-type: NUM is wanted; TID3106 row 6; at 3.3"]),
    (["quarantine", "show", "0101", "--json"], 0, ['"raw": "CABhYmM="']),
    (["operator", "list"], 0, ["no operator: anyone may add"]),
    (["operator", "list", "--json"], 0, ['"policy": "any"']),
    (["match", "--patient", "P1"], 0, ["0000", "1.2.3: taken"]),
    (["match", "--location", "LAB1"], 1, ["C103: no study at the location then"]),
    (["match", "--patient", "P1", "--at", "2026-01-01T00:00Z"], 0, ["rule 4: the patient's only study", "as of position"]),
    (["match", "--substance", "--patient", "P1", "--admission", "V1", "--operator", "N1^L"], 0, ["V1", "N1^L"]),
    (["match", "--location", "LAB1", "--json"], 1, ['"status": "C103"']),
    (["reload"], 0, ["nothing has changed"]),
    (["reload", "--json"], 0, ['"applied": []', '"restart": []', '"fault": ""']),
    (["status"], 0, ["version: 0.1.0", "HEMO1", "kafka: absent"]),
    (["feed", "list"], 0, ["hl7", "ADT|CLINIC", "127.0.0.1:2575"]),
    (["feed", "messages"], 0, ["10.1.2.9:4711", "ADT|CLINIC|7", "segment PID is missing"]),
    (["feed", "show", "1"], 0, ["segment PID is missing", "PV1|1|I"]),
    (["status", "--json"], 0, ['"quarantine_open": 1']),
    (["status"], 0, ["corrections proposed: 1", "requests retried: 0", "sent again", "10.0.0.7", "a1-3"]),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row[0]))
def test_each_command(call: Run, row: tuple[list[str], int, list[str]]) -> None:
    """Each command ends with its status and shows what it is for; nothing goes to standard error."""
    arguments, status, shown = row
    ran = call(*arguments)
    assert ran.err == ""
    assert ran.status == status
    for text in shown:
        assert text in ran.out
    if "--json" in arguments:
        json.loads(ran.out)


def test_a_study_from_open_to_close(call: Run) -> None:
    """A study is opened with what is given, listed, and closed; --json gives what the API gives."""
    given = [
        "--patient",
        "P1",
        "--issuer",
        "HOSP",
        "--location",
        "LAB1",
        "--study-id",
        "S1",
        "--accession-number",
        "AC1",
    ]
    opened = json.loads(call("study", "open", UID, *given, "--json").out)
    assert (opened["status"], opened["patient"]["id"], opened["study_id"]) == ("open", "P1", "S1")
    assert UID in call("study", "list", "--status", "open", "--location", "LAB1").out
    closed = call("study", "close", UID)
    assert closed.status == 0
    assert "status: closed" in closed.out
    assert "no study" in call("study", "list", "--status", "open").out


def test_an_operator_is_added_and_removed(call: Run) -> None:
    """With validity and locations; --json gives what the API gives; that it counts for nothing while anyone may add is a warning."""
    ran = call(
        "operator", "add", "N/1", "L", "--location", "LAB1", "--location", "Ward", "--from", "2026-01-01", "--json"
    )
    added = json.loads(ran.out)
    assert (added["value"], added["locations"], added["valid_from"]) == (
        "N/1",
        ["LAB1", "Ward"],
        "2026-01-01T00:00:00Z",
    )
    assert 'warning: operators: the policy is not "list"' in ran.err
    assert all(text in call("operator", "list").out for text in ("N/1", "LAB1, Ward", "active", "http"))
    removed = call("operator", "remove", "N/1", "L")
    assert (removed.status, "status: inactive" in removed.out) == (0, True)
    assert "LAB1" not in call("operator", "add", "N/1", "L").out


def test_a_study_without_patient(call: Run) -> None:
    """A study that is opened without a Patient ID gets one of its own."""
    assert "PLSCP-1 (plscp)" in call("study", "open", UID).out


FAILURES = [
    (["study", "close", UID], 1, "not known"),
    (["study", "open", "x"], 2, "not a UID"),
    (["study", "list", "--status", "ajar"], 2, "status must be one of"),
    (["event", "show", "99"], 1, "nothing at position 99"),
    (["quarantine", "show", "ff/../x"], 1, ""),
    (["correction", "show", "ff"], 1, "no such correction"),
    (["correction", "confirm", "ab12cd34ef56ab78"], 1, "there is no entry at position 4"),
    (["correction", "make", "0", "--to-study", "1.2"], 2, "a position is a number from 1 on"),
    (["correction", "make", "1", "--to-issuer", "X"], 2, "an issuer goes with a Patient ID"),
    (["correction", "make", "--study", "1.2", "--to-study", "1.3"], 2, "say why, with --why"),
    (["correction", "make", "--to-study", "1.2", "--why", "x"], 2, "say which entries"),
    (["correction", "make", "1", "--why", "x"], 2, "say where to, with --to-study or --to-patient"),
    (
        ["correction", "make", "--study", "1.2", "--to-study", "1.3", "--since", "soon"],
        2,
        "'--since': must be a time such as",
    ),
    (["correction", "reject", "ab12cd34ef56ab78"], 2, "say why, with --why"),
    (["correction", "revert", "ab12cd34ef56ab78", "--why", "x"], 1, "is proposed, not confirmed"),
    (["operator", "remove", "N1", "L"], 1, "not known"),
    (["operator", "add", "N1", "L" * 17], 2, "at most 16 characters"),
    (["operator", "add", "N1", ".."], 2, "names nothing"),
    (["operator", "add", "N1", "L", "--from", "soon"], 2, "valid_from"),
    (["event", "show", "0"], 2, "position"),
    (["event", "list", "--limit", "0"], 2, "limit"),
    (["event", "show"], 2, "Missing argument"),
    (["event", "shw", "1"], 2, "Did you mean 'show'?"),
    (["study", "list", "--loction", "x"], 2, "--location"),
]


@pytest.mark.parametrize(("arguments", "status", "said"), FAILURES)
def test_failures(call: Run, arguments: list[str], status: int, said: str) -> None:
    """What the server or the parser refuses is one line on standard error and an exit status."""
    ran = call(*arguments)
    assert ran.status == status
    assert ran.out == ""
    assert ran.err.startswith("plscp: ")
    assert ran.err.count("\n") == 1
    assert said in ran.err


def test_conflict(call: Run) -> None:
    """What contradicts the registry is said in the server's words."""
    call("study", "open", UID, "--patient", "P1")
    ran = call("study", "open", UID, "--patient", "P2")
    assert ran.status == 1
    assert ran.err.count("\n") == 1


def test_store_away(call: Run, server: Running) -> None:
    """A server whose store does not answer: exit status 3, its words."""
    server.server.store.failure = AWAY
    ran = call("event", "list", "--after", "0")
    assert (ran.status, ran.err) == (3, f"plscp: {AWAY}\n")


def test_no_server(run: Run) -> None:
    """Where nothing listens: exit status 3, one line that says what to do."""
    ran = run("study", "list", "--url", "http://127.0.0.1:9")
    assert ran.status == 3
    assert ran.err == "plscp: no server answers at http://127.0.0.1:9: is `plscp serve` running there? See --url\n"


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:8080", "http://"])
def test_bad_url(run: Run, url: str) -> None:
    """An address that is none is wrong usage."""
    ran = run("status", "--url", url)
    assert ran.status == 2
    assert "must be an address such as" in ran.err


def test_address_from_settings(run: Run, server: Running, tmp_path: Path) -> None:
    """Without --url the settings file names the server, and the environment goes over it."""
    host, port = server.url.removeprefix("http://").split(":")
    (tmp_path / "plscp.toml").write_text(f'[http]\nhost = "{host}"\nport = {port}\n')
    assert run("status").status == 0
    (tmp_path / "other.toml").write_text(f"[http]\nport = {port}\n")
    assert run("status", "--config", "other.toml").status == 0


def test_token(run: Run, tmp_path: Path) -> None:
    """A server with a token wants it: from --token-file, or from the settings; without it, a line that says so."""
    (tmp_path / "token").write_text("open-sesame\n")
    (tmp_path / "empty").write_text("")
    with Running(FakeServer(settings_of(tmp_path, '[http]\ntoken_file = "token"\n'))) as running:
        assert run("status", "--url", running.url, "--token-file", "token").status == 0
        refused = run("status", "--url", running.url)
        assert (refused.status, refused.err) == (
            1,
            "plscp: the server asks for a token (role read): --token-file FILE\n",
        )
        assert run("status", "--url", running.url, "--config", "plscp.toml").status == 0
        assert run("status", "--url", running.url, "--token-file", "nowhere").status == 2
        assert run("status", "--url", running.url, "--token-file", "empty").status == 2


def test_not_a_plscp_server(run: Run, tmp_path: Path) -> None:
    """Another program's answers are named as such."""
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as other:
        assert other.stdout is not None
        port = other.stdout.readline().split(" port ")[1].split()[0]
        ran = run("study", "list", "--url", f"http://127.0.0.1:{port}")
        (tmp_path / "api/v1/studies").mkdir(parents=True)
        sent_elsewhere = run("study", "list", "--url", f"http://127.0.0.1:{port}")
        other.terminate()
    assert ran.status == sent_elsewhere.status == 1
    assert "is not the HTTP API of plscp: it answered 404" in ran.err
    assert "is not the HTTP API of plscp: it answered 301" in sent_elsewhere.err


def test_device_text_is_no_control_sequence(call: Run, server: Running) -> None:
    """Text that a device sent cannot move the cursor, ring or colour."""
    server.server.store.add("entry", entry(entry={"kind": "note", "text": "\x1b[31mred\x07 [bold]loud[/bold]\r\nx"}))
    for command in (["event", "list"], ["event", "show", "4"]):
        ran = call(*command)
        assert "\x1b" not in ran.out
        assert "\x07" not in ran.out
        assert "[bold]loud[/bold]" in ran.out


def test_export(call: Run) -> None:
    """`event export` writes rows of CSV, all of them, or lines of JSON; with the filters of `list`."""
    when = ("--since", "2025-01-01T00:00:00+01:00", "--until", "2099-01-01T00:00:00Z")
    ran = call("event", "export", "--device", "HEMO1", *when)
    rows = ran.out.splitlines()
    assert (ran.status, rows[0][:18]) == (0, "position,occurred,")
    assert "drug_administered" in rows[1]
    lines = call("event", "export", "--json", "--kind", "all").out.splitlines()
    assert [json.loads(line)["position"] for line in lines] == list(range(1, len(lines) + 1))
    assert call("event", "export", "--kind", "banana").status == 2
    assert "issuer goes with patient" in call("event", "list", "--issuer", "HOSP").err


def test_tail(call: Run, server: Running) -> None:
    """`event tail` shows what is there after a position, then ends at its limit; with --json a line each."""
    ran = call("event", "tail", "--after", "0", "--limit", "2", "--json")
    assert [json.loads(line)["position"] for line in ran.out.splitlines()] == [1, 3]
    assert "Drug administered, Heparin" in call("event", "tail", "--after", "0", "--limit", "1").out
    assert server.server.store.head()[0] == 3


def test_tail_until_interrupted(server: Running, tmp_path: Path) -> None:
    """`event tail` shows events as they come and ends by Ctrl-C with 130, without a traceback."""
    command = [sys.executable, "-m", "plscp", "event", "tail", "--url", server.url, "--after", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert "Heparin" in process.stdout.readline()
        assert "Heparin" in process.stdout.readline()
        server.server.store.add("entry", entry(entry={"kind": "late_one"}))
        assert "Late one" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == ""


def test_reader_that_leaves(server: Running, tmp_path: Path) -> None:
    """`plscp event list | head -1` ends without a complaint."""
    for _ in range(3000):
        server.server.store.add("entry", entry())
    command = f"{sys.executable} -m plscp event list --after 0 --limit 3000 --url {server.url} | head -1"
    ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert ran.stdout.count("\n") == 1
    assert ran.stderr == ""


def test_what_a_correction_moved_is_said_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """After the table of what moved, and of what would move."""
    move = {
        "position": 3,
        "occurred": "2026-01-02T07:00:00Z",
        "moved_from": {"study_instance_uid": "1.2"},
        "moved_to": {"study_instance_uid": "1.3"},
    }
    api = Api("http://127.0.0.1:9")
    show_done(api, {"id": "ab12", "moves": [move, move], "dry_run": False})
    assert capsys.readouterr().out.endswith("\n2 moved by correction ab12\n")
    show_done(api, {"id": "ab12", "moves": [move], "dry_run": True})
    assert capsys.readouterr().out.endswith("\n1 would move: nothing was kept\n")


def test_what_a_confirmed_replay_does_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing moves by it, but a refused request is logged."""
    api, done = Api("http://127.0.0.1:9"), {"id": "ab12", "moves": [], "dry_run": True}
    proposal = {"what": "proposal.replay", "quarantine": "f00", "to": {"study_instance_uid": "1.2"}}
    show_done(api, done, proposal)
    show_done(api, done | {"dry_run": False}, proposal)
    show_done(api, done, proposal | {"what": "proposal.merge"})
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "would be logged: refused request f00, to 1.2",
        "ab12 is settled, request f00 is logged",
        "nothing would move",
    ]


@pytest.mark.parametrize("command", [["study", "list"], ["event", "tail"], ["quarantine", "show", "01"]])
@pytest.mark.parametrize(
    "address", ["http://me:s3cret@127.0.0.1:9", "http://me:s3cret@[::1", "me:s3cret@host", "http://me:s3/cret@host:9"]
)
def test_a_password_in_the_address_is_not_shown(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str], address: str
) -> None:
    """Nobody is there, or it is no address: one line without user and password, whether it was typed or is in the environment."""
    monkeypatch.setenv("PLSCP_URL", address)
    for ran in (run(*command, "--url", address), run(*command)):
        assert ran.status in {2, 3}
        assert ran.err.count("\n") == 1
        for secret in ("me:", "s3", "cret"):
            assert secret not in ran.err


def test_a_password_in_the_address_is_used_and_not_shown(run: Run, server: Running) -> None:
    """Where somebody else answers there, too."""
    address = server.url.replace("://", "://me:s3cret@")
    assert run("study", "list", "--url", address).status == 0
    ran = run("study", "list", "--url", f"{address}/elsewhere")
    assert ran.status == 1
    assert "s3cret" not in ran.err


@pytest.mark.parametrize(
    "given",
    [
        (
            "HTTP_PROXY",
            "http://me:s3cret/x@[",
            "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY: must be addresses such as",
        ),
        (
            "HTTPS_PROXY",
            "gopher://me:s3cret@proxy:1",
            "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY: must be addresses such as",
        ),
        ("ALL_PROXY", "http://proxy:s3cret", "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY: must be addresses such as"),
        ("SSL_CERT_FILE", "nowhere.pem", "SSL_CERT_FILE: nowhere.pem: No such file or directory"),
        ("SSL_CERT_FILE", "plain.txt", "SSL_CERT_FILE: plain.txt: holds no certificate in PEM"),
    ],
)
@pytest.mark.parametrize(
    "command", [["status", "--url"], ["event", "tail", "--url"], ["schema", "register", "--registry"]]
)
def test_an_environment_that_cannot_be_used_is_said(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str], given: tuple[str, str, str]
) -> None:
    """One line that names the variable, and exit status 2; nothing of it is meant for this machine."""
    variable, value, said = given
    (tmp_path / "plain.txt").write_text("x")
    monkeypatch.setenv(variable, value)
    ran = run(*command, "https://plscp.example")
    assert (ran.status, ran.err.count("\n")) == (2, 1), ran
    assert said in ran.err
    assert "s3cret" not in ran.err
    assert run(*command, "http://127.0.0.1:9").status == 3


def test_what_fits_no_address_is_wrong_usage(call: Run) -> None:
    """One line, and no defect."""
    for ran in (
        call("quarantine", "show", "f" * 70_000),
        call("event", "tail", "--after", "0", "--kind", "f" * 70_000),
    ):
        assert (ran.status, ran.err.count("\n")) == (2, 1)
        assert "cannot be asked for this: URL" in ran.err


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_tail_ends_quietly_once_its_reader_has_gone(server: Running, tmp_path: Path, more: list[str]) -> None:
    """With the first event after that, as it follows what comes."""
    command = [sys.executable, "-m", "plscp", "event", "tail", "--url", server.url, "--after", "0", *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"Heparin" in process.stdout.readline()
        assert b"Heparin" in process.stdout.readline()
        process.stdout.close()
        server.server.store.add("entry", entry())
        assert process.stderr.read() == b""
        assert process.wait(60) == 1
