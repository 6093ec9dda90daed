"""Reading the events: `from plscp.consumer import consume`; with another client: `decode` and `Positions`.

kafka-python is loaded when `consume` or `aconsume` is asked for, and not before.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from plscp.consumer.events import Event, Unreadable, decode
from plscp.consumer.positions import Positions

if TYPE_CHECKING:
    from plscp.consumer.reading import Events, aconsume, consume

__all__ = ["Event", "Events", "Positions", "Unreadable", "aconsume", "consume", "decode"]


def __getattr__(name: str) -> Any:
    """What reads from Kafka."""
    if name in {"Events", "aconsume", "consume"}:
        return getattr(import_module("plscp.consumer.reading"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
