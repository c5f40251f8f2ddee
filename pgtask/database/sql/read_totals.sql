-- What came of all attempts that have been rolled up, by queue and task. Takes no locks. Index: stats_minute_pkey for the minutes
-- that are not yet part of the totals; reads the totals as a whole: a row for each task of each queue.
-- No more than `most` rows, those with the most attempts: whoever may enqueue may make up names, and each is a series. `pairs` is
-- how many there are.
SELECT part.queue,
       part.task,
       sum(part.completed)::int8 AS completed,
       sum(part.failed)::int8 AS failed,
       sum(part.retried)::int8 AS retried,
       sum(part.cancelled)::int8 AS cancelled,
       sum(part.lost)::int8 AS lost,
       sum(part.run_seconds) AS run_seconds,
       pgtask.sum_buckets(part.run_buckets) AS run_buckets,
       count(*) OVER () AS pairs
  FROM (SELECT t.queue, t.task, t.completed, t.failed, t.retried, t.cancelled, t.lost, t.run_seconds, t.run_buckets
          FROM pgtask.totals t
         UNION ALL
        SELECT s.queue, s.task, s.completed, s.failed, s.retried, s.cancelled, s.lost, s.run_seconds, s.run_buckets
          FROM pgtask.stats_minute s
         WHERE s.minute >= (SELECT e.minute FROM pgtask.totals_edge e)) part
 GROUP BY part.queue, part.task
 ORDER BY sum(part.completed + part.failed + part.retried + part.cancelled + part.lost) DESC, part.queue, part.task
 LIMIT %(most)s::int4;
