"""One Procedural Event question made ready for the rules: what counts as given, and what was noted on the way."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cached_property
from typing import Final, Literal, NamedTuple

from plscp.findings import Finding
from plscp.matching import comments
from plscp.matching.model import ClockUsed, Device, MatchCandidate, MatchQuestion, Policy
from plscp.matching.records import Patient, Study
from plscp.matching.registry import Registry

U: Final = 1  # Study Instance UID
P: Final = 2  # Patient ID, usable
S: Final = 4  # Study ID
L: Final = 8  # Performed Location
A: Final = 16  # calling AE title with configured locations

_FIRST: Final = datetime(1900, 1, 1, tzinfo=UTC)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9000, 1, 1, tzinfo=UTC)

Span = tuple[datetime, datetime]
"""The earliest and the latest time that is meant."""


# --- P's issuer --------------------------------------------------------------------------------------------------------

NOT_LISTED: Final = Finding("issuer-not-listed", comments.ISSUER_NOT_LISTED)
CONTRADICTORY: Final = Finding("issuers-contradict", comments.ISSUERS_CONTRADICT)
UNUSABLE_ISSUERS: Final = frozenset({NOT_LISTED.code, CONTRADICTORY.code})
"""Codes of the findings about an issuer that was sent and cannot be used."""


class SentIssuer(NamedTuple):
    """P's issuer as a request gives it: (0010,0021), and the Universal Entity ID of (0010,0024)."""

    name: str
    universal_entity_id: str


class Issuer(NamedTuple):
    """P's issuer in its one spelling, empty where none is known; where one was sent that cannot be used, the ID names nobody."""

    name: str
    unusable: Finding | None = None
    sent: SentIssuer = SentIssuer("", "")

    def given(self) -> dict[str, str]:
        """As it is used, and as it was sent where that differs: members of the published ``match.given``."""
        sent = zip(("issuer_as_sent", "issuer_universal_entity_id"), self.sent, strict=True)
        used = {"issuer": self.name} if self.name else {}
        return used | {name: value.strip(" ") for name, value in sent if value.strip(" ") not in {"", self.name}}


def find_issuer(patient_id: str, sent: SentIssuer, device: Device, policy: Policy, registry: Registry) -> Issuer:
    """P's issuer in its one spelling: as sent, else the device's, else the policy's, else none (contract section 3)."""
    spell = registry.issuers.spell
    authorities = {spell(one.strip(" ")) for one in sent if one.strip(" ")}
    if not all(map(registry.knows_issuer, authorities)):
        return Issuer("", NOT_LISTED, sent)
    if len(authorities) > 1:
        return Issuer("", CONTRADICTORY, sent)
    configured = device.patient_id_issuer.strip(" ") or policy.patient_id_issuer.strip(" ")
    name = authorities.pop() if authorities else registry.own_issuer(patient_id) or spell(configured)
    return Issuer(name, None, sent)


# --- when the entries occurred -----------------------------------------------------------------------------------------


class Clock(Enum):
    """What is known of the clock that stamped the entries (contract section 3, Whose clock is known)."""

    UNTRUSTED = "untrusted"  # the settings say so
    KNOWN = "known"  # measured, within the tolerance
    FAST = "fast"  # measured: a delay never looks like this
    SLOW = "slow"  # or delayed: the two cannot be told apart
    UNKNOWN = "unknown"


def clock_of(question: MatchQuestion) -> Clock:
    """What is known of the sending device's clock."""
    difference, tolerance = question.clock_difference, question.policy.clock_tolerance
    if question.device.times == "untrusted":
        return Clock.UNTRUSTED
    if difference is None:
        return Clock.UNKNOWN
    if difference < -tolerance:
        return Clock.FAST
    return Clock.KNOWN if difference <= tolerance else Clock.SLOW


def spans_of(question: MatchQuestion) -> list[Span]:
    """When each entry occurred, corrected where the clock is fast; so far from the calendar's ends that no tolerance leaves it."""
    correction = question.clock_difference if clock_of(question) is Clock.FAST else None
    spans = [
        (time.earliest, time.latest)
        if time.earliest >= _FIRST and time.latest <= _LAST
        else (max(time.earliest, _FIRST), max(min(time.latest, _LAST), _FIRST))
        for time in question.times
    ]
    return spans if correction is None else [(earliest + correction, latest + correction) for earliest, latest in spans]


def occurred_between(question: MatchQuestion) -> Span:
    """The earliest and the latest time at which a request's latest entry may have occurred, for a sign of life.

    What proves that a study was alive, or is confirmed, counts at the earliest; what keeps a study in its room, at the latest: a
    clock that may be slow stamps a punctual event early. Entries of the future prove nothing: then the earliest is the epoch.
    """
    arrival, clock = question.arrival, clock_of(question)
    if clock is Clock.UNTRUSTED:
        return arrival, arrival
    spans = [span for span in spans_of(question) if span[0] <= arrival + question.policy.clock_tolerance]
    earliest = min(max((earliest for earliest, _ in spans), default=_EPOCH), arrival)
    if clock not in {Clock.KNOWN, Clock.FAST}:
        return max(earliest, _EPOCH), arrival
    return max(earliest, _EPOCH), min(max((latest for _, latest in spans), default=arrival), arrival)


# --- the question --------------------------------------------------------------------------------------------------------


class NoMatch(NamedTuple):
    """A rule's answer that ends the search: a failure status and its comment."""

    status: int
    comment: str


class MatchContext:
    """A question, digested once. Identifiers are without spaces at the ends; a placeholder is not given.

    Attributes:
        given: bits of the identifiers that count as given.
        issuer: P's, by the chain; an unusable one makes P name nobody.
        named: study U, where it is known.
        places: where: L's lab, none for an L that no `[locations]` entry names; without L the device's locations.
        timed: whether the answer may depend on when the entries occurred or arrived, but for `after` and `until`.
        after, until: the answer holds for arrivals after the one, up to and with the other.
        comment: why nothing was found so far.
        candidates: what was considered and not taken.
    """

    def __init__(self, question: MatchQuestion, registry: Registry) -> None:
        identifiers = question.given
        self.question = question
        self.registry = registry
        self.policy = question.policy
        self.timed = False
        self.after, self.until = _FIRST, _LAST
        self.uid = identifiers.study_instance_uid.strip(" ")
        self.study_id = identifiers.study_id.strip(" ")
        self.location = identifiers.performed_location.strip(" ")
        patient_id = identifiers.patient_id.strip(" ")
        self.patient_id = "" if patient_id and self.policy.is_placeholder(patient_id) else patient_id
        self.issuer = Issuer("")
        if self.patient_id:
            sent = SentIssuer(identifiers.issuer_of_patient_id, identifiers.issuer_universal_entity_id)
            self.issuer = find_issuer(patient_id, sent, question.device, question.policy, registry)
        self.given = (
            (U if self.uid else 0)
            | (P if self.patient_id else 0)
            | (S if self.study_id else 0)
            | (L if self.location else 0)
            | (A if question.device.locations else 0)
        )
        self.named = registry.study(self.uid) if self.uid else None
        self.device_places = tuple(registry.place(name) for name in question.device.locations)
        self.places = self.device_places
        if self.location:
            lab = registry.locations.resolve(self.location)
            self.places = () if lab is None else (lab,)
        self.comment = ""
        self.candidates: list[MatchCandidate] = []

    @property
    def clock(self) -> Clock:
        """What is known of the device's clock."""
        self.timed = True
        return clock_of(self.question)

    @property
    def clock_used(self) -> ClockUsed | None:
        """What was known of the device's clock; None where the answer does not depend on times."""
        return ClockUsed(self.clock.value, self.question.clock_difference) if self.timed else None

    @property
    def arrival(self) -> datetime:
        """When the request's last byte was read, UTC."""
        self.timed = True
        return self.question.arrival

    @cached_property
    def spans(self) -> list[Span]:
        """Each different entry time, corrected where the clock is fast; at least one."""
        self.timed = True
        return list(dict.fromkeys(spans_of(self.question)))

    @cached_property
    def readings(self) -> list[Span]:
        """Every time that the entries may mean: a DT of a repeated hour may mean two, but none that is still to come."""
        latest = self.arrival + self.policy.clock_tolerance
        others = [time.other for time in self.question.times if time.other is not None and time.other[0] <= latest]
        return [*self.spans, *others]

    @property
    def times(self) -> list[Span]:
        """When the events occurred; at arrival for a device whose times are untrusted."""
        return self.spans if self.clock is not Clock.UNTRUSTED else [(self.arrival, self.arrival)]

    @cached_property
    def patients(self) -> tuple[Patient, ...]:
        """Whom P names: none, one or several."""
        names_somebody = self.patient_id and self.issuer.unusable is None
        return self.registry.named(self.patient_id, self.issuer.name) if names_somebody else ()

    def agrees(self, patient: Patient) -> Literal["", "current", "superseded"]:
        """Whether P names a patient."""
        return "" if self.issuer.unusable else self.registry.agrees(patient, self.patient_id, self.issuer.name)

    def takes_events(self, study: Study) -> bool:
        """Open, or closed no longer than the grace ago at arrival."""
        if study.status != "closed" or study.closed is None:
            return study.status == "open"
        return not self.is_past(study.closed + self.policy.close_grace)

    def is_past(self, moment: datetime) -> bool:
        """Whether the request arrived after a moment; the answer then holds only on this side of it."""
        if self.question.arrival > moment:
            self.after = max(self.after, moment)
            return True
        self.until = min(self.until, moment)
        return False

    def in_the_future(self) -> bool:
        """Whether an entry occurred after its arrival, beyond `clock_tolerance`."""
        latest = self.arrival + self.policy.clock_tolerance
        return any(earliest > latest for earliest, _ in self.spans)

    def too_old(self, behind: timedelta = timedelta(0)) -> bool:
        """Whether an entry is too old for a place to say whose it is; `behind`: by how much the clock that stamped it may be slow."""
        oldest = self.arrival - self.policy.place_match_max_age - behind
        return any(earliest < oldest for earliest, _ in self.readings)

    def note(self, study_instance_uid: str, why_not: str) -> None:
        """Keep a candidate that was not taken; the first reason counts."""
        if all(known.what != study_instance_uid for known in self.candidates):
            self.candidates.append(MatchCandidate(study_instance_uid, why_not))

    def note_all(self, studies: Iterable[Study], why_not: str) -> None:
        """Keep several."""
        for study in studies:
            self.note(study.study_instance_uid, why_not)
