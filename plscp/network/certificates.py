"""The certificate files of a TLS listener: read, explained where they cannot be used, and read again when they change."""

import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from plscp.errors import ConfigError
from plscp.files import Files
from plscp.logs import log
from plscp.network.presented import keep_presented

SUITES: Final = "ECDHE+AESGCM"
"""Of TLS 1.2, as BCP 195 (RFC 9325 4.2) recommends; those of TLS 1.3 are all fit."""
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)
_KEY: Final = re.compile(r"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----")
_FITS_NOT: Final = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "UNKNOWN_KEY_TYPE"})


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Where to listen for TLS and with which files (PEM).

    Attributes:
        client_ca: given: a client certificate is required, and one of these must have issued it.
        section: of the settings, for messages.
    """

    certificate: str
    private_key: str
    client_ca: str | None = None
    port: int = 2762
    section: str = "dicom.tls"


class Certificates:
    """What the files hold now.

    Attributes:
        settings: which files.
        context: for new connections.
        expires: for each file when the first of its certificates expires, in seconds since the epoch.

    Raises:
        ConfigError: a file cannot be used; one line names it and says what is wrong.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self.settings = settings
        self._files = Files(
            lambda: list(filter(None, (settings.certificate, settings.private_key, settings.client_ca)))
        )
        self._told: set[str] = set()
        self.context, self.expires = self._load()

    def ready(self, certificate: str, private_key: str, client_ca: str | None = None) -> Callable[[], None]:
        """Read other files; what is returned takes them. On the thread that looks. Connections that are open keep what they have.

        Raises:
            ConfigError: one of them cannot be used.
        """
        settings = replace(self.settings, certificate=certificate, private_key=private_key, client_ca=client_ca)
        other = Certificates(settings)

        def take() -> None:
            self.context, self.expires = other.context, other.expires
            self.settings, self._files = settings, other._files
            self._told.clear()
            log.info("certificates-loaded", expires=min(map(_stated, self.expires.values())))

        return take

    def look(self) -> None:
        """Read files that changed, once they do not change any more; say which certificates have expired.

        Files that cannot be used change nothing: the ones before stay. To be called every second or so, from any one thread.
        """
        if self._files.look():
            try:
                self.context, self.expires = self._load()
            except ConfigError as error:
                log.error("certificates-refused", why=str(error))
            else:
                self._told.clear()
                log.info("certificates-loaded", expires=min(map(_stated, self.expires.values())))
        now = time.time()
        for name, when in self.expires.items():
            if when <= now and name not in self._told:
                self._told.add(name)
                log.warning("certificate-expired", file=name, expired=_stated(when))

    def load(self) -> ssl.SSLContext:
        """A context of its own, out of the files as they are now. Raises ConfigError."""
        return self._load()[0]

    def _load(self) -> tuple[ssl.SSLContext, dict[str, float]]:
        settings = self.settings
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(SUITES)
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
        context.num_tickets = (
            0  # associations last for hours: nothing is resumed, least of all with a CA that was exchanged
        )
        section = settings.section
        expires = {settings.certificate: _first_expiry(f"{section}.certificate", settings.certificate)[1]}
        _check_key(f"{section}.private_key", settings.private_key)
        try:
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(settings.certificate, settings.private_key, password=lambda: "")
        except (ssl.SSLError, OSError) as error:
            reason = getattr(error, "reason", None) or error.strerror or ""
            if reason in _FITS_NOT:
                raise _fault(f"{section}.private_key", settings.private_key, "does not fit the certificate") from None
            if reason.startswith(("EE_", "CA_")):  # too weak a key or digest
                raise _fault(f"{section}.certificate", settings.certificate, _words(reason)) from None
            raise _fault(f"{section}.private_key", settings.private_key, f"cannot be read ({_words(reason)})") from None
        if settings.client_ca is not None:
            authorities, expires[settings.client_ca] = _first_expiry(f"{section}.client_ca", settings.client_ca)
            context.load_verify_locations(cadata=authorities)
            context.verify_mode = ssl.CERT_REQUIRED
            keep_presented(context)
        return context, expires


def _fault(setting: str, name: str, what: str) -> ConfigError:
    return ConfigError(f"{setting}: {name}: {what}")


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ") or "for a reason that OpenSSL does not state"


def _stated(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds")


def _text(setting: str, name: str) -> str:
    try:
        return Path(name).read_text("latin-1")
    except OSError as error:
        raise _fault(setting, name, error.strerror or str(error)) from None


def _check_key(setting: str, name: str) -> None:
    """Raise where the file holds no key that can be used."""
    text = _text(setting, name)
    if "-----BEGIN ENCRYPTED PRIVATE KEY" in text or "Proc-Type: 4,ENCRYPTED" in text:
        raise _fault(setting, name, "is encrypted: give the key without a passphrase, readable by the server alone")
    if not _KEY.search(text):
        raise _fault(setting, name, "holds no private key in PEM")


def _first_expiry(setting: str, name: str) -> tuple[str, float]:
    """The certificates of a file, and when the first of them expires, in seconds since the epoch."""
    found = _CERTIFICATE.findall(_text(setting, name))
    if not found:
        raise _fault(setting, name, "holds no certificate in PEM")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata="".join(found))
        return "".join(found), min(_expiry(ssl.PEM_cert_to_DER_cert(one.strip())) for one in found)
    except (ssl.SSLError, ValueError, IndexError) as error:
        why = _words(getattr(error, "reason", None) or "")
        raise _fault(setting, name, f"holds a certificate that cannot be read ({why})") from None


def _expiry(der: bytes) -> float:
    """Seconds since the epoch of notAfter (RFC 5280 4.1): Python's ssl tells it of a peer's certificate only."""
    inside = _field(der, _field(der, 0)[1])[1]  # Certificate, TBSCertificate
    tag, _, stop = _field(der, inside)
    if tag == 0xA0:  # version, which the oldest leave out
        inside = stop
    for _ in range(3):  # serialNumber, signature, issuer
        inside = _field(der, inside)[2]
    not_before = _field(der, inside)[1]  # in validity
    tag, start, stop = _field(der, _field(der, not_before)[2])
    form = "%Y%m%d%H%M%SZ" if tag == 0x18 else "%y%m%d%H%M%SZ"  # GeneralizedTime or UTCTime
    return datetime.strptime(der[start:stop].decode("ascii"), form).replace(tzinfo=UTC).timestamp()


def _field(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag of the DER value there, where its content starts and where it stops."""
    size, start = der[at + 1], at + 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(der[at + 2 : start])
    return der[at], start, start + size
