"""`plscp explain`: a request checked off line, and its content tree with every finding in its place; `plscp example`: one to start from."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from plscp.cli import output
from plscp.cli.explaining import as_json, explained
from plscp.cli.options import LO, SOP_CLASSES, UI, Everything, Json, SopClass, group
from plscp.cli.tree import draw
from plscp.config.values import nearest
from plscp.errors import CommandError
from plscp.records.brief import said
from plscp.records.examples import EXAMPLE_OBSERVER, administration, entries
from plscp.scu import pci_case as case
from plscp.scu.files import encoded
from plscp.scu.requests import ProcedureLogRequest, SubstanceAdministrationRequest, device_observer, moment
from plscp.templates.entries import ENTRY_KINDS, Untyped
from plscp.templates.substance import SubstanceAdministered

app = group()

A_STUDY = "1.2.3"
"""Study Instance UID where no identifier is given: of no hospital's study."""


@app.command()
def explain(
    file: Annotated[
        Path, typer.Argument(help="Action Information: DICOM, DICOM JSON, JSON in typed form; or a published record.")
    ],
    strict: Annotated[bool, typer.Option("--strict", help="As for a device whose validation is strict.")] = False,
    sop_class: Annotated[SopClass | None, typer.Option(help="The SOP Class; absent: told by the content.")] = None,
    everything: Everything = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> int:
    """Check a request off line: draw its content tree, the row each item matched, each finding in its place.

    Exit status 0: accepted, if a study or patient is found for it; 1: refused; 2: the file cannot be read.
    """
    made = explained(encoded(file), SOP_CLASSES[sop_class] if sop_class else None, strict=strict)
    if made is None:
        raise CommandError(f"{file}: neither a log (Content Sequence) nor an administration is in it", 2)
    if json:
        output.print_json({"file": str(file), **as_json(made)})
    else:
        out = output.console()
        draw(out, made, str(file), fold=out.is_terminal and not everything)
    return 0 if made.status.performed else 1


def _examples() -> dict[str, Any]:
    """The published example of each kind by the kind's name, and what else a lab reports most, from the demo's case."""
    made = {entry.kind.replace("_", "-"): entry for entry in [*entries(), administration()]}
    return made | {
        "contrast": case.shot("8", "4"),
        "balloon": case.inflated(1, "10", "20"),
        "stent": case.intervention("DeviceDeployed", 2, "Stent", {"inflation_pressure": ("14", "atm")}),
    }


@app.command()
def example(
    kind: Annotated[str | None, typer.Argument(help="What happened, as the list names it.")] = None,
    *,
    study: Annotated[str | None, UI(help=f"Study Instance UID; {A_STUDY} where nothing else names a study.")] = None,
    patient: Annotated[str | None, LO(help="Patient ID.")] = None,
    location: Annotated[str | None, LO(help="Performed Location.")] = None,
    every: Annotated[bool, typer.Option("--list", help="List what there is; so without KIND.")] = False,
    json: Json = False,
) -> None:
    """Print an event that happened now, as typed JSON: `plscp explain` checks it, `plscp send` sends it.

    One identifier is enough where it names one open study. Only the identifiers that are given are in the event.
    """
    made = _examples()
    given = {"study_instance_uid": study, "patient_id": patient, "performed_location": location}
    if kind is None and any(given.values()):
        raise CommandError("example: which kind of event? See plscp example --list", 2)
    if kind is None or every:
        headings = ("example", "what happened", "template")
        tables = {kind: f"{each.head.tid} {each.head.name}" for kind, each in ENTRY_KINDS.items()}
        rows = [(name, _happened(entry), tables.get(entry.kind, "")) for name, entry in made.items()]
        found = [dict(zip(headings, row, strict=True)) for row in rows]
        output.table(headings, rows, "", json=found if json else None)
        return
    entry = made.get(kind.lower().replace("_", "-"))
    if entry is None:
        near = next((f'; did you mean "{name}"?' for name in made if kind.lower() in _happened(made[name]).lower()), "")
        near = near or nearest(kind, made) or "; see plscp example --list"
        raise CommandError(f"example: no example {kind}{near}", 2)
    said = {name: value for name, value in given.items() if value} or {"study_instance_uid": A_STUDY}
    output.print_json(_filled(_request(entry, said).model_dump(mode="json")))


def _request(entry: Any, given: dict[str, str]) -> ProcedureLogRequest | SubstanceAdministrationRequest:
    """The request of an entry, now, that names what is given."""
    now = moment(datetime.now(UTC))
    if isinstance(entry, SubstanceAdministered):
        if set(given) != {"patient_id"}:
            wanted = "an administration names its patient, and no study or place: --patient alone"
            raise CommandError(f"example: {wanted}", 2)
        entry.administered = now
        return SubstanceAdministrationRequest(**given, administration=entry)
    (entry.item if isinstance(entry, Untyped) else entry).observation_datetime = now
    return ProcedureLogRequest(**given, context=device_observer(*EXAMPLE_OBSERVER), entries=[entry])


def _happened(entry: Any) -> str:
    return said(entry.model_dump()) if isinstance(entry, SubstanceAdministered) else case.label(entry)


def _filled(value: Any) -> Any:
    """A value without its members that hold nothing: what one may add stands in the schema."""
    if isinstance(value, dict):
        members = {name: _filled(member) for name, member in value.items()}
        return {name: member for name, member in members.items() if member not in (None, "", [], {})}
    return [_filled(member) for member in value] if isinstance(value, list) else value
