"""Certificates of a hospital that does not exist, made when a test wants them, and an SCU that speaks TLS."""

import contextlib
import datetime as dt
import socket
import ssl
import traceback
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import trustme

from plscp.dicom.certificates import Certificates, TlsSettings
from tests.rawscu import RawScu

PAST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
"""When an expired certificate expired."""


@cache
def authority(name: str) -> trustme.CA:
    """A CA; one name, one CA."""
    return trustme.CA(organization_name=name)


@cache
def issued(by: str, *names: str, **given: Any) -> trustme.LeafCert:
    """A certificate for these names."""
    return authority(by).issue_cert(*names, **given)


def server(by: str = "hospital") -> trustme.LeafCert:
    """The server's."""
    return issued(by, "localhost", "127.0.0.1", common_name="PLSCP")


def device(by: str = "hospital", **given: Any) -> trustme.LeafCert:
    """A device's."""
    return issued(by, "hemo1.example", common_name="HEMO1", organization_name="Cath Lab", **given)


def write(folder: Path, *, leaf: trustme.LeafCert | None = None, client_ca: str = "") -> TlsSettings:
    """The files of a server; with the name of a CA, client certificates are required."""
    leaf = leaf or server()
    leaf.private_key_pem.write_to_path(folder / "server.key")
    (folder / "server.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    if client_ca:
        authority(client_ca).cert_pem.write_to_path(folder / "devices.pem")
    names = [str(folder / name) for name in ("server.pem", "server.key", "devices.pem")]
    return TlsSettings(names[0], names[1], names[2] if client_ca else None, port=0)


def certificates(folder: Path, **given: Any) -> Certificates:
    """As `write`, read."""
    return Certificates(write(folder, **given))


def client(
    leaf: trustme.LeafCert | None = None,
    *,
    trusts: str = "hospital",
    version: ssl.TLSVersion | None = None,
    suites: str = "",
) -> ssl.SSLContext:
    """What a device brings: its certificate, the CA that it trusts, the only version that it knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority(trusts).configure_trust(context)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if suites:
        context.set_ciphers(suites)
    if leaf is not None:
        leaf.configure_cert(context)
    return context


def wrapped(context: ssl.SSLContext, raw: socket.socket) -> ssl.SSLSocket:
    """Shake hands; where that fails everything is closed: Python forgets the socket that it made of one that was just reset."""
    try:
        return context.wrap_socket(raw, server_hostname="localhost")
    except BaseException as error:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if isinstance(made := frame.f_locals.get("self"), ssl.SSLSocket):
                made.close()
        raw.close()
        raise


@dataclass
class SecureScu(RawScu):
    """A raw association over TLS."""

    tls: ssl.SSLContext | None = None

    def connect(self) -> Self:
        """Open the connection and shake hands."""
        super().connect()
        self.socket = wrapped(self.tls or client(), self.socket)
        return self


class Ciphering:
    """A device's side of TLS without a socket: bytes in, bytes out."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = (context or client()).wrap_bio(self._in, self._out, server_hostname="localhost")

    def shake(self, received: bytes = b"") -> bytes:
        """A further step of the handshake: what to send."""
        self._in.write(received)
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._out.read()

    def cipher(self, data: bytes) -> bytes:
        """One record."""
        assert len(data) <= 16384
        self._tls.write(data)
        return self._out.read()

    def decipher(self, received: bytes) -> bytes:
        """All that can be."""
        self._in.write(received)
        plain = b""
        try:
            while piece := self._tls.read(65536):
                plain += piece
        except ssl.SSLWantReadError:
            pass
        return plain

    def end(self) -> bytes:
        """close_notify."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        return self._out.read()


def hello() -> bytes:
    """A ClientHello."""
    return Ciphering().shake()


def bare(port: int, source: str = "127.0.0.1") -> socket.socket:
    """A TCP connection."""
    return socket.create_connection(("127.0.0.1", port), 60, source_address=(source, 0))
