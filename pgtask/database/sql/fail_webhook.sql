-- Notes that a webhook could not be delivered: it is tried again after `delay` seconds, or paused for a reason, which is given
-- for good or for when it has failed for `patience` seconds. Locks: its row. Index: webhooks_pkey.
UPDATE pgtask.webhooks w
   SET failures = w.failures + 1,
       first_failed_at = coalesce(w.first_failed_at, now()),
       next_attempt_at = clock_timestamp() + make_interval(secs => %(delay)s::float8),
       last_status = %(status)s::int2,
       last_error = %(error)s::text,
       paused_at = CASE WHEN over.yes THEN now() END,
       paused_reason = CASE WHEN over.yes THEN %(reason)s::text END
  FROM (SELECT o.id, %(gone)s::bool OR o.first_failed_at < now() - make_interval(secs => %(patience)s::float8) IS TRUE AS yes
          FROM pgtask.webhooks o
         WHERE o.id = %(id)s::int4) over
 WHERE w.id = over.id
   AND w."position" = %(from)s::text
   AND w.url = %(url)s::text
   AND w.paused_at IS NULL
RETURNING w.paused_at IS NOT NULL AS paused;
