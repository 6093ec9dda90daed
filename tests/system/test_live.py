"""`plscp serve` whose settings change while devices are connected: what holds from then on, and what a fault does."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from tests import events
from tests.rawscu import RawScu, Rejected, Response
from tests.serving import Serving, open_study, until
from tests.tls import SecureScu, client, device, write

BASE = """
[dicom]
port = 0
[store]
url = "sqlite:///{folder}/plscp.db"
[http]
port = 0
"""
LABS = """
[matching]
patient_id_issuer = "HOSP"
[locations.LAB1]
names = ["Lab 1"]
[devices.HEMO1]
location = "LAB1"
[operators]
policy = "any"
"""


class Lab:
    """A server, and what its administrator and its devices do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.serving: Serving

    def start(self, more: str = LABS) -> Serving:
        """Start with these settings beside the ports."""
        self.serving = Serving(self.folder, BASE + more).start()
        return self.serving

    def write(self, more: str, base: str = BASE) -> None:
        """The settings file says this from now on."""
        self.serving.config.write_text((base + more).replace("{folder}", str(self.folder)))

    def reload(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`plscp reload`."""
        command = [sys.executable, "-m", "plscp", "reload", "--url", self.serving.http, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=self.folder)

    def takes(self, more: str) -> list[str]:
        """The settings file says this, and the server has taken it, told or by itself; returns what was applied."""
        before = len(self.lines("settings-reloaded"))
        self.write(more)
        httpx.post(f"{self.serving.http}/api/v1/reload", timeout=60).raise_for_status()
        said = until(lambda: self.lines("settings-reloaded")[before:], "the line about it")
        return [path for line in said for path in line["applied"]]

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The log lines of an event."""
        said = [json.loads(line) for line in self.serving.lines if line.startswith("{")]
        return [line for line in said if line["event"] == event]

    def scu(self, calling: str = "HEMO1") -> RawScu:
        """A device."""
        return RawScu(self.serving.host, self.serving.port, calling)

    def study(self, uid: str, patient: str = "P1", **said: Any) -> None:
        """A study is open."""
        body = {"status": "open", "patient": {"id": patient, "issuer": "HOSP"}, **said}
        assert self.serving.put(f"/api/v1/studies/{uid}", body).is_success


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A laboratory; its server has ended afterwards."""
    made = Lab(tmp_path)
    yield made
    made.serving.end()


def note(scu: RawScu, **given: str) -> Response:
    """The device reports an event of now."""
    return scu.request(
        PROCEDURAL_EVENT_LOGGING, events.encoded(events.procedural([events.note(events.now())], **given))
    )


def drug(scu: RawScu, operator: str) -> Response:
    """The device reports an administration of now."""
    given = events.substance(events.now(), patient="P1", operator=(operator, "L", "Nurse"))
    return scu.request(SUBSTANCE_ADMINISTRATION_LOGGING, events.encoded(given))


def measured(scu: RawScu, **given: str) -> Response:
    """As `note`, three times: from the second on the device's clock is known. The last response."""
    responses = [note(scu, **given) for _ in range(3)]
    return responses[-1]


def test_a_new_device_while_another_one_reports(lab: Lab) -> None:
    """A device that was refused is taken from the moment when [devices] names it; the other's association goes on; both are said."""
    lab.start()
    lab.study("1.2.3", location="LAB1")
    with lab.scu() as first:
        assert note(first, study="1.2.3").status == 0
        with pytest.raises(Rejected):
            lab.scu("NEW1").associate()
        said = lab.takes(LABS + '[devices.NEW1]\nlocation = "LAB1"\n')
        assert said == ["devices.NEW1 (new)"]
        with lab.scu("NEW1") as second:
            assert note(second, study="1.2.3").status == 0
        assert note(first, study="1.2.3").status == 0


def test_a_device_that_is_taken_out_keeps_its_association_and_may_send_nothing(lab: Lab) -> None:
    """Its requests are not judged as those of a device that nobody configured: 0124H, until it is there again."""
    lab.start()
    lab.study("1.2.3", location="LAB1")
    with lab.scu() as scu:
        assert note(scu, study="1.2.3").status == 0
        lab.takes(LABS.replace("[devices.HEMO1]", "[devices.OTHER]"))
        assert note(scu, study="1.2.3").status == 0x0124
        said = until(lambda: [line for line in lab.lines("settings-warning") if "HEMO1" in line["why"]], "the warning")
        assert said[0]["why"] == "devices.HEMO1: taken out while it has an association: what it sends there gets 0124H"
        lab.takes(LABS)
        assert note(scu, study="1.2.3").status == 0


def test_a_location_is_renamed_while_a_study_is_open_there(lab: Lab) -> None:
    """With the old name among its names it is the same lab: who sends nothing but the place is matched before and after."""
    lab.start()
    lab.study("1.2.3", location="Lab 1")
    with lab.scu() as scu:
        assert measured(scu).status == 0
        renamed = LABS.replace('[locations.LAB1]\nnames = ["Lab 1"]', '[locations.ROOM7]\nnames = ["LAB1", "Cath 7"]')
        said = lab.takes(renamed.replace('location = "LAB1"', 'location = "ROOM7"'))
        assert said == ["locations.LAB1 (removed)", "locations.ROOM7 (new)", "devices.HEMO1.location"]
        assert note(scu).status == 0
        assert note(scu, location="Cath 7").status == 0
        assert note(scu, location="Lab 1").status == 0xC103
    [study] = lab.serving.get("/api/v1/studies", location="ROOM7")["studies"]
    assert study["location"] == "ROOM7"


def test_a_location_that_is_renamed_without_its_old_name_is_said(lab: Lab) -> None:
    """Which lab the open study is in cannot be guessed: nobody matches by place there, and the log says what is missing."""
    lab.start()
    lab.study("1.2.3", location="LAB1")
    renamed = LABS.replace("locations.LAB1", "locations.ROOM7").replace('location = "LAB1"', 'location = "ROOM7"')
    with lab.scu() as scu:
        assert measured(scu).status == 0
        lab.takes(renamed)
        assert note(scu).status == 0xC103
        why = "locations: no table names LAB1 any more, and a study is open there: add the name to its new table"
        until(lambda: [line for line in lab.lines("settings-warning") if line["why"] == why], "the warning")
        lab.takes(renamed.replace('names = ["Lab 1"]', 'names = ["Lab 1", "LAB1"]'))
        assert note(scu).status == 0


def test_an_issuer_that_is_listed_makes_a_patient_id_count(lab: Lab) -> None:
    """Refused as an authority that nobody knows; once [issuers] lists the spelling it is the patient's."""
    lab.start()
    lab.study("1.2.3", location="LAB1")

    def report(scu: RawScu) -> Response:
        made = events.procedural([events.note(events.now())], patient="P1")
        made.IssuerOfPatientID = "1.2.840.99999.1"
        return scu.request(PROCEDURAL_EVENT_LOGGING, events.encoded(made))

    with lab.scu() as scu:
        assert report(scu).status == 0xC104
        lab.takes(LABS + '[issuers]\nHOSP = ["1.2.840.99999.1"]\n')
        assert report(scu).status == 0
        lab.takes(LABS)
        assert report(scu).status == 0xC104


def test_the_grace_of_a_closed_study(lab: Lab) -> None:
    """[matching] close_grace holds for the studies that are closed already."""
    lab.start()
    lab.study("1.2.3", location="LAB1")
    httpx.post(f"{lab.serving.http}/api/v1/studies/1.2.3/close", timeout=60).raise_for_status()
    with lab.scu() as scu:
        assert note(scu, study="1.2.3").status == 0
        lab.takes(LABS.replace("[matching]", '[matching]\nclose_grace = "PT0S"'))
        assert note(scu, study="1.2.3").status == 0xC101
        lab.takes(LABS.replace("[devices.HEMO1]", '[devices.HEMO1]\nclose_grace = "PT1H"'))
        assert note(scu, study="1.2.3").status == 0


def test_operators(lab: Lab) -> None:
    """Who may add to the Medication Administration Record, from one administration to the next."""
    lab.start()
    lab.study("1.2.3", location="LAB1")
    listed = LABS.replace('policy = "any"', 'policy = "list"\nallowed = [{ value = "N1", scheme = "L" }]')
    with lab.scu() as scu:
        assert drug(scu, "N2").status == 0
        lab.takes(listed)
        assert drug(scu, "N2").status == 0xC10E
        assert drug(scu, "N1").status == 0
        lab.takes(listed.replace('"N1"', '"N2"'))
        assert drug(scu, "N2").status == 0


def test_the_log_level_of_server_and_relay(lab: Lab) -> None:
    """Lines of level debug appear, of the relay's process too, and none is written once the level is warning."""
    kafka = '[kafka]\nbootstrap_servers = ["127.0.0.1:1"]\n'
    lab.start(LABS + kafka)
    lab.study("1.2.3", location="LAB1")
    with lab.scu() as scu:
        assert note(scu, study="1.2.3").status == 0
        lab.takes(LABS + kafka + '[log]\nlevel = "debug"\n')
        assert note(scu, study="1.2.3").status == 0
        assert len(until(lambda: lab.lines("request-answered"), "a debug line of the server")) == 1
        until(lambda: lab.lines("relay-status"), "a debug line of the relay")
        lab.write(LABS + kafka + '[log]\nlevel = "warning"\n')
        httpx.post(f"{lab.serving.http}/api/v1/reload", timeout=60).raise_for_status()
    assert lab.serving.get("/livez") == {"status": "live"}
    assert not lab.lines("association-ended")


def test_what_needs_a_restart_is_named_and_keeps_its_value(lab: Lab) -> None:
    """The port of the listener and the size of a body: said by the command, the log and the status, and not applied."""
    lab.start()
    lab.write(LABS, BASE.replace("[http]", "[http]\nmax_body = 5").replace("port = 0", "port = 1", 1))
    done = lab.reload()
    assert done.returncode == 0
    assert [line.split() for line in done.stdout.splitlines()][-2:] == [
        ["dicom.port", "after", "a", "restart"],
        ["http.max_body", "after", "a", "restart"],
    ]
    lab.study("1.2.3", location="LAB1")
    assert lab.serving.get("/api/v1/status")["settings"]["restart"] == ["dicom.port", "http.max_body"]
    line = lab.lines("settings-reloaded")[-1]
    assert (line["applied"], line["restart"]) == ([], ["dicom.port", "http.max_body"])


FAULTS: list[tuple[str, str]] = [
    ("[devices.NEW1]\nlocaton = 'LAB1'", 'devices.NEW1.locaton: no such setting; did you mean "location"?'),
    ("[devices.NEW1]\nlocation = 'LAB2'", 'devices.NEW1.location: no table [locations.LAB2]; did you mean "LAB1"?'),
    ("[devices.NEW1", "plscp.toml: "),
]


def test_a_file_with_a_fault_changes_nothing(lab: Lab) -> None:
    """Every fault is named by the command, which ends with 1, and once in the log; the status has it until it is mended."""
    lab.start()
    before = lab.serving.get("/api/v1/status")["settings"]
    assert before["fault"] == ""
    assert before["file"] == str(lab.serving.config)
    for text, fault in FAULTS:
        lab.write(LABS + "[issuers]\nHOSP = ['H']\n" + text)
        for _ in range(2):
            done = lab.reload()
            assert done.returncode == 1
            assert fault in done.stderr
            assert done.stdout == ""
        assert json.loads(lab.reload("--json").stdout)["applied"] == []
        with pytest.raises(Rejected):
            lab.scu("NEW1").associate()
        assert fault in lab.serving.get("/api/v1/status")["settings"]["fault"]
    assert len(lab.lines("settings-refused")) == len(FAULTS)
    lab.takes(LABS)
    assert lab.serving.get("/api/v1/status")["settings"]["fault"] == ""
    metrics = httpx.get(f"{lab.serving.http}/metrics", timeout=60).text
    refused = next(
        line for line in metrics.splitlines() if line.startswith('plscp_settings_reloads_total{outcome="refused"}')
    )
    assert float(refused.split()[-1]) >= 3 * len(FAULTS)
    assert "plscp_settings_last_reload_success 1.0" in metrics


def accepted(lab: Lab, calling: str) -> bool:
    """Whether a device may associate now."""
    try:
        with lab.scu(calling):
            return True
    except Rejected:
        return False


def by_signal(lab: Lab, text: str) -> None:
    """The administrator writes the file and sends SIGHUP."""
    lab.write(text)
    assert lab.serving.process is not None
    lab.serving.process.send_signal(signal.SIGHUP)


def by_itself(lab: Lab, text: str) -> None:
    """The administrator's editor writes another file and renames it."""
    made = lab.folder / "plscp.toml~"
    made.write_text((BASE + text).replace("{folder}", str(lab.folder)))
    made.replace(lab.serving.config)


@pytest.mark.parametrize("change", [by_signal, by_itself])
def test_a_change_is_found(lab: Lab, change: Callable[[Lab, str], None]) -> None:
    """By SIGHUP, and without it because the file changed; two changes quickly after each other end with the second."""
    lab.start()
    change(lab, LABS + "[devices.NEW1]\n")
    change(lab, LABS + "[devices.NEW2]\n")
    until(lambda: accepted(lab, "NEW2"), "the second change")
    assert not accepted(lab, "NEW1")


def test_a_mounted_config_map(lab: Lab) -> None:
    """Kubernetes swaps a symlink of a folder, and the settings' own link does not change: it is found all the same."""
    lab.start()
    text = lab.serving.config.read_text()
    for version, more in (("v1", ""), ("v2", "[devices.NEW1]\n")):
        (lab.folder / version).mkdir()
        (lab.folder / version / "plscp.toml").write_text(text + more)
    data = lab.folder / "..data"
    data.symlink_to("v1")
    lab.serving.end()
    lab.serving.config.unlink()
    lab.serving.config.symlink_to("..data/plscp.toml")
    lab.serving.start()
    assert not accepted(lab, "NEW1")
    new = lab.folder / "..data_tmp"
    new.symlink_to("v2")
    new.replace(data)
    until(lambda: accepted(lab, "NEW1"), "the new ConfigMap")


def test_the_registry_file_is_read_again_when_it_changes(lab: Lab) -> None:
    """A study that is added to it is open without a signal."""
    (lab.folder / "current.toml").write_text("")
    lab.start(LABS + '[registry]\nfile = "current.toml"\n')
    (lab.folder / "current.toml").write_text(open_study("1.2.3"))
    until(lambda: lab.serving.get("/api/v1/studies")["studies"], "the study of the file")


def test_certificates_are_exchanged_for_others_in_other_files(lab: Lab) -> None:
    """New paths: devices of the new authority connect, those of the old one no longer, and an association from before goes on."""
    old, new = lab.folder / "old", lab.folder / "new"
    old.mkdir()
    new.mkdir()
    write(old, client_ca="hospital")
    write(new, client_ca="clinic")

    def tls(name: str) -> str:
        files = "".join(
            f'{setting} = "{name}/{file}"\n'
            for setting, file in (
                ("certificate", "server.pem"),
                ("private_key", "server.key"),
                ("client_ca", "devices.pem"),
            )
        )
        return LABS + f"[dicom.tls]\nport = 0\n{files}"

    lab.start(tls("old"))
    lab.study("1.2.3", location="LAB1")
    port = int(next(line for line in lab.serving.lines if line.startswith("tls PLSCP")).rsplit(":", 1)[1])

    def secure(by: str) -> SecureScu:
        return SecureScu("127.0.0.1", port, "HEMO1", tls=client(device(by)))

    with secure("hospital") as scu:
        assert note(scu, study="1.2.3").status == 0
        lab.write(tls("new").replace("new/server.key", "new/none.key"))
        assert "dicom.tls.private_key" in lab.reload().stderr
        said = lab.takes(tls("new"))
        assert said == ["dicom.tls.certificate", "dicom.tls.private_key", "dicom.tls.client_ca"]
        assert note(scu, study="1.2.3").status == 0
        with secure("clinic") as other:
            assert note(other, study="1.2.3").status == 0
        with pytest.raises((OSError, EOFError, Exception)), secure("hospital") as refused:
            note(refused, study="1.2.3")

    def metrics() -> str:
        return httpx.get(f"{lab.serving.http}/metrics", timeout=60).text

    until(lambda: f'file="{new}/server.pem"' in metrics(), "the new certificate's expiry")
    assert f'file="{old}/server.pem"' not in metrics()


def test_a_token_is_not_taken_from_a_listener_of_the_network(lab: Lab) -> None:
    """Settings that are right by themselves, and not with what runs until a restart: nothing of them is applied."""
    (lab.folder / "token").write_text("secret\n")
    network = BASE.replace("[http]", '[http]\nhost = "0.0.0.0"\ntoken_file = "token"')
    lab.serving = Serving(lab.folder, network + LABS).start()
    lab.write(LABS + "[devices.NEW1]\n")
    done = lab.reload("--token-file", "token")
    assert done.returncode == 1
    assert "http.token_file: is missing" in done.stderr
    assert not accepted(lab, "NEW1")
