"""Who a peer must be: a table of AE titles, addresses, certificates and identities; how certificates are named."""

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plscp.dicom.admission import (
    Caller,
    CertificateName,
    PeerCertificate,
    Required,
    Rule,
    UserIdentity,
    certificate_name,
    peer_certificate,
    plain_address,
    refusal,
)

LAB = tuple(map(ip_network, ("10.1.2.0/24", "10.9.9.9", "fd00:1::/64")))
HEMO, XRAY = (
    PeerCertificate(
        frozenset({("CN", name), ("O", "Clinic"), ("OU", "Cath Lab")}), frozenset({f"DNS:{name.lower()}.example"})
    )
    for name in ("HEMO1", "XRAY1")
)
DEVICES = {
    "PLAIN": Required(),
    "LAB": Required(address=LAB),
    "CERT": Required(certificate=(certificate_name("CN=HEMO1, O=Clinic"), certificate_name("DNS:spare.example"))),
    "NAME": Required(username="hemo"),
    "CODE": Required(username="hemo", passcode=lambda: "s3cret"),
    "ALL": Required(LAB, (certificate_name("DNS:hemo1.example"),), "hemo", lambda: "s3cret"),
    "A B.C": Required(address=LAB),
}


def said(kind: int, primary: str = "", secondary: str = "") -> UserIdentity:
    """A user identity."""
    return UserIdentity(kind, response=False, primary=primary.encode(), secondary=secondary.encode())


GOOD = said(2, "hemo", "s3cret")
ADMISSION: list[tuple[str, str, Any, UserIdentity | None, Rule | None, str]] = [
    # AE title, address, certificate ("" plain, None over TLS without), identity -> rule, what the hint says
    ("PLAIN", "192.168.1.1", "", None, None, ""),
    ("PLAIN", "192.168.1.1", HEMO, GOOD, None, ""),
    ("NOBODY", "10.1.2.3", "", None, "dicom.unknown_devices", "add [devices.NOBODY] to the settings"),
    ("NOBODY", "10.1.2.3", HEMO, GOOD, "dicom.unknown_devices", "add [devices.NOBODY] to the settings"),
    ("No. 1", "10.1.2.3", "", None, "dicom.unknown_devices", 'add [devices."No. 1"] to the settings'),
    ('a"b', "10.1.2.3", "", None, "dicom.unknown_devices", 'add [devices."a\\"b"] to the settings'),
    ("plain", "10.1.2.3", "", None, "dicom.unknown_devices", "add [devices.plain]"),
    # address
    ("LAB", "10.1.2.3", "", None, None, ""),
    ("LAB", "10.1.2.255", "", None, None, ""),
    ("LAB", "10.9.9.9", "", None, None, ""),
    ("LAB", "::ffff:10.1.2.3", "", None, None, ""),
    ("LAB", "fd00:1::5", "", None, None, ""),
    ("LAB", "fd00:1::5%eth0", "", None, None, ""),
    ("LAB", "10.1.3.1", "", None, "devices.address", "devices.LAB.address lacks 10.1.3.1"),
    ("LAB", "::ffff:10.1.3.1", "", None, "devices.address", "devices.LAB.address lacks 10.1.3.1"),
    ("LAB", "fd00:2::5", "", None, "devices.address", "devices.LAB.address lacks fd00:2::5"),
    ("LAB", "", "", None, "devices.address", "devices.LAB.address lacks"),
    ("LAB", "/run/s\nck", "", None, "devices.address", "devices.LAB.address lacks /run/s?ck"),
    ("LAB", "127.0.0.1", HEMO, GOOD, "devices.address", "lacks 127.0.0.1"),
    ("A B.C", "127.0.0.1", "", None, "devices.address", 'devices."A B.C".address lacks 127.0.0.1'),
    # certificate
    ("CERT", "1.2.3.4", HEMO, None, None, ""),
    ("CERT", "1.2.3.4", PeerCertificate(frozenset(), frozenset({"DNS:spare.example"})), None, None, ""),
    (
        "CERT",
        "1.2.3.4",
        XRAY,
        None,
        "devices.certificate",
        'devices.CERT.certificate lacks "CN=XRAY1, O=Clinic, OU=Cath Lab"',
    ),
    ("CERT", "1.2.3.4", "", None, "devices.certificate", "asks for TLS"),
    ("CERT", "1.2.3.4", None, None, "devices.certificate", "dicom.tls.client_ca is not set"),
    ("PLAIN", "1.2.3.4", XRAY, None, None, ""),
    # user identity
    ("NAME", "1.2.3.4", "", said(1, "hemo"), None, ""),
    ("NAME", "1.2.3.4", "", said(2, "hemo", "whatever"), None, ""),
    ("NAME", "1.2.3.4", "", said(1, "Hemo"), "devices.username", "another username or passcode"),
    ("NAME", "1.2.3.4", "", None, "devices.username", "devices.NAME.username: the device sent no user identity"),
    ("CODE", "1.2.3.4", "", GOOD, None, ""),
    ("CODE", "1.2.3.4", "", said(1, "hemo"), "devices.username", "without a passcode"),
    ("CODE", "1.2.3.4", "", said(1, "hemo", "s3cret"), "devices.username", "without a passcode"),
    ("CODE", "1.2.3.4", "", said(2, "hemo", "s3cre"), "devices.username", "another username or passcode"),
    ("CODE", "1.2.3.4", "", said(2, "hemo", "S3CRET"), "devices.username", "another username or passcode"),
    ("CODE", "1.2.3.4", "", said(2, "hemo", ""), "devices.username", "another username or passcode"),
    ("CODE", "1.2.3.4", "", said(2, "other", "s3cret"), "devices.username", "another username or passcode"),
    ("CODE", "1.2.3.4", "", said(2, "", ""), "devices.username", "another username or passcode"),
    ("CODE", "1.2.3.4", "", said(3, "hemo", "s3cret"), "devices.username", "type 3"),
    ("CODE", "1.2.3.4", "", said(5, "hemo", "s3cret"), "devices.username", "type 5"),
    ("CODE", "1.2.3.4", "", said(0), "devices.username", "cannot be read"),
    ("CODE", "1.2.3.4", HEMO, None, "devices.username", "sent no user identity"),
    # all of them: the first that is not met is named
    ("ALL", "10.1.2.3", HEMO, GOOD, None, ""),
    ("ALL", "10.1.3.3", XRAY, None, "devices.address", "lacks 10.1.3.3"),
    ("ALL", "10.1.2.3", XRAY, None, "devices.certificate", "lacks"),
    ("ALL", "10.1.2.3", HEMO, None, "devices.username", "sent no user identity"),
]


@pytest.mark.parametrize("row", ADMISSION)
def test_admission(row: Any) -> None:
    """A peer is let in where it shows what its AE title asks for; else the rule that refuses it and what to change are named."""
    title, address, certificate, identity, rule, hint = row
    shown = certificate if isinstance(certificate, PeerCertificate) else None
    caller = Caller(title, address, certificate != "", shown, identity)
    found = refusal(caller, DEVICES, unknown=False)
    assert (None if found is None else found.rule) == rule
    if found is not None:
        assert hint in found.hint
        assert found.hint.isprintable()
        assert "s3cret" not in found.hint


@pytest.mark.parametrize("row", [row for row in ADMISSION if row[4] not in {None, "dicom.unknown_devices"}])
def test_unknown_devices_that_are_accepted_change_nothing_for_known_ones(row: Any) -> None:
    """Where unknown AE titles are accepted, an AE title with a table must still show what that asks for."""
    title, address, certificate, identity, rule, _ = row
    shown = certificate if isinstance(certificate, PeerCertificate) else None
    found = refusal(Caller(title, address, certificate != "", shown, identity), DEVICES, unknown=True)
    assert found is not None
    assert found.rule == rule
    assert refusal(Caller("NOBODY", address), DEVICES, unknown=True) is None


def test_the_passcode_is_the_one_in_force_now() -> None:
    """The passcode is asked for at each association, not kept."""
    passcode = ["old"]
    devices = {"CODE": Required(username="hemo", passcode=lambda: passcode[0])}
    caller = Caller("CODE", "1.2.3.4", identity=said(2, "hemo", "new"))
    assert refusal(caller, devices, unknown=False)
    passcode[0] = "new"
    assert refusal(caller, devices, unknown=False) is None


def test_secrets_are_not_shown() -> None:
    """What is printed of an identity holds neither username nor passcode."""
    caller = Caller("CODE", "1.2.3.4", identity=GOOD)
    assert "s3cret" not in repr(caller)
    assert "hemo" not in repr(caller)


# --- certificates ------------------------------------------------------------------------------------------------------


NAMES = [
    ("CN=HEMO1", {("CN", "HEMO1")}),
    ("CN=HEMO1,O=Clinic", {("CN", "HEMO1"), ("O", "Clinic")}),
    (" O = Clinic ,  cn=HEMO1 ", {("CN", "HEMO1"), ("O", "Clinic")}),
    ("commonName=HEMO1", {("CN", "HEMO1")}),
    ("OU=Cath  Lab", {("OU", "Cath Lab")}),
    ("O=Clinic\\, North,CN=a\\\\b", {("O", "Clinic, North"), ("CN", "a\\b")}),
    ("OU=A,OU=B", {("OU", "A"), ("OU", "B")}),
    ("CN=a=b", {("CN", "a=b")}),
    (
        "DC=clinic,DC=example,UID=7,emailAddress=x@y",
        {("DC", "clinic"), ("DC", "example"), ("UID", "7"), ("emailAddress", "x@y")},
    ),
    ("serialNumber=12", {("serialNumber", "12")}),
    ("CN=urn:x", {("CN", "urn:x")}),
]
ALTERNATIVES = [
    ("DNS:hemo1.example", "DNS:hemo1.example"),
    ("dns: HEMO1.Example. ", "DNS:hemo1.example"),
    ("IP:10.1.2.3", "IP:10.1.2.3"),
    ("IP:fd00:0::5", "IP:fd00::5"),
    ("IP:::ffff:10.1.2.3", "IP:10.1.2.3"),
    ("URI:urn:hemo:1", "URI:urn:hemo:1"),
]
NO_NAMES = ["", " ", "HEMO1", "CN", "CN=", "CN=,O=x", "=x", "CN=a,,O=b", "XX=a", "DNS:", "DNS:a b", "DNS:ü", "IP:10.1", "URI:", "CN=a,b"]  # fmt: skip


@pytest.mark.parametrize(("text", "parts"), NAMES)
def test_names_by_subject(text: str, parts: set[tuple[str, str]]) -> None:
    """Parts of a subject: order, case of the attribute and spaces around and within do not matter; a comma is written with a backslash."""
    assert certificate_name(text) == CertificateName(frozenset(parts))


@pytest.mark.parametrize(("text", "name"), ALTERNATIVES)
def test_names_by_alternative_name(text: str, name: str) -> None:
    """Host names without regard to case, addresses by value, URIs as they stand."""
    assert certificate_name(text) == CertificateName(name=name)


@pytest.mark.parametrize("text", NO_NAMES)
def test_what_names_no_certificate(text: str) -> None:
    """It is refused with words that show how a right one looks."""
    with pytest.raises(ValueError, match=r"such as|known are CN"):
        certificate_name(text)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["CN", "O", "OU"]),
            st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1).filter(str.strip),
        ),
        min_size=1,
        max_size=5,
    ),
    st.randoms(),
)
def test_order_and_spaces_do_not_matter(parts: list[tuple[str, str]], random: Any) -> None:
    """Whatever the values hold, the parts name the certificate that has them all, in any order, and no certificate that lacks one."""
    shuffled = random.sample(parts, len(parts))
    text = "  , ".join(f"{kind} = " + value.replace("\\", "\\\\").replace(",", "\\,") for kind, value in shuffled)
    name = certificate_name(text)
    subject = tuple(
        ((long, value),)
        for kind, value in parts
        for long in [{"CN": "commonName", "O": "organizationName", "OU": "organizationalUnitName"}[kind]]
    )
    shown = peer_certificate({"subject": (*subject, (("countryName", "DE"),))})
    assert shown is not None
    assert name.names(shown)
    lacking = PeerCertificate(shown.subject - {next(iter(name.subject))}, frozenset())
    assert not name.names(lacking)


def test_a_certificate_as_python_tells_it() -> None:
    """Subject and alternative names come into one spelling; kinds of names that settings cannot give are left out."""
    shown = peer_certificate(
        {
            "subject": ((("commonName", "HEMO1"),), (("organizationName", "Clinic  North"), ("2.5.4.97", "x"))),
            "subjectAltName": (
                ("DNS", "HEMO1.example"),
                ("IP Address", "FD00:0:0:0:0:0:0:5\n"),
                ("DirName", ((("commonName", "z"),),)),
                ("email", "a@b"),
            ),
        }
    )
    assert shown == PeerCertificate(
        frozenset({("CN", "HEMO1"), ("O", "Clinic North"), ("2.5.4.97", "x")}),
        frozenset({"DNS:hemo1.example", "IP:fd00::5"}),
    )
    assert peer_certificate({}) is peer_certificate(None) is None


def test_a_subject_is_shown_printable_and_short() -> None:
    """What a hint shows of a subject is what a CA signed, but it is cut and holds no control characters."""
    shown = str(PeerCertificate(frozenset({("CN", "a\x1b[31m" + "x" * 500)}), frozenset()))
    assert shown.isprintable()
    assert len(shown) <= 120


@pytest.mark.parametrize(
    ("text", "plain"),
    [("10.1.2.3", "10.1.2.3"), ("::ffff:a01:203", "10.1.2.3"), ("fe80::1%eth0", "fe80::1"), ("x", "None")],
)
def test_addresses(text: str, plain: str) -> None:
    """An IPv4 address that is mapped into IPv6 is itself; a zone says nothing of who it is."""
    assert str(plain_address(text)) == plain
