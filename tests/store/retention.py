"""What every event store does about raw bytes that are older than they are kept: run by each adapter's own test module."""

import hashlib
import json

import pytest

from plscp.store.limits import StoreLimits
from plscp.store.port import Draft, EventStore, Expunge, Filter, RawKept, RequestRecord, Stored
from tests.store.contract import MINUTE, Open
from tests.store.drafts import NOW, again, change, entry, ignore, rejected, request, send, stored

LATER = NOW + 100 * MINUTE


def expunge(store: EventStore, before: int, *, now: int = LATER, most: int = 256) -> Stored:
    """One pass."""
    return stored(store, Expunge(before, now, ignore, most))


def kept(store: EventStore, draft: RequestRecord) -> int:
    """How many of a request's raw bytes are still there."""
    for event in store.read(Filter(limit=-1)):
        if event.request_id == draft.request_id:
            found = store.raw_kept(event.position)
            assert found is not None
            assert (found.length, found.digest) == (len(draft.raw), hashlib.sha256(draft.raw).digest())
            return found.kept
    raise AssertionError("no such request")


class RetentionContract:
    """Subclass it beside a fixture `open_one`."""

    @pytest.fixture
    def store(self, open_one: Open) -> EventStore:
        return open_one()

    def test_raw_bytes_that_are_too_old_go_and_their_digests_stay(self, store: EventStore) -> None:
        """The oldest up to the first that is young enough; one event says which; chain, answers and payloads are as before."""
        drafts = [request([entry(f"{n}"), entry(f"{n}b", index=1)], arrival=NOW + n, raw=b"%09d" % n) for n in range(4)]
        send(store, change("study.opened"), *drafts)
        before = [event.payload for event in store.read(Filter())]
        result = expunge(store, NOW + 2)
        assert (result.outcome, result.entries, result.position) == ("expunged", 2, 10)
        assert [kept(store, draft) for draft in drafts] == [0, 0, 9, 9]
        *others, event = store.read(Filter())
        assert [other.payload for other in others] == before
        assert (event.kind, event.topic, event.change) == ("expunged", None, None)
        said = json.loads(event.payload)
        assert said["expunged"] == {"from": 2, "to": 5, "requests": 2, "quarantine": 0, "bytes": 18}
        assert (said["position"], said["event_id"], said["source"]) == (10, event.event_id, "retention")
        assert store.head() == (10, 1)
        assert stored(store, again(drafts[0])).outcome == "retry"
        assert store.first_broken_position() is None

    def test_a_pass_takes_no_more_than_it_may(self, store: EventStore) -> None:
        """The next goes on where it ended; one that finds nothing leaves no event."""
        drafts = [request(arrival=NOW + n) for n in range(5)]
        send(store, *drafts)
        assert [expunge(store, LATER, most=2).entries for _ in range(4)] == [2, 2, 1, 0]
        assert store.head() == (8, 0)
        assert [kept(store, draft) for draft in drafts] == [0] * 5

    def test_two_passes_in_one_batch_are_one(self, store: EventStore) -> None:
        """A second one in the same transaction finds nothing: it would find the same."""
        send(store, request(), request())
        found = send(store, *(Expunge(LATER, LATER, ignore) for _ in range(2)))
        assert sorted(each.entries for each in found if isinstance(each, Stored)) == [0, 2]
        assert store.first_broken_position() is None

    def test_a_request_of_a_wrong_clock_is_kept_and_holds_up_nobody(self, store: EventStore) -> None:
        """Dated in the future: its age is not known. What came after it goes all the same."""
        drafts = [request(arrival=at) for at in (NOW, LATER + 1, NOW + 1)]
        send(store, *drafts)
        assert expunge(store, NOW + 2).entries == 2
        assert [kept(store, draft) for draft in drafts] == [0, 3, 0]

    def test_open_quarantine_items_keep_their_bytes(self, store: EventStore) -> None:
        """Closed ones lose them when they were last sent too long ago; outcomes, length and digest stay."""
        opened, closed, young = (
            request(decision=rejected(), raw=b"r%d" % n, arrival=NOW + (n == 2) * MINUTE) for n in range(3)
        )
        send(store, opened, closed, young)
        for draft in (closed, young):
            stored(store, again(draft, decision=request().decision, arrival=LATER))
        assert expunge(store, NOW + MINUTE).entries == 1
        raws = {item.identity: item.raw for item in store.quarantine()}
        assert raws == {opened.identity: b"r0", closed.identity: b"", young.identity: b"r2"}
        assert [kept(store, draft) for draft in (opened, closed, young)] == [2, 0, 2]
        item = store.quarantine_item(closed.identity.hex())
        assert item is not None
        assert (item.raw_length, len(item.outcomes)) == (2, 1)
        assert json.loads(store.read(Filter(kinds=("expunged",)))[0].payload)["expunged"]["quarantine"] == 1
        # Sent and refused again, its bytes are there again.
        second = again(closed, decision=rejected(), arrival=LATER)
        stored(store, Expunge(0, LATER, ignore))
        assert stored(store, second).outcome in {"refused", "retry"}
        assert store.first_broken_position() is None

    def test_an_item_that_is_opened_again_meanwhile_keeps_its_bytes(self, store: EventStore) -> None:
        """The repeat and the pass come in one transaction, in either order."""
        for number, first in enumerate(("repeat", "pass")):
            draft = request([entry(f"e{number}", uid=f"1.{number}")], rejected(0xC102, content=True), raw=b"bytes")
            stored(store, draft)
            stored(store, request([entry(f"e{number}", uid=f"1.{number}")], identity=number, arrival=LATER))
            assert stored(store, again(draft, decision=request().decision)).outcome == "known"
            both: list[Draft] = [again(draft, arrival=LATER), Expunge(NOW + MINUTE, LATER, ignore)]
            send(store, *(both if first == "repeat" else both[::-1]))
            item = store.quarantine_item(draft.identity.hex())
            assert item is not None
            assert (item.closed_position, item.raw) == (None, b"bytes"), first

    def test_what_was_expunged_makes_room_under_the_cap(self, open_one: Open) -> None:
        """The bytes kept for a device are counted down."""
        store = open_one(limits=StoreLimits(quarantine_bytes=25))
        old = request(decision=rejected(), raw=bytes(20))
        stored(store, old)
        stored(store, again(old, decision=request().decision, arrival=LATER))
        expunge(store, NOW + MINUTE)
        fresh = [request(decision=rejected(), raw=bytes(12), arrival=LATER + n) for n in range(2)]
        send(store, *fresh)
        assert [len(item.raw) for item in store.quarantine(open_only=True)] == [12, 12]

    def test_what_has_no_request_has_no_raw_bytes(self, store: EventStore) -> None:
        """Registry changes, the pass's own event, and positions that are not there."""
        send(store, change("study.opened"), request())
        expunge(store, LATER)
        assert [store.raw_kept(position) for position in (0, 1, 3, 4)] == [None] * 4
        assert isinstance(store.raw_kept(2), RawKept)
