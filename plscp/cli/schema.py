"""`plscp schema`: the contract of what is published, as files and in a registry; and whether it still keeps what was released."""

import json
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

import typer

from plscp.cli import output
from plscp.cli.options import Json, group
from plscp.errors import CommandError
from plscp.records.compatibility import Break, breaks
from plscp.records.schemas import ENTRIES, files, schema, text
from plscp.records.values import ADAPTERS

RELEASED = Path("schemas/released")

app = group()
app.add_typer(schemas := group("What is published: JSON Schemas, examples, AsyncAPI."), name="schema")

Released = Annotated[Path, typer.Argument(help="Folder with the released schemas.")]


@schemas.command("export")
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to write to; made when missing.")] = Path("schemas"),
    json: Json = False,
) -> None:
    """Write the JSON Schema of each type, examples and the AsyncAPI document."""
    written = [(str(_write(folder / name, content)), len(content.encode())) for name, content in files()]
    rows = [{"file": name, "bytes": size} for name, size in written]
    output.table(["file", "bytes"], written, "", json=rows if json else None)


@schemas.command("show")
def show(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="CloudEvents type, or part of it, or kind of entry; absent: list them."),
    ] = None,
    draft_07: Annotated[bool, typer.Option("--draft-07", help="In the dialect draft-07 instead of 2020-12.")] = False,
    json: Json = False,
) -> None:
    """Print the JSON Schema of one type or kind of entry, or list them."""
    if name is None:
        every = [(each, schema(each)["description"]) for each in (*ADAPTERS, *ENTRIES)]
        rows = [{"name": each, "description": about} for each, about in every]
        output.table(["name", "description"], every, "nothing", json=rows if json else None)
        return
    found = [name] if name in ADAPTERS or name in ENTRIES else [each for each in ADAPTERS if name in each]
    if len(found) != 1:
        near = found or [*get_close_matches(name, ADAPTERS, 1, 0.3), *get_close_matches(name, ENTRIES, 1, 0.6)]
        raise CommandError(f"schema show: no one type is {name!r}; did you mean {' or '.join(near) or 'another'}?", 2)
    print(text(schema(found[0], draft_07=draft_07)), end="")


@schemas.command("check")
def check(released: Released = RELEASED, json: Json = False) -> None:
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


@schemas.command("register")
def register(
    *,
    registry: Annotated[
        str,
        typer.Option("--registry", metavar="URL", help="Address of its Confluent API.", envvar="PLSCP_REGISTRY_URL"),
    ],
    user: Annotated[
        str | None,
        typer.Option(
            help="User; the password is in --password-file or PLSCP_REGISTRY_PASSWORD.", envvar="PLSCP_REGISTRY_USER"
        ),
    ] = None,
    password_file: Annotated[Path | None, typer.Option(help="File with the user's password.")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with a bearer token; or in PLSCP_REGISTRY_TOKEN.")
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(help="PEM file of the CAs to trust, for https.", envvar="PLSCP_REGISTRY_CA_FILE"),
    ] = None,
    compatibility: Annotated[
        Literal["FORWARD_TRANSITIVE", "NONE"],
        typer.Option(help="What a subject asks of new versions; NONE where the registry cannot compare."),
    ] = "FORWARD_TRANSITIVE",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be registered, and change nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Register the schema of each type in a schema registry, under the type as subject; what is there already stays."""
    from plscp.cli.schema_registry import SchemaRegistry, client_of  # noqa: PLC0415  # it brings httpx

    with client_of(registry, user, password_file, token_file, ca_file) as client:
        there = SchemaRegistry(client, compatibility)
        # Draft-07 is what every registry reads; without `$id`, a URN, against which some cannot resolve the references.
        done = []
        for kind in ADAPTERS:
            made = {name: value for name, value in schema(kind, draft_07=True).items() if name != "$id"}
            done.append(there.register(kind, text(made), dry_run=dry_run))
    rows = [each._asdict() for each in done]
    cells = [(each.subject, each.outcome, *("" if n is None else n for n in each[2:])) for each in done]
    output.table(["subject", "outcome", "version", "id"], cells, "nothing", json=rows if json else None)


def _broken(folder: Path) -> Iterator[tuple[str, Break]]:
    if not folder.is_dir():
        raise CommandError(f"schema check: no folder {folder}", 2)
    for file in sorted(folder.glob("*.json")):
        if file.stem not in ADAPTERS:
            yield file.stem, Break("", "is published no longer")
            continue
        try:
            before = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise CommandError(f"schema check: {file} cannot be read: {error}", 2) from error
        yield from ((file.stem, each) for each in breaks(before, schema(file.stem)))


def _write(file: Path, content: str) -> Path:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, "utf-8")
    except OSError as error:
        raise CommandError(f"schema: {file} cannot be written: {error.strerror or error}") from error
    return file
