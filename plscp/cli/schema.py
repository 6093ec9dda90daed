"""`plscp schema`: the contract of what is published, as files; and whether it still keeps what was released."""

import json
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

from plscp.cli import output
from plscp.cli.options import Json, group
from plscp.errors import CommandError
from plscp.records.compatibility import Break, breaks
from plscp.records.schemas import files, schema, text
from plscp.records.values import ADAPTERS

RELEASED = Path("schemas/released")

app = group()
app.add_typer(schemas := group("What is published: JSON Schemas, examples, AsyncAPI."), name="schema")

Released = Annotated[Path, typer.Argument(help="Folder with the released schemas.")]


@schemas.command("export")
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to write to; made when missing.")] = Path("schemas"),
    *,
    json: Json = False,
) -> None:
    """Write the JSON Schema of each type, examples and the AsyncAPI document."""
    written = [(str(_write(folder / name, content)), len(content.encode())) for name, content in files()]
    rows = [{"file": name, "bytes": size} for name, size in written]
    output.table(["file", "bytes"], written, "nothing to write", json=rows if json else None)


@schemas.command("show")
def show(kind: Annotated[str, typer.Argument(metavar="TYPE", help="CloudEvents type, or part of it.")]) -> None:
    """Print the JSON Schema of one type."""
    found = [kind] if kind in ADAPTERS else [name for name in ADAPTERS if kind in name]
    if len(found) != 1:
        near = found or get_close_matches(kind, ADAPTERS, 1, 0.3)
        raise CommandError(f"schema show: no one type is {kind!r}; did you mean {' or '.join(near) or 'another'}?", 2)
    print(text(schema(found[0])), end="")


@schemas.command("check")
def check(released: Released = RELEASED, *, json: Json = False) -> None:
    """Hold what this version publishes against released schemas: whoever reads by them must notice nothing."""
    found = list(_broken(released))
    rows = [{"type": kind, "field": field, "change": change} for kind, (field, change) in found]
    output.table(
        ["type", "field", "change"],
        [(kind, (field or "(the value)", "bold"), (change, "red")) for kind, (field, change) in found],
        "readers of the released schemas can read all that this version publishes",
        json=rows if json else None,
    )
    if found:
        kinds = ", ".join(sorted({f"{kind.rpartition('.')[0]}.v2" for kind, _ in found}))
        raise CommandError(f"schema check: this breaks readers; publish it as a new type beside the old: {kinds}")


@schemas.command("release")
def release(released: Released = RELEASED) -> None:
    """Take the schemas of this version as released: later ones are held against them."""
    if released.is_dir():
        check(released)
    for kind in ADAPTERS:
        _write(released / f"{kind}.json", text(schema(kind)))


@schemas.command("registry-file")
def registry_file() -> None:
    """Print the JSON Schema of the registry file, for editors: it is made from what reads the file."""
    from plscp.matching.bodies import RegistryFileBody  # noqa: PLC0415  # no other command here needs it

    print(text(RegistryFileBody.json_schema()), end="")


def _broken(folder: Path) -> Iterator[tuple[str, Break]]:
    if not folder.is_dir():
        raise CommandError(f"schema check: no folder {folder}", 2)
    for file in sorted(folder.glob("*.json")):
        if file.stem not in ADAPTERS:
            yield file.stem, Break("", "is published no longer")
            continue
        for each in breaks(_read(file), schema(file.stem)):
            yield file.stem, each


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(f"schema check: {file} cannot be read: {error}", 2) from error


def _write(file: Path, content: str) -> Path:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, "utf-8")
    except OSError as error:
        raise CommandError(f"schema: {file} cannot be written: {error.strerror or error}") from error
    return file
