-- Why is it waiting? One function checks for one job each rule by which jobs are claimed and, for one that runs or has ended,
-- tells how it came to that. It is made of several, by role; each gives its reasons with a rank, the one that matters most lowest.
-- All of them read one snapshot, take no locks and count no more than 10,000 of anything.
-- Locks: pgtask.workers is closed to heartbeats for a moment.

-- tasks: what the worker's executors know, NULL until one of them is ready. quiet_at: since when it takes no jobs, told by TSTP.
ALTER TABLE pgtask.workers ADD COLUMN tasks text[], ADD COLUMN quiet_at timestamptz;

CREATE TYPE pgtask.reason AS (rank integer, code text, blocking boolean, text text, details jsonb);

-- Words

CREATE FUNCTION pgtask.explain_span(seconds double precision) RETURNS text
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    rest   bigint;
    amount bigint;
    words  text[] := '{}';
    parts  integer := 2;
    unit   record;
BEGIN
    IF seconds IS NULL THEN
        RETURN 'an unknown time';
    ELSIF seconds > 1e11 THEN
        RETURN 'ever';
    ELSIF seconds < 0.0005 THEN
        RETURN '0 s';
    ELSIF seconds < 0.9995 THEN
        RETURN round(seconds * 1000) || ' ms';
    ELSIF seconds < 9.95 THEN
        RETURN regexp_replace(round(seconds::numeric, 1)::text, '\.0$', '') || ' s';
    END IF;
    rest := round(seconds);
    FOR unit IN VALUES (604800, 'w'), (86400, 'd'), (3600, 'h'), (60, 'm'), (1, 's') LOOP
        amount := rest / unit.column1;
        rest := rest % unit.column1;
        IF amount > 0 THEN
            words := words || format('%s %s', amount, unit.column2);
        END IF;
        IF words <> '{}' THEN
            parts := parts - 1;
        END IF;
        EXIT WHEN parts = 0;
    END LOOP;
    RETURN array_to_string(words, ' ');
END
$$;
COMMENT ON FUNCTION pgtask.explain_span IS 'A length of time as people read it: 340 ms, 1.4 s, 42 s, 2 h 10 m.';

-- Instants in sentences are in the session's time zone, which they name; those in details are in UTC.
CREATE FUNCTION pgtask.explain_moment(instant timestamptz) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
    SELECT CASE WHEN instant IS NULL OR NOT isfinite(instant) THEN coalesce(instant::text, 'an unknown time')
                WHEN instant::date = now()::date THEN to_char(instant, 'HH24:MI:SS TZ')
                ELSE to_char(instant, 'YYYY-MM-DD HH24:MI:SS TZ') END;
$$;
COMMENT ON FUNCTION pgtask.explain_moment IS 'An instant as people read it: 14:00:00 CET today, else with its date.';

CREATE FUNCTION pgtask.explain_instant(instant timestamptz) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
    SELECT CASE WHEN isfinite(instant) THEN to_char(instant AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') END;
$$;
COMMENT ON FUNCTION pgtask.explain_instant IS 'An instant as programs read it, in UTC.';

-- An infinite instant has no distance: older servers refuse to compute one.
CREATE FUNCTION pgtask.explain_since(instant timestamptz) RETURNS double precision
    LANGUAGE sql STABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
    SELECT CASE WHEN isfinite(instant) THEN greatest(extract(epoch FROM now() - instant)::double precision, 0) END;
$$;
COMMENT ON FUNCTION pgtask.explain_since IS 'Seconds since an instant, 0 when it lies ahead, NULL when it is not known.';

CREATE FUNCTION pgtask.explain_took(started timestamptz, finished timestamptz) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
    SELECT 'after ' || pgtask.explain_span(CASE WHEN isfinite(started) AND isfinite(finished)
                                                THEN extract(epoch FROM finished - started)::double precision END);
$$;
COMMENT ON FUNCTION pgtask.explain_took IS 'How long an attempt took: after 1.4 s.';

CREATE FUNCTION pgtask.explain_count(number bigint, noun text, cap bigint DEFAULT NULL) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
    SELECT ltrim(to_char(least(number, cap), '999,999,999,999,990')) || CASE WHEN number > cap THEN '+' ELSE '' END
           || ' ' || noun || CASE WHEN number = 1 THEN '' ELSE 's' END;
$$;
COMMENT ON FUNCTION pgtask.explain_count IS 'A count with its noun: 1 job, 1,284 jobs, 10,000+ jobs above the cap.';

CREATE FUNCTION pgtask.explain_list(items text[], total bigint DEFAULT NULL) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
    SELECT CASE WHEN cardinality(items) = 0 THEN ''
                WHEN total > cardinality(items)
                THEN array_to_string(items, ', ') || ' and ' || (total - cardinality(items)) || ' more'
                WHEN cardinality(items) > 1
                THEN array_to_string(trim_array(items, 1), ', ') || ' and ' || items[cardinality(items)]
                ELSE coalesce(items[1], '') END;
$$;
COMMENT ON FUNCTION pgtask.explain_list IS 'Words in a row: 81, 90 and 91; where there are more than are named: 81, 90 and 7 more.';

CREATE FUNCTION pgtask.explain_quoted(word text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
    SELECT CASE WHEN word ~ '^[A-Za-z0-9_@%+=:,./][A-Za-z0-9_@%+=:,./-]*$' THEN word
                ELSE '''' || replace(word, '''', '''"''"''') || '''' END;
$$;
COMMENT ON FUNCTION pgtask.explain_quoted IS 'A name as a shell takes it.';

CREATE FUNCTION pgtask.explain_error(error_type text, error text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
    SELECT rtrim(CASE WHEN line = '' THEN coalesce(error_type, 'no error was recorded')
                      WHEN error_type IS NULL OR starts_with(line, error_type) THEN line
                      ELSE error_type || ': ' || line END, '. ')
      FROM (SELECT CASE WHEN length(first) > 200 THEN left(first, 199) || '…' ELSE first END AS line
              FROM (SELECT split_part(btrim(coalesce(error, ''), E' \n\r\t'), E'\n', 1) AS first) whole) short;
$$;
COMMENT ON FUNCTION pgtask.explain_error IS 'An error on one line, without a full stop.';

CREATE FUNCTION pgtask.explain_worker(worker_id integer) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
    SELECT coalesce((SELECT format('%s (worker %s)', w.name, w.id) FROM pgtask.workers w WHERE w.id = worker_id),
                    'worker ' || worker_id, 'an unknown worker');
$$;
COMMENT ON FUNCTION pgtask.explain_worker IS 'A worker by its name and number, by the number alone once its row is pruned.';

-- A worker that shut down gave up its lease itself; a dead one was buried after its lease had run out.
CREATE FUNCTION pgtask.explain_fate(worker_id integer) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
    SELECT CASE WHEN w.dead_at > w.expires_at OR w.dead_at IS NULL AND w.expires_at <= now()
                THEN format('was last heard of %s ago, at %s', pgtask.explain_span(pgtask.explain_since(w.heartbeat_at)),
                            pgtask.explain_moment(w.heartbeat_at))
                WHEN w.dead_at IS NOT NULL
                THEN format('shut down %s ago', pgtask.explain_span(pgtask.explain_since(w.dead_at)))
                WHEN w.stopping_at IS NOT NULL
                THEN format('has been shutting down for %s', pgtask.explain_span(pgtask.explain_since(w.stopping_at)))
                WHEN w.quiet_at IS NOT NULL
                THEN format('has been told to take no jobs (TSTP) for %s', pgtask.explain_span(pgtask.explain_since(w.quiet_at)))
                ELSE 'is alive' END
      FROM pgtask.workers w
     WHERE w.id = worker_id;
$$;
COMMENT ON FUNCTION pgtask.explain_fate IS 'What has become of a worker; NULL once its row is pruned.';

-- What a reader may be told but not read for himself.

CREATE FUNCTION pgtask.ageing_step() RETURNS double precision
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
    SELECT CASE WHEN jsonb_typeof(s.value) = 'number' THEN nullif((s.value #>> '{}')::double precision, 0) END
      FROM pgtask.settings s
     WHERE s.name = 'ageing_step';
$$;
COMMENT ON FUNCTION pgtask.ageing_step IS 'The setting ageing_step in seconds; NULL when jobs do not rise.';

CREATE FUNCTION pgtask.last_job_id() RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
    SELECT coalesce(pg_sequence_last_value('pgtask.jobs_id_seq'::regclass), 0);
$$;
COMMENT ON FUNCTION pgtask.last_job_id IS 'The last id that was given out to a job.';

-- What was decided about the job or its queue: pauses, due times, deadlines, a session that holds its row.
CREATE FUNCTION pgtask.explain_orders(job pgtask.jobs) RETURNS SETOF pgtask.reason
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    settings  pgtask.queues;
    policy    pgtask.tasks;
    last      pgtask.runs;
    failure   pgtask.runs;
    holder    record;
    retries   integer;
    due_in    double precision := extract(epoch FROM job.scheduled_at - now());
    left_over double precision;
    backoff   double precision;
    due       text := format('due in %s, at %s', pgtask.explain_span(due_in), pgtask.explain_moment(job.scheduled_at));
    times     jsonb := jsonb_build_object('due_at', pgtask.explain_instant(job.scheduled_at), 'due_in_seconds', due_in);
BEGIN
    SELECT * INTO settings FROM pgtask.queues q WHERE q.name = job.queue;
    SELECT * INTO policy FROM pgtask.tasks t WHERE t.name = job.task;
    IF job.start_by <= now() THEN
        RETURN QUERY SELECT 0, 'expired', true,
            format('Its time to start ran out %s ago, at %s (start_by). No worker takes it any more: it will be cancelled as expired.',
                   pgtask.explain_span(pgtask.explain_since(job.start_by)), pgtask.explain_moment(job.start_by)),
            jsonb_build_object('start_by', pgtask.explain_instant(job.start_by),
                               'late_seconds', pgtask.explain_since(job.start_by));
    ELSIF job.start_by IS NOT NULL AND isfinite(job.start_by) THEN
        left_over := extract(epoch FROM job.start_by - now());
        RETURN QUERY SELECT CASE WHEN job.scheduled_at >= job.start_by THEN 1 ELSE 81 END, 'start_by', job.scheduled_at >= job.start_by,
            format('It must start within %s, by %s (start_by), else it is cancelled as expired.%s', pgtask.explain_span(left_over),
                   pgtask.explain_moment(job.start_by),
                   CASE WHEN job.scheduled_at >= job.start_by
                        THEN ' It is ' || due || ', which is too late: it will not run.' ELSE '' END),
            jsonb_build_object('start_by', pgtask.explain_instant(job.start_by), 'left_seconds', left_over);
    END IF;
    IF settings.paused_at IS NOT NULL THEN
        RETURN QUERY SELECT 10, 'queue_paused', true,
            format('Queue %s has been paused for %s%s. Resume it: pgtask queues resume %s', job.queue,
                   pgtask.explain_span(pgtask.explain_since(settings.paused_at)), ' by ' || settings.paused_by,
                   pgtask.explain_quoted(job.queue)),
            jsonb_build_object('queue', job.queue, 'paused_at', pgtask.explain_instant(settings.paused_at),
                               'paused_by', settings.paused_by,
                               'remedy', 'pgtask queues resume ' || pgtask.explain_quoted(job.queue));
    END IF;
    IF job.cancel_requested_at IS NOT NULL THEN
        RETURN QUERY SELECT 11, 'cancel_requested', true,
            format('It was asked to stop %s ago and will end as cancelled.',
                   pgtask.explain_span(pgtask.explain_since(job.cancel_requested_at))),
            jsonb_build_object('cancel_requested_at', pgtask.explain_instant(job.cancel_requested_at));
    END IF;
    IF due_in > 0 THEN
        SELECT * INTO last FROM pgtask.runs r
         WHERE r.job_id = job.id AND r.created_at IS NULL ORDER BY r.finished_at DESC, r.attempt DESC NULLS LAST LIMIT 1;
        retries := coalesce(job.max_retries, policy.max_retries, settings.max_retries, 3);
        IF last.outcome = 'snoozed' THEN
            RETURN QUERY SELECT 20, 'snoozed', true,
                format('Its handler put it off (snoozed): it is %s.', due), times;
        ELSIF job.retry_count > 0 THEN
            SELECT * INTO failure FROM pgtask.runs r
             WHERE r.job_id = job.id AND r.created_at IS NULL AND r.outcome IN ('failed', 'timeout', 'crashed')
             ORDER BY r.finished_at DESC LIMIT 1;
            RETURN QUERY SELECT 20, 'retry_not_due', true,
                format('Retry %s%s is %s.%s', job.retry_count, CASE WHEN retries >= 0 THEN ' of ' || retries ELSE ', of any number,' END,
                       due, ' Attempt ' || failure.attempt || ' ended with: ' || pgtask.explain_error(failure.error_type, failure.error) || '.'),
                times || jsonb_build_object('retry', job.retry_count, 'max_retries', retries, 'attempt', failure.attempt,
                                            'outcome', failure.outcome, 'error_type', failure.error_type,
                                            'error', left(failure.error, 2000));
            backoff := 1.1 * least(coalesce(job.max_retry_delay, policy.max_retry_delay, settings.max_retry_delay, 3600),
                coalesce(job.retry_delay, policy.retry_delay, settings.retry_delay, 15)
                * CASE coalesce(job.retry_strategy, policy.retry_strategy, settings.retry_strategy, 'exponential')
                       WHEN 'fixed' THEN 1 WHEN 'linear' THEN job.retry_count ELSE power(2, least(job.retry_count - 1, 60)) END);
            IF settings.retry_budget IS NOT NULL AND failure.error_type IS DISTINCT FROM 'Retry'
               AND extract(epoch FROM job.scheduled_at - failure.finished_at) > backoff + 1 THEN
                RETURN QUERY SELECT 21, 'retry_budget', false,
                    format('That is later than its backoff of at most %s: retries of queue %s are held to %s %% of its starts (retry_budget).',
                           pgtask.explain_span(backoff), job.queue, round((settings.retry_budget * 100)::numeric, 1)::double precision),
                    jsonb_build_object('queue', job.queue, 'retry_budget', settings.retry_budget, 'backoff_seconds', backoff);
            END IF;
        ELSE
            RETURN QUERY SELECT 20, 'not_due', true, format('It is not due yet: %s.', due), times;
        END IF;
    END IF;
    -- An open transaction that has locked or changed the row. Those of other logins show no more than this to an ordinary one.
    SELECT a.pid, a.application_name, a.usename, a.xact_start INTO holder
      FROM pgtask.jobs j
      JOIN pg_stat_activity a ON a.backend_xid::text = j.xmax::text AND a.pid <> pg_backend_pid()
     WHERE j.id = job.id
     LIMIT 1;
    IF FOUND THEN
        RETURN QUERY SELECT 25, 'row_locked', true,
            format('Session %s%s%s holds its row locked%s. Workers pass it over until that transaction ends. If it has been forgotten: SELECT pg_terminate_backend(%s)',
                   holder.pid, ' of ' || holder.usename, ' (' || nullif(holder.application_name, '') || ')',
                   CASE WHEN holder.xact_start IS NOT NULL
                        THEN ', in a transaction of ' || pgtask.explain_span(pgtask.explain_since(holder.xact_start)) END, holder.pid),
            jsonb_build_object('pid', holder.pid, 'user', holder.usename, 'application_name', holder.application_name,
                               'since', pgtask.explain_instant(holder.xact_start));
    END IF;
    IF job.suspect THEN
        RETURN QUERY SELECT 54, 'suspect', true,
            'It ran beside other jobs when their process died. It next runs alone in a process of its own, to tell whether it was the '
            'culprit. A worker starts one by itself.'::text, '{}'::jsonb;
    END IF;
END
$$;
COMMENT ON FUNCTION pgtask.explain_orders IS 'What was decided about a waiting job or its queue. Part of pgtask.explain.';

-- Who could run it: a worker that lives, serves the queue, knows the task, takes jobs and has a free slot. One that has not yet
-- told its tasks counts as knowing those that were registered after it began.
CREATE FUNCTION pgtask.explain_workers(job pgtask.jobs) RETURNS SETOF pgtask.reason
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    known pgtask.tasks;
    fleet record;
    last  pgtask.workers;
    story text;
BEGIN
    SELECT * INTO known FROM pgtask.tasks t WHERE t.name = job.task;
    SELECT count(*) AS live,
           count(*) FILTER (WHERE serves) AS serving,
           count(*) FILTER (WHERE serves AND knows) AS able,
           count(*) FILTER (WHERE serves AND knows AND taking) AS ready,
           coalesce(sum(slots) FILTER (WHERE serves AND knows AND taking), 0) AS slots,
           coalesce(sum(least(running, slots)) FILTER (WHERE serves AND knows AND taking), 0) AS running,
           max(pgtask.explain_since(heartbeat_at)) FILTER (WHERE serves AND knows AND taking) AS age,
           (array_agg(format('%s (worker %s)', name, id) ORDER BY id) FILTER (WHERE knows AND NOT serves))[1:3] AS elsewhere,
           count(*) FILTER (WHERE knows AND NOT serves) AS elsewhere_count,
           (array_agg(format('%s (worker %s)', name, id) ORDER BY id) FILTER (WHERE serves))[1:3] AS ignorant,
           (array_agg(format('%s (worker %s)', name, id) ORDER BY id) FILTER (WHERE serves AND knows AND taking))[1:3] AS ready_names,
           (array_agg(format('%s (worker %s) %s', name, id, pgtask.explain_fate(id)) ORDER BY id)
                FILTER (WHERE serves AND knows AND NOT taking))[1:3] AS away,
           bool_or(quiet) FILTER (WHERE serves AND knows AND NOT taking) AS any_quiet,
           (array_agg(DISTINCT queue ORDER BY queue) FILTER (WHERE queue IS NOT NULL))[1:5] AS served
      INTO fleet
      FROM (SELECT w.id, w.name, w.slots, w.running, w.heartbeat_at, w.queues[1] AS queue, w.quiet_at IS NOT NULL AS quiet,
                   w.queues IS NULL OR job.queue = ANY (w.queues) AS serves,
                   coalesce(job.task = ANY (w.tasks), known.last_seen_at >= w.started_at, false) AS knows,
                   w.stopping_at IS NULL AND w.quiet_at IS NULL AS taking
              FROM pgtask.workers w
             WHERE w.dead_at IS NULL AND w.slots > 0 AND w.expires_at > now()) w;
    IF fleet.live = 0 THEN
        SELECT * INTO last FROM pgtask.workers w WHERE w.slots > 0 ORDER BY w.heartbeat_at DESC, w.id DESC LIMIT 1;
        RETURN QUERY SELECT 30, 'no_worker', true,
            format('No worker is alive.%s Start one: pgtask worker',
                   format(' The last one, %s (worker %s) on %s, ', last.name, last.id, last.host) || pgtask.explain_fate(last.id) || '.'),
            jsonb_build_object('last_worker_id', last.id, 'last_heartbeat_at', pgtask.explain_instant(last.heartbeat_at),
                               'host', last.host, 'remedy', 'pgtask worker');
    ELSIF fleet.serving = 0 THEN
        SELECT * INTO last FROM pgtask.workers w
         WHERE w.slots > 0 AND (w.queues IS NULL OR job.queue = ANY (w.queues)) ORDER BY w.heartbeat_at DESC, w.id DESC LIMIT 1;
        RETURN QUERY SELECT 31, 'queue_unserved', true,
            format('No live worker serves queue %s%s.%s Start one: pgtask worker --queues %s', job.queue,
                   ', only others such as ' || pgtask.explain_list(fleet.served),
                   format(' The last that did, %s (worker %s) on %s, ', last.name, last.id, last.host) || pgtask.explain_fate(last.id) || '.',
                   pgtask.explain_quoted(job.queue)),
            jsonb_build_object('queue', job.queue, 'live_workers', fleet.live, 'last_worker_id', last.id,
                               'remedy', 'pgtask worker --queues ' || pgtask.explain_quoted(job.queue));
    ELSIF fleet.able = 0 THEN
        SELECT * INTO last FROM pgtask.workers w
         WHERE job.task = ANY (w.tasks) OR w.tasks IS NULL AND w.started_at <= known.last_seen_at
         ORDER BY w.tasks IS NOT NULL DESC, w.heartbeat_at DESC, w.id DESC LIMIT 1;
        story := CASE
            WHEN fleet.elsewhere_count > 0
            THEN format('Task %s is known to %s, but not to a worker that serves queue %s. Have one of those serve it: pgtask worker --queues %s',
                        job.task, pgtask.explain_list(fleet.elsewhere, fleet.elsewhere_count), job.queue, pgtask.explain_quoted(job.queue))
            WHEN known.name IS NULL
            THEN format('No worker has ever registered task %s. Is its name right? Look: pgtask tasks list', job.task)
            ELSE format('No live worker knows task %s: it was last registered %s ago%s. Deploy its code again, or look: pgtask tasks list', job.task,
                        pgtask.explain_span(pgtask.explain_since(known.last_seen_at)),
                        format(', and %s (worker %s) on %s, which knew it, ', last.name, last.id, last.host)
                        || pgtask.explain_fate(last.id)) END;
        RETURN QUERY SELECT 32, 'task_unknown', true, story,
            jsonb_build_object('task', job.task, 'queue', job.queue, 'serving_workers', fleet.serving,
                               'workers_of_other_queues', fleet.elsewhere_count,
                               'last_seen_at', pgtask.explain_instant(known.last_seen_at),
                               'last_worker_id', CASE WHEN known.name IS NOT NULL THEN last.id END, 'remedy', 'pgtask tasks list');
    ELSE
        IF fleet.ready < fleet.able THEN
            RETURN QUERY SELECT CASE WHEN fleet.ready = 0 THEN 33 ELSE 82 END,
                CASE WHEN fleet.any_quiet THEN 'workers_quiet' ELSE 'workers_stopping' END, fleet.ready = 0,
                format('%s: %s.%s', CASE WHEN fleet.ready = 0
                                         THEN format('No worker takes jobs of queue %s now', job.queue)
                                         ELSE 'Fewer workers than usual take jobs' END,
                       pgtask.explain_list(fleet.away, fleet.able - fleet.ready),
                       CASE WHEN fleet.ready > 0 THEN ''
                            WHEN fleet.any_quiet THEN ' Send it CONT, or start another: pgtask worker'
                            ELSE ' Start another: pgtask worker' END),
                jsonb_build_object('queue', job.queue, 'workers', fleet.able - fleet.ready, 'taking', fleet.ready);
        END IF;
        IF fleet.ready > 0 AND fleet.running >= fleet.slots AND job.scheduled_at <= now() THEN
            RETURN QUERY SELECT 60, 'slots_busy', true,
                format('All %s of %s %s busy (as of %s ago). It waits until a job ends. For more room start another worker: pgtask worker',
                       pgtask.explain_count(fleet.slots, 'slot'), pgtask.explain_list(fleet.ready_names, fleet.ready),
                       CASE WHEN fleet.slots = 1 THEN 'is' ELSE 'are' END,
                       pgtask.explain_span(fleet.age)),
                jsonb_build_object('slots', fleet.slots, 'running', fleet.running, 'workers', fleet.ready, 'age_seconds', fleet.age,
                                   'remedy', 'pgtask worker');
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION pgtask.explain_workers IS 'Which workers could run a waiting job, and why none does. Part of pgtask.explain.';

-- When the next start is allowed under a rate: with the interval T = period / number and the burst B, once
-- free_at <= now + (B - 1) * T.
CREATE FUNCTION pgtask.explain_rate(rank integer, what text, scope pgtask.limit_scope, name text, number integer,
                                    period double precision, burst integer) RETURNS SETOF pgtask.reason
    LANGUAGE sql STABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
    SELECT rank, 'rate_limited', true,
           format('The rate of %s %s is used up: %s in %s. The next may start in %s.', what, name, pgtask.explain_count(number, 'start'),
                  pgtask.explain_span(period), pgtask.explain_span(rate.wait)),
           jsonb_build_object('scope', what, 'name', name, 'rate_limit', number, 'rate_period_seconds', period, 'rate_burst', burst,
                              'next_start_in_seconds', rate.wait, 'next_start_at',
                              pgtask.explain_instant(now() + make_interval(secs => rate.wait)))
      FROM (SELECT extract(epoch FROM l.free_at - now())::double precision - (burst - 1) * period / number AS wait
              FROM pgtask.limits l
             WHERE l.scope = explain_rate.scope AND l.name = explain_rate.name AND l.key = '' AND isfinite(l.free_at)) rate
     WHERE rate.wait > 0;
$$;
COMMENT ON FUNCTION pgtask.explain_rate IS 'Why a rate holds a job, when it does. Part of pgtask.explain.';

-- Circuits, jobs at once in the queue and of the concurrency key, rates of the queue and of the task.
CREATE FUNCTION pgtask.explain_limits(job pgtask.jobs) RETURNS SETOF pgtask.reason
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    settings pgtask.queues;
    policy   pgtask.tasks;
    circuit  pgtask.circuits;
    taken    integer;
    room     integer;
    holders  bigint[];
    before   bigint;
    due      boolean := job.scheduled_at <= now();
    story    text;
BEGIN
    SELECT * INTO settings FROM pgtask.queues q WHERE q.name = job.queue;
    SELECT * INTO policy FROM pgtask.tasks t WHERE t.name = job.task;
    SELECT * INTO circuit FROM pgtask.circuits c WHERE c.task = job.task AND c.state <> 'closed';
    circuit.hold_until := CASE WHEN isfinite(circuit.hold_until) THEN circuit.hold_until END;
    IF circuit.state = 'open' THEN
        story := format('The circuit of task %s has been open for %s%s%s, so none of its jobs starts, and none is charged.',
                        job.task, pgtask.explain_span(pgtask.explain_since(circuit.changed_at)),
                        ' (by ' || circuit.changed_by || ')', ': ' || nullif(rtrim(circuit.reason, '. '), ''));
        RETURN QUERY SELECT CASE WHEN circuit.hold_until IS NULL THEN 12 ELSE 40 END, 'circuit_open',
            coalesce(circuit.hold_until > now(), true),
            story || CASE WHEN circuit.hold_until IS NULL THEN ' It stays open until somebody closes it'
                          WHEN circuit.hold_until > now()
                          THEN format(' One job may try in %s, at %s. Close it sooner',
                                      pgtask.explain_span(extract(epoch FROM circuit.hold_until - now())::double precision),
                                      pgtask.explain_moment(circuit.hold_until))
                          ELSE ' The next to be claimed, which may be this one, tries whether it works again. Close it by hand' END
                  || ': pgtask tasks close ' || pgtask.explain_quoted(job.task),
            jsonb_build_object('task', job.task, 'since', pgtask.explain_instant(circuit.changed_at), 'by', circuit.changed_by,
                               'reason', circuit.reason, 'next_probe_at', pgtask.explain_instant(circuit.hold_until),
                               'remedy', 'pgtask tasks close ' || pgtask.explain_quoted(job.task));
    ELSIF circuit.state = 'half_open' THEN
        RETURN QUERY SELECT 40, 'circuit_half_open', true,
            format('The circuit of task %s is half open%s. The other jobs of the task wait for how that ends: success lets them go on.',
                   job.task, CASE WHEN circuit.probe_job_id = job.id THEN ': this job was to be its probe'
                                  ELSE ': job ' || circuit.probe_job_id || ' tries whether it works again' END),
            jsonb_build_object('task', job.task, 'since', pgtask.explain_instant(circuit.changed_at), 'probe_job_id', circuit.probe_job_id,
                               'probe_attempt', circuit.probe_attempt, 'reason', circuit.reason);
    END IF;
    IF settings.max_workers = 0 THEN
        RETURN QUERY SELECT 13, 'queue_full', true,
            format('Queue %s may run no job at all: its max_workers is 0. Raise it: pgtask queues set %s --max-workers N', job.queue,
                   pgtask.explain_quoted(job.queue)),
            jsonb_build_object('queue', job.queue, 'used', 0, 'max_workers', 0, 'job_ids', '[]'::jsonb);
    END IF;
    IF NOT due THEN
        RETURN;
    END IF;
    SELECT l.used INTO taken FROM pgtask.limits l WHERE l.scope = 'queue' AND l.name = job.queue AND l.key = '';
    IF settings.max_workers > 0 AND taken >= settings.max_workers THEN
        holders := ARRAY(SELECT h.job_id FROM pgtask.limit_holds h WHERE h.queue = job.queue AND h.in_queue ORDER BY h.job_id LIMIT 10);
        RETURN QUERY SELECT 50, 'queue_full', true,
            format('Queue %s runs as many jobs as it may, %s of %s%s. It waits until one ends. To allow more: pgtask queues set %s --max-workers N',
                   job.queue, taken, settings.max_workers, ': job' || CASE WHEN cardinality(holders) > 1 THEN 's ' ELSE ' ' END
                   || nullif(pgtask.explain_list(holders::text[], greatest(taken, cardinality(holders))), ''),
                   pgtask.explain_quoted(job.queue)),
            jsonb_build_object('queue', job.queue, 'used', taken, 'max_workers', settings.max_workers, 'job_ids', to_jsonb(holders));
    END IF;
    IF job.concurrency_key IS NOT NULL THEN
        room := coalesce(settings.max_workers_per_key, 1);
        SELECT l.used INTO taken FROM pgtask.limits l WHERE l.scope = 'key' AND l.name = job.queue AND l.key = job.concurrency_key;
        IF taken >= room THEN
            holders := ARRAY(SELECT h.job_id FROM pgtask.limit_holds h
                              WHERE h.queue = job.queue AND h.concurrency_key = job.concurrency_key ORDER BY h.job_id LIMIT 10);
            SELECT count(*) INTO before
              FROM (SELECT FROM pgtask.jobs a
                     WHERE a.queue = job.queue AND a.priority = job.priority AND a.concurrency_key = job.concurrency_key
                       AND (a.scheduled_at, a.id + 0) < (job.scheduled_at, job.id) AND a.status = 'pending'
                     LIMIT 10001) ahead;
            RETURN QUERY SELECT 51, 'key_held', true,
                format('Concurrency key %s is held by %s; queue %s lets %s of a key run at once.%s', job.concurrency_key,
                       coalesce('job' || CASE WHEN cardinality(holders) > 1 THEN 's ' ELSE ' ' END
                                || nullif(pgtask.explain_list(holders::text[], greatest(taken, cardinality(holders))), ''),
                                pgtask.explain_count(taken, 'job')),
                       job.queue, pgtask.explain_count(room, 'job'),
                       CASE WHEN before > 0
                            THEN format(' With this key %s %s ahead of it.', pgtask.explain_count(before, 'more job', 10000),
                                        CASE WHEN before = 1 THEN 'is' ELSE 'are' END) ELSE '' END),
                jsonb_build_object('queue', job.queue, 'concurrency_key', job.concurrency_key, 'used', taken,
                                   'max_workers_per_key', room, 'job_ids', to_jsonb(holders), 'ahead_with_key', before);
        END IF;
    END IF;
    IF settings.rate_limit IS NOT NULL THEN
        RETURN QUERY SELECT r.* FROM pgtask.explain_rate(52, 'queue', 'queue', job.queue, settings.rate_limit, settings.rate_period,
                                                         settings.rate_burst) r;
    END IF;
    IF policy.rate_limit IS NOT NULL THEN
        RETURN QUERY SELECT r.* FROM pgtask.explain_rate(53, 'task', 'task', job.task, policy.rate_limit, policy.rate_period,
                                                         policy.rate_burst) r;
    END IF;
END
$$;
COMMENT ON FUNCTION pgtask.explain_limits IS 'Which limits and circuits hold a waiting job. Part of pgtask.explain.';

-- Lanes of the job's queue with what lifts them, as workers sort them: a lift of at most 3 by how long the oldest of the first
-- 100 due jobs has waited, only where the queue has more than one lane.
CREATE FUNCTION pgtask.explain_lanes(queue text) RETURNS TABLE (priority smallint, lift integer, waited double precision)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
    WITH RECURSIVE lane AS (
        SELECT (SELECT j.priority FROM pgtask.jobs j WHERE j.queue = $1 ORDER BY j.priority LIMIT 1) AS priority
         UNION ALL
        SELECT (SELECT j.priority FROM pgtask.jobs j WHERE j.queue = $1 AND j.priority > lane.priority ORDER BY j.priority LIMIT 1)
          FROM lane
         WHERE lane.priority IS NOT NULL
    )
    SELECT lane.priority,
           CASE WHEN oldest.waited > 0 AND contested.yes
                THEN least(3, floor(oldest.waited / pgtask.ageing_step()))::integer ELSE 0 END,
           oldest.waited
      FROM lane
     CROSS JOIN (SELECT count(l.priority) > 1 AND pgtask.ageing_step() > 0 AS yes FROM lane l) contested
      LEFT JOIN LATERAL (
            SELECT extract(epoch FROM now() - due.scheduled_at)::double precision AS waited
              FROM (SELECT j.scheduled_at, j.status, j.suspect
                      FROM pgtask.jobs j
                     WHERE j.queue = $1 AND j.priority = lane.priority AND j.scheduled_at <= now()
                     ORDER BY j.scheduled_at
                     LIMIT 100) due
             WHERE due.status = 'pending' AND NOT due.suspect
             ORDER BY due.scheduled_at
             LIMIT 1
           ) oldest ON true
     WHERE lane.priority IS NOT NULL;
$$;
COMMENT ON FUNCTION pgtask.explain_lanes IS 'The lanes of a queue and how far ageing lifts each. Part of pgtask.explain.';

-- Whose turn it is. held: something keeps the job from being claimed, whoever is ahead of it. busy: no slot is free. pace and
-- not_before: where a rate holds it, the seconds between two starts and until the next.
CREATE FUNCTION pgtask.explain_turn(job pgtask.jobs, held boolean, busy boolean, not_before double precision, pace double precision)
    RETURNS SETOF pgtask.reason
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    cap      CONSTANT integer := 10000;
    settings pgtask.queues;
    own      record;
    ahead    record;
    others   record;
    recent   record;
    expected double precision;
    reach    text;
BEGIN
    SELECT * INTO settings FROM pgtask.queues q WHERE q.name = job.queue;
    SELECT coalesce(l.lift, 0) AS lift, coalesce(l.waited, 0) AS waited INTO own
      FROM pgtask.explain_lanes(job.queue) l WHERE l.priority = job.priority;

    WITH ranked AS MATERIALIZED (
        SELECT l.priority, l.lift,
               row_number() OVER (ORDER BY l.priority + l.lift DESC, CASE WHEN l.lift > 0 THEN l.waited ELSE 0 END DESC,
                                  l.priority DESC) AS place
          FROM pgtask.explain_lanes(job.queue) l
    ), counted AS MATERIALIZED (
        SELECT lane.priority, lane.lift, lane.place
          FROM (SELECT r.priority, r.lift, r.place,
                       CASE WHEN r.priority = job.priority THEN job.scheduled_at ELSE now() END AS up_to_time,
                       CASE WHEN r.priority = job.priority THEN job.id ELSE 9223372036854775807 END AS up_to_id
                  FROM ranked r
                 WHERE r.place <= (SELECT mine.place FROM ranked mine WHERE mine.priority = job.priority)
                 ORDER BY r.place) lane
         CROSS JOIN LATERAL (
                SELECT
                  FROM pgtask.jobs a
                 WHERE a.queue = job.queue
                   AND a.priority = lane.priority
                   AND (a.scheduled_at, a.id + 0) < (lane.up_to_time, lane.up_to_id)
                   AND a.status = 'pending'
                 LIMIT cap + 1) a
         LIMIT cap + 1
    )
    SELECT coalesce(sum(c.jobs), 0)::bigint AS number,
           coalesce(jsonb_agg(jsonb_build_object('priority', c.priority, 'lift', c.lift, 'jobs', c.jobs) ORDER BY c.place), '[]') AS lanes,
           array_agg(format('%s of %s%s', ltrim(to_char(c.jobs, '999,999,990')),
                            CASE WHEN c.priority = job.priority THEN 'its own priority ' ELSE 'priority ' END
                            || CASE c.priority WHEN 0 THEN 'low' WHEN 1 THEN 'normal' WHEN 2 THEN 'high' WHEN 3 THEN 'critical'
                                               ELSE c.priority::text END,
                            CASE WHEN c.lift > 0 AND c.priority <> job.priority THEN ', lifted by ' || c.lift END)
                     ORDER BY c.place) AS words
      INTO ahead
      FROM (SELECT k.priority, k.lift, k.place, count(*) AS jobs FROM counted k GROUP BY k.priority, k.lift, k.place) c;

    IF ahead.number > 0 THEN
        RETURN QUERY SELECT 70, 'jobs_ahead', false,
            format('%s of queue %s %s ahead of it%s.%s', pgtask.explain_count(ahead.number, 'job', cap), job.queue,
                   CASE WHEN ahead.number = 1 THEN 'is' ELSE 'are' END,
                   CASE WHEN jsonb_array_length(ahead.lanes) > 1 THEN ': ' || pgtask.explain_list(ahead.words)
                        WHEN (ahead.lanes -> 0 ->> 'priority')::integer <> job.priority
                        THEN regexp_replace(ahead.words[1], '^[0-9,]+', ',') END,
                   CASE WHEN job.concurrency_key IS NOT NULL THEN ' Concurrency keys take turns, so it need not wait for all of them.' END),
            jsonb_build_object('queue', job.queue, 'jobs', least(ahead.number, cap), 'exact', ahead.number <= cap, 'lanes', ahead.lanes);
    ELSIF held OR busy OR not_before > 0 THEN
        RETURN QUERY SELECT 70, 'next', false, format('It is the first in line of queue %s.', job.queue),
            jsonb_build_object('queue', job.queue, 'due_seconds', pgtask.explain_since(job.scheduled_at));
    ELSIF pgtask.explain_since(job.scheduled_at) > 10 THEN
        RETURN QUERY SELECT 70, 'next', false,
            format('Nothing that pgtask can see stands in its way, yet it has been due for %s. Look into the logs of the workers: pgtask workers list',
                   pgtask.explain_span(pgtask.explain_since(job.scheduled_at))),
            jsonb_build_object('queue', job.queue, 'due_seconds', pgtask.explain_since(job.scheduled_at), 'remedy', 'pgtask workers list');
    ELSE
        RETURN QUERY SELECT 70, 'next', false, format('It is next in queue %s and should start within a second or so.', job.queue),
            jsonb_build_object('queue', job.queue, 'due_seconds', pgtask.explain_since(job.scheduled_at));
    END IF;

    IF own.lift > 0 THEN
        RETURN QUERY SELECT 72, 'ageing', false,
            format('Its priority %s counts as %s, because a job of that priority has waited for %s (ageing).', job.priority,
                   job.priority + own.lift, pgtask.explain_span(own.waited)),
            jsonb_build_object('priority', job.priority, 'lift', own.lift, 'ageing_step_seconds', pgtask.ageing_step());
    END IF;

    -- Other queues of its workers with jobs that are due: those of higher priority come first, equal ones share by weight.
    WITH served AS MATERIALIZED (
        SELECT w.queues
          FROM pgtask.workers w
         WHERE w.dead_at IS NULL AND w.slots > 0 AND w.expires_at > now() AND (w.queues IS NULL OR job.queue = ANY (w.queues))
    ), rivals AS MATERIALIZED (
        SELECT l.queue, l.priority AS lane, coalesce(q.priority, 0) AS priority, coalesce(q.weight, 1) AS weight
          FROM pgtask.lanes l
          LEFT JOIN pgtask.queues q ON q.name = l.queue
         WHERE l.queue <> job.queue AND q.paused_at IS NULL
           AND coalesce(q.priority, 0) >= coalesce(settings.priority, 0)
           AND EXISTS (SELECT FROM served s WHERE s.queues IS NULL OR l.queue = ANY (s.queues))
    ), counted AS MATERIALIZED (
        SELECT r.queue, r.priority
          FROM rivals r
         CROSS JOIN LATERAL (SELECT
                               FROM pgtask.jobs a
                              WHERE a.queue = r.queue AND a.priority = r.lane AND a.scheduled_at <= now() AND a.status = 'pending'
                              LIMIT cap + 1) a
         WHERE r.priority > coalesce(settings.priority, 0)
         LIMIT cap + 1
    ), equals AS MATERIALIZED (
        SELECT DISTINCT r.queue, r.weight
          FROM rivals r
         WHERE r.priority = coalesce(settings.priority, 0)
           AND EXISTS (SELECT
                         FROM pgtask.jobs a
                        WHERE a.queue = r.queue AND a.priority = r.lane AND a.scheduled_at <= now() AND a.status = 'pending')
    )
    SELECT (SELECT count(*) FROM counted) AS jobs,
           ARRAY(SELECT format('%s (priority %s)', c.queue, c.priority)
                   FROM counted c GROUP BY c.queue, c.priority ORDER BY c.priority DESC, count(*) DESC LIMIT 5) AS higher,
           (SELECT count(DISTINCT c.queue) FROM counted c) AS higher_count,
           ARRAY(SELECT format('%s (weight %s)', e.queue, e.weight) FROM equals e ORDER BY e.weight DESC, e.queue LIMIT 5) AS equal,
           (SELECT count(*) FROM equals) AS equal_count
      INTO others;
    IF others.jobs > 0 THEN
        RETURN QUERY SELECT 71, 'queues_ahead', false,
            format('Its workers serve %s first: %s that %s due wait there.', pgtask.explain_list('queue ' || others.higher[1] || others.higher[2:], others.higher_count),
                   pgtask.explain_count(others.jobs, 'job', cap), CASE WHEN others.jobs = 1 THEN 'is' ELSE 'are' END),
            jsonb_build_object('jobs', least(others.jobs, cap), 'exact', others.jobs <= cap, 'queues', to_jsonb(others.higher));
    END IF;
    IF others.equal_count > 0 THEN
        RETURN QUERY SELECT 73, 'queues_sharing', false,
            format('Queue %s (weight %s) shares its workers with %s.', job.queue, coalesce(settings.weight, 1),
                   pgtask.explain_list(others.equal, others.equal_count)),
            jsonb_build_object('queue', job.queue, 'weight', coalesce(settings.weight, 1), 'queues', to_jsonb(others.equal),
                               'queue_count', others.equal_count);
    END IF;

    IF held OR NOT (busy OR not_before > 0 OR ahead.number > 0) THEN
        RETURN;
    END IF;
    IF not_before > 0 THEN
        expected := not_before + ahead.number * pace;
        RETURN QUERY SELECT 80, 'estimated_start', false,
            CASE WHEN ahead.number <= cap
                 THEN format('It starts in %s at the earliest, at %s, as the rate allows.', pgtask.explain_span(expected),
                             pgtask.explain_moment(now() + make_interval(secs => expected)))
                 ELSE format('It starts no sooner than in %s, as the rate allows.', pgtask.explain_span(expected)) END,
            jsonb_build_object('at', CASE WHEN ahead.number <= cap THEN pgtask.explain_instant(now() + make_interval(secs => expected)) END,
                               'in_seconds', CASE WHEN ahead.number <= cap THEN expected END, 'starts_per_second', 1 / pace);
        RETURN;
    END IF;
    -- Only whole minutes in which the queue got something done, so that idle ones do not count as slow.
    SELECT count(*) AS minutes, sum(m.ended) AS ended, max(m.minute) AS latest
      INTO recent
      FROM (SELECT s.minute, sum(s.completed + s.failed + s.retried + s.lost) AS ended
              FROM pgtask.stats_minute s
             WHERE s.minute >= date_trunc('minute', now()) - interval '10 minutes'
               AND s.minute < date_trunc('minute', now())
               AND s.queue = job.queue
             GROUP BY s.minute) m
     WHERE m.ended > 0;
    expected := (ahead.number + 1) * 60 * recent.minutes / recent.ended;
    reach := format('at the pace of queue %s in the last minutes (%s a minute)', job.queue,
                    pgtask.explain_count(round(recent.ended / recent.minutes)::bigint, 'job'));
    IF expected IS NULL OR recent.latest < now() - interval '4 minutes' THEN
        RETURN QUERY SELECT 80, 'estimated_start', false,
            format('When it will start cannot be told: no job of queue %s has ended in the last minutes.', job.queue),
            jsonb_build_object('at', NULL, 'in_seconds', NULL, 'starts_per_second', NULL);
    ELSIF ahead.number > cap THEN
        RETURN QUERY SELECT 80, 'estimated_start', false,
            format('It starts no sooner than in about %s, %s.', pgtask.explain_span(expected), reach),
            jsonb_build_object('at', NULL, 'in_seconds', NULL, 'starts_per_second', recent.ended / recent.minutes / 60);
    ELSE
        RETURN QUERY SELECT 80, 'estimated_start', false,
            format('It should start in about %s, at %s, %s.', pgtask.explain_span(expected),
                   pgtask.explain_moment(now() + make_interval(secs => expected)), reach),
            jsonb_build_object('at', pgtask.explain_instant(now() + make_interval(secs => expected)), 'in_seconds', expected,
                               'starts_per_second', recent.ended / recent.minutes / 60);
    END IF;
END
$$;
COMMENT ON FUNCTION pgtask.explain_turn IS 'What comes before a waiting job, and when its turn should be. Part of pgtask.explain.';

CREATE FUNCTION pgtask.explain_waiting(job pgtask.jobs) RETURNS SETOF pgtask.reason
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    found pgtask.reason[];
    rule  record;
BEGIN
    found := ARRAY(SELECT r FROM (SELECT r FROM pgtask.explain_orders(job) r
                                   UNION ALL SELECT r FROM pgtask.explain_workers(job) r
                                   UNION ALL SELECT r FROM pgtask.explain_limits(job) r) all_rules);
    RETURN QUERY SELECT f.* FROM unnest(found) f;
    IF job.scheduled_at <= now() THEN
        SELECT coalesce(bool_or(f.blocking AND f.code NOT IN ('rate_limited', 'slots_busy')), false) AS held,
               coalesce(bool_or(f.code = 'slots_busy'), false) AS busy,
               coalesce(max((f.details ->> 'next_start_in_seconds')::double precision), 0) AS not_before,
               max((f.details ->> 'rate_period_seconds')::double precision / (f.details ->> 'rate_limit')::double precision) AS pace
          INTO rule
          FROM unnest(found) f;
        RETURN QUERY SELECT t.* FROM pgtask.explain_turn(job, rule.held, rule.busy, rule.not_before, rule.pace) t;
    END IF;
END
$$;
COMMENT ON FUNCTION pgtask.explain_waiting IS 'What a pending job waits for. Part of pgtask.explain.';

CREATE FUNCTION pgtask.explain_running(job pgtask.jobs) RETURNS SETOF pgtask.reason
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    owner    pgtask.workers;
    held     pgtask.limit_holds;
    since    double precision := pgtask.explain_since(job.started_at);
    who      text := pgtask.explain_worker(job.worker_id);
    others   bigint;
    run_time double precision;
BEGIN
    SELECT * INTO owner FROM pgtask.workers w WHERE w.id = job.worker_id;
    IF owner.id IS NULL OR owner.dead_at IS NOT NULL OR owner.expires_at <= now() THEN
        SELECT count(*) INTO others
          FROM pgtask.workers w WHERE w.id <> job.worker_id AND w.dead_at IS NULL AND w.slots > 0 AND w.expires_at > now();
        RETURN QUERY SELECT 0, 'worker_lost', true,
            format('The worker that runs it is silent: %s %s. %s', who,
                   coalesce(CASE WHEN owner.host IS NOT NULL THEN 'on ' || owner.host || ' ' ELSE '' END || pgtask.explain_fate(owner.id),
                            'is known no more'),
                   CASE WHEN others > 0 THEN 'Another worker takes the job back in a moment, uncharged, and it runs again.'
                        ELSE 'No other is alive to take the job back. Start one: pgtask worker' END),
            jsonb_build_object('worker_id', job.worker_id, 'host', owner.host, 'heartbeat_at', pgtask.explain_instant(owner.heartbeat_at),
                               'lease_ended_at', pgtask.explain_instant(owner.expires_at), 'other_workers', others);
    END IF;
    IF job.cancel_requested_at IS NOT NULL THEN
        RETURN QUERY SELECT 1, 'cancel_requested', false,
            format('It was asked to stop %s ago and still runs.', pgtask.explain_span(pgtask.explain_since(job.cancel_requested_at))),
            jsonb_build_object('cancel_requested_at', pgtask.explain_instant(job.cancel_requested_at));
    END IF;
    run_time := coalesce(job.timeout, (SELECT t.timeout FROM pgtask.tasks t WHERE t.name = job.task),
                         (SELECT q.timeout FROM pgtask.queues q WHERE q.name = job.queue));
    IF since > run_time THEN
        RETURN QUERY SELECT 2, 'overdue', false,
            format('It has run for %s, longer than its timeout of %s: it is being stopped.', pgtask.explain_span(since),
                   pgtask.explain_span(run_time)),
            jsonb_build_object('timeout_seconds', run_time, 'running_seconds', since);
    END IF;
    RETURN QUERY SELECT 3, 'running', false,
        format('It has been running for %s on %s%s, in executor %s, as attempt %s.%s', pgtask.explain_span(since), who,
               ', host ' || owner.host, coalesce(job.executor::text, 'unknown'), job.attempt,
               CASE WHEN job.progress IS NOT NULL OR job.progress_message IS NOT NULL
                    THEN ' Progress: ' || btrim(concat(job.progress || ' %', ' ', job.progress_message)) || '.' END),
        jsonb_build_object('worker_id', job.worker_id, 'worker', owner.name, 'host', owner.host, 'executor', job.executor,
                           'attempt', job.attempt, 'started_at', pgtask.explain_instant(job.started_at), 'running_seconds', since,
                           'progress', job.progress, 'progress_message', job.progress_message);
    IF owner.stopping_at IS NOT NULL AND owner.dead_at IS NULL THEN
        RETURN QUERY SELECT 4, 'worker_stopping', false,
            format('%s %s: what does not end within its grace period is given back, uncharged.', who, pgtask.explain_fate(owner.id)),
            jsonb_build_object('worker_id', owner.id, 'stopping_at', pgtask.explain_instant(owner.stopping_at));
    END IF;
    IF EXISTS (SELECT FROM pgtask.circuits c
                WHERE c.task = job.task AND c.state = 'half_open' AND c.probe_job_id = job.id AND c.probe_attempt = job.attempt) THEN
        RETURN QUERY SELECT 5, 'probe', false,
            format('It is the probe of the circuit of task %s: its success closes the circuit, its failure opens it again.', job.task),
            jsonb_build_object('task', job.task);
    END IF;
    SELECT * INTO held FROM pgtask.limit_holds h WHERE h.job_id = job.id AND h.attempt = job.attempt;
    IF FOUND THEN
        RETURN QUERY SELECT 6, 'holds', false,
            format('It counts against %s: others wait until it ends.',
                   pgtask.explain_list(array_remove(ARRAY[CASE WHEN held.in_queue THEN 'max_workers of queue ' || held.queue END,
                                                          'concurrency key ' || held.concurrency_key], NULL))),
            jsonb_build_object('queue', held.queue, 'in_queue', held.in_queue, 'concurrency_key', held.concurrency_key);
    END IF;
END
$$;
COMMENT ON FUNCTION pgtask.explain_running IS 'Who runs a job, and how it fares. Part of pgtask.explain.';

CREATE FUNCTION pgtask.explain_ended(run pgtask.runs) RETURNS SETOF pgtask.reason
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    allowed  integer;
    resolved pgtask.resolutions;
    ended    text := pgtask.explain_span(pgtask.explain_since(run.finished_at)) || ' ago';
    took     text := pgtask.explain_took(run.started_at, run.finished_at);
    error    text := pgtask.explain_error(run.error_type, run.error);
    again    text := 'pgtask jobs retry ' || run.job_id;
    code     text := run.status;
    story    text;
BEGIN
    allowed := coalesce(run.max_retries, (SELECT t.max_retries FROM pgtask.tasks t WHERE t.name = run.task),
                        (SELECT q.max_retries FROM pgtask.queues q WHERE q.name = run.queue), 3);
    CASE run.status
    WHEN 'completed' THEN
        story := format('It completed %s, %s on %s.', ended, took, pgtask.explain_worker(run.worker_id));
    WHEN 'quarantined' THEN
        story := format('It was quarantined %s, because it had killed its process %s while it ran alone. The last time: %s. '
                        'Mend its cause first, then put it back: %s',
                        ended, CASE run.crash_count WHEN 1 THEN 'once' WHEN 2 THEN 'twice' ELSE run.crash_count || ' times' END, error, again);
    WHEN 'cancelled' THEN
        IF run.error_type = 'Expired' THEN
            code := 'expired';
            story := format('It was cancelled %s, because it was not started in time (start_by %s). If it is still wanted: %s', ended,
                            pgtask.explain_moment(run.start_by), again);
        ELSIF run.attempt IS NULL THEN
            story := format('It was cancelled %s, while it waited%s.%s', ended, ': ' || nullif(error, 'no error was recorded'),
                            CASE WHEN run.error IS NULL THEN ' By whom was not recorded.' END);
        ELSIF run.outcome = 'cancelled' AND run.error_type = 'Cancel' THEN
            story := format('Its own handler cancelled it %s, %s on %s: %s.', ended, took, pgtask.explain_worker(run.worker_id), error);
        ELSIF run.outcome = 'cancelled' THEN
            story := format('It was cancelled %s as asked, %s on %s%s.', ended, took, pgtask.explain_worker(run.worker_id),
                            ': ' || nullif(error, 'no error was recorded'));
        ELSE
            story := format('It was cancelled %s: it had been asked to stop, and its attempt then ended as %s, so it was not put back. %s.',
                            ended, run.outcome, error);
        END IF;
    ELSE
        story := format('It failed for good %s, %s on %s: %s. %s', ended, took, pgtask.explain_worker(run.worker_id), error,
            CASE WHEN run.error_type = 'Discard' THEN 'Its handler gave it up (Discard), so it was not retried.'
                 WHEN allowed = 0 THEN 'It has no retries.'
                 WHEN run.outcome NOT IN ('failed', 'timeout', 'crashed') OR allowed < 0 OR run.retry_count <= allowed
                 THEN 'It was not retried, though it had retries left.'
                 ELSE CASE WHEN allowed = 1 THEN 'Its only retry is' ELSE 'All its ' || allowed || ' retries are' END || ' used up.' END
            || ' Put it back: ' || again);
    END CASE;
    RETURN QUERY SELECT 0, code, false, story,
        jsonb_build_object('outcome', run.outcome, 'finished_at', pgtask.explain_instant(run.finished_at),
                           'started_at', pgtask.explain_instant(run.started_at), 'worker_id', run.worker_id, 'error_type', run.error_type,
                           'error', left(run.error, 2000), 'retry_count', run.retry_count, 'crash_count', run.crash_count,
                           'max_retries', allowed, 'start_by', pgtask.explain_instant(run.start_by),
                           'remedy', CASE WHEN run.status <> 'completed' THEN again END);
    SELECT * INTO resolved FROM pgtask.resolutions s WHERE s.job_id = run.job_id;
    IF FOUND THEN
        RETURN QUERY SELECT 5, 'resolved', false,
            format('It has been dealt with%s, %s ago%s.', ' by ' || resolved.resolved_by,
                   pgtask.explain_span(pgtask.explain_since(resolved.resolved_at)), ': ' || rtrim(resolved.note, '. ')),
            jsonb_build_object('resolved_at', pgtask.explain_instant(resolved.resolved_at), 'resolved_by', resolved.resolved_by,
                               'note', resolved.note);
    END IF;
END
$$;
COMMENT ON FUNCTION pgtask.explain_ended IS 'Why a job has ended as it did. Part of pgtask.explain.';

-- Where a job comes from and what hangs on it: its schedule, its unique key, the dead letter that it is a copy of.
CREATE FUNCTION pgtask.explain_origin(job_id bigint) RETURNS SETOF pgtask.reason
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    job     record;
    held    pgtask.unique_keys;
    ticks   record;
    title   text;
    is_live boolean;
BEGIN
    SELECT a.created_at, a.finished_at, a.unique_key, a.unique_scope, a.schedule_id, a.tick_at, a.dead_letter INTO job
      FROM pgtask.all_jobs a WHERE a.id = explain_origin.job_id LIMIT 1;
    is_live := job.finished_at IS NULL;
    SELECT * INTO held FROM pgtask.unique_keys u WHERE u.job_id = explain_origin.job_id LIMIT 1;
    IF job.unique_key IS NOT NULL AND (held.job_id IS NOT NULL OR is_live AND job.unique_scope IS NULL)
       AND coalesce(held.expires_at > now(), true) THEN
        RETURN QUERY SELECT 90, 'unique_key', false,
            format('It holds unique key %s (%s)%s: whoever enqueues with that key gets this job instead of a new one.', job.unique_key,
                   coalesce(held.scope::text, 'active'),
                   CASE WHEN held.expires_at IS NOT NULL THEN ' until ' || pgtask.explain_moment(held.expires_at) END),
            jsonb_build_object('unique_key', job.unique_key, 'scope', coalesce(held.scope::text, 'active'),
                               'expires_at', pgtask.explain_instant(held.expires_at));
    END IF;
    IF job.schedule_id IS NOT NULL THEN
        title := coalesce((SELECT 'schedule ' || s.name FROM pgtask.schedules s WHERE s.id = job.schedule_id),
                          'schedule ' || job.schedule_id || ', which has been deleted');
        RETURN QUERY SELECT 91, 'schedule', false,
            CASE WHEN job.tick_at IS NULL THEN format('It was made by %s outside of its ticks, by hand.', title)
                 ELSE format('It is the tick of %s of %s.', pgtask.explain_moment(job.tick_at), title) END,
            jsonb_build_object('schedule_id', job.schedule_id, 'tick_at', pgtask.explain_instant(job.tick_at));
        SELECT count(*) AS skipped, min(t.tick_at) AS first, max(t.tick_at) AS last, max(t.reason) AS reason INTO ticks
          FROM (SELECT t.tick_at, t.reason
                  FROM pgtask.schedule_ticks t
                 WHERE t.schedule_id = job.schedule_id AND t.outcome = 'skipped' AND t.tick_at >= coalesce(job.tick_at, job.created_at)
                   AND t.fired_at >= job.created_at AND t.fired_at <= coalesce(job.finished_at, now())
                 LIMIT 10000) t;
        IF ticks.skipped > 0 THEN
            RETURN QUERY SELECT 92, 'ticks_skipped', false,
                format('%s of its schedule made no job while this one had not ended: from %s to %s%s.',
                       pgtask.explain_count(ticks.skipped, 'later tick'), pgtask.explain_moment(ticks.first), pgtask.explain_moment(ticks.last),
                       ' (' || rtrim(ticks.reason, '. ') || ')'),
                jsonb_build_object('ticks', ticks.skipped, 'first_at', pgtask.explain_instant(ticks.first),
                                   'last_at', pgtask.explain_instant(ticks.last), 'reason', ticks.reason);
        END IF;
    END IF;
    IF job.dead_letter IS NOT NULL THEN
        RETURN QUERY SELECT 93, 'dead_letter', false,
            format('It is the copy of a dead letter: job %s of queue %s, which ended as %s: %s.', coalesce(job.dead_letter ->> 'job_id', 'unknown'),
                   coalesce(job.dead_letter ->> 'queue', 'unknown'), coalesce(job.dead_letter ->> 'status', 'failed'),
                   pgtask.explain_error(job.dead_letter ->> 'error_type', job.dead_letter ->> 'error')),
            jsonb_build_object('job_id', job.dead_letter -> 'job_id', 'queue', job.dead_letter -> 'queue');
    END IF;
END
$$;
COMMENT ON FUNCTION pgtask.explain_origin IS 'Where a job comes from and what hangs on it. Part of pgtask.explain.';

-- Why a job has run more than once: each attempt in words. claims is how often it was claimed, by an attempt that still runs if
-- `running`. A run that was the end of its job, and is not any more, was put back by hand.
CREATE FUNCTION pgtask.explain_history(job_id bigint, claims integer, running boolean) RETURNS SETOF pgtask.reason
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    run     record;
    counted record;
    missing integer;
    place   integer := 101;
    took    text;
    place_of text;
    error   text;
    story   text;
    shown   CONSTANT integer := 20;
BEGIN
    SELECT sum(k.times) FILTER (WHERE k.started)::bigint AS starts, sum(k.times)::bigint AS runs,
           array_agg(k.times || ' ' || k.outcome ORDER BY k.times DESC, k.outcome) FILTER (WHERE k.started) AS words,
           coalesce(jsonb_object_agg(k.outcome, k.times) FILTER (WHERE k.started), '{}') AS outcomes
      INTO counted
      FROM (SELECT r.outcome::text AS outcome, r.attempt IS NOT NULL AS started, count(*) AS times
              FROM (SELECT o.outcome, o.attempt FROM pgtask.runs o WHERE o.job_id = explain_history.job_id LIMIT 10000) r
             GROUP BY 1, 2) k;
    IF counted.starts + running::integer > 1 THEN
        RETURN QUERY SELECT 100, 'ran_more_than_once', false,
            format('It has been started %s: %s.', CASE counted.starts + running::integer WHEN 2 THEN 'twice'
                                                       ELSE counted.starts + running::integer || ' times' END,
                   pgtask.explain_list(counted.words || CASE WHEN running THEN ARRAY['1 running'] ELSE '{}' END)),
            jsonb_build_object('starts', counted.starts + running::integer, 'outcomes', counted.outcomes);
    END IF;
    missing := coalesce(claims, 0) - running::integer - coalesce(counted.starts, 0);
    IF missing > 0 THEN
        RETURN QUERY SELECT 200, 'attempts_unrecorded', false,
            format('%s left no record: given back before the handler began, or pruned since.',
                   pgtask.explain_count(missing, 'more attempt')),
            jsonb_build_object('attempts', missing);
    END IF;
    FOR run IN
        SELECT r.attempt, r.outcome, r.final, r.started_at, r.finished_at, r.worker_id, r.error_type, r.error, r.executor,
               r.created_at IS NOT NULL AND NOT r.final AS put_back
          FROM pgtask.runs r
         WHERE r.job_id = explain_history.job_id
         ORDER BY r.finished_at DESC, r.attempt DESC NULLS FIRST
         LIMIT shown
    LOOP
        -- Alone it is told by the headline.
        CONTINUE WHEN run.final AND (coalesce(counted.runs, 0) <= 1 OR run.attempt IS NULL);
        took := pgtask.explain_took(run.started_at, run.finished_at);
        place_of := format('%s on %s, %s ago', took, pgtask.explain_worker(run.worker_id),
                           pgtask.explain_span(pgtask.explain_since(run.finished_at)));
        error := pgtask.explain_error(run.error_type, run.error);
        story := CASE
            WHEN run.attempt IS NULL
            THEN format('It had ended as cancelled while it waited, %s ago.', pgtask.explain_span(pgtask.explain_since(run.finished_at)))
            WHEN run.outcome = 'completed' THEN format('completed %s.', place_of)
            WHEN run.outcome = 'failed' THEN format('failed %s: %s.', place_of, error)
            WHEN run.outcome = 'timeout' THEN format('was stopped by its timeout %s: %s.', place_of, error)
            WHEN run.outcome = 'crashed' THEN format('killed its process %s: %s.', place_of, error)
            WHEN run.outcome = 'lost' AND coalesce(run.error, 'Its worker died.') = 'Its worker died.'
            THEN format('was lost because its worker died: %s %s. It was not charged.', pgtask.explain_worker(run.worker_id),
                        coalesce(pgtask.explain_fate(run.worker_id), 'is known no more'))
            WHEN run.outcome = 'lost' THEN format('was lost %s: %s. Other jobs ran in that process, so none was charged.', place_of, error)
            WHEN run.outcome = 'released' THEN format('was cut off and given back %s: %s. It was not charged.', place_of, error)
            WHEN run.outcome = 'snoozed' THEN format('put itself off (snoozed) %s. It was not charged.', place_of)
            ELSE format('ended as %s %s: %s.', run.outcome, place_of, error)
        END;
        RETURN QUERY SELECT place, 'attempt', false,
            CASE WHEN run.attempt IS NULL THEN '' ELSE format('Attempt %s ', run.attempt) END || story
            || CASE WHEN run.put_back THEN ' The job had ended with that; it was put back by hand.' ELSE '' END,
            jsonb_build_object('attempt', run.attempt, 'outcome', run.outcome, 'started_at', pgtask.explain_instant(run.started_at),
                               'finished_at', pgtask.explain_instant(run.finished_at), 'worker_id', run.worker_id,
                               'executor', run.executor, 'charged', run.outcome IN ('failed', 'timeout', 'crashed'),
                               'error_type', run.error_type, 'error', left(run.error, 2000), 'put_back_by_hand', run.put_back);
        place := place + 1;
    END LOOP;
    IF counted.runs > shown THEN
        RETURN QUERY SELECT 199, 'attempts_earlier', false,
            format('%s came before those.', pgtask.explain_count(counted.runs - shown, 'run', 9980)),
            jsonb_build_object('runs', counted.runs - shown);
    END IF;
END
$$;
COMMENT ON FUNCTION pgtask.explain_history IS 'The attempts of a job in words, the latest first. Part of pgtask.explain.';

-- What it counts it reads in the order of an index and no further than its caps: no other plan may be chosen, however small or
-- uniform the table seems.
CREATE FUNCTION pgtask.explain(job_id bigint)
    RETURNS TABLE ("position" integer, code text, blocking boolean, text text, details jsonb)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pgtask, pg_temp SET plan_cache_mode = force_custom_plan
    SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    job   pgtask.jobs;
    run   pgtask.runs;
    found pgtask.reason[];
BEGIN
    SELECT * INTO job FROM pgtask.jobs j WHERE j.id = explain.job_id;
    IF job.id IS NULL THEN
        SELECT * INTO run FROM pgtask.runs r WHERE r.job_id = explain.job_id AND r.final ORDER BY r.finished_at DESC LIMIT 1;
    END IF;
    IF job.status = 'pending' THEN
        found := ARRAY(SELECT r FROM pgtask.explain_waiting(job) r);
    ELSIF job.id IS NOT NULL THEN
        found := ARRAY(SELECT r FROM pgtask.explain_running(job) r);
    ELSIF run.job_id IS NOT NULL THEN
        found := ARRAY(SELECT r FROM pgtask.explain_ended(run) r);
    ELSE
        found := ARRAY[ROW(0, 'not_found', false,
            CASE WHEN explain.job_id BETWEEN 1 AND pgtask.last_job_id()
                 THEN format('There is no job %s any more: its id was given out once, but its history has been pruned or deleted, or the transaction that enqueued it was undone or is still open.', explain.job_id)
                 WHEN explain.job_id IS NULL THEN 'No job: give the id of one.'
                 ELSE format('There is no job %s, and there never was one.', explain.job_id) END,
            jsonb_build_object('given_out', coalesce(explain.job_id BETWEEN 1 AND pgtask.last_job_id(), false)))::pgtask.reason];
    END IF;
    IF coalesce(job.id, run.job_id) IS NOT NULL THEN
        found := found
            || ARRAY(SELECT r FROM pgtask.explain_origin(explain.job_id) r)
            || ARRAY(SELECT r FROM pgtask.explain_history(explain.job_id, coalesce(job.attempt, run.claims),
                                                          coalesce(job.status = 'running', false)) r);
    END IF;
    RETURN QUERY
        SELECT row_number() OVER (ORDER BY f.rank, f.place)::integer, f.code, f.blocking, f.text, f.details
          FROM unnest(found) WITH ORDINALITY AS f (rank, code, blocking, text, details, place)
         ORDER BY f.rank, f.place;
END
$$;
COMMENT ON FUNCTION pgtask.explain IS
    'Why a job waits, runs or has ended as it did: reasons in sentences, the one that matters most first. `blocking` reasons keep '
    'it from being claimed now. Takes no locks.';

REVOKE ALL ON FUNCTION pgtask.explain_span, pgtask.explain_moment, pgtask.explain_instant, pgtask.explain_since, pgtask.explain_took, pgtask.explain_count,
    pgtask.explain_list, pgtask.explain_quoted, pgtask.explain_error, pgtask.explain_worker, pgtask.explain_fate, pgtask.ageing_step,
    pgtask.last_job_id, pgtask.explain_orders, pgtask.explain_workers, pgtask.explain_rate, pgtask.explain_limits, pgtask.explain_lanes,
    pgtask.explain_turn, pgtask.explain_waiting, pgtask.explain_running, pgtask.explain_ended, pgtask.explain_origin,
    pgtask.explain_history, pgtask.explain FROM PUBLIC;
