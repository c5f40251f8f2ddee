-- What a reader may, and besides: change queues, cancel, retry and delete jobs, stop workers, prune. A row can be locked only by
-- who may update something of it: here the columns in which the operator's wishes are kept.
DO $$
BEGIN
    GRANT USAGE ON SCHEMA pgtask TO {role};
    GRANT SELECT ON pgtask.schema_version, pgtask.all_jobs, pgtask.lanes, pgtask.jobs, pgtask.runs, pgtask.runs_default,
                    pgtask.job_logs, pgtask.tasks, pgtask.queues, pgtask.workers, pgtask.leader, pgtask.stats_minute,
                    pgtask.settings TO {role};
    GRANT INSERT, UPDATE, DELETE ON pgtask.queues TO {role};
    GRANT DELETE ON pgtask.jobs, pgtask.runs, pgtask.runs_default, pgtask.job_logs, pgtask.stats_minute, pgtask.workers TO {role};
    GRANT UPDATE (cancel_requested_at) ON pgtask.jobs TO {role};
    GRANT UPDATE (stopping_at) ON pgtask.workers TO {role};
    GRANT EXECUTE ON FUNCTION pgtask.cancel, pgtask.retry, pgtask.add_partition, pgtask.drop_expired_partition TO {role};
END
$$;
