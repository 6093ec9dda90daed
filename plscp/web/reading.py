"""What handlers read out of a request: JSON bodies within a bound, query parameters within their ranges."""

import json
from typing import Any

from starlette.requests import Request

from plscp.web.problems import Problem


async def json_body(request: Request, most: int, *, required: bool = True) -> dict[str, Any]:
    """The body as a JSON object.

    Args:
        most: bytes it may have.
        required: whether there must be one; an absent body is an empty object otherwise.

    Raises:
        Problem: 400 not JSON, 413 too long, 415 another content type, 422 no object.
    """
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > most:
            raise Problem(413, f"the body is longer than {most} bytes", {"Connection": "close"})
    if not raw and not required:
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "send the body as application/json", {"Accept": "application/json"})
    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
        json.dumps(body, ensure_ascii=False).encode("utf-8")  # half a surrogate pair, escaped, is no text
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON in UTF-8") from None
    if not isinstance(body, dict):
        raise Problem(422, "the body must be a JSON object")
    return body


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def whole(request: Request, name: str, default: int, least: int, most: int) -> int:
    """A whole number out of the query.

    Raises:
        Problem: 422.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most:
        return int(text)
    raise Problem(422, f"{name} must be a whole number from {least} to {most}")


def flag(request: Request, name: str) -> bool:
    """True or false out of the query; the name alone is true.

    Raises:
        Problem: 422.
    """
    text = request.query_params.get(name)
    if text is None:
        return False
    if text.lower() in {"", "1", "true", "yes"}:
        return True
    if text.lower() in {"0", "false", "no"}:
        return False
    raise Problem(422, f"{name} must be true or false")


def one_of(request: Request, name: str, choices: tuple[str, ...]) -> str:
    """One of some words out of the query, or empty where it is absent.

    Raises:
        Problem: 422.
    """
    text = request.query_params.get(name, "")
    if text and text not in choices:
        raise Problem(422, f"{name} must be one of {', '.join(choices)}")
    return text


def known_only(request: Request, *names: str) -> None:
    """Refuse query parameters that would be ignored.

    Raises:
        Problem: 422.
    """
    for name in request.query_params:
        if name not in names:
            raise Problem(422, f"{name} is no parameter of this path: {', '.join(names) or 'it has none'}")
