DROP TRIGGER jobs_payload ON pgtask.jobs;
DROP FUNCTION pgtask.check_payload, pgtask.unique_job, pgtask.payload_limit, pgtask.add_partition,
    pgtask.drop_expired_partition;
