"""`plscp operator`: who may add to the Medication Administration Record, over the HTTP API of a running server."""

from typing import Annotated, Any

import typer

from plscp.cli import output
from plscp.cli.client import Api, segment, server_command
from plscp.cli.options import group, long_text, short_text

app = group()
app.add_typer(operator := group("Operators: who may add to the Medication Administration Record."), name="operator")

Value = Annotated[str, typer.Argument(metavar="VALUE", help="Code Value, as devices send it.", callback=long_text)]
Scheme = Annotated[
    str, typer.Argument(metavar="SCHEME", help="Coding Scheme Designator, as devices send it.", callback=short_text)
]


@server_command(operator, "list")
def list_operators(api: Api) -> None:
    """List operators, those that were taken out as well."""
    found = api.get("/api/v1/operators")
    shown = found
    while "next" in found:
        found = api.get("/api/v1/operators", {"after": found["next"]})
        shown["operators"] += found["operators"]
    shown.pop("next", None)
    output.table(
        ["value", "scheme", "status", "locations", "from", "until", "said by"],
        [
            (
                each["value"],
                each["scheme"],
                (each["status"], "" if each["status"] == "active" else "dim"),
                ", ".join(each["locations"]) or "everywhere",
                output.local(each["valid_from"]),
                output.local(each["valid_until"]),
                each["said_by"],
            )
            for each in shown["operators"]
        ],
        "no operator" + ("" if shown["policy"] == "list" else ": anyone may add, since the policy is not list"),
        json=api.as_json(shown),
    )


@server_command(operator, "add")
def add_operator(
    api: Api,
    value: Value,
    scheme: Scheme,
    *,
    location: Annotated[
        list[str] | None, typer.Option(help="Only at this location; may be given again. Absent: everywhere.")
    ] = None,
    valid_from: Annotated[
        str | None, typer.Option("--from", help="From when, ISO 8601; without offset: UTC.", callback=long_text)
    ] = None,
    valid_until: Annotated[
        str | None, typer.Option("--until", help="Until when, ISO 8601; without offset: UTC.", callback=long_text)
    ] = None,
) -> None:
    """Take an operator in, or say anew where and when the code is valid."""
    body: dict[str, Any] = {
        "status": "active",
        "locations": location or [],
        "valid_from": valid_from,
        "valid_until": valid_until,
    }
    found = api.put(_path(value, scheme), body)
    output.changed(found, json=api.as_json(found))


@server_command(operator, "remove")
def remove_operator(api: Api, value: Value, scheme: Scheme) -> None:
    """Take an operator out: from now on administrations with that code alone are refused."""
    found = api.delete(_path(value, scheme))
    output.changed(found, json=api.as_json(found))


def _path(value: str, scheme: str) -> str:
    return f"/api/v1/operators/{segment(scheme.strip(' '))}/{segment(value.strip(' '))}"
