"""The names of labs and authorities, and by place: which study was there when, and its signs of life (contract section 3)."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Final, NamedTuple

from plscp.matching.records import Stay

_SAME_SIGN_US: Final = 60_000_000
"""Signs within a minute of a kept one are not kept by themselves, but for the latest: a study then looks quieter, never livelier."""
_MOST_KEPT: Final = 24 * 60
"""Signs of one study at one place: a day's. Of older ones only the latest can matter."""


def _by_spelling(what: str, names: Iterable[tuple[str, Iterable[str]]]) -> dict[str, str]:
    """From each way to write a name to the name that stands for them all. Raises ValueError where one stands for two."""
    meant: dict[str, str] = {}
    for name, others in names:
        for spelling in (name, *others):
            known = meant.setdefault(spelling.strip(" "), name)
            if known != name:
                raise ValueError(f"{what} {spelling!r} stands in both {known} and {name}")
    return meant


class Issuers:
    """`[issuers]`: the other spellings of each authority that gives out IDs, such as its OID or what an older feed calls it.

    Spelling happens when requests and feeds come in and when identifiers are compared: what is stored stays as it was written.

    Args:
        names: by the spelling that is used, the authority's other ones.

    Raises:
        ValueError: one spelling stands for two authorities.
    """

    def __init__(self, names: Mapping[str, Iterable[str]] | None = None) -> None:
        self._names = _by_spelling("issuer", ((name.strip(" "), others) for name, others in (names or {}).items()))

    def spell(self, issuer: str) -> str:
        """The one spelling of an authority; an authority that is not listed is spelled as it is."""
        return self._names.get(issuer, issuer)

    def lists(self, issuer: str) -> bool:
        """Whether an authority is listed, by any of its spellings."""
        return issuer in self._names


class Locations:
    """`[locations]`: the names that devices, MPPS and HL7 use for each lab.

    Args:
        names: by table name, the lab's further names; the table's name is one as well.

    Raises:
        ValueError: one name stands for two labs.
    """

    def __init__(self, names: Mapping[str, Iterable[str]] | None = None) -> None:
        self._tables = _by_spelling("location name", (names or {}).items())

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

    def last(self, study: str, place: str, until_us: int) -> int:
        """The latest sign that is not after a time; 0 for none."""
        latest = self._latest.get(place, {}).get(study, 0)
        if latest <= until_us:
            return latest
        kept = self._kept.get((study, place), ())
        at = bisect_right(kept, until_us)
        return kept[at - 1] if at else 0

    def last_request(self, study: str, place: str) -> int:
        """The latest sign by a request; 0 for none."""
        return self._latest_request.get((study, place), 0)

    def last_perhaps(self, study: str, place: str) -> int:
        """The latest time at which a sign may have occurred; 0 for none."""
        return max(self._latest.get(place, {}).get(study, 0), self._perhaps.get((study, place), 0))

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
