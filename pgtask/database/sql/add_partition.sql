-- Adds the partition of a day or a week; NULL when the default partition has runs of it, which stay there.
-- Locks: the default partition ACCESS EXCLUSIVE, pgtask.runs SHARE UPDATE EXCLUSIVE, which lets completions pass.
SELECT pgtask.add_partition(%(begins_at)s::timestamptz, %(ends_at)s::timestamptz);
