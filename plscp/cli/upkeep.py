"""What an operator does to the store and to what Kafka has of it: `backup`, `restore`, `verify`, `relay repartition` and `rewind`."""

import logging
import os
import pwd
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from plscp.cli import output
from plscp.cli.options import POSITION_AT_MOST, Config, Json, group, settings
from plscp.errors import CommandError, RelayError
from plscp.relay import admin
from plscp.relay.cursor import Carried, peek
from plscp.relay.settings import RelaySettings, cursor_beside
from plscp.relay.verify import Beyond, PartitionReport, VerificationReport, beyond
from plscp.relay.verify import verify as verified
from plscp.store.backup import PART, back_up
from plscp.store.backup import Progress as Told
from plscp.store.backup import restore as put_back
from plscp.store.chain import first_broken_position
from plscp.store.connections import open_read_only
from plscp.store.files import sqlite_path
from plscp.store.relay_view import RelayView

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
    if these:
        yield (
            f"Kafka holds {len(these)} records of after the backup that this store does not have; consumers have them, "
            "and they stay as they are:"
        )
    for each in these[:MOST_NAMED]:
        study = f"study {each.study}" if each.study else ""
        parts = (each.event_id, each.device or "registry", study, output.local(each.occurred), each.type)
        yield "  ".join(("", f"position {each.position}", *filter(None, parts)))
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
    done = admin.repartition(_about(topic, config), topic)
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
    done = admin.rewind(_about(topic, config), topic, to)
    if json:
        output.print_json(done._asdict())
    else:
        print(f"{done.topic}: {done.records} records from position {done.first_position} on are published again")


@app.command()
def verify(json: Json = False, config: Config = None) -> int:
    """Verify store and topics; may run beside the server. Exit status 0: all well; 1: not; 3: Kafka or store not reachable.

    Of each partition: records that are missing, repeats (droppable: harmless, by their position), out of order, misplaced in another
    partition, foreign (of other stores), not judged (older than what Kafka keeps), reduced (too large), and beyond the backup that
    the store was restored from.
    """
    found = relay_settings(config)

    def chain(_head: int) -> int | None:
        with closing(open_read_only(sqlite_path(found.store_url))) as connection:
            return first_broken_position(connection)

    report = verified(found, chain=chain)
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


def summary(report: VerificationReport) -> Iterator[tuple[str, str]]:
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


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="The file to make; it must not be there yet.")],
    json: Json = False,
    config: Config = None,
) -> None:
    """Copy the store to a file, and check the copy. The server goes on; or none runs."""
    found = settings(config)
    path = sqlite_path(found.store.url)
    with closing(RelayView(path)) as view:
        if not view.store_id:
            raise CommandError(f"there is no store at {path}", 3)
        published = Carried(peek(cursor_beside(path), view.store_id))  # before the copy: it must not know of more
    os.nice(10)  # measured on two busy cores: the server's answers are as fast as without a backup
    with _shown_progress() as progress:
        made = back_up(path, target, progress=progress, leave=found.store.disk_watermark, beside=published.put)
    if json:
        output.print_json(made._asdict(), indent=None)
    else:
        print(
            f"{made.file}: store {made.store} up to position {made.position}, {made.bytes} bytes, sha256 {made.sha256}, "
            f"checked, {made.seconds:.1f} s"
        )


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="A file that plscp backup made.")],
    force: Annotated[bool, typer.Option("--force", help="Move a store that stands there aside.")] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Make a store out of a backup: it gets an id of its own, and goes on where the backup ends."""
    found = settings(config)
    path = sqlite_path(found.store.url)
    _as_owner(path.parent)
    cursor = cursor_beside(path)

    def take(store: Any, store_id: str) -> None:
        Carried.take(store).make(cursor.with_name(cursor.name + PART), store_id)

    with _shown_progress() as progress:
        made = put_back(source, path, force=force, progress=progress, companions=[cursor], beside=take)
    later, unknown = list[Beyond](), ""
    if found.kafka is not None:
        try:
            later = beyond(relay_settings(config))
        except RelayError as error:
            unknown = str(error)
    if json:
        output.print_json(made._asdict() | {"beyond": [each._asdict() for each in later], "beyond_unknown": unknown})
        return
    print(
        f"{made.file}: store {made.store}, restored from store {made.restored_from} up to position {made.position}, "
        f"checked, {made.seconds:.1f} s"
    )
    if made.moved_aside:
        print(f"the store that stood there is {made.moved_aside} now")
    for line in beyond_lines(later):
        print(output.clean(line))
    if unknown:
        print(f"what Kafka holds beyond the backup is not known ({output.clean(unknown)}): plscp verify names it")


def _as_owner(folder: Path) -> None:
    """Root makes no files in the folder of another user: his server could not open them."""
    if os.geteuid() != 0 or not folder.is_dir() or (owner := folder.stat().st_uid) == 0:
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    why = f"{folder} belongs to {name}, whose server cannot open what root puts there"
    raise CommandError(f"{why}: runuser -u {name} -- plscp restore ...", 2)


@contextmanager
def _shown_progress() -> Iterator[Told]:
    """Draws bars on standard error, where that is a terminal; gone when the work is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True, disable=not sys.stderr.isatty()) as bars:
        tasks = {what: bars.add_task(f"{what}ing", total=None, visible=False) for what in ("copy", "check")}

        def told(what: str, done: int, whole: int) -> None:
            bars.update(tasks[what], completed=done, total=whole, visible=True)

        yield told
