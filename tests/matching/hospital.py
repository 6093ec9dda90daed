"""A hospital of two labs with a truth of its own, told to a real server by feeds and devices, and what the server may make of it.

The truth: who lies where when, what each device's clock shows, when an event occurred. The server hears of it late, early, wrong or not
at all. `Hospital.judge` says of each answer whether the patient under whom the event stands was named by any of its identifiers, or by
its room at the time when it truly occurred.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydicom.dataset import Dataset

from plscp.matching import changes, hospital, step_changes
from plscp.matching.records import PatientId
from plscp.matching.step_changes import StepBegun, StepSaid, StepStudy
from plscp.service.reply import ActionReply
from plscp.statuses import STATUSES
from tests.events import encoded, procedural, substance, text
from tests.feeds.hl7 import message, pid, pv1
from tests.matching.ledger import Ledger
from tests.matching.senders import NOBODY, PLACEHOLDER, POLICY, ROOMS, SENDERS, VISITS, Sent, Step, Told, Visit
from tests.matching.server import Server
from tests.matching.truth import Truth


class Hospital:
    """The truth, the server, and what was told and sent.

    Args:
        folder: where the server's store lives.
        start: UTC.
        corrects: whether the server looks for what is misplaced as time passes.

    Attributes:
        now: UTC.
        ledger: where entries must stand.
    """

    def __init__(self, folder: Path, start: datetime, *, corrects: bool = True) -> None:
        self.start = self.now = start
        self._corrects = corrects
        self.truth = Truth()
        self.server = Server(folder, lambda: self.now)
        self.ledger = Ledger(self.truth, self.server)
        self._arrivals: dict[str, list[tuple[datetime, bool]]] = {}
        self._beds = 0

    def restart(self) -> None:
        """Another server on the same store."""
        self.server.restart()
        self.truth.log.append("restart")

    def pass_minutes(self, minutes: float) -> None:
        """Time passes, and the server looks at its rooms."""
        self.now += timedelta(minutes=minutes)
        self.truth.log.append(f"{self.now:%H:%M:%S}")
        self.server.keeper.turn_over_rooms()
        self.server.settle()
        if self._corrects:
            self.server.look()

    def _put(self, uid: str, patient: str, **more: Any) -> bool:
        number, issuer = self.truth.id_of(patient)
        body = {
            "study_instance_uid": uid,
            "study_id": f"S{patient[1:]}",
            "accession_number": "V7" if patient == "PA" else f"A{uid[-1]}",
            "patient": {"id": number, "issuer": issuer},
            **more,
        }
        return self.server.tell(lambda registry: changes.put_study(registry, body, POLICY, self.now))

    # --- who lies where ----------------------------------------------------------------------------------------------

    def arrive(self, room: str, patient: str, *, telling: Literal["now", "late", "never"]) -> None:
        """A patient is truly brought in; whoever was there is gone. Feeds may say so."""
        patient = self.truth.who(patient)
        for other in ROOMS:
            if self.truth.occupant(other, self.now) == patient:
                self.truth.lies_in[other].append((NOBODY, self.now))
        self.truth.lies_in[room].append((patient, self.now))
        self.truth.log.append(f"{patient} arrives in {room}, told {telling}")
        if telling != "never" and patient[0] != "?":
            opened = self.now - timedelta(minutes=3) if telling == "late" else None
            self.tell_open(room, patient, opened)

    def leave(self, room: str, *, telling: bool) -> None:
        """Whoever lies there goes; feeds may say so."""
        patient = self.truth.occupant(room, self.now)
        self.truth.lies_in[room].append((NOBODY, self.now))
        self.truth.log.append(f"{patient} leaves {room}, told {telling}")
        study = self.truth.current(patient)
        if telling and study is not None:
            self.tell_closed(study)

    def tell_open(self, room: str, patient: str, opened: datetime | None = None) -> None:
        """A feed says that a patient's study is open there, true or not yet true."""
        patient = self.truth.who(patient)
        before = self.truth.current(patient)
        uid = before.uid if before else f"1.{len(self.truth.told) + 1}"
        stated = {} if before or opened is None else {"opened": opened.isoformat()}
        if before is not None and before.room == room:
            return
        if self._put(uid, patient, location=room, status="open", **stated):
            if before is not None:
                before.until = self.now
            self.truth.told.append(Told(uid, patient, room, opened if stated and opened else self.now))
            self.truth.log.append(f"told: {uid} of {patient} open in {room} {stated}")

    def tell_closed(self, study: Told) -> None:
        """A feed says that a study is closed."""
        if self.server.tell(lambda registry: changes.close_study(registry, study.uid, POLICY, self.now)):
            study.until = self.now
            self.truth.log.append(f"told: {study.uid} closed")

    def tell_later(self, study: Told, patient: str, since: datetime, *, closes: bool) -> None:
        """A feed says only now that a patient's study is open since then where another one was, which it may say was over then."""
        if closes and self._put(study.uid, study.patient, status="closed", closed=since.isoformat()):
            study.until = since
            self.truth.log.append(f"told: {study.uid} closed since {since:%H:%M:%S}")
        self.tell_open(study.room, patient, since)

    def schedule(self, room: str, patient: str) -> None:
        """An order; or one for a study that was another patient's."""
        uid = f"2.{room[-1]}"
        patient = self.truth.who(patient)
        number, issuer = self.truth.id_of(patient)
        order: dict[str, Any] = {
            "study_instance_uid": uid,
            "study_id": f"S{patient[1:]}",
            "accession_number": "V7" if patient == "PA" else f"A{uid[-1]}",
            "patient": {"id": number, "issuer": issuer},
            "location": room,
        }
        if self.server.hears(lambda plan: hospital.plan_order(plan, order, order["patient"], renews=True)):
            self.truth.scheduled[uid] = patient
            self.truth.cancelled.discard(uid)
            self.truth.log.append(f"told: {uid} scheduled for {patient} in {room}")

    def cancel(self, uid: str) -> None:
        """An order is cancelled."""
        if self.server.hears(lambda plan: hospital.cancel_order(plan, {"study_instance_uid": uid})):
            self.truth.scheduled.pop(uid, None)
            self.truth.cancelled.add(uid)
            self.truth.log.append(f"told: {uid} cancelled")

    # --- what modalities report ---

    def emergency(self, room: str) -> None:
        """Somebody whom nobody knows is brought in, and the modality has a placeholder."""
        self.truth.count += 1
        patient = f"?{self.truth.count}"
        self.arrive(room, patient, telling="never")
        self.begin_step(room, patient)

    def begin_step(self, room: str, patient: str, *, late: bool = False, again: bool = False) -> None:
        """A modality of the room begins a step of a patient's study: of the open one, or of one of its own.

        Args:
            late: the message comes three minutes after the step began.
            again: the study that was open last goes on.
        """
        patient = self.truth.who(patient)
        before = self.truth.current(patient)
        last = next((one for one in reversed(self.truth.told) if one.patient == patient), None)
        goes_on = before or (last if again else None)
        uid = goes_on.uid if goes_on else f"1.{len(self.truth.told) + 1}"
        began = self.now - timedelta(minutes=3 if late else 0)
        self.truth.count += 1
        number, issuer = self.truth.id_of(patient)
        said = StepBegun(
            f"5.{self.truth.count}",
            False,
            (StepStudy(uid, "", f"S{patient[1:]}"),),
            number,
            issuer,
            "XRAY",
            "XRAY",
            room,
            began,
        )
        known = self.server.keeper.registry.study(uid)
        reopens = known is not None and known.status == "closed"  # by a turnover, where feeds did not say so
        if not self.server.tell(lambda registry: step_changes.begin_step(registry, said, POLICY, self.now)):
            return
        self.truth.steps.append(Step(said.sop_instance_uid, uid, room, self.now))
        self.truth.cancelled.discard(uid)
        if before is None or before.room != room or reopens:
            if before is not None:
                before.until = self.now
            self.truth.told.append(Told(uid, patient, room, self.now if before and not reopens else began))
        if patient[0] == "?" and patient not in self.truth.ids:
            study = self.server.keeper.registry.study(uid)
            assert study is not None
            assert study.patient_id.issuer == "plscp", "\n".join(self.truth.log)
            self.truth.ids[patient] = [(study.patient_id.id, study.patient_id.issuer)]
        self.truth.log.append(f"told: step {said.sop_instance_uid} of {uid} of {patient} begins in {room}, late {late}")

    def end_step(self, step: Step, status: Literal["COMPLETED", "DISCONTINUED"], reason: str = "") -> None:
        """A modality says that a step is over; the study closes with its last one."""
        said = StepSaid(step.uid, status, self.now, reason)
        if not self.server.tell(lambda registry: step_changes.set_step(registry, said, POLICY, self.now)):
            return
        step.until = self.now
        if reason == "110514^DCM":
            step.mistaken = True
            self.truth.mistaken.add(step.study)
            self.truth.take_out(step)
        self.truth.log.append(f"told: step {step.uid} of {step.study} {status} {reason}")
        if not any(one.study == step.study and one.until is None for one in self.truth.steps):
            for one in self.truth.told:
                if one.uid == step.study and one.until is None:
                    one.until = self.now

    # --- who is who ---

    def change_id(self, patient: str) -> None:
        """A47: a person has another number from now on; half of all senders still use the old one."""
        if self.truth.who(patient) != patient or patient[0] == "?":
            return
        (number, issuer), self.truth.count = self.truth.ids[patient][-1], self.truth.count + 1
        new = (f"{number[:3]}N{self.truth.count}", issuer)
        old_id, new_id = PatientId(number, issuer), PatientId(*new)
        if self.server.hears(lambda plan: hospital.change_id(plan, old_id, new_id)):
            self.truth.ids[patient].append(new)
            self.truth.log.append(f"told: {patient} has {new} now")

    def merge(self, survivor: str, prior: str) -> None:
        """A40: two known persons are one; said the other way round than before, the ID that survives is the current one again."""
        kept, gone = PatientId(*self.truth.ids[survivor][-1]), PatientId(*self.truth.ids[prior][-1])
        if self.truth.who(prior) != prior or not self.server.hears(lambda plan: hospital.merge(plan, kept, gone)):
            return
        if self.truth.who(survivor) == prior:
            known, current = self.truth.ids[prior], (kept.id, kept.issuer)
            self.truth.ids[prior] = [*(one for one in known if one != current), current]
        else:
            self.truth.became(prior, self.truth.who(survivor))

    def merge_emergency(self, survivor: str) -> None:
        """A40 whose prior ID is the placeholder: who the emergency is. Where several or none came with it, nothing may move."""
        came = {one.patient for one in self.truth.told if one.patient[0] == "?"}
        kept, placeholder = PatientId(*self.truth.ids[survivor][-1]), PatientId(PLACEHOLDER, "HOSP")
        self.server.hears(lambda plan: hospital.merge(plan, kept, placeholder))
        known = self.server.keeper.registry.owner(kept)
        moved = {
            who
            for who in self.truth.ids
            if known is not None
            and who[0] == "?"
            and who not in self.truth.same
            and self._named_by(who) == known.current
        }
        assert moved <= came, "\n".join([*self.truth.log, f"{moved} moved into {survivor}, but {came} came"])
        assert len(came) == 1 or not moved, "\n".join([*self.truth.log, f"{moved} of {came} moved into {survivor}"])
        for prior in moved:
            self.truth.became(prior, self.truth.who(survivor))

    def link(self, patient: str, other: str = "") -> None:
        """A24: another number, which nobody knows yet, is the person's too; or two persons are said to be one.

        Where the registry knows both of them nothing follows of it until somebody confirms that.
        """
        if self.truth.who(patient) != patient or (other and self.truth.who(other) != other):
            return
        current = self.truth.ids[patient][-1]
        self.truth.count += 1
        linked = self.truth.ids[other][-1] if other else (f"{current[0][:3]}L{self.truth.count}", current[1])
        known = [self.server.keeper.registry.owner(PatientId(*one)) is not None for one in (current, linked)]
        if not self._adt("A24", pid(_cx(current)), pid(_cx(linked))):
            return
        self.truth.log.append(f"told: {patient} has {linked}, too")
        if not other:
            self.truth.ids[patient].insert(0, linked)
        elif not all(known):
            self.truth.became(*((patient, other) if known[1] else (other, patient)))

    def unlink(self, patient: str) -> str:
        """A37: the number that was linked last is somebody else's; who has it now."""
        known = self.truth.ids[patient]
        linked = known[0]
        if self.truth.who(patient) != patient or "L" not in linked[0] or len(known) == 1:
            return ""
        if not self._adt("A37", pid(_cx(known[-1])), pid(_cx(linked))):
            return ""
        known.remove(linked)
        other = "L" + linked[0].partition("L")[2]
        self.truth.ids[other] = [linked]
        self.truth.log.append(f"told: {linked} is {other}'s")
        return other

    def _adt(self, event: str, *segments: str) -> bool:
        return self.server.hears_message(message(f"ADT^{event}", *segments))

    def _named_by(self, patient: str) -> PatientId:
        """The identifier that a person has by now in the registry."""
        found = self.server.keeper.registry.owner(PatientId(*self.truth.ids[patient][0]))
        assert found is not None
        return found.current

    def admit(self, visit: Visit) -> None:
        """A visit of another hospital, or of this one."""
        patient = VISITS[visit]
        number, issuer = self.truth.id_of(patient)
        bed = self._bed()
        body = {"id": visit[0], "issuer": visit[1], "patient": {"id": number, "issuer": issuer}, "location": bed}
        if self.server.tell(lambda registry: changes.put_admission(registry, body, POLICY, self.now)):
            self.truth.visits[visit], self.truth.beds[visit] = patient, bed
            self.truth.log.append(f"told: visit {visit} of {patient}")

    def _bed(self) -> str:
        self._beds += 1
        return f"W1^{self._beds}"

    def move_visit(self, visit: Visit, patient: str, prior: str) -> None:
        """A45: a visit belongs to another patient than the one whom the message has; not if it is a third one's."""
        if visit not in self.truth.visits:
            return
        owner, patient, prior = map(self.truth.who, (self.truth.visits[visit], patient, prior))
        mrg = f"MRG|{_cx(self.truth.ids[prior][-1])}||||{_cx(visit)}"
        taken = self._adt("A45", pid(_cx(self.truth.ids[patient][-1])), mrg)
        self.truth.log.append(f"told: visit {visit} is no longer {prior}'s but {patient}'s: {taken}")
        assert taken == (owner in {patient, prior}), self._story(f"the visit is {owner}'s")
        if taken:
            self.truth.visits[visit] = patient

    def swap_beds(self) -> None:
        """A17: the patients of two visits swap their beds."""
        if len(self.truth.visits) < 2:
            return
        first, second = self.truth.visits
        self.truth.beds[first], self.truth.beds[second] = self.truth.beds[second], self.truth.beds[first]
        segments = [
            segment
            for visit in (first, second)
            for segment in (
                pid(_cx(self.truth.ids[self.truth.who(self.truth.visits[visit])][-1])),
                pv1(self.truth.beds[visit], _cx(visit)),
            )
        ]
        assert self._adt("A17", *segments), self._story("a swap is refused")
        self.truth.log.append(f"told: the beds of {first} and {second} are swapped")

    # --- what devices send -------------------------------------------------------------------------------------------

    def report(self, sender: str, room: str, delay: timedelta, whose: dict[str, str], uid: str = "") -> Sent:
        """An event that truly occurred in a room so long ago, sent now; `uid` goes before the study of `whose` U."""
        self.truth.count += 1
        occurred = self.now - delay
        observation = f"1.2.{self.truth.count}"
        lately = [
            when
            for when, late in self._arrivals.get(sender, [])
            if not late and self.now - when < timedelta(minutes=50)
        ]
        measured = len(lately) + (not delay) >= 2
        stamp = SENDERS[sender].stamp(occurred)
        sent = Sent(sender, room, occurred, whose, observation, stamp, f"note {self.truth.count}", measured, self.now)
        sent.arrives = self.truth.count % 3 > 0
        self._send(sent, uid)
        self._arrivals.setdefault(sender, []).append((self.now, bool(delay)))
        return sent

    def report_again(self, before: Sent, patient: str) -> Sent:
        """The same entry, now for another patient."""
        sent = Sent(
            before.sender,
            before.room,
            before.occurred,
            {"P": patient},
            before.observation,
            before.stamp,
            before.words,
            before.measured,
            self.now,
            before,
        )
        self._send(sent)
        return sent

    def repeat(self, sent: Sent | None) -> None:
        """The very same request comes again; one whose answer was lost is a retry, and that is heard where it stands now, always."""
        position = self.ledger.at(sent) if sent is not None else None
        if sent is None or position is None:
            return
        is_retry, sent.arrives = not sent.arrives, True
        status, reply = self.server.log(sent.sender, sent.raw)
        self.truth.log.append(f"{sent.sender} repeats {sent.words}: {status:04X} {reply and reply.study_instance_uid}")
        assert self.ledger.follow() == []
        assert STATUSES[status].performed or not is_retry, self._story("a retry is refused")
        if reply is not None and STATUSES[status].performed:
            self._require_place(position, reply)

    def _require_place(self, position: int, reply: ActionReply) -> None:
        """The reply says where an entry stands now."""
        uid, patient = self.ledger.study(position), self.ledger.person(position)
        said = f"it stands under {uid} of {patient}, the reply says {reply.study_instance_uid}, {reply.patient_id}"
        assert reply.study_instance_uid == uid, self._story(said)
        assert reply.patient_id == self.truth.ids[patient][-1][0], self._story(said)

    def _send(self, sent: Sent, uid: str = "") -> None:
        whose = sent.whose
        entry = text("CONTAINS", ("121174", "DCM", "Procedure Note"), sent.words)
        entry.ObservationDateTime, entry.ObservationUID = sent.stamp, sent.observation
        patient = whose.get("P", "")
        named = self.truth.id_of(patient.rstrip("*")) if patient else ("", "")
        if named[1] == "plscp":
            named = (PLACEHOLDER, "")
        dataset = procedural(
            [entry],
            study=(uid or self.truth.study_of(whose["U"])) if "U" in whose else "",
            patient=named[0],
            study_id=f"S{whose['S'][1:]}" if "S" in whose else "",
            location=whose.get("L", ""),
            frame=SENDERS[sent.sender].frame,
        )
        if named[1] and not patient.endswith("*"):
            dataset.IssuerOfPatientID = named[1]
        before = {"slip": self._is_slip(sent, str(dataset.StudyInstanceUID)), "two": self._two_against_one(sent)}
        owed = self._is_owed(sent, str(dataset.StudyInstanceUID))
        sent.raw, known = encoded(dataset), self.ledger.at(sent)
        status, reply = self.server.log(sent.sender, sent.raw, arrives=sent.arrives)
        sent.arrives = (
            sent.arrives or not STATUSES[status].performed
        )  # a failure may be lost: the repeat is judged afresh
        self.truth.log.append(
            f"{sent.sender} in {sent.room} {whose} occurred {sent.occurred:%H:%M:%S} stamped {sent.stamp}"
            f"{' again' if sent.again else ''}: {status:04X} {reply.study_instance_uid if reply else ''}"
        )
        assert not owed or STATUSES[status].performed, self._story("its step is in progress, or has just ended")
        accepted = reply if STATUSES[status].performed else None
        added = accepted is not None and known is None
        assert len(self.ledger.follow(sent)) == added, self._story("added, or not added")
        if accepted is None:
            return
        self._judge(sent, status, accepted, str(dataset.StudyInstanceUID), **before)
        if known is None:
            self._note_sign(sent, accepted)
        else:
            self._require_place(known, accepted)

    def administer(
        self, sender: str, *, patient: str = "", visit: tuple[str, str] | None = None, issuer: bool = True
    ) -> None:
        """A drug given now, for a patient or a visit."""
        self.truth.count += 1
        dataset = substance(self.now, product=f"Drug {self.truth.count}", admission=visit[0] if visit else "")
        dataset.SubstanceAdministrationDateTime = SENDERS[sender].stamp(self.now)  # by the clock of its log entries
        if patient:
            dataset.PatientID, dataset.IssuerOfPatientID = self.truth.id_of(patient)
        if visit and issuer:
            item = Dataset()
            item.LocalNamespaceEntityID = visit[1]
            dataset.IssuerOfAdmissionIDSequence = [item]
        status = self.server.administer(sender, encoded(dataset))
        self.truth.log.append(f"{sender} administers to {patient} {visit}: {status:04X}")
        allowed = (
            {patient}
            if patient
            else {whose for one, whose in self.truth.visits.items() if visit and one[0] == visit[0]}
        )
        allowed = {self.truth.who(one) for one in allowed}
        for position in self.ledger.follow(administers=True):
            assert self.ledger.person(position) in allowed, self._story(f"only {allowed} are named")

    # --- what may come of it -----------------------------------------------------------------------------------------

    def _under(self, uid: str) -> str:
        study = self.server.keeper.registry.study(uid)
        assert study is not None
        return self.truth.person(study.patient_id.id, study.patient_id.issuer)

    def _is_slip(self, sent: Sent, uid: str) -> bool:
        """A scheduled study named from a room where another patient's is open."""
        study = self.server.keeper.registry.study(uid)
        if "U" not in sent.whose or study is None or study.status != "scheduled":
            return False
        places = SENDERS[sent.sender].profile.device.locations
        rooms = {sent.whose["L"]} if "L" in sent.whose else set(places)
        there = self.server.keeper.registry.studies(status="open")
        return any(one.location in rooms and one.patient != study.patient for one in there)

    def _is_owed(self, sent: Sent, uid: str) -> bool:
        """Whether a study must take the request: it alone is named, and a step of it is in progress or has ended within the grace."""
        steps = [step for step in self.truth.steps if step.study == uid]
        if sent.again is not None or set(sent.whose) != {"U"} or not steps or uid in self.truth.cancelled:
            return False
        last = [step.until for step in steps if step.until is not None]
        return len(last) < len(steps) or self.now - max(last) < POLICY.close_grace

    def _two_against_one(self, sent: Sent) -> bool:
        """Study ID and location of one patient whose study is open there, Patient ID of another."""
        whose = sent.whose
        if not {"P", "S", "L"} <= set(whose) or self.truth.by_patient_id(sent) in {"", self.truth.who(whose["S"])}:
            return False
        theirs = self.truth.current(whose["S"])
        known = self.server.keeper.registry.study(theirs.uid) if theirs is not None else None
        return known is not None and (known.status, known.location, known.study_id) == (
            "open",
            whose["L"],
            f"S{whose['S'][1:]}",
        )

    def _judge(self, sent: Sent, status: int, reply: ActionReply, named_uid: str, *, slip: bool, two: bool) -> None:
        story = "\n".join(self.truth.log)
        patient = self._under(reply.study_instance_uid)
        allowed = self.truth.could_be(sent)
        whose = sent.whose
        by_id = self.truth.by_patient_id(sent)
        if by_id:
            assert patient == by_id, f"stands under {patient}, Patient ID is of {by_id}\n{story}"
            allowed.add(by_id)
        if "U" in whose and self.server.keeper.registry.study(named_uid) is not None:
            allowed.add(self._under(named_uid))
        if sent.again is None:  # what is stored already stays where it stands
            assert reply.study_instance_uid not in self.truth.cancelled, f"the study was cancelled\n{story}"
        if patient in self.truth.ids:
            current = self.truth.ids[patient][-1][0]
            assert reply.patient_id == current, f"the reply carries {reply.patient_id}, not {current}\n{story}"
        assert patient in allowed, f"stands under {patient}, but only {allowed} are named\n{story}"
        assert not (slip and status == 0), f"a worklist slip without a warning\n{story}"
        assert not (two and reply.study_instance_uid), f"Study ID and location are another patient's\n{story}"
        self.truth.stands_under.setdefault(reply.study_instance_uid, patient)

    def _note_sign(self, sent: Sent, reply: ActionReply) -> None:
        """Who is named from the room shows that the study goes on there; a closed study has no sign of life after its closing."""
        uid = reply.study_instance_uid
        study = self.server.keeper.registry.study(uid)
        assert study is not None
        place = sent.whose.get("L") or next(iter(SENDERS[sent.sender].profile.device.locations), "")
        if not {"U", "P", "S"} & set(sent.whose) or place != sent.room:
            return
        if study.closed is None or sent.occurred <= study.closed:
            self.truth.signs.append((uid, sent.room, sent.occurred))
        else:
            assert self.truth.may_be_over(uid, study.closed), self._story(f"{uid} is closed since {study.closed}")

    def check(self) -> None:
        """No study with events is another patient's now, every entry stands where it must, and visits have the beds that were told."""
        self.ledger.check()
        registry = self.server.keeper.registry
        for uid, patient in self.truth.stands_under.items():
            assert self._under(uid) == patient, self._story(f"{uid} had events of {patient}")
        for visit, bed in self.truth.beds.items():
            assert registry.admissions_named(*visit)[0].location == bed, self._story(f"{visit} is in another bed")

    def _story(self, what: str) -> str:
        return "\n".join([*self.truth.log, what])


def _cx(identifier: tuple[str, str]) -> str:
    return "^^^".join(identifier)
