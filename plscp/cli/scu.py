"""The options that every DICOM tool has, with the spellings of DCMTK and pynetdicom, and `plscp echo`."""

import logging
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, TextIO

import typer

from plscp.cli import output
from plscp.cli.options import SECONDS_AT_MOST, a_host, an_ae_title, an_identity, group, with_options
from plscp.cli.options import pdu as pdu_length
from plscp.config import secretfile
from plscp.errors import CommandError
from plscp.scu.sending import VERIFICATION, Answer, Identity, RemoteScp, ScuAssociation, client_context

app = group()

AE_TITLE: Final = "PLSCP_SCU"


class Call(NamedTuple):
    """Whom to call and how, and what to print about it.

    Attributes:
        aet: calling AE title, where one was given.
        json, quiet: what `--json` and `-q` say.
    """

    to: RemoteScp
    aet: str | None
    json: bool
    quiet: bool

    def peer(self, calling: str = AE_TITLE) -> RemoteScp:
        """The peer, called as `calling` unless an AE title was given."""
        return replace(self.to, calling=self.aet or calling)

    def show(self, what: str, answer: Answer, as_json: Mapping[str, Any]) -> None:
        """One answer on a line: status with name and Error Comment, then the Action Reply; as JSON, or not at all."""
        if self.json:
            output.print_line(as_json)
        if self.json or self.quiet:
            return
        parts = [f"{answer.code} {answer.name}"]
        if answer.comment:
            parts.append(answer.comment)
        if answer.study_instance_uid or answer.patient_id:
            parts.append(f"study {answer.study_instance_uid}, patient {answer.patient_id}")
        parts.append(f"{answer.milliseconds:.1f} ms")
        text = output.clean(f"{what}: {'; '.join(parts)}")
        output.console().print(text, markup=False, style=output.status_style(answer.code))


def _call(
    *,
    host: Annotated[str, typer.Argument(help="Host name or address of the SCP.", callback=a_host)],
    port: Annotated[int, typer.Argument(help="Its port.", min=1, max=65535)],
    aet: Annotated[
        str | None, typer.Option(help="Calling AE title (-aet); absent: the tool's own.", callback=an_ae_title)
    ] = None,
    aec: Annotated[str, typer.Option(help="Called AE title (-aec).", callback=an_ae_title)] = "PLSCP",
    ta: Annotated[
        float,
        typer.Option(help="Seconds for an association to be answered (-ta).", min=0.1, max=SECONDS_AT_MOST),
    ] = 30.0,
    td: Annotated[
        float, typer.Option(help="Seconds for a request to be answered (-td).", min=0.1, max=SECONDS_AT_MOST)
    ] = 30.0,
    to: Annotated[float, typer.Option(help="Seconds for the connection (-to).", min=0.1, max=SECONDS_AT_MOST)] = 10.0,
    pdu: Annotated[
        int,
        typer.Option(help="Maximum PDU length to receive; 0: no limit (-pdu).", min=0, callback=pdu_length),
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
        str | None, typer.Option("--username", "--usr", help="User identity to negotiate (-usr).", callback=an_identity)
    ] = None,
    passcode_file: Annotated[Path | None, typer.Option(help="With --username: file that holds the passcode.")] = None,
    pos_response: Annotated[
        bool, typer.Option("--pos-response", "--rsp", help="With --username: the SCP must confirm it (-rsp).")
    ] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say what goes on.")] = False,
    debug: Annotated[bool, typer.Option("-d", "--debug", help="Show every PDU and data set.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON line per answer.")] = False,
) -> Call:
    chatter(verbose, debug)
    if not tls and (ca or cert or key):
        raise CommandError("--ca, --cert and --key go with --tls", 2)
    if key is not None and cert is None:
        raise CommandError("--key goes with --cert", 2)
    secure = client_context(ca, cert, key) if tls else None
    identity = identified(username, passcode_file, pos_response)
    return Call(RemoteScp(host, port, aec, aet or AE_TITLE, ta, td, to, pdu, secure, identity), aet, json, quiet)


ScuCommand = with_options(_call, first=2)
"""A command HOST PORT ...: its `context.obj` is the Call."""


def identified(username: str | None, passcode_file: Path | None, confirmed: bool) -> Identity | None:
    """What the options of user identity say; raises CommandError or ConfigError, one line, where they cannot be used."""
    if username is None:
        if passcode_file is not None or confirmed:
            raise CommandError("--passcode-file and --pos-response go with --username", 2)
        return None
    passcode = None if passcode_file is None else secretfile.lines("--passcode-file", str(passcode_file), 1)[0]
    return Identity(username, passcode, confirmed)


class _Chatter(logging.StreamHandler[TextIO]):
    """Writes pynetdicom's own log; a class of its own, so that a later command in the same process finds it."""


def chatter(verbose: bool, debug: bool) -> None:
    """Let pynetdicom's own log through to standard error, or no longer."""
    logger = logging.getLogger("pynetdicom")
    for former in [handler for handler in logger.handlers if isinstance(handler, _Chatter)]:
        logger.removeHandler(former)
    if not (verbose or debug):
        return
    handler = _Chatter(sys.stderr)
    handler.addFilter(_without_passcode)
    handler.setFormatter(logging.Formatter("%(levelname).1s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.INFO)


def _without_passcode(record: logging.LogRecord) -> bool:
    """Take the passcode out of the A-ASSOCIATE-RQ that pynetdicom describes."""
    if str(record.msg).startswith("  Password: "):
        record.msg = "  Password: [***]"
    return True


def fail_unless_performed(answer: Answer | None) -> None:
    """Raise CommandError, one line, for a failure status or for no answer; None: all went well."""
    if answer is not None and not answer.performed:
        raise CommandError(f"{answer.code} {answer.name}" + (f": {answer.comment}" if answer.comment else ""))


@app.command(cls=ScuCommand)
def echo(context: typer.Context) -> None:
    """Send one C-ECHO: is the SCP there, and does it take this AE title?"""
    call: Call = context.obj
    peer = call.peer()
    with ScuAssociation(peer, [VERIFICATION]) as association:
        answer = association.echo()
    found = {"status": answer.code, "name": answer.name, "milliseconds": round(answer.milliseconds, 1)}
    call.show(f"{peer.called} at {peer.host}:{peer.port}", answer, found)
    fail_unless_performed(answer)
