"""What every room's tests may use: chance that is the same in each run, and a real Kafka broker."""

import os
import random
import signal
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from plscp.local.kafka import LocalBroker
from tests.privacy import no_patient_is_named, patients_of_this_module  # noqa: F401  # fixtures of every test
from tests.seed import SEED

EXPLORING: Final = "PLSCP_TEST_EXPLORE" in os.environ
"""Whether properties are held against new values each time (`make explore`), not against the same ones."""

# Time says something about the machine here, not about the code: slow examples are no failures.
settings.register_profile(
    "plscp", deadline=None, derandomize=not EXPLORING, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("plscp")
if not EXPLORING:
    # Hypothesis also draws constants that it finds in the modules which are imported by then: the draws of a property would
    # change with any line of the program, and with the tests that run beside it.
    providers._get_local_constants = lambda: providers._local_constants


def pytest_configure(config: pytest.Config) -> None:
    """Warnings that are not ours, Ctrl-C, and chance that does not depend on the order of the tests."""
    # kafka-python 3.0 reads its own files in a way that Python 3.11 and 3.12 call deprecated and 3.13 does not.
    config.addinivalue_line("filterwarnings", r"ignore:\w+_text is deprecated:DeprecationWarning")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Started in the background of a script: what the tests start must be ended by Ctrl-C all the same.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config.option, "randomly_reset_seed"):
        config.option.randomly_reset_seed = False  # pytest-randomly orders the tests; what they draw is fixed below


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """What fixtures draw."""
    random.seed(f"{SEED} {item.nodeid} setup")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """What the test draws."""
    random.seed(f"{SEED} {item.nodeid}")


class Broker(Protocol):
    """What a test needs of the shared broker."""

    @property
    def address(self) -> str:
        """host:port to start from."""
        ...


class GivenBroker:
    """A broker that somebody else runs, named by PLSCP_TEST_KAFKA."""

    def __init__(self, address: str) -> None:
        self.address = address


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real broker for the session (one per worker); tests use topic prefixes of their own and never stop it."""
    if given := os.environ.get("PLSCP_TEST_KAFKA"):
        yield GivenBroker(given)
        return
    with LocalBroker(tmp_path_factory.mktemp("kafka"), properties=AUTHORIZER | UNHURRIED) as broker:
        yield broker


@pytest.fixture
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], LocalBroker]]:
    """Makes brokers that a test may stop, kill and freeze; they end with the test."""
    made: list[LocalBroker] = []

    def make() -> LocalBroker:
        made.append(LocalBroker(tmp_path_factory.mktemp("kafka")))
        return made[-1].start()

    yield make
    for broker in made:
        broker.thaw()
        broker.kill()


AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}
"""Everything is allowed until a test forbids a topic."""
UNHURRIED = {"broker.session.timeout.ms": "9000"}
"""Where the machine is busy, the controller would take a broker out of service that is merely late."""
