"""What is so in the hospital of two labs, as far as it is known by now, and whom it names at a time."""

from dataclasses import dataclass, field
from datetime import datetime

from tests.matching.senders import NOBODY, PATIENTS, PLACEHOLDER, ROOMS, SENDERS, SLACK, STALE, Sent, Step, Told, Visit


@dataclass
class Truth:
    """Who lies where when and who is who, and what feeds said of it that the server has acknowledged.

    Attributes:
        lies_in: by room, who came when.
        signs: which study was named from which room when, itself or its patient.
        ids: the identifiers of each person by now, the current one last.
        same: who turned out to be somebody else.
        mistaken: studies of steps of which the worklist entry was the wrong one.
        beds: where visits are, as messages say.
        log: what happened, for people.
    """

    lies_in: dict[str, list[tuple[str, datetime]]] = field(default_factory=lambda: {room: [] for room in ROOMS})
    told: list[Told] = field(default_factory=list)
    scheduled: dict[str, str] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    mistaken: set[str] = field(default_factory=set)
    signs: list[tuple[str, str, datetime]] = field(default_factory=list)
    stands_under: dict[str, str] = field(default_factory=dict)
    visits: dict[Visit, str] = field(default_factory=dict)
    beds: dict[Visit, str] = field(default_factory=dict)
    ids: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: {who: [one] for who, one in PATIENTS.items()})
    same: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    count: int = 0

    def occupant(self, room: str, moment: datetime) -> str:
        """Who truly lay there."""
        found = NOBODY
        for patient, since in self.lies_in[room]:
            if since <= moment:
                found = patient
        return found

    def current(self, patient: str) -> Told | None:
        """The patient's study that feeds say is open."""
        who = self.who(patient)
        return next((one for one in self.told if one.patient == who and one.until is None), None)

    def who(self, patient: str) -> str:
        """The person, as far as feeds have said that two are one."""
        return self.same.get(patient, patient)

    def id_of(self, patient: str) -> tuple[str, str]:
        """The identifier that a sender uses for a person: after a change every other one still has the old one."""
        known = self.ids.get(patient, [(PLACEHOLDER, "")])
        return known[-1 - self.count % len(known)]

    def take_out(self, mistaken: Step) -> None:
        """A study that goes on was never where steps of the wrong worklist entry brought it: it is where its other step is, or nowhere."""
        steps = [step for step in self.steps if step.study == mistaken.study]
        mine = [one for one in self.told if one.uid == mistaken.study]
        goes_on = {step.room for step in steps if step.until is None}
        if not goes_on or mine[-1].until is not None or mine[-1].room != mistaken.room:
            return
        wrong, rooms = mine[-1], [step for step in steps if step.room == mistaken.room]
        if not all(step.mistaken for step in rooms) or not any(step.since <= wrong.since for step in rooms):
            return
        wrong.until = wrong.since
        before = [one for one in mine[:-1] if one.room != wrong.room][-1:]
        for one in before:
            if one.until == wrong.since and one.room in goes_on:
                self.told.append(Told(wrong.uid, wrong.patient, one.room, wrong.since))

    def became(self, prior: str, survivor: str) -> None:
        """What is known of one is known of the other."""
        self.log.append(f"told: {prior} is {survivor}")
        for name, who in [(prior, prior), *self.same.items()]:
            if who == prior:
                self.same[name] = survivor
        for room in ROOMS:
            self.lies_in[room] = [(self.who(one), since) for one, since in self.lies_in[room]]
        for one in self.told:
            one.patient = self.who(one.patient)
        self.scheduled = {uid: self.who(one) for uid, one in self.scheduled.items()}
        self.stands_under = {uid: self.who(one) for uid, one in self.stands_under.items()}

    def study_of(self, patient: str) -> str:
        """A study of the patient to name: the open one, else the scheduled one, else the last one."""
        patient = self.who(patient)
        open_one = self.current(patient)
        if open_one is not None:
            return open_one.uid
        planned = [uid for uid, whose in self.scheduled.items() if whose == patient]
        last = [one.uid for one in self.told if one.patient == patient]
        return (planned or last[-1:] or ["1.99"])[0]

    def may_be_over(self, uid: str, moment: datetime) -> bool:
        """Whether a study may be closed since then: feeds or its steps said so, or another one was told to be where it was."""
        stays = [one for one in self.told if one.uid == uid]
        ends = [one.until for one in stays if one.until is not None]
        if ends and len(ends) == len(stays) and max(ends) <= moment:
            return True
        return any(
            other.uid != uid and other.room == one.room and other.since <= moment
            for one in stays
            for other in self.told
            if other.until is None or other.until >= one.since
        )

    def study_at(self, person: str, sent: Sent) -> str:
        """The study of a person to which an event of hers belongs that occurred where and when a request says; none: empty."""
        mine = [one.uid for one in self.told if one.patient == person]
        there = [
            one.uid
            for one in self.told
            if one.patient == person and one.room == sent.room and one.since <= sent.occurred
        ]
        planned = [uid for uid, whose in self.scheduled.items() if whose == person]
        return (there or mine or planned or [""])[-1]

    def person(self, number: str, issuer: str) -> str:
        """The person whom an identifier names by now."""
        found = (who for who, known in self.ids.items() if (number, issuer) in known)
        return self.who(next(found, f"{number} of {issuer}"))

    def by_patient_id(self, sent: Sent) -> str:
        """P as sent, or the authority's that the settings name where none was sent; nobody by a placeholder."""
        patient = sent.whose.get("P", "")
        if not patient or patient[0] == "?":
            return ""
        return self.person(PATIENTS[patient[:2]][0], "HOSP") if patient.endswith("*") else self.who(patient)

    def could_be(self, sent: Sent, *, by_now: bool = False, mistaken: bool = False) -> set[str]:
        """Whose an event that was matched by its place may be.

        Args:
            by_now: by all that was told since: who was there, left, and came again hours later was not there meanwhile.
            mistaken: nobody was where a modality had the wrong worklist entry.
        """
        found = self.room_names(sent.room, sent.occurred, by_now=by_now, mistaken=mistaken)
        if not sent.measured:
            # A clock of which nothing is known may be fast, and its late event then looks punctual: the contract's own limit.
            looks = min(sent.occurred + SENDERS[sent.sender].ahead, sent.arrived)
            found |= self.room_names(sent.room, looks, by_now=by_now, mistaken=mistaken)
        return found | ({self.who(sent.whose["S"])} if "S" in sent.whose else set())

    def room_names(self, room: str, moment: datetime, *, by_now: bool, mistaken: bool) -> set[str]:
        """Whom a room names at a true time: who is told to be there, but for doubt about another one."""
        until = moment + STALE if by_now else datetime.max.replace(tzinfo=moment.tzinfo)
        there = [
            one
            for one in self.told
            if one.room == room and one.since <= moment + SLACK and (one.until is None or one.until >= moment - SLACK)
        ]
        names = set()
        for one in there:
            others = [
                other
                for other in there
                if other.patient != one.patient
                and _sure(other, moment)
                and not self._is_gone(other, one, moment)
                and not (mistaken and other.uid in self.mistaken)
            ]
            # Where two are told to be there, the newer one must have been named from there, and the other not since.
            alive = any(self._is_alive(other, moment, until) for other in others)
            if not alive and (not others or self._confirmed(one)):
                names.add(one.patient)
        return names | ({self.occupant(room, moment)} - {NOBODY})

    def _confirmed(self, one: Told) -> list[datetime]:
        """When a study that came to a room was named from there, or a step there began that was not mistaken."""
        named = [when for uid, where, when in self.signs if (uid, where) == (one.uid, one.room)]
        begun = [
            step.since for step in self.steps if step.study == one.uid and step.room == one.room and not step.mistaken
        ]
        return [*(when for when in named if when >= one.since), *begun]

    def _is_alive(self, one: Told, moment: datetime, until: datetime) -> bool:
        """Whether a study that is told to be in a room was named from there, or had a step in progress, at a time or later."""
        named = any(uid == one.uid and where == one.room and moment <= when <= until for uid, where, when in self.signs)
        return named or any(
            step.study == one.uid and step.since <= until and (step.until is None or step.until >= moment)
            for step in self.steps
        )

    def _is_gone(self, one: Told, newest: Told, moment: datetime) -> bool:
        """Whether somebody else than these two came to the room later for certain, after whom nothing more was heard of the first."""
        ever = datetime.max.replace(tzinfo=one.since.tzinfo)
        return any(
            other.room == one.room
            and other is not newest
            and other.patient != one.patient
            and one.since <= other.since <= moment
            and any(when <= moment and not self._is_alive(one, when, ever) for when in self._confirmed(other))
            for other in self.told
        )


def _sure(one: Told, moment: datetime) -> bool:
    return one.since <= moment - SLACK and (one.until is None or one.until >= moment + SLACK)
