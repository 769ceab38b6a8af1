-- Version 5: the outbox of alerts.

-- An incident that is open, or that somebody is still to be told of.
CREATE TABLE alert (
    ns    INTEGER NOT NULL,
    seq   INTEGER NOT NULL,
    body  TEXT    NOT NULL,
    PRIMARY KEY (ns, seq)
) STRICT;

-- Each alert, and how far each of its targets is.
CREATE VIEW v_alerts AS
SELECT n.name AS namespace, a.seq, json_extract(a.body, '$.incident.key') AS incident,
       json_extract(a.body, '$.incident.severity') AS severity, json_extract(a.body, '$.incident.summary') AS summary,
       strftime('%Y-%m-%dT%H:%M:%fZ', json_extract(a.body, '$.raised_at') / 1000.0, 'unixepoch') AS raised,
       strftime('%Y-%m-%dT%H:%M:%fZ', json_extract(a.body, '$.resolved_at') / 1000.0, 'unixepoch') AS resolved,
       json_extract(a.body, '$.deliveries') AS deliveries
  FROM alert a JOIN namespace n USING (ns);
