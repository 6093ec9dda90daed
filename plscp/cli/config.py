"""`plscp serve` and `plscp config`: the server and its settings; what there is to read about them, made from what it does."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from plscp import config as settings_room
from plscp.cli import output
from plscp.cli.options import SETTINGS_FILE, Config, Json, group, settings, settings_file
from plscp.config import Settings
from plscp.errors import CommandError

app = group()
app.add_typer(config := group("Settings: write, check, show."), name="config")
app.add_typer(reference := group("What there is to look up: metrics, log events."), name="reference")


@app.command()
def serve(
    config: Config = None,
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
    from plscp import logs  # noqa: PLC0415  # wrong settings are said before the whole program is loaded

    logs.configure(level=found.log.level, json={"auto": None, "json": True, "console": False}[found.log.format])
    from plscp.app import run  # noqa: PLC0415

    return run(found, file, os.environ)


def _would(found: Settings) -> Iterator[tuple[int, str, object, str]]:
    """What a server with these settings is, for somebody who has not written any."""
    from plscp.store.files import sqlite_path  # noqa: PLC0415  # commands about settings do without the store

    store = sqlite_path(found.store.url).absolute()
    others = "any may call" if found.dicom.unknown_devices == "accept" else "all others are refused"
    yield 0, "without a settings file the server would be", "", ""
    yield 1, "DICOM", f"AE title {found.dicom.ae_title} at {found.dicom.host}:{found.dicom.port}", ""
    yield 1, "devices", f"{', '.join(found.devices) or 'none is named'}; {others}", ""
    yield 1, "HTTP", f"{found.http.host}:{found.http.port}", ""
    yield 1, "store", f"{store}, {'which is there' if store.exists() else 'which it would make'}", ""
    yield 1, "Kafka", ", ".join(found.kafka.bootstrap_servers) if found.kafka else "none: events stay in the store", ""


@config.command("init")
def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = SETTINGS_FILE,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a commented settings file to start from."""
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(settings_room.starter())
    except FileExistsError:
        raise CommandError(f"{path} is there already: --force overwrites it") from None
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}") from None
    option = "" if path == SETTINGS_FILE else f" --config {path}"
    print(f"{path} written: look at [locations] and [devices], then plscp serve{option}")


@config.command("check")
def check(json: Json = False, config: Config = None) -> int:
    """Check the settings, file and environment together, and the registry file: every fault on a line, then exit status 2."""
    path = settings_file(config)
    faults, warnings = settings_room.problems(path, os.environ), list[str]()
    if not faults:
        found = settings_room.load(path, os.environ)
        warnings = [*found.warnings(), *found.registry_file()[1]]
    if json:
        output.print_json({"file": str(path) if path else None, "faults": faults, "warnings": warnings})
    elif not faults:
        print(f"{path or 'the defaults'}: no fault")
    for fault in faults:
        typer.echo(f"plscp: {f'{path}: ' if path else ''}{fault}", err=True)
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    return 2 if faults else 0


@config.command("show")
def show(json: Json = False, config: Config = None) -> None:
    """Show the settings in force, as TOML; secrets are masked."""
    found = settings(config)
    if json:
        output.print_json(found.model_dump(mode="json"))
    else:
        print(found.as_toml(), end="")


@config.command("reference")
def settings_reference(json: Json = False) -> None:
    """Print the reference of all settings, in Markdown."""
    output.document(settings_room.reference(), json=json)


@config.command("schema")
def schema() -> None:
    """Print the JSON Schema of a settings file, for editors and other tools."""
    output.print_json(settings_room.schema())


@app.command()
def conformance(
    config: Config = None,
    hl7: Annotated[bool, typer.Option("--hl7", help="That of the HL7 feed instead.")] = False,
    json: Json = False,
) -> None:
    """Print the DICOM conformance statement, in Markdown; with --config that of a server with these settings."""
    from plscp.reference.conformance import statement  # noqa: PLC0415  # they load every room, as what follows
    from plscp.reference.conformance_hl7 import statement_hl7  # noqa: PLC0415

    found = statement_hl7() if hl7 else statement(settings_room.load(config, os.environ) if config else None)
    output.document(found, json=json)


@reference.command("metrics")
def metrics(json: Json = False) -> None:
    """Print every metric: name, type, labels, what it counts."""
    from plscp.reference import observing  # noqa: PLC0415

    output.document(observing.metrics(), json=json)


@reference.command("log-events")
def log_events(json: Json = False) -> None:
    """Print every log event: name, levels, fields, what it means."""
    from plscp.reference import observing  # noqa: PLC0415

    output.document(observing.log_events(), json=json)
