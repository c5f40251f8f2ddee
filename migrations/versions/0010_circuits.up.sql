-- Circuits that open by themselves, rates of tasks set by hand, and budgets for retries.
--
-- Locks: pgtask.tasks and pgtask.circuits for a moment.

-- breaker_failures in a row, or a share of breaker_rate of the attempts in breaker_window seconds, when these are breaker_minimum,
-- open the circuit for breaker_hold seconds, which double with each probe that fails, up to breaker_max_hold. declared_rate_*: what
-- the code says, in force until somebody sets another by hand, and again afterwards.
ALTER TABLE pgtask.tasks
    ADD COLUMN declared_rate_limit integer,
    ADD COLUMN declared_rate_period double precision,
    ADD COLUMN declared_rate_burst integer,
    ADD COLUMN breaker_failures integer CONSTRAINT tasks_breaker_failures_range CHECK (breaker_failures >= 1),
    ADD COLUMN breaker_rate double precision CONSTRAINT tasks_breaker_rate_range CHECK (breaker_rate > 0 AND breaker_rate <= 1),
    ADD COLUMN breaker_window double precision CONSTRAINT tasks_breaker_window_range CHECK (breaker_window > 0),
    ADD COLUMN breaker_minimum integer CONSTRAINT tasks_breaker_minimum_range CHECK (breaker_minimum >= 1),
    ADD COLUMN breaker_hold double precision CONSTRAINT tasks_breaker_hold_range CHECK (breaker_hold > 0),
    ADD COLUMN breaker_max_hold double precision CONSTRAINT tasks_breaker_max_hold_range CHECK (breaker_max_hold >= breaker_hold),
    ADD CONSTRAINT tasks_breaker_window_whole CHECK (num_nulls(breaker_rate, breaker_window, breaker_minimum) IN (0, 3));

-- failures: in a row, up to now. failed_probes: since it opened.
ALTER TABLE pgtask.circuits
    ADD COLUMN failures integer NOT NULL DEFAULT 0,
    ADD COLUMN failed_probes integer NOT NULL DEFAULT 0;

-- What came of attempts of late, of tasks whose circuit opens by a share of failures: by tenths of their window.
CREATE TABLE pgtask.circuit_tallies (
    task      text NOT NULL,
    since     timestamptz NOT NULL,
    successes integer NOT NULL,
    failures  integer NOT NULL,
    PRIMARY KEY (task, since)
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0
);

CREATE FUNCTION pgtask.report_outcomes(
    tasks text[], successes integer[], failures integer[], streaks integer[], ids bigint[], attempts integer[], outcomes text[]
) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
#variable_conflict use_column
DECLARE
    given   record;
    circuit pgtask.circuits;
    ended   text;
    in_row  integer;
    total   bigint;
    failed  bigint;
    cause   text;
BEGIN
    IF cardinality(tasks) = 0 AND NOT EXISTS (SELECT FROM pgtask.circuits c
                                               WHERE c.state = 'half_open' AND c.probe_job_id = ANY (report_outcomes.ids)) THEN
        RETURN;
    END IF;
    -- In order, so that nobody waits in a circle. What would change nothing locks nothing.
    FOR given IN
        SELECT n.task, coalesce(s.successes, 0) AS successes, coalesce(s.failures, 0) AS failures, coalesce(s.streak, 0) AS streak,
               t.breaker_failures, t.breaker_rate, t.breaker_minimum, make_interval(secs => t.breaker_window) AS breaker_window,
               coalesce(t.breaker_hold, 30) AS hold, coalesce(t.breaker_max_hold, 900) AS max_hold
          FROM (SELECT g.task FROM unnest(report_outcomes.tasks) AS g (task)
                 UNION
                SELECT c.task FROM pgtask.circuits c
                 WHERE c.state = 'half_open' AND c.probe_job_id = ANY (report_outcomes.ids)) n
          LEFT JOIN unnest(report_outcomes.tasks, report_outcomes.successes, report_outcomes.failures, report_outcomes.streaks)
                    AS s (task, successes, failures, streak) ON s.task = n.task
          LEFT JOIN pgtask.tasks t ON t.name = n.task
          LEFT JOIN pgtask.circuits c ON c.task = n.task
         WHERE c.state = 'half_open'
            OR t.breaker_rate IS NOT NULL
            OR (t.breaker_failures IS NOT NULL AND (s.failures > 0 OR c.failures > 0))
         ORDER BY n.task
    LOOP
        SELECT c.* INTO circuit FROM pgtask.circuits c WHERE c.task = given.task FOR UPDATE;
        IF NOT FOUND THEN
            INSERT INTO pgtask.circuits (task) VALUES (given.task) ON CONFLICT DO NOTHING;
            SELECT c.* INTO circuit FROM pgtask.circuits c WHERE c.task = given.task FOR UPDATE;
        END IF;
        IF circuit.state = 'half_open' THEN
            SELECT g.outcome INTO ended
              FROM unnest(report_outcomes.ids, report_outcomes.attempts, report_outcomes.outcomes) AS g (id, attempt, outcome)
             WHERE g.id = circuit.probe_job_id AND g.attempt = circuit.probe_attempt;
            IF NOT FOUND THEN
                -- Jobs that were started before it opened say nothing about now.
                CONTINUE;
            ELSIF ended = 'completed' THEN
                UPDATE pgtask.circuits c
                   SET state = 'closed', changed_at = clock_timestamp(), hold_until = NULL, probe_job_id = NULL, probe_attempt = NULL,
                       changed_by = NULL, reason = NULL, failures = 0, failed_probes = 0
                 WHERE c.task = given.task;
                DELETE FROM pgtask.circuit_tallies y WHERE y.task = given.task;
            ELSIF ended IN ('failed', 'timeout', 'crashed') THEN
                UPDATE pgtask.circuits c
                   SET state = 'open', changed_at = clock_timestamp(), probe_job_id = NULL, probe_attempt = NULL,
                       hold_until = clock_timestamp()
                           + make_interval(secs => least(given.max_hold, given.hold * power(2, least(c.failed_probes + 1, 40)))),
                       failed_probes = c.failed_probes + 1
                 WHERE c.task = given.task;
            ELSE
                UPDATE pgtask.circuits c
                   SET state = 'open', changed_at = clock_timestamp(), probe_job_id = NULL, probe_attempt = NULL,
                       hold_until = clock_timestamp()
                 WHERE c.task = given.task;
            END IF;
            PERFORM pg_notify('pgtask', 'queues');
            CONTINUE;
        END IF;
        CONTINUE WHEN circuit.state = 'open';
        cause := NULL;
        in_row := CASE WHEN given.successes > 0 THEN given.streak ELSE circuit.failures + given.failures END;
        IF in_row >= given.breaker_failures THEN
            cause := format('%s failures in a row', in_row);
        ELSIF given.breaker_rate IS NOT NULL THEN
            INSERT INTO pgtask.circuit_tallies AS y (task, since, successes, failures)
            VALUES (given.task, date_bin(given.breaker_window / 10, clock_timestamp(), '2000-01-01 00:00+00'), given.successes,
                    given.failures)
                ON CONFLICT (task, since) DO UPDATE
               SET successes = y.successes + excluded.successes, failures = y.failures + excluded.failures;
            DELETE FROM pgtask.circuit_tallies y
             WHERE y.task = given.task AND y.since <= clock_timestamp() - given.breaker_window;
            SELECT sum(y.successes + y.failures), sum(y.failures) INTO total, failed
              FROM pgtask.circuit_tallies y
             WHERE y.task = given.task;
            IF total >= given.breaker_minimum AND failed >= given.breaker_rate * total THEN
                cause := format('%s of %s attempts failed', failed, total);
            END IF;
        END IF;
        IF cause IS NOT NULL THEN
            UPDATE pgtask.circuits c
               SET state = 'open', changed_at = clock_timestamp(), hold_until = clock_timestamp() + make_interval(secs => given.hold),
                   probe_job_id = NULL, probe_attempt = NULL, changed_by = NULL, reason = cause, failures = in_row, failed_probes = 0
             WHERE c.task = given.task;
            PERFORM pg_notify('pgtask', 'queues');
        ELSIF in_row <> circuit.failures THEN
            UPDATE pgtask.circuits c SET failures = in_row WHERE c.task = given.task;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION pgtask.report_outcomes IS
    'Takes how attempts ended: by task the successes, the failures and those since the last success, and attempts that may be probes. Opens and closes circuits.';

CREATE FUNCTION pgtask.open_circuit(task text, hold interval DEFAULT NULL, reason text DEFAULT NULL, changed_by text DEFAULT NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF open_circuit.hold <= interval '0' THEN
        RAISE EXCEPTION 'a circuit is held open for longer than nothing' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Leave hold out to keep it open until it is closed by hand.';
    END IF;
    INSERT INTO pgtask.circuits AS c (task, state, changed_at, hold_until, changed_by, reason)
    VALUES (open_circuit.task, 'open', clock_timestamp(), clock_timestamp() + open_circuit.hold,
            coalesce(open_circuit.changed_by, session_user), open_circuit.reason)
        ON CONFLICT (task) DO UPDATE
       SET state = 'open', changed_at = excluded.changed_at, hold_until = excluded.hold_until, probe_job_id = NULL,
           probe_attempt = NULL, changed_by = excluded.changed_by, reason = excluded.reason, failed_probes = 0;
    PERFORM pg_notify('pgtask', 'queues');
END
$$;
COMMENT ON FUNCTION pgtask.open_circuit IS
    'Holds the jobs of a task: for some time, after which one of them probes, or until the circuit is closed by hand.';

CREATE FUNCTION pgtask.close_circuit(task text, changed_by text DEFAULT NULL) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
#variable_conflict use_column
BEGIN
    UPDATE pgtask.circuits c
       SET state = 'closed', changed_at = clock_timestamp(), hold_until = NULL, probe_job_id = NULL, probe_attempt = NULL,
           changed_by = coalesce(close_circuit.changed_by, session_user), reason = NULL, failures = 0, failed_probes = 0
     WHERE c.task = close_circuit.task AND c.state <> 'closed';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM pgtask.circuit_tallies y WHERE y.task = close_circuit.task;
    PERFORM pg_notify('pgtask', 'queues');
    RETURN true;
END
$$;
COMMENT ON FUNCTION pgtask.close_circuit IS 'Lets the jobs of a task start again; false when its circuit was closed.';

-- Looked at again under the lock, with a snapshot of its own: by then another probe may have begun.
CREATE FUNCTION pgtask.repair_circuits() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    repaired integer := 0;
    probing  pgtask.circuits;
BEGIN
    FOR probing IN SELECT c.* FROM pgtask.circuits c WHERE c.state = 'half_open' ORDER BY c.task LOOP
        SELECT c.* INTO probing FROM pgtask.circuits c WHERE c.task = probing.task FOR UPDATE;
        CONTINUE WHEN probing.state IS DISTINCT FROM 'half_open';
        CONTINUE WHEN EXISTS (SELECT FROM pgtask.jobs j
                               WHERE j.id = probing.probe_job_id AND j.attempt = probing.probe_attempt AND j.status = 'running');
        UPDATE pgtask.circuits c
           SET state = 'open', changed_at = clock_timestamp(), hold_until = clock_timestamp(), probe_job_id = NULL,
               probe_attempt = NULL
         WHERE c.task = probing.task;
        PERFORM pg_notify('pgtask', 'queues');
        repaired := repaired + 1;
    END LOOP;
    RETURN repaired;
END
$$;
COMMENT ON FUNCTION pgtask.repair_circuits IS 'Opens circuits whose probe runs no more, due to probe at once, and returns how many.';

-- The old rate may have put the next start far off; the new one begins with its whole burst.
CREATE FUNCTION pgtask.task_rate_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
BEGIN
    UPDATE pgtask.limits l SET free_at = clock_timestamp()
     WHERE l.scope = 'task' AND l.name = NEW.name AND l.key = '' AND l.free_at > clock_timestamp();
    PERFORM pg_notify('pgtask', 'queues');
    RETURN NULL;
END
$$;
CREATE TRIGGER tasks_rate_declared AFTER INSERT ON pgtask.tasks FOR EACH ROW
    WHEN (NEW.rate_limit IS NOT NULL) EXECUTE FUNCTION pgtask.task_rate_changed();
CREATE TRIGGER tasks_rate_changed AFTER UPDATE OF rate_limit, rate_period, rate_burst ON pgtask.tasks FOR EACH ROW
    WHEN ((OLD.rate_limit, OLD.rate_period, OLD.rate_burst) IS DISTINCT FROM (NEW.rate_limit, NEW.rate_period, NEW.rate_burst))
    EXECUTE FUNCTION pgtask.task_rate_changed();

-- Starts are those of the last one to two minutes, as the statistics have them. Each retry takes a place in a line that goes by
-- the pace allowed now, and waits for it before its backoff begins: retries that failed together do not come back together.
CREATE FUNCTION pgtask.pace_retries(queue text, budget double precision, retries integer, OUT wait double precision,
                                    OUT span double precision)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    since   timestamptz := date_trunc('minute', now()) - interval '1 minute';
    starts  bigint;
    free    timestamptz;
BEGIN
    SELECT coalesce(sum(s.completed + s.failed + s.retried + s.cancelled + s.lost), 0) INTO starts
      FROM pgtask.stats_minute s
     WHERE s.minute >= since AND s.queue = pace_retries.queue;
    span := pace_retries.retries / greatest(1, pace_retries.budget * starts / extract(epoch FROM clock_timestamp() - since)::float8);
    INSERT INTO pgtask.limits AS l (scope, name, free_at)
    VALUES ('retry', pace_retries.queue, clock_timestamp() + make_interval(secs => span))
        ON CONFLICT (scope, name, key) DO UPDATE
       SET free_at = greatest(l.free_at, clock_timestamp()) + make_interval(secs => span)
    RETURNING l.free_at INTO free;
    wait := greatest(0, extract(epoch FROM free - clock_timestamp())::float8 - span);
END
$$;
COMMENT ON FUNCTION pgtask.pace_retries IS
    'Takes places for so many retries of a queue at the pace that its retry budget allows, at least one a second: they come after wait seconds, within span.';

REVOKE ALL ON FUNCTION pgtask.report_outcomes, pgtask.open_circuit, pgtask.close_circuit, pgtask.repair_circuits,
                       pgtask.task_rate_changed, pgtask.pace_retries
    FROM PUBLIC;
