"""The routes of users, groups and shares. As `handlers`: a request becomes one call, and nothing is decided here."""

from fastapi import FastAPI, Response

from appliance.control.answering import REFUSALS, By, answer
from appliance.control.people_protocol import (
    AccessRequest,
    Group,
    NameRequest,
    PasswordRequest,
    RoleRequest,
    Share,
    ShareRemoved,
    User,
    UserRequest,
)
from appliance.control.services import DriveService


def route_users(app: FastAPI, service: DriveService) -> None:
    """Users and their groups."""

    @app.get("/v1/users", response_model=list[User], responses=REFUSALS)
    async def users() -> Response:
        return answer(await service.people.users())

    @app.post("/v1/users", response_model=User, status_code=201, responses=REFUSALS)
    async def add_user(request: UserRequest, by: By) -> Response:
        return answer(await service.people.add_user(by, request), 201)

    @app.delete("/v1/users/{name}", status_code=204, responses=REFUSALS)
    async def remove_user(name: str, by: By) -> Response:
        await service.people.remove_user(by, name)
        return Response(status_code=204)

    @app.post("/v1/users/{name}/password", response_model=User, responses=REFUSALS)
    async def set_password(name: str, request: PasswordRequest, by: By) -> Response:
        return answer(await service.people.set_password(by, name, request))

    @app.post("/v1/users/{name}/role", response_model=User, responses=REFUSALS)
    async def set_role(name: str, request: RoleRequest, by: By) -> Response:
        return answer(await service.people.set_role(by, name, request.role))

    @app.post("/v1/users/{name}/enable", response_model=User, responses=REFUSALS)
    async def enable(name: str, by: By) -> Response:
        return answer(await service.people.enable(by, name, True))

    @app.post("/v1/users/{name}/disable", response_model=User, responses=REFUSALS)
    async def disable(name: str, by: By) -> Response:
        return answer(await service.people.enable(by, name, False))

    @app.get("/v1/groups", response_model=list[Group], responses=REFUSALS)
    async def groups() -> Response:
        return answer(await service.people.groups())

    @app.post("/v1/groups", response_model=Group, status_code=201, responses=REFUSALS)
    async def add_group(request: NameRequest) -> Response:
        return answer(await service.people.add_group(request.name), 201)

    @app.delete("/v1/groups/{name}", status_code=204, responses=REFUSALS)
    async def remove_group(name: str) -> Response:
        await service.people.remove_group(name)
        return Response(status_code=204)

    @app.put("/v1/groups/{name}/members/{user}", response_model=Group, responses=REFUSALS)
    async def add_member(name: str, user: str) -> Response:
        return answer(await service.people.add_member(name, user))

    @app.delete("/v1/groups/{name}/members/{user}", response_model=Group, responses=REFUSALS)
    async def remove_member(name: str, user: str) -> Response:
        return answer(await service.people.remove_member(name, user))


def route_shares(app: FastAPI, service: DriveService) -> None:
    """Shares and their members."""

    @app.get("/v1/shares", response_model=list[Share], responses=REFUSALS)
    async def shares() -> Response:
        return answer(await service.people.shares())

    @app.post("/v1/shares", response_model=Share, status_code=201, responses=REFUSALS)
    async def add_share(request: NameRequest) -> Response:
        return answer(await service.people.add_share(request.name), 201)

    @app.delete("/v1/shares/{name}", response_model=ShareRemoved, responses=REFUSALS)
    async def remove_share(name: str) -> Response:
        return answer(await service.people.remove_share(name))

    @app.post("/v1/shares/{name}/rename", response_model=Share, responses=REFUSALS)
    async def rename_share(name: str, request: NameRequest) -> Response:
        return answer(await service.people.rename_share(name, request.name))

    @app.put("/v1/shares/{name}/members/{who}", response_model=Share, responses=REFUSALS)
    async def allow(name: str, who: str, request: AccessRequest) -> Response:
        return answer(await service.people.allow(name, who, request.access))

    @app.delete("/v1/shares/{name}/members/{who}", response_model=Share, responses=REFUSALS)
    async def deny(name: str, who: str) -> Response:
        return answer(await service.people.deny(name, who))
