"""`plscp restore`: a store out of a backup, while no server runs."""

import os
import pwd
from pathlib import Path
from typing import Annotated, Any

import typer

from plscp.cli import output
from plscp.cli.client import Config, Json, settings
from plscp.cli.copying import shown_progress
from plscp.cli.publishing import beyond_lines, relay_settings
from plscp.errors import CommandError, RelayError
from plscp.publish.cursor import Carried
from plscp.publish.settings import cursor_beside
from plscp.publish.verify import Beyond, beyond
from plscp.store.backup import PART, Restored
from plscp.store.backup import restore as put_back
from plscp.store.files import sqlite_path


def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="A file that plscp backup made.")],
    force: Annotated[bool, typer.Option("--force", help="Move a store that stands there aside.")] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Make a store out of a backup: it gets an id of its own, and goes on where the backup ends."""
    found = settings(config)
    path = sqlite_path(found.store.url)
    _as_owner(path.parent)
    cursor = cursor_beside(path)

    def take(store: Any, store_id: str) -> None:
        Carried.take(store).make(cursor.with_name(cursor.name + PART), store_id)

    with shown_progress() as progress:
        made = put_back(source, path, force=force, progress=progress, companions=[cursor], beside=take)
    later: list[Beyond] = []
    unknown = ""
    if found.kafka is not None:
        try:
            later = beyond(relay_settings(config))
        except RelayError as error:
            unknown = str(error)
    if json:
        output.print_json(made._asdict() | {"beyond": [each._asdict() for each in later], "beyond_unknown": unknown})
    else:
        _say(made, later, unknown)


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


def _say(made: Restored, later: list[Beyond], unknown: str) -> None:
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
