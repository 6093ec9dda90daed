"""What devices see that send as most do: command and data set in two writes, with Nagle's algorithm on."""

import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE

from benchmarks import servers
from benchmarks.generator import Generator
from benchmarks.plan import Plan, Say
from benchmarks.requests import SYNTAX, dataset, make
from benchmarks.targets import STOCK_SCU, TWICE
from plscp.scu.sending import quieten
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, PROCEDURAL_EVENT_LOGGING_INSTANCE
from tests import events

FIRST = 5
"""Requests that are not counted."""


def measure(plan: Plan, generator: Generator, folder: Path, kafka: str, say: Say) -> list[dict[str, Any]]:
    """A row for a stock pynetdicom SCU and one for a raw SCU that writes twice: p50 in milliseconds with both servers."""
    rows: dict[str, dict[str, Any]] = {
        "stock pynetdicom SCU": {"target": STOCK_SCU},
        "raw SCU that writes twice": {"target": TWICE},
    }
    for which in ("stock", "plscp"):
        server = servers.stock() if which == "stock" else servers.plscp(folder / "scus", kafka)
        try:
            stock, failures = stock_scu(server.port, plan.requests)
            raw = generator.drive(
                server.port, make("E1"), 1, seconds=plan.seconds, warmup=min(plan.warmup, 0.5), twice=True
            )
        finally:
            server.stop()
        for row, p50, failed in zip(rows.values(), (stock, raw["p50_ms"]), (failures, raw["failures"]), strict=True):
            row[f"{which}_p50_ms"] = round(p50, 3)
            row[f"{which}_failures"] = failed
    made = []
    for name, row in rows.items():
        target, ratio = row.pop("target"), row["stock_p50_ms"] / max(row["plscp_p50_ms"], 0.001)
        made.append({"scu": name, **row, "ratio": round(ratio, 1), **target.judged(ratio)})
        say(f"{name}: stock {row['stock_p50_ms']:.2f} ms, plscp {row['plscp_p50_ms']:.2f} ms, {ratio:.0f} times")
    return made


def stock_scu(port: int, requests: int) -> tuple[float, int]:
    """p50 of pynetdicom's `send_n_action` in milliseconds, and how many requests were not answered Success."""
    ae = AE("HEMO1")
    ae.add_requested_context(PROCEDURAL_EVENT_LOGGING, SYNTAX)
    association = ae.associate("127.0.0.1", port, ae_title="PLSCP")
    assert association.is_established
    made, took, failures = dataset("E1"), [], 0
    entry: Dataset = made.ContentSequence[-1]
    try:
        for number in range(FIRST + requests):
            entry.TextValue = f"balloon inflated {number:010d}"
            entry.ObservationDateTime = events.when(datetime.now(UTC))
            quieten(association)  # else its own thread may take the answer; the clock does not run yet
            began = time.perf_counter()
            status, _ = association.send_n_action(made, 1, PROCEDURAL_EVENT_LOGGING, PROCEDURAL_EVENT_LOGGING_INSTANCE)
            took.append(1000 * (time.perf_counter() - began))
            failures += "Status" not in status or status.Status != 0
    finally:
        association.release()
    return statistics.median(took[FIRST:]), failures
