"""What can keep the appliance from starting or doing its work, each as one full sentence.

    ApplianceError
    ├── ConfigInvalid          usage            config.toml has a key or a value that is not allowed
    ├── StateMissing           not_found        there is no drive in the state directory
    ├── AlreadyRunning         already_running  a core holds this state directory; retry when it has stopped
    ├── OtherVersion           other_version    the state was written by another version
    ├── Damaged                damaged          the drive's own data are not sound
    ├── NoFuse                 no_fuse          the kernel side of the mount cannot be used
    ├── NoRights               no_rights        the caller may not do that
    ├── DiskFull               disk_full        retry when there is space
    ├── DiskRefused            unexpected       the disk refused an I/O; retry, it may heal
    ├── Locked                 locked           nothing at hand opens the drive
    ├── PassphraseRefused      usage            a passphrase cannot be had, or is too weak
    ├── SpanRefused            usage            a span of time is none
    ├── CloudRefused           by its cause     what `cloud_tier` refused (`appliance.cloud_errors` has the table)
    └── MountPointUnusable     refused          something is in the way at the mount point

`code` is a word of `exit_codes`. The text says what happened, what still works or was left alone, and what to do.
Raised below, translated once: to an exit code by the command line. None is worth an automatic retry except where the
table says so.
"""

from pathlib import Path


class ApplianceError(Exception):
    """A foreseen reason why the work cannot be done. `str()` is the sentence for a person."""

    code: str = "unexpected"

    @property
    def message(self) -> str:
        return str(self)


class ConfigInvalid(ApplianceError):
    """The configuration names an unknown key or a value that is not allowed."""

    code = "usage"


class StateMissing(ApplianceError):
    """There is no drive where one was expected."""

    code = "not_found"

    def __init__(self, state: Path) -> None:
        super().__init__(
            f"There is no drive in {state}; make one with `hybrid-drive init --state {state}`, "
            "or name its place with --state."
        )
        self.state = state


class AlreadyRunning(ApplianceError):
    """Another core holds the lock of this state directory."""

    code = "already_running"

    def __init__(self, state: Path, pid: int | None = None) -> None:
        who = f" (process {pid})" if pid else ""
        super().__init__(f"The drive in {state} is running already{who}; it was left alone. Stop that one first.")
        self.state = state
        self.pid = pid


class OtherVersion(ApplianceError):
    """The state's format is one that this program does not know."""

    code = "other_version"

    def __init__(self, state: Path, found: int | str, supported: int | str) -> None:
        super().__init__(
            f"The drive in {state} has format {found}, and this program knows format {supported}; "
            "nothing was changed. Use the version of Hybrid Drive that wrote it, or a newer one."
        )
        self.found = found
        self.supported = supported


class Damaged(ApplianceError):
    """The drive's own data are not sound. `what` is one clause: which part, and how that was noticed."""

    code = "damaged"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The drive is damaged: {what}. It was not changed; run `hybrid-drive fsck` to see how far it goes."
        )
        self.what = what


class NoFuse(ApplianceError):
    """The kernel's FUSE cannot be used. `reason` is one clause."""

    code = "no_fuse"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The drive cannot be mounted: {reason}. Load the kernel's `fuse` module, install the package fuse3, "
            "and make sure this user may open /dev/fuse; `hybrid-drive doctor` tells which of them is missing."
        )
        self.reason = reason


class NoRights(ApplianceError):
    """The caller may not do that. `what` completes "This user may not …"."""

    code = "no_rights"

    def __init__(self, what: str) -> None:
        super().__init__(f"This user may not {what}; run the command as root or as the user who runs the drive.")
        self.what = what


class DiskFull(ApplianceError):
    """The disk that holds the state has less free space than the drive needs to work safely."""

    code = "disk_full"

    def __init__(self, where: Path, free_bytes: int, needed_bytes: int) -> None:
        super().__init__(
            f"The disk under {where} has {free_bytes // 2**20} MiB free and the drive needs "
            f"{needed_bytes // 2**20} MiB; nothing was lost. Make space on that disk and start again."
        )
        self.free_bytes = free_bytes
        self.needed_bytes = needed_bytes


class DiskRefused(ApplianceError):
    """The disk under the state refused an I/O. `what` is one clause."""

    def __init__(self, state: Path, what: str) -> None:
        super().__init__(
            f"The disk under {state} refused to read or write: {what}. What was acknowledged is still in the state "
            "directory; look at the machine's disk (`dmesg`, `smartctl`) and start again."
        )
        self.what = what


class Locked(ApplianceError):
    """Nothing at hand opens the drive."""

    code = "locked"


class PassphraseRefused(ApplianceError):
    """A passphrase cannot be had, or is too weak."""

    code = "usage"


class SpanRefused(ApplianceError):
    """A span of time is none."""

    code = "usage"


class CloudRefused(ApplianceError):
    """What `cloud_tier` refused, with the word for it."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class MountPointUnusable(ApplianceError):
    """Something is in the way at the mount point. `reason` is one clause."""

    code = "refused"

    def __init__(self, mount: Path, reason: str) -> None:
        super().__init__(
            f"The drive cannot be mounted at {mount}: {reason}. "
            "Choose an empty directory with --mount, or clear that one."
        )
        self.mount = mount
        self.reason = reason
