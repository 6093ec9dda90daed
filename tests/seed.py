"""The number that everything drawn by chance in the tests follows from."""

import os
import random
from typing import Final

_GIVEN: Final = os.environ.get("PLSCP_TEST_SEED", "1")
SEED: Final = random.SystemRandom().randrange(1 << 32) if _GIVEN == "random" else int(_GIVEN)
"""The same in each run of the tests; another one in each round of `make explore` and each run of `make torture`, which print it."""
