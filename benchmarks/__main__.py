"""`make bench`: plscp with everything on against a stock pynetdicom SCP that only says Success, in one run."""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import generator, servers
from benchmarks.requests import ENTRIES, make
from plscp.local.kafka import LocalBroker


def fdatasync_rate(folder: Path, seconds: float = 1.0) -> float:
    """How many small writes a second the disk makes durable: what bounds any honest store."""
    count, end = 0, time.monotonic() + seconds
    with (folder / "sync").open("wb") as file:
        while time.monotonic() < end:
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            count += 1
    return count / seconds


def throughput(args: argparse.Namespace, folder: Path, kafka: str) -> list[dict[str, Any]]:
    """Both servers under both loads, in turn, each row the medians of its rounds."""
    program = generator.build(folder)
    rows = []
    for name in ENTRIES:
        load = make(name)
        for associations in args.associations:
            figures: dict[str, list[dict[str, Any]]] = {"stock": [], "plscp": []}
            for round_ in range(args.rounds):
                for which, runs in figures.items():
                    home = folder / f"{which}-{name}-{associations}-{round_}"
                    server = servers.stock() if which == "stock" else servers.plscp(home, kafka)
                    try:
                        runs.append(
                            generator.drive(program, folder, server.port, load, associations, seconds=args.seconds)
                        )
                    finally:
                        server.stop()
            row: dict[str, Any] = {"load": name, "bytes": len(load.data), "associations": associations}
            for which, done in figures.items():
                for figure in ("per_second", "p50_ms", "p99_ms"):
                    row[f"{which}_{figure}"] = statistics.median(run[figure] for run in done)
                row[f"{which}_failures"] = sum(run["failures"] for run in done)
            row["ratio"] = row["plscp_per_second"] / max(row["stock_per_second"], 0.001)
            rows.append(row)
            print(json.dumps(row), file=sys.stderr)
    return rows


def shown(rows: list[dict[str, Any]]) -> Table:
    """The figures as a table."""
    table = Table(title="plscp, everything on, against stock pynetdicom doing nothing")
    for column in ("load", "associations", "stock/s", "p50/p99 ms", "plscp/s", "p50/p99 ms", "ratio"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            f"{row['load']} ({row['bytes']} B)",
            str(row["associations"]),
            f"{row['stock_per_second']:.0f}",
            f"{row['stock_p50_ms']:.2f}/{row['stock_p99_ms']:.1f}",
            f"{row['plscp_per_second']:.0f}",
            f"{row['plscp_p50_ms']:.2f}/{row['plscp_p99_ms']:.1f}",
            f"{row['ratio']:.1f}",
        )
    return table


def main() -> int:
    """Run, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=1, help="of each pair; the medians are shown")
    parser.add_argument("--associations", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--no-kafka", action="store_true", help="without the relay")
    parser.add_argument("--json", type=Path, default=Path("bench.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="plscp-bench-") as name:
        folder = Path(name)
        rate = fdatasync_rate(folder)
        if args.no_kafka:
            rows = throughput(args, folder, "")
        else:
            with LocalBroker(folder / "kafka") as broker:
                rows = throughput(args, folder, broker.address)
    Console().print(shown(rows))
    print(f"this disk: {rate:.0f} fdatasync/s; cores: {os.cpu_count()}")
    args.json.write_text(json.dumps({"fdatasync_per_second": rate, "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
