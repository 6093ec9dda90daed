"""Values of options and arguments that the standard bounds: a wrong one is wrong usage, one line that names the option."""

from collections.abc import Callable
from typing import Any, Final

import typer

from plscp.config.values import ae_title
from plscp.matching.bodies import uid

SECONDS_AT_MOST: Final = 86_400.0
MOST_IDENTITY_BYTES: Final = 1024
POSITION_AT_MOST: Final = (1 << 62) - 1
"""The highest position that the API can be asked for."""


def checked(check: Callable[[str], object]) -> Callable[[str | None], str | None]:
    """A callback for typer: what `check` says with a ValueError becomes wrong usage."""

    def call(value: str | None) -> str | None:
        if value is not None:
            try:
                check(value)
            except ValueError as error:
                raise typer.BadParameter(str(error)) from None
        return value

    return call


def text(length: int) -> Callable[[str], None]:
    """A check of a text of the standard with so many characters at most (LO: 64, SH: 16)."""

    def check(value: str) -> None:
        if len(value) > length:
            raise ValueError(f"must have at most {length} characters")
        if not all(c.isprintable() and c != "\\" for c in value):
            raise ValueError("must hold neither backslash nor control characters")

    return check


def identity(value: str) -> None:
    """Check a username of User Identity Negotiation: UTF-8, whose length two bytes carry (PS3.7 Table D.3-14)."""
    if not 1 <= len(value.encode()) <= MOST_IDENTITY_BYTES:
        raise ValueError(f"must have 1 to {MOST_IDENTITY_BYTES} bytes in UTF-8")


def host(value: str) -> None:
    """Check that a host's name can be one; whether it is known, the resolver says."""
    try:
        fits = bool(value) and not any(c.isspace() for c in value) and bool(value.encode("idna"))
    except UnicodeError:
        fits = False
    if not fits:
        raise ValueError("must be a host's name or address")


def pdu(value: Any) -> Any:
    """Check a Maximum Length Received: none (0), or one in which a fragment has room; four bytes carry it."""
    if value and not 128 <= value <= 0xFFFFFFFF:
        raise typer.BadParameter("must be 0 (no limit), or from 128 to 4294967295")
    return value


a_uid = checked(lambda value: uid(value.strip(" ")))
an_ae_title = checked(ae_title)
an_identity = checked(identity)
a_host = checked(host)
long_text = checked(text(64))
short_text = checked(text(16))
