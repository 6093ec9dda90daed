"""The registry at a hospital's size: `python -m benchmarks.registry`, five minutes; `--quick` for a tenth of everything.

What one decision and one planned change cost, by rule and kind; the memory of patients with an admission each; what writing a
snapshot does to decisions meanwhile; and how long a server takes to be ready at a store of many events, with a snapshot and without.
Processor time throughout, but for decisions beside a snapshot: there what counts is how long they wait.
"""

import argparse
import gc
import json
import os
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from benchmarks.targets import Target
from plscp import logs
from plscp.matching import changes, rules
from plscp.matching.model import Device, Instant, MatchQuestion, Policy
from plscp.matching.records import PatientId
from plscp.matching.registry import Locations, Registry, microseconds
from plscp.service.keeper import RegistryKeeper
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from plscp.store import SqliteStore
from plscp.store.files import registry_snapshot
from plscp.store.port import Accepted, EntryDraft, RegistryDraft, RegistryRecord, RequestRecord, Result
from plscp.templates.request import Identifiers

LABS: Final = 20
WARDS: Final = 480
"""Places where the other open studies are: feeds that never close one."""
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
MOST_MS: Final = Target(0.1, 0.1, less=True)
"""For a decision, median."""
READY_SECONDS: Final = Target(2.0, 2.0, less=True)
POLICY: Final = Policy(patient_id_issuer="HOSP")
RULES: Final = {
    "1: U": {"U": True, "P": True},
    "1: U, P, S, L": {"U": True, "P": True, "S": True, "L": True},
    "3: P and S": {"P": True, "S": True},
    "4: P": {"P": True},
    "5: S and L": {"S": True, "L": True},
    "6: L": {"L": True},
    "7: device's location": {},
    "-: unknown patient": {"X": True},
}


def _resident_mb() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * PAGE_BYTES / 1e6


def _patient(n: int) -> dict[str, Any]:
    return {
        "what": "patient.changed", "id": f"{n:08d}", "issuer": "HOSP", "key": f"HOSP|{n:08d}", "other_ids": [],
        "former_ids": [], "placeholder": "", "name": f"FAMILY{n % 50_000}^GIVEN{n % 700}",
        "birth_date": f"19{n % 100:02d}0101", "sex": "F",
    }  # fmt: skip


def _admission(n: int) -> dict[str, Any]:
    return {
        "what": "admission.changed", "id": f"V{n:09d}", "issuer": "HOSP",
        "patient": {"id": f"{n:08d}", "issuer": "HOSP"}, "location": f"W{n % 90}^{n % 30}^1", "status": "active",
    }  # fmt: skip


def _study(n: int, place: str, opened: datetime, closed: datetime | None = None) -> dict[str, Any]:
    said = {"arrived": opened.isoformat(), "left": closed and closed.isoformat()}
    return {
        "what": "study.closed" if closed else "study.opened", "study_instance_uid": f"1.2.840.1.{n}",
        "study_id": f"S{n}", "accession_number": f"A{n}", "patient": {"id": f"{n:08d}", "issuer": "HOSP"},
        "location": place, "status": "closed" if closed else "open", "planned": None, "opened": opened.isoformat(),
        "closed": closed and closed.isoformat(), "stays": [{"location": place, **said}], "steps": [],
    }  # fmt: skip


def _locations() -> Locations:
    return Locations({f"LAB{n}": [f"Lab {n}"] for n in range(LABS)})


# --- in memory -----------------------------------------------------------------------------------------------------------


def _filled(patients: int, studies: int, now: datetime) -> tuple[Registry, dict[str, Any]]:
    """A registry with so many patients, an admission each, and so many open studies: one in each lab, the others anywhere."""
    before, began = _resident_mb(), time.process_time()
    registry = Registry(_locations())
    for n in range(patients):
        registry.apply(registry.position + 1, 1, _patient(n))
        registry.apply(registry.position + 1, 1, _admission(n))
    took, memory = time.process_time() - began, _resident_mb() - before
    for n in range(studies):
        place = f"LAB{n}" if n < LABS else f"WARD{n % WARDS}"
        opened = now - timedelta(minutes=40)
        registry.apply(registry.position + 1, microseconds(opened), _study(n, place, opened))
        registry.sign_of_life(f"1.2.840.1.{n}", place, microseconds(now) - 60_000_000, by_request=True)
    figures = {"patients": patients, "admissions": patients, "open_studies": studies}
    return registry, figures | {"memory_mb": round(memory), "applied_us": round(took / (2 * patients) * 1e6, 1)}


def _times_us(calls: int, call: Callable[[int], object]) -> list[float]:
    taken = []
    for n in range(calls):
        began = time.thread_time_ns()
        call(n)
        taken.append((time.thread_time_ns() - began) / 1000)
    return taken


def _question(n: int, given: dict[str, bool], now: datetime) -> MatchQuestion:
    lab = n % LABS
    identifiers = Identifiers(
        study_instance_uid=f"1.2.840.1.{lab}" if "U" in given else "",
        patient_id=f"{lab:08d}" if "P" in given else "X" if "X" in given else "",
        study_id=f"S{lab}" if "S" in given else "",
        performed_location=f"Lab {lab}" if "L" in given else "",
    )
    moments = [now - timedelta(seconds=60 - second) for second in range(5)]
    times = [Instant(f"{moment:%Y%m%d%H%M%S}", moment, moment, "server") for moment in moments]
    return MatchQuestion(identifiers, Device("HEMO", (f"LAB{lab}",)), POLICY, times, now, timedelta(0))


def _decisions(registry: Registry, now: datetime, calls: int) -> dict[str, Any]:
    """Each decision anew: none is remembered from the one before."""
    found = {}
    for name, given in RULES.items():
        questions = [_question(n, given, now) for n in range(LABS)]
        statuses = {rules.decide(question, registry).status for question in questions}
        assert statuses <= ({0xC103, 0xC104} if "X" in given else {0}), (name, statuses)

        def decide(n: int, questions: list[MatchQuestion] = questions) -> object:
            registry.decided.clear()
            return rules.decide(questions[n % LABS], registry)

        taken = _times_us(calls, decide)
        found[name] = {"us": round(statistics.median(taken), 1)} | MOST_MS.judged(statistics.median(taken) / 1000)
    return found


def _plans(registry: Registry, now: datetime, calls: int, patients: int) -> dict[str, Any]:
    def study(n: int, **said: Any) -> dict[str, Any]:
        return {"study_instance_uid": f"1.2.840.1.{n}", **said}

    planners: dict[str, Callable[[int], object]] = {
        "patient, new": lambda n: changes.put_patient(registry, {"id": f"N{n}", "name": "A^B"}, POLICY, now),
        "patient, changed": lambda n: changes.put_patient(registry, {"id": f"{n:08d}", "name": "A^B"}, POLICY, now),
        "patient, nothing new": lambda n: changes.put_patient(registry, {"id": f"{n:08d}"}, POLICY, now),
        "merge": lambda n: changes.merge_patient(
            registry, PatientId(f"{n:08d}", "HOSP"), {"prior": {"id": f"{patients - 1 - n:08d}"}}, POLICY, now
        ),
        "admission": lambda n: changes.put_admission(
            registry, {"id": f"V{n:09d}", "issuer": "HOSP", "status": "discharged"}, POLICY, now
        ),
        "study, new": lambda n: changes.put_study(
            registry, study(n + 10**7, patient={"id": f"{n:08d}"}, location="Lab 1", status="open"), POLICY, now
        ),
        "study, moved": lambda n: changes.put_study(registry, study(n, location="Lab 2"), POLICY, now),
        "study, closed": lambda n: changes.close_study(registry, f"1.2.840.1.{n}", POLICY, now),
        "a view": lambda _: registry.fork(),
    }
    found = {}
    for name, plan in planners.items():
        taken = _times_us(calls, plan)
        found[name] = {"us": round(statistics.median(taken), 1), "p99_us": round(sorted(taken)[-1 - calls // 100], 1)}
    return found


# --- on a store ----------------------------------------------------------------------------------------------------------


def _submit(store: SqliteStore, drafts: Iterator[Callable[[Callable[[Result], None]], Any]]) -> None:
    """Hand drafts over, some at once, and wait for all."""
    free = threading.Semaphore(400)
    failed: list[Result] = []

    def done(result: Result) -> None:
        if type(result).__name__ != "Stored":
            failed.append(result)
        free.release()

    for draft in drafts:
        free.acquire()
        store.submit(draft(done))
    for _ in range(400):
        free.acquire()
    if failed:
        raise SystemExit(f"the store refused: {failed[0]}")


def _request(n: int, entries: int, study: int, arrival: int) -> Callable[[Callable[[Result], None]], RequestRecord]:
    utc = datetime.fromtimestamp(arrival / 1e6, UTC)
    occurred, dated = f"{utc:%Y-%m-%dT%H:%M:%S}.000Z", f"{utc:%Y%m%d%H%M%S}"
    uid, patient = f"1.2.840.1.{study}", f"{study:08d}"
    accepted = Accepted(
        0, "procedure-log", uid, uid, patient, "HOSP", b'"study":{},"sender":{}', alive_at=f"LAB{study % LABS}", alive_us=arrival
    )  # fmt: skip
    drafts = [
        EntryDraft(
            index, "org.plscp.procedure-log.entry.v1", occurred, "", secrets.token_bytes(32), secrets.token_bytes(32),
            b'"occurred":{},"entry":{"kind":"untyped","text":"something like what an entry says, of usual length"}', dated=dated,
        )
        for index in range(entries)
    ]  # fmt: skip
    raw = b"\0" * 200
    return lambda done: RequestRecord(
        request_id=f"{n:032x}", identity=secrets.token_bytes(32), sop_class=PROCEDURAL_EVENT_LOGGING,
        calling_ae=f"HEMO{study % LABS}", address="192.0.2.1", association="a", message_id=1, transfer_syntax="1.2.840.10008.1.2",
        arrival=arrival, raw=raw, entries=drafts, decision=accepted, registry_position=1 << 62, done=done, dated=dated,
    )  # fmt: skip


def _fill(path: Path, patients: int, study_changes: int, events: int) -> int:
    """A store of so many events, of which so many are registry changes, spread over ten days; the number of events."""
    now = datetime.now(UTC)
    chance = random.Random(1)
    store = SqliteStore(path)

    def said() -> Iterator[dict[str, Any]]:
        yield from map(_patient, range(patients))
        for n in range(study_changes // 2):
            opened = now - timedelta(minutes=10 * 24 * 60 * (1 - 2 * n / study_changes) + 60)
            place = f"LAB{n % LABS}"
            yield _study(n, place, opened)
            if n < study_changes // 2 - LABS:
                yield _study(n, place, opened, opened + timedelta(minutes=chance.randrange(20, 90)))

    def registry_drafts() -> Iterator[Any]:
        records = [
            RegistryRecord(
                c, "study" if "stays" in c else "patient", c.get("study_instance_uid", c.get("key", "")), "x", "y"
            )
            for c in said()
        ]
        for at in range(0, len(records), 200):
            some = records[at : at + 200]
            time_us = microseconds(now - timedelta(days=10 * (1 - at / len(records))))
            yield lambda done, some=some, time_us=time_us: RegistryDraft(some, 1 << 62, time_us, "hl7", done)

    _submit(store, registry_drafts())
    left = events - store.head()[0]
    entries = 25
    _submit(
        store,
        (
            _request(
                n,
                entries,
                (study_changes // 2) * n * entries // left,
                microseconds(now) - int(864e9 * (1 - n * entries / left)),
            )
            for n in range(left // entries)
        ),
    )
    head = store.head()[0]
    store.close()
    return head


CONFIG: Final = """
[dicom]
port = {dicom}
[http]
port = {http}
[store]
url = "sqlite:///{path}"
{labs}
"""


def _ready(folder: Path) -> dict[str, Any]:
    """Start `plscp serve`, end it when it listens: seconds and processor seconds until then, and what it says of the registry."""
    from benchmarks.servers import free_port  # noqa: PLC0415 -- with it comes all that other benchmarks need

    labs = "".join(f'[locations.LAB{n}]\nnames = ["Lab {n}"]\n' for n in range(LABS))
    config = folder / "plscp.toml"
    config.write_text(CONFIG.format(dicom=free_port(), http=free_port(), path=folder / "plscp.db", labs=labs))
    began = time.perf_counter()
    with (folder / "serve.log").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "plscp", "serve", "--config", str(config)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("listening"):
            break
    seconds = time.perf_counter() - began
    fields = Path(f"/proc/{process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    process.terminate()
    process.wait()
    lines = [
        json.loads(each) for each in (folder / "serve.log").read_text("utf-8").splitlines() if each.startswith("{")
    ]
    [loaded] = [each for each in lines if each["event"] == "registry-loaded"]
    return {
        "seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "registry_seconds": loaded["seconds"],
        "from_snapshot": loaded["snapshot"],
    } | READY_SECONDS.judged(cpu)  # fmt: skip


def _starts(folder: Path, patients: int, study_changes: int, events: int) -> dict[str, Any]:
    found: dict[str, Any] = {"events": _fill(folder / "plscp.db", patients, study_changes, events)}
    found |= {"patients": patients, "study_changes": study_changes}
    found["without_snapshot"] = _ready(folder)
    found["with_snapshot"] = [_ready(folder) for _ in range(3)]
    found["snapshot_mb"] = round(registry_snapshot(f"sqlite:///{folder / 'plscp.db'}").stat().st_size / 1e6, 1)
    return found


def _beside_a_snapshot(registry: Registry, now: datetime, folder: Path) -> dict[str, Any]:
    """Decisions one after the other, a millisecond between them: how long they take without a snapshot being written, and with one."""
    store = SqliteStore(folder / "empty.db")
    keeper = RegistryKeeper(store, registry, policy=POLICY, snapshot=folder / "empty.registry")
    questions = [_question(n, {"P": True, "L": True}, now) for n in range(LABS)]

    def decide(going_on: Callable[[], bool]) -> dict[str, Any]:
        taken: list[float] = []
        pause = threading.Event()
        while going_on():
            began = time.perf_counter()
            with keeper.lock:
                keeper.registry.decided.clear()
                rules.decide(questions[len(taken) % LABS], keeper.registry)
            taken.append((time.perf_counter() - began) * 1e6)
            pause.wait(0.001)
        taken.sort()
        return {
            "decisions": len(taken),
            "p50_us": round(taken[len(taken) // 2], 1),
            "p99_us": round(taken[-1 - len(taken) // 100], 1),
            "most_us": round(taken[-1], 1),
        }

    until = time.monotonic() + 5
    without = decide(lambda: time.monotonic() < until)
    saver = threading.Thread(target=keeper.save)
    began = time.perf_counter()
    saver.start()
    meanwhile = decide(saver.is_alive)
    took = time.perf_counter() - began
    store.close()
    size = (folder / "empty.registry").stat().st_size
    return {"without": without, "meanwhile": meanwhile, "seconds": round(took, 1), "mb": round(size / 1e6)}


def main() -> int:
    """Measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    by = 10 if args.quick else 1
    logs.configure(level="error")
    now = datetime.now(UTC)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="plscp-registry-") as made:
        folder = Path(made)
        result["start"] = _starts(folder, 100_000 // by, 50_000 // by, 1_000_000 // by)
        registry, result["registry"] = _filled(1_000_000 // by, 10_000 // by, now)
        result["decisions"] = _decisions(registry, now, 2000)
        result["plans"] = _plans(registry, now, 400, 1_000_000 // by)
        result["snapshot"] = _beside_a_snapshot(registry, now, folder)
    text = json.dumps(result, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
