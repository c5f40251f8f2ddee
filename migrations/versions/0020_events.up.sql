-- Events. Each run says which transaction wrote it, so that the history is a feed that can be read from any position without
-- a second write for each job. Locks: pgtask.runs SHARE while the index is made, which reads the history once.

-- Runs from before this have no number and are not in the feed; giving them one would rewrite the history.
ALTER TABLE pgtask.runs ADD COLUMN xid bigint;
ALTER TABLE pgtask.runs ALTER COLUMN xid SET DEFAULT pg_current_xact_id()::text::bigint;
CREATE INDEX runs_xid ON pgtask.runs (xid);

-- Transactions are numbered by the cluster: after a restore into another one they begin anew, which begins a generation of
-- positions. `seen_xid` is how far the numbers were a moment ago; `pruned_*` the last run that was pruned.
CREATE TABLE pgtask.feed_state (
    only_row boolean NOT NULL DEFAULT true CONSTRAINT feed_state_pkey PRIMARY KEY CONSTRAINT feed_state_one_row CHECK (only_row),
    generation integer NOT NULL DEFAULT 1,
    begun_at timestamptz NOT NULL DEFAULT '-infinity',
    seen_xid bigint NOT NULL DEFAULT 0,
    pruned_xid bigint NOT NULL DEFAULT 0,
    pruned_job bigint NOT NULL DEFAULT 0,
    pruned_attempt integer NOT NULL DEFAULT 0
);
INSERT INTO pgtask.feed_state DEFAULT VALUES;
COMMENT ON TABLE pgtask.feed_state IS 'Which positions of the feed can be read from.';

CREATE TABLE pgtask.feed_consumers (
    name text NOT NULL CONSTRAINT feed_consumers_pkey PRIMARY KEY
        CONSTRAINT feed_consumers_name_length CHECK (octet_length(name) BETWEEN 1 AND 128),
    "position" text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    read_at timestamptz,
    acknowledged_at timestamptz,
    -- Until then the batch that was read is somebody's to work on.
    lease_ends_at timestamptz
);
COMMENT ON TABLE pgtask.feed_consumers IS 'How far each named consumer of the feed has come.';

CREATE FUNCTION pgtask.parse_position("position" text, OUT generation integer, OUT xid bigint, OUT job bigint, OUT attempt integer)
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    parts text[] := regexp_match("position", '^(\d{1,9})-(\d{1,18})-(\d{1,18})-(\d{1,9})$');
BEGIN
    IF parts IS NULL THEN
        RAISE EXCEPTION '% is no position of the feed', quote_nullable("position") USING ERRCODE = 'invalid_parameter_value';
    END IF;
    generation := parts[1];
    xid := parts[2];
    job := parts[3];
    attempt := parts[4];
END
$$;

-- Behind all that is settled now, or before all that is kept. A transaction that is under way has a number from xmin on.
CREATE FUNCTION pgtask.feed_position(at_start boolean DEFAULT false) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
    SELECT CASE WHEN at_start THEN concat_ws('-', s.generation, s.pruned_xid, s.pruned_job, s.pruned_attempt)
                ELSE concat_ws('-', s.generation, pg_snapshot_xmin(pg_current_snapshot()), 0, 0)
           END
      FROM pgtask.feed_state s;
$$;
COMMENT ON FUNCTION pgtask.feed_position IS 'The position of the feed from which on all comes that is not settled yet, or at its start.';

-- Why nothing is skipped: numbers are given in order, and all transactions below xmin have ended, so what they wrote is all
-- there is below it. Subtransactions write the number of their parent. Ties stay together: a job that is cancelled, retried
-- and cancelled in one transaction has two runs of one position.
CREATE FUNCTION pgtask.feed(after text DEFAULT NULL, max_rows integer DEFAULT 1000)
    RETURNS TABLE ("position" text, event text, at timestamptz, id bigint, task text, queue text, attempt integer, status text,
                   outcome text, run_seconds double precision, worker_id integer, error_type text, error text)
    LANGUAGE plpgsql STABLE ROWS 1000 SECURITY DEFINER
    SET search_path = pg_catalog, pgtask, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    given   record;
    state   pgtask.feed_state;
    settled bigint := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    newest  bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
    reason  text;
BEGIN
    IF max_rows IS NULL OR max_rows NOT BETWEEN 1 AND 100000 THEN
        RAISE EXCEPTION 'max_rows lies between 1 and 100000' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT s.* INTO STRICT state FROM pgtask.feed_state s;
    SELECT p.* INTO given FROM pgtask.parse_position(coalesce(after, pgtask.feed_position(true))) p;
    IF given.generation <> state.generation OR given.xid > newest THEN
        reason := 'The database was restored: its transactions are numbered anew. Events may be missing.';
    ELSIF (given.xid, given.job, given.attempt) < (state.pruned_xid, state.pruned_job, state.pruned_attempt) THEN
        reason := 'Events after this position have been pruned (setting retention_days).';
    END IF;
    IF reason IS NOT NULL THEN
        RETURN QUERY SELECT pgtask.feed_position(given.generation = state.generation AND given.xid <= newest), 'reset', now(), NULL::bigint,
                            NULL, NULL, NULL::integer, NULL, NULL, NULL::double precision, NULL::integer, NULL, reason;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT concat_ws('-', state.generation, r.xid, r.job_id, coalesce(r.attempt, 0)), 'ended', r.finished_at, r.job_id, r.task,
           r.queue, r.attempt,
           CASE WHEN r.final THEN r.status::text
                -- The job was put back by hand since. What it had ended with then is what this is about.
                WHEN r.created_at IS NOT NULL AND r.outcome IN ('completed', 'cancelled') THEN r.outcome::text
                WHEN r.created_at IS NOT NULL THEN 'failed'
                WHEN r.outcome IN ('failed', 'timeout', 'crashed') THEN 'retrying'
                ELSE 'pending' END,
           r.outcome::text, extract(epoch FROM r.finished_at - r.started_at)::double precision, r.worker_id, r.error_type,
           left(r.error, 4000)
      FROM pgtask.runs r
     WHERE r.xid >= given.xid
       AND r.xid < settled
       AND (r.xid, r.job_id, coalesce(r.attempt, 0)) > (given.xid, given.job, given.attempt)
       AND r.finished_at >= state.begun_at
     ORDER BY r.xid, r.job_id, coalesce(r.attempt, 0)
     FETCH FIRST max_rows ROWS WITH TIES;
END
$$;
COMMENT ON FUNCTION pgtask.feed IS
    'Ended attempts after a position, oldest first, none skipped; a row with event reset where that position cannot be read from.';

CREATE FUNCTION pgtask.read_feed(consumer text, max_rows integer DEFAULT 100, lease interval DEFAULT '1 minute',
                                 from_start boolean DEFAULT false)
    RETURNS TABLE ("position" text, event text, at timestamptz, id bigint, task text, queue text, attempt integer, status text,
                   outcome text, run_seconds double precision, worker_id integer, error_type text, error text)
    LANGUAGE plpgsql ROWS 100 SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
#variable_conflict use_column
DECLARE
    reached text;
BEGIN
    SELECT c."position" INTO reached FROM pgtask.feed_consumers c WHERE c.name = consumer;
    IF NOT FOUND THEN
        INSERT INTO pgtask.feed_consumers (name, "position") VALUES (consumer, pgtask.feed_position(from_start)) ON CONFLICT DO NOTHING;
        SELECT c."position" INTO reached FROM pgtask.feed_consumers c WHERE c.name = consumer;
    END IF;
    -- While nothing happens nothing is written.
    IF NOT EXISTS (SELECT FROM pgtask.feed(reached, 1)) THEN
        RETURN;
    END IF;
    -- Another session of this consumer has a batch, or is taking it: this one gets none.
    PERFORM FROM pgtask.feed_consumers c
      WHERE c.name = consumer AND c."position" = reached AND coalesce(c.lease_ends_at, '-infinity') <= clock_timestamp()
        FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE pgtask.feed_consumers c
       SET read_at = clock_timestamp(), lease_ends_at = clock_timestamp() + lease
     WHERE c.name = consumer;
    RETURN QUERY SELECT f.* FROM pgtask.feed(reached, max_rows) f;
END
$$;
COMMENT ON FUNCTION pgtask.read_feed IS
    'The next events of a named consumer. Until it acknowledges them, or the lease is over, its other sessions get none.';

CREATE FUNCTION pgtask.acknowledge_feed(consumer text, "position" text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
#variable_conflict use_column
DECLARE
    given   record;
    reached record;
    current integer := (SELECT s.generation FROM pgtask.feed_state s);
    newest  bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
BEGIN
    SELECT p.* INTO given FROM pgtask.parse_position(acknowledge_feed."position") p;
    SELECT p.* INTO reached
      FROM pgtask.feed_consumers c
     CROSS JOIN LATERAL pgtask.parse_position(c."position") p
     WHERE c.name = consumer
       FOR UPDATE OF c;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no consumer %', quote_nullable(consumer)
            USING ERRCODE = 'undefined_object', HINT = 'Its first pgtask.read_feed makes it.';
    END IF;
    IF given.generation <> current OR given.xid > newest THEN
        RAISE EXCEPTION 'position % is not one of the feed as it is now', acknowledge_feed."position"
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Read again: the answer begins with a reset.';
    END IF;
    IF reached.generation = current AND reached.xid <= newest
       AND (given.xid, given.job, given.attempt) <= (reached.xid, reached.job, reached.attempt) THEN
        -- It never goes back, whoever is late, but for numbers that began anew.
        UPDATE pgtask.feed_consumers c SET lease_ends_at = NULL
         WHERE c.name = consumer AND c."position" = acknowledge_feed."position";
        RETURN false;
    END IF;
    UPDATE pgtask.feed_consumers c
       SET "position" = acknowledge_feed."position", acknowledged_at = clock_timestamp(), lease_ends_at = NULL
     WHERE c.name = consumer;
    RETURN true;
END
$$;
COMMENT ON FUNCTION pgtask.acknowledge_feed IS
    'Says that a consumer has worked off all events up to a position; false when it was further already.';

-- Called now and then. Whoever finds the numbers lower than they were begins a generation: what was restored is not told again.
CREATE FUNCTION pgtask.note_feed() RETURNS integer
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
    UPDATE pgtask.feed_state s
       SET seen_xid = now_at.xid,
           generation = s.generation + gone_back.yes::integer,
           begun_at = CASE WHEN gone_back.yes THEN now() ELSE s.begun_at END,
           pruned_xid = CASE WHEN gone_back.yes THEN 0 ELSE s.pruned_xid END,
           pruned_job = CASE WHEN gone_back.yes THEN 0 ELSE s.pruned_job END,
           pruned_attempt = CASE WHEN gone_back.yes THEN 0 ELSE s.pruned_attempt END
      FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS xid) now_at
     CROSS JOIN LATERAL (SELECT now_at.xid < f.seen_xid AS yes FROM pgtask.feed_state f) gone_back
    RETURNING s.generation;
$$;
COMMENT ON FUNCTION pgtask.note_feed IS 'Notes how far the numbers of transactions are; returns the generation of positions.';

CREATE FUNCTION pgtask.note_pruned(xid bigint, job bigint, attempt integer) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
    UPDATE pgtask.feed_state s
       SET pruned_xid = note_pruned.xid, pruned_job = note_pruned.job, pruned_attempt = note_pruned.attempt
     WHERE (note_pruned.xid, note_pruned.job, note_pruned.attempt) > (s.pruned_xid, s.pruned_job, s.pruned_attempt);
$$;
COMMENT ON FUNCTION pgtask.note_pruned IS 'Says that runs up to a position have been pruned, so that consumers behind it are told.';

CREATE OR REPLACE FUNCTION pgtask.drop_expired_partition() RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp SET datestyle = 'ISO' AS $$
DECLARE
    -- A retention beyond any calendar counts as a hundred years.
    retention interval := (SELECT make_interval(secs => 86400 * least(greatest((s.value #>> '{}')::double precision, 0), 36500))
                             FROM pgtask.settings s
                            WHERE s.name = 'retention_days');
    partition text;
BEGIN
    SELECT part.name INTO partition
      FROM (SELECT c.relname AS name,
                   substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([^'']+)''\)')::timestamptz AS ends_at
              FROM pg_inherits i
              JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = 'pgtask.runs'::regclass) part
     WHERE part.ends_at <= now() - retention
     ORDER BY part.ends_at
     LIMIT 1;
    IF partition IS NOT NULL THEN
        -- The end of its index, so this takes no longer for a large one.
        EXECUTE format('SELECT pgtask.note_pruned(last.xid, last.job_id, coalesce(last.attempt, 0)) '
                       'FROM (SELECT r.xid, r.job_id, r.attempt FROM pgtask.%I r, pgtask.feed_state s '
                       'WHERE r.xid IS NOT NULL AND r.finished_at >= s.begun_at '
                       'ORDER BY r.xid DESC, r.job_id DESC, r.attempt DESC NULLS LAST LIMIT 1) last', partition);
        -- Takes ACCESS EXCLUSIVE on pgtask.runs, the partition and the default partition.
        EXECUTE format('DROP TABLE pgtask.%I', partition);
    END IF;
    RETURN partition;
END
$$;

-- Webhooks are consumers that the leader among the workers serves. The secret signs, so that it must be kept as it is.
CREATE TABLE pgtask.webhooks (
    id integer GENERATED ALWAYS AS IDENTITY CONSTRAINT webhooks_pkey PRIMARY KEY,
    name text NOT NULL CONSTRAINT webhooks_name UNIQUE CONSTRAINT webhooks_name_length CHECK (octet_length(name) BETWEEN 1 AND 128),
    url text NOT NULL CONSTRAINT webhooks_url_length CHECK (octet_length(url) BETWEEN 1 AND 8000),
    secret text NOT NULL,
    -- What is sent; NULL means all.
    statuses text[],
    tasks text[],
    queues text[],
    paused_at timestamptz,
    paused_reason text,
    "position" text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    failures integer NOT NULL DEFAULT 0,
    first_failed_at timestamptz,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz,
    last_status smallint,
    last_error text
);
COMMENT ON TABLE pgtask.webhooks IS 'Where events are sent to, and how far that has come.';

-- Only the owner of the schema writes it, so that who may make webhooks cannot send them into the network of the workers.
CREATE TABLE pgtask.webhook_networks (
    network cidr NOT NULL CONSTRAINT webhook_networks_pkey PRIMARY KEY
);
COMMENT ON TABLE pgtask.webhook_networks IS 'Networks that webhooks may reach though they are not public.';

REVOKE ALL ON FUNCTION pgtask.parse_position, pgtask.feed_position, pgtask.feed, pgtask.read_feed, pgtask.acknowledge_feed,
    pgtask.note_feed, pgtask.note_pruned FROM PUBLIC;
