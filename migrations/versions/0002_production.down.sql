-- Locks the same as the way up, and builds jobs_lane meanwhile.
DROP INDEX pgtask.jobs_suspect, pgtask.jobs_lane;
ALTER TABLE pgtask.jobs DROP COLUMN suspect;
ALTER TABLE pgtask.runs DROP COLUMN peak_rss_bytes, DROP COLUMN cpu_seconds;
DROP VIEW pgtask.lanes;
CREATE INDEX jobs_lane ON pgtask.jobs (queue, priority, scheduled_at, id);

CREATE OR REPLACE FUNCTION pgtask.notify_enqueued() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
BEGIN
    IF (SELECT last_value FROM pgtask.idle_until) > extract(epoch FROM clock_timestamp()) * 1000 THEN
        PERFORM pg_notify('pgtask', 'enqueued');
    END IF;
    RETURN NULL;
END
$$;

DELETE FROM pgtask.settings WHERE name = 'max_crashes';
