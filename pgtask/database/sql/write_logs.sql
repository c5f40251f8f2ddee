-- Appends log lines of attempts; ages are seconds before this statement. A line sent twice after a lost answer counts once.
INSERT INTO pgtask.job_logs (job_id, logged_at, attempt, line, level, message)
SELECT id, clock_timestamp() - make_interval(secs => age), attempt, line, level, message
  FROM unnest(%(ids)s::int8[], %(ages)s::float8[], %(attempts)s::int4[], %(lines)s::int4[], %(levels)s::text[],
              %(messages)s::text[]) AS entry (id, age, attempt, line, level, message)
ON CONFLICT (job_id, attempt, line) DO NOTHING;
