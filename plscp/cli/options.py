"""Options and arguments that several commands have, once for all of them, and what is checked about their values."""

import os
from collections.abc import Callable
from datetime import datetime
from functools import partial, wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import typer

from plscp.config import Settings, load
from plscp.config.values import ae_title, host
from plscp.content.syntax import is_ui
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING

SECONDS_AT_MOST: Final = 86_400.0
IDENTITY_BYTES_AT_MOST: Final = 1024
POSITION_AT_MOST: Final = (1 << 62) - 1
"""The highest position that the API can be asked for."""
SETTINGS_FILE: Final = Path("plscp.toml")
"""In the working folder: what is read, or written, where none is named."""

Function = TypeVar("Function", bound=Callable[..., Any])
Everything = Annotated[bool, typer.Option("--all", help="On a terminal too, every item of entries without a finding.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="Settings file; ./plscp.toml by default.", envvar="PLSCP_CONFIG")
]
Json = Annotated[bool, typer.Option("--json", help="JSON for machines instead of tables.")]


SopClass = Literal["procedural", "substance"]
SOP_CLASSES: Final[dict[SopClass, str]] = {
    "procedural": PROCEDURAL_EVENT_LOGGING,
    "substance": SUBSTANCE_ADMINISTRATION_LOGGING,
}


def settings_file(config: Path | None) -> Path | None:
    """The settings file to read: the one that is named, else ./plscp.toml where there is one, even if it is a folder or leads nowhere."""
    return config if config is not None else SETTINGS_FILE if os.path.lexists(SETTINGS_FILE) else None


def settings(config: Path | None) -> Settings:
    """The settings that a command works with. Raises ConfigError: one line."""
    return load(settings_file(config), os.environ)


def group(text: str | None = None) -> typer.Typer:
    """Commands that stand together below one name, or (no text) the commands of one module."""
    return typer.Typer(help=text, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


def with_options(shared: Callable[..., Any], *, first: int = 0) -> Callable[..., Callable[[Function], Function]]:
    """What makes a function a command of a group that has shared options too: what they stand for is its first argument.

    Args:
        shared: makes that argument; its parameters are declared like a command's own.
        first: how many of them stand before the command's own, the others after.
    """
    options = [*signature(shared).parameters.values()]

    def command(group: typer.Typer, name: str | None = None, **more: Any) -> Callable[[Function], Function]:
        def register(function: Function) -> Function:
            _, *own = signature(function).parameters.values()
            every = {each.name: each for each in (*options[:first], *own, *options[first:])}

            @wraps(function)
            def called(**given: Any) -> Any:
                made = shared(**{each.name: given[each.name] for each in options})
                return function(made, **{each.name: given[each.name] for each in own})

            declared: Any = called  # what typer reads
            declared.__signature__ = Signature([each.replace(kind=Parameter.KEYWORD_ONLY) for each in every.values()])
            group.command(name, **more)(called)
            return function

        return register

    return command


def checked(check: Callable[[Any], object]) -> Callable[[Any], Any]:
    """A callback for typer: what `check` says with a ValueError becomes wrong usage, one line that names the option."""

    def call(value: Any) -> Any:
        if value is not None:
            try:
                check(value)
            except ValueError as error:
                raise typer.BadParameter(str(error)) from None
        return value

    return call


def text(length: int) -> Callable[[Any], Any]:
    """Checks a text of the standard with so many characters at most (LO: 64, SH: 16)."""

    @checked
    def check(value: str) -> None:
        if len(value) > length:
            raise ValueError(f"must have at most {length} characters")
        if not all(c.isprintable() and c != "\\" for c in value):
            raise ValueError("must hold neither backslash nor control characters")

    return check


long_text, short_text, an_ae_title, a_host = text(64), text(16), checked(ae_title), checked(host)


@checked
def a_uid(value: str) -> None:
    """Check a UID, which may be padded."""
    if not is_ui(value.strip(" ")):
        raise ValueError("not a UID (PS3.5 9.1)")


def a_moment(value: str | None) -> str | None:
    """A callback for typer: a time becomes what the API takes, with its offset; one without is of this machine's time zone."""
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value).astimezone().isoformat()
    except (ValueError, OverflowError):
        raise typer.BadParameter("must be a time such as 2026-11-26T08:00 or 2026-11-26") from None


LO = partial(typer.Option, callback=long_text)
SH = partial(typer.Option, callback=short_text)
UI = partial(typer.Option, callback=a_uid)
AE = partial(typer.Option, callback=an_ae_title)
TIME = partial(typer.Option, callback=a_moment)
"""Options whose values are of these VRs; of TIME as ISO 8601 has it."""


@checked
def an_identity(value: str) -> None:
    """Check a username of User Identity Negotiation: UTF-8, whose length two bytes carry (PS3.7 Table D.3-14)."""
    if not 1 <= len(value.encode()) <= IDENTITY_BYTES_AT_MOST:
        raise ValueError(f"must have 1 to {IDENTITY_BYTES_AT_MOST} bytes in UTF-8")


@checked
def a_pdu_length(value: int) -> None:
    """Check a Maximum Length Received: none (0), or one in which a fragment has room; four bytes carry it."""
    if value and not 128 <= value <= 0xFFFFFFFF:
        raise ValueError("must be 0 (no limit), or from 128 to 4294967295")


StudyUid = Annotated[str, typer.Argument(metavar="STUDY_INSTANCE_UID", help="Study Instance UID.", callback=a_uid)]
