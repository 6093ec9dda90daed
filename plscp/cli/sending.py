"""`plscp send`, `plscp simulate`: events from files, and a whole case, against any SCP."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from plscp.cli import output
from plscp.cli.options import SOP_CLASSES, Kind, a_uid, group, long_text, short_text
from plscp.cli.scu import Call, ScuCommand, fail_unless_performed
from plscp.scu.files import read
from plscp.scu.pci_case import DURATION, CaseSubject, Played, check, pci_case, play
from plscp.scu.requests import stamp
from plscp.scu.sending import Answer, ScuAssociation, sop_class_of

app = group()


@app.command(cls=ScuCommand)
def send(
    context: typer.Context,
    *,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Action Information: DICOM, DICOM JSON, or JSON in typed form."),
    ],
    sop_class: Annotated[Kind | None, typer.Option(help="The SOP Class; absent: told by the content.")] = None,
    now: Annotated[bool, typer.Option("--now", help="Set the time of what happened to that of sending.")] = False,
) -> None:
    """Send recorded or written events: one N-ACTION request per file, all on one association."""
    call: Call = context.obj
    datasets = [(path, read(path)) for path in files]
    classes = {path: SOP_CLASSES[sop_class] if sop_class else sop_class_of(dataset) for path, dataset in datasets}
    first: Answer | None = None
    with ScuAssociation(call.peer(), sorted(set(classes.values()))) as association:
        for path, dataset in datasets:
            if now:
                stamp(dataset, datetime.now(UTC))
            answer = association.send(dataset, classes[path])
            call.show(str(path), answer, {"file": str(path), **answer.as_json()})
            first = first or (None if answer.performed else answer)
    fail_unless_performed(first)


@app.command(cls=ScuCommand)
def simulate(
    context: typer.Context,
    *,
    speed: Annotated[
        float, typer.Option(help="How much faster than life: only the pauses shrink.", min=0.1, max=10000)
    ] = 50.0,
    study_uid: Annotated[
        str, typer.Option(help="Study Instance UID.", callback=a_uid)
    ] = CaseSubject.study_instance_uid,
    study_id: Annotated[str, typer.Option(help="Study ID.", callback=short_text)] = CaseSubject.study_id,
    patient_id: Annotated[str, typer.Option(help="Patient ID.", callback=long_text)] = CaseSubject.patient_id,
    issuer: Annotated[str, typer.Option(help="Issuer of the Patient ID.", callback=long_text)] = CaseSubject.issuer,
    admission_id: Annotated[str, typer.Option(help="Admission ID.", callback=long_text)] = CaseSubject.admission_id,
    location: Annotated[str, typer.Option(help="Performed Location.", callback=long_text)] = CaseSubject.location,
) -> None:
    """Play a coronary intervention of 20 minutes from four devices (HEMO1, XRAY1, INJECT1, TABLET1) against any SCP.

    Four requests are written to be refused or corrected. Fails when a request gets no answer, or another is refused.
    """
    call: Call = context.obj
    subject = CaseSubject(
        study_uid, study_id, patient_id=patient_id, issuer=issuer, admission_id=admission_id, location=location
    )
    case = pci_case(subject)
    if not (call.json or call.quiet):
        minutes, seconds = divmod(round(DURATION / speed), 60)
        print(f"{len(case)} requests in {minutes} min {seconds} s, one association per device")

    def connect(device: str) -> ScuAssociation:
        return ScuAssociation(call.peer(device))

    def told(one: Played) -> None:
        if call.json:
            output.print_line(as_json(one))
        elif not call.quiet:
            output.console().print(" ".join(line(one)), markup=False, style=output.status_style(one.answer.code))

    played = play(case, connect, speed=speed, told=told, stop=threading.Event())
    check(played, case)


def line(one: Played) -> Sequence[str]:
    """A played request in columns: time in the case, device, status, what happened."""
    words = f"{one.answer.code} {one.answer.name}" + (f" ({one.answer.comment})" if one.answer.comment else "")
    return (
        output.clock(one.request.at),
        f"{one.request.device:<8}",
        output.clean(words),
        output.clean(one.request.label),
    )


def as_json(one: Played) -> dict[str, Any]:
    """A played request as `simulate --json` prints it."""
    return {
        "at": one.request.at,
        "device": one.request.device,
        "sent": one.sent.isoformat(timespec="microseconds"),
        "what": one.request.label,
        "entries": one.request.count,
        "expected": f"{one.request.expect:04X}",
        **one.answer.as_json(),
    }
