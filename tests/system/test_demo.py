"""`plscp demo` as a newcomer meets it: what it prints, how it ends, and that nothing stays behind."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plscp.cli import main
from plscp.errors import CommandError
from plscp.local import kafka
from tests.serving import until

FAST = ("--speed", "400")
TOTALS = r"\n(sent|answered|stored|consumed) +(\d+) +(\d+) "


class Demo:
    """The command as a process; its files are below `folder`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        environment = {name: value for name, value in os.environ.items() if name != "TMPDIR"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "plscp", "demo", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment | {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
        )
        self.text = ""
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.text += line

    def wait(self, seconds: float = 120) -> int:
        """Its exit status; `text` is complete then."""
        status = self.process.wait(seconds)
        self._reading.join(60)
        return status

    def until(self, text: str) -> None:
        """Wait until it has printed something."""
        until(lambda: text in self.text or self.process.poll() is not None, text, 60)
        assert text in self.text, self.text

    def left(self) -> list[str]:
        """Files, and processes that were started for this demo."""
        running = []
        for each in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = each.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if str(self.folder) in line:
                running.append(line)
        return running + [str(path) for path in self.folder.iterdir()]


@contextmanager
def demo(folder: Path, *arguments: str) -> Iterator[Demo]:
    """Run one; whatever the test does, it ends."""
    running = Demo(folder, *arguments)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait(60)
        assert running.process.stdout is not None
        running.process.stdout.close()


def check_summary(text: str) -> None:
    """Four stations, the same counts; each trouble with its status; the sentence at the end."""
    totals = re.findall(TOTALS, text)
    assert [name for name, _, _ in totals] == ["sent", "answered", "stored", "consumed"]
    assert len({counts[1:] for counts in totals}) == 1
    assert int(totals[0][1]) >= 60
    for trouble in ("B102 study-instance-uid", "C102 does-not-match", "C110 patient-not", "C10E operator-not"):
        assert trouble in text.split("What was not simply Success")[1]
    assert "Sent = answered = stored = consumed." in text
    assert "Traceback" not in text


@pytest.mark.kafka
def test_the_demo_shows_a_case_on_its_way_into_kafka_and_ends(tmp_path: Path) -> None:
    """Four devices' answers, what a consumer received with topic and partition, a summary; status 0; nothing is left."""
    with demo(tmp_path, *FAST) as running:
        assert running.wait() == 0, running.text
        assert "Started Apache Kafka at 127.0.0.1:" in running.text
        for device in ("HEMO1", "XRAY1", "INJECT1", "TABLET1"):
            assert re.search(rf"answered .* {device} +0000 ", running.text)
            assert re.search(rf"received [a-z-]+\[\d\]@\d+ {device} ", running.text)
        assert re.search(r"received quarantine\[\d\]@\d+ HEMO1 +refused: TID3108", running.text)
        check_summary(running.text)
        assert running.left() == []


def test_without_kafka_the_same_case_is_shown_from_the_store(tmp_path: Path) -> None:
    """--no-kafka needs no broker, and checks the same."""
    with demo(tmp_path, "--no-kafka", *FAST) as running:
        assert running.wait() == 0, running.text
        assert "Kafka at" not in running.text
        assert re.search(r"received store@\d+ TABLET1 Drug administered, Heparin, 5000 iU", running.text)
        check_summary(running.text)
        assert running.left() == []


def test_keep_says_how_to_send_ones_own_event(tmp_path: Path) -> None:
    """The printed command works as it stands; Ctrl-C ends everything with status 0."""
    with demo(tmp_path, "--no-kafka", "--keep", *FAST) as running:
        running.until("plscp simulate")
        check_summary(running.text)
        (line,) = re.findall(r"plscp (send .*)", running.text)
        assert main(line.split(), {}) == 0
        running.process.send_signal(signal.SIGINT)
        assert running.wait() == 0, running.text
        assert running.left() == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_leaves_nothing(tmp_path: Path, how: signal.Signals) -> None:
    """In the middle of the case, with four associations open."""
    with demo(tmp_path, "--no-kafka", "--speed", "20") as running:
        running.until("answered")
        running.process.send_signal(how)
        assert running.wait() == 130
        assert "Traceback" not in running.text
        assert running.left() == []


def test_a_demo_that_is_killed_takes_its_server_with_it(tmp_path: Path) -> None:
    """SIGKILL cannot be caught: the server notices that nobody holds the other end any more."""
    with demo(tmp_path, "--no-kafka", "--speed", "20") as running:
        running.until("answered")
        running.process.kill()
        until(lambda: not [line for line in running.left() if "serve" in line], "the server's end")


def test_where_no_broker_can_be_fetched_one_line_names_no_kafka(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Non-zero, and nothing was started."""

    def away(*_: object) -> None:
        raise CommandError("the download of kafka_2.13-4.1.0.jar failed: no route to host")

    monkeypatch.setattr(kafka.LocalBroker, "start", away)
    assert main(["demo"], {}) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("plscp: no Kafka broker: the download of kafka_2.13-4.1.0.jar failed")
    assert "demo --no-kafka" in line
