"""`plscp verify`: holds what is on Kafka against the store."""

from collections.abc import Iterator
from contextlib import closing

from plscp.cli import output
from plscp.cli.client import Config, Json
from plscp.cli.publishing import beyond_lines, relay_settings
from plscp.publish.verify import PartitionReport, Report
from plscp.publish.verify import verify as verified
from plscp.store.chain import first_broken_position
from plscp.store.connections import open_read_only
from plscp.store.files import sqlite_path

COUNTS = (
    "records",
    "missing",
    "repeats",
    "droppable",
    "out_of_order",
    "misplaced",
    "foreign",
    "not_judged",
    "reduced",
    "beyond",
)


def verify(json: Json = False, config: Config = None) -> int:
    """Verify store and topics; may run beside the server. Exit status 0: all well; 1: not; 3: Kafka or store not reachable."""
    settings = relay_settings(config)

    def chain(_head: int) -> int | None:
        with closing(open_read_only(sqlite_path(settings.store_url))) as connection:
            return first_broken_position(connection)

    report = verified(settings, chain=chain)
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
