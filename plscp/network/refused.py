"""The peers that a setting refused, for whoever asks why a device gets no association."""

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from plscp.network.admission import Refusal

MOST_PEERS: Final = 100


def _utc() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class _Refused:
    hint: str
    first: datetime
    last: datetime
    times: int = 0


class RefusedPeers:
    """At most a hundred of them: where there are more, an address that fills the list with invented AE titles loses its own.

    Args:
        clock: the time, UTC.
    """

    def __init__(self, clock: Callable[[], datetime] = _utc) -> None:
        self._clock = clock
        self._rows: OrderedDict[tuple[str, str, str], _Refused] = OrderedDict()  # those refused last come last

    def note(self, calling_ae: str, address: str, refusal: Refusal) -> None:
        """A peer was refused."""
        key, now = (calling_ae, address, refusal.rule), self._clock()
        row = self._rows.pop(key, None) or _Refused(refusal.hint, now, now)
        row.hint, row.last = refusal.hint, now
        row.times += 1
        self._rows[key] = row
        if len(self._rows) > MOST_PEERS:
            [(most, _)] = Counter(each for _, each, _ in self._rows).most_common(1)
            del self._rows[next(each for each in self._rows if each[1] == most)]

    def as_list(self) -> list[dict[str, Any]]:
        """calling_ae, address, rule, hint, times, first and last (ISO 8601) of each; refused last, first in the list."""
        return [
            {
                "calling_ae": calling_ae,
                "address": address,
                "rule": rule,
                "hint": row.hint,
                "times": row.times,
                "first": row.first.isoformat(timespec="seconds"),
                "last": row.last.isoformat(timespec="seconds"),
            }
            for (calling_ae, address, rule), row in reversed(self._rows.items())
        ]
