-- What a reader may, and besides: change queues and schedules, cancel, retry and delete jobs, stop workers, prune. A row can be
-- locked only by who may update something of it: here the columns in which the operator's wishes are kept.
DO $$
BEGIN
    GRANT USAGE ON SCHEMA pgtask TO {role};
    GRANT SELECT ON pgtask.schema_version, pgtask.sized_queues, pgtask.all_jobs, pgtask.dead_letters, pgtask.lanes, pgtask.jobs, pgtask.runs, pgtask.runs_default,
                    pgtask.job_logs, pgtask.tasks, pgtask.queues, pgtask.workers, pgtask.leader, pgtask.stats_minute, pgtask.totals, pgtask.totals_edge, pgtask.worker_minutes,
                    pgtask.settings, pgtask.schedules, pgtask.schedule_ticks, pgtask.declarations,
                    pgtask.queue_sizes, pgtask.limits, pgtask.limit_holds, pgtask.unique_keys, pgtask.circuits,
                    pgtask.circuit_tallies, pgtask.resolutions TO {role};
    GRANT INSERT, UPDATE, DELETE ON pgtask.queues, pgtask.circuits, pgtask.resolutions TO {role};
    GRANT UPDATE (expression, timezone, seconds_field, task, payload, queue, priority, max_retries, timeout, tags, catchup,
                  catchup_limit, catchup_max_age, overlap, jitter, starts_at, ends_at, updated_at)
       ON pgtask.schedules TO {role};
    GRANT DELETE ON pgtask.jobs, pgtask.runs, pgtask.runs_default, pgtask.job_logs, pgtask.stats_minute, pgtask.workers,
                    pgtask.worker_minutes,
                    pgtask.schedule_ticks TO {role};
    GRANT UPDATE (cancel_requested_at, queue, priority, scheduled_at, payload, tags, max_retries, timeout, start_by)
       ON pgtask.jobs TO {role};
    GRANT DELETE, UPDATE (scope, expires_at) ON pgtask.unique_keys TO {role};
    GRANT UPDATE (rate_limit, rate_period, rate_burst, rate_set_by) ON pgtask.tasks TO {role};
    GRANT UPDATE (stopping_at) ON pgtask.workers TO {role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON pgtask.bulk_operations TO {role};
    GRANT EXECUTE ON FUNCTION pgtask.cancel, pgtask.notify_rewind, pgtask.size_exceeded, pgtask.payload_limit, pgtask.retry, pgtask.retry_jobs, pgtask.resolve, pgtask.unresolve,
                              pgtask.add_partition, pgtask.drop_expired_partition, pgtask.prune_api,
                              pgtask.schedule, pgtask.unschedule, pgtask.pause_schedule, pgtask.resume_schedule,
                              pgtask.run_schedule, pgtask.open_circuit, pgtask.close_circuit TO {role};
    GRANT SELECT ON SEQUENCE pgtask.jobs_id_seq TO {role};
    GRANT EXECUTE ON FUNCTION pgtask.duration_bounds, pgtask.add_buckets, pgtask.sum_buckets(bigint[]), pgtask.in_bucket TO {role};
    GRANT SELECT, DELETE ON pgtask.feed_consumers TO {role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON pgtask.webhooks TO {role};
    GRANT SELECT ON pgtask.webhook_networks TO {role};
    GRANT EXECUTE ON FUNCTION pgtask.feed, pgtask.feed_position, pgtask.read_feed, pgtask.acknowledge_feed,
                              pgtask.note_pruned TO {role};
    GRANT EXECUTE ON FUNCTION pgtask.explain_span, pgtask.explain_moment, pgtask.explain_instant,
                              pgtask.explain_since, pgtask.explain_took, pgtask.explain_count, pgtask.explain_list, pgtask.explain_quoted,
                              pgtask.explain_error, pgtask.explain_worker, pgtask.explain_fate, pgtask.ageing_step,
                              pgtask.last_job_id, pgtask.explain_orders, pgtask.explain_workers, pgtask.explain_rate,
                              pgtask.explain_limits, pgtask.explain_lanes, pgtask.explain_turn, pgtask.explain_waiting,
                              pgtask.explain_running, pgtask.explain_ended, pgtask.explain_origin, pgtask.explain_history,
                              pgtask.explain TO {role};
END
$$;
