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
        help: its line in the list of commands.
    """

    module: str
    function: str
    help: str


COMMANDS: Final[dict[str, Entry]] = {
    "serve": Entry("plscp.cli.serve", "serve", "Run the server until SIGTERM."),
    "demo": Entry("plscp.cli.demo", "demo", "Play a cath-lab case through a server into Kafka."),
    "config": Entry("plscp.cli.config", "app", "Settings: write, check, show."),
    "status": Entry("plscp.cli.status", "status", "What a running server is doing."),
    "reload": Entry("plscp.cli.reload", "reload", "Have a running server read its settings again."),
    "study": Entry("plscp.cli.study", "app", "Studies of a running server: list, open, close."),
    "event": Entry("plscp.cli.event", "app", "Events of a running server: list, show, tail."),
    "quarantine": Entry("plscp.cli.quarantine", "app", "Refused requests of a running server: list, show."),
    "correction": Entry("plscp.cli.correction", "app", "Proposed corrections of a running server: list, show."),
    "match": Entry("plscp.cli.match", "match", "Where an entry with given identifiers would go now, and why."),
    "explain": Entry("plscp.cli.explain", "explain", "Check a request off line and draw its content tree."),
    "example": Entry("plscp.cli.example", "example", "Print an event to start from, as typed JSON."),
    "send": Entry("plscp.cli.scu", "send", "Send recorded or written events to an SCP."),
    "simulate": Entry("plscp.cli.scu", "simulate", "Play a cath-lab case against an SCP."),
    "echo": Entry("plscp.cli.scu", "echo", "Send one C-ECHO to an SCP."),
    "verify": Entry("plscp.cli.verify", "verify", "Hold what is on Kafka against the store."),
    "backup": Entry("plscp.cli.backup", "backup", "Copy the store to a file while the server goes on."),
    "restore": Entry("plscp.cli.restore", "restore", "Make a store out of a backup; stop the server first."),
    "conformance": Entry("plscp.cli.conformance", "conformance", "Print the DICOM conformance statement."),
    "reference": Entry("plscp.cli.reference", "app", "What there is to look up: metrics, log events."),
    "schema": Entry("plscp.cli.schema", "app", "What is published: export, show, check the schemas."),
    "relay": Entry("plscp.cli.relay", "app", "The relay's cursor: repartition, rewind."),
}


def build(arguments: Sequence[str], *, everything: bool = False) -> Any:
    """The command tree for these arguments.

    Args:
        everything: import every command, as help and shell completion need.
    """
    called = next((a for a in arguments if not a.startswith("-")), None)
    if called is not None and called not in COMMANDS and not everything:
        raise CommandError(f"No such command '{called}'{_nearest(called)}", 2)
    app = typer.Typer(
        name="plscp",
        help="A DICOM server that cath-lab devices report to: stored durably, published to Kafka.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_plscp)
    for name, entry in COMMANDS.items():
        if everything or name == called:
            _mount(app, name, entry)
        else:
            app.command(name, help=entry.help)(_elsewhere)
    return get_command(app)


def _elsewhere() -> None:
    """Stands in the list of commands for one that is not called."""


def _nearest(name: str) -> str:
    found = get_close_matches(name, COMMANDS, 1) or [known for known in COMMANDS if known.startswith(name[:3])][:1]
    return f". Did you mean '{found[0]}'?" if found else " (see plscp --help)"


def _mount(app: typer.Typer, name: str, entry: Entry) -> None:
    found = getattr(import_module(entry.module), entry.function)
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=name)
    else:
        app.command(name)(found)


def _version(context: typer.Context, option: typer.CallbackParam, wanted: bool) -> None:
    """Called for both options, in the order in which they are given: the second call knows what was wanted."""
    given: dict[str | None, bool] = context.meta.setdefault(__name__, {})
    given[option.name] = wanted
    if len(given) < 2 or not given["version"]:
        return
    print(f"plscp {__version__}")
    if given["verbose"]:
        import platform  # noqa: PLC0415  # nothing else on this path needs these
        import ssl  # noqa: PLC0415

        import apsw  # noqa: PLC0415

        print(f"Python {platform.python_version()}\nSQLite {apsw.sqlite_lib_version()}\n{ssl.OPENSSL_VERSION}")
    raise typer.Exit


def _plscp(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("-v", callback=_version, is_eager=True, help="With --version: of Python and SQLite, too.")
    ] = False,
) -> None:
    """A DICOM server that cath-lab devices report to: stored durably, published to Kafka."""
