"""By place: which study was there when, and its signs of life (contract section 3)."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, NamedTuple

from plscp.matching.layers import Forkable
from plscp.matching.records import StudyStay

_SAME_SIGN_US: Final = 60_000_000
"""Signs within a minute of a kept one are not kept by themselves, but for the latest: a study then looks quieter, never livelier."""
_MOST_KEPT: Final = 24 * 60
"""Signs of one study at one place: a day's. Of older ones only the latest can matter."""
_WEEK_DAYS: Final = 7
_WEEK_US: Final = _WEEK_DAYS * 86_400_000_000


class Visit(NamedTuple):
    """A study's stay at one location; `left` is None while it is there."""

    study_instance_uid: str
    arrived: datetime
    left: datetime | None

    def overlaps(self, earliest: datetime, latest: datetime) -> bool:
        """Whether any of the time from `earliest` to `latest` lies in it; the moment of leaving does not."""
        return self.arrived <= latest and (self.left is None or self.left > earliest)

    def contains(self, earliest: datetime, latest: datetime) -> bool:
        """Whether all of that time lies in it."""
        return self.arrived <= earliest and (self.left is None or self.left > latest)


class ByWeek(Forkable):
    """Tuples that begin with a time, sorted, for each place; in weeks, so that one more costs what its week holds."""

    def __init__(self) -> None:
        self._weeks: dict[tuple[str, int], tuple[Any, ...]] = {}
        self._first: dict[str, int] = {}  # by place, the first week that ever had a member; `_last` the last
        self._last: dict[str, int] = {}

    def add(self, place: str, week: int, member: tuple[Any, ...]) -> None:
        """Put one in its place."""
        members = self._weeks.get((place, week), ())
        at = bisect_left(members, member)
        self._weeks[place, week] = (*members[:at], member, *members[at:])
        self._first[place] = min(self._first.get(place, week), week)
        self._last[place] = max(self._last.get(place, week), week)

    def drop(self, place: str, week: int, member: tuple[Any, ...]) -> None:
        """Take one out that is there."""
        members = self._weeks[place, week]
        at = bisect_left(members, member)
        left = members[:at] + members[at + 1 :]
        if left:
            self._weeks[place, week] = left
        else:
            del self._weeks[place, week]

    def places(self) -> Collection[str]:
        """Where anything ever was."""
        return self._first.keys()

    def since(self, place: str, week: int, member: tuple[Any, ...]) -> Iterator[Any]:
        """Those that do not come before one of that week, in order."""
        if place not in self._first:
            return
        if week >= self._first[place]:
            members = self._weeks.get((place, week), ())
            yield from members[bisect_left(members, member) :]
        for later in range(max(week + 1, self._first[place]), self._last[place] + 1):
            yield from self._weeks.get((place, later), ())

    def latest_first(self, place: str) -> Iterator[Any]:
        """All of a place, in reverse."""
        if place in self._first:
            for week in range(self._last[place], self._first[place] - 1, -1):
                yield from reversed(self._weeks.get((place, week), ()))


def _week(moment: datetime) -> int:
    return moment.toordinal() // _WEEK_DAYS


class Presence(Forkable):
    """Who was where when, by location; a look-up costs the studies near that time, not all there ever were."""

    def __init__(self) -> None:
        self._here: dict[str, Mapping[str, datetime]] = {}  # by location: when each study arrived
        self._past = ByWeek()  # (left, study, arrived)
        self._longest: dict[str, timedelta] = {}
        self._last_left: dict[str, datetime] = {}

    def replace(self, study_instance_uid: str, before: Sequence[StudyStay], after: Sequence[StudyStay]) -> None:
        """Take one study's stays out and put others in."""
        uid, same = study_instance_uid, 0
        while same < min(len(before), len(after)) and before[same] == after[same]:
            same += 1
        for stay in before[same:]:
            if stay.left is None:
                here = {other: arrived for other, arrived in self._here[stay.location].items() if other != uid}
                self._here[stay.location] = here
                if not here:
                    del self._here[stay.location]
            else:
                self._past.drop(stay.location, _week(stay.left), (stay.left, uid, stay.arrived))
        for stay in after[same:]:
            place = stay.location
            if stay.left is None:
                self._here[place] = {**self._here.get(place, {}), uid: stay.arrived}
            else:
                self._past.add(place, _week(stay.left), (stay.left, uid, stay.arrived))
                self._longest[place] = max(self._longest.get(place, timedelta(0)), stay.left - stay.arrived)
                self._last_left[place] = max(self._last_left.get(place, stay.left), stay.left)

    def now(self, place: str) -> Collection[str]:
        """The studies that are at a location."""
        return self._here.get(place, {}).keys()

    def occupied(self, least: int = 1) -> list[str]:
        """The locations where so many studies are, or more."""
        return [place for place, here in self._here.items() if len(here) >= least]

    def last_to_leave(self, place: str) -> Visit | None:
        """The stay at a location that ended last, or None where none ended."""
        for left, uid, arrived in self._past.latest_first(place):
            return Visit(uid, arrived, left)
        return None

    def between(self, place: str, earliest: datetime, latest: datetime) -> list[Visit]:
        """Every stay at a location that has some of the time from `earliest` to `latest` in it, in a fixed order."""
        found = [Visit(uid, arrived, None) for uid, arrived in self._here.get(place, {}).items() if arrived <= latest]
        last_left = self._last_left.get(place)
        if last_left is not None and last_left > earliest:
            # No stay here was longer than `longest`: one that left later than this had not arrived by `latest`.
            last = latest + self._longest[place]
            for left, uid, arrived in self._past.since(place, _week(earliest), (earliest,)):
                if left > last:
                    break
                if arrived <= latest and left > earliest:
                    found.append(Visit(uid, arrived, left))
        if len(found) > 1:
            found.sort(key=lambda visit: (visit.arrived, visit.study_instance_uid))
        return found


class SignsOfLife(Forkable):
    """When each study gave signs of life at each place; all times are microseconds since the epoch, 0 for none.

    It is bounded for each study and place.
    """

    passing: ClassVar[frozenset[str]] = frozenset({"_under_way"})

    def __init__(self) -> None:
        self._latest: dict[tuple[str, str], int] = {}  # by (study, place), as all but the next
        self._rising = ByWeek()  # the same by place: (time, study)
        self._latest_request: dict[tuple[str, str], int] = {}
        self._perhaps: dict[tuple[str, str], int] = {}
        self._kept: dict[tuple[str, str], tuple[int, ...]] = {}  # rising
        self._under_way: dict[str, tuple[str, str]] = {}  # by request

    def note(self, study: str, place: str, time_us: int, *, by_request: bool = False, perhaps_us: int = 0) -> None:
        """Keep a sign of life, in whatever order they come; `perhaps_us`: a later time at which it may have occurred, or 0."""
        key = (study, place)
        if time_us > self._latest.get(key, 0):
            self._set_latest(key, time_us)
        if perhaps_us > max(time_us, self._perhaps.get(key, 0)):
            self._perhaps[key] = perhaps_us
        if by_request and time_us > self._latest_request.get(key, 0):
            self._latest_request[key] = time_us
        kept = self._kept.get(key, ())
        at = bisect_left(kept, time_us)
        after_the_last = at == len(kept) or kept[at] - time_us >= _SAME_SIGN_US
        alone = after_the_last and (not at or time_us - kept[at - 1] >= _SAME_SIGN_US)
        if alone and (at or len(kept) < _MOST_KEPT):
            self._kept[key] = (*kept[:at], time_us, *kept[at:])[-_MOST_KEPT:]

    def _set_latest(self, key: tuple[str, str], time_us: int) -> None:
        study, place = key
        known = self._latest.get(key)
        if known is not None:
            self._rising.drop(place, known // _WEEK_US, (known, study))
        self._latest[key] = time_us
        self._rising.add(place, time_us // _WEEK_US, (time_us, study))

    def last(self, study: str, place: str, until_us: int) -> int:
        """The latest sign that is not after a time."""
        latest = self._latest.get((study, place), 0)
        if latest <= until_us:
            return latest
        kept = self._kept.get((study, place), ())
        at = bisect_right(kept, until_us)
        return kept[at - 1] if at else 0

    def last_request(self, study: str, place: str) -> int:
        """The latest sign by a request."""
        return self._latest_request.get((study, place), 0)

    def last_perhaps(self, study: str, place: str) -> int:
        """The latest time at which a sign may have occurred."""
        return max(self._latest.get((study, place), 0), self._perhaps.get((study, place), 0))

    def latest_first(self, place: str) -> Iterator[tuple[int, str]]:
        """The latest sign of every study that gave one at a place, and the study; the latest of all comes first."""
        return self._rising.latest_first(place)

    def forget_between(self, study: str, after_us: int, before_us: int) -> None:
        """Signs after the first and before the second time are none: the study was closed."""
        for key in [(study, place) for place in self._rising.places()]:
            if key not in self._latest:
                continue
            self._kept[key] = tuple(sign for sign in self._kept.get(key, ()) if not after_us < sign < before_us)
            if after_us < self._latest[key] < before_us:
                self._set_latest(key, self._kept[key][-1] if self._kept[key] else 0)
            for signs in (self._latest_request, self._perhaps):
                if after_us < signs.get(key, 0) < before_us:
                    del signs[key]

    def prune(self, before_us: int) -> None:
        """Drop what can no longer be asked for: of a study quiet since then only the latest sign stays."""
        for key in [key for key in self._kept if self._latest.get(key, 0) < before_us]:
            del self._kept[key]

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
