-- Claims up to %(limit)s jobs with a concurrency key from one lane, in turns of the keys: one of each key that is not at its limit,
-- from the key after %(after_key)s on, and only then more of each. At most %(keys)s keys are looked at. The last row of the answer
-- has no task and carries the last key looked at (queue), or the last one served when more was claimable, the number of keys looked
-- at (attempt) and of jobs found claimable (retry_count).
-- Jobs of tasks that may not start now are passed over: they are not to hold up others of their key.
-- Locks: see pgtask.claim_limited. Index: jobs_keyed, twice per key; limits_pkey, once per key.
WITH RECURSIVE shut AS MATERIALIZED (
    SELECT t.name
      FROM pgtask.tasks t
      LEFT JOIN pgtask.limits l ON l.scope = 'task' AND l.name = t.name AND l.key = ''
      LEFT JOIN pgtask.circuits c ON c.task = t.name
     WHERE (t.rate_limit IS NOT NULL OR c.state <> 'closed')
       AND least(pgtask.rate_room(t.rate_limit, t.rate_period, t.rate_burst, l.free_at),
                 CASE c.state WHEN 'open' THEN coalesce(c.hold_until <= now(), false)::int4 WHEN 'half_open' THEN 0 END) = 0
), turn AS (
    (SELECT j.concurrency_key, 1 AS place
       FROM pgtask.jobs j
      WHERE j.queue = %(queue)s::text
        AND j.priority = %(priority)s::int2
        AND j.concurrency_key > %(after_key)s::text
      ORDER BY j.concurrency_key
      LIMIT 1)
     UNION ALL
    SELECT next.concurrency_key, turn.place + 1
      FROM turn
     CROSS JOIN LATERAL (
        SELECT j.concurrency_key
          FROM pgtask.jobs j
         WHERE j.queue = %(queue)s::text
           AND j.priority = %(priority)s::int2
           AND j.concurrency_key > turn.concurrency_key
         ORDER BY j.concurrency_key
         LIMIT 1
     ) next
     WHERE turn.place < %(keys)s::int4
), found AS MATERIALIZED (
    SELECT j.id, turn.place, turn.concurrency_key, j.nth
      FROM turn
      LEFT JOIN pgtask.queues q ON q.name = %(queue)s::text
      LEFT JOIN pgtask.limits l ON l.scope = 'key' AND l.name = %(queue)s::text AND l.key = turn.concurrency_key
     CROSS JOIN LATERAL (
        SELECT due.id, row_number() OVER (ORDER BY due.scheduled_at, due.id) AS nth
          FROM (SELECT x.id, x.scheduled_at
                  FROM pgtask.jobs x
                 WHERE x.queue = %(queue)s::text
                   AND x.priority = %(priority)s::int2
                   AND x.concurrency_key = turn.concurrency_key
                   AND x.scheduled_at <= now()
                   AND x.status = 'pending'
                   AND NOT x.suspect
                   AND (x.start_by IS NULL OR x.start_by > now())
                   AND x.task = ANY (%(tasks)s::text[])
                   AND NOT x.task = ANY (ARRAY(SELECT s.name FROM shut s))
                 ORDER BY x.scheduled_at, x.id + 0
                 LIMIT greatest(0, least(%(limit)s::int4, coalesce(q.max_workers_per_key, 1) - coalesce(l.used, 0)))) due
     ) j
), claimed AS MATERIALIZED (
    SELECT c.*
      FROM pgtask.claim_limited((SELECT array_agg(f.id ORDER BY f.nth, f.place) FROM found f), %(worker_id)s::int4,
                                %(executor)s::int4, %(limit)s::int4, false) c
)
SELECT id, attempt, task, queue, priority, payload, timeout, retry_count, scheduled_at, tick_at FROM claimed
UNION ALL
SELECT NULL, (SELECT count(*) FROM turn)::int4, NULL,
       CASE WHEN (SELECT count(*) FROM claimed) < (SELECT count(*) FROM found WHERE nth = 1)
            THEN coalesce((SELECT max(c.concurrency_key) FROM claimed c), %(after_key)s::text)
            ELSE (SELECT max(t.concurrency_key) FROM turn t)
       END,
       NULL, NULL, NULL, (SELECT count(*) FROM found)::int4, NULL, NULL;
