"""DCMTK's SCU against our acceptor: another implementation of the upper layer agrees with ours."""

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.serving import Serving

SETTINGS = """
[dicom]
port = 0
[store]
url = "sqlite:///{folder}/plscp.db"
[http]
port = 0
[log]
format = "json"
[devices.HEMO1]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """`plscp serve` that knows one device."""
    with Serving(tmp_path_factory.mktemp("server"), SETTINGS) as running:
        yield running
        assert running.stop() == 0


def echoscu(server: Serving, *options: str) -> subprocess.CompletedProcess[str]:
    """Run echoscu; the test is skipped, with the reason, where there is none."""
    program = shutil.which("echoscu")
    if program is None:
        pytest.skip("echoscu is missing (Debian, Ubuntu: apt-get install dcmtk)")
    command = [program, "-v", "-to", "60", "-ta", "60", "-td", "60", *options, server.host, str(server.port)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("more", [[], ["--repeat", "20"], ["--propose-ts", "3"], ["--max-pdu", "4096"], ["--abort"]])
def test_echoscu_is_answered(server: Serving, more: list[str]) -> None:
    """C-ECHO, once and often, with several transfer syntaxes and a small PDU, released or aborted."""
    ended = echoscu(server, "-aet", "HEMO1", "-aec", "PLSCP", *more)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Received Echo Response (Success)" in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("titles", "reason"),
    [
        (["-aet", "NOBODY", "-aec", "PLSCP"], "Calling AE Title Not Recognized"),
        (["-aet", "HEMO1", "-aec", "OTHER"], "Called AE Title Not Recognized"),
    ],
)
def test_echoscu_reads_the_reason_of_a_rejection(server: Serving, titles: list[str], reason: str) -> None:
    """A-ASSOCIATE-RJ 1/1/3 and 1/1/7 (PS3.8 Table 9-21)."""
    ended = echoscu(server, *titles)
    assert ended.returncode != 0
    assert reason in ended.stdout + ended.stderr
