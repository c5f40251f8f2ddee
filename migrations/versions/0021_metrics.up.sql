-- How long attempts took and waited, in buckets, so that percentiles can be told and added up; totals that only grow; what each
-- worker did, minute by minute. Locks: pgtask.stats_minute and pgtask.workers ACCESS EXCLUSIVE, for a moment.

-- Upper bounds in seconds; a last bucket takes the rest. They are part of what is stored: other bounds need other columns.
CREATE FUNCTION pgtask.duration_bounds() RETURNS float8[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT '{0.001,0.0025,0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,2.5,5,10,30,60,120,300,600,1800,3600,14400}'::float8[]
$$;
COMMENT ON FUNCTION pgtask.duration_bounds() IS 'Upper bounds, in seconds, of all buckets of durations but the last.';

CREATE FUNCTION pgtask.add_buckets(total bigint[], more bigint[]) RETURNS bigint[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT CASE WHEN more IS NULL THEN total
            WHEN total IS NULL THEN more
            ELSE ARRAY(SELECT coalesce(t.number, 0) + coalesce(m.number, 0)
                         FROM unnest(total) WITH ORDINALITY AS t (number, position)
                         FULL JOIN unnest(more) WITH ORDINALITY AS m (number, position) USING (position)
                        ORDER BY position) END
$$;
COMMENT ON FUNCTION pgtask.add_buckets(bigint[], bigint[]) IS 'Buckets added up one by one; NULL is none.';
CREATE AGGREGATE pgtask.sum_buckets(bigint[]) (SFUNC = pgtask.add_buckets, STYPE = bigint[], PARALLEL = SAFE);
COMMENT ON AGGREGATE pgtask.sum_buckets(bigint[]) IS 'Buckets added up one by one; NULL is none.';

-- `number` in the bucket that has this place, 0 for the first, and nothing in the others.
CREATE FUNCTION pgtask.in_bucket(place integer, number bigint) RETURNS bigint[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT CASE WHEN place IS NOT NULL
            THEN array_fill(0::bigint, ARRAY[place]) || number
                 || array_fill(0::bigint, ARRAY[cardinality(pgtask.duration_bounds()) - place]) END
$$;
COMMENT ON FUNCTION pgtask.in_bucket(integer, bigint) IS 'Buckets that are empty but for one.';

ALTER TABLE pgtask.stats_minute
    ADD COLUMN run_buckets bigint[],
    ADD COLUMN wait_buckets bigint[];

-- What came of all attempts up to a minute. Minutes that will not be computed again are added, so that counters only grow.
CREATE TABLE pgtask.totals (
    queue text NOT NULL,
    task text NOT NULL,
    completed bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    retried bigint NOT NULL DEFAULT 0,
    cancelled bigint NOT NULL DEFAULT 0,
    lost bigint NOT NULL DEFAULT 0,
    run_seconds double precision NOT NULL DEFAULT 0,
    run_buckets bigint[],
    CONSTRAINT totals_pkey PRIMARY KEY (queue, task)
);
COMMENT ON TABLE pgtask.totals IS 'What came of all attempts before totals_edge, by queue and task.';
CREATE TABLE pgtask.totals_edge (
    one boolean NOT NULL DEFAULT true CONSTRAINT totals_edge_pkey PRIMARY KEY CONSTRAINT totals_edge_one CHECK (one),
    minute timestamptz NOT NULL
);
INSERT INTO pgtask.totals_edge (minute) VALUES ('-infinity');
COMMENT ON TABLE pgtask.totals_edge IS 'The minute from which on statistics are not yet part of the totals.';

-- Attempts that a worker has seen end, told with its heartbeat.
ALTER TABLE pgtask.workers
    ADD COLUMN completed bigint NOT NULL DEFAULT 0,
    ADD COLUMN unsuccessful bigint NOT NULL DEFAULT 0;

-- Sums over the heartbeats of a minute: divided by `beats` they are averages, and busy / slots is how much it was used.
CREATE TABLE pgtask.worker_minutes (
    worker_id integer NOT NULL,
    minute timestamptz NOT NULL,
    beats integer NOT NULL,
    slots bigint NOT NULL,
    busy bigint NOT NULL,
    cpu_percent double precision NOT NULL,
    rss_bytes bigint NOT NULL,
    CONSTRAINT worker_minutes_pkey PRIMARY KEY (worker_id, minute)
) WITH (fillfactor = 70);
CREATE INDEX worker_minutes_minute ON pgtask.worker_minutes (minute);
COMMENT ON TABLE pgtask.worker_minutes IS 'What each worker used of its slots, processors and memory, minute by minute.';

REVOKE ALL ON FUNCTION pgtask.duration_bounds(), pgtask.add_buckets(bigint[], bigint[]), pgtask.sum_buckets(bigint[]),
                       pgtask.in_bucket(integer, bigint) FROM PUBLIC;
