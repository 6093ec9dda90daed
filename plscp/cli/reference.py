"""What is printed in Markdown for people to read: the conformance statement, every metric, every log event.

The settings have theirs at `plscp config reference`.
"""

import os
from typing import Annotated

import typer

from plscp import config as settings_room
from plscp.cli import output
from plscp.cli.options import Config, Json, group
from plscp.reference import observing
from plscp.reference.conformance import statement
from plscp.reference.conformance_hl7 import statement_hl7

app = group()
app.add_typer(reference := group("What there is to look up: metrics, log events."), name="reference")


@app.command()
def conformance(
    config: Config = None,
    *,
    hl7: Annotated[bool, typer.Option("--hl7", help="That of the HL7 feed instead.")] = False,
    json: Json = False,
) -> None:
    """Print the DICOM conformance statement, in Markdown; with --config that of a server with these settings."""
    found = statement_hl7() if hl7 else statement(settings_room.load(config, os.environ) if config else None)
    output.document(found, json=json)


@reference.command("metrics")
def metrics(json: Json = False) -> None:
    """Print every metric: name, type, labels, what it counts."""
    output.document(observing.metrics(), json=json)


@reference.command("log-events")
def log_events(json: Json = False) -> None:
    """Print every log event: name, levels, fields, what it means."""
    output.document(observing.log_events(), json=json)
