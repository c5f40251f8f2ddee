DROP VIEW pgtask.all_jobs;
DROP FUNCTION pgtask.retry, pgtask.cancel, pgtask.enqueue, pgtask.notify_rewind;
DROP TABLE pgtask.stats_minute, pgtask.settings, pgtask.leader, pgtask.workers, pgtask.queues, pgtask.tasks,
    pgtask.job_logs, pgtask.runs, pgtask.jobs;
DROP FUNCTION pgtask.notify_queues, pgtask.notify_enqueued;
DROP SEQUENCE pgtask.idle_until;
DROP TYPE pgtask.retry_strategy, pgtask.run_outcome, pgtask.job_status;
