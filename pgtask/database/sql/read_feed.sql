-- Events after a position, NULL for the start, oldest first. Locks nothing. Index: runs_xid.
SELECT f."position", f.event, f.at, f.id, f.task, f.queue, f.attempt, f.status, f.outcome, f.run_seconds AS seconds, f.worker_id,
       f.error_type, f.error
  FROM pgtask.feed(%(after)s::text, %(limit)s::int4) f;
