"""Settings that change while requests are under way: the registry after it is as at a start with them, and nothing is half decided."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from plscp.errors import Conflict
from plscp.matching import changes, rules
from plscp.matching.model import Device, Instant, MatchQuestion, Policy
from plscp.matching.registry import Issuers, Locations, Registry, microseconds
from plscp.service.handlers import Handlers
from plscp.service.keeper import RegistryKeeper
from plscp.service.profile import Profile
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from plscp.store.port import Draft, RequestRecord, Stale, StoredEvent
from plscp.templates.request import Identifiers
from tests import events
from tests.rawscu import INSTANCE_OF, SYNTAXES
from tests.temporary import TemporaryStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Settings:
    """What a server has in force, for one device: exchanged with the registry's, as `plscp.app` does."""

    def __init__(self, store: TemporaryStore, names: "Names") -> None:
        self.names = names
        self.keeper = RegistryKeeper(store, Registry(names.locations, names.issuers), policy=names.policy)
        self.keeper.load()

    def profile(self, calling_ae: str) -> Profile:
        """Of any device."""
        device = Device(calling_ae, self.names.places, self.names.issuer)
        return Profile(device, self.names.policy)

    def take(self, names: "Names") -> None:
        """Others hold."""

        def hold() -> None:
            self.names = names

        self.keeper.use_settings(names.locations, names.issuers, names.policy, hold)


class Names:
    """Some settings."""

    def __init__(
        self,
        locations: dict[str, list[str]],
        issuers: dict[str, list[str]] | None = None,
        issuer: str = "",
        places: tuple[str, ...] = (),
        policy: Policy | None = None,
    ) -> None:
        self.locations, self.issuers = Locations(locations), Issuers(issuers or {})
        self.issuer, self.places, self.policy = issuer, places, policy or Policy()


def event_of(data: Any, arrival: datetime, calling: str = "HEMO1") -> Any:
    """An N-ACTION as the listener hands it over."""
    return SimpleNamespace(
        assoc=SimpleNamespace(requestor=SimpleNamespace(ae_title=calling, address="127.0.0.1"), id="a"),
        context=SimpleNamespace(abstract_syntax=PROCEDURAL_EVENT_LOGGING, transfer_syntax=SYNTAXES[1]),
        request=SimpleNamespace(
            raw=events.encoded(data),
            RequestedSOPClassUID=PROCEDURAL_EVENT_LOGGING,
            RequestedSOPInstanceUID=INSTANCE_OF[PROCEDURAL_EVENT_LOGGING],
            ActionTypeID=1,
        ),
        message_id=1,
        timestamp=arrival,
    )


def put(keeper: RegistryKeeper, uid: str, patient: str, issuer: str, **said: Any) -> bool:
    """A study is said to be open; whether that was taken."""
    body = {"study_instance_uid": uid, "status": "open", "patient": {"id": patient, "issuer": issuer}, **said}
    try:
        asyncio.run(
            keeper.change(lambda registry: changes.put_study(registry, body, keeper.policy, datetime.now(UTC)), "http")
        )
    except Conflict:
        return False
    return True


# --- as at a start -----------------------------------------------------------------------------------------------------

PLACES = ("LAB1", "LAB2", "Lab 1", "Cath", "ROOM7")


def _one_lab_each(tables: dict[str, list[str]]) -> bool:
    try:
        Locations(tables)
    except ValueError:
        return False
    return True


_locations = st.dictionaries(
    st.sampled_from(PLACES[:2] + PLACES[4:]), st.lists(st.sampled_from(PLACES), max_size=3), max_size=3
).filter(_one_lab_each)
_issuers = st.sampled_from([{}, {"HOSP": ["H"]}, {"HOSP": ["CLINIC"]}, {"CLINIC": ["H"], "HOSP": []}])
_policies = st.builds(
    Policy,
    clock_tolerance=st.sampled_from([timedelta(minutes=2), timedelta(hours=1)]),
    place_match_max_age=st.sampled_from([timedelta(hours=6), timedelta(minutes=10)]),
    close_grace=st.sampled_from([timedelta(minutes=30), timedelta(0)]),
)


_names = st.builds(
    Names,
    locations=_locations,
    issuers=_issuers,
    issuer=st.sampled_from(["", "H", "CLINIC"]),
    places=st.sampled_from([(), ("LAB1",), ("ROOM7",)]),
    policy=_policies,
)
_story = st.lists(
    st.tuples(
        st.sampled_from(["put", "report"]),
        st.sampled_from(["1.1", "1.2", "1.3"]),
        st.sampled_from(["P1", "P2"]),
        st.sampled_from(["HOSP", "H", "CLINIC"]),
        st.sampled_from(PLACES),
    ),
    max_size=8,
)


def known(keeper: RegistryKeeper) -> Any:
    """Everything that decisions are made on, in a form that can be compared."""
    registry = keeper.registry
    uids = [study.study_instance_uid for study in registry.studies()]
    return (
        registry.position,
        registry.studies(),
        registry.patients(),
        [registry.presence.between(place, NOW - timedelta(9999), NOW + timedelta(9999)) for place in PLACES],
        [(registry.last_sign_of_life(u, p), registry.life.last_request(u, p), registry.life.last_perhaps(u, p)) for u in uids for p in PLACES],
        sorted(keeper._late),
        keeper.policy,
    )  # fmt: skip


def decisions(settings: Settings, moment: datetime) -> list[Any]:
    """What would become of requests that name this and that."""
    found = []
    profile = settings.profile("HEMO1")
    time = Instant("", moment, moment, "own")
    for given_ in (
        Identifiers(patient_id="P1"),
        Identifiers(patient_id="P1", issuer_of_patient_id="H"),
        Identifiers(patient_id="P2", issuer_of_patient_id="CLINIC"),
        Identifiers(study_instance_uid="1.1"),
        *(Identifiers(performed_location=place) for place in PLACES),
        Identifiers(),
    ):
        question = MatchQuestion(given_, profile.device, profile.policy, [time], moment, timedelta(0))
        found.append(rules.decide(question, settings.keeper.registry))
    return found


@given(_names, _names, _story)
def test_other_settings_are_as_a_start_with_them(first: Names, then: Names, story: list[tuple[str, ...]]) -> None:
    """After any story, what is known and what would be decided is the same as that of a server that starts with them."""
    store = TemporaryStore()
    running = Settings(store, first)
    handlers = Handlers(store, running.keeper, running.profile)
    for what, uid, patient, issuer, place in story:
        if what == "put":
            put(running.keeper, uid, patient, issuer, location=place)
        else:
            data = events.procedural([events.note(events.now())], study=uid, location=place)
            handlers.answer(event_of(data, datetime.now(UTC)))
    decisions(running, datetime.now(UTC))  # what is kept of them must not outlive the settings
    running.take(then)
    started = Settings(store, then)
    assert known(running.keeper)[:4] == known(started.keeper)[:4]
    assert known(running.keeper)[5:] == known(started.keeper)[5:]
    moment = datetime.now(UTC)
    assert decisions(running, moment) == decisions(started, moment)
    store.close()


def test_what_was_remembered_of_decisions_goes_with_the_settings() -> None:
    """A device that names its open study is decided once; with other issuers its Patient ID means nobody."""
    store = TemporaryStore()
    settings = Settings(store, Names({}, {"HOSP": ["H"]}))
    put(settings.keeper, "1.1", "P1", "HOSP")
    first = decisions(settings, NOW)[1]
    assert first.study_instance_uid == "1.1"
    settings.take(Names({}))
    assert decisions(settings, NOW)[1].status == 0xC103
    store.close()


# --- never half of both ------------------------------------------------------------------------------------------------

# Patient P1 is three different persons at three authorities. By the first settings the device's own issuer X is HOSP, by the second
# its own issuer Y is CLINIC; the first device's issuer means OTHER to the second table, and the second's nobody to the first.
FIRST = Names({"LAB1": []}, {"HOSP": ["X"]}, issuer="X")
SECOND = Names({"LAB1": []}, {"CLINIC": ["Y"], "OTHER": ["X"]}, issuer="Y")
THIRD = Names({"ROOM7": ["LAB1"]}, {"CLINIC": ["Y"], "OTHER": ["X"]}, issuer="Y")


class Moving(TemporaryStore):
    """A store that lets something happen when a request reaches it, once."""

    meanwhile: Callable[[], None] | None = None

    def submit(self, draft: Draft) -> None:
        """As the store's; what happened meanwhile was also a registry change."""
        if self.meanwhile is not None and isinstance(draft, RequestRecord):
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
            draft.done(Stale(0))
        else:
            super().submit(draft)


def three_persons(store: TemporaryStore) -> Settings:
    """P1 of each authority has an open study."""
    settings = Settings(store, FIRST)
    for uid, issuer in (("1.1", "HOSP"), ("1.2", "CLINIC"), ("1.3", "OTHER")):
        assert put(settings.keeper, uid, "P1", issuer)
    return settings


def report(seconds: float = 0) -> Any:
    """P1, of whatever authority the device means."""
    return event_of(events.procedural([events.note(events.now(seconds))], patient="P1"), datetime.now(UTC))


def test_a_decision_under_way_is_made_again_by_the_new_settings() -> None:
    """The registry changes and the settings do, before the request is stored: it is read and decided again by the new ones alone."""
    for other in (SECOND, THIRD):
        store = Moving()
        settings = three_persons(store)
        handlers = Handlers(store, settings.keeper, settings.profile)
        store.meanwhile = lambda settings=settings, other=other: settings.take(other)
        status, reply = handlers.answer(report())
        assert (status, reply.study_instance_uid) == (0, "1.2")  # type: ignore[union-attr]
        store.close()


def test_a_request_that_the_new_settings_do_not_allow_is_refused() -> None:
    """A decision that must be made again is made by the profile of now, at every step: the device may not send this any more."""
    store = Moving()
    settings = three_persons(store)
    barred = [False]

    def profile(calling_ae: str) -> Profile:
        found = settings.profile(calling_ae)
        return Profile(found.device, found.policy, sop_classes=frozenset()) if barred[0] else found

    handlers = Handlers(store, settings.keeper, profile)
    store.meanwhile = lambda: barred.__setitem__(0, True)
    status, _ = handlers.answer(report())
    assert status == 0x0124
    assert not [each for each in _all(store) if each.kind == "entry"]
    assert not settings.keeper.registry.life._under_way
    store.close()


def _all(store: TemporaryStore) -> list[StoredEvent]:
    return [event for position in range(1, store.head()[0] + 1) if (event := store.event(position)) is not None]


def test_while_settings_come_and_go_each_answer_is_that_of_one_of_them() -> None:
    """Requests on several threads while the settings change to and fro: each goes to the study of the first or of the others."""
    store = TemporaryStore()
    settings = three_persons(store)
    handlers = Handlers(store, settings.keeper, settings.profile)
    found: list[tuple[int, str]] = []
    done = threading.Event()

    def send(number: int) -> None:
        for each in range(60):
            status, reply = handlers.answer(report(-(number * 100 + each)))
            found.append((int(status), getattr(reply, "study_instance_uid", "")))

    def change() -> None:
        while not done.is_set():
            for names in (SECOND, FIRST, THIRD, FIRST):
                settings.take(names)

    changing = threading.Thread(target=change)
    sending = [threading.Thread(target=send, args=(number,)) for number in range(3)]
    for thread in (changing, *sending):
        thread.start()
    for thread in sending:
        thread.join()
    done.set()
    changing.join()
    assert len(found) == 180
    assert set(found) <= {(0, "1.1"), (0, "1.2")}
    store.close()


def test_a_sign_of_life_that_comes_while_the_registry_is_made_anew_is_kept() -> None:
    """And one that is on its way to the store then is waited for, at the place that its place is now."""
    store = TemporaryStore()
    settings = Settings(store, Names({"LAB1": []}, places=("LAB1",)))
    put(settings.keeper, "1.1", "P1", "HOSP", location="LAB1")
    moment = microseconds(datetime.now(UTC)) + 60_000_000
    activity = store.activity

    def meanwhile(since_us: int) -> Any:
        signs = list(activity(since_us))
        with settings.keeper.lock:
            settings.keeper.note_sign_of_life("1.1", "LAB1", moment, perhaps_us=0)
            settings.keeper.registry.life.expect("r1", "1.1", "LAB1")
        return iter(signs)

    store.activity = meanwhile  # type: ignore[method-assign]
    settings.take(Names({"ROOM7": ["LAB1"]}, places=("ROOM7",)))
    registry = settings.keeper.registry
    assert registry.last_sign_of_life("1.1", "ROOM7") == moment
    assert registry.life.expected("1.1", "ROOM7")
    store.close()
