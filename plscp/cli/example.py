"""`plscp example`: an event to start from, as typed JSON that `plscp send` and `plscp explain` read."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from plscp.cli import output
from plscp.cli.options import a_uid, long_text
from plscp.scu.requests import ProcedureLogRequest, code, device_observer, moment, quantity
from plscp.templates.clinical_entries import DrugAdministered


def example(
    *,
    study: Annotated[str, typer.Option("--study", help="Study Instance UID.", callback=a_uid)] = "1.2.3",
    patient: Annotated[str, typer.Option("--patient", help="Patient ID.", callback=long_text)] = "4711",
    location: Annotated[str, typer.Option("--location", help="Performed Location.", callback=long_text)] = "",
) -> None:
    """Print an event as typed JSON: heparin was given now. `plscp send` sends it, `plscp explain` checks it."""
    given = DrugAdministered(
        observation_datetime=moment(datetime.now(UTC)),
        action=code("122083", "DCM"),
        drug=code("84812008", "SCT"),
        dose=quantity("5000", "[iU]"),
    )
    request = ProcedureLogRequest(
        study_instance_uid=study,
        patient_id=patient,
        performed_location=location,
        context=device_observer("1.2.826.0.1.3680043.9.3811.1", "Pump 1"),
        entries=[given],
    )
    output.print_json(_filled(request.model_dump(mode="json")))


def _filled(value: Any) -> Any:
    """A value without its members that hold nothing: what one may add stands in the schema."""
    if isinstance(value, dict):
        members = {name: _filled(member) for name, member in value.items()}
        return {name: member for name, member in members.items() if member not in (None, "", [], {})}
    return [_filled(member) for member in value] if isinstance(value, list) else value
