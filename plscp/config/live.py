"""Settings that change while the server runs: what changed, and which of it applies at once, as the model says (`Section.at_once`)."""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, NamedTuple, TypeVar

from pydantic import ValidationError

from plscp.config import Settings, read
from plscp.config.load import faults_of
from plscp.config.model import Section
from plscp.errors import ConfigError, PlscpError
from plscp.logs import log

Made = TypeVar("Made")
LOOK_SECONDS: Final = 2.0
"""Between two looks at the files."""


class Change(NamedTuple):
    """A setting that differs."""

    path: str  # as devices.HEMO1.location; of a table that only one side has devices.NEW (new) or devices.OLD (removed)
    at_once: bool  # it needs no restart


def changes(before: Any, after: Any, path: str = "", *, at_once: bool = False) -> Iterator[Change]:
    """What differs between two settings, in the order of the model; or between two tables or values at a path of them."""
    if before == after:
        return
    tables = [each for each in (before, after) if isinstance(each, (Section, dict))]
    if len(tables) == 2:
        old, new = dict(before), dict(after)
        for name in dict.fromkeys((*old, *new)):
            this = at_once or (isinstance(before, Section) and before.applies_at_once(name))
            below = f"{path}.{name}".removeprefix(".")
            if name in old and name in new:
                yield from changes(old[name], new[name], below, at_once=this)
            else:
                yield Change(f"{below} ({'new' if name in new else 'removed'})", this)
    else:
        yield Change(path + (f" ({'new' if before is None else 'removed'})" if tables else ""), at_once)


def in_force(running: Settings, wanted: Settings) -> Settings:
    """What holds without a restart: of the wanted settings those that apply at once, else those that run. Raises ConfigError."""
    try:
        found = Settings.model_validate(_taken(running, wanted))
        faults = found.contradictions()
    except ValidationError as error:
        faults = faults_of(error)
    if faults:
        # Such as an address of the network with no token any more.
        raise ConfigError(f"{faults[0]}: restart the server, since not all of this applies while it runs")
    return found


def _taken(running: Section, wanted: Section) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, old in running:
        new = getattr(wanted, name)
        if running.applies_at_once(name):
            members[name] = new
        else:
            members[name] = _taken(old, new) if isinstance(old, Section) and isinstance(new, Section) else old
    return members


class Reloaded(NamedTuple):
    """What became of the settings when they were read again."""

    applied: tuple[str, ...] = ()  # paths of the settings that hold from now on
    restart: tuple[str, ...] = ()  # paths of those that differ from what runs, and need a restart
    faults: tuple[str, ...] = ()  # what is wrong, a line each; then nothing was applied

    @property
    def fault(self) -> str:
        """The first fault, and how many more there are; empty for none."""
        more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
        return self.faults[0] + more if self.faults else ""


class LiveSettings:
    """The settings of a running server. From one thread, but for `current` and `shown`.

    Args:
        environ: as it was at start; laid over the file each time.
        apply: makes settings hold, all of them or, where it raises a PlscpError, none; given what held and what is to.
        counted: told what became of each reading: ``applied``, ``unchanged`` or ``refused``.
    """

    def __init__(
        self,
        path: Path | None,
        environ: Mapping[str, str],
        running: Settings,
        apply: Callable[[Settings, Settings], None],
        *,
        counted: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._path, self._environ, self._apply, self._counted = path, dict(environ), apply, counted
        self.current = running  # what is in force
        self._loaded = datetime.now(UTC)
        self._fault = ""
        self._last = Reloaded()

    @property
    def shown(self) -> dict[str, Any]:
        """The part of /api/v1/status: the file, since when what it says is in force, and what is wrong with it now, or nothing."""
        return {
            "file": str(self._path) if self._path else "",
            "loaded": self._loaded.isoformat(timespec="seconds"),
            "restart": list(self._last.restart),
            "fault": self._fault,
        }

    def reload(self) -> Reloaded:
        """Read the file again and apply what needs no restart; a file with a fault changes nothing. It is said in the log."""
        done = self._reload()
        if done.faults:
            if done.fault != self._fault:
                log.error("settings-refused", file=str(self._path or ""), why=list(done.faults[:20]))
        elif done.applied or done.restart != self._last.restart or self._fault:
            log.info("settings-reloaded", applied=list(done.applied), restart=list(done.restart))
        self._fault = done.fault
        if not done.faults:
            self._loaded, self._last = datetime.now(UTC), done
        self._counted("refused" if done.faults else "applied" if done.applied else "unchanged")
        return done

    def _reload(self) -> Reloaded:
        try:
            wanted, faults = read(self._path, self._environ)
            if wanted is None or faults:
                return Reloaded(faults=tuple(faults))
            old = self.current
            new = in_force(old, wanted)
            # Files are looked at that a table names which has changed; of the other ones nothing is said here.
            for (before, _), (named, read_files) in zip(old.readers(), wanted.readers(), strict=True):
                if before != named:
                    read_files()
            if new != old:
                self._apply(old, new)
                said = set(old.warnings())
                for line in new.warnings():
                    if line not in said:
                        log.warning("settings-warning", why=line)
                self.current = new
        except PlscpError as error:
            return Reloaded(faults=(str(error),))
        except Exception:  # a defect with these settings: those before go on
            log.exception("internal-error", where="settings")
            return Reloaded(faults=("a defect of plscp: the log has an internal-error line about it",))
        found = list(changes(old, wanted))
        return Reloaded(
            tuple(change.path for change in found if change.at_once),
            tuple(change.path for change in found if not change.at_once),
        )


class InForce(Generic[Made]):
    """Keeps what `make` makes of the settings in force; such as the tokens of their files, or what each device must show.

    Where `make` raises ConfigError, since a file cannot be used, that is passed on at first; later what was made before stays.
    """

    def __init__(self, settings: Callable[[], Settings], make: Callable[[Settings], Made]) -> None:
        self._settings, self._make = settings, make
        self._of = settings()
        self._made = make(self._of)

    def current(self) -> Made:
        """Of the settings that are in force now."""
        settings = self._settings()
        if settings is not self._of:
            self._of = settings
            try:
                self._made = self._make(settings)
            except ConfigError as error:
                log.error("secret-refused", why=str(error))
        return self._made


class Watcher(threading.Thread):
    """A thread for what a file system that hangs may hold up: what is asked for, and after so long without that, `look`."""

    def __init__(self, look: Callable[[], None], *, every: float = LOOK_SECONDS) -> None:
        super().__init__(name="plscp-settings", daemon=True)
        self._look, self._every = look, every
        self._asked: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()

    def ask(self, call: Callable[[], Any]) -> "Future[Any]":
        """Have something done there, soon."""
        future: Future[Any] = Future()
        self._asked.put((future, call))
        return future

    def stop(self) -> None:
        """Look no more; a thread that hangs is left behind."""
        self._asked.put(None)

    def run(self) -> None:
        """What the thread does."""
        while True:
            try:
                asked = self._asked.get(timeout=self._every)
            except Empty:
                try:
                    self._look()
                except Exception:  # a defect there must not end the looking
                    log.exception("internal-error", where="settings")
                continue
            if asked is None:
                return
            future, call = asked
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except Exception as error:
                    future.set_exception(error)
