"""`plscp correction`: entries that stand under the wrong study or patient are listed, moved and moved back, over the HTTP API."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

import typer

from plscp.cli import output, view
from plscp.cli.client import Api, segment, server_command
from plscp.cli.options import AE, LO, POSITION_AT_MOST, TIME, UI, group
from plscp.errors import CommandError

app = group()
app.add_typer(
    correction := group("Corrections: entries that stand under the wrong study or patient are moved."),
    name="correction",
)

CorrectionId = Annotated[str, typer.Argument(metavar="ID", help="The correction's id, or a beginning of it.")]
Why = Annotated[str | None, typer.Option(help="Why: kept, and published with what moves; required, but for a dry run.")]
Who = Annotated[str | None, typer.Option(help="Who says so, by name: kept, and published with what moves.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would move.")]
ToStudy = Annotated[str | None, UI(help="Where to: Study Instance UID.")]
ToPatient = Annotated[str | None, LO(help="Where to: Patient ID, of administrations.")]
ToIssuer = Annotated[str | None, LO(help="Issuer of that Patient ID.")]


@server_command(correction, "list")
def list_corrections(
    api: Api,
    status: Annotated[str | None, typer.Option(help="proposed, confirmed, rejected, reverted or superseded.")] = None,
    limit: Annotated[int, typer.Option(help="Most corrections.", min=1, max=1000)] = 30,
) -> None:
    """List corrections, proposed ones too, newest first."""
    found = api.get("/api/v1/corrections", {"limit": limit, "status": status})
    output.table(
        ["id", "time", "status", "device", "events", "from", "to", "why"],
        [
            (
                *output.cells(each, "id", "time", "status"),
                each.get("calling_ae", ""),
                ", ".join(map(str, each.get("positions", []))),
                "; ".join(map(view.place, each.get("from", []))),
                view.place(each.get("to") or {}),
                each.get("why") or each.get("because", ""),
            )
            for each in found["corrections"]
        ],
        "no correction",
        json=api.as_json(found),
    )


@server_command(correction, "show")
def show_correction(api: Api, correction_id: CorrectionId) -> None:
    """Show one correction, proposed or made."""
    found = api.get(_path(correction_id))
    output.page(output.described(found), json=api.as_json(found))


@server_command(correction, "make")
def make_correction(
    api: Api,
    positions: Annotated[
        list[int] | None,
        typer.Argument(metavar="[POSITION]...", help="Of the entries; absent: those that --study or --patient has."),
    ] = None,
    *,
    study: Annotated[str | None, UI(help="Entries that stand under this study.")] = None,
    patient: Annotated[str | None, LO(help="Entries of this Patient ID.")] = None,
    issuer: Annotated[str | None, LO(help="Issuer of that Patient ID.")] = None,
    device: Annotated[str | None, AE(help="Of them only those of one calling AE title.")] = None,
    since: Annotated[str | None, TIME(help="Of them only what occurred from then on: ISO 8601.")] = None,
    until: Annotated[str | None, TIME(help="Of them only what occurred until then: ISO 8601.")] = None,
    to_study: ToStudy = None,
    to_patient: ToPatient = None,
    to_issuer: ToIssuer = None,
    why: Why = None,
    who: Who = None,
    dry_run: DryRun = False,
) -> None:
    """Move entries to another study or patient; they stay as they are, and the move can be reverted."""
    if any(not 0 < position <= POSITION_AT_MOST for position in positions or ()):
        raise CommandError("correction make: a position is a number from 1 on", 2)
    chosen = _place(study, patient, issuer) | _given(calling_ae=device, since=since, until=until)
    to = _place(to_study, to_patient, to_issuer)
    if bool(positions) == bool(chosen):
        raise CommandError("correction make: say which entries: their positions, or --study or --patient", 2)
    if not to:
        raise CommandError("correction make: say where to, with --to-study or --to-patient", 2)
    _say_why("make", why, dry_run=dry_run)
    body = _given(positions=positions, entries=chosen, to=to, why=why, who=who, dry_run=dry_run)
    show_done(api, api.post("/api/v1/corrections", body))


@server_command(correction, "confirm")
def confirm_correction(
    api: Api,
    correction_id: CorrectionId,
    *,
    to_study: ToStudy = None,
    to_patient: ToPatient = None,
    to_issuer: ToIssuer = None,
    why: Annotated[str | None, typer.Option(help="Why, where it is not what the proposal says.")] = None,
    who: Who = None,
    dry_run: DryRun = False,
) -> None:
    """Do what is proposed; with a target of yours the entries go there instead."""
    body = _given(to=_place(to_study, to_patient, to_issuer), why=why, who=who, dry_run=dry_run)
    proposal = api.get(_path(correction_id))
    show_done(api, api.post(f"{_path(correction_id)}/confirm", body), proposal)


@server_command(correction, "reject")
def reject_correction(api: Api, correction_id: CorrectionId, why: Why = None, who: Who = None) -> None:
    """Say that a proposal is not to be done; the same is not proposed again."""
    _say_why("reject", why)
    show_done(api, api.post(f"{_path(correction_id)}/reject", _given(why=why, who=who)))


@server_command(correction, "revert")
def revert_correction(
    api: Api, correction_id: CorrectionId, *, why: Why = None, who: Who = None, dry_run: DryRun = False
) -> None:
    """Move back what a correction moved, where no later one has moved it."""
    _say_why("revert", why, dry_run=dry_run)
    show_done(api, api.post(f"{_path(correction_id)}/revert", _given(why=why, who=who, dry_run=dry_run)))


def _path(correction_id: str) -> str:
    return f"/api/v1/corrections/{segment(correction_id)}"


def _say_why(command: str, why: str | None, *, dry_run: bool = False) -> None:
    if not why and not dry_run:
        raise CommandError(f"correction {command}: say why, with --why", 2)


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value}


def _place(study: str | None, patient: str | None, issuer: str | None) -> dict[str, Any]:
    if issuer is not None and patient is None:
        raise CommandError("correction: an issuer goes with a Patient ID", 2)
    return _given(study_instance_uid=study, patient=_given(id=patient, issuer=issuer))


def show_done(api: Api, done: dict[str, Any], proposal: Mapping[str, Any] = MappingProxyType({})) -> None:
    """What moved, a line each; of a dry run what would move; of a proposal to replay that instead."""
    item = proposal.get("quarantine") if proposal.get("what") == "proposal.replay" else ""
    if done["dry_run"]:
        place = view.place(proposal.get("to") or {})
        no_moves = f"would be logged: refused request {item}, to {place}" if item else "nothing would move"
    else:
        no_moves = f"{done['id']} is settled, " + (f"request {item} is logged" if item else "nothing was moved")
    output.table(
        ["position", "occurred", "from", "to"],
        [
            (*output.cells(move, "position", "occurred"), view.place(move["moved_from"]), view.place(move["moved_to"]))
            for move in done["moves"]
        ],
        no_moves,
        json=api.as_json(done),
    )
    if done["moves"] and not api.json:
        said = "would move: nothing was kept" if done["dry_run"] else f"moved by correction {done['id']}"
        output.line([f"{len(done['moves'])} {said}"])
