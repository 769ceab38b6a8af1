-- Version 3: workflows that runs can be made of by name, every version a row; the newest has the highest seq.
CREATE TABLE workflow (
    ns    INTEGER NOT NULL,
    name  TEXT    NOT NULL,
    seq   INTEGER NOT NULL,
    body  TEXT    NOT NULL,
    PRIMARY KEY (ns, name, seq)
) STRICT;

-- Each version of each registered workflow.
CREATE VIEW v_workflows AS
SELECT n.name AS namespace, w.name AS workflow, w.seq, json_extract(w.body, '$.hash') AS hash,
       strftime('%Y-%m-%dT%H:%M:%fZ', json_extract(w.body, '$.at') / 1000.0, 'unixepoch') AS registered,
       json_extract(w.body, '$.by') AS by, json_extract(w.body, '$.document') AS document
  FROM workflow w JOIN namespace n USING (ns);
