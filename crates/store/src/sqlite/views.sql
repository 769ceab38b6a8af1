-- Views for people with the sqlite3 shell; the program never reads them.

-- Each run, live or finished.
CREATE VIEW v_runs AS
SELECT n.name AS namespace, r.run_id,
       CASE WHEN json_extract(r.body, '$.ending') IS NOT NULL THEN 'CANCELLING'
            WHEN json_extract(r.body, '$.started') THEN 'RUNNING' ELSE 'PENDING' END AS status,
       json_extract(r.body, '$.workflow') AS workflow,
       strftime('%Y-%m-%dT%H:%M:%fZ', json_extract(r.body, '$.submitted_at') / 1000.0, 'unixepoch') AS submitted,
       NULL AS ended,
       json_extract(r.body, '$.client_id') AS client_id, json_extract(r.body, '$.labels') AS labels,
       r.source, r.idempotency_key, json_extract(r.body, '$.input') AS input, r.body
  FROM run r JOIN namespace n USING (ns)
UNION ALL
SELECT n.name, f.run_id, f.status, f.workflow,
       strftime('%Y-%m-%dT%H:%M:%fZ', json_extract(f.body, '$.run.submitted_at') / 1000.0, 'unixepoch'),
       strftime('%Y-%m-%dT%H:%M:%fZ', f.ended_at / 1000.0, 'unixepoch'),
       f.client_id, json_extract(f.body, '$.run.labels'),
       f.source, f.idempotency_key, json_extract(f.body, '$.run.input'), f.body
  FROM finished f JOIN namespace n USING (ns);

-- Each stored task. A large live run stores no row for a task that nothing has happened to yet.
CREATE VIEW v_tasks AS
WITH each_task (ns, run_id, place, hash, body) AS (
    SELECT r.ns, r.run_id, t.key, json_extract(r.body, '$.definition'), t.value
      FROM run r, json_each(r.body, '$.tasks') t
    UNION ALL
    SELECT f.ns, f.run_id, t.key, json_extract(f.body, '$.run.definition'), t.value
      FROM finished f, json_each(f.body, '$.run.tasks') t
    UNION ALL
    SELECT t.ns, t.run_id, t.place,
           coalesce((SELECT json_extract(r.body, '$.definition') FROM run r
                      WHERE r.ns = t.ns AND r.run_id = t.run_id),
                    (SELECT json_extract(f.body, '$.run.definition') FROM finished f
                      WHERE f.ns = t.ns AND f.run_id = t.run_id)),
           t.body
      FROM task t
)
SELECT n.name AS namespace, t.run_id, t.place,
       json_extract(d.body, '$.tasks[' || t.place || '].name') AS task,
       coalesce(json_extract(t.body, '$.phase.ended.status'),
                CASE WHEN json_extract(t.body, '$.phase.leased') IS NOT NULL
                     THEN CASE WHEN json_extract(t.body, '$.phase.leased.prefetched')
                                AND json_extract(t.body, '$.phase.leased.started_at') IS NULL
                               THEN 'QUEUED' ELSE 'RUNNING' END
                     ELSE CASE json_extract(t.body, '$.phase.waiting.on')
                               WHEN 'needs' THEN 'PENDING' WHEN 'grant' THEN 'QUEUED'
                               WHEN 'backoff' THEN 'RETRYING' ELSE 'WAITING' END END) AS status,
       coalesce(json_extract(t.body, '$.attempts'), 0) AS attempts,
       json_extract(t.body, '$.output') AS output,
       json_extract(t.body, '$.error.message') AS error,
       strftime('%Y-%m-%dT%H:%M:%fZ', json_extract(t.body, '$.updated_at') / 1000.0, 'unixepoch') AS updated,
       t.body
  FROM each_task t JOIN namespace n USING (ns)
  LEFT JOIN definition d ON d.ns = t.ns AND d.hash = t.hash;

-- Each line of history, in the order in which things happened.
CREATE VIEW v_events AS
SELECT n.name AS namespace, json_extract(e.value, '$.run') AS run_id, h.commit_seq, e.key AS line,
       strftime('%Y-%m-%dT%H:%M:%fZ', json_extract(e.value, '$.at') / 1000.0, 'unixepoch') AS at,
       json_extract(e.value, '$.event') AS event, json_extract(e.value, '$.name') AS task,
       json_extract(e.value, '$.attempt') AS attempt, json_extract(e.value, '$.detail') AS detail
  FROM history h JOIN namespace n USING (ns), json_each(h.body) e;
