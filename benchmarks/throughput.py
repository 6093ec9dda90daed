"""Requests a second, latency and processor time of the servers, in turn, under each load."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import servers
from benchmarks.generator import Generator
from benchmarks.machine import load_average
from benchmarks.plan import Plan, Say
from benchmarks.requests import Load, make
from benchmarks.targets import ALONE, RATES, WRITTEN

Run = dict[str, Any]
Started = Callable[[Path], servers.Under]
"""Starts a server that keeps its files in a folder."""
MEDIANS = ("per_second", "p50_ms", "p99_ms", "cpu_us", "relay_cpu_us")


def measure(plan: Plan, generator: Generator, folder: Path, kafka: str, say: Say) -> list[dict[str, Any]]:
    """One row for each load and number of associations; each figure the median of its rounds."""
    started: dict[str, Started] = {
        "stock": lambda _: servers.stock(),
        "written": lambda home: servers.written(home, kafka),
        "plscp": lambda home: servers.plscp(home, kafka),
    }
    rows = []
    for name in plan.loads:
        load = make(name)
        for associations in plan.associations:
            rows.append(_row(load, associations, in_turn(started, plan, generator, load, associations, folder)))
            say(_line(rows[-1]))
    return rows


def in_turn(  # noqa: PLR0917
    started: Mapping[str, Started], plan: Plan, generator: Generator, load: Load, associations: int, folder: Path
) -> dict[str, Run]:
    """Each server's figures: the medians of its rounds. In a round each server has its turn, freshly started."""
    runs: dict[str, list[Run]] = {which: [] for which in started}
    for number in range(plan.rounds):
        for which, start in started.items():
            server = start(folder / f"{which}-{load.name}-{associations}-{number}")
            try:
                runs[which].append(_driven(plan, generator, server, load, associations))
            finally:
                server.stop()
    return {which: _summary(of) for which, of in runs.items()}


def _driven(plan: Plan, generator: Generator, server: servers.Under, load: Load, associations: int) -> Run:
    own, relay = server.cpu_seconds(), server.relay_cpu_seconds()
    run = generator.drive(server.port, load, associations, seconds=plan.seconds, warmup=plan.warmup)
    answered = max(run["answered"], 1)
    run["cpu_us"] = 1e6 * (server.cpu_seconds() - own) / answered
    run["relay_cpu_us"] = 1e6 * (server.relay_cpu_seconds() - relay) / answered
    return run


def _row(load: Load, associations: int, figures: Mapping[str, Run]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "load": load.name,
        "bytes": load.length,
        "associations": associations,
        "load_average": load_average(),
        **figures,
    }
    for name, peer in (("ratio", "stock"), ("ratio_written", "written")):
        row[name] = round(row["plscp"]["per_second"] / max(row[peer]["per_second"], 0.001), 2)
    row["ratio_p50"] = round(row["stock"]["p50_ms"] / max(row["plscp"]["p50_ms"], 0.001), 2)
    row["ratio_cpu"] = round(row["stock"]["cpu_us"] / max(row["plscp"]["cpu_us"], 0.001), 2)
    if target := RATES.get((load.name, associations)):
        row |= target.judged(row["ratio"])
    if target := WRITTEN.get((load.name, associations)):
        row["written_target"] = target.judged(row["ratio_written"])
    if associations == 1 and (alone := ALONE.get(load.name)):
        row["p50"] = alone.judged(row["ratio_p50"])
    return row


def _summary(runs: Sequence[Run]) -> dict[str, Any]:
    rates = [run["per_second"] for run in runs]
    summary: dict[str, Any] = {name: round(statistics.median(run[name] for run in runs), 3) for name in MEDIANS}
    return summary | {"least": min(rates), "most": max(rates), "failures": sum(run["failures"] for run in runs)}


def _line(row: dict[str, Any]) -> str:
    rates = ", ".join(f"{which} {row[which]['per_second']:.0f}/s" for which in ("stock", "written", "plscp"))
    return f"{row['load']} on {row['associations']}: {rates}: {row['ratio']:.1f} and {row['ratio_written']:.1f} times"
