-- Version 4: runs that tasks spawn, and verdicts of the wait graph.

-- A child run of an unfinished task, by the key under which its parent knows it.
CREATE TABLE child (
    ns      INTEGER NOT NULL,
    run_id  TEXT    NOT NULL,
    place   INTEGER NOT NULL,
    key     TEXT    NOT NULL,
    body    TEXT    NOT NULL,
    PRIMARY KEY (ns, run_id, place, key)
) STRICT;

-- A verdict: what stood still, why, and what was done about it.
CREATE TABLE deadlock (
    ns    INTEGER NOT NULL,
    seq   INTEGER NOT NULL,
    body  TEXT    NOT NULL,
    PRIMARY KEY (ns, seq)
) STRICT;
