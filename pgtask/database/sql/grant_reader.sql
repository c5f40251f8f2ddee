-- What it takes to look at everything that is shown, and to change nothing.
DO $$
BEGIN
    GRANT USAGE ON SCHEMA pgtask TO {role};
    GRANT SELECT ON pgtask.schema_version, pgtask.sized_queues, pgtask.all_jobs, pgtask.dead_letters, pgtask.lanes, pgtask.jobs, pgtask.runs, pgtask.job_logs, pgtask.tasks,
                    pgtask.queues, pgtask.workers, pgtask.leader, pgtask.stats_minute, pgtask.schedules, pgtask.schedule_ticks,
                    pgtask.declarations, pgtask.queue_sizes, pgtask.limits, pgtask.limit_holds, pgtask.unique_keys,
                    pgtask.circuits, pgtask.circuit_tallies, pgtask.resolutions TO {role};
END
$$;
