"""How a route answers, and how it knows who asks.

Bodies are written by `json`, since names that are not UTF-8 travel as its escapes.
"""

import json
from typing import Annotated, Any

import trio
from fastapi import Depends, Request, Response
from pydantic import BaseModel

from appliance.control.protocol import Problem, ServiceError
from appliance.roles import Acting

REFUSALS: dict[int | str, dict[str, Any]] = {"default": {"model": Problem, "description": "Not done, and why"}}
"""What a route may answer besides, for the OpenAPI document."""


async def _asked_by(request: Request) -> Acting:
    by: Acting | None = getattr(request.state, "by", None)  # the application has let him pass
    if by is None:  # it could not: the header cannot be read
        raise ServiceError("usage", "X-Acting-User is not the number of a user. Nothing was changed.")
    return by


By = Annotated[Acting, Depends(_asked_by)]


def answer(message: BaseModel | list[Any], status_code: int = 200) -> Response:
    """A message, or a list of them, as JSON."""
    if isinstance(message, list):
        body: Any = [item.model_dump(mode="json") for item in message]
    else:
        body = message.model_dump(mode="json")
    return Response(json.dumps(body), status_code, media_type="application/json")


async def long_answer(messages: list[Any]) -> Response:
    """`answer` for a list that may have ten thousand entries."""
    return await trio.to_thread.run_sync(answer, messages)
