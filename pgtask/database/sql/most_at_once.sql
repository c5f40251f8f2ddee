-- The most attempts that ran at once, of all and with one concurrency key. What lies between start and end in the history lies
-- between claim and completion. Reads the whole history; for measurements.
SELECT max(steps.running)::int4 AS running, max(steps.of_key)::int4 AS of_key
  FROM (SELECT sum(s.step) OVER (ORDER BY s.at, s.step) AS running,
               sum(s.step) OVER (PARTITION BY s.concurrency_key ORDER BY s.at, s.step) AS of_key
          FROM (SELECT r.started_at AS at, 1 AS step, r.concurrency_key FROM pgtask.runs r WHERE r.started_at IS NOT NULL
                 UNION ALL
                SELECT r.finished_at, -1, r.concurrency_key FROM pgtask.runs r WHERE r.started_at IS NOT NULL) s) steps;
