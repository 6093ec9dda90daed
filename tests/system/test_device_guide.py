"""docs/device.md as it stands: its two programs against a real server, its tables against what device and server say."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from pydicom.dataset import Dataset

from plscp.cli import main
from plscp.dicom.handshakes import HANDSHAKES
from plscp.statuses import INSTANCES, STATUSES
from tests.serving import Serving
from tests.system.test_documents import Walk, text_of
from tests.tls import authority, device, write

GUIDE: Final = text_of("device")
PROGRAM, OVER_TLS = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
[TABLES] = re.findall(r"^```toml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
SETTINGS: Final = """
[dicom]
port = 0
[dicom.tls]
port = 0
certificate = "server.pem"
private_key = "server.key"
client_ca = "devices.pem"
[store]
url = "sqlite:///{folder}/plscp.db"
[http]
port = 0
[registry]
file = "current.toml"
[devices.TABLET1]
location = "LAB1"
[devices.PUMP1]
address = "10.1.2.0/24"
[devices.PUMP2]
sop_classes = ["substance-administration-logging"]
"""
STUDIES: Final = """
[[studies]]
study_instance_uid = "1.2.3"
status = "open"
location = "LAB1"
patient = { id = "4711", issuer = "HOSP" }

[[studies]]
study_instance_uid = "1.2.4"
status = "closed"
opened = 2020-01-05T08:00:00Z
closed = 2020-01-05T09:00:00Z
location = "LAB1"
patient = { id = "4712", issuer = "HOSP" }
"""


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server with both ports, the tables of the guide and those of its faulty devices."""
    folder = tmp_path_factory.mktemp("guide")
    write(folder, client_ca="hospital")
    (folder / "current.toml").write_text(STUDIES)
    with Serving(folder, SETTINGS + TABLES) as running:
        yield running


def rows(heading: str) -> list[list[str]]:
    """The cells of the only table below a heading."""
    part = GUIDE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")]
    return [line for line in lines[1:] if set(line[0]) != {"-"}]


def run(folder: Path, program: str) -> str:
    """What a program of the guide prints, in a process of its own."""
    ran = subprocess.run(
        [sys.executable, program], cwd=folder, env=os.environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.strip()


def test_the_program_reports_an_event(serving: Serving, tmp_path: Path) -> None:
    """Stock pynetdicom alone; what it sends has no finding."""
    assert "plscp" not in PROGRAM.replace("PLSCP", "").lower()
    (tmp_path / "device.py").write_text(PROGRAM.replace("11112", str(serving.port)))
    before = serving.get("/api/v1/events")["next"]
    assert run(tmp_path, "device.py") == "0000 1.2.3"
    [event] = [each for each in serving.get("/api/v1/events", after=before)["events"] if "entry" in each]
    assert (event["entry"]["kind"], event["findings"]) == ("drug_administered", [])


def test_the_same_over_tls(serving: Serving, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the files that the guide names; `plscp echo` with the same ones."""
    [port] = [line.rsplit(":", 1)[1].strip() for line in serving.lines if line.startswith("tls PLSCP")]
    authority("hospital").cert_pem.write_to_path(tmp_path / "ca.pem")
    device().private_key_pem.write_to_path(tmp_path / "hemo1.key")
    (tmp_path / "hemo1.pem").write_bytes(b"".join(blob.bytes() for blob in device().cert_chain_pems))
    (tmp_path / "device.py").write_text(PROGRAM)
    (tmp_path / "device_tls.py").write_text(OVER_TLS.replace("2762", port))
    assert run(tmp_path, "device_tls.py") == "0000 1.2.3"
    [typed] = re.findall(r"^plscp (echo 127.0.0.1 .*)$", GUIDE, re.MULTILINE)
    words = typed.replace("2762", port).split()
    assert main([str(tmp_path / word) if word.endswith((".pem", ".key")) else word for word in words], {}) == 0
    assert "0000 success" in capsys.readouterr().out


@pytest.mark.slow
def test_what_the_guide_tells_to_type_works(tmp_path: Path) -> None:
    """Tables for the settings, a study, the program: top to bottom."""
    walk = Walk(tmp_path)
    own = '[dicom]\nport = 11112\n[store]\nurl = "sqlite:////var/lib/plscp/plscp.db"\n[http]\nport = 8080\n'
    walk.settings.write_text(walk.here_for(own))
    (walk.here / "device.py").write_text(walk.here_for(PROGRAM))
    walk.start()
    walk.follow(GUIDE.split("\n## TLS\n")[0])
    assert "0000 1.2.3" in walk.said
    assert "Drug administered, Heparin, 5000 iU" in walk.said


Sending = Callable[..., str]


def _without_time(made: Dataset) -> Dataset:
    del made.ContentSequence[-1].ObservationDateTime
    return made


def _other_scheme(made: Dataset) -> Dataset:
    made.ContentSequence[-1].ConceptNameCodeSequence[0].CodingSchemeDesignator = "SCT"
    return made


FAULTS: Final[dict[str, Callable[[Sending, Callable[..., Dataset], datetime], str]]] = {
    "its own AE title is not known": lambda send, event, now: send(event(now), calling="HEMO9"),
    "it calls another AE title": lambda send, event, now: send(event(now), called="ARCHIVE"),
    "it calls from another address": lambda send, event, now: send(event(now), calling="PUMP1"),
    "it may not use this SOP Class": lambda send, event, now: send(event(now), calling="PUMP2"),
    "an event without Observation DateTime": lambda send, event, now: send(_without_time(event(now))),
    "a concept with the wrong code scheme": lambda send, event, now: send(_other_scheme(event(now))),
    "a Patient ID that nobody registered": lambda send, event, now: send(event(now, "4799", "")),
    "a Performed Location that nobody listed": lambda send, event, now: send(event(now, "", "", "Lab 9")),
    "a study that was closed": lambda send, event, now: send(event(now, "4712", "1.2.4")),
    "local time, without its offset": lambda send, event, now: send(
        event((now + timedelta(hours=2)).replace(tzinfo=None), "", ""), calling="TABLET1"
    ),
}
COMMANDS: Final = {"status": ["status"], "quarantine": ["quarantine", "list"], "events": ["event", "list"]}


@pytest.mark.parametrize("row", rows("What goes wrong"), ids=lambda row: row[0])
def test_a_fault_shows_as_the_table_says(serving: Serving, row: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """At the device, and at the server by the command that the cell begins with."""
    fault, at_the_device, at_the_server, _ = row
    names: dict[str, Any] = {"__name__": "device"}
    exec(PROGRAM, names)

    def send(dataset: Dataset, **more: str) -> str:
        said = "no association"
        # Where the server rejects and closes at once, pynetdicom does not always see that it was rejected.
        for _ in range(20):
            said = str(names["send"](dataset, serving.host, serving.port, **more))
            if said != "no association":
                break
        return said

    assert f"`{FAULTS[fault](send, names['event'], datetime.now(UTC))}`" == at_the_device
    command, _, words = at_the_server.partition(": ")
    assert main([*COMMANDS[command], "--url", serving.http], {}) == 0
    assert words.strip("`") in capsys.readouterr().out


def test_every_fault_has_its_row() -> None:
    """Ten of them."""
    assert [row[0] for row in rows("What goes wrong")] == [*FAULTS]


def test_every_cause_of_a_failed_handshake_has_its_row() -> None:
    """In the words that both sides say."""
    assert [row[0].strip("`") for row in rows("TLS")] == [*HANDSHAKES]


def test_what_to_send_again_is_what_may_succeed_then() -> None:
    """Of both SOP Classes."""
    logged, again, *_ = [row[0].split(", ") for row in rows("The answer, and sending again")]
    assert logged == [f"{status:04X}" for status, info in STATUSES.items() if info.performed and status != 0x0107]
    assert sorted(again) == sorted(f"{status:04X}" for status, info in STATUSES.items() if info.retriable)


def test_the_uids_are_those_of_the_service_class() -> None:
    """Class beside instance."""
    table = {row[0]: row[1:] for row in rows("On the wire")}
    assert table["SOP Class UID"] == [*INSTANCES]
    assert table["Requested SOP Instance UID, well-known"] == [*INSTANCES.values()]
