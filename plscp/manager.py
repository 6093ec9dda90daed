"""What a service manager is told (sd_notify(3)): when associations are accepted, and when the server was told to stop."""

import contextlib
import os
import socket


def tell(state: str) -> None:
    """Say `READY=1` or `STOPPING=1` to the manager that started the process; nothing where none asked for it.

    A manager that does not listen is its own affair: nothing here depends on it.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.connect("\0" + address[1:] if address.startswith("@") else address)
        to.send(state.encode())
