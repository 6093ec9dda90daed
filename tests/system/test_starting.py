"""What `plscp serve` says when it cannot be started, and what it does when Kafka is away: one line, never a traceback."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from plscp.store import SqliteStore
from tests import events
from tests.rawscu import RawScu
from tests.serving import Serving, open_study, until

SETTINGS = """
[dicom]
port = {port}
unknown_devices = "accept"
[store]
url = "sqlite:///{folder}/plscp.db"
[http]
port = {http}
[operators]
policy = "any"
"""


def settings(folder: Path, port: int = 0, http: int = 0) -> str:
    return SETTINGS.replace("{port}", str(port)).replace("{http}", str(http)).replace("{folder}", str(folder))


def start(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """`plscp serve` until it ends by itself."""
    (folder / "plscp.toml").write_text(text)
    command = [sys.executable, "-m", "plscp", "serve", "--config", str(folder / "plscp.toml")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=folder)


def test_the_defaults_run_where_they_are_asked_for(tmp_path: Path) -> None:
    """Without a settings file, and with what the environment says; the store is made where the defaults have it."""
    command = [sys.executable, "-m", "plscp", "serve", "--defaults"]
    environ = os.environ | {"PLSCP_DICOM__PORT": "0", "PLSCP_HTTP__PORT": "0"}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        with process.stdout as said:
            assert [line.split()[0] for line in (said.readline(), said.readline())] == ["http", "listening"]
            process.terminate()
            assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(60)
    assert (tmp_path / "data" / "plscp.db").exists()


@contextlib.contextmanager
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def newer(folder: Path) -> str:
    SqliteStore(folder / "plscp.db").close()
    with contextlib.closing(apsw.Connection(str(folder / "plscp.db"))) as connection:
        connection.execute("PRAGMA user_version = 99")
    return settings(folder)


def no_store(folder: Path) -> str:
    (folder / "plscp.db").write_bytes(b"this is no database at all, and long enough to be read as one" * 40)
    return settings(folder)


def nowhere(folder: Path) -> str:
    return settings(folder).replace(str(folder), "/proc/plscp")


CASES: dict[str, tuple[Callable[[Path], str], str]] = {
    "an unknown key": (
        lambda folder: settings(folder) + "\n[kafka]\nbootstrap_server = ['x:1']\n",
        "bootstrap_servers",
    ),
    "a bad value": (lambda folder: settings(folder).replace("port = 0", "port = 'x'", 1), "dicom.port"),
    "no TOML": (lambda _: "[dicom", "plscp.toml"),
    "a newer store": (newer, "newer"),
    "no store": (no_store, "plscp.db"),
    "a folder that cannot be made": (nowhere, "/proc/plscp"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_started_is_one_line(tmp_path: Path, name: str) -> None:
    """One line on standard error that names the cause, a non-zero exit status, no traceback."""
    prepare, words = CASES[name]
    ended = start(tmp_path, prepare(tmp_path))
    assert ended.returncode != 0
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, ended.stderr
    assert words in lines[0]
    assert "Traceback" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("which", ["dicom", "http"])
def test_a_taken_port_is_one_line(tmp_path: Path, which: str) -> None:
    """The port is named, and nothing is left running."""
    with taken() as port:
        text = settings(tmp_path, port=port) if which == "dicom" else settings(tmp_path, http=port)
        ended = start(tmp_path, text)
        assert ended.returncode != 0
        lines = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
        assert len(lines) == 1, ended.stderr
        assert str(port) in lines[0]


def test_a_second_server_on_one_store_is_refused(tmp_path: Path) -> None:
    """The first goes on; the second ends with one line that names the store."""
    with Serving(tmp_path, settings(tmp_path)) as first:
        ended = start(tmp_path, settings(tmp_path))
        assert ended.returncode != 0
        lines = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
        assert len(lines) == 1, ended.stderr
        assert "plscp.db" in lines[0]
        assert first.get("/readyz") == {"status": "ready"}
        assert first.stop() == 0


def test_a_broker_that_is_away_changes_no_answer(tmp_path: Path) -> None:
    """Devices are answered, the store keeps, the status names the cause in one line; SIGTERM ends it with 0."""
    with taken() as port:
        closed = port
    text = settings(tmp_path) + f'\n[kafka]\nbootstrap_servers = ["127.0.0.1:{closed}"]\n'
    (tmp_path / "current.toml").write_text(open_study("1.2.3"))
    text += f'\n[registry]\nfile = "{tmp_path}/current.toml"\n'
    with Serving(tmp_path, text) as server:
        with RawScu(server.host, server.port) as scu:
            data = events.encoded(events.procedural([events.note(events.now())], study="1.2.3"))
            assert scu.request(PROCEDURAL_EVENT_LOGGING, data).status == 0
        until(lambda: "relay-kafka-away" in "".join(server.lines), "the line that says that no broker answers")
        assert server.get("/readyz") == {"status": "ready"}
        assert server.stop() == 0
        assert "Traceback" not in "".join(server.lines)


def test_a_killed_server_starts_again_with_what_it_knew(tmp_path: Path) -> None:
    """After SIGKILL, registry and entries are there, and a repeat of the unheard request is a retry."""
    (tmp_path / "current.toml").write_text(open_study("1.2.3"))
    text = settings(tmp_path) + f'\n[registry]\nfile = "{tmp_path}/current.toml"\n'
    data = events.encoded(events.procedural([events.note(events.now())], study="1.2.3"))
    with Serving(tmp_path, text) as server:
        scu = RawScu(server.host, server.port).associate()
        assert scu.request(PROCEDURAL_EVENT_LOGGING, data).status == 0
        server.kill()
        scu.socket.close()
        (tmp_path / "current.toml").unlink()
        server.start()
        with RawScu(server.host, server.port) as again:
            answer = again.request(PROCEDURAL_EVENT_LOGGING, data)
            assert (answer.status, answer.reply().PatientID) == (0, "P1")
        entries = [event for event in server.get("/api/v1/events")["events"] if "entry" in event]
        assert len(entries) == 1
