"""Who is where, under random arrivals, moves, closings, requests, steps, ticks and restarts, against a small model of its own.

The model knows the contract's sentences and lists; it has no registry, no planner and no index. All times are whole minutes.
"""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from plscp.errors import Conflict
from plscp.matching import changes
from plscp.matching.registry import Locations, Registry, microseconds
from plscp.store.port import RegistryRecord
from tests.matching.world import LABS, POLICY, World, at, minutes, state_of

PATIENTS = {"1.1": "P1", "1.2": "P2", "1.3": "P3", "1.4": "P1"}
PLACES = ["LAB1", "LAB2"]
TURNOVER = minutes(15)
BEFORE = at("00:00")


@dataclass
class Stay:
    """As it should be."""

    place: str
    arrived: datetime
    left: datetime | None = None
    confirmed: bool = False


@dataclass
class Known:
    """A study as it should be: signs are (place, time, by request)."""

    uid: str
    stays: list[Stay] = field(default_factory=list)
    signs: list[tuple[str, datetime, bool]] = field(default_factory=list)
    gaps: list[tuple[datetime, datetime]] = field(default_factory=list)
    open: bool = False
    closed: datetime | None = None
    steps: bool = False
    turned_over: bool = False

    @property
    def patient(self) -> str:
        return PATIENTS[self.uid]

    def lived(self, place: str, until: datetime) -> datetime:
        """Its last sign of life at a place until a time; none while it was closed."""
        if self.closed is not None:
            until = min(until, self.closed)
        return max(
            (
                time
                for where, time, _ in self.signs
                if where == place and time <= until and not any(a < time < b for a, b in self.gaps)
            ),
            default=BEFORE,
        )


class Model:
    """What the contract says."""

    def __init__(self) -> None:
        self.studies = {uid: Known(uid) for uid in PATIENTS}

    def open(self, uid: str, place: str, stated: datetime | None, now: datetime) -> None:
        study = self.studies[uid]
        begin = stated or now
        if study.closed is not None and begin < study.closed:
            begin = now
        others = [
            other.lived(place, now)
            for other in self.studies.values()
            if other.patient != study.patient and any(stay.place == place for stay in other.stays)
        ]
        begin = min(max([begin, *others]), now)
        if study.closed is not None:
            study.gaps.append((study.closed, begin))
        study.open, study.closed, study.turned_over = True, None, False
        self._arrive(study, place, begin)

    def move(self, uid: str, place: str, now: datetime) -> None:
        study = self.studies[uid]
        if study.stays[-1].place != place:
            study.stays[-1].left = max(now, study.stays[-1].arrived)
            self._arrive(study, place, now)

    def _arrive(self, study: Known, place: str, begin: datetime) -> None:
        study.stays.append(Stay(place, begin))
        study.signs.append((place, begin, False))

    def close(self, uid: str, closed: datetime) -> None:
        study = self.studies[uid]
        stay = study.stays[-1]
        study.open, study.closed, stay.left = False, closed, max(closed, stay.arrived)

    def look(self, now: datetime) -> None:
        """Everything that is due, pair by pair."""
        for study in self.studies.values():
            stay = study.stays[-1] if study.stays else None
            if study.turned_over and stay is not None and stay.left is not None:
                stay.left = max(stay.left, study.lived(stay.place, now))
        for place in PLACES:
            here = [s for s in self.studies.values() if s.open and s.stays[-1].place == place]
            here.sort(key=lambda study: (study.stays[-1].arrived, study.uid))
            for second in here:
                stay = second.stays[-1]
                named = any(w == place and by and t > stay.arrived for w, t, by in second.signs)
                if (named or second.steps) and any(self._older(first, second) for first in here):
                    stay.confirmed = True
            for first in list(here):
                last = first.lived(place, now)
                ends = [s.stays[-1].arrived for s in here if s.stays[-1].confirmed and self._older(first, s)]
                if ends and not first.steps and now - last >= TURNOVER:
                    first.open, first.closed, first.turned_over = False, now, True
                    first.stays[-1].left = max(min(ends), last)
                    here.remove(first)

    def _older(self, first: Known, second: Known) -> bool:
        return first.patient != second.patient and first.stays[-1].arrived <= second.stays[-1].arrived


uids = st.sampled_from(sorted(PATIENTS))
places = st.sampled_from(PLACES)
ago = st.sampled_from([0, 0, 1, 3, 8, 14, 20, 40])


class Stays(RuleBasedStateMachine):
    """The registry and the model are told the same."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.now = at("06:00")
        self.model = Model()
        self.requests: list[tuple[str, str, datetime]] = []

    @initialize(place=places)
    def two_in_a_room(self, place: str) -> None:
        """What most of it is about."""
        self.opened("1.1", place, None)
        self.ticked(5)
        self.opened("1.2", place, None)

    # --- what happens

    # The planner judges the room where somebody arrives; the model looks at all rooms, so the timer runs as well.

    def _study(self, uid: str, **said: Any) -> None:
        self.world.study(uid, patient=PATIENTS[uid], **said)

    @rule(uid=uids, place=places, stated=st.none() | ago)
    def opened(self, uid: str, place: str, stated: int | None) -> None:
        """Opened, or opened again; the message may be late."""
        if self.model.studies[uid].open:
            return
        begin = None if stated is None else self.world.now - minutes(stated)
        said = {} if begin is None else {"opened": begin.isoformat()}
        self._study(uid, location=place, status="open", **said)
        self.model.open(uid, place, begin, self.world.now)
        self._look(())

    @rule(uid=uids, place=places)
    def moved(self, uid: str, place: str) -> None:
        """To the other room, or not at all."""
        study = self.model.studies[uid]
        if study.open:
            arrives = study.stays[-1].place != place
            self._study(uid, location=place)
            self.model.move(uid, place, self.world.now)
            if arrives:
                self._look(())

    @rule(uid=uids, early=st.none() | ago)
    def closed(self, uid: str, early: int | None) -> None:
        """Now, or at a time that is stated."""
        study = self.model.studies[uid]
        if not study.open:
            return
        closed = self.world.now if early is None else self.world.now - minutes(early)
        with suppress(Conflict):
            said = {} if early is None else {"closed": closed.isoformat()}
            self._study(uid, status="closed", **said)
            self.model.close(uid, closed)

    @rule(uid=uids)
    def step(self, uid: str) -> None:
        """Begins or ends; the API keeps the study open."""
        study = self.model.studies[uid]
        if study.open:
            known = self.world.known(uid)
            steps = () if known.steps else ("s1",)
            change = {"what": "study.updated", **replace(known, steps=steps).as_json()}
            self.world.take([RegistryRecord(change, "study", uid, "", uid)])
            study.steps = bool(steps)
            study.signs.append((study.stays[-1].place, self.world.now, False))
            self._look(())

    @rule(uid=uids, place=places, occurred=ago, there=st.booleans())
    def named(self, uid: str, place: str, occurred: int, *, there: bool) -> None:
        """A request, nearly always from where the study is, that occurred some minutes ago."""
        study = self.model.studies[uid]
        if not study.stays:
            return
        place = study.stays[-1].place if there else place
        time = self.world.now - minutes(occurred)
        self.requests.append((uid, place, time))
        self.world.registry.sign_of_life(uid, place, microseconds(time), by_request=True)
        study.signs.append((place, time, True))
        self._look(((uid, place),))

    @rule(later=st.sampled_from([1, 4, 10, 15, 31]))
    def ticked(self, later: int) -> None:
        """Time goes on."""
        self.world.now += minutes(later)
        self._look(())

    def _look(self, late: tuple[tuple[str, str], ...]) -> None:
        self.world.take(changes.turn_over(self.world.registry, late, POLICY, self.world.now))
        self.model.look(self.world.now)
        assert changes.turn_over(self.world.registry, late, POLICY, self.world.now) == []

    @rule()
    def restarted(self) -> None:
        """Changes from the log, then what requests said; feeds and steps must not be missed."""
        live = self.world.registry
        rebuilt = Registry(Locations(LABS))
        for entry in self.world.log:
            rebuilt.apply(*entry)
        assert rebuilt.studies() == live.studies()
        assert state_of(rebuilt.presence) == state_of(live.presence)
        for uid, place, time in self.requests:
            rebuilt.sign_of_life(uid, place, microseconds(time), by_request=True)
        for uid in PATIENTS:
            for place in PLACES:
                assert rebuilt.last_sign_of_life(uid, place) == live.last_sign_of_life(uid, place)
        self.world.registry = rebuilt

    # --- what holds

    @invariant()
    def everybody_is_where_the_contract_says(self) -> None:
        """Stay by stay."""
        for uid, expected in self.model.studies.items():
            known = self.world.registry.study(uid)
            stays = [] if known is None else [(s.location, s.arrived, s.left) for s in known.stays]
            assert stays == [(s.place, s.arrived, s.left) for s in expected.stays], uid
            assert (known is not None and known.status == "open") is expected.open

    @invariant()
    def no_stay_that_a_turnover_ended_ends_before_its_last_sign_of_life(self) -> None:
        """And no stay begins in the future."""
        for uid, expected in self.model.studies.items():
            known = self.world.registry.study(uid)
            for stay in known.stays if known else ():
                assert stay.arrived <= self.world.now
            if known is not None and expected.turned_over:
                last = known.stays[-1]
                assert last.left is not None
                assert last.left >= expected.lived(last.location, self.world.now)

    @invariant()
    def signs_of_life_are_what_was_said(self) -> None:
        """For each study and place."""
        for uid, expected in self.model.studies.items():
            for place in PLACES:
                lived = expected.lived(place, self.world.now)
                known = self.world.registry.last_sign_of_life(uid, place)
                assert known == (0 if lived == BEFORE else microseconds(lived)), (uid, place)


TestStays = Stays.TestCase
TestStays.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
