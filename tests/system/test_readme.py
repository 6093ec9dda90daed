"""The README's examples run as they stand."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from plscp.cli import main
from plscp.cli.commands import COMMANDS
from plscp.scu.pci_case import Subject, pci_case
from plscp.statuses import STATUSES
from tests.events import now
from tests.serving import until

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


def open_port(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_stock_example_answers_devices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten lines on a stock pynetdicom AE: an event that fits no study gets C103, and the server says why."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code.split("\n\n")[-1].strip().splitlines()) <= 10
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (tmp_path / "plscp.toml").write_text('[store]\nurl = "sqlite:///plscp.db"\n[devices.HEMO1]\n')
    event = tmp_path / "event.json"
    event.write_text(pci_case(Subject())[0].dataset(now()).to_json())
    (tmp_path / "example.py").write_text(code.replace("11112", str(port)))
    process = subprocess.Popen([sys.executable, "example.py"], cwd=tmp_path)
    try:
        until(lambda: open_port(port) or process.poll() is not None, "the example to listen")
        assert main(["send", "127.0.0.1", str(port), str(event), "-aet", "HEMO1"], {}) == 1
    finally:
        process.kill()
        process.wait(10)
    assert "C103 cannot-match-to-current-study" in capsys.readouterr().err


def test_every_status_is_explained() -> None:
    """What a device can be told is in the table."""
    table = README.split("## What the device is told")[1].split("\n## ")[0]
    named = set(re.findall(r"\b(?:0000|01\d\d|02\d\d|[BC]1[0-9A-F]{2})\b", table))
    assert named == {f"{status:04X}" for status in STATUSES}


def test_every_command_and_file_that_is_named_exists() -> None:
    """Nothing is promised that is not there."""
    assert {*re.findall(r"(?:^ +|`)\.venv/bin/plscp (\w+)", README, re.MULTILINE)} <= set(COMMANDS)
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (Path(__file__).parents[2] / link).exists(), link
