"""Small stories told in lines, played on a whole server: what feeds say, what devices send, and what must come of it.

    09:00 study 1.1 PA at=LAB1
    10:00 HEMO1 sends P=PA -> 0000 1.1 PA
    10:10 HEMO1 sends S=S9 at=09:50,10:10 says=NO_PLACE -> C103

A line may begin with a time, to which the clock is set: ``HH:MM`` or ``HH:MM:SS`` of the day of these tests, ``+1d08:00`` a day
later, or a whole ISO date and time; all UTC. Then comes a verb of `Story`, or a device and what it does:

* ``sends``: identifiers U, P, S, L, ``issuer``, ``oid`` (of the qualifiers) and ``frame``; ``at`` (times of the entries; the clock's
  time without), ``dt`` (DateTimes as sent), ``obs`` (an Observation UID each), ``words`` (a text each), ``offset`` (0008,0201);
  ``as`` names the request.
* ``resends NAME``: the same data set again, perhaps from another device.
* ``gives``: a Substance Administration with P, ``issuer``, ``admission``, ``of`` (its issuer), ``name``, ``operator``, ``at``, ``dt``.
* ``measured``: two requests that name nobody and show the device's clock, which is right, ``fast=MINUTES`` or ``slow=MINUTES``.

``unheard`` aborts the association after the answer, ``closes`` ends the connection without a release. What is expected follows ``->``: the status, and for one
that says performed the study and the patient under which every entry is stored; ``adds=N`` where that is not every entry (``retry``:
none). ``says`` is a name of `plscp.matching.comments`, ``finds`` and ``warns`` are codes that each new event carries.

After every request the store is held against that: what was added, under which study and patient, and what is in quarantine.
"""

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from pydicom.dataset import Dataset

from plscp.errors import Conflict
from plscp.matching import changes, comments
from plscp.matching.model import Device, Operator, Policy
from plscp.matching.records import PatientId
from plscp.service.profile import Profile
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.store.port import Filter
from tests.events import encoded, procedural, substance, text
from tests.matching.world import change_patient_id
from tests.rawscu import SYNTAXES, RawScu
from tests.serving import until
from tests.system.rows.rig import POLICY, Answer, Rig, at

NOTE: Final = ("121174", "DCM", "Procedure Note")
ISSUERS: Final = {"HOSP": ["Hospital", "1.2.840.99999.1"], "EAST": ["East Clinic"]}
NURSES: Final = (
    Operator("N1001", "L"),
    Operator("N2", "L", locations=("LAB2",)),
    Operator("N3", "L", valid_until=at("10:00")),
)


def _device(ae_title: str, *locations: str, policy: Policy = POLICY, more: Mapping[str, Any] | None = None) -> Profile:
    options = dict(more or {})
    beside = {
        name: options.pop(name) for name in ("strict", "zone", "operators", "closes_without_release") if name in options
    }
    return Profile(Device(ae_title, locations, **options), policy, **beside)


DEVICES: Final = (
    _device("HEMO1", "LAB1"),
    _device("PUMP1", "LAB1"),
    _device("HEMO2", "LAB2"),
    _device("BOTH", "LAB1", "LAB2"),
    _device("UNTIMED1", "LAB1", more={"times": "untrusted"}),
    _device("COERCED1", "LAB1", more={"coerce_by_location": True}),
    _device("EAST1", "LAB1", more={"patient_id_issuer": "EAST"}),
    _device("BERLIN1", "LAB1", more={"zone": "Europe/Berlin"}),
    _device("STRICT1", "LAB1", more={"strict": True}),
    _device("LOG1", "LAB1", policy=replace(POLICY, patient_mismatch="log")),
    _device("NARROW1", "LAB1", policy=replace(POLICY, study_id_mismatch="refuse", location_mismatch="refuse")),
    _device("BRIEF1", "LAB1", policy=replace(POLICY, close_grace=timedelta(minutes=5))),
    _device("WIDE1", "LAB1", policy=replace(POLICY, clock_tolerance=timedelta(minutes=10))),
    _device("NOISSUER1", "LAB1", policy=replace(POLICY, patient_id_issuer="")),
    _device("NAMES1", "LAB1", policy=replace(POLICY, name_mismatch="refuse")),
    _device("NURSE1", "LAB1", more={"operators": NURSES}),
    _device("ACCESSION1", "LAB1", policy=replace(POLICY, accession_as_admission=True)),
    _device("CLOSER1", "LAB1", more={"closes_without_release": True}),
    _device("SLIP1", "LAB1", policy=replace(POLICY, not_started_elsewhere="refuse")),
)
"""Others are mobile devices."""

_TIME: Final = re.compile(r"(?:\+(\d+)d)?(\d\d:\d\d(?::\d\d)?)|\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?")
_OPTIONS: Final = {"at": "location", "id": "study_id", "accession": "accession_number"}


def moment(words: str) -> datetime:
    """A time of a story."""
    matched = _TIME.fullmatch(words)
    assert matched is not None, words
    if matched[2] is None:
        return datetime.fromisoformat(words).replace(tzinfo=UTC)
    return at(matched[2]) + timedelta(days=int(matched[1] or 0))


def _moments(words: str) -> list[datetime]:
    return [moment(word) for word in words.split(",")]


class Story:
    """One story while it is played."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.kept: dict[str, tuple[Dataset, bool]] = {}
        self.refused: dict[tuple[str, str], int] = {}
        self.open: set[tuple[str, str]] = set()
        self.position = 0
        self.count = 0

    def line(self, line: str) -> None:
        """Play one line."""
        told, _, expected = line.partition("->")
        words = shlex.split(told)
        if _TIME.fullmatch(words[0]):
            self.rig.clock(moment(words.pop(0)))
        if not words:
            return
        named = dict(word.split("=", 1) for word in words if "=" in word)
        plain = [word for word in words if "=" not in word]
        verb = getattr(self, f"_{plain[0]}", None)
        if verb is not None:
            verb(*plain[1:], **named)
            self.rig.settle()
        else:
            device, does, *more = plain
            getattr(self, f"device_{does}")(device, more, named, shlex.split(expected))

    # --- feeds ---

    def _study(self, uid: str, patient: str = "", **more: str) -> None:
        given: dict[str, Any] = {_OPTIONS.get(name, name): value for name, value in more.items()}
        for name in ("opened", "closed", "planned"):
            if name in given:
                given[name] = moment(given[name]).isoformat()
        self.rig.study(uid, patient, **given)

    def _close(self, uid: str) -> None:
        self.rig.close(uid)

    def _cancel(self, uid: str) -> None:
        self.rig.change(lambda registry: changes.cancel_study(registry, uid, self.rig.policy, self.rig.now))

    def _patient(self, patient: str, **more: Any) -> None:
        if "other" in more:
            others = (one.split("^") for one in more.pop("other").split(","))
            more["other_ids"] = [{"id": other, "issuer": issuer} for other, issuer in others]
        self.rig.patient(patient, **more)

    def _admission(self, admission: str, patient: str, of: str = "", **more: str) -> None:
        body = {"id": admission, "issuer": of, "patient": {"id": patient, "issuer": more.pop("issuer", "HOSP")}, **more}
        self.rig.change(lambda registry: changes.put_admission(registry, body, self.rig.policy, self.rig.now))

    def _merge(self, survivor: str, prior: str, issuer: str = "HOSP") -> None:
        self.rig.merge(survivor, prior, issuer=issuer)

    def _rename(self, old: str, new: str, issuer: str = "HOSP") -> None:
        before, after = PatientId(old, issuer), PatientId(new, issuer)
        self.rig.change(lambda registry: change_patient_id(registry, before, after, self.rig.policy, self.rig.now))

    def _refuses(self, verb: str, *plain: str, **named: str) -> None:
        """The feed's message is refused, and changes nothing."""
        with pytest.raises(Conflict):
            getattr(self, f"_{verb}")(*plain, **named)

    def _restart(self) -> None:
        self.rig.restart()

    def _look(self) -> None:
        self.rig.look()

    # --- devices ---

    def device_sends(self, device: str, more: Sequence[str], given: dict[str, str], expected: Sequence[str]) -> None:
        """A Procedural Event."""
        self.count += 1
        if "dt" in given:
            times = given["dt"].split(",")
        else:
            moments = _moments(given["at"]) if "at" in given else [self.rig.now]
            times = [f"{one:%Y%m%d%H%M%S}+0000" for one in moments]
        observations = given["obs"].split(",") if "obs" in given else [""] * len(times)
        words = (
            given["words"].split(",")
            if "words" in given
            else [observed or f"note {self.count}.{number}" for number, observed in enumerate(observations)]
        )
        entries = []
        for time, observed, said in zip(times, observations, words, strict=True):
            made = text("CONTAINS", NOTE, said)
            made.ObservationDateTime = time
            if observed:
                made.ObservationUID = observed
            entries.append(made)
        made = procedural(
            entries,
            study=given.get("U", ""),
            patient=given.get("P", ""),
            study_id=given.get("S", ""),
            location=given.get("L", ""),
            frame=given.get("frame", "1.2.840.10008.15.1.1"),
        )
        if "offset" in given:
            made.TimezoneOffsetFromUTC = given["offset"]
        self._request(device, _issued(made, given), more, given, expected)

    def device_gives(self, device: str, more: Sequence[str], given: dict[str, str], expected: Sequence[str]) -> None:
        """A Substance Administration."""
        self.count += 1
        time = moment(given["at"]) if "at" in given else self.rig.now
        operator = (given.get("operator", "N1001"), given.get("scheme", "L"), "Nurse")
        made = substance(
            time,
            patient=given.get("P", ""),
            admission=given.get("admission", ""),
            product=f"Heparin {self.count}",
            operator=operator,
        )
        if "of" in given:
            made.IssuerOfAdmissionID = given["of"]
        if "dt" in given:
            made.SubstanceAdministrationDateTime = given["dt"]
        made.PatientName = given.get("name", "")
        self._request(device, _issued(made, given), more, given, expected, administered=True)

    def device_resends(self, device: str, more: Sequence[str], given: dict[str, str], expected: Sequence[str]) -> None:
        """A request again."""
        made, administered = self.kept[more[0]]
        self._request(device, made, more, {"as": more[0], **given}, expected, administered=administered)

    def device_measured(self, device: str, _: Sequence[str], given: dict[str, str], __: Sequence[str]) -> None:
        """Two requests, ten seconds apart, that name nobody: the server learns what the device's clock shows."""
        ahead = timedelta(minutes=int(given.pop("fast", 0)) - int(given.pop("slow", 0)))
        for _again in range(2):
            stamped = f"{self.rig.now + ahead:%Y%m%d%H%M%S}+0000"
            self.device_sends(device, (), {"U": "9.9.9", "dt": stamped, **given}, ("C103",))
            self.rig.now += timedelta(seconds=10)

    def _request(
        self,
        device: str,
        made: Dataset,
        more: Sequence[str],
        given: Mapping[str, str],
        expected: Sequence[str],
        *,
        administered: bool = False,
    ) -> None:
        name = given.get("as", f"request {self.count}")
        self.kept[name] = (made, administered)
        sop_class = SUBSTANCE_ADMINISTRATION_LOGGING if administered else PROCEDURAL_EVENT_LOGGING
        syntax = SYNTAXES[int(given.get("syntax", 1))]
        raw, contexts = encoded(made, syntax), [(sop_class, syntax)]
        scu = RawScu("127.0.0.1", self.rig.port, calling=device, contexts=contexts).associate()
        answer = Answer(scu.request(sop_class, raw), syntax)
        if "unheard" in more:
            scu.abort()
        elif "closes" in more:
            scu.socket.close()
        else:
            scu.release()
            scu.socket.close()
        until(lambda: not self.rig.acceptor.associated, "the end of the association")
        self.rig.settle()
        entries = 1 if administered else len(made.ContentSequence) - 1
        self._expect((device, name), answer, entries, given, expected, administered=administered)

    # --- what came of it ---

    def _expect(
        self,
        request: tuple[str, str],
        answer: Answer,
        entries: int,
        given: Mapping[str, str],
        expected: Sequence[str],
        *,
        administered: bool,
    ) -> None:
        options = dict(word.split("=", 1) for word in expected if "=" in word)
        status, *plain = [word for word in expected if "=" not in word]
        retry = "retry" in plain
        named = [word for word in plain if word != "retry"]
        shown = str(answer) if not administered else answer.status
        assert shown == " ".join([status, *(() if administered else named)]), f"{answer}: {answer.comment}"
        if "says" in given:
            assert answer.comment == getattr(comments, given["says"]), answer.comment
        performed = status == "0000" or status.startswith("B1")
        added = list(self.rig.store.read(Filter(after=self.position, limit=1000)))
        self.position = added[-1].position if added else self.position
        new = [json.loads(event.payload) for event in added if event.kind == "entry"]
        expect = int(options.get("adds", 0 if retry or not performed else entries))
        assert len(new) == expect, f"{len(new)} events were added"
        for event in new:
            where = (
                [event["patient"]["id"]]
                if administered
                else [event["study"]["study_instance_uid"], event["patient"]["id"]]
            )
            if administered and "@" in named[0]:
                where = [f"{event['patient']['id']}@{event['patient']['issuer']}"]
            assert where == named
            found = {finding["code"] for finding in event["findings"]}
            assert set(given["finds"].split(",") if "finds" in given else ()) <= found, found
            if "warns" in given:
                assert event["match"]["warnings"] == given["warns"].split(",")
        if performed:
            self.open.discard(request)
        else:
            self.open.add(request)
            self.refused[request] = self.refused.get(request, 0) + 1
        kept = sorted(item.times for item in self.rig.quarantined())
        assert kept == sorted(self.refused[one] for one in self.open), f"refused so often: {kept}"


def _issued(made: Dataset, given: Mapping[str, str]) -> Dataset:
    if "issuer" in given:
        made.IssuerOfPatientID = given["issuer"]
    if "oid" in given:
        qualifiers = Dataset()
        qualifiers.UniversalEntityID, qualifiers.UniversalEntityIDType = given["oid"], "ISO"
        made.IssuerOfPatientIDQualifiersSequence = [qualifiers]
    return made


def play(folder: Path, story: str, policy: Policy = POLICY) -> None:
    """Play a story; a failure names its line.

    Args:
        policy: what feeds and mobile devices have.
    """
    with Rig(folder, *DEVICES, issuers=ISSUERS, policy=policy) as rig:
        played = Story(rig)
        for line in filter(None, map(str.strip, story.splitlines())):
            try:
                played.line(line)
            except AssertionError as error:
                pytest.fail(f"{line}\n{error}")


def told(stories: Mapping[str, str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A test for each story, named as it is."""
    cases = [pytest.param(story, id=name.replace(" ", "_")) for name, story in stories.items()]
    return pytest.mark.parametrize("story", cases)
