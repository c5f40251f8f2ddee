-- What an edit of a schedule does, and what is refused about one. Locks: pgtask.schedules ACCESS EXCLUSIVE, for a moment.

-- Nothing is fired for the time before an edit, a pause's end or a return to the code, by whatever door that came. Any edit gives
-- a schedule that was found broken another chance: what its job was refused for may be its payload, or nothing of its own. What
-- is due never comes after a time that has not yet been, as it does when a clock was ahead and has been put right.
CREATE OR REPLACE FUNCTION pgtask.replan_schedule() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pgtask, pg_temp AS $$
BEGIN
    IF (NEW.expression, NEW.starts_at) IS DISTINCT FROM (OLD.expression, OLD.starts_at) THEN
        NEW.anchor := coalesce(NEW.starts_at, date_trunc('second', now()));
    END IF;
    IF OLD.error IS NOT NULL
       OR (NEW.expression, NEW.timezone, NEW.seconds_field, NEW.starts_at, NEW.ends_at, NEW.paused_at IS NULL, NEW.orphaned_at IS NULL)
       IS DISTINCT FROM
       (OLD.expression, OLD.timezone, OLD.seconds_field, OLD.starts_at, OLD.ends_at, OLD.paused_at IS NULL, OLD.orphaned_at IS NULL)
    THEN
        NEW.due_after := least(greatest(now(), OLD.due_after), clock_timestamp());
        NEW.next_tick_at := NULL;
        NEW.error := NULL;
    END IF;
    RETURN NEW;
END
$$;
DROP TRIGGER schedules_replan ON pgtask.schedules;
CREATE TRIGGER schedules_replan
    BEFORE UPDATE OF expression, timezone, seconds_field, starts_at, ends_at, paused_at, orphaned_at,
                     task, payload, queue, priority, max_retries, timeout, tags, updated_at ON pgtask.schedules
    FOR EACH ROW EXECUTE FUNCTION pgtask.replan_schedule();

-- Says in words what the constraints of the table would refuse by their names, and that a length of time is none.
CREATE FUNCTION pgtask.check_schedule() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pgtask, pg_temp AS $$
DECLARE
    fault text;
BEGIN
    fault := CASE
        WHEN NEW.expression ~* '^\s*@every\M'
             AND NEW.expression !~* '^\s*@every\s+([0-9]+(\.[0-9]+)?\s*(ms|s|min|m|h|d|w)\s*)+$' THEN
            format('%L is not understood: write @every and a length of time, such as @every 1h30m', NEW.expression)
        WHEN NEW.task IS NULL OR octet_length(NEW.task) NOT BETWEEN 1 AND 256 THEN
            'a task''s name has 1 to 256 bytes'
        WHEN octet_length(NEW.queue) NOT BETWEEN 1 AND 128 THEN
            'a queue''s name has 1 to 128 bytes: leave it out for the task''s own'
        WHEN NEW.max_retries < -1 THEN
            format('max_retries %s means nothing: give 0 or more, or -1 for no limit', NEW.max_retries)
        WHEN NEW.timeout <= 0 OR NEW.timeout > 1e9 THEN
            format('timeout %s s is out of range: it is longer than 0 s and at most 1000000000 s', NEW.timeout)
        WHEN NEW.jitter IS NULL OR NEW.jitter NOT BETWEEN 0 AND 86400 THEN
            format('jitter %s is out of range: write 0 to 86400 seconds', coalesce(NEW.jitter || ' s', 'NULL'))
        WHEN NEW.catchup_limit IS NULL OR NEW.catchup_limit NOT BETWEEN 1 AND 1000 THEN
            format('catchup_limit %s is out of range: write 1 to 1000', coalesce(NEW.catchup_limit::text, 'NULL'))
        WHEN NEW.catchup_max_age IS NULL OR NEW.catchup_max_age NOT BETWEEN 0 AND 1e9 THEN
            format('catchup_max_age %s is out of range: write 0 to 1000000000 seconds',
                   coalesce(NEW.catchup_max_age || ' s', 'NULL'))
    END;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION '%', fault USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER schedules_check
    BEFORE INSERT OR UPDATE OF expression, task, queue, max_retries, timeout, jitter, catchup_limit, catchup_max_age ON pgtask.schedules
    FOR EACH ROW EXECUTE FUNCTION pgtask.check_schedule();

REVOKE ALL ON FUNCTION pgtask.check_schedule FROM PUBLIC;
