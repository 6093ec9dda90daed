"""SIGKILL at random moments while requests are being appended."""

import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from plscp.store import SqliteStore
from plscp.store.port import Filter
from tests.seed import SEED

KILLS = 6
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.seeded
def test_what_was_acknowledged_survives_sigkill(path: Path) -> None:
    """After each kill: every acknowledged entry is there once, at the position that was acknowledged; every other at most once."""
    dice = random.Random(SEED)
    acknowledged: dict[int, tuple[str, int]] = {}
    corrected: dict[int, int] = {}
    first = 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.store.crashing", str(path), str(first)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )
        assert process.stdout is not None
        wanted = dice.randrange(1, 400)
        with process.stdout as lines:
            assert next(lines).startswith("open")
            for number, line in enumerate(lines):
                if number == wanted:
                    process.send_signal(signal.SIGKILL)
                if line.endswith("\n"):
                    outcome, request, position = line.split()
                    if outcome == "corrected":
                        corrected[int(request)] = int(position)
                    else:
                        acknowledged[int(request)] = (outcome, int(position))
        process.wait(60)
        first = max(acknowledged) + 100
        check(path, acknowledged, corrected)
    assert corrected


def check(path: Path, acknowledged: dict[int, tuple[str, int]], corrected: dict[int, int]) -> None:
    """Open the store after a kill. Of a correction everything is there, and where its entries stand, or nothing."""
    store = SqliteStore(path)
    try:
        assert store.first_broken_position() is None
        events = store.read(Filter(limit=-1))
        assert [event.position for event in events] == list(range(1, store.head()[0] + 1))
        of_requests = [event for event in events if event.kind in {"entry", "refusal"}]
        there = Counter((event.request_id, event.event_id) for event in of_requests)
        assert set(there.values()) == {1}
        requests = Counter(request_id for request_id, _ in there)
        at = {event.position: event.request_id for event in events}
        for number, (outcome, position) in acknowledged.items():
            request_id = f"{number:032x}"
            assert at[position] == request_id
            assert requests[request_id] == (1 if outcome == "refused" else 1 + number % 3)
        for request_id, times in requests.items():
            number = int(request_id, 16)
            assert times == (1 if number % 10 == 9 else 1 + number % 3), "a request is stored as a whole"
        moved = [event for event in events if event.kind == "correction"]
        for number, position in corrected.items():
            assert at[position] == f"{number:016x}"
        for correction, parts in Counter(event.request_id for event in moved).items():
            assert parts == 2 * (1 + int(correction, 16) % 3), "a correction is stored as a whole"
        for withdrawn, assigned in zip(moved[::2], moved[1::2], strict=True):
            assert (assigned.position, assigned.request_id) == (withdrawn.position + 1, withdrawn.request_id)
        stand = store.standing([event.position for event in events])
        assert sorted(one.at.standing for one in stand if one.at.correction) == [
            event.position for event in moved[1::2]
        ]
        assert {proposal.id for proposal in store.proposals(limit=10**6)} == {event.request_id for event in moved}
    finally:
        store.close()
