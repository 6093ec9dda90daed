"""Commands about what a running server stores and is sent: `event`, `match`, `feed`."""

import base64
import sys
import warnings
from contextlib import suppress
from io import BytesIO
from typing import Annotated

import typer

from plscp.cli import output, view
from plscp.cli.client import NDJSON, Api, segment, server_command
from plscp.cli.options import (
    AE,
    LO,
    POSITION_AT_MOST,
    SH,
    TIME,
    UI,
    StudyUid,
    group,
)

LATEST = 30
"""Events that are listed where no number is given."""

app = group()
app.add_typer(event := group("Events: logged entries, registry changes, refusals."), name="event")
app.add_typer(feed := group("Feeds: who sends, and what was refused."), name="feed")

Issuer = Annotated[str | None, LO(help="Issuer of the Patient ID.")]


@server_command(event, "list", help="List events in the order of their positions.")
@server_command(
    event,
    "tail",
    help="Show events as they come, until Ctrl-C, the server's end, or the first one after a pipe's reader has gone; with --json one per line.",
)
@server_command(
    event,
    "export",
    help="Write events as CSV to standard output; with --json one per line. An entry that was moved is written where it first stood; --kind correction has where it went.",
)
def events(
    api: Api,
    *,
    context: typer.Context,
    after: Annotated[
        int | None,
        typer.Option(
            help="Position after which to begin; absent: the latest (list), from now on (tail), all (export).",
            min=0,
            max=POSITION_AT_MOST,
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Most events.", min=1, max=10_000)] = None,
    study: Annotated[str | None, UI(help="Of one study only, by its Study Instance UID.")] = None,
    patient: Annotated[str | None, LO(help="Of one patient only, by any Patient ID, also a former one.")] = None,
    issuer: Issuer = None,
    device: Annotated[str | None, AE(help="Of one device only, by its calling AE title.")] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="entry (the default), registry, refusal, proposal, correction, expunged or all; or a kind of entry, such as drug_administered."
        ),
    ] = None,
    since: Annotated[
        str | None, TIME(metavar="TIME", help="Occurred not before then, such as 2026-11-26T22:00.")
    ] = None,
    until: Annotated[str | None, TIME(metavar="TIME", help="Occurred before then.")] = None,
) -> None:
    """What is stored, or what comes: the commands differ only in where they begin and end, and in how they write it."""
    follow = context.info_name == "tail"
    if after is None and follow:
        after = int(api.get("/api/v1/status")["store"]["position"])
    query = {"after": after, "limit": limit, "kind": kind, "since": since, "until": until}
    query |= {"study": study, "patient": patient, "issuer": issuer, "device": device}
    if follow:
        for each in api.lines("/api/v1/events", query | {"follow": "true"}):
            if api.json:
                output.print_json(each, indent=None)
            else:
                output.line(view.row(each))
        return
    if context.info_name == "export":
        with api.streamed(NDJSON if api.json else "text/csv", "/api/v1/events", query) as answer:
            for part in answer.iter_bytes():
                sys.stdout.buffer.write(part)
        sys.stdout.flush()
        return
    query |= {"limit": limit or LATEST, "latest": "true" if after is None else None}
    found = api.get("/api/v1/events", query)
    output.table(view.HEADINGS, map(view.row, found["events"]), "no event", json=api.as_json(found))


@server_command(event, "show")
def show_event(
    api: Api, position: Annotated[int, typer.Argument(help="The event's position.", min=1, max=POSITION_AT_MOST)]
) -> None:
    """Show one event on one page."""
    found = api.get(f"/api/v1/events/{position}")
    output.page(view.page(found), json=api.as_json(found))


@server_command(event, "timeline")
def timeline(
    api: Api,
    study_instance_uid: StudyUid,
    original: Annotated[
        bool,
        typer.Option("--original", help="As it was without corrections, with where entries stand that were moved."),
    ] = False,
) -> None:
    """Show one study's entries by when they occurred, after corrections."""
    path = f"/api/v1/timeline/{segment(study_instance_uid.strip(' '))}"
    found = api.get(path, {"original": "true" if original else None})
    output.table(view.HEADINGS, map(view.row, found["entries"]), "no entry", json=api.as_json(found))


@server_command(app)
def match(
    api: Api,
    *,
    device: Annotated[str | None, AE(help="Calling AE title of the device.")] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="When the entry occurred: ISO 8601 or a DICOM DT as the device stamps it; now by default.",
        ),
    ] = None,
    study: Annotated[str | None, UI(help="Study Instance UID.")] = None,
    patient: Annotated[str | None, LO(help="Patient ID.")] = None,
    issuer: Issuer = None,
    issuer_uid: Annotated[str | None, LO(help="Universal Entity ID of that issuer.")] = None,
    study_id: Annotated[str | None, SH(help="Study ID.")] = None,
    location: Annotated[str | None, LO(help="Performed Location.")] = None,
    frame: Annotated[
        str | None, typer.Option(help="Synchronization Frame of Reference UID; the server's own by default.")
    ] = None,
    substance: Annotated[bool, typer.Option("--substance", help="Of a Substance Administration.")] = False,
    admission: Annotated[str | None, LO(help="Admission ID of an administration.")] = None,
    issuer_of_admission: Annotated[str | None, LO(help="Issuer of the Admission ID.")] = None,
    name: Annotated[str | None, LO(help="Patient's Name in an administration.")] = None,
    operator: Annotated[str | None, LO(help="Operator of an administration: VALUE^SCHEME.")] = None,
) -> int:
    """Ask what a request with these identifiers would be answered, and why; exit status 1 where it would be refused."""
    of_administration = {
        "admission": admission,
        "issuer-of-admission": issuer_of_admission,
        "name": name,
        "operator": operator,
    }
    of_log = {"study": study, "study-id": study_id, "location": location, "frame": frame}
    for option, value in (of_log if substance else of_administration).items():
        if value is not None:
            raise typer.BadParameter(
                "only without --substance" if substance else "needs --substance", param_hint=f"--{option}"
            )
    query = {
        "sop_class": "substance-administration-logging" if substance else None,
        "ae_title": device,
        "at": at,
        "study_instance_uid": study,
        "patient_id": patient,
        "issuer": issuer,
        "issuer_universal_entity_id": issuer_uid,
        "study_id": study_id,
        "location": location,
        "frame": frame,
        "admission_id": admission,
        "issuer_of_admission_id": issuer_of_admission,
        "patient_name": name,
        "operator": operator,
    }
    found = api.get("/api/v1/match", query)
    status = str(found["status"])
    heading = found.get("comment") or found.get("status_name", "")
    lines: list[output.Line] = [(0, status, heading, output.status_style(status))]
    if found.get("hint"):
        lines.append((1, "to do", found["hint"], "cyan"))
    about = ("occurred", "study_instance_uid", "patient")
    lines += output.described({name: found.get(name) for name in about}, depth=1)
    lines += view.decision(found, 1, status)
    lines += view.findings(found.get("findings") or [], 1)
    output.page(lines, json=api.as_json(found))
    return 0 if status == "0000" or status.startswith("B") else 1


@server_command(feed, "list")
def list_feeds(api: Api) -> None:
    """List feeds with their senders."""
    found = api.get("/api/v1/feeds")
    rows = [
        (
            each["feed"],
            ", ".join(each["listening"]),
            *(output.in_brief(sender.get(name)) for name in ("sender", "last_message", "messages", "refused")),
            ("silent", "yellow") if sender.get("silent") else "",
        )
        for each in found["feeds"]
        for sender in each["senders"] or [{}]
    ]
    headings = ["feed", "listens on", "sender", "last message", "messages", "refused", ""]
    output.table(headings, rows, "no feed is set up", json=api.as_json(found))


@server_command(feed, "messages")
def list_messages(api: Api, limit: Annotated[int, typer.Option(help="Most messages.", min=1, max=1000)] = 30) -> None:
    """List messages that feeds refused, newest first."""
    found = api.get("/api/v1/feeds/messages", {"limit": limit})
    output.table(
        ["id", "time", "feed", "from", "message", "why"],
        [output.cells(each, "id", "time", "feed", "peer", "message", "why") for each in found["messages"]],
        "no message was refused",
        json=api.as_json(found),
    )


@server_command(feed, "show")
def show_message(api: Api, message_id: Annotated[str, typer.Argument(metavar="ID", help="The message's id.")]) -> None:
    """Show one refused message, as it came: it has patients in it."""
    found = api.get(f"/api/v1/feeds/messages/{segment(message_id)}")
    raw = base64.b64decode(found["raw"])
    shown = data_set(raw) if b"\0" in raw else raw.decode("utf-8", "replace").replace("\n", "\r").split("\r")
    about = output.described({name: value for name, value in found.items() if name != "raw"})
    output.page([*about, *((1, "", line, "") for line in shown if line)], json=api.as_json(found))


def data_set(raw: bytes) -> list[str]:
    """A DICOM data set, an element a line; its transfer syntax is told by its bytes."""
    from pydicom import dcmread  # noqa: PLC0415  # which no other command over HTTP needs

    lines: list[str] = []
    with warnings.catch_warnings(action="ignore"), suppress(Exception):  # of values that are none: it was refused
        lines = str(dcmread(BytesIO(raw), force=True)).splitlines()
    return lines or [f"{len(raw)} bytes that cannot be drawn: --json has them"]
