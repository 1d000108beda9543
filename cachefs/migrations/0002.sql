-- Version 2: a block can be SEALED, sent to a store, evicted and fetched again. No block was before, so these were empty.
DROP TABLE packs;
DROP TABLE catalog;
CREATE TABLE shared_pages (
    segment INTEGER NOT NULL,
    page    INTEGER NOT NULL,
    users   INTEGER NOT NULL,
    PRIMARY KEY (segment, page)
) WITHOUT ROWID;
CREATE TABLE unsent (
    block INTEGER PRIMARY KEY,
    lane  INTEGER NOT NULL
);
CREATE TABLE packs (
    pack       INTEGER PRIMARY KEY,
    pack_id    BLOB NOT NULL,
    generation INTEGER NOT NULL,
    fence      INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    state      INTEGER NOT NULL,
    doomed_at  INTEGER
);
CREATE UNIQUE INDEX packs_by_id ON packs (pack_id);
CREATE TABLE catalog (
    block  INTEGER PRIMARY KEY,
    pack   INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    length INTEGER NOT NULL,
    start  INTEGER NOT NULL
);
CREATE INDEX catalog_by_pack ON catalog (pack);
