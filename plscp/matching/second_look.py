"""Requests in quarantine that a registry change may help: which those are, and whether one may be replayed without asking (section 3).

That a refused request would be accepted by now proves little: what it says may have been wrong from the beginning, and only by now
name somebody. So it is replayed by itself only where what it names itself leaves no doubt, and nothing else that is known speaks
against it. All others are for people to decide.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from plscp.matching.match_context import MatchContext
from plscp.matching.model import Decision, MatchQuestion, SubstanceQuestion
from plscp.matching.records import PatientId, Study, stay_from
from plscp.matching.registry import Registry
from plscp.matching.rules import BY_PLACE

STATUSES_LOOKED_AT: Final = frozenset({0xC101, 0xC103, 0xC104, 0xC110, 0xC10E})
"""What a registry change can remove: the refusals of steps 8 and 9."""
MOST_ITEMS: Final = 10_000
"""Open items that are watched; beyond, the oldest are for people to replay."""

_BY_PLACE: Final = "found by place and time alone"
_BY_ADMISSION: Final = "found by the Admission ID alone"
_CONTRADICTS: Final = "other identifiers contradict the study found"
_LONG_AGO: Final = "it named the patient long before the registry did"
_ANOTHER: Final = "not the study that it was found to contradict"
_NOT_THERE: Final = "the study found was not where the device is"
_ANOTHER_THERE: Final = "another patient's study was there when the events occurred"
_OF_ANOTHER_CASE: Final = "the events are older than the study found, and the patient has others"
_NAME: Final = "the family name is not that of the patient found"


class OpenItem(NamedTuple):
    """A refused request in quarantine, as far as a second look needs it.

    Attributes:
        id: the quarantine item's.
        status, candidates, registry_position: of its last refusal: why, the Study Instance UIDs considered then, and R.
        arrived: UTC, when it came first.
        given: as `Decision.given`, but for a placeholder.
    """

    id: str
    calling_ae: str
    status: int
    arrived: datetime
    given: Mapping[str, str]
    candidates: tuple[str, ...]
    registry_position: int

    @property
    def by_place(self) -> bool:
        """Whether only the place and time can find its study."""
        return self.status in {0xC103, 0xC104} and not self.given.get("patient_id")


def keys_of_item(item: OpenItem) -> Iterator[tuple[str, str]]:
    """Under what an item is found: each identifier that it gives, and the studies that it might have been of."""
    given = item.given
    if uid := given.get("study_instance_uid"):
        yield "study", uid
    for candidate in item.candidates:
        yield "study", candidate
    for kind in ("patient_id", "study_id", "admission_id"):
        if identifier := given.get(kind):
            yield kind, identifier
    if item.status == 0xC10E:
        yield "operator", ""


def keys_of_change(change: Mapping[str, Any], registry: Registry) -> Iterator[tuple[str, str]]:
    """Whose finding a registry change, which was applied, may alter; as `keys_of_item`."""
    what = str(change["what"]).partition(".")[0]
    said: list[Mapping[str, Any]] = []
    if what == "study":
        yield "study", change["study_instance_uid"]
        yield "study_id", change["study_id"]
        yield "admission_id", change["accession_number"]
        said = [change["patient"]]
    elif what == "admission":
        yield "admission_id", change["id"]
        said = [change["patient"]]
    elif what == "patient":
        said = [change, *filter(None, (change.get("was"), change.get("merged")))]
    elif what == "operator":
        yield "operator", ""
    for identifier in said:
        yield "patient_id", identifier["id"]
        owner = registry.owner(PatientId(identifier["id"], identifier["issuer"]))
        if owner is not None:
            for known in (owner.current, *owner.other_ids, *owner.former_ids):
                yield "patient_id", known.id


class OpenItems:
    """The open items, found by what a registry change may alter of them; bounded. Not for several threads at once.

    Args:
        places: from a calling AE title to the locations of the device, as they are set now.
    """

    def __init__(self, places: Callable[[str], Iterable[str]]) -> None:
        self._places = places
        self._items: dict[str, OpenItem] = {}
        self._by_key: dict[tuple[str, str], dict[str, None]] = {}
        self._by_sender: dict[tuple[str, str], dict[str, None]] = {}  # (calling AE title, Performed Location)

    def __len__(self) -> int:
        return len(self._items)

    def get(self, item_id: str) -> OpenItem | None:
        """An item that is watched."""
        return self._items.get(item_id)

    def add(self, item: OpenItem) -> None:
        """Watch an item, or what is known of it by now."""
        self.remove(item.id)
        if len(self._items) >= MOST_ITEMS:
            self.remove(next(iter(self._items)))
        self._items[item.id] = item
        for key in keys_of_item(item):
            self._by_key.setdefault(key, {})[item.id] = None
        if item.by_place:
            self._by_sender.setdefault(_sender(item), {})[item.id] = None

    def remove(self, item_id: str) -> None:
        """It is not open any more, or cannot be replayed."""
        item = self._items.pop(item_id, None)
        if item is None:
            return
        for key in keys_of_item(item):
            _drop(self._by_key, key, item_id)
        if item.by_place:
            _drop(self._by_sender, _sender(item), item_id)

    def concerned(self, change: Mapping[str, Any], registry: Registry, reach: timedelta) -> Iterator[str]:
        """Ids of the items that a change, which was applied, may help, some of them more than once.

        Args:
            reach: how far from a study's time at a place an item's arrival may be for that place to concern it.
        """
        for key in keys_of_change(change, registry):
            yield from self._by_key.get(key, ())
        stays = list(map(stay_from, change.get("stays", ()))) if self._by_sender else []
        for (calling_ae, location), ids in self._by_sender.items() if stays else ():
            names = [location] if location else self._places(calling_ae)
            places = {registry.place(name) for name in names}
            there = [stay for stay in stays if registry.place(stay.location) in places]
            for item_id in ids if there else ():
                arrived = self._items[item_id].arrived
                if any(
                    stay.arrived <= arrived + reach and (stay.left is None or arrived - reach <= stay.left)
                    for stay in there
                ):
                    yield item_id


def _sender(item: OpenItem) -> tuple[str, str]:
    return item.calling_ae, item.given.get("performed_location", "")


def _drop(index: dict[tuple[str, str], dict[str, None]], key: tuple[str, str], item_id: str) -> None:
    ids = index.get(key, {})
    ids.pop(item_id, None)
    if not ids:
        index.pop(key, None)


# --- may it be replayed by itself? -------------------------------------------------------------------------------------


def why_ask(
    question: MatchQuestion | SubstanceQuestion,
    decision: Decision,
    registry: Registry,
    before: OpenItem,
    now: datetime,
) -> str:
    """Why a request that would be accepted by now, and was refused before, is not replayed without asking; empty: nothing against it."""
    if not decision.rule:
        return ""  # every entry is stored already: nothing is added
    if decision.rule in BY_PLACE:
        return _BY_PLACE
    if isinstance(question, SubstanceQuestion):
        if decision.rule != "patient":
            return _BY_ADMISSION
        if any(finding.code == "patient-name-differs" for finding in decision.findings):
            return _NAME
        return _LONG_AGO if _is_long_ago(question, now) else ""
    if 0xB104 in decision.warnings:
        return _CONTRADICTS
    if decision.study_instance_uid == question.given.study_instance_uid.strip(" "):
        return ""  # it names the study itself, and nobody gives out that UID twice
    # It names the patient: what was mistyped may by now be somebody else's ID, and who comes again has another study.
    if _is_long_ago(question, now):
        return _LONG_AGO
    if before.status == 0xC104 and decision.study_instance_uid not in before.candidates:
        return _ANOTHER
    if any(finding.code in {"device-location-differs", "location-unknown"} for finding in decision.findings):
        return _NOT_THERE
    study = registry.study(decision.study_instance_uid)
    if study is None:
        return _ANOTHER
    if _another_was_there(question, registry, study):
        return _ANOTHER_THERE
    early = any(finding.code == "before-opening" for finding in decision.findings)
    return _OF_ANOTHER_CASE if early and len(registry.studies_of(study.patient)) > 1 else ""


def _is_long_ago(question: MatchQuestion | SubstanceQuestion, now: datetime) -> bool:
    return question.arrival < now - question.policy.place_match_max_age


def _another_was_there(question: MatchQuestion, registry: Registry, study: Study) -> bool:
    """Whether another patient's study was where the request came from, between its first entry and its arrival."""
    case = MatchContext(question, registry)
    earliest = min([question.arrival, *(time.earliest for time in question.times)])
    latest = max([question.arrival, *(time.latest for time in question.times)])
    for place in {*case.places, *case.device_places}:
        for visit in registry.presence.between(place, earliest, latest):
            other = registry.study(visit.study_instance_uid)
            if other is not None and other.patient != study.patient:
                return True
    return False
