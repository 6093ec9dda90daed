"""What happens again and again is said once, and then at most once a minute how often it happened since."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final

BETWEEN_SECONDS: Final = 60.0  # between two lines about one cause
FORGOTTEN_SECONDS: Final = 3600.0  # without a repeat after which a cause is new again
MOST_CAUSES: Final = 1000
MOST_NAMES: Final = 32  # names of one group that are told apart: as a rule they are whatever a peer says


@dataclass(slots=True)
class _Cause:
    """When it was said last, when it happened last, what is said of it, and how often it was not."""

    said: float
    happened: float
    told: Mapping[str, Any]
    more: int = 0


class Repeats:
    """Says the first of each cause at once; of the repeats how many there were, at most once a minute.

    Args:
        say: told what is to be said and how many there were since the line before, this one included; 0 for the first. Must not raise.
        clock: monotonic seconds.
    """

    def __init__(
        self, say: Callable[[Mapping[str, Any], int], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._clock = clock
        self._causes: OrderedDict[tuple[Hashable, str], _Cause] = OrderedDict()  # those that happened last come last
        self._names: dict[Hashable, set[str]] = {}

    def happened(self, group: Hashable, name: str, **told: Any) -> None:
        """It happened.

        Args:
            group: what it was, and what a peer cannot choose freely, such as a rule and an address.
            name: whom it was about, such as an AE title; beyond 32 names of one group all others are one cause.
            told: what the line says; of repeats the last.
        """
        now = self._clock()
        names = self._names.setdefault(group, set())
        if name not in names:
            if len(names) >= MOST_NAMES:
                name = ""
            names.add(name)
        cause = self._causes.get((group, name))
        if cause is None:
            self._causes[group, name] = _Cause(now, now, told)
            while len(self._causes) > MOST_CAUSES:
                self._forget(next(iter(self._causes)))
            self._say(told, 0)
            return
        self._causes.move_to_end((group, name))
        cause.happened, cause.told = now, told
        cause.more += 1
        if now - cause.said >= BETWEEN_SECONDS:
            self._tell(cause, now)

    def flush(self) -> None:
        """Say what repeats there were of causes that were said a minute ago or longer; to be called every second or so."""
        now = self._clock()
        for cause in list(self._causes.values()):
            if cause.more and now - cause.said >= BETWEEN_SECONDS:
                self._tell(cause, now)
        while self._causes:
            oldest, cause = next(iter(self._causes.items()))
            if now - cause.happened < FORGOTTEN_SECONDS:
                break
            self._forget(oldest)

    def _tell(self, cause: _Cause, now: float) -> None:
        more, cause.more, cause.said = cause.more, 0, now
        self._say(cause.told, more)

    def _forget(self, which: tuple[Hashable, str]) -> None:
        group, name = which
        cause = self._causes.pop(which)
        names = self._names[group]
        names.discard(name)
        if not names:
            del self._names[group]
        if cause.more:
            self._tell(cause, cause.said)
