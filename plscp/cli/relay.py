"""`plscp relay`: what an operator does on purpose to the relay's cursor, while the server is stopped."""

from pathlib import Path
from typing import Annotated

import typer

from plscp.cli import output
from plscp.cli.client import Config, Json
from plscp.cli.publishing import relay_settings
from plscp.cli.values import POSITION_AT_MOST
from plscp.errors import CommandError
from plscp.publish import admin
from plscp.publish.settings import RelaySettings

app = typer.Typer(help="The relay's cursor; stop the server first.", no_args_is_help=True, rich_markup_mode=None)

Topic = Annotated[str, typer.Argument(help="The topic, with or without prefix.")]


def _about(topic: str, config: Path | None) -> RelaySettings:
    """The settings, where they have such a topic."""
    found = relay_settings(config)
    if topic.removeprefix(f"{found.kafka.topic_prefix}.") not in found.topics:
        raise CommandError(f"no topic {topic}: there are {', '.join(found.topics)}", 2)
    return found


@app.command("repartition")
def repartition(topic: Topic, json: Json = False, config: Config = None) -> None:
    """Use all partitions that the topic has now, for every event that is yet to come."""
    done = admin.repartition(_about(topic, config), topic)
    if json:
        output.print_json(done._asdict())
    else:
        print(f"{done.topic}: {done.before} partitions up to now, {done.after} from position {done.first_position} on")


@app.command("rewind")
def rewind(
    topic: Topic,
    to: Annotated[
        int,
        typer.Option(
            "--to", metavar="POSITION", help="Publish again what lies above it; 0: all.", min=0, max=POSITION_AT_MOST
        ),
    ],
    json: Json = False,
    config: Config = None,
) -> None:
    """Publish again on purpose: for a topic that was made anew or lost its end."""
    done = admin.rewind(_about(topic, config), topic, to)
    if json:
        output.print_json(done._asdict())
    else:
        print(f"{done.topic}: {done.records} records from position {done.first_position} on are published again")
