"""Certificates: the files of a TLS listener, read again when they change; and what a client's that was refused says of itself, for the log."""

import re
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from plscp.dicom.admission import printable
from plscp.errors import ConfigError
from plscp.files import Files
from plscp.logs import log

SUITES: Final = "ECDHE+AESGCM"  # of TLS 1.2, as BCP 195 (RFC 9325 4.2) recommends; those of TLS 1.3 are all fit
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)
_KEY: Final = re.compile(r"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----")
_FITS_NOT: Final = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "UNKNOWN_KEY_TYPE"})
MOST_SHOWN: Final = 256
_HANDSHAKE, _CERTIFICATE_MESSAGE, _TLS_13 = 22, 11, 0x0304
_HOOK: Final[Any] = vars(ssl.SSLContext.__mro__[1]).get("_msg_callback")
_SHORT: Final = {3: "CN", 6: "C", 7: "L", 8: "ST", 10: "O", 11: "OU"}  # attribute types below 2.5.4 (RFC 4514 3)
_ENCODINGS: Final = {12: "utf-8", 19: "ascii", 20: "latin-1", 22: "ascii", 28: "utf-32-be", 30: "utf-16-be"}
"""Of the string types of ASN.1, by their tags."""
_NOTHING: Final = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Where to listen for TLS and with which files (PEM); with `client_ca` a client certificate of one of these is required."""

    certificate: str
    private_key: str
    client_ca: str | None = None
    port: int = 2762
    section: str = "dicom.tls"


class Certificates:
    """What the files hold now. Raises ConfigError where one cannot be used: one line names it and says what is wrong.

    Attributes:
        context: for new connections.
        expires: for each file when the first of its certificates expires, in seconds since the epoch.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self.settings = settings
        self._files = Files(settings.certificate, settings.private_key, settings.client_ca)
        self._told: set[str] = set()
        self.context, self.expires = self._load()

    def ready(self, certificate: str, private_key: str, client_ca: str | None = None) -> Callable[[], None]:
        """Read other files, on the thread that looks; what is returned takes them. Open connections keep what they have."""
        settings = replace(self.settings, certificate=certificate, private_key=private_key, client_ca=client_ca)
        other = Certificates(settings)

        def take() -> None:
            self.settings, self._files = settings, other._files
            self._take(other.context, other.expires)

        return take

    def _take(self, context: ssl.SSLContext, expires: dict[str, float]) -> None:
        self.context, self.expires = context, expires
        self._told.clear()
        log.info("certificates-loaded", expires=min(map(_stated, expires.values())))

    def look(self) -> None:
        """Read files that changed, once they do not change any more; say which certificates have expired.

        Files that cannot be used change nothing: the ones before stay. To be called every second or so, from any one thread.
        """
        if self._files.look():
            try:
                self._take(*self._load())
            except ConfigError as error:
                log.error("certificates-refused", why=str(error))
        now = time.time()
        for name, when in self.expires.items():
            if when <= now and name not in self._told:
                self._told.add(name)
                log.warning("certificate-expired", file=name, expired=_stated(when))

    def load(self) -> ssl.SSLContext:
        """A context of its own, out of the files as they are now."""
        return self._load()[0]

    def _load(self) -> tuple[ssl.SSLContext, dict[str, float]]:
        settings = self.settings
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(SUITES)
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
        # Associations last for hours: nothing is resumed, least of all with a CA that was exchanged.
        context.num_tickets = 0
        expires = {settings.certificate: _first_expiry(settings, "certificate")[1]}
        key = _text(settings, "private_key")
        if "-----BEGIN ENCRYPTED PRIVATE KEY" in key or "Proc-Type: 4,ENCRYPTED" in key:
            what = "is encrypted: give the key without a passphrase, readable by the server alone"
            raise _fault(settings, "private_key", what)
        if not _KEY.search(key):
            raise _fault(settings, "private_key", "holds no private key in PEM")
        try:
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(settings.certificate, settings.private_key, password=lambda: "")
        except (ssl.SSLError, OSError) as error:
            reason = getattr(error, "reason", None) or error.strerror or ""
            if reason in _FITS_NOT:
                raise _fault(settings, "private_key", "does not fit the certificate") from None
            if reason.startswith(("EE_", "CA_")):  # too weak a key or digest
                raise _fault(settings, "certificate", _words(reason)) from None
            raise _fault(settings, "private_key", f"cannot be read ({_words(reason)})") from None
        if settings.client_ca is not None:
            authorities, expires[settings.client_ca] = _first_expiry(settings, "client_ca")
            context.load_verify_locations(cadata=authorities)
            context.verify_mode = ssl.CERT_REQUIRED
            keep_presented(context)
        return context, expires


def _fault(settings: TlsSettings, field: str, what: str) -> ConfigError:
    return ConfigError(f"{settings.section}.{field}: {getattr(settings, field)}: {what}")


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ") or "for a reason that OpenSSL does not state"


def _stated(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds")


def _text(settings: TlsSettings, field: str) -> str:
    try:
        return Path(getattr(settings, field)).read_text("latin-1")
    except OSError as error:
        raise _fault(settings, field, error.strerror or str(error)) from None


def _first_expiry(settings: TlsSettings, field: str) -> tuple[str, float]:
    """The certificates of a file, and when the first of them expires, in seconds since the epoch."""
    found = _CERTIFICATE.findall(_text(settings, field))
    if not found:
        raise _fault(settings, field, "holds no certificate in PEM")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata="".join(found))
        return "".join(found), min(_expiry(ssl.PEM_cert_to_DER_cert(text.strip())) for text in found)
    except (ssl.SSLError, ValueError, IndexError) as error:
        why = _words(getattr(error, "reason", None) or "")
        raise _fault(settings, field, f"holds a certificate that cannot be read ({why})") from None


# --- what a client presented -------------------------------------------------------------------------------------------

# OpenSSL judges a client's certificate, and forgets it when it refuses it: neither `getpeercert` nor the chain can be asked then. So its
# Certificate message is kept as OpenSSL hands it to Python's hook for handshake messages (`_msg_callback`, since 3.8, not documented:
# where it is missing the line says that the subject is not known). Nothing is decided by what is read here: it is what the peer claims.


class Handshake(ssl.SSLObject):
    """A TLS connection that keeps what the peer presented: its Certificate message with the header."""

    message: bytes = b""
    version_read: int = 0  # of TLS (RFC 8446 4.1.2)


def keep_presented(context: ssl.SSLContext) -> None:
    """Have the connections of this context keep the Certificate message of their peers."""
    context.sslobject_class = Handshake
    if _HOOK is not None:
        _HOOK.__set__(context, _note)


def _note(connection: object, direction: str, version: int, *message: Any) -> None:
    content, kind, data = message
    if (content, kind, direction) == (_HANDSHAKE, _CERTIFICATE_MESSAGE, "read") and isinstance(connection, Handshake):
        connection.message, connection.version_read = data, version


def certificate(connection: object) -> bytes:
    """The peer's own certificate (DER) as it was presented; empty where there was none or it cannot be told apart."""
    if not isinstance(connection, Handshake):
        return b""
    message = connection.message
    at = 4  # the header
    if connection.version_read == _TLS_13:
        at += 1 + message[at] if len(message) > at else 1  # RFC 8446 4.4.2: a context comes first
    at += 3  # length of the list
    size = int.from_bytes(message[at : at + 3])
    der = message[at + 3 : at + 3 + size]
    return der if len(der) == size else b""


def described(connection: object) -> dict[str, str]:
    """Subject and issuer of what the peer presented, as the log has them; where there is none, why."""
    der = certificate(connection)
    if not der:
        if isinstance(connection, Handshake) and (connection.message or _HOOK is not None):
            return {"certificate": "", "certificate_absent": "the device sent none"}
        return {"certificate": "", "certificate_absent": "this Python does not tell"}
    try:
        _serial, _signature, issuer, _validity, subject = _certificate_fields(der)[:5]
        return {"certificate": _name(der, *subject[1:]), "certificate_issuer": _name(der, *issuer[1:])}
    except (ValueError, IndexError):
        return {"certificate": "", "certificate_absent": "it cannot be read"}


def _name(der: bytes, start: int, stop: int) -> str:
    """A Name (RFC 5280 4.1.2.4) as text; what cannot be printed is shown as `?`."""
    parts: list[str] = []
    for _, first, last in _values(der, start, stop):
        for _, begin, end in _values(der, first, last):
            (_, a, b), (tag, c, d), *_rest = _values(der, begin, end)
            kind = der[a:b]
            name = _SHORT.get(kind[2], "?") if kind[:2] == b"\x55\x04" and len(kind) == 3 else "?"
            text = der[c:d].decode(_ENCODINGS.get(tag, "latin-1"), "replace")
            parts.append(f"{name}={text}")
            if sum(map(len, parts)) > MOST_SHOWN:
                break
    return printable(", ".join(parts)[:MOST_SHOWN])


def _expiry(der: bytes) -> float:
    """Seconds since the epoch of notAfter (RFC 5280 4.1): Python's ssl tells it of a peer's certificate only."""
    _, (tag, start, stop) = _values(der, *_certificate_fields(der)[3][1:])  # validity
    form = "%Y%m%d%H%M%SZ" if tag == 0x18 else "%y%m%d%H%M%SZ"  # GeneralizedTime or UTCTime
    return datetime.strptime(der[start:stop].decode("ascii"), form).replace(tzinfo=UTC).timestamp()


def _certificate_fields(der: bytes) -> list[tuple[int, int, int]]:
    """Tag, start and stop of what a certificate (RFC 5280 4.1) holds: serialNumber, signature, issuer, validity, subject and so on."""
    certificate = next(_values(der, 0, len(der)), _NOTHING)
    fields = list(_values(der, *next(_values(der, *certificate[1:]), _NOTHING)[1:]))
    return fields[fields[0][0] == 0xA0 :]  # version, which the oldest leave out


def _values(der: bytes, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """The DER values between these places: tag, where the content starts and where it stops. Raises ValueError or IndexError."""
    while start < stop:
        tag, size, at = der[start], der[start + 1], start + 2
        if size & 0x80:
            at += size & 0x7F
            size = int.from_bytes(der[start + 2 : at])
        if at + size > stop:
            raise ValueError("a value that is longer than what holds it")
        yield tag, at, at + size
        start = at + size
