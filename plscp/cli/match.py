"""`plscp match`: where a request with these identifiers would go now, and why."""

from typing import Annotated

import typer

from plscp.cli import output
from plscp.cli.client import CaFile, Config, Json, TokenFile, Url, api
from plscp.cli.values import a_uid, an_ae_title, long_text, short_text
from plscp.cli.view import findings


def match(
    *,
    study: Annotated[str | None, typer.Option("--study", help="Study Instance UID.", callback=a_uid)] = None,
    patient: Annotated[str | None, typer.Option("--patient", help="Patient ID.", callback=long_text)] = None,
    issuer: Annotated[
        str | None, typer.Option("--issuer", help="Issuer of the Patient ID.", callback=long_text)
    ] = None,
    study_id: Annotated[str | None, typer.Option("--study-id", help="Study ID.", callback=short_text)] = None,
    location: Annotated[str | None, typer.Option("--location", help="Performed Location.", callback=long_text)] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="Calling AE title of the device.", callback=an_ae_title)
    ] = None,
    json: Json = False,
    url: Url = None,
    token_file: TokenFile = None,
    config: Config = None,
    ca_file: CaFile = None,
) -> int:
    """Ask where an entry of now with these identifiers would go; exit status 1 where it would be refused."""
    query = {
        "study_instance_uid": study,
        "patient_id": patient,
        "issuer": issuer,
        "study_id": study_id,
        "location": location,
        "ae_title": device,
    }
    found = api(url, token_file, config, ca_file).get("/api/v1/match", query)
    status = str(found["status"])
    if json:
        output.print_json(found)
    else:
        heading = found.get("comment") or found.get("status_name", "")
        apart = {"status", "status_name", "comment", "candidates", "findings"}
        lines: list[tuple[int, str, object, str]] = [(0, status, heading, output.status_style(status))]
        lines += list(output.described({name: found[name] for name in found if name not in apart}, depth=1))
        lines += [(1, str(c.get("what")), c.get("why_not") or "taken", "") for c in found.get("candidates") or []]
        lines += list(findings(found.get("findings") or [], 1))
        output.page(lines)
    return 0 if status == "0000" or status.startswith("B") else 1
