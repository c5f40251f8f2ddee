-- What a worker needs for its jobs, its own row, rescue, upkeep and schedules, and for the jobs that its handlers enqueue.
DO $$
BEGIN
    GRANT USAGE ON SCHEMA pgtask TO {role};
    GRANT SELECT ON pgtask.schema_version, pgtask.all_jobs, pgtask.dead_letters, pgtask.lanes, pgtask.queues, pgtask.settings,
                    pgtask.sized_queues, pgtask.queue_sizes, pgtask.circuit_tallies TO {role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON pgtask.worker_minutes TO {role};
    GRANT SELECT, INSERT, UPDATE ON pgtask.totals, pgtask.totals_edge TO {role};
    GRANT SELECT ON SEQUENCE pgtask.jobs_id_seq TO {role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON pgtask.jobs, pgtask.workers, pgtask.stats_minute, pgtask.limits,
                                              pgtask.limit_holds, pgtask.unique_keys, pgtask.circuits TO {role};
    GRANT SELECT, INSERT, UPDATE ON pgtask.tasks, pgtask.leader, pgtask.schedules, pgtask.declarations TO {role};
    GRANT SELECT, INSERT, DELETE ON pgtask.job_logs, pgtask.schedule_ticks, pgtask.holdings TO {role};
    GRANT SELECT, INSERT ON pgtask.runs TO {role};
    GRANT SELECT, DELETE ON pgtask.runs_default, pgtask.resolutions TO {role};
    GRANT USAGE ON SEQUENCE pgtask.jobs_id_seq TO {role};
    GRANT SELECT, UPDATE ON SEQUENCE pgtask.idle_until TO {role};
    GRANT SELECT, UPDATE, DELETE ON pgtask.bulk_operations TO {role};
    GRANT EXECUTE ON FUNCTION pgtask.enqueue, pgtask.enqueue_or_find, pgtask.unique_job, pgtask.payload_limit,
                              pgtask.size_exceeded, pgtask.count_queue,
                              pgtask.duration_bounds, pgtask.add_buckets, pgtask.sum_buckets(bigint[]), pgtask.in_bucket,
                              pgtask.notify_rewind, pgtask.cancel, pgtask.add_partition, pgtask.drop_expired_partition, pgtask.prune_api,
                              pgtask.rate_room, pgtask.within_limits, pgtask.claim_limited, pgtask.repair_limits, pgtask.copy_dead_letter,
                              pgtask.report_outcomes, pgtask.repair_circuits, pgtask.pace_retries TO {role};
    GRANT SELECT, UPDATE ("position", paused_at, paused_reason, failures, first_failed_at, next_attempt_at, delivered_at,
                          last_status, last_error) ON pgtask.webhooks TO {role};
    GRANT SELECT ON pgtask.webhook_networks, pgtask.feed_consumers TO {role};
    GRANT EXECUTE ON FUNCTION pgtask.feed, pgtask.feed_position, pgtask.note_feed, pgtask.note_pruned TO {role};
    GRANT EXECUTE ON FUNCTION pgtask.explain_span, pgtask.explain_moment, pgtask.explain_instant,
                              pgtask.explain_since, pgtask.explain_took, pgtask.explain_count, pgtask.explain_list, pgtask.explain_quoted,
                              pgtask.explain_error, pgtask.explain_worker, pgtask.explain_fate, pgtask.ageing_step,
                              pgtask.last_job_id, pgtask.explain_orders, pgtask.explain_workers, pgtask.explain_rate,
                              pgtask.explain_limits, pgtask.explain_lanes, pgtask.explain_turn, pgtask.explain_waiting,
                              pgtask.explain_running, pgtask.explain_ended, pgtask.explain_origin, pgtask.explain_history,
                              pgtask.explain TO {role};
END
$$;
