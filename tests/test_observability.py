"""deploy/observability: alert rules and dashboard name metrics and labels that exist, and the alerts that the runbook explains."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector

from plscp.metrics import families

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "observability"
ALERTS = (FOLDER / "alerts.yaml").read_text("utf-8")
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
SCRAPED: Final = {"job", "instance"}
"""Labels that Prometheus adds."""
PROCESS: Final = {metric.name for metric in ProcessCollector(registry=CollectorRegistry()).collect()}
NAMES = [
    "PlscpDown",
    "PlscpKafkaAway",
    "PlscpRelayBehind",
    "PlscpRelayHalted",
    "PlscpStoreFailing",
    "PlscpDiskLow",
    "PlscpDiskFull",
    "PlscpRefusals",
    "PlscpPeersRefused",
    "PlscpDeviceSilent",
    "PlscpFeedSilent",
    "PlscpClockOff",
    "PlscpCertificateExpires",
    "PlscpCaseClosedWithRefusals",
    "PlscpSettingsRefused",
    "PlscpRestarting",
    "PlscpInternalError",
]


def known() -> dict[str, set[str]]:
    """The labels of each series that a server exposes, by its name."""
    found = {name: set[str]() for name in (*PROCESS, *(f"{name}_total" for name in PROCESS), "up")}
    for family in families():
        if family.kind == "histogram":
            found |= {f"{family.name}_{part}": set(family.labels) for part in ("sum", "count")}
            found[f"{family.name}_bucket"] = {*family.labels, "le"}
        else:
            found[family.name] = set(family.labels)
    return found


KNOWN = known()


def faults(expression: str, legend: str = "") -> Iterator[str]:
    """What an expression names that does not exist."""
    there = set(SCRAPED)
    series = re.findall(r"\b((?:plscp|process)_\w+|up\b)(?:\{([^}]*)\})?", expression)
    if not series:
        yield f"no metric in {expression}"
    for name, selector in series:
        if name not in KNOWN:
            yield f"metric {name}"
            continue
        there |= KNOWN[name]
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector):
            if label not in KNOWN[name] | SCRAPED:
                yield f"label {label} of {name}"
    grouped = re.findall(r"\b(?:by|on|without)\s*\(([^)]*)\)", expression)
    for label in [*(each.strip() for group in grouped for each in group.split(",")), *re.findall(r"{{(\w+)}}", legend)]:
        if label and label not in there:
            yield f"label {label} in {expression} {legend}"


def rules() -> list[tuple[str, str]]:
    """(alert, its lines) of alerts.yaml."""
    parts = re.split(r"^ +- alert: (\w+)$", ALERTS, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def expression_of(lines: str) -> str:
    """A rule's expression."""
    return re.split(r"\n +(?:for|labels):", lines.partition("expr:")[2])[0]


def panels() -> list[dict[str, Any]]:
    """Each panel of the dashboard that is not a row."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def test_every_alert_that_was_promised_is_there_once() -> None:
    """The runbook has an entry for each of these names."""
    assert sorted(name for name, _ in rules()) == sorted(NAMES)


@pytest.mark.parametrize(("name", "lines"), rules(), ids=[name for name, _ in rules()])
def test_each_alert_rests_on_metrics_that_exist_and_says_what_to_do(name: str, lines: str) -> None:
    """Its labels too; it has a severity, a summary, a description and its entry of the runbook."""
    assert list(faults(expression_of(lines))) == []
    for label in re.findall(r"\$labels\.(\w+)", lines):
        assert label in set[str]().union(*(KNOWN[found] for found in re.findall(r"\bplscp_\w+", expression_of(lines))))
    assert re.search(r"^ +severity: (warning|critical)$", lines, re.MULTILINE)
    for annotation in ("summary", "description"):
        assert re.search(rf"^ +{annotation}: \S", lines, re.MULTILINE)
    assert f"runbook: docs/runbook.md#{name.lower()}\n" in lines


def test_each_alert_has_its_story() -> None:
    """In the unit tests that promtool runs; and there is an ordinary day."""
    told = (FOLDER / "alerts.test.yaml").read_text("utf-8")
    assert {name for name in NAMES if f'alertname="{name}"' not in told} == set()
    assert "name: an ordinary day" in told


def test_every_panel_shows_metrics_that_exist() -> None:
    """Each expression of the dashboard, its selectors, groupings and legends."""
    found = [
        f"{panel['title']}: {fault}"
        for panel in panels()
        for target in panel["targets"]
        for fault in faults(target["expr"], target["legendFormat"])
    ]
    assert found == []
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            assert list(faults(variable["definition"])) == []


def test_the_dashboard_has_its_rows_and_fits_the_grid() -> None:
    """Verdict first; ids are unique, no panel covers another."""
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == [
        "Verdict", "Devices", "Answers by status", "Stages", "Store and disk", "Relay", "Quarantine", "Clocks",
    ]  # fmt: skip
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


@pytest.mark.parametrize(
    ("expression", "legend", "fault"),
    [
        ("plscp_made_up > 0", "", "metric plscp_made_up"),
        ('plscp_quarantine_open{room="1"}', "", "label room of plscp_quarantine_open"),
        ("sum by (patient) (plscp_quarantine_open)", "", "label patient in"),
        ("plscp_quarantine_open", "{{study}}", "label study in"),
        ("1 > 0", "", "no metric"),
    ],
)
def test_a_name_that_does_not_exist_is_found(expression: str, legend: str, fault: str) -> None:
    """The checks above can fail."""
    [said] = faults(expression, legend)
    assert said.startswith(fault)
