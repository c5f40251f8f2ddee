-- How many jobs may wait in a queue, and by when a job must start. Locks: pgtask.queues for a moment.

-- The sizes of queues whose max_size is beyond what is counted at each enqueue. No more than `waiting` jobs waited at counted_at,
-- when last_id was the latest id drawn.
CREATE TABLE pgtask.queue_sizes (
    queue      text PRIMARY KEY REFERENCES pgtask.queues ON DELETE CASCADE,
    waiting    integer NOT NULL,
    last_id    bigint NOT NULL,
    counted_at timestamptz NOT NULL
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0
);

-- A look at it costs an INSERT a third of what a call of size_exceeded does, which most queues need not. Producers, who may not
-- read queues, see the names of those that may refuse them.
CREATE VIEW pgtask.sized_queues WITH (security_barrier = true) AS
    SELECT q.name FROM pgtask.queues q WHERE q.max_size IS NOT NULL;
COMMENT ON VIEW pgtask.sized_queues IS 'The queues in which no more than so many jobs may wait.';

-- The settings keep it from reading the whole table when the statistics are old: the index is jobs_lane.
CREATE FUNCTION pgtask.waiting_jobs(queue text, up_to integer) RETURNS integer
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    RETURN (SELECT count(*)
              FROM (SELECT FROM pgtask.jobs j
                     WHERE j.queue = waiting_jobs.queue AND j.status = 'pending'
                     LIMIT up_to) waiting);
END
$$;
COMMENT ON FUNCTION pgtask.waiting_jobs IS 'How many jobs wait in a queue, scheduled and retrying ones included; no further than up_to.';

CREATE FUNCTION pgtask.count_queue(queue text) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    -- Before the count: what is enqueued meanwhile is then counted twice rather than not at all.
    latest  bigint := coalesce(pg_sequence_last_value('pgtask.jobs_id_seq'::regclass), 0);
    counted integer := pgtask.waiting_jobs(queue, (SELECT q.max_size FROM pgtask.queues q WHERE q.name = queue));
BEGIN
    UPDATE pgtask.queue_sizes s
       SET waiting = counted, last_id = latest, counted_at = clock_timestamp()
     WHERE s.queue = (SELECT o.queue FROM pgtask.queue_sizes o WHERE o.queue = count_queue.queue FOR UPDATE SKIP LOCKED);
    RETURN counted;
END
$$;
COMMENT ON FUNCTION pgtask.count_queue IS 'Counts the waiting jobs of a queue, up to its max_size, and keeps the number.';

CREATE FUNCTION pgtask.keep_size() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
BEGIN
    INSERT INTO pgtask.queue_sizes (queue, waiting, last_id, counted_at) VALUES (NEW.name, 0, 0, '-infinity')
        ON CONFLICT DO NOTHING;
    PERFORM pgtask.count_queue(NEW.name);
    RETURN NULL;
END
$$;
CREATE TRIGGER queues_size AFTER INSERT OR UPDATE OF max_size ON pgtask.queues
    FOR EACH ROW WHEN (NEW.max_size > 1000) EXECUTE FUNCTION pgtask.keep_size();
INSERT INTO pgtask.queue_sizes (queue, waiting, last_id, counted_at)
    SELECT q.name, 0, 0, '-infinity' FROM pgtask.queues q WHERE q.max_size > 1000;

-- Up to 1,000 jobs are counted each time. For more a count is kept: as many ids as were drawn since bound what has come in all
-- queues together. When that is too many, the count itself decides for 5 microseconds per job that it found, as counting takes
-- about half a microsecond for each; then the caller counts, and keeps what it found unless its transaction looks at one
-- instant: that would fail if somebody else had done so.
CREATE FUNCTION pgtask.fits(queue text, count integer, max_size integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    size pgtask.queue_sizes;
BEGIN
    IF count > max_size THEN
        RETURN false;
    END IF;
    IF max_size > 1000 THEN
        SELECT * INTO size FROM pgtask.queue_sizes s WHERE s.queue = fits.queue;
        IF size.waiting + (pg_sequence_last_value('pgtask.jobs_id_seq'::regclass) - size.last_id) + count <= max_size THEN
            RETURN true;
        END IF;
        IF size.counted_at > clock_timestamp() - make_interval(secs => size.waiting * 0.000005) THEN
            RETURN size.waiting + count <= max_size;
        END IF;
    END IF;
    IF size.queue IS NOT NULL AND current_setting('transaction_isolation') = 'read committed' THEN
        RETURN pgtask.count_queue(queue) + count <= max_size;
    END IF;
    RETURN pgtask.waiting_jobs(queue, max_size - count + 1) + count <= max_size;
END
$$;
COMMENT ON FUNCTION pgtask.fits IS 'Whether so many more jobs may wait in a queue of this max_size.';

CREATE FUNCTION pgtask.size_exceeded(queue text, count integer) RETURNS integer
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    bound integer := (SELECT q.max_size FROM pgtask.queues q WHERE q.name = size_exceeded.queue);
BEGIN
    IF bound IS NULL OR pgtask.fits(queue, count, bound) THEN
        RETURN NULL;
    END IF;
    RETURN bound;
END
$$;
COMMENT ON FUNCTION pgtask.size_exceeded IS
    'The max_size of a queue in which so many more jobs may not wait; NULL when they may.';

CREATE FUNCTION pgtask.admit(queue text, count integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    exceeded integer := pgtask.size_exceeded(queue, count);
BEGIN
    IF exceeded IS NOT NULL THEN
        RAISE EXCEPTION 'queue % is full: no more than % jobs may wait in it', queue, exceeded
            USING ERRCODE = 'PT429', DETAIL = jsonb_build_object('queue', queue, 'max_size', exceeded)::text,
                  HINT = 'Try again later, or raise its max_size.';
    END IF;
END
$$;
COMMENT ON FUNCTION pgtask.admit IS
    'Raises SQLSTATE PT429 when so many more jobs may not wait in a queue; DETAIL is JSON with its queue and max_size.';

REVOKE ALL ON FUNCTION pgtask.waiting_jobs, pgtask.count_queue, pgtask.keep_size, pgtask.fits, pgtask.size_exceeded,
    pgtask.admit FROM PUBLIC;
