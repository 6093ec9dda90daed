"""`plscp status` and its `--watch`: a verdict, one screen, and what they do while no server answers."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from plscp.cli.status import screen, short, size
from plscp.errors import StoreUnavailable
from plscp.web.verdict import verdict
from tests.cli.conftest import Run
from tests.web.fake import FakeServer, Running

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)


def before(**how: float) -> str:
    """A time so long before the status."""
    return (NOW - timedelta(**how)).isoformat()


def lab(**more: Any) -> dict[str, Any]:
    """The status of a small lab."""
    device = {
        "configured": True,
        "location": ["LAB1"],
        "open": 1,
        "refusals": 0,
        "clock_difference": 0.4,
        "silent": False,
    }
    refusal = {
        "time": before(minutes=3),
        "status": "C103",
        "comment": "no study was at the location when the events occurred",
    }
    status: dict[str, Any] = {
        "time": NOW.isoformat(),
        "version": "0.1.0",
        "ae_title": "PLSCP",
        "store": {"position": 48211, "disk_free": 43_500_000_000, "disk": "ok"},
        "relay": {"reachable": False, "away_since": before(seconds=27), "pending": 79},
        "kafka": {"pending": 79},
        "quarantine_open": 3,
        "quarantine": {"open": 3, "of_closed_cases": 2},
        "corrections_proposed": 0,
        "requests_retried": 1,
        "associations": [{}] * 5,
        "devices": [
            {**device, "ae_title": f"DEVICE{n}", "last_event": before(seconds=7 * n), "last_refusal": refusal if n == 2 else None}
            for n in range(5)
        ],
        "rooms": [
            {"location": f"LAB{n}", "studies": [{"study_instance_uid": f"1.2.826.0.1.3680043.9.7.100{n}", "arrived": before(hours=3)}]}
            for n in (1, 2)
        ],
        "last_errors": [{"time": before(hours=1), "what": "store-failed", "device": "", "text": "the disk is away"}],
        "refused_peers": [{"calling_ae": "NOBODY1", "address": "10.1.9.9", "rule": "dicom.unknown_devices", "hint": "add [devices.NOBODY1] to the settings", "times": 12, "last": before(minutes=1)}],
        **more,
    }  # fmt: skip
    return {"verdict": verdict(status), **status}


def drawn(status: dict[str, Any], trouble: str = "", *, height: int | None = 24, width: int = 80) -> list[str]:
    """The lines of a screen."""
    out = StringIO()
    Console(file=out, width=width, highlight=False).print(screen(status, trouble, height=height))
    return out.getvalue().rstrip("\n").split("\n")


def test_a_small_lab_fits_on_24_lines_of_80() -> None:
    """Verdict, numbers, each device and room, the last error, the refused peer."""
    lines = drawn(lab())
    assert len(lines) <= 24
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].strip() == "KAFKA AWAY 27 s, 79 waiting (+1 more)"
    assert lines[1].strip() == "CLOSED CASES WITH REFUSALS 2"
    text = "\n".join(lines)
    for shown in (
        "DEVICE4",
        "28 s",
        "3 min C103",
        "LAB2",
        "...",
        "3 h",
        "store-failed",
        "NOBODY1",
        "add [devices",
        "43.5 GB",
        "away, 79",
    ):
        assert shown in text, text


def test_a_large_lab_is_cut_and_says_so() -> None:
    """On the terminal alone; elsewhere every row is printed."""
    devices = [{**lab()["devices"][0], "ae_title": f"D{n}"} for n in range(60)]
    lines = drawn(lab(devices=devices))
    assert len(lines) <= 24
    assert re.search(r"and \d+ more", "\n".join(lines))
    assert "D59" in "\n".join(drawn(lab(devices=devices), height=None))


def test_the_latest_refused_peers_are_listed_and_the_others_counted() -> None:
    """Also where every row is printed."""
    peers = [{**lab()["refused_peers"][0], "calling_ae": f"NOBODY{n}"} for n in range(7)]
    text = "\n".join(drawn(lab(refused_peers=peers), height=None, width=200))
    assert "NOBODY4" in text
    assert "NOBODY5" not in text
    assert "and 2 more" in text
    assert "more, refused before" not in "\n".join(drawn(lab(refused_peers=peers[:5]), height=None, width=200))


def test_a_clock_is_behind_or_ahead() -> None:
    """In words: a sign leaves open whose clock is meant."""
    devices = [{**lab()["devices"][0], "ae_title": f"D{n}", "clock_difference": 7200.4 * n} for n in (-1, 0, 1)]
    text = "\n".join(drawn(lab(devices=devices), height=None, width=200))
    assert all(said in text for said in (" 7200 s ahead ", " 0 s ", " 7200 s behind "))


def test_no_answer_stands_above_what_was_known_last() -> None:
    """Or alone, where there never was an answer."""
    lines = drawn(lab(), "no answer since 12:00:00")
    assert lines[0].startswith("no answer since")
    assert "KAFKA AWAY" in lines[1]
    assert drawn({}, "no answer since 12:00:00") == ["no answer since 12:00:00"]


def test_a_text_of_a_device_is_no_control_sequence() -> None:
    """Whatever it calls itself."""
    devices = [{**lab()["devices"][0], "ae_title": "D\x1b[2J"}]
    assert "\x1b" not in "\n".join(drawn(lab(devices=devices)))


@pytest.mark.parametrize(
    ("count", "text"), [(999, "999 B"), (1500, "1.5 kB"), (43.5e9, "43.5 GB"), (2e15, "2000.0 TB")]
)
def test_sizes(count: float, text: str) -> None:
    """As people say them."""
    assert size(count) == text


def test_uids_are_shortened_to_their_end() -> None:
    """Where they differ."""
    assert short("1.2.3") == "1.2.3"
    assert short("1.2.826.0.1.3680043.9.7.1001") == "...80043.9.7.1001"


def test_exit_statuses(run: Run) -> None:
    """0 for OK and for a warning, 1 for what is critical, 3 where nobody answers, 2 for options that do not go together."""
    fake = FakeServer()
    with Running(fake) as server:
        ran = run("status", "--url", server.url)
        assert (ran.status, ran.out.splitlines()[0].strip()) == (0, "OK")
        fake.overview.cases.of_cases["1.2.3"] = 2
        ran = run("status", "--url", server.url)
        assert (ran.status, ran.out.splitlines()[0].strip()) == (0, "CLOSED CASES WITH REFUSALS 2")
        fake.store.failure = StoreUnavailable("the disk is away")
        ran = run("status", "--url", server.url)
        assert (ran.status, ran.out.splitlines()[0].strip()) == (1, "STORE FAILING: the disk is away (+1 more)")
        assert run("status", "--json", "--url", server.url).status == 1
        assert run("status", "--json", "--watch", "--url", server.url).status == 2
    assert run("status", "--url", server.url).status == 3


def test_a_fault_in_the_settings_is_no_reason_not_to_ask_the_server(run: Run, tmp_path: Path) -> None:
    """The server goes on with the settings before: the fault is said beside its status. Where it cannot be found by them, that is all."""
    with Running(FakeServer()) as server:
        host, _, port = server.url.removeprefix("http://").rpartition(":")
        place = tmp_path / "plscp.toml"
        where = f'[http]\nhost = "{host}"\nport = {port}\n'
        place.write_text(f'{where}[devices.HEMO1]\nlocation = "LAB7"\n[log]\nlevel = "loud"\n', "utf-8")
        ran = run("status", "--config", str(place))
        assert (ran.status, ran.out.splitlines()[0].strip()) == (0, "OK")
        assert ran.err.startswith(f"plscp: {place}: log.level: must be ")
        place.write_text(f'{where}[devices.HEMO1]\nlocation = "LAB7"\n', "utf-8")
        ran = run("status", "--json", "--config", str(place))
        assert (ran.status, json.loads(ran.out)["verdict"]["text"]) == (0, "OK")
        assert ran.err == f"plscp: {place}: devices.HEMO1.location: no table [locations.LAB7]\n"
        assert run("reload", "--config", str(place)).err == ""  # the server says it in its answer
        place.write_text('[http]\nport = "x"\n[log]\nlevel = "loud"\n', "utf-8")
        ran = run("status", "--config", str(place))
        assert (ran.status, ran.out) == (2, "")
        assert ran.err.startswith(f"plscp: {place}: http.port: must be ")


class Terminal:
    """`plscp status --watch` on a terminal of 24 lines of 80."""

    def __init__(self, url: str) -> None:
        self.ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        command = [sys.executable, "-m", "plscp", "status", "--watch", "--url", url]
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
        )
        os.close(theirs)
        self.seen = ""

    def until(self, text: str, seconds: float = 60.0) -> None:
        """Read until a text was drawn anew."""
        deadline = time.monotonic() + seconds
        self.seen = ""
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.ours], [], [], 0.2)[0]:
                self.seen += os.read(self.ours, 65536).decode("utf-8", "replace")

    def end(self) -> int:
        """Its exit status."""
        while self.process.poll() is None:
            if select.select([self.ours], [], [], 0.1)[0]:
                try:
                    os.read(self.ours, 65536)
                except OSError:  # it has let go of the terminal
                    break
        return self.process.wait(60)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """Nothing of them is left."""
    made: list[Terminal] = []
    yield made
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait(60)
        os.close(one.ours)


@pytest.mark.parametrize("way", ["q", "Ctrl-C"])
def test_watch_survives_the_server_and_ends_with_0(terminals: list[Terminal], way: str) -> None:
    """It says since when nobody answers, goes on when one does, and ends by q or Ctrl-C."""
    with Running(FakeServer()) as server:
        terminals.append(Terminal(server.url))
        [terminal] = terminals
        terminal.until(" OK ")
    terminal.until("no answer since")
    if way == "q":
        os.write(terminal.ours, b"q")
    else:
        os.kill(terminal.process.pid, signal.SIGINT)
    assert terminal.end() == 0


def test_watch_in_a_pipe_says_each_verdict_once(tmp_path: Any) -> None:
    """For a log: a line for each that differs from the one before; it starts before the server does."""
    fake = FakeServer()
    with Running(fake) as server:
        command = [sys.executable, "-m", "plscp", "status", "--watch", "--url", server.url]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
        assert process.stdout is not None
        assert process.stdout.readline().endswith(" OK\n")
        fake.overview.cases.of_cases["1.2.3"] = 1
        assert process.stdout.readline().endswith(" CLOSED CASES WITH REFUSALS 1\n")
    assert process.stdout.readline().endswith(" no answer\n")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    process.stdout.close()
