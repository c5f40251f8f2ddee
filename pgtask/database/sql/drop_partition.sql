-- Drops a partition with all its runs.
-- Locks: pgtask.runs, the partition and the default partition, each ACCESS EXCLUSIVE.
DROP TABLE {partition};
