"""Which commands there are. Only the module of the one that is called is imported: `plscp study list` loads neither DICOM nor Kafka."""

from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from plscp import __version__
from plscp.errors import EXIT_STATUSES

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "serve": ("config", "Run the server until SIGTERM."),
    "demo": ("demo", "Play a cath-lab case through a server into Kafka."),
    "kafka": ("demo", "Run a Kafka on this machine, to try plscp with."),
    "config": ("config", "Settings: write, check, show."),
    "status": ("status", "What a running server is doing."),
    "reload": ("status", "Have a running server read its settings again."),
    "study": ("registry", "Studies of a running server: list, show, open, close."),
    "patient": ("registry", "Patients of a running server: show, add."),
    "admission": ("registry", "Admissions of a running server: show."),
    "room": ("registry", "Rooms of a running server: who is there."),
    "step": ("registry", "Procedure steps of a running server: list, end."),
    "event": ("events", "Events of a running server: list, show, tail, export, timeline."),
    "quarantine": ("quarantine", "Refused requests of a running server: list, show, explain, export, replay."),
    "correction": ("corrections", "Corrections of a running server: list, show, make, confirm, reject, revert."),
    "operator": ("registry", "Operators who may add to the Medication Administration Record: list, add, remove."),
    "feed": ("events", "Feeds of a running server: list; messages that they refused: messages, show."),
    "match": ("events", "What a request with given identifiers would be answered now, and why."),
    "explain": ("explain", "Check a request off line and draw its content tree."),
    "example": ("explain", "Print an event to start from, as typed JSON; one of each kind."),
    "send": ("scu", "Send recorded or written events to an SCP."),
    "simulate": ("scu", "Play a cath-lab case against an SCP."),
    "echo": ("scu", "Send one C-ECHO to an SCP."),
    "verify": ("upkeep", "Hold what is on Kafka against the store."),
    "backup": ("upkeep", "Copy the store to a file while the server goes on."),
    "restore": ("upkeep", "Make a store out of a backup; stop the server first."),
    "conformance": ("config", "Print the DICOM conformance statement."),
    "reference": ("config", "What there is to look up: metrics, log events."),
    "schema": ("schema", "What is published: export, show, check, register the schemas."),
    "relay": ("upkeep", "The relay's cursor: repartition, rewind."),
}
"""The module below `plscp.cli` whose `app` has the command, and its line in the list of commands."""


class Commands(TyperGroup):
    """The commands of `COMMANDS`: a name with a line of help each, until it is asked for."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.commands.update({name: TyperCommand(name, help=line) for name, (_, line) in COMMANDS.items()})

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  # as it is called
        """End the help with the exit statuses."""
        with formatter.section("Exit status"):
            formatter.write_dl([(str(number), meaning) for number, meaning in EXIT_STATUSES.items()])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Load what the first argument names."""
        if args[0] in COMMANDS:
            module = import_module(f"plscp.cli.{COMMANDS[args[0]][0]}")
            self.commands.update(get_group(module.app).commands)
        return super().resolve_command(ctx, args)


def build() -> Any:
    """The command `plscp`."""
    app = typer.Typer(
        name="plscp",
        cls=Commands,
        help="A DICOM server that cath-lab devices report to: stored durably, published to Kafka.",
        no_args_is_help=True,
        invoke_without_command=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_plscp)
    return get_command(app)


def _plscp(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    verbose: Annotated[bool, typer.Option("-v", help="With --version: of Python and SQLite, too.")] = False,
) -> None:
    """A DICOM server that cath-lab devices report to: stored durably, published to Kafka."""
    if version:
        print(f"plscp {__version__}")
        if verbose:
            import platform  # noqa: PLC0415  # nothing else on this path needs these
            import ssl  # noqa: PLC0415

            import apsw  # noqa: PLC0415

            print(f"Python {platform.python_version()}\nSQLite {apsw.sqlite_lib_version()}\n{ssl.OPENSSL_VERSION}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        context.fail("Missing command.")
