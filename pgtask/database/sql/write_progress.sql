-- The newest progress of running jobs; fenced like every write of a worker. A HOT update. Index: jobs_pkey.
UPDATE pgtask.jobs j
   SET progress = news.progress, progress_message = news.message
  FROM unnest(%(ids)s::int8[], %(attempts)s::int4[], %(progress)s::int2[], %(messages)s::text[])
       AS news (id, attempt, progress, message)
 WHERE j.id = news.id AND j.attempt = news.attempt AND j.worker_id = %(worker_id)s::int4 AND j.status = 'running';
