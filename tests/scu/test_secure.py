"""The DICOM tools over TLS, against a listener that asks for a certificate."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme

from plscp.cli import main
from plscp.dicom.handshakes import HANDSHAKES
from plscp.errors import CommandError
from plscp.scu.sending import VERIFICATION, RemoteScp, ScuAssociation
from tests.dicom.wire import Listener
from tests.tls import PAST, authority, certificates, client, device, issued, server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The device's files, and a CA that vouches for nobody here."""
    authority("hospital").cert_pem.write_to_path(tmp_path / "ca.pem")
    authority("elsewhere").cert_pem.write_to_path(tmp_path / "elsewhere.pem")
    device().private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    device().private_key_pem.write_to_path(tmp_path / "own.key")
    (tmp_path / "own.pem").write_bytes(b"".join(blob.bytes() for blob in device().cert_chain_pems))
    return tmp_path


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    """It takes devices of the hospital alone."""
    with Listener(certificates=certificates(tmp_path, client_ca="hospital")) as running:
        yield running


def echo(listener: Listener, folder: Path, *options: str) -> int:
    """The exit status of an echo with these options, `{}` being the folder."""
    given = [option.replace("{}", str(folder)) for option in options]
    return main(["echo", "127.0.0.1", str(listener.port), "-ta", "60", "-to", "60", *given], {})


CA, CERT, KEY = ("--ca", "{}/ca.pem"), ("--cert", "{}/own.pem"), ("--key", "{}/own.key")


@pytest.mark.parametrize("own", [("--cert", "{}/both.pem"), (*CERT, *KEY)])
def test_a_tool_with_a_certificate(listener: Listener, folder: Path, own: tuple[str, ...]) -> None:
    """Certificate and key in one file or in two."""
    assert echo(listener, folder, "--tls", *CA, *own) == 0


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ((*CA,), 2, "go with --tls"),
        (("--tls", *CA, *KEY), 2, "--key goes with --cert"),
        (("--tls", "--ca", "{}/none.pem"), 2, "none.pem: No such file"),
        (("--tls", "--ca", "{}/own.key"), 2, "own.key: no certificate or crl found"),
        (("--tls", *CA, *CERT), 2, "own.pem: "),
        (("--tls", *CA, "--cert", "{}/ca.pem", *KEY), 2, "own.key: key values mismatch"),
    ],
)
def test_files_that_cannot_be_used(  # noqa: PLR0917  # fixtures and a row
    listener: Listener,
    folder: Path,
    options: tuple[str, ...],
    status: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line says which and why."""
    assert echo(listener, folder, *options) == status
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def refused_by(listener: Listener) -> dict[str, Any]:
    """The one peer that it refused."""
    listener.until(lambda: listener.acceptor.refused_peers)
    [peer] = listener.acceptor.refused_peers
    return peer


OLD: dict[str, Any] = {"not_before": PAST.replace(year=2019), "not_after": PAST}
NEW: dict[str, Any] = {"not_before": PAST.replace(year=2090), "not_after": PAST.replace(year=2091)}


class Row(NamedTuple):
    """A handshake that fails.

    Attributes:
        server: makes the server's certificate; None: it speaks no TLS.
        leaf: makes the device's, if it has one.
        ca: whom the device trusts.
        cause: at the device.
        heard: at the server, where it is another.
    """

    server: Callable[[], trustme.LeafCert] | None
    leaf: Callable[[], trustme.LeafCert] | None
    ca: str
    cause: str
    heard: str = ""


ROWS = {
    "the device's certificate is missing": Row(server, None, "hospital", "client-certificate-missing"),
    "expired": Row(server, lambda: device(**OLD), "hospital", "client-certificate-expired"),
    "not yet valid": Row(
        server, lambda: device(**NEW), "hospital", "client-certificate-refused", "client-certificate-not-yet-valid"
    ),
    "of another CA": Row(server, lambda: device("elsewhere"), "hospital", "client-certificate-unknown-issuer"),
    "the server's certificate is expired": Row(
        lambda: issued("hospital", "127.0.0.1", **OLD), device, "hospital", "server-certificate-expired"
    ),
    "the server's is not yet valid": Row(
        lambda: issued("hospital", "127.0.0.1", **NEW),
        device,
        "hospital",
        "server-certificate-not-yet-valid",
        "server-certificate-refused",
    ),
    "the server's is of another CA": Row(server, device, "elsewhere", "server-certificate-unknown-issuer"),
    "the server's has another name": Row(
        lambda: issued("hospital", "other.example"),
        device,
        "hospital",
        "server-certificate-wrong-name",
        "server-certificate-refused",
    ),
    "the plain port": Row(None, device, "hospital", "not-tls"),
}


@pytest.mark.usefixtures("leaking")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("name", ROWS)
def test_both_sides_name_the_cause(tmp_path: Path, name: str, version: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line at the device, a row of refused peers at the server, in the same words; an alert of TLS tells less than who raised it knows."""
    row = ROWS[name]
    authority(row.ca).cert_pem.write_to_path(tmp_path / "ca.pem")
    options = ["--tls", "--ca", "{}/ca.pem"]
    if row.leaf is not None:
        row.leaf().private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
        options += ["--cert", "{}/both.pem"]
    files = certificates(tmp_path, leaf=row.server(), client_ca="hospital") if row.server is not None else None
    if files is not None:
        files.context.maximum_version = ssl.TLSVersion[version]
    with Listener(certificates=files) as listener:
        assert echo(listener, tmp_path, *options) == 3
        peer = refused_by(listener)
        port = listener.port
    said = f"{row.cause}: {HANDSHAKES[row.cause]}"
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"no association with 127.0.0.1:{port}: {said}")
    heard = row.heard or row.cause
    assert peer["hint"].startswith(f"{heard}: {HANDSHAKES[heard]}")
    assert peer["rule"] == ("dicom.tls.client_ca" if heard.startswith("client-certificate-") else "dicom.tls")


@pytest.mark.parametrize(
    ("least", "suites", "cause"),
    [("TLSv1_3", "", "tls-version"), ("TLSv1_2", "ECDHE-ECDSA-AES128-SHA256", "tls-nothing-in-common")],
)
@pytest.mark.usefixtures("leaking")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_nothing_in_common(tmp_path: Path, least: str, suites: str, cause: str) -> None:
    """A device that knows TLS 1.2 only, or suites that the server does not take."""
    files = certificates(tmp_path)
    files.context.minimum_version = ssl.TLSVersion[least]
    mine = client(version=ssl.TLSVersion.TLSv1_2, suites=suites)
    with Listener(certificates=files) as listener:
        with pytest.raises(CommandError, match=f"{cause}: {HANDSHAKES[cause]}"):
            ScuAssociation(RemoteScp("127.0.0.1", listener.port, tls=mine), [VERIFICATION]).open()
        peer = refused_by(listener)
    assert peer["hint"] == f"{cause}: {HANDSHAKES[cause]}"


def test_a_plain_tool_at_the_port_of_tls(listener: Listener, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The connection is closed, which says little: the line says that a port of TLS does so, and the server has the cause."""
    assert echo(listener, folder) == 3
    assert "closed the connection, as one that wants TLS does" in capsys.readouterr().err
    peer = refused_by(listener)
    assert peer["hint"] == f"not-tls: {HANDSHAKES['not-tls']}"
