"""Locations by their names, and which study was at which location when."""

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import NamedTuple

from plscp.matching.records import Stay


class Locations:
    """`[locations]`: the names that devices, MPPS and HL7 use for each lab.

    Args:
        names: by table name, the lab's further names; the table's name is one as well.

    Raises:
        ValueError: one name stands for two labs.
    """

    def __init__(self, names: Mapping[str, Iterable[str]] | None = None) -> None:
        self._tables: dict[str, str] = {}
        for table, others in (names or {}).items():
            for name in (table, *others):
                known = self._tables.setdefault(name.strip(" "), table)
                if known != table:
                    raise ValueError(f"location name {name!r} stands in both {known} and {table}")

    def __eq__(self, other: object) -> bool:
        """Whether both lists have the same names for the same labs."""
        return isinstance(other, Locations) and self._tables == other._tables

    __hash__ = None  # type: ignore[assignment]  # compared, never a key

    def resolve(self, name: str) -> str | None:
        """The table that lists a name, compared exactly after removing leading and trailing spaces; None for no table."""
        return self._tables.get(name.strip(" "))

    @property
    def names(self) -> list[str]:
        """Every name of every lab."""
        return list(self._tables)

    def nearest(self, name: str) -> str:
        """The listed name that a name may have been meant for, or empty."""
        folded = {known.casefold(): known for known in self._tables}
        found = get_close_matches(name.strip(" ").casefold(), folded, 1, 0.5)
        return folded[found[0]] if found else ""


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


_Past = tuple[datetime, str, datetime]  # left, study, arrived: sorted by leaving


class Presence:
    """Who was where when, by location; a look-up costs the studies near that time, not all there ever were."""

    def __init__(self) -> None:
        self._here: dict[str, dict[str, datetime]] = {}
        self._past: dict[str, list[_Past]] = {}
        self._longest: dict[str, timedelta] = {}

    def copy(self) -> "Presence":
        """An independent copy."""
        twin = Presence()
        twin._here = {place: dict(here) for place, here in self._here.items()}
        twin._past = {place: list(past) for place, past in self._past.items()}
        twin._longest = dict(self._longest)
        return twin

    def replace(self, study_instance_uid: str, before: Sequence[Stay], after: Sequence[Stay]) -> None:
        """Take one study's stays out and put others in."""
        common = 0
        for old, new in zip(before, after, strict=False):
            if old != new:
                break
            common += 1
        for stay in before[common:]:
            if stay.left is None:
                self._here[stay.location].pop(study_instance_uid, None)
            else:
                self._past[stay.location].remove((stay.left, study_instance_uid, stay.arrived))
        for stay in after[common:]:
            if stay.left is None:
                self._here.setdefault(stay.location, {})[study_instance_uid] = stay.arrived
            else:
                insort(self._past.setdefault(stay.location, []), (stay.left, study_instance_uid, stay.arrived))
                longest = self._longest.get(stay.location, timedelta(0))
                self._longest[stay.location] = max(longest, stay.left - stay.arrived)

    def now(self, place: str) -> Collection[str]:
        """The studies that are at a location."""
        return self._here.get(place, ())

    def occupied(self) -> list[str]:
        """The locations where a study is."""
        return [place for place, here in self._here.items() if here]

    def shared(self) -> list[str]:
        """The locations where several studies are."""
        return [place for place, here in self._here.items() if len(here) > 1]

    def between(self, place: str, earliest: datetime, latest: datetime) -> list[Visit]:
        """Every stay at a location that has some of the time from `earliest` to `latest` in it, in a fixed order."""
        found = [Visit(uid, arrived, None) for uid, arrived in self._here.get(place, {}).items() if arrived <= latest]
        past = self._past.get(place)
        if past and past[-1][0] > earliest:
            # No stay here was longer than `longest`: one that left later than this had not arrived by `latest`.
            last = latest + self._longest[place]
            for index in range(bisect_left(past, (earliest,)), len(past)):
                left, uid, arrived = past[index]
                if left > last:
                    break
                if arrived <= latest and left > earliest:
                    found.append(Visit(uid, arrived, left))
        if len(found) > 1:
            found.sort(key=lambda visit: (visit.arrived, visit.study_instance_uid))
        return found
