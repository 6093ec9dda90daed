"""Settings of who may do what: faults, warnings, what the listeners are given, secrets that are read again and never shown."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from plscp.config import Settings, load, problems
from plscp.config.live import InForce, LiveSettings
from plscp.config.load import table_of
from plscp.config.model import Section
from plscp.config.secretfile import SecretFile
from plscp.config.settings import TLS_LISTENERS
from plscp.dicom.admission import Caller, CertificateName, UserIdentity, refusal
from plscp.errors import ConfigError
from tests import tls

KAFKA = "[kafka]\nbootstrap_servers = ['k:1']\n"
TLS = "[dicom.tls]\ncertificate='c'\nprivate_key='k'\n"


def written(folder: Path, text: str) -> Path:
    """A settings file."""
    path = folder / "plscp.toml"
    path.write_text(text)
    return path


FAULTS = [
    ("[devices.H]\naddress='10.1.2.3/24'\n", "devices.H.address.1: must be an address such as 10.1.2.3, or a network"),
    ("[devices.H]\naddress=['10.1.2.3','lab']\n", 'devices.H.address.2: must be an address such as 10.1.2.3, or a network such as 10.1.2.0/24, not "lab"'),
    ("[devices.H]\ncertificate='HEMO1'\n", 'devices.H.certificate.1: must be a subject such as "CN=HEMO1,O=Clinic", or an alternative name'),
    ("[devices.H]\ncertificate=['CN=a','IP:10.1']\n", "devices.H.certificate.2: must be an alternative name such as DNS:hemo1.example, IP:10.1.2.3 or URI:urn:hemo1"),
    ("[devices.H]\ncertificate='XY=a'\n", "devices.H.certificate.1: names the attribute XY: known are CN, O, OU"),
    ("[devices.H]\ncertificate='CN=a'\n", "devices.H.certificate: needs dicom.tls: without it no device shows a certificate"),
    (TLS + "[devices.H]\ncertificate='CN=a'\n", "devices.H.certificate: needs dicom.tls.client_ca: without it no device shows a certificate"),
    ("[devices.H]\npasscode='x'\n", "devices.H.username: is missing: a passcode goes with one"),
    ("[devices.H]\nusername='u'\npasscode='x'\npasscode_file='y'\n", "devices.H.passcode: is given beside passcode_file: keep one"),
    ("[devices.H]\nusername=''\n", "devices.H.username: must not be empty"),
    ("[devices.H]\nusername='u'\npasscode_file='nowhere'\n", "nowhere: No such file or directory"),
    ("[http]\nprobes='8081'\n", "http.probes: must be host:port, such as 127.0.0.1:8081; port 0: a free one"),
    ("[http]\nprobes='[]:1'\n", "http.probes: must be host:port"),
    ("[http]\nprobes='h:65536'\n", "http.probes: must be host:port"),
    ("[http]\nauthentication='basic'\n", 'http.authentication: must be "token" or "none", not "basic"'),
    ("[devices.HEMO1]\n[devices.'HEMO1 ']\n", 'devices: "HEMO1" is there twice'),
    ("[locations.LAB1]\n[devices.H]\nlocation=['LAB1', 'LAB1']\n", "devices.H.location: names LAB1 twice"),
    ("[devices.H]\nusername='u'\npasscode=''\n", "devices.H.passcode: must have a value at least"),
    ("[dicom]\nport=4000\n[http]\nport=4000\n", "http.port: is 4000, as dicom.port is: each listener needs a port of its own"),
    ("[dicom]\nhost='0.0.0.0'\nport=8080\n", "http.port: is 8080, as dicom.port is: each listener needs a port of its own"),
    ("[http]\nport=4000\nprobes='0.0.0.0:4000'\n", "http.probes: is 4000, as http.port is: each listener needs a port of its own"),
    ("[feeds.hl7]\nport=11112\n", "feeds.hl7.port: is 11112, as dicom.port is: each listener needs a port of its own"),
    (TLS + "port=11112\n", "dicom.tls.port: is 11112, as dicom.port is: each listener needs a port of its own"),
    (TLS + "port=2575\n[feeds.hl7]\n", "feeds.hl7.port: is 2575, as dicom.tls.port is: each listener needs a port of its own"),
    ("[feeds.hl7.tls]\nport=2575\ncertificate='c'\nprivate_key='k'\n", "feeds.hl7.tls.port: is 2575, as feeds.hl7.port is: each listener needs a port of its own"),
    (KAFKA + "security_protocol='SSL'\nssl_cafile='nowhere'\n", "kafka.ssl_cafile: "),
    (KAFKA + "security_protocol='SSL'\nssl_certfile='plscp.toml'\n", "kafka.ssl_certfile: "),
    (KAFKA + "security_protocol='SSL'\nssl_keyfile='nowhere'\n", "kafka.ssl_certfile: is missing: a private key goes with one"),
    (KAFKA + "security_protocol='SSL'\nssl_crlfile='nowhere'\n", "kafka.ssl_crlfile: "),
    (KAFKA + "security_protocol='SSL'\nssl_ciphers='none such'\n", "kafka.ssl_ciphers: none such: cannot be used"),
    (KAFKA + "security_protocol='SASL_PLAINTEXT'\nsasl_mechanism='PLAIN'\nsasl_plain_username='u'\n", "kafka.sasl_plain_password_file: is missing: PLAIN needs it"),
    ("[http.tls]\ncertificate='a'\n", "http.tls.private_key: is missing"),
    ("[http.tls]\ncertificate='a'\nprivate_key='b'\n", "http.tls.certificate: "),
    ("[http]\nhost='10.0.0.1'\n", "http.token_file: is missing: required when host is not loopback (10.0.0.1)"),
    ("[http]\nread_token_file='nowhere'\n", "http.read_token_file: "),
]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "[dicom]\nport=0\n[http]\nport=0\nprobes='127.0.0.1:0'\n",
        "[dicom]\nhost='127.0.0.2'\nport=4000\n[http]\nport=4000\n",
        "[dicom]\nhost='0.0.0.0'\nport=4000\n[http]\nhost='::1'\nport=4000\n",
    ],
)
def test_ports_that_do_not_meet(tmp_path: Path, text: str) -> None:
    """The system gives out those that are 0; at another address the same number is another port."""
    assert problems(written(tmp_path, text), {}) == []


@pytest.mark.parametrize(("text", "said"), FAULTS)
def test_faults(tmp_path: Path, text: str, said: str) -> None:
    """Each is one line of `config check` with the setting's path and how a right value looks."""
    found = problems(written(tmp_path, text), {})
    assert any(said in line for line in found), found
    assert not any("\n" in line or "_ssl.c" in line for line in found)


def given(listener: str, more: str = "") -> str:
    """Settings that give a listener TLS."""
    return f"[{listener}.tls]\ncertificate='server.pem'\nprivate_key='server.key'\n{more}"


def missing(path: Path) -> None:
    """No such file."""
    path.unlink()


def unreadable(path: Path) -> None:
    """A folder where the file should be."""
    path.unlink()
    path.mkdir()


def another(path: Path) -> None:
    """Another's key."""
    path.write_bytes(tls.device().private_key_pem.bytes())


def no_certificate(path: Path) -> None:
    """Text."""
    path.write_text("no certificate")


FILES = {"certificate": "server.pem", "private_key": "server.key", "client_ca": "devices.pem"}
CERTIFICATES = [
    (missing, "certificate", "No such file or directory"),
    (unreadable, "private_key", "Is a directory"),
    (another, "private_key", "does not fit the certificate"),
    (no_certificate, "client_ca", "holds no certificate in PEM"),
]


@pytest.mark.parametrize(
    ("listener", "spoil", "setting", "said"),
    [
        pytest.param(listener, *row, id=f"{listener}-{row[0].__name__}")
        for listener in TLS_LISTENERS
        for row in CERTIFICATES
        if (listener, row[1]) != ("http", "client_ca")  # which asks no client for one
    ],
)
def test_certificates_of_every_listener(
    tmp_path: Path, listener: str, spoil: Callable[[Path], None], setting: str, said: str
) -> None:
    """Files of TLS with which the server would not start are a fault of the settings, when they are checked and read again."""
    tls.write(tmp_path, client_ca="hospital")
    more = "client_ca='devices.pem'\n" if setting == "client_ca" else ""
    path = written(tmp_path, given(listener, more))
    assert problems(path, {}) == []
    spoil(tmp_path / FILES[setting])
    line = f"{listener}.tls.{setting}: {tmp_path / FILES[setting]}: {said}"
    assert problems(path, {}) == [line]
    applied: list[Settings] = []
    with capture_logs():
        done = LiveSettings(path, {}, Settings(), lambda _, after: applied.append(after)).reload()
    assert (done.faults, applied) == ((line,), [])


def test_no_listener_with_tls_is_forgotten() -> None:
    """Every table of the settings that names a private key is that of a listener in the table of those, or a client's."""

    def tables(model: type[Section], path: str = "") -> Iterator[str]:
        for name, field in model.model_fields.items():
            if (below := table_of(field.annotation)) is not None:
                yield from tables(below, f"{path}{name}.")
        if "private_key" in model.model_fields:
            yield path.removesuffix(".tls.")

    assert sorted(tables(Settings)) == sorted([*TLS_LISTENERS, "feeds.worklist"])


def test_files_of_the_worklist_are_looked_at_again(tmp_path: Path) -> None:
    """What `config check` calls a fault is one when the settings of a running server are read again, too."""
    path = written(tmp_path, "[feeds.worklist]\nhost='ris'\n[feeds.worklist.tls]\nca='nowhere'\n")
    [line] = problems(path, {})
    assert line.startswith("feeds.worklist.tls: ca ")
    with capture_logs():
        assert LiveSettings(path, {}, Settings(), lambda *_: None).reload().faults == (line,)


def test_a_fault_never_shows_a_secret(tmp_path: Path) -> None:
    """A passcode that is no text is not repeated, nor what a passcode file holds."""
    [line] = problems(written(tmp_path, "[devices.H]\nusername='u'\npasscode=4711\n"), {})
    assert "4711" not in line
    (tmp_path / "code").write_text("s3cret\nanother\n")
    [line] = problems(written(tmp_path, "[devices.H]\nusername='u'\npasscode_file='code'\n"), {})
    assert line.startswith("devices.H.passcode_file: ")
    assert line.endswith("code: must hold one line of text")


PUBLIC = "[operators]\npolicy='any'\n[dicom]\nhost='0.0.0.0'\n"
ALONE = ": known by their AE title alone, and the listener is not on loopback"
WARNINGS = [
    (PUBLIC + "[devices.HEMO1]\n[devices.XRAY1]\n", ["devices HEMO1, XRAY1" + ALONE]),
    (PUBLIC + "[devices.HEMO1]\naddress='10.0.0.0/8'\n[devices.XRAY1]\n", ["devices XRAY1" + ALONE]),
    (PUBLIC + "[devices.HEMO1]\nusername='u'\n", []),
    (PUBLIC + "".join(f"[devices.D{number}]\n" for number in range(11)), ["devices D0, D1, D2, D3, D4, D5, D6, D7 and 3 more" + ALONE]),
    (PUBLIC + "unknown_devices='accept'\n[devices.HEMO1]\n", ['dicom.unknown_devices: "accept", and the listener is not on loopback: any machine may report']),
    (PUBLIC.replace("0.0.0.0", "127.0.0.1") + "[devices.HEMO1]\n", []),
    ("[operators]\npolicy='any'\n[devices.H]\n[http]\nhost='0.0.0.0'\ntoken_file='t'\n", ["http.tls: absent, and the listener is not on loopback: tokens and patients cross the network in clear"]),
    ("[operators]\npolicy='any'\n[devices.H]\n[http]\nhost='0.0.0.0'\ntoken_file='t'\n[http.tls]\ncertificate='c'\nprivate_key='k'\n", []),
    ("[operators]\npolicy='any'\n[devices.H]\n[http]\nhost='0.0.0.0'\nauthentication='none'\n", ['http.authentication: "none", and the listener is not on loopback: any machine may read and change everything']),
    ("[operators]\npolicy='any'\n[devices.H]\n[http]\nauthentication='none'\n", []),
    ("[operators]\npolicy='any'\n[devices.H]\n" + KAFKA + "ssl_cafile='ca'\n", ['kafka.ssl_cafile: has no effect: security_protocol is "PLAINTEXT"']),
    ("[operators]\npolicy='any'\n[devices.H]\n" + KAFKA + "security_protocol='SSL'\nssl_cafile='ca'\nsasl_plain_username='u'\n", ['kafka.sasl_plain_username: has no effect: security_protocol is "SSL"']),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WARNINGS)
def test_warnings(tmp_path: Path, text: str, said: list[str]) -> None:
    """What lets in others than those that are meant is one line each, and only where the address is public."""
    found = list(load(written(tmp_path, text), {}).warnings())
    assert len(found) == len(said), found
    for line, expected in zip(found, said, strict=True):
        assert line.startswith(expected)


def test_what_a_device_must_show(tmp_path: Path) -> None:
    """The listener gets networks, certificates, username and how to learn the passcode, from the file or from the setting."""
    tls.write(tmp_path, client_ca="hospital")
    (tmp_path / "code").write_text("from file\n")
    text = """
[dicom.tls]
certificate = "server.pem"
private_key = "server.key"
client_ca = "devices.pem"
[devices.HEMO1]
address = ["10.1.0.0/16", "::1"]
certificate = "CN=HEMO1"
username = "hemo"
passcode_file = "code"
[devices.XRAY1]
username = "x"
passcode = "in line"
[devices.OPEN1]
"""
    path = written(tmp_path, text)
    assert problems(path, {}) == []
    required = load(path, {"PLSCP_DEVICES__OPEN1__USERNAME": "o"}).required()
    hemo, xray, other = (required[name] for name in ("HEMO1", "XRAY1", "OPEN1"))
    assert [str(network) for network in hemo.address] == ["10.1.0.0/16", "::1/128"]
    assert hemo.certificate == (CertificateName(frozenset({("CN", "HEMO1")})),)
    assert hemo.username == "hemo"
    assert hemo.passcode is not None
    assert hemo.passcode() == "from file"
    assert xray.passcode is not None
    assert xray.passcode() == "in line"
    assert (other.username, other.passcode, other.address, other.certificate) == ("o", None, (), ())
    shown = load(path, {}).as_toml()
    assert "in line" not in shown
    assert 'passcode = "***"' in shown


def test_a_passcode_file_is_read_again(tmp_path: Path) -> None:
    """An association is judged by the passcode that the file holds then."""
    (tmp_path / "code").write_text("old")
    devices = load(written(tmp_path, "[devices.H]\nusername='u'\npasscode_file='code'\n"), {}).required()

    def right(passcode: str) -> bool:
        identity = UserIdentity(2, response=False, primary=b"u", secondary=passcode.encode())
        return refusal(Caller("H", "10.0.0.1", identity=identity), devices, unknown=False) is None

    assert [right("old"), right("new")] == [True, False]
    (tmp_path / "code").write_text("new\n")
    os.utime(tmp_path / "code", ns=(1, 1))
    with capture_logs() as lines:
        assert [right("old"), right("new")] == [False, True]
    assert [(line["event"], line["setting"]) for line in lines] == [("secret-loaded", "devices.H.passcode_file")]


def test_a_secret_that_was_mounted_anew_is_read(tmp_path: Path) -> None:
    """As Kubernetes exchanges a mounted secret: the file is a link through a folder that another one replaces."""
    for name, text in (("first", "one"), ("second", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(text)
    (tmp_path / "..data").symlink_to("first")
    (tmp_path / "token").symlink_to("..data/token")
    held = SecretFile("http.token_file", str(tmp_path / "token"))
    assert held.current() == ("one",)
    (tmp_path / "new").symlink_to("second")
    (tmp_path / "new").replace(tmp_path / "..data")
    assert held.current() == ("two",)


def test_in_force() -> None:
    """What is made of the settings is made once for each of them; at first a fault is raised, later what was before stays."""
    first, second, faulty = (Settings.model_validate({"dicom": {"port": port}}) for port in (1, 2, 3))
    made: list[int] = []

    def make(settings: Settings) -> int:
        made.append(settings.dicom.port)
        if settings is faulty:
            raise ConfigError("no")
        return settings.dicom.port

    now = [first]
    held = InForce(lambda: now[0], make)
    assert (held.current(), held.current()) == (1, 1)
    now[0] = second
    assert (held.current(), held.current()) == (2, 2)
    now[0] = faulty
    with capture_logs() as lines:
        assert (held.current(), held.current()) == (2, 2)
    assert [line["event"] for line in lines] == ["secret-refused"]
    assert made == [1, 2, 3]
    with pytest.raises(ConfigError):
        InForce(lambda: faulty, make)
