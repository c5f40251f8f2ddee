-- Jobs with a tag that have not ended, and those of them that run, within a stretch of ids. Index: jobs_pkey.
SELECT count(*)::int8 AS live, count(*) FILTER (WHERE j.status = 'running')::int8 AS running, min(j.id) AS first
  FROM pgtask.jobs j
 WHERE j.id BETWEEN %(first)s::int8 AND %(last)s::int8
   AND j.tags @> ARRAY[%(tag)s::text];
