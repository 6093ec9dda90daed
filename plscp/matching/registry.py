"""The registry of patients, admissions and studies, with its history: a projection of the event store's registry changes."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, ClassVar, Final, Literal, Self

from plscp.matching.identifiers import Numbers, Owners
from plscp.matching.layers import Forkable
from plscp.matching.operators import Operators
from plscp.matching.presence import Presence, SignsOfLife
from plscp.matching.records import (
    GENERATED_ISSUER,
    GENERATED_PREFIX,
    Admission,
    AdmissionRow,
    Patient,
    PatientId,
    PatientRow,
    Study,
    StudyStay,
    admission_of,
    admission_row,
    patient_from,
    patient_of,
    patient_row,
    study_from,
)
from plscp.matching.steps import Steps

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FOREVER_US: Final = 1 << 62
TURNOVER: Final = "room-turnover"
"""The reason of a change that follows from who came to a room later (see `turnover`)."""
_FOUND_BY: Final = ("patient", "accession_number", "study_id")
"""What studies are found by, beside their UID."""


def microseconds(moment: datetime) -> int:
    """Microseconds since the epoch of a UTC time."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(time_us: int) -> datetime:
    """The reverse of `microseconds`."""
    return _EPOCH + timedelta(microseconds=time_us)


def _by_spelling(what: str, names: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """From each way to write a name to the name that stands for them all. Raises ValueError where one stands for two."""
    meant: dict[str, str] = {}
    for name, others in names.items():
        for spelling in (name, *others):
            known = meant.setdefault(spelling.strip(" "), name)
            if known != name:
                raise ValueError(f"{what} {spelling!r} stands in both {known} and {name}")
    return meant


class Issuers(dict[str, str]):
    """`[issuers]`: from each spelling of an authority that gives out IDs, such as its OID or what an older feed calls it, to the one used.

    Spelling happens when requests and feeds come in and when identifiers are compared: what is stored stays as it was written.
    Raises ValueError where one spelling stands for two authorities.
    """

    def __init__(self, names: Mapping[str, Iterable[str]] | None = None) -> None:
        super().__init__(_by_spelling("issuer", {name.strip(" "): others for name, others in (names or {}).items()}))

    def spell(self, issuer: str) -> str:
        """The one spelling of an authority; an authority that is not listed is spelled as it is."""
        return self.get(issuer, issuer)


class Locations(dict[str, str]):
    """`[locations]`: from the names that devices, MPPS and HL7 use for each lab to the name of its table, which is one as well.

    Raises ValueError where one name stands for two labs.
    """

    def __init__(self, names: Mapping[str, Iterable[str]] | None = None) -> None:
        super().__init__(_by_spelling("location name", names or {}))

    def resolve(self, name: str) -> str | None:
        """The table that lists a name, compared exactly after removing leading and trailing spaces; None for no table."""
        return self.get(name.strip(" "))


class Registry(Forkable):
    """What is known of patients, admissions and studies at one position of the event store.

    Applying the same changes in the same order, with the same `locations`, always makes the same registry. What it holds is
    immutable, so a reader may keep what it was given.

    A fork is what a plan works on: it costs the changes made in it, and holds until the registry itself changes.
    """

    whole: ClassVar[frozenset[str]] = frozenset({"file", "decided"})
    passing: ClassVar[frozenset[str]] = frozenset({"locations", "issuers", "entered", "decided"})

    def __init__(self, locations: Locations | None = None, issuers: Issuers | None = None) -> None:
        self.position = 0  # R, of the last change applied
        self.locations = locations or Locations()
        self.issuers = issuers or Issuers()  # looked up each time, so that others may take their place (see `spell_by`)
        self.file: dict[str, Any] = {}  # content of the registry file as last read, JSON-able
        self.generated = 0  # the highest n of the `PLSCP-<n>` given so far
        self.presence = Presence()
        self.operators = Operators()
        self.steps = Steps()
        self._patients: dict[int, PatientRow] = {}
        self._owners = Owners()
        self._next_patient = 1
        self._merged_keys: dict[int, tuple[str, ...]] = {}  # by surviving patient, the keys of those merged into it
        self._admissions: dict[int, AdmissionRow] = {}
        self._admission_numbers = Numbers()
        self._next_admission = 1
        self._studies: dict[str, Study] = {}
        self._open: dict[str, None] = {}  # the studies that are open
        self._studies_by: dict[tuple[str, str | int], tuple[str, ...]] = {}  # by one of `_FOUND_BY` and its value
        self._closed_times: dict[str, tuple[tuple[int, int], ...]] = {}
        self._turned_over: dict[
            str, tuple[datetime, ...]
        ] = {}  # by study, when the stays began that a turnover has ended
        self.life = SignsOfLife()  # changes bring those of feeds, and accepted requests the others
        self.entered: Callable[[str], bool] = _never  # whether an entry ever stood under a study: the store knows
        self.decided: dict[Hashable, Any] = {}  # decisions that hold at this position for some time (see `rules`)

    def fork(self) -> Self:
        """A view, which decides by itself."""
        twin = super().fork()
        twin.decided = {}
        return twin

    def spell_by(self, issuers: Issuers) -> None:
        """From now on identifiers are compared by these spellings; what is stored stays as it was written."""
        self.issuers, self.decided = issuers, {}

    # --- looking up ----------------------------------------------------------------------------------------------------

    def place(self, name: str) -> str:
        """The lab that a name stands for; a name that no `[locations]` entry lists is a place of its own."""
        return self.locations.resolve(name) or name.strip(" ")

    def study(self, study_instance_uid: str) -> Study | None:
        """A study by its Study Instance UID."""
        return self._studies.get(study_instance_uid)

    def studies(self, *, status: str = "") -> list[Study]:
        """Studies, optionally of one status: in the order of first mention, open ones in that of opening."""
        if status == "open":
            return [self._studies[uid] for uid in self._open]
        return [study for study in self._studies.values() if status in {"", study.status}]

    def studies_after(self, count: int) -> Iterator[tuple[int, Study]]:
        """Studies in the order of their first mention, numbered from 1, without so many at the beginning."""
        return enumerate(islice(self._studies.values(), count, None), count + 1)

    def studies_of(self, patient: int) -> list[Study]:
        """The studies of a patient."""
        return self.studies_by("patient", patient)

    def studies_by(self, name: Literal["patient", "accession_number", "study_id"], value: str | int) -> list[Study]:
        """The studies that have a value, which is not empty."""
        return [self._studies[uid] for uid in self._studies_by.get((name, value), ())]

    def owner(self, patient_id: PatientId) -> Patient | None:
        """The patient that exactly this identifier names now, be it current, former or another one."""
        number = self._owners.now.get(*patient_id)
        return None if number is None else self.patient_number(number)

    def _meant(self, known: tuple[str, ...], issuer: str) -> tuple[str, ...]:
        """Of the issuers under which an ID is stored, those that an issuer given may mean; without issuer all.

        That authority's, in any of its spellings; where it has none, that of no issuer while no authority has given that ID.
        """
        if not issuer:
            return known
        spell = self.issuers.spell
        authority = spell(issuer)
        return tuple(stored for stored in known if spell(stored) == authority) or (known if known == ("",) else ())

    def named(self, patient_id: str, issuer: str) -> tuple[Patient, ...]:
        """The patients that an identifier may mean: none, one, or several."""
        known = dict(self._owners.now.known(patient_id))
        meant = self._meant(tuple(known), issuer)
        return tuple(self.patient_number(number) for number in dict.fromkeys(known[stored] for stored in meant))

    def agrees(self, patient: Patient, patient_id: str, issuer: str) -> Literal["", "current", "superseded"]:
        """Whether an ID names a patient: by the current one, by a superseded or other one, or (empty) not at all."""
        current = patient.current
        if current.id == patient_id and (not issuer or current.issuer == issuer):
            return "current"  # nearly always; a current identifier names nobody else
        spell = self.issuers.spell
        authority = spell(issuer)
        known = self._owners.now.known(patient_id)
        own = [stored for stored, number in known if number == patient.number]
        if issuer and any(spell(stored) == authority for stored, _ in known):
            named = any(spell(stored) == authority for stored in own)
        else:
            named = own == [""] if issuer else bool(own)
        if not named:
            return ""
        is_current = current.id == patient_id and (not current.issuer or spell(current.issuer) == authority)
        return "current" if is_current else "superseded"

    def spellings(self, patient_id: PatientId) -> tuple[PatientId, ...]:
        """The identifiers, as stored, that are this one in any spelling of its issuer."""
        spell, known = self.issuers.spell, self._owners.now.known(patient_id.id)
        authority = spell(patient_id.issuer)
        return tuple(PatientId(patient_id.id, stored) for stored, _ in known if spell(stored) == authority)

    def knows_issuer(self, issuer: str) -> bool:
        """Whether `[issuers]` lists an authority or some patient has an identifier of it."""
        return issuer in self.issuers or self._owners.now.has_issuer(issuer)

    def own_issuer(self, patient_id: str) -> str:
        """Plscp's issuer for a `PLSCP-<n>` that it gave, else empty: an Action Reply has none (Table P.2-4), so the ID comes back so."""
        given = patient_id.startswith(GENERATED_PREFIX) and self.owner(PatientId(patient_id, GENERATED_ISSUER))
        return GENERATED_ISSUER if given else ""

    def named_as_given(self, patient_id: str, issuer: str) -> tuple[Patient, ...]:
        """As `named`; of patients that were made before `[issuers]` listed a spelling, the one who has it as it is given."""
        found = self.named(patient_id, issuer)
        as_given = self.owner(PatientId(patient_id, issuer)) if issuer and len(found) > 1 else None
        return found if as_given is None else (as_given,)

    def patient(self, patient_id: str, issuer: str = "") -> Patient | None:
        """The one patient that an identifier, as it is given, names; None for none and for several."""
        found = self.named_as_given(patient_id, issuer)
        return found[0] if len(found) == 1 else None

    def patient_number(self, number: int) -> Patient:
        """A patient by number."""
        return patient_of(number, self._patients[number])

    def patients(self) -> list[Patient]:
        """Every patient, in the order of first mention."""
        return list(self.patients_after(0))

    def patients_after(self, number: int) -> Iterator[Patient]:
        """The patients of higher numbers, in the order of first mention."""
        return (self.patient_number(each) for each in range(number + 1, self._next_patient) if each in self._patients)

    @property
    def patient_count(self) -> int:
        """How many patients there are."""
        return len(self._patients)

    def keys_of(self, patient: Patient) -> tuple[str, ...]:
        """The keys under which changes of a patient, and of those merged into it, stand in the store."""
        return (patient.key, *self._merged_keys.get(patient.number, ()))

    def named_by(self, patient: Patient) -> list[PatientId]:
        """Every identifier that a patient is or was known by, also those that were given anew, to others."""
        return [patient.current, *patient.former_ids, *patient.other_ids, *self._owners.given_away(patient.number)]

    def spans_of(self, patient: Patient) -> Iterator[tuple[PatientId, int, int | None]]:
        """What `named_by` says, each with the position from which on, and that before which, it named that patient; None: until now."""
        for each in dict.fromkeys(self.named_by(patient)):
            yield from ((each, since, until) for since, until in self._owners.spans(patient.number, each))

    def current_patient(self, patient_id: str, issuer: str, position: int | None = None) -> PatientId:
        """The current identifier of the patient that (ID, issuer) named; as given where it is not known.

        By the `position` of the event that carried it an ID given anew since then still leads to its owner of that time.
        """
        given = PatientId(patient_id, issuer)
        number = self._owners.of_then(given, position)
        return given if number is None else self.patient_number(number).current

    def admissions_named(self, admission_id: str, issuer: str) -> list[Admission]:
        """The admissions that an Admission ID may mean, with or without issuer; as `named`."""
        known = dict(self._admission_numbers.known(admission_id))
        return [self._admission(known[stored]) for stored in self._meant(tuple(known), issuer)]

    def _admission(self, number: int) -> Admission:
        return admission_of(self._admissions[number], lambda whose: self.patient_number(self._owners.survivor(whose)))

    def admission(self, admission_id: str, issuer: str = "") -> Admission | None:
        """The one admission that an ID names; None for none and for several."""
        found = self.admissions_named(admission_id, issuer)
        return found[0] if len(found) == 1 else None

    def admissions(self) -> list[Admission]:
        """Every admission, in the order of first mention."""
        return [admission for _, admission in self.admissions_after(0)]

    def admissions_after(self, number: int) -> Iterator[tuple[int, Admission]]:
        """The admissions of higher numbers, in the order of first mention, with their numbers."""
        return ((each, self._admission(each)) for each in range(number + 1, self._next_admission))

    # --- signs of life ---------------------------------------------------------------------------------------------------

    def sign_of_life(
        self, study_instance_uid: str, place: str, time_us: int, *, by_request: bool = False, perhaps_us: int = 0
    ) -> None:
        """Note that a study was going on at a place, by any of its names; while it was closed it gives none.

        Args:
            by_request: an accepted request says so, not a feed.
            perhaps_us: a later time at which it may have occurred: the device's clock may be slow.
        """
        if not place or study_instance_uid not in self._studies:
            return
        for closed, again in self._closed_times.get(study_instance_uid, ()):
            if closed < time_us < again:
                time_us = 0
            if closed < perhaps_us < again:
                perhaps_us = 0
        if time_us or perhaps_us:
            self.life.note(study_instance_uid, self.place(place), time_us, by_request=by_request, perhaps_us=perhaps_us)

    def active(self, study_instance_uid: str, place: str, since: datetime, until: datetime) -> bool:
        """Whether a study gave a sign of life at a place in that time, both ends included."""
        return max(microseconds(since), 1) <= self.last_sign_of_life(study_instance_uid, place, until)

    def last_sign_of_life(self, study_instance_uid: str, place: str, until: datetime | None = None) -> int:
        """Microseconds since the epoch of a study's last sign of life at a place, if need be until a time; 0 for none."""
        until_us = _FOREVER_US if until is None else microseconds(until)
        study = self._studies.get(study_instance_uid)
        if study is not None and study.closed is not None:  # it has none after its closing
            until_us = min(until_us, microseconds(study.closed))
        return self.life.last(study_instance_uid, place, until_us)

    def has_entries(self, study_instance_uid: str) -> bool:
        """Whether an entry stands, or ever stood, under a study."""
        return self.entered(study_instance_uid)

    def is_turned_over(self, study: Study) -> bool:
        """Whether a study is closed by nothing but a turnover."""
        return study.status == "closed" and self.was_turned_over(study, study.stays[-1:])

    def was_turned_over(self, study: Study, stays: Sequence[StudyStay]) -> bool:
        """Whether these of a study's stays were ended by a turnover, and nobody said that the study was over by then."""
        ended = self._turned_over.get(study.study_instance_uid, ())
        return bool(stays) and all(stay.arrived in ended for stay in stays)

    # --- applying changes -------------------------------------------------------------------------------------------------

    def apply(self, position: int, time_us: int, change: Mapping[str, Any]) -> None:
        """Apply one change, as `plscp.matching.changes` planned it; one at or below `position` was applied already.

        Raises ValueError for a change of a kind that this version does not know.
        """
        if position <= self.position:
            return
        what = str(change["what"])
        match what.split("."):
            case ["study", _]:
                self._apply_study(time_us, change)
            case ["patient", "changed"]:
                self._apply_patient(position, change)
            case ["patient", "demographics"]:
                patient = self._owner_of(change)
                said = {name: change[name] for name in ("name", "birth_date", "sex")}
                self._patients[patient.number] = patient_row(replace(patient, **said))
            case ["patient", "merged"]:
                self._apply_merge(position, change)
            case ["admission", "changed"]:
                self._apply_admission(change)
            case ["operator", _]:
                self.operators.apply(change)
            case ["step", "changed"]:
                step = self.steps.apply(position, change)
                for uid in step.studies:
                    self.sign_of_life(uid, step.location, time_us)
            case ["file", "read"]:
                self.file = dict(change["content"])
            case _:
                raise ValueError(f"registry change {what!r} is not known to this version")
        self.position = position
        self.decided = {}

    def _owner_of(self, change: Mapping[str, Any]) -> Patient:
        owner = self.owner(PatientId(change["id"], change["issuer"]))
        if owner is None:
            raise ValueError("a registry change names a patient that no change before it made")
        return owner

    def _apply_study(self, time_us: int, change: Mapping[str, Any]) -> None:
        study = study_from(change, self._owner_of(change["patient"]))
        # At the labs that the names in the change stand for now: `[locations]` may have been another when it was made.
        stays = tuple(stay._replace(location=self.place(stay.location)) for stay in study.stays)
        study = replace(study, location=self.place(study.location), stays=stays)
        uid = study.study_instance_uid
        before = self._studies.get(uid)
        for name in _FOUND_BY:
            old, new = getattr(before, name, ""), getattr(study, name)
            if old != new:
                _drop(self._studies_by, (name, old), uid)
                if new:
                    _add(self._studies_by, (name, new), uid)
        self.presence.replace(uid, before.stays if before else (), study.stays)
        self._studies[uid] = study
        if study.status != "open":
            self._open.pop(uid, None)
        elif uid not in self._open:
            self._open[uid] = None
        turned_over = (change["what"], change.get("reason")) == ("study.closed", TURNOVER)
        taken_back = (change["what"], change.get("reason")) == ("study.opened", TURNOVER)
        if not taken_back:  # else it never was closed
            self._forget_closed_time(time_us, before, study)
        self._signs_of(time_us, before, study)
        if turned_over:
            _add(self._turned_over, uid, study.stays[-1].arrived)
        elif study.stays and (taken_back or change["what"] == "study.closed"):
            _drop(self._turned_over, uid, study.stays[-1].arrived)

    def _forget_closed_time(self, time_us: int, before: Study | None, study: Study) -> None:
        """A study that is open again had no sign of life while it was closed."""
        if before is None or before.closed is None or study.closed is not None:
            return
        uid = study.study_instance_uid
        again = microseconds(study.stays[-1].arrived) if len(study.stays) > len(before.stays) else time_us
        closed_time = (microseconds(before.closed), again)
        self._closed_times[uid] = (*self._closed_times.get(uid, ()), closed_time)
        self.life.forget_between(uid, *closed_time)

    def _signs_of(self, time_us: int, before: Study | None, study: Study) -> None:
        """A change is a sign of life when it says that the study arrived somewhere, or that a step began or ended.

        That it left is none: whoever says so late would have it live until then.
        """
        uid = study.study_instance_uid
        known = before.stays if before else ()
        for index, stay in enumerate(study.stays):
            if index >= len(known) or known[index].arrived != stay.arrived:
                self.sign_of_life(uid, stay.location, microseconds(stay.arrived))
        if study.steps != (before.steps if before else ()):
            self.sign_of_life(uid, study.location, time_us)

    def _apply_patient(self, position: int, change: Mapping[str, Any]) -> None:
        current = PatientId(change["id"], change["issuer"])
        was = change.get("was")
        before = self.owner(PatientId(was["id"], was["issuer"]) if was else current)
        if before is not None and was is None and before.current != current:
            before = None  # the ID was another's, and is given anew
        number = before.number if before else self._next_patient
        if before is None:
            self._next_patient += 1
        self._store_patient(position, patient_from(change, number, before), before)
        count = current.id.removeprefix(GENERATED_PREFIX)
        if current.issuer == GENERATED_ISSUER and count.isdecimal():
            self.generated = max(self.generated, int(count))

    def _store_patient(self, position: int, patient: Patient, before: Patient | None) -> None:
        known = {before.current, *before.other_ids, *before.former_ids} if before else set()
        self._claim(position, patient.current, patient.number)
        now = {patient.current, *patient.other_ids, *patient.former_ids}
        for alias in (*patient.former_ids, *patient.other_ids):
            if alias not in known:
                self._claim(position, alias, patient.number)
        for gone in known - now:
            if self._owners.now.get(*gone) == patient.number:
                self._owners.release(position, gone)
        self._patients[patient.number] = patient_row(patient)
        if before is not None and before.current != patient.current:
            self._point_to(patient, patient.number)

    def _claim(self, position: int, patient_id: PatientId, number: int) -> None:
        holder = self._owners.now.get(*patient_id)
        if holder is not None and holder != number and holder in self._patients:
            other = self.patient_number(holder)
            without = replace(
                other,
                other_ids=tuple(known for known in other.other_ids if known != patient_id),
                former_ids=tuple(known for known in other.former_ids if known != patient_id),
            )
            self._patients[holder] = patient_row(without)
        self._owners.claim(position, patient_id, number)

    def _point_to(self, patient: Patient, number: int) -> None:
        """Studies of patient `number` stand under `patient` from now on; admissions follow by themselves."""
        for uid in self._studies_by.pop(("patient", number), ()):
            self._studies[uid] = replace(self._studies[uid], patient=patient.number, patient_id=patient.current)
            _add(self._studies_by, ("patient", patient.number), uid)

    def _apply_merge(self, position: int, change: Mapping[str, Any]) -> None:
        survivor = self._owner_of(change)
        prior = self.owner(PatientId(change["merged"]["id"], change["merged"]["issuer"]))
        another = prior is not None and prior.number != survivor.number
        if prior is not None and another:
            named = (prior.current, *prior.other_ids, *prior.former_ids)
            self._owners.merge(position, prior.number, survivor.number, named)
            del self._patients[prior.number]
            known = self._merged_keys.get(survivor.number, ())
            self._merged_keys[survivor.number] = (*known, prior.key, *self._merged_keys.pop(prior.number, ()))
        after = patient_from(change, survivor.number, survivor)
        self._store_patient(position, after, survivor)
        if prior is not None and another:
            self._point_to(after, prior.number)

    def _apply_admission(self, change: Mapping[str, Any]) -> None:
        patient = self._owner_of(change["patient"])
        number = self._admission_numbers.get(change["id"], change["issuer"])
        if number is None:
            number = self._next_admission
            self._next_admission += 1
            self._admission_numbers.put(change["id"], change["issuer"], number)
        self._admissions[number] = admission_row(change, patient.number)


def _never(_study_instance_uid: str) -> bool:
    return False


def _add(index: dict[Any, tuple[Any, ...]], key: object, member: object) -> None:
    known = index.get(key, ())
    if member not in known:
        index[key] = (*known, member)


def _drop(index: dict[Any, tuple[Any, ...]], key: object, member: object) -> None:
    left = tuple(known for known in index.get(key, ()) if known != member)
    if left:
        index[key] = left
    else:
        index.pop(key, None)
