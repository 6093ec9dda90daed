"""A server's life, cut short: appends numbered requests and says on standard output what was acknowledged.

Run as ``python -m tests.store.crashing PATH FIRST``; it goes on until it is killed.
"""

import sys
import threading
from itertools import count

from plscp.logs import configure
from plscp.store import SqliteStore, index
from plscp.store.limits import StoreLimits
from plscp.store.port import Failed, Result, Stored
from tests.store.drafts import change, correction, digest, entry, move, rejected, request

CONCURRENT = 8


def main(path: str, first: int) -> None:
    """Keep some requests in flight and report each acknowledgement after it came."""
    configure()
    setattr(index, "MOST_ROWS", 64)  # noqa: B010 -- so that many a kill finds it being written
    room = threading.Semaphore(CONCURRENT)
    store = SqliteStore(path, limits=StoreLimits(checkpoint_pages=50))
    print("open", flush=True)

    def correct(number: int, last: int) -> None:
        """Move all entries of a request."""
        draft = correction(f"{number:016x}", *(move(store, last - i, "9.9") for i in range(1 + number % 3)))

        def done(result: Result) -> None:
            assert isinstance(result, Stored), result
            sys.stdout.write(f"{result.outcome} {number} {result.position}\n")
            sys.stdout.flush()

        draft.done = done
        store.submit(draft)

    for number in count(first):
        room.acquire()
        draft = request([entry(f"{number}-{i}", index=i) for i in range(1 + number % 3)], raw=b"r" * 700)
        draft.request_id = f"{number:032x}"
        draft.identity = digest(number)
        if number % 10 == 9:
            draft.decision = rejected(outcome=f"C103 {number}")

        def done(result: Result, number: int = number) -> None:
            assert not isinstance(result, Failed), result
            if isinstance(result, Stored):
                sys.stdout.write(f"{result.outcome} {number} {result.position}\n")
                sys.stdout.flush()
                if result.outcome == "added" and not number % 5:
                    correct(number, result.position)
            room.release()

        draft.done = done
        store.submit(draft)
        if number % 25 == 0:
            store.submit(change("study.updated"))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
