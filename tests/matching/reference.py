"""Rules 1 to 7 once more, as slowly and plainly as possible: no indices, no shortcuts. What the fast ones are held against.

It knows studies as plain tuples and answers only which study, by which rule, or which failure.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from plscp.matching.model import MatchQuestion
from plscp.matching.records import Study, StudyStay
from plscp.matching.registry import Registry, microseconds


class Answer(NamedTuple):
    """Status class (0 for Success and Warning), rule and study."""

    failure: int
    rule: str
    study: str


def _clean(text: str) -> str:
    return text.strip(" ")


class Reference:
    """One question, answered the long way."""

    def __init__(self, question: MatchQuestion, registry: Registry) -> None:
        given, self.q, self.r = question.given, question, registry
        self.U, self.S, self.L = (
            _clean(given.study_instance_uid),
            _clean(given.study_id),
            _clean(given.performed_location),
        )
        self.P = _clean(given.patient_id)
        if self.P.upper() in {placeholder.upper() for placeholder in question.policy.placeholder_patient_ids}:
            self.P = ""
        issuer = _clean(given.issuer_of_patient_id)
        self.issuer = issuer or question.device.patient_id_issuer or question.policy.patient_id_issuer
        self.now = question.arrival
        self.untrusted = question.device.times == "untrusted"
        tolerance, difference = question.policy.clock_tolerance, question.clock_difference
        self.fast = not self.untrusted and difference is not None and difference < -tolerance
        self.known = not self.untrusted and difference is not None and abs(difference) <= tolerance
        shift = difference if self.fast and difference is not None else timedelta(0)
        self.times = [(t.earliest + shift, t.latest + shift) for t in question.times]
        self.times += [t.other for t in question.times if t.other and t.other[0] <= self.now + tolerance]
        self.studies = registry.studies()
        self.home = [registry.place(name) for name in question.device.locations]
        table = registry.locations.resolve(self.L) if self.L else None
        self.places = ([table] if table else []) if self.L else self.home

    def takes(self, study: Study) -> bool:
        if study.status == "open":
            return True
        return (
            study.status == "closed"
            and study.closed is not None
            and self.now - study.closed <= self.q.policy.close_grace
        )

    def patients(self) -> list[int]:
        """By walking over everybody: current, former and other IDs."""
        exact, unissued, any_issuer = [], [], []
        for patient in self.r.patients():
            for known in (patient.current, *patient.former_ids, *patient.other_ids):
                if known.id == self.P:
                    any_issuer.append(patient.number)
                    if known.issuer == self.issuer:
                        exact.append(patient.number)
                    if not known.issuer:
                        unissued.append(patient.number)
        return sorted(set((exact or unissued) if self.issuer else any_issuer)) if self.P else []

    def answer(self) -> Answer:
        rule, found = self.find()
        if isinstance(found, int):
            return Answer(found, "", "")
        by_place = rule in {"5", "6", "7"}
        if self.P and found.patient not in self.patients() and self.q.policy.patient_mismatch == "refuse":
            return Answer(0xC104, "", "")
        if self.P and self.S and self.L and not by_place and self.both_are_anothers(found):
            return Answer(0xC104, "", "")
        slip = rule == "2a" and found.study_instance_uid == self.U
        if slip and self.q.policy.not_started_elsewhere == "refuse" and self.another_open(found):
            return Answer(0xC104, "", "")
        if self.S and by_place and found.study_id and found.study_id != self.S:
            return Answer(0xC104, "", "")
        return Answer(0, rule, found.study_instance_uid)

    def find(self) -> tuple[str, Study | int]:
        named = [study for study in self.studies if study.study_instance_uid == self.U]
        if named:
            [study] = named
            if self.takes(study):
                return "1", study
            if study.status in {"closed", "cancelled"}:
                return "2", 0xC101
            planned = study.planned
            if planned is not None and self.now - planned > self.q.policy.scheduled_expires:
                return "2", 0xC101
            others = [
                other
                for other in self.studies
                if other.patient == study.patient and other.status == "open" and other.location in self.places
            ]
            return "2a", others[0] if len(others) == 1 else study
        whose = self.patients()
        taking = [study for study in self.studies if whose == [study.patient] and self.takes(study)]
        if self.P and self.S:
            with_id = [study for study in taking if study.study_id == self.S]
            if with_id:
                return "3", with_id[0] if len(with_id) == 1 else 0xC103
        if self.P:
            found = self.rule_4(taking)
            if found is not None:
                return "4", found
        if self.U and (self.P or not self.q.device.coerce_by_location):
            return "", 0xC103
        if self.L:
            if self.S:
                found = self.at(self.places, self.S)
                if found is not None:
                    return "5", found
            if not self.places or (self.home and not set(self.places) & set(self.home)):
                return "", 0xC103
            return "6", self.at(self.places, "") or 0xC103
        return "7", (self.at(self.home, "") or 0xC103) if len(set(self.home)) == 1 else 0xC103

    def both_are_anothers(self, found: Study) -> bool:
        """S and L are both those of one other patient's study, and S is not the found one's."""
        if found.study_id == self.S:
            return False
        expires = self.q.policy.scheduled_expires
        for other in self.studies:
            if other.patient == found.patient or other.study_id != self.S:
                continue
            if other.status == "scheduled":
                fresh = other.planned is None or self.now - other.planned <= expires
                if other.location in self.places and fresh:
                    return True
            elif any(self.was_at(other, e, l) for e, l in [*self.when(), (self.now, self.now)]):
                return True
        return False

    def when(self) -> list[tuple[datetime, datetime]]:
        """When the events occurred, without the other readings."""
        return [(self.now, self.now)] if self.untrusted else self.times[: len(self.q.times)]

    def another_open(self, found: Study) -> bool:
        places = {*self.places, *self.home}
        return any(s.status == "open" and s.patient != found.patient and s.location in places for s in self.studies)

    def rule_4(self, taking: list[Study]) -> Study | int | None:
        if self.places:
            there = [
                study
                for study in taking
                if study.location in self.places
                or (self.known and all(self.was_at(study, e, l) for e, l in self.when()))
            ]
            taking = there or [study for study in taking if study.status == "open" or not study.location]
        if len(taking) > 1:
            if self.untrusted or self.fast or self.future() or self.old():
                return 0xC103
            all_taking = taking
            taking = [
                study
                for study in taking
                if all(
                    study.opened is not None
                    and study.opened <= e
                    and (study.status == "open" or (study.closed is not None and l < study.closed))
                    for e, l in self.times
                )
            ]
            if len(taking) != 1:
                return 0xC103
            first = min(e for e, _ in self.times)
            for other in all_taking:
                later = other.opened is not None and (other.closed is None or other.closed > first)
                if other is not taking[0] and later and not self.known:
                    return 0xC103
        return taking[0] if taking else None

    def was_at(self, study: Study, earliest: datetime, latest: datetime) -> bool:
        return any(
            stay.location in self.places and stay.arrived <= latest and (stay.left is None or stay.left > earliest)
            for stay in study.stays
        )

    def future(self) -> bool:
        return any(e > self.now + self.q.policy.clock_tolerance for e, _ in self.times)

    def old(self) -> bool:
        return any(self.now - e > self.q.policy.place_match_max_age for e, _ in self.times)

    def alive(self, study: Study, moment: datetime) -> bool:
        since = microseconds(moment - self.q.policy.place_match_max_age)
        until = moment + self.q.policy.clock_tolerance
        uid = study.study_instance_uid
        return any(self.r.last_sign_of_life(uid, place, until) >= since for place in self.places)

    def present(self, places: Sequence[str], e: datetime, l: datetime) -> list[Study]:
        """Who was there in some of that time."""
        return [
            study
            for study in self.studies
            if any(
                s.location in places and s.arrived <= l and (s.left is None or s.left > e) and self.counts(study, s)
                for s in study.stays
            )
        ]

    def counts(self, study: Study, stay: StudyStay) -> bool:
        """A cancelled study was there only if a request named it there."""
        named = self.r.life.last_request(study.study_instance_uid, stay.location)
        return study.status != "cancelled" or named >= microseconds(stay.arrived)

    def one(self, places: Sequence[str], e: datetime, l: datetime, study_id: str) -> Study | int | None:
        tolerance = self.q.policy.clock_tolerance
        there = self.present(places, e, l)
        found = []
        for study in self.studies:
            stays = [s for s in study.stays if s.location in places] if study.status != "cancelled" else []
            inside = any(s.arrived <= e and (s.left is None or s.left > l) for s in stays)
            near = any(s.arrived - tolerance <= e and (s.left is None or s.left + tolerance >= l) for s in stays)
            alone = not [other for other in there if other is not study]
            if (inside or (near and alone)) and self.alive(study, l) and (not study_id or study.study_id == study_id):
                found.append(study)
        several = {s.study_instance_uid for s in found}
        if not study_id:
            several |= {s.study_instance_uid for s in there}
        if len(several) > 1:
            return 0xC103
        return found[0] if found else None

    def at(self, places: Sequence[str], study_id: str) -> Study | int | None:
        tolerance, grace = self.q.policy.clock_tolerance, self.q.policy.close_grace
        if not self.untrusted and (self.old() or self.future()):
            return 0xC103
        if self.fast and not all(e <= self.now + tolerance and l >= self.now - tolerance for e, l in self.times):
            return 0xC103
        by_arrival = self.untrusted or self.fast
        found: list[Study] = []
        for e, l in [(self.now, self.now)] if by_arrival else self.times:
            one = self.one(places, e, l, study_id)
            if one is None or isinstance(one, int):
                return one
            found.append(one)
        if any(study is not found[0] for study in found):
            return 0xC103
        if by_arrival:
            others = [study for study in self.lately(places, grace) if study is not found[0]]
            return 0xC103 if others else found[0]
        if self.known:
            return found[0]
        there = self.present(places, self.now, self.now)
        if not there:
            gone = [
                (stay.left, study.study_instance_uid)
                for study in self.lately(places, grace)
                for stay in study.stays
                if stay.location in places and stay.left is not None and self.now - grace <= stay.left <= self.now
            ]
            last = max((left for left, _ in gone), default=None)
            there = [study for study in self.studies if (last, study.study_instance_uid) in gone]
            there = [study for study in there if study.location in places]
            there = [
                study
                for study in there
                if not any(
                    other.patient == study.patient
                    and other.status == "open"
                    and other.location
                    and other.location not in places
                    for other in self.studies
                )
            ]
        between = self.present(places, min(e for e, _ in self.times), self.now)
        return found[0] if there == [found[0]] and all(study is found[0] for study in between) else 0xC103

    def lately(self, places: Sequence[str], grace: timedelta) -> list[Study]:
        """Who was there within the grace, one who left just that long ago too."""
        return self.present(places, self.now - grace - timedelta(microseconds=1), self.now)
