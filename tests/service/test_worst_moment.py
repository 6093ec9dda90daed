"""A registry change that is acknowledged while a decision is under way is seen by that decision (contract section 3)."""

import asyncio
import json
import queue
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import pytest

from plscp.matching import changes
from plscp.matching.records import PatientId
from plscp.matching.registry import Registry
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from plscp.store.port import Draft, Filter, RegistryRecord, RequestRecord
from tests import events
from tests.matching.world import change_patient_id
from tests.rawscu import Response
from tests.service.conftest import POLICY, Running
from tests.serving import until

SOURCES = ["file", "http", "server", "hl7", "mpps", "worklist"]
U1 = "1.2.3.1"
Plan = Callable[[Registry], list[RegistryRecord]]


def cancelled(registry: Registry) -> list[RegistryRecord]:
    """The study that the decision took is none."""
    return changes.cancel_study(registry, U1, POLICY, datetime.now(UTC))


def renamed(registry: Registry) -> list[RegistryRecord]:
    """The patient has another ID."""
    old, new = PatientId("P1", "HOSP"), PatientId("P2", "HOSP")
    return change_patient_id(registry, old, new, POLICY, datetime.now(UTC))


def merged(registry: Registry) -> list[RegistryRecord]:
    """The patient is another one."""
    prior = {"prior": {"id": "P1", "issuer": "HOSP"}}
    return changes.merge_patient(registry, PatientId("P3", "HOSP"), prior, POLICY, datetime.now(UTC))


def second(registry: Registry) -> list[RegistryRecord]:
    """The patient has two studies there: nothing says which."""
    body = {
        "study_instance_uid": "1.2.3.2",
        "patient": {"id": "P1", "issuer": "HOSP"},
        "location": "LAB1",
        "status": "open",
    }
    return changes.put_study(registry, body, POLICY, datetime.now(UTC))


CHANGES: dict[Plan, tuple[int, str]] = {
    cancelled: (0xC103, ""),
    renamed: (0x0000, "P2"),
    merged: (0x0000, "P3"),
    second: (0xC103, ""),
}
"""What is acknowledged, and with which status and Patient ID the request is answered then."""


@pytest.mark.parametrize("plan", CHANGES)
@pytest.mark.parametrize("source", SOURCES)
def test_a_decision_sees_what_was_acknowledged_before_its_commit(running: Running, source: str, plan: Plan) -> None:
    """The decision is made and on its way to the store; then the change is acknowledged; then the store takes the request."""
    running.study(U1, "P1", location="LAB1", opened=events.now(-600).isoformat())
    held: queue.SimpleQueue[Draft] = queue.SimpleQueue()
    submit = running.store.submit

    def hold(draft: Draft) -> None:
        if isinstance(draft, RequestRecord):
            running.store.submit = submit  # type: ignore[method-assign]  # only the first
            held.put(draft)
        else:
            submit(draft)

    running.store.submit = hold  # type: ignore[method-assign]
    answers: list[Response] = []
    data = events.encoded(events.procedural([events.note(events.now(-60))], patient="P1"))

    def send() -> None:
        with running.scu() as scu:
            answers.append(scu.request(PROCEDURAL_EVENT_LOGGING, data))

    device = threading.Thread(target=send)
    device.start()
    draft = held.get(timeout=60)
    positions = asyncio.run(running.keeper.change(plan, source, f"{source} message"))
    submit(draft)
    until(partial(bool, answers), "the answer")
    device.join(60)
    status, patient = CHANGES[plan]
    assert answers[0].status == status
    assert not patient or answers[0].reply().PatientID == patient
    stored = running.store.event(positions[0])
    assert stored is not None
    value = json.loads(stored.payload)
    assert (value["source"], value["message"]) == (source, f"{source} message")
    entries = running.store.read(Filter(kinds=("entry",)))
    assert [json.loads(entry.payload)["patient"]["id"] for entry in entries] == ([patient] if patient else [])
