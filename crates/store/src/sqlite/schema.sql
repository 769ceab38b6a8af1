-- The layout of an Unknot store, version 1; schema-2.sql goes on from it. docs/store.md explains it to operators.
--
-- Times are milliseconds since 1970. A `body` is the row as JSON; the other columns are its key, or a
-- copy of what lists look for. Hot rows (run, task) have no index beyond their key, except for runs
-- that carry an idempotency key or were made from a file.

-- One row per namespace: who may commit, and the newest commit.
CREATE TABLE namespace (
    ns          INTEGER PRIMARY KEY,
    name        TEXT    NOT NULL UNIQUE,
    epoch       INTEGER NOT NULL,
    owner       TEXT    NOT NULL,
    commit_seq  INTEGER NOT NULL,
    next_seq    INTEGER NOT NULL,
    next_fence  INTEGER NOT NULL,
    high_water  INTEGER NOT NULL
) STRICT;

-- Validated workflows, shared by their runs. Bodies can be large, so each row is its own tree entry.
CREATE TABLE definition (
    ns    INTEGER NOT NULL,
    hash  TEXT    NOT NULL,
    body  TEXT    NOT NULL,
    PRIMARY KEY (ns, hash)
) STRICT;

-- How many stored runs, live and finished, name each definition; at zero it is pruned.
CREATE TABLE definition_use (
    ns    INTEGER NOT NULL,
    hash  TEXT    NOT NULL,
    runs  INTEGER NOT NULL,
    PRIMARY KEY (ns, hash)
) STRICT, WITHOUT ROWID;

-- Runs that have not ended, with their tasks if they are few.
CREATE TABLE run (
    ns               INTEGER NOT NULL,
    run_id           TEXT    NOT NULL,
    idempotency_key  TEXT,
    source           TEXT,
    body             TEXT    NOT NULL,
    PRIMARY KEY (ns, run_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX run_by_key ON run (ns, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX run_by_source ON run (ns, source, run_id) WHERE source IS NOT NULL;

-- Tasks of large runs, live and finished.
CREATE TABLE task (
    ns      INTEGER NOT NULL,
    run_id  TEXT    NOT NULL,
    place   INTEGER NOT NULL,
    body    TEXT    NOT NULL,
    PRIMARY KEY (ns, run_id, place)
) STRICT, WITHOUT ROWID;

-- Runs that ended.
CREATE TABLE finished (
    ns               INTEGER NOT NULL,
    run_id           TEXT    NOT NULL,
    status           TEXT    NOT NULL,
    ended_at         INTEGER NOT NULL,
    workflow         TEXT    NOT NULL,
    client_id        TEXT,
    idempotency_key  TEXT,
    source           TEXT,
    body             TEXT    NOT NULL,
    PRIMARY KEY (ns, run_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX finished_by_end ON finished (ns, ended_at);
CREATE INDEX finished_by_workflow ON finished (ns, workflow, run_id);
CREATE INDEX finished_by_client ON finished (ns, client_id, run_id) WHERE client_id IS NOT NULL;
CREATE UNIQUE INDEX finished_by_key ON finished (ns, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX finished_by_source ON finished (ns, source, run_id) WHERE source IS NOT NULL;

-- Labels of finished runs.
CREATE TABLE finished_label (
    ns      INTEGER NOT NULL,
    name    TEXT    NOT NULL,
    value   TEXT    NOT NULL,
    run_id  TEXT    NOT NULL,
    PRIMARY KEY (ns, name, value, run_id)
) STRICT, WITHOUT ROWID;

-- How many finished runs there are, by status.
CREATE TABLE finished_count (
    ns      INTEGER NOT NULL,
    status  TEXT    NOT NULL,
    runs    INTEGER NOT NULL,
    PRIMARY KEY (ns, status)
) STRICT, WITHOUT ROWID;

CREATE TABLE pool (
    ns    INTEGER NOT NULL,
    name  TEXT    NOT NULL,
    body  TEXT    NOT NULL,
    PRIMARY KEY (ns, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE queue (
    ns    INTEGER NOT NULL,
    name  TEXT    NOT NULL,
    body  TEXT    NOT NULL,
    PRIMARY KEY (ns, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE paused_workflow (
    ns    INTEGER NOT NULL,
    name  TEXT    NOT NULL,
    body  TEXT    NOT NULL,
    PRIMARY KEY (ns, name)
) STRICT, WITHOUT ROWID;

-- Work too large for one step, with its cursor.
CREATE TABLE continuation (
    ns    INTEGER NOT NULL,
    seq   INTEGER NOT NULL,
    body  TEXT    NOT NULL,
    PRIMARY KEY (ns, seq)
) STRICT, WITHOUT ROWID;

-- Tasks out of tries.
CREATE TABLE dead_letter (
    ns      INTEGER NOT NULL,
    run_id  TEXT    NOT NULL,
    place   INTEGER NOT NULL,
    body    TEXT    NOT NULL,
    PRIMARY KEY (ns, run_id, place)
) STRICT, WITHOUT ROWID;

-- Events that failed alone.
CREATE TABLE quarantine (
    ns    INTEGER NOT NULL,
    seq   INTEGER NOT NULL,
    body  TEXT    NOT NULL,
    PRIMARY KEY (ns, seq)
) STRICT, WITHOUT ROWID;

-- What happened, for people: one row per commit, a JSON list of lines.
CREATE TABLE history (
    ns          INTEGER NOT NULL,
    commit_seq  INTEGER NOT NULL,
    body        TEXT    NOT NULL,
    PRIMARY KEY (ns, commit_seq)
) STRICT, WITHOUT ROWID;

-- Where the history of a long run goes on: its commits beyond the 64 that follow its first.
CREATE TABLE run_commit (
    ns          INTEGER NOT NULL,
    run_id      TEXT    NOT NULL,
    commit_seq  INTEGER NOT NULL,
    PRIMARY KEY (ns, run_id, commit_seq)
) STRICT, WITHOUT ROWID;

-- Runs pruned from the lists: first their rows go (rows_left), then their folders, then this entry.
CREATE TABLE pruned (
    ns            INTEGER NOT NULL,
    run_id        TEXT    NOT NULL,
    first_commit  INTEGER NOT NULL,
    last_commit   INTEGER NOT NULL,
    rows_left     INTEGER NOT NULL,
    PRIMARY KEY (ns, run_id)
) STRICT, WITHOUT ROWID;
