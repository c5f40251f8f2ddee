DROP TRIGGER tasks_rate_changed ON pgtask.tasks;
DROP TRIGGER tasks_rate_declared ON pgtask.tasks;
DROP FUNCTION pgtask.pace_retries, pgtask.task_rate_changed, pgtask.repair_circuits, pgtask.close_circuit, pgtask.open_circuit,
              pgtask.report_outcomes;
DROP TABLE pgtask.circuit_tallies;
ALTER TABLE pgtask.circuits
    DROP COLUMN failures,
    DROP COLUMN failed_probes;
ALTER TABLE pgtask.tasks
    DROP COLUMN declared_rate_limit,
    DROP COLUMN declared_rate_period,
    DROP COLUMN declared_rate_burst,
    DROP COLUMN breaker_failures,
    DROP COLUMN breaker_rate,
    DROP COLUMN breaker_window,
    DROP COLUMN breaker_minimum,
    DROP COLUMN breaker_hold,
    DROP COLUMN breaker_max_hold;
