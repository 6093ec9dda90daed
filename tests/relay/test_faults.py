"""The relay killed, the broker killed and frozen for longer than any time-out: nothing left out, order kept."""

import os
import random
import signal
import threading
from collections.abc import Callable

import pytest

from plscp.local.kafka import LocalBroker
from tests.conftest import Broker
from tests.relay.helpers import Child, check, settings
from tests.relay.twin import WritableTwin
from tests.seed import SEED

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

KILLS = int(os.environ.get("PLSCP_TEST_RELAY_KILLS", "12"))
MOST = 200
"""Rounds of four requests per test: enough to be under load at every moment, few enough to be read back."""
LONG = 2.8
"""Seconds: more than twice the request time-out of these tests."""


class Load:
    """Requests that keep coming from a thread until the test has seen enough."""

    def __init__(self, twin: WritableTwin, wake: Callable[[], None]) -> None:
        self._twin, self._wake = WritableTwin(twin.file), wake
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        rounds = 0
        while not self._stop.wait(0.02):
            rounds += 1
            if rounds <= MOST:
                self._twin.requests_of_all(4)
            self._wake()

    def __enter__(self) -> threading.Event:
        self._thread.start()
        return self._stop

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._twin.close()


def test_killed_at_any_moment(kafka_broker: Broker, twin: WritableTwin, prefix: str) -> None:
    """SIGKILL at a dozen random moments, from the very start of a process on."""
    print(f"seed {SEED}")
    dice = random.Random(SEED)
    with Child(settings(twin, kafka_broker.address, prefix)) as relay:
        with Load(twin, relay.wake) as stop:
            for number in range(KILLS):
                # The first ones fall into topic creation and recovery, the others into publication too.
                stop.wait(dice.uniform(0.2, 0.8 if number % 2 else 1.6))
                relay.kill()
                relay.start()
        relay.until_done(twin)
    assert check(kafka_broker.address, prefix, twin)


def test_broker_killed_and_started_again(weak_broker: LocalBroker, twin: WritableTwin, prefix: str) -> None:
    """Away for longer than the time-outs, while requests keep coming."""
    with Child(settings(twin, weak_broker.address, prefix, hasty=True)) as relay:
        twin.requests_of_all(8)
        relay.until_done(twin, revive=True)
        with Load(twin, relay.wake) as stop:
            stop.wait(0.3)
            weak_broker.kill()
            stop.wait(LONG)
            weak_broker.start()
        relay.until_done(twin, revive=True)
        assert not relay.events("noise")
    assert check(weak_broker.address, prefix, twin)


def test_broker_frozen_for_longer_than_every_timeout(weak_broker: LocalBroker, twin: WritableTwin, prefix: str) -> None:
    """Its sockets stay and nothing answers; afterwards what was sent before may arrive late."""
    with Child(settings(twin, weak_broker.address, prefix, hasty=True, stall_seconds=2.0)) as relay:
        twin.requests_of_all(8)
        relay.until_done(twin, revive=True)
        with Load(twin, relay.wake) as stop:
            stop.wait(0.3)
            weak_broker.freeze()
            stop.wait(LONG)
            weak_broker.thaw()
            stop.wait(0.5)
        relay.until_done(twin, revive=True)
    assert check(weak_broker.address, prefix, twin)


def test_broker_frozen_and_relay_killed_meanwhile(weak_broker: LocalBroker, twin: WritableTwin, prefix: str) -> None:
    """The successor cannot know what its predecessor's bytes will do: repeats may be, droppable by position."""
    with Child(settings(twin, weak_broker.address, prefix, hasty=True)) as relay:
        twin.requests_of_all(8)
        relay.until_done(twin, revive=True)
        with Load(twin, relay.wake) as stop:
            stop.wait(0.3)
            weak_broker.freeze()
            stop.wait(0.5)
            relay.kill()
            relay.start()
            stop.wait(LONG)
            weak_broker.thaw()
            stop.wait(0.5)
        relay.until_done(twin, revive=True)
    assert check(weak_broker.address, prefix, twin)


def test_frozen_relay_wakes_up_where_it_was(kafka_broker: Broker, twin: WritableTwin, prefix: str) -> None:
    """SIGSTOP of the relay itself: it goes on, and nothing is twice."""
    with Child(settings(twin, kafka_broker.address, prefix)) as relay:
        twin.requests_of_all(4)
        relay.until_done(twin)
        assert relay.process is not None
        relay.process.send_signal(signal.SIGSTOP)
        twin.requests_of_all(200)
        relay.process.send_signal(signal.SIGCONT)
        relay.until_done(twin)
    assert len(check(kafka_broker.address, prefix, twin)) == twin.head()
