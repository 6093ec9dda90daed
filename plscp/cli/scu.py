"""`plscp send`, `plscp simulate`, `plscp echo`: the DICOM tools, with the spellings of DCMTK and pynetdicom."""

import logging
import ssl
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from plscp.cli import output
from plscp.errors import CommandError
from plscp.scu.building import stamp
from plscp.scu.files import read
from plscp.scu.pci_case import DURATION, Subject, pci_case
from plscp.scu.playing import Played, check, play
from plscp.scu.secure import client_context
from plscp.scu.sending import VERIFICATION, Answer, Association, Peer, sop_class_of
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING


class Kind(StrEnum):
    """The two SOP Classes, in a word."""

    procedural = "procedural"
    substance = "substance"


SOP_CLASSES = {Kind.procedural: PROCEDURAL_EVENT_LOGGING, Kind.substance: SUBSTANCE_ADMINISTRATION_LOGGING}

Host = Annotated[str, typer.Argument(help="Host name or address of the SCP.")]
Port = Annotated[int, typer.Argument(help="Its port.", min=1, max=65535)]
Calling = Annotated[str, typer.Option("--aet", help="Calling AE title (-aet).")]
Called = Annotated[str, typer.Option("--aec", help="Called AE title (-aec).")]
Acse = Annotated[float, typer.Option("--ta", help="Seconds for an association to be answered (-ta).", min=0.1)]
Dimse = Annotated[float, typer.Option("--td", help="Seconds for a request to be answered (-td).", min=0.1)]
Connection = Annotated[float, typer.Option("--to", help="Seconds for the connection (-to).", min=0.1)]
Pdu = Annotated[int, typer.Option("--pdu", help="Maximum PDU length to receive; 0: no limit (-pdu).", min=0)]
Tls = Annotated[bool, typer.Option("--tls", help="Over TLS; the SCP's certificate must name the host.")]
Ca = Annotated[
    Path | None, typer.Option("--ca", help="With --tls: PEM file of the CAs to trust; absent: the system's.")
]
Cert = Annotated[Path | None, typer.Option("--cert", help="With --tls: PEM file of the own certificate.")]
Key = Annotated[
    Path | None, typer.Option("--key", help="With --cert: PEM file of its private key; absent: the same file.")
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say what goes on.")]
Debug = Annotated[bool, typer.Option("-d", "--debug", help="Show every PDU and data set.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON line per answer.")]


def echo(
    *,
    host: Host,
    port: Port,
    aet: Calling = "PLSCP_SCU",
    aec: Called = "PLSCP",
    ta: Acse = 30.0,
    td: Dimse = 30.0,
    to: Connection = 10.0,
    pdu: Pdu = 16382,
    tls: Tls = False,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    verbose: Verbose = False,
    debug: Debug = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Send one C-ECHO: is the SCP there, and does it take this AE title?"""
    chatter(verbose, debug)
    secure = secured(tls, ca, cert, key)
    with Association(Peer(host, port, aec, aet, ta, td, to, pdu, secure), [VERIFICATION]) as association:
        answer = association.echo()
    if json:
        output.print_line({"status": answer.code, "name": answer.name, "milliseconds": round(answer.milliseconds, 1)})
    elif not quiet:
        show(f"{aec} at {host}:{port}", answer)
    fail_unless(answer.performed, answer)


def send(
    *,
    host: Host,
    port: Port,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Action Information: DICOM files, or the DICOM JSON Model.")
    ],
    sop_class: Annotated[Kind | None, typer.Option(help="The SOP Class; absent: told by the content.")] = None,
    now: Annotated[bool, typer.Option("--now", help="Set the time of what happened to that of sending.")] = False,
    aet: Calling = "PLSCP_SCU",
    aec: Called = "PLSCP",
    ta: Acse = 30.0,
    td: Dimse = 30.0,
    to: Connection = 10.0,
    pdu: Pdu = 16382,
    tls: Tls = False,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    verbose: Verbose = False,
    debug: Debug = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Send recorded or written events: one N-ACTION request per file, all on one association."""
    chatter(verbose, debug)
    datasets = [(path, read(path)) for path in files]
    classes = {path: SOP_CLASSES[sop_class] if sop_class else sop_class_of(dataset) for path, dataset in datasets}
    first: Answer | None = None
    secure = secured(tls, ca, cert, key)
    with Association(Peer(host, port, aec, aet, ta, td, to, pdu, secure), sorted(set(classes.values()))) as association:
        for path, dataset in datasets:
            if now:
                stamp(dataset, datetime.now(UTC))
            answer = association.send(dataset, classes[path])
            if json:
                output.print_line({"file": str(path), **answer.as_json()})
            elif not quiet:
                show(str(path), answer)
            first = first or (None if answer.performed else answer)
    fail_unless(first is None, first)


def simulate(
    *,
    host: Host,
    port: Port,
    speed: Annotated[
        float, typer.Option(help="How much faster than life: only the pauses shrink.", min=0.1, max=10000)
    ] = 50.0,
    study_uid: Annotated[str, typer.Option(help="Study Instance UID.")] = Subject.study_instance_uid,
    study_id: Annotated[str, typer.Option(help="Study ID.")] = Subject.study_id,
    patient_id: Annotated[str, typer.Option(help="Patient ID.")] = Subject.patient_id,
    issuer: Annotated[str, typer.Option(help="Issuer of the Patient ID.")] = Subject.issuer,
    admission_id: Annotated[str, typer.Option(help="Admission ID.")] = Subject.admission_id,
    location: Annotated[str, typer.Option(help="Performed Location.")] = Subject.location,
    aet: Annotated[
        str | None, typer.Option("--aet", help="Calling AE title of all devices; absent: each its own (-aet).")
    ] = None,
    aec: Called = "PLSCP",
    ta: Acse = 30.0,
    td: Dimse = 30.0,
    to: Connection = 10.0,
    pdu: Pdu = 16382,
    tls: Tls = False,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    verbose: Verbose = False,
    debug: Debug = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Play a coronary intervention of 20 minutes from four devices (HEMO1, XRAY1, INJECT1, TABLET1) against any SCP.

    Four requests are written to be refused or corrected. Fails when a request gets no answer, or another is refused.
    """
    chatter(verbose, debug)
    subject = Subject(
        study_uid, study_id, patient_id=patient_id, issuer=issuer, admission_id=admission_id, location=location
    )
    case = pci_case(subject)
    secure = secured(tls, ca, cert, key)
    if not (json or quiet):
        minutes, seconds = divmod(round(DURATION / speed), 60)
        print(f"{len(case)} requests in {minutes} min {seconds} s, one association per device")

    def connect(device: str) -> Association:
        return Association(Peer(host, port, aec, aet or device, ta, td, to, pdu, secure))

    def told(one: Played) -> None:
        if json:
            output.print_line(as_json(one))
        elif not quiet:
            output.console().print(" ".join(line(one)), markup=False, style=output.status_style(one.answer.code))

    played = play(case, connect, speed=speed, told=told, stop=threading.Event())
    check(played, case)


def secured(tls: bool, ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """What the options of TLS say; raises CommandError, one line, where they cannot be used."""
    if not tls and (ca or cert or key):
        raise CommandError("--ca, --cert and --key go with --tls", 2)
    if key is not None and cert is None:
        raise CommandError("--key goes with --cert", 2)
    return client_context(ca, cert, key) if tls else None


def line(one: Played) -> Sequence[str]:
    """A played request in columns: time in the case, device, status, what happened."""
    minutes, seconds = divmod(round(one.request.at), 60)
    words = f"{one.answer.code} {one.answer.name}" + (f" ({one.answer.comment})" if one.answer.comment else "")
    return f"{minutes:2}:{seconds:02}", f"{one.request.device:<8}", output.clean(words), output.clean(one.request.label)


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


def show(what: str, answer: Answer) -> None:
    """One answer on a line: status with name and Error Comment, then the Action Reply."""
    parts = [f"{answer.code} {answer.name}"]
    if answer.comment:
        parts.append(answer.comment)
    if answer.study_instance_uid or answer.patient_id:
        parts.append(f"study {answer.study_instance_uid}, patient {answer.patient_id}")
    parts.append(f"{answer.milliseconds:.1f} ms")
    text = output.clean(f"{what}: {'; '.join(parts)}")
    output.console().print(text, markup=False, style=output.status_style(answer.code))


def chatter(verbose: bool, debug: bool) -> None:
    """Let pynetdicom's own log through to standard error."""
    if not (verbose or debug):
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname).1s: %(message)s"))
    logger = logging.getLogger("pynetdicom")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.INFO)


def fail_unless(good: bool, answer: Answer | None) -> None:
    """Raise CommandError, one line, for a failure status or for no answer."""
    if not good and answer is not None:
        raise CommandError(f"{answer.code} {answer.name}" + (f": {answer.comment}" if answer.comment else ""))
