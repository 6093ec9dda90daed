"""`plscp event`: what the store holds."""

from typing import Annotated

import typer

from plscp.cli import output, view
from plscp.cli.client import CaFile, Config, Json, TokenFile, Url, api
from plscp.cli.values import POSITION_AT_MOST, a_uid

app = typer.Typer(
    help="Events: logged entries, registry changes, refusals.", no_args_is_help=True, rich_markup_mode=None
)

LATEST = 30
"""Events that are listed where no number is given."""
HEADINGS = ["position", "occurred", "device", "what", "study or patient", "answer"]


@app.command("list", help="List events in the order of their positions.")
@app.command("tail", help="Show events as they come, until Ctrl-C or the server's end; with --json one per line.")
def events(
    context: typer.Context,
    *,
    after: Annotated[
        int | None,
        typer.Option(
            help="Position after which to begin; absent: the latest, or from now on.", min=0, max=POSITION_AT_MOST
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Most events.", min=1, max=10_000)] = None,
    study: Annotated[
        str | None, typer.Option(help="Of one study only, by its Study Instance UID.", callback=a_uid)
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="entry (the default), registry, refusal, proposal, expunged or all.")
    ] = None,
    json: Json = False,
    url: Url = None,
    token_file: TokenFile = None,
    config: Config = None,
    ca_file: CaFile = None,
) -> None:
    """What is stored, or what comes: the two commands differ only in where they begin and end."""
    server = api(url, token_file, config, ca_file)
    follow = context.info_name == "tail"
    if after is None and follow:
        after = int(server.get("/api/v1/status")["store"]["position"])
    query = {"after": after, "limit": limit, "study": study, "kind": kind}
    if not follow:
        found = server.get(
            "/api/v1/events", query | {"limit": limit or LATEST, "latest": "true" if after is None else None}
        )
        if json:
            output.print_json(found)
        else:
            output.table(HEADINGS, map(view.row, found["events"]), "no event")
        return
    for event in server.follow("/api/v1/events", query | {"follow": "true"}):
        if json:
            output.print_line(event)
        else:
            output.line(view.row(event))


@app.command("show")
def show_event(
    position: Annotated[int, typer.Argument(help="The event's position.", min=1, max=POSITION_AT_MOST)],
    *,
    json: Json = False,
    url: Url = None,
    token_file: TokenFile = None,
    config: Config = None,
    ca_file: CaFile = None,
) -> None:
    """Show one event on one page."""
    event = api(url, token_file, config, ca_file).get(f"/api/v1/events/{position}")
    if json:
        output.print_json(event)
    else:
        output.page(view.page(event))
