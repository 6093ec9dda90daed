"""What each device did last: for people who ask whether one is still sending, and why it was refused."""

from collections.abc import Mapping
from typing import Final, NamedTuple

MOST_DEVICES: Final = 1000
"""AE titles that are remembered; beyond, no new ones: where any may send, they are the senders' to choose."""
MOST_REFUSALS: Final = 20


class LastRefusal(NamedTuple):
    """Why a device was refused last: never anything that it sent but its AE title.

    Attributes:
        time_us: microseconds since the epoch, UTC.
    """

    time_us: int
    calling_ae: str
    status: int
    comment: str


class Devices:
    """The last accepted request, the last refused one and the number of refused ones of each AE title, since the start.

    The last accepted request is also taken over from the store.

    Attributes:
        events: when the last accepted request arrived, microseconds since the epoch, by calling AE title.
        refusals: how many were refused since the start.
        last: the last refusal of each.
    """

    def __init__(self) -> None:
        self.events: dict[str, int] = {}
        self.refusals: dict[str, int] = {}
        self.last: dict[str, LastRefusal] = {}

    def load(self, events: Mapping[str, int]) -> None:
        """Take over what the store knows."""
        for calling_ae, time_us in events.items():
            self.accepted(calling_ae, time_us)

    def accepted(self, calling_ae: str, time_us: int) -> None:
        """A request that arrived then was answered with Success or Warning."""
        if calling_ae in self.events or len(self.events) < MOST_DEVICES:
            self.events[calling_ae] = max(time_us, self.events.get(calling_ae, 0))

    def refused(self, calling_ae: str, time_us: int, status: int, comment: str) -> None:
        """A request that arrived then was answered with a failure."""
        if calling_ae in self.refusals or len(self.refusals) < MOST_DEVICES:
            self.refusals[calling_ae] = self.refusals.get(calling_ae, 0) + 1
            self.last[calling_ae] = LastRefusal(time_us, calling_ae, status, comment)

    def latest_refusals(self) -> list[LastRefusal]:
        """The last refusal of each device, newest first, the newest of them."""
        return sorted(self.last.values(), reverse=True)[:MOST_REFUSALS]
