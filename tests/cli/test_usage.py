"""Wrong usage: whatever is typed for a value, one line that says what is wrong, exit status 2, no defect."""

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.web.fake import Running

LONG = "x" * 300
AE17 = "X" * 17
DICOM_TOOLS = [[name, "127.0.0.1", "1"] for name in ("echo", "simulate")] + [["send", "127.0.0.1", "1", "good.json"]]

BAD_CALLS = [
    (["-aet", AE17], "must be 1 to 16"),
    (["-aec", AE17], "must be 1 to 16"),
    (["-aet", "é"], "ASCII"),
    (["-aet", ""], "must be 1 to 16"),
    (["-aec", "a\\b"], "backslash"),
    (["-ta", "x"], "number"),
    (["-to", "inf"], "86400"),
    (["-td", "nan"], ""),
    (["-pdu", "1"], "from 128"),
    (["-pdu", "99999999999"], "4294967295"),
    (["-pdu", "-1"], "greater"),
    (["--tls", "--ca", "missing.pem"], "No such file"),
    (["--tls", "--cert", "bad.json"], "--cert"),
    (["--cert", "x"], "go with --tls"),
]
BAD_HOSTS = ["", "a b", LONG]
BAD_FILES = ["bad.json", "brace.json", "kind.json", "number.json", "date.json", "empty", "missing.json", "folder"]
OTHERS = [
    (["echo", "127.0.0.1", "70000"], "65535"),
    (["echo", "127.0.0.1", "abc"], "integer"),
    (["simulate", "127.0.0.1", "1", "--study-uid", "banana"], "not a UID"),
    (["simulate", "127.0.0.1", "1", "--study-uid", "1.02"], "not a UID"),
    (["simulate", "127.0.0.1", "1", "--study-id", AE17], "at most 16"),
    (["simulate", "127.0.0.1", "1", "--patient-id", LONG], "at most 64"),
    (["simulate", "127.0.0.1", "1", "--location", "a\\b"], "backslash"),
    (["simulate", "127.0.0.1", "1", "--speed", "nan"], "10000"),
    (["example", "--study", "banana"], "not a UID"),
    (["send", "127.0.0.1", "1", "good.json", "--sop-class", "x"], "procedural"),
    (["config", "check", "--config", "missing"], "No such file"),
    (["config", "show", "--config", "folder"], "Is a directory"),
    (["serve", "--config", "bad.json"], "bad.json"),
    (["verify"], "name no Kafka"),
    (["backup"], "Missing argument"),
    (["backup", "x.db", "--config", "memory.toml"], "must be sqlite:///path/to/file.db"),
    (["restore"], "Missing argument"),
    (["restore", "x.db", "--config", "memory.toml"], "must be sqlite:///path/to/file.db"),
    (["relay", "repartition", "nope", "--config", "kafka.toml"], "no topic nope"),
    (["relay", "rewind", "study", "--to", "9" * 20, "--config", "kafka.toml"], "less than"),
    (["schema", "show", "zzz"], "no one type"),
    (["schema", "check", "missing"], "no folder"),
    (["status", "--url", "http://127.0.0.1:abc"], "must be an address"),
    (["status", "--url", "http://[::1"], "must be an address"),
    (["status", "--url", "http://127.0.0.1:99999"], "must be an address"),
    (["status", "--url", f"http://{LONG}"], "must be an address"),
    (["status", "--token-file", "missing"], "No such file"),
    (["study", "list", "\udcff"], "not text"),
]
OF_A_SERVER = [
    (["study", "open", "banana"], "not a UID"),
    (["study", "open", ""], "not a UID"),
    (["study", "close", "1.02"], "not a UID"),
    (["study", "close", "a/b"], "not a UID"),
    (["study", "open", "1.2", "--patient", LONG], "at most 64"),
    (["study", "open", "1.2", "--study-id", AE17], "at most 16"),
    (["study", "open", "1.2", "--location", "a\\b"], "backslash"),
    (["study", "open", "1.2", "--issuer", "HOSP"], "goes with --patient"),
    (["study", "list", "--status", "ajar"], "must be one of"),
    (["event", "list", "--limit", "x"], "integer"),
    (["event", "list", "--after", "9" * 20], "less than"),
    (["event", "list", "--study", "banana"], "not a UID"),
    (["event", "list", "--kind", "banana"], "must be one of"),
    (["event", "tail", "--kind", "banana"], "must be one of"),
    (["event", "show", "9" * 20], "less than"),
    (["quarantine", "list", "--device", AE17], "must be 1 to 16"),
    (["quarantine", "list", "--limit", "0"], "greater"),
    (["quarantine", "show", ""], "names nothing"),
    (["quarantine", "list", "--since", "yesterday"], "must be a time"),
    (["quarantine", "replay"], "name items, or say which"),
    (["quarantine", "replay", "01", "--all"], "name items, or say which"),
    (["quarantine", "replay", "--all", "--entry", "1"], "--entry goes with one item"),
    (["quarantine", "replay", "01", "--entry", "-1"], "--entry"),
    (["match", "--study", "banana"], "not a UID"),
    (["match", "--patient", LONG], "at most 64"),
    (["match", "--device", AE17], "must be 1 to 16"),
    (["match", "--admission", "V1"], "needs --substance"),
    (["match", "--substance", "--location", "LAB1"], "only without --substance"),
]


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    """Files of all kinds in the working folder."""
    event = '{"entries": [{"kind": "note", "observation_datetime": "20260101120000", "text": "x"}]}'
    (tmp_path / "good.json").write_text(event)
    (tmp_path / "date.json").write_text(event.replace('"20260101120000"', "[1]"))
    (tmp_path / "bad.json").write_text("not json")
    (tmp_path / "brace.json").write_text("{")
    (tmp_path / "kind.json").write_text('{"entries": [{"kind": "x"}]}')
    (tmp_path / "number.json").write_text("[1]")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "memory.toml").write_text('[store]\nurl = "memory://"\n')
    (tmp_path / "kafka.toml").write_text('[kafka]\nbootstrap_servers = ["127.0.0.1:1"]\n')


def refused(run: Run, arguments: list[str], said: str) -> None:
    """One line, status 2."""
    ran = run(*arguments)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1), ran
    assert ran.err.startswith("plscp: ")
    assert "defect" not in ran.err
    assert "Value error" not in ran.err
    assert "Traceback" not in ran.err
    assert said in ran.err


@pytest.mark.parametrize("tool", DICOM_TOOLS, ids=lambda tool: tool[0])
@pytest.mark.parametrize(("options", "said"), BAD_CALLS, ids=lambda value: str(value)[:40])
def test_options_of_the_dicom_tools(run: Run, tool: list[str], options: list[str], said: str) -> None:
    """AE titles, seconds, PDU lengths, certificates."""
    refused(run, [*tool, *options], said)


@pytest.mark.parametrize("host", BAD_HOSTS, ids=lambda value: value[:20])
def test_hosts(run: Run, host: str) -> None:
    """What can be no host's name."""
    refused(run, ["echo", host, "104", "-to", "5"], "host")


@pytest.mark.parametrize("file", BAD_FILES)
@pytest.mark.parametrize("command", [["send", "127.0.0.1", "1"], ["explain"]], ids=["send", "explain"])
def test_files(run: Run, command: list[str], file: str) -> None:
    """What is no request is said with the file's name."""
    refused(run, [*command, file], file)


@pytest.mark.parametrize(
    ("arguments", "said"), OTHERS, ids=lambda value: " ".join(value)[:60].encode("ascii", "replace").decode()
)
def test_other_commands(run: Run, arguments: list[str], said: str) -> None:
    """Each value that can be wrong, of commands that need no server."""
    refused(run, arguments, said)


@pytest.mark.parametrize(("arguments", "said"), OF_A_SERVER, ids=lambda value: " ".join(value)[:60])
def test_commands_of_a_server(run: Run, server: Running, arguments: list[str], said: str) -> None:
    """Each value that can be wrong, of commands about a running server: said by the command, or by the server (422)."""
    refused(run, [*arguments, "--url", server.url], said)
