-- Local bytes: blocks, where they lie, and what waits to be freed.
--
-- Rules that hold for every table of the drive:
--   * every table that will travel to the cloud has a declared, non-NULL PRIMARY KEY (I16);
--   * columns of this machine (places, queues) never share a table with columns of the drive (T7);
--   * counters are ordinary rows, never AUTOINCREMENT, so that a changeset carries them.

-- Counters of the drive. `name` is the counter, `value` the last number handed out. Numbers are never reused.
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

-- Counters of this machine: `cut` (number of the last commit), `segment`, `free`, `closed` (cut of the last clean end).
CREATE TABLE local_counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

-- A block is a run of bytes that extents point into.
CREATE TABLE blocks (
    block    INTEGER PRIMARY KEY,          -- number, never reused
    block_id BLOB,                         -- NULL = OPEN; keyed BLAKE3 of the bytes = SEALED, and then nothing below changes
    length   INTEGER NOT NULL,             -- bytes that were ever written, counted from the block's start
    born     INTEGER NOT NULL,             -- epoch in which the block was made (I2)
    shared   INTEGER NOT NULL DEFAULT 0    -- 1 = extents of more than one content may point here: never written in place (I2)
);
CREATE UNIQUE INDEX blocks_by_id ON blocks (block_id) WHERE block_id IS NOT NULL;

-- Where a block's bytes lie on this machine. No row = not held here.
CREATE TABLE residency (
    block    INTEGER PRIMARY KEY,
    segment  INTEGER NOT NULL,
    offset   INTEGER NOT NULL,             -- byte in the segment; of an OPEN block a multiple of 4096
    capacity INTEGER NOT NULL              -- bytes set aside from offset, at least blocks.length; of an OPEN block a multiple of 4096
);

-- Segment files. A segment is written only above `bump`; a number is never used twice.
CREATE TABLE segments (
    segment INTEGER PRIMARY KEY,
    family  INTEGER NOT NULL,              -- 1 = precious (OPEN and unsent bytes; synced), 2 = cache (fetched; never synced). Do not change.
    bump    INTEGER NOT NULL,              -- first byte that no block was given yet; between cuts, a bound of it
    live    INTEGER NOT NULL               -- sum of the capacities of the blocks that lie here
);

-- Ranges that no row names any more. Punched, and the row removed, only after the cut that freed them is durable (I11).
CREATE TABLE free_queue (
    entry   INTEGER PRIMARY KEY,
    segment INTEGER NOT NULL,
    offset  INTEGER NOT NULL,
    length  INTEGER NOT NULL
);

-- Pages in which several blocks lie: what one OPEN block held was cut into several SEALED ones where it lay. Such a page
-- is freed with the last of them. A page without a row has one user.
CREATE TABLE shared_pages (
    segment INTEGER NOT NULL,
    page    INTEGER NOT NULL,              -- byte in the segment / 4096
    users   INTEGER NOT NULL,              -- blocks that lie in it, 2 or more
    PRIMARY KEY (segment, page)
) WITHOUT ROWID;

-- SEALED blocks that no pack holds yet. Never evicted (I5).
CREATE TABLE unsent (
    block INTEGER PRIMARY KEY,
    lane  INTEGER NOT NULL                 -- 0 = small work, which overtakes; 1 = bulk. Do not change.
);

-- Packs of the store. A row comes before its upload begins, so that no object is ever there that nobody knows of.
CREATE TABLE packs (
    pack       INTEGER PRIMARY KEY,        -- number, never reused
    pack_id    BLOB NOT NULL,              -- the pack's random salt, 32 bytes
    generation INTEGER NOT NULL,           -- key generation that sealed it
    fence      INTEGER NOT NULL,           -- generation of the lease under which it was sent; part of the object's name
    size_bytes INTEGER NOT NULL,
    state      INTEGER NOT NULL,           -- 1 = being sent, perhaps there; 2 = in the store; 3 = doomed (I9). Do not change.
    doomed_at  INTEGER                     -- log position of the transaction that doomed it
);
CREATE UNIQUE INDEX packs_by_id ON packs (pack_id);

-- Where in the store a SEALED block is. All in bytes.
CREATE TABLE catalog (
    block  INTEGER PRIMARY KEY,
    pack   INTEGER NOT NULL,
    offset INTEGER NOT NULL,               -- of its record in the pack
    length INTEGER NOT NULL,               -- of the record, as sealed
    start  INTEGER NOT NULL                -- of the block in the record's plaintext
);
CREATE INDEX catalog_by_pack ON catalog (pack);
