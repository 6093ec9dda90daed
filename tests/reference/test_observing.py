"""The references of metrics and log events say what the server shows."""

import pytest

from plscp.cli import main
from plscp.logs import EVENTS
from plscp.metrics import Metrics
from plscp.reference import observing


def test_every_metric_that_is_exposed_is_in_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    """Names as Prometheus has them, labels in their order."""
    made = Metrics()
    made.answered("1.2.840.10008.1.40", 0, 0.1)
    names = {line.split()[2] for line in made.exposition().decode().splitlines() if line.startswith("# TYPE ")}
    assert main(["reference", "metrics"], {}) == 0
    text = capsys.readouterr().out
    assert {name for name in names if name.startswith("plscp_") and f"| `{name}` " not in text} == set()
    assert "| `plscp_requests_total` | counter | `sop_class`, `status` | " in text


def test_every_event_that_is_logged_is_in_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its level; fields that a dictionary of the function holds are named too."""
    assert main(["reference", "log-events"], {}) == 0
    text = capsys.readouterr().out
    said = {call.event for call in observing.calls()}
    assert said <= set(EVENTS)
    for event, meaning in EVENTS.items():
        assert f"| `{event}` | " in text
        assert f" | {meaning} |" in text
    fields = {call.event: set(call.fields) for call in observing.calls() if call.level == "warning"}
    assert {"calling_ae", "address", "rule", "hint", "more"} <= fields["peer-refused"]
    assert {"calling_ae", "status", "comment", "hint", "request_id", "association"} <= fields["request-refused"]


def test_no_event_is_listed_that_nobody_logs() -> None:
    """The closed list holds what can happen, and no more."""
    assert set(EVENTS) - {call.event for call in observing.calls()} == set()
