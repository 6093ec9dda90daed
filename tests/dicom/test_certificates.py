"""The certificate files of the TLS listener: what is said of those that cannot be used, and what happens when they change."""

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import load_pem_x509_certificate
from structlog.testing import capture_logs

from plscp.dicom.certificates import Certificates, TlsSettings
from plscp.errors import ConfigError
from tests.tls import PAST, authority, certificates, device, issued, server, write


def encrypted(form: PrivateFormat) -> bytes:
    """The server's key with a passphrase."""
    key = load_pem_private_key(server().private_key_pem.bytes(), None)
    return key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret"))


BROKEN = b"-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE-----\n"
KEY = b"-----BEGIN PRIVATE KEY-----\nTUlJ\n-----END PRIVATE KEY-----\n"

FAULTS: list[tuple[str, Callable[[], bytes | None], str]] = [
    ("server.pem", lambda: None, "dicom.tls.certificate: {}: No such file or directory"),
    ("server.pem", lambda: b"", "dicom.tls.certificate: {}: holds no certificate in PEM"),
    ("server.pem", lambda: b"\x30\x82\xff", "dicom.tls.certificate: {}: holds no certificate in PEM"),
    ("server.pem", lambda: BROKEN, "dicom.tls.certificate: {}: holds a certificate that cannot be read ("),
    ("server.key", lambda: None, "dicom.tls.private_key: {}: No such file or directory"),
    ("server.key", lambda: b"key", "dicom.tls.private_key: {}: holds no private key in PEM"),
    ("server.key", lambda: KEY, "dicom.tls.private_key: {}: cannot be read ("),
    ("server.key", device().private_key_pem.bytes, "dicom.tls.private_key: {}: does not fit the certificate"),
    ("server.key", lambda: encrypted(PrivateFormat.PKCS8), "dicom.tls.private_key: {}: is encrypted: "),
    ("server.key", lambda: encrypted(PrivateFormat.TraditionalOpenSSL), "dicom.tls.private_key: {}: is encrypted: "),
    ("devices.pem", lambda: None, "dicom.tls.client_ca: {}: No such file or directory"),
    ("devices.pem", lambda: b"none", "dicom.tls.client_ca: {}: holds no certificate in PEM"),
    ("devices.pem", lambda: BROKEN, "dicom.tls.client_ca: {}: holds a certificate that cannot be read ("),
]


@pytest.mark.parametrize(("name", "content", "said"), FAULTS)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, content: Callable[[], bytes | None], said: str) -> None:
    """One line with the setting, the file and what is wrong with it; nobody is asked for a passphrase."""
    given = write(tmp_path, client_ca="hospital")
    file, what = tmp_path / name, content()
    if what is None:
        file.unlink()
    else:
        file.write_bytes(what)
    with pytest.raises(ConfigError) as error:
        Certificates(given)
    assert str(error.value).startswith(said.format(file))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("year", [2027, 2049, 2050, 2125])
def test_when_a_certificate_expires(tmp_path: Path, year: int) -> None:
    """As X.509 says it, with two digits of the year or four; of several certificates the first to expire."""
    when = dt.datetime(year, 2, 3, 4, 5, 6, tzinfo=dt.UTC)
    leaf = issued("hospital", "localhost", not_after=when)
    given = write(tmp_path, leaf=leaf, client_ca="hospital")
    authority = load_pem_x509_certificate((tmp_path / "devices.pem").read_bytes()).not_valid_after_utc.timestamp()
    with (tmp_path / "devices.pem").open("ab") as more:
        more.write(b"Device of the cath lab, M\xfcller\n" + leaf.cert_chain_pems[0].bytes())
    expires = Certificates(given).expires
    assert expires == {given.certificate: when.timestamp(), given.client_ca: min(when.timestamp(), authority)}


def test_an_expired_certificate_is_said_once(tmp_path: Path) -> None:
    """The server starts with it, since devices may not look; a line says so, and again only after an exchange."""
    leaf = issued("hospital", "localhost", not_before=PAST.replace(year=2019), not_after=PAST)
    found = certificates(tmp_path, leaf=leaf)
    with capture_logs() as lines:
        for _ in range(3):
            found.look()
    [line] = lines
    assert (line["event"], line["file"]) == ("certificate-expired", str(tmp_path / "server.pem"))
    assert line["expired"] == "2020-01-01T00:00:00+00:00"


def test_files_that_change(tmp_path: Path) -> None:
    """They are read when they are the same for two looks, and no sooner; what fits no more changes nothing until it does."""
    found = certificates(tmp_path)
    first = found.context
    with capture_logs() as lines:
        found.look()
        leaf = issued("elsewhere", "localhost")
        (tmp_path / "server.pem").write_bytes(leaf.cert_chain_pems[0].bytes())
        found.look()
        assert not lines
        found.look()
        found.look()
        assert [line["event"] for line in lines] == ["certificates-refused"]
        assert "server.key: does not fit" in lines[0]["why"]
        assert found.context is first
        (tmp_path / "server.key").write_bytes(leaf.private_key_pem.bytes())
        found.look()
        found.look()
        assert [line["event"] for line in lines] == ["certificates-refused", "certificates-loaded"]
        assert found.context is not first


def test_files_that_are_links(tmp_path: Path) -> None:
    """Exchanged by a link that is turned to another folder, as Kubernetes does with secrets; be they of one time and size."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, client_ca="hospital")
        for file in (tmp_path / name).iterdir():
            os.utime(file, (1e9, 1e9))
    (tmp_path / "now").symlink_to("old")
    now = tmp_path / "now"
    given = TlsSettings(str(now / "server.pem"), str(now / "server.key"), str(now / "devices.pem"))
    found = Certificates(given)
    first = found.context
    (tmp_path / "next").symlink_to("new")
    os.replace(tmp_path / "next", tmp_path / "now")  # noqa: PTH105  # atomic, over a link
    found.look()
    found.look()
    assert found.context is not first


def test_files_that_are_gone_for_a_while(tmp_path: Path) -> None:
    """What was read stays in use, and one line says that the file is missing."""
    found = certificates(tmp_path, client_ca="hospital")
    authority("hospital").cert_pem.write_to_path(tmp_path / "kept")
    (tmp_path / "devices.pem").unlink()
    with capture_logs() as lines:
        for _ in range(4):
            found.look()
        (tmp_path / "kept").rename(tmp_path / "devices.pem")
        for _ in range(4):
            found.look()
    assert [line["event"] for line in lines] == ["certificates-refused", "certificates-loaded"]
