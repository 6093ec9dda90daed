"""What is aimed at, what it must not fall below, and whether it was reached."""

from typing import Any, NamedTuple


class Target(NamedTuple):
    """One figure's aim.

    Attributes:
        aim, floor: in the figure's own unit.
        less: whether smaller is better.
    """

    aim: float
    floor: float
    less: bool = False

    def judged(self, value: float) -> dict[str, Any]:
        """The members that a figure gets in the JSON: ``target``, ``floor``, and what of them is ``reached``, or ``no``."""
        sign = -1 if self.less else 1
        if sign * value >= sign * self.aim:
            reached = "target"
        else:
            reached = "floor" if sign * value >= sign * self.floor else "no"
        return {"target": self.aim, "floor": self.floor, "reached": reached}


RATES = {
    ("real", 1): Target(1.5, 1.2),
    ("real", 16): Target(1.8, 1.4),
    ("real", 64): Target(2.3, 1.8),
    ("E1", 1): Target(2.2, 1.9),
    ("E1", 16): Target(5, 4.3),
    ("E1", 64): Target(7, 6),
}
"""Requests/s, plscp over stock; by load and associations."""
WRITTEN = {("real", 1): Target(6, 4.4), ("real", 16): Target(15, 11), ("real", 64): Target(65, 48)}
"""The same over what a user would write."""
ALONE = {"E1": Target(3, 2), "E5": Target(2, 1.3)}
"""p50 on one association, stock over plscp."""
STOCK_SCU = Target(8, 8)
"""p50 that a stock pynetdicom SCU sees, stock over plscp."""
TWICE = Target(40, 20)
"""p50 that a raw SCU sees which writes twice with Nagle's algorithm on, stock over plscp."""
BACKLOG = Target(20_000, 12_000)
"""Records/s out of a backlog into Kafka."""
BACKLOG_OVER_OWN = Target(0.7, 0.7)
"""The same over what kafka-python's own producer makes of these records with the same settings."""
SEEN_P50 = Target(10, 20, less=True)
SEEN_P99 = Target(30, 60, less=True)
"""Milliseconds from the answer until a consumer has the record."""
IDLE_CPU = Target(1, 1, less=True)
"""Per cent of one core with 1,000 idle associations."""
IDLE_MB = Target(150, 150, less=True)
"""Resident memory with 1,000 idle associations."""
PYDICOM = Target(8, 8)
"""Reading and typing a request of the load real, pydicom over plscp."""
