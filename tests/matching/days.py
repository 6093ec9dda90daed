"""Random interleavings of feeds, devices, clocks, restarts, repeats and corrections in a hospital of two labs, as a state machine."""

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from plscp.matching.corrections import MERGE, MOVE
from tests.matching.hospital import Hospital
from tests.matching.senders import DAY, NIGHT, NOBODY, PATIENTS, ROOMS, SENDERS, SUBSETS, VISITS, Sent, Visit

room = st.sampled_from(ROOMS)
patient = st.sampled_from(sorted(PATIENTS))
sender = st.sampled_from(sorted(SENDERS))
telling = st.sampled_from(["now", "now", "late", "never"])
delay = st.sampled_from([0, 0, 0, 1, 8, 12, 25, 45, 70, 130])
pause = st.sampled_from([0.2, 1, 1, 3, 6, 11, 16, 31, 45])
slip = st.sampled_from([False, False, False, False, True])
visit = st.sampled_from(sorted(VISITS))
which = st.integers(0, 7)


IN_MEMORY = Path("/dev/shm")
"""A disk in memory, where there is one: nothing here asks what survives a power failure."""


feeds = precondition(lambda self: self.fed)
"""What modalities and the hospital's feed say of steps, merges and changed IDs."""
corrections = precondition(lambda self: self.corrected)
"""What is moved later: entries by corrections, visits and numbers by the hospital's feed."""


class Days(RuleBasedStateMachine):
    """A day, or the night of the repeated hour, in a hospital of two labs.

    Attributes:
        by_night, by_device: where a search begins; drawn where they are not said.
        fed: whether there are feeds beside what the API says of studies.
        corrected: whether what was said before is corrected, too.
        steps: taken so far, in all days.
    """

    by_night: ClassVar[bool | None] = None
    by_device: ClassVar[str] = ""
    fed: ClassVar[bool] = True
    corrected: ClassVar[bool] = True
    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
        self.sent: list[Sent] = []

    @initialize(night=st.booleans(), first=patient, second=patient, known=sender)
    def begin(self, *, night: bool, first: str, second: str, known: str) -> None:
        """Somebody lies in the first lab, somebody is ordered for it, and a device has sent what tells its clock."""
        start = NIGHT if (night if self.by_night is None else self.by_night) else DAY
        self.hospital = Hospital(self.folder, start, corrects=self.corrected)
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
        if self.hospital.truth.occupant(room, self.hospital.now) != NOBODY:
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
        lies = self.hospital.truth.occupant(room, self.hospital.now)
        if lies != NOBODY:
            self.hospital.begin_step(room, lies)

    @precondition(lambda self: self.fed and any(step.until is None for step in self.hospital.truth.steps))
    @rule(
        which=st.integers(0, 3),
        how=st.sampled_from(["", "110500^DCM", "110514^DCM"]),
        leaves=st.booleans(),
        pause=pause,
    )
    def end_step(self, which: int, how: str, pause: float, *, leaves: bool) -> None:
        """A step is completed, or discontinued for a reason; then something that was given meanwhile is logged."""
        open_ones = [step for step in self.hospital.truth.steps if step.until is None]
        step = open_ones[which % len(open_ones)]
        whose = next((one.patient for one in self.hospital.truth.told if one.uid == step.study), NOBODY)
        leaves = leaves and self.hospital.truth.occupant(step.room, self.hospital.now) == whose
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
        if all(self.hospital.truth.occupant(room, self.hospital.now) != patient for room in ROOMS):
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

    @precondition(lambda self: self.fed and self.hospital.truth.scheduled)
    @rule(sender=sender, pause=pause)
    def cancel(self, sender: str, pause: float) -> None:
        """An order is cancelled, and a device still names it."""
        uid = min(self.hospital.truth.scheduled)
        patient = self.hospital.truth.scheduled[uid]
        self.hospital.cancel(uid)
        self.hospital.pass_minutes(pause)
        self.sent.append(self.hospital.report(sender, "LAB1", timedelta(0), {"U": patient}, uid))

    @rule(room=room, patient=patient)
    def open_early(self, room: str, patient: str) -> None:
        """The next patient's study is opened while another patient still lies there."""
        self.hospital.tell_open(room, patient)

    @rule(room=room, patient=patient, pause=pause, comes=st.booleans(), late=st.booleans())
    def overlap(self, room: str, patient: str, pause: float, *, comes: bool, late: bool) -> None:
        """The next patient's study is opened early; the device names who lies there, and the next one who perhaps comes.

        What occurred before it named the first of them may come late, by place alone.
        """
        places = SENDERS[self.known].profile.device.locations
        room = places[0] if len(places) == 1 else room
        self.open_early(room, patient)
        self.hospital.pass_minutes(pause)
        for arriving in (False, True)[: 1 + comes]:
            if arriving:
                self.hospital.arrive(room, patient, telling="never")
                self.hospital.pass_minutes(1)
            lies = self.hospital.truth.occupant(room, self.hospital.now)
            if lies != NOBODY:
                self.sent.append(self.hospital.report(self.known, room, timedelta(0), {"P": lies}))
            self.hospital.pass_minutes(1)
        self.hospital.pass_minutes(16)
        if late:
            self.sent.append(self.hospital.report(self.known, room, timedelta(minutes=22), {}))

    @rule(room=room, patient=patient)
    def schedule(self, room: str, patient: str) -> None:
        """An order, perhaps for a study that was ordered for somebody else."""
        self.hospital.schedule(room, patient)

    @rule(visit=visit)
    def admit(self, visit: Visit) -> None:
        """A visit of another hospital is registered, or one of this one."""
        self.hospital.admit(visit)

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
            owner = self.hospital.truth.occupant(room, occurred)
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
        lies = self.hospital.truth.occupant(room, self.hospital.now)
        if lies != NOBODY:
            whose = {"P": patient, "S": lies, "L": room}
            self.sent.append(self.hospital.report(sender, room, timedelta(0), whose))

    @precondition(lambda self: self.hospital.truth.scheduled)
    @rule(sender=sender, room=room)
    def name_what_is_scheduled(self, sender: str, room: str) -> None:
        """The worklist entry that was picked is that of the order, whoever lies there."""
        places = SENDERS[sender].profile.device.locations
        room = places[0] if len(places) == 1 else room
        uid = min(self.hospital.truth.scheduled)
        whose = {"U": self.hospital.truth.scheduled[uid]}
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

    # --- what is corrected ---

    @corrections
    @rule(
        which=which,
        to=which,
        rightly=st.booleans(),
        whole=st.booleans(),
        claimed=slip,
        patient=patient,
        back=st.booleans(),
    )
    def correct(
        self, which: int, to: int, patient: str, *, rightly: bool, whole: bool, claimed: bool, back: bool
    ) -> None:
        """Somebody moves an entry, or all that stand with it, rightly or not; its device sends it again; perhaps it is taken back."""
        hospital, claim = self.hospital, patient if claimed else ""
        position = hospital.ledger.correct(which, to, rightly=rightly, whole=whole, claimed=claim)
        for _ in range(1 + back):
            if position is not None:
                hospital.repeat(hospital.ledger.entries[position].sent)
            if back:
                hospital.ledger.revert(0)

    @corrections
    @rule(room=room, before=patient, patient=patient, pause=pause, comes=st.booleans(), closes=st.booleans())
    def hear_late(self, room: str, before: str, patient: str, pause: float, *, comes: bool, closes: bool) -> None:
        """Feeds say only later that the next one is there, and who was there is gone; what came meanwhile may be misplaced."""
        hospital, truth = self.hospital, self.hospital.truth
        places = SENDERS[self.known].profile.device.locations
        room = places[0] if len(places) == 1 else room
        there = [
            one for one in truth.told if one.room == room and one.until is None and one.patient != truth.who(patient)
        ]
        if not there:
            hospital.arrive(room, before, telling="now")
            hospital.pass_minutes(16)
            there = [one for one in truth.told if one.room == room and one.until is None]
        since = hospital.now
        if comes:
            hospital.arrive(room, patient, telling="never")
        for _ in range(2):
            hospital.pass_minutes(1)
            self.sent.append(hospital.report(self.known, room, timedelta(0), {}))
        hospital.pass_minutes(pause)
        if there:
            hospital.tell_later(there[-1], patient, since, closes=closes)
        hospital.server.look()

    @corrections
    @rule(
        which=which,
        patient=patient,
        how=st.sampled_from(["confirm", "confirm", "reject"]),
        again=st.booleans(),
        merges=st.booleans(),
    )
    def settle(self, which: int, patient: str, how: Any, *, again: bool, merges: bool) -> None:
        """Somebody says whether what is proposed is to be done; it may be proposed because an entry comes again for another patient."""
        if merges:
            self.hospital.ledger.settle(which, how, MERGE)
            return
        before = self.sent[-1 - which % len(self.sent)]
        if again:
            self.hospital.report_again(before, patient)
        self.hospital.ledger.settle(0 if again else which, how, MOVE)
        self.hospital.repeat(before)

    @corrections
    @rule(which=which)
    def revert(self, which: int) -> None:
        """Somebody takes a correction back."""
        self.hospital.ledger.revert(which)

    @corrections
    @precondition(lambda self: self.sent)
    @rule(which=which)
    def repeat(self, which: int) -> None:
        """A device sends the very same once more."""
        self.hospital.repeat(self.sent[-1 - which % len(self.sent)])

    @corrections
    @rule(visit=visit, patient=patient, prior=patient, wrong=slip, sender=sender)
    def move_visit(self, visit: Visit, patient: str, prior: str, *, wrong: bool, sender: str) -> None:
        """A visit is another patient's; then a drug is given to it."""
        self.hospital.admit(visit)
        owner = self.hospital.truth.visits.get(visit, prior)
        self.hospital.move_visit(visit, patient, prior if wrong else owner)
        self.hospital.administer(sender, visit=visit)

    @corrections
    @rule()
    def swap_beds(self) -> None:
        """Two patients swap their beds."""
        for visit in VISITS:
            self.hospital.admit(visit)
        self.hospital.swap_beds()

    @corrections
    @rule(patient=patient, other=patient, known=slip)
    def link(self, patient: str, other: str, *, known: bool) -> None:
        """A number that nobody knew is somebody's, too; or two whom everybody knew are said to be one."""
        self.hospital.link(patient, other if known and other != patient else "")

    @corrections
    @rule(patient=patient, sender=sender)
    def unlink(self, patient: str, sender: str) -> None:
        """It is not; then a drug is given to whose it is."""
        other = self.hospital.unlink(patient)
        if other:
            self.hospital.administer(sender, patient=other)

    @invariant()
    def no_study_with_events_changes_its_patient(self) -> None:
        """Whatever is told."""
        Days.steps += 1
        if hasattr(self, "hospital"):
            self.hospital.check()

    def teardown(self) -> None:
        """End the server."""
        if hasattr(self, "hospital"):
            self.hospital.server.close()
        shutil.rmtree(self.folder)
