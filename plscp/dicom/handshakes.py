"""Why a handshake of TLS failed (RFC 8446 6.2, RFC 5246 7.2.2): one word for each cause, the same at the device and at the server."""

import ssl
from typing import Final, Literal

Side = Literal["client", "server"]
"""The device is the client."""

RECORD: Final = 0x16  # first byte of what begins a handshake (RFC 8446 5.1); no type of a PDU
NOT_TLS: Final = "not-tls"
OTHER: Final = "tls-handshake"
HANDSHAKES: Final = {
    "client-certificate-missing": "the server asks for a certificate, and the device sent none",
    "client-certificate-expired": "the device's certificate has expired",
    "client-certificate-not-yet-valid": "the device's certificate is not valid yet",
    "client-certificate-unknown-issuer": "the server does not know who issued the device's certificate",
    "client-certificate-refused": "the server refused the device's certificate",
    "server-certificate-expired": "the server's certificate has expired",
    "server-certificate-not-yet-valid": "the server's certificate is not valid yet",
    "server-certificate-unknown-issuer": "the device does not know who issued the server's certificate",
    "server-certificate-wrong-name": "the server's certificate does not name the host that the device called",
    "server-certificate-refused": "the device refused the server's certificate; if it knows the issuer, look at the host's name",
    NOT_TLS: "one side speaks TLS on this port, and the other does not",
    "tls-version": "there is no version of TLS that both know",
    "tls-nothing-in-common": "there is no cipher suite or curve that both know",
}
"""What each cause means; `OTHER` is none of them."""
_VERIFICATION: Final = {
    9: "not-yet-valid",
    10: "expired",
    **dict.fromkeys((2, 18, 19, 20, 21), "unknown-issuer"),
    **dict.fromkeys((62, 63, 64), "wrong-name"),
}
"""What is wrong with the other's certificate, by OpenSSL's number (X509_V_ERR_*)."""
_CAUSES: Final = {
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "{side}-certificate-expired",
    "TLSV1_ALERT_UNKNOWN_CA": "{side}-certificate-unknown-issuer",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "{side}-certificate-missing",
    "SSLV3_ALERT_BAD_CERTIFICATE": "{side}-certificate-refused",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "{side}-certificate-refused",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "{side}-certificate-refused",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "{side}-certificate-refused",
    "TLSV1_ALERT_ACCESS_DENIED": "{side}-certificate-refused",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "client-certificate-missing",
    "TLSV1_ALERT_PROTOCOL_VERSION": "tls-version",
    "UNSUPPORTED_PROTOCOL": "tls-version",
    "VERSION_TOO_LOW": "tls-version",
    "NO_SHARED_CIPHER": "tls-nothing-in-common",
    "NO_SUITABLE_KEY_SHARE": "tls-nothing-in-common",
    "NO_SHARED_GROUP": "tls-nothing-in-common",
    "NO_SHARED_SIGNATURE_ALGORITHMS": "tls-nothing-in-common",
}
"""By OpenSSL's reason; an alert is what the other says of our certificate."""


def cause(error: ssl.SSLError, side: Side, *, agreed: bool = False) -> str:
    """Which of `HANDSHAKES` an error is, or `OTHER`.

    Args:
        side: where it was raised.
        agreed: whether a cipher suite was agreed on before. TLS 1.2 has no alert of its own for a certificate that was not sent.
    """
    other: Side = "server" if side == "client" else "client"
    reason = error.reason or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{other}-certificate-{_VERIFICATION.get(error.verify_code, 'refused')}"
    if reason == "SSLV3_ALERT_HANDSHAKE_FAILURE":
        return f"{side}-certificate-missing" if agreed and side == "client" else "tls-nothing-in-common"
    if reason == "WRONG_VERSION_NUMBER":  # of a record: a server sees before that there is no ClientHello
        return NOT_TLS if side == "client" else "tls-version"
    return _CAUSES.get(reason, OTHER).format(side=side)
