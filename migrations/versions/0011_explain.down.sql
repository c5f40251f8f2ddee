DROP FUNCTION pgtask.explain, pgtask.explain_history, pgtask.explain_origin, pgtask.explain_ended, pgtask.explain_running,
    pgtask.explain_waiting, pgtask.explain_turn, pgtask.explain_lanes, pgtask.explain_limits, pgtask.explain_rate, pgtask.explain_workers,
    pgtask.explain_orders, pgtask.last_job_id, pgtask.ageing_step, pgtask.explain_fate, pgtask.explain_worker, pgtask.explain_error,
    pgtask.explain_quoted, pgtask.explain_list, pgtask.explain_count, pgtask.explain_took, pgtask.explain_since, pgtask.explain_instant, pgtask.explain_moment,
    pgtask.explain_span;
DROP TYPE pgtask.reason;
ALTER TABLE pgtask.workers DROP COLUMN tasks, DROP COLUMN quiet_at;
