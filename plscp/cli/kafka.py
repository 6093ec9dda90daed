"""`plscp kafka`: a real broker on this machine, to try plscp with."""

import os
import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from plscp.cli import output
from plscp.cli.demo import Fetching, ended_by_signals
from plscp.cli.options import group
from plscp.errors import CommandError
from plscp.local.kafka import HOST, LocalBroker

app = group()


@app.command()
def kafka(port: Annotated[int, typer.Option(help="Its port on 127.0.0.1.", min=1, max=65535)] = 9092) -> None:
    """Run Apache Kafka until Ctrl-C, to try plscp with; prints `listening kafka HOST:PORT` when it is ready.

    It asks nobody who they are, and what it holds is deleted at its end. What has to be fetched is kept in the cache folder.
    """
    try:
        socket.create_server((HOST, port)).close()  # Kafka does not say why it ends
    except OSError as error:
        raise CommandError(f"kafka: {HOST}:{port}: {os.strerror(error.errno or 0)}; see --port", 3) from None
    progress = Fetching(output.console())
    with ended_by_signals(), tempfile.TemporaryDirectory(prefix="plscp-kafka-") as folder:
        broker = LocalBroker(Path(folder), port=port, progress=progress)
        try:
            broker.start()
            progress.stop()
            print(f"listening kafka {broker.address}", flush=True)
            with suppress(KeyboardInterrupt):
                while broker.running:
                    threading.Event().wait(0.5)
                raise CommandError("kafka: the broker ended", 3)
        finally:
            progress.stop()
            broker.kill()
