"""Signs of life: when a study is known to have been going on at a place (contracts section 3)."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from typing import Final

_SAME_SIGN_US: Final = 60_000_000
"""Signs within a minute of a kept one are not kept by themselves, but for the latest: a study then looks quieter, never livelier."""
_MOST_KEPT: Final = 24 * 60
"""Signs of one study at one place: a day's. Of older ones only the latest can matter."""


class SignsOfLife:
    """When each study gave signs of life at each place; all times are microseconds since the epoch.

    What it holds is immutable but for its own dictionaries, and bounded for each study and place.
    """

    def __init__(self) -> None:
        self._latest: dict[str, dict[str, int]] = {}  # by place, then by study
        self._rising: dict[str, list[tuple[int, str]]] = {}  # the same by place, sorted by time
        self._latest_request: dict[tuple[str, str], int] = {}
        self._perhaps: dict[tuple[str, str], int] = {}
        self._kept: dict[tuple[str, str], tuple[int, ...]] = {}  # rising
        self._under_way: dict[str, tuple[str, str]] = {}

    def copy(self) -> "SignsOfLife":
        """An independent copy."""
        twin = SignsOfLife()
        twin._latest = {place: dict(studies) for place, studies in self._latest.items()}
        twin._rising = {place: list(signs) for place, signs in self._rising.items()}
        twin._latest_request = dict(self._latest_request)
        twin._perhaps = dict(self._perhaps)
        twin._kept = dict(self._kept)
        twin._under_way = dict(self._under_way)
        return twin

    def note(self, study: str, place: str, time_us: int, *, by_request: bool = False, perhaps_us: int = 0) -> None:
        """Keep a sign of life, in whatever order they come.

        Args:
            perhaps_us: a later time at which it may have occurred, or 0.
        """
        if time_us > self._latest.get(place, {}).get(study, 0):
            self._set_latest(study, place, time_us)
        key = (study, place)
        if perhaps_us > max(time_us, self._perhaps.get(key, 0)):
            self._perhaps[key] = perhaps_us
        if by_request and time_us > self._latest_request.get(key, 0):
            self._latest_request[key] = time_us
        kept = self._kept.get(key, ())
        if not kept or time_us - kept[-1] >= _SAME_SIGN_US:
            self._kept[key] = (*kept, time_us)[-_MOST_KEPT:]
        elif time_us < kept[-1]:
            at = bisect_left(kept, time_us)
            alone = kept[at] - time_us >= _SAME_SIGN_US and (not at or time_us - kept[at - 1] >= _SAME_SIGN_US)
            if alone and (at or len(kept) < _MOST_KEPT):
                self._kept[key] = (*kept[:at], time_us, *kept[at:])[-_MOST_KEPT:]

    def _set_latest(self, study: str, place: str, time_us: int) -> None:
        here, rising = self._latest.setdefault(place, {}), self._rising.setdefault(place, [])
        if study in here:
            del rising[bisect_left(rising, (here[study], study))]
        here[study] = time_us
        insort(rising, (time_us, study))

    def any_between(self, study: str, place: str, since_us: int, until_us: int) -> bool:
        """Whether there is a sign in that time, both ends included."""
        here = self._latest.get(place)
        latest = here.get(study, 0) if here else 0
        if latest <= until_us:
            return latest >= since_us and latest > 0
        return since_us <= self._kept_until(study, place, until_us)

    def last(self, study: str, place: str, until_us: int | None = None) -> int:
        """The latest sign, or the latest that is not after a time; 0 for none."""
        latest = self._latest.get(place, {}).get(study, 0)
        return latest if until_us is None or latest <= until_us else self._kept_until(study, place, until_us)

    def last_request(self, study: str, place: str) -> int:
        """The latest sign by a request; 0 for none."""
        return self._latest_request.get((study, place), 0)

    def last_perhaps(self, study: str, place: str) -> int:
        """The latest time at which a sign may have occurred; 0 for none."""
        return max(self._latest.get(place, {}).get(study, 0), self._perhaps.get((study, place), 0))

    def _kept_until(self, study: str, place: str, until_us: int) -> int:
        kept = self._kept.get((study, place), ())
        at = bisect_right(kept, until_us)
        return kept[at - 1] if at else 0

    def latest_first(self, place: str) -> Iterator[tuple[int, str]]:
        """The latest sign of every study that gave one at a place, and the study; the latest of all comes first."""
        return reversed(self._rising.get(place, ()))

    def forget_between(self, study: str, after_us: int, before_us: int) -> None:
        """Signs after the first and before the second time are none: the study was closed."""
        for place, here in self._latest.items():
            if study not in here:
                continue
            key = (study, place)
            kept = tuple(sign for sign in self._kept.get(key, ()) if not after_us < sign < before_us)
            self._kept[key] = kept
            if after_us < here[study] < before_us:
                self._set_latest(study, place, kept[-1] if kept else 0)
            if after_us < self._latest_request.get(key, 0) < before_us:
                del self._latest_request[key]
            if after_us < self._perhaps.get(key, 0) < before_us:
                del self._perhaps[key]

    def prune(self, before_us: int) -> None:
        """Drop what can no longer be asked for: of a study quiet since then only the latest sign stays."""
        for place, here in self._latest.items():
            for study, latest in here.items():
                if latest < before_us:
                    self._kept.pop((study, place), None)

    # --- signs that are not committed yet ---

    def expect(self, request_id: str, study: str, place: str) -> None:
        """A request that will be a sign of life when it is committed is on its way to the store."""
        self._under_way[request_id] = (study, place)

    def expect_as(self, other: "SignsOfLife", place: Callable[[str], str]) -> None:
        """Expect what another one does, at the places that its places are now."""
        self._under_way = {request: (study, place(where)) for request, (study, where) in other._under_way.items()}

    def settle(self, request_id: str) -> None:
        """The store has answered."""
        self._under_way.pop(request_id, None)

    def expected(self, study: str, place: str) -> bool:
        """Whether a sign of life is on its way to the store."""
        return (study, place) in self._under_way.values()
