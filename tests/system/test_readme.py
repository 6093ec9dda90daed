"""The README's examples run as they stand."""

import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plscp.cli import main
from plscp.cli.commands import COMMANDS
from plscp.cli.explaining import table
from plscp.config import load, starter
from plscp.local.kafka import free_port
from plscp.scu.pci_case import DEVICES, CaseSubject, pci_case
from plscp.statuses import STATUSES
from plscp.templates.rows import Term
from tests.events import now
from tests.serving import until
from tests.system.newcomer import COMMANDS as TYPED
from tests.system.newcomer import ROOT, RUN_IT, SCREENS, Newcomer

README = (ROOT / "README.md").read_text("utf-8")


def open_port(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_stock_example_answers_devices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten lines on a stock pynetdicom AE: an event that fits no study gets C103, and the server says why."""
    *_, code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code.split("\n\n")[-1].strip().splitlines()) <= 10
    port = free_port()
    (tmp_path / "plscp.toml").write_text('[store]\nurl = "sqlite:///plscp.db"\n[devices.HEMO1]\n')
    event = tmp_path / "event.json"
    event.write_text(pci_case(CaseSubject())[0].dataset(now()).to_json())
    (tmp_path / "example.py").write_text(code.replace("11112", str(port)))
    process = subprocess.Popen([sys.executable, "example.py"], cwd=tmp_path)
    try:
        until(lambda: open_port(port) or process.poll() is not None, "the example to listen")
        assert main(["send", "127.0.0.1", str(port), str(event), "-aet", "HEMO1"], {}) == 1
    finally:
        process.kill()
        process.wait(60)
    assert "C103 cannot-match-to-current-study" in capsys.readouterr().err


def test_the_stock_example_knows_what_the_settings_say_of_matching() -> None:
    """A Patient ID with an issuer that only `[issuers]` spells would name nobody otherwise."""
    *_, code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    for name in ("matching_locations", "matching_issuers", "policy"):
        assert f"config.{name}()" in code
    assert "keeper.load()" in code


@pytest.mark.kafka
@pytest.mark.slow
def test_run_it_can_be_followed(tmp_path: Path) -> None:
    """Its commands, top to bottom, in a fresh folder: each does what it says, and what is shown of their output is what they print."""
    assert TYPED[0].split("#")[0].strip() == "make venv"
    assert re.search(r"^venv:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    newcomer = Newcomer(tmp_path)
    assert newcomer.follow() == SCREENS
    said = newcomer.said
    assert "C103" not in said["simulate"]  # all four devices are known, and find the study that was opened
    (comment,) = re.findall(r"\(0000,0902\), `([^`]+)`", RUN_IT)
    assert f"({comment})" in said["simulate"]
    assert re.findall(r" (C1\w\w) ", said["quarantine"]) == ["C102", "C110"]


def test_the_error_comment_is_explained_word_for_word() -> None:
    """Each of its words has a row of the table, which says what the template says."""
    (comment,) = re.findall(r"\(0000,0902\), `([^`]+)`", RUN_IT)
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", RUN_IT, re.MULTILINE))
    assert " ".join(rows) == comment
    (row,) = table()["TID3108", "4"]
    assert row.head.name in rows["TID3108"]
    assert isinstance(row.row.concept, Term)
    assert row.row.concept.meaning in rows["r4"]
    assert (row.row.req, row.row.concept.value, row.row.concept.scheme) == ("M", "121154", "DCM")


def test_the_starter_settings_know_every_device_of_the_case(tmp_path: Path) -> None:
    """Who plays `simulate` against a server with them is let in."""
    (tmp_path / "plscp.toml").write_text(starter())
    settings = load(tmp_path / "plscp.toml", {})
    assert {device: settings.devices[device].location for device in DEVICES} == {device: ["LAB1"] for device in DEVICES}


def test_the_request_that_is_built_in_python_has_no_finding() -> None:
    """Its codes are in their context groups, its units valid."""
    part = README.split("## Build a device")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", part, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["raw"]
    assert names["request"].findings() == []


def test_every_status_is_explained() -> None:
    """What a device can be told is in the table."""
    table = README.split("## What the device is told")[1].split("\n## ")[0]
    named = set(re.findall(r"\b(?:0000|01\d\d|02\d\d|[BC]1[0-9A-F]{2})\b", table))
    assert named == {f"{status:04X}" for status in STATUSES}


def test_every_command_and_file_that_is_named_exists() -> None:
    """Nothing is promised that is not there."""
    assert {*re.findall(r"(?:^ +|`|\.venv/bin/)plscp (\w+)", README, re.MULTILINE)} <= set(COMMANDS)
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / link.partition("#")[0]).exists(), link
