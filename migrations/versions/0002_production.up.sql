-- What workers need in production. Locks: pgtask.jobs and pgtask.runs ACCESS EXCLUSIVE until the end, both before anything is
-- built, so that nothing is built in vain. Nobody enqueues, claims or reads jobs while the index jobs_lane is rebuilt: about 3 s
-- for a million live jobs; all else takes no time. Not CONCURRENTLY, which cannot be part of a transaction. A transaction that
-- had written something, anywhere in the cluster, and is open for longer keeps the planner from the new index until it ends:
-- claims sort whole lanes until then.

-- A suspect was running, not alone, when its process died. It next runs alone, claimed by nobody else: then its fate tells
-- whether it was the culprit. No claim changes this column, so that its index keeps no claim from being a HOT update.
ALTER TABLE pgtask.jobs ADD COLUMN suspect boolean NOT NULL DEFAULT false;

-- Measured where the attempt had a process to itself.
ALTER TABLE pgtask.runs ADD COLUMN cpu_seconds real, ADD COLUMN peak_rss_bytes bigint;

-- id + 0, so that this index has no column id: while the table is small, the planner would look jobs up by their id with a scan
-- of all of it, and connections that keep their plans would go on so when the table has grown. jobs_suspect comes second: of
-- two indexes that seem alike on an empty table, the planner takes the newer one.
DROP INDEX pgtask.jobs_lane;
CREATE INDEX jobs_lane ON pgtask.jobs (queue, priority, scheduled_at, (id + 0));
CREATE INDEX jobs_suspect ON pgtask.jobs (scheduled_at) WHERE suspect;

-- By a loose scan: one probe of jobs_lane per lane, so that it stays quick with any backlog. It shows nobody more than
-- pgtask.jobs does.
CREATE VIEW pgtask.lanes WITH (security_invoker = true) AS
    WITH RECURSIVE lane AS (
        (SELECT j.queue, j.priority
           FROM pgtask.jobs j
          ORDER BY j.queue, j.priority
          LIMIT 1)
         UNION ALL
        SELECT next.queue, next.priority
          FROM lane
         CROSS JOIN LATERAL (
            SELECT j.queue, j.priority
              FROM pgtask.jobs j
             WHERE (j.queue, j.priority) > (lane.queue, lane.priority)
             ORDER BY j.queue, j.priority
             LIMIT 1
         ) next
    )
    SELECT lane.queue, lane.priority FROM lane;
COMMENT ON VIEW pgtask.lanes IS 'The lanes, each a queue and a priority, that hold live jobs.';

CREATE OR REPLACE FUNCTION pgtask.notify_enqueued() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp AS $$
BEGIN
    -- Not a query, which would double what this costs each INSERT.
    IF pg_sequence_last_value('pgtask.idle_until'::regclass) > date_part('epoch', clock_timestamp()) * 1000 THEN
        PERFORM pg_notify('pgtask', 'enqueued');
    END IF;
    RETURN NULL;
END
$$;

INSERT INTO pgtask.settings (name, value, description) VALUES
    ('max_crashes', '3', 'A job that has killed its process so many times is quarantined.');
