"""`plscp quarantine`: requests that were refused, and why."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from plscp.cli import output
from plscp.cli.client import CaFile, Config, Json, TokenFile, Url, api, segment
from plscp.cli.values import an_ae_title
from plscp.cli.view import findings, received

app = typer.Typer(help="Quarantine: refused requests, and why.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_items(
    *,
    calling_ae: Annotated[
        str | None, typer.Option("--device", help="Of one device, by its calling AE title.", callback=an_ae_title)
    ] = None,
    open_only: Annotated[bool, typer.Option("--open", help="Only those not accepted since.")] = False,
    limit: Annotated[int, typer.Option(help="Most items.", min=1, max=1000)] = 30,
    json: Json = False,
    url: Url = None,
    token_file: TokenFile = None,
    config: Config = None,
    ca_file: CaFile = None,
) -> None:
    """List refused requests, newest first."""
    query = {"calling_ae": calling_ae, "open": "true" if open_only else None, "limit": limit}
    found = api(url, token_file, config, ca_file).get("/api/v1/quarantine", query)
    if json:
        output.print_json(found)
        return
    output.table(
        ["id", "last", "times", "device", "status", "why", "accepted since"],
        [
            (
                item["id"],
                output.local(item["last_time"]),
                item["times"],
                item["calling_ae"],
                (item["status"], output.status_style(item["status"])),
                item["comment"],
                f"at {item['closed_position']}" if item["closed_position"] else "",
            )
            for item in found["items"]
        ],
        "nothing in quarantine",
    )


@app.command("show")
def show_item(
    item_id: Annotated[str, typer.Argument(metavar="ID", help="The item's id, or a beginning of it.")],
    *,
    json: Json = False,
    url: Url = None,
    token_file: TokenFile = None,
    config: Config = None,
    ca_file: CaFile = None,
) -> None:
    """Show one refused request with every finding."""
    item = api(url, token_file, config, ca_file).get(f"/api/v1/quarantine/{segment(item_id)}")
    if json:
        output.print_json(item)
    else:
        output.page(page(item))


def page(item: Mapping[str, Any]) -> Iterator[tuple[int, str, object, str]]:
    """An item: who sent what when, then each different outcome with its findings."""
    times = f"{item['times']} times" if item["times"] != 1 else "once"
    yield 0, item["id"], f"{item['calling_ae']} from {item['address']}, {times}", "bold"
    yield from output.described({name: item[name] for name in ("sop_class", "transfer_syntax")}, depth=1)
    yield 1, "first", output.local(item["first_time"]), ""
    yield 1, "last", output.local(item["last_time"]), ""
    yield 1, "data set", received(item["raw_length"], item["raw_kept"]), ""
    if item["closed_position"]:
        yield 1, "accepted since", f"at position {item['closed_position']}", "green"
    for outcome in item["outcomes"]:
        data = outcome.get("data") if isinstance(outcome.get("data"), Mapping) else outcome
        status = str(outcome.get("status") or data.get("status", ""))
        comment = outcome.get("comment") or data.get("comment", "")
        yield 1, status, comment or data.get("status_name", ""), output.status_style(status)
        yield from findings(data.get("findings") or [], 2)
        match = data.get("match") or {}
        yield from output.described({"given": match.get("given")}, depth=2)
        for candidate in match.get("candidates") or []:
            yield 2, str(candidate.get("what")), candidate.get("why_not", ""), "dim"
