"""What stands in a request where the load generator writes a time or a running number, so that no two are equal."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

MARK: Final = "9999999999"
"""Ten digits of a running number."""
_DATED: Final = "18880808080808."
_MARKED: Final = re.compile(rb"9999999999|18880808080808\.(\d{6})")
STAMP: Final = "%Y%m%d%H%M%S.%f"


def dated(age_ms: int) -> str:
    """A DT that becomes the time of sending less its age; it is UTC."""
    return f"{_DATED}{age_ms:06d}+0000"


@dataclass(frozen=True)
class Marked:
    """Bytes with marks in them.

    Attributes:
        numbers: where the running number goes.
        times: where times go, each with its age in milliseconds.
    """

    raw: bytes
    numbers: Sequence[int]
    times: Sequence[tuple[int, int]]

    @classmethod
    def of(cls, raw: bytes) -> Self:
        """Bytes and the marks that are found in them."""
        found = list(_MARKED.finditer(raw))
        return cls(
            raw,
            [mark.start() for mark in found if mark[1] is None],
            [(mark.start(), int(mark[1])) for mark in found if mark[1] is not None],
        )

    def after(self, before: bytes) -> "Marked":
        """The same with bytes before it."""
        by = len(before)
        times = [(at + by, age) for at, age in self.times]
        return Marked(before + self.raw, [at + by for at in self.numbers], times)

    def filled(self, number: int, moment: datetime | None = None) -> bytes:
        """With a running number, and the times of a request that is sent at a moment; by default now."""
        made, sent = bytearray(self.raw), moment or datetime.now(UTC)
        for at in self.numbers:
            made[at : at + 10] = b"%010d" % number
        for at, age in self.times:
            stamp = (sent - timedelta(milliseconds=age)).astimezone(UTC).strftime(STAMP).encode()
            made[at : at + len(stamp)] = stamp
        return bytes(made)
