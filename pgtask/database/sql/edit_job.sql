-- Changes columns of a waiting job, which lock_jobs has locked: those that `changed` names. One that is due may be older now than
-- the watermarks of workers, so they are told. Locks: its row. Index: jobs_pkey.
WITH edited AS (
    UPDATE pgtask.jobs j
       SET queue = coalesce(%(queue)s::text, j.queue),
           priority = coalesce(%(priority)s::int2, j.priority),
           scheduled_at = coalesce(%(scheduled_at)s::timestamptz, j.scheduled_at),
           payload = coalesce(%(payload)s::jsonb, j.payload),
           tags = CASE WHEN 'tags' = ANY (%(changed)s::text[]) THEN %(tags)s::text[] ELSE j.tags END,
           max_retries = CASE WHEN 'max_retries' = ANY (%(changed)s::text[]) THEN %(max_retries)s::int4 ELSE j.max_retries END,
           timeout = CASE WHEN 'timeout' = ANY (%(changed)s::text[]) THEN %(timeout)s::float8 ELSE j.timeout END,
           start_by = CASE WHEN 'start_by' = ANY (%(changed)s::text[]) THEN %(start_by)s::timestamptz ELSE j.start_by END
     WHERE j.id = %(id)s::int8
       AND j.status = 'pending'
    RETURNING j.id, j.queue, j.priority, j.scheduled_at
)
SELECT edited.id,
       CASE WHEN edited.scheduled_at <= now() THEN pgtask.notify_rewind(edited.queue, edited.priority, edited.scheduled_at) END
  FROM edited;
