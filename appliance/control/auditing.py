"""Between the server and the application: each request that changes something, or is refused, is told.

It is told before the answer leaves, so that whoever has an answer finds the line; a request that ends without one (its
caller has gone, the core met a defect) is told at its end.
"""

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
        body, acting, is_told = bytearray(), dict[str, int](), False

        def finish(status: int) -> None:
            nonlocal is_told
            if not is_told and (scope["method"] not in ("GET", "HEAD") or status == 403):
                peer = peer_of(scope)
                request = f"{scope['method']} {scope['path']}"
                tell(Event(acting.get("uid", peer), peer, request, told(bytes(body)), status))
            is_told = True

        async def hear() -> Any:
            message = await receive()
            if len(body) <= MOST_TOLD:
                body.extend(message.get("body", b""))
            return message

        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start":
                finish(message["status"])
            await send(message)

        try:
            await app({**scope, ACTING: acting}, hear, answer)
        finally:
            finish(500)

    return watched
