"""The HTTP listeners with sockets: TLS with certificates that are exchanged, the probes alone, bytes of any kind."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from plscp.dicom.certificates import Certificates, TlsSettings
from plscp.errors import CommandError, ConfigError
from plscp.web.serve import HttpServer, listen
from tests import tls
from tests.web.checked import build, build_probes
from tests.web.fake import FakeServer, settings_of


@contextmanager
def serving(application: Any, certificates: Certificates | None = None) -> Iterator[int]:
    """The application on a free port of loopback, in a thread of its own; its port."""
    loop = asyncio.new_event_loop()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    http = HttpServer(application, "127.0.0.1", 0, certificates)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(http.start(), loop).result(60)[1]
    finally:
        asyncio.run_coroutine_threadsafe(http.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
    assert not errors


def certificates(folder: Path, leaf: Any = None) -> Certificates:
    """A server's files, read."""
    made = tls.write(folder, leaf=leaf)
    return Certificates(TlsSettings(made.certificate, made.private_key, section="http.tls"))


def test_the_api_over_tls(tmp_path: Path, server: FakeServer) -> None:
    """TLS 1.2 and 1.3 are served with the server's certificate; plain HTTP on the port and TLS 1.1 get nothing."""
    with serving(build(server), certificates(tmp_path)) as port:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with httpx.Client(verify=tls.client(version=version)) as client:
                assert client.get(f"https://localhost:{port}/api/v1/studies").json() == {"studies": []}
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://localhost:{port}/livez")
        with httpx.Client(verify=tls.client(trusts="nobody")) as client, pytest.raises(httpx.ConnectError):
            client.get(f"https://localhost:{port}/livez")


def test_certificates_are_exchanged_while_it_runs(tmp_path: Path, server: FakeServer) -> None:
    """A new connection gets the certificate that the files hold now; one that is open goes on; a broken file changes nothing."""

    def serial(port: int) -> Any:
        with (
            socket.create_connection(("127.0.0.1", port), 60) as raw,
            tls.client().wrap_socket(raw, server_hostname="localhost") as one,
        ):
            found = one.getpeercert()
            assert found is not None
            return found["serialNumber"]

    held = certificates(tmp_path)
    with serving(build(server), held) as port, httpx.Client(verify=tls.client()) as client:
        assert client.get(f"https://localhost:{port}/livez").status_code == 200
        before = serial(port)
        tls.write(tmp_path, leaf=tls.issued("hospital", "localhost", common_name="second"))
        held.look()
        held.look()
        now = serial(port)
        assert now != before
        (tmp_path / "server.pem").write_text("no certificate")
        held.look()
        held.look()
        assert serial(port) == now
        assert client.get(f"https://localhost:{port}/livez").status_code == 200


def test_faults_of_the_files_name_the_setting(tmp_path: Path) -> None:
    """A file that cannot be used is named by its setting below [http.tls]."""
    tls.write(tmp_path)
    settings = settings_of(tmp_path, '[http.tls]\ncertificate = "server.pem"\nprivate_key = "nowhere"\n')
    with pytest.raises(ConfigError, match=r"http\.tls\.private_key: .*No such file"):
        settings.certificates("http")


def test_probes_have_a_listener_of_their_own(tmp_path: Path) -> None:
    """It serves /livez, /readyz and /metrics without a token and nothing else; the API's listener serves them, too."""
    (tmp_path / "token").write_text("t\n")
    server = FakeServer(settings_of(tmp_path, '[http]\ntoken_file = "token"\n'))
    with serving(build_probes(server)) as probes, serving(build(server)) as api:
        for path in ("/livez", "/readyz", "/metrics"):
            assert httpx.get(f"http://127.0.0.1:{probes}{path}").status_code == 200
            assert httpx.get(f"http://127.0.0.1:{api}{path}").status_code == 200
        for path in ("/api/v1/status", "/api/v1/studies", "/openapi.json", "/", "/livez/"):
            answer = httpx.get(f"http://127.0.0.1:{probes}{path}", headers={"Authorization": "Bearer t"})
            assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        assert httpx.post(f"http://127.0.0.1:{probes}/livez").status_code == 405


@pytest.mark.parametrize("sent", [b"\0" * 1000, b"\x16\x03\x01\xff\xff" + b"x" * 20000, b"GET / HTTP/1.1\r\n\r\n", b""])
def test_bytes_that_are_no_handshake(tmp_path: Path, server: FakeServer, sent: bytes) -> None:
    """Whatever comes to the port of TLS, nothing comes out of the loop, and others are served meanwhile and afterwards."""
    with serving(build(server), certificates(tmp_path)) as port:
        with socket.create_connection(("127.0.0.1", port), 60) as one, httpx.Client(verify=tls.client()) as client:
            one.sendall(sent)
            assert client.get(f"https://localhost:{port}/livez").status_code == 200
        with httpx.Client(verify=tls.client()) as client:
            assert client.get(f"https://localhost:{port}/livez").status_code == 200


def test_an_address_that_is_taken_names_the_setting() -> None:
    """The one line says which setting it is: http.port, or http.probes."""
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=r"http\.port: cannot listen"):
            listen("127.0.0.1", port)
        with pytest.raises(CommandError, match=r"http\.probes: cannot listen"):
            listen("127.0.0.1", port, ("http.probes", "http.probes"))
