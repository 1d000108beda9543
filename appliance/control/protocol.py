"""The words of the control interface: its messages and its errors. `services` says what can be asked.

Owns the shape of everything that crosses the control socket (wire format: JSON, keys as the attributes below,
instants in ISO 8601 UTC). A message is frozen: what the core said stays what it said. Answers ignore keys they do not
know, so that an older command line can ask a newer core; requests refuse them, so that a typing error is not silently
a default.

A path is a `str` relative to the drive's root, decoded from bytes by `os.fsdecode`: a name that is not UTF-8 carries
lone surrogates. They travel as JSON escapes (`\\udc80`), which is why bodies are written and read by `json`, not by
pydantic.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, PlainSerializer, PlainValidator, WithJsonSchema

from appliance.control.messages import Answer, Request
from appliance.control.upkeep_protocol import Schedule, UpkeepStatus
from appliance.exit_codes import PROBLEM_CODES


def _as_path(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("a path is text without NUL")
    return value


DrivePath = Annotated[
    str,
    PlainValidator(_as_path),
    PlainSerializer(lambda value: value, return_type=Any),
    WithJsonSchema(
        {"type": "string", "description": "Relative to the drive's root; bytes beyond UTF-8 as \\udc80..\\udcff."}
    ),
]

TaskKind = Literal["flush", "warm"]
EntryKind = Literal["file", "folder", "symlink", "special"]
JobState = Literal["building", "done", "failed", "undone"]
MOST_DIFFERENCES = 1000
"""A plan or a refusal names at most this many differences; its counts are complete."""


_Answer = Answer
_Request = Request


class Snapshot(_Answer):
    """A named epoch. `name` is also its folder's name under `.snapshots`."""

    name: str
    created: AwareDatetime
    epoch: int
    held: bool
    label: str | None = None
    warning: str | None = None
    """Of one just made: what it may lack, as a sentence."""


class SnapshotRequest(_Request):
    """Makes a snapshot of now; `label` is appended to the name."""

    label: str | None = None


class Version(_Answer):
    """One distinct content of a file in time. `snapshot` is the newest one that shows it; None = the live file."""

    snapshot: str | None
    size_bytes: int
    modified: AwareDatetime
    actor: str
    is_live: bool


class Difference(_Answer):
    """One thing that a restore would do to the live tree."""

    path: DrivePath
    change: Literal["added", "removed", "changed"]
    kind: EntryKind


class RestoreRequest(_Request):
    """Brings `path` (empty = the whole drive) back as it was `at` (a WHEN), in its place or as `to`."""

    path: DrivePath
    at: str
    to: DrivePath | None = None
    dry_run: bool = False


class RestorePlan(_Answer):
    """What a restore would do. The counts are complete, `differences` holds at most `MOST_DIFFERENCES`."""

    snapshot: str
    differences: list[Difference]
    added: int
    removed: int
    changed: int


class Job(_Answer):
    """Long work in steps. `done` and `total` count inodes; `at` is the snapshot's name; `undo_snapshot` leads back."""

    id: int
    kind: Literal["restore", "undo"]
    state: JobState
    path: DrivePath
    at: str
    to: DrivePath | None = None
    done: int
    total: int
    undo_snapshot: str | None = None
    created: AwareDatetime
    finished: AwareDatetime | None = None
    error: str | None = None


class UndoRequest(_Request):
    """Takes a restore back; `force` also when the tree changed since, which loses those changes from the live tree."""

    force: bool = False


class Task(_Answer):
    """Long work that the core remembers until it ends itself. Bytes are those of files.

    A running one may have a `trouble`: why it does not get on at present; it goes on by itself. `warning` says what a
    task that is done may lack, `error` why one has failed.
    """

    id: int
    kind: TaskKind
    state: Literal["running", "done", "failed"]
    path: DrivePath | None = None
    done_bytes: int
    total_bytes: int
    trouble: str | None = None
    warning: str | None = None
    error: Problem | None = None
    created: AwareDatetime
    finished: AwareDatetime | None = None


class PathRequest(_Request):
    """Names a file, or a folder with all in it; empty is the whole drive."""

    path: DrivePath


class DropRequest(_Request):
    """Gives up local copies of what the store has, at or below `path`; of everything, past states too, without one."""

    path: DrivePath | None = None


class Dropped(_Answer):
    """Bytes on the disk that went, and that stay because they were not sent yet, or are pinned."""

    path: DrivePath | None = None
    dropped_bytes: int
    unsent_bytes: int
    pinned_bytes: int


class Pinned(_Answer):
    """What was pinned: bytes of its files, how many of them are not here yet (`warm` brings them), and how many of all
    pinned ones do not fit into the half of the budget that pins may take, and may go as before.
    """

    path: DrivePath
    size_bytes: int
    missing_bytes: int
    beyond_bytes: int


class Pins(_Answer):
    """All pinned paths, what the disk holds of them, and what does not fit into the share of pins."""

    paths: list[DrivePath]
    held_bytes: int
    beyond_bytes: int


class CacheStats(_Answer):
    """The local bytes. `held_bytes` counts blocks, `allocated_bytes` what the disk gives for them (st_blocks).

    What is held is either *precious* (nowhere else yet), *evictable* or *pinned*; `unsent_bytes` of files wait to be
    sent. Since the start, `fetched_bytes` came from the store, and `misses` of so many `reads` had to wait for it;
    `damaged_pages` of 4 KiB were found to hold other bytes than were written. `blocks_sealed` counts those that are
    not held, too.
    """

    budget_bytes: int
    held_bytes: int
    allocated_bytes: int
    precious_bytes: int
    evictable_bytes: int = 0
    pinned_bytes: int = 0
    unsent_bytes: int = 0
    fetched_bytes: int = 0
    reads: int = 0
    misses: int = 0
    free_queue_bytes: int
    segments: int
    blocks_open: int
    blocks_sealed: int
    damaged_pages: int


class StoreStatus(_Answer):
    """Where the drive's bytes go, and what became of the last request. `reason` is a sentence; of a store that is
    reachable, a warning.

    "unknown": nobody has asked it since the start. "refused": it answers, but is not this drive's, or shows another
    past; it is not used.
    """

    url: str
    state: Literal["unknown", "reachable", "unreachable", "refused"]
    reason: str | None = None


class CloudStatus(_Answer):
    """How far the store has what is saved here, and all of it as one clause, `verdict`.

    "complete": no byte waits; "sending": some do, and go; "stuck": some do, and the last attempt failed. Bytes are
    those of files; `sent_bytes` (since the start), `uploading_bytes` and the rate (over the last 10 s) are those of
    packs. `open_bytes` were saved seconds ago and have no name yet, `unsent_bytes` have one and are in no pack of the
    store. `estimate_s` is None while nothing moves. `trouble` is why the last request failed, a sentence, and
    `trouble_since` when the first one did without a good one after it. `damaged_blocks` cannot be sent: their bytes
    here are not what was written. `names_behind_s`: how old the oldest change of names or attributes is that the store
    does not have.
    """

    state: Literal["complete", "sending", "stuck"]
    verdict: str
    open_bytes: int
    unsent_bytes: int
    unsent_blocks: int
    uploading_bytes: int
    rate_bytes_per_s: float
    estimate_s: float | None = None
    trouble: str | None = None
    trouble_since: AwareDatetime | None = None
    sent_bytes: int
    damaged_blocks: int = 0
    names_behind_s: float = 0.0


DoorName = Literal["smb"]
DoorState = Literal["serving", "starting", "down", "off"]


class DoorStatus(_Answer):
    """A process by which others than the machine's own programs reach the drive. `restarts`: since `serve` began.

    `reason` is a sentence: why it is down, or off though it is wanted.
    """

    name: DoorName
    state: DoorState
    since: AwareDatetime
    restarts: int = 0
    reason: str | None = None


class SessionRequest(_Request):
    """A process of a door, `pid`, serves the user `uid` at the machine `device`, until it ends."""

    pid: Annotated[int, Field(gt=1)]
    kind: Literal["smb"]
    uid: Annotated[int, Field(ge=0, lt=2**32)]
    device: Annotated[str, Field(max_length=255)] = ""


class Status(_Answer):
    """One honest look at the core.

    `reason` says why it is not plainly serving; `slow_turns` counts turns of its loop over 20 ms.
    """

    state: Literal["serving", "read_only", "starting"]
    reason: str | None = None
    version: str
    mount: str
    started: AwareDatetime
    epoch: int
    snapshots: int
    files: int
    last_cut: AwareDatetime | None = None
    uncommitted_rows: int
    slow_turns: int
    cache: CacheStats
    jobs_running: int
    size_bytes: int
    free_bytes: int
    store: StoreStatus | None = None
    cloud: CloudStatus | None = None
    doors: list[DoorStatus] = Field(default_factory=list)
    upkeep: UpkeepStatus | None = None
    schedules: list[Schedule] = Field(default_factory=list)


class Finding(_Answer):
    """An invariant that does not hold; `repaired` when the check put it right."""

    invariant: str
    message: str
    path: DrivePath | None = None
    repaired: bool = False


class CheckReport(_Answer):
    """What a check found, and how many of each thing it looked at."""

    findings: list[Finding]
    checked: dict[str, int]


class Advice(_Answer):
    """One line of `doctor`: what is wrong, what that means, what to do."""

    severity: Literal["broken", "warning", "note"]
    title: str
    what: str
    do: str


KeyKind = Literal["passphrase", "kit", "key file"]


class KeyWrap(_Answer):
    """One way to open the drive."""

    number: int
    kind: KeyKind
    name: str
    made: AwareDatetime


class KeyState(_Answer):
    """Who can open the drive. No secrets. `ring` and `generation` count changes and rotations from 1."""

    drive: str
    ring: int
    generation: int
    wraps: list[KeyWrap]
    revoked: int


class PassphraseRequest(_Request):
    """Lets a passphrase open the drive, too. It is never logged and never answered."""

    passphrase: Annotated[str, Field(max_length=1024)]
    name: Annotated[str, Field(min_length=1, max_length=100)]


class KitPage(_Answer):
    """A recovery kit just made: the number of its wrap, and the page, which nobody can ask for again."""

    number: int
    text: str


class Problem(_Answer):
    """Why a request was not done. `code` is a word of `exit_codes`; `message` is for a person, complete in itself."""

    code: str
    message: str
    details: dict[str, Any] = Field(default_factory=dict)


class ServiceError(Exception):
    """Raised by a `DriveService`: a foreseen refusal. The server turns it into a `Problem`.

    `code` is one of `exit_codes.PROBLEM_CODES`; `message` a full sentence: what happened, what still works, what to do;
    `details` must be JSON values (a `changed_since` carries "differences").
    """

    def __init__(self, code: str, message: str, details: dict[str, Any] | None = None) -> None:
        assert code in PROBLEM_CODES, code
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details or {}


class ControlProblem(Exception):
    """Raised by the client: the core, or the way to it, refused. `str()` is the problem's message."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem
