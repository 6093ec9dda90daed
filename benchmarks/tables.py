"""The figures of a run as tables."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import stages

SERVERS = ("stock", "plscp")
PEERS = ("stock", "written", "plscp")
"""Of throughput."""
COLOURS = {"target": "green", "floor": "yellow", "no": "red"}
WORDS = {"target": "reached", "floor": "above the floor", "no": "not reached"}
Row = tuple[str, str, Mapping[str, Any]]


def show(result: Mapping[str, Any], console: Console) -> None:
    """Print everything that was measured."""
    made: dict[str, Callable[[Any], Table]] = {
        "throughput": throughput,
        "scus": scus,
        "idle": idle,
        "stages": stages.shown,
    }
    for part, table in made.items():
        if part in result:
            console.print(table(result[part]))
    aims = _table("targets", "", "is", "target", "floor", "")
    for name, value, of in targets(result):
        colour = COLOURS[of["reached"]]
        aims.add_row(name, value, f"{of['target']:g}", f"{of['floor']:g}", f"[{colour}]{WORDS[of['reached']]}[/]")
    if aims.rows:
        console.print(aims)
    for line in lines(result):
        console.print(line, highlight=False)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=box.SIMPLE, padding=0, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def throughput(rows: list[dict[str, Any]]) -> Table:
    """Requests a second and what they cost; two lines a row."""
    table = _table(
        "stock pynetdicom doing nothing, what a user would write, plscp with everything on; medians",
        "load", "server", "per s", "least..most", "p50 ms", "p99 ms", "CPU us", "relay us", "times",
    )  # fmt: skip
    for row in rows:
        names = (f"{row['load']} on {row['associations']}", f"  {row['bytes']} bytes", "")
        times = ("", f"({row['ratio_written']:.1f})", f"{row['ratio']:.1f}")
        for which, name, ratio in zip(PEERS, names, times, strict=True):
            of = row[which]
            table.add_row(
                name,
                which,
                f"{of['per_second']:.0f}",
                f"{of['least']:.0f}..{of['most']:.0f}",
                f"{of['p50_ms']:.2f}",
                f"{of['p99_ms']:.1f}",
                f"{of['cpu_us']:.0f}",
                f"{of['relay_cpu_us']:.0f}" if of["relay_cpu_us"] else "",
                ratio,
            )
    return table


def scus(rows: list[dict[str, Any]]) -> Table:
    """What devices see."""
    table = _table("p50 in milliseconds that an SCU sees", "SCU", *SERVERS, "times")
    for row in rows:
        table.add_row(row["scu"], *(f"{row[f'{w}_p50_ms']:.2f}" for w in SERVERS), f"{row['ratio']:.0f}")
    return table


def idle(rows: list[dict[str, Any]]) -> Table:
    """What silence costs."""
    table = _table("idle associations", "server", "wanted", "opened", "in s", "kept", "% of a core", "relay %", "MB")
    for row in rows:
        table.add_row(
            row["server"],
            str(row["associations"]),
            str(row["opened"]),
            f"{row['opening_seconds']:.1f}",
            str(row["kept"]),
            f"{row['cpu_percent']:.1f}",
            f"{row['relay_cpu_percent']:.1f}" if row["server"] == "plscp" else "",
            f"{row['rss_mb']:.0f}",
        )
    return table


def targets(result: Mapping[str, Any]) -> Iterator[Row]:
    """Every figure that has a target: (name, value, target)."""
    for row in result.get("throughput", ()):
        name = f"{row['load']} on {row['associations']}"
        if "target" in row:
            yield f"{name}: requests/s, times stock", f"{row['ratio']:.1f}", row
        if "written_target" in row:
            yield (
                f"{name}: requests/s, times what a user would write",
                f"{row['ratio_written']:.1f}",
                row["written_target"],
            )
        if "p50" in row:
            yield f"{name}: p50, times lower than stock", f"{row['ratio_p50']:.1f}", row["p50"]
    for row in result.get("scus", ()):
        yield f"{row['scu']}: p50, times lower", f"{row['ratio']:.1f}", row
    for row in result.get("idle", ()):
        if "cpu" in row:
            yield f"{row['associations']} idle: % of a core", f"{row['cpu_percent']:.1f}", row["cpu"]
            yield f"{row['associations']} idle: MB", f"{row['rss_mb']:.0f}", row["memory"]
    if relay := result.get("relay"):
        yield f"relay, {relay['records']} waiting: records/s", f"{relay['per_second']:.0f}", relay
        yield "the same over kafka-python's own producer", f"{relay['over_own']:.2f}", relay["own"]
    if seen := result.get("visible"):
        yield "answer to record in a consumer: p50 ms", f"{seen['p50_ms']:.1f}", seen["p50"]
        yield "answer to record in a consumer: p99 ms", f"{seen['p99_ms']:.1f}", seen["p99"]
    if "decode" in (of := result.get("stages", {}).get("real", {})):
        yield "real, read and typed: times faster than pydicom", f"{of['times_pydicom']:.1f}", of["decode"]


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    """What needs no table."""
    if relay := result.get("relay"):
        yield (
            f"relay: {relay['relay_cpu_us']:.0f} us of its processor time a record; kafka-python's own producer, given the same "
            f"records: {relay['own_cpu_us']:.0f} us"
        )
    if seen := result.get("visible"):
        yield f"records seen in a consumer: {seen['seen']} of {seen['answered']}, at {seen['requests_per_second']:.0f}/s"
    for row in result.get("throughput", ()):
        for which in PEERS:
            if failures := row[which]["failures"]:
                yield f"{row['load']} on {row['associations']}: {which} refused {failures} requests"
    machine = result["machine"]
    yield (
        f"{machine['cores']} cores, {machine['fdatasync_per_second']:.0f} fdatasync/s, load average "
        f"{machine['load_average']} to {machine['load_average_at_end']}, load generator: {machine['generator']}, "
        f"{result['took_seconds']:.0f} s"
    )
    if machine["generator"] == "python":
        yield "A load generator in Python costs as much as a server: with a C compiler (cc) there are more requests/s."
