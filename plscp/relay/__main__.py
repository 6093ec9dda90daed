"""`python -m plscp.relay`: the relay as a process of its own.

Standard input: one line of JSON (`RelaySettings.as_json`), then a byte when the store has more, which says the level of
the log (`LEVELS`); its end ends the process at once. Standard output: status lines, JSON. Standard error: the log.
"""

import json
import os
import signal
import sys
from contextlib import closing
from typing import NoReturn

from plscp import logs
from plscp.errors import ConfigError, PlscpError, RelayError
from plscp.relay.cursor import Cursor
from plscp.relay.relay import Relay
from plscp.relay.settings import RelaySettings
from plscp.store.relay_view import RelayView

PATIENCE = 10.0
"""Seconds for the relay before this one to be gone."""


def _line(commands: int) -> bytes:
    """The first line, byte by byte: what follows belongs to the relay."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(commands, 1)
        if not byte:
            os._exit(0)
        line += byte
    return line


def _opened(line: bytes) -> tuple[RelaySettings, Cursor]:
    try:
        settings = RelaySettings.from_json(json.loads(line))
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"the relay cannot read its settings: {error}") from error
    with closing(RelayView.open(settings.store_url)) as view:
        store_id = view.store_id
    if not store_id:
        raise RelayError(f"there is no store at {settings.store_url} yet")
    return settings, Cursor(settings.cursor, store_id, patience=PATIENCE)


def main() -> NoReturn:
    """Run until standard input ends."""
    logs.configure()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this when it is done itself
    try:
        settings, cursor = _opened(_line(0))
    except PlscpError as error:
        logs.log.error("relay-stopped", why=str(error))
        sys.exit(error.exit_status)
    try:
        Relay(settings, cursor, 0, 1).run()
    except PlscpError as error:  # the store cannot be read: the next one tries again
        logs.log.error("relay-stopped", why=str(error))
        os._exit(error.exit_status)  # not `sys.exit`: the library would wait for its producers
    except BaseException:
        logs.log.exception("internal-error", where="relay")
        os._exit(1)


if __name__ == "__main__":
    main()
