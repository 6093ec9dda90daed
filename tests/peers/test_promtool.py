"""Prometheus' own tool on the alert rules: they are well-formed, each fires on its story and none on an ordinary day."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OBSERVABILITY = ROOT / "deploy" / "observability"
FETCHED = ROOT / "build" / "peers" / "prometheus" / "usr" / "bin" / "promtool"
"""Where `.ci/peers` unpacks Debian's package: installing it would start a Prometheus."""


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool beside the rules; the test is skipped, with the reason, where there is none."""
    program = shutil.which("promtool") or (str(FETCHED) if FETCHED.is_file() else None)
    if program is None:
        pytest.skip("promtool is missing (make peers fetches it on Debian; it is part of Prometheus)")
    return subprocess.run(
        [program, *arguments], cwd=OBSERVABILITY, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_rules_are_well_formed() -> None:
    """`promtool check rules` parses each expression and template."""
    ended = promtool("check", "rules", "alerts.yaml")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_each_alert_fires_on_its_story_and_none_on_an_ordinary_day() -> None:
    """`promtool test rules` plays the stories of alerts.test.yaml minute by minute."""
    ended = promtool("test", "rules", "alerts.test.yaml")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_rule_that_floods_would_be_noticed(tmp_path: Path) -> None:
    """The ordinary day is one: where a single refused request fires an alert, the stories fail."""
    for name in ("alerts.yaml", "alerts.test.yaml"):
        text = (OBSERVABILITY / name).read_text("utf-8")
        (tmp_path / name).write_text(text.replace("[15m]) > 10", "[15m]) > 0"), "utf-8")
    ended = promtool("test", "rules", str(tmp_path / "alerts.test.yaml"))
    assert ended.returncode != 0
    assert "PlscpRefusals" in ended.stdout + ended.stderr
