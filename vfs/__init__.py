"""What the filesystem is; `vfs.fuse` is merely how the kernel asks.

Owns inodes, dentries, contents, extents, epochs, snapshots, views, previous versions, restore and the check of all of
them.

Words: an *inode* is identity and attributes, a *dentry* one name in one directory. A *content* is what an inode's
bytes are, and may be shared copy-on-write; an *extent* maps a range of it to a range of one block, and no extent is a
hole. An *epoch* is an integer that counts the states history can tell apart: *live* rows are true now, *history* rows
were true in `[since, until)`. A *snapshot* is a named epoch, a *hold* the promise not to delete it, a *view* one
place where a past tree is seen.

Promises that a snapshot costs the same whatever the drive holds, that a history row is never edited (sealing, which
re-points extents to equal bytes, is the one exception), and that only the kernel changes an existing regular inode:
restore builds new ones and swaps names. Refuses to know where bytes lie. Imports only `cachefs` and `cloud_tier`.
"""
