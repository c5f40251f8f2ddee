DROP TRIGGER schedules_check ON pgtask.schedules;
DROP FUNCTION pgtask.check_schedule();
DROP TRIGGER schedules_replan ON pgtask.schedules;
CREATE OR REPLACE FUNCTION pgtask.replan_schedule() RETURNS trigger
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
