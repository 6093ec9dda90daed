"""`plscp reference`: what there is to look up, in Markdown. The settings have theirs at `plscp config reference`."""

import typer

from plscp.reference import observing

app = typer.Typer(help="What there is to look up: metrics, log events.", no_args_is_help=True, rich_markup_mode=None)


@app.command("metrics")
def metrics() -> None:
    """Print every metric: name, type, labels, what it counts."""
    print(observing.metrics(), end="")


@app.command("log-events")
def log_events() -> None:
    """Print every log event: name, levels, fields, what it means."""
    print(observing.log_events(), end="")
