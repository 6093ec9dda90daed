"""Commands about the registry of a running server: `study`, `patient`, `admission`, `room`, `step`, `operator`."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Annotated, Any

import typer

from plscp.cli import output
from plscp.cli.client import Api, given, segment, server_command
from plscp.cli.options import LO, POSITION_AT_MOST, SH, StudyUid, a_uid, group, long_text, short_text
from plscp.errors import CommandError, HttpProblem

app = group()
app.add_typer(study := group("Studies: what is open where."), name="study")
app.add_typer(patient := group("Patients: their identifiers, also to add one by hand."), name="patient")
app.add_typer(admission := group("Admissions: whose they are."), name="admission")
app.add_typer(room := group("Rooms: who is there."), name="room")
app.add_typer(step := group("Procedure steps: what modalities reported."), name="step")
app.add_typer(operator := group("Operators: who may add to the Medication Administration Record."), name="operator")

PatientId = Annotated[str, typer.Argument(metavar="PATIENT_ID", help="Patient ID.", callback=long_text)]
Issuer = Annotated[str | None, LO(help="Issuer of the ID; needed where several have it.")]
At = Annotated[
    int | None,
    typer.Option(help="As it was when this was the store's last position.", min=1, max=POSITION_AT_MOST),
]
CodeValue = Annotated[str, typer.Argument(metavar="VALUE", help="Code Value, as devices send it.", callback=long_text)]
CodingScheme = Annotated[
    str, typer.Argument(metavar="SCHEME", help="Coding Scheme Designator, as devices send it.", callback=short_text)
]


@server_command(study, "list")
def list_studies(
    api: Api,
    status: Annotated[str | None, typer.Option(help="scheduled, open, closed or cancelled.")] = None,
    location: Annotated[str | None, LO(help="Last at this location, by any of its names.")] = None,
) -> None:
    """List studies."""
    found = api.get("/api/v1/studies", {"status": status, "location": location})
    output.warn(found)
    output.table(
        ["study", "study id", "patient", "location", "status", "opened", "closed"],
        [
            (
                *output.cells(each, "study_instance_uid", "study_id", "patient", "location"),
                (each["status"], output.study_style(each["status"])),
                *output.cells(each, "opened", "closed"),
            )
            for each in found["studies"]
        ],
        "no study",
        json=api.as_json(found),
    )


@server_command(study, "show")
def show_study(api: Api, study_instance_uid: StudyUid, at: At = None) -> None:
    """Show a study: where it was when, its openings, by what each came; as of a position without that."""
    path = _study(study_instance_uid) + ("/history" if at is None else "")
    found = api.get(path, {"at": at}, missing=_missing(study_instance_uid))
    output.page(output.described(found) if at is not None else _study_lines(found), json=api.as_json(found))


def _study_lines(found: Mapping[str, Any]) -> Iterator[output.Line]:
    yield 0, found["study_instance_uid"], found["status"], output.study_style(found["status"])
    about = ("patient", "study_id", "accession_number", "location", "planned", "steps")
    yield from output.described({name: found[name] for name in about}, depth=1)
    for each in found["stays"]:
        left = f" to {output.local(each['left'])} {_by(each['left_by'])}" if each["left"] else ""
        confirmed = f", confirmed {output.local(each['confirmed'])}" if each.get("confirmed") else ""
        arrived = f"{output.local(each['arrived'])} {_by(each['arrived_by'])}"
        yield 1, each["location"] or "nowhere", f"{arrived}{left}{confirmed}", ""
    for each in found["openings"]:
        closed = f" to {output.local(each['closed'])} {_by(each['closed_by'])}" if each["closed"] else ""
        yield 1, "open", f"{output.local(each['opened_by']['time'])} {_by(each['opened_by'])}{closed}", ""
    yield from _changes(found["changes"])


@server_command(study, "open")
def open_study(
    api: Api,
    study_instance_uid: StudyUid,
    *,
    patient: Annotated[str | None, LO(help="Patient ID; absent: the study gets one of its own.")] = None,
    issuer: Annotated[str | None, LO(help="Issuer of the Patient ID.")] = None,
    location: Annotated[str | None, LO(help="Where the study takes place.")] = None,
    study_id: Annotated[str | None, SH(help="Study ID.")] = None,
    accession_number: Annotated[str | None, LO(help="Accession Number.")] = None,
) -> None:
    """Open a study, or open it again."""
    if issuer is not None and patient is None:
        raise CommandError("study open: --issuer goes with --patient", 2)
    named = None if patient is None else given({"id": patient, "issuer": issuer})
    body = {"status": "open", "patient": named, "location": location, "study_id": study_id}
    body |= {"accession_number": accession_number}
    found = api.put(_study(study_instance_uid), given(body))
    output.changed(found, json=api.as_json(found))


@server_command(study, "close")
def close_study(api: Api, study_instance_uid: StudyUid) -> None:
    """Close a study; it takes events for the grace."""
    found = api.post(f"{_study(study_instance_uid)}/close", missing=_missing(study_instance_uid))
    output.changed(found, json=api.as_json(found))


def _study(study_instance_uid: str) -> str:
    return f"/api/v1/studies/{segment(study_instance_uid.strip(' '))}"


def _missing(study_instance_uid: str) -> str:
    return f"study {study_instance_uid}; see plscp study list and plscp study open"


def _by(change: Mapping[str, Any] | None) -> str:
    """What brought something: who said so, in which message, at which position."""
    if not change:
        return ""
    said = " ".join(filter(None, (change["source"], change["message"])))
    return f"by {said} at {change['position']}" + (f" ({change['reason']})" if change["reason"] else "")


@server_command(patient, "show")
def show_patient(api: Api, patient_id: PatientId, issuer: Issuer = None, at: At = None) -> None:
    """Show a patient: what names this person, since when and by what; as of a position without that."""
    path = f"/api/v1/patients/{segment(patient_id)}"
    found = api.get(path, {"issuer": issuer, "at": at}, missing=f"patient {patient_id}; see plscp patient add")
    if at is not None:
        output.page(output.described(found), json=api.as_json(found))
        return
    history = api.get(f"{path}/history", {"issuer": issuer})
    output.page(_patient(found, history), json=api.as_json(found | history))


def _patient(found: Mapping[str, Any], history: Mapping[str, Any]) -> Iterator[output.Line]:
    yield 0, _identifier(found), found["name"], "bold"
    yield from output.described({name: found[name] for name in ("birth_date", "sex", "key", "placeholder")}, depth=1)
    for each in history["identifiers"]:
        since = f"{_identifier(each)}, since {output.local(each['since']['time'])} {_by(each['since'])}"
        yield 1, each["role"], since, ""
    yield from _changes(history["changes"])


@server_command(patient, "add")
def add_patient(
    api: Api,
    patient_id: PatientId,
    *,
    issuer: Annotated[str | None, LO(help="Issuer of the ID; absent: matching.patient_id_issuer.")] = None,
    name: Annotated[str | None, typer.Option(help="Family^Given.")] = None,
    birth_date: Annotated[str | None, LO(help="YYYYMMDD.")] = None,
    sex: Annotated[str | None, LO(help="M, F or O.")] = None,
) -> None:
    """Make a patient known, or say anew what is given; requests in quarantine that it concerns are judged again."""
    body = given({"name": name, "birth_date": birth_date, "sex": sex})
    path, query = f"/api/v1/patients/{segment(patient_id)}", {"issuer": issuer}
    try:
        known = api.get(path, query)
    except HttpProblem as problem:
        if problem.status != HTTPStatus.NOT_FOUND:
            raise
    else:
        if patient_id.strip(" ") != known["id"]:  # the API gives such an ID anew, which is a feed's to say
            now = _identifier(known)
            raise CommandError(f"patient add: {patient_id} names {now} by now: see plscp patient show")
    found = api.put(path, body, query)
    output.changed(found, json=api.as_json(found))


def _changes(those: list[dict[str, Any]]) -> Iterator[output.Line]:
    yield 1, "changes", "", ""
    for each in those:
        yield 2, str(each["position"]), f"{output.local(each['time'])}  {each['what']}  {_by(each)}", "dim"


@server_command(admission, "show")
def show_admission(
    api: Api,
    admission_id: Annotated[str, typer.Argument(metavar="ADMISSION_ID", help="Admission ID.", callback=long_text)],
    issuer: Issuer = None,
    at: At = None,
) -> None:
    """Show an admission, now or as it was at a position."""
    missing = f"admission {admission_id}; a feed or the registry file would name it"
    found = api.get(f"/api/v1/admissions/{segment(admission_id)}", {"issuer": issuer, "at": at}, missing=missing)
    output.page(output.described(found), json=api.as_json(found))


@server_command(room, "list")
def list_rooms(api: Api) -> None:
    """List the rooms: who is there since when and by what, the last sign of life, and who left last."""
    found = api.get("/api/v1/rooms")
    if not found["rooms"] and not api.json:
        output.line(["no room is configured, and no study is anywhere"])
        return
    output.page((line for each in found["rooms"] for line in _room_lines(each)), json=api.as_json(found))


def _room_lines(room: Mapping[str, Any]) -> Iterator[output.Line]:
    """A room and who is there; on lines and not in columns, as UIDs are long and are copied."""
    yield 0, room["location"], "" if room["studies"] else "nobody", "dim"
    for each in room["studies"]:
        yield 1, each["study_instance_uid"], _identifier(each["patient"]), "green"
        yield 2, "since", f"{output.local(each['arrived'])} {_by(each['arrived_by'])}", ""
        if sign := each["last_sign_of_life"]:
            yield 2, "last sign of life", f"{output.local(sign)} by {each['last_sign_by']}", ""
        if each["confirmed"]:
            yield 2, "confirmed", output.local(each["confirmed"]), ""
    if last := room["left_last"]:
        yield 1, "left last", f"{last['study_instance_uid']} {output.local(last['left'])}", "dim"


def _identifier(patient: Mapping[str, Any]) -> str:
    return output.in_brief({"id": patient["id"], "issuer": patient["issuer"]}) or ""


@server_command(step, "list")
def list_steps(
    api: Api,
    every: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
) -> None:
    """List the procedure steps that hold a study open."""
    found = api.get("/api/v1/steps", {"status": None if every else "in-progress"})
    if not found["steps"] and not api.json:
        output.line(["no procedure step" if every else "no procedure step is in progress"])
        return
    output.page((line for each in found["steps"] for line in _step_lines(each)), json=api.as_json(found))


def _step_lines(step: Mapping[str, Any]) -> Iterator[output.Line]:
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


@server_command(operator, "list")
def list_operators(api: Api) -> None:
    """List operators, those that were taken out as well."""
    shown = api.get("/api/v1/operators")
    while "next" in shown:
        more = api.get("/api/v1/operators", {"after": shown.pop("next")})
        shown |= more | {"operators": shown["operators"] + more["operators"]}
    output.table(
        ["value", "scheme", "status", "locations", "from", "until", "said by"],
        [
            (
                *output.cells(each, "value", "scheme"),
                (each["status"], "" if each["status"] == "active" else "dim"),
                ", ".join(each["locations"]) or "everywhere",
                *output.cells(each, "valid_from", "valid_until", "said_by"),
            )
            for each in shown["operators"]
        ],
        "no operator" + ("" if shown["policy"] == "list" else ": anyone may add, since the policy is not list"),
        json=api.as_json(shown),
    )


@server_command(operator, "add")
def add_operator(
    api: Api,
    value: CodeValue,
    scheme: CodingScheme,
    *,
    location: Annotated[
        list[str] | None, typer.Option(help="Only at this location; may be given again. Absent: everywhere.")
    ] = None,
    valid_from: Annotated[str | None, LO("--from", help="From when, ISO 8601; without offset: UTC.")] = None,
    valid_until: Annotated[str | None, LO("--until", help="Until when, ISO 8601; without offset: UTC.")] = None,
) -> None:
    """Take an operator in, or say anew where and when the code is valid."""
    body = {"status": "active", "locations": location or [], "valid_from": valid_from, "valid_until": valid_until}
    found = api.put(_operator(value, scheme), body)
    output.changed(found, json=api.as_json(found))


@server_command(operator, "remove")
def remove_operator(api: Api, value: CodeValue, scheme: CodingScheme) -> None:
    """Take an operator out: from now on administrations with that code alone are refused."""
    found = api.delete(_operator(value, scheme))
    output.changed(found, json=api.as_json(found))


def _operator(value: str, scheme: str) -> str:
    return f"/api/v1/operators/{segment(scheme.strip(' '))}/{segment(value.strip(' '))}"
