ALTER TABLE pgtask.settings DROP CONSTRAINT settings_value_number;
DROP TRIGGER queues_now_limited ON pgtask.queues;
DROP TRIGGER queues_limited ON pgtask.queues;
DROP FUNCTION pgtask.count_running, pgtask.repair_limits, pgtask.claim_limited, pgtask.within_limits, pgtask.rate_room;
