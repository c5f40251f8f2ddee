-- What it takes to look at everything that is shown, and to change nothing.
DO $$
BEGIN
    GRANT USAGE ON SCHEMA pgtask TO {role};
    GRANT SELECT ON pgtask.schema_version, pgtask.sized_queues, pgtask.all_jobs, pgtask.dead_letters, pgtask.lanes, pgtask.jobs, pgtask.runs, pgtask.job_logs, pgtask.tasks,
                    pgtask.queues, pgtask.workers, pgtask.leader, pgtask.stats_minute, pgtask.totals, pgtask.totals_edge, pgtask.bulk_operations, pgtask.worker_minutes, pgtask.schedules, pgtask.schedule_ticks,
                    pgtask.declarations, pgtask.queue_sizes, pgtask.limits, pgtask.limit_holds, pgtask.unique_keys,
                    pgtask.circuits, pgtask.circuit_tallies, pgtask.resolutions TO {role};
    GRANT SELECT ON SEQUENCE pgtask.jobs_id_seq TO {role};
    GRANT EXECUTE ON FUNCTION pgtask.duration_bounds, pgtask.add_buckets, pgtask.sum_buckets(bigint[]), pgtask.in_bucket TO {role};
    GRANT EXECUTE ON FUNCTION pgtask.feed, pgtask.feed_position TO {role};
    GRANT EXECUTE ON FUNCTION pgtask.explain_span, pgtask.explain_moment, pgtask.explain_instant,
                              pgtask.explain_since, pgtask.explain_took, pgtask.explain_count, pgtask.explain_list, pgtask.explain_quoted,
                              pgtask.explain_error, pgtask.explain_worker, pgtask.explain_fate, pgtask.ageing_step,
                              pgtask.last_job_id, pgtask.explain_orders, pgtask.explain_workers, pgtask.explain_rate,
                              pgtask.explain_limits, pgtask.explain_lanes, pgtask.explain_turn, pgtask.explain_waiting,
                              pgtask.explain_running, pgtask.explain_ended, pgtask.explain_origin, pgtask.explain_history,
                              pgtask.explain TO {role};
END
$$;
