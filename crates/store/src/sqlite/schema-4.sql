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

-- A verdict: what stood still, why, and what was done about it. The columns before the body are copies of what it says;
-- its graph stands apart, since lists do without.
CREATE TABLE deadlock (
    ns       INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    outcome  TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    is_open  INTEGER NOT NULL,
    body     TEXT    NOT NULL,
    graph    TEXT    NOT NULL,
    PRIMARY KEY (ns, seq)
) STRICT;
CREATE INDEX deadlock_by_kind ON deadlock (ns, kind, seq);
CREATE INDEX deadlock_open ON deadlock (ns, seq) WHERE is_open;

-- The runs that each verdict is about. A verdict outlives them.
CREATE TABLE deadlock_run (
    ns      INTEGER NOT NULL,
    run_id  TEXT    NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (ns, run_id, seq)
) STRICT;
CREATE INDEX deadlock_run_by_seq ON deadlock_run (ns, seq);

-- Each verdict.
CREATE VIEW v_deadlocks AS
SELECT n.name AS namespace, 'dl_' || d.seq AS verdict, d.kind, d.outcome,
       strftime('%Y-%m-%dT%H:%M:%fZ', d.at / 1000.0, 'unixepoch') AS found,
       json_extract(d.body, '$.explanation[0]') AS first_sentence,
       json_extract(d.body, '$.false_positive') IS NOT NULL AS false_positive, d.body, d.graph
  FROM deadlock d JOIN namespace n USING (ns);
