"""When raw bytes are deleted: a batch at each look until nothing is left, then at rest for a minute."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import structlog.testing

from plscp.store.port import Draft
from plscp.store.retention import MOST_REQUESTS, PAUSE_SECONDS, Retention
from tests.serving import until
from tests.store.drafts import NOW, request, send, stored
from tests.temporary import TemporaryStore


class Counting(TemporaryStore):
    """Counts the drafts that it is given."""

    drafts = 0

    def submit(self, draft: Draft) -> None:
        self.drafts += 1
        super().submit(draft)


def test_a_batch_at_each_look_then_a_pause() -> None:
    """What is too old goes within a few looks, in batches; what is young enough stays, and is looked at a minute later."""
    store = Counting()
    old = [request(arrival=NOW - n) for n in range(MOST_REQUESTS + 3)]
    young = request(arrival=NOW + 60_000_000)
    send(store, *old, young)
    deleted: list[int] = []
    now, day = [0.0], timedelta(days=1)
    clock = NOW + 86_400_000_000 + 1

    retention = Retention(
        store, day, expunged=deleted.append, clock=lambda: clock + int(now[0] * 1e6), monotonic=lambda: now[0]
    )
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            retention.look()
            until(lambda: not retention._under_way, "the retention to end")
        assert deleted == [MOST_REQUESTS, 3]
        before = store.drafts
        retention.look()
        assert store.drafts == before, "it rests"
        now[0] = PAUSE_SECONDS
        retention.look()
        until(lambda: not retention._under_way, "the retention to end")
        assert (store.drafts, deleted) == (before + 1, [MOST_REQUESTS, 3, 1]), "the minute has made it too old"
        retention.look()
        until(lambda: not retention._under_way, "the retention to end")
    assert [line["requests"] for line in lines if line["event"] == "raw-expunged"] == [MOST_REQUESTS + 3, 1]
    store.close()


def test_a_store_that_fails_is_asked_again_later() -> None:
    """A failure ends a pass, not the retention."""
    store = Counting()
    stored(store, request(arrival=NOW))
    store.close()
    now = [0.0]
    retention = Retention(store, timedelta(seconds=1), clock=lambda: NOW + 10_000_000, monotonic=lambda: now[0])
    for at in (0.0, PAUSE_SECONDS):
        now[0] = at
        before = store.drafts
        retention.look()
        retention.look()
        assert store.drafts == before + 1


@pytest.mark.parametrize("most", [1, MOST_REQUESTS])
def test_it_never_asks_while_a_batch_is_under_way(most: int) -> None:
    """However often it looks, one batch is in the writer's hands."""
    waiting: list[Callable[[], None]] = []
    store = Counting(call_soon=waiting.append)
    retention = Retention(store, timedelta(seconds=1), clock=lambda: NOW)
    for _ in range(most):
        retention.look()
    assert store.drafts == 1
    store.close()
