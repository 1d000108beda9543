-- Version 3: people, groups and shares; when schedules ran last. What each column means stands in `schema.sql`.
CREATE TABLE users (
    uid        INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    full_name  TEXT NOT NULL,
    role       TEXT NOT NULL,
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
CREATE TABLE shares (
    gid     INTEGER PRIMARY KEY,
    name    TEXT NOT NULL,
    is_open INTEGER NOT NULL
);
CREATE TABLE share_members (
    share  INTEGER NOT NULL,
    member INTEGER NOT NULL,
    access TEXT NOT NULL,
    PRIMARY KEY (share, member)
) WITHOUT ROWID;
CREATE TABLE secrets (
    uid  INTEGER NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (uid, kind)
) WITHOUT ROWID;
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE schedules (
    job    TEXT PRIMARY KEY,
    ran_ns INTEGER NOT NULL,
    is_ok  INTEGER NOT NULL,
    result TEXT NOT NULL
) WITHOUT ROWID;
