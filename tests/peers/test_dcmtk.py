"""DCMTK's SCU against our acceptor: another implementation of the upper layer agrees with ours."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

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
[devices.CODE1]
username = "hemo"
passcode = "s3cret"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """`plscp serve` that knows two devices, one of them by its user identity."""
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


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An object for storescu, the tool of DCMTK that negotiates a user identity; no SOP Class of it is accepted here."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = tmp_path_factory.mktemp("image") / "image.dcm"
    made.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize(
    ("options", "confirmed", "last"),
    [
        (["-aet", "CODE1", "-usr", "hemo", "-pwd", "s3cret", "-rsp"], True, "F: No Acceptable Presentation Contexts"),
        (["-aet", "CODE1", "-usr", "hemo", "-pwd", "s3cret"], False, "F: No Acceptable Presentation Contexts"),
        (["-aet", "HEMO1", "-usr", "hemo", "-pwd", "s3cret", "-rsp"], False, "F: No Acceptable Presentation Contexts"),
        (["-aet", "CODE1", "-usr", "hemo", "-pwd", "wrong", "-rsp"], False, "F: Reason: No Reason"),
        (["-aet", "CODE1", "-usr", "hemo", "-epw"], False, "F: Reason: No Reason"),
        (["-aet", "CODE1", "-usr", "hemo"], False, "F: Reason: No Reason"),
        (["-aet", "CODE1"], False, "F: Reason: No Reason"),
    ],
)
def test_storescu_negotiates_a_user_identity(
    server: Serving, image: Path, options: list[str], confirmed: bool, last: str
) -> None:
    """Username and passcode as DCMTK encodes them are taken and confirmed, or rejected by the service provider (PS3.7 D.3.3.7.3)."""
    program = shutil.which("storescu")
    if program is None:
        pytest.skip("storescu is missing (Debian, Ubuntu: apt-get install dcmtk)")
    command = [
        program,
        "-d",
        "-to",
        "60",
        "-ta",
        "60",
        "-aec",
        "PLSCP",
        *options,
        server.host,
        str(server.port),
        str(image),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    lines = (ended.stdout + ended.stderr).splitlines()
    responses = [line for line in lines if line.startswith("D: User Identity Negotiation Response:")]
    assert (not responses[-1].endswith("none")) is confirmed
    assert last in lines
    if "Reason" in last:
        assert "F: Result: Rejected Permanent, Source: Service Provider (ACSE Related)" in lines
