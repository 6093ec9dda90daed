"""The bench's load *real*: valid, never twice the same, and varied as it says; and two checkouts measured side by side."""

import itertools
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

import pytest
from rich.console import Console

from benchmarks import against, generator, lab, servers
from benchmarks.__main__ import main
from benchmarks.marks import Marked
from benchmarks.plan import QUICK
from benchmarks.requests import LOADS, SYNTAX, Load, make
from plscp.content import writing
from plscp.content.model import Bounds
from plscp.content.reader import Decoded, decode
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from plscp.store.relay_view import RelayView
from plscp.templates.procedure_log import read_log
from plscp.templates.request import ProcedureLog
from tests import events
from tests.templates.trees import entry_json

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def real() -> Load:
    """The load."""
    return make("real")


def read(raw: bytes) -> Decoded:
    """Step 5."""
    return decode(raw, SYNTAX, calling_ae="HEMO1", sop_class=PROCEDURAL_EVENT_LOGGING, bounds=Bounds())


def typed(load: Load, count: int) -> Iterator[ProcedureLog]:
    """So many requests, read and typed under a strict profile."""
    for raw in itertools.islice(load.data(), count):
        yield read_log(read(raw), strict=True)


def test_its_bytes_are_those_that_pydicom_writes() -> None:
    """The bench's own encoder, which is fast, encodes each kind of entry as pydicom does."""
    draw = Random(1)
    for entry in itertools.chain.from_iterable(lab.entries(draw) for _ in range(20)):
        dataset = writing.dataset(entry)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        declared = bytes.fromhex("0800 0500 0a000000") + b"ISO_IR 192"
        assert declared + lab.item(entry) == events.encoded(dataset, SYNTAX)


def test_a_strict_device_could_have_sent_it(real: Load) -> None:
    """Each request is valid: not one finding, and each of its five entries is of a typed kind."""
    for log in typed(real, lab.REQUESTS):
        assert log.findings == []
        assert [entry.findings for entry in log.entries] == [[]] * lab.ENTRIES
        assert "untyped" not in {entry.kind for entry in log.entries}


def test_everything_varies(real: Load) -> None:
    """Every drug, route, device, site and procedure of the context groups is sent; hardly two requests share their codes."""
    raws = [one.raw for one in real.requests]
    whole = b"".join(raws)
    for code in (
        *lab.DRUGS,
        *lab.CONTRAST,
        *lab.ROUTES,
        *lab.DEVICES,
        *lab.DEVICE_SITES,
        *lab.LESION_SITES,
        *lab.PROCEDURES,
    ):
        assert code.meaning.encode() in whole
    combinations = {tuple(_codes(log)) for log in typed(real, 1000)}
    assert len(combinations) > 990
    assert {study for study, _ in servers.STUDIES} == {
        study for study, _ in servers.STUDIES if any(study.encode() in raw for raw in raws)
    }


def _codes(log: ProcedureLog) -> Iterator[tuple[str, ...]]:
    for entry in log.entries:
        yield tuple(part.partition(b'"')[0].decode() for part in entry_json(entry.typed).split(b'"value":"')[1:])


@pytest.mark.parametrize("name", LOADS)
def test_no_two_requests_are_the_same(name: str, real: Load) -> None:
    """Not even after all of them were sent once: identities and the times of the first entries differ."""
    load = real if name == "real" else make(name)
    count = lab.REQUESTS + 200
    assert len({read(raw).identity for raw in itertools.islice(load.data(), count)}) == count
    first = [log.entries[0].observation_datetime for log in itertools.islice(_lenient(load), 200)]
    assert len(set(first)) > 190


def _lenient(load: Load) -> Iterator[ProcedureLog]:
    for raw in load.data():
        yield read_log(read(raw), strict=False)


def test_marks_become_the_running_number_and_the_time_less_the_age() -> None:
    """Wherever they stand, as often as they stand."""
    marked = Marked.of(b"a 9999999999, 18880808080808.001500+0000; 9999999999").after(b"xy")
    moment = datetime(2026, 3, 1, 0, 0, 1, 250_000, UTC)
    assert marked.filled(42, moment) == b"xya 0000000042, 20260228235959.750000+0000; 0000000042"


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
def test_a_server_takes_it_and_nothing_counts_as_a_repeat(real: Load, tmp_path: Path, *, compiled: bool) -> None:
    """Each request is answered 0000 and each entry is stored: under the compiled generator and under the one in Python."""
    python = generator.Generator("python", generator.PYTHON, tmp_path)
    driving = generator.Generator.build(tmp_path) if compiled else python
    home = tmp_path / "home"
    server = servers.plscp(home)
    try:
        figures = driving.drive(server.port, real, 3, seconds=0.5, warmup=0.1)
    finally:
        server.stop()
    assert figures["failures"] == 0
    assert figures["answered"] > 0
    with closing(RelayView.open(f"sqlite:///{home / 'plscp.db'}")) as view:
        stored, after = 0, 0
        while records := view.records(after, 500, ["procedure-log"]):
            stored, after = stored + len(records), records[-1][0]
    requests, rest = divmod(stored, lab.ENTRIES)
    assert rest == 0
    assert figures["answered"] <= requests <= figures["answered"] + 3, (
        "at most one in hand on each association at the end"
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Another checkout: this one's code under another path."""
    made = tmp_path / "checkout"
    made.mkdir()
    (made / "plscp").symlink_to(ROOT / "plscp")
    (made / ".venv").symlink_to(sys.prefix)
    return made


@pytest.mark.slow
def test_two_checkouts_are_measured_in_turn(checkout: Path) -> None:
    """Requests/s of the stock server, the other and this one, for each load and number of associations, with the ratios."""
    said: list[str] = []
    plan = replace(QUICK, loads=("E1",), associations=(2,), rounds=1, seconds=0.2, warmup=0.1)
    result = against.run(plan, checkout, said.append, kafka=False)
    assert [(row["load"], row["associations"]) for row in result["rows"]] == [("E1", 2)]
    for row in result["rows"]:
        assert all(row[which]["per_second"] > 0 and row[which]["failures"] == 0 for which in against.SERVERS)
        assert row["ratios"].keys() == {"other", "this", "this_to_other"}
    assert len(said) == 1
    printed = StringIO()
    Console(width=100, file=printed).print(against.shown(result))
    assert "E1 on 2" in printed.getvalue()


def test_a_checkout_without_its_own_environment_is_refused(checkout: Path, tmp_path: Path) -> None:
    """Its server would be this checkout's in disguise."""
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SystemExit, match=r"no \.venv"):
        servers.python_of(empty)
    (checkout / "plscp").unlink()
    with pytest.raises(SystemExit, match="finds plscp in"):
        servers.python_of(checkout)


@pytest.mark.parametrize("option", [["--loads", "real,E2"], ["--only", "nothing"], ["--associations", "x"]])
def test_what_the_bench_does_not_know_is_a_usage_error(
    option: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Exit 2, and what there is."""
    monkeypatch.setattr(sys, "argv", ["benchmarks", *option])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert option[0] in capsys.readouterr().err
