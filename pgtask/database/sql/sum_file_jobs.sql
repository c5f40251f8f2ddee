-- What came of the file jobs with a tag, within a stretch of ids. Index: runs_job_id.
SELECT count(*) FILTER (WHERE r.status = 'completed')::int8 AS completed,
       count(*) FILTER (WHERE r.status <> 'completed')::int8 AS failed,
       coalesce(extract(epoch FROM max(r.finished_at) - min(r.started_at)), 0)::float8 AS seconds,
       coalesce(sum((r.result ->> 'size')::int8), 0)::int8 AS bytes,
       coalesce(sum((r.result ->> 'lines')::int8), 0)::int8 AS lines
  FROM pgtask.runs r
 WHERE r.job_id BETWEEN %(first)s::int8 AND %(last)s::int8
   AND r.final
   AND r.task = 'file'
   AND r.tags @> ARRAY[%(tag)s::text];
