"""Who a peer must be: what it said, where it called from and what it proved against what the settings ask of its AE title.

And the peers that a setting refused, for whoever asks why a device gets no association.
"""

import hmac
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final, Literal

Rule = Literal[
    "dicom.ae_title",
    "dicom.unknown_devices",
    "dicom.tls",
    "dicom.tls.client_ca",
    "devices.address",
    "devices.certificate",
    "devices.username",
    "dicom.max_associations",
    "dicom.max_associations_per_address",
]
"""The setting that refuses a peer."""
USERNAME, USERNAME_AND_PASSCODE = 1, 2
"""User-Identity-Types that can be judged (PS3.7 Table D.3-14)."""
MOST_PEERS: Final = 100  # of those refused, that are kept
MOST_SHOWN: Final = 120  # characters of a certificate's subject in a hint
ATTRIBUTES: Final = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
    "domainComponent": "DC",
    "userId": "UID",
    "serialNumber": "serialNumber",
    "emailAddress": "emailAddress",
    "streetAddress": "street",
    "title": "title",
    "givenName": "GN",
    "surname": "SN",
}
"""Attribute types of a subject: as OpenSSL names them in full, and in short (RFC 4514 3)."""
_KNOWN: Final = {name.lower(): short for pair in ATTRIBUTES.items() for name in pair for short in pair[1:]}
_PART: Final = re.compile(r"\s*([A-Za-z]+)\s*=\s*((?:[^,\\]|\\.)*)(?:,|$)")
_NOT_A_NAME: Final = 'must be a subject such as "CN=HEMO1,O=Clinic", or an alternative name such as DNS:hemo1.example'
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class PeerRefusal:
    """Why a peer is refused: the setting that refuses it, and what to change there to let it in."""

    rule: Rule
    hint: str


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """A client certificate that a trusted CA issued: attributes of its subject, and alternative names such as `DNS:...`."""

    subject: frozenset[tuple[str, str]]
    names: frozenset[str]

    def __str__(self) -> str:
        return printable(", ".join(f"{kind}={value}" for kind, value in sorted(self.subject)))[:MOST_SHOWN]


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """A User Identity sub-item (PS3.7 D.3.3.7.1); neither of its two fields is ever shown."""

    kind: int  # User-Identity-Type; 0: it cannot be read
    response: bool  # a positive one is requested
    primary: bytes = field(default=b"", repr=False)
    secondary: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """What is known of a peer when it asks for an association; `secured`: over TLS."""

    calling_ae: str
    address: str
    secured: bool = False
    certificate: PeerCertificate | None = None
    identity: UserIdentity | None = None


@dataclass(frozen=True, slots=True)
class CertificateName:
    """A certificate as a setting names it: parts of its subject that must all be there, or one alternative name."""

    subject: frozenset[tuple[str, str]] = frozenset()
    name: str = ""

    def names(self, certificate: PeerCertificate) -> bool:
        """Whether it is this one."""
        return self.name in certificate.names if self.name else self.subject <= certificate.subject


@dataclass(frozen=True, slots=True)
class Required:
    """What a device must show; what is empty or None is not asked for."""

    address: tuple[IPv4Network | IPv6Network, ...] = ()
    certificate: tuple[CertificateName, ...] = ()
    username: str | None = None
    passcode: Callable[[], str] | None = None  # asked each time, since its file may change


def refusal(caller: Caller, devices: Mapping[str, Required], *, unknown: bool) -> PeerRefusal | None:
    """Why a peer is refused, or None where it may associate; `unknown`: also under an AE title that is none of the devices'."""
    title = caller.calling_ae
    required = devices.get(title)
    if required is None:
        hint = f"add [devices.{toml_key(title)}] to the settings"
        return None if unknown else PeerRefusal("dicom.unknown_devices", hint)
    table = f"devices.{toml_key(title)}"
    if required.address and not within(caller.address, required.address):
        return PeerRefusal(
            "devices.address", f"{table}.address lacks {plain_address(caller.address) or printable(caller.address)}"
        )
    if required.certificate and (lacks := _unlike(caller, required.certificate)):
        return PeerRefusal("devices.certificate", f"{table}.certificate {lacks}")
    if required.username is not None and (lacks := _stranger(caller.identity, required)):
        return PeerRefusal("devices.username", f"{table}.username: {lacks}")
    return None


def _unlike(caller: Caller, wanted: tuple[CertificateName, ...]) -> str:
    if not caller.secured:
        return "asks for TLS: the device called the port without it"
    if caller.certificate is None:
        return "asks for a certificate: the device sent none, since dicom.tls.client_ca is not set"
    if any(name.names(caller.certificate) for name in wanted):
        return ""
    return f'lacks "{caller.certificate}"'


def _stranger(identity: UserIdentity | None, required: Required) -> str:
    """What is wrong with the user identity. Takes as long whatever is wrong with name and passcode."""
    if identity is None:
        return "the device sent no user identity"
    if identity.kind == 0:
        return "the device sent a user identity that cannot be read"
    if identity.kind not in {USERNAME, USERNAME_AND_PASSCODE}:
        return f"the device sent a user identity of type {identity.kind}, which is neither username nor username and passcode"
    right = hmac.compare_digest(identity.primary, (required.username or "").encode())
    if required.passcode is not None:
        if identity.kind != USERNAME_AND_PASSCODE:
            return "the device sent a username without a passcode"
        right &= hmac.compare_digest(identity.secondary, required.passcode().encode())
    return "" if right else "the device sent another username or passcode"


def within(address: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    """Whether an address is in one of the networks; an IPv4 address that is mapped into IPv6 counts as itself."""
    found = plain_address(address)
    return found is not None and any(found in network for network in networks)


def plain_address(address: str) -> IPv4Address | IPv6Address | None:
    """The address, unmapped and without its zone; None where it is none, such as of a socket of another family."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def printable(text: str) -> str:
    """The text with `?` for what cannot be printed."""
    return "".join(char if char.isprintable() else "?" for char in text)


def toml_key(title: str) -> str:
    """An AE title as the key of a TOML table: quoted where it must be."""
    return title if _PLAIN_KEY.fullmatch(title) else '"' + title.replace("\\", "\\\\").replace('"', '\\"') + '"'


# --- who was refused ---------------------------------------------------------------------------------------------------


class RefusedPeers:
    """At most a hundred of them: where there are more, an address that fills the list with invented AE titles loses its own."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._rows: dict[tuple[str, str, PeerRefusal], dict[str, Any]] = {}  # those refused last come last

    def note(self, calling_ae: str, address: str, refusal: PeerRefusal) -> None:
        """A peer was refused."""
        key, now = (calling_ae, address, refusal), self._clock().isoformat(timespec="seconds")
        before = self._rows.pop(key, {"times": 0, "first": now})
        self._rows[key] = {
            "calling_ae": calling_ae,
            "address": address,
            "rule": refusal.rule,
            "hint": refusal.hint,
            "times": before["times"] + 1,
            "first": before["first"],
            "last": now,
        }
        if len(self._rows) > MOST_PEERS:
            [(most, _)] = Counter(each for _, each, _ in self._rows).most_common(1)
            del self._rows[next(each for each in self._rows if each[1] == most)]

    def as_list(self) -> list[dict[str, Any]]:
        """calling_ae, address, rule, hint, times, first and last (ISO 8601) of each; refused last, first in the list."""
        return list(reversed(self._rows.values()))


# --- certificates ------------------------------------------------------------------------------------------------------


def certificate_name(text: str) -> CertificateName:
    """Read a certificate as a setting names it; what is none is a ValueError that says how they look.

    Args:
        text: parts of a subject such as `CN=HEMO1, O=Clinic` (a comma in a value is written with a backslash before it), or one of
            `DNS:hemo1.example`, `IP:10.1.2.3`, `URI:urn:hemo1`.
    """
    kind, colon, value = text.partition(":")
    if colon and kind.strip().upper() in {"DNS", "IP", "URI"}:
        name = _alternative(kind.strip().upper(), value.strip())
        if name is None:
            raise ValueError("must be an alternative name such as DNS:hemo1.example, IP:10.1.2.3 or URI:urn:hemo1")
        return CertificateName(name=name)
    parts, at = set(), 0
    while at < len(text):
        found = _PART.match(text, at)
        value = _spaced(re.sub(r"\\(.)", r"\1", found[2])) if found is not None else ""
        if found is None or not value:
            raise ValueError(_NOT_A_NAME)
        if found[1].lower() not in _KNOWN:
            raise ValueError(f"names the attribute {found[1]}: known are {', '.join(ATTRIBUTES.values())}")
        parts.add((_KNOWN[found[1].lower()], value))
        at = found.end()
    if not parts:
        raise ValueError(_NOT_A_NAME)
    return CertificateName(frozenset(parts))


def peer_certificate(found: Mapping[str, Any] | None) -> PeerCertificate | None:
    """The certificate as `ssl.SSLObject.getpeercert` tells it; None where it tells of none."""
    if not found:
        return None
    subject = {
        (_KNOWN.get(kind.lower(), kind), _spaced(value))
        for together in found.get("subject", ())
        for kind, value in together
    }
    kinds = {"DNS": "DNS", "IP Address": "IP", "URI": "URI"}
    names = {
        _alternative(kinds[kind], value.strip())
        for kind, value in found.get("subjectAltName", ())
        if kind in kinds and isinstance(value, str)
    }
    return PeerCertificate(frozenset(subject), frozenset(name for name in names if name is not None))


def _alternative(kind: str, value: str) -> str | None:
    """An alternative name in one spelling; None where the value is none of its kind."""
    if kind == "IP":
        address = plain_address(value)
        return None if address is None else f"IP:{address}"
    if not value or (kind == "DNS" and (not value.isascii() or any(char in value for char in " ,:/"))):
        return None
    return f"DNS:{value.lower().rstrip('.')}" if kind == "DNS" else f"{kind}:{value}"


def _spaced(value: str) -> str:
    """Spaces at the ends do not count, and several in a row count as one (RFC 4518 2.6.1)."""
    return " ".join(value.split())
