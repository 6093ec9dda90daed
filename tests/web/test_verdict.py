"""The verdict: one row per finding, most severe first; what is missing says nothing."""

from typing import Any

import pytest

from plscp.web.verdict import span, verdict

NOW = "2026-11-25T12:00:00+00:00"
AWAY = {"reachable": False, "away_since": "2026-11-25T11:59:33+00:00", "pending": 79}
REFUSED = {
    "ae_title": "PUMP1",
    "quarantine_open": 11,
    "last_event": None,
    "last_refusal": {"time": "2026-11-25T11:55:00+00:00"},
}
HALTED = {"topics": {"plscp.study": {"state": "halted"}}}

# (what the status shows, level, text), most severe first
ROWS: list[tuple[dict[str, Any], str, str]] = [
    ({"store": {"disk": "full"}}, "critical", "DISK FULL: requests are refused (0213H)"),
    ({"store": {"failing": "the disk is away"}}, "critical", "STORE FAILING: the disk is away"),
    ({"relay": HALTED}, "critical", "RELAY HALTED: the store is older than what Kafka holds"),
    ({"relay": AWAY}, "warning", "KAFKA AWAY 27 s, 79 waiting"),
    ({"relay": AWAY | {"ended": True}}, "warning", "RELAY STOPPED, 79 waiting"),
    ({"relay": {"ended": True}}, "warning", "RELAY STOPPED, 0 waiting"),
    ({"relay": {"reachable": False, "pending": 3}}, "warning", "KAFKA AWAY, 3 waiting"),
    ({"relay": {"reachable": True, "topics": {"plscp.study": {"state": "waiting"}}}}, "warning", "TOPIC WAITS plscp.study"),
    ({"relay": {"reachable": True, "oldest_age": 61.0, "pending": 9}}, "warning", "RELAY BEHIND 61 s, 9 waiting"),
    ({"settings": {"fault": "devices: no table"}}, "warning", "SETTINGS REFUSED: the former ones hold"),
    ({"draining": True}, "warning", "DRAINING"),
    ({"quarantine": {"of_closed_cases": 2}}, "warning", "CLOSED CASES WITH REFUSALS 2"),
    ({"store": {"disk": "low"}}, "warning", "DISK LOW"),
    ({"devices": [REFUSED]}, "warning", "DEVICE REFUSED PUMP1 11"),
    ({"devices": [REFUSED | {"last_event": "2026-11-25T11:54:59+00:00"}]}, "warning", "DEVICE REFUSED PUMP1 11"),
    ({"devices": [{"ae_title": "HEMO1", "silent": True}]}, "warning", "DEVICE SILENT HEMO1"),
    ({"devices": [{"ae_title": "HEMO1", "clock_difference": -180.4}]}, "warning", "CLOCK OFF HEMO1 180 s ahead"),
    ({"devices": [{"ae_title": "HEMO1", "clock_difference": 7200.4}]}, "warning", "CLOCK OFF HEMO1 7200 s behind"),
    ({"certificates": [{"file": "server.pem", "expires": "2026-12-01T12:00:00+00:00"}]}, "warning", "CERTIFICATE EXPIRES in 6 d: server.pem"),
    ({"certificates": [{"file": "server.pem", "expires": "2026-11-25T11:00:00+00:00"}]}, "warning", "CERTIFICATE EXPIRED: server.pem"),
    ({}, "ok", "OK"),
]  # fmt: skip
FINE: list[dict[str, Any]] = [
    {"store": {"disk": "ok", "failing": ""}},
    {"relay": {}},
    {"relay": {"reachable": True, "oldest_age": 59.0, "topics": {"a": {"state": "running"}, "b": {"state": "recovering"}}}},
    {"settings": {"fault": ""}},
    {"quarantine": {"open": 12, "of_closed_cases": 0}},
    {"devices": [{"ae_title": "HEMO1", "clock_difference": 119.0, "silent": False, "refusals": 9}]},
    {"devices": [{"ae_title": "HEMO1", "clock_difference": None}]},
    {"devices": [REFUSED | {"quarantine_open": 10}]},
    {"devices": [REFUSED | {"last_event": "2026-11-25T11:55:01+00:00"}]},
    {"devices": [REFUSED | {"last_refusal": None}]},
    {"devices": [{"ae_title": "HEMO1", "clock_difference": 200}], "clock_tolerance": 300.0},
    {"certificates": [{"file": "server.pem", "expires": "2027-11-25T11:00:00+00:00"}]},
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row[2] for row in ROWS])
def test_each_finding(row: tuple[dict[str, Any], str, str]) -> None:
    """Alone it is the verdict."""
    status, level, text = row
    found = verdict({"time": NOW, **status})
    assert (found["level"], found["text"]) == (level, text)
    assert found["all"] == ([] if level == "ok" else [text])


@pytest.mark.parametrize("status", FINE)
def test_what_is_as_it_should_be_is_ok(status: dict[str, Any]) -> None:
    """A few refused requests are normal: a device is being set up; so are old ones of a device whose events are taken."""
    assert verdict({"time": NOW, **status}) == {"level": "ok", "text": "OK", "all": []}


def test_the_most_severe_comes_first_and_the_others_are_counted() -> None:
    """In the order of the table, whatever came when."""
    found = verdict({"time": NOW, "draining": True, "relay": AWAY | HALTED, "store": {"disk": "full"}})
    assert found["level"] == "critical"
    assert found["text"] == "DISK FULL: requests are refused (0213H) (+3 more)"
    assert found["all"] == [
        "DISK FULL: requests are refused (0213H)",
        "RELAY HALTED: the store is older than what Kafka holds",
        "KAFKA AWAY 27 s, 79 waiting",
        "DRAINING",
    ]


def test_many_names_are_cut() -> None:
    """A line is a line."""
    devices = [{"ae_title": f"DEVICE{n}", "silent": True} for n in range(9)]
    assert verdict({"devices": devices})["text"] == "DEVICE SILENT DEVICE0, DEVICE1, DEVICE2 and 6 more"


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172800, "2 d")]
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    """As people say them."""
    assert span(seconds) == text
