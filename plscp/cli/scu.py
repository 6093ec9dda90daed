"""`plscp echo`, `plscp send`, `plscp simulate`: DICOM tools with the options and spellings of DCMTK and pynetdicom."""

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from pydicom.uid import generate_uid

from plscp.cli import output
from plscp.cli.options import (
    AE,
    LO,
    SECONDS_AT_MOST,
    SH,
    SOP_CLASSES,
    UI,
    SopClass,
    a_host,
    a_pdu_length,
    an_identity,
    group,
    with_options,
)
from plscp.config import secretfile
from plscp.errors import CommandError
from plscp.scu.files import read
from plscp.scu.pci_case import (
    DURATION,
    XRAY,
    CaseSubject,
    FinalStatus,
    Played,
    check,
    pci_case,
    play,
    step_begun,
    step_ended,
)
from plscp.scu.requests import stamp
from plscp.scu.sending import VERIFICATION, Answer, Identity, RemoteScp, ScuAssociation, client_context, sop_class_of
from plscp.statuses import MODALITY_PERFORMED_PROCEDURE_STEP

app = group()

AE_TITLE: Final = "PLSCP_SCU"


class ScuCall(NamedTuple):
    """Whom to call and how, as which AE title where one was given; and what to print about it."""

    to: RemoteScp
    aet: str | None
    json: bool
    quiet: bool

    def peer(self, calling: str) -> RemoteScp:
        """The peer, called as `calling` unless an AE title was given."""
        return replace(self.to, calling=self.aet or calling)

    def show(self, what: str, answer: Answer, as_json: Mapping[str, Any]) -> None:
        """One answer on a line: status with name and Error Comment, then the Action Reply; as JSON, or not at all."""
        if self.json:
            output.print_json(as_json, indent=None)
        if self.json or self.quiet:
            return
        found = answer.study_instance_uid or answer.patient_id
        reply = f"study {answer.study_instance_uid}, patient {answer.patient_id}" if found else ""
        parts = (f"{answer.code} {answer.name}", answer.comment, reply, f"{answer.milliseconds:.1f} ms")
        text = output.clean(f"{what}: {'; '.join(filter(None, parts))}")
        output.console().print(text, markup=False, style=output.status_style(answer.code))

    def again(self, words: str) -> None:
        """What a device does that lost its association, on standard error."""
        if not self.quiet:
            print(output.clean(words), file=sys.stderr, flush=True)


def _call(
    *,
    host: Annotated[str, typer.Argument(help="Host name or address of the SCP.", callback=a_host)],
    port: Annotated[int, typer.Argument(help="Its port.", min=1, max=65535)],
    aet: Annotated[str | None, AE("-aet", "--aet", help="Calling AE title; absent: the tool's own.")] = None,
    aec: Annotated[str, AE("-aec", "--aec", help="Called AE title.")] = "PLSCP",
    ta: Annotated[
        float,
        typer.Option("-ta", "--ta", help="Seconds for an association to be answered.", min=0.1, max=SECONDS_AT_MOST),
    ] = 30.0,
    td: Annotated[
        float, typer.Option("-td", "--td", help="Seconds for a request to be answered.", min=0.1, max=SECONDS_AT_MOST)
    ] = 30.0,
    to: Annotated[
        float, typer.Option("-to", "--to", help="Seconds for the connection.", min=0.1, max=SECONDS_AT_MOST)
    ] = 10.0,
    pdu: Annotated[
        int,
        typer.Option("-pdu", "--pdu", help="Maximum PDU length to receive; 0: no limit.", min=0, callback=a_pdu_length),
    ] = 16382,
    tls: Annotated[bool, typer.Option("--tls", help="Over TLS; the SCP's certificate must name the host.")] = False,
    ca: Annotated[
        Path | None, typer.Option(help="With --tls: PEM file of the CAs to trust; absent: the system's.")
    ] = None,
    cert: Annotated[Path | None, typer.Option(help="With --tls: PEM file of the own certificate.")] = None,
    key: Annotated[
        Path | None, typer.Option(help="With --cert: PEM file of its private key; absent: the same file.")
    ] = None,
    username: Annotated[
        str | None,
        typer.Option("-usr", "--usr", "--username", help="User identity to negotiate.", callback=an_identity),
    ] = None,
    passcode_file: Annotated[Path | None, typer.Option(help="With --username: file that holds the passcode.")] = None,
    pos_response: Annotated[
        bool, typer.Option("-rsp", "--rsp", "--pos-response", help="With --username: the SCP must confirm it.")
    ] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say what goes on.")] = False,
    debug: Annotated[bool, typer.Option("-d", "--debug", help="Show every PDU and data set.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON line per answer.")] = False,
) -> ScuCall:
    _let_through(verbose, debug)
    if not tls and (ca or cert or key):
        raise CommandError("--ca, --cert and --key go with --tls", 2)
    if key is not None and cert is None:
        raise CommandError("--key goes with --cert", 2)
    secure = client_context(ca, cert, key) if tls else None
    identity = None
    if username is not None:
        passcode = None if passcode_file is None else secretfile.lines("--passcode-file", str(passcode_file), 1)[0]
        identity = Identity(username, passcode, pos_response)
    elif passcode_file is not None or pos_response:
        raise CommandError("--passcode-file and --pos-response go with --username", 2)
    return ScuCall(RemoteScp(host, port, aec, aet or AE_TITLE, ta, td, to, pdu, secure, identity), aet, json, quiet)


scu_command = with_options(_call, first=2)
"""Makes a function a command HOST PORT ... of a group: its first argument is the ScuCall."""


def _let_through(verbose: bool, debug: bool) -> None:
    """Let pynetdicom's own log through to standard error; or no longer, for a later command in the same process."""
    logger = logging.getLogger("pynetdicom")
    for former in [handler for handler in logger.handlers if handler.name == "plscp"]:
        logger.removeHandler(former)
    if verbose or debug:
        handler = logging.StreamHandler(sys.stderr)
        handler.name = "plscp"
        handler.addFilter(_without_passcode)
        handler.setFormatter(logging.Formatter("%(levelname).1s: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG if debug else logging.INFO)


def _without_passcode(record: logging.LogRecord) -> bool:
    """Take the passcode out of the A-ASSOCIATE-RQ that pynetdicom describes."""
    if str(record.msg).startswith("  Password: "):
        record.msg = "  Password: [***]"
    return True


def _fail_unless_performed(answer: Answer | None) -> None:
    """Raise CommandError, one line, for a failure status or for no answer; None: all went well."""
    if answer is not None and not answer.performed:
        raise CommandError(f"{answer.code} {answer.name}" + (f": {answer.comment}" if answer.comment else ""))


@scu_command(app)
def echo(call: ScuCall) -> None:
    """Send one C-ECHO: is the SCP there, and does it take this AE title?"""
    peer = call.to
    with ScuAssociation(peer, [VERIFICATION]) as association:
        answer = association.echo()
    found = {"status": answer.code, "name": answer.name, "milliseconds": round(answer.milliseconds, 1)}
    call.show(f"{peer.called} at {peer.host}:{peer.port}", answer, found)
    _fail_unless_performed(answer)


@scu_command(app)
def send(
    call: ScuCall,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Action Information: DICOM, DICOM JSON, or JSON in typed form."),
    ],
    sop_class: Annotated[SopClass | None, typer.Option(help="The SOP Class; absent: told by the content.")] = None,
    now: Annotated[bool, typer.Option("--now", help="Set the time of what happened to that of sending.")] = False,
) -> None:
    """Send recorded or written events: one N-ACTION request per file, all on one association."""
    datasets = [(path, read(path)) for path in files]
    classes = {path: SOP_CLASSES[sop_class] if sop_class else sop_class_of(dataset) for path, dataset in datasets}
    first: Answer | None = None
    with ScuAssociation(call.to, sorted(set(classes.values()))) as association:
        for path, dataset in datasets:
            if now:
                stamp(dataset, datetime.now(UTC))
            answer = association.send(dataset, classes[path])
            call.show(str(path), answer, {"file": str(path), **answer.as_json()})
            first = first or (None if answer.performed else answer)
    _fail_unless_performed(first)


@scu_command(app)
def simulate(
    call: ScuCall,
    *,
    speed: Annotated[
        float, typer.Option(help="How much faster than life: only the pauses shrink.", min=0.1, max=10000)
    ] = 50.0,
    study_uid: Annotated[str, UI(help="Study Instance UID.")] = CaseSubject.study_instance_uid,
    study_id: Annotated[str, SH(help="Study ID.")] = CaseSubject.study_id,
    patient_id: Annotated[str, LO(help="Patient ID.")] = CaseSubject.patient_id,
    issuer: Annotated[str, LO(help="Issuer of the Patient ID.")] = CaseSubject.issuer,
    admission_id: Annotated[str, LO(help="Admission ID.")] = CaseSubject.admission_id,
    location: Annotated[str, LO(help="Performed Location.")] = CaseSubject.location,
    mpps: Annotated[
        bool,
        typer.Option(
            "--mpps", help="XRAY1 reports its procedure step: it opens the study before the case, and closes it after."
        ),
    ] = False,
) -> None:
    """Play a coronary intervention of 20 minutes from four devices (HEMO1, XRAY1, INJECT1, TABLET1) against any SCP.

    The SCP must know the study and its patient (plscp study open), or be told with --mpps. Four requests are
    written to be refused or corrected. A device whose association ends associates again, and sends what was not
    answered again. Fails when a request gets no answer, or another is refused.
    """
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
        request, answer = one.request, one.answer
        if call.json:
            sent = one.sent.isoformat(timespec="microseconds")
            shown = {"at": request.at, "device": request.device, "sent": sent, "what": request.label}
            shown |= {"entries": request.count, "expected": f"{request.expect:04X}", **answer.as_json()}
            output.print_json(shown, indent=None)
        elif not call.quiet:
            words = f"{answer.code} {answer.name}" + (f" ({answer.comment})" if answer.comment else "")
            text = f"{output.clock(request.at)} {request.device:<8} {output.clean(words)} {output.clean(request.label)}"
            output.console().print(text, markup=False, style=output.status_style(answer.code))

    with _procedure_step(call, subject) if mpps else contextlib.nullcontext():
        played = play(case, connect, speed=speed, told=told, again=call.again)
        check(played, case)


@contextlib.contextmanager
def _procedure_step(call: ScuCall, subject: CaseSubject) -> Iterator[None]:
    """A procedure step of the X-ray system around a case: completed with it, discontinued where it fails."""
    uid = str(generate_uid(prefix=None))
    with ScuAssociation(call.peer(XRAY), [MODALITY_PERFORMED_PROCEDURE_STEP]) as association:

        def told(said: str, answer: Answer) -> None:
            call.show(f"procedure step {uid} {said}", answer, {"step": uid, "said": said, **answer.as_json()})
            _fail_unless_performed(answer)

        told("IN PROGRESS", association.create_step(step_begun(subject, XRAY, datetime.now(UTC)), uid))
        final: FinalStatus = "DISCONTINUED"
        try:
            yield
            final = "COMPLETED"
        finally:
            ended = partial(association.set_step, step_ended(final, datetime.now(UTC)), uid)
            told(final, association.until_answered(ended, lambda why: call.again(f"{XRAY}: {why}"), threading.Event()))
