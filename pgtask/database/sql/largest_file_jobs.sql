-- The largest files among the file jobs with a tag, within a stretch of ids. Index: runs_job_id.
SELECT r.job_id AS id,
       r.result ->> 'path' AS path,
       (r.result ->> 'size')::int8 AS size,
       (r.result ->> 'lines')::int8 AS lines,
       r.result ->> 'sha256' AS sha256
  FROM pgtask.runs r
 WHERE r.job_id BETWEEN %(first)s::int8 AND %(last)s::int8
   AND r.final
   AND r.task = 'file'
   AND r.status = 'completed'
   AND r.tags @> ARRAY[%(tag)s::text]
 ORDER BY size DESC, path
 LIMIT %(limit)s::int4;
