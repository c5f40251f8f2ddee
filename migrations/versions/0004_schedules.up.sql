-- Schedules, their ticks, and the doors to them. A tick and its job are written in one transaction, and a tick is there once:
-- however many schedulers there are, each fires once.
--
-- Locks: pgtask.jobs and pgtask.runs ACCESS EXCLUSIVE until the end, both before anything is built; jobs are read once, for an
-- index that stays empty. pgtask.workers is closed to heartbeats for a moment at the end.

-- Which schedule and which tick a job is of. Not changed by a claim, so that the index keeps no claim from being a HOT update.
ALTER TABLE pgtask.jobs ADD COLUMN tick_at timestamptz, ADD COLUMN schedule_id integer;
ALTER TABLE pgtask.runs ADD COLUMN tick_at timestamptz, ADD COLUMN schedule_id integer;
CREATE INDEX jobs_schedule ON pgtask.jobs (schedule_id) WHERE schedule_id IS NOT NULL;

CREATE TYPE pgtask.schedule_source AS ENUM ('code', 'runtime');
CREATE TYPE pgtask.catchup AS ENUM ('none', 'one', 'all');
CREATE TYPE pgtask.overlap AS ENUM ('allow', 'skip', 'queue_one', 'cancel_running');
CREATE TYPE pgtask.tick_outcome AS ENUM ('fired', 'skipped', 'missed');

-- due_after: what is due comes after it; the last tick seen to, or when the schedule was made, edited or resumed.
-- next_tick_at: NULL is not yet computed, infinity is never. Durations are seconds; NULL in a job's policy inherits.
-- declared and declared_by: the declaration that was taken over from code last, and from which worker.
CREATE TABLE pgtask.schedules (
    id              integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    anchor          timestamptz NOT NULL DEFAULT date_trunc('second', now()),
    due_after       timestamptz NOT NULL DEFAULT now(),
    next_tick_at    timestamptz,
    last_tick_at    timestamptz,
    starts_at       timestamptz,
    ends_at         timestamptz,
    paused_at       timestamptz,
    orphaned_at     timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    jitter          double precision NOT NULL DEFAULT 0,
    catchup_max_age double precision NOT NULL DEFAULT 604800,
    timeout         double precision,
    catchup_limit   integer NOT NULL DEFAULT 100,
    max_retries     integer,
    declared_by     integer,
    source          pgtask.schedule_source NOT NULL DEFAULT 'runtime',
    catchup         pgtask.catchup NOT NULL DEFAULT 'one',
    overlap         pgtask.overlap NOT NULL DEFAULT 'queue_one',
    priority        smallint,
    name            text NOT NULL CONSTRAINT schedules_name UNIQUE,
    expression      text NOT NULL,
    timezone        text NOT NULL DEFAULT 'UTC',
    seconds_field   text,
    task            text NOT NULL,
    queue           text,
    payload         jsonb NOT NULL DEFAULT '{}',
    tags            text[],
    paused_by       text,
    application     text,
    error           text,
    declared        jsonb,
    CONSTRAINT schedules_name_length CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT schedules_expression_length CHECK (length(expression) BETWEEN 1 AND 200),
    CONSTRAINT schedules_seconds_field CHECK (seconds_field IN ('first', 'last')),
    CONSTRAINT schedules_task_length CHECK (octet_length(task) BETWEEN 1 AND 256),
    CONSTRAINT schedules_queue_length CHECK (octet_length(queue) BETWEEN 1 AND 128),
    CONSTRAINT schedules_priority_range CHECK (priority BETWEEN -100 AND 100),
    CONSTRAINT schedules_max_retries_range CHECK (max_retries >= -1),
    CONSTRAINT schedules_timeout_positive CHECK (timeout > 0 AND timeout <= 1e9),
    CONSTRAINT schedules_jitter_range CHECK (jitter BETWEEN 0 AND 86400),
    CONSTRAINT schedules_catchup_limit_range CHECK (catchup_limit BETWEEN 1 AND 1000),
    CONSTRAINT schedules_catchup_max_age_range CHECK (catchup_max_age BETWEEN 0 AND 1e9),
    CONSTRAINT schedules_ends_after_start CHECK (ends_at > starts_at),
    CONSTRAINT schedules_payload_object CHECK (jsonb_typeof(payload) = 'object'),
    CONSTRAINT schedules_tags_size CHECK (pg_column_size(tags) <= 4096)
);
CREATE INDEX schedules_due ON pgtask.schedules (next_tick_at)
    WHERE paused_at IS NULL AND orphaned_at IS NULL AND error IS NULL;

-- fired_at is when the tick was seen to, whatever came of it.
CREATE TABLE pgtask.schedule_ticks (
    tick_at     timestamptz NOT NULL,
    fired_at    timestamptz NOT NULL DEFAULT now(),
    job_id      bigint,
    schedule_id integer NOT NULL,
    outcome     pgtask.tick_outcome NOT NULL,
    backfill    boolean NOT NULL DEFAULT false,
    reason      text,
    PRIMARY KEY (schedule_id, tick_at)
);
CREATE INDEX schedule_ticks_fired_at ON pgtask.schedule_ticks (fired_at);

-- Which schedules the code that a worker runs declares: one that no live worker of its application declares is orphaned. So
-- while old and new code run side by side, each keeps its own.
CREATE TABLE pgtask.declarations (
    worker_id   integer PRIMARY KEY REFERENCES pgtask.workers ON DELETE CASCADE,
    application text NOT NULL,
    schedules   text[] NOT NULL
);

-- Nothing is fired for the time before an edit, a pause's end or a return to the code, by whatever door that came.
CREATE FUNCTION pgtask.replan_schedule() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pgtask, pg_temp AS $$
BEGIN
    IF (NEW.expression, NEW.starts_at) IS DISTINCT FROM (OLD.expression, OLD.starts_at) THEN
        NEW.anchor := coalesce(NEW.starts_at, date_trunc('second', now()));
    END IF;
    IF (NEW.expression, NEW.timezone, NEW.seconds_field, NEW.starts_at, NEW.ends_at, NEW.paused_at IS NULL, NEW.orphaned_at IS NULL)
       IS DISTINCT FROM
       (OLD.expression, OLD.timezone, OLD.seconds_field, OLD.starts_at, OLD.ends_at, OLD.paused_at IS NULL, OLD.orphaned_at IS NULL)
    THEN
        NEW.due_after := greatest(now(), OLD.due_after);
        NEW.next_tick_at := NULL;
        NEW.error := NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER schedules_replan
    BEFORE UPDATE OF expression, timezone, seconds_field, starts_at, ends_at, paused_at, orphaned_at ON pgtask.schedules
    FOR EACH ROW EXECUTE FUNCTION pgtask.replan_schedule();

-- What the scheduler itself writes leaves updated_at alone.
CREATE FUNCTION pgtask.notify_schedules() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
BEGIN
    PERFORM pg_notify('pgtask', 'schedules');
    RETURN NULL;
END
$$;
CREATE TRIGGER schedules_notify AFTER INSERT OR DELETE OR UPDATE OF updated_at ON pgtask.schedules
    FOR EACH STATEMENT EXECUTE FUNCTION pgtask.notify_schedules();

-- The values that a field of a cron expression stands for. Days that must be counted (L, fri#2, friL) stand for the least one.
CREATE FUNCTION pgtask.cron_values(field text, what text, low integer, high integer, names text[]) RETURNS integer[]
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item   text;
    part   text[];
    ends   integer[];
    step   integer;
    found  integer[] := '{}';
BEGIN
    FOREACH item IN ARRAY string_to_array(lower(field), ',') LOOP
        IF high = 31 AND item = 'l' OR high = 7 AND item ~ '^([0-7]|sun|mon|tue|wed|thu|fri|sat)(l|#[1-5])$' THEN
            found := found || low;
            CONTINUE;
        END IF;
        part := regexp_match(item, '^(\*|[a-z]{3}|[0-9]{1,4})(?:-([a-z]{3}|[0-9]{1,4}))?(?:/([0-9]{1,4}))?$');
        SELECT array_agg(CASE WHEN word ~ '^[0-9]+$' THEN word::integer ELSE array_position(names, word) - 1 + low END
                         ORDER BY place)
          INTO ends
          FROM unnest(ARRAY[CASE WHEN part[1] = '*' THEN low::text ELSE part[1] END,
                            coalesce(part[2], CASE WHEN part[1] = '*' OR part[3] IS NOT NULL THEN high::text ELSE part[1] END)])
               WITH ORDINALITY AS word (word, place);
        step := coalesce(part[3]::integer, 1);
        IF part IS NULL OR part[1] = '*' AND part[2] IS NOT NULL OR ends[1] IS NULL OR ends[2] IS NULL
           OR ends[1] NOT BETWEEN low AND high OR ends[2] NOT BETWEEN low AND high OR step < 1 THEN
            RAISE EXCEPTION '% is no % of a cron expression: write *, a number from % to %, a range, a list with commas or a step such as */2',
                quote_literal(item), what, low, high USING ERRCODE = 'invalid_parameter_value';
        END IF;
        IF ends[1] <= ends[2] THEN
            found := found || ARRAY(SELECT generate_series(ends[1], ends[2], step));
        ELSE
            found := found || ARRAY(SELECT generate_series(ends[1], high, step)) || ARRAY(SELECT generate_series(low, ends[2], step));
        END IF;
    END LOOP;
    RETURN found;
END
$$;

-- Refuses an expression, a time zone or a place for seconds as far as SQL can tell.
CREATE FUNCTION pgtask.check_recurrence(expression text, timezone text, seconds text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    fields text[] := regexp_split_to_array(btrim(expression), '\s+');
    wanted integer := 5 + (seconds IS NOT NULL)::integer;
    months integer[];
    days   integer[];
BEGIN
    IF coalesce(btrim(expression), '') = '' OR length(expression) > 200 THEN
        RAISE EXCEPTION 'a schedule needs an expression of 1 to 200 characters, such as 0 7 * * mon-fri or @every 5m'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF timezone IS DISTINCT FROM 'UTC' AND NOT EXISTS (SELECT FROM pg_timezone_names z WHERE z.name = check_recurrence.timezone) THEN
        RAISE EXCEPTION 'there is no time zone %: write an IANA name such as Europe/Vienna or UTC', coalesce(quote_literal(timezone), 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF seconds IS NOT NULL AND seconds NOT IN ('first', 'last') THEN
        RAISE EXCEPTION 'seconds is %: write first or last, for the place of the seconds among six fields', quote_literal(seconds)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF fields[1] LIKE '@%' THEN
        IF lower(fields[1]) = '@reboot' THEN
            RAISE EXCEPTION '@reboot is no time: enqueue a job where the system starts' USING ERRCODE = 'invalid_parameter_value';
        ELSIF lower(fields[1]) = '@every' AND cardinality(fields) > 1 THEN
            RETURN;
        ELSIF cardinality(fields) > 1
              OR lower(fields[1]) NOT IN ('@hourly', '@daily', '@midnight', '@weekly', '@monthly', '@yearly', '@annually') THEN
            RAISE EXCEPTION '% is no expression: write @hourly, @daily, @weekly, @monthly, @yearly or @every 5m', quote_literal(expression)
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
        RETURN;
    END IF;
    IF cardinality(fields) = 6 AND seconds IS NULL THEN
        RAISE EXCEPTION 'this expression has six fields: say where the seconds stand, seconds => ''first'' or ''last'''
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF cardinality(fields) <> wanted THEN
        RAISE EXCEPTION 'this expression has % fields, not %: write minute, hour, day of month, month and day of week%',
            cardinality(fields), wanted, coalesce(', with the seconds ' || seconds, '') USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF seconds = 'first' THEN
        fields := fields[2:6] || fields[1];
    END IF;
    IF seconds IS NOT NULL THEN
        PERFORM pgtask.cron_values(fields[6], 'second', 0, 59, '{}');
    END IF;
    PERFORM pgtask.cron_values(fields[1], 'minute', 0, 59, '{}'), pgtask.cron_values(fields[2], 'hour', 0, 23, '{}');
    days := pgtask.cron_values(fields[3], 'day of the month', 1, 31, '{}');
    months := pgtask.cron_values(fields[4], 'month', 1, 12, '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}');
    PERFORM pgtask.cron_values(fields[5], 'day of the week', 0, 7, '{sun,mon,tue,wed,thu,fri,sat}');
    IF fields[5] LIKE '*%' AND NOT EXISTS (
        SELECT FROM unnest(days) AS day, unnest(months) AS month
         WHERE day <= (ARRAY[31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])[month]
    ) THEN
        RAISE EXCEPTION '% never fires: no month that it names has such a day', quote_literal(expression)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'For the last day of a month write L as the day.';
    END IF;
END
$$;

CREATE FUNCTION pgtask.schedule(
    name text,
    expression text,
    task text,
    payload jsonb DEFAULT '{}',
    timezone text DEFAULT 'UTC',
    seconds text DEFAULT NULL,
    queue text DEFAULT NULL,
    priority integer DEFAULT NULL,
    max_retries integer DEFAULT NULL,
    timeout interval DEFAULT NULL,
    tags text[] DEFAULT NULL,
    catchup text DEFAULT 'one',
    catchup_limit integer DEFAULT 100,
    catchup_max_age interval DEFAULT '7 days',
    overlap text DEFAULT 'queue_one',
    jitter interval DEFAULT '0',
    starts_at timestamptz DEFAULT NULL,
    ends_at timestamptz DEFAULT NULL
) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    size_limit bigint := pgtask.payload_limit();
    schedule_id integer;
BEGIN
    IF coalesce(name, '') = '' OR length(name) > 200 THEN
        RAISE EXCEPTION 'a schedule needs a name of 1 to 200 characters' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF coalesce(task, '') = '' THEN
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
    IF priority NOT BETWEEN -100 AND 100 THEN
        RAISE EXCEPTION 'priority % is out of range: it lies between -100 and 100', priority USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF catchup IS NULL OR catchup NOT IN ('none', 'one', 'all') THEN
        RAISE EXCEPTION 'catchup is %: write none, one or all', coalesce(quote_literal(catchup), 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF overlap IS NULL OR overlap NOT IN ('allow', 'skip', 'queue_one', 'cancel_running') THEN
        RAISE EXCEPTION 'overlap is %: write allow, skip, queue_one or cancel_running', coalesce(quote_literal(overlap), 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF ends_at <= starts_at THEN
        RAISE EXCEPTION 'ends_at must be later than starts_at' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pgtask.check_recurrence(expression, timezone, seconds);
    INSERT INTO pgtask.schedules AS s
           (name, expression, task, payload, timezone, seconds_field, queue, priority, max_retries, timeout, tags, catchup,
            catchup_limit, catchup_max_age, overlap, jitter, starts_at, ends_at, anchor)
    VALUES (name, btrim(expression), task, payload, timezone, seconds, queue, priority::smallint, max_retries,
            extract(epoch FROM timeout), tags, catchup::pgtask.catchup, catchup_limit, extract(epoch FROM catchup_max_age),
            overlap::pgtask.overlap, extract(epoch FROM jitter), starts_at, ends_at,
            coalesce(starts_at, date_trunc('second', now())))
    ON CONFLICT ON CONSTRAINT schedules_name DO UPDATE
       SET expression = excluded.expression, task = excluded.task, payload = excluded.payload, timezone = excluded.timezone,
           seconds_field = excluded.seconds_field, queue = excluded.queue, priority = excluded.priority,
           max_retries = excluded.max_retries, timeout = excluded.timeout, tags = excluded.tags, catchup = excluded.catchup,
           catchup_limit = excluded.catchup_limit, catchup_max_age = excluded.catchup_max_age, overlap = excluded.overlap,
           jitter = excluded.jitter, starts_at = excluded.starts_at, ends_at = excluded.ends_at, updated_at = now()
     WHERE s.source = 'runtime'
    RETURNING s.id INTO schedule_id;
    IF schedule_id IS NULL THEN
        RAISE EXCEPTION 'schedule % is declared in code: give this one another name, or change the code', quote_literal(name)
            USING ERRCODE = 'unique_violation';
    END IF;
    RETURN schedule_id;
END
$$;
COMMENT ON FUNCTION pgtask.schedule IS
    'Makes a schedule, or changes the one of this name, and returns its id. An edit never fires anything for the past.';

CREATE FUNCTION pgtask.unschedule(name text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    found_schedule pgtask.schedules;
BEGIN
    SELECT * INTO found_schedule FROM pgtask.schedules s WHERE s.name = unschedule.name FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF found_schedule.source = 'code' AND found_schedule.orphaned_at IS NULL THEN
        RAISE EXCEPTION 'schedule % is declared in code and would come back: delete it there, or pause it', quote_literal(name)
            USING ERRCODE = 'object_in_use';
    END IF;
    DELETE FROM pgtask.schedules s WHERE s.id = found_schedule.id;
    RETURN true;
END
$$;
COMMENT ON FUNCTION pgtask.unschedule IS
    'Deletes a schedule; jobs that it has enqueued stay. False when there is none of this name; refused for one declared in code.';

CREATE FUNCTION pgtask.pause_schedule(name text, paused_by text DEFAULT session_user) RETURNS timestamptz
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
    UPDATE pgtask.schedules s
       SET paused_at = coalesce(s.paused_at, now()),
           paused_by = CASE WHEN s.paused_at IS NULL THEN $2 ELSE s.paused_by END,
           updated_at = now()
     WHERE s.name = $1
    RETURNING s.paused_at;
$$;
COMMENT ON FUNCTION pgtask.pause_schedule IS
    'Pauses a schedule, also across deployments, and returns since when. Nothing accumulates. NULL when there is none of this name.';

CREATE FUNCTION pgtask.resume_schedule(name text) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
    UPDATE pgtask.schedules s
       SET paused_at = NULL, paused_by = NULL, updated_at = now()
      FROM (SELECT o.id, o.paused_at FROM pgtask.schedules o WHERE o.name = $1 FOR UPDATE) old
     WHERE s.id = old.id
    RETURNING old.paused_at IS NOT NULL;
$$;
COMMENT ON FUNCTION pgtask.resume_schedule IS
    'Resumes a schedule from now on. False when it was not paused, NULL when there is none of this name.';

CREATE FUNCTION pgtask.run_schedule(name text) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
    INSERT INTO pgtask.jobs (task, payload, queue, priority, max_retries, timeout, tags, schedule_id)
    SELECT s.task, s.payload, coalesce(s.queue, t.queue, 'default'), coalesce(s.priority, t.priority, 1), s.max_retries, s.timeout,
           s.tags, s.id
      FROM pgtask.schedules s
      LEFT JOIN pgtask.tasks t ON t.name = s.task
     WHERE s.name = $1
    RETURNING id;
$$;
COMMENT ON FUNCTION pgtask.run_schedule IS
    'Enqueues a job of a schedule now, outside of its ticks, and returns its id. NULL when there is none of this name.';

REVOKE ALL ON FUNCTION pgtask.replan_schedule, pgtask.notify_schedules, pgtask.cron_values, pgtask.check_recurrence,
    pgtask.schedule, pgtask.unschedule, pgtask.pause_schedule, pgtask.resume_schedule, pgtask.run_schedule FROM PUBLIC;

-- A job keeps its tick to its end and beyond.
CREATE OR REPLACE FUNCTION pgtask.cancel(job_id bigint) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    job pgtask.jobs;
    ended pgtask.job_status;
BEGIN
    -- Locked first and acted on after, so that a claim or a completion under way is either seen whole or waits.
    SELECT * INTO job FROM pgtask.jobs j WHERE j.id = cancel.job_id FOR UPDATE;
    IF NOT FOUND THEN
        SELECT r.status INTO ended FROM pgtask.runs r WHERE r.job_id = cancel.job_id AND r.final;
        RETURN ended;
    END IF;
    IF job.status = 'running' THEN
        UPDATE pgtask.jobs j SET cancel_requested_at = coalesce(j.cancel_requested_at, now()) WHERE j.id = cancel.job_id;
        PERFORM pg_notify('pgtask', json_build_object('cancel', job.id, 'attempt', job.attempt, 'worker', job.worker_id)::text);
        RETURN 'requested';
    END IF;
    DELETE FROM pgtask.jobs j WHERE j.id = cancel.job_id;
    INSERT INTO pgtask.runs (job_id, scheduled_at, created_at, timeout, retry_delay, max_retry_delay, retry_count, claims,
                             max_retries, outcome, status, retry_strategy, priority, crash_count, progress, final, queue, task,
                             payload, unique_key, traceparent, tags, progress_message, schedule_id, tick_at)
    VALUES (job.id, job.scheduled_at, job.created_at, job.timeout, job.retry_delay, job.max_retry_delay, job.retry_count,
            job.attempt, job.max_retries, 'cancelled', 'cancelled', job.retry_strategy, job.priority, job.crash_count,
            job.progress, true, job.queue, job.task, job.payload, job.unique_key, job.traceparent, job.tags, job.progress_message,
            job.schedule_id, job.tick_at);
    RETURN 'cancelled';
END
$$;

CREATE OR REPLACE FUNCTION pgtask.retry(job_id bigint) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    run pgtask.runs;
    holder bigint;
BEGIN
    SELECT * INTO run FROM pgtask.runs r WHERE r.job_id = retry.job_id AND r.final FOR UPDATE;
    IF NOT FOUND THEN
        RETURN (SELECT 'active' FROM pgtask.jobs j WHERE j.id = retry.job_id);
    END IF;
    IF run.status = 'completed' THEN
        RETURN 'completed';
    END IF;
    SELECT j.id INTO holder FROM pgtask.jobs j WHERE j.unique_key = run.unique_key;
    IF holder IS NOT NULL THEN
        RAISE EXCEPTION 'job % cannot be retried: job % holds its unique key %', job_id, holder, run.unique_key
            USING ERRCODE = 'unique_violation', HINT = 'Cancel the holder or wait until it ends.';
    END IF;
    UPDATE pgtask.runs r SET final = false, status = NULL
        WHERE r.job_id = retry.job_id AND r.final AND r.finished_at = run.finished_at;
    INSERT INTO pgtask.jobs (id, scheduled_at, created_at, timeout, retry_delay, max_retry_delay, attempt, max_retries,
                             retry_strategy, priority, queue, task, payload, unique_key, traceparent, tags,
                             schedule_id, tick_at)
    VALUES (run.job_id, run.scheduled_at, run.created_at, run.timeout, run.retry_delay, run.max_retry_delay, run.claims,
            run.max_retries, run.retry_strategy, run.priority, run.queue, run.task, run.payload, run.unique_key,
            run.traceparent, run.tags, run.schedule_id, run.tick_at);
    PERFORM pgtask.notify_rewind(run.queue, run.priority, run.scheduled_at);
    RETURN 'pending';
END
$$;

CREATE OR REPLACE VIEW pgtask.all_jobs AS
    SELECT id, task, queue, payload, priority,
           CASE WHEN status = 'running' THEN 'running'
                WHEN retry_count > 0 THEN 'retrying'
                WHEN scheduled_at > now() THEN 'scheduled'
                ELSE 'pending' END AS status,
           attempt, retry_count, crash_count, max_retries, retry_strategy::text AS retry_strategy, retry_delay,
           max_retry_delay, timeout, unique_key, tags, traceparent, created_at, scheduled_at, started_at,
           NULL::timestamptz AS finished_at, worker_id, executor, progress, progress_message, cancel_requested_at,
           NULL::text AS outcome, NULL::jsonb AS result, NULL::text AS error_type, NULL::text AS error, NULL::text AS traceback,
           schedule_id, tick_at
      FROM pgtask.jobs
    UNION ALL
    SELECT job_id, task, queue, payload, priority, status::text, claims, retry_count, crash_count, max_retries,
           retry_strategy::text, retry_delay, max_retry_delay, timeout, unique_key, tags, traceparent, created_at, scheduled_at,
           started_at, finished_at, worker_id, executor, progress, progress_message, NULL, outcome::text, result, error_type,
           error, traceback, schedule_id, tick_at
      FROM pgtask.runs
     WHERE final;
