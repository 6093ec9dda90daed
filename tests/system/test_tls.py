"""`plscp serve` with [dicom.tls]: both ports, what cannot be used said in a line, and an exchange while it runs."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from plscp.config import load
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.rawscu import RawScu
from tests.serving import Serving, open_study, until
from tests.tls import PAST, SecureScu, client, device, issued, server, write

SETTINGS = """
[dicom]
port = 0
unknown_devices = "accept"
[dicom.tls]
port = 0
certificate = "server.pem"
private_key = "server.key"
client_ca = "devices.pem"
[store]
url = "sqlite:///{folder}/plscp.db"
[http]
port = 0
[operators]
policy = "any"
[registry]
file = "current.toml"
"""
STUDY = open_study("1.2.3")


def line_of(serving: Serving, event: str) -> dict[str, object]:
    """The log line of this event, when it comes."""

    def found() -> list[dict[str, object]]:
        lines = [json.loads(line) for line in serving.lines if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    said: dict[str, object] = until(found, event)[-1]
    return said


def test_both_ports_record_and_certificates_are_exchanged(tmp_path: Path) -> None:
    """One server, one store; the log names the device, the metric when the certificate expires, before an exchange and after."""
    (tmp_path / "current.toml").write_text(STUDY)
    given = write(tmp_path, client_ca="hospital")
    with Serving(tmp_path, SETTINGS) as running:
        port = int(next(line for line in running.lines if line.startswith("tls PLSCP 127.0.0.1:")).rsplit(":", 1)[1])

        def record(scu: RawScu) -> None:
            data = events.encoded(events.procedural([events.note(events.now())], study="1.2.3"))
            with scu:
                assert scu.request(PROCEDURAL_EVENT_LOGGING, data).status == 0

        record(RawScu(running.host, running.port))
        record(SecureScu(running.host, port, tls=client(device())))
        said = line_of(running, "association-accepted")
        assert (said["tls"], said["certificate_names"]) == ("TLSv1.3", "DNS:hemo1.example")
        expires = load(tmp_path / "plscp.toml", {}).certificates("dicom")
        assert expires is not None
        metric = f'plscp_tls_certificate_expiry_timestamp_seconds{{file="{given.certificate}"}} '

        def shown() -> float:
            text = httpx.get(running.http + "/metrics", timeout=60).text
            return float(text.split(metric)[1].split()[0]) if metric in text else 0.0

        assert until(shown, "the metric") == expires.expires[given.certificate]
        old = issued("elsewhere", "localhost", not_before=PAST.replace(year=2019), not_after=PAST)
        write(tmp_path, leaf=old, client_ca="elsewhere")
        assert line_of(running, "certificates-loaded")["expires"] == "2020-01-01T00:00:00+00:00"
        assert line_of(running, "certificate-expired")["file"] == given.certificate
        until(lambda: shown() == PAST.timestamp(), "the metric of the exchanged one")
        write(tmp_path, leaf=server("elsewhere"), client_ca="elsewhere")
        until(lambda: shown() > PAST.timestamp(), "the metric of the third")
        record(SecureScu(running.host, port, tls=client(device("elsewhere"), trusts="elsewhere")))
        assert len(running.get("/api/v1/events")["events"]) == 3
        assert running.stop() == 0
        assert "Traceback" not in "".join(running.lines)


@pytest.mark.parametrize("command", [("serve",), ("config", "check")])
def test_a_key_that_does_not_fit(tmp_path: Path, command: tuple[str, ...]) -> None:
    """One line that names setting, file and fault, exit status 2, before anything is opened."""
    write(tmp_path, client_ca="hospital")
    (tmp_path / "server.key").write_bytes(device().private_key_pem.bytes())
    (tmp_path / "plscp.toml").write_text(SETTINGS.replace("{folder}", str(tmp_path)))
    ended = subprocess.run(
        [sys.executable, "-m", "plscp", *command, "--config", str(tmp_path / "plscp.toml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = [line for line in (ended.stdout + ended.stderr).splitlines() if not line.startswith("{")]
    assert ended.returncode == 2
    assert [line for line in lines if "dicom.tls.private_key" in line and "server.key: does not fit" in line] == lines[
        :1
    ]
    assert not (tmp_path / "plscp.db").exists()
    assert "Traceback" not in ended.stderr


def test_settings_without_tls(tmp_path: Path) -> None:
    """Nothing is read and nothing said."""
    (tmp_path / "plscp.toml").write_text("[dicom]\nport = 0\n")
    with capture_logs() as lines:
        assert load(tmp_path / "plscp.toml", {}).certificates("dicom") is None
    assert not lines
