"""`make explore`: every property and state machine with new values each time, round after round; 1 where something was found.

A property that failed is left out of later rounds. Its smallest example lands in build/explore, with the command that finds it again
and the decorator that repeats it (`@reproduce_failure`, of a state machine before its class): mended, it stays in the tests as an
`@example` or as a row of a table.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import is_hypothesis_test, settings

from tests.seed import SEED

ENDS: Final = float(os.environ.get("PLSCP_TEST_ENDS", "inf"))
"""Seconds since the epoch after which no further test begins."""
EXAMPLES: Final = int(os.environ.get("PLSCP_TEST_EXAMPLES", "500"))
FOUND: Final = Path("build/explore").absolute()


# --- the pytest plugin of a round ------------------------------------------------------------------------------------------


def _file(nodeid: str) -> Path:
    return FOUND / (re.sub(r"[^\w.-]+", "-", nodeid) + ".txt")


def _large(item: pytest.Item) -> bool:
    """Give a property the large budget; whether this is one, or a test that draws from the seed."""
    test: Any = getattr(item, "obj", None)
    if machine := getattr(test, "_hypothesis_state_machine_class", None):
        machine.TestCase.settings = settings(machine.TestCase.settings, max_examples=EXAMPLES)
    elif is_hypothesis_test(test):
        given = test._hypothesis_internal_use_settings
        test._hypothesis_internal_use_settings = settings(given, max_examples=EXAMPLES)
    else:
        return item.get_closest_marker("seeded") is not None
    return True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Properties alone, those that did not fail yet."""
    kept = [item for item in items if _large(item) and not _file(item.nodeid).exists()]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol() -> bool | None:
    """Begin no test when the time is over."""
    return True if time.time() > ENDS else None


def pytest_runtest_logreport(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Keep what failed."""
    if report.failed:
        FOUND.mkdir(parents=True, exist_ok=True)
        sections = "".join(f"\n--- {title} ---\n{text}" for title, text in report.sections)
        again = f"make explore SEED={SEED} EXAMPLES={EXAMPLES} ARGS={shlex.quote(report.nodeid)}"
        _file(report.nodeid).write_text(f"{again}\n\n{report.longreprtext}\n{sections}")


pytest_collectreport = pytest_runtest_logreport


# --- round after round -----------------------------------------------------------------------------------------------------


def main() -> int:
    """Explore."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--seed", type=int, default=SEED, help="of the first round; each further round takes the next number"
    )
    args, more = parser.parse_known_args()
    ends = time.time() + 60 * args.minutes
    shutil.rmtree(FOUND, ignore_errors=True)
    seed = args.seed
    while time.time() < ends:
        print(f"seed {seed}", flush=True)
        environment = os.environ | {
            "PLSCP_TEST_EXPLORE": "1",
            "PLSCP_TEST_EXAMPLES": str(args.examples),
            "PLSCP_TEST_ENDS": str(ends),
            "PLSCP_TEST_SEED": str(seed),
        }
        command = [sys.executable, "-m", "pytest", "-p", "tests.explore", "-n", str(args.jobs), "--tb=short"]
        status = subprocess.run(
            [
                *command,
                f"--hypothesis-seed={seed}",
                "-m",
                "not kafka",
                "--ignore=tests/peers",
                "--ignore=tests/cluster",
                *more,
            ],
            env=environment,
            check=False,
        ).returncode
        if status == pytest.ExitCode.NO_TESTS_COLLECTED:  # none is left that did not fail
            break
        if status not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
            return status
        seed += 1
    found = sorted(FOUND.glob("*.txt"))
    for file in found:
        print(f"{file.relative_to(Path.cwd())}: {file.read_text('utf-8').splitlines()[0]}")
    print(f"{len(found)} properties failed in rounds {args.seed} to {seed - 1}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
