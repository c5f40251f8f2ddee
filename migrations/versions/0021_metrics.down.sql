DROP TABLE pgtask.worker_minutes;
ALTER TABLE pgtask.workers DROP COLUMN unsuccessful, DROP COLUMN completed;
DROP TABLE pgtask.totals_edge;
DROP TABLE pgtask.totals;
ALTER TABLE pgtask.stats_minute DROP COLUMN wait_buckets, DROP COLUMN run_buckets;
DROP FUNCTION pgtask.in_bucket;
DROP AGGREGATE pgtask.sum_buckets(bigint[]);
DROP FUNCTION pgtask.add_buckets;
DROP FUNCTION pgtask.duration_bounds;
