"""Two checkouts side by side: the server before a change and after it, and the stock one, in turn under the same requests.

Generator and requests are this checkout's; the other server runs from its own checkout in that one's own environment.
"""

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.table import Table

from benchmarks import machine, servers
from benchmarks.generator import Generator
from benchmarks.plan import Plan, Say
from benchmarks.requests import make
from benchmarks.throughput import Started, in_turn
from plscp.local.kafka import LocalBroker

SERVERS: Final = ("stock", "other", "this")
PLAN: Final = Plan(associations=(1, 16, 64), rounds=3, seconds=3.0, warmup=0.5)
_HERE: Final = Path(__file__).resolve().parent.parent


def run(plan: Plan, other: Path, say: Say, *, kafka: bool = True) -> dict[str, Any]:
    """Measure requests/s of the three servers.

    Args:
        other: a checkout of plscp with its environment.
        say: told each figure as it is measured.
        kafka: with a real broker, so that both relays run.

    Returns:
        ``machine``, ``checkouts`` and ``rows``: for each load and number of associations the medians of each server, and
        the ratios ``other``, ``this`` (over stock) and ``this_to_other``.
    """
    began = time.monotonic()
    servers.python_of(other)
    with tempfile.TemporaryDirectory(prefix="plscp-bench-") as name, contextlib.ExitStack() as ending:
        folder = Path(name)
        generator = Generator.build(folder)
        about = machine.about(folder, generator.kind)
        broker = ending.enter_context(LocalBroker(folder / "kafka")).address if kafka else ""
        started: dict[str, Started] = {
            "stock": lambda _: servers.stock(),
            "other": partial(servers.plscp, kafka=broker, checkout=other),
            "this": partial(servers.plscp, kafka=broker),
        }
        rows = []
        for load in map(make, plan.loads):
            for associations in plan.associations:
                figures = in_turn(started, plan, generator, load, associations, folder)
                rows.append({"load": load.name, "associations": associations, **figures, "ratios": _ratios(figures)})
                say(_line(rows[-1]))
        about["load_average_at_end"] = machine.load_average()
    return {
        "machine": about,
        "settings": {"kafka": kafka, "rounds": plan.rounds, "seconds": plan.seconds, "warmup": plan.warmup},
        "checkouts": {"other": _revision(other), "this": _revision(_HERE)},
        "rows": rows,
        "took_seconds": round(time.monotonic() - began, 1),
    }


def _ratios(figures: Mapping[str, Any]) -> dict[str, float]:
    stock, other, this = (max(figures[which]["per_second"], 0.001) for which in SERVERS)
    return {"other": round(other / stock, 2), "this": round(this / stock, 2), "this_to_other": round(this / other, 2)}


def _line(row: Mapping[str, Any]) -> str:
    rates = ", ".join(f"{which} {row[which]['per_second']:.0f}/s" for which in SERVERS)
    return f"{row['load']} on {row['associations']}: {rates}"


def _revision(checkout: Path) -> str:
    """What is checked out there: a commit, with a plus sign where files were changed after it."""
    made = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=checkout,
        check=False,
        capture_output=True,
        text=True,
    )
    return made.stdout.strip() or "unknown"


def shown(result: Mapping[str, Any]) -> Table:
    """The figures as a table."""
    of, at, settings = result["checkouts"], result["machine"], result["settings"]
    table = Table(
        title="requests/s, medians, and how many times those of stock pynetdicom doing nothing",
        caption=(
            f"other: {of['other']}, this: {of['this']}; {settings['rounds']} rounds of {settings['seconds']:g} s; "
            f"load average {at['load_average']} to {at['load_average_at_end']}; {result['took_seconds']:.0f} s"
        ),
        box=box.SIMPLE,
        padding=0,
        pad_edge=False,
    )
    columns = (
        "stock", "other", "this", "other\nto stock", "this\nto stock", "this\nto other", "p50 ms\nother", "p50 ms\nthis",
        "refused",
    )  # fmt: skip
    table.add_column("load", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in result["rows"]:
        ratios = row["ratios"]
        table.add_row(
            f"{row['load']} on {row['associations']}",
            *(f"{row[which]['per_second']:.0f}" for which in SERVERS),
            *(f"{ratios[name]:.2f}" for name in ("other", "this", "this_to_other")),
            *(f"{row[which]['p50_ms']:.2f}" for which in ("other", "this")),
            str(sum(row[which]["failures"] for which in SERVERS)),
        )
    return table
