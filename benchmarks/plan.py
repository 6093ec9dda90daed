"""What a run measures, and for how long."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.requests import LOADS

Say = Callable[[str], None]
PARTS = ("stages", "throughput", "scus", "idle", "relay", "visible")


@dataclass(frozen=True)
class Plan:
    """One run; times in seconds.

    Attributes:
        rounds: of each pair of servers; medians are shown.
        seconds: measured in each round, after `warmup`.
        idle_stock, idle_plscp: numbers of idle associations.
        idle_seconds: of each such measurement.
        opening: how long the idle associations may take to open.
        requests: of a stock SCU.
        stage_rounds, stage_count: see `stages.measure`.
        backlog: records that wait for the relay.
        visible_seconds: of steady load, at `visible_rate` requests/s.
    """

    parts: Sequence[str] = PARTS
    loads: Sequence[str] = LOADS
    associations: Sequence[int] = (1, 4, 16, 64)
    rounds: int = 3
    seconds: float = 4.0
    warmup: float = 1.0
    idle_stock: Sequence[int] = (0, 100, 200, 1000)
    idle_plscp: Sequence[int] = (0, 100, 1000)
    idle_seconds: float = 8.0
    opening: float = 20.0
    requests: int = 60
    stage_rounds: int = 6
    stage_count: int = 400
    backlog: int = 20_000
    visible_seconds: float = 15.0
    visible_rate: float = 200.0


QUICK = Plan(
    associations=(1, 16),
    rounds=1,
    seconds=1.5,
    warmup=0.5,
    idle_stock=(0, 100),
    idle_plscp=(0, 1000),
    idle_seconds=2.0,
    requests=30,
    stage_rounds=3,
    stage_count=100,
    backlog=5_000,
    visible_seconds=5.0,
)
"""Below two minutes: shows that everything runs, and orders of magnitude."""
