"""The DICOM tools over TLS, against a listener that asks for a certificate."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from plscp.cli import main
from tests.dicom.wire import Listener
from tests.tls import authority, certificates, device


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


@pytest.mark.usefixtures("leaking")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--tls", *CA), 1, "one of both does not trust the other's certificate"),
        (("--tls", "--ca", "{}/elsewhere.pem", *CERT, *KEY), 1, "one of both does not trust the other's certificate"),
        (("--tls", *CERT, *KEY), 1, "one of both does not trust the other's certificate"),
        ((*CA,), 2, "go with --tls"),
        (("--tls", *CA, *KEY), 2, "--key goes with --cert"),
        (("--tls", "--ca", "{}/none.pem"), 2, "none.pem: No such file"),
        (("--tls", "--ca", "{}/own.key"), 2, "own.key: no certificate or crl found"),
        (("--tls", *CA, *CERT), 2, "own.pem: "),
        (("--tls", *CA, "--cert", "{}/ca.pem", *KEY), 2, "own.key: key values mismatch"),
    ],
)
def test_a_tool_that_is_not_let_in(  # noqa: PLR0917  # fixtures and a row
    listener: Listener,
    folder: Path,
    options: tuple[str, ...],
    status: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line says why, as far as can be known."""
    assert echo(listener, folder, *options) == status
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
