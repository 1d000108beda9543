"""Between the server and the application: each request that changes something, or is refused, is told when answered."""

from collections.abc import Callable
from typing import Any

from appliance.audit import MOST_TOLD, Event, told

ACTING = "hybrid_drive.acting_uid"
"""The key in the ASGI scope under which the application leaves on whose behalf a request was made."""


def audited(app: Any, peer_of: Callable[[Any], int], tell: Callable[[Event], None]) -> Any:
    """The ASGI application `app`, watched."""

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        body = bytearray()
        status = 500

        async def hear() -> Any:
            message = await receive()
            if len(body) <= MOST_TOLD:
                body.extend(message.get("body", b""))
            return message

        async def answer(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        scope = {**scope, ACTING: {}}
        try:
            await app(scope, hear, answer)
        finally:
            if scope["method"] not in ("GET", "HEAD") or status == 403:
                peer = peer_of(scope)
                uid = scope[ACTING].get("uid", peer)
                tell(Event(uid, peer, f"{scope['method']} {scope['path']}", told(bytes(body)), status))

    return watched
