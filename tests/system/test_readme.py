"""The README's examples run as they stand."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plscp.cli import main
from plscp.cli.commands import COMMANDS
from plscp.config import load, starter
from plscp.local.kafka import free_port
from plscp.scu.pci_case import DEVICES, CaseSubject, pci_case
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
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    for name in ("matching_locations", "matching_issuers", "policy"):
        assert f"config.{name}()" in code
    assert "keeper.load()" in code


def run_it() -> list[str]:
    """The command lines of "Run it", top to bottom."""
    part = README.split("## Run it")[1].split("\n## ")[0]
    return [line.strip() for line in part.splitlines() if line.startswith("    ")]


def test_run_it_can_be_followed(tmp_path: Path) -> None:
    """Its commands, top to bottom, by a shell in a fresh folder: each ends well and says nothing on standard error."""
    root = Path(__file__).parents[2]
    (tmp_path / ".venv").symlink_to(root / ".venv")  # what `make venv` makes
    dicom, http = free_ports()
    variables = {"PATH": os.environ["PATH"], "PLSCP_DICOM__PORT": str(dicom), "PLSCP_HTTP__PORT": str(http)}
    lines = run_it()
    assert lines[0].split("#")[0].strip() == "make venv"
    assert re.search(r"^venv:", (root / "Makefile").read_text(), re.MULTILINE)
    serving: subprocess.Popen[str] | None = None
    said: dict[str, str] = {}
    try:
        for line in lines[1:]:
            assert line.startswith(".venv/bin/plscp ")
            command = line.split("#")[0].strip().replace("11112", str(dicom))
            if command == ".venv/bin/plscp serve":
                with (tmp_path / "log").open("w") as log:
                    serving = subprocess.Popen(
                        command.split(), cwd=tmp_path, env=variables, stdout=subprocess.PIPE, stderr=log, text=True
                    )
                assert serving.stdout is not None
                assert serving.stdout.readline() == f"http 127.0.0.1:{http}\n"
                assert serving.stdout.readline() == f"listening PLSCP 127.0.0.1:{dicom}\n"
                continue
            ran = subprocess.run(
                ["bash", "-c", command],
                cwd=tmp_path,
                env=variables,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert (ran.returncode, ran.stderr) == (0, ""), command
            said[command.split()[1]] = ran.stdout
    finally:
        if serving is not None:
            serving.terminate()
            assert serving.wait(60) == 0
            assert serving.stdout is not None
            serving.stdout.close()
    assert "0000 success; study 1.2.3, patient 4711" in said["send"]
    assert "0000 success" in said["explain"]
    assert "C103" not in said["simulate"]  # all four devices are known, and find the study that was opened
    assert "Patient transferred to CCU" in said["event"]
    assert "C102" in said["quarantine"]


def free_ports() -> list[int]:
    """Two ports that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return [one.getsockname()[1], other.getsockname()[1]]


def test_the_starter_settings_know_every_device_of_the_case(tmp_path: Path) -> None:
    """Who plays `simulate` against a server with them is let in."""
    (tmp_path / "plscp.toml").write_text(starter())
    settings = load(tmp_path / "plscp.toml", {})
    assert {device: settings.devices[device].location for device in DEVICES} == {device: ["LAB1"] for device in DEVICES}


def test_the_request_that_is_built_in_python_has_no_finding() -> None:
    """Its codes are in their context groups, its units valid."""
    part = README.split("## Build a device")[1].split("\n## ")[0]
    code = "".join(
        line[4:] + "\n" for line in part.split("    from", 1)[1].splitlines() if line.startswith("    ") or not line
    )
    names: dict[str, Any] = {}
    exec("from" + part.split("    from", 1)[1].splitlines()[0] + "\n" + code, names)
    assert names["raw"]
    assert names["request"].findings() == []


def test_every_status_is_explained() -> None:
    """What a device can be told is in the table."""
    table = README.split("## What the device is told")[1].split("\n## ")[0]
    named = set(re.findall(r"\b(?:0000|01\d\d|02\d\d|[BC]1[0-9A-F]{2})\b", table))
    assert named == {f"{status:04X}" for status in STATUSES}


def test_every_command_and_file_that_is_named_exists() -> None:
    """Nothing is promised that is not there."""
    assert {*re.findall(r"(?:^ +|`)\.venv/bin/plscp (\w+)", README, re.MULTILINE)} <= set(COMMANDS)
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (Path(__file__).parents[2] / link.partition("#")[0]).exists(), link
