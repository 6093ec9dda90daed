"""Row 17: a client certificate that is refused is a warning with its subject and where it came from."""

import contextlib
import datetime as dt
import json
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from plscp.dicom import certificates
from plscp.dicom.acceptor import MOST_TITLES
from plscp.dicom.certificates import MOST_SHOWN, Handshake, described
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.rawscu import RawScu
from tests.serving import Serving, until
from tests.tls import PAST, Ciphering, SecureScu, bare, client, device, issued, wrapped, write

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
"""
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """`plscp serve` that asks for certificates of the hospital's CA."""
    folder = tmp_path_factory.mktemp("row17")
    write(folder, client_ca="hospital")
    with Serving(folder, SETTINGS) as running:
        yield running


def port_of(serving: Serving) -> int:
    """The port of TLS."""
    return int(next(line for line in serving.lines if line.startswith("tls PLSCP")).rsplit(":", 1)[1])


def shake(serving: Serving, context: ssl.SSLContext, address: str) -> None:
    """A handshake that fails, at once or with the first read."""
    with bare(port_of(serving), address) as raw, contextlib.suppress(OSError), wrapped(context, raw) as tls:
        tls.sendall(b"\1")
        assert tls.recv(1) == b""


def said(serving: Serving, address: str) -> list[dict[str, Any]]:
    """The log's lines about refused connections from this address."""
    lines = [json.loads(line) for line in serving.lines if line.startswith("{")]
    return [line for line in lines if line["event"] == "connection-closed" and line["address"] == address]


ROWS: list[tuple[str, Callable[[], Any], str, str]] = [
    ("another CA", lambda: device("elsewhere"), "client-certificate-unknown-issuer", "elsewhere"),
    (
        "expired",
        lambda: device(not_before=PAST.replace(year=2019), not_after=PAST),
        "client-certificate-expired",
        "hospital",
    ),
    (
        "not yet valid",
        lambda: device(
            not_before=dt.datetime(2090, 1, 1, tzinfo=dt.UTC), not_after=dt.datetime(2091, 1, 1, tzinfo=dt.UTC)
        ),
        "client-certificate-not-yet-valid",
        "hospital",
    ),
]


@pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
@pytest.mark.parametrize("row", range(len(ROWS)), ids=[row[0] for row in ROWS])
def test_row_17_the_warning_names_subject_and_address(serving: Serving, row: int, version: ssl.TLSVersion) -> None:
    """One line for each peer, however often it tries; the metric counts each."""
    _, leaf, reason, issuer = ROWS[row]
    address = f"127.0.17.{1 + 2 * row + (version is V13)}"
    for _ in range(3):
        shake(serving, client(leaf(), version=version), address)
    [line] = until(lambda: said(serving, address), "the warning")
    assert (line["level"], line["reason"]) == ("warning", reason)
    assert "CN=HEMO1" in line["certificate"]
    assert "O=Cath Lab" in line["certificate"]
    assert f"O={issuer}" in line["certificate_issuer"]


@pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
def test_row_17_a_device_without_certificate(serving: Serving, version: ssl.TLSVersion) -> None:
    """There is no subject, and the line says why."""
    address = f"127.0.18.{1 + (version is V13)}"
    shake(serving, client(version=version), address)
    [line] = until(lambda: said(serving, address), "the warning")
    assert (line["level"], line["reason"]) == ("warning", "client-certificate-missing")
    assert (line["certificate"], line["certificate_absent"]) == ("", "the device sent none")


def test_row_17_subjects_without_end_do_not_fill_the_log(serving: Serving) -> None:
    """Different subjects of one address have a line each, up to a bound; a device with a good certificate is served meanwhile."""
    address = "127.0.19.1"
    for number in range(MOST_TITLES + 3):
        leaf = issued("elsewhere", f"x{number}.example", common_name=f"X{number}")
        shake(serving, client(leaf), address)
    until(lambda: len(said(serving, address)) == MOST_TITLES, "the warnings")
    data = events.encoded(events.procedural([events.note(events.now())], patient="NOBODY"))
    scu: RawScu = SecureScu("127.0.0.1", port_of(serving), tls=client(device()), source=(address, 0))
    with scu:
        assert scu.request(PROCEDURAL_EVENT_LOGGING, data).status == 0xC103
    assert len(said(serving, address)) == MOST_TITLES


def test_row_17_a_certificate_without_its_key(serving: Serving) -> None:
    """Who presents a good device's certificate and cannot sign with its key is refused, and the line names whose it was."""
    address = "127.0.20.1"
    thief = Ciphering(client(device(), version=V12))
    with bare(port_of(serving), address) as raw:
        raw.sendall(thief.shake())
        flight = b""
        while not (flight and records(flight)[-1][5] == 14):  # ServerHelloDone
            flight += raw.recv(65536)
        sent = records(thief.shake(flight))
        [verify] = [number for number, record in enumerate(sent) if record[0] == 22 and record[5] == 15]
        sent[verify] = sent[verify][:-1] + bytes([sent[verify][-1] ^ 1])
        raw.sendall(b"".join(sent))
        with contextlib.suppress(ConnectionError):
            while raw.recv(4096):
                pass
    [line] = until(lambda: said(serving, address), "the warning")
    assert (line["level"], line["reason"]) == ("warning", "client-certificate-refused")
    assert "CN=HEMO1" in line["certificate"]


def records(raw: bytes) -> list[bytes]:
    """Whole records of TLS."""
    found = []
    while raw:
        size = 5 + int.from_bytes(raw[3:5])
        found.append(raw[:size])
        raw = raw[size:]
    return found


# --- what is read of a certificate ----------------------------------------------------------------------------------------


def der(*attributes: tuple[Any, str]) -> bytes:
    """A certificate of this subject, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(PAST)
        .not_valid_after(PAST.replace(year=2040))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.DER)


def claimed(certificate: bytes, version: int = 0x0304) -> dict[str, str]:
    """What is said of a certificate in a Certificate message."""
    entry = len(certificate).to_bytes(3) + certificate + (b"\0\0" if version == 0x0304 else b"")
    body = (b"\0" if version == 0x0304 else b"") + len(entry).to_bytes(3) + entry
    made = Handshake.__new__(Handshake)
    made.message, made.version_read = b"\x0b" + len(body).to_bytes(3) + body, version
    return described(made)


def test_names_are_shown_as_text() -> None:
    """Any script; what would break a line of the log is replaced, and what is too long is cut."""
    attributes = [(NameOID.COUNTRY_NAME, "DE"), (NameOID.COMMON_NAME, "Häm\n1\x1b[31m"), (NameOID.SERIAL_NUMBER, "7")]
    assert claimed(der(*attributes))["certificate"] == "C=DE, CN=Häm?1?[31m, ?=7"
    long = [(NameOID.ORGANIZATIONAL_UNIT_NAME, "x" * 60)] * 20
    assert len(claimed(der(*long), 0x0303)["certificate"]) == MOST_SHOWN


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_bytes_that_are_no_certificate(data: st.DataObject) -> None:
    """Whatever a peer presents: a line, never an exception."""
    good = KEPT
    at = data.draw(st.integers(0, len(good)))
    raw = good[:at] + data.draw(st.binary(max_size=20)) + good[at + data.draw(st.integers(0, 20)) :]
    found = claimed(raw)
    assert found["certificate"].isprintable() or not found["certificate"]
    made = Handshake.__new__(Handshake)
    made.message, made.version_read = data.draw(st.binary(max_size=40)), data.draw(st.sampled_from([0x0303, 0x0304]))
    assert "certificate" in described(made)


KEPT = der((NameOID.COMMON_NAME, "HEMO1"))


def test_where_python_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the hook the certificate is judged as ever, and the line says that its subject is not known."""
    monkeypatch.setattr(certificates, "_HOOK", None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates.keep_presented(context)
    made = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    assert described(made)["certificate_absent"] == "this Python does not tell"


def test_the_hook_is_there() -> None:
    """In the Python that this runs on; if a later one has no such hook this says so first."""
    assert certificates._HOOK is not None
