-- Makes a table made by create_partition the partition of a range.
-- Locks: pgtask.runs SHARE UPDATE EXCLUSIVE, which lets completions pass, then the default partition ACCESS EXCLUSIVE.
ALTER TABLE pgtask.runs ATTACH PARTITION {partition} FOR VALUES FROM ({begins_at}) TO ({ends_at});
