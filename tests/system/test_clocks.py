"""No test's verdict depends on how fast the machine is: none compares a clock with a number, sleeps, or waits for less than a minute.

What is to be measured is counted (`tests.counted`), what takes time has a clock that the test turns, and what must happen is waited
for (`tests.serving.until`). Figures of speed belong to `make bench` and `make attacks`.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]
CLOCKS: Final = {
    "monotonic",
    "monotonic_ns",
    "perf_counter",
    "perf_counter_ns",
    "process_time",
    "process_time_ns",
    "thread_time",
    "thread_time_ns",
    "time",
    "time_ns",
}
WAITING: Final = {"wait", "join", "result", "communicate", "settimeout", "wait_for"}
"""Methods whose number is a time-out, where they have one."""
SOONER_OR_LATER: Final = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
GUARD_SECONDS: Final = 60

ALLOWED: Final = {
    "serving.py::until": "waits for what must happen; its deadline is there against waiting for ever",
    "relay/test_process.py::until": "as tests.serving.until, on an event loop",
    "cli/test_status.py::until": "as tests.serving.until: a text is awaited on a terminal",
    "consumer/test_consume.py::until_both": "the same: goes on writing until both were given something",
    "dicom/test_bounds.py::slow_message": "the clock of that house is turned by hand",
    "relay/test_faults.py::_run": "requests come at a pace; the verdict is what arrived in the end",
    "relay/test_faults.py::test_broker_killed_and_started_again": "how long the broker is away; the verdict is what arrived",
    "relay/test_faults.py::test_broker_frozen_for_longer_than_every_timeout": "the same",
    "relay/test_faults.py::test_broker_frozen_and_relay_killed_meanwhile": "the same",
    "relay/test_rolling.py::test_every_broker_restarted_in_turn": "records come between the restarts; the verdict is what arrived",
    "system/test_kill.py::run": "requests come at a pace; the verdict is what was acknowledged and what is there",
    "system/test_drain.py::run": "devices that are turned away come again; the verdict is what is stored",
    "fuzz/targets.py::run": "make fuzz measures; in make test the bound is a minute",
    "fuzz/running.py::some": "make fuzz goes on for so long",
    "fuzz/running.py::_smaller": "how long a defect that was found is made smaller",
    "fuzz/__main__.py::main": "make fuzz goes on for so long",
    "explore.py::pytest_runtest_protocol": "make explore goes on for so long",
    "explore.py::main": "make explore goes on for so long",
    "system/draining.py::drained": "make drain measures",
    "system/attacks/surgery.py::run": "requests come at a pace; make crowd measures",
    "system/attacks/honest.py::run": "requests come at a pace; make attacks measures",
    "system/attacks/attackers.py::nothing_from_here": "attackers come at a pace",
    "system/attacks/attackers.py::drip": "attackers take their time, that is the attack",
    "system/attacks/target.py::again": "attackers that are turned away come again",
}
"""Module and function, and why the clock or the pause in it decides nothing."""


def _name(node: ast.AST) -> str:
    """The last part of what is called."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_clock(node: ast.AST) -> bool:
    """`time.monotonic()` and its like."""
    if not isinstance(node, ast.Call) or node.args:
        return False
    of = node.func
    module = _name(of.value) if isinstance(of, ast.Attribute) else "time"
    return _name(of) in CLOCKS and module == "time" and (isinstance(of, ast.Attribute) or _name(of) != "time")


def _tells_time(node: ast.AST, names: set[str]) -> bool:
    """Whether a clock, or a name that holds what one said, is part of this."""
    return any(_is_clock(each) or (isinstance(each, ast.Name) and each.id in names) for each in ast.walk(node))


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """What belongs to a function, but not to one within it."""
    for child in ast.iter_child_nodes(function):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _own(child)


def _timed(nodes: list[ast.AST]) -> set[str]:
    """Names that hold times, or lists of them."""
    names: set[str] = set()
    while True:
        before = len(names)
        for node in nodes:
            match node:
                case ast.Assign(targets=[*targets], value=value) if _tells_time(value, names):
                    names |= {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
                case ast.AugAssign(target=ast.Name(id=name), value=value) if _tells_time(value, names):
                    names.add(name)
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="append"), args=[value]) if _tells_time(
                    value, names
                ):
                    names.add(name)
        if len(names) == before:
            return names


def _short(node: ast.expr | None) -> bool:
    """A number of seconds that a busy machine may take."""
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
        and not isinstance(node.value, bool)
        and 0 < node.value < GUARD_SECONDS
    )


def _faults(function: ast.AST) -> Iterator[str]:
    """What a function does with time that may decide a verdict."""
    nodes = list(_own(function))
    names = _timed(nodes)
    for node in nodes:
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], SOONER_OR_LATER) and _tells_time(node, names):
            yield f"{node.lineno}: a clock is compared"
        if isinstance(node, ast.Call):
            called = _name(node.func)
            if called == "sleep" and not (
                node.args and isinstance(node.args[0], ast.Constant) and not node.args[0].value
            ):
                yield f"{node.lineno}: a sleep"
            positional = node.args[-1:] if called in WAITING and isinstance(node.func, ast.Attribute) else []
            if called == "until":
                positional = node.args[2:]
            timeouts = [
                each.value
                for each in node.keywords
                if each.arg == "timeout" or (each.arg, called) == ("seconds", "until")
            ]
            if any(map(_short, [*positional, *timeouts])):
                yield f"{node.lineno}: {called} waits for less than {GUARD_SECONDS} s"


def found(source: str) -> dict[str, list[str]]:
    """For each function of a module what it does with time."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    faults: dict[str, list[str]] = {}
    for function in functions:
        if more := list(_faults(function)):
            faults[function.name] = faults.get(function.name, []) + more
    return faults


def test_no_test_is_decided_by_the_speed_of_the_machine() -> None:
    """Each place that looks at a clock or pauses is one of those that are allowed, and each of those is still needed."""
    places = {
        f"{file.relative_to(TESTS)}::{function}": faults
        for file in sorted(TESTS.rglob("*.py"))
        for function, faults in found(file.read_text("utf-8")).items()
    }
    assert {place: faults for place, faults in places.items() if place not in ALLOWED} == {}
    assert ALLOWED.keys() - places.keys() == set()


@pytest.mark.parametrize(
    "line",
    [
        "began = time.monotonic(); work(); assert time.monotonic() - began < 2.0",
        "began = perf_counter(); work(); took = perf_counter() - began; assert took < CPU",
        "taken = []; began = time.thread_time(); taken.append(time.thread_time() - began); assert sorted(taken)[5] < 0.03",
        "time.sleep(0.1)",
        "await asyncio.sleep(pause)",
        "done.wait(10)",
        "thread.join(5)",
        "subprocess.run(command, timeout=20)",
        "until(done, 'it', seconds=5)",
        "until(done, 'it', 30)",
        "await asyncio.wait_for(read(), 20)",
    ],
)
def test_what_is_no_test(line: str) -> None:
    """Each way in which the machine's speed has decided a verdict here is seen."""
    assert found("async def test():\n" + "".join(f"    {part}\n" for part in line.split("; ")))


@pytest.mark.parametrize(
    "line",
    [
        "assert count < 5",
        "await asyncio.sleep(0)",
        "done.wait(60)",
        "', '.join(words)",
        "subprocess.run(command, timeout=120)",
        "monkeypatch.setattr(time, 'monotonic', lambda: now[0])",
        "assert line.association.deadline == 1010",
        "now[0] += 5",
        "assert list(store.clocks(0)) == [('HEMO1', time.time_ns(), 0)]",
    ],
)
def test_what_is_in_order(line: str) -> None:
    """Counts, clocks that are turned by hand, and deadlines against waiting for ever."""
    assert not found(f"async def test():\n    {line}\n")
