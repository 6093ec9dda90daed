"""Random interleavings of feeds, devices, clocks, restarts and repeats never put an event under a patient whom nothing names.

Each mutation of `MUTATIONS` breaks one rule on purpose, and the same search must then find an event on the wrong patient.
"""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from plscp.matching import known_entries, match_context, plan, rules, substance, times, turnover
from plscp.matching.by_place import study_at
from plscp.matching.match_context import Clock, MatchContext, SentIssuer, find_issuer
from plscp.matching.model import MatchQuestion, SubstanceQuestion
from plscp.matching.records import Study
from plscp.matching.registry import Registry
from plscp.store.port import RegistryRecord
from tests.matching.hospital import DAY, NIGHT, NOBODY, PATIENTS, ROOMS, SENDERS, SUBSETS, Hospital, Sent

room = st.sampled_from(ROOMS)
patient = st.sampled_from(sorted(PATIENTS))
sender = st.sampled_from(sorted(SENDERS))
telling = st.sampled_from(["now", "now", "late", "never"])
delay = st.sampled_from([0, 0, 0, 1, 8, 12, 25, 45, 70, 130])
pause = st.sampled_from([0.2, 1, 1, 3, 6, 11, 16, 31, 45])
slip = st.sampled_from([False, False, False, False, True])


IN_MEMORY = Path("/dev/shm")
"""A disk in memory, where there is one: nothing here asks what survives a power failure."""


class Days(RuleBasedStateMachine):
    """A day, or the night of the repeated hour, in a hospital of two labs."""

    by_night: ClassVar[bool | None] = None
    by_device: ClassVar[str] = ""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
        self.sent: list[Sent] = []

    @initialize(night=st.booleans(), first=patient, second=patient, known=sender)
    def begin(self, *, night: bool, first: str, second: str, known: str) -> None:
        """Somebody lies in the first lab, somebody is ordered for it, and a device has sent what tells its clock."""
        self.hospital = Hospital(self.folder, NIGHT if (night if self.by_night is None else self.by_night) else DAY)
        self.known = known = self.by_device or known
        self.hospital.arrive("LAB1", first, telling="now")
        self.hospital.schedule("LAB1", second)
        for _ in range(2):
            self.hospital.pass_minutes(1)
            room = (*SENDERS[known].profile.device.locations, "LAB1")[0]
            self.sent.append(self.hospital.report(known, room, timedelta(0), {}))
        self.hospital.pass_minutes(45 if self.hospital.start == NIGHT else 1)

    @rule(pause=pause)
    def wait(self, pause: float) -> None:
        """Time passes."""
        self.hospital.pass_minutes(pause)

    @rule(room=room, patient=patient, telling=telling)
    def arrive(self, room: str, patient: str, telling: Any) -> None:
        """Somebody is brought in."""
        self.hospital.arrive(room, patient, telling=telling)

    @rule(room=room, telling=st.booleans())
    def leave(self, room: str, *, telling: bool) -> None:
        """Somebody goes."""
        if self.hospital.occupant(room, self.hospital.now) != NOBODY:
            self.hospital.leave(room, telling=telling)

    @rule(room=room, patient=patient, pause=pause)
    def hand_over(self, room: str, patient: str, pause: float) -> None:
        """One goes and the next comes, as they should be told."""
        self.hospital.pass_minutes(pause)
        self.leave(room, telling=True)
        self.hospital.arrive(room, patient, telling="now")
        self.hospital.pass_minutes(4)

    @rule(room=room, patient=patient)
    def open_early(self, room: str, patient: str) -> None:
        """The next patient's study is opened while another patient still lies there."""
        self.hospital.tell_open(room, patient)

    @rule(room=room, patient=patient, pause=pause, comes=st.booleans())
    def overlap(self, room: str, patient: str, pause: float, *, comes: bool) -> None:
        """The next patient's study is opened early; the device names who lies there, and the next one who perhaps comes."""
        places = SENDERS[self.known].profile.device.locations
        room = places[0] if len(places) == 1 else room
        self.open_early(room, patient)
        self.hospital.pass_minutes(pause)
        for arriving in (False, True)[: 1 + comes]:
            if arriving:
                self.hospital.arrive(room, patient, telling="never")
                self.hospital.pass_minutes(1)
            lies = self.hospital.occupant(room, self.hospital.now)
            if lies != NOBODY:
                self.sent.append(self.hospital.report(self.known, room, timedelta(0), {"P": lies}))
            self.hospital.pass_minutes(1)
        self.hospital.pass_minutes(16)

    @rule(room=room, patient=patient)
    def schedule(self, room: str, patient: str) -> None:
        """An order, perhaps for a study that was ordered for somebody else."""
        self.hospital.schedule(room, patient)

    @rule()
    def admit(self) -> None:
        """A visit of another hospital is registered."""
        self.hospital.admit(("V7", "OTHER"))

    @rule()
    def restart(self) -> None:
        """The server is upgraded."""
        self.hospital.restart()

    @rule(sender=sender, usual=st.booleans(), room=room, delay=delay, subset=st.sampled_from(SUBSETS), data=st.data())
    def report(
        self, sender: str, *, usual: bool, room: str, delay: int, subset: tuple[str, ...], data: st.DataObject
    ) -> None:
        """An event of the patient who lies there, by right identifiers or another's."""
        sender = self.known if usual else sender
        places = SENDERS[sender].profile.device.locations
        room = places[0] if len(places) == 1 else room
        occurred = self.hospital.now - timedelta(minutes=delay)
        whose = {}
        for letter in subset:
            owner = self.hospital.occupant(room, occurred)
            if owner == NOBODY or data.draw(slip):
                owner = data.draw(patient)
            whose[letter] = room if letter == "L" else owner
        if "P" in whose and data.draw(st.booleans()):
            whose["P"] += "*"  # without issuer
        for _ in range(data.draw(st.sampled_from([1, 1, 2]))):  # a clock is measured by two
            self.sent.append(self.hospital.report(sender, room, timedelta(minutes=delay), whose))
            self.hospital.pass_minutes(0.1)

    @rule(sender=sender, room=room, patient=patient)
    def name_two_patients(self, sender: str, room: str, patient: str) -> None:
        """Study ID and location of who lies there, Patient ID of another."""
        lies = self.hospital.occupant(room, self.hospital.now)
        if lies != NOBODY:
            whose = {"P": patient, "S": lies, "L": room}
            self.sent.append(self.hospital.report(sender, room, timedelta(0), whose))

    @precondition(lambda self: self.hospital.scheduled)
    @rule(sender=sender, room=room)
    def name_what_is_scheduled(self, sender: str, room: str) -> None:
        """The worklist entry that was picked is that of the order, whoever lies there."""
        places = SENDERS[sender].profile.device.locations
        room = places[0] if len(places) == 1 else room
        uid = min(self.hospital.scheduled)
        whose = {"U": self.hospital.scheduled[uid]}
        self.sent.append(self.hospital.report(sender, room, timedelta(0), whose, uid))

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 3), patient=patient)
    def report_again(self, which: int, patient: str) -> None:
        """A cumulative log is sent again, now for somebody else."""
        self.hospital.report_again(self.sent[-1 - which % len(self.sent)], patient)

    @rule(sender=sender, patient=patient, by_visit=st.booleans(), issuer=st.booleans())
    def administer(self, sender: str, patient: str, *, by_visit: bool, issuer: bool) -> None:
        """A drug is given, to a patient or to a visit."""
        if by_visit:
            self.hospital.administer(sender, visit=("V7", "OTHER"), issuer=issuer)
        else:
            self.hospital.administer(sender, patient=patient)

    @invariant()
    def no_study_with_events_changes_its_patient(self) -> None:
        """Whatever is told."""
        if hasattr(self, "hospital"):
            self.hospital.check()

    def teardown(self) -> None:
        """End the server."""
        if hasattr(self, "hospital"):
            self.hospital.close()
        shutil.rmtree(self.folder)


SEARCH = settings(
    max_examples=300,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)


TestDays = Days.TestCase
TestDays.settings = SEARCH
"""No event stands under a patient whom nothing names: neither its identifiers nor its room when it truly occurred."""


# --- broken on purpose -------------------------------------------------------------------------------------------------


def _statement_is_believed(question: MatchQuestion) -> Clock:
    """Row 2 as it was: naming the server's frame makes a clock known."""
    own = question.policy.synchronization_frame_of_reference_uid
    if question.given.synchronization_frame_of_reference_uid == own:
        return Clock.KNOWN
    return match_context.clock_of(question)


def _fast_clocks_are_not_corrected(question: MatchQuestion) -> Clock:
    """Row 3 as it was: what is stamped counts."""
    found = match_context.clock_of(question)
    return Clock.KNOWN if found is Clock.FAST else found


def _first_place_with_a_study(matched: MatchContext) -> Any:
    """Row 9 as it was: any of the device's locations."""
    found = [study_at(matched, place) for place in matched.device_places]
    return next((one for one in found if one is not None), None)


def _one_reading(matched: MatchContext) -> Any:
    """Row 6 as it was: the other reading of a repeated hour is not looked at."""
    return matched.spans


def _nearest_not_after(wall: datetime, where: tzinfo, latest: datetime) -> tuple[datetime, datetime | None]:
    """Row 6 as it was: a clock a second ahead goes back an hour."""
    return IN_ZONE(wall, where, latest - timedelta(minutes=2))


IN_ZONE, FIND_ISSUER, ADMITTED, ENDED = times._in_zone, find_issuer, substance._admitted, turnover._ended


def _issuer_is_not_read(patient_id: str, _sent: Any, *rest: Any) -> Any:
    """Row 1 as it was: what the request says of the issuer is ignored."""
    return FIND_ISSUER(patient_id, SentIssuer("", ""), *rest)


def _confirmed_at_once(_registry: Registry, study: Study, _place: str, _now: datetime) -> Study | None:
    """Row 5 as it was: who comes needs nobody to say so."""
    stay = study.stays[-1]
    return None if stay.confirmed else replace(study, stays=(*study.stays[:-1], stay._replace(confirmed=stay.arrived)))


def _cut_back(registry: Registry, first: Study, second: Study, place: str, now: datetime) -> Study:
    """Row 5 as it was: a stay ends when the next one's began, whatever was accepted since."""
    ended = ENDED(registry, first, second, place, now)
    stay = ended.stays[-1]
    left = max(stay.arrived, second.stays[-1].arrived)
    return replace(ended, stays=(*ended.stays[:-1], stay._replace(left=left)))


def _accession_counts(question: SubstanceQuestion, registry: Registry, admission_id: str) -> Any:
    """Row 8 as it was: an Accession Number is an Admission ID."""
    policy = replace(question.policy, accession_as_admission=True)
    return ADMITTED(replace(question, policy=policy), registry, admission_id)


@dataclass(frozen=True)
class Mutation:
    """A rule of the issue's table, broken: what is replaced in which modules, and where the search begins."""

    row: int
    name: str
    replaced: tuple[tuple[Any, str, Any], ...]
    by_device: str = ""
    by_night: bool | None = None


def _without(contradicts: Callable[[MatchContext, Study], bool]) -> tuple[tuple[Any, str, Any], ...]:
    """One row of the table of contradictions never holds."""
    table = tuple(
        row._replace(contradicts=lambda *_: False) if row.contradicts is contradicts else row
        for row in rules.CONTRADICTIONS
    )
    assert table != rules.CONTRADICTIONS
    return ((rules, "CONTRADICTIONS", table),)


MUTATIONS = [
    Mutation(1, "the issuer is not read", ((match_context, "find_issuer", _issuer_is_not_read), (substance, "find_issuer", _issuer_is_not_read))),
    Mutation(2, "a statement is believed", ((match_context.MatchContext, "clock", property(lambda self: _statement_is_believed(self.question))),), "SLOW1"),
    Mutation(3, "fast clocks are not corrected", (
        (match_context.MatchContext, "clock", property(lambda self: _fast_clocks_are_not_corrected(self.question))),
        (match_context.MatchContext, "spans", property(lambda self: [(t.earliest, t.latest) for t in self.question.times])),
    ), "FAST1"),
    Mutation(4, "what is known is Success for anybody", ((known_entries, "_contradicts", lambda *_: False),)),
    Mutation(5, "a turnover without confirmation", ((turnover, "_confirmed", _confirmed_at_once),), "HEMO1"),
    Mutation(5, "a stay cut back to the next one's opening", ((turnover, "_ended", _cut_back), (turnover, "lived_on", lambda *_: None)), "HEMO1"),
    Mutation(6, "one reading of a repeated hour", ((match_context.MatchContext, "readings", property(_one_reading)), (times, "_in_zone", _nearest_not_after)), "BERLIN", by_night=True),
    Mutation(7, "entries are forgotten", (
        (Registry, "has_entries", lambda *_: False), (plan, "RegistryRecord", lambda *record: RegistryRecord(*record[:5])),
    )),
    Mutation(8, "an Accession Number is an Admission ID", ((substance, "_admitted", _accession_counts),)),
    Mutation(9, "any of the device's locations", ((rules, "TABLE", tuple(
        row._replace(find=_first_place_with_a_study) if row.rule == "7" else row for row in rules.TABLE)),), "ECHO"),
    Mutation(10, "a worklist slip is not noticed", _without(rules._not_started_elsewhere)),
    Mutation(11, "two against one is not noticed", _without(rules._both_are_anothers)),
]  # fmt: skip


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"row {mutation.row}: {mutation.name}")
def test_the_search_finds_each_rule_that_is_broken_on_purpose(mutation: Mutation) -> None:
    """Else it would say nothing about the rule."""
    with ExitStack() as broken:
        for where, name, instead in mutation.replaced:
            broken.enter_context(mock.patch.object(where, name, instead))
        broken.enter_context(mock.patch.object(Days, "by_device", mutation.by_device))
        broken.enter_context(mock.patch.object(Days, "by_night", mutation.by_night))
        search = settings(SEARCH, max_examples=2000, phases=[Phase.generate], report_multiple_bugs=False)
        with pytest.raises(AssertionError):
            run_state_machine_as_test(Days, settings=search)
