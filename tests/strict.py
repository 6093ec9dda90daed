"""A pytest plugin: where the variable CI is set, a skipped test is a failed one; tests on Kafka share one worker and its broker;
what failed can be repeated in the same order."""

import os
from collections.abc import Generator
from typing import Any

import pytest

STRICT = os.environ.get("CI", "").lower() not in {"", "0", "false", "no"}


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Tests on the shared broker are one group, those with brokers of their own one for each module; the long ones go first."""
    for item in items:
        if item.get_closest_marker("kafka") is not None:
            shared = "kafka_broker" in getattr(item, "fixturenames", ())
            item.add_marker(pytest.mark.xdist_group("kafka" if shared else str(item.path)))
    yield
    items.sort(key=lambda item: item.get_closest_marker("kafka") is None)  # stable: random order stays within


def _failed(report: Any, why: object) -> None:
    """Turn a skip into a failure that says which component was missing."""
    reason = why[2] if isinstance(why, tuple) else why
    report.outcome = "failed"
    report.longrepr = f"skipped, which counts as failed where CI is set: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that was skipped at set-up or while it ran."""
    report = yield
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        _failed(report, report.longrepr)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that was skipped as a whole."""
    report = yield
    if STRICT and report.skipped:
        _failed(report, report.longrepr)
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Where a test failed, say in which order they ran: no verdict should depend on it."""
    order = config.getoption("randomly_seed", None)
    if order is not None and {"failed", "error"} & terminalreporter.stats.keys():
        terminalreporter.write_line(f'The order of the tests once more: make test ARGS="--randomly-seed={order}"')
