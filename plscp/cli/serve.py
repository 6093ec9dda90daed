"""`plscp serve`: the server."""

import os
import signal

from plscp import logs
from plscp.cli.options import Config, group, settings, settings_file

app = group()


@app.command()
def serve(config: Config = None) -> int:
    """Run the server until SIGTERM; prints one line, `listening AE HOST:PORT`, when it accepts associations."""
    signal.signal(
        signal.SIGHUP, signal.SIG_IGN
    )  # until it is listened to: what it asks for is done at the start anyway
    found = settings(config)
    for read_secrets in (found.token, found.kafka_options):
        read_secrets()  # a file that is missing is said before anything is opened
    logs.configure(level=found.log.level, json={"auto": None, "json": True, "console": False}[found.log.format])
    from plscp.app import run  # noqa: PLC0415  # wrong settings are said before the whole program is loaded

    return run(found, settings_file(config), os.environ)
