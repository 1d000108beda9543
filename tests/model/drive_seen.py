"""What can be seen of a drive, in the words of the model, and how the two are compared.

A tree is compared as a whole: attributes, links, order of listings. Bytes are compared by pages, those that either side
has bytes in; the rest is holes on both.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from kit.model_fs import PAGE_BYTES, ModelInode, Seen, SparseBytes, seen, walk

from vfs.drive import Drive
from vfs.extents import Piece
from vfs.fuse.file_io import clip
from vfs.ids import NEVER, ROOT
from vfs.inodes import Inode
from vfs.past import entries_as_of, pieces_as_of

Names = list[tuple[bytes, int]]


class Tree(NamedTuple):
    """The live tree of a drive or a past one, by path; `pieces_of` finds the extents of a file in it."""

    drive: Drive
    seen: dict[bytes, Seen]
    inodes: dict[bytes, Inode]
    pieces_of: Callable[[Inode], list[Piece]]


def live_tree(drive: Drive) -> Tree:
    """The drive as it is."""

    def names(ino: int) -> Names:
        return drive.database.rows("SELECT name, ino FROM dentries WHERE parent = ? ORDER BY cookie", (ino,))

    return _tree(drive, drive.inodes.get, names, lambda inode: live_pieces(drive, inode))


def past_tree(drive: Drive, epoch: int) -> Tree:
    """The drive as it was at the end of an epoch."""
    query = drive.database.rows

    def inode_then(ino: int) -> Inode:
        inode = drive.past.inode(ino, epoch)
        assert inode is not None, f"a name of epoch {epoch} leads to inode {ino}, which was not there"
        return inode

    def pieces_then(inode: Inode) -> list[Piece]:
        return clip(pieces_as_of(query, inode.content, epoch, 0, NEVER), 0, inode.size) if inode.content else []

    return _tree(
        drive,
        inode_then,
        lambda ino: [(name, below) for _, name, below in entries_as_of(query, ino, epoch)],
        pieces_then,
    )


def live_pieces(drive: Drive, inode: Inode) -> list[Piece]:
    """The extents of a live file."""
    return drive.contents.pieces(inode.content, 0, inode.size) if inode.content is not None else []


def _tree(
    drive: Drive,
    inode_of: Callable[[int], Inode],
    names_of: Callable[[int], Names],
    pieces_of: Callable[[Inode], list[Piece]],
) -> Tree:
    tree = Tree(drive, {}, {}, pieces_of)
    first: dict[int, bytes] = {}

    def visit(path: bytes, ino: int) -> None:
        inode, names = inode_of(ino), names_of(ino)
        tree.inodes[path] = inode
        tree.seen[path] = Seen(
            inode.mode,
            (inode.uid, inode.gid, inode.actor_id),
            inode.nlink,
            inode.size,
            (inode.atime_ns, inode.mtime_ns, inode.ctime_ns, inode.btime_ns),
            inode.rdev,
            inode.target,
            tuple(sorted(drive.xattrs.all(inode).items())),
            tuple(name for name, _ in names),
            first.setdefault(ino, path),
        )
        for name, below in names:
            visit(path + b"/" + name, below)

    visit(b"", ROOT)
    return tree


async def same_tree(tree: Tree, root: ModelInode, where: str) -> None:
    """Assert that nothing tells the two apart."""
    expected = seen(root)
    different = [path for path in tree.seen.keys() | expected.keys() if tree.seen.get(path) != expected.get(path)]
    assert not different, [(where, path, tree.seen.get(path), expected.get(path)) for path in sorted(different)]
    for path, model in walk(root):
        if model.is_file:
            inode = tree.inodes[path]
            await same_bytes(tree.drive, inode, tree.pieces_of(inode), model.data, f"{path!r} {where}")


async def same_bytes(drive: Drive, inode: Inode, pieces: list[Piece], data: SparseBytes, where: str) -> None:
    """Assert that a file holds the bytes of the model."""
    for low in _pages(inode, data, pieces):
        assert await _page(drive, inode, pieces, low) == data.read(low, PAGE_BYTES), f"{where}, bytes from {low}"


async def adopt(tree: Tree, root: ModelInode, written: Mapping[int, Sequence[tuple[int, bytes]]]) -> None:
    """After a core death: a live byte `written` since the log point (by inode: offset, data) may be there or not.

    The model takes what is there. POSIX gives the same liberty; a kept state has none.
    """
    for path, model in walk(root):
        inode = tree.inodes[path]
        if not inode.is_file or inode.ino not in written:
            continue
        pieces = tree.pieces_of(inode)
        for low in _pages(inode, model.data, pieces):
            page = await _page(tree.drive, inode, pieces, low)
            was = model.data.read(low, PAGE_BYTES)
            for position in (at for at in range(len(was)) if was[at] != page[at]):
                at = low + position
                could_be = {data[at - start] for start, data in written[inode.ino] if start <= at < start + len(data)}
                assert page[position] in could_be, f"byte {at} of {path!r} is one that was never written there"
            model.data.pages[low // PAGE_BYTES] = bytes(page).ljust(PAGE_BYTES, b"\0")


def _pages(inode: Inode, data: SparseBytes, pieces: list[Piece]) -> Iterator[int]:
    covered = set(data.pages)
    for start, length, *_ in pieces:
        covered.update(range(start // PAGE_BYTES, (start + length - 1) // PAGE_BYTES + 1))
    return (page * PAGE_BYTES for page in sorted(covered) if page * PAGE_BYTES < inode.size)


async def _page(drive: Drive, inode: Inode, pieces: list[Piece], low: int) -> bytes | bytearray:
    end = min(low + PAGE_BYTES, inode.size)
    return await drive.files.read_pieces(clip(pieces, low, end), low, end)
