"""The verbs of people, groups and shares: rows, folders, secrets and files for the system, changed together.

Promises that a change is there when the answer is given: it survives the death of the core, the folders and the files
for the system follow it, and every hook has been told (smbd, which ends the sessions of those who lost a right). A
change that is refused has changed nothing; all checks come before the first row.

Only a core that runs as root takes people in: another one could give nobody his own files.
"""

import grp
import pwd
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import trio

from appliance import extrausers, passwords
from appliance.control import people_protocol as words
from appliance.control.protocol import ServiceError
from appliance.errors import ApplianceError
from appliance.roles import Acting
from cloud_tier.wraps import Argon2Cost
from vfs import errors
from vfs.area_folders import AreaFolders
from vfs.drive import Drive
from vfs.people import Group, Role, SecretKind, User
from vfs.shares import HOMES, Access, Share

_CODES = {errors.NotFound: "not_found", errors.Exists: "exists", errors.InvalidArgument: "usage"}
_NO_OWNER = "Only an owner makes, changes or removes an owner; nothing was changed. Ask one."


class PeopleVerbs:
    """A `PeopleService`. `folder`: where the files for the system go; `mount`: where the drive is."""

    def __init__(
        self,
        drive: Drive,
        folders: AreaFolders,
        folder: Path,
        mount: Path,
        *,
        is_root: bool,
        cost: Argon2Cost | None = None,
    ) -> None:
        self._drive = drive
        self._folders = folders
        self._folder = folder
        self._mount = mount
        self._is_root = is_root
        self._cost = cost
        self._hooks: list[Callable[[], Awaitable[None]]] = []
        self._turn = trio.Lock()

    def on_changed(self, hook: Callable[[], Awaitable[None]]) -> None:
        """Wait for `hook` at the start and after each change, when rows, folders and files are as they shall be."""
        self._hooks.append(hook)

    async def start(self) -> None:
        """Bring folders and files in line with the rows."""
        if self._is_root:
            await self._drive.cuts.gate.wait_open()
            self.settle_folders()
            await self._publish()

    def settle_folders(self) -> None:
        """Bring folders in line with the rows: at the start, and when a restore has put others there."""
        if self._is_root:
            with self._drive.database.operation:
                self._folders.settle()

    def role_of(self, uid: int) -> Role | None:
        """What somebody is. None for whoever is no user, or a disabled one."""
        user = self._drive.people.by_uid(uid)
        return user.role if user is not None and user.is_enabled else None

    def name_of(self, uid: int) -> str | None:
        """The name of a user, if he is one."""
        user = self._drive.people.by_uid(uid)
        return user.name if user is not None else None

    # --- users ---

    async def users(self) -> list[words.User]:
        return [self._shown(user) for user in self._drive.people.users()]

    async def add_user(self, by: Acting, request: words.UserRequest) -> words.User:
        role = Role(request.role)
        _require_power(by, role)
        await _refuse_name_of_the_machine(request.name)
        secrets = await self._secrets(request.password, request.name) if request.password is not None else {}
        async with self._changing():
            self._drive.people.check_new_name(request.name)
            self._folders.refuse_home(request.name)
            user = self._drive.people.add_user(request.name, request.full_name, role)
            self._drive.people.set_secrets(user.uid, secrets)
            self._folders.make_home(user)
        return self._shown(user)

    async def remove_user(self, by: Acting, name: str) -> None:
        """Disabled first: his sessions have ended when his number is given up. What he made stays, under it."""
        await self.enable(by, name, False)
        async with self._changing():
            self._drive.people.remove_user(name)

    async def set_role(self, by: Acting, name: str, role: words.RoleName) -> words.User:
        async with self._changing():
            _require_power(by, self._drive.people.user(name).role, Role(role))
            user = self._drive.people.change_user(name, role=Role(role))
        return self._shown(user)

    async def enable(self, by: Acting, name: str, is_enabled: bool) -> words.User:
        async with self._changing():
            _require_power(by, self._drive.people.user(name).role)
            user = self._drive.people.change_user(name, is_enabled=is_enabled)
        return self._shown(user)

    async def set_password(self, by: Acting, name: str, request: words.PasswordRequest) -> words.User:
        """Whoever is no admin sets his own, and proves that he knows the old one."""
        if not by.is_admin and self.name_of(by.uid) != name:
            raise ServiceError("no_rights", "That is not your password; nothing was changed. Ask an administrator.")
        with _told():
            user = self._drive.people.user(name)
        if by.is_admin:
            _require_power(by, user.role)
        elif not await self.is_password(name, request.old or ""):
            raise ServiceError("no_rights", "The old password is not right; nothing was changed.")
        secrets = await self._secrets(request.password, name)
        async with self._changing():
            user = self._drive.people.user(name)
            self._drive.people.set_secrets(user.uid, secrets)
        return self._shown(user)

    async def is_password(self, name: str, password: str) -> bool:
        """Whether an enabled user has that password. Takes as long for somebody who does not exist."""
        kept = None
        with suppress(errors.NotFound):
            user = self._drive.people.user(name)
            kept = self._drive.people.secret(user.uid, SecretKind.ARGON2ID) if user.is_enabled else None
        if kept is None:
            await trio.to_thread.run_sync(passwords.secrets_of, password, self._cost)
            return False
        return await trio.to_thread.run_sync(passwords.is_right, password, kept)

    # --- groups ---

    async def groups(self) -> list[words.Group]:
        return [self._shown_group(group) for group in self._drive.people.groups()]

    async def add_group(self, name: str) -> words.Group:
        await _refuse_name_of_the_machine(name)
        async with self._changing():
            group = self._drive.people.add_group(name)
        return self._shown_group(group)

    async def remove_group(self, name: str) -> None:
        async with self._changing():
            self._drive.people.remove_group(name)

    async def add_member(self, group: str, user: str) -> words.Group:
        async with self._changing():
            self._drive.people.add_member(group, user)
        return self._shown_group(self._drive.people.group(group))

    async def remove_member(self, group: str, user: str) -> words.Group:
        async with self._changing():
            self._drive.people.remove_member(group, user)
        return self._shown_group(self._drive.people.group(group))

    # --- shares ---

    async def shares(self) -> list[words.Share]:
        return [self._shown_share(share) for share in self._drive.shares.all()]

    async def add_share(self, name: str) -> words.Share:
        async with self._changing():
            self._drive.shares.check_new_name(name)
            self._folders.refuse_taken(name)
            share = self._drive.shares.open(name)
            self._folders.make_share(share)
        return self._shown_share(share)

    async def remove_share(self, name: str) -> words.ShareRemoved:
        async with self._changing():
            is_gone = self._folders.close_share(self._drive.shares.close(name))
        return words.ShareRemoved(name=name, has_left_folder=not is_gone)

    async def rename_share(self, name: str, new: str) -> words.Share:
        async with self._changing():
            self._drive.shares.check_rename(name, new)
            self._folders.refuse_taken(new, besides=name)
            share = self._drive.shares.rename(name, new)
            self._folders.rename_share(name, new)
        return self._shown_share(share)

    async def allow(self, name: str, who: str, access: words.AccessName) -> words.Share:
        async with self._changing():
            self._drive.shares.allow(name, who, Access[access.upper()])
        return self._shown_share(self._drive.shares.get(name))

    async def deny(self, name: str, who: str) -> words.Share:
        async with self._changing():
            self._drive.shares.deny(name, who)
        return self._shown_share(self._drive.shares.get(name))

    # --- how ---

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        """One change: checks and rows in one operation, then all that follows from it."""
        if not self._is_root:
            raise ServiceError(
                "refused",
                "This drive is run by an ordinary user, and is his alone; nothing was changed. Start it as root to"
                " have users and shares.",
            )
        async with self._turn:
            await self._drive.cuts.gate.wait_open()
            try:
                with _told(), self._drive.database.operation:
                    self._drive.files.admit_rows(is_removal=False)
                    yield
            except BaseException:  # what is in memory is what the rows say, also if a change stops in the middle
                self._drive.people.load()
                self._drive.shares.load()
                raise
            await self._publish()

    async def _publish(self) -> None:
        self._drive.cuts.log()
        files = extrausers.render(self._drive.people, self._drive.shares, self._mount)
        await trio.to_thread.run_sync(extrausers.write, self._folder, files)
        for hook in self._hooks:
            await hook()

    async def _secrets(self, password: str, name: str) -> dict[SecretKind, str]:
        with _told():
            passwords.require_fit(password, name)
        return await trio.to_thread.run_sync(passwords.secrets_of, password, self._cost)

    def _shown(self, user: User) -> words.User:
        return words.User(
            name=user.name,
            uid=user.uid,
            full_name=user.full_name,
            role=user.role.value,
            enabled=user.is_enabled,
            has_password=self._drive.people.secret(user.uid, SecretKind.ARGON2ID) is not None,
            groups=[group.name for group in self._drive.people.groups_of(user.uid)],
            home=f"{HOMES}/{user.name}",
        )

    def _shown_group(self, group: Group) -> words.Group:
        members = [user.name for user in self._drive.people.members_of(group.gid)]
        return words.Group(name=group.name, gid=group.gid, members=members)

    def _shown_share(self, share: Share) -> words.Share:
        members = [
            words.ShareMember(
                name=who.name,
                kind="user" if isinstance(who, User) else "group",
                access="write" if access is Access.WRITE else "read",
            )
            for who, access in self._drive.shares.members_of(share)
        ]
        people = len(self._drive.shares.people_of(share))
        return words.Share(name=share.name, gid=share.gid, members=members, people=people)


def _require_power(by: Acting, *roles: Role) -> None:
    if Role.OWNER in roles and by.role is not Role.OWNER:
        raise ServiceError("no_rights", _NO_OWNER)


async def _refuse_name_of_the_machine(name: str) -> None:
    """Raise ServiceError if this machine has a user or group of that name: to all programs it would be that one."""

    def is_taken() -> bool:
        for look in (pwd.getpwnam, grp.getgrnam):
            with suppress(KeyError, ValueError):
                look(name)
                return True
        return False

    if await trio.to_thread.run_sync(is_taken):
        raise ServiceError(
            "exists", f"This machine has a user or group {name} of its own; nothing was changed. Choose another name."
        )


@contextmanager
def _told() -> Iterator[None]:
    """Refusals of the engine and of passwords as refusals of the interface."""
    try:
        yield
    except errors.VfsError as error:
        code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), "refused")
        text = str(error)
        raise ServiceError(code, f"{text[:1].upper()}{text[1:]}; nothing was changed.") from error
    except ApplianceError as error:
        raise ServiceError(error.code, error.message) from error
