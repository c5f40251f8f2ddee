-- Ends this worker's lease at its orderly shutdown.
UPDATE pgtask.workers
   SET dead_at = now(), expires_at = least(expires_at, now()), running = 0
 WHERE id = %(worker_id)s::int4 AND dead_at IS NULL;
