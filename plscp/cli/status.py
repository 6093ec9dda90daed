"""`plscp status`: what a running server is doing, once or every second."""

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.live import Live

from plscp.cli import output
from plscp.cli.client import UNREACHABLE, Api, CaFile, Config, Json, TokenFile, Url, api
from plscp.cli.status_view import headline, screen
from plscp.errors import CommandError

EVERY_SECONDS = 1.0
PATIENCE_SECONDS = 3.0
"""How long `--watch` waits for an answer: the screen says so, and tries again."""

Watch = Annotated[
    bool, typer.Option("--watch", help="Show it anew each second, also through a restart of the server; q ends it.")
]


def status(  # noqa: PLR0917  # one argument per option
    json: Json = False,
    watch: Watch = False,
    url: Url = None,
    token_file: TokenFile = None,
    config: Config = None,
    ca_file: CaFile = None,
) -> None:
    """Show what a running server is doing: the first line is the verdict.

    Exit status: 0 where it is OK or a warning, 1 where it is critical (a full disk, a store that fails, a relay that halted), 3 where no
    server answers. --watch ends with 0.
    """
    if json and watch:
        raise CommandError("--json and --watch do not go together", 2)
    server = api(url, token_file, config, ca_file)
    if watch:
        _watch(server)
        return
    found = server.get("/api/v1/status")
    if json:
        output.print_json(found)
    else:
        output.console().print(screen(found))
    if found["verdict"]["level"] == "critical":
        raise typer.Exit(1)


class _Watched:
    """The last answer, and since when there has been none."""

    def __init__(self, server: Api) -> None:
        self._server = server
        self._server.seconds = PATIENCE_SECONDS
        self.found: dict[str, Any] = {}
        self.why = ""
        self.since = datetime.now(UTC)

    def ask(self) -> None:
        """Ask once; raises CommandError where asking again is of no use."""
        try:
            self.found = self._server.get("/api/v1/status")
        except CommandError as error:
            if error.exit_status != UNREACHABLE:
                raise
            self.why = str(error)
            return
        self.why, self.since = "", datetime.now(UTC)

    @property
    def trouble(self) -> str:
        """What stands above the verdict while no server answers."""
        return f"no answer since {output.local(self.since.isoformat())}: {self.why}" if self.why else ""


def _watch(server: Api) -> None:
    """Until q or Ctrl-C; where the output is no terminal, a line for each verdict that differs from the one before."""
    watched = _Watched(server)
    with contextlib.suppress(KeyboardInterrupt):
        if sys.stdout.isatty():
            _on_terminal(watched)
        else:
            _as_lines(watched)


def _on_terminal(watched: _Watched) -> None:
    out = output.console()
    with _keys() as wait, Live(console=out, screen=True, auto_refresh=False) as live:
        while True:
            watched.ask()
            live.update(screen(watched.found, watched.trouble, height=out.height), refresh=True)
            if wait():
                return


def _as_lines(watched: _Watched) -> None:
    before = ""
    while True:
        watched.ask()
        said = watched.trouble.partition(":")[0] or headline(watched.found)
        if watched.why:
            said = "no answer"
        if said != before:
            print(f"{output.local(datetime.now(UTC).isoformat())} {said}", flush=True)
            before = said
        time.sleep(EVERY_SECONDS)


@contextlib.contextmanager
def _keys() -> Iterator[Any]:
    """Gives a function that waits a second, and says whether q was typed meanwhile; keys are not echoed."""
    if not sys.stdin.isatty():
        yield lambda: time.sleep(EVERY_SECONDS)
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def wait() -> bool:
        until = time.monotonic() + EVERY_SECONDS
        while (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select([terminal], [], [], left)
            if ready and os.read(terminal, 64).lower() in {b"q", b""}:
                return True
        return False

    try:
        tty.setcbreak(terminal)
        yield wait
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
