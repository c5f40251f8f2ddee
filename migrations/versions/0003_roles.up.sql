-- Doors for roles that have no rights on the tables behind them. Who may go through is not said here: roles belong to the whole
-- cluster, and `pgtask db grant` makes them.

-- For producers, who may not read unique keys, settings or anything else but ids.
CREATE FUNCTION pgtask.unique_job(unique_key text) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
    SELECT j.id FROM pgtask.jobs j WHERE j.unique_key = $1;
$$;
COMMENT ON FUNCTION pgtask.unique_job IS 'The id of the live job that holds a unique key, or NULL.';

CREATE FUNCTION pgtask.payload_limit() RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
    SELECT (s.value #>> '{}')::bigint FROM pgtask.settings s WHERE s.name = 'max_payload_bytes';
$$;
COMMENT ON FUNCTION pgtask.payload_limit IS 'The largest payload that enqueue() and the clients accept, in bytes of JSON text.';

-- The constraint jobs_payload_size sees the size as it comes, and a value copied from another table may come compressed: a
-- hundredfold. A claim takes many jobs at once into the memory of an executor, so the real size counts. Not a constraint, as
-- those are checked at each update too. AFTER, as a BEFORE trigger would make COPY insert row by row.
CREATE FUNCTION pgtask.check_payload() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pgtask, pg_temp AS $$
BEGIN
    IF octet_length(NEW.payload::text) > 16777216 THEN
        RAISE EXCEPTION 'payload has % bytes; the limit is 16777216', octet_length(NEW.payload::text)
            USING ERRCODE = 'check_violation', HINT = 'Store the data elsewhere and pass a reference to it.';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER jobs_payload AFTER INSERT ON pgtask.jobs FOR EACH ROW
    WHEN (pg_column_compression(NEW.payload) IS NOT NULL) EXECUTE FUNCTION pgtask.check_payload();

-- For upkeep, which needs the rights of an owner on pgtask.runs. Both work only as `pgtask.database.partitions` calls them, in
-- a transaction that has taken its turn and bounded its waiting.
CREATE FUNCTION pgtask.add_partition(begins_at timestamptz, ends_at timestamptz) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp
    SET timezone = 'UTC' SET datestyle = 'ISO' AS $$
DECLARE
    partition text := to_char(begins_at, '"runs_"YYYYMMDD');
BEGIN
    IF begins_at <> date_trunc('day', begins_at) OR ends_at - begins_at NOT IN (interval '1 day', interval '7 days') THEN
        RAISE EXCEPTION 'a partition holds a day or a week from midnight UTC on' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Keeps runs out of the default partition from the moment that it is known to have none of the range until that has its
    -- own. Completions do not open it as long as their day has a partition.
    LOCK TABLE pgtask.runs_default IN ACCESS EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM pgtask.runs_default r
                WHERE r.finished_at >= add_partition.begins_at AND r.finished_at < add_partition.ends_at) THEN
        RETURN NULL;
    END IF;
    -- In two steps: CREATE TABLE ... PARTITION OF would shut out all completions while it waits for a long query on runs to
    -- end. This takes ACCESS SHARE on pgtask.runs, then SHARE UPDATE EXCLUSIVE. Runs are never updated, so vacuum has little
    -- to do there.
    EXECUTE format('CREATE TABLE pgtask.%I (LIKE pgtask.runs INCLUDING ALL) '
                   'WITH (autovacuum_vacuum_insert_threshold = 1000000, autovacuum_analyze_threshold = 100000)', partition);
    EXECUTE format('ALTER TABLE pgtask.runs ATTACH PARTITION pgtask.%I FOR VALUES FROM (%L) TO (%L)',
                   partition, begins_at, ends_at);
    RETURN partition;
END
$$;
COMMENT ON FUNCTION pgtask.add_partition IS
    'Adds the partition of pgtask.runs for a day or a week and returns its name; NULL when the default partition has runs of it.';

CREATE FUNCTION pgtask.drop_expired_partition() RETURNS text
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
        -- Takes ACCESS EXCLUSIVE on pgtask.runs, the partition and the default partition.
        EXECUTE format('DROP TABLE pgtask.%I', partition);
    END IF;
    RETURN partition;
END
$$;
COMMENT ON FUNCTION pgtask.drop_expired_partition IS
    'Drops the oldest partition of pgtask.runs that is wholly past retention_days and returns its name; NULL when there is none.';

REVOKE ALL ON FUNCTION pgtask.check_payload, pgtask.unique_job, pgtask.payload_limit, pgtask.add_partition,
    pgtask.drop_expired_partition FROM PUBLIC;
