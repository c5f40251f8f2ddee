-- Adds to the totals the minutes that roll_up.sql will not compute again: those before the ones that it starts from.
-- Locks: rows of pgtask.totals, the row of totals_edge (see lock_totals.sql). Index: stats_minute_pkey, totals_pkey.
WITH due AS MATERIALIZED (
    SELECT e.minute AS since,
           greatest(e.minute, least((SELECT max(s.minute) FROM pgtask.stats_minute s),
                                    date_trunc('minute', now() - interval '1 minute'))) AS until
      FROM pgtask.totals_edge e
), added AS (
    INSERT INTO pgtask.totals AS t (queue, task, completed, failed, retried, cancelled, lost, run_seconds, run_buckets)
    SELECT s.queue, s.task, sum(s.completed), sum(s.failed), sum(s.retried), sum(s.cancelled), sum(s.lost), sum(s.run_seconds),
           pgtask.sum_buckets(s.run_buckets)
      FROM pgtask.stats_minute s
     WHERE s.minute >= (SELECT due.since FROM due)
       AND s.minute < (SELECT due.until FROM due)
     GROUP BY s.queue, s.task
     ORDER BY s.queue, s.task
        ON CONFLICT (queue, task) DO UPDATE
       SET completed = t.completed + excluded.completed,
           failed = t.failed + excluded.failed,
           retried = t.retried + excluded.retried,
           cancelled = t.cancelled + excluded.cancelled,
           lost = t.lost + excluded.lost,
           run_seconds = t.run_seconds + excluded.run_seconds,
           run_buckets = pgtask.add_buckets(t.run_buckets, excluded.run_buckets)
)
UPDATE pgtask.totals_edge e
   SET minute = due.until
  FROM due
 WHERE due.until > e.minute;
