"""`plscp serve` that knows who may do what: devices by address, certificate and user identity; HTTP by roles, over TLS; probes."""

import json
import re
from collections import Counter
from typing import Any

import httpx
import pytest

from plscp.cli import main
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.rawscu import RawScu, Rejected, user_identity
from tests.serving import Serving, open_study, until
from tests.tls import SecureScu, authority, client, device, issued, write

SETTINGS = """
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
token_file = "token"
read_token_file = "read-token"
probes = "127.0.0.1:0"
[http.tls]
certificate = "server.pem"
private_key = "server.key"
[operators]
policy = "any"
[registry]
file = "current.toml"
[devices.PLAIN1]
[devices.NEAR1]
address = "127.0.0.0/30"
[devices.CERT1]
certificate = ["CN=HEMO1, O=Cath Lab", "DNS:spare.example"]
[devices.CODE1]
username = "hemo"
passcode_file = "code"
[devices.ALL1]
address = "127.0.0.2"
certificate = "DNS:hemo1.example"
username = "hemo"
passcode = "in line"
"""
STUDY = open_study("1.2.3")
HEMO = device()
XRAY = issued("hospital", "xray1.example", common_name="XRAY1", organization_name="Cath Lab")
SPARE = issued("hospital", "SPARE.example", common_name="whatever")
CODE, WRONG, IN_LINE = (user_identity("hemo", code, response=True) for code in ("s3cret", "s4cret", "in line"))
NO_DEVICE, NO_USER = (1, 1, 3), (1, 2, 1)
PEERS: list[tuple[str, dict[str, Any], tuple[int, int, int] | None, str]] = [
    # AE title, what it brings, the rejection, the rule
    ("PLAIN1", {}, None, ""),
    ("PLAIN1", {"certificate": XRAY}, None, ""),
    ("NOBODY1", {}, NO_DEVICE, "dicom.unknown_devices"),
    ("NOBODY1", {"certificate": HEMO, "identity": CODE}, NO_DEVICE, "dicom.unknown_devices"),
    ("NEAR1", {"source": "127.0.0.2"}, None, ""),
    ("NEAR1", {"source": "127.0.0.9"}, NO_DEVICE, "devices.address"),
    ("CERT1", {"certificate": HEMO}, None, ""),
    ("CERT1", {"certificate": SPARE}, None, ""),
    ("CERT1", {"certificate": XRAY}, NO_DEVICE, "devices.certificate"),
    ("CERT1", {}, NO_DEVICE, "devices.certificate"),
    ("CODE1", {"identity": CODE}, None, ""),
    ("CODE1", {"identity": CODE, "certificate": XRAY}, None, ""),
    ("CODE1", {"identity": WRONG}, NO_USER, "devices.username"),
    ("CODE1", {}, NO_USER, "devices.username"),
    ("ALL1", {"source": "127.0.0.2", "certificate": HEMO, "identity": IN_LINE}, None, ""),
    ("ALL1", {"source": "127.0.0.2", "certificate": HEMO, "identity": CODE}, NO_USER, "devices.username"),
    ("ALL1", {"source": "127.0.0.2", "certificate": SPARE, "identity": IN_LINE}, NO_DEVICE, "devices.certificate"),
    ("ALL1", {"source": "127.0.0.3", "certificate": HEMO, "identity": IN_LINE}, NO_DEVICE, "devices.address"),
]


def printed(running: Serving, word: str) -> tuple[str, int]:
    """Host and port of a line that `serve` prints."""
    found = until(lambda: re.search(rf"(?m)^{word} (\S+):(\d+)$", "".join(running.lines)), f"the line {word}")
    return found[1], int(found[2])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The server, with its files."""
    folder = tmp_path_factory.mktemp("access")
    (folder / "current.toml").write_text(STUDY)
    write(folder, client_ca="hospital")
    authority("hospital").cert_pem.write_to_path(folder / "ca.pem")
    for name, text in {"token": "boss", "read-token": "reader", "code": "s3cret"}.items():
        (folder / name).write_text(text + "\n")
    with Serving(folder, SETTINGS) as serving:
        yield serving
        assert serving.stop() == 0
    text = "".join(serving.lines)
    assert not re.search(r"s3cret|s4cret|in line|boss|reader|Traceback", text)


def peer(
    running: Serving, calling: str, *, source: str = "127.0.0.1", certificate: Any = None, identity: Any = None
) -> RawScu:
    """A device, on the port that it brings a certificate for."""
    given: dict[str, Any] = {"calling": calling, "source": (source, 0), "identity": identity}
    if certificate is None:
        return RawScu(running.host, running.port, **given)
    return SecureScu(running.host, printed(running, "tls PLSCP")[1], tls=client(certificate), **given)


@pytest.mark.parametrize("row", PEERS)
def test_who_may_associate(running: Serving, row: Any) -> None:
    """Who shows what its AE title asks for reports; who does not is told no more than a stranger, and the log names the rule."""
    calling, brings, rejection, rule = row
    one = peer(running, calling, **brings)
    if rejection is None:
        data = events.encoded(events.procedural([events.note(events.now())], study="1.2.3"))
        with one as scu:
            assert scu.request(PROCEDURAL_EVENT_LOGGING, data).status == 0
            assert scu.confirmed is ("username" in SETTINGS.split(f"[devices.{calling}]")[1].split("[", maxsplit=1)[0])
        return
    with pytest.raises(Rejected) as rejected:
        one.associate()
    assert rejected.value.args == rejection

    def said() -> bool:
        lines = [json.loads(line) for line in running.lines if line.startswith("{")]
        return any(
            (line["event"], line.get("calling_ae"), line.get("rule")) == ("peer-refused", calling, rule)
            for line in lines
        )

    until(said, "the line")


def test_refused_peers_are_counted_by_rule(running: Serving) -> None:
    """The metric counts each refusal under its rule, and never under an AE title."""
    host, port = printed(running, "probes")

    def counts() -> Counter[str]:
        text = httpx.get(f"http://{host}:{port}/metrics", timeout=60).text
        assert "NOBODY1" not in text
        return Counter(
            {
                rule: int(float(count))
                for rule, count in re.findall(r'plscp_refused_peers_total{rule="(.+?)"} (\S+)', text)
            }
        )

    before = counts()
    for _ in range(2):
        with pytest.raises(Rejected):
            peer(running, "CODE1").associate()
    with pytest.raises(Rejected):
        peer(running, "NEAR1", source="127.0.0.9").associate()
    assert counts() - before == {"devices.username": 2, "devices.address": 1}


def test_listeners(running: Serving, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`serve` prints where each listener is; the API is HTTPS with tokens of roles, the probes are plain and alone."""
    _, port = printed(running, "http")
    url = f"https://localhost:{port}"
    with httpx.Client(verify=client(), timeout=60) as api:
        for token, method, path, status in [
            ("boss", "GET", "/api/v1/status", 200),
            ("reader", "GET", "/api/v1/status", 200),
            ("reader", "PUT", "/api/v1/patients/P9", 403),
            ("boss", "PUT", "/api/v1/patients/P9?issuer=HOSP", 201),
            ("", "GET", "/api/v1/status", 401),
            ("", "GET", "/livez", 200),
        ]:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            body: dict[str, Any] = {"json": {}} if method == "PUT" else {}
            assert api.request(method, url + path, headers=headers, **body).status_code == status
    host, port = printed(running, "probes")
    statuses = [
        httpx.get(f"http://{host}:{port}{path}", timeout=60).status_code
        for path in ("/livez", "/readyz", "/metrics", "/api/v1/status")
    ]
    assert statuses == [200, 200, 200, 404]
    lines = [json.loads(line) for line in running.lines if line.startswith("{")]
    assert [line["listener"] for line in lines if line["event"] == "http-listening"] == ["api", "probes"]
    monkeypatch.chdir(running.folder)
    given = ["--url", url, "--ca-file", "ca.pem", "--token-file"]
    assert main(["study", "list", *given, "read-token"], {}) == 0
    assert main(["study", "close", "1.2.99", *given, "read-token"], {}) == 1
    assert "this needs a token of role feed, not read" in capsys.readouterr().err


def test_a_refused_peer_is_a_row_of_the_status(
    running: Serving, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API and `plscp status` name it with what to add to the settings."""
    for _ in range(2):
        with pytest.raises(Rejected):
            peer(running, "NOBODY2", source="127.0.0.7").associate()
    url = f"https://localhost:{printed(running, 'http')[1]}"
    with httpx.Client(verify=client(), timeout=60) as api:
        status = api.get(url + "/api/v1/status", headers={"Authorization": "Bearer boss"}).json()
    [row] = [row for row in status["refused_peers"] if row["calling_ae"] == "NOBODY2"]
    assert (row["address"], row["rule"], row["times"]) == ("127.0.0.7", "dicom.unknown_devices", 2)
    monkeypatch.chdir(running.folder)
    assert main(["status", "--url", url, "--ca-file", "ca.pem", "--token-file", "token"], {}) == 0
    assert "add [devices.NOBODY2] to the settings" in " ".join(capsys.readouterr().out.split())


def test_secrets_are_exchanged_while_it_runs(running: Serving) -> None:
    """A passcode and a token that the files hold anew count at once; the old ones no longer."""
    url = f"https://localhost:{printed(running, 'http')[1]}/api/v1/studies"
    before = {name: (running.folder / name).read_text() for name in ("code", "read-token")}
    try:
        (running.folder / "code").write_text("n3xt one\n")
        (running.folder / "read-token").write_text("another reading\n")
        with httpx.Client(verify=client(), timeout=60) as api:
            got = [
                api.get(url, headers={"Authorization": f"Bearer {token}"}).status_code
                for token in ("reader", "another reading")
            ]
        assert got == [401, 200]
        with pytest.raises(Rejected):
            peer(running, "CODE1", identity=CODE).associate()
        with peer(running, "CODE1", identity=user_identity("hemo", "n3xt one", response=True)) as scu:
            assert scu.confirmed
    finally:  # the other tests have the same server
        for name, text in before.items():
            (running.folder / name).write_text(text)
