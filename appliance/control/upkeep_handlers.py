"""The routes of housekeeping. As `handlers`: a request becomes one call, and nothing is decided here."""

from fastapi import FastAPI, Response

from appliance.control.answering import REFUSALS, answer
from appliance.control.services import DriveService
from appliance.control.upkeep_protocol import PolicyPreview, PolicyRequest, PolicyState, Tidied


def route_upkeep(app: FastAPI, service: DriveService) -> None:
    """Tidying up, and how long snapshots stay."""

    @app.post("/v1/gc", response_model=Tidied, responses=REFUSALS)
    async def gc() -> Response:
        return answer(await service.upkeep.gc())

    @app.get("/v1/policy", response_model=PolicyState, responses=REFUSALS)
    async def policy() -> Response:
        return answer(await service.upkeep.policy())

    @app.put("/v1/policy", response_model=PolicyState, responses=REFUSALS)
    async def set_policy(request: PolicyRequest) -> Response:
        return answer(await service.upkeep.set_policy(request))

    @app.post("/v1/policy/cancel", response_model=PolicyState, responses=REFUSALS)
    async def cancel_policy() -> Response:
        return answer(await service.upkeep.cancel_policy())

    @app.post("/v1/policy/preview", response_model=PolicyPreview, responses=REFUSALS)
    async def preview_policy(request: PolicyRequest) -> Response:
        return answer(await service.upkeep.preview_policy(request))
