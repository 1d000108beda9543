"""The core process: start and stop order of everything that serves the mount.

    start   (locked, keys opened) recover the state · look for the store · put the mount in the place of a dead one ·
            background work · companion · control socket · ready
    stop    (SIGTERM, SIGINT, or somebody unmounted) control socket · unmount while still serving · last cut · unlock

A failed sync or a rolled-back transaction ends the core at once: the mount is taken away, what was acknowledged is in
the intent log, and the next start goes on from there (T3).
"""

import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import trio

from appliance.assemble import open_drive
from appliance.audit import Audit
from appliance.config import Config
from appliance.errors import NoFuse
from appliance.exit_codes import ExitCode
from appliance.keys import Keys
from appliance.leasing import Leasing
from appliance.leftovers import clear_away
from appliance.memory import give_back_freed_memory, keep_freed_memory
from appliance.mounts import allow_many_requests, clean_stale, set_read_ahead
from appliance.places import StatePlaces
from appliance.service import CoreService
from appliance.smb.namespace import end_inhabitants
from appliance.smb.teller import SmbTeller
from appliance.store_link import StoreLink, store_url
from cachefs.errors import RowsDamaged, StorageBroken
from cachefs.tier import Cloud
from cloud_tier.clock import SystemClock
from vfs.fuse.mount import Mount, mounted

log = logging.getLogger(__name__)

READ_AHEAD_KIB = 1024
SWITCH_INTERVAL_S = 0.0005
STOPPING = (signal.SIGTERM, signal.SIGINT)


def run_core(state: Path, mount: Path, config: Config, keys: Keys) -> int:
    """Serve the drive until told to stop. Returns the exit code. Raises ApplianceError."""
    for number in STOPPING:
        # What comes after trio has stopped listening must not end the process before its last cut.
        signal.signal(number, lambda *_: None)
    return trio.run(_core, StatePlaces(state), mount, config, keys)


async def _core(places: StatePlaces, path: Path, config: Config, keys: Keys) -> int:
    check_fuse()
    with trio.open_signal_receiver(*STOPPING) as signals:
        leasing = Leasing(places, keys, SystemClock())
        link = StoreLink.to(store_url(places, config), config, SystemClock(), keys, leasing)
        cloud = Cloud(
            link.store,
            lambda: keys.held,
            leasing.fence,
            link.followed,
            link.prompt,
            right=lambda: leasing.right(link.store),
            is_fenced=leasing.is_fenced,
            margins=config.store.margins,
        )
        keep_freed_memory()
        drive = await open_drive(places.state, config, keys.names, cloud)
        favour_loop()
        if drive.mirror is not None:
            drive.mirror.checkpointing.made = give_back_freed_memory
        try:
            await link.look()
            await trio.to_thread.run_sync(uncover, path)
            async with mounted(drive, path, is_polling=config.mount.polling) as mount:
                return await _serve(mount, link, places, config, signals)
        except RuntimeError as error:
            raise NoFuse(f"the kernel refused the mount ({error})") from error
        finally:
            clear_away(places)
            places.doors.unlink(missing_ok=True)  # a killed `serve` could not; a living one writes it anew
            await drive.close()
            await link.aclose()


def uncover(path: Path) -> None:
    """Take away what a dead core left at the mount point, right before the drive is mounted there again.

    What somebody has put under it since stays there, out of sight: the drive comes back, and the log says so. Raises
    MountPointUnusable.
    """
    if clean_stale(path) and any(path.iterdir()):
        log.error("while no drive was mounted, files were put into %s: stop the drive, and they are there", path)


def check_fuse() -> None:
    """Raise NoFuse, in words, if this machine cannot mount."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError as error:
        raise NoFuse("there is no /dev/fuse on this machine") from error
    except OSError as error:
        raise NoFuse(f"/dev/fuse cannot be opened ({error.strerror})") from error


def favour_loop() -> None:
    """Let threads give the interpreter back quickly, and the garbage collector look rarely.

    The core's objects are caches of hundreds of thousands of small objects without cycles; a full collection holds the
    loop for a quarter of a second.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 500)


async def _serve(
    mount: Mount, link: StoreLink, places: StatePlaces, config: Config, signals: AsyncIterator[int]
) -> int:
    code = 0

    def only_read(reason: str) -> None:
        mount.operations.read_only_reason = reason

    link.leasing.tell(only_read)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_unmounted, mount, nursery.cancel_scope)
            nursery.start_soon(_stop_on_signal, mount, places, signals)
            nursery.start_soon(mount.drive.run)
            nursery.start_soon(link.run)
            await nursery.start(mount.flusher.run)
            set_read_ahead(mount.path, READ_AHEAD_KIB)
            allow_many_requests(mount.path)
            service = CoreService(mount, link, config)
            if config.smb.enabled and os.geteuid() == 0:
                service.people.on_changed(SmbTeller(mount, places, config.smb, link.keys.held.drive_id).tell)
            await nursery.start(service.run)
            audit = Audit(places.audit_log, mount.drive.clock, service.people.name_of)
            serve_control = await trio.to_thread.run_sync(_control)
            control = partial(serve_control, service, places.control_socket, core_uid=os.geteuid(), tell=audit.write)
            await nursery.start(control)
            log.info("mounted at %s", mount.path)
    except* RowsDamaged as group:
        log.error(
            "the database is damaged (%s): the core ends and stays down, nothing wrong was served. What was saved is"
            " in the state directory; see with `hybrid-drive fsck` and `hybrid-drive scrub` how far it goes, copy the"
            " state directory before anything else, and have the disk looked at.",
            group.exceptions[0],
        )
        code = int(ExitCode.DAMAGED)
    except* StorageBroken as group:
        for error in group.exceptions:
            log.error("the core ends, to start again from what is safe: %s", error)
        code = code or 1
    return code


def _control() -> Callable[..., Awaitable[None]]:
    """The control interface, once people have their files: to import it takes a third of a second."""
    from appliance.control.server import serve_control

    return serve_control


async def _until_unmounted(mount: Mount, scope: trio.CancelScope) -> None:
    await mount.run()
    log.info("unmounted")
    scope.cancel()


async def _stop_on_signal(mount: Mount, places: StatePlaces, signals: AsyncIterator[int]) -> None:
    async for _ in signals:
        log.info("stopping")
        # smbd has a mount table of its own, in which the drive would stay mounted. `serve` has ended it by now; when
        # only the core is told to stop, nobody has.
        await trio.to_thread.run_sync(end_inhabitants, places.extra_users)
        await mount.unmount()
