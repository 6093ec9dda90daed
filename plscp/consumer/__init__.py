"""Reading the events: `from plscp.consumer import consume`."""

from plscp.consumer.events import Event, Unreadable
from plscp.consumer.reading import Events, aconsume, consume

__all__ = ["Event", "Events", "Unreadable", "aconsume", "consume"]
