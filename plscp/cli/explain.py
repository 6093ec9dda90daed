"""`plscp explain`: a request checked off line, and its content tree with every finding in its place."""

from pathlib import Path
from typing import Annotated

import typer

from plscp.cli import output
from plscp.cli.example import example
from plscp.cli.explaining import as_json, explained
from plscp.cli.options import SOP_CLASSES, Kind, group
from plscp.cli.tree import draw
from plscp.errors import CommandError
from plscp.scu.files import encoded

app = group()
app.command()(example)


@app.command()
def explain(
    file: Annotated[
        Path, typer.Argument(help="Action Information: DICOM, DICOM JSON, JSON in typed form; or a published record.")
    ],
    *,
    strict: Annotated[bool, typer.Option("--strict", help="As for a device whose validation is strict.")] = False,
    sop_class: Annotated[Kind | None, typer.Option(help="The SOP Class; absent: told by the content.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="On a terminal too, every item of entries without a finding.")
    ] = False,
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
