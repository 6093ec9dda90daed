"""Feeds over HTTP: how they go, and the messages that they refused."""

import asyncio
import base64

from plscp.store.port import LAST, RefusedMessage
from plscp.web.answers import FeedMessageAnswer, FeedMessagePage, FeedsAnswer, FeedStatus
from plscp.web.operations import ApiCall, operation, paged
from plscp.web.problems import ApiProblem


@operation("GET", "/api/v1/feeds", FeedsAnswer, role="read")
async def list_feeds(call: ApiCall) -> FeedsAnswer:
    """How each feed goes that runs beside the DICOM listener: who is connected, who has sent what, who is silent."""
    shown = [{"feed": name, **status} for name, status in call.server.feeds.status().items()]
    return FeedsAnswer(feeds=[FeedStatus.model_validate(each) for each in shown])


@operation("GET", "/api/v1/feeds/messages", FeedMessagePage, role="read", parameters=paged(), problems=[503])
async def list_feed_messages(call: ApiCall) -> FeedMessagePage:
    """Messages that feeds refused, newest first, without what is in them."""
    found = await asyncio.to_thread(call.server.store.refused_messages, call["limit"] + 1, before=call["after"] or LAST)
    return call.page(FeedMessagePage, "messages", [(each.number, each) for each in found], _summary)


@operation("GET", "/api/v1/feeds/messages/{id}", FeedMessageAnswer, problems=[404, 503])
async def get_feed_message(call: ApiCall) -> FeedMessageAnswer:
    """One refused message, as it came."""
    text = call["id"]
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    found = await asyncio.to_thread(call.server.store.refused_message, number)
    if found is None:
        raise ApiProblem(404, "no such message, or it went for newer ones")
    return FeedMessageAnswer.model_validate(_summary(found) | {"raw": base64.b64encode(found.raw).decode()})


def _summary(message: RefusedMessage) -> dict[str, object]:
    kept = len(message.raw)
    return message._asdict() | {"id": str(message.number), "feed": message.source, "raw_kept": kept}
