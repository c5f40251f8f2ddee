-- The next events of a named consumer, which nobody else gets meanwhile. Locks: the consumer's row, skipped where it is held.
-- Index: feed_consumers_pkey, runs_xid.
SELECT f."position", f.event, f.at, f.id, f.task, f.queue, f.attempt, f.status, f.outcome, f.run_seconds AS seconds, f.worker_id,
       f.error_type, f.error
  FROM pgtask.read_feed(%(consumer)s::text, %(limit)s::int4, make_interval(secs => %(lease)s::float8), %(from_start)s::bool) f;
