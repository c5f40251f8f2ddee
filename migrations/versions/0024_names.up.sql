-- Ended jobs by a queue, task, worker, schedule, key or tag that few have, without reading the whole history. Locks: pgtask.runs
-- SHARE while the indexes are made, which reads the history once.

-- Says of each stretch of the history which names it may hold, in about a hundredth of its size. A completion adds nothing to
-- it: autovacuum sums up a stretch when the next one is begun.
CREATE INDEX runs_names ON pgtask.runs
    USING brin (queue text_bloom_ops, task text_bloom_ops, worker_id int4_bloom_ops, schedule_id int4_bloom_ops,
                unique_key text_bloom_ops, scoped_key text_bloom_ops, concurrency_key text_bloom_ops)
    WITH (pages_per_range = 16, autosummarize = on);
-- Runs without tags cost nothing here.
CREATE INDEX runs_tags ON pgtask.runs USING gin (tags) WHERE tags IS NOT NULL;
