"""What the kernel is told of a connection's socket."""

import contextlib
import socket
import struct
from collections.abc import Mapping
from typing import Final

QUICKACK: Final = getattr(socket, "TCP_QUICKACK", None)
_OPTIONS: Final[Mapping[str, int]] = {"TCP_NODELAY": 1, "TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 60, "TCP_KEEPCNT": 3}


def tune(sock: socket.socket | None) -> None:
    """TCP_NODELAY for our answers; keepalive, since an association may be silent for hours."""
    if sock is None:
        return
    with contextlib.suppress(OSError):  # the peer is gone already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _OPTIONS.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def acknowledge(sock: socket.socket) -> bool:
    """Acknowledge what was read at once; False where the socket is gone.

    The kernel forgets it: without it an SCU with Nagle's algorithm waits 40 ms for each ACK (see decisions).
    """
    if QUICKACK is None:
        return True
    try:
        sock.setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)
    except OSError:
        return False
    return True


def drop_unsent(sock: socket.socket | None) -> None:
    """Reset at the close: what the peer does not read would stay in the kernel for minutes."""
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
