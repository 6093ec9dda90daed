"""`plscp config`: write, check and show settings. Works on files, needs no server."""

import os
from pathlib import Path
from typing import Annotated

import typer

from plscp import config as settings_room
from plscp.cli import output
from plscp.cli.options import SETTINGS_FILE, Config, Json, group, settings, settings_file
from plscp.errors import CommandError

app = group()
app.add_typer(config := group("Settings: write, check, show."), name="config")


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
        output.print_json(found.as_json())
    else:
        print(found.as_toml(), end="")


@config.command("reference")
def reference(json: Json = False) -> None:
    """Print the reference of all settings, in Markdown."""
    output.document(settings_room.reference(), json=json)


@config.command("schema")
def schema() -> None:
    """Print the JSON Schema of a settings file, for editors and other tools."""
    output.print_json(settings_room.schema())
