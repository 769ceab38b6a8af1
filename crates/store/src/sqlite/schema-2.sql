-- Version 2: a large run can be looked at without reading all its tasks.

-- A task's status, a copy of what its body says, and where those with one status are.
ALTER TABLE task ADD COLUMN status TEXT NOT NULL DEFAULT '';
UPDATE task AS t SET status =
       coalesce(json_extract(t.body, '$.phase.ended.status'),
                CASE WHEN json_extract(t.body, '$.phase.leased') IS NOT NULL
                     THEN CASE WHEN json_extract(t.body, '$.phase.leased.prefetched')
                                AND json_extract(t.body, '$.phase.leased.started_at') IS NULL
                               THEN 'QUEUED' ELSE 'RUNNING' END
                     ELSE CASE json_extract(t.body, '$.phase.waiting.on')
                               WHEN 'needs' THEN 'PENDING' WHEN 'grant' THEN 'QUEUED'
                               WHEN 'backoff' THEN 'RETRYING' ELSE 'WAITING' END END);
CREATE INDEX task_by_status ON task (ns, run_id, status, place);

-- The tasks of definitions with more than 256, so many in a part: a JSON list of those from `first` on.
-- Their own bodies hold no tasks, unless they were stored by version 1.
CREATE TABLE definition_part (
    ns     INTEGER NOT NULL,
    hash   TEXT    NOT NULL,
    first  INTEGER NOT NULL,
    body   TEXT    NOT NULL,
    PRIMARY KEY (ns, hash, first)
) STRICT;

DROP VIEW v_tasks;
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
       coalesce((SELECT json_extract(p.body, '$[' || (t.place - p.first) || '].name') FROM definition_part p
                  WHERE p.ns = t.ns AND p.hash = t.hash AND p.first = t.place / 256 * 256),
                json_extract(d.body, '$.tasks[' || t.place || '].name')) AS task,
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
