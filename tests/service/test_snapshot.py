"""The registry's snapshot: taken exactly where it fits, never needed, harmless in every state in which it may be found."""

import hashlib
import io
import os
import pickle
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from plscp.matching import changes, step_changes
from plscp.matching.layers import Layer
from plscp.matching.model import Policy
from plscp.matching.records import PatientId
from plscp.matching.registry import Issuers, Locations, Registry, microseconds
from plscp.matching.step_changes import StepBegun, StepStudy
from plscp.service.keeper import SAVE_AFTER_CHANGES, RegistryKeeper
from plscp.service.snapshot import MAGIC
from plscp.store import SqliteStore
from plscp.store.files import registry_snapshot
from plscp.store.port import RegistryDraft, RegistryRecord
from tests.matching.world import LABS, at, state_of
from tests.serving import until
from tests.temporary import TemporaryStore

POLICY = Policy(patient_id_issuer="HOSP")


class Store(TemporaryStore):
    """The store, with its disk's free bytes told by the test, and what happens while it is asked for them."""

    free: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.asked: Callable[[], None] = lambda: None

    def disk_free(self) -> int | None:
        """In the middle of writing a snapshot."""
        self.asked()
        return super().disk_free() if self.free is None else self.free


class House:
    """A store with a registry, and ever new servers on it."""

    def __init__(self) -> None:
        self.store = Store()
        self.file = registry_snapshot(f"sqlite:///{self.store.path}")
        self.keeper = self.keep()
        for number in range(3):
            self.change(changes.put_patient, {"id": f"P{number}", "name": f"N{number}", "issuer": "HOSP"})
            self.study(f"1.{number}", f"P{number}")
        self.change(changes.put_admission, {"id": "V1", "patient": {"id": "P1"}, "location": "W5"})
        self.change(changes.put_operator, {"value": "N1", "scheme": "L", "locations": ["LAB1"]})
        studies = (StepStudy("1.1", "", ""),)
        self.change(
            step_changes.begin_step, StepBegun("1.9", False, studies, "P1", "HOSP", "XA1", "XA1", "LAB1", at("09:00"))
        )

    def keep(
        self, labs: dict[str, list[str]] | None = None, policy: Policy = POLICY, store: SqliteStore | None = None
    ) -> RegistryKeeper:
        """Another server's keeper, before its start."""
        registry = Registry(Locations(labs or LABS))
        return RegistryKeeper(
            store or self.store, registry, policy=policy, clock=lambda: at("10:00"), snapshot=self.file
        )

    def change(self, plan: Callable[..., list[RegistryRecord]], *said: Any) -> None:
        """Make a change and wait."""
        done: list[object] = []
        self.keeper.begin(lambda registry: plan(registry, *said, POLICY, at("10:00")), "http", done.append)
        until(lambda: done, "the change")
        assert isinstance(done[0], list)

    def study(self, uid: str, patient: str, **said: Any) -> None:
        """Put a study that is open in LAB1."""
        body = {"study_instance_uid": uid, "patient": {"id": patient}, "location": "LAB1", "status": "open", **said}
        self.change(changes.put_study, body)

    def start(self, keeper: RegistryKeeper, snapshot: int, store: SqliteStore | None = None) -> list[Any]:
        """Have a server start from a snapshot of that position (0: from none); what it logs about that."""
        with capture_logs() as lines:
            assert keeper.load() == (self.keeper.registry.position, snapshot)
        registry = Registry(keeper.registry.locations)
        anew = RegistryKeeper(store or self.store, registry, policy=keeper.policy, clock=lambda: at("10:00"))
        anew.load()
        assert state_of(keeper.registry) == state_of(anew.registry)
        return [line["event"] for line in lines]


@pytest.fixture
def house() -> Iterator[House]:
    """A house, and its end."""
    house = House()
    yield house
    house.store.close()


def test_a_start_takes_the_snapshot_and_applies_what_came_after_it(house: House) -> None:
    """It ends up with what the log alone gives, and can be changed and saved like any other."""
    position = house.keeper.registry.position
    house.keeper.save()
    assert house.start(house.keep(), position) == []
    kept = house.keep()
    kept.load()
    assert kept.registry.operators.known("N1", "L") is not None
    assert kept.registry.steps.get("1.9") is not None
    house.change(changes.merge_patient, PatientId("P0", "HOSP"), {"prior": {"id": "P1", "issuer": "HOSP"}})
    house.change(changes.close_study, "1.2")
    keeper = house.keep()
    assert house.start(keeper, position) == []
    assert keeper.registry.has_entries("1.1") is False
    house.keeper = keeper
    house.study("1.7", "P0")
    house.keeper.save()
    house.start(house.keep(), house.keeper.registry.position)
    assert stat.S_IMODE(house.file.stat().st_mode) == 0o600
    assert [path.name for path in house.file.parent.glob("*.registry*")] == ["store.db.registry"]


def test_signs_of_life_are_in_it_and_those_on_their_way_are_not(house: House) -> None:
    """What waits for a commit belongs to the server that ended."""
    time = microseconds(at("09:50"))
    with house.keeper.lock:
        house.keeper.note_sign_of_life("1.1", "LAB1", time, perhaps_us=0)
        house.keeper.registry.life.expect("r1", "1.1", "LAB1")
    house.keeper.save()
    assert house.keeper.registry.life.expected("1.1", "LAB1")
    keeper = house.keep()
    keeper.load()
    assert keeper.registry.life.last_request("1.1", "LAB1") == time
    assert not keeper.registry.life.expected("1.1", "LAB1")


def test_a_snapshot_of_another_store_is_not_taken(house: House) -> None:
    """Nor one of this store from before it was put back from a backup: that is another store."""
    house.keeper.save()
    with closing(Store()) as other:
        for position, time, change in house.store.changes(0):
            done: list[object] = []
            record = RegistryRecord(change, None, "", "", "")
            other.submit(RegistryDraft([record], position - 1, time, "http", done.append))
            until(partial(bool, done), "the change")
        assert house.start(house.keep(store=other), 0, other) == ["registry-snapshot-unusable"]


@pytest.mark.parametrize(
    ("labs", "policy"),
    [
        ({**LABS, "LAB3": []}, POLICY),
        ({"LAB1": ["Lab 1"], "LAB2": ["Lab 2"]}, POLICY),
        (LABS, replace(POLICY, place_match_max_age=timedelta(hours=1))),
        (LABS, replace(POLICY, clock_tolerance=timedelta(seconds=1))),
    ],
)
def test_a_snapshot_made_with_other_settings_is_not_taken(
    house: House, labs: dict[str, list[str]], policy: Policy
) -> None:
    """Those that what it holds depends on: the names of labs, how long signs of life matter; no others."""
    house.keeper.save()
    assert house.start(house.keep(labs, policy), 0) == ["registry-snapshot-unusable"]
    position = house.keeper.registry.position
    assert house.start(house.keep(policy=replace(POLICY, close_grace=timedelta(1))), position) == []


SPOILT: list[Callable[[bytes], bytes]] = [
    lambda data: data[:-1],
    lambda data: data[: len(data) // 2],
    lambda data: data[:5],
    lambda _: b"",
    lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
    lambda data: data + b"x",
]


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_snapshot_that_is_damaged_is_not_taken(house: House, spoil: Callable[[bytes], bytes]) -> None:
    """One line says so, and the registry is made from the log."""
    house.keeper.save()
    house.file.write_bytes(spoil(house.file.read_bytes()))
    assert house.start(house.keep(), 0) == ["registry-snapshot-unusable"]


def test_a_snapshot_that_others_may_have_written_is_not_taken(house: House) -> None:
    """Who could write it could put an event on another patient: the log counts, and the file is its owner's alone again."""
    house.keeper.save()
    house.file.chmod(0o620)
    assert house.start(house.keep(), 0) == ["registry-snapshot-unusable"]
    assert stat.S_IMODE(house.file.stat().st_mode) == 0o600


def resealed(house: House, change: Callable[[list[Any]], object]) -> None:
    """Have other frames in the file, with a digest that fits."""
    data = house.file.read_bytes()[:-32]
    file = io.BytesIO(data[len(MAGIC) :])
    frames: list[Any] = []
    while file.tell() < len(data) - len(MAGIC):
        frames.append(pickle.load(file))
    change(frames)
    data = MAGIC + b"".join(map(pickle.dumps, frames))
    house.file.write_bytes(data + hashlib.sha256(data).digest())


class Evil:
    """Ends the process of who reads it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (9,)


FRAMES: list[Callable[[list[Any]], object]] = [
    lambda frames: frames.append(("position", Evil())),
    lambda frames: frames.append(("no such thing", 1)),
    lambda frames: frames.append(7),
    lambda frames: frames.pop(0),
    lambda frames: frames.clear(),
    lambda frames: frames.__setitem__(0, ("0.0 0", *frames[0][1:])),
    lambda frames: frames.__setitem__(0, (frames[0][0], "another", *frames[0][2:])),
    lambda frames: frames.__setitem__(0, (*frames[0][:2], frames[0][2] - 1, *frames[0][3:])),
    lambda frames: frames.__setitem__(0, (*frames[0][:5], frames[0][5][1:])),
]


@pytest.mark.parametrize("change", FRAMES)
def test_what_does_not_fit_is_not_taken_whatever_its_digest(
    house: House, change: Callable[[list[Any]], object]
) -> None:
    """A foreign class, an unknown name, another version, store, position, other attributes: nothing of it is run or kept."""
    house.keeper.save()
    resealed(house, change)
    assert house.start(house.keep(), 0) == ["registry-snapshot-unusable"]


def test_changes_go_on_while_it_is_written(house: House) -> None:
    """They are acknowledged, seen and told meanwhile; the snapshot is of the position at its beginning."""
    house.keeper.save()
    house.study("1.3", "P3")
    begun, told = house.keeper.registry.position, list[int]()
    house.keeper.changed.append(lambda positions, _: told.extend(positions))
    seen: list[Any] = []

    def meanwhile() -> None:
        house.store.asked = lambda: None
        house.study("1.4", "P4")
        house.change(changes.close_study, "1.3")
        with house.keeper.lock:
            house.keeper.note_sign_of_life("1.4", "LAB1", microseconds(at("10:01")), perhaps_us=0)
            house.keeper.registry.life.expect("r1", "1.4", "LAB1")
            seen.extend(house.keeper.registry.study(uid) for uid in ("1.3", "1.4"))

    house.store.asked = meanwhile
    house.keeper.save()
    assert [study.status for study in seen] == ["closed", "open"]
    assert told == [begun + 1, begun + 2, begun + 3]
    registry = house.keeper.registry
    assert [registry.study(uid) for uid in ("1.3", "1.4")] == seen
    assert registry.life.last_request("1.4", "LAB1") == microseconds(at("10:01"))
    assert registry.life.expected("1.4", "LAB1")
    assert not [name for name, holder, at_ in registry.state() if isinstance(holder.value(at_), Layer)]
    house.start(house.keep(), begun)
    house.keeper.save()
    assert house.keep().load() == (registry.position, registry.position)


def test_other_settings_while_it_is_written_make_another_registry(house: House) -> None:
    """That one stays; the snapshot, of the settings before, is followed by another."""

    def meanwhile() -> None:
        house.store.asked = lambda: None
        house.keeper.use_settings(Locations({"LAB1": []}), Issuers(), POLICY, hold=lambda: None)

    house.store.asked = meanwhile
    house.keeper.save()
    assert list(house.keeper.registry.locations) == ["LAB1"]
    assert house.keeper.due_to_save
    house.keeper.save()
    house.start(house.keep({"LAB1": []}), house.keeper.registry.position)


def test_it_never_takes_the_rest_of_the_disk(house: House) -> None:
    """The one before stays, and a later try comes."""
    house.keeper.save()
    position = house.keeper.registry.position
    house.study("1.3", "P3")
    house.store.free = 1 << 20
    with capture_logs() as lines:
        house.keeper.save()
    assert [line["event"] for line in lines] == ["registry-snapshot-failed"]
    house.start(house.keep(), position)
    house.store.free = None
    house.keeper.save()
    house.start(house.keep(), house.keeper.registry.position)
    assert [path.name for path in house.file.parent.glob("*.registry*")] == ["store.db.registry"]


def test_a_snapshot_that_cannot_be_written_is_said_and_nothing_else_happens(house: House) -> None:
    """The server goes on."""
    house.file.with_name(house.file.name + ".part").mkdir()
    with capture_logs() as lines:
        house.keeper.save()
    assert [line["event"] for line in lines] == ["registry-snapshot-failed"]
    house.study("1.3", "P3")
    assert house.start(house.keep(), 0) == []


def test_nothing_is_written_where_nothing_changed(house: House) -> None:
    """And a snapshot is due after so many changes, not before."""
    house.keeper.save()
    written = house.file.stat().st_mtime_ns
    house.keeper.save(hurry=True)
    assert house.file.stat().st_mtime_ns == written
    assert not house.keeper.due_to_save
    house.keeper._unsaved = SAVE_AFTER_CHANGES - 1
    assert not house.keeper.due_to_save
    house.study("1.3", "P3")
    assert house.keeper.due_to_save
    house.keeper.save()
    assert not house.keeper.due_to_save


CHILD: Final = """
import os, signal, sys
from pathlib import Path
from plscp.matching.registry import Registry
from plscp.service.keeper import RegistryKeeper
from plscp.store import SqliteStore
from plscp.store.files import registry_snapshot

path, moment = Path(sys.argv[1]), sys.argv[2]
store = SqliteStore(path)
keeper = RegistryKeeper(store, Registry(), snapshot=registry_snapshot(f"sqlite:///{path}"))
keeper.load()
end, pieces = lambda *_: os.kill(os.getpid(), signal.SIGKILL), 0
def pause(_):
    global pieces
    pieces += 1
    if moment == str(pieces):
        end()
keeper._hurry.wait = pause
if moment == "synced":
    Path.replace = end
if moment == "replaced":
    os.fsync, syncs = lambda *_: syncs() and end(), iter([0, 1]).__next__
keeper.save()
"""


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("moment", ["1", "4", "synced", "replaced"])
def test_a_server_that_is_killed_while_it_writes_one_starts_as_before(
    tmp_path: Path, moment: str, before: bool
) -> None:
    """With the snapshot before, the new one or none: never with half of one, and without a word."""
    path = tmp_path / "store.db"
    record = RegistryRecord({"what": "file.read", "content": {"a": 1}}, None, "", "", "")

    def change() -> None:
        done: list[object] = []
        store.submit(RegistryDraft([record], store.head()[1], 1, "file", done.append))
        until(partial(bool, done), "the change")

    def keeper() -> RegistryKeeper:
        return RegistryKeeper(store, Registry(), snapshot=registry_snapshot(f"sqlite:///{path}"))

    with closing(SqliteStore(path)) as store:
        change()
        if before:
            loaded = keeper()
            loaded.load()
            loaded.save()
        change()
    run = subprocess.run([sys.executable, "-c", CHILD, str(path), moment], check=False)
    assert run.returncode == -signal.SIGKILL
    with closing(SqliteStore(path)) as store, capture_logs() as lines:
        found = keeper()
        assert found.load() == (2, 2 if moment == "replaced" else int(before))
        assert found.registry.file == {"a": 1}
        change()
        found.catch_up()
        found.save()
        assert not lines
        assert keeper().load() == (3, 3)
