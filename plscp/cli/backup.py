"""`plscp backup`, while the server goes on, and `plscp restore`, while no server runs."""

import os
import pwd
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from plscp.cli import output
from plscp.cli.options import Config, Json, group, settings
from plscp.cli.relay import beyond_lines, relay_settings
from plscp.config import Settings
from plscp.errors import CommandError, RelayError
from plscp.publish.beyond import Beyond, beyond
from plscp.publish.cursor import Carried
from plscp.publish.settings import cursor_beside
from plscp.store.backup import PART, back_up
from plscp.store.backup import Progress as Told
from plscp.store.relay_view import RelayView
from plscp.store.restoring import restore as put_back
from plscp.store.urls import sqlite_path

app = group()

NICE = 10
"""By how much a backup steps back. Measured on two busy cores: with it the server's answers are as fast as without a backup."""


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="The file to make; it must not be there yet.")],
    json: Json = False,
    config: Config = None,
) -> None:
    """Copy the store to a file, and check the copy. The server goes on; or none runs."""
    found = settings(config)
    path = _store_path(found)
    with closing(RelayView(path)) as view:
        if not view.store_id:
            raise CommandError(f"there is no store at {path}", 3)
        published = Carried.read(cursor_beside(path), view.store_id)  # before the copy: it must not know of more
    os.nice(NICE)  # devices wait for the server's answers, nobody waits for a backup
    with _shown_progress() as progress:
        made = back_up(path, target, progress=progress, leave=found.store.disk_watermark, beside=published.put)
    if json:
        output.print_line(made._asdict())
    else:
        print(
            f"{made.file}: store {made.store} up to position {made.position}, {made.bytes} bytes, sha256 {made.sha256}, "
            f"checked, {made.seconds:.1f} s"
        )


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="A file that plscp backup made.")],
    force: Annotated[bool, typer.Option("--force", help="Move a store that stands there aside.")] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Make a store out of a backup: it gets an id of its own, and goes on where the backup ends."""
    found = settings(config)
    path = _store_path(found)
    _as_owner(path.parent)
    cursor = cursor_beside(path)

    def take(store: Any, store_id: str) -> None:
        Carried.take(store).make(cursor.with_name(cursor.name + PART), store_id)

    with _shown_progress() as progress:
        made = put_back(source, path, force=force, progress=progress, companions=[cursor], beside=take)
    later: list[Beyond] = []
    unknown = ""
    if found.kafka is not None:
        try:
            later = beyond(relay_settings(config), RelayView.open)
        except RelayError as error:
            unknown = str(error)
    if json:
        output.print_json(made._asdict() | {"beyond": [each._asdict() for each in later], "beyond_unknown": unknown})
        return
    print(
        f"{made.file}: store {made.store}, restored from store {made.restored_from} up to position {made.position}, "
        f"checked, {made.seconds:.1f} s"
    )
    if made.moved_aside:
        print(f"the store that stood there is {made.moved_aside} now")
    for line in beyond_lines(later):
        print(output.clean(line))
    if unknown:
        print(f"what Kafka holds beyond the backup is not known ({output.clean(unknown)}): plscp verify names it")


def _as_owner(folder: Path) -> None:
    """Root makes no files in the folder of another user: his server could not open them."""
    if os.geteuid() != 0 or not folder.is_dir() or (owner := folder.stat().st_uid) == 0:
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    raise CommandError(
        f"{folder} belongs to {name}, whose server cannot open what root puts there: runuser -u {name} -- plscp restore ...",
        2,
    )


def _store_path(found: Settings) -> Path:
    """Where the settings say that the store is; raises CommandError where that is in no file."""
    path = sqlite_path(found.store.url)
    if path is None:
        raise CommandError("store.url: a store in memory cannot be backed up or restored", 2)
    return path


@contextmanager
def _shown_progress() -> Iterator[Told]:
    """Draws bars on standard error, where that is a terminal; gone when the work is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    words = {"copy": "copying", "check": "checking"}
    with Progress(*columns, console=Console(file=sys.stderr), transient=True, disable=not sys.stderr.isatty()) as bars:
        tasks = {what: bars.add_task(word, total=None, visible=False) for what, word in words.items()}

        def told(what: str, done: int, whole: int) -> None:
            bars.update(tasks[what], completed=done, total=whole, visible=True)

        yield told
