"""Each row of the identity table of contract section 1, through real associations, on both acceptors."""

import json
from typing import Any

import pytest
from pydicom.dataset import Dataset

from plscp.statuses import PROCEDURAL_EVENT_LOGGING as PEL
from plscp.store.port import Filter
from tests import events
from tests.rawscu import SYNTAXES, Response
from tests.service.conftest import Running

U1 = "1.2.826.0.1.3680043.9.3811.6.1"


@pytest.fixture(autouse=True)
def room(running: Running) -> None:
    """One open study."""
    running.study(U1, "P1", location="LAB1")


def stored(running: Running) -> list[dict[str, Any]]:
    """The entries in the store."""
    return [json.loads(event.payload) for event in running.store.read(Filter(kinds=("entry",)))]


def lost(running: Running, data: Dataset, syntax: str = SYNTAXES[1], message_id: int = 1) -> Response:
    """Send and abort after the answer: nothing tells the server that it arrived."""
    scu = running.scu(syntax=syntax).associate()
    scu.send(PEL, events.encoded(data, syntax), message_id=message_id)
    answer = scu.response()
    scu.abort()
    return answer


def heard(running: Running, data: Dataset) -> Response:
    """Send, read the answer and release."""
    with running.scu() as scu:
        return scu.request(PEL, events.encoded(data))


def test_an_unheard_answer_makes_the_repeat_a_retry(running: Running) -> None:
    """No answer known to have arrived: the stored status, no second event; in any syntax, with any Message ID."""
    data = events.procedural([events.note(events.now())], study=U1, frame="1.2.3")
    first = lost(running, data)
    again = [lost(running, data, syntax, number) for number, syntax in enumerate(SYNTAXES, 5)]
    assert [f"{a.status:04X}" for a in [first, *again]] == ["B101"] * 5
    assert [a.reply(s).StudyInstanceUID for a, s in zip(again, SYNTAXES, strict=True)] == [U1] * 4
    assert len(stored(running)) == 1


@pytest.mark.parametrize("message", ["release", "further message"])
def test_a_heard_answer_makes_the_repeat_an_event_of_its_own(running: Running, message: str) -> None:
    """Answered and heard: two equal boluses are two events, and the second names the first."""
    data = events.encoded(events.procedural([events.note(events.now())], study=U1))
    if message == "release":
        for _ in range(2):
            with running.scu() as scu:
                assert scu.request(PEL, data).status == 0
    else:
        with running.scu() as scu:
            assert [scu.request(PEL, data).status for _ in range(2)] == [0, 0]
    one, two = stored(running)
    assert one["same_content_as"] is None
    assert two["same_content_as"] == one["event_id"]


def test_the_latest_event_decides_about_a_retry(running: Running) -> None:
    """After a second event whose answer was lost, the next repeat is a retry of that second event."""
    data = events.procedural([events.note(events.now())], study=U1)
    heard(running, data)
    lost(running, data)
    heard(running, data)
    assert len(stored(running)) == 2
    heard(running, data)
    assert len(stored(running)) == 3


def test_a_failure_answer_never_counts(running: Running) -> None:
    """A refused request is judged afresh each time, and closes its quarantine item when it is accepted."""
    data = events.procedural([events.note(events.now())], study="1.2.9")
    assert heard(running, data).status == 0xC103
    assert heard(running, data).status == 0xC103
    [item] = running.store.quarantine()
    assert (item.times, len(item.outcomes), item.closed_position) == (2, 1, None)
    running.study("1.2.9", "P9")
    assert heard(running, data).status == 0
    [item] = running.store.quarantine()
    assert item.closed_position == stored(running)[0]["position"]


def with_uid(entry: Dataset, uid: str) -> Dataset:
    entry.ObservationUID = uid
    return entry


def test_a_known_observation_uid_is_not_added_again(running: Running) -> None:
    """Same Observation UID and content: never again, even in a request that differs otherwise and was heard."""
    moment = events.now()
    one, two = (
        with_uid(events.note(moment, "one"), "1.2.3.1"),
        with_uid(events.note(events.now(0.01), "two"), "1.2.3.2"),
    )
    heard(running, events.procedural([one], study=U1))
    answer = heard(running, events.procedural([one, two], study=U1))
    assert answer.status == 0
    assert [entry["observation_uid"] for entry in stored(running)] == ["1.2.3.1", "1.2.3.2"]


def test_nothing_new_is_answered_with_the_study_of_the_first(running: Running) -> None:
    """All entries known and nothing given contradicts: 0000, nothing added, the reply names where the first stands."""
    one, two = (
        with_uid(events.note(events.now(), "one"), "1.2.3.1"),
        with_uid(events.note(events.now(0.01), "two"), "1.2.3.2"),
    )
    heard(running, events.procedural([one, two], study=U1))
    answer = heard(running, events.procedural([one], study="1.2.9"))
    assert answer.status == 0
    assert answer.reply().StudyInstanceUID == U1
    assert len(stored(running)) == 2


def codes(entry: dict[str, Any]) -> list[str]:
    return [finding["code"] for finding in entry["findings"]]


def test_a_known_observation_uid_with_other_content_is_added_with_a_finding(running: Running) -> None:
    """Same Observation UID, different content: accepted, the finding names both positions."""
    heard(running, events.procedural([with_uid(events.note(events.now(), "one"), "1.2.3.1")], study=U1))
    heard(running, events.procedural([with_uid(events.note(events.now(), "other"), "1.2.3.1")], study=U1))
    one, two = stored(running)
    assert codes(one) == []
    [finding] = [f for f in two["findings"] if f["code"] == "observation-seen-before"]
    assert finding["positions"] == [one["position"], two["position"]]


def test_cumulative_logs_are_marked_as_probable_repeats(running: Running) -> None:
    """An entry equal in DateTime, concept and value, in a request that differs otherwise: added, naming the other."""
    one, two = events.note(events.now(), "one"), events.note(events.now(0.01), "two")
    heard(running, events.procedural([one], study=U1))
    heard(running, events.procedural([one, two], study=U1))
    entries = stored(running)
    assert [codes(entry) for entry in entries] == [[], ["probable-repeat"], []]
    assert entries[0]["position"] in entries[1]["findings"][0]["positions"]


def test_another_device_is_another_identity(running: Running) -> None:
    """The calling AE title is part of the identity: two devices that say the same are two events."""
    data = events.procedural([events.note(events.now())], study=U1)
    lost(running, data)
    with running.scu("MOBILE") as scu:
        assert scu.request(PEL, events.encoded(data)).status == 0
    assert len(stored(running)) == 2
