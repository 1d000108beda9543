"""The core's end of the control interface: HTTP/1.1 on a Unix socket, as a task of the core's nursery.

Owns the socket (its name, mode 0660 and group) and every connection on it. Promises that a request carries the uid
that the kernel vouches for, and that stopping takes no client's leave: a client that reads nothing cannot keep the
core alive.

Hypercorn's trio worker would bind and accept by itself and never shows the peer's socket. Its per-connection server
is the part we need, so the accept loop is ours: each connection gets that server over the same application, wrapped
so that the ASGI scope holds the peer's uid.
"""

from __future__ import annotations

import contextlib
import grp
import logging
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState

from appliance.audit import Event
from appliance.control.address import reachable_name
from appliance.control.auditing import audited
from appliance.control.handlers import PEER_UID, build_app
from appliance.control.services import DriveService

GROUP = "hybrid-drive"
_BACKLOG = 64
_PEERCRED = struct.Struct("3i")


async def serve_control(
    service: DriveService,
    socket_path: Path,
    *,
    core_uid: int,
    tell: Callable[[Event], None] = lambda event: None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves until cancelled, then takes the socket's name away. Started once the socket accepts connections.

    `tell` hears of each request that changes something, or is refused.

    A socket left by a dead core is replaced: who calls this holds the core's lock. Raises OSError when it cannot bind.
    """
    app: Any = await trio.to_thread.run_sync(build_app, service, core_uid)  # its schemas take a tenth of a second
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("appliance.control")
    config.include_server_header = False
    config.keep_alive_timeout = 60.0
    context = WorkerContext(None)
    open_streams: set[trio.SocketStream] = set()

    async def serve_one(stream: trio.SocketStream) -> None:
        open_streams.add(stream)
        try:
            watched = audited(app, lambda scope: int(scope[PEER_UID]), tell)
            wrapper = ASGIWrapper(_with_peer(watched, _peer_uid(stream)))
            await TCPServer(wrapper, config, context, ConnectionState({}), stream)  # type: ignore[arg-type]
        finally:
            open_streams.discard(stream)

    listener = trio.SocketListener(trio.socket.from_stdlib_socket(_listen(socket_path)))
    async with trio.open_nursery() as connections:
        try:
            task_status.started()
            await trio.serve_listeners(serve_one, [listener], handler_nursery=connections)
        finally:
            _forget(socket_path)
            for stream in open_streams:
                # The server shields its sends from cancellation; this ends one that nobody reads.
                with contextlib.suppress(OSError):
                    stream.socket.shutdown(socket.SHUT_RDWR)


def _forget(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def _listen(path: Path) -> socket.socket:
    _forget(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # The mode is set before the name exists, so that there is no moment with wider rights (umask only narrows it).
        os.fchmod(listener.fileno(), 0o660)
        with reachable_name(path) as name:
            listener.bind(name)
        with contextlib.suppress(KeyError, PermissionError):
            os.chown(path, -1, grp.getgrnam(GROUP).gr_gid)
        path.chmod(0o660)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _peer_uid(stream: trio.SocketStream) -> int:
    raw = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size)
    _pid, uid, _gid = _PEERCRED.unpack(raw)
    return int(uid)


def _with_peer(app: Any, uid: int) -> ASGIFramework:
    async def vouched(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, PEER_UID: uid}, receive, send)

    return vouched
