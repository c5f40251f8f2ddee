-- What became of jobs that failed for good. Locks: pgtask.runs and its partitions ACCESS EXCLUSIVE, for a moment.

-- The id of the copy that went to the dead letter queue with this end.
ALTER TABLE pgtask.runs ADD COLUMN copy_id bigint;

-- status <> 'completed' is for the planner: that is how the index runs_unsuccessful puts it.
CREATE VIEW pgtask.dead_letters AS
    SELECT r.job_id AS id, r.task, r.queue, r.payload, r.priority, r.status::text AS status, r.claims AS attempt, r.retry_count,
           r.crash_count, r.tags, r.created_at, r.scheduled_at, r.started_at, r.finished_at, r.outcome::text AS outcome,
           r.error_type, r.error, r.traceback, r.copy_id, r.dead_letter
      FROM pgtask.runs r
     WHERE r.final
       AND r.status <> 'completed'
       AND r.status IN ('failed', 'quarantined')
       AND NOT EXISTS (SELECT FROM pgtask.resolutions s WHERE s.job_id = r.job_id);
COMMENT ON VIEW pgtask.dead_letters IS
    'Jobs that failed for good or were quarantined and that nobody has resolved, retried or deleted.';

-- A resolution goes with the end that it is about: when the job is put back or its runs are deleted. Of the statement, so that
-- one retry of many jobs costs one deletion; of the parent, so that pruning, which drops and deletes by partition, pays nothing.
CREATE FUNCTION pgtask.drop_resolutions() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
BEGIN
    DELETE FROM pgtask.resolutions s WHERE s.job_id IN (SELECT b.job_id FROM before b WHERE b.final);
    RETURN NULL;
END
$$;
CREATE TRIGGER runs_put_back AFTER UPDATE ON pgtask.runs
    REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION pgtask.drop_resolutions();
CREATE TRIGGER runs_deleted AFTER DELETE ON pgtask.runs
    REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION pgtask.drop_resolutions();

CREATE FUNCTION pgtask.resolve(job_id bigint, note text DEFAULT NULL, resolved_by text DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    ended pgtask.job_status;
BEGIN
    IF octet_length(note) > 4096 THEN
        RAISE EXCEPTION 'the note has % bytes; the limit is 4096', octet_length(note) USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Locked, so that a retry or deletion under way is either seen or waits.
    SELECT r.status INTO ended FROM pgtask.runs r WHERE r.job_id = resolve.job_id AND r.final FOR SHARE;
    IF NOT FOUND THEN
        RETURN (SELECT 'active' FROM pgtask.jobs j WHERE j.id = resolve.job_id);
    END IF;
    IF ended NOT IN ('failed', 'quarantined') THEN
        RETURN ended;
    END IF;
    INSERT INTO pgtask.resolutions AS s (job_id, resolved_by, note)
    VALUES (resolve.job_id, coalesce(resolve.resolved_by, session_user), resolve.note)
        ON CONFLICT ON CONSTRAINT resolutions_pkey
        DO UPDATE SET resolved_at = now(), resolved_by = excluded.resolved_by, note = coalesce(excluded.note, s.note);
    RETURN 'resolved';
END
$$;
COMMENT ON FUNCTION pgtask.resolve IS
    'Marks a failed or quarantined job as dealt with: it is a dead letter no longer. Returns resolved; completed, cancelled or '
    'active when it is no dead letter; NULL when there is no such job.';

CREATE FUNCTION pgtask.unresolve(job_id bigint) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
BEGIN
    DELETE FROM pgtask.resolutions s WHERE s.job_id = unresolve.job_id;
    IF FOUND THEN
        RETURN 'unresolved';
    END IF;
    RETURN (SELECT CASE WHEN a.status IN ('failed', 'quarantined', 'completed', 'cancelled') THEN a.status ELSE 'active' END
              FROM pgtask.all_jobs a
             WHERE a.id = unresolve.job_id);
END
$$;
COMMENT ON FUNCTION pgtask.unresolve IS
    'Takes a resolution back. Returns unresolved; the status, or active, of a job that has none; NULL when there is no such job.';

-- Jobs with a unique key go through pgtask.retry() one by one, as each may be refused; all others in three statements.
CREATE FUNCTION pgtask.retry_jobs(ids bigint[], due timestamptz DEFAULT NULL, spacing double precision DEFAULT NULL)
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
                         ELSE due + make_interval(secs => spacing * (row_number() OVER (ORDER BY p.finished_at, p.job_id) - 1))
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
    ), notified AS (
        SELECT pgtask.notify_rewind(i.queue, i.priority, min(i.scheduled_at))
          FROM inserted i
         WHERE i.scheduled_at <= now()
         GROUP BY i.queue, i.priority
    )
    SELECT i.id, 'pending', NULL::text FROM inserted i WHERE (SELECT count(*) FROM notified) >= 0;
    GET DIAGNOSTICS put_back = ROW_COUNT;

    FOREACH keyed_id IN ARRAY keyed LOOP
        job_id := keyed_id;
        detail := NULL;
        BEGIN
            answer := pgtask.retry(keyed_id);
            IF answer = 'pending' AND due IS NOT NULL THEN
                UPDATE pgtask.jobs j SET scheduled_at = due + make_interval(secs => spacing * put_back) WHERE j.id = keyed_id;
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
COMMENT ON FUNCTION pgtask.retry_jobs IS
    'Puts ended jobs back as pgtask.retry does, many in one go, and answers for each: pending, completed, active, held (another '
    'job has its unique key, as the detail says) or NULL. With due, the first is due then and each further one spacing seconds '
    'after the one before.';

-- Called by the statement that ends the job, with its final run; not a part of it, as an INSERT there would run its triggers at
-- each end of any job. A copy that is refused, by whatever constraint, must not keep the job from ending.
CREATE FUNCTION pgtask.copy_dead_letter(run pgtask.runs) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    error text := left(run.error, 4096);
BEGIN
    -- At most 4 KiB: a character has up to four bytes, so that this never takes away too many.
    WHILE octet_length(error) > 4096 LOOP
        error := left(error, -((octet_length(error) - 4096 + 3) / 4));
    END LOOP;
    INSERT INTO pgtask.jobs (id, task, payload, queue, priority, tags, dead_letter)
    SELECT run.copy_id, run.task, run.payload, q.dead_letter_queue, run.priority, run.tags,
           jsonb_build_object('job_id', run.job_id, 'queue', run.queue, 'status', run.status, 'attempt', run.claims,
                              'retry_count', run.retry_count, 'created_at', run.created_at, 'finished_at', run.finished_at,
                              'error_type', run.error_type, 'error', error)
      FROM pgtask.queues q
     WHERE q.name = run.queue
       AND q.dead_letter_queue IS NOT NULL;
EXCEPTION WHEN integrity_constraint_violation OR data_exception OR program_limit_exceeded THEN
    RAISE WARNING 'job % has ended, but its copy for the dead letter queue was refused: %', run.job_id, SQLERRM;
END
$$;
COMMENT ON FUNCTION pgtask.copy_dead_letter IS
    'Puts a copy of a job that failed for good into the dead_letter_queue of its queue, under the id that the run says.';

REVOKE ALL ON FUNCTION pgtask.drop_resolutions, pgtask.resolve, pgtask.unresolve, pgtask.retry_jobs, pgtask.copy_dead_letter
    FROM PUBLIC;
