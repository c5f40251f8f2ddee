-- Claiming within limits: of queues (jobs running at once, starts in a time), of concurrency keys, and of tasks (starts in a
-- time, circuits). A function, as the looks at the limits must come after their rows are locked, each with a snapshot of its own,
-- and the rows must not stay locked for the time that answers take to travel.
--
-- Locks: pgtask.queues for a moment.

-- GCRA: each start moves free_at on by the interval between two; a burst may be ahead of the clock by so many intervals. Without
-- a search_path of its own and as volatile as the clock, so that it is inlined.
CREATE FUNCTION pgtask.rate_room(rate_limit integer, rate_period double precision, rate_burst integer, free_at timestamptz)
    RETURNS integer LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN rate_limit IS NOT NULL
                THEN greatest(0, floor(rate_burst + 1e-6 - rate_limit / rate_period
                     * extract(epoch FROM greatest(free_at, clock_timestamp()) - clock_timestamp())::float8))::integer END;
$$;
COMMENT ON FUNCTION pgtask.rate_room IS 'How many starts a rate allows now, if it has its whole burst again at free_at; NULL without a rate.';

-- Jobs of no limit at all are let through.
CREATE FUNCTION pgtask.within_limits(ids bigint[], most integer, suspects boolean)
    RETURNS bigint[] LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    WITH given AS MATERIALIZED (
        SELECT j.id, j.queue, j.task, j.concurrency_key, g.place
          FROM unnest(within_limits.ids) WITH ORDINALITY AS g (id, place)
          JOIN pgtask.jobs j ON j.id = g.id
         WHERE j.status = 'pending'
           AND j.suspect = within_limits.suspects
           AND j.scheduled_at <= clock_timestamp()
           AND (j.start_by IS NULL OR j.start_by > clock_timestamp())
    ), of_key AS (
        SELECT g.*, row_number() OVER (PARTITION BY g.queue, g.concurrency_key ORDER BY g.place) AS nth FROM given g
    ), key_free AS (
        SELECT k.id, k.queue, k.task, k.place
          FROM of_key k
         WHERE k.concurrency_key IS NULL
            OR k.nth <= coalesce((SELECT q.max_workers_per_key FROM pgtask.queues q WHERE q.name = k.queue), 1)
                        - coalesce((SELECT l.used FROM pgtask.limits l
                                     WHERE l.scope = 'key' AND l.name = k.queue AND l.key = k.concurrency_key), 0)
    ), of_task AS (
        SELECT k.*, row_number() OVER (PARTITION BY k.task ORDER BY k.place) AS nth FROM key_free k
    ), task_room AS MATERIALIZED (
        SELECT d.task,
               least(pgtask.rate_room(t.rate_limit, t.rate_period, t.rate_burst, l.free_at),
                     CASE c.state WHEN 'open' THEN coalesce(c.hold_until <= clock_timestamp(), false)::integer
                                  WHEN 'half_open' THEN 0 END) AS room
          FROM (SELECT DISTINCT k.task FROM key_free k) d
          LEFT JOIN pgtask.tasks t ON t.name = d.task AND t.rate_limit IS NOT NULL
          LEFT JOIN pgtask.limits l ON l.scope = 'task' AND l.name = d.task AND l.key = ''
          LEFT JOIN pgtask.circuits c ON c.task = d.task
    ), task_free AS (
        SELECT t.id, t.queue, t.place
          FROM of_task t
          JOIN task_room r ON r.task = t.task
         WHERE r.room IS NULL OR t.nth <= r.room
    ), of_queue AS (
        SELECT t.*, row_number() OVER (PARTITION BY t.queue ORDER BY t.place) AS nth FROM task_free t
    ), queue_room AS MATERIALIZED (
        SELECT d.queue,
               CASE WHEN q.paused_at IS NOT NULL THEN 0
                    ELSE least(q.max_workers - coalesce(l.used, 0),
                               pgtask.rate_room(q.rate_limit, q.rate_period, q.rate_burst, l.free_at))
               END AS room
          FROM (SELECT DISTINCT t.queue FROM task_free t) d
          LEFT JOIN pgtask.queues q ON q.name = d.queue
          LEFT JOIN pgtask.limits l ON l.scope = 'queue' AND l.name = d.queue AND l.key = ''
    ), allowed AS (
        SELECT o.id, o.place
          FROM of_queue o
          JOIN queue_room r ON r.queue = o.queue
         WHERE r.room IS NULL OR o.nth <= r.room
         ORDER BY o.place
         LIMIT within_limits.most
    )
    SELECT array_agg(a.id ORDER BY a.place) FROM allowed a);
END
$$;
COMMENT ON FUNCTION pgtask.within_limits IS
    'Which of these jobs, in this order, may be claimed now: at most so many, suspects or others. Exact only while the limits are locked.';

CREATE FUNCTION pgtask.claim_limited(ids bigint[], worker_id integer, executor integer, most integer, suspects boolean)
    RETURNS TABLE (id bigint, attempt integer, task text, queue text, priority smallint, payload text, timeout double precision,
                   retry_count integer, scheduled_at timestamptz, tick_at timestamptz, concurrency_key text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pgtask, pg_temp AS $$
#variable_conflict use_column
DECLARE
    allowed bigint[];
    scopes  pgtask.limit_scope[];
    names   text[];
    keys    text[];
    locked  integer;
BEGIN
    IF NOT EXISTS (SELECT FROM pgtask.workers w
                    WHERE w.id = claim_limited.worker_id AND w.dead_at IS NULL AND w.expires_at > now()) THEN
        RETURN;
    END IF;
    -- A look without locks first: those who wait for a limit ask often, and are to write nothing.
    allowed := pgtask.within_limits(ids, most, suspects);
    IF allowed IS NULL THEN
        RETURN;
    END IF;
    SELECT array_agg(g.scope ORDER BY g.scope, g.name, g.key), array_agg(g.name ORDER BY g.scope, g.name, g.key),
           array_agg(g.key ORDER BY g.scope, g.name, g.key)
      INTO scopes, names, keys
      FROM (SELECT DISTINCT gate.scope, gate.name, gate.key
              FROM pgtask.jobs j
              LEFT JOIN pgtask.queues q ON q.name = j.queue
              LEFT JOIN pgtask.tasks t ON t.name = j.task
             CROSS JOIN LATERAL (VALUES ('queue'::pgtask.limit_scope, j.queue, '', q.limited),
                                        ('key', j.queue, j.concurrency_key, j.concurrency_key IS NOT NULL),
                                        ('task', j.task, '', t.rate_limit IS NOT NULL)) AS gate (scope, name, key, applies)
             WHERE j.id = ANY (allowed) AND gate.applies) g;
    IF scopes IS NOT NULL THEN
        INSERT INTO pgtask.limits (scope, name, key)
        SELECT g.scope, g.name, g.key
          FROM unnest(scopes, names, keys) WITH ORDINALITY AS g (scope, name, key, place)
         WHERE NOT EXISTS (SELECT FROM pgtask.limits l WHERE l.scope = g.scope AND l.name = g.name AND l.key = g.key)
         ORDER BY g.place
            ON CONFLICT DO NOTHING;
        -- All in the same order, so that nobody waits in a circle.
        PERFORM l.used
           FROM unnest(scopes, names, keys) AS g (scope, name, key)
           JOIN pgtask.limits l ON l.scope = g.scope AND l.name = g.name AND l.key = g.key
          ORDER BY l.scope, l.name, l.key
            FOR UPDATE OF l;
        GET DIAGNOSTICS locked = ROW_COUNT;
        IF locked < cardinality(scopes) THEN
            -- One was pruned just now: nothing would count what is taken.
            RETURN;
        END IF;
    END IF;
    PERFORM c.state
       FROM pgtask.circuits c
      WHERE c.task IN (SELECT j.task FROM pgtask.jobs j WHERE j.id = ANY (allowed)) AND c.state = 'open'
        AND c.hold_until <= clock_timestamp()
      ORDER BY c.task
        FOR UPDATE;
    allowed := pgtask.within_limits(allowed, most, suspects);
    IF allowed IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH due AS MATERIALIZED (
        SELECT j.ctid AS tid
          FROM pgtask.jobs j
         WHERE j.id = ANY (allowed) AND j.status = 'pending'
           FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE pgtask.jobs j
           SET status = 'running',
               attempt = j.attempt + 1,
               worker_id = claim_limited.worker_id,
               executor = claim_limited.executor,
               started_at = now()
         WHERE j.ctid = ANY (ARRAY(SELECT d.tid FROM due d))
        RETURNING j.id, j.attempt, j.task, j.queue, j.priority, j.payload::text AS payload, j.timeout, j.retry_count,
                  j.scheduled_at, j.tick_at, j.concurrency_key
    ), held AS (
        INSERT INTO pgtask.limit_holds (job_id, attempt, in_queue, queue, concurrency_key)
        SELECT c.id, c.attempt, q.max_workers IS NOT NULL, c.queue, c.concurrency_key
          FROM claimed c
          LEFT JOIN pgtask.queues q ON q.name = c.queue
         WHERE q.max_workers IS NOT NULL OR c.concurrency_key IS NOT NULL
    ), taken AS (
        SELECT gate.scope, gate.name, gate.key, sum(gate.used)::integer AS used, count(*) * min(gate.interval) AS seconds
          FROM claimed c
          LEFT JOIN pgtask.queues q ON q.name = c.queue
          LEFT JOIN pgtask.tasks t ON t.name = c.task
         CROSS JOIN LATERAL (VALUES ('queue'::pgtask.limit_scope, c.queue, '', q.limited, (q.max_workers IS NOT NULL)::integer,
                                     q.rate_period / q.rate_limit),
                                    ('key', c.queue, c.concurrency_key, c.concurrency_key IS NOT NULL, 1, NULL),
                                    ('task', c.task, '', t.rate_limit IS NOT NULL, 0, t.rate_period / t.rate_limit))
               AS gate (scope, name, key, applies, used, interval)
         WHERE gate.applies
         GROUP BY gate.scope, gate.name, gate.key
    ), counted AS (
        UPDATE pgtask.limits l
           SET used = l.used + t.used,
               free_at = CASE WHEN t.seconds IS NULL THEN l.free_at
                              ELSE greatest(l.free_at, clock_timestamp()) + make_interval(secs => t.seconds) END
          FROM taken t
         WHERE l.scope = t.scope AND l.name = t.name AND l.key = t.key
    ), probing AS (
        UPDATE pgtask.circuits k
           SET state = 'half_open', changed_at = now(), probe_job_id = c.id, probe_attempt = c.attempt
          FROM claimed c
         WHERE k.task = c.task AND k.state = 'open'
    )
    SELECT c.id, c.attempt, c.task, c.queue, c.priority, c.payload, c.timeout, c.retry_count, c.scheduled_at, c.tick_at,
           c.concurrency_key
      FROM claimed c;
END
$$;
COMMENT ON FUNCTION pgtask.claim_limited IS
    'Claims, of these jobs in this order, those that are pending, due and within all limits: at most so many, suspects or others.';

-- What no statement has freed is freed here: holds of attempts that run no more. Each count is then what the holds say.
CREATE FUNCTION pgtask.repair_limits() RETURNS integer
    LANGUAGE plpgsql SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    drifted integer := 0;
    wrong   record;
BEGIN
    DELETE FROM pgtask.limit_holds h
     WHERE NOT EXISTS (SELECT FROM pgtask.jobs j WHERE j.id = h.job_id AND j.attempt = h.attempt AND j.status = 'running');
    -- In order, as claims do; counted again under the lock.
    FOR wrong IN
        WITH counts AS MATERIALIZED (
            SELECT gate.scope, gate.name, gate.key, count(*)::integer AS used
              FROM pgtask.limit_holds h
             CROSS JOIN LATERAL (VALUES ('queue'::pgtask.limit_scope, h.queue, '', h.in_queue),
                                        ('key', h.queue, h.concurrency_key, h.concurrency_key IS NOT NULL))
                   AS gate (scope, name, key, applies)
             WHERE gate.applies
             GROUP BY gate.scope, gate.name, gate.key
        )
        SELECT l.scope, l.name, l.key
          FROM pgtask.limits l
          LEFT JOIN counts c ON c.scope = l.scope AND c.name = l.name AND c.key = l.key
         WHERE l.scope IN ('queue', 'key') AND l.used <> coalesce(c.used, 0)
         ORDER BY l.scope, l.name, l.key
    LOOP
        PERFORM FROM pgtask.limits l WHERE l.scope = wrong.scope AND l.name = wrong.name AND l.key = wrong.key FOR UPDATE;
        UPDATE pgtask.limits l
           SET used = (SELECT count(*) FROM pgtask.limit_holds h
                        WHERE h.queue = wrong.name
                          AND CASE wrong.scope WHEN 'queue' THEN h.in_queue ELSE h.concurrency_key = wrong.key END)
         WHERE l.scope = wrong.scope AND l.name = wrong.name AND l.key = wrong.key;
        drifted := drifted + 1;
    END LOOP;
    RETURN drifted;
END
$$;
COMMENT ON FUNCTION pgtask.repair_limits IS 'Frees what attempts that run no more still hold of limits, and returns how many counts were wrong.';

-- What runs when a queue gets its limit counts at once.
CREATE FUNCTION pgtask.count_running() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
BEGIN
    INSERT INTO pgtask.limit_holds AS h (job_id, attempt, in_queue, queue, concurrency_key)
    SELECT j.id, j.attempt, true, j.queue, j.concurrency_key
      FROM pgtask.jobs j
     WHERE j.queue = NEW.name AND j.status = 'running'
        ON CONFLICT (job_id, attempt) DO UPDATE SET in_queue = true;
    INSERT INTO pgtask.limits AS l (scope, name, used)
    SELECT 'queue', NEW.name, count(*) FROM pgtask.limit_holds h WHERE h.queue = NEW.name AND h.in_queue
        ON CONFLICT (scope, name, key) DO UPDATE SET used = excluded.used;
    RETURN NULL;
END
$$;
CREATE TRIGGER queues_limited AFTER INSERT ON pgtask.queues FOR EACH ROW
    WHEN (NEW.max_workers IS NOT NULL) EXECUTE FUNCTION pgtask.count_running();
CREATE TRIGGER queues_now_limited AFTER UPDATE OF max_workers ON pgtask.queues FOR EACH ROW
    WHEN (NEW.max_workers IS NOT NULL AND OLD.max_workers IS NULL) EXECUTE FUNCTION pgtask.count_running();

REVOKE ALL ON FUNCTION pgtask.rate_room, pgtask.within_limits, pgtask.claim_limited, pgtask.repair_limits, pgtask.count_running
    FROM PUBLIC;

-- A setting of another kind would stop whoever reads it: the claims, or the ends of jobs.
ALTER TABLE pgtask.settings ADD CONSTRAINT settings_value_number
    CHECK (CASE jsonb_typeof(value)
                WHEN 'number' THEN name NOT LIKE 'max%' OR (value #>> '{}')::numeric = trunc((value #>> '{}')::numeric)
                WHEN 'null' THEN name NOT LIKE 'max%'
                ELSE false END) NOT VALID;
