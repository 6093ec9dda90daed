"""Commands about Kafka: `plscp relay`, for its cursor while the server is stopped, and `plscp verify`, at any time."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from plscp.cli import output
from plscp.cli.options import POSITION_AT_MOST, Config, Json, group, settings
from plscp.errors import CommandError
from plscp.publish import admin
from plscp.publish.beyond import Beyond
from plscp.publish.settings import RelaySettings
from plscp.publish.verify import PartitionReport, Report
from plscp.publish.verify import verify as verified
from plscp.store.queries import first_broken_position
from plscp.store.readers import open_read_only
from plscp.store.relay_view import RelayView
from plscp.store.urls import sqlite_path

app = group()
app.add_typer(relay := group("The relay's cursor; stop the server first."), name="relay")

MOST_NAMED = 100
"""Records beyond a backup that are named, a line each."""
COUNTS = (
    "records", "missing", "repeats", "droppable", "out_of_order", "misplaced", "foreign", "not_judged", "reduced", "beyond",
)  # fmt: skip

Topic = Annotated[str, typer.Argument(help="The topic, with or without prefix.")]


def relay_settings(config: Path | None) -> RelaySettings:
    """The settings of the relay; raises ConfigError or CommandError where they cannot be used, or name no Kafka."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL + 1)  # one line says what is wrong, and it is ours
    found = settings(config).relay()
    if found is None:
        raise CommandError("kafka: the settings name no Kafka: [kafka] bootstrap_servers", 2)
    return found


def beyond_lines(these: Sequence[Beyond]) -> Iterator[str]:
    """What Kafka holds beyond a restored backup, a line each, so that people can look for it and enter it again."""
    if not these:
        return
    yield (
        f"Kafka holds {len(these)} records of after the backup that this store does not have; consumers have them, "
        "and they stay as they are:"
    )
    for each in these[:MOST_NAMED]:
        who = each.device or "registry"
        study = f"study {each.study}" if each.study else ""
        parts = (f"position {each.position}", each.event_id, who, study, output.local(each.occurred), each.type)
        yield "  " + "  ".join(part for part in parts if part)
    if len(these) > MOST_NAMED:
        yield f"  and {len(these) - MOST_NAMED} more: --json names them all"


def _about(topic: str, config: Path | None) -> RelaySettings:
    """The settings, where they have such a topic."""
    found = relay_settings(config)
    if topic.removeprefix(f"{found.kafka.topic_prefix}.") not in found.topics:
        raise CommandError(f"no topic {topic}: there are {', '.join(found.topics)}", 2)
    return found


@relay.command("repartition")
def repartition(topic: Topic, json: Json = False, config: Config = None) -> None:
    """Use all partitions that the topic has now, for every event that is yet to come."""
    done = admin.repartition(_about(topic, config), topic, RelayView.open)
    if json:
        output.print_json(done._asdict())
    else:
        print(f"{done.topic}: {done.before} partitions up to now, {done.after} from position {done.first_position} on")


@relay.command("rewind")
def rewind(
    topic: Topic,
    to: Annotated[
        int,
        typer.Option(metavar="POSITION", help="Publish again what lies above it; 0: all.", min=0, max=POSITION_AT_MOST),
    ],
    json: Json = False,
    config: Config = None,
) -> None:
    """Publish again on purpose: for a topic that was made anew or lost its end."""
    done = admin.rewind(_about(topic, config), topic, to, RelayView.open)
    if json:
        output.print_json(done._asdict())
    else:
        print(f"{done.topic}: {done.records} records from position {done.first_position} on are published again")


@app.command()
def verify(json: Json = False, config: Config = None) -> int:
    """Verify store and topics; may run beside the server. Exit status 0: all well; 1: not; 3: Kafka or store not reachable."""
    found = relay_settings(config)

    def chain(_head: int) -> int | None:
        path = sqlite_path(found.store_url)
        assert path is not None  # relay_settings refuses a store in memory
        with closing(open_read_only(path)) as connection:
            return first_broken_position(connection)

    report = verified(found, RelayView.open, chain=chain)
    if json:
        output.print_json(report.as_json())
    else:
        headings = ["topic", "partition", *(name.replace("_", " ") for name in COUNTS), ""]
        output.table(headings, [_row(part) for part in report.partitions], "no topic holds anything")
        output.page((0, "", text, style) for text, style in summary(report))
    return 0 if report.ok else 1


def _row(part: PartitionReport) -> tuple[object, ...]:
    verdict = ("well", "green") if part.ok else ("not well", "red")
    return (part.topic, part.partition, *(getattr(part, name) for name in COUNTS), verdict)


def summary(report: Report) -> Iterator[tuple[str, str]]:
    """What is wrong and where, then the verdict."""
    for part in report.partitions:
        for name in ("missing", "out_of_order", "misplaced"):
            positions = getattr(part, f"first_{name}")
            if positions:
                first = ", ".join(map(str, positions))
                yield f"{part.topic}/{part.partition} {name.replace('_', ' ')}: {first}", "red"
        if part.unpublished:
            yield f"{part.topic}/{part.partition}: {part.unpublished} of the missing are not published yet", "yellow"
    yield from ((text, "yellow") for text in beyond_lines(report.beyond))
    for topic in report.absent:
        yield f"{topic} is not there", "red"
    if report.broken_at is not None:
        yield f"the store's chain is broken at position {report.broken_at}", "red"
    verdict = "all well" if report.ok else "not well"
    yield f"{verdict}: store {report.store} up to position {report.head}", "green" if report.ok else "red"
