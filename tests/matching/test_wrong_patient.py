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

from plscp.matching import (
    changes,
    hospital,
    known_entries,
    match_context,
    plan,
    rules,
    step_changes,
    substance,
    times,
    turnover,
)
from plscp.matching.by_place import study_at
from plscp.matching.match_context import Clock, MatchContext, SentIssuer, find_issuer
from plscp.matching.model import MatchQuestion, SubstanceQuestion
from plscp.matching.records import PatientId, Study
from plscp.matching.registry import Registry
from plscp.matching.steps import ProcedureStep
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


feeds = precondition(lambda self: self.fed)
"""What modalities and the hospital's feed say of steps, merges and changed IDs."""


class Days(RuleBasedStateMachine):
    """A day, or the night of the repeated hour, in a hospital of two labs.

    Attributes:
        by_night, by_device: where a search begins; drawn where they are not said.
        fed: whether there are feeds beside what the API says of studies.
        steps: taken so far, in all days.
    """

    by_night: ClassVar[bool | None] = None
    by_device: ClassVar[str] = ""
    fed: ClassVar[bool] = True
    steps: ClassVar[int] = 0

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

    @feeds
    @rule(room=room, patient=patient, late=st.booleans(), again=st.booleans())
    def begin_step(self, room: str, patient: str, *, late: bool, again: bool) -> None:
        """Somebody is brought in, and a modality begins a step."""
        self.hospital.arrive(room, patient, telling="never")
        self.hospital.begin_step(room, patient, late=late, again=again)

    @feeds
    @rule(room=room)
    def begin_another_step(self, room: str) -> None:
        """Another modality of the room begins a step of who lies there."""
        lies = self.hospital.occupant(room, self.hospital.now)
        if lies != NOBODY:
            self.hospital.begin_step(room, lies)

    @precondition(lambda self: self.fed and any(step.until is None for step in self.hospital.steps))
    @rule(
        which=st.integers(0, 3),
        how=st.sampled_from(["", "110500^DCM", "110514^DCM"]),
        leaves=st.booleans(),
        pause=pause,
    )
    def end_step(self, which: int, how: str, pause: float, *, leaves: bool) -> None:
        """A step is completed, or discontinued for a reason; then something that was given meanwhile is logged."""
        open_ones = [step for step in self.hospital.steps if step.until is None]
        step = open_ones[which % len(open_ones)]
        whose = next((one.patient for one in self.hospital.told if one.uid == step.study), NOBODY)
        leaves = leaves and self.hospital.occupant(step.room, self.hospital.now) == whose
        self.hospital.end_step(step, "DISCONTINUED" if how else "COMPLETED", how)
        if leaves:
            self.hospital.leave(step.room, telling=False)
        self.hospital.pass_minutes(pause)
        self.sent.append(self.hospital.report(self.known, step.room, timedelta(0), {"U": whose}, step.study))

    @feeds
    @rule(room=room)
    def emergency(self, room: str) -> None:
        """Nobody knows who it is."""
        self.hospital.emergency(room)
        self.sent.append(self.hospital.report("HEMO" + room[-1], room, timedelta(0), {}))

    @feeds
    @rule(patient=st.sampled_from(["PA", "PB", "PC", "PD"]))
    def merge_emergency(self, patient: str) -> None:
        """Somebody finds out."""
        if all(self.hospital.occupant(room, self.hospital.now) != patient for room in ROOMS):
            self.hospital.merge_emergency(patient)

    @feeds
    @rule()
    def merge(self) -> None:
        """Who was registered twice is one person."""
        self.hospital.merge("PD", "PE")

    @feeds
    @rule(patient=patient)
    def change_id(self, patient: str) -> None:
        """Somebody gets another number."""
        self.hospital.change_id(patient)

    @precondition(lambda self: self.fed and self.hospital.scheduled)
    @rule(sender=sender, pause=pause)
    def cancel(self, sender: str, pause: float) -> None:
        """An order is cancelled, and a device still names it."""
        uid = min(self.hospital.scheduled)
        patient = self.hospital.scheduled[uid]
        self.hospital.cancel(uid)
        self.hospital.pass_minutes(pause)
        self.sent.append(self.hospital.report(sender, "LAB1", timedelta(0), {"U": patient}, uid))

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
        Days.steps += 1
        if hasattr(self, "hospital"):
            self.hospital.check()

    def teardown(self) -> None:
        """End the server."""
        if hasattr(self, "hospital"):
            self.hospital.close()
        shutil.rmtree(self.folder)


SEARCH = settings(
    max_examples=900,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
LEAST_STEPS = 20_000


def test_no_event_stands_under_a_patient_whom_nothing_names() -> None:
    """Neither its identifiers nor its room when it truly occurred; in so many steps that it means something."""
    Days.steps = 0
    run_state_machine_as_test(Days, settings=SEARCH)
    assert Days.steps >= LEAST_STEPS


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


def _confirmed_at_once(_registry: Registry, study: Study, *_rest: Any) -> Study | None:
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


DUE, LEAVE, CAME_WITH = turnover.due, step_changes._leave, changes._came_with


class _WithoutSteps:
    """A registry whose studies have no step in progress."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)

    def study(self, uid: str) -> Study | None:
        """The study without its steps."""
        found = self._registry.study(uid)
        return None if found is None else replace(found, steps=())


def _steps_keep_nobody(registry: Any, *rest: Any) -> Any:
    """Row 12: a study with a step in progress is turned over like any other."""
    return DUE(_WithoutSteps(registry), *rest)  # type: ignore[arg-type]


def _first_of_several(planned: Any, placeholder: str) -> Any:
    """Row 13: a merge whose prior ID is a placeholder takes the first patient who came with it."""
    numbers = dict.fromkeys(study.patient for study in planned.view.studies(status="open"))
    came = [one for one in map(planned.view.patient_number, numbers) if one.generated]
    return came[0] if came else CAME_WITH(planned, placeholder)


def _survivor_goes(planned: Any, survivor: PatientId, prior: PatientId) -> None:
    """Row 13: the two of a merge are exchanged."""
    known = planned.view.owner(prior)
    MERGE(planned, *((survivor, prior) if known is None else (prior, survivor)))


MERGE, CHANGE_ID = changes.plan_merge, changes.plan_patient_id


def _changes_another(planned: Any, old: PatientId, new: PatientId) -> None:
    """Row 17: the ID is looked up without its issuer."""
    found = planned.view.named(old.id, "")
    CHANGE_ID(planned, found[-1].current if found else old, new)


def _first_end_closes(planned: Any, uid: str, step: ProcedureStep, *rest: Any, **more: Any) -> None:
    """Row 14: a study closes with the first of its steps."""
    study = planned.view.study(uid)
    if study is not None and len(study.steps) > 1 and step.sop_instance_uid in study.steps:
        planned.study("study.updated", replace(study, steps=(step.sop_instance_uid,)))
    LEAVE(planned, uid, step, *rest, **more)


def _ends_at_once(planned: Any, uid: str, step: ProcedureStep, moment: datetime, **more: Any) -> None:
    """Row 15: a study whose step has ended has no grace."""
    LEAVE(planned, uid, step, moment, **more)
    study = planned.view.study(uid)
    if study is not None and study.status == "closed":
        planned.study("study.cancelled", replace(study, status="cancelled"))


@dataclass(frozen=True)
class Mutation:
    """A rule of contract section 3, broken: what is replaced in which modules, and where the search begins."""

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


FEEDS_ROW = 12
"""From this row on the rules are about what feeds say; those before are found sooner without them."""
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
    Mutation(12, "a step in progress keeps nobody in the room", ((turnover, "due", _steps_keep_nobody),), "HEMO1"),
    Mutation(13, "a placeholder is the first one's who came with it", ((changes, "_came_with", _first_of_several),)),
    Mutation(13, "who survives a merge is exchanged", ((hospital, "plan_merge", _survivor_goes),)),
    Mutation(14, "a study closes with the first of its steps", ((step_changes, "_leave", _first_end_closes),)),
    Mutation(15, "a step that is over ends its study at once", ((step_changes, "_leave", _ends_at_once),)),
    Mutation(16, "a cancelled order is matched", ((rules, "TABLE", tuple(
        row for row in rules.TABLE if row.find is not rules.named_and_over)),)),
    Mutation(17, "an ID that was changed is another patient's", ((hospital, "plan_patient_id", _changes_another),)),
]  # fmt: skip


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"row {mutation.row}: {mutation.name}")
def test_the_search_finds_each_rule_that_is_broken_on_purpose(mutation: Mutation) -> None:
    """Else it would say nothing about the rule."""
    with ExitStack() as broken:
        for where, name, instead in mutation.replaced:
            broken.enter_context(mock.patch.object(where, name, instead))
        broken.enter_context(mock.patch.object(Days, "by_device", mutation.by_device))
        broken.enter_context(mock.patch.object(Days, "by_night", mutation.by_night))
        broken.enter_context(mock.patch.object(Days, "fed", mutation.row >= FEEDS_ROW))
        search = settings(SEARCH, max_examples=2000, phases=[Phase.generate], report_multiple_bugs=False)
        with pytest.raises(AssertionError):
            run_state_machine_as_test(Days, settings=search)
