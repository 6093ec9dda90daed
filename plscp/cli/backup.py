"""`plscp backup`: the store, copied while the server goes on."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from plscp.cli import output
from plscp.cli.client import Config, Json, settings
from plscp.cli.copying import shown_progress, step_back
from plscp.errors import CommandError
from plscp.publish.cursor import Carried
from plscp.publish.settings import cursor_beside
from plscp.store.backup import back_up
from plscp.store.files import sqlite_path
from plscp.store.relay_view import RelayView


def backup(
    target: Annotated[Path, typer.Argument(help="The file to make; it must not be there yet.")],
    json: Json = False,
    config: Config = None,
) -> None:
    """Copy the store to a file, and check the copy. The server goes on; or none runs."""
    found = settings(config)
    path = sqlite_path(found.store.url)
    with closing(RelayView(path)) as view:
        if not view.store_id:
            raise CommandError(f"there is no store at {path}", 3)
        published = Carried.read(cursor_beside(path), view.store_id)  # before the copy: it must not know of more
    step_back()
    with shown_progress() as progress:
        made = back_up(path, target, progress=progress, leave=found.store.disk_watermark, beside=published.put)
    if json:
        output.print_line(made._asdict())
    else:
        print(
            f"{made.file}: store {made.store} up to position {made.position}, {made.bytes} bytes, sha256 {made.sha256}, "
            f"checked, {made.seconds:.1f} s"
        )
