-- Mends: a retry is not brought forward by a further enqueue, nor a job put off beyond its own deadline; retries by hand count
-- against max_size at once and lock in the order in which deletions do. Locks: none of note.

-- Retries by hand draw no ids, by which else is known what has come in since a queue was counted.
CREATE FUNCTION pgtask.note_put_back(queues text[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
BEGIN
    UPDATE pgtask.queue_sizes s
       SET waiting = s.waiting + came.number
      FROM (SELECT o.queue, count(*) AS number
              FROM unnest(note_put_back.queues) AS came (queue)
              JOIN pgtask.queue_sizes o ON o.queue = came.queue
             GROUP BY o.queue) came
     WHERE s.queue = came.queue;
END
$$;
COMMENT ON FUNCTION pgtask.note_put_back IS 'Adds jobs that were put back, by their queues, to the counts that are kept of them.';
REVOKE ALL ON FUNCTION pgtask.note_put_back FROM PUBLIC;

CREATE OR REPLACE FUNCTION pgtask.meet_holder(holder bigint, job pgtask.jobs, on_conflict text, max_wait interval) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    changed pgtask.jobs;
BEGIN
    IF on_conflict = 'error' THEN
        RAISE EXCEPTION 'job % holds the unique key %', holder, quote_literal(coalesce(job.unique_key, job.scoped_key))
            USING ERRCODE = 'unique_violation', HINT = 'With on_conflict => ''skip'' the id of that job is returned.';
    ELSIF on_conflict = 'skip' THEN
        RETURN 'held';
    ELSIF on_conflict = 'replace' THEN
        UPDATE pgtask.jobs j
           SET payload = job.payload, priority = job.priority, tags = job.tags,
               -- One that waits for its retry goes on waiting for it.
               scheduled_at = CASE WHEN j.retry_count > 0 THEN greatest(j.scheduled_at, job.scheduled_at)
                                   ELSE job.scheduled_at END,
               timeout = job.timeout, max_retries = job.max_retries, retry_strategy = job.retry_strategy,
               retry_delay = job.retry_delay, max_retry_delay = job.max_retry_delay, traceparent = job.traceparent,
               concurrency_key = job.concurrency_key, start_by = job.start_by
         WHERE j.id = holder AND j.status = 'pending' AND j.task = job.task
        RETURNING j.* INTO changed;
    ELSE
        UPDATE pgtask.jobs j
           SET scheduled_at = CASE WHEN j.retry_count > 0 THEN greatest(j.scheduled_at, job.scheduled_at)
                                   ELSE least(job.scheduled_at, j.created_at + max_wait) END,
               -- Put off, it is to start by when the latest caller wants it; an older wish would end it first.
               start_by = job.start_by
         WHERE j.id = holder AND j.status = 'pending' AND j.task = job.task
        RETURNING j.* INTO changed;
    END IF;
    IF changed.id IS NULL THEN
        PERFORM FROM pgtask.jobs j WHERE j.id = holder AND j.status = 'pending' AND j.task <> job.task;
        IF FOUND THEN
            RAISE EXCEPTION 'job % holds the unique key % and is of another task: it cannot be changed for task %',
                holder, quote_literal(coalesce(job.unique_key, job.scoped_key)), job.task
                USING ERRCODE = 'unique_violation', HINT = 'Give the jobs of each task keys of their own.';
        END IF;
        RETURN 'held';
    END IF;
    -- It may be due before the watermarks of workers now. What is due later, they come to.
    IF changed.scheduled_at <= now() THEN
        PERFORM pgtask.notify_rewind(changed.queue, changed.priority, changed.scheduled_at);
    END IF;
    RETURN CASE on_conflict WHEN 'replace' THEN 'replaced' ELSE 'rescheduled' END;
END
$$;

CREATE OR REPLACE FUNCTION pgtask.retry(job_id bigint) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    run pgtask.runs;
    holder bigint;
BEGIN
    -- Before the run is: whoever deletes a job locks them in this order, too.
    PERFORM FROM pgtask.unique_keys k WHERE k.job_id = retry.job_id ORDER BY k.unique_key FOR UPDATE;
    SELECT * INTO run FROM pgtask.runs r WHERE r.job_id = retry.job_id AND r.final FOR UPDATE;
    IF NOT FOUND THEN
        RETURN (SELECT 'active' FROM pgtask.jobs j WHERE j.id = retry.job_id);
    END IF;
    IF run.status = 'completed' THEN
        RETURN 'completed';
    END IF;
    IF run.scoped_key IS NOT NULL THEN
        holder := pgtask.take_key(run.scoped_key, run.job_id, run.unique_scope, run.unique_until);
    ELSE
        SELECT j.id INTO holder FROM pgtask.jobs j WHERE j.unique_key = run.unique_key;
    END IF;
    IF holder IS NOT NULL THEN
        RAISE EXCEPTION 'job % cannot be retried: job % holds its unique key %', job_id, holder,
            coalesce(run.unique_key, run.scoped_key)
            USING ERRCODE = 'unique_violation', HINT = 'Cancel the holder or wait until it ends.';
    END IF;
    UPDATE pgtask.runs r SET final = false, status = NULL
        WHERE r.job_id = retry.job_id AND r.final AND r.finished_at = run.finished_at;
    INSERT INTO pgtask.jobs (id, scheduled_at, created_at, timeout, retry_delay, max_retry_delay, attempt, max_retries,
                             retry_strategy, priority, queue, task, payload, unique_key, traceparent, tags,
                             schedule_id, tick_at, start_by, concurrency_key, scoped_key, unique_scope, unique_until,
                             dead_letter)
    VALUES (run.job_id, run.scheduled_at, run.created_at, run.timeout, run.retry_delay, run.max_retry_delay, run.claims,
            run.max_retries, run.retry_strategy, run.priority, run.queue, run.task, run.payload, run.unique_key,
            run.traceparent, run.tags, run.schedule_id, run.tick_at, NULL, run.concurrency_key, run.scoped_key,
            run.unique_scope, run.unique_until, run.dead_letter);
    PERFORM pgtask.note_put_back(ARRAY[run.queue]);
    PERFORM pgtask.notify_rewind(run.queue, run.priority, run.scheduled_at);
    RETURN 'pending';
END
$$;

CREATE OR REPLACE FUNCTION pgtask.retry_jobs(ids bigint[], due timestamptz DEFAULT NULL, spacing double precision DEFAULT NULL)
    RETURNS TABLE (job_id bigint, answer text, detail text)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
#variable_conflict use_column
DECLARE
    plain bigint[];
    keyed bigint[];
    completed bigint[];
    oldest timestamptz;
    newest timestamptz;
    put_back bigint := 0;
    keyed_id bigint;
BEGIN
    -- Keys before runs, as whoever deletes jobs locks them, too.
    PERFORM FROM pgtask.unique_keys k WHERE k.job_id = ANY (retry_jobs.ids) ORDER BY k.unique_key FOR UPDATE;
    -- Locked in the order of their ids, so that two callers cannot lock them crosswise; those with a key only by
    -- pgtask.retry(), after their keys.
    WITH locked AS MATERIALIZED (
        SELECT r.job_id, r.finished_at, r.status
          FROM pgtask.runs r
         WHERE r.job_id = ANY (retry_jobs.ids)
           AND r.final
           AND r.unique_key IS NULL
           AND r.scoped_key IS NULL
         ORDER BY r.job_id
           FOR UPDATE
    )
    SELECT coalesce(array_agg(l.job_id) FILTER (WHERE l.status <> 'completed'), '{}'),
           coalesce(array_agg(l.job_id) FILTER (WHERE l.status = 'completed'), '{}'),
           min(l.finished_at), max(l.finished_at)
      INTO plain, completed, oldest, newest
      FROM locked l;
    keyed := ARRAY(SELECT r.job_id
                     FROM pgtask.runs r
                    WHERE r.job_id = ANY (retry_jobs.ids)
                      AND r.final
                      AND num_nonnulls(r.unique_key, r.scoped_key) > 0
                    ORDER BY r.finished_at, r.job_id);

    RETURN QUERY
    WITH put_back AS (
        -- The bounds keep out the partitions that hold none of them.
        UPDATE pgtask.runs r
           SET final = false, status = NULL
         WHERE r.job_id = ANY (plain)
           AND r.final
           AND r.finished_at BETWEEN oldest AND newest
        RETURNING r.*
    ), numbered AS (
        SELECT p.*, CASE WHEN due IS NULL THEN p.scheduled_at
                         ELSE due + make_interval(secs => coalesce(spacing, 0) * (row_number() OVER (ORDER BY p.finished_at, p.job_id) - 1))
                    END AS due_at
          FROM put_back p
    ), inserted AS (
        INSERT INTO pgtask.jobs (id, scheduled_at, created_at, timeout, retry_delay, max_retry_delay, attempt, max_retries,
                                 retry_strategy, priority, queue, task, payload, traceparent, tags, schedule_id, tick_at,
                                 concurrency_key, unique_until, dead_letter)
        SELECT n.job_id, n.due_at, n.created_at, n.timeout, n.retry_delay, n.max_retry_delay, n.claims, n.max_retries,
               n.retry_strategy, n.priority, n.queue, n.task, n.payload, n.traceparent, n.tags, n.schedule_id, n.tick_at,
               n.concurrency_key, n.unique_until, n.dead_letter
          FROM numbered n
        RETURNING id, queue, priority, scheduled_at
    ), noted AS (
        SELECT pgtask.note_put_back(ARRAY(SELECT i.queue FROM inserted i))
    ), notified AS (
        SELECT pgtask.notify_rewind(i.queue, i.priority, min(i.scheduled_at))
          FROM inserted i
         WHERE i.scheduled_at <= now()
         GROUP BY i.queue, i.priority
    )
    SELECT i.id, 'pending', NULL::text FROM inserted i WHERE (SELECT count(*) FROM notified) >= 0 AND (SELECT count(*) FROM noted) >= 0;
    GET DIAGNOSTICS put_back = ROW_COUNT;

    FOREACH keyed_id IN ARRAY keyed LOOP
        job_id := keyed_id;
        detail := NULL;
        BEGIN
            answer := pgtask.retry(keyed_id);
            IF answer = 'pending' AND due IS NOT NULL THEN
                UPDATE pgtask.jobs j SET scheduled_at = due + make_interval(secs => coalesce(spacing, 0) * put_back) WHERE j.id = keyed_id;
            END IF;
            put_back := put_back + (answer IS NOT DISTINCT FROM 'pending')::int4;
        EXCEPTION WHEN unique_violation THEN
            answer := 'held';
            detail := SQLERRM;
        END;
        RETURN NEXT;
    END LOOP;

    RETURN QUERY
    SELECT c.id, 'completed', NULL::text FROM unnest(completed) AS c (id)
     UNION ALL
    SELECT rest.id, CASE WHEN j.id IS NOT NULL THEN 'active' END, NULL::text
      FROM (SELECT unnest(retry_jobs.ids) EXCEPT SELECT unnest(plain || keyed || completed)) AS rest (id)
      LEFT JOIN pgtask.jobs j ON j.id = rest.id;
END
$$;

CREATE OR REPLACE FUNCTION pgtask.claim_limited(ids bigint[], worker_id integer, executor integer, most integer, suspects boolean)
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
         -- One that was opened meanwhile is no longer the one that this look found due.
         WHERE k.task = c.task AND k.state = 'open' AND k.hold_until <= clock_timestamp()
    )
    SELECT c.id, c.attempt, c.task, c.queue, c.priority, c.payload, c.timeout, c.retry_count, c.scheduled_at, c.tick_at,
           c.concurrency_key
      FROM claimed c;
END
$$;

-- As for tasks (0010): the old rate may have put the next start far off.
CREATE FUNCTION pgtask.queue_rate_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
BEGIN
    UPDATE pgtask.limits l SET free_at = clock_timestamp()
     WHERE l.scope = 'queue' AND l.name = NEW.name AND l.key = '' AND l.free_at > clock_timestamp();
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION pgtask.queue_rate_changed FROM PUBLIC;
CREATE TRIGGER queues_rate_changed AFTER UPDATE OF rate_limit, rate_period, rate_burst ON pgtask.queues FOR EACH ROW
    WHEN ((OLD.rate_limit, OLD.rate_period, OLD.rate_burst) IS DISTINCT FROM (NEW.rate_limit, NEW.rate_period, NEW.rate_burst))
    EXECUTE FUNCTION pgtask.queue_rate_changed();
