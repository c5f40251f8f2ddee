-- Attempts that ended since an instant and were written by a transaction not older than `horizon`, by the time they ended; and
-- of those only what comes after the key (after_time, after_id, after_attempt). A filter that is NULL matches all.
-- xmin has 32 bits: `newest`, the snapshot's upper end, says which of the numbers it stands for. Takes no locks.
-- Index: runs_finished_at, hence cheap for a short time only; all_jobs by id for the tags, which attempts do not carry.
SELECT r.finished_at AS at,
       r.job_id AS id,
       r.task,
       r.queue,
       r.attempt,
       shown.status,
       r.outcome::text AS outcome,
       extract(epoch FROM r.finished_at - r.started_at)::float8 AS seconds,
       r.worker_id,
       r.error_type,
       left(r.error, 4000) AS error
  FROM pgtask.runs r
 CROSS JOIN LATERAL (
    SELECT CASE WHEN r.final THEN r.status::text
                WHEN r.outcome IN ('failed', 'timeout', 'crashed') THEN 'retrying'
                ELSE 'pending' END AS status
 ) shown
 WHERE r.finished_at >= %(since)s::timestamptz
   AND %(newest)s::int8 - ((%(newest)s::int8 - r.xmin::text::int8) & 4294967295) >= %(horizon)s::int8
   AND (r.finished_at, r.job_id, coalesce(r.attempt, 0))
       > (%(after_time)s::timestamptz, %(after_id)s::int8, %(after_attempt)s::int4)
   AND (%(statuses)s::text[] IS NULL OR shown.status = ANY (%(statuses)s::text[]))
   AND (%(queue)s::text IS NULL OR r.queue = %(queue)s::text)
   AND (%(task)s::text IS NULL OR r.task LIKE %(task)s::text)
   AND (%(tag)s::text IS NULL OR EXISTS (SELECT
                                           FROM pgtask.all_jobs a
                                          WHERE a.id = r.job_id
                                            AND a.tags @> ARRAY[%(tag)s::text]))
 ORDER BY r.finished_at, r.job_id, coalesce(r.attempt, 0)
 LIMIT %(limit)s::int4;
