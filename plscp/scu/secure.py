"""TLS for the DICOM tools: what a device brings to the handshake."""

import ssl
from pathlib import Path

from plscp.errors import CommandError


def client_context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """A client's side of TLS 1.2 at least, which checks the SCP's certificate and that it names the host.

    Args:
        ca: PEM file of the CAs that are trusted; None: the system's.
        certificate: PEM file of the own certificate, for SCPs that ask for one.
        key: PEM file of its private key without a passphrase; None: in the same file.

    Raises:
        CommandError: a file cannot be used; one line names it and says why.
    """
    what = f"--ca {ca}"
    try:
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            what = f"--cert {certificate}" + (f", --key {key}" if key is not None else "")
            context.load_cert_chain(certificate, key, password=lambda: "")  # nobody is asked on the terminal
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "reason", None)
        why = reason.lower().replace("_", " ") if reason else error.strerror or "cannot be used"
        raise CommandError(f"{what}: {why}", 2) from None
    return context
