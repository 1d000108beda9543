-- The tree, now and then.
--
-- Live tables hold what is true now; each row has `since`, the epoch of its last change. The first change to a row that a
-- kept state can see leaves a copy in the history table, with [since, until). That rule is the triggers below: no code
-- path can forget it. A row whose `since` lies after the newest kept epoch is changed in place.
-- History keys end in `until`, so "as of e" is: the first row with until > e; if its since > e, or there is none, the live
-- row where since <= e. "Everything of a folder (or of a stretch of a file) as of e" asks for the few forks that a row
-- true in e can have (`forks.py`): `fork` is the number in [since, until) that most twos divide, computed and not stored:
-- until - 1 with as many of its last bits cleared as it can lose without falling below since. Epochs stay below 2^32.

-- Where time stands. One row. `epoch` counts the states history can tell apart; `newest_kept` is the newest epoch that a
-- snapshot (or an actor's epoch) keeps, 0 when none does.
CREATE TABLE clock (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    epoch       INTEGER NOT NULL,
    newest_kept INTEGER NOT NULL
);
INSERT INTO clock VALUES (1, 1, 0);

-- Who made a change. 0 in a row = unknown, or several.
CREATE TABLE actors (
    actor_id INTEGER PRIMARY KEY,
    kind     TEXT NOT NULL,                -- 'local', 'smb', 'agent', 'portal'
    user     INTEGER NOT NULL,             -- uid
    device   TEXT NOT NULL DEFAULT ''      -- '' = none
);
CREATE UNIQUE INDEX actors_by_identity ON actors (kind, user, device);

-- An inode: identity and attributes of a file. Number 1 is the root, 2 the hidden folder in which restores are built, 3
-- the hidden folder of trees that wait to be reaped.
CREATE TABLE inodes (
    ino         INTEGER PRIMARY KEY,       -- file number, below 2^40, never reused
    since       INTEGER NOT NULL,
    actor_id    INTEGER NOT NULL,
    mode        INTEGER NOT NULL,          -- type and permission bits, as in stat
    uid         INTEGER NOT NULL,
    gid         INTEGER NOT NULL,
    nlink       INTEGER NOT NULL,          -- names; a folder: 2 + folders in it; 0 = orphan, reaped once nobody holds it
    size        INTEGER NOT NULL,          -- bytes; of a symlink its target's; 0 for all others but files
    mapped      INTEGER NOT NULL,          -- bytes covered by extents (st_blocks)
    content     INTEGER,                   -- NULL = no extents
    rdev        INTEGER NOT NULL,          -- device number of device files, else 0
    atime_ns    INTEGER NOT NULL,          -- nanoseconds since 1970
    mtime_ns    INTEGER NOT NULL,
    ctime_ns    INTEGER NOT NULL,
    btime_ns    INTEGER NOT NULL,
    xattr_set   INTEGER,                   -- NULL = none
    next_cookie INTEGER NOT NULL,          -- of a folder: cookie of the next entry made in it; else 0
    target      BLOB                       -- of a symlink
);
CREATE INDEX inodes_orphaned ON inodes (ino) WHERE nlink = 0;
CREATE INDEX inodes_by_xattr_set ON inodes (xattr_set) WHERE xattr_set IS NOT NULL;

CREATE TABLE inodes_history (
    ino INTEGER NOT NULL, until INTEGER NOT NULL, since INTEGER NOT NULL, actor_id INTEGER NOT NULL, mode INTEGER NOT NULL,
    uid INTEGER NOT NULL, gid INTEGER NOT NULL, nlink INTEGER NOT NULL, size INTEGER NOT NULL, mapped INTEGER NOT NULL,
    content INTEGER, rdev INTEGER NOT NULL, atime_ns INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    btime_ns INTEGER NOT NULL, xattr_set INTEGER, next_cookie INTEGER NOT NULL, target BLOB,
    PRIMARY KEY (ino, until)
) WITHOUT ROWID;
CREATE INDEX inodes_history_by_until ON inodes_history (until);
CREATE INDEX inodes_history_by_xattr_set ON inodes_history (xattr_set) WHERE xattr_set IS NOT NULL;

-- A name in a folder. `cookie` is its place in listings: handed out in rising order by the folder, never reused in it.
-- `fold` is a 31-bit hash of the upper-cased name; it only proposes, names are compared (T25c).
CREATE TABLE dentries (
    parent   INTEGER NOT NULL,
    name     BLOB NOT NULL,                -- 1 to 255 bytes without / and NUL
    since    INTEGER NOT NULL,
    actor_id INTEGER NOT NULL,
    ino      INTEGER NOT NULL,
    cookie   INTEGER NOT NULL,
    fold     INTEGER NOT NULL,
    PRIMARY KEY (parent, name)
) WITHOUT ROWID;
CREATE UNIQUE INDEX dentries_by_cookie ON dentries (parent, cookie);
CREATE INDEX dentries_by_fold ON dentries (parent, fold);
CREATE INDEX dentries_by_ino ON dentries (ino);

CREATE TABLE dentries_history (
    parent INTEGER NOT NULL, name BLOB NOT NULL, until INTEGER NOT NULL, since INTEGER NOT NULL, actor_id INTEGER NOT NULL,
    ino INTEGER NOT NULL, cookie INTEGER NOT NULL, fold INTEGER NOT NULL,
    fork INTEGER GENERATED ALWAYS AS (CASE
        WHEN (until - 1 >> 1 << 1) < since THEN until - 1 WHEN (until - 1 >> 2 << 2) < since THEN until - 1 >> 1 << 1
        WHEN (until - 1 >> 3 << 3) < since THEN until - 1 >> 2 << 2 WHEN (until - 1 >> 4 << 4) < since THEN until - 1 >> 3 << 3
        WHEN (until - 1 >> 5 << 5) < since THEN until - 1 >> 4 << 4 WHEN (until - 1 >> 6 << 6) < since THEN until - 1 >> 5 << 5
        WHEN (until - 1 >> 7 << 7) < since THEN until - 1 >> 6 << 6 WHEN (until - 1 >> 8 << 8) < since THEN until - 1 >> 7 << 7
        WHEN (until - 1 >> 9 << 9) < since THEN until - 1 >> 8 << 8 WHEN (until - 1 >> 10 << 10) < since THEN until - 1 >> 9 << 9
        WHEN (until - 1 >> 11 << 11) < since THEN until - 1 >> 10 << 10 WHEN (until - 1 >> 12 << 12) < since THEN until - 1 >> 11 << 11
        WHEN (until - 1 >> 13 << 13) < since THEN until - 1 >> 12 << 12 WHEN (until - 1 >> 14 << 14) < since THEN until - 1 >> 13 << 13
        WHEN (until - 1 >> 15 << 15) < since THEN until - 1 >> 14 << 14 WHEN (until - 1 >> 16 << 16) < since THEN until - 1 >> 15 << 15
        WHEN (until - 1 >> 17 << 17) < since THEN until - 1 >> 16 << 16 WHEN (until - 1 >> 18 << 18) < since THEN until - 1 >> 17 << 17
        WHEN (until - 1 >> 19 << 19) < since THEN until - 1 >> 18 << 18 WHEN (until - 1 >> 20 << 20) < since THEN until - 1 >> 19 << 19
        WHEN (until - 1 >> 21 << 21) < since THEN until - 1 >> 20 << 20 WHEN (until - 1 >> 22 << 22) < since THEN until - 1 >> 21 << 21
        WHEN (until - 1 >> 23 << 23) < since THEN until - 1 >> 22 << 22 WHEN (until - 1 >> 24 << 24) < since THEN until - 1 >> 23 << 23
        WHEN (until - 1 >> 25 << 25) < since THEN until - 1 >> 24 << 24 WHEN (until - 1 >> 26 << 26) < since THEN until - 1 >> 25 << 25
        WHEN (until - 1 >> 27 << 27) < since THEN until - 1 >> 26 << 26 WHEN (until - 1 >> 28 << 28) < since THEN until - 1 >> 27 << 27
        WHEN (until - 1 >> 29 << 29) < since THEN until - 1 >> 28 << 28 WHEN (until - 1 >> 30 << 30) < since THEN until - 1 >> 29 << 29
        WHEN (until - 1 >> 31 << 31) < since THEN until - 1 >> 30 << 30 ELSE until - 1 >> 31 << 31
    END) VIRTUAL,
    PRIMARY KEY (parent, name, until)
) WITHOUT ROWID;
CREATE INDEX dentries_history_by_fork ON dentries_history (fork, parent, until);

-- Bytes [start, start + length) of a content are bytes [offset, offset + length) of a block. No extent = a hole. An
-- extent never crosses a 64 MiB line of its content.
CREATE TABLE extents (
    content INTEGER NOT NULL,
    start   INTEGER NOT NULL,
    since   INTEGER NOT NULL,
    length  INTEGER NOT NULL,
    block   INTEGER NOT NULL,
    offset  INTEGER NOT NULL,
    PRIMARY KEY (content, start)
) WITHOUT ROWID;
CREATE INDEX extents_by_block ON extents (block);

CREATE TABLE extents_history (
    content INTEGER NOT NULL, start INTEGER NOT NULL, until INTEGER NOT NULL, since INTEGER NOT NULL, length INTEGER NOT NULL,
    block INTEGER NOT NULL, offset INTEGER NOT NULL,
    fork INTEGER GENERATED ALWAYS AS (CASE
        WHEN (until - 1 >> 1 << 1) < since THEN until - 1 WHEN (until - 1 >> 2 << 2) < since THEN until - 1 >> 1 << 1
        WHEN (until - 1 >> 3 << 3) < since THEN until - 1 >> 2 << 2 WHEN (until - 1 >> 4 << 4) < since THEN until - 1 >> 3 << 3
        WHEN (until - 1 >> 5 << 5) < since THEN until - 1 >> 4 << 4 WHEN (until - 1 >> 6 << 6) < since THEN until - 1 >> 5 << 5
        WHEN (until - 1 >> 7 << 7) < since THEN until - 1 >> 6 << 6 WHEN (until - 1 >> 8 << 8) < since THEN until - 1 >> 7 << 7
        WHEN (until - 1 >> 9 << 9) < since THEN until - 1 >> 8 << 8 WHEN (until - 1 >> 10 << 10) < since THEN until - 1 >> 9 << 9
        WHEN (until - 1 >> 11 << 11) < since THEN until - 1 >> 10 << 10 WHEN (until - 1 >> 12 << 12) < since THEN until - 1 >> 11 << 11
        WHEN (until - 1 >> 13 << 13) < since THEN until - 1 >> 12 << 12 WHEN (until - 1 >> 14 << 14) < since THEN until - 1 >> 13 << 13
        WHEN (until - 1 >> 15 << 15) < since THEN until - 1 >> 14 << 14 WHEN (until - 1 >> 16 << 16) < since THEN until - 1 >> 15 << 15
        WHEN (until - 1 >> 17 << 17) < since THEN until - 1 >> 16 << 16 WHEN (until - 1 >> 18 << 18) < since THEN until - 1 >> 17 << 17
        WHEN (until - 1 >> 19 << 19) < since THEN until - 1 >> 18 << 18 WHEN (until - 1 >> 20 << 20) < since THEN until - 1 >> 19 << 19
        WHEN (until - 1 >> 21 << 21) < since THEN until - 1 >> 20 << 20 WHEN (until - 1 >> 22 << 22) < since THEN until - 1 >> 21 << 21
        WHEN (until - 1 >> 23 << 23) < since THEN until - 1 >> 22 << 22 WHEN (until - 1 >> 24 << 24) < since THEN until - 1 >> 23 << 23
        WHEN (until - 1 >> 25 << 25) < since THEN until - 1 >> 24 << 24 WHEN (until - 1 >> 26 << 26) < since THEN until - 1 >> 25 << 25
        WHEN (until - 1 >> 27 << 27) < since THEN until - 1 >> 26 << 26 WHEN (until - 1 >> 28 << 28) < since THEN until - 1 >> 27 << 27
        WHEN (until - 1 >> 29 << 29) < since THEN until - 1 >> 28 << 28 WHEN (until - 1 >> 30 << 30) < since THEN until - 1 >> 29 << 29
        WHEN (until - 1 >> 31 << 31) < since THEN until - 1 >> 30 << 30 ELSE until - 1 >> 31 << 31
    END) VIRTUAL,
    PRIMARY KEY (content, start, until)
) WITHOUT ROWID;
CREATE INDEX extents_history_by_fork ON extents_history (fork, content, start);
CREATE INDEX extents_history_by_block ON extents_history (block);

-- Contents that no live inode has any more. Their last extents stay in `extents`, true in [since, gone): giving up a
-- content is one row, whatever its size. Extents that no kept epoch saw are removed in steps (`is_sifted` = done).
CREATE TABLE gone_contents (
    content   INTEGER PRIMARY KEY,
    gone      INTEGER NOT NULL,
    is_sifted INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX gone_contents_by_gone ON gone_contents (gone);
CREATE INDEX gone_contents_unsifted ON gone_contents (content) WHERE is_sifted = 0;

-- Equal sets of extended attributes are stored once. `body`: msgpack map of names to values, names sorted.
CREATE TABLE xattr_sets (
    xattr_set INTEGER PRIMARY KEY,
    digest    BLOB NOT NULL,               -- BLAKE3 of body, 32 bytes
    body      BLOB NOT NULL
);
CREATE UNIQUE INDEX xattr_sets_by_digest ON xattr_sets (digest);

-- A kept epoch. kind 'snapshot': named, a folder in .snapshots; 'actor': unnamed, kept for undo by actor; 'cloud':
-- unnamed, kept until what was changed after it has been sent.
-- state 'kept', or 'deleting': gone for users, its rows are being removed in steps.
CREATE TABLE snapshots (
    snapshot   INTEGER PRIMARY KEY,
    epoch      INTEGER NOT NULL,           -- the last epoch it shows
    kind       TEXT NOT NULL,
    state      TEXT NOT NULL,
    name       TEXT,                       -- folder name, unique; NULL for the others
    label      TEXT,
    created_ns INTEGER NOT NULL,
    is_held    INTEGER NOT NULL
);
CREATE UNIQUE INDEX snapshots_by_epoch ON snapshots (epoch);
CREATE UNIQUE INDEX snapshots_by_name ON snapshots (name) WHERE name IS NOT NULL;

-- A view: one place where a past tree is seen. Inode numbers in it are (view << 40) | file number.
CREATE TABLE views (
    view     INTEGER PRIMARY KEY,
    anchor   INTEGER NOT NULL,             -- file number of the folder whose past it shows
    snapshot INTEGER NOT NULL,
    door     TEXT NOT NULL                 -- 'snapshots' or 'previous'
);
CREATE UNIQUE INDEX views_by_place ON views (anchor, snapshot, door);

-- What stays on this machine by wish: files, and folders with all in them. Of this machine alone (T7). A row whose inode
-- is gone is removed at the next look.
CREATE TABLE pins (
    ino INTEGER PRIMARY KEY                -- file number
);

-- When work that nobody asks for was done last. Of this machine alone (T7).
CREATE TABLE schedules (
    job    TEXT PRIMARY KEY,
    ran_ns INTEGER NOT NULL,               -- when its last run ended: nanoseconds since 1970
    is_ok  INTEGER NOT NULL,               -- 0 = it found damage
    result TEXT NOT NULL                   -- what it did or found, a clause; '' = there was nothing to do
) WITHOUT ROWID;

-- Long work in steps. A restore that a crash interrupts while 'building' has changed nothing and becomes 'failed'.
CREATE TABLE jobs (
    job           INTEGER PRIMARY KEY,
    kind          TEXT NOT NULL,           -- 'restore', 'undo'
    state         TEXT NOT NULL,           -- 'building', 'done', 'failed', 'undone'
    path          BLOB NOT NULL,           -- what was asked for, from the root
    target        BLOB,                    -- where it was put; NULL = in its own place
    undoes        INTEGER,                 -- of an undo: the job it takes back
    at            TEXT NOT NULL,           -- snapshot restored from
    undo_snapshot TEXT,                    -- held snapshot of the moment before
    done          INTEGER NOT NULL,        -- entries built
    total         INTEGER NOT NULL,        -- entries found so far
    created_ns    INTEGER NOT NULL,
    finished_ns   INTEGER,
    error         TEXT
);

-- People, their groups, and the shares they work in. Numbers are handed out from 60000 on by the counter 'person', for
-- users, groups and shares alike, and never again: files keep the number of whoever made them. All of it travels, so that
-- the office is there again after a recovery. Names of users and groups are lower case, and no two of them are equal.
CREATE TABLE users (
    uid        INTEGER PRIMARY KEY,        -- also the number of the user's own group
    name       TEXT NOT NULL,
    full_name  TEXT NOT NULL,
    role       TEXT NOT NULL,              -- 'owner', 'admin', 'auditor', 'employee'
    is_enabled INTEGER NOT NULL
);
CREATE TABLE people_groups (
    gid  INTEGER PRIMARY KEY,
    name TEXT NOT NULL
);
CREATE TABLE members (
    gid INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    PRIMARY KEY (gid, uid)
) WITHOUT ROWID;

-- A share is the folder of its name at the root, `root:gid`. Not its inode: a restore puts another one in its place. One
-- that was removed stays as a row with is_open = 0, so that a share of that name gets its number, which its past has.
CREATE TABLE shares (
    gid     INTEGER PRIMARY KEY,
    name    TEXT NOT NULL,                 -- unique, ignoring case
    is_open INTEGER NOT NULL
);
CREATE TABLE share_members (
    share  INTEGER NOT NULL,               -- gid of the share
    member INTEGER NOT NULL,               -- uid, or gid of a group
    access TEXT NOT NULL,                  -- 'read', 'write'
    PRIMARY KEY (share, member)
) WITHOUT ROWID;

-- What proves who somebody is. They leave this machine only inside the encrypted log.
CREATE TABLE secrets (
    uid  INTEGER NOT NULL,
    kind TEXT NOT NULL,                    -- 'argon2id': a PHC string; 'nt': 32 hexadecimal digits
    body TEXT NOT NULL,
    PRIMARY KEY (uid, kind)
) WITHOUT ROWID;

-- Values of the drive that no other table has, such as the number by which Windows knows it.
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- OR FAIL, because with the default, ABORT, SQLite copies every page that a DELETE touches, to take back half a statement:
-- three times the cost of the row. An operation is a savepoint anyway, and a history key cannot be there already.
CREATE TRIGGER inodes_change BEFORE UPDATE ON inodes WHEN old.since <= (SELECT newest_kept FROM clock) AND old.since < new.since BEGIN
    INSERT OR FAIL INTO inodes_history SELECT ino, (SELECT epoch FROM clock), since, actor_id, mode, uid, gid, nlink, size, mapped, content,
        rdev, atime_ns, mtime_ns, ctime_ns, btime_ns, xattr_set, next_cookie, target FROM inodes WHERE ino = old.ino;
END;
CREATE TRIGGER inodes_end BEFORE DELETE ON inodes WHEN old.since <= (SELECT newest_kept FROM clock) BEGIN
    INSERT OR FAIL INTO inodes_history SELECT ino, (SELECT epoch FROM clock), since, actor_id, mode, uid, gid, nlink, size, mapped, content,
        rdev, atime_ns, mtime_ns, ctime_ns, btime_ns, xattr_set, next_cookie, target FROM inodes WHERE ino = old.ino;
END;
CREATE TRIGGER dentries_change BEFORE UPDATE ON dentries WHEN old.since <= (SELECT newest_kept FROM clock) AND old.since < new.since BEGIN
    INSERT OR FAIL INTO dentries_history VALUES (old.parent, old.name, (SELECT epoch FROM clock), old.since, old.actor_id, old.ino, old.cookie, old.fold);
END;
CREATE TRIGGER dentries_end BEFORE DELETE ON dentries WHEN old.since <= (SELECT newest_kept FROM clock) BEGIN
    INSERT OR FAIL INTO dentries_history VALUES (old.parent, old.name, (SELECT epoch FROM clock), old.since, old.actor_id, old.ino, old.cookie, old.fold);
END;
CREATE TRIGGER extents_change BEFORE UPDATE ON extents WHEN old.since <= (SELECT newest_kept FROM clock) AND old.since < new.since BEGIN
    INSERT OR FAIL INTO extents_history VALUES (old.content, old.start, (SELECT epoch FROM clock), old.since, old.length, old.block, old.offset);
END;
CREATE TRIGGER extents_end BEFORE DELETE ON extents WHEN old.since <= (SELECT newest_kept FROM clock)
    AND NOT EXISTS (SELECT 1 FROM gone_contents WHERE content = old.content) BEGIN
    INSERT OR FAIL INTO extents_history VALUES (old.content, old.start, (SELECT epoch FROM clock), old.since, old.length, old.block, old.offset);
END;
