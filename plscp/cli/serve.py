"""`plscp serve`: the server."""

import os
import signal
from collections.abc import Iterator
from typing import Annotated

import typer

from plscp import logs
from plscp.cli import output, view
from plscp.cli.options import Config, group, settings, settings_file
from plscp.config import Settings
from plscp.errors import CommandError
from plscp.store.files import sqlite_path

app = group()


@app.command()
def serve(
    config: Config = None,
    *,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Run without a settings file, with the defaults and the environment.")
    ] = False,
) -> int:
    """Run the server until SIGTERM; prints one line, `listening AE HOST:PORT`, when it accepts associations."""
    signal.signal(
        signal.SIGHUP, signal.SIG_IGN
    )  # until it is listened to: what it asks for is done at the start anyway
    file, found = settings_file(config), settings(config)
    if file is None and not defaults:
        output.page(_would(found))
        raise CommandError("serve: no settings file: `plscp config init` writes one, --defaults runs as above", 2)
    if file is not None and defaults:
        raise CommandError(f"serve: --defaults is for where there is no settings file, and {file} is one", 2)
    for read_secrets in (found.token, found.kafka_options):
        read_secrets()  # a file that is missing is said before anything is opened
    logs.configure(level=found.log.level, json={"auto": None, "json": True, "console": False}[found.log.format])
    from plscp.app import run  # noqa: PLC0415  # wrong settings are said before the whole program is loaded

    return run(found, file, os.environ)


def _would(found: Settings) -> Iterator[view.Line]:
    """What a server with these settings is, for somebody who has not written any."""
    store = sqlite_path(found.store.url).absolute()
    others = "any may call" if found.dicom.unknown_devices == "accept" else "all others are refused"
    yield 0, "without a settings file the server would be", "", ""
    yield 1, "DICOM", f"AE title {found.dicom.ae_title} at {found.dicom.host}:{found.dicom.port}", ""
    yield 1, "devices", f"{', '.join(found.devices) or 'none is named'}; {others}", ""
    yield 1, "HTTP", f"{found.http.host}:{found.http.port}", ""
    yield 1, "store", f"{store}, {'which is there' if store.exists() else 'which it would make'}", ""
    yield 1, "Kafka", ", ".join(found.kafka.bootstrap_servers) if found.kafka else "none: events stay in the store", ""
