"""Associations opened and closed without end leave nothing behind: make soak for 100,000 of them."""

import asyncio
import json
import os
import re
import time
from pathlib import Path
from unittest.mock import Mock, patch

import pytest

from plscp.dicom import acceptor as acceptor_module
from plscp.dicom.acceptor import MOST_NOTED
from plscp.dicom.fairness import MOST_KNOWN
from tests.dicom.wire import Listener
from tests.rawscu import RawScu
from tests.system.soaking import Soak

COUNT = int(os.environ.get("PLSCP_TEST_ASSOCIATIONS", "2000"))
STEPS = 8
GROWTH = 8.0
"""MB in the second half. In the first, caches with bounds fill up: SQLite's page cache alone may take 32 MiB."""


@pytest.mark.slow
def test_associations_leave_nothing_behind(tmp_path: Path) -> None:
    """Accepted, asked, echoed, refused, rejected, aborted, dropped: no memory, descriptor, thread, label or kind of line more."""
    with Soak(tmp_path) as soak:
        before = soak.left().descriptors
        found = []
        for step in range(STEPS):
            began = time.monotonic()
            soak.run(COUNT // STEPS)
            rate = COUNT // STEPS / (time.monotonic() - began)
            left = soak.left(before)
            found.append(left)
            print(
                f"{(step + 1) * COUNT // STEPS:7,} associations, {rate:5.0f}/s: {left.memory:.1f} MB,"
                f" {left.descriptors} descriptors, {left.threads} threads, {len(left.series)} series",
                flush=True,
            )
        counted = soak.counted()
        lines = [json.loads(line) for line in soak.server.lines if line.startswith("{")]
    first, half, last = found[0], found[STEPS // 2 - 1], found[-1]
    assert last.memory - half.memory < GROWTH
    assert last.threads <= first.threads
    # Whether anybody is slowed depends on the machine, and so does when the gauges of devices that nobody configured are looked at first.
    of_machine = re.compile(r"slowed|^plscp_quarantine_open \[\('device', 'other'\)\]$")
    assert {name for name in last.series if not of_machine.search(name)} == {
        name for name in first.series if not of_machine.search(name)
    }
    assert sum(counted.values()) >= COUNT - STEPS
    assert counted.keys() >= {"released", "aborted", "lost", "rejected", "closed"}
    assert "internal-error" not in {line["event"] for line in lines}
    kinds = [
        (line["event"], line.get("reason", ""), *sorted(line.keys() - {"more"}))  # `more`: once a minute
        for line in lines
        if line["event"] != "peer-slowed"  # whether anybody is depends on the machine
    ]
    assert set(kinds) == set(kinds[: len(kinds) // STEPS])


def test_the_acceptor_forgets_them() -> None:
    """From more peers than it keeps notes of, one connection after the other: no table of it keeps any, no task is left."""
    with (
        patch.object(acceptor_module, "log", Mock()),
        Listener(futile_share=0.05, ae_title="PLSCP") as listener,
    ):
        tasks = listener.call(lambda: len(asyncio.all_tasks()))
        acceptor = listener.acceptor
        for number in range(1200):
            scu = RawScu(
                "127.0.0.1", listener.port, called="OTHER", calling=f"PEER{number}", source=(_address(number), 0)
            )
            with pytest.raises(Exception, match="1, 1, 7"), scu:
                pass
        listener.until(lambda: not acceptor._open)
        tables = (acceptor._unassociated, acceptor._connections, acceptor._associations)
        assert not any(tables)
        assert acceptor.associated == 0
        assert len(acceptor._noted) <= MOST_NOTED + 1
        assert len(acceptor.accounts._debts) <= MOST_KNOWN + 1
        assert listener.call(lambda: len(asyncio.all_tasks())) == tasks


def _address(number: int) -> str:
    return f"127.9.{number // 200}.{number % 200 + 1}"
