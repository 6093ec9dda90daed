"""What the kernel is told of a connection's socket."""

import contextlib
import fcntl
import select
import socket
import struct
import termios
from collections.abc import Iterable, Mapping
from typing import Final

QUICKACK: Final = getattr(socket, "TCP_QUICKACK", None)
_OPTIONS: Final[Mapping[str, int]] = {"TCP_NODELAY": 1, "TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 60, "TCP_KEEPCNT": 3}
_PEER_CLOSED: Final = getattr(select, "POLLRDHUP", 0)
_BROKEN: Final = select.POLLERR | select.POLLHUP | select.POLLNVAL
KNOWS_ENDS: Final = bool(_PEER_CLOSED)
"""Whether this system tells of a connection's end before all bytes that came before it were read (Linux does)."""


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


def _polled(sock: socket.socket | None, events: int) -> int | None:
    """Which of these events, or of errors, there are now; None where that cannot be known."""
    if sock is None or not KNOWS_ENDS or sock.fileno() < 0:
        return None
    look = select.poll()
    look.register(sock.fileno(), events)
    found = look.poll(0)
    return found[0][1] if found else 0


def ended(sock: socket.socket | None) -> bool:
    """Whether the peer's FIN or RST may be there, whatever is still to be read before it; where that cannot be known, it may."""
    return _polled(sock, _PEER_CLOSED) != 0


def gone(socks: Iterable[socket.socket | None]) -> list[bool]:
    """Of each, whether the peer's FIN or RST is certainly there, whatever is still to be read before it."""
    numbers = [-1 if sock is None or not KNOWS_ENDS else sock.fileno() for sock in socks]
    look = select.poll()
    for number in numbers:
        if number >= 0:
            look.register(number, _PEER_CLOSED)
    found = {number for number, _ in look.poll(0)}
    return [number in found for number in numbers]


def unread(sock: socket.socket | None) -> bool:
    """Whether anything may be there that was not read yet; where that cannot be known, it may."""
    return _polled(sock, select.POLLIN | _PEER_CLOSED) != 0


def all_arrived(sock: socket.socket | None) -> bool:
    """Whether the peer's system has acknowledged all that was sent, and the connection was not reset; False where it cannot be known."""
    if _polled(sock, 0) is None or sock is None:
        return False
    try:
        left: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
    except OSError:
        return False
    errors = _polled(sock, 0)  # after it: a reset empties the queue
    return not left and errors is not None and not errors & _BROKEN
