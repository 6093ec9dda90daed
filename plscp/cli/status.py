"""`plscp status`: what a running server is doing."""

from plscp.cli import output
from plscp.cli.client import CaFile, Config, Json, TokenFile, Url, api


def status(
    json: Json = False, url: Url = None, token_file: TokenFile = None, config: Config = None, ca_file: CaFile = None
) -> None:
    """Show what a running server is doing."""
    found = api(url, token_file, config, ca_file).get("/api/v1/status")
    if json:
        output.print_json(found)
        return
    associations, retries = found.pop("associations"), found.pop("latest_retries", [])
    output.page(output.described(found))
    print()
    if retries:
        output.table(
            ["event", "sent again", "device", "address", "association"],
            [
                (one["position"], output.local(one["time"]), one["calling_ae"], one["address"], one["association"])
                for one in retries
            ],
            "",
        )
        print()
    output.table(
        ["device", "address", "since", "requests"],
        [
            (a.get("calling_ae"), a.get("address"), output.local(a.get("since")), a.get("requests"))
            for a in associations
        ],
        "no association is open",
    )
