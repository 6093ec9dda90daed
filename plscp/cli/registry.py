"""Commands about the registry of a running server: `patient`, `admission`, `room`."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Annotated, Any

import typer

from plscp.cli import output, view
from plscp.cli.client import Api, segment, server_command
from plscp.cli.options import POSITION_AT_MOST, group, long_text
from plscp.errors import CommandError, HttpProblem

app = group()
app.add_typer(patient := group("Patients: their identifiers, also to add one by hand."), name="patient")
app.add_typer(admission := group("Admissions: whose they are."), name="admission")
app.add_typer(room := group("Rooms: who is there."), name="room")

Issuer = Annotated[str | None, typer.Option(help="Issuer of the ID; needed where several have it.", callback=long_text)]
At = Annotated[
    int | None,
    typer.Option(help="As it was when this was the store's last position.", min=1, max=POSITION_AT_MOST),
]


def by(change: Mapping[str, Any] | None) -> str:
    """What brought something, on one line: who said so, in which message, at which position."""
    if not change:
        return ""
    said = " ".join(filter(None, (change["source"], change["message"])))
    return f"by {said} at {change['position']}" + (f" ({change['reason']})" if change["reason"] else "")


@server_command(patient, "show")
def show_patient(
    api: Api,
    patient_id: Annotated[str, typer.Argument(metavar="PATIENT_ID", help="Patient ID.", callback=long_text)],
    *,
    issuer: Issuer = None,
    at: At = None,
) -> None:
    """Show a patient: what names this person, since when and by what; as of a position without that."""
    path = f"/api/v1/patients/{segment(patient_id)}"
    found = api.get(path, {"issuer": issuer, "at": at}, missing=f"patient {patient_id}; see plscp patient add")
    if at is not None:
        output.page(output.described(found), json=api.as_json(found))
        return
    history = api.get(f"{path}/history", {"issuer": issuer})
    output.page(_patient(found, history), json=api.as_json(found | history))


def _patient(found: Mapping[str, Any], history: Mapping[str, Any]) -> Iterator[view.Line]:
    yield 0, output.in_brief(_identifier(found)) or "", found["name"], "bold"
    yield from output.described({name: found[name] for name in ("birth_date", "sex", "key", "placeholder")}, depth=1)
    for each in history["identifiers"]:
        named = output.in_brief(_identifier(each))
        since = f"{named}, since {output.local(each['since']['time'])} {by(each['since'])}"
        yield 1, each["role"], since, ""
    yield from changes(history["changes"])


@server_command(patient, "add")
def add_patient(
    api: Api,
    patient_id: Annotated[str, typer.Argument(metavar="PATIENT_ID", help="Patient ID.", callback=long_text)],
    *,
    issuer: Annotated[
        str | None, typer.Option(help="Issuer of the ID; absent: matching.patient_id_issuer.", callback=long_text)
    ] = None,
    name: Annotated[str | None, typer.Option(help="Family^Given.")] = None,
    birth_date: Annotated[str | None, typer.Option(help="YYYYMMDD.", callback=long_text)] = None,
    sex: Annotated[str | None, typer.Option(help="M, F or O.", callback=long_text)] = None,
) -> None:
    """Make a patient known, or say anew what is given; requests in quarantine that it concerns are judged again."""
    given = {"name": name, "birth_date": birth_date, "sex": sex}
    body = {key: value for key, value in given.items() if value is not None}
    path, query = f"/api/v1/patients/{segment(patient_id)}", {"issuer": issuer}
    try:
        known = api.get(path, query)
    except HttpProblem as problem:
        if problem.status != HTTPStatus.NOT_FOUND:
            raise
    else:
        if patient_id.strip(" ") != known["id"]:  # the API gives such an ID anew, which is a feed's to say
            now = output.in_brief(_identifier(known))
            raise CommandError(f"patient add: {patient_id} names {now} by now: see plscp patient show")
    found = api.put(path, body, query)
    output.changed(found, json=api.as_json(found))


def changes(those: list[dict[str, Any]]) -> Iterator[view.Line]:
    """Each change on a line."""
    yield 1, "changes", "", ""
    for each in those:
        yield 2, str(each["position"]), f"{output.local(each['time'])}  {each['what']}  {by(each)}", "dim"


@server_command(admission, "show")
def show_admission(
    api: Api,
    admission_id: Annotated[str, typer.Argument(metavar="ADMISSION_ID", help="Admission ID.", callback=long_text)],
    *,
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


def _room_lines(room: Mapping[str, Any]) -> Iterator[view.Line]:
    """A room and who is there; on lines and not in columns, as UIDs are long and are copied."""
    yield 0, room["location"], "" if room["studies"] else "nobody", "dim"
    for each in room["studies"]:
        yield 1, each["study_instance_uid"], output.in_brief(_identifier(each["patient"])), "green"
        yield 2, "since", f"{output.local(each['arrived'])} {by(each['arrived_by'])}", ""
        sign = each["last_sign_of_life"]
        if sign:
            yield 2, "last sign of life", f"{output.local(sign)} by {each['last_sign_by']}", ""
        if each["confirmed"]:
            yield 2, "confirmed", output.local(each["confirmed"]), ""
    last = room["left_last"]
    if last:
        yield 1, "left last", f"{last['study_instance_uid']} {output.local(last['left'])}", "dim"


def _identifier(patient: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": patient["id"], "issuer": patient["issuer"]}
