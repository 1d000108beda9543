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
    offset   INTEGER NOT NULL,             -- byte in the segment, multiple of 4096
    capacity INTEGER NOT NULL              -- bytes set aside from offset, multiple of 4096, at least blocks.length
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

-- Which pack of the store holds a sealed block (filled when the drive has a store).
CREATE TABLE packs (
    pack_id    BLOB PRIMARY KEY,           -- the pack's random salt, 32 bytes
    size_bytes INTEGER NOT NULL,
    generation INTEGER NOT NULL,           -- key generation that sealed it
    doomed_at  INTEGER                     -- NULL = alive; else the log position of the transaction that doomed it (I9)
) WITHOUT ROWID;
CREATE TABLE catalog (
    block   INTEGER PRIMARY KEY,
    pack_id BLOB NOT NULL,
    offset  INTEGER NOT NULL,              -- of the encrypted record in the pack
    length  INTEGER NOT NULL               -- of the encrypted record
);
CREATE INDEX catalog_by_pack ON catalog (pack_id);
