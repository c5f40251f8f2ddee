-- Drops the oldest partition that is wholly past its retention, with all its runs; NULL when there is none.
-- Locks: pgtask.runs, the partition and the default partition, each ACCESS EXCLUSIVE.
SELECT pgtask.drop_expired_partition();
