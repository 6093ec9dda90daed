"""The relay process: one publisher per topic, a keeper that looks after those that wait, and the line to its parent.

What is written is unknown as soon as one record fails or nothing is acknowledged any more. There is one way out of that:
the process ends, at once and for certain, its parent starts it anew, and recovery finds out.
"""

import contextlib
import fcntl
import json
import os
import select
import stat
import threading
import time
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from plscp.errors import StoreError, Unreachable
from plscp.logs import log, set_level
from plscp.relay.cluster import Cluster, one_line
from plscp.relay.cursor import Cursor
from plscp.relay.settings import LEVELS, RelaySettings
from plscp.relay.topic_publisher import EXIT_CHANGED, EXIT_STALLED, Progress, Shared, TopicPublisher, longer
from plscp.store.relay_view import RelayView

_LEVEL_OF: Final = {byte: level for level, byte in LEVELS.items()}
_RECORDED: Final = b'"recorded":"'
_LONGEST: Final = 4096  # of a pipe's write that is whole or not at all
TICK: Final = 0.25
AGAIN: Final = 1.0
"""Seconds between two looks for a broker that does not answer."""
LATE: Final = 5.0
"""Seconds without an answer after which a broker is asked, or counts as away."""
COUNTED_AT_ONCE_POSITIONS: Final = 20_000
"""How far one count of what is pending goes on; what lies beyond is taken for records until a later one gets there."""


class Backlog:
    """What one topic (named without prefix) still has to publish."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._base = self._upto = self._count = 0

    def pending(self, source: RelayView, progress: Progress) -> int:
        """Records that are not acknowledged; `progress` was read before, so that nothing is acknowledged that is not counted."""
        if progress.base != self._base:
            self._base = self._upto = progress.base
            self._count = 0
        head = source.head()
        highest = source.bounds().get(self._topic, (0, 0))[1]
        if highest <= self._upto:
            self._upto = max(self._upto, head)
        else:
            upto = min(highest, self._upto + COUNTED_AT_ONCE_POSITIONS)
            self._count += source.count(self._topic, self._upto, upto)
            self._upto = max(head, highest) if upto == highest else upto
        return max(self._count - progress.done, 0) + max(highest - self._upto, 0)


class Relay:
    """Owns publishers and cursor; `run` is the main thread.

    Args:
        commands, status: file descriptors: any byte read means "the store has more" and says the level of the log, end of file
            means "end"; status lines are written to the other.
    """

    def __init__(self, settings: RelaySettings, cursor: Cursor, commands: int, status: int) -> None:
        self.settings = settings
        self._shared = Shared(settings, cursor)
        self._view = RelayView.open(settings.store_url)  # the main thread's
        self.publishers = [TopicPublisher(name, self._shared) for name in settings.topics]
        self._commands, self._status = commands, status
        self._cluster = Cluster(settings.kafka)
        self._unreachable = ""
        self._away_since = self._asked = self._late_since = 0.0
        self._backlogs = {name: Backlog(name) for name in settings.topics}

    # --- the keeper: a thread that brings waiting publishers back and notices what publishers cannot ----------------------------

    def _keep(self) -> None:
        retry, due, checked = 0.0, 0.0, time.monotonic()
        pause, long = threading.Event(), self.settings.stall_seconds
        while True:
            now = time.monotonic()
            ready = [each for each in self.publishers if each.state in {"starting", "waiting"} and now >= each.again]
            if ready and now >= due and not self._shared.halted:
                retry = 0.0 if self._bring(ready) else longer(retry)
                due = time.monotonic() + retry
            late = [publisher for publisher in self.publishers if publisher.stalled(min(LATE, long / 2))]
            self._late_since = (self._late_since or now) if late else 0.0
            if late or time.monotonic() - checked >= (AGAIN if self._unreachable else self.settings.check_seconds):
                self._check()
                checked = time.monotonic()
            lost = next((publisher for publisher in late if publisher.stalled(long)), None)
            if lost and self._late_since and time.monotonic() - self._late_since >= long:
                self._shared.die(EXIT_STALLED, f"{lost.topic}: nothing acknowledged for {long:g} s, the broker answers")
            pause.wait(TICK)

    def _bring(self, ready: list[TopicPublisher]) -> bool:
        """Look at the topics of waiting publishers and start those that can go on; False when no broker answers."""
        asked = time.time()
        try:
            found = self._cluster.look([publisher.topic for publisher in ready])
        except Exception as error:  # what the library does not call a Kafka error is a defect, but not the end
            why = str(error) if isinstance(error, Unreachable) else one_line(error)
            self._away(why, asked)
            for publisher in ready:
                publisher.state, publisher.why = "waiting", why
            self._shared.changed()
            return False
        self._there()
        for publisher in ready:
            if refusal := found[publisher.topic].refusal:
                publisher.wait(refusal)
            else:
                publisher.state = "recovering"
                name = f"publisher-{publisher.name}"
                threading.Thread(target=publisher.run, args=(found[publisher.topic],), name=name, daemon=True).start()
        return True

    def _check(self) -> None:
        """Whether a broker answers, and whether topics were made again or lost partitions while their publisher runs."""
        running = [publisher for publisher in self.publishers if publisher.state == "running"]
        if not running:
            return
        self._asked = time.time()
        try:
            found = self._cluster.describe([publisher.topic for publisher in running])
        except Unreachable as error:
            self._away(str(error), self._asked)
            return
        finally:
            self._asked = 0.0
        self._there()
        for publisher in running:
            topic = found[publisher.topic]
            if topic.topic_id and (
                topic.topic_id != publisher.topic_id or topic.partitions < publisher.partitions.count
            ):
                self._shared.die(EXIT_CHANGED, f"{publisher.topic} was made again, or has fewer partitions")

    def _away(self, why: str, since: float) -> None:
        self._late_since = 0.0
        if not self._unreachable:
            log.warning("relay-kafka-away", why=why)
            self._away_since = since
            self._unreachable = why
            self._shared.changed()

    def _there(self) -> None:
        """A broker has answered."""
        if self._unreachable:
            log.info("relay-kafka-back", away_seconds=round(time.time() - self._away_since, 1))
            self._unreachable = ""
            self._shared.changed()

    def _kafka(self) -> tuple[str, float]:
        """Why nothing is published although it should be, and since when (seconds since the epoch); empty and 0 while a broker answers."""
        why, since, asked = self._unreachable, self._away_since, self._asked
        if not why and asked and time.time() - asked >= LATE:
            return f"no broker has answered for {time.time() - asked:.0f} s", asked
        return why, since if why else 0.0

    # --- the main thread ---------------------------------------------------------------------------------------------

    def run(self) -> NoReturn:
        """Until the parent closes its end; never returns."""
        if stat.S_ISFIFO(os.fstat(self._status).st_mode):
            flags = fcntl.fcntl(self._status, fcntl.F_GETFL)
            fcntl.fcntl(self._status, fcntl.F_SETFL, flags | os.O_NONBLOCK)
        threading.Thread(target=self._keep, name="keeper", daemon=True).start()
        due = time.monotonic()
        last: dict[str, dict[str, str]] = {}
        while True:
            wait = max(due - time.monotonic(), 0)
            ready, _, _ = select.select([self._commands, self._shared.poke[0]], [], [], wait)
            if self._commands in ready:
                woken = os.read(self._commands, 65536)
                if not woken:
                    for publisher in self.publishers:
                        publisher.keep()
                    os._exit(0)
                set_level(_LEVEL_OF.get(woken[-1:], "info"))
                with contextlib.suppress(StoreError):  # the others hear of it with the next status
                    bounds = self._view.bounds()
                    for publisher in self.publishers:
                        if bounds.get(publisher.name, (0, 0))[1] > publisher.reached:
                            publisher.wake()
            if self._shared.poke[0] in ready:
                os.read(self._shared.poke[0], 65536)
            states = self._states()
            if time.monotonic() >= due or states != last:
                log.debug("relay-status", topics=states)
                for publisher in self.publishers:
                    publisher.wake()
                self._say(self.status())
                last, due = states, time.monotonic() + self.settings.status_seconds

    def _states(self) -> dict[str, dict[str, str]]:
        """What each topic does; while no broker answers none is said to be running."""
        away, _ = self._kafka()
        shown = {}
        for publisher in self.publishers:
            state, why = publisher.state, publisher.why
            if away and state in {"running", "recovering"}:
                state, why = "waiting", away
            shown[publisher.topic] = {"state": state, "why": why}
        return shown

    def status(self) -> dict[str, Any]:
        """What a status line says.

        ``pending``: records not acknowledged; far behind (see `Backlog`) at most. ``oldest_age``: seconds since the
        oldest of them was recorded. ``published``: counts by topic and outcome. ``away_since``: when a broker was first asked that
        has not answered since, ISO 8601 UTC; empty while one answers.
        """
        pending, oldest = 0, 0.0
        for publisher in self.publishers:
            if of_topic := self._backlogs[publisher.name].pending(self._view, publisher.progress):
                pending += of_topic
                for record in self._view.records(publisher.low - 1, 1, [publisher.name]):
                    oldest = max(oldest, _age(record[7]))
        age = round(oldest, 3)
        away, since = self._kafka()
        problems = [f"{publisher.topic}: {publisher.why}" for publisher in self.publishers if publisher.why]
        return {
            "pid": os.getpid(),
            "store": self._shared.store_id,
            "head": self._view.head(),
            "pending": pending,
            "oldest_age": age,
            "oldest_age_seconds": age,
            "published": {publisher.topic: publisher.published for publisher in self.publishers},
            "topics": self._states(),
            "reachable": not away,
            "away_since": datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds") if since else "",
            "errors": [self._shared.halted] if self._shared.halted else [away] if away else problems,
        }

    def _say(self, status: dict[str, Any]) -> None:
        line = json.dumps(status).encode() + b"\n"
        if len(line) > _LONGEST:
            short = status | {"errors": [error[:60] for error in status["errors"][:3]], "topics": {}}
            line = json.dumps(short).encode() + b"\n"
        try:
            os.write(self._status, line)
        except BlockingIOError:
            pass  # nobody reads: the next line says it all again
        except BrokenPipeError:
            os._exit(0)


def _age(value: bytes) -> float:
    """Seconds since a record's ``recorded``; 0 where it has none."""
    _, found, after = value.partition(_RECORDED)
    with contextlib.suppress(ValueError):
        if found:
            return max(0.0, time.time() - datetime.fromisoformat(after[:24].decode("ascii", "replace")).timestamp())
    return 0.0
