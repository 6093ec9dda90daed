"""`plscp correction`: corrections that the server proposes."""

from typing import Annotated, Any

import typer

from plscp.cli import output
from plscp.cli.client import CaFile, Config, Json, TokenFile, Url, api, segment

app = typer.Typer(
    help="Corrections: events that a device says belong elsewhere.", no_args_is_help=True, rich_markup_mode=None
)

Id = Annotated[str, typer.Argument(metavar="ID", help="The correction's id, or a beginning of it.")]


@app.command("list")
def list_corrections(
    *,
    limit: Annotated[int, typer.Option(help="Most corrections.", min=1, max=1000)] = 30,
    json: Json = False,
    url: Url = None,
    token_file: TokenFile = None,
    config: Config = None,
    ca_file: CaFile = None,
) -> None:
    """List proposed corrections, newest first."""
    found = api(url, token_file, config, ca_file).get("/api/v1/corrections", {"limit": limit})
    if json:
        output.print_json(found)
        return
    output.table(
        ["id", "time", "status", "device", "events", "from", "to", "why"],
        [
            (
                one["id"],
                output.local(one["time"]),
                one["status"],
                one.get("calling_ae", ""),
                ", ".join(map(str, one.get("positions", []))),
                "; ".join(map(_place, one.get("from", []))),
                _place(one.get("to") or {}),
                one.get("because", ""),
            )
            for one in found["corrections"]
        ],
        "no correction is proposed",
    )


def _place(place: dict[str, Any]) -> str:
    patient = output.in_brief(place.get("patient"))
    return " of ".join(filter(None, (place.get("study_instance_uid", ""), patient)))


@app.command("show")
def show_correction(
    correction_id: Id,
    *,
    json: Json = False,
    url: Url = None,
    token_file: TokenFile = None,
    config: Config = None,
    ca_file: CaFile = None,
) -> None:
    """Show one proposed correction."""
    found = api(url, token_file, config, ca_file).get(f"/api/v1/corrections/{segment(correction_id)}")
    if json:
        output.print_json(found)
    else:
        output.page(output.described(found))


@app.command("confirm")
def confirm_correction(
    correction_id: Id, url: Url = None, token_file: TokenFile = None, config: Config = None, ca_file: CaFile = None
) -> None:
    """Confirm a proposed correction: not possible in this version, which only keeps it."""
    api(url, token_file, config, ca_file).post(f"/api/v1/corrections/{segment(correction_id)}/confirm")
