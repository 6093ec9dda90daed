"""What each stage of a request costs, in microseconds: `python -m benchmarks.stages`.

Each room's public functions are driven directly, in one process, with requests that differ from each other as those of
the load generator do. It is processor time but for the store's; the best of several rounds counts: whatever else the
machine does only adds.
"""

import argparse
import asyncio
import gc
import itertools
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode as pydicom_reads
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.requests import LOADS, SYNTAX, Load, associate, make, wire
from benchmarks.servers import STUDIES, STUDY
from benchmarks.walking import walk
from plscp import logs
from plscp.content.model import Bounds
from plscp.content.reader import Decoded, decode
from plscp.matching import changes, rules
from plscp.matching.model import Device, MatchQuestion, Policy
from plscp.matching.registry import Locations, Registry
from plscp.matching.times import instant
from plscp.records.values import REMEMBERED
from plscp.relay.producer import Envelope
from plscp.service.handlers import Handlers
from plscp.service.keeper import RegistryKeeper
from plscp.service.profile import Profile
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from plscp.store.port import Draft, RequestRecord, Result, Stored
from plscp.store.relay_view import RelayView
from plscp.store.sqlite import SqliteStore
from plscp.templates.procedure_log import read_log
from plscp.templates.request import ProcedureLog
from tests import events
from tests.dicom.wire import Line
from tests.templates.trees import context_json, entry_json
from tests.temporary import TemporaryStore

Figures = dict[str, float]
WAITING = 64
POLICY = Policy(patient_id_issuer="HOSP")
PROFILE = Profile(Device("HEMO1"), POLICY)
STAGES = {
    "network": "receive, PDU, message, answer, send; through a transport in memory",
    "decode_hot": "read, canonical form, identity; codes and observer known",
    "decode_cold": "the same, every Code Meaning never seen before",
    "type_hot": "attributes, C.17.3, templates, JSON of the entries",
    "type_cold": "the same, every Code Meaning never seen before",
    "match": "the decision on study and patient",
    "handler": "decode, type, match, JSON, draft and answer: all but network and store",
    "rest": "handler less decode, type and match: times, JSON of the record, draft, answer",
    "store_one": "store, one waiting for its commit",
    "store_one_cpu": "processor time of it",
    "store_many": f"store, {WAITING} waiting",
    "store_many_cpu": "processor time of it",
    "relay_record": "relay, one record: read from the store, value and envelope; without the producer",
    "pydicom": "pydicom reads the data set and every element becomes the same content items",
}
_meanings = itertools.count(1)
_contexts: dict[int, tuple[Any, bytes]] = {}


class Instantly(TemporaryStore):
    """A store that costs nothing: says Success at once.

    Attributes:
        drafts: what was submitted, where somebody wants it.
    """

    drafts: list[RequestRecord] | None = None

    def submit(self, draft: Draft) -> None:
        """Be done."""
        if isinstance(draft, RequestRecord):
            if self.drafts is not None:
                self.drafts.append(draft)
            draft.done(Stored("added", draft.request_id, 0, "", STUDY, "P1", "HOSP", 1, len(draft.entries)))


def best(rounds: Sequence[Sequence[Any]], call: Callable[[Any], object]) -> float:
    """Microseconds of this thread's processor time in a call: the best round's mean; the first round warms up."""
    took = []
    gc.collect()
    gc.freeze()  # what the bench itself keeps is not to be looked through again and again
    for given in rounds:
        began = time.thread_time()
        for one in given:
            call(one)
        took.append((time.thread_time() - began) / len(given))
    return 1e6 * min(took[1:])


def unseen(raw: bytes) -> bytes:
    """The request with Code Meanings that were never seen before."""
    made, mark = pydicom_reads(BytesIO(raw), True, True), f" {next(_meanings)}"

    def change(owner: Dataset, element: Any) -> None:
        if element.keyword == "CodeMeaning":
            owner.CodeMeaning = element.value[:50] + mark

    made.walk(change)
    return events.encoded(made, SYNTAX)


def rounds_of(data: Iterator[bytes], rounds: int, count: int) -> list[list[bytes]]:
    """So many rounds of so many requests."""
    return [list(itertools.islice(data, count)) for _ in range(rounds)]


def read(raw: bytes) -> Decoded:
    """Step 5."""
    return decode(raw, SYNTAX, calling_ae="HEMO1", sop_class=PROCEDURAL_EVENT_LOGGING, bounds=Bounds())


def typed(decoded: Decoded) -> ProcedureLog:
    """Steps 6 and 7, and the JSON of the entries and of what they inherit."""
    log = read_log(decoded, strict=False)
    for entry in log.entries:
        entry_json(entry.typed)
    if (
        _contexts.get(id(log.context), (None,))[0] is not log.context
    ):  # as the server keeps it: see records.values.shared
        if len(_contexts) >= REMEMBERED:
            _contexts.clear()
        _contexts[id(log.context)] = log.context, context_json(log.context)
    return log


def _decode_and_type(rounds: Sequence[Sequence[bytes]]) -> tuple[float, float]:
    """Each request is decoded and then typed, as in the server: what one leaves in memory the other finds."""
    took = []
    gc.collect()
    gc.freeze()
    clock = time.thread_time
    for given in rounds:
        decoding = typing = 0.0
        for raw in given:
            began = clock()
            decoded = read(raw)
            between = clock()
            typed(decoded)
            typing += clock() - between
            decoding += between - began
        took.append((1e6 * decoding / len(given), 1e6 * typing / len(given)))
    decodings, typings = zip(*took[1:], strict=True)
    return min(decodings), min(typings)


def _templates(load: Load, rounds: int, count: int) -> Figures:
    few = max(count // 10, 5)
    hot = rounds_of(load.data(), rounds, count)
    cold = rounds_of(map(unseen, load.data()), rounds, few)
    figures = dict(zip(("decode_hot", "type_hot"), _decode_and_type(hot), strict=True))
    figures |= dict(zip(("decode_cold", "type_cold"), _decode_and_type(cold), strict=True))
    return figures | {"pydicom": best([given[:few] for given in hot], walk)}


def _network(load: Load, rounds: int, count: int) -> tuple[Figures, list[Any]]:
    """Also the handler's events of all requests."""
    got: list[Any] = []
    with Line() as line:
        line.send(associate())
        assert [kind for kind, _ in line.pdus()] == [2]

        def one(raw: bytes) -> None:
            line.send(raw)

        took = best(rounds_of(map(wire, load.data()), rounds, count), one)
        got = line.events
    return {"network": took}, got


def _keeper(store: TemporaryStore) -> RegistryKeeper:
    """A registry that knows the studies of the loads."""
    keeper = RegistryKeeper(store, Registry(Locations({})))

    async def put() -> None:
        for study, patient in STUDIES:
            body = {"study_instance_uid": study, "status": "open", "patient": {"id": patient, "issuer": "HOSP"}}
            await keeper.change(lambda registry: changes.put_study(registry, body, POLICY, datetime.now(UTC)), "http")  # noqa: B023

    asyncio.run(put())
    return keeper


def _question(decoded: Decoded) -> MatchQuestion:
    content, now = typed(decoded), datetime.now(UTC)
    times = [
        instant(
            entry.observation_datetime,
            request_offset=content.timezone_offset,
            device_zone=PROFILE.zone,
            server_zone=PROFILE.server_zone,
            arrival=now,
        )
        for entry in content.entries
    ]
    return MatchQuestion(content.identifiers, PROFILE.device, POLICY, times, now)


def _service(load: Load, rounds: int, got: list[Any]) -> tuple[Figures, list[RequestRecord]]:
    """Matching and the handler as a whole; also the drafts that it made."""
    part = len(got) // rounds
    truth = TemporaryStore()
    keeper = _keeper(truth)
    truth.close()
    asked = rounds_of(load.data(), rounds, max(part // 4, 5))
    questions = [[_question(read(raw)) for raw in given] for given in asked]
    figures = {"match": best(questions, lambda one: rules.decide(one, keeper.registry))}
    store = Instantly()
    handlers = Handlers(store, keeper, lambda _: PROFILE)
    drafts: list[RequestRecord] = []

    async def drive() -> float:
        took = best([got[n * part :][:part] for n in range(rounds)], handlers.begin)
        store.drafts = drafts
        for one in got:
            answer = handlers.begin(one).answer
            assert answer is not None, "a store that answers at once leaves nothing to wait for"
            assert answer[0] == 0, answer[0]
        return took

    figures["handler"] = asyncio.run(drive())
    store.close()
    return figures, drafts


class Committing:
    """A real store, and a crowd that waits for it: as many requests as there are associations."""

    def __init__(self, path: Path) -> None:
        self._store = SqliteStore(path)
        self._left: list[RequestRecord] = []
        self._out = 0
        self._end = threading.Event()

    def done(self, result: Result) -> None:
        """One of them is stored."""
        assert isinstance(result, Stored), result
        self._out -= 1
        self._more(1)
        if not self._out:
            self._end.set()

    def _more(self, most: int) -> None:
        given, self._left = self._left[:most], self._left[most:]
        self._out += len(given)
        for draft in given:
            self._store.submit(draft)

    def run(self, drafts: Sequence[RequestRecord], waiting: int) -> tuple[float, float]:
        """Microseconds per request: by the clock, and of the processor."""
        self._left = list(drafts[waiting:])
        self._out = min(waiting, len(drafts))
        self._end.clear()
        clock, processor = time.perf_counter(), time.process_time()
        for draft in drafts[:waiting]:
            self._store.submit(draft)
        assert self._end.wait(60)
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
        return 1e6 * clock / len(drafts), 1e6 * processor / len(drafts)

    def close(self) -> None:
        """End."""
        self._store.close()


def _store(folder: Path, rounds: int, drafts: Sequence[RequestRecord]) -> Figures:
    path = folder / "plscp.db"
    committing = Committing(path)
    fresh = [replace(draft, done=committing.done) for draft in drafts]
    part = len(fresh) // rounds
    few = max(part // 10, 5)
    one, many = [], []
    try:
        for n in range(rounds):
            given = fresh[n * part :][:part]
            one.append(committing.run(given[:few], 1))
            many.append(committing.run(given[few:], WAITING))
    finally:
        committing.close()
    figures = dict(zip(("store_one", "store_one_cpu"), map(min, zip(*one, strict=True)), strict=True))
    figures |= dict(zip(("store_many", "store_many_cpu"), map(min, zip(*many, strict=True)), strict=True))
    return figures | {"relay_record": _relay(path, rounds)}


def _relay(path: Path, rounds: int) -> float:
    view = RelayView.open(f"sqlite:///{path}")
    envelope = Envelope(view.store_id)
    count = 0

    def read_all(_: None) -> None:
        nonlocal count
        after, count = 0, 0
        while records := view.records(after, 500, ["procedure-log"]):
            for record in records:
                envelope.headers(record)
            after, count = records[-1][0], count + len(records)

    try:
        took = best([[None]] * rounds, read_all)
    finally:
        view.close()
    return took / count


def measure(name: str, *, rounds: int = 6, count: int = 400) -> Figures:
    """All stages of one load, in microseconds per request (the relay's: per record).

    Args:
        rounds: the best counts, after the first.
        count: requests in a round.
    """
    load = make(name)
    figures, got = _network(load, rounds, count)
    figures |= _templates(load, rounds, count)
    service, drafts = _service(load, rounds, got)
    figures |= service
    figures["rest"] = max(figures["handler"] - figures["decode_hot"] - figures["type_hot"] - figures["match"], 0.0)
    with tempfile.TemporaryDirectory(prefix="plscp-stages-") as folder:
        figures |= _store(Path(folder), rounds, drafts)
    return {stage: round(figures[stage], 2) for stage in STAGES}


def shown(stages: dict[str, Figures]) -> Table:
    """The figures as a table."""
    table = Table(
        title="microseconds of a request, stage by stage (best round)", box=box.SIMPLE, padding=0, pad_edge=False
    )
    table.add_column("stage")
    for name in stages:
        table.add_column(name, justify="right")
    table.add_column("what it is")
    for stage, about in STAGES.items():
        table.add_row(stage, *(f"{figures[stage]:.1f}" for figures in stages.values()), about)
    times = [f"{f['pydicom'] / (f['decode_hot'] + f['type_hot']):.1f}" for f in stages.values()]
    table.add_row("times", *times, "pydicom against decode_hot and type_hot")
    times = [f"{f['pydicom'] / (f['decode_cold'] + f['type_cold']):.1f}" for f in stages.values()]
    table.add_row("times_cold", *times, "pydicom against decode_cold and type_cold")
    return table


def main() -> int:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="instead of the table")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--count", type=int, default=400, help="requests in a round")
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=LOADS)
    args = parser.parse_args()
    logs.configure(level="warning")
    stages = {name: measure(name, rounds=args.rounds, count=args.count) for name in args.loads}
    if args.json:
        print(json.dumps(stages, indent=1))
    else:
        Console().print(shown(stages))
    return 0


if __name__ == "__main__":
    sys.exit(main())
