"""Who may ask the core for what: one table, from each request of the control interface to what its caller must be.

Owns the only decision of that kind. A request that is not in the table is the owner's, and a test fails for it. Root
and the user who runs the core are the owner; whoever is in the table of users has his role; anybody else who can open
the socket has none. Four roles, none of which is simply more than the next:

    owner      everything
    admin      all but keys, and whatever makes, changes or removes an owner
    auditor    how the drive is and what was done, nobody's contents
    employee   his own: what he may read and change by the rules of the mount

What is somebody's own is decided by the verb (`appliance.own_verbs`), for everybody who is no admin.
"""

from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from appliance.control.protocol import ServiceError
from vfs.people import Role


class Acting(NamedTuple):
    """On whose behalf a request is made. `role` None: somebody who is no user of the drive."""

    uid: int
    role: Role | None

    @property
    def is_admin(self) -> bool:
        """Whether he looks after the drive, and so is not kept to what is his own."""
        return self.role in (Role.OWNER, Role.ADMIN)


class Need(Enum):
    """What a request needs; the value completes "This is for …"."""

    NOTHING = "everybody"
    USER = "users of the drive"
    REPORT = "auditors, admins and owners"
    ADMIN = "admins and owners"
    OWNER = "owners"


_ENOUGH = MappingProxyType(
    {
        Need.NOTHING: {None, *Role},
        Need.USER: {*Role},
        Need.REPORT: {Role.AUDITOR, Role.ADMIN, Role.OWNER},
        Need.ADMIN: {Role.ADMIN, Role.OWNER},
        Need.OWNER: {Role.OWNER},
    }
)

NEEDS = MappingProxyType(
    {
        "GET /v1/status": Need.NOTHING,
        "GET /metrics": Need.NOTHING,
        "GET /v1/snapshots": Need.NOTHING,
        "POST /v1/snapshots": Need.ADMIN,
        "DELETE /v1/snapshots/{name}": Need.ADMIN,
        "POST /v1/snapshots/{name}/hold": Need.ADMIN,
        "POST /v1/snapshots/{name}/release": Need.ADMIN,
        "GET /v1/versions": Need.NOTHING,  # of what the caller may read
        "POST /v1/restores": Need.USER,  # of what he may change
        "GET /v1/jobs": Need.USER,
        "GET /v1/jobs/{job_id}": Need.USER,
        "POST /v1/jobs/{job_id}/undo": Need.USER,
        "GET /v1/cache": Need.REPORT,
        "GET /v1/cache/pins": Need.REPORT,
        "POST /v1/cache/drop": Need.ADMIN,
        "POST /v1/cache/pin": Need.ADMIN,
        "POST /v1/cache/unpin": Need.ADMIN,
        "POST /v1/cache/warm": Need.ADMIN,
        "POST /v1/flush": Need.ADMIN,
        "POST /v1/gc": Need.ADMIN,
        "GET /v1/policy": Need.REPORT,
        "PUT /v1/policy": Need.OWNER,
        "POST /v1/policy/cancel": Need.ADMIN,
        "POST /v1/policy/preview": Need.REPORT,
        "GET /v1/tasks/{task_id}": Need.ADMIN,
        "GET /v1/check": Need.REPORT,
        "GET /v1/scrub": Need.ADMIN,
        "GET /v1/scrub/store": Need.ADMIN,
        "GET /v1/keys": Need.OWNER,
        "POST /v1/keys/passphrases": Need.OWNER,
        "POST /v1/keys/wraps/{number}/revoke": Need.OWNER,
        "POST /v1/keys/rotate": Need.OWNER,
        "POST /v1/keys/kit": Need.OWNER,
        "POST /v1/actors": Need.OWNER,  # the doors run as root
        "GET /v1/users": Need.REPORT,
        "POST /v1/users": Need.ADMIN,
        "DELETE /v1/users/{name}": Need.ADMIN,
        "POST /v1/users/{name}/password": Need.USER,  # his own, with the old one
        "POST /v1/users/{name}/role": Need.ADMIN,
        "POST /v1/users/{name}/enable": Need.ADMIN,
        "POST /v1/users/{name}/disable": Need.ADMIN,
        "GET /v1/groups": Need.REPORT,
        "POST /v1/groups": Need.ADMIN,
        "DELETE /v1/groups/{name}": Need.ADMIN,
        "PUT /v1/groups/{name}/members/{user}": Need.ADMIN,
        "DELETE /v1/groups/{name}/members/{user}": Need.ADMIN,
        "GET /v1/shares": Need.REPORT,
        "POST /v1/shares": Need.ADMIN,
        "DELETE /v1/shares/{name}": Need.ADMIN,
        "POST /v1/shares/{name}/rename": Need.ADMIN,
        "PUT /v1/shares/{name}/members/{who}": Need.ADMIN,
        "DELETE /v1/shares/{name}/members/{who}": Need.ADMIN,
    }
)


def require(acting: Acting, request: str) -> None:
    """Raise ServiceError unless the caller may ask that. `request`: method and path of a route."""
    need = NEEDS.get(request, Need.OWNER)
    if acting.role not in _ENOUGH[need]:
        raise ServiceError("no_rights", f"This is for {need.value} only; nothing was changed. Ask an administrator.")
