"""One run: every part in turn on one machine, its figures in one JSON object."""

import contextlib
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import plscp
from benchmarks import backlog, idle, machine, scus, stages, throughput, visible
from benchmarks.generator import Generator
from benchmarks.plan import Plan, Say
from benchmarks.targets import PYDICOM
from plscp.local.kafka import LocalBroker


def run(plan: Plan, say: Say, *, kafka: bool = True) -> dict[str, Any]:
    """Measure what the plan names.

    Args:
        say: told each figure as it is measured.
        kafka: with a real broker; without, no relay runs and what is about it is left out.

    Returns:
        ``machine``, ``settings`` and, for each part that was measured, its name.
    """
    began = time.monotonic()

    def fetching(done: int, total: int) -> None:
        say(f"fetching Apache Kafka: {done >> 20} of {total >> 20} MB")

    with tempfile.TemporaryDirectory(prefix="plscp-bench-") as name, contextlib.ExitStack() as ending:
        folder = Path(name)
        generator = Generator.build(folder)
        about = machine.about(folder, generator.kind)
        say(
            f"{about['cores']} cores, {about['fdatasync_per_second']:.0f} fdatasync/s, "
            f"load average {about['load_average']}, load generator: {generator.kind}"
        )
        result: dict[str, Any] = {
            "taken": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": plscp.__version__,
            "machine": about,
            "settings": {
                "kafka": kafka,
                "rounds": plan.rounds,
                "seconds": plan.seconds,
                "warmup": plan.warmup,
                "idle_seconds": plan.idle_seconds,
            },
        }
        if "stages" in plan.parts:
            result["stages"] = _stages(plan, say)
        broker = ending.enter_context(LocalBroker(folder / "kafka", progress=fetching)).address if kafka else ""
        if "throughput" in plan.parts:
            result["throughput"] = throughput.measure(plan, generator, folder, broker, say)
        if "scus" in plan.parts:
            result["scus"] = scus.measure(plan, generator, folder, broker, say)
        if "idle" in plan.parts:
            result["idle"] = idle.measure(plan, folder, broker, say)
        if kafka and "relay" in plan.parts:
            result["relay"] = backlog.measure(plan, generator, folder, broker, say)
        if kafka and "visible" in plan.parts:
            result["visible"] = visible.measure(
                broker, folder / "visible", rate=plan.visible_rate, seconds=plan.visible_seconds
            )
            say(f"answer to consumer: p50 {result['visible']['p50_ms']} ms, p99 {result['visible']['p99_ms']} ms")
        about["load_average_at_end"] = machine.load_average()
    result["took_seconds"] = round(time.monotonic() - began, 1)
    return result


def _stages(plan: Plan, say: Say) -> dict[str, Any]:
    made: dict[str, Any] = {
        name: stages.measure(name, rounds=plan.stage_rounds, count=plan.stage_count) for name in plan.loads
    }
    for name, figures in made.items():
        ratio = figures["pydicom"] / (figures["decode_hot"] + figures["type_hot"])
        figures["times_pydicom"] = round(ratio, 1)
        figures["times_pydicom_cold"] = round(figures["pydicom"] / (figures["decode_cold"] + figures["type_cold"]), 1)
        if name == "real":
            figures["decode"] = PYDICOM.judged(ratio)
        say(f"{name}: network {figures['network']:.0f} us, the handler {figures['handler']:.0f} us")
    return made
