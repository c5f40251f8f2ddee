-- A suspect was running, not alone, when its process died. It next runs alone, claimed by nobody else: then its fate tells
-- whether it was the culprit. No claim changes this column, so that the index keeps no claim from being a HOT update.
ALTER TABLE pgtask.jobs ADD COLUMN suspect boolean NOT NULL DEFAULT false;
CREATE INDEX jobs_suspect ON pgtask.jobs (scheduled_at) WHERE suspect;

-- Measured where the attempt had a process to itself.
ALTER TABLE pgtask.runs ADD COLUMN cpu_seconds real, ADD COLUMN peak_rss_bytes bigint;

INSERT INTO pgtask.settings (name, value, description) VALUES
    ('max_crashes', '3', 'A job that has killed its process so many times is quarantined.');
