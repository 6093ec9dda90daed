"""The commands over HTTPS: whom they trust, with which token."""

from pathlib import Path

import pytest

from plscp.dicom.certificates import Certificates, TlsSettings
from tests import tls
from tests.cli.conftest import Run
from tests.web.fake import FakeServer, Running, settings_of


def held(folder: Path) -> Certificates:
    """The server's files, read; and the CAs that clients may trust."""
    made = tls.write(folder)
    tls.authority("hospital").cert_pem.write_to_path(folder / "ca.pem")
    tls.authority("elsewhere").cert_pem.write_to_path(folder / "elsewhere.pem")
    return Certificates(TlsSettings(made.certificate, made.private_key, section="http.tls"))


def test_a_server_over_tls(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--ca-file, or PLSCP_CA_FILE, names whom to trust for the host's name; an untrusted certificate is one line, and exit status 3."""
    with Running(FakeServer(), held(tmp_path)) as running:
        host = running.url.replace("127.0.0.1", "localhost")
        assert run("study", "list", "--url", host, "--ca-file", "ca.pem").status == 0
        assert run("study", "list", "--url", running.url, "--ca-file", "ca.pem").status == 0
        for more in ([], ["--ca-file", "elsewhere.pem"]):
            refused = run("study", "list", "--url", host, *more)
            assert (refused.status, refused.out) == (3, "")
            assert "the server's certificate is not trusted: unable to get local issuer certificate" in refused.err
            assert refused.err.endswith("see --ca-file\n")
        plain = run("study", "list", "--url", host.replace("https", "http"))
        assert plain.status == 3
        monkeypatch.setenv("PLSCP_CA_FILE", "ca.pem")
        assert run("status", "--url", host).status == 0
    for name, said in (("nowhere.pem", "No such file"), ("server.key", "holds no certificate in PEM")):
        wrong = run("status", "--url", host, "--ca-file", name)
        assert wrong.status == 2
        assert f"--ca-file: {name}: {said}" in wrong.err


def test_the_host_must_be_named(run: Run, tmp_path: Path) -> None:
    """A certificate of a trusted CA for another host is not trusted."""
    certificates = held(tmp_path)
    tls.write(tmp_path, leaf=tls.issued("hospital", "other.example"))
    with Running(FakeServer(), Certificates(certificates.settings)) as running:
        refused = run("status", "--url", running.url, "--ca-file", "ca.pem")
    assert refused.status == 3
    assert "certificate is not valid for" in refused.err


def test_the_server_of_the_settings_is_known_by_its_certificate(run: Run, tmp_path: Path) -> None:
    """With the server's own settings nothing more is needed: its certificate is the one that counts, and no other of its CA's."""
    certificates = held(tmp_path)

    def show(name: str) -> None:
        """The server's files for a host, with the CA's certificate in the chain."""
        tls.write(tmp_path, leaf=tls.issued("hospital", name))
        with (tmp_path / "server.pem").open("ab") as chain:
            chain.write(tls.authority("hospital").cert_pem.bytes())

    show("plscp.clinic.example")
    (tmp_path / "tokens").write_text("secret\nnext\n")
    text = '[http]\nport = {port}\nread_token_file = "tokens"\n[http.tls]\ncertificate = "server.pem"\nprivate_key = "server.key"\n'
    with Running(
        FakeServer(settings_of(tmp_path, text.format(port=0))), Certificates(certificates.settings)
    ) as running:
        (tmp_path / "plscp.toml").write_text(text.format(port=running.url.rpartition(":")[2]))
        assert run("study", "list").status == 0
        assert run("study", "list", "--url", running.url, "--config", "plscp.toml").status == 0
        refused = run("study", "close", "1.2.3")
        assert (refused.status, refused.err) == (1, "plscp: this needs a token of role feed, not read\n")
        show("another.example")
        assert run("study", "list").status == 3
