"""The forms in which the API answers: media types, and which of them a request's Accept prefers (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence
from typing import Final

from plscp.web.problems import ApiProblem

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"
EVENT_STREAM: Final = "text/event-stream"
TEXT: Final = "text/plain"


def preferred(accept: str, offered: Sequence[str]) -> str:
    """The offered media type with the highest quality; of several the first one, also where Accept says nothing.

    Raises:
        ApiProblem: 406, where none is accepted.
    """
    ranges = [found for each in accept.split(",") if (found := _range(each)) is not None]
    if not ranges and not accept.strip():
        return offered[0]

    def quality(media: str) -> float:
        for fitting in (media, media.partition("/")[0] + "/*", "*/*"):  # the most specific one decides
            weights = [weight for wanted, weight in ranges if wanted == fitting]
            if weights:
                return max(weights)
        return 0.0

    best = max(offered, key=quality)
    if not quality(best):
        raise ApiProblem(406, f"this is given as {', '.join(offered)}: accept one of them")
    return best


def _range(text: str) -> tuple[str, float] | None:
    """A media range and its quality; None where it cannot be read."""
    media, *parameters = (part.strip().lower() for part in text.split(";"))
    weights = [value for name, _, value in (part.partition("=") for part in parameters) if name.strip() == "q"]
    try:
        weight = float(weights[0]) if weights else 1.0
    except ValueError:
        return None
    return (media, weight) if media and 0 <= weight <= 1 else None
