"""Commands over the HTTP API of a running server: `study`, `step`, `event`, `match`, `reload`."""

import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from plscp.cli import output, view
from plscp.cli.client import Api, segment, server_command
from plscp.cli.options import POSITION_AT_MOST, a_moment, a_uid, an_ae_title, group, long_text, short_text
from plscp.cli.registry import At, by, changes
from plscp.errors import CommandError, HttpProblem

LATEST = 30
"""Events that are listed where no number is given."""
UNPROCESSABLE = 422

app = group()
app.add_typer(study := group("Studies: what is open where."), name="study")
app.add_typer(step := group("Procedure steps: what modalities reported."), name="step")
app.add_typer(event := group("Events: logged entries, registry changes, refusals."), name="event")

StudyUid = Annotated[str, typer.Argument(metavar="STUDY_INSTANCE_UID", help="Study Instance UID.", callback=a_uid)]
Issuer = Annotated[str | None, typer.Option(help="Issuer of the Patient ID.", callback=long_text)]
StudyId = Annotated[str | None, typer.Option(help="Study ID.", callback=short_text)]


# --- studies ---


@server_command(study, "list")
def list_studies(
    api: Api,
    *,
    status: Annotated[str | None, typer.Option(help="scheduled, open, closed or cancelled.")] = None,
    location: Annotated[
        str | None, typer.Option(help="Last at this location, by any of its names.", callback=long_text)
    ] = None,
) -> None:
    """List studies."""
    found = api.get("/api/v1/studies", {"status": status, "location": location})
    output.warn(found)
    output.table(
        ["study", "study id", "patient", "location", "status", "opened", "closed"],
        [
            (
                each["study_instance_uid"],
                each["study_id"],
                output.in_brief(each["patient"]),
                each["location"],
                (each["status"], output.study_style(each["status"])),
                output.local(each["opened"]),
                output.local(each["closed"]),
            )
            for each in found["studies"]
        ],
        "no study",
        json=api.as_json(found),
    )


@server_command(study, "show")
def show_study(api: Api, study_instance_uid: StudyUid, *, at: At = None) -> None:
    """Show a study: where it was when, its openings, by what each came; as of a position without that."""
    path = _path(study_instance_uid) + ("/history" if at is None else "")
    found = api.get(path, {"at": at}, missing=_missing(study_instance_uid))
    output.page(output.described(found) if at is not None else _study_lines(found), json=api.as_json(found))


def _study_lines(found: Mapping[str, Any]) -> Iterator[view.Line]:
    """A study with its history."""
    yield 0, found["study_instance_uid"], found["status"], output.study_style(found["status"])
    about = ("patient", "study_id", "accession_number", "location", "planned", "steps")
    yield from output.described({name: found[name] for name in about}, depth=1)
    for each in found["stays"]:
        left = f" to {output.local(each['left'])} {by(each['left_by'])}" if each["left"] else ""
        confirmed = f", confirmed {output.local(each['confirmed'])}" if each.get("confirmed") else ""
        arrived = f"{output.local(each['arrived'])} {by(each['arrived_by'])}"
        yield 1, each["location"] or "nowhere", f"{arrived}{left}{confirmed}", ""
    for each in found["openings"]:
        closed = f" to {output.local(each['closed'])} {by(each['closed_by'])}" if each["closed"] else ""
        yield 1, "open", f"{output.local(each['opened_by']['time'])} {by(each['opened_by'])}{closed}", ""
    yield from changes(found["changes"])


@server_command(study, "open")
def open_study(
    api: Api,
    study_instance_uid: StudyUid,
    *,
    patient: Annotated[
        str | None, typer.Option(help="Patient ID; absent: the study gets one of its own.", callback=long_text)
    ] = None,
    issuer: Issuer = None,
    location: Annotated[str | None, typer.Option(help="Where the study takes place.", callback=long_text)] = None,
    study_id: StudyId = None,
    accession_number: Annotated[str | None, typer.Option(help="Accession Number.", callback=long_text)] = None,
) -> None:
    """Open a study, or open it again."""
    if issuer is not None and patient is None:
        raise CommandError("study open: --issuer goes with --patient", 2)
    body: dict[str, Any] = {"status": "open"}
    given = {"location": location, "study_id": study_id, "accession_number": accession_number}
    body |= {name: value for name, value in given.items() if value is not None}
    if patient is not None:
        body["patient"] = {"id": patient} | ({"issuer": issuer} if issuer is not None else {})
    found = api.put(_path(study_instance_uid), body)
    output.changed(found, json=api.as_json(found))


@server_command(study, "close")
def close_study(api: Api, study_instance_uid: StudyUid) -> None:
    """Close a study; it takes events for the grace."""
    found = api.post(f"{_path(study_instance_uid)}/close", missing=_missing(study_instance_uid))
    output.changed(found, json=api.as_json(found))


def _path(study_instance_uid: str) -> str:
    return f"/api/v1/studies/{segment(study_instance_uid.strip(' '))}"


def _missing(study_instance_uid: str) -> str:
    return f"study {study_instance_uid}; see plscp study list and plscp study open"


# --- procedure steps ---


@server_command(step, "list")
def list_steps(
    api: Api,
    *,
    every: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
) -> None:
    """List the procedure steps that hold a study open."""
    found = api.get("/api/v1/steps", {"status": None if every else "in-progress"})
    if not found["steps"] and not api.json:
        output.line(["no procedure step" if every else "no procedure step is in progress"])
        return
    output.page((line for each in found["steps"] for line in _step_lines(each)), json=api.as_json(found))


def _step_lines(step: Mapping[str, Any]) -> Iterator[view.Line]:
    """A step, named by what `step end` takes."""
    status = step["status"]
    yield 0, step["sop_instance_uid"], status, "green" if status == "IN PROGRESS" else "dim"
    yield from output.described({"study": step["studies"]}, depth=1)
    place = " in ".join(filter(None, (step["station_ae_title"] or step["calling_ae"], step["location"])))
    ended = f" to {output.local(step['ended'])}" if step["ended"] else ""
    yield 1, place, f"{output.local(step['started'])}{ended}", ""


@server_command(step, "end")
def end_step(
    api: Api,
    sop_instance_uid: Annotated[
        str, typer.Argument(metavar="SOP_INSTANCE_UID", help="SOP Instance UID of the step.", callback=a_uid)
    ],
) -> None:
    """End a step whose modality does not: a study closes with its last step."""
    found = api.post(f"/api/v1/steps/{segment(sop_instance_uid.strip(' '))}/end")
    output.page(output.described(found), json=api.as_json(found))


# --- events ---


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
    study: Annotated[
        str | None, typer.Option(help="Of one study only, by its Study Instance UID.", callback=a_uid)
    ] = None,
    patient: Annotated[
        str | None, typer.Option(help="Of one patient only, by any Patient ID, also a former one.", callback=long_text)
    ] = None,
    issuer: Issuer = None,
    device: Annotated[
        str | None, typer.Option(help="Of one device only, by its calling AE title.", callback=an_ae_title)
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="entry (the default), registry, refusal, proposal, correction, expunged or all; or a kind of entry, such as drug_administered."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Occurred not before then, such as 2026-11-26T22:00.", callback=a_moment),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Occurred before then.", callback=a_moment)] = None,
) -> None:
    """What is stored, or what comes: the commands differ only in where they begin and end, and in how they write it."""
    follow = context.info_name == "tail"
    if after is None and follow:
        after = int(api.get("/api/v1/status")["store"]["position"])
    given = {"study": study, "patient": patient, "issuer": issuer, "device": device, "since": since, "until": until}
    query = {"after": after, "limit": limit, "kind": kind, **given}
    if follow:
        for each in api.follow("/api/v1/events", query | {"follow": "true"}):
            if api.json:
                output.print_line(each)
            else:
                output.line(view.row(each))
        return
    if context.info_name == "export":
        for part in api.written("application/x-ndjson" if api.json else "text/csv", "/api/v1/events", query):
            sys.stdout.buffer.write(part)
        sys.stdout.flush()
        return
    query |= {"limit": limit or LATEST, "latest": "true" if after is None else None}
    found = api.get("/api/v1/events", query)
    output.table(view.HEADINGS, map(view.row, found["events"]), "no event", json=api.as_json(found))


@server_command(event, "show")
def show_event(
    api: Api,
    position: Annotated[int, typer.Argument(help="The event's position.", min=1, max=POSITION_AT_MOST)],
) -> None:
    """Show one event on one page."""
    found = api.get(f"/api/v1/events/{position}")
    output.page(view.page(found), json=api.as_json(found))


@server_command(event, "timeline")
def timeline(
    api: Api,
    study_instance_uid: StudyUid,
    *,
    original: Annotated[
        bool,
        typer.Option("--original", help="As it was without corrections, with where entries stand that were moved."),
    ] = False,
) -> None:
    """Show one study's entries by when they occurred, after corrections."""
    path = f"/api/v1/timeline/{segment(study_instance_uid.strip(' '))}"
    found = api.get(path, {"original": "true" if original else None})
    output.table(view.HEADINGS, map(view.row, found["entries"]), "no entry", json=api.as_json(found))


# --- the server itself ---


@server_command(app)
def match(
    api: Api,
    *,
    device: Annotated[str | None, typer.Option(help="Calling AE title of the device.", callback=an_ae_title)] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="When the entry occurred: ISO 8601 or a DICOM DT as the device stamps it; now by default.",
        ),
    ] = None,
    study: Annotated[str | None, typer.Option(help="Study Instance UID.", callback=a_uid)] = None,
    patient: Annotated[str | None, typer.Option(help="Patient ID.", callback=long_text)] = None,
    issuer: Issuer = None,
    issuer_uid: Annotated[
        str | None, typer.Option(help="Universal Entity ID of that issuer.", callback=long_text)
    ] = None,
    study_id: StudyId = None,
    location: Annotated[str | None, typer.Option(help="Performed Location.", callback=long_text)] = None,
    frame: Annotated[
        str | None, typer.Option(help="Synchronization Frame of Reference UID; the server's own by default.")
    ] = None,
    substance: Annotated[bool, typer.Option("--substance", help="Of a Substance Administration.")] = False,
    admission: Annotated[
        str | None, typer.Option(help="Admission ID of an administration.", callback=long_text)
    ] = None,
    issuer_of_admission: Annotated[
        str | None, typer.Option(help="Issuer of the Admission ID.", callback=long_text)
    ] = None,
    name: Annotated[str | None, typer.Option(help="Patient's Name in an administration.", callback=long_text)] = None,
    operator: Annotated[
        str | None, typer.Option(help="Operator of an administration: VALUE^SCHEME.", callback=long_text)
    ] = None,
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
    lines: list[view.Line] = [(0, status, heading, output.status_style(status))]
    if found.get("hint"):
        lines.append((1, "to do", found["hint"], "cyan"))
    lines += output.described(
        {name: found.get(name) for name in ("occurred", "study_instance_uid", "patient")}, depth=1
    )
    lines += view.decision(found, 1, status)
    lines += view.findings(found.get("findings") or [], 1)
    output.page(lines, json=api.as_json(found))
    return 0 if status == "0000" or status.startswith("B") else 1


@server_command(app)
def reload(api: Api) -> int:
    """Have a running server read its settings again: what holds from now on, what needs a restart.

    Exit status 1 and every fault where they cannot be used; then nothing is changed.
    """
    try:
        done = api.post("/api/v1/reload")
    except HttpProblem as refused:
        if refused.status != UNPROCESSABLE:
            raise
        faults = [output.clean(fault) for fault in refused.problem.get("faults") or [refused]]
        if api.json:
            output.print_json({"applied": [], "restart": [], "fault": str(refused), "faults": faults})
        for fault in faults:
            typer.echo(f"plscp: {fault}", err=True)
        return 1
    settings = [(path, "now") for path in done["applied"]] + [(path, "after a restart") for path in done["restart"]]
    output.table(["setting", "applies"], settings, "nothing has changed", json=api.as_json(done))
    return 0
