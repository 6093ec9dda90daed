"""DCMTK's worklist SCP (wlmscpfs) as the worklist of a running server: entries that no one here encodes become scheduled studies."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tests.serving import Serving, until

SETTINGS = """
[dicom]
port = 0
timezone = "UTC"
[store]
url = "sqlite:///{folder}/plscp.db"
[http]
port = 0
[log]
format = "json"
[locations.LAB1]
[devices.XRAY1]
location = "LAB1"
[feeds.worklist]
host = "127.0.0.1"
port = PORT
ae_title = "RIS"
interval = "PT1S"
station_ae_titles = ["XRAY1"]
modalities = ["XA"]
"""
DUMP = """
(0008,0005) CS [ISO_IR 100]
(0008,0050) SH [{accession}]
(0010,0010) PN [{name}]
(0010,0020) LO [{patient}]
(0010,0030) DA [19700101]
(0010,0040) CS [F]
(0020,000d) UI [{study}]
(0032,1060) LO [PCI]
(0040,0100) SQ
  (fffe,e000) na
    (0008,0060) CS [XA]
    (0040,0001) AE [{station}]
    (0040,0002) DA [{day}]
    (0040,0003) TM [101500]
    (0040,0006) PN [Smith]
    (0040,0007) LO [PCI]
    (0040,0009) SH [{step}]
    (0040,0010) SH [CATH]
    (0040,0011) SH [Somewhere]
  (fffe,e00d) na
(fffe,e0dd) na
(0040,1001) SH [RP1]
(0040,1003) SH [HIGH]
"""


def write(folder: Path, name: str, **said: str) -> None:
    """An entry as a file of wlmscpfs; DCMTK's dump2dcm encodes it."""
    given = {"accession": "A1", "name": "M\xfcller^J\xf6rg", "patient": "P1", "study": "1.2.1", "station": "XRAY1",
        "day": f"{datetime.now(UTC):%Y%m%d}", "step": "SPS1"}  # fmt: skip
    dump = folder.parent / f"{name}.dump"
    dump.write_bytes(DUMP.format(**given | said).encode("latin-1"))
    part = folder.parent / f"{name}.part"
    subprocess.run(["dump2dcm", "+te", str(dump), str(part)], check=True, capture_output=True, timeout=60)
    part.rename(folder / f"{name}.wl")


@contextlib.contextmanager
def worklist(folder: Path, port: int) -> Iterator[Path]:
    """A running wlmscpfs; the folder of its entries."""
    entries = folder / "RIS"
    entries.mkdir(exist_ok=True)
    (entries / "lockfile").touch()
    command = ["wlmscpfs", "-csk", "-dfp", str(folder), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield entries
    finally:
        process.kill()
        process.wait(60)


def test_a_worklist_of_dcmtk_fills_the_registry(tmp_path: Path) -> None:
    """What is scheduled, then what comes, through an SCP that goes away and comes back; other stations' entries do not come."""
    for program in ("wlmscpfs", "dump2dcm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing (Debian, Ubuntu: apt-get install dcmtk)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "worklist").mkdir()
    with worklist(tmp_path / "worklist", port) as entries:
        write(entries, "one")
        write(entries, "other", study="1.2.9", station="CT1", step="SPS9")
        server = Serving(tmp_path, SETTINGS.replace("PORT", str(port))).start()
        try:
            studies = until(lambda: server.get("/api/v1/studies")["studies"], "the first study")
            [study] = studies
            assert (study["study_instance_uid"], study["status"], study["location"]) == ("1.2.1", "scheduled", "LAB1")
            assert (study["study_id"], study["accession_number"]) == ("RP1", "A1")
            assert study["planned"] == f"{datetime.now(UTC):%Y-%m-%d}T10:15:00Z"
            assert server.get("/api/v1/patients/P1")["name"] == "Müller^Jörg"
            write(entries, "two", study="1.2.2", patient="P2", step="SPS2")
            until(lambda: len(server.get("/api/v1/studies")["studies"]) == 2, "the second study")
            position = server.get("/api/v1/status")["store"]["position"]
            until(lambda: _polls(server) >= 5, "further polls")
            assert server.get("/api/v1/status")["store"]["position"] == position
        except BaseException:
            server.end()
            raise
    try:
        until(lambda: any("worklist-away" in line for line in server.lines), "the line about the SCP that is away")
        with worklist(tmp_path / "worklist", port):
            until(lambda: any("worklist-back" in line for line in server.lines), "the line that it is back")
        assert server.stop() == 0
    finally:
        server.end()


def _polls(server: Serving) -> float:
    """How often the worklist has answered."""
    lines = httpx.get(f"{server.http}/metrics", timeout=60).text.splitlines()
    return sum(
        float(line.split()[-1]) for line in lines if line.startswith('plscp_worklist_polls_total{outcome="done"}')
    )
