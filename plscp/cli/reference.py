"""What is printed in Markdown for people to read: the conformance statement, every metric, every log event.

The settings have theirs at `plscp config reference`.
"""

import os
from typing import Annotated

import typer

from plscp import config as settings_room
from plscp.cli.options import Config, group
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
) -> None:
    """Print the DICOM conformance statement, in Markdown; with --config that of a server with these settings."""
    if hl7:
        print(statement_hl7(), end="")
        return
    print(statement(settings_room.load(config, os.environ) if config else None), end="")


@reference.command("metrics")
def metrics() -> None:
    """Print every metric: name, type, labels, what it counts."""
    print(observing.metrics(), end="")


@reference.command("log-events")
def log_events() -> None:
    """Print every log event: name, levels, fields, what it means."""
    print(observing.log_events(), end="")
