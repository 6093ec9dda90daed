"""`deploy/systemd`: what the unit promises of the program, and what systemd itself says of the unit."""

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from plscp.config.model import Dicom
from tests.serving import Serving, until

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "plscp.service"
SETTINGS = '[dicom]\nport = 0\n[store]\nurl = "sqlite:///{folder}/plscp.db"\n[http]\nport = 0\n'
MOST_EXPOSED = 2.0
"""Of ten, as `systemd-analyze security` counts: a service with the network and a folder of its own cannot have 0."""
HTTP_AND_RELAY_SECONDS = 10


def settings(text: str) -> dict[str, list[str]]:
    """The unit's lines by name."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_systemd_waits_for_longer_than_the_drain_takes() -> None:
    """With the defaults of the settings: SIGKILL never comes in the middle."""
    dicom = Dicom()
    drain = (dicom.drain_delay + dicom.drain_grace + dicom.answer_deadline).total_seconds()
    [stop] = settings(UNIT.read_text("utf-8"))["TimeoutStopSec"]
    assert int(stop) >= drain + HTTP_AND_RELAY_SECONDS


def test_the_manager_is_told(tmp_path: Path) -> None:
    """READY=1 once associations are accepted, STOPPING=1 on SIGTERM."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        server = Serving(tmp_path, SETTINGS)
        server.environ["NOTIFY_SOCKET"] = str(tmp_path / "notify")

        def told() -> bytes:
            try:
                return manager.recv(100)
            except BlockingIOError:
                return b""

        with server:
            assert until(told, "READY=1") == b"READY=1"
            assert server.stop() == 0
        assert until(told, "STOPPING=1") == b"STOPPING=1"


def test_a_manager_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    """The server starts and ends as always."""
    server = Serving(tmp_path, SETTINGS)
    server.environ["NOTIFY_SOCKET"] = "@" + str(tmp_path / "nobody")
    with server:
        assert server.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify`, with a command that exists; `security` within its bound."""
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("systemd-analyze is not here (Debian, Ubuntu: apt-get install systemd)")
    text = UNIT.read_text("utf-8").replace("/opt/plscp/bin/plscp", sys.executable)
    unit = tmp_path / "plscp.service"
    unit.write_text(text)
    verified = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    security = [analyze, "security", "--offline=true", f"--threshold={MOST_EXPOSED * 10:.0f}", str(unit)]
    judged = subprocess.run(security, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout
