"""`plscp reload`: have a running server read its settings again."""

import typer

from plscp.cli import output
from plscp.cli.client import CaFile, Config, Json, TokenFile, Url, api
from plscp.errors import HttpProblem

UNUSABLE = 422


def reload(
    json: Json = False, url: Url = None, token_file: TokenFile = None, ca_file: CaFile = None, config: Config = None
) -> int:
    """Have a running server read its settings again: what holds from now on, what needs a restart.

    Exit status 1 and every fault where they cannot be used; then nothing is changed.
    """
    try:
        done = api(url, token_file, config, ca_file, faults=False).post("/api/v1/reload")
    except HttpProblem as refused:
        if refused.status != UNUSABLE:
            raise
        faults = [output.clean(fault) for fault in refused.problem.get("faults") or [refused]]
        if json:
            output.print_json({"applied": [], "restart": [], "fault": str(refused), "faults": faults})
        for fault in faults:
            typer.echo(f"plscp: {fault}", err=True)
        return 1
    if json:
        output.print_json(done)
        return 0
    output.table(
        ["setting", "applies"],
        [(path, "now") for path in done["applied"]] + [(path, "after a restart") for path in done["restart"]],
        "nothing has changed",
    )
    return 0
