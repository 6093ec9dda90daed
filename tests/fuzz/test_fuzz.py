"""The corpus, and a little of what `make fuzz` does for minutes."""

import traceback

import pytest

from tests.fuzz.running import CORPUS, Fuzzer, corpus
from tests.fuzz.targets import TARGETS
from tests.seed import SEED

INPUTS = 1000
SLOW = 60.0
"""Seconds, against waiting for ever; `make fuzz` is the one that measures."""


@pytest.mark.seeded
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_a_peer_sends_does_harm(target: str) -> None:
    """The corpus and what is made of it: no exception, no inner contradiction, however bytes are cut."""
    fuzzer = Fuzzer(target, SEED, SLOW)
    fuzzer.so_many(INPUTS)
    for raw, error in fuzzer.defects.items():
        traceback.print_exception(error)
        print(f"seed {SEED}: {raw!r}")
    assert not fuzzer.defects


def test_every_target_has_seeds_and_every_seed_a_target() -> None:
    """No file of the corpus is forgotten."""
    assert {folder.name for folder in CORPUS.iterdir() if folder.is_dir()} == TARGETS.keys()
    assert all(len(corpus(target)) >= 6 for target in TARGETS)
