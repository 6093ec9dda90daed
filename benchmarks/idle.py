"""What associations cost on which nothing is sent: processor time and memory."""

import asyncio
import contextlib
import resource
import struct
import time
from pathlib import Path
from typing import Any

from benchmarks import servers
from benchmarks.plan import Plan, Say
from benchmarks.requests import associate
from benchmarks.targets import IDLE_CPU, IDLE_MB

AT_ONCE = 16
"""Associations that are being opened at a time: a stock server's queue of connections is short."""
DEVICES = 50
"""Addresses that they come from: a server may slow a single one that opens a thousand."""
SETTLE = 0.5

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def measure(plan: Plan, folder: Path, kafka: str, say: Say) -> list[dict[str, Any]]:
    """One row for each server and number of associations, each on a server of its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = max((*plan.idle_stock, *plan.idle_plscp), default=0) + 256
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))
    rows = []
    for which, numbers in (("stock", plan.idle_stock), ("plscp", plan.idle_plscp)):
        for wanted in numbers:
            server = servers.stock() if which == "stock" else servers.plscp(folder / f"idle-{wanted}", kafka)
            try:
                row: dict[str, Any] = {"server": which, "associations": wanted}
                row |= asyncio.run(_idle(server, wanted, plan))
            finally:
                server.stop()
            if which == "plscp" and wanted == 1000:
                row["cpu"] = IDLE_CPU.judged(row["cpu_percent"])
                row["memory"] = IDLE_MB.judged(row["rss_mb"])
            rows.append(row)
            say(
                f"{which}, {row['opened']} of {wanted} associations idle: {row['cpu_percent']:.1f} % of a core, "
                f"{row['rss_mb']:.0f} MB"
            )
    return rows


async def _idle(server: servers.Under, wanted: int, plan: Plan) -> dict[str, Any]:
    held: list[Pair] = []
    gate = asyncio.Semaphore(AT_ONCE)
    began = time.monotonic()
    tasks = [asyncio.create_task(_open(server.port, f"127.0.1.{n % DEVICES + 1}", gate, held)) for n in range(wanted)]
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=plan.opening)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    opening = time.monotonic() - began
    try:
        opened = len(held)
        await asyncio.sleep(SETTLE)
        clock, own, relay = time.monotonic(), server.cpu_seconds(), server.relay_cpu_seconds()
        await asyncio.sleep(plan.idle_seconds)
        passed = time.monotonic() - clock
        return {
            "opened": opened,
            "opening_seconds": round(opening, 2),
            "kept": sum(not reader.at_eof() for reader, _ in held),
            "cpu_percent": round(100 * (server.cpu_seconds() - own) / passed, 2),
            "relay_cpu_percent": round(100 * (server.relay_cpu_seconds() - relay) / passed, 2),
            "rss_mb": round(server.rss_mb(), 1),
        }
    finally:
        for _, writer in held:
            writer.transport.abort()


async def _open(port: int, address: str, gate: asyncio.Semaphore, held: list[Pair]) -> None:
    """One association, kept where it is accepted; a server that does not manage is what is measured."""
    async with gate:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
            try:
                writer.write(associate())
                kind, length = struct.unpack(">BxL", await reader.readexactly(6))
                await reader.readexactly(length)
            except BaseException:
                writer.transport.abort()
                raise
            if kind == 2:
                held.append((reader, writer))
            else:
                writer.transport.abort()
