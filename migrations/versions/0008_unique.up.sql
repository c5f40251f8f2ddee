-- Unique jobs. A key of the scope active without a window is jobs.unique_key, held by the index jobs_unique_key: plain INSERTs and
-- the claim know no other. Every other key is a scoped_key, held by a row of pgtask.unique_keys that is written at enqueue (and
-- retry) alone. Whether its holder still holds it is judged when the key is wanted next, under the lock of that row; the claim
-- and the completion do nothing for it. The two kinds are name spaces of their own: they never meet. Among scoped keys, the
-- scope and the window of the holder count, whatever the next one asks for.
-- Lock order: the row of the key, then the row of the job. Locks of this migration: catalogs alone.

-- The key of a job that is unique by values of its payload, or by all of it: no paths. Made here, for every client, from the
-- text of jsonb: in it keys are sorted, each is there once, and numbers have no exponent. So 1.50, 1.5 and 15e-1 become one by
-- cutting zeros after the point, outside of strings.
CREATE FUNCTION pgtask.payload_key(task text, payload jsonb, paths text[]) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
    SELECT encode(sha256(convert_to(regexp_replace(
               jsonb_build_array($1, coalesce(chosen.paths, '[]'), coalesce(chosen.items, $2))::text,
               '("(?:[^"\\]|\\.)*")|(\.[0-9]*[1-9])0+(?![0-9])|\.0+(?![0-9])', '\1\2', 'g'), 'UTF8')), 'hex')
      FROM (SELECT jsonb_agg(p.path ORDER BY p.path COLLATE "C") AS paths,
                   jsonb_agg(coalesce($2 #> string_to_array(p.path, '.'), 'null') ORDER BY p.path COLLATE "C") AS items
              FROM (SELECT DISTINCT unnest($3) AS path) p) chosen;
$$;

-- Whether the job that is named as the holder of a key holds it still. The row of the key is locked by the caller. A waiting
-- holder is locked as well: a claim under way is waited for, and a later one passes it by until the caller has committed, so
-- that it cannot start before what the caller has written is there to be seen. One that runs is not locked: it may end.
CREATE FUNCTION pgtask.holds_key(held pgtask.unique_keys) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    ended pgtask.job_status;
BEGIN
    IF held.expires_at <= now() THEN
        RETURN false;
    ELSIF held.scope = 'always' THEN
        RETURN true;
    ELSIF held.scope = 'waiting' THEN
        PERFORM FROM pgtask.jobs j WHERE j.id = held.job_id AND j.status = 'pending' FOR UPDATE;
        RETURN FOUND;
    END IF;
    PERFORM FROM pgtask.jobs j WHERE j.id = held.job_id;
    IF FOUND OR held.scope = 'active' THEN
        RETURN FOUND;
    END IF;
    SELECT r.status INTO ended FROM pgtask.runs r WHERE r.job_id = held.job_id AND r.final;
    RETURN ended IS NOT DISTINCT FROM 'completed';
END
$$;

-- Takes a scoped key for a job. Returns NULL when the job has it now, else the job that holds it. It looks again only where a row
-- was deleted in between: one that a transaction of a higher isolation level cannot see fails that with a serialization error.
CREATE FUNCTION pgtask.take_key(unique_key text, job_id bigint, scope pgtask.unique_scope, expires_at timestamptz) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pgtask, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    held pgtask.unique_keys;
BEGIN
    LOOP
        -- Waits for another transaction that is about to take it.
        INSERT INTO pgtask.unique_keys (unique_key, job_id, scope, expires_at)
        VALUES (unique_key, job_id, scope, expires_at)
        ON CONFLICT DO NOTHING;
        IF FOUND THEN
            RETURN NULL;
        END IF;
        SELECT * INTO held FROM pgtask.unique_keys k WHERE k.unique_key = take_key.unique_key FOR UPDATE;
        IF FOUND THEN
            IF held.job_id <> job_id AND pgtask.holds_key(held) THEN
                RETURN held.job_id;
            END IF;
            UPDATE pgtask.unique_keys k
               SET job_id = take_key.job_id, scope = take_key.scope, created_at = now(), expires_at = take_key.expires_at
             WHERE k.unique_key = take_key.unique_key;
            RETURN NULL;
        END IF;
    END LOOP;
END
$$;

-- What becomes of a new job whose key is held: held, replaced or rescheduled. A holder that runs or has ended is left alone.
CREATE FUNCTION pgtask.meet_holder(holder bigint, job pgtask.jobs, on_conflict text, max_wait interval) RETURNS text
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
           SET payload = job.payload, priority = job.priority, scheduled_at = job.scheduled_at, tags = job.tags,
               timeout = job.timeout, max_retries = job.max_retries, retry_strategy = job.retry_strategy,
               retry_delay = job.retry_delay, max_retry_delay = job.max_retry_delay, traceparent = job.traceparent,
               concurrency_key = job.concurrency_key, start_by = job.start_by
         WHERE j.id = holder AND j.status = 'pending' AND j.task = job.task
        RETURNING j.* INTO changed;
    ELSE
        UPDATE pgtask.jobs j
           SET scheduled_at = least(job.scheduled_at, j.created_at + max_wait)
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

CREATE FUNCTION pgtask.enqueue_or_find(
    task text,
    payload jsonb DEFAULT '{}',
    queue text DEFAULT NULL,
    priority integer DEFAULT NULL,
    delay interval DEFAULT NULL,
    scheduled_at timestamptz DEFAULT NULL,
    unique_key text DEFAULT NULL,
    max_retries integer DEFAULT NULL,
    retry_strategy text DEFAULT NULL,
    retry_delay interval DEFAULT NULL,
    max_retry_delay interval DEFAULT NULL,
    timeout interval DEFAULT NULL,
    tags text[] DEFAULT NULL,
    traceparent text DEFAULT NULL,
    unique_by text[] DEFAULT NULL,
    unique_scope text DEFAULT NULL,
    unique_window interval DEFAULT NULL,
    on_conflict text DEFAULT NULL,
    max_wait interval DEFAULT NULL,
    concurrency_key text DEFAULT NULL,
    start_by timestamptz DEFAULT NULL,
    OUT id bigint,
    OUT answer text
)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    known  pgtask.tasks;
    job    pgtask.jobs;
    holder bigint;
    size_limit bigint := (SELECT (value #>> '{}')::bigint FROM pgtask.settings WHERE name = 'max_payload_bytes');
BEGIN
    IF task IS NULL OR task = '' THEN
        RAISE EXCEPTION 'task is missing: name the task to run' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF payload IS NULL OR jsonb_typeof(payload) <> 'object' THEN
        RAISE EXCEPTION 'payload must be a JSON object of keyword arguments, not %', coalesce(jsonb_typeof(payload), 'SQL NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF octet_length(payload::text) > size_limit THEN
        RAISE EXCEPTION 'payload has % bytes; the limit is % (setting max_payload_bytes)', octet_length(payload::text), size_limit
            USING ERRCODE = 'program_limit_exceeded', HINT = 'Store the data elsewhere and pass a reference to it.';
    END IF;
    IF delay IS NOT NULL AND scheduled_at IS NOT NULL THEN
        RAISE EXCEPTION 'give delay or scheduled_at, not both' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF priority NOT BETWEEN -100 AND 100 THEN
        RAISE EXCEPTION 'priority % is out of range: it lies between -100 and 100', priority USING ERRCODE = 'invalid_parameter_value';
    END IF;
    job.scheduled_at := coalesce(scheduled_at, now() + delay, now());
    IF start_by <= clock_timestamp() THEN
        RAISE EXCEPTION 'start_by % has passed: give an instant to come', start_by USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF start_by < job.scheduled_at THEN
        RAISE EXCEPTION 'start_by % is before the job is due, at %: it would never start', start_by, job.scheduled_at
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF num_nonnulls(unique_by, unique_scope, unique_window, on_conflict, max_wait) > 0 THEN
        PERFORM pgtask.check_unique(unique_key, unique_by, unique_scope, unique_window, on_conflict, max_wait);
        IF unique_by IS NOT NULL THEN
            unique_key := pgtask.payload_key(task, payload, unique_by);
        END IF;
        IF unique_scope <> 'active' OR unique_window IS NOT NULL THEN
            job.scoped_key := unique_key;
            job.unique_scope := coalesce(unique_scope, 'active')::pgtask.unique_scope;
            job.unique_until := now() + unique_window;
            unique_key := NULL;
        END IF;
    END IF;

    SELECT * INTO known FROM pgtask.tasks t WHERE t.name = task;
    job.id := nextval('pgtask.jobs_id_seq');
    job.task := task;
    job.payload := payload;
    job.queue := coalesce(queue, known.queue, 'default');
    job.priority := coalesce(priority, known.priority, 1);
    job.unique_key := unique_key;
    job.max_retries := max_retries;
    job.retry_strategy := retry_strategy::pgtask.retry_strategy;
    job.retry_delay := extract(epoch FROM retry_delay);
    job.max_retry_delay := extract(epoch FROM max_retry_delay);
    job.timeout := extract(epoch FROM timeout);
    job.tags := tags;
    job.traceparent := traceparent;
    job.concurrency_key := concurrency_key;
    job.start_by := start_by;

    LOOP
        IF job.scoped_key IS NOT NULL THEN
            holder := pgtask.take_key(job.scoped_key, job.id, job.unique_scope, job.unique_until);
        END IF;
        IF holder IS NULL THEN
            INSERT INTO pgtask.jobs (id, task, payload, queue, priority, scheduled_at, unique_key, max_retries, retry_strategy,
                                     retry_delay, max_retry_delay, timeout, tags, traceparent, concurrency_key, start_by,
                                     scoped_key, unique_scope, unique_until)
            SELECT job.id, job.task, job.payload, job.queue, job.priority, job.scheduled_at, job.unique_key, job.max_retries,
                   job.retry_strategy, job.retry_delay, job.max_retry_delay, job.timeout, job.tags, job.traceparent,
                   job.concurrency_key, job.start_by, job.scoped_key, job.unique_scope, job.unique_until
             WHERE (SELECT pgtask.size_exceeded(s.name, 1) FROM pgtask.sized_queues s WHERE s.name = job.queue) IS NULL
            ON CONFLICT DO NOTHING;
            IF FOUND THEN
                id := job.id;
                answer := 'created';
                RETURN;
            END IF;
            IF job.scoped_key IS NOT NULL THEN
                PERFORM pgtask.admit(job.queue, 1);
                RAISE EXCEPTION 'job % exists: somebody has chosen that id', job.id
                    USING ERRCODE = 'unique_violation', HINT = 'Bring the sequence pgtask.jobs_id_seq past the ids that were chosen.';
            END IF;
            SELECT j.id INTO holder FROM pgtask.jobs j WHERE j.unique_key = job.unique_key;
        END IF;
        IF holder IS NOT NULL THEN
            id := holder;
            answer := pgtask.meet_holder(holder, job, coalesce(on_conflict, 'skip'), max_wait);
            RETURN;
        END IF;
        PERFORM pgtask.admit(job.queue, 1);
        job.id := nextval('pgtask.jobs_id_seq');
    END LOOP;
END
$$;
COMMENT ON FUNCTION pgtask.enqueue_or_find IS
    'Enqueues a job with the task''s registered defaults and returns its id and the answer created; where another job holds the '
    'unique key, the id of that one and what on_conflict has made of it: held, replaced or rescheduled. Raises PT429 when as many '
    'jobs wait in its queue as may, by its max_size.';

-- Refuses what makes no sense of a job's uniqueness, and says what to write instead.
CREATE FUNCTION pgtask.check_unique(
    unique_key text, unique_by text[], unique_scope text, unique_window interval, on_conflict text, max_wait interval
) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    path text;
BEGIN
    IF unique_key IS NULL AND unique_by IS NULL THEN
        RAISE EXCEPTION 'there is no key: give unique_key, or unique_by with paths of the payload such as ''{to,order.id}'''
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF unique_key IS NOT NULL AND unique_by IS NOT NULL THEN
        RAISE EXCEPTION 'give unique_key or unique_by, not both' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOREACH path IN ARRAY coalesce(unique_by, '{}') LOOP
        IF path IS NULL OR '' = ANY (string_to_array(path, '.')) OR path = '' THEN
            RAISE EXCEPTION 'unique_by holds %, which is no path: write keys with points between them, such as order.id',
                coalesce(quote_literal(path), 'NULL') USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;
    IF unique_scope NOT IN ('waiting', 'active', 'until_success', 'always') THEN
        RAISE EXCEPTION 'unique_scope is %: write waiting, active, until_success or always', quote_literal(unique_scope)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF unique_window <= interval '0' THEN
        RAISE EXCEPTION 'unique_window is %: it must be longer than nothing', unique_window
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF on_conflict NOT IN ('skip', 'error', 'replace', 'reschedule') THEN
        RAISE EXCEPTION 'on_conflict is %: write skip, error, replace or reschedule', quote_literal(on_conflict)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF max_wait IS NOT NULL AND on_conflict IS DISTINCT FROM 'reschedule' THEN
        RAISE EXCEPTION 'max_wait bounds how far a job is put off: it needs on_conflict => ''reschedule'''
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF max_wait < interval '0' THEN
        RAISE EXCEPTION 'max_wait is %: it cannot be negative', max_wait USING ERRCODE = 'invalid_parameter_value';
    END IF;
END
$$;

-- With the caller's rights, and so put in place of its call where that is planned: what it calls is the door.
CREATE FUNCTION pgtask.enqueue(
    task text,
    payload jsonb DEFAULT '{}',
    queue text DEFAULT NULL,
    priority integer DEFAULT NULL,
    delay interval DEFAULT NULL,
    scheduled_at timestamptz DEFAULT NULL,
    unique_key text DEFAULT NULL,
    max_retries integer DEFAULT NULL,
    retry_strategy text DEFAULT NULL,
    retry_delay interval DEFAULT NULL,
    max_retry_delay interval DEFAULT NULL,
    timeout interval DEFAULT NULL,
    tags text[] DEFAULT NULL,
    traceparent text DEFAULT NULL,
    unique_by text[] DEFAULT NULL,
    unique_scope text DEFAULT NULL,
    unique_window interval DEFAULT NULL,
    on_conflict text DEFAULT NULL,
    max_wait interval DEFAULT NULL,
    concurrency_key text DEFAULT NULL,
    start_by timestamptz DEFAULT NULL
) RETURNS bigint
    LANGUAGE sql
    RETURN (pgtask.enqueue_or_find(task, payload, queue, priority, delay, scheduled_at, unique_key, max_retries, retry_strategy,
                                   retry_delay, max_retry_delay, timeout, tags, traceparent, unique_by, unique_scope,
                                   unique_window, on_conflict, max_wait, concurrency_key, start_by)).id;
COMMENT ON FUNCTION pgtask.enqueue(text, jsonb, text, integer, interval, timestamptz, text, integer, text, interval, interval,
                                   interval, text[], text, text[], text, interval, text, interval, text, timestamptz) IS
    'Enqueues a job with the task''s registered defaults and returns its id; where another job holds the unique key, that job''s id. '
    'Raises PT429 when as many jobs wait in its queue as may, by its max_size.';

-- Who could enqueue, still can.
DO $$
DECLARE
    former CONSTANT regprocedure := 'pgtask.enqueue(text, jsonb, text, integer, interval, timestamptz, text, integer, text, '
                                    'interval, interval, interval, text[], text)';
    grantee regrole;
BEGIN
    FOR grantee IN
        SELECT DISTINCT a.grantee
          FROM pg_proc p
         CROSS JOIN aclexplode(p.proacl) a
         WHERE p.oid = former AND a.grantee NOT IN (0, p.proowner)
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s, pgtask.enqueue_or_find TO %s',
                       (SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'pgtask'::regnamespace
                           AND p.proname = 'enqueue' AND p.oid <> former), grantee);
    END LOOP;
    EXECUTE format('DROP FUNCTION %s', former);
END
$$;
REVOKE ALL ON FUNCTION pgtask.payload_key, pgtask.holds_key, pgtask.take_key, pgtask.meet_holder,
    pgtask.check_unique, pgtask.enqueue_or_find, pgtask.enqueue FROM PUBLIC;

-- A job that comes back takes its scoped key again, unless another one has it by now. It may start as late as it will.
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
    PERFORM pgtask.notify_rewind(run.queue, run.priority, run.scheduled_at);
    RETURN 'pending';
END
$$;
