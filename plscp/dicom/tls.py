"""TLS for an association (PS3.15 B.12): a layer between it and its connection, that is there from the first byte on."""

import asyncio
import contextlib
import itertools
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from plscp.dicom import certificates, handshakes, sockets
from plscp.dicom.admission import ATTRIBUTES, PeerCertificate, peer_certificate
from plscp.dicom.certificates import MOST_SHOWN, Certificates, Handshake
from plscp.dicom.fairness import Turns
from plscp.errors import CommandError

PIECE: Final = 16 * 1024  # bytes that are deciphered at once: OpenSSL's buffers keep the size they once had
MOST_HELLO: Final = 16 * 1024
"""Longest ClientHello; OpenSSL would make room for 128 KiB as soon as that length is announced."""
MOST_HELD: Final = 256 * 1024  # bytes of a handshake that may wait for their turn
_CLIENT_HELLO: Final = 1


class PeerConnection(asyncio.Protocol):
    """A connection of a peer, on its own or behind `Secured`."""

    def __init__(self) -> None:
        self._transport: Any = None
        self.socket: Any = None
        # Whether the peer's end may be among what was not read yet.
        self.end_is_there: Callable[[], bool] = lambda: sockets.ended(self.socket)
        self.secured: Mapping[str, Any] = {}  # version of TLS and the client's certificate, for the log
        self.certificate: PeerCertificate | None = None  # of the client, where one is asked for
        self.refused_certificate: Mapping[str, str] = {}  # what a client presented, for the log, or why it says nothing

    def connection_made(self, transport: Any) -> None:
        """There is a connection, with or without a handshake."""
        self._transport = transport
        self.socket = transport.get_extra_info("socket")
        sockets.tune(self.socket)

    def acknowledge(self) -> None:
        """Acknowledge what was read at once: a sender with Nagle's algorithm waits for that."""
        if self.socket is not None and not sockets.acknowledge(self.socket):
            self.socket = None

    def reading(self) -> None:
        """Bytes came that were sent after what was written before."""

    def take(self, data: bytes) -> None:
        """Work off these bytes, deciphered, after those that wait."""

    def ended(self) -> None:
        """The peer said that it is the end."""

    def charge(self, seconds: float) -> None:
        """So much time was spent on it."""

    def close(self, why: str = "") -> None:
        """Close it without another word to the peer; `why` says so in the log."""
        del why
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()


class Secured(asyncio.Protocol):
    """A connection over TLS: to the socket's transport a protocol, to the association its transport.

    asyncio's own layer speaks to the association only when the handshake is done: until then no cap and no deadline of the
    listener would count the connection; and it takes 256 KiB for each. Here the association is there from accept on.
    """

    def __init__(self, files: Certificates, association: PeerConnection, turns: Turns) -> None:
        self._certificates = files
        self._association = association
        self._turns = turns
        self._held = b""
        self._raw: Any = None
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._hello = b""
        self._ready = False
        self._ended = False  # close_notify was read
        self._records = Records()

    # --- to the transport: a protocol ----------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Tell the association, which is counted and watched from now on."""
        self._raw = transport
        self.get_extra_info, self.get_write_buffer_size = transport.get_extra_info, transport.get_write_buffer_size
        self.is_closing = transport.is_closing
        self.pause_reading, self.resume_reading = transport.pause_reading, transport.resume_reading
        self._association.end_is_there = self._end_is_there
        self._association.connection_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the association, and let go of it: as a circle both would stay, with OpenSSL's buffers, until the next collection."""
        if exc is not None:
            self._hear_last()
        self._association.connection_lost(exc)
        self._tls = None
        del self._association

    def pause_writing(self) -> None:
        """The peer does not read."""
        self._association.pause_writing()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._association.resume_writing()

    def eof_received(self) -> bool:
        """The peer closed its side, with close_notify or without: as without TLS, but that only close_notify is an orderly end."""
        self._hear_last()
        self._raw.abort()
        return False

    def _end_is_there(self) -> bool:
        """Whether close_notify may be among what was not read or deciphered yet."""
        return self._ended or self._records.open or sockets.unread(self._raw.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer, cut anywhere."""
        association = self._association
        association.acknowledge()
        if not self._records.open:
            association.reading()
        self._records.follow(data)
        if self._ready:
            self._take(data)
        elif len(self._held) > MOST_HELD:
            association.close(handshakes.OTHER)
        else:
            waits, self._held = bool(self._held), self._held + data
            if not waits:
                self._turns.wait(self._shake)  # it takes a hundred times as long as a request's deciphering

    def _shake(self) -> None:
        if not self._raw.is_closing():
            self._take(b"")

    def _hear_last(self) -> None:
        """The peer ended: what waits of a handshake whose dear part is done may be an alert that says why."""
        if self._held and self._tls is not None:
            self._take(b"")

    def _take(self, data: bytes) -> None:
        """Decipher what was held and these bytes, and hand over what there is."""
        association = self._association
        data, self._held = self._held + data, b""
        began = time.monotonic()
        try:
            plain, ended = self._decipher(data)
        except ssl.SSLError as error:
            plain, ended = b"", False
            self._broken(error)
        self._flush()
        association.charge(time.monotonic() - began)
        self._ended = ended
        if plain:
            association.take(plain)
        if ended:
            association.ended()
            self.eof_received()

    def _decipher(self, data: bytes) -> tuple[bytes, bool]:
        """Go on with the handshake or with what comes after it; returns what was deciphered and whether it is the last."""
        plain = []
        if self._tls is None:
            self._hello += data
            self._tls = self._begin(self._hello)
            if self._tls is None:
                return b"", False
            data, self._hello = self._hello, b""
        tls = self._tls
        for start in range(0, len(data), PIECE):
            self._incoming.write(data[start : start + PIECE])
            try:
                if not self._ready:
                    tls.do_handshake()
                    self._ready = True
                    found: Any = tls.getpeercert()
                    self._association.secured = _described(tls, found)
                    self._association.certificate = peer_certificate(found)
                    if isinstance(tls, Handshake):
                        tls.message = b""  # nothing of it is wanted any more
                while piece := tls.read(PIECE):
                    plain.append(piece)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLZeroReturnError:
                pass
            return b"".join(plain), True
        return b"".join(plain), False

    def _begin(self, hello: bytes) -> ssl.SSLObject | None:
        """TLS from its first bytes on, when there are enough of them to see that it is TLS (RFC 8446 4.1.2, 5.1)."""
        if hello[0] != handshakes.RECORD:
            self._association.close(handshakes.NOT_TLS)
        elif len(hello) >= 9:
            if hello[5] == _CLIENT_HELLO and int.from_bytes(hello[6:9]) <= MOST_HELLO:
                return self._certificates.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
            self._association.close(handshakes.OTHER)
        return None

    def _broken(self, error: ssl.SSLError) -> None:
        """An alert tells the peer, and the association is over."""
        self._flush()
        if self._ready:
            self._raw.close()
        else:
            cause = handshakes.cause(error, "server")
            if cause == handshakes.OTHER and certificates.certificate(self._tls):
                # Such as a key that is not the certificate's.
                cause = "client-certificate-refused"
            if cause.startswith("client-certificate-"):
                self._association.refused_certificate = certificates.described(self._tls)
            self._association.close(cause)

    def _flush(self) -> None:
        if (out := self._outgoing.read()) and not self._raw.is_closing():
            self._raw.write(out)

    # --- to the association: a transport -------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Encipher and send."""
        if self._tls is None or not self._ready or self._raw.is_closing():
            return
        try:
            while data:
                data = data[self._tls.write(data) :]
        except ssl.SSLError as error:
            self._broken(error)
        self._flush()

    def close(self) -> None:
        """Close when everything was sent."""
        if self._tls is not None and self._ready:
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()  # close_notify; that of the peer is not waited for
        self._flush()
        self._raw.close()

    def abort(self) -> None:
        """Close at once."""
        if not self._ready and not self._raw.is_closing():
            self._association.close("no-tls-handshake")
        self._raw.abort()


class Records:
    """Where in the peer's stream the records of TLS begin and end (RFC 8446 5.1).

    What a record holds was sent before what we wrote since its first byte was read: it proves nothing about such an answer.
    """

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    @property
    def open(self) -> bool:
        """Whether a record was begun and not ended."""
        return bool(self._left or self._head)

    def follow(self, data: bytes) -> None:
        """Go on by these bytes."""
        at = 0
        while at < len(data):
            if not self._left:
                part = data[at : at + 5 - len(self._head)]
                self._head += part
                at += len(part)
                if len(self._head) < 5:
                    return
                self._left, self._head = int.from_bytes(self._head[3:]), b""
            step = min(self._left, len(data) - at)
            self._left -= step
            at += step


def _described(tls: ssl.SSLObject, certificate: Any) -> dict[str, Any]:
    """The version, and of a client certificate subject and alternative names, for the log."""
    found: dict[str, Any] = {"tls": tls.version()}
    if certificate:
        pairs = itertools.chain.from_iterable(certificate.get("subject", ()))
        found["certificate"] = ", ".join(f"{ATTRIBUTES.get(key, key)}={value}" for key, value in pairs)[:MOST_SHOWN]
        names = [f"{kind}:{value}" for kind, value in certificate.get("subjectAltName", ())]
        found["certificate_names"] = ", ".join(names)[:MOST_SHOWN]
    return found


async def listen(
    room: str,
    address: tuple[str, int],
    made: Callable[[], PeerConnection],
    turns: Turns,
    certificates: Certificates | None = None,
    *,
    backlog: int = 100,
) -> asyncio.Server:
    """Listen for connections, in the running event loop; raises CommandError where the address cannot be listened on.

    Args:
        room: what the settings call it.
        address: host, and port without TLS.
        turns: of the handshakes.
        certificates: for connections over TLS, on the port that goes with them.
        backlog: connections that the kernel keeps, and that are accepted in one turn of the event loop.
    """
    host, port = address if certificates is None else (address[0], certificates.settings.port)

    def connected() -> asyncio.Protocol:
        peer = made()
        return peer if certificates is None else Secured(certificates, peer, turns)

    try:
        return await asyncio.get_running_loop().create_server(connected, host, port, backlog=backlog)
    except OSError as error:
        why = error.strerror or str(error)
        raise CommandError(f"{room}: cannot listen on {host}:{port}: {why}", 3) from None
