-- Version 2: what the store has may leave this machine, so that somebody may wish that it stays.
CREATE TABLE pins (
    ino INTEGER PRIMARY KEY
);
