"""`plscp feed`: feeds of a running server, and the messages that they refused, over its HTTP API."""

import base64
import warnings
from contextlib import suppress
from io import BytesIO
from typing import Annotated, Any

import typer

from plscp.cli import output
from plscp.cli.client import Api, segment, server_command
from plscp.cli.options import group

app = group()
app.add_typer(feed := group("Feeds: who sends, and what was refused."), name="feed")


@server_command(feed, "list")
def list_feeds(api: Api) -> None:
    """List feeds with their senders."""
    found = api.get("/api/v1/feeds")
    rows: list[tuple[Any, ...]] = []
    for each in found["feeds"]:
        senders = each["senders"]
        rows += [
            (
                each["feed"],
                ", ".join(each["listening"]),
                sender.get("sender", ""),
                output.local(sender.get("last_message")),
                sender.get("messages", ""),
                sender.get("refused", ""),
                ("silent", "yellow") if sender.get("silent") else "",
            )
            for sender in senders or [{}]
        ]
    headings = ["feed", "listens on", "sender", "last message", "messages", "refused", ""]
    output.table(headings, rows, "no feed is set up", json=api.as_json(found))


@server_command(feed, "messages")
def list_messages(
    api: Api,
    *,
    limit: Annotated[int, typer.Option(help="Most messages.", min=1, max=1000)] = 30,
) -> None:
    """List messages that feeds refused, newest first."""
    found = api.get("/api/v1/feeds/messages", {"limit": limit})
    output.table(
        ["id", "time", "feed", "from", "message", "why"],
        [
            (each["id"], output.local(each["time"]), each["feed"], each["peer"], each["message"], each["why"])
            for each in found["messages"]
        ],
        "no message was refused",
        json=api.as_json(found),
    )


@server_command(feed, "show")
def show_message(
    api: Api,
    message_id: Annotated[str, typer.Argument(metavar="ID", help="The message's id.")],
) -> None:
    """Show one refused message, as it came: it has patients in it."""
    found = api.get(f"/api/v1/feeds/messages/{segment(message_id)}")
    raw = base64.b64decode(found["raw"])
    lines = [*output.described({name: value for name, value in found.items() if name != "raw"})]
    shown = data_set(raw) if b"\0" in raw else raw.decode("utf-8", "replace").replace("\n", "\r").split("\r")
    lines += [(1, "", line, "") for line in shown if line]
    output.page(lines, json=api.as_json(found))


def data_set(raw: bytes) -> list[str]:
    """A DICOM data set, an element a line; its transfer syntax is told by its bytes."""
    from pydicom import dcmread  # noqa: PLC0415  # which no other command over HTTP needs

    lines: list[str] = []
    with warnings.catch_warnings(action="ignore"), suppress(Exception):  # of values that are none: it was refused
        lines = str(dcmread(BytesIO(raw), force=True)).splitlines()
    return lines or [f"{len(raw)} bytes that cannot be drawn: --json has them"]
