-- Renews this worker's lease and compares notes: of the jobs held here, which are no longer its own (lost) and which are to be
-- cancelled; and how many suspects (see claim_suspects.sql; at most 10) wait for somebody who knows their task. No row of kind alive means that the worker was declared dead and must start anew.
-- Its tasks, told once an executor is ready, and since when it takes no jobs (quiet) are for whoever asks why a job waits.
-- live_since begins again when the lease had run out, so that a worker back from an outage does not rescue at once.
-- Adds what the worker uses to the sums of this minute. The jobs are not joined by id, see complete_jobs.sql. Locks its own rows
-- of workers and worker_minutes. Index: workers_pkey, worker_minutes_pkey, jobs_pkey once per job held, jobs_suspect.
WITH beat AS (
    UPDATE pgtask.workers w
       SET heartbeat_at = now(),
           live_since = CASE WHEN w.expires_at < now() THEN now() ELSE w.live_since END,
           expires_at = now() + make_interval(secs => w.lease),
           executors = coalesce(%(executors)s::int4, w.executors), slots = coalesce(%(slots)s::int4, w.slots),
           running = %(running)s::int4, cpu_percent = %(cpu_percent)s::float4, rss_bytes = %(rss_bytes)s::int8,
           tasks = coalesce(nullif(%(tasks)s::text[], '{}'), w.tasks),
           quiet_at = CASE WHEN %(quiet)s::bool THEN coalesce(w.quiet_at, now()) END,
           completed = coalesce(%(completed)s::int8, w.completed), unsuccessful = coalesce(%(unsuccessful)s::int8, w.unsuccessful)
     WHERE w.id = %(worker_id)s::int4 AND w.dead_at IS NULL
    RETURNING w.stopping_at, w.id, w.slots, w.running, w.cpu_percent, w.rss_bytes
), noted AS (
    INSERT INTO pgtask.worker_minutes AS m (worker_id, minute, beats, slots, busy, cpu_percent, rss_bytes)
    SELECT beat.id, date_trunc('minute', now()), 1, beat.slots, beat.running, coalesce(beat.cpu_percent, 0),
           coalesce(beat.rss_bytes, 0)
      FROM beat
        ON CONFLICT (worker_id, minute) DO UPDATE
       SET beats = m.beats + 1,
           slots = m.slots + excluded.slots,
           busy = m.busy + excluded.busy,
           cpu_percent = m.cpu_percent + excluded.cpu_percent,
           rss_bytes = m.rss_bytes + excluded.rss_bytes
), mine AS MATERIALIZED (
    SELECT j.id, j.attempt, j.cancel_requested_at
      FROM pgtask.jobs j
     WHERE j.id = ANY (%(ids)s::int8[]) AND j.worker_id = %(worker_id)s::int4 AND j.status = 'running'
)
SELECT CASE WHEN beat.stopping_at IS NULL THEN 'alive' ELSE 'stop' END AS kind, 0::int8 AS id, 0 AS attempt FROM beat
UNION ALL
SELECT CASE WHEN m.id IS NULL THEN 'lost' ELSE 'cancel' END, held.id, held.attempt
  FROM unnest(%(ids)s::int8[], %(attempts)s::int4[]) AS held (id, attempt)
  LEFT JOIN mine m ON m.id = held.id AND m.attempt = held.attempt
 WHERE m.id IS NULL OR m.cancel_requested_at IS NOT NULL
UNION ALL
SELECT 'suspects', count(*), 0
  FROM (SELECT FROM pgtask.jobs j
         WHERE j.suspect
           AND j.scheduled_at < now() + interval '1 minute'
           AND j.status = 'pending'
           AND j.task = ANY (%(tasks)s::text[])
           AND (%(queues)s::text[] IS NULL OR j.queue = ANY (%(queues)s::text[]))
         LIMIT 10) waiting
HAVING count(*) > 0;
