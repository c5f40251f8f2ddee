DELETE FROM pgtask.settings WHERE name = 'max_crashes';
ALTER TABLE pgtask.runs DROP COLUMN peak_rss_bytes, DROP COLUMN cpu_seconds;
DROP INDEX pgtask.jobs_suspect;
ALTER TABLE pgtask.jobs DROP COLUMN suspect;
