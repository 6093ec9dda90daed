"""`plscp study`: the studies of a running server."""

from typing import Annotated, Any

import typer

from plscp.cli import output
from plscp.cli.client import CaFile, Config, Json, TokenFile, Url, api, segment
from plscp.cli.values import a_uid, long_text, short_text
from plscp.errors import CommandError

app = typer.Typer(help="Studies: what is open where.", no_args_is_help=True, rich_markup_mode=None)

Uid = Annotated[str, typer.Argument(metavar="STUDY_INSTANCE_UID", help="Study Instance UID.", callback=a_uid)]


@app.command("list")
def list_studies(
    *,
    status: Annotated[str | None, typer.Option(help="scheduled, open, closed or cancelled.")] = None,
    location: Annotated[
        str | None, typer.Option(help="Last at this location, by any of its names.", callback=long_text)
    ] = None,
    json: Json = False,
    url: Url = None,
    token_file: TokenFile = None,
    config: Config = None,
    ca_file: CaFile = None,
) -> None:
    """List studies."""
    found = api(url, token_file, config, ca_file).get("/api/v1/studies", {"status": status, "location": location})
    output.warn(found)
    if json:
        output.print_json(found)
        return
    output.table(
        ["study", "study id", "patient", "location", "status", "opened", "closed"],
        [
            (
                study["study_instance_uid"],
                study["study_id"],
                output.in_brief(study["patient"]),
                study["location"],
                (study["status"], output.study_style(study["status"])),
                output.local(study["opened"]),
                output.local(study["closed"]),
            )
            for study in found["studies"]
        ],
        "no study",
    )


@app.command("open")
def open_study(
    study_instance_uid: Uid,
    *,
    patient: Annotated[
        str | None, typer.Option(help="Patient ID; absent: the study gets one of its own.", callback=long_text)
    ] = None,
    issuer: Annotated[str | None, typer.Option(help="Issuer of the Patient ID.", callback=long_text)] = None,
    location: Annotated[str | None, typer.Option(help="Where the study takes place.", callback=long_text)] = None,
    study_id: Annotated[str | None, typer.Option(help="Study ID.", callback=short_text)] = None,
    accession_number: Annotated[str | None, typer.Option(help="Accession Number.", callback=long_text)] = None,
    json: Json = False,
    url: Url = None,
    token_file: TokenFile = None,
    config: Config = None,
    ca_file: CaFile = None,
) -> None:
    """Open a study, or open it again."""
    if issuer is not None and patient is None:
        raise CommandError("study open: --issuer goes with --patient", 2)
    body: dict[str, Any] = {"status": "open"}
    given = {"location": location, "study_id": study_id, "accession_number": accession_number}
    body |= {name: value for name, value in given.items() if value is not None}
    if patient is not None:
        body["patient"] = {"id": patient} | ({"issuer": issuer} if issuer is not None else {})
    path = f"/api/v1/studies/{segment(study_instance_uid.strip(' '))}"
    _show(api(url, token_file, config, ca_file).put(path, body), json)


@app.command("close")
def close_study(
    study_instance_uid: Uid,
    *,
    json: Json = False,
    url: Url = None,
    token_file: TokenFile = None,
    config: Config = None,
    ca_file: CaFile = None,
) -> None:
    """Close a study; it takes events for the grace."""
    path = f"/api/v1/studies/{segment(study_instance_uid.strip(' '))}/close"
    _show(api(url, token_file, config, ca_file).post(path), json)


def _show(study: dict[str, Any], json: bool) -> None:
    output.warn(study)
    if json:
        output.print_json(study)
    else:
        output.page(output.described({name: value for name, value in study.items() if name != "warnings"}))
