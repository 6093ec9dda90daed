"""A small run of the bench, the chart that is drawn from it, and what the README says of the last large one."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import backlog, chart, generator, visible
from benchmarks.plan import Plan
from benchmarks.requests import make
from benchmarks.running import run
from benchmarks.servers import stock
from benchmarks.tables import show, targets
from benchmarks.targets import Target
from tests.conftest import Broker
from tests.serving import until

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SMALL = Plan(
    parts=("stages", "throughput", "scus", "idle"),
    loads=("E1",),
    associations=(1,),
    rounds=1,
    seconds=0.2,
    warmup=0.1,
    idle_stock=(2,),
    idle_plscp=(20,),
    idle_seconds=0.3,
    requests=3,
    stage_rounds=2,
    stage_count=20,
)
SERVER = {"per_second", "p50_ms", "p99_ms", "cpu_us", "relay_cpu_us", "least", "most", "failures"}
AIM = {"target", "floor", "reached"}
SHAPE: dict[str, set[str]] = {
    "throughput": {"load", "bytes", "associations", "load_average", "stock", "written", "plscp", "ratio", "ratio_written", "ratio_p50", "ratio_cpu"},
    "scus": {"scu", "stock_p50_ms", "plscp_p50_ms", "stock_failures", "plscp_failures", "ratio"} | AIM,
    "idle": {
        "server", "associations", "opened", "opening_seconds", "kept", "cpu_percent", "relay_cpu_percent", "rss_mb",
    },
}  # fmt: skip
STAGES = {
    "network",
    "decode_hot",
    "decode_cold",
    "type_hot",
    "type_cold",
    "match",
    "store_one",
    "store_many",
    "relay_record",
}
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    """What a small run without Kafka measures, after a way through JSON."""

    def measured() -> dict[str, Any] | None:
        said: list[str] = []
        made: dict[str, Any] = json.loads(json.dumps(run(SMALL, said.append, kafka=False)))
        assert len(said) > len(SMALL.parts), "progress is shown"
        one = made["throughput"][0]
        return made if all(one[which]["per_second"] for which in ("stock", "written", "plscp")) else None

    found: dict[str, Any] = until(measured, "a run whose short time of measuring the machine did not pass over")
    return found


@pytest.mark.slow
def test_the_json_of_a_run_has_the_stated_shape(result: dict[str, Any]) -> None:
    """Each part has its rows, each row its figures."""
    for part, members in SHAPE.items():
        assert all(members <= set(row) for row in result[part]), part
    [row] = result["throughput"]
    assert row["stock"].keys() == row["written"].keys() == row["plscp"].keys() == SERVER
    assert row.keys() >= AIM
    assert row["p50"].keys() == AIM
    assert result["stages"]["E1"].keys() >= STAGES
    assert {"cores", "fdatasync_per_second", "load_average", "load_average_at_end", "generator"} <= set(
        result["machine"]
    )


@pytest.mark.slow
def test_a_run_measures_something(result: dict[str, Any]) -> None:
    """The servers answered Success, cost time and held the associations; a stage costs more than nothing."""
    [row] = result["throughput"]
    for which in ("stock", "written", "plscp"):
        of = row[which]
        assert of["failures"] == 0
        assert 0 < of["least"] <= of["per_second"] <= of["most"]
        assert 0 < of["p50_ms"] <= of["p99_ms"]
        assert of["cpu_us"] > 0
    assert [(one["server"], one["opened"], one["kept"]) for one in result["idle"]] == [
        ("stock", 2, 2),
        ("plscp", 20, 20),
    ]
    assert all(row["stock_failures"] == row["plscp_failures"] == 0 for row in result["scus"])
    assert all(result["stages"]["E1"][stage] > 0 for stage in STAGES)


@pytest.mark.slow
def test_every_target_that_was_measured_is_shown(result: dict[str, Any]) -> None:
    """Requests/s and p50 on one association, and both SCUs; the rest is not part of a run this small."""
    from rich.console import Console  # noqa: PLC0415

    assert len(list(targets(result))) == 4
    console = Console(width=100, record=True, quiet=True)
    with console.capture():
        show(result, console)


@pytest.mark.slow
def test_the_chart_of_a_run_is_well_formed(result: dict[str, Any]) -> None:
    """One bar for each server and row, the ratio on them."""
    root = ET.fromstring(chart.draw(result))
    bars = [bar for bar in root.iter(f"{SVG}rect") if bar.find(f"{SVG}title") is not None]
    assert [bar.get("class") for bar in bars] == ["stock", "written", "plscp"]
    [ratio] = [text.text for text in root.iter(f"{SVG}text") if text.get("class") == "ratio"]
    assert ratio == f"{result['throughput'][0]['ratio']:.1f}\N{MULTIPLICATION SIGN}"


@pytest.mark.kafka
@pytest.mark.slow
def test_what_waits_for_kafka_is_measured(tmp_path: Path, kafka_broker: Broker) -> None:
    """A backlog goes out with its rate, beside that of kafka-python's own producer; each answered request is seen in a consumer."""
    plan = replace(SMALL, backlog=50)
    built = generator.Generator.build(tmp_path)
    relay = backlog.measure(plan, built, tmp_path, kafka_broker.address, lambda _: None)
    assert relay["records"] >= plan.backlog
    assert relay["per_second"] > 0
    assert relay["over_own"] == pytest.approx(relay["per_second"] / relay["own_per_second"], abs=0.01)
    seen = visible.measure(kafka_broker.address, tmp_path / "visible", rate=20, seconds=4)
    assert seen["seen"] == seen["answered"] > 0
    assert 0 < seen["p50_ms"] <= seen["p99_ms"]
    assert len(list(targets({"relay": relay, "visible": seen}))) == 4


@pytest.mark.parametrize("twice", [False, True])
def test_the_generator_in_python_loads_like_the_compiled_one(tmp_path: Path, *, twice: bool) -> None:
    """Where no compiler is: the same figures by the same names."""
    python = generator.Generator("python", generator.PYTHON, tmp_path)
    built = generator.Generator.build(tmp_path)
    server = stock()

    def measured(one: generator.Generator) -> dict[str, Any] | None:
        found = one.drive(server.port, make("E1"), 2, seconds=0.3, warmup=0.1, twice=twice)
        return found if found["requests"] else None

    try:
        figures: list[dict[str, Any]] = [
            until(partial(measured, one), "a request in the time measured") for one in (python, built)
        ]
    finally:
        server.stop()
    assert figures[0].keys() == figures[1].keys()
    for one in figures:
        assert one["failures"] == 0
        assert 0 < one["requests"] <= one["answered"]


def test_without_a_compiler_the_generator_is_the_one_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the run says so."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert generator.Generator.build(tmp_path).kind == "python"


@pytest.mark.parametrize(
    ("target", "value", "reached"),
    [
        (Target(4, 3), 4.0, "target"),
        (Target(4, 3), 3.9, "floor"),
        (Target(4, 3), 2.9, "no"),
        (Target(10, 20, less=True), 10.0, "target"),
        (Target(10, 20, less=True), 15.0, "floor"),
        (Target(10, 20, less=True), 20.1, "no"),
    ],
)
def test_a_figure_is_judged_by_its_target(target: Target, value: float, reached: str) -> None:
    """The target, above the floor, or neither; also where less is better."""
    assert target.judged(value)["reached"] == reached


def test_the_chart_and_the_figures_are_those_of_the_committed_run() -> None:
    """docs/bench.svg and the README's figures say what docs/bench.json says; `benchmarks.chart` writes both."""
    committed = json.loads((DOCS / "bench.json").read_text("utf-8"))
    assert (DOCS / "bench.svg").read_text("utf-8") == chart.draw(committed)
    assert chart.figures(committed) in (ROOT / "README.md").read_text("utf-8")


def test_the_chart_program_replaces_only_the_figures(tmp_path: Path) -> None:
    """What stands around them stays."""
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{chart.BEGIN}* old\n{chart.END}after\n")
    source = DOCS / "bench.json"
    command = [sys.executable, "-m", "benchmarks.chart", str(source), str(tmp_path / "bench.svg"), str(readme)]
    subprocess.run(command, cwd=ROOT, check=True)
    assert readme.read_text() == f"before\n{chart.figures(json.loads(source.read_text()))}after\n"
    assert (tmp_path / "bench.svg").read_text("utf-8") == (DOCS / "bench.svg").read_text("utf-8")
