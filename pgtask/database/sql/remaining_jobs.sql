-- Whether anything is left for a draining worker: a job of a task it knows that is due or waits for a retry, in a queue that it
-- serves and that is neither paused nor limited to none, in time to be started, whose circuit does not stay open until somebody closes it, or one that it runs itself.
SELECT EXISTS (
    SELECT FROM pgtask.jobs j
     WHERE (j.status = 'running' AND j.worker_id = %(worker_id)s::int4)
        OR (j.status = 'pending'
            AND (j.scheduled_at <= now() OR j.retry_count > 0)
            AND (j.start_by IS NULL OR j.start_by > now())
            AND j.task = ANY (%(tasks)s::text[])
            AND (%(queues)s::text[] IS NULL OR j.queue = ANY (%(queues)s::text[]))
            AND NOT EXISTS (SELECT FROM pgtask.queues q WHERE q.name = j.queue AND (q.paused_at IS NOT NULL OR q.max_workers = 0))
            AND NOT EXISTS (SELECT FROM pgtask.circuits c WHERE c.task = j.task AND c.state = 'open' AND c.hold_until IS NULL)));
