"""Procedure steps over HTTP: listed, shown, and ended by an operator."""

import asyncio
from datetime import UTC, datetime, timedelta

from plscp.matching import step_changes
from plscp.matching.step_changes import StepBegun, StepStudy
from tests.web.conftest import Ask
from tests.web.fake import FakeServer

STARTED = datetime(2026, 1, 1, 8, 0, tzinfo=UTC)


def begin(server: FakeServer, step: str, *studies: str) -> None:
    """A modality begins a step."""
    said = StepBegun(step, False, tuple(map(StepStudy, studies)), "P1", "", "XA1", "XA1", "LAB1", STARTED)
    now = STARTED + timedelta(seconds=1)
    asyncio.run(
        server.keeper.change(lambda registry: step_changes.begin_step(registry, said, server.settings.policy(), now), "mpps", step)
    )  # fmt: skip


def test_an_operator_ends_a_step(server: FakeServer, ask: Ask) -> None:
    """Its studies close; again is nothing, and the list of those in progress no longer has it."""
    begin(server, "1.2.1", "2.1", "2.2")
    begin(server, "1.2.2", "2.1")
    listed = ask(server, "GET", "/api/v1/steps").json()["steps"]
    assert [step["sop_instance_uid"] for step in listed] == ["1.2.1", "1.2.2"]
    assert listed[0] == ask(server, "GET", "/api/v1/steps/1.2.1").json()
    assert (listed[0]["status"], listed[0]["studies"], listed[0]["ended"]) == ("IN PROGRESS", ["2.1", "2.2"], None)
    assert listed[0]["started"] == "2026-01-01T08:00:00Z"
    for _ in range(2):
        answer = ask(server, "POST", "/api/v1/steps/1.2.1/end")
        assert answer.status_code == 200
        assert answer.json()["reason"] == "operator"
    status = {uid: ask(server, "GET", f"/api/v1/studies/{uid}").json()["status"] for uid in ("2.1", "2.2")}
    assert status == {"2.1": "open", "2.2": "closed"}
    [left] = ask(server, "GET", "/api/v1/steps", params={"status": "in-progress"}).json()["steps"]
    assert left["sop_instance_uid"] == "1.2.2"


def test_a_step_that_is_not_known(server: FakeServer, ask: Ask) -> None:
    """404, with or without an end; a body is 422."""
    assert ask(server, "GET", "/api/v1/steps/1.9").status_code == 404
    assert ask(server, "POST", "/api/v1/steps/1.9/end").status_code == 404
    begin(server, "1.2.1", "2.1")
    assert ask(server, "POST", "/api/v1/steps/1.2.1/end", json={"reason": "x"}).status_code == 422


def test_steps_in_parts(server: FakeServer, ask: Ask) -> None:
    """Who reads the list in parts sees each step once."""
    for number in range(5):
        begin(server, f"1.2.{number}", "2.1")
    seen: list[str] = []
    after = 0
    while True:
        page = ask(server, "GET", "/api/v1/steps", params={"limit": 2, "after": after}).json()
        seen += [step["sop_instance_uid"] for step in page["steps"]]
        if not (after := page.get("next", 0)):
            break
    assert seen == [f"1.2.{number}" for number in range(5)]
