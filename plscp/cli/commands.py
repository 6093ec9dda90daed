"""Which commands there are. Only the one that is called is imported: `plscp study list` loads neither DICOM nor Kafka."""

from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any, Final, NamedTuple

import typer
from typer.main import get_command

from plscp import __version__
from plscp.errors import CommandError


class Entry(NamedTuple):
    """One command, or group of commands.

    Attributes:
        function: the command's function, or `app` for a group.
    """

    module: str
    function: str
    panel: str


SERVER, API, DICOM, OFF_LINE = "Server", "Over the HTTP API of a running server", "DICOM", "Files"

COMMANDS: Final[dict[str, Entry]] = {
    "serve": Entry("plscp.cli.serve", "serve", SERVER),
    "config": Entry("plscp.cli.config", "app", SERVER),
    "relay": Entry("plscp.cli.relay", "app", SERVER),
    "study": Entry("plscp.cli.study", "app", API),
    "event": Entry("plscp.cli.event", "app", API),
    "quarantine": Entry("plscp.cli.quarantine", "app", API),
    "match": Entry("plscp.cli.match", "match", API),
    "status": Entry("plscp.cli.status", "status", API),
    "demo": Entry("plscp.cli.demo", "demo", DICOM),
    "send": Entry("plscp.cli.scu", "send", DICOM),
    "simulate": Entry("plscp.cli.scu", "simulate", DICOM),
    "echo": Entry("plscp.cli.scu", "echo", DICOM),
}


def build(arguments: Sequence[str], *, everything: bool = False) -> Any:
    """The command tree for these arguments.

    Args:
        everything: import every command, as help and shell completion need.
    """
    called = next((a for a in arguments if not a.startswith("-")), None)
    if called is not None and called not in COMMANDS and not everything:
        raise CommandError(f"No such command '{called}'{_nearest(called)}", 2)
    alone = not everything and (called is not None or "--version" in arguments)
    app = typer.Typer(
        name="plscp",
        help="A DICOM server that cath-lab devices report to: stored durably, published to Kafka.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_plscp)
    for name, entry in COMMANDS.items():
        if not alone or name == called:
            _mount(app, name, entry)
    return get_command(app)


def _nearest(name: str) -> str:
    found = get_close_matches(name, COMMANDS, 1) or [known for known in COMMANDS if known.startswith(name[:3])][:1]
    return f". Did you mean '{found[0]}'?" if found else " (see plscp --help)"


def _mount(app: typer.Typer, name: str, entry: Entry) -> None:
    found = getattr(import_module(entry.module), entry.function)
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=name, rich_help_panel=entry.panel)
    else:
        app.command(name, rich_help_panel=entry.panel)(found)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"plscp {__version__}")
        raise typer.Exit


def _plscp(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """A DICOM server that cath-lab devices report to: stored durably, published to Kafka."""
