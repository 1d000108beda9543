"""The bytes of live files: extents over blocks.

A write goes where it must:
    in place          the bytes belong to a block that nobody else can see (I2)
    onto a block      the bytes follow the end of such a block, and its place has room
    to a new block    otherwise; the extents are split at the edges, nothing is read. A file that gets several of these
                      here and there gathers them: they share a block, whose rows are then fewer than the writes
So a partial overwrite of any file fetches nothing, and a state that is kept never changes.

Bytes are written first, extents and sizes after, without an await in between. A write that goes to a thread stands
inside the gate and holds the inode's lock; truncation takes the same lock, so nobody re-points what is being written.
"""

import errno
from typing import TYPE_CHECKING, NamedTuple

import trio

from cachefs.blocks import MAX_BLOCK_BYTES, Block
from cachefs.cache import Cache
from cachefs.errors import BytesDamaged, NotHere, StorageFull, UnknownBlock
from cachefs.places import INLINE_BYTES
from cachefs.readahead import ReadAhead
from vfs.contents import Contents
from vfs.epochs import Epochs
from vfs.errors import Damaged, DataLost, FileTooLarge, InvalidArgument, Moved, NoSpace, OutOfReach, VfsError
from vfs.extents import WINDOW_BYTES, Piece
from vfs.inodes import Inode, Inodes
from vfs.resting import Resting

if TYPE_CHECKING:
    from vfs.cloud_epochs import CloudEpochs

MAX_FILE_BYTES = 1 << 50  # 1 PiB; holes cost nothing
STREAMED_BYTES = 32 << 10  # the kernel asks for no less when somebody reads on; less is no stream
GROWING_BYTES = 64 << 10  # a file that is appended to gets room for at least so much more
GATHERED_BYTES = 32 << 10  # all are held until the last is replaced, so few


class Step(NamedTuple):
    """Bytes that go to one block: data[low:high] at `offset` of it.

    `maps`: where in the file the extent must point there.
    """

    block: Block
    offset: int
    low: int
    high: int
    maps: bool


class Files:
    """Reading, writing and truncating live files."""

    def __init__(
        self, cache: Cache, contents: Contents, inodes: Inodes, epochs: Epochs, resting: Resting | None = None
    ) -> None:
        """`resting` hears of each write, for what seals files that have come to rest."""
        self.cloud_epochs: CloudEpochs | None = None
        """Asked before a file is changed that the store may have."""
        self._cache = cache
        self._contents = contents
        self._inodes = inodes
        self._epochs = epochs
        self._resting = resting
        self._ahead = ReadAhead()

    # --- reading ---

    async def read(self, inode: Inode, offset: int, length: int) -> bytes | bytearray:
        """Up to `length` bytes from `offset`; fewer at the end of the file. Raises DataLost."""
        end = min(offset + length, inode.size)
        if offset >= end or inode.content is None:
            return bytes(max(0, end - offset))
        try:
            return await self._read_now(inode, offset, end)
        except Moved:  # what was to be fetched died meanwhile, because it was written anew
            return await self._read_now(inode, offset, end)

    async def _read_now(self, inode: Inode, offset: int, end: int) -> bytes | bytearray:
        pieces = self._contents.pieces(inode.content, offset, end) if inode.content is not None else []
        if inode.content is not None and end - offset >= STREAMED_BYTES and self._cache.fetching is not None:
            self._look_ahead(inode.content, offset, end, inode.size)
        return await self.read_pieces(pieces, offset, end)

    def _look_ahead(self, content: int, offset: int, end: int, size: int) -> None:
        """Let what a reader will soon want be fetched, if it is not here."""
        window = self._ahead.next(content, offset, end, size)
        if window is not None:
            low, high = max(0, window[0]), min(window[1], size)
            blocks = (self._cache.blocks.get(piece.block) for piece in self._contents.pieces(content, low, high))
            self._cache.bring(blocks)

    async def read_pieces(self, pieces: list[Piece], offset: int, end: int) -> bytes | bytearray:
        """The bytes [offset, end) that `pieces` cover; holes are zeros. Raises DataLost."""
        lease = self._cache.segments.free_queue.lease()
        try:
            # All blocks are found before the first await: afterwards their rows may go, but not their bytes (T4).
            blocks = [self._cache.blocks.get(piece.block) for piece in pieces]
            if len(blocks) > 1:
                self._cache.bring(blocks)
            if len(pieces) == 1 and pieces[0].start == offset and pieces[0].length == end - offset:
                return await self._read_piece(blocks[0], pieces[0])
            result = bytearray(end - offset)
            for block, piece in zip(blocks, pieces, strict=True):
                data = await self._read_piece(block, piece)
                result[piece.start - offset : piece.start - offset + piece.length] = data
            return result
        except BytesDamaged as error:
            raise damaged(error, pieces) from error
        except UnknownBlock as error:
            raise Moved(str(error)) from error
        except NotHere as error:
            raise OutOfReach(str(error)) from error
        finally:
            self._cache.segments.free_queue.release(lease)

    async def _read_piece(self, block: Block, piece: Piece) -> bytes | bytearray:
        if block.block_id is not None and self._cache.evicting is not None:
            self._cache.reads += 1
            self._cache.evicting.touched(block.number)
        data = self._cache.read_nowait(block, piece.offset, piece.length)
        return data if data is not None else await self._cache.read(block, piece.offset, piece.length)

    # --- writing ---

    async def write(self, inode: Inode, offset: int, data: bytes, actor_id: int) -> int:
        """Store all of `data` at `offset`. Raises NoSpace and FileTooLarge before anything changed.

        If the disk refuses in the middle (NoSpace, DataLost), the file holds what was written until then.
        """
        if not data:
            return 0
        if offset + len(data) > MAX_FILE_BYTES:
            raise FileTooLarge(f"a file holds at most {MAX_FILE_BYTES} bytes")
        if self._cache.evicting is not None:
            await self._cache.before_write(len(data))
        self.admit(len(data))
        self._cache.budget.coming_bytes += len(data)
        try:
            await self._write(inode, offset, data, actor_id)
        finally:
            self._cache.budget.coming_bytes -= len(data)
        return len(data)

    async def _write(self, inode: Inode, offset: int, data: bytes, actor_id: int) -> None:
        if self.cloud_epochs is not None and self.cloud_epochs.must_look(inode):
            await self.cloud_epochs.before_content(inode)
        gate = self._cache.cuts.gate
        if gate.is_closed:
            await gate.wait_open()
        if len(data) > INLINE_BYTES or is_locked(inode):
            with gate.inside():
                async with lock_of(inode):
                    await self._write_steps(inode, offset, data, actor_id)
        else:
            self._write_steps_nowait(inode, offset, data, actor_id)
        if self._resting is not None and inode.content is not None:
            self._resting.written(inode.content, trio.current_time())

    def _write_steps_nowait(self, inode: Inode, offset: int, data: bytes, actor_id: int) -> None:
        done, size = 0, len(data)
        while done < size:
            step = self._next_step(inode, offset + done, done, size)
            try:
                whole = step.high - done == size
                self._cache.write_nowait(step.block, step.offset, data if whole else data[done : step.high])
            except OSError as error:
                raise self._refused(step, error) from error
            self._apply(inode, offset, step, actor_id)
            done = step.high

    async def _write_steps(self, inode: Inode, offset: int, data: bytes, actor_id: int) -> None:
        view = memoryview(data)
        done = 0
        while done < len(data):
            step = self._next_step(inode, offset + done, done, len(data))
            try:
                await self._cache.write(step.block, step.offset, view[done : step.high])
            except OSError as error:
                raise self._refused(step, error) from error
            self._apply(inode, offset, step, actor_id)
            done = step.high

    def _refused(self, step: Step, error: OSError) -> VfsError:
        """The disk would not take the bytes: a block made for them goes; the file is as it was before the step."""
        if step.block.length == 0:
            self._cache.blocks.drop(step.block.number)
        if error.errno == errno.ENOSPC:
            return NoSpace("the drive's local disk is full")
        return DataLost(f"the drive's local disk refused to write: {error.strerror}")

    def _next_step(self, inode: Inode, position: int, low: int, length: int) -> Step:
        """Where data[low:length], which belongs at `position`, goes. Write and apply it, then ask for the next."""
        if inode.content is None:
            inode.content = self._contents.create()
        kept = self._epochs.newest_frozen
        line = (position // WINDOW_BYTES + 1) * WINDOW_BYTES
        high = low + min(length - low, line - position, MAX_BLOCK_BYTES)
        window = self._contents.window(inode.content, position)
        pieces = window.pieces(position, position + high - low)
        for piece in pieces:
            block = self._cache.blocks.get(piece.block)
            if not block.is_writable(kept):
                continue
            if piece.start == position:
                return Step(block, piece.offset, low, low + piece.length, maps=False)
            high = low + piece.start - position  # up to what can be written in place
            break
        before = window.ending_at(position)
        if before is not None:
            block = self._cache.blocks.get(before.block)
            room = block.capacity - block.length
            if room and before.offset + before.length == block.length and block.is_writable(kept):
                return Step(block, block.length, low, min(high, low + room), maps=True)
        wanted = 0
        if 0 < inode.size <= position or high - low >= GROWING_BYTES:
            wanted = min(MAX_BLOCK_BYTES, max(GROWING_BYTES, 2 * inode.size))
        elif pieces:
            gathering = self._cache.blocks.loaded(inode.gathering)
            if gathering is not None and gathering.is_writable(kept):
                room = gathering.capacity - gathering.length
                if room:
                    return Step(gathering, gathering.length, low, min(high, low + room), maps=True)
                wanted = GATHERED_BYTES
        block = self._cache.blocks.create(max(high - low, wanted), self._epochs.current)
        if pieces:
            inode.gathering = block.number
        return Step(block, 0, low, high, maps=True)

    def _apply(self, inode: Inode, start: int, step: Step, actor_id: int) -> None:
        assert inode.content is not None
        block, size, low = step.block, step.high - step.low, start + step.low
        if step.maps:
            block.length = max(block.length, step.offset + size)
            self._cache.blocks.touch(block)
            inode.mapped += self._contents.replace(inode.content, low, low + size, block.number, step.offset)
        # The inode agrees with its extents after each step: rows may be written out before the next, which may fail.
        inode.size = max(inode.size, low + size)
        self._inodes.changed(inode, actor_id, contents=True)
        if step.maps:
            self._cache.cuts.bound_pending()

    def admit(self, size_bytes: int) -> None:
        """Raise NoSpace unless so many bytes fit."""
        try:
            self._cache.budget.admit(size_bytes)
        except StorageFull as error:
            raise NoSpace(str(error)) from error

    def admit_rows(self, *, is_removal: bool) -> None:
        """Raise NoSpace unless the rows of one operation fit. What makes room is let in longest."""
        try:
            self._cache.budget.admit_rows(is_removal=is_removal)
        except StorageFull as error:
            raise NoSpace(str(error)) from error

    # --- size ---

    async def truncate(self, inode: Inode, size: int, actor_id: int) -> None:
        """Set the size; what lies beyond is forgotten, what is new is a hole. Costs nothing per byte.

        A file of very many extents gets shorter in steps, so that nobody else waits for all of them: until the last,
        and after a crash, it may have a size in between.
        """
        if size < 0:
            raise InvalidArgument("a size below zero")
        if size > MAX_FILE_BYTES:
            raise FileTooLarge(f"a file holds at most {MAX_FILE_BYTES} bytes")
        if self.cloud_epochs is not None and self.cloud_epochs.must_look(inode):
            await self.cloud_epochs.before_content(inode)
        while 0 < size < inode.size and inode.content is not None:
            step = self._contents.step_down(inode.content, size)
            if step == size:
                break
            await self._truncate_to(inode, step, actor_id)
            self._cache.cuts.bound_pending()
            await trio.lowlevel.checkpoint()
        await self._truncate_to(inode, size, actor_id)

    async def _truncate_to(self, inode: Inode, size: int, actor_id: int) -> None:
        gate = self._cache.cuts.gate
        if gate.is_closed:
            await gate.wait_open()
        if is_locked(inode):
            with gate.inside():
                async with lock_of(inode):
                    self.truncate_now(inode, size)
        else:
            self.truncate_now(inode, size)
        self._inodes.changed(inode, actor_id, contents=True)

    def truncate_now(self, inode: Inode, size: int) -> None:
        """`truncate` where nobody writes: no waiting, no times."""
        if size == 0 and inode.content is not None:
            self._contents.give_up(inode.content)
            inode.content, inode.mapped, inode.gathering = None, 0, 0  # a block belongs to one content (I2)
        elif size < inode.size and inode.content is not None:
            inode.mapped -= self._contents.cut_off(inode.content, size)
        inode.size = size


def damaged(error: BytesDamaged, pieces: list[Piece]) -> Damaged:
    """The page of a block as a place in the file."""
    offset = next(
        piece.start + max(0, error.offset - piece.offset)
        for piece in pieces
        if piece.block == error.block and piece.offset + piece.length > error.offset
    )
    return Damaged(str(error), offset, (error.block, error.offset))


def is_locked(inode: Inode) -> bool:
    """Whether a write of the inode is in a thread."""
    return inode.lock is not None and inode.lock.locked()


def lock_of(inode: Inode) -> trio.Lock:
    """The lock that a write holds while it is in a thread."""
    if inode.lock is None:
        inode.lock = trio.Lock()
    return inode.lock
